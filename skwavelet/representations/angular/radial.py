"""Radial functions with a smooth cutoff, and powers that keep the sign (6.6 and 6.2)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skwavelet.representations.angular.angle_kernels import add_signed_powers
from skwavelet.representations.atom_evaluator import AtomGroups
from skwavelet.representations.point.powers import group_masks


@dataclass(frozen=True, eq=False)
class RadialBasis:
    """Gaussians exp(-(r - mu)^2 / 2 sigma^2) on evenly spaced centres, cut off smoothly.

    Centres, width sigma and reach are in Å. Neighbouring Gaussians meet at one standard deviation:
    their spacing is 2 sigma. The cutoff (1 + cos(pi r / reach)) / 2 falls to zero at the reach.
    """

    centers: tuple[float, ...]
    width: float
    reach: float

    def cutoff(self, r: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the cutoff at distances ``r`` (E,) and its derivative."""
        angle = r * r.dtype.type(np.pi / self.reach)
        return 0.5 * (1 + np.cos(angle)), r.dtype.type(-0.5 * np.pi / self.reach) * np.sin(angle)


class SignedPowers:
    """Powers v (v^2 + e^2)^((q - 1) / 2): v^q for v > 0, smooth and odd, v itself for q = 1."""

    def __init__(self, powers):
        self.powers = tuple(float(q) for q in powers)
        self._exponents = (np.array(self.powers) - 1) / 2
        cubic = np.isclose(self._exponents[:, None], [1 / 6, 1 / 3], rtol=0, atol=1e-7)
        self._rooted = bool(cubic.any())

    def add(
        self,
        values: np.ndarray,
        floors: np.ndarray,
        atoms: slice,
        groups: AtomGroups,
        sums: np.ndarray,
        weights: np.ndarray | None = None,
    ) -> np.ndarray:
        """Add the powers of the values (n_terms, n_atoms) of consecutive atoms to sums of groups.

        The sums are (n_groups, n_terms, n_powers), and the floors e (n_terms,). With weights of
        shape (n_powers, n_terms, n_groups), cotangents of the sums in the dtype of the values, the
        gradients in the values are returned, too.
        """
        dtype, n_atoms = values.dtype, values.shape[1]
        single = dtype == np.float32
        steps = (2 if single else 3) if self._rooted else 0
        squares = np.maximum(floors**2, np.finfo(dtype).tiny).astype(dtype)
        masks, weights, sums = group_masks(groups, atoms, dtype, weights, sums)
        of_values = np.empty((len(values) if len(weights) else 0, n_atoms), dtype)
        cubes = np.empty(n_atoms, dtype)
        add_signed_powers(
            values, squares, self._exponents.astype(dtype), steps,
            cubes.view(np.int32 if single else np.int64), cubes, masks, sums, weights, of_values,
        )  # fmt: skip
        return of_values

    def value_and_derivative(self, values: np.ndarray, floor: np.ndarray, q: float):
        """Return the power q of ``values`` (n_atoms, M) with floors e (M,), and its derivative."""
        cast = values.dtype.type
        if q == 1:
            return values, np.ones_like(values)
        square = values**2
        total = square + np.maximum(floor**2, np.finfo(cast).tiny).astype(cast)
        power = np.sqrt(total) if q == 2 else total ** cast((q - 1) / 2)
        return values * power, power * (1 + cast(q - 1) * square / total)
