"""Shifted grids, on which maps are sampled again where a sum over voxels is too coarse.

A map with l = 0 changes its sign along whole surfaces, where |f| has a kink that the voxels do not
resolve: nearly all of the discretization error of the features is there. The powers of such maps
are summed over the eight grids that are shifted by halves of a voxel, which is a grid of half the
spacing, but one transform of the same size after another. The three parts of a map with l = 1 all
vanish at points only, and two of the grids suffice, a body-centred lattice; the five of l = 2
hardly ever do.

The coefficients of the moduli, which a second wavelet smoothes, are taken from the same grids: what
a single grid adds to them by aliasing was the largest error of the second order. Before the one
transform that they need, values on a shifted grid are moved to the voxels, as means of the two
nearest along each axis that is shifted, and the mean over the grids is taken. Along an axis whose
frequency G turns by t = G.d from voxel to voxel, a mean of two is a factor of cos(t / 2), which is
known and undone: by the mean of 1 and cos(t / 2) for each axis of the eight grids. What is beyond
the band comes with the opposite sign, and leaves its part times tan^2(t / 4) of what a single grid
would have: little where second wavelets are large.

A shift by d multiplies coefficients by exp(i G.d), where G.d does not change when the box is
strained.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import prod

import numpy as np

from skwavelet.representations.voxel.grid import orders


@dataclass(frozen=True)
class Shift:
    """A shift of the grid, in half voxels along each axis."""

    halves: tuple[int, int, int]

    @property
    def back(self) -> Shift:
        """The opposite shift."""
        a, b, c = self.halves
        return Shift((-a, -b, -c))


UNSHIFTED = Shift((0, 0, 0))
# The first two together are a body-centred lattice.
HALVES = (
    UNSHIFTED,
    *map(Shift, ((1, 1, 1), (1, 1, 0), (1, 0, 1), (0, 1, 1), (0, 0, 1), (0, 1, 0), (1, 0, 0))),
)
# How many of them first-order maps are sampled on, by l; one for all others.
GRIDS = (8, 2)


def grids(degree: int) -> tuple[Shift, ...]:
    """Return the shifted grids on which first-order maps of a degree l are sampled."""
    return HALVES[: GRIDS[degree] if degree < len(GRIDS) else 1]


@lru_cache(maxsize=64)
def restoring(shape: tuple[int, int, int], degree: int, dtype: np.dtype) -> np.ndarray:
    """Return factors (half grid) of transforms of the means over the grids of a degree.

    They make coefficients of them, which the means of neighbours have not changed.
    """
    cosines = [np.cos(np.pi * h / size) for h, size in zip(orders(shape), shape, strict=True)]
    gains = np.zeros([len(cosine) for cosine in cosines])
    for shift in grids(degree):
        x, y, z = (cosine ** abs(h) for cosine, h in zip(cosines, shift.halves, strict=True))
        gains += np.multiply.outer(np.multiply.outer(x, y), z)
    return (len(grids(degree)) / (gains * prod(shape))).astype(dtype)


@lru_cache(maxsize=1024)
def phases(
    shape: tuple[int, int, int], shift: Shift, dtype: np.dtype, *, packed: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return exp(i G.d) of the first two axes (L0, L1), and of the last one (parts, n).

    Of half spectra, which have one part, or of packed ones.
    """
    frequencies = orders(shape)
    if packed:
        frequencies[2] = np.fft.fftfreq(shape[2], 1 / shape[2])
    axes = zip(shift.halves, shape, frequencies, strict=True)
    first, second, third = (np.exp(1j * np.pi * half / size * h) for half, size, h in axes)
    columns = first[:, None] * second
    return columns.astype(dtype), third.reshape(2 if packed else 1, -1).astype(dtype)
