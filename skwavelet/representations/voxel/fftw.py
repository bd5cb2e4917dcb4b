"""FFTW plans and the buffers that they transform."""

from __future__ import annotations

import math

import numpy as np

from skwavelet._utils.fftw_plans import planning
from skwavelet.representations.voxel.arrays import half

# Smaller maps have FFT plans by rule instead of by timing.
PLANNED_VOXELS = 2**13
# FFTW's vector instructions want arrays to begin at multiples of this many bytes.
ALIGNMENT = 64


def aligned(shape: int | tuple[int, ...], dtype: np.dtype | type) -> np.ndarray:
    """Return an array without values that is placed as FFTW likes it."""
    # pyFFTW imports Dask where it is installed: only who transforms waits for it.
    import pyfftw

    return pyfftw.empty_aligned(shape, dtype)


def plan(source: np.ndarray, target: np.ndarray, axes: tuple[int, ...], inverse: bool):
    """Return the transform of ``source`` into ``target``, which may destroy the former."""
    import pyfftw

    # By rule where timing gains little: every process then has the same plans, and rounds alike.
    small = math.prod(source.shape[axis] for axis in axes) < PLANNED_VOXELS
    flags = ("FFTW_ESTIMATE" if small else "FFTW_MEASURE",)
    with planning():
        return pyfftw.FFTW(
            source,
            target,
            axes=axes,
            direction="FFTW_BACKWARD" if inverse else "FFTW_FORWARD",
            flags=(*flags, "FFTW_DESTROY_INPUT") if inverse else flags,
            threads=1,
        )


class Workspace:
    """Maps and half spectra of one shape, with unnormalized transforms between them.

    Parameters
    ----------
    batch : int
        Number of maps.
    shape : tuple of int
    dtype : dtype
        Of the maps.
    single : Workspace, optional
        That of one such map, whose plans are taken: measuring one for every number of maps would
        take as long as thousands of transforms.

    Attributes
    ----------
    spectra : ndarray of shape (batch, L0, L1, L2 // 2 + 1)
        Complex coefficients X; ``inverse`` overwrites ``maps`` with sum_G X_G exp(iG.u), and
        destroys ``spectra``.
    maps : ndarray of shape (batch, L0, L1, L2)
        Real values f; ``forward`` overwrites ``spectra`` with sum_u f_u exp(-iG.u).
    """

    def __init__(
        self, batch: int, shape: tuple[int, ...], dtype: np.dtype, single: Workspace | None = None
    ):
        complex_dtype = np.result_type(dtype, np.complex64)
        self.spectra = aligned((batch, *half(shape)), complex_dtype)
        self.maps = aligned((batch, *shape), dtype)
        self._pairs: list[tuple[np.ndarray, np.ndarray]]
        if single is None:
            self._pairs = [(self.spectra, self.maps)]
            self._inverse = plan(self.spectra, self.maps, (1, 2, 3), inverse=True)
            self._forward = plan(self.maps, self.spectra, (1, 2, 3), inverse=False)
        else:
            rows = range(batch)
            self._pairs = [(self.spectra[i : i + 1], self.maps[i : i + 1]) for i in rows]
            self._inverse, self._forward = single._inverse, single._forward

    @property
    def nbytes(self) -> int:
        """Bytes of both buffers."""
        return self.spectra.nbytes + self.maps.nbytes

    def inverse(self) -> np.ndarray:
        """Transform ``spectra`` into ``maps`` and return them."""
        for spectra, maps in self._pairs:
            self._inverse.update_arrays(spectra, maps)
            self._inverse.execute()
        return self.maps

    def forward(self) -> np.ndarray:
        """Transform ``maps`` into ``spectra`` and return them."""
        for spectra, maps in self._pairs:
            self._forward.update_arrays(maps, spectra)
            self._forward.execute()
        return self.spectra


def one_by_one(shape: tuple[int, ...], dtype: np.dtype) -> bool:
    """Whether several maps are transformed by the plan of one.

    Not small ones, for which the calls would take longer than the transforms, and not where the
    second begins at an odd place.
    """
    sizes = math.prod(shape) * dtype.itemsize, 2 * math.prod(half(shape)) * dtype.itemsize
    large = math.prod(shape) >= PLANNED_VOXELS
    return large and all(size % ALIGNMENT == 0 for size in sizes)
