"""The sums of point scattering: neighbours and cascade of one structure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from skwavelet.representations.atom_evaluator import AtomEvaluator, AtomGroups
from skwavelet.representations.atom_jacobian import AtomJacobian
from skwavelet.representations.evaluator import Gradients
from skwavelet.representations.paths import ScatteringPaths
from skwavelet.representations.point.cascade import Bank, Cascade
from skwavelet.representations.point.first_order import FirstOrder
from skwavelet.representations.point.moments import WaveletMoments
from skwavelet.representations.point.plan import make_plan
from skwavelet.representations.point.powers import AtomPowers
from skwavelet.representations.wavelets import wavelet_size
from skwavelet.structures.checks import Structure
from skwavelet.structures.neighborhoods import (
    Neighborhoods,
    describe_pairs,
    estimate_pairs,
    image_bytes,
)

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
        n_pairs = estimate_pairs(structure, max(self.bank.reaches))
        if self._first_order is None:
            return n_pairs * BYTES_PER_PAIR
        # Those of a few atoms at a time, and images within reach of the cell.
        images = image_bytes(structure, max(self.bank.reaches))
        n_features = len(self.columns[0]) if method == "jvp" else 0
        largest = n_pairs / len(structure) * (1 + n_features)
        return images + largest * BYTES_PER_PAIR

    def describe_need(self, structure: Structure) -> tuple[str, str]:
        """Return how many neighbours a structure has, and how to have fewer."""
        what = describe_pairs(structure, max(self.bank.reaches))
        return what, "use fewer scales or set a smaller reach"

    @property
    def interaction_range(self) -> float:
        """Distance (Å) beyond which atoms do not change the terms of an atom.

        Terms of second order are made of moduli at the neighbours, which have neighbours.
        """
        return max(1, int(self.paths.order.max(initial=1))) * float(max(self.bank.reaches))

    @property
    def leading(self) -> bool:
        """Whether sweeps take groups of the first atoms only: the compiled ones do."""
        return self._first_order is not None

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
        first = self._first_order
        if first is None:
            return self._cascade(structure, groups).sums()
        return self._spread(first.sums(structure, groups))

    def group_sums_jvp(
        self,
        structure: Structure,
        groups: AtomGroups,
        displacements: np.ndarray,
        strains: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the sums and their derivatives along directions."""
        first = self._first_order
        if first is None:
            return self._cascade(structure, groups).jvp(displacements, strains)
        sums, derivatives = first.jvp(structure, groups, displacements, strains)
        return self._spread(sums), self._spread(derivatives)

    @property
    def strains_apart(self) -> bool:
        """Whether `group_sums_vjp` gives the gradients in a strain atom by atom."""
        return self._first_order is not None

    def group_sums_vjp(
        self,
        structure: Structure,
        groups: AtomGroups,
        weights: np.ndarray,
        strain: np.ndarray | None = None,
    ) -> Gradients:
        """Return the sums and the gradients of ``(weights * sums).sum()``."""
        first = self._first_order
        if first is None:
            return self._cascade(structure, groups).vjp(weights)
        weights = weights[:, self._first_maps]
        sums, gradient, strain = first.vjp(structure, groups, weights, strain)
        return self._spread(sums), gradient, strain

    def atom_jacobian(self, structure: Structure) -> AtomJacobian:
        """Return ``atom_values`` with their derivatives in every atom and in a strain."""
        first = self._first_order
        if first is None:
            return super().atom_jacobian(structure)
        jacobian = first.jacobian(structure)
        shape = (len(self._first_maps), len(self.powers))
        features, values, strain = (
            self._spread(array.reshape(*array.shape[:-1], *shape))
            for array in (jacobian.features, jacobian.values, jacobian.strain)
        )
        path, power = self.columns
        kinds = self.kinds(structure)
        has = self._has_feature(kinds)
        place = self.places[path], power
        return AtomJacobian(
            self._with_zero_order(kinds, features[:, *place] * has),
            jacobian.centers,
            jacobian.atoms,
            values[..., *place] * has[jacobian.centers, None],
            strain[..., *place] * has[:, None, None],
        )

    @cached_property
    def _first_maps(self) -> np.ndarray:
        """The maps that are not of order zero, which have no moments."""
        return np.unique(self.places[self.paths.order > 0])

    @cached_property
    def _first_order(self) -> FirstOrder | None:
        """The compiled first order; None where there is a second one, or order zero alone."""
        if self.paths.order.max() != 1:
            return None
        # Any path of each map.
        path = np.unique(self.places, return_index=True)[1][self._first_maps]
        wavelet, scale = self.paths.wavelet1[path], self.paths.scale1[path]
        channel = self.paths.channel[path]
        bank = self.bank
        numbers = np.array(bank.wavelets)
        # Radial parts by degree, then as they come.
        radials, place = np.unique(
            np.column_stack([numbers[wavelet, 1], wavelet, scale]), axis=0, return_inverse=True
        )
        moments = WaveletMoments(
            degrees=radials[:, 0],
            n=numbers[radials[:, 1], 0],
            dilations=2.0 ** np.array(bank.scales)[radials[:, 2]],
            reaches=np.array(bank.reaches)[radials[:, 2]],
            beta=bank.beta,
            dtype=np.dtype(self.dtype).name,
        )
        floors = self._floors()[0][channel, wavelet, scale]
        tiny = np.finfo(self.dtype).tiny  # not zero for channels without weight
        return FirstOrder(
            moments,
            channel,
            np.ravel(place),
            np.maximum(floors**2, tiny),
            self.elements,
            self.weights,
            AtomPowers(self.powers),
        )

    def _spread(self, sums: np.ndarray) -> np.ndarray:
        """Return sums (..., n_terms, n_powers) with zeros for the maps of order zero."""
        spread = np.zeros((*sums.shape[:-2], self.n_terms, sums.shape[-1]), sums.dtype)
        spread[..., self._first_maps, :] = sums
        return spread

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
