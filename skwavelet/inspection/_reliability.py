"""``ReliabilityDisplay``: predicted spread against errors."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from skwavelet.inspection._drawing import Display, in_small_units
from skwavelet.potentials.uncertainty import calibrate_spread


class ReliabilityDisplay(Display):
    """Errors against predicted standard deviations, in bins of equal numbers of samples.

    Calibrated predictions lie on the diagonal, overconfident ones above it.

    Parameters
    ----------
    factor : float
        Root mean square of error / standard deviation, see `~skwavelet.calibrate_spread`.
    table : DataFrame
        Its bins: columns ``count``, ``std`` and ``rmse``.
    unit : str, default="eV/atom"
        Unit of both.
    name : str, default=None
        Entry of the legend.

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure
        Where it has been drawn.
    line_ : matplotlib Line2D
        The bins.

    Examples
    --------
    >>> import numpy as np
    >>> from skwavelet.inspection import ReliabilityDisplay
    >>> from skwavelet.potentials.uncertainty import calibrate_spread
    >>> rng = np.random.default_rng(0)
    >>> std = rng.uniform(0.001, 0.002, size=1000)
    >>> factor, table = calibrate_spread(2 * std * rng.normal(size=1000), std, n_bins=4)
    >>> display = ReliabilityDisplay(factor=factor, table=table)  # display.plot() draws it
    >>> bool((display.table["rmse"] > display.table["std"]).all())
    True
    """

    def __init__(
        self, *, factor: float, table: pd.DataFrame, unit: str = "eV/atom", name: str | None = None
    ):
        self.factor, self.table, self.unit, self.name = factor, table, unit, name

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: ArrayLike,
        **kwargs: Any,
    ) -> Self:
        """Predict with spread, and draw.

        Parameters
        ----------
        estimator : estimator
            A fitted ensemble, or a model that ends in one: its ``predict`` takes
            ``return_std=True``.
        X : sequence of ase.Atoms or array-like of shape (n_samples, n_features)
            Samples of groups that it was not trained on.
        y : array-like of shape (n_samples,)
            Their energies, eV/atom.
        **kwargs
            For `from_predictions`: ``n_bins``, ``name``, ``ax`` and what it passes on.

        Returns
        -------
        display : ReliabilityDisplay
        """
        predicted, std = estimator.predict(X, return_std=True)
        return cls.from_predictions(y, predicted, std, **kwargs)

    @classmethod
    def from_predictions(
        cls,
        y_true: ArrayLike,
        y_pred: ArrayLike,
        std: ArrayLike,
        *,
        n_bins: int = 10,
        unit: str = "eV/atom",
        name: str | None = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Draw predictions with spread.

        Parameters
        ----------
        y_true, y_pred, std : array-like of shape (n_samples,)
            Reference, prediction and its standard deviation.
        n_bins : int, default=10
            Number of bins.
        unit, name : str
            Their unit, and the entry of the legend.
        ax : matplotlib Axes, default=None
            For `plot`.
        **kwargs
            For `plot`.

        Returns
        -------
        display : ReliabilityDisplay
        """
        y_true, y_pred = (np.asarray(y, dtype=np.float64) for y in (y_true, y_pred))
        if y_true.shape != y_pred.shape:
            raise ValueError(
                f"y_true has shape {y_true.shape} and y_pred {y_pred.shape}; pass the same."
            )
        factor, table = calibrate_spread(y_pred - y_true, std, n_bins)
        return cls(factor=factor, table=table, unit=unit, name=name).plot(ax, **kwargs)

    def plot(self, ax: Any = None, **kwargs: Any) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw, maybe over another model's; None makes a figure.
        **kwargs
            For ``Axes.plot``, which draws the line through the bins.

        Returns
        -------
        self
        """
        ax = self._take_axes(ax)
        scale, unit = in_small_units(self.unit)
        errors = f"rms(error / std) = {self.factor:.2g}"
        style = {"marker": "o", "label": f"{self.name}: {errors}" if self.name else errors}
        (self.line_,) = ax.plot(
            scale * self.table["std"], scale * self.table["rmse"], **(style | kwargs)
        )
        ax.axline((0, 0), slope=1, color="k", lw=0.8, zorder=0)
        ax.set(
            xlabel=f"predicted standard deviation ({unit})",
            ylabel=f"root mean square error ({unit})",
        )
        ax.legend()
        return self
