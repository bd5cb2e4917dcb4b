"""The sums of point scattering: neighbours and cascade of one structure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skwavelet.representations.atom_evaluator import AtomEvaluator, AtomGroups
from skwavelet.representations.evaluator import Gradients
from skwavelet.representations.paths import ScatteringPaths
from skwavelet.representations.point.cascade import Bank, Cascade
from skwavelet.representations.point.plan import make_plan
from skwavelet.representations.point.powers import AtomPowers
from skwavelet.representations.wavelets import wavelet_size
from skwavelet.structures.checks import Structure
from skwavelet.structures.neighborhoods import Neighborhoods, describe_pairs, estimate_pairs

# Neighbour list, vectors, and their gradient in float64.
BYTES_PER_PAIR = 250


@dataclass(frozen=True, eq=False, kw_only=True)
class PointEvaluator(AtomEvaluator):
    """The fitted state of a ``PointScattering`` on plain arrays.

    Attributes
    ----------
    bank : Bank
        Wavelets, scales and reaches.
    paths : ScatteringPaths
    smoothing : float
        Floor of the modulus relative to the map of one atom.
    """

    paths: ScatteringPaths
    bank: Bank
    smoothing: float

    def memory(self, structure: Structure, method: str = "values") -> float:
        """Estimate the bytes that the neighbours of a structure take."""
        return estimate_pairs(structure, max(self.bank.reaches)) * BYTES_PER_PAIR

    def describe_need(self, structure: Structure) -> tuple[str, str]:
        """Return how many neighbours a structure has, and how to have fewer."""
        what = describe_pairs(structure, max(self.bank.reaches))
        return what, "use fewer scales or set a smaller reach"

    @property
    def places(self) -> np.ndarray:
        """Map of every path, of shape (n_paths,)."""
        return make_plan(self.paths)[1]

    @property
    def n_terms(self) -> int:
        """Number of maps."""
        return make_plan(self.paths)[0].n_maps

    def group_sums(self, structure: Structure, groups: AtomGroups) -> np.ndarray:
        """Return the sums (n_groups, n_maps, n_powers) over the atoms of every group."""
        return self._cascade(structure, groups).sums()

    def group_sums_jvp(
        self,
        structure: Structure,
        groups: AtomGroups,
        displacements: np.ndarray,
        strains: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the sums and their derivatives along directions."""
        return self._cascade(structure, groups).jvp(displacements, strains)

    def group_sums_vjp(
        self, structure: Structure, groups: AtomGroups, weights: np.ndarray
    ) -> Gradients:
        """Return the sums and the gradients of ``(weights * sums).sum()``."""
        return self._cascade(structure, groups).vjp(weights)

    def _cascade(self, structure: Structure, groups: AtomGroups) -> Cascade:
        return Cascade(
            make_plan(self.paths)[0],
            self.bank,
            Neighborhoods(structure, max(self.bank.reaches)),
            self.weights[self.kinds(structure)],
            self._floors(),
            AtomPowers(self.powers),
            groups,
            self.dtype,
        )

    def _floors(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the floors of the modulus, see ``Cascade``.

        ``smoothing`` times the amplitude of the map of a single average atom, and what a second
        wavelet makes of it.
        """
        bank = self.bank
        sizes = np.array([wavelet_size(n, l, bank.beta) for n, l in bank.wavelets])
        gains = sizes[:, None] * 2.0 ** (-3 * np.array(bank.scales))
        weights = np.sqrt((self.weights**2).mean(axis=0))
        return self.smoothing * weights[:, None, None] * gains, gains
