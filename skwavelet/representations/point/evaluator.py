"""Features of one structure and their derivatives: neighbours, cascade, normalization."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from skwavelet.representations.normalization import Normalization, zero_order
from skwavelet.representations.point.cascade import Bank, Cascade
from skwavelet.representations.point.plan import make_plan
from skwavelet.representations.point.powers import AtomPowers
from skwavelet.representations.wavelets import wavelet_size
from skwavelet.structures.checks import Structure
from skwavelet.structures.neighborhoods import Neighborhoods, check_memory

# Neighbour list, vectors, and their gradient in float64.
BYTES_PER_PAIR = 250


@dataclass(frozen=True, eq=False)
class PointEvaluator:
    """The fitted state of a ``PointScattering`` on plain arrays.

    Attributes
    ----------
    bank : Bank
        Wavelets, scales and reaches.
    elements : tuple of int
        Atomic numbers of the rows of ``weights``, in increasing order.
    weights : ndarray of shape (n_elements, n_channels)
        Channel weights.
    paths : ndarray of shape (n_paths, 7)
        See ``resolve_centers``.
    columns : tuple of (ndarray, ndarray)
        Path and power of every feature.
    powers : tuple of float
    smoothing : float
        Floor of the modulus relative to the map of one atom.
    normalize : {"atoms", "lower_order"} or None
    dtype : str
    """

    bank: Bank
    elements: tuple[int, ...]
    weights: np.ndarray
    paths: np.ndarray
    columns: tuple[np.ndarray, np.ndarray]
    powers: tuple[float, ...]
    smoothing: float
    normalize: str | None
    dtype: str

    def check(self, structure: Structure) -> None:
        """Raise ``ValueError`` if the neighbours of a structure would not fit into memory."""
        reach = max(self.bank.reaches)
        check_memory(structure, reach, BYTES_PER_PAIR, "use fewer scales or set a smaller reach")

    def features(self, structure: Structure) -> np.ndarray:
        """Return the features, of shape (n_features,)."""
        sums = self._by_path(self._cascade(structure).sums()) + self._zero_order(structure)
        return self._normalization.features(sums, len(structure)).astype(self.dtype)

    def atom_features(self, structure: Structure) -> np.ndarray:
        """Return what every atom adds to the sums, of shape (N, n_features)."""
        table = self._cascade(structure).atoms()[:, make_plan(self.paths)[1]]
        table *= self._summed_over(structure)[:, :, None]
        zero = self.paths[:, 0] == 0
        weights = np.abs(self._atom_weights(structure)[:, self.paths[zero, 1]])
        table[:, zero] = weights[:, :, None] ** np.array(self.powers)
        return table[:, self.columns[0], self.columns[1]]

    def tangents(
        self, structure: Structure, displacements: np.ndarray, strains: np.ndarray
    ) -> np.ndarray:
        """Return derivatives along directions, of shape (n_directions, n_features)."""
        sums, derivatives = self._cascade(structure).tangents(displacements, strains)
        sums = self._by_path(sums) + self._zero_order(structure)
        derivatives = np.stack([self._by_path(d) for d in derivatives])
        tangents = self._normalization.tangents(sums, derivatives, len(structure))
        return tangents.astype(self.dtype)

    def gradients(
        self, structure: Structure, cotangent: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the features and the gradients of ``cotangent @ features``."""
        cascade, zero = self._cascade(structure), self._zero_order(structure)
        normalization = self._normalization
        # The weights of the sums depend on the values of those one order lower.
        sums = zero
        if self.normalize == "lower_order":
            sums = self._by_path(cascade.sums()) + zero
        weights = normalization.cotangents(cotangent, sums, len(structure))
        table = np.zeros(cascade.shape)
        table[self._places] = weights
        sums, gradient = cascade.gradients(table)
        sums = self._by_path(sums) + zero
        features = normalization.features(sums, len(structure)).astype(self.dtype)
        return features, *cascade.hoods.pull(gradient)

    # -- parts -------------------------------------------------------------------------------

    @cached_property
    def _normalization(self) -> Normalization:
        return Normalization(self.normalize, self.paths, self.columns)

    @property
    def _places(self) -> tuple[np.ndarray, np.ndarray]:
        """Return where the sum of each path stands among those of the cascade."""
        return make_plan(self.paths)[1], np.maximum(self.paths[:, 6], 0)

    def _by_path(self, sums: np.ndarray) -> np.ndarray:
        """Return the sums (n_paths, n_powers) from those (n_maps, n_groups, n_powers)."""
        return sums[self._places]

    def _groups(self, structure: Structure) -> np.ndarray:
        """Return whose sums are taken: all atoms, or the atoms of every element."""
        if self.paths[:, 6].max() < 0:
            return np.ones((1, len(structure)))
        return structure.numbers == np.array(self.elements)[:, None]

    def _summed_over(self, structure: Structure) -> np.ndarray:
        """Return whether an atom is among those of a path, of shape (N, n_paths)."""
        kinds = np.searchsorted(self.elements, structure.numbers)
        return (self.paths[:, 6] < 0) | (self.paths[:, 6] == kinds[:, None])

    def _cascade(self, structure: Structure) -> Cascade:
        return Cascade(
            make_plan(self.paths)[0],
            self.bank,
            Neighborhoods(structure, max(self.bank.reaches)),
            self._atom_weights(structure),
            self._floors(),
            AtomPowers(self.powers),
            self._groups(structure),
            self.dtype,
        )

    def _atom_weights(self, structure: Structure) -> np.ndarray:
        return self.weights[np.searchsorted(self.elements, structure.numbers)]

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

    def _zero_order(self, structure: Structure) -> np.ndarray:
        """Return sum_k |c(Z_k)|^q in the rows (n_paths, n_powers) of the zero-order paths."""
        channels = np.where(self.paths[:, 0] == 0, self.paths[:, 1], -1)
        return zero_order(structure.numbers, self.elements, self.weights, channels, self.powers)
