"""Moments of tabulated radial functions."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np

from skwavelet.representations.point.moment_kernels import (
    add_gradients,
    fill_jacobian,
    fill_moments,
)
from skwavelet.representations.point.moments import MomentLayout
from skwavelet.representations.point.wavelet_kernels import Radials
from skwavelet.structures.cell_list import PairBlock


@dataclass(frozen=True, eq=False)
class TabulatedMoments:
    """Moments of radial functions that are cubic on equal parts of the reach.

    Attributes
    ----------
    degrees : ndarray of shape (n_radials,)
        Degree l of every function, in increasing order.
    table : ndarray of shape (n_elements, n_parts + 1, 4, n_radials)
        Of the functions divided by r^l, for every element of the neighbour: see `Radials`.
    reach : float
        Largest distance (Å).
    together : bool
        Whether neighbours of all elements are summed together.
    dtype : str
    """

    degrees: np.ndarray
    table: np.ndarray
    reach: float
    together: bool
    dtype: str

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @cached_property
    def layout(self) -> MomentLayout:
        """Where the moments stand."""
        return MomentLayout(self.degrees)

    @cached_property
    def radials(self) -> Radials:
        """The functions in the form of the compiled kernels."""
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
            decays=empty,
            series=empty,
            table=np.ascontiguousarray(self.table, dtype=self.dtype),
            steps=np.array([(self.table.shape[1] - 1) / self.reach], self.dtype),
        )

    def values(self, pairs: PairBlock) -> np.ndarray:
        """Return the moments (n_segments, n_terms, n_atoms) of the centres of some pairs."""
        segments = self._segments(pairs)
        shape = (segments.shape[1], self.layout.n_terms, len(segments) - 1)
        moments = np.empty(shape, self.dtype)
        if moments.size:
            fill_moments(pairs.vectors, pairs.ends, segments, self.radials, moments)
        return moments

    def add_vjp(
        self, pairs: PairBlock, cotangents: np.ndarray, gradient: np.ndarray, strain: np.ndarray
    ) -> None:
        """Add the gradients of ``(cotangents * moments).sum()``.

        Those in the positions of all atoms (N, 3), and in a strain (3, 3).
        """
        add_gradients(
            pairs.vectors, pairs.neighbors, pairs.ends, self._segments(pairs), self.radials,
            pairs.atoms.start, cotangents, gradient, strain,
        )  # fmt: skip

    def jacobian(self, pairs: PairBlock) -> np.ndarray:
        """Return what the vector of a pair does to the centre's moments (n_pairs, 3, n_terms)."""
        jacobian = np.empty((len(pairs.neighbors), 3, self.layout.n_terms), self.dtype)
        fill_jacobian(pairs.vectors, pairs.ends, self.radials, jacobian)
        return jacobian

    def _segments(self, pairs: PairBlock) -> np.ndarray:
        return np.ascontiguousarray(pairs.ends[:, -1:]) if self.together else pairs.ends
