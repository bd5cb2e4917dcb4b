"""Powers of the modulus at every atom, their sums over groups of atoms, and their derivatives."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from skwavelet.representations.atom_evaluator import AtomGroups
from skwavelet.representations.point.power_kernels import add_powers

# Powers q of the modulus that are made of roots, see `fill_power`.
CODES = {1: 1, 4 / 3: 2, 5 / 3: 3, 2: 4}


class Slopes(NamedTuple):
    """Derivatives in the squared moduli, those that were asked for.

    ``of_squared`` (n_maps, n_atoms) are those of a linear form of the sums, ``factors``
    (n_powers, n_maps, n_atoms) those of the powers.
    """

    of_squared: np.ndarray
    factors: np.ndarray


class AtomPowers:
    """Powers u^(q/2) - floor^(q/2) of squared moduli u, exactly 0 where u is the floor.

    Floors (n_maps,) are positive, in the dtype of the maps.
    """

    def __init__(self, powers, floors: np.ndarray):
        self.powers = tuple(float(q) for q in powers)
        self._dtype = floors.dtype
        self._codes = np.array([
            next((code for known, code in CODES.items() if abs(q - known) < 1e-9), 0)
            for q in self.powers
        ])  # fmt: skip
        single = self._dtype == np.float32
        self._integer = np.int32 if single else np.int64
        self._steps = (2 if single else 3) if ((self._codes == 2) | (self._codes == 3)).any() else 0
        self._exponents = np.array(self.powers).astype(self._dtype) / self._dtype.type(2)
        # By the same code, so that differences are exactly 0.
        constants = np.zeros((1, len(floors), len(self.powers)))
        self._constants = np.zeros((len(self.powers), len(floors)), self._dtype)
        self.add(floors[:, None], slice(0, 1), AtomGroups(np.zeros(1, dtype=int), 1), constants)
        self._constants = np.ascontiguousarray(constants[0].T, self._dtype)

    def weights(self, weights: np.ndarray) -> np.ndarray:
        """Return weights of sums (n_groups, n_maps, n_powers) as `add` takes them."""
        return np.ascontiguousarray(weights.transpose(2, 1, 0), dtype=self._dtype)

    def add(
        self,
        squared: np.ndarray,
        atoms: slice,
        groups: AtomGroups,
        sums: np.ndarray,
        weights: np.ndarray | None = None,
        factors: bool = False,
    ) -> Slopes:
        """Add the powers of the squared moduli (n_maps, n_atoms) of consecutive atoms to sums.

        The sums are (n_groups, n_maps, n_powers). With weights (n_powers, n_maps, n_groups),
        cotangents of the sums that `weights` makes, or with ``factors``, derivatives are returned.
        """
        n_maps, n_atoms = squared.shape
        dtype, n_powers = self._dtype, len(self.powers)
        masks, weights, sums = group_masks(groups, atoms, dtype, weights, sums)
        cubes = np.empty(n_atoms, dtype)
        of_squared = np.empty((n_maps if len(weights) else 0, n_atoms), dtype)
        slopes = np.empty((n_powers if factors else 0, n_maps, n_atoms), dtype)
        add_powers(
            squared, self._constants, self._codes, self._exponents, self._steps,
            cubes.view(self._integer), cubes, masks, sums, weights, of_squared, slopes,
        )  # fmt: skip
        return Slopes(of_squared, slopes)


def group_masks(
    groups: AtomGroups, atoms: slice, dtype: Any, weights: np.ndarray | None, sums: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return masks, weights and sums of consecutive atoms as `add_powers` takes them."""
    if weights is None:
        weights = np.empty((0, 0, 0), dtype)
    if groups.each:
        return np.zeros((0, 0), dtype), np.ascontiguousarray(weights[..., atoms]), sums[atoms]
    members = groups.of[atoms] == np.arange(groups.count)[:, None]
    return members.astype(dtype), weights, sums
