"""Fourier coefficients of the density, exact on the reciprocal lattice (2.41), and derivatives.

rho^(G) = sum_k exp(-i G.R_k) is separable in fractional coordinates: with G of integer orders
(h0, h1, h2) and fractional positions s_k it is sum_k E0_k(h0) E1_k(h1) E2_k(h2), E_k(h) =
exp(-2 pi i h s_k): outer products and one matrix product per element. That is N times the number
of voxels; many atoms go through `skwavelet.representations.voxel.nufft`, to a tolerance.
"""

from __future__ import annotations

import numpy as np

from skwavelet.representations.voxel.arrays import Array, Arrays, half
from skwavelet.representations.voxel.grid import orders


class SeparableDensity:
    """Structure factors of atoms of one element, with unit weights.

    From fractional positions (N, 3), on a grid, for the backend ``arrays``.
    """

    def __init__(self, arrays: Arrays, fractional: np.ndarray, shape: tuple[int, int, int]):
        self.arrays, self.shape = arrays, shape
        self._orders = angular_orders(shape)
        self._phases = [
            arrays.asarray(np.exp(-1j * np.outer(fractional[:, axis], h.ravel())))
            for axis, h in enumerate(self._orders)
        ]

    def _outer(self) -> Array:
        e0, e1, _ = self._phases
        return (e0.T[:, None, :] * e1.T[None, :, :]).reshape(-1, len(e0))

    def write(self, out: Array) -> None:
        """Write rho^(G) (L0, L1, L2 // 2 + 1) to ``out``."""
        out[...] = (self._outer() @ self._phases[2]).reshape(half(self.shape))

    def jvp(self, directions: np.ndarray) -> Array:
        """Return d rho^ (D, L0, L1, L2 // 2 + 1) along motions (D, N, 3) of the positions."""
        arrays, count = self.arrays, len(directions)
        outer, e2 = self._outer(), self._phases[2]
        result = arrays.zeros((count, *half(self.shape)), spectra=True)
        for axis, h in enumerate(self._orders):
            # All directions in one product: (L0 L1, N) @ (N, D L2/2).
            moves = arrays.asarray(directions[:, :, axis].T)
            moved = (moves[:, :, None] * e2[:, None, :]).reshape(len(e2), -1)
            term = (outer @ moved).reshape(*self.shape[:2], count, -1)
            result += arrays.asarray(-1j * h) * arrays.xp.moveaxis(term, 2, 0)
        return result

    def vjp(self, cotangent: Array) -> np.ndarray:
        """Return the gradient (N, 3) of Re sum_G cotangent rho^ in fractional positions.

        The sum is over the *full* reciprocal lattice; ``cotangent`` is its half spectrum
        (L0, L1, L2 // 2 + 1).
        """
        arrays = self.arrays
        cotangent = cotangent * arrays.asarray(pair_weights(self.shape, arrays.dtype))
        e0, e1, e2 = self._phases
        h0, h1, h2 = (arrays.asarray(h.ravel()) for h in self._orders)
        # Contract the last axis with and without its order, then the first two for each atom.
        last = arrays.xp.concat([e2, e2 * h2]).T
        inner = (cotangent.reshape(-1, len(h2)) @ last).reshape(*self.shape[:2], 2, len(e0))
        sums = []
        for values, middle, first in (
            (inner[:, :, 0], e1.T, e0.T * h0[:, None]),
            (inner[:, :, 0], e1.T * h1[:, None], e0.T),
            (inner[:, :, 1], e1.T, e0.T),
        ):
            along = arrays.empty((self.shape[0], len(e0)), spectra=True)
            arrays.sum_products(values, middle[None], 1, along)
            sums.append((along * first).sum(0))
        return arrays.host(arrays.xp.stack(sums, axis=1)).imag.astype(np.float64)


def angular_orders(shape: tuple[int, int, int]) -> list[np.ndarray]:
    """Return 2 pi times the integer frequencies, shaped like the axes of the half spectrum."""
    h0, h1, h2 = (2 * np.pi * h for h in orders(shape))
    return [h0[:, None, None], h1[:, None], h2]


def pair_weights(shape: tuple[int, int, int], dtype: np.dtype) -> np.ndarray:
    """Return how many vectors of the full lattice each entry of the last axis stands for."""
    weights = np.full(shape[2] // 2 + 1, 2.0, dtype=dtype)
    weights[0] = 1
    if shape[2] % 2 == 0:
        weights[-1] = 1
    return weights
