"""``EnergyVolumeDisplay``: energy against volume, and the bulk modulus."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike

from skwavelet.inspection._drawing import Display, as_curves, draw_band
from skwavelet.inspection._models import common_size, predictions_of_members
from skwavelet.properties.curves import Parabola, check_curve, fit_parabola
from skwavelet.structures.checks import as_atoms


class EnergyVolumeDisplay(Display):
    """Energy of one cell against its volume, with the parabolas that give the bulk modulus.

    Parameters
    ----------
    volumes : ndarray of shape (n,)
        Volumes of the cell, Å³.
    predictions : ndarray of shape (n,) or (n_models, n)
        Predicted total energies, eV; those of the models of an ensemble are drawn as their mean
        and a band of one standard deviation.
    energies : ndarray of shape (n,), default=None
        Reference total energies, eV.
    max_strain, reference_volume : float
        What the parabolas are fitted to, see `bulk_modulus`.

    Attributes
    ----------
    bulk_modulus, bulk_modulus_std : float
        That of the prediction, and its standard deviation over the models (all fitted to the same
        volumes), GPa. Negative where the model has no minimum.
    reference_bulk_modulus : float or None
        That of the reference, GPa.
    ax_, figure_ : matplotlib Axes and Figure
        Where it has been drawn.
    lines_ : dict of str to matplotlib Line2D
        ``"model"`` and ``"reference"``, and their parabolas ``"model fit"`` and
        ``"reference fit"``.

    Examples
    --------
    >>> import numpy as np
    >>> from skwavelet.inspection import EnergyVolumeDisplay
    >>> volumes = np.linspace(95, 105, 5)
    >>> members = np.outer([0.9, 1.1], (volumes - 100) ** 2 / 200)
    >>> display = EnergyVolumeDisplay(volumes, members)
    >>> round(display.bulk_modulus, 1), round(display.bulk_modulus_std, 1)
    (160.2, 16.0)
    """

    def __init__(
        self,
        volumes: ArrayLike,
        predictions: ArrayLike,
        energies: ArrayLike | None = None,
        *,
        max_strain: float = 0.04,
        reference_volume: float | None = None,
    ):
        predictions = as_curves(predictions, len(np.atleast_1d(volumes)), "predictions")
        self.volumes, _ = check_curve(volumes, predictions[0])
        order = np.argsort(self.volumes, kind="stable")
        self.energies = None
        if energies is not None:
            self.energies = check_curve(volumes, energies)[1][order]
        self.volumes, self.predictions = self.volumes[order], predictions[:, order]
        self.max_strain, self.reference_volume = max_strain, reference_volume
        # Model and reference are fitted to the same volumes.
        if reference_volume is None and self.energies is not None:
            self.reference_volume = float(self.volumes[np.argmin(self.energies)])
        self._fits = {"model": self._fit(self.predictions)}
        if self.energies is not None:
            self._fits["reference"] = self._fit(self.energies)

    def _fit(self, energies: np.ndarray) -> Parabola:
        return fit_parabola(self.volumes, energies, self.max_strain, self.reference_volume)

    @property
    def bulk_modulus(self) -> float:
        """Predicted bulk modulus, GPa."""
        # It is linear in the energies: the mean over the models is that of their mean.
        return float(self._fits["model"].bulk_modulus.mean())

    @property
    def bulk_modulus_std(self) -> float:
        """Its standard deviation over the models, GPa."""
        return float(self._fits["model"].bulk_modulus.std())

    @property
    def reference_bulk_modulus(self) -> float | None:
        """Bulk modulus of the reference, GPa."""
        fit = self._fits.get("reference")
        return None if fit is None else float(fit.bulk_modulus)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Sequence[Atoms],
        y: ArrayLike | None = None,
        **kwargs: Any,
    ) -> Self:
        """Predict strained cells, and draw.

        The numbers of grid points of the largest cell serve all cells, so that the energy is a
        smooth function of the volume.

        Parameters
        ----------
        estimator : estimator
            A fitted model of structures that predicts eV/atom.
        X : sequence of ase.Atoms
            One structure at several volumes.
        y : array-like of shape (n,), default=None
            Reference energies, eV/atom.
        **kwargs
            For `from_predictions`: ``max_strain``, ``reference_volume``, ``shifted`` and ``ax``.

        Returns
        -------
        display : EnergyVolumeDisplay
        """
        X = as_atoms(X)
        volumes = np.array([atoms.get_volume() for atoms in X])
        predictions = predictions_of_members(estimator, X, X[int(np.argmax(volumes))])
        return cls.from_predictions(volumes, y, predictions, n_atoms=common_size(X), **kwargs)

    @classmethod
    def from_predictions(
        cls,
        volumes: ArrayLike,
        y_true: ArrayLike | None,
        predictions: ArrayLike,
        *,
        n_atoms: int,
        max_strain: float = 0.04,
        reference_volume: float | None = None,
        shifted: bool = False,
        ax: Any = None,
    ) -> Self:
        """Draw predictions of strained cells.

        Parameters
        ----------
        volumes : array-like of shape (n,)
            Volumes of the cell, Å³.
        y_true : array-like of shape (n,) or None
            Reference energies, eV/atom.
        predictions : array-like of shape (n,) or (n_models, n)
            Predicted energies, eV/atom, maybe those of the models of an ensemble.
        n_atoms : int
            Number of atoms in the cell.
        max_strain, reference_volume : float
            What the parabolas are fitted to, see `bulk_modulus`.
        shifted : bool, default=False
            For `plot`.
        ax : matplotlib Axes, default=None
            For `plot`.

        Returns
        -------
        display : EnergyVolumeDisplay
        """
        display = cls(
            volumes,
            n_atoms * np.asarray(predictions),
            None if y_true is None else n_atoms * np.asarray(y_true),
            max_strain=max_strain,
            reference_volume=reference_volume,
        )
        return display.plot(ax, shifted=shifted)

    def plot(self, ax: Any = None, *, shifted: bool = False) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        shifted : bool, default=False
            Whether energies are drawn relative to the least one of each curve.

        Returns
        -------
        self
        """
        ax = self._take_axes(ax)
        self.lines_: dict[str, Any] = {}
        if self.energies is not None:
            label = f"reference, K = {self.reference_bulk_modulus:.3g} GPa"
            self._draw(ax, "reference", self.energies[None], shifted, label, color="k", marker="o")
        spread = f" ± {self.bulk_modulus_std:.2g}" if len(self.predictions) > 1 else ""
        label = f"model, K = {self.bulk_modulus:.3g}{spread} GPa"
        self._draw(ax, "model", self.predictions, shifted, label, color="C0", marker=".")
        relative = "energy above the lowest" if shifted else "energy"
        ax.set(xlabel="volume (Å³)", ylabel=f"{relative} (eV)")
        ax.legend()
        return self

    def _draw(
        self, ax: Any, name: str, curves: np.ndarray, shifted: bool, label: str, **style: Any
    ) -> None:
        if shifted:
            curves = curves - curves.min(axis=1, keepdims=True)
        self.lines_[name] = draw_band(ax, self.volumes, curves, ls="", label=label, **style)
        mean = curves.mean(axis=0)
        window = self.volumes[self._fits[name].window]
        fine = np.linspace(window.min(), window.max(), 100)
        (self.lines_[f"{name} fit"],) = ax.plot(
            fine, self._fit(mean)(fine), color=style["color"], lw=1
        )
