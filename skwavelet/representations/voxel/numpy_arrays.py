"""The cascade on NumPy arrays, with FFTW.

Plans and buffers belong to the process and the thread, never to an estimator, so that estimators
pickle and threads do not share buffers.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from skwavelet._utils.fftw_plans import current_file
from skwavelet._utils.memory import available_memory
from skwavelet.representations.voxel.arrays import Array
from skwavelet.representations.voxel.fftw import Workspace, aligned, one_by_one
from skwavelet.representations.voxel.map_kernels import average
from skwavelet.representations.voxel.numpy_chunk import NumpyChunk
from skwavelet.representations.voxel.packing import (
    is_packed,
    ones,
    pack_filters,
    pack_spectra,
    steps,
    unpack_cotangents,
    unpack_filter_cotangents,
)
from skwavelet.representations.voxel.shifts import Shift, phases
from skwavelet.representations.voxel.spectrum_kernels import pack_conjugates, unpack_maps
from skwavelet.representations.voxel.spectrum_kernels import shift as shift_spectra

# Buffers of shapes not used lately are released beyond this many bytes.
CACHE_BYTES = 2**28
# Single ones beyond this are released when a structure is done.
RELEASE_BYTES = 2**26
# Maps that are transformed together stay in cache.
CHUNK_BYTES = 2**21

_local = threading.local()


@dataclass(frozen=True)
class NumpyArrays:
    """NumPy arrays of one precision, that of a real ``dtype``."""

    dtype: np.dtype

    @property
    def xp(self):
        """The array namespace."""
        return np

    @property
    def complex_dtype(self) -> np.dtype:
        """Complex type of the same precision."""
        return np.result_type(self.dtype, np.complex64)

    chunk_bytes = property(lambda self: CHUNK_BYTES, doc="How many bytes of maps go together.")

    batch_bytes = property(lambda self: 0.0, doc="Structures are computed one by one.")
    fixed_bytes = property(lambda self: 2.0**27, doc="What libraries and plans take.")
    by_planes = False

    def in_precision(self, dtype: np.dtype) -> Self:
        """Return the same backend with another real type."""
        return replace(self, dtype=dtype)

    def at(self, shape: tuple[int, int, int]) -> NumpyArrays:
        """Return the backend for maps of a shape: this one."""
        return self

    def kept_parents(self, shape: tuple[int, int, int], count: int) -> int:
        """Return how many first-order maps may be kept together: all."""
        return count

    def mixes_early(self, n_channels: int, n_elements: int) -> bool:
        """Whether there are no more channels than elements to be transformed."""
        return n_channels <= n_elements

    def chunk(
        self,
        spectra: Array,
        filters: Any,
        wavelet: int,
        mix: Array | None,
        floors: np.ndarray,
        powers: tuple[float, ...],
    ) -> Any:
        """Return the wavelet transforms of a few maps."""
        return NumpyChunk(self, spectra, filters, wavelet, mix, floors, powers)

    def asarray(self, values: np.ndarray) -> np.ndarray:
        """Return host values in this precision."""
        return np.asarray(values, self.complex_dtype if np.iscomplexobj(values) else self.dtype)

    def host(self, values: np.ndarray) -> np.ndarray:
        """Return values as a NumPy array."""
        return values

    def stack(self, rows: list[list[np.ndarray]]) -> np.ndarray:
        """Stack rows of arrays along two new first axes."""
        return np.array(rows)

    def available_memory(self) -> float:
        """Return how many bytes this process may still take."""
        return available_memory()

    def index(self, rows: np.ndarray) -> np.ndarray:
        """Return what selects rows, given their numbers."""
        return rows

    def empty(self, shape: tuple[int, ...], *, spectra: bool = False) -> np.ndarray:
        """Return an uninitialized array of maps or of spectra."""
        return np.empty(shape, self.complex_dtype if spectra else self.dtype)

    def zeros(self, shape: tuple[int, ...], *, spectra: bool = False) -> np.ndarray:
        """Return an array of zeros, of maps or of spectra."""
        return np.zeros(shape, self.complex_dtype if spectra else self.dtype)

    def buffer(self, name: str, shape: tuple[int, ...], *, spectra: bool = False) -> np.ndarray:
        """Return this thread's scratch array of a name, with whatever it held before.

        Fresh arrays of this size cost as much in page faults as a pass over them.
        """
        arrays: dict[str, np.ndarray] = _local.__dict__.setdefault("buffers", {})
        dtype = self.complex_dtype if spectra else self.dtype
        nbytes = math.prod(shape) * dtype.itemsize
        if name not in arrays or arrays[name].nbytes < nbytes:
            arrays.pop(name, None)
            arrays[name] = aligned(nbytes, np.uint8)
        return arrays[name][:nbytes].view(dtype).reshape(shape)

    def workspace(self, batch: int, shape: tuple[int, ...], slot: int = 0) -> Workspace:
        """Return this thread's workspace; ``slot`` tells apart those that are used together."""
        cache: OrderedDict = _local.__dict__.setdefault("workspaces", OrderedDict())
        key = (batch, shape, self.dtype.char, slot, current_file())
        if key in cache:
            cache.move_to_end(key)
            return cache[key]
        single = None
        if batch > 1 and one_by_one(shape, self.dtype):
            single = self.workspace(1, shape)
        created = cache[key] = Workspace(batch, shape, self.dtype, single)
        while len(cache) > 2 and sum(w.nbytes for w in cache.values()) > CACHE_BYTES:
            cache.popitem(last=False)
        return created

    def release(self) -> None:
        """Give back large scratch space: call it when a structure is done."""
        for cache in (_local.__dict__.get("buffers", {}), _local.__dict__.get("workspaces", {})):
            for key in [key for key, kept in cache.items() if kept.nbytes > RELEASE_BYTES]:
                del cache[key]

    def sum_products(self, a: np.ndarray, b: np.ndarray, axis: int, out: np.ndarray) -> np.ndarray:
        """Write the sum of a * b over an axis to ``out``."""
        before: tuple[Any, ...] = (slice(None),) * axis
        np.multiply(a[(*before, 0)], b[(*before, 0)], out=out)
        count = max(a.shape[axis], b.shape[axis])
        if count > 1:
            scratch = self.buffer("product", out.shape, spectra=out.dtype.kind == "c")
            for k in range(1, count):
                first, second = (x[(*before, min(k, x.shape[axis] - 1))] for x in (a, b))
                np.add(out, np.multiply(first, second, out=scratch), out=out)
        return out

    def conjugate(self, spectra: np.ndarray) -> np.ndarray:
        """Return the complex conjugate, in place where possible."""
        return np.conjugate(spectra, out=spectra)

    def pack(self, spectra: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
        """Return coefficients (S, B, half grid) as chunks take them: packed."""
        return pack_spectra(spectra, shape)

    def unpack(self, cotangents: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
        """Apply the adjoint of ``pack``."""
        return unpack_cotangents(cotangents, shape)

    def pack_filters(
        self, psi: np.ndarray, shape: tuple[int, int, int], *, odd: bool
    ) -> np.ndarray:
        """Return real filters (..., half grid) as chunks take them: packed."""
        return pack_filters(psi, shape, odd=odd)

    def unpack_filters(
        self, cotangents: np.ndarray, shape: tuple[int, int, int], *, odd: bool
    ) -> np.ndarray:
        """Apply the adjoint of ``pack_filters``."""
        return unpack_filter_cotangents(cotangents, shape, odd=odd)

    def shifted(
        self, spectra: np.ndarray, shape: tuple[int, int, int], shift: Shift, out: np.ndarray
    ) -> np.ndarray:
        """Write the coefficients of shifted maps to ``out``, which is returned."""
        packed = 2 * spectra.shape[-1] == shape[-1]
        columns, last = phases(shape, shift, spectra.dtype, packed=packed)
        rows = [x.reshape(-1, len(last), *x.shape[-3:]) for x in (spectra, out)]
        shift_spectra(rows[0], columns, last, rows[1])
        return out

    def average(
        self,
        maps: np.ndarray,
        shift: Shift,
        weight: float,
        out: np.ndarray,
        *,
        add: bool = False,
    ) -> None:
        """Write, or add, means of neighbours in maps (S, B, grid) on a shifted grid to ``out``."""
        rows = [x.reshape(-1, *x.shape[2:]) for x in (maps, out)]
        average(rows[0], np.array(shift.halves), weight, add, 0, maps.shape[2], rows[1])

    def forward_rows(
        self, maps: np.ndarray, out: np.ndarray, factors: np.ndarray | None = None
    ) -> None:
        """Write the forward transforms of maps (S, B, grid), times real factors (half grid)."""
        shape = maps.shape[2:]
        work = self.workspace(1, shape, slot=2)
        factors = ones(out.shape[2:], self.dtype) if factors is None else factors
        for row in np.ndindex(maps.shape[:2]):
            work.maps[0] = maps[row]
            found, target = work.forward(), out[row][None]
            if is_packed(shape):
                unpack_maps(found, steps(shape[-1], out.dtype), factors, target)
            else:
                np.multiply(found, factors, out=target)

    def inverse_rows(
        self, spectra: np.ndarray, out: np.ndarray, factors: np.ndarray | None = None
    ) -> None:
        """Write the inverse transforms of conjugated half spectra to maps (S, B, grid)."""
        shape = out.shape[2:]
        work = self.workspace(1, shape, slot=2)
        factors = ones(spectra.shape[2:], self.dtype) if factors is None else factors
        for row in np.ndindex(out.shape[:2]):
            source = spectra[row][None]
            if is_packed(shape):
                pack_conjugates(source, steps(shape[-1], spectra.dtype), factors, work.spectra)
            else:
                np.conjugate(source, out=work.spectra)
                work.spectra *= factors
            out[row] = work.inverse()[0]

    def complex(self, maps: np.ndarray) -> np.ndarray:
        """Return maps as complex numbers, for products with those."""
        return maps  # matmul does it
