"""First-order maps moved from the box of their scale to the larger box of a coarser one.

Structures that are not periodic stand in vacuum, and the wider the wavelets the more of it they
need. Every scale has a box as wide as its own wavelets need: small and fine, or wide and coarse.
A first-order map, less its floor, vanishes at the edge of its box, so that its Fourier
coefficients in a larger box,

    Y_H = 1/V2 int over box 1 of g(u) exp(-i H.u) du,

are sums over the points of a grid that resolves the target's band: exact but for what the map has
at the edge. Along periods both boxes are the same. The sums are separable: one small matrix for
each axis.
"""

from __future__ import annotations

import numpy as np

from skwavelet.representations.voxel.arrays import Array, Arrays, half
from skwavelet.representations.voxel.density import pair_weights
from skwavelet.representations.voxel.grid import (
    Grid,
    add_embedded,
    clear_nyquist,
    fast_length,
    orders,
    truncate,
)


class Transfer:
    """The move from the grid of one scale, of several with a box each, to that of a coarser one."""

    def __init__(self, arrays: Arrays, grid: Grid, source: int, target: int):
        self.arrays = arrays
        self.source, self.target = grid.shapes[source], grid.shapes[target]
        lengths, wider = (np.linalg.norm(grid.cells[k], axis=1) for k in (source, target))
        between, matrices = [], []
        for axis, h in enumerate(orders(self.target)):
            spacing = wider[axis] / self.target[axis]
            if grid.pbc[axis]:
                count = self.target[axis]
            else:
                count = min(fast_length(lengths[axis] / spacing - 1e-9), self.source[axis])
            step = lengths[axis] / count
            # Every point at its image next to the middle of the atoms.
            places = np.arange(count)
            places = places + count * np.round((grid.center[axis] / step - places) / count)
            if grid.pbc[axis]:
                places = np.arange(count)
            phases = np.exp(-2j * np.pi / wider[axis] * np.outer(h, places * step))
            matrices.append(arrays.asarray(step / wider[axis] * phases))
            between.append(count)
        self.shape = (between[0], between[1], between[2])
        self._matrices = matrices

    def values(self, spectra: Array) -> Array:
        """Return coefficients (S, B, half target) of maps with coefficients (S, B, half source)."""
        arrays, xp = self.arrays, self.arrays.xp
        e0, e1, e2 = self._matrices
        kept = arrays.empty((*spectra.shape[:2], *half(self.shape)), spectra=True)
        truncate(spectra, self.source, self.shape, kept)
        clear_nyquist(kept, self.shape, slice(0, self.shape[0]))
        maps = arrays.empty((*spectra.shape[:2], *self.shape))
        arrays.inverse_rows(arrays.conjugate(kept), maps)
        moved = xp.matmul(e1, xp.matmul(arrays.complex(maps), e2.T))
        flat = xp.matmul(e0, moved.reshape(*moved.shape[:3], -1))
        return flat.reshape(*moved.shape[:2], *half(self.target))

    def vjp(self, cotangent: Array) -> Array:
        """Return cotangents (S, B, half source) from those of the result of ``values``."""
        arrays, xp = self.arrays, self.arrays.xp
        e0, e1, e2 = self._matrices
        weighted = cotangent * arrays.asarray(pair_weights(self.target, arrays.dtype))
        flat = xp.matmul(e0.T, weighted.reshape(*weighted.shape[:3], -1))
        moved = flat.reshape(*flat.shape[:3], *weighted.shape[3:])
        maps = xp.real(xp.matmul(xp.matmul(e1.T, moved), e2))
        kept = arrays.empty((*maps.shape[:2], *half(self.shape)), spectra=True)
        arrays.forward_rows(maps, kept)
        kept = arrays.conjugate(kept)
        clear_nyquist(kept, self.shape, slice(0, self.shape[0]))
        result = arrays.zeros((*maps.shape[:2], *half(self.source)), spectra=True)
        add_embedded(result, kept, self.source, self.shape)
        return result
