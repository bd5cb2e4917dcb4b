"""FFTW plans and the buffers that they transform."""

from __future__ import annotations

import math

import numpy as np

from skwavelet._utils.fftw_plans import planning
from skwavelet.representations.voxel.arrays import half

# Smaller maps have FFT plans by rule instead of by timing.
PLANNED_VOXELS = 2**13
# One FFT plan does about this many voxels: more are no faster, and take long to plan.
TOGETHER = 2**21


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
