"""Wavelet transforms of a few maps at a time, forwards and backwards."""

from __future__ import annotations

from typing import Any

from skwavelet.representations.voxel.arrays import Array, Arrays


class Chunk:
    """Maps f_m of a few parents of S structures under one wavelet, and what derives from them.

    Parameters
    ----------
    arrays : Arrays
    spectra : array of shape (S, B, half grid)
        Coefficients of the parents.
    psi : array of shape (2l + 1, half grid)
        Filters.
    shape : tuple of (int, int, int)
        Grid.
    mix : array of shape (C, B), optional
        Channel weights: the maps become f_c = sum_b mix_cb f_b.
    """

    def __init__(self, arrays: Arrays, spectra: Array, psi: Array, shape, mix: Array = None):
        self.arrays, self.spectra, self.psi = arrays, spectra, psi
        self.shape, self.mix = shape, mix
        self._maps: Any = None
        self._work: Any = None

    def _transformed(self, spectra, psi, slot: int):
        """Return a workspace with the products of spectra and filters in it."""
        S, B = spectra.shape[:2]
        M = len(psi)
        work = self.arrays.workspace(S * B * M, self.shape, slot)
        products = work.spectra.reshape(S, B, M, *spectra.shape[2:])
        self.arrays.xp.multiply(spectra[:, :, None], psi, out=products)
        return work, products

    def _inverse(self, work, name: str):
        S, B = self.spectra.shape[:2]
        maps = work.inverse().reshape(S, B, -1, *self.shape)
        if self.mix is None:
            return maps
        mixed = self.arrays.buffer(name, (S, len(self.mix), *maps.shape[2:]))
        flat = maps.reshape(S, B, -1)
        self.arrays.xp.matmul(self.mix, flat, out=mixed.reshape(S, len(self.mix), -1))
        return mixed

    @property
    def maps(self):
        """The maps, of shape (S, B or C, 2l + 1, grid), in the workspace."""
        if self._maps is None:
            self._work, _ = self._transformed(self.spectra, self.psi, slot=0)
            self._maps = self._inverse(self._work, "mixed")
        return self._maps

    def _map_shape(self) -> tuple[int, ...]:
        return (*self.maps.shape[:2], *self.shape)

    def squared_modulus(self):
        """Return u = sum_m f_m^2, of shape (S, B or C, grid), valid until the next call."""
        u = self.arrays.buffer("u", self._map_shape())
        return self.arrays.sum_products(self.maps, self.maps, 2, u)

    def jvp(self, moved, psi_moved):
        """Return du = 2 sum_m f_m df_m for derivatives of the spectra and of the filters.

        Shapes (S, B, half grid) and (S, 2l + 1, half grid) or None. Valid until the next call.
        """
        work, products = self._transformed(moved, self.psi, slot=1)
        if psi_moved is not None:
            products += self.spectra[:, :, None] * psi_moved[:, None]
        df = self._inverse(work, "mixed moved")
        du = self.arrays.buffer("du", self._map_shape())
        self.arrays.sum_products(self.maps, df, 2, du)
        du *= 2
        return du

    def vjp(self, of_u):
        """Return the cotangents of spectra and filters for the cotangent ``of_u`` of u.

        Shapes (S, B, half grid) and (S, 2l + 1, half grid), both complex conjugates. Overwrites
        ``of_u`` and the maps.
        """
        arrays, maps, work = self.arrays, self.maps, self._work
        S, B = self.spectra.shape[:2]
        of_u *= 2
        maps *= of_u[:, :, None]
        if self.mix is not None:
            unmixed = work.maps.reshape(S, B, -1)
            arrays.xp.matmul(self.mix.T, maps.reshape(S, len(self.mix), -1), out=unmixed)
        pulled = work.forward().reshape(S, B, -1, *self.spectra.shape[2:])
        pulled = arrays.conjugate(pulled)
        self._maps = None
        cotangent = arrays.empty(self.spectra.shape, spectra=True)
        arrays.sum_products(self.psi[None, None], pulled, 2, cotangent)
        filters = arrays.empty((S, *self.psi.shape), spectra=True)
        arrays.sum_products(self.spectra[:, :, None], pulled, 1, filters)
        return cotangent, filters
