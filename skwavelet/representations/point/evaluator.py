"""The sums of point scattering: which maps they need, and the kernels that compute them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from skwavelet._utils.threads import n_threads
from skwavelet.representations.atom_evaluator import AtomEvaluator, AtomGroups
from skwavelet.representations.atom_jacobian import AtomJacobian
from skwavelet.representations.evaluator import Gradients
from skwavelet.representations.paths import ScatteringPaths
from skwavelet.representations.point.bank import Bank
from skwavelet.representations.point.first_order import FirstOrder
from skwavelet.representations.point.moments import WaveletMoments
from skwavelet.representations.point.plan import distinct_maps
from skwavelet.representations.point.second_order import DERIVATIVE_BYTES, SecondOrder
from skwavelet.representations.wavelets import wavelet_size
from skwavelet.structures.cell_list import KEPT_BYTES, PAIRS, pair_bytes
from skwavelet.structures.checks import Structure
from skwavelet.structures.directions import Directions
from skwavelet.structures.neighborhoods import (
    describe_pairs,
    estimate_pairs,
    image_bytes,
)

# Neighbour, vector, and their wavelets.
BYTES_PER_PAIR = 250


@dataclass(frozen=True, eq=False, kw_only=True)
class PointEvaluator(AtomEvaluator):
    """The fitted state of a ``PointScattering`` on plain arrays.

    ``smoothing`` is the floor of the modulus relative to the map of one atom.
    """

    paths: ScatteringPaths
    bank: Bank
    smoothing: float

    def memory(self, structure: Structure, method: str = "values") -> float:
        """Estimate the bytes that a structure takes: neighbours, and inputs of a second order."""
        # Pairs of a few atoms for every thread, and images within reach of the cell.
        n_pairs = estimate_pairs(structure, max(self.bank.reaches))
        images = image_bytes(structure, max(self.bank.reaches))
        n_features = len(self.columns[0]) if method == "jvp" else 0
        largest = n_pairs / len(structure) * (1 + n_features)
        inputs = kept = 0.0
        if isinstance(self._layers, SecondOrder):
            layers, itemsize = self._layers, np.dtype(self.dtype).itemsize
            n_moments = len(self.elements) * layers.first.moments.layout.n_terms
            inputs = (3.0 * len(layers.sources) + n_moments) * itemsize
            kept = min(KEPT_BYTES, n_pairs * pair_bytes(layers.moments.dtype))
        several = DERIVATIVE_BYTES if inputs and method == "jvp" else 0
        largest += (n_threads() - 1) * min(PAIRS, n_pairs)
        return images + largest * BYTES_PER_PAIR + len(structure) * inputs + several + kept

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
    def places(self) -> np.ndarray:
        """Map of every path, of shape (n_paths,)."""
        return distinct_maps(self.paths)[1]

    @property
    def n_terms(self) -> int:
        """Number of maps."""
        return len(distinct_maps(self.paths)[0])

    def group_sums(self, structure: Structure, groups: AtomGroups) -> np.ndarray:
        """Return the sums (n_groups, n_maps, n_powers) over the atoms of every group."""
        if self._layers is None:
            return self._nothing(groups)
        return self._spread(self._layers.sums(structure, groups))

    def group_sums_jvp(
        self, structure: Structure, groups: AtomGroups, directions: Directions
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the sums and their derivatives along directions."""
        if self._layers is None:
            return self._nothing(groups), self._nothing(groups, len(directions))
        sums, derivatives = self._layers.jvp(structure, groups, directions)
        return self._spread(sums), self._spread(derivatives)

    @property
    def strains_apart(self) -> bool:
        """Whether `group_sums_vjp` gives the gradients in a strain atom by atom."""
        return not isinstance(self._layers, SecondOrder)

    def group_sums_vjp(
        self,
        structure: Structure,
        groups: AtomGroups,
        weights: np.ndarray,
        strain: np.ndarray | None = None,
    ) -> Gradients:
        """Return the sums and the gradients of ``(weights * sums).sum()``."""
        strain = np.zeros((3, 3)) if strain is None else strain
        if self._layers is None:
            return self._nothing(groups), np.zeros((len(structure), 3)), strain
        weights = weights[:, self._summed_maps]
        sums, gradient = self._layers.vjp(structure, groups, weights, strain)
        return self._spread(sums), gradient, strain

    def atom_jacobian(self, structure: Structure) -> AtomJacobian:
        """Return ``atom_values`` with their derivatives in every atom and in a strain."""
        if not isinstance(self._layers, FirstOrder):
            return super().atom_jacobian(structure)
        jacobian = self._layers.jacobian(structure)
        shape = (len(self._summed_maps), len(self.powers))
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
    def _summed_maps(self) -> np.ndarray:
        """The maps that are not of order zero, by order."""
        order = distinct_maps(self.paths)[0].order
        return np.concatenate([np.flatnonzero(order == k) for k in (1, 2)])

    @cached_property
    def _layers(self) -> FirstOrder | SecondOrder | None:
        """The compiled sums of orders one and two; None where there is order zero alone."""
        maps = distinct_maps(self.paths)[0].take(self._summed_maps)
        if not len(maps):
            return None
        channel_floors, gains = self._floors()
        # Channel, wavelet and scale: those that are summed, then those that are only inputs.
        below = np.column_stack([maps.channel, maps.wavelet1, maps.scale1])
        second = maps.order == 2
        keys = np.concatenate([below[~second], np.unique(below[second], axis=0)])
        keys = keys[np.sort(np.unique(keys, axis=0, return_index=True)[1])]
        channel, wavelet, scale = keys.T
        moments, radials = self._moments(wavelet, scale)
        first = FirstOrder(
            moments,
            channel,
            radials,
            self._squared(channel_floors[channel, wavelet, scale]),
            self.elements,
            self.weights,
            self.powers,
            int(np.count_nonzero(~second)),
        )
        if not second.any():
            return first
        rows = {tuple(key): row for row, key in enumerate(keys.tolist())}
        source = np.array([rows[tuple(key)] for key in below[second].tolist()])
        sources, inputs = np.unique(source, return_inverse=True)
        wavelet, scale = maps.wavelet2[second], maps.scale2[second]
        first_scale = np.full(len(sources), scale.max())
        np.minimum.at(first_scale, inputs, scale)
        order = np.argsort(first_scale, kind="stable")
        sources, inputs = sources[order], np.argsort(order)[inputs]
        moments, radials = self._moments(wavelet, scale)
        floors = channel_floors[tuple(keys[source].T)] * gains[wavelet, scale]
        return SecondOrder(first, sources, moments, inputs, radials, self._squared(floors))

    def _moments(self, wavelet: np.ndarray, scale: np.ndarray) -> tuple[WaveletMoments, np.ndarray]:
        """Return the distinct radial parts of some wavelets, and which of them each one has."""
        bank = self.bank
        numbers = np.array(bank.wavelets)
        # By degree, then as they come.
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
        return moments, np.ravel(place)

    def _squared(self, floors: np.ndarray) -> np.ndarray:
        # Not zero for channels without weight, such as the ionic one of hydrogen.
        return np.maximum(floors**2, np.finfo(self.dtype).tiny)

    def _nothing(self, groups: AtomGroups, *directions: int) -> np.ndarray:
        return groups.zeros(self.n_terms, len(self.powers), self.dtype, *directions)

    def _spread(self, sums: np.ndarray) -> np.ndarray:
        """Return sums (..., n_terms, n_powers) with zeros for the maps of order zero."""
        spread = np.zeros((*sums.shape[:-2], self.n_terms, sums.shape[-1]), sums.dtype)
        spread[..., self._summed_maps, :] = sums
        return spread

    def _floors(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the floors of the modulus.

        Those of the first order (n_channels, n_wavelets, n_scales), which are ``smoothing`` times
        the amplitude of the map of a single average atom, and the factors (n_wavelets, n_scales)
        by which the second order changes them.
        """
        bank = self.bank
        sizes = np.array([wavelet_size(n, l, bank.beta) for n, l in bank.wavelets])
        gains = sizes[:, None] * 2.0 ** (-3 * np.array(bank.scales))
        weights = np.sqrt((self.weights**2).mean(axis=0))
        return self.smoothing * weights[:, None, None] * gains, gains
