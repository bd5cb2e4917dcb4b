"""Numbers that energies along a path or at several volumes stand for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import units
from numpy.typing import ArrayLike


def barrier(energies: ArrayLike) -> float:
    """Return the energy barrier of a path: its highest energy above its first.

    Parameters
    ----------
    energies : array-like of shape (n_images,)
        Total energies of the images along the path, eV.

    Returns
    -------
    float
        In eV; the barrier of the way back is that of ``energies[::-1]``.

    Raises
    ------
    ValueError
        If there are fewer than two images, or an energy is not finite.

    Examples
    --------
    >>> from skwavelet.inspection import barrier
    >>> barrier([-10.0, -9.5, -9.25, -9.75])
    0.75
    >>> barrier([-10.0, -9.5, -9.25, -9.75][::-1])
    0.5
    """
    energies = np.asarray(energies, dtype=np.float64)
    if energies.ndim != 1 or len(energies) < 2 or not np.isfinite(energies).all():
        raise ValueError(
            "energies must be a vector of at least two finite numbers, one per image of a path; "
            f"got shape {energies.shape}."
        )
    return float(energies.max() - energies[0])


def bulk_modulus(
    volumes: ArrayLike,
    energies: ArrayLike,
    *,
    max_strain: float = 0.04,
    reference_volume: float | None = None,
) -> float:
    """Return the bulk modulus K = V0 d²E/dV² of a parabola fitted to energies against volume.

    Parameters
    ----------
    volumes : array-like of shape (n,)
        Volumes of one cell under hydrostatic strain, Å³.
    energies : array-like of shape (n,)
        Its total energies, eV.
    max_strain : float, default=0.04
        Fitted are the points whose cell is strained by no more than this, as a relative change of
        length: ``|(V / reference_volume)^(1/3) - 1|``.
    reference_volume : float, default=None
        Volume of the cell without strain, Å³; None takes the volume of least energy.

    Returns
    -------
    float
        GPa. V0 is where the parabola is least.

    Raises
    ------
    ValueError
        If the lengths differ, a number is not finite, fewer than three volumes are within
        ``max_strain``, or the parabola has no minimum.

    Notes
    -----
    A parabola leaves out the cubic term of the curve, which biases K by some per cent at 4 %
    strain. For the bias of a whole equation of state see `ase.eos.EquationOfState`.

    Examples
    --------
    A stiffness of 1 eV/Å³ is 160.2 GPa:

    >>> import numpy as np
    >>> from skwavelet.inspection import bulk_modulus
    >>> volumes = np.array([95.0, 100.0, 105.0])
    >>> round(bulk_modulus(volumes, (volumes - 100) ** 2 / (2 * 100)), 1)
    160.2
    """
    volumes, energies = check_curve(volumes, energies)
    parabola = fit_parabola(volumes, energies, max_strain, reference_volume)
    if parabola.curvature <= 0:
        raise ValueError(
            "The energies have no minimum against volume (the parabola opens downward): no bulk "
            "modulus."
        )
    return float(parabola.bulk_modulus)


@dataclass(frozen=True)
class Parabola:
    """E = c + b x + a x² (eV) with x = V / reference - 1, for one curve or several at once.

    The reference is a volume (Å³), and ``window`` (n_volumes,) masks the points that were fitted
    to.
    """

    a: np.ndarray
    b: np.ndarray
    c: np.ndarray
    reference: float
    window: np.ndarray

    @property
    def curvature(self) -> np.ndarray:
        """d²E/dV², eV/Å⁶."""
        return np.asarray(2 * self.a / self.reference**2)

    @property
    def bulk_modulus(self) -> np.ndarray:
        """V0 d²E/dV² in GPa, with dE/dV = 0 at V0: a linear function of the energies."""
        return np.asarray((2 * self.a - self.b) / self.reference / units.GPa)

    def __call__(self, volumes: np.ndarray) -> np.ndarray:
        """Return the energies (eV) of one curve at some volumes (Å³)."""
        x = volumes / self.reference - 1
        return np.asarray(self.c + x * (self.b + x * self.a))


def fit_parabola(
    volumes: np.ndarray,
    energies: np.ndarray,
    max_strain: float,
    reference_volume: float | None = None,
) -> Parabola:
    """Fit energies (n_volumes,) or (n_curves, n_volumes) within ``max_strain`` of a volume.

    The volume is by default that of the least energy, of the mean curve where there are several.
    """
    if reference_volume is None:
        reference_volume = float(volumes[np.argmin(np.atleast_2d(energies).mean(axis=0))])
    strain = np.cbrt(volumes / reference_volume) - 1
    # Volumes come from cells, whose strains are rounded.
    window = np.abs(strain) <= max_strain + 1e-9
    x = volumes[window] / reference_volume - 1
    if len(np.unique(x)) < 3:
        raise ValueError(
            f"{len(np.unique(x))} different volumes within a strain of {max_strain:g} of "
            f"{reference_volume:.6g} Å³, a parabola needs three: raise max_strain or add volumes."
        )
    c, b, a = np.polynomial.polynomial.polyfit(x, energies[..., window].T, 2)
    return Parabola(a, b, c, reference_volume, window)


def check_curve(volumes: ArrayLike, energies: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return volumes (n,) and energies (n,) as finite float64 arrays."""
    volumes, energies = (np.asarray(a, dtype=np.float64) for a in (volumes, energies))
    if volumes.ndim != 1 or volumes.shape != energies.shape:
        raise ValueError(
            "volumes and energies must be vectors of one length; got shapes "
            f"{volumes.shape} and {energies.shape}."
        )
    if not (np.isfinite(volumes).all() and np.isfinite(energies).all() and (volumes > 0).all()):
        raise ValueError("volumes must be positive and finite, and energies finite.")
    return volumes, energies
