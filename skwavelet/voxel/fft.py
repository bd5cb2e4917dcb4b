"""Real FFTs behind one small interface: a workspace of two buffers with both plans.

Plans and buffers belong to the process and the thread, never to an estimator, so that estimators
pickle and threads do not share buffers.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict

import numpy as np
import pyfftw

from skwavelet.voxel.wisdom import current_file, planning

# Buffers of shapes not used lately are released beyond this many bytes.
CACHE_BYTES = 2**28

_local = threading.local()


def half(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of the half spectrum of a real map."""
    return (*shape[:-1], shape[-1] // 2 + 1)


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

    def __init__(self, batch: int, shape: tuple[int, ...], dtype: np.dtype, threads: int = 1):
        complex_dtype = np.result_type(dtype, np.complex64)
        self.spectra = pyfftw.empty_aligned((batch, *half(shape)), dtype=complex_dtype)
        self.maps = pyfftw.empty_aligned((batch, *shape), dtype=dtype)
        common = {"axes": (1, 2, 3), "threads": threads}
        with planning():
            self._inverse = pyfftw.FFTW(
                self.spectra,
                self.maps,
                direction="FFTW_BACKWARD",
                flags=("FFTW_MEASURE", "FFTW_DESTROY_INPUT"),
                **common,
            )
            self._forward = pyfftw.FFTW(
                self.maps, self.spectra, direction="FFTW_FORWARD", flags=("FFTW_MEASURE",), **common
            )

    @property
    def nbytes(self) -> int:
        """Bytes of both buffers."""
        return self.spectra.nbytes + self.maps.nbytes

    def inverse(self) -> np.ndarray:
        """Transform ``spectra`` into ``maps`` and return them."""
        self._inverse.execute()
        return self.maps

    def forward(self) -> np.ndarray:
        """Transform ``maps`` into ``spectra`` and return them."""
        self._forward.execute()
        return self.spectra


def buffer(name: str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Return this thread's scratch array of a name, with whatever it held before.

    Fresh arrays of this size cost as much in page faults as a pass over them.
    """
    arrays: dict[str, np.ndarray] = _local.__dict__.setdefault("buffers", {})
    nbytes = math.prod(shape) * np.dtype(dtype).itemsize
    if nbytes > CACHE_BYTES:
        return np.empty(shape, dtype)
    if name not in arrays or arrays[name].nbytes < nbytes:
        arrays[name] = pyfftw.empty_aligned(nbytes, np.uint8)
    return arrays[name][:nbytes].view(dtype).reshape(shape)


def workspace(batch: int, shape: tuple[int, ...], dtype: np.dtype, slot: int = 0) -> Workspace:
    """Return this thread's workspace of a shape; ``slot`` tells workspaces used together apart."""
    cache: OrderedDict = _local.__dict__.setdefault("workspaces", OrderedDict())
    key = (batch, shape, np.dtype(dtype).char, slot, current_file())
    if key in cache:
        cache.move_to_end(key)
        return cache[key]
    created = cache[key] = Workspace(batch, shape, np.dtype(dtype))
    while len(cache) > 2 and sum(w.nbytes for w in cache.values()) > CACHE_BYTES:
        cache.popitem(last=False)
    return created
