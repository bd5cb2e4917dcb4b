"""Wavelet transforms of a few maps at a time, their powers, and all that backwards."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from skwavelet.representations.voxel.arrays import Array, Arrays
from skwavelet.representations.voxel.powers import PowerSums


class Chunk:
    """Maps f_m of a few parents of S structures under one wavelet, and what derives from them.

    The maps of B parents, with spectra (S, B, half grid), may be mixed into C channels by weights
    ``mix`` (C, B): f_c = sum_b mix_cb f_b (C is B otherwise); u = sum_m f_m^2 + floor^2 are the
    squared moduli, with floors (C,), and sums those of u^(q/2) over the voxels.
    """

    def __init__(
        self,
        arrays: Arrays,
        spectra: Array,
        filters: Any,
        wavelet: int,
        mix: Array,
        floors: np.ndarray,
        powers: tuple[float, ...],
    ):
        self.arrays, self.spectra, self.mix = arrays, spectra, mix
        self.psi, self.phase = filters.values(wavelet), filters.phase(wavelet)
        self.shape, self.powers = filters.shape, PowerSums(powers, arrays)
        self._squared_floors = arrays.asarray(floors**2)[:, None, None, None]

    def _transformed(self, products):
        """Return the maps (S, C, 2l + 1, grid) of products of coefficients and filters."""
        work = self.arrays.workspace(
            products.shape[0] * products.shape[1] * len(self.psi), self.shape
        )
        work.spectra.reshape(products.shape)[...] = products
        maps = work.inverse().reshape(*products.shape[:3], *self.shape)
        if self.mix is None:
            return maps
        mixed = self.mix @ maps.reshape(*maps.shape[:2], -1)
        return mixed.reshape(len(maps), len(self.mix), *maps.shape[2:])

    def _multiplied(self, spectra, psi):
        products = spectra[:, :, None] * psi
        return products if self.phase == 1 else products * self.phase

    @cached_property
    def maps(self):
        """The maps, of shape (S, C, 2l + 1, grid)."""
        return self._transformed(self._multiplied(self.spectra, self.psi))

    @cached_property
    def squares(self):
        """The squared moduli u, of shape (S, C, grid)."""
        return (self.maps * self.maps).sum(2) + self._squared_floors

    def values(self, *, moduli: bool) -> tuple[Array, Array]:
        """Return the sums (S, C, n_powers), and the moduli (S, C, grid) if asked for."""
        return self.powers.values(self.squares), self.squares**0.5 if moduli else None

    def jvp(self, moved: Array, psi_moved: Array, *, moduli: bool) -> tuple[Array, Array]:
        """Return the derivatives of ``values`` for those of the spectra and of the filters.

        Shapes (S, B, half grid) and (S, 2l + 1, half grid) or None.
        """
        products = self._multiplied(moved, self.psi)
        if psi_moved is not None:
            products += self._multiplied(self.spectra, psi_moved[:, None])
        du = 2 * (self.maps * self._transformed(products)).sum(2)
        along = self.powers.jvp(self.squares, du)
        return along, du / (2 * self.squares**0.5) if moduli else None

    def vjp(self, weights: np.ndarray, of_moduli: Array) -> tuple[Array, Array, Array]:
        """Return the sums (S, C, n_powers), and the cotangents of spectra and filters.

        ``weights`` are cotangents of the sums, ``of_moduli`` (S, C, grid) those of the moduli, if
        any. The spectra's (S, B, half grid) are complex conjugates, the filters' (S, 2l + 1, half
        grid) real parts, all that real filters ask for.
        """
        slopes = 2 * self.powers.vjp(self.squares, weights)
        if of_moduli is not None:
            slopes += of_moduli / self.squares**0.5
        pulled = self.maps * slopes[:, :, None]
        S, B = self.spectra.shape[:2]
        if self.mix is not None:
            flat = self.mix.T @ pulled.reshape(S, len(self.mix), -1)
            pulled = flat.reshape(S, B, *pulled.shape[2:])
        work = self.arrays.workspace(S * B * len(self.psi), self.shape)
        work.maps.reshape(pulled.shape)[...] = pulled
        back = work.forward().reshape(S, B, len(self.psi), *self.spectra.shape[2:]).conj()
        back = back if self.phase == 1 else self.phase * back
        cotangent = (back * self.psi).sum(2)
        of_filters = (self.spectra[:, :, None] * back).real.sum(1)
        return self.powers.values(self.squares), cotangent, of_filters
