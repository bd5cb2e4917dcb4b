"""``PathEnergyDisplay``: energies along a path of images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, Self

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike

from skwavelet.inspection._drawing import Display, as_curves, draw_band
from skwavelet.inspection._models import common_size, predictions_of_members, staged_predictions
from skwavelet.properties.curves import barrier
from skwavelet.structures.checks import as_atoms


class PathEnergyDisplay(Display):
    """Energy along a path (of diffusion, of relaxation), predicted and reference.

    Parameters
    ----------
    predictions : mapping of str to ndarray of shape (n_images,) or (n_models, n_images)
        Total energies, eV, by entry of the legend; those of the models of an ensemble are drawn as
        their mean and a band of one standard deviation.
    energies : ndarray of shape (n_images,), default=None
        Reference total energies, eV.

    Attributes
    ----------
    barriers : dict of str to (float, float)
        Barrier of the mean curve of each prediction, and its standard deviation over the models,
        eV; see `barrier`.
    reference_barrier : float or None
        That of the reference, eV.
    ax_, figure_ : matplotlib Axes and Figure
        Where it has been drawn.
    lines_ : dict of str to matplotlib Line2D
        The curves; the reference is ``lines_["reference"]``.

    Examples
    --------
    >>> from skwavelet.inspection import PathEnergyDisplay
    >>> members = [[-8.0, -7.5, -7.75], [-8.0, -7.25, -7.75]]
    >>> display = PathEnergyDisplay({"model": members}, energies=[-8.0, -7.5, -8.0])
    >>> display.barriers, display.reference_barrier
    ({'model': (0.625, 0.125)}, 0.5)
    """

    def __init__(self, predictions: Mapping[str, ArrayLike], energies: ArrayLike | None = None):
        self.energies = None if energies is None else np.asarray(energies, dtype=np.float64)
        given = [curve for curve in (self.energies, *predictions.values()) if curve is not None]
        if not given:
            raise ValueError("Nothing to draw: pass predictions or energies.")
        n_images = np.shape(given[0])[-1]
        self.predictions = {
            name: as_curves(curve, n_images, name) for name, curve in predictions.items()
        }

    @property
    def barriers(self) -> dict[str, tuple[float, float]]:
        """Barriers of the predictions and their spread, eV."""
        return {
            name: (barrier(curves.mean(axis=0)), float(np.std([barrier(c) for c in curves])))
            for name, curves in self.predictions.items()
        }

    @property
    def reference_barrier(self) -> float | None:
        """Barrier of the reference, eV."""
        return None if self.energies is None else barrier(self.energies)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Sequence[Atoms],
        y: ArrayLike | None = None,
        *,
        n_features: Sequence[int] | None = None,
        **kwargs: Any,
    ) -> Self:
        """Predict a path, and draw it.

        Parameters
        ----------
        estimator : estimator
            A fitted model of structures that predicts eV/atom.
        X : sequence of ase.Atoms
            The images, in order, all of the same number of atoms.
        y : array-like of shape (n_images,), default=None
            Their reference energies, eV/atom.
        n_features : sequence of int, default=None
            Draw the predictions with so many features per model (those of ``staged_predict``;
            models with fewer use what they have) rather than that of the whole model with its
            spread.
        **kwargs
            For `from_predictions`: ``shifted`` and ``ax``.

        Returns
        -------
        display : PathEnergyDisplay
        """
        X = as_atoms(X)
        if n_features is None:
            predictions = {"model": predictions_of_members(estimator, X)}
        else:
            if min(n_features, default=0) < 1:
                raise ValueError(f"n_features={n_features!r} must hold positive integers.")
            stages = list(islice(staged_predictions(estimator, X), max(n_features)))
            predictions = {f"M = {m}": stages[min(m, len(stages)) - 1] for m in n_features}
        return cls.from_predictions(y, predictions, n_atoms=common_size(X), **kwargs)

    @classmethod
    def from_predictions(
        cls,
        y_true: ArrayLike | None,
        predictions: ArrayLike | Mapping[str, ArrayLike],
        *,
        n_atoms: int,
        shifted: bool = False,
        ax: Any = None,
    ) -> Self:
        """Draw predictions of a path.

        Parameters
        ----------
        y_true : array-like of shape (n_images,) or None
            Reference energies, eV/atom.
        predictions : array-like, or mapping of str to array-like
            Predicted energies, eV/atom, of shape (n_images,), or (n_models, n_images) for those of
            the models of an ensemble.
        n_atoms : int
            Number of atoms of every image.
        shifted : bool, default=False
            For `plot`.
        ax : matplotlib Axes, default=None
            For `plot`.

        Returns
        -------
        display : PathEnergyDisplay
        """
        if not isinstance(predictions, Mapping):
            predictions = {"model": predictions}
        totals = {name: n_atoms * np.asarray(values) for name, values in predictions.items()}
        energies = None if y_true is None else n_atoms * np.asarray(y_true)
        return cls(totals, energies).plot(ax, shifted=shifted)

    def plot(self, ax: Any = None, *, shifted: bool = False) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        shifted : bool, default=False
            Whether every curve (that of every model too) starts at zero.

        Returns
        -------
        self
        """
        ax = self._take_axes(ax)
        curves = {} if self.energies is None else {"reference": self.energies[None]}
        styles = {"reference": {"color": "k", "marker": "o"}}
        self.lines_: dict[str, Any] = {}
        for name, energies in (curves | self.predictions).items():
            drawn = energies - energies[:, :1] if shifted else energies
            style = styles.get(name, {"marker": "."})
            images = np.arange(drawn.shape[1])
            self.lines_[name] = draw_band(ax, images, drawn, label=name, **style)
        relative = "energy relative to the first image" if shifted else "energy"
        ax.set(xlabel="image", ylabel=f"{relative} (eV)")
        ax.legend()
        return self
