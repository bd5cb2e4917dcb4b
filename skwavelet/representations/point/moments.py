"""Moments of atoms' neighbourhoods: which there are, and sweeps over the atoms of a structure."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np

from skwavelet.representations.exponential_kernels import exponential
from skwavelet.representations.point.filters import SWITCH_START
from skwavelet.representations.point.moment_kernels import add_gradients, fill_moments
from skwavelet.representations.point.wavelet_kernels import Radials
from skwavelet.representations.sweep import Pulls
from skwavelet.representations.wavelets import radial_coefficients, solid_harmonic_norm
from skwavelet.structures.cell_list import PairBlock


@dataclass(frozen=True, eq=False)
class MomentLayout:
    """Where the moments of one element stand: by degree, then m, then radial part.

    ``degrees`` (n_radials,) are those of the radial parts, in increasing order.
    """

    degrees: np.ndarray

    @cached_property
    def counts(self) -> np.ndarray:
        """Number of radial parts of every degree, of shape (max_l + 1,)."""
        return np.bincount(self.degrees)

    @cached_property
    def terms(self) -> np.ndarray:
        """Place of m = -l of every radial part among the moments of one element (n_radials,).

        That of the next m is ``counts[l]`` further.
        """
        sizes = self.counts * (2 * np.arange(len(self.counts)) + 1)
        first = np.cumsum(sizes) - sizes
        within = np.arange(len(self.degrees)) - (np.cumsum(self.counts) - self.counts)[self.degrees]
        return first[self.degrees] + within

    @property
    def n_terms(self) -> int:
        """Number of moments of one element."""
        return int((2 * self.degrees + 1).sum())

    @cached_property
    def bounds(self) -> np.ndarray:
        """Radial parts ``bounds[l]`` to ``bounds[l + 1]`` are of degree l."""
        return np.concatenate([[0], np.cumsum(self.counts)])

    @cached_property
    def norms(self) -> np.ndarray:
        """Norms of the solid harmonics, m = 0 ... l for every l."""
        return np.array(
            [solid_harmonic_norm(l, m) for l in range(len(self.counts)) for m in range(l + 1)]
        )


@dataclass(frozen=True, eq=False)
class Moments:
    """Moments of some radial functions, which a subclass writes, by increasing degree."""

    degrees: np.ndarray
    dtype: str

    def __getstate__(self) -> dict[str, Any]:
        # Without tables of kernels, which are cheap.
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def radials(self) -> Radials:
        """The radial functions in the form of the compiled kernels."""
        raise NotImplementedError

    @cached_property
    def layout(self) -> MomentLayout:
        """Where the moments stand."""
        return MomentLayout(self.degrees)

    def values(self, pairs: PairBlock) -> np.ndarray:
        """Return the moments (n_segments, n_terms, n_atoms) of the centres of some pairs."""
        segments = self._segments(pairs)
        shape = (segments.shape[1], self.layout.n_terms, len(segments) - 1)
        moments = np.empty(shape, self.dtype)
        if moments.size:
            fill_moments(pairs.vectors, pairs.ends, segments, self._around(pairs), moments)
        return moments

    def add_vjp(self, pairs: PairBlock, cotangents: np.ndarray, pulls: Pulls) -> None:
        """Add the gradients of ``(cotangents * moments).sum()`` of the centres of some pairs."""
        add_gradients(
            pairs.vectors, pairs.local, pairs.ends, self._segments(pairs), self._around(pairs),
            cotangents, pulls.positions, pulls.strain.reshape(-1, 3, 3),
        )  # fmt: skip

    def _around(self, pairs: PairBlock) -> Radials:
        """Return the radial functions for the centres of some pairs."""
        return self.radials

    def _segments(self, pairs: PairBlock) -> np.ndarray:
        """Return where the pairs end that are summed together: those of every element."""
        return pairs.ends


@dataclass(frozen=True, eq=False)
class WaveletMoments(Moments):
    """The moments of some wavelets and scales.

    Each of these (n_radials,) has a radial order n, a factor 2^j, the dilation, and a distance (Å)
    at which it ends, the reach; beta is the width of the wavelets (Å).
    """

    n: np.ndarray
    dilations: np.ndarray
    reaches: np.ndarray
    beta: float

    @property
    def reach(self) -> float:
        """Largest distance (Å)."""
        return float(self.reaches.max())

    @cached_property
    def radials(self) -> Radials:
        """The radial functions in the form of the compiled kernels."""
        bands, scale = np.unique(
            np.column_stack([self.dilations, self.reaches]), axis=0, return_inverse=True
        )
        width = int((self.n - self.degrees).max())
        coefficients = np.zeros((len(self.degrees), width))
        for row, l, n, dilation in zip(
            coefficients, self.degrees.tolist(), self.n.tolist(), self.dilations, strict=True
        ):
            row[: n - l] = radial_coefficients(n, l, self.beta) / dilation ** (3 + l)
        squares = bands[:, 1] ** 2

        def cast(values: Any) -> np.ndarray:
            return np.asarray(values, dtype=self.dtype)

        return Radials(
            half=cast(0.5 / (self.beta * bands[:, 0]) ** 2),
            begin=cast(SWITCH_START * squares),
            end=cast(squares),
            scale=np.ravel(scale),
            degree=self.n - self.degrees - 1,
            coefficients=cast(coefficients),
            bounds=self.layout.bounds,
            norms=cast(self.layout.norms),
            exponential=exponential(self.dtype),
            table=cast(np.empty((0, 0, 0, 0, 0))),
            centers=np.empty(0, np.int64),
            steps=cast([0]),
        )
