"""Wavelet filters on the reciprocal lattice of one grid, and their response to a strain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from skwavelet.voxel.density import pair_weights
from skwavelet.voxel.fft import half
from skwavelet.voxel.grid import Grid, nyquist_mask, reciprocal_vectors
from skwavelet.wavelets import wavelet_spectrum, wavelet_spectrum_gradient


class Filters:
    """Wavelets of one scale on one grid.

    Frequencies without a partner (-L/2 on an axis of even length L) are left out, so that maps are
    real and reflections of a structure give reflected maps.

    Parameters
    ----------
    wavelets : sequence of (n, l)
    beta : float
        Width (Å).
    scale : float
        Scale j: the filters are psi^(2^j G).
    shape : tuple of (int, int, int)
        Grid points.
    cell : ndarray of shape (3, 3)
        Box (Å).
    dtype : dtype
        Real type of the maps.
    """

    def __init__(
        self,
        wavelets: Sequence[tuple[int, int]],
        beta: float,
        scale: float,
        shape: tuple[int, int, int],
        cell: np.ndarray,
        dtype: np.dtype,
    ):
        self.wavelets, self.beta, self.scale = wavelets, beta, scale
        self.shape, self.cell, self.dtype = shape, cell, np.dtype(dtype)

    @cached_property
    def _points(self) -> np.ndarray:
        cell = self.cell / 2.0**self.scale
        return reciprocal_vectors(self.shape, cell, self.dtype)

    @cached_property
    def spectra(self) -> list[np.ndarray]:
        """Complex psi^_nlm (2l + 1, half grid), one array per (n, l)."""
        complex_dtype = np.result_type(self.dtype, np.complex64)
        filters = [
            np.empty((2 * l + 1, *half(self.shape)), dtype=complex_dtype) for _, l in self.wavelets
        ]
        # A few planes at a time, so that the intermediate arrays stay in cache.
        for start in range(0, self.shape[0], 8):
            planes = self._points[:, start : start + 8]
            for values, (n, l) in zip(filters, self.wavelets, strict=True):
                spectrum = wavelet_spectrum(planes, n, l, self.beta)
                np.multiply((-1j) ** l, spectrum, out=values[:, start : start + 8])
        for values in filters:
            self._clear_nyquist(values)
        return filters

    @cached_property
    def _gradients(self) -> list[np.ndarray]:
        gradients = [
            wavelet_spectrum_gradient(self._points, n, l, self.beta) for n, l in self.wavelets
        ]
        for values in gradients:
            self._clear_nyquist(values)
        return gradients

    def _clear_nyquist(self, values: np.ndarray) -> None:
        for index in nyquist_mask(self.shape):
            values[(..., *index, *(slice(None),) * (3 - len(index)))] = 0

    def strained(self, which: int, strain: np.ndarray) -> np.ndarray:
        """Return the derivative (2l + 1, half grid) of one (n, l) along a strain (3, 3).

        A strain turns G into (1 - eps) G.
        """
        motion = -np.tensordot(strain.astype(self.dtype), self._points, axes=1)
        change = np.einsum("a...,am...->m...", motion, self._gradients[which])
        return (-1j) ** self.wavelets[which][1] * change

    def strain_gradient(self, which: int, cotangent: np.ndarray) -> np.ndarray:
        """Return the strain gradient (3, 3) of Re sum_G cotangent psi^ over the full lattice."""
        phased = ((-1j) ** self.wavelets[which][1] * cotangent).real
        phased *= pair_weights(self.shape, self.dtype)
        slopes = np.einsum("m...,am...->a...", phased, self._gradients[which])
        return -np.tensordot(slopes, self._points, axes=((1, 2, 3), (1, 2, 3))).astype(np.float64)


@lru_cache(maxsize=24)
def _filters(wavelets, beta, scale, shape, cell_bytes, dtype) -> Filters:
    cell = np.frombuffer(cell_bytes).reshape(3, 3)
    return Filters(wavelets, beta, scale, shape, cell, dtype)


@dataclass(frozen=True, eq=False)
class Bank:
    """The wavelets of an evaluator: everything about filters but the grid."""

    wavelets: tuple[tuple[int, int], ...]
    scales: tuple[float, ...]
    beta: float
    dtype: np.dtype

    def on(self, scale: int, level: int, grid: Grid) -> Filters:
        """Return the filters of scale number ``scale`` on the grid of scale number ``level``.

        Structures of one cell share them.
        """
        key = grid.shapes[level], grid.cell.tobytes(), np.dtype(self.dtype).char
        return _filters(self.wavelets, self.beta, self.scales[scale], *key)
