"""Shifted grids, on which maps are sampled again where a sum over voxels is too coarse.

A map with l = 0 changes its sign along whole surfaces, where |f| has a kink that the voxels do not
resolve: nearly all of the discretization error of the features is there. The powers of such maps
are summed over the eight grids that are shifted by halves of a voxel, which is a grid of half the
spacing, but one transform of the same size after another. The three parts of a map with l = 1 all
vanish at points only, and two of the grids suffice, a body-centred lattice; the five of l = 2
hardly ever do. The coefficients of the moduli, which a second wavelet smoothes, are means over the
same grids: what a single grid adds to them by aliasing was the largest error of the second order.

A shift by d multiplies coefficients by exp(i G.d), where G.d does not change when the box is
strained.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

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
