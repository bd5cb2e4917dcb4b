"""``LearningPathDisplay``: error and weights against the number of features."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from skwavelet.inspection._drawing import Display, as_curves, draw_band
from skwavelet.inspection._models import greedy_models, split_estimator, staged_predictions


class LearningPathDisplay(Display):
    """Error, or norm of the weights, of greedy models of M = 1, 2, 3, ... features.

    Parameters
    ----------
    errors : mapping of str to ndarray of shape (n_stages,) or (n_models, n_stages)
        Root mean square errors, eV/atom, by entry of the legend. Those of several models are drawn
        as their mean and a band of one standard deviation.
    weight_norms : ndarray of shape (n_stages,) or (n_models, n_stages), default=None
        Euclidean norms of the weights, eV/atom per standard deviation of a feature.
    n_selected : int or array-like of shape (n_models,), default=None
        Numbers of features M* that were chosen by validation; their mean is marked.

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure
        Where it has been drawn.
    lines_ : dict of str to matplotlib Line2D
        The (mean) curves.

    Examples
    --------
    >>> from skwavelet.inspection import LearningPathDisplay
    >>> errors = {"training": [0.05, 0.03, 0.02], "validation": [0.06, 0.04, 0.05]}
    >>> display = LearningPathDisplay(errors, n_selected=2)  # display.plot() draws it
    >>> display.errors["validation"].shape
    (1, 3)
    """

    def __init__(
        self,
        errors: Mapping[str, ArrayLike],
        *,
        weight_norms: ArrayLike | None = None,
        n_selected: ArrayLike | None = None,
    ):
        self.errors = {
            name: as_curves(curve, np.shape(curve)[-1], name) for name, curve in errors.items()
        }
        self.weight_norms: np.ndarray | None = None
        if weight_norms is not None:
            length = np.shape(weight_norms)[-1]
            self.weight_norms = as_curves(weight_norms, length, "weight_norms")
        self.n_selected = None if n_selected is None else np.atleast_1d(n_selected)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any = None,
        y: ArrayLike | None = None,
        *,
        quantity: str = "error",
        ax: Any = None,
    ) -> Self:
        """Draw the path of a fitted model, and its error on other data.

        Parameters
        ----------
        estimator : estimator
            A fitted `~skwavelet.GreedyOLSRegressor` or `~skwavelet.BaggedOLSEnsemble`, or a
            Pipeline or `~skwavelet.EnergyForceRegressor` with one (the errors of training are then
            of its rows, with their weights). A model whose path ends early counts with its last
            error.
        X : sequence of ase.Atoms or array-like of shape (n_samples, n_features), default=None
            Data to test on: what the estimator predicts.
        y : array-like of shape (n_samples,), default=None
            Their energies, eV/atom.
        quantity : {"error", "weights"}, default="error"
            What to draw.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        display : LearningPathDisplay
        """
        if (X is None) != (y is None):
            raise ValueError("Pass both X and y, or neither.")
        models = greedy_models(split_estimator(estimator)[1])
        errors = {
            "training": _side_by_side([model.path_["train_rmse"] for model in models]),
            "validation": _side_by_side([model.path_["validation_rmse"] for model in models]),
        }
        if np.isnan(errors["validation"]).any():
            del errors["validation"]
        if y is not None:
            errors["test"] = _rmse(y, staged_predictions(estimator, X))
        display = cls(
            errors,
            weight_norms=_side_by_side([model._path_weight_norms() for model in models]),
            n_selected=[model.n_features_selected_ for model in models],
        )
        return display.plot(ax, quantity=quantity)

    @classmethod
    def from_predictions(
        cls,
        y_true: ArrayLike,
        staged: Iterable[ArrayLike],
        *,
        name: str = "test",
        ax: Any = None,
    ) -> Self:
        """Draw the error of staged predictions.

        Parameters
        ----------
        y_true : array-like of shape (n_samples,)
            Energies, eV/atom.
        staged : iterable of array-like of shape (n_samples,)
            Predictions with 1, 2, 3, ... features, as from ``staged_predict``.
        name : str, default="test"
            Entry of the legend.
        ax : matplotlib Axes, default=None
            Where to draw, maybe over other paths; None makes a figure.

        Returns
        -------
        display : LearningPathDisplay
        """
        return cls({name: _rmse(y_true, staged)}).plot(ax)

    def plot(self, ax: Any = None, *, quantity: str = "error") -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        quantity : {"error", "weights"}, default="error"
            Errors, or norms of the weights.

        Returns
        -------
        self
        """
        if quantity not in ("error", "weights"):
            raise ValueError(f"quantity={quantity!r} must be 'error' or 'weights'.")
        curves = self.errors
        if quantity == "weights":
            if self.weight_norms is None:
                raise ValueError("There are no norms of weights: use from_estimator.")
            curves = {"weights": self.weight_norms}
        ax = self._take_axes(ax)
        self.lines_: dict[str, Any] = {}
        for name, values in curves.items():
            n_features = np.arange(1, values.shape[1] + 1)
            self.lines_[name] = draw_band(ax, n_features, 1000 * values, label=name)
        if self.n_selected is not None:
            mean, spread = self.n_selected.mean(), self.n_selected.std()
            label = f"M* = {mean:.0f}" + (f" ± {spread:.0f}" if len(self.n_selected) > 1 else "")
            ax.axvline(mean, color="k", ls=":", lw=1, label=label)
        ylabels = {"error": "RMSE (meV/atom)", "weights": "norm of the weights (meV/atom)"}
        ax.set(xscale="log", yscale="log", xlabel="number of features M", ylabel=ylabels[quantity])
        ax.legend()
        return self


def _rmse(y_true: ArrayLike, staged: Iterable[ArrayLike]) -> np.ndarray:
    y_true = np.asarray(y_true, dtype=np.float64)
    return np.array([np.sqrt(np.mean((np.asarray(y) - y_true) ** 2)) for y in staged])


def _side_by_side(curves: Sequence[np.ndarray | pd.Series]) -> np.ndarray:
    """Stack curves of different lengths, continued by their last value."""
    length = max(map(len, curves))
    return np.array([np.pad(curve, (0, length - len(curve)), mode="edge") for curve in curves])
