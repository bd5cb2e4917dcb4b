"""What the cascade asks of a backend: arrays, scratch space, real FFTs, and a few passes.

The cascade asks an ``Arrays`` object for everything that depends on where it runs, and otherwise
uses the functions of the namespace ``xp``. There are ``NumpyArrays`` and, for maps too large for
the caches, its ``PlaneArrays``; ``TorchArrays`` for tensors on a CPU or GPU.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from skwavelet.representations.voxel.shifts import Shift

# An array of the namespace that a computation runs in.
Array = Any


def half(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of the half spectrum of a real map."""
    return (*shape[:-1], shape[-1] // 2 + 1)


class Arrays(Protocol):
    """A backend; arrays of shape (S, B, ...) belong to B maps of S structures."""

    @property
    def dtype(self) -> np.dtype:
        """Real type, of NumPy."""

    @property
    def xp(self) -> Any:
        """The array namespace."""

    @property
    def chunk_bytes(self) -> int:
        """How many bytes of maps are transformed together."""

    @property
    def batch_bytes(self) -> float:
        """How much structures of one box may take that are computed together."""

    @property
    def fixed_bytes(self) -> float:
        """What libraries, plans and scratch space of bounded size take."""

    def in_precision(self, dtype: np.dtype) -> Arrays:
        """Return the same backend with another real type."""

    # -- which backend, for maps of which size ----------------------------------------------

    @property
    def by_planes(self) -> bool:
        """Whether maps are transformed plane by plane, with filters that are real numbers."""

    def at(self, shape: tuple[int, int, int]) -> Arrays:
        """Return the backend for maps of a shape."""

    def kept_parents(self, shape: tuple[int, int, int], count: int) -> int:
        """Return how many of some first-order maps may be kept for the second order together."""

    def mixes_early(self, n_channels: int, n_elements: int) -> bool:
        """Whether spectra are mixed into channels before the transforms, or maps after them."""

    def chunk(
        self,
        spectra: Array,
        filters: Any,
        wavelet: int,
        mix: Array | None,
        floors: np.ndarray,
        powers: tuple[float, ...],
    ) -> Any:
        """Return the wavelet transforms of a few maps, see ``Chunk``."""

    # -- arrays -----------------------------------------------------------------------------

    def available_memory(self) -> float:
        """Return how many bytes a computation may still take."""

    def asarray(self, values: np.ndarray) -> Array:
        """Return host values in this precision."""

    def host(self, values: Array) -> np.ndarray:
        """Return values as a NumPy array."""

    def stack(self, rows: list[list[Array]]) -> Array:
        """Stack rows of arrays along two new first axes."""

    def index(self, rows: np.ndarray) -> Array:
        """Return what selects rows, given their numbers."""

    def empty(self, shape: tuple[int, ...], *, spectra: bool = False) -> Array:
        """Return an uninitialized array of maps or of spectra."""

    def zeros(self, shape: tuple[int, ...], *, spectra: bool = False) -> Array:
        """Return an array of zeros, of maps or of spectra."""

    def buffer(self, name: str, shape: tuple[int, ...], *, spectra: bool = False) -> Array:
        """Return the scratch array of a name, with whatever it held before."""

    def workspace(self, batch: int, shape: tuple[int, ...], slot: int = 0) -> Any:
        """Return a workspace, see ``fftw.py``; ``slot`` tells apart those used together."""

    def release(self) -> None:
        """Give back large scratch space: call it when a structure is done."""

    # -- passes over arrays -----------------------------------------------------------------

    def sum_products(self, a: Array, b: Array, axis: int, out: Array) -> Array:
        """Write the sum of a * b over an axis to ``out``."""

    def conjugate(self, spectra: Array) -> Array:
        """Return the complex conjugate, in place where possible."""

    def complex(self, maps: Array) -> Array:
        """Return maps as complex numbers, for products with those."""

    def pack(self, spectra: Array, shape: tuple[int, int, int]) -> Array:
        """Return coefficients (S, B, half grid) as chunks take them, (S, B, ...)."""

    def unpack(self, cotangents: Array, shape: tuple[int, int, int]) -> Array:
        """Apply the adjoint of ``pack``."""

    def pack_filters(self, psi: Array, shape: tuple[int, int, int], *, odd: bool) -> Array:
        """Return real filters (..., half grid), odd or even over the lattice, as chunks take them.

        They are 0 where a frequency has no partner.
        """

    def unpack_filters(self, cotangents: Array, shape: tuple[int, int, int], *, odd: bool) -> Array:
        """Apply the adjoint of ``pack_filters``, for sums over the whole lattice."""

    def shifted(
        self, spectra: Array, shape: tuple[int, int, int], shift: Shift, out: Array
    ) -> Array:
        """Write the coefficients of shifted maps to ``out``, which is returned.

        Of half spectra, or of what ``pack`` returns, and of cotangents if both are complex
        conjugates.
        """

    def average(
        self, maps: Array, shift: Shift, weight: float, out: Array, *, add: bool = False
    ) -> None:
        """Write, or add, means of neighbours in maps (S, B, grid) on a shifted grid to ``out``.

        Of the two points next to each voxel along every axis that is shifted; times a weight.
        """

    def forward_rows(self, maps: Array, out: Array, factors: np.ndarray | None = None) -> None:
        """Write the forward transforms of maps (S, B, grid), times real factors (half grid)."""

    def inverse_rows(self, spectra: Array, out: Array, factors: np.ndarray | None = None) -> None:
        """Write the inverse transforms of conjugated half spectra to maps (S, B, grid).

        Spectra are multiplied by real ``factors`` (half grid), equal at opposite frequencies.
        """


class Unpacked:
    """The part of a backend whose chunks take coefficients and real filters as they are."""

    def pack(self, spectra: Array, shape: tuple[int, int, int]) -> Array:
        """Return coefficients as chunks take them: as they are."""
        return spectra

    def unpack(self, cotangents: Array, shape: tuple[int, int, int]) -> Array:
        """Apply the adjoint of ``pack``."""
        return cotangents

    def pack_filters(self, psi: Array, shape: tuple[int, int, int], *, odd: bool) -> Array:
        """Return real filters as chunks take them: as they are."""
        return psi

    def unpack_filters(self, cotangents: Array, shape: tuple[int, int, int], *, odd: bool) -> Array:
        """Apply the adjoint of ``pack_filters``."""
        return cotangents
