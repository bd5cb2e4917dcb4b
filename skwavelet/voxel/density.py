"""Fourier coefficients of the density, exact on the reciprocal lattice (2.41), and derivatives.

rho^(G) = sum_k exp(-i G.R_k) is separable in fractional coordinates: with G of integer orders
(h0, h1, h2) and fractional positions s_k it is sum_k E0_k(h0) E1_k(h1) E2_k(h2), E_k(h) =
exp(-2 pi i h s_k): outer products and one matrix product per element.
"""

from __future__ import annotations

import numpy as np

from skwavelet.voxel.grid import orders


def structure_factor(
    fractional: np.ndarray, shape: tuple[int, int, int], dtype: np.dtype
) -> np.ndarray:
    """Return rho^(G) (L0, L1, L2 // 2 + 1) of unit weights at fractional positions (N, 3)."""
    e0, e1, e2 = _phases(fractional, shape, dtype)
    return (_outer(e0, e1) @ e2).reshape(shape[0], shape[1], -1)


def structure_factor_jvp(
    fractional: np.ndarray, directions: np.ndarray, shape: tuple[int, int, int], dtype: np.dtype
) -> np.ndarray:
    """Return d rho^ (D, L0, L1, L2 // 2 + 1) along motions (D, N, 3) of fractional positions."""
    e0, e1, e2 = _phases(fractional, shape, dtype)
    outer = _outer(e0, e1)
    n_directions = len(directions)
    result = np.zeros((n_directions, *shape[:2], e2.shape[1]), dtype=e2.dtype)
    for axis, h in enumerate(_shaped_orders(shape, dtype)):
        # All directions in one product: (L0 L1, N) @ (N, D L2/2).
        moved = (directions[:, :, axis].T[:, :, None] * e2[:, None, :]).astype(e2.dtype)
        term = (outer @ moved.reshape(len(e2), -1)).reshape(*shape[:2], n_directions, -1)
        result += (-2j * np.pi * h * np.moveaxis(term, 2, 1).swapaxes(0, 1)).astype(e2.dtype)
    return result


def structure_factor_vjp(
    fractional: np.ndarray, cotangent: np.ndarray, shape: tuple[int, int, int]
) -> np.ndarray:
    """Return the gradient (N, 3) of Re sum_G cotangent rho^ in fractional positions.

    The sum is over the *full* reciprocal lattice; ``cotangent`` is its half spectrum
    (L0, L1, L2 // 2 + 1).
    """
    dtype = cotangent.real.dtype
    e0, e1, e2 = _phases(fractional, shape, dtype)
    weights = cotangent * pair_weights(shape, dtype)
    h0, h1, h2 = (h.astype(dtype) for h in orders(shape))
    # Contract the last axis with and without its order, then the first two for each atom.
    last = np.concatenate([e2, e2 * h2]).T
    inner = (weights.reshape(-1, len(h2)) @ last).reshape(shape[0], shape[1], 2, len(e0))
    plain, with_h2 = inner[:, :, 0], inner[:, :, 1]
    middle = np.einsum("abk,kb->ka", plain, e1)
    sums = (
        np.einsum("ka,ka,a->k", middle, e0, h0),
        np.einsum("abk,kb,b,ka->k", plain, e1, h1, e0, optimize=True),
        np.einsum("abk,kb,ka->k", with_h2, e1, e0, optimize=True),
    )
    return np.stack([(-2j * np.pi * s).real for s in sums], axis=1).astype(np.float64)


def pair_weights(shape: tuple[int, int, int], dtype: np.dtype) -> np.ndarray:
    """Return how many vectors of the full lattice each entry of the last axis stands for."""
    weights = np.full(shape[2] // 2 + 1, 2.0, dtype=dtype)
    weights[0] = 1
    if shape[2] % 2 == 0:
        weights[-1] = 1
    return weights


def _phases(fractional: np.ndarray, shape: tuple[int, int, int], dtype: np.dtype):
    complex_dtype = np.result_type(dtype, np.complex64)
    return [
        np.exp(-2j * np.pi * np.outer(fractional[:, axis], h)).astype(complex_dtype)
        for axis, h in enumerate(orders(shape))
    ]


def _outer(e0: np.ndarray, e1: np.ndarray) -> np.ndarray:
    return (e0.T[:, None, :] * e1.T[None, :, :]).reshape(-1, len(e0))


def _shaped_orders(shape: tuple[int, int, int], dtype: np.dtype) -> list[np.ndarray]:
    h0, h1, h2 = (h.astype(dtype) for h in orders(shape))
    return [h0[:, None, None], h1[:, None], h2]
