"""A ``Chunk`` on NumPy arrays: FFTW and compiled passes, of one structure at a time."""

from __future__ import annotations

import threading
from functools import lru_cache
from typing import Any

import numpy as np

from skwavelet.representations.voxel.map_kernels import BLOCK, Exponents, Roots, fold, pull, push
from skwavelet.representations.voxel.spectrum_kernels import gather, multiply

# First guess of an inverse cube root, and the iterations from there to rounding, see `Roots`.
GUESSES: dict[str, tuple[Any, int]] = {
    "f": (np.uint32(0x54A2FA8C), 2),
    "d": (np.uint64(0x553EF0FF289DD796), 3),
}
# Exponents of u that are products of its square root and its cube root.
SIXTHS = (3, 4, 5, 6)

_local = threading.local()


@lru_cache(maxsize=32)
def make_exponents(powers: tuple[float, ...], dtype: np.dtype) -> Exponents:
    """Return the exponents q / 2 of the squared modulus."""
    values = np.array(powers) / 2
    sixths = np.rint(6 * values).astype(np.int64)
    known = np.isin(sixths, SIXTHS) & (np.abs(6 * values - sixths) < 1e-9)
    sixths = np.where(known, sixths, 0)
    return Exponents(values.astype(dtype), sixths, bool(np.isin(sixths, (4, 5)).any()))


def this_threads_roots(dtype: np.dtype) -> Roots:
    """Return this thread's room for the roots of a block."""
    made: dict[str, Roots] = _local.__dict__.setdefault("roots", {})
    if dtype.char not in made:
        magic, n_steps = GUESSES[dtype.char]
        u, root, inverse = np.empty((3, BLOCK), dtype)
        bits = inverse.view(magic.dtype)
        made[dtype.char] = Roots(u, root, inverse, bits, magic, n_steps)
    return made[dtype.char]


class MapPowers:
    """Powers of the squared moduli of maps (B, M, voxels), their sums and derivatives.

    ``mix`` (C, B) are the weights of channels, if any, and ``floors`` (C,) those of the modulus.
    """

    def __init__(self, mix, floors: np.ndarray, powers: tuple[float, ...], dtype: np.dtype):
        self._mix = np.empty((0, 0), dtype) if mix is None else mix
        self._floors = (floors**2).astype(dtype)
        self._exponents, self._dtype = make_exponents(powers, dtype), dtype
        self._none = np.empty((0, 0), dtype)

    def _settings(self, squared: bool) -> tuple:
        roots = this_threads_roots(self._dtype)
        return self._mix, squared, self._floors, self._exponents, roots

    def _sums(self) -> np.ndarray:
        return np.zeros((len(self._floors), len(self._exponents.values)))

    def values(self, maps: np.ndarray, moduli: np.ndarray | None, *, squared=False) -> np.ndarray:
        """Return the sums (C, n_powers), and write the moduli (C, voxels) if asked for.

        ``squared`` maps are squares already, in all methods.
        """
        sums = self._sums()
        fold(maps, *self._settings(squared), sums, self._none if moduli is None else moduli)
        return sums

    def jvp(
        self, maps: np.ndarray, moved: np.ndarray, moduli: np.ndarray | None, *, squared=False
    ) -> np.ndarray:
        """Return the derivatives of ``values`` along moved maps."""
        sums = self._sums()
        none = self._none if moduli is None else moduli
        push(maps, moved, *self._settings(squared), sums, none)
        return sums

    def vjp(
        self, maps: np.ndarray, weights: np.ndarray, of_moduli: np.ndarray | None, *, squared=False
    ) -> np.ndarray:
        """Return the sums, and overwrite the maps by their cotangents."""
        sums = self._sums()
        of_moduli = self._none if of_moduli is None else of_moduli
        weights = np.ascontiguousarray(weights, self._dtype)
        pull(maps, *self._settings(squared), weights, of_moduli, sums)
        return sums


class NumpyChunk:
    """Maps of a few parents of one structure under one wavelet; see ``Chunk``.

    Spectra, filters and cotangents of both are packed, see ``packing``.
    """

    def __init__(self, arrays, spectra, filters, wavelet, mix, floors, powers):
        self.arrays, self.spectra, self.shape = arrays, spectra, filters.shape
        self.psi, self.turned = filters.values(wavelet), filters.phase(wavelet) != 1
        self._mix, self._powers = mix, MapPowers(mix, floors, powers, arrays.dtype)
        self._n_channels = len(floors)
        self._work: Any = None

    def _flat(self, values):
        """Return arrays over packed spectra as rows of numbers for each part."""
        return values.reshape(*values.shape[:-3], -1)

    def _workspace(self, slot: int):
        return self.arrays.workspace(self.spectra.shape[1] * len(self.psi), self.shape, slot)

    def _rows(self, values):
        """Return what a workspace holds by parents and components."""
        return values.reshape(self.spectra.shape[1], len(self.psi), -1)

    def _multiply(self, spectra, psi, products) -> None:
        multiply(self._flat(spectra[0]), self._flat(psi), self.turned, self._rows(products))

    def _moduli(self, name: str, wanted: bool):
        """Return room for moduli (1, C, grid), and the same as rows; None if not wanted."""
        if not wanted:
            return None, None
        moduli = self.arrays.buffer(name, (1, self._n_channels, *self.shape))
        return moduli, moduli.reshape(self._n_channels, -1)

    def _transformed(self):
        """Return the maps (B, 2l + 1, voxels), and the workspace that holds them."""
        if self._work is None:
            self._work = self._workspace(0)
            self._multiply(self.spectra, self.psi, self._work.spectra)
            self._work.inverse()
        return self._rows(self._work.maps), self._work

    @property
    def maps(self) -> np.ndarray:
        """The maps, of shape (1, C, 2l + 1, grid), valid until the next transform."""
        rows, _ = self._transformed()
        if self._mix is not None:
            rows = np.tensordot(self._mix, rows, axes=1)
        return rows.reshape(1, -1, len(self.psi), *self.shape)

    def values(self, *, moduli: bool) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the sums, and the moduli if asked for, valid until the next call."""
        found, rows = self._moduli("moduli", moduli)
        return self._powers.values(self._transformed()[0], rows)[None], found

    def jvp(self, moved, psi_moved, *, moduli: bool) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the derivatives of ``values``, valid until the next call."""
        (maps, _), work = self._transformed(), self._workspace(1)
        self._multiply(moved, self.psi, work.spectra)
        if psi_moved is not None:
            more = self.arrays.buffer("moved products", work.spectra.shape, spectra=True)
            self._multiply(self.spectra, psi_moved[0], more)
            work.spectra += more
        work.inverse()
        found, rows = self._moduli("moved moduli", moduli)
        return self._powers.jvp(maps, self._rows(work.maps), rows)[None], found

    def vjp(self, weights, of_moduli) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the sums and the cotangents of spectra and filters; overwrites the maps."""
        maps, work = self._transformed()
        if of_moduli is not None:
            of_moduli = of_moduli.reshape(self._n_channels, -1)
        sums = self._powers.vjp(maps, weights[0], of_moduli)
        pulled, self._work = self._rows(work.forward()), None
        cotangent = self.arrays.empty(self.spectra.shape, spectra=True)
        of_filters = self.arrays.empty(self.psi.shape)
        gather(
            pulled, self._flat(self.spectra[0]), self._flat(self.psi), self.turned,
            self._flat(cotangent[0]), self._flat(of_filters),
        )  # fmt: skip
        return sums[None], cotangent, of_filters[None]
