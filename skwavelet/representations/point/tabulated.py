"""Moments of tabulated radial functions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from skwavelet.representations.exponential_kernels import exponential
from skwavelet.representations.point.moment_kernels import fill_jacobian
from skwavelet.representations.point.moments import Moments
from skwavelet.representations.point.wavelet_kernels import Radials
from skwavelet.structures.cell_list import PairBlock


@dataclass(frozen=True, eq=False)
class TabulatedMoments(Moments):
    """Moments of radial functions that are cubic on equal parts of the reach (Å).

    The table (n_tables, n_elements, n_parts + 1, 4, n_radials) has the functions divided by r^l,
    for every element of the centre, or one for all, and for every element of the neighbour: see
    `Radials`. ``together`` sums over neighbours of all elements.
    """

    table: np.ndarray
    reach: float
    together: bool

    @cached_property
    def radials(self) -> Radials:
        """The radial functions in the form of the compiled kernels."""
        empty = np.empty(0, self.dtype)
        return Radials(
            half=empty,
            begin=empty,
            end=empty,
            scale=np.zeros(len(self.degrees), np.int64),
            degree=np.zeros(0, np.int64),
            coefficients=np.empty((0, 0), self.dtype),
            bounds=self.layout.bounds,
            norms=self.layout.norms.astype(self.dtype),
            exponential=exponential(self.dtype),
            table=np.ascontiguousarray(self.table, dtype=self.dtype),
            centers=np.empty(0, np.int64),
            steps=np.array([(self.table.shape[2] - 1) / self.reach], self.dtype),
        )

    def jacobian(self, pairs: PairBlock) -> np.ndarray:
        """Return what the vector of a pair does to the centre's moments (n_pairs, 3, n_terms)."""
        jacobian = np.empty((len(pairs.neighbors), 3, self.layout.n_terms), self.dtype)
        fill_jacobian(pairs.vectors, pairs.ends, self._around(pairs), jacobian)
        return jacobian

    def _around(self, pairs: PairBlock) -> Radials:
        """Return the radial functions for the centres of some pairs."""
        kinds = pairs.kinds if len(self.table) > 1 else np.zeros_like(pairs.kinds)
        return self.radials._replace(centers=kinds)

    def _segments(self, pairs: PairBlock) -> np.ndarray:
        """Return where the pairs end that are summed together."""
        return np.ascontiguousarray(pairs.ends[:, -1:]) if self.together else pairs.ends
