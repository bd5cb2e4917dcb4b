"""``ParityDisplay``: predictions against reference values."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from skwavelet.inspection._drawing import Display, in_small_units

_PREDICTORS = {
    "energy": ("predict", "eV/atom"),
    "forces": ("predict_forces", "eV/Å"),
    "stress": ("predict_stress", "eV/Å³"),
}


class ParityDisplay(Display):
    """Predicted against reference values, with their errors.

    Parameters
    ----------
    y_true, y_pred : ndarray of shape (n,)
        Reference and prediction, in units of ``unit``.
    std : ndarray of shape (n,), default=None
        Standard deviations of the predictions, drawn as error bars.
    quantity : str, default="energy"
        What they are, for the labels of the axes.
    unit : str, default="eV/atom"
        Their unit.
    name : str, default=None
        What they are predictions of, for the legend.

    Attributes
    ----------
    rmse, mae : float
        Root mean square error and mean absolute error, in units of ``unit``.
    ax_, figure_ : matplotlib Axes and Figure
        Where it has been drawn.
    points_ : matplotlib Line2D
        The points.

    Examples
    --------
    >>> from skwavelet.inspection import ParityDisplay
    >>> round(ParityDisplay([-3.5, -3.0], [-3.4, -3.2]).mae, 2)
    0.15
    """

    def __init__(
        self,
        y_true: ArrayLike,
        y_pred: ArrayLike,
        *,
        std: ArrayLike | None = None,
        quantity: str = "energy",
        unit: str = "eV/atom",
        name: str | None = None,
    ):
        self.y_true, self.y_pred = _flat(y_true), _flat(y_pred)
        self.std = None if std is None else _flat(std)
        self.quantity, self.unit, self.name = quantity, unit, name
        for label, values in (("y_pred", self.y_pred), ("std", self.std)):
            if values is not None and values.shape != self.y_true.shape:
                raise ValueError(
                    f"{label} has {len(values)} numbers for {len(self.y_true)} of y_true."
                )

    @property
    def rmse(self) -> float:
        """Root mean square error."""
        return float(np.sqrt(np.mean((self.y_pred - self.y_true) ** 2)))

    @property
    def mae(self) -> float:
        """Mean absolute error."""
        return float(np.mean(np.abs(self.y_pred - self.y_true)))

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any,
        *,
        quantity: str = "energy",
        **kwargs: Any,
    ) -> Self:
        """Predict, and draw.

        Parameters
        ----------
        estimator : estimator
            A fitted regressor of eV/atom; for forces or stress one with ``predict_forces`` or
            ``predict_stress``, such as `~skwavelet.EnergyForceRegressor`.
        X : sequence of ase.Atoms or array-like of shape (n_samples, n_features)
            What it predicts.
        y : array-like
            Reference values: energies (n_samples,) in eV/atom, a list of forces (N, 3) in eV/Å, or
            stresses (n_samples, 6) in eV/Å³.
        quantity : {"energy", "forces", "stress"}, default="energy"
            What to predict.
        **kwargs
            For `from_predictions`: ``name``, ``ax`` and what it passes on.

        Returns
        -------
        display : ParityDisplay
        """
        if quantity not in _PREDICTORS:
            raise ValueError(f"quantity={quantity!r} must be one of {', '.join(_PREDICTORS)}.")
        method, unit = _PREDICTORS[quantity]
        if not hasattr(estimator, method):
            raise TypeError(
                f"{type(estimator).__name__} has no {method}: use EnergyForceRegressor, or "
                "from_predictions."
            )
        predicted = getattr(estimator, method)(X)
        return cls.from_predictions(y, predicted, quantity=quantity, unit=unit, **kwargs)

    @classmethod
    def from_predictions(
        cls,
        y_true: Any,
        y_pred: Any,
        *,
        std: Any = None,
        quantity: str = "energy",
        unit: str = "eV/atom",
        name: str | None = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Draw predictions.

        Parameters
        ----------
        y_true, y_pred : array-like, or list of arrays
            Reference and prediction, of the same shapes (lists of forces, say).
        std : like y_pred, default=None
            Standard deviations of the predictions.
        quantity, unit : str, default="energy", "eV/atom"
            What they are.
        name : str, default=None
            Entry of the legend.
        ax : matplotlib Axes, default=None
            For `plot`.
        **kwargs
            For `plot`.

        Returns
        -------
        display : ParityDisplay
        """
        display = cls(y_true, y_pred, std=std, quantity=quantity, unit=unit, name=name)
        return display.plot(ax, **kwargs)

    def plot(self, ax: Any = None, **kwargs: Any) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw, maybe over others; None makes a figure.
        **kwargs
            For ``Axes.plot``, which draws the points.

        Returns
        -------
        self
        """
        ax = self._take_axes(ax)
        factor, unit = in_small_units(self.unit)
        errors = f"RMSE {factor * self.rmse:.3g}, MAE {factor * self.mae:.3g} {unit}"
        label = f"{self.name}: {errors}" if self.name else errors
        style = {"linestyle": "", "marker": ".", "markersize": 4, "label": label} | kwargs
        (self.points_,) = ax.plot(self.y_true, self.y_pred, **style)
        if self.std is not None:
            ax.errorbar(
                self.y_true,
                self.y_pred,
                self.std,
                fmt="none",
                ecolor=self.points_.get_color(),
                alpha=0.5,
            )
        ax.axline((self.y_true[0],) * 2, slope=1, color="k", lw=0.8, zorder=0)
        ax.set(
            xlabel=f"reference {self.quantity} ({self.unit})",
            ylabel=f"predicted {self.quantity} ({self.unit})",
        )
        ax.legend(loc="upper left")
        return self


def _flat(values: Any) -> np.ndarray:
    """Return an array, or a list of arrays of different lengths, as one finite vector."""
    if isinstance(values, list | tuple):
        flat = np.concatenate([np.ravel(value) for value in values]) if values else np.empty(0)
    else:
        flat = np.ravel(values)
    flat = np.asarray(flat, dtype=np.float64)
    if not len(flat) or not np.isfinite(flat).all():
        raise ValueError("Reference values and predictions must be finite, and at least one.")
    return flat
