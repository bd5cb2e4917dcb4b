"""``SelectionDisplay``: which features a sparse model selects."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import pandas as pd

from skwavelet.inspection._drawing import Display
from skwavelet.inspection._models import split_estimator, table_of_features
from skwavelet.potentials.linear_models import linear_members

# What is counted in a matrix: columns of the table for its rows and for its columns.
_PAIRS = {
    "scales": (("j1",), ("j2",)),
    "wavelets": (("n1", "l1"), ("n2", "l2")),
}
_MISSING = "none"


class SelectionDisplay(Display):
    """Share of channels, powers, orders, scales or wavelets among the selected features.

    A model selects what it can choose from: the share of each among all features is drawn beside.

    Parameters
    ----------
    table : DataFrame
        A ``feature_table_`` with a column ``selections``: how many models selected each feature.

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure
        Where it has been drawn.

    Examples
    --------
    >>> import pandas as pd
    >>> from skwavelet.inspection import SelectionDisplay
    >>> table = pd.DataFrame({"channel": ["Li", "Li", "Si", "Si"], "selections": [3, 0, 1, 0]})
    >>> SelectionDisplay(table).shares("channel").loc["Li"].to_dict()
    {'selected': 0.75, 'available': 0.5}
    """

    def __init__(self, table: pd.DataFrame):
        self.table = table

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        feature_table: pd.DataFrame | None = None,
        *,
        by: str = "channel",
        ax: Any = None,
    ) -> Self:
        """Count the selected features of a fitted model, and draw.

        Parameters
        ----------
        estimator : estimator
            A fitted model of structures whose linear model is sparse:
            `~skwavelet.GreedyOLSRegressor`, `~skwavelet.BaggedOLSEnsemble`, or any with zeros in
            ``coef_``. Every model of an ensemble counts.
        feature_table : DataFrame, default=None
            The ``feature_table_`` of its columns, if the estimator is the linear model alone.
        by : str, default="channel"
            What to draw, see `plot`.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        display : SelectionDisplay
        """
        features, regressor = split_estimator(estimator)
        if feature_table is None:
            if features is None:
                raise ValueError("Pass feature_table: the estimator has no representation.")
            feature_table = table_of_features(features)
        members = linear_members(regressor) or [regressor]
        selections = sum((np.ravel(model.coef_) != 0).astype(int) for model in members)
        if len(selections) != len(feature_table):
            raise ValueError(
                f"feature_table has {len(feature_table)} rows for {len(selections)} weights; "
                "pass that of the features it was fitted on."
            )
        display = cls(feature_table.assign(selections=selections))
        return display.plot(ax, by=by)

    def shares(self, by: str) -> pd.DataFrame:
        """Return shares among the selected and among all features.

        Parameters
        ----------
        by : str
            As for `plot`.

        Returns
        -------
        DataFrame
            Columns ``selected`` and ``available``, each adding up to 1; one row per value of
            ``by``, or per pair of those of the first and the second layer ("none" for what lower
            orders do not have).
        """
        known = [*_PAIRS, *self.table.columns.drop("selections")]
        if by not in known:
            raise ValueError(f"by={by!r} must be one of {', '.join(known)}.")
        layers = _PAIRS.get(by, ((by,),))
        names = ("first", "second") if by in _PAIRS else (by,)
        keys = [
            _labels(self.table, columns).rename(name)
            for columns, name in zip(layers, names, strict=True)
        ]
        counts = self.table["selections"].groupby(keys, observed=True).agg(["sum", "size"])
        counts.columns = ["selected", "available"]
        return counts / counts.sum()

    def plot(self, ax: Any = None, *, by: str = "channel") -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        by : str, default="channel"
            ``"scales"`` for pairs (j1, j2), ``"wavelets"`` for pairs of (n1, l1) and (n2, l2),
            both as a map with the share in per cent; or a column of the table, such as
            ``"channel"``, ``"q"`` or ``"order"``, as bars.

        Returns
        -------
        self
        """
        shares = 100 * self.shares(by)
        ax = self._take_axes(ax)
        if by in _PAIRS:
            self._draw_map(ax, shares, by)
        else:
            self._draw_bars(ax, shares, by)
        return self

    def _draw_bars(self, ax: Any, shares: pd.DataFrame, by: str) -> None:
        places = np.arange(len(shares))
        ax.bar(places, shares["selected"], label="selected")
        ax.plot(places, shares["available"], "k_", ms=20, label="of all features")
        ax.set_xticks(places, shares.index)
        ax.set(xlabel=by, ylabel="share (%)")
        ax.margins(y=0.2)  # room for the legend
        ax.legend(loc="upper right", ncols=2)

    def _draw_map(self, ax: Any, shares: pd.DataFrame, by: str) -> None:
        # Categories are ordered, and so are the rows and columns that come of them.
        selected, available = (shares[column].unstack() for column in ("selected", "available"))
        image = ax.imshow(selected, cmap="Blues", vmin=0)
        middle = np.nanmax(selected.to_numpy()) / 2
        for i, j in np.argwhere(available.notna().to_numpy()):
            share = selected.iat[i, j]
            text = f"{share:.3g}\n({available.iat[i, j]:.2g})"
            ax.text(j, i, text, ha="center", va="center", color="w" if share > middle else "k")
        ax.set_xticks(range(selected.shape[1]), selected.columns)
        ax.set_yticks(range(selected.shape[0]), selected.index)
        layer = {"scales": "scale j", "wavelets": "wavelet (n, l)"}[by]
        ax.set(xlabel=f"{layer} of the second layer", ylabel=f"{layer} of the first layer")
        self.figure_.colorbar(image, ax=ax, label="share of the selected (of all) features (%)")


def _labels(table: pd.DataFrame, columns: tuple[str, ...]) -> pd.Series:
    """Return one readable label per row, in the order of the values; "none" where missing."""
    rows = table[list(columns)]
    present = rows.dropna().drop_duplicates()
    if columns != ("channel",):  # channels have their own order
        present = present.sort_values(list(columns))
    names = {row: _label(row) for row in present.itertuples(index=False, name=None)}
    labels = [names.get(row, _MISSING) for row in rows.itertuples(index=False, name=None)]
    categories = [*names.values(), *([_MISSING] if _MISSING in labels else [])]
    return pd.Series(pd.Categorical(labels, categories, ordered=True), index=table.index)


def _label(values: tuple[str | float, ...]) -> str:
    parts = ", ".join(value if isinstance(value, str) else format(value, ".3g") for value in values)
    return parts if len(values) == 1 else f"({parts})"
