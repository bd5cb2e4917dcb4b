"""FFTW plans and the buffers that they transform."""

from __future__ import annotations

import math

import numpy as np

from skwavelet._utils.fftw_plans import planned
from skwavelet.representations.voxel.arrays import half
from skwavelet.representations.voxel.packing import is_packed

# Spectra of fewer points have FFT plans by rule instead of by timing, and those of up to the second
# number are planned thoroughly (FFTW_PATIENT), which takes up to a second for each shape, and gains
# a third in single and a tenth in double precision.
PLANNED_POINTS, THOROUGH_POINTS = 2**11, 2**17
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

    points = min(math.prod(array.shape[axis] for axis in axes) for array in (source, target))
    # By rule where timing gains little: every process then has the same plans, and rounds alike.
    measured = points >= PLANNED_POINTS
    thorough = points <= THOROUGH_POINTS and source.dtype.char in "fF"
    rigor = "FFTW_PATIENT" if thorough else "FFTW_MEASURE"
    flags = [rigor if measured else "FFTW_ESTIMATE"]
    if inverse and source is not target:
        flags.append("FFTW_DESTROY_INPUT")
    direction = "FFTW_BACKWARD" if inverse else "FFTW_FORWARD"

    def make(*more: str):
        return pyfftw.FFTW(source, target, axes, direction, (*flags, *more), threads=1)

    return planned(make, measured=measured)


class Workspace:
    """Maps of one shape, with unnormalized transforms from and to what ``packing`` packs.

    Plans are taken from the workspace of a ``single`` map, if there is one: planning for every
    number of maps would take as long as thousands of transforms.

    Attributes
    ----------
    maps : ndarray of shape (batch, L0, L1, L2)
        Real values f.
    spectra : ndarray of shape (batch, L0, L1, n)
        Where L2 is even, the memory of ``maps`` as complex numbers z: ``inverse`` replaces
        coefficients Z by z = sum_G Z_G exp(iG.u), and ``forward`` z by sum_u z_u exp(-iG.u). Where
        it is odd, half spectra of the maps, which ``inverse`` destroys.
    """

    def __init__(
        self, batch: int, shape: tuple[int, ...], dtype: np.dtype, single: Workspace | None = None
    ):
        complex_dtype = np.result_type(dtype, np.complex64)
        self.maps = aligned((batch, *shape), dtype)
        self._own_spectra = not is_packed(shape)
        if self._own_spectra:
            self.spectra = aligned((batch, *half(shape)), complex_dtype)
        else:
            self.spectra = self.maps.view(complex_dtype)
        whole = self.spectra, self.maps if self._own_spectra else self.spectra
        self._pairs: list[tuple[np.ndarray, np.ndarray]] = [whole]
        if single is None:
            self._inverse = plan(*whole, (1, 2, 3), inverse=True)
            self._forward = plan(*whole[::-1], (1, 2, 3), inverse=False)
        else:
            self._pairs = [(whole[0][i : i + 1], whole[1][i : i + 1]) for i in range(batch)]
            self._inverse, self._forward = single._inverse, single._forward

    @property
    def nbytes(self) -> int:
        """Bytes of the buffers."""
        return self.maps.nbytes + self._own_spectra * self.spectra.nbytes

    def inverse(self) -> np.ndarray:
        """Transform ``spectra`` into ``maps`` and return these."""
        for spectra, maps in self._pairs:
            self._inverse.update_arrays(spectra, maps)
            self._inverse.execute()
        return self.maps

    def forward(self) -> np.ndarray:
        """Transform ``maps`` into ``spectra`` and return these."""
        for spectra, maps in self._pairs:
            self._forward.update_arrays(maps, spectra)
            self._forward.execute()
        return self.spectra


def one_by_one(shape: tuple[int, ...], dtype: np.dtype) -> bool:
    """Whether several maps are transformed by the plan of one.

    Not small ones, for which the calls would take longer than the transforms, and not where the
    second begins at an odd place.
    """
    points = math.prod(half(shape)) if not is_packed(shape) else math.prod(shape) // 2
    sizes = math.prod(shape) * dtype.itemsize, 2 * points * dtype.itemsize
    return points >= PLANNED_POINTS and all(size % ALIGNMENT == 0 for size in sizes)
