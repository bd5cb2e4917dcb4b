"""Arrays, scratch space and real FFTs behind one small interface: here NumPy with pyFFTW.

The cascade asks an ``Arrays`` object for everything that depends on where it runs, and otherwise
uses the functions of the namespace ``xp``; ``torch_arrays`` is the other one.

Plans and buffers belong to the process and the thread, never to an estimator, so that estimators
pickle and threads do not share buffers.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from skwavelet._utils.fftw_plans import current_file, planning, use_file
from skwavelet._utils.memory import available_memory

# Buffers of shapes not used lately are released beyond this many bytes.
CACHE_BYTES = 2**28
# Single ones beyond this are released when a structure is done.
RELEASE_BYTES = 2**26
# Smaller maps have FFT plans by rule instead of by timing.
PLANNED_VOXELS = 2**13
# Maps that are transformed together stay in cache.
CHUNK_BYTES = 2**22
# One FFT plan does about this many voxels: more are no faster, and take long to plan.
TOGETHER = 2**21
# Parts of this many numbers and their roots stay in the inner cache.
PART = 2**17
# Larger maps are transformed by planes, see `skwavelet.representations.voxel.planes`.
STREAM_VOXELS = 2**22

# An array of the namespace that a computation runs in.
Array = Any
# What the cascade runs on: NumpyArrays, or TorchArrays, which has the same attributes.
Arrays = Any

_local = threading.local()


def half(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of the half spectrum of a real map."""
    return (*shape[:-1], shape[-1] // 2 + 1)


def n_threads() -> int:
    """Return how many threads this thread may use for one large structure."""
    return getattr(_local, "threads", 1)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let large transforms of this thread use several threads."""
    if count == 1:
        yield
        return
    with ThreadPoolExecutor(count, initializer=use_file, initargs=(current_file(),)) as created:
        _local.pool, _local.threads = created, count
        try:
            yield
        finally:
            _local.pool, _local.threads = None, 1


def spread(function: Callable, items: Iterable) -> None:
    """Call a function with every item, shared among the threads that this thread may use."""
    executor = getattr(_local, "pool", None)
    for _ in map(function, items) if executor is None else executor.map(function, items):
        pass


def aligned(shape: int | tuple[int, ...], dtype: np.dtype | type) -> np.ndarray:
    """Return an array without values that is placed as FFTW likes it."""
    # pyFFTW imports Dask where it is installed: only who transforms waits for it.
    import pyfftw

    return pyfftw.empty_aligned(shape, dtype)


def plan(source: np.ndarray, target: np.ndarray, axes: tuple[int, ...], inverse: bool):
    """Return a function that transforms ``source`` into ``target``, and may destroy the former."""
    import pyfftw

    # By rule where timing gains little: every process then has the same plans, and rounds alike.
    small = math.prod(source.shape[axis] for axis in axes) < PLANNED_VOXELS
    flags = ("FFTW_ESTIMATE" if small else "FFTW_MEASURE",)
    with planning():
        fftw = pyfftw.FFTW(
            source,
            target,
            axes=axes,
            direction="FFTW_BACKWARD" if inverse else "FFTW_FORWARD",
            flags=(*flags, "FFTW_DESTROY_INPUT") if inverse else flags,
            threads=1,
        )
    return fftw.execute


class Workspace:
    """Maps and half spectra of one shape, with unnormalized transforms between them.

    Attributes
    ----------
    spectra : ndarray of shape (batch, L0, L1, L2 // 2 + 1)
        Complex coefficients X; ``inverse`` overwrites ``maps`` with sum_G X_G exp(iG.u), and
        destroys ``spectra``.
    maps : ndarray of shape (batch, L0, L1, L2)
        Real values f; ``forward`` overwrites ``spectra`` with sum_u f_u exp(-iG.u).
    """

    def __init__(self, batch: int, shape: tuple[int, ...], dtype: np.dtype):
        complex_dtype = np.result_type(dtype, np.complex64)
        self.spectra = aligned((batch, *half(shape)), complex_dtype)
        self.maps = aligned((batch, *shape), dtype)
        self._plans = {}
        size = max(1, TOGETHER // math.prod(shape))
        for inverse in (True, False):
            parts = [
                (self.spectra[start : start + size], self.maps[start : start + size])
                for start in range(0, batch, size)
            ]
            self._plans[inverse] = [
                plan(*(part if inverse else part[::-1]), (1, 2, 3), inverse) for part in parts
            ]

    @property
    def nbytes(self) -> int:
        """Bytes of both buffers."""
        return self.spectra.nbytes + self.maps.nbytes

    def inverse(self) -> np.ndarray:
        """Transform ``spectra`` into ``maps`` and return them."""
        for execute in self._plans[True]:
            execute()
        return self.maps

    def forward(self) -> np.ndarray:
        """Transform ``maps`` into ``spectra`` and return them."""
        for execute in self._plans[False]:
            execute()
        return self.spectra


@dataclass(frozen=True)
class NumpyArrays:
    """NumPy arrays of one precision.

    Attributes
    ----------
    dtype : dtype
        Real type.
    """

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

    def streams(self, shape: tuple[int, int, int]) -> bool:
        """Whether maps of a shape are transformed by planes."""
        return math.prod(shape) > STREAM_VOXELS

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
        created = cache[key] = Workspace(batch, shape, self.dtype)
        while len(cache) > 2 and sum(w.nbytes for w in cache.values()) > CACHE_BYTES:
            cache.popitem(last=False)
        return created

    def release(self) -> None:
        """Give back large scratch space: call it when a structure is done."""
        for cache in (_local.__dict__.get("buffers", {}), _local.__dict__.get("workspaces", {})):
            for key in [key for key, kept in cache.items() if kept.nbytes > RELEASE_BYTES]:
                del cache[key]

    def parts(self, rows: int, length: int) -> Iterator[slice]:
        """Split rows of some length into parts that stay in cache."""
        size = max(1, PART // length)
        for start in range(0, rows, size):
            yield slice(start, start + size)

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

    def forward_rows(self, maps: np.ndarray, out: np.ndarray, *, root: bool) -> None:
        """Write the forward transforms of maps (S, B, grid), or of their square roots."""
        work = self.workspace(1, maps.shape[2:], slot=2)
        for row in np.ndindex(maps.shape[:2]):
            (np.sqrt if root else np.positive)(maps[row], out=work.maps[0])
            out[row] = work.forward()[0]

    def inverse_rows(self, spectra: np.ndarray, out: np.ndarray) -> None:
        """Write the inverse transforms of conjugated half spectra to maps (S, B, grid)."""
        work = self.workspace(1, out.shape[2:], slot=2)
        for row in np.ndindex(out.shape[:2]):
            np.conjugate(spectra[row], out=work.spectra[0])
            out[row] = work.inverse()[0]

    def complex(self, maps: np.ndarray) -> np.ndarray:
        """Return maps as complex numbers, for products with those."""
        return maps  # matmul does it

    def cbrt(self, values: np.ndarray, out: np.ndarray) -> np.ndarray:
        """Write cube roots to ``out``."""
        return np.cbrt(values, out=out)
