"""Coefficients of maps that are sampled on several shifted grids, one after another."""

from __future__ import annotations

from skwavelet.representations.voxel.arrays import Array, Arrays
from skwavelet.representations.voxel.shifts import Shift, grids, restoring


class Sampling:
    """The way from maps (S, B, grid) on the grids of a degree to coefficients (S, B, half grid).

    See ``shifts``: maps are moved to the voxels, and their mean is transformed.

    Parameters
    ----------
    arrays : Arrays
        The backend for maps of the shape.
    shape : tuple of (int, int, int)
    degree : int
        l of the maps.
    """

    def __init__(self, arrays: Arrays, shape: tuple[int, int, int], degree: int):
        self.arrays, self.shape, self.shifts = arrays, shape, grids(degree)
        self.share = 1 / len(self.shifts)
        self._factors = restoring(shape, degree, arrays.dtype)
        self._means: dict[str, Array] = {}

    def add(self, maps: Array, shift: Shift, coefficients: Array, name: str) -> None:
        """Take in maps on one of the grids, in turn; with the last, coefficients are written.

        ``name`` is that of scratch space, another for others that come at the same time.
        """
        if len(self.shifts) > 1:
            begun = shift != self.shifts[0]
            if not begun:
                self._means[name] = self.arrays.buffer(name, maps.shape)
            self.arrays.average(maps, shift, self.share, self._means[name], add=begun)
            maps = self._means[name]
        if shift == self.shifts[-1]:
            self.arrays.forward_rows(maps, coefficients, self._factors)

    def means(self, cotangent: Array) -> Array:
        """Return cotangents of the means over the grids, from those of coefficients."""
        means = self.arrays.empty((*cotangent.shape[:2], *self.shape))
        self.arrays.inverse_rows(cotangent, means, self._factors)
        return means

    def maps(self, means: Array, shift: Shift) -> Array:
        """Return cotangents of maps on one of the grids, valid until the next call."""
        if len(self.shifts) == 1:
            return means
        maps = self.arrays.buffer("cotangents of maps", means.shape)
        self.arrays.average(means, shift.back, self.share, maps)
        return maps
