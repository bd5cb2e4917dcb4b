"""Real maps as complex ones of half the length: their transforms take half the time.

Neighbours along the last axis, of an even number L2 of points, are the two parts of one complex
number, z_j = f_2j + i f_(2j+1), which is how a real map lies in memory. The points 2j + 1 are those
2j shifted by one voxel d, so that

    z_j = sum_G X_G (1 + i exp(iG.d)) exp(iG.u_2j)

over the whole lattice, where frequencies that differ by L2 / 2 are one. Packed spectra are the
coefficients X_G (1 + i exp(iG.d)) in two parts, those of the frequencies 0 to L2 / 2 - 1 and
-L2 / 2 to -1: filters are real and even or odd over the lattice, multiply the parts, and only
their products are added up to one complex transform. Where L2 is odd, there is one part, the half
spectrum.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from skwavelet.representations.voxel.arrays import half
from skwavelet.representations.voxel.spectrum_kernels import pack, unpack


def is_packed(shape: tuple[int, ...]) -> bool:
    """Whether maps of a shape are packed."""
    return shape[-1] % 2 == 0


def parts(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape (parts, L0, L1, n) of packed spectra."""
    return (2, *shape[:-1], shape[-1] // 2) if is_packed(shape) else (1, *half(shape))


@lru_cache(maxsize=256)
def steps(length: int, dtype: np.dtype) -> np.ndarray:
    """Return 1 + i exp(iG.d) of the frequencies of an even axis, in two rows."""
    frequencies = np.fft.fftfreq(length).reshape(2, -1)
    return (1 + 1j * np.exp(2j * np.pi * frequencies)).astype(dtype)


@lru_cache(maxsize=64)
def ones(shape: tuple[int, int, int], dtype: np.dtype) -> np.ndarray:
    """Return factors that leave spectra as they are."""
    return np.ones(shape, dtype)


def pack_spectra(spectra: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return packed spectra (S, B, parts, L0, L1, n) of half spectra (S, B, half grid)."""
    if not is_packed(shape):
        return spectra[:, :, None]
    packed = np.empty((*spectra.shape[:2], *parts(shape)), spectra.dtype)
    flat = spectra.reshape(-1, *spectra.shape[2:]), packed.reshape(-1, *packed.shape[2:])
    pack(flat[0], steps(shape[-1], spectra.dtype), flat[1])
    return packed


def unpack_cotangents(packed: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Apply the adjoint of `pack_spectra`."""
    if not is_packed(shape):
        return packed[:, :, 0]
    cotangents = np.empty((*packed.shape[:2], *half(shape)), packed.dtype)
    flat = packed.reshape(-1, *packed.shape[2:]), cotangents.reshape(-1, *cotangents.shape[2:])
    unpack(flat[0], steps(shape[-1], packed.dtype), flat[1])
    return cotangents


def _opposite(values: np.ndarray) -> np.ndarray:
    """Return values at -G of those (..., L0, L1, n) at the frequencies 1 to n of the last axis."""
    turned = values[..., ::-1, ::-1, ::-1]
    return np.roll(turned, (1, 1), axis=(-3, -2))


def pack_filters(psi: np.ndarray, shape: tuple[int, ...], *, odd: bool) -> np.ndarray:
    """Return the parts (..., parts, L0, L1, n) of real filters (..., half grid).

    They are 0 where a frequency has no partner, and ``odd`` or even over the lattice.
    """
    if not is_packed(shape):
        return psi[..., None, :, :, :]
    packed = np.zeros((*psi.shape[:-3], *parts(shape)), psi.dtype)
    packed[..., 0, :, :, :] = psi[..., :-1]
    packed[..., 1, :, :, 1:] = (-1 if odd else 1) * _opposite(psi[..., 1:-1])
    return packed


def unpack_filter_cotangents(
    cotangents: np.ndarray, shape: tuple[int, ...], *, odd: bool
) -> np.ndarray:
    """Apply the adjoint of `pack_filters`, for sums over the whole lattice."""
    if not is_packed(shape):
        return cotangents[..., 0, :, :, :]
    psi = np.zeros((*cotangents.shape[:-4], *half(shape)), cotangents.dtype)
    psi[..., :-1] = cotangents[..., 0, :, :, :]
    psi[..., 1:-1] += (-1 if odd else 1) * _opposite(cotangents[..., 1, :, :, 1:])
    psi[..., 1:-1] *= 0.5
    return psi
