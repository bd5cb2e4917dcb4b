"""Wavelet transforms of a few maps at a time, forwards and backwards."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from skwavelet.voxel.fft import Workspace, buffer, workspace

# All m of a wavelet are transformed together as long as they are below this; one by one beyond.
KEEP_BYTES = 2**28


class Chunk:
    """Maps f_m of a few parents under one wavelet, and what is derived from them.

    Parameters
    ----------
    spectra : ndarray of shape (B, half grid)
        Coefficients of the parents.
    psi : ndarray of shape (2l + 1, half grid)
        Filters.
    shape : tuple of (int, int, int)
        Grid.
    mix : ndarray of shape (C, B), optional
        Channel weights: the maps become f_c = sum_b mix_cb f_b.
    """

    def __init__(self, spectra, psi, shape, mix=None):
        self.spectra, self.psi, self.shape, self.mix = spectra, psi, shape, mix
        self.dtype = psi.real.dtype
        maps_bytes = len(spectra) * np.prod(shape) * self.dtype.itemsize
        self.block = len(psi) if maps_bytes * len(psi) <= KEEP_BYTES else 1
        self._kept: tuple | None = None

    def blocks(self) -> Iterator[tuple[slice, Workspace, np.ndarray]]:
        """Yield (m, workspace, maps of shape (B or C, m, grid)); a single block is kept."""
        if self._kept is not None:
            yield self._kept
            return
        for start in range(0, len(self.psi), self.block):
            m = slice(start, min(start + self.block, len(self.psi)))
            work = workspace(len(self.spectra) * (m.stop - m.start), self.shape, self.dtype)
            block = (m, work, self._mixed(self._inverse(work, m, self.spectra, self.psi)))
            if self.block == len(self.psi):
                self._kept = block
            yield block

    def _inverse(self, work: Workspace, m: slice, spectra, psi) -> np.ndarray:
        products = work.spectra.reshape(len(spectra), -1, *spectra.shape[1:])
        np.multiply(spectra[:, None], psi[m], out=products)
        return work.inverse().reshape(len(spectra), -1, *self.shape)

    def _mixed(self, maps: np.ndarray, name: str = "mixed") -> np.ndarray:
        if self.mix is None:
            return maps
        mixed = buffer(name, (len(self.mix), *maps.shape[1:]), self.dtype)
        np.matmul(self.mix, maps.reshape(len(maps), -1), out=mixed.reshape(len(mixed), -1))
        return mixed

    def squared_modulus(self) -> np.ndarray:
        """Return u = sum_m f_m^2, of shape (B or C, grid), valid until the next call."""
        u: Any = None
        for _, _, maps in self.blocks():
            for m in range(maps.shape[1]):
                if u is None:
                    shape = (len(maps), *maps.shape[2:])
                    u, scratch = (buffer(name, shape, self.dtype) for name in ("u", "scratch"))
                    np.multiply(maps[:, m], maps[:, m], out=u)
                else:
                    u += np.multiply(maps[:, m], maps[:, m], out=scratch)
        return u

    def push(self, tangent: np.ndarray, psi_tangent: np.ndarray | None) -> np.ndarray:
        """Return du = 2 sum_m f_m df_m for tangents of the spectra and of the filters.

        Valid until the next call.
        """
        du: Any = None
        for m, _, maps in self.blocks():
            work = workspace(len(self.spectra) * (m.stop - m.start), self.shape, self.dtype, slot=1)
            products = work.spectra.reshape(len(self.spectra), -1, *self.spectra.shape[1:])
            np.multiply(tangent[:, None], self.psi[m], out=products)
            if psi_tangent is not None:
                products += self.spectra[:, None] * psi_tangent[m]
            moved = work.inverse().reshape(len(self.spectra), -1, *self.shape)
            moved = self._mixed(moved, "mixed tangent")
            for k in range(maps.shape[1]):
                if du is None:
                    shape = (len(maps), *self.shape)
                    du, scratch = (buffer(name, shape, self.dtype) for name in ("du", "scratch"))
                    np.multiply(maps[:, k], moved[:, k], out=du)
                else:
                    du += np.multiply(maps[:, k], moved[:, k], out=scratch)
        du *= 2
        return du

    def pull(self, slope: np.ndarray, filter_cotangent: np.ndarray) -> np.ndarray:
        """Return the cotangent of the spectra for the cotangent ``slope`` of u.

        Adds that of the filters to ``filter_cotangent``; both are complex conjugates. Overwrites
        ``slope`` and the kept maps.
        """
        cotangent = np.zeros_like(self.spectra)
        slope *= 2
        for m, work, maps in self.blocks():
            maps *= slope[:, None]
            if self.mix is not None:
                unmixed = work.maps.reshape(len(self.spectra), -1)
                np.matmul(self.mix.T, maps.reshape(len(maps), -1), out=unmixed)
            pulled = work.forward().reshape(len(self.spectra), -1, *self.spectra.shape[1:])
            np.conjugate(pulled, out=pulled)
            product = buffer("product", self.spectra.shape[1:], pulled.dtype)
            for b, spectrum in enumerate(self.spectra):
                for k, psi in enumerate(self.psi[m]):
                    cotangent[b] += np.multiply(psi, pulled[b, k], out=product)
                    filter_cotangent[m][k] += np.multiply(spectrum, pulled[b, k], out=product)
        self._kept = None
        return cotangent
