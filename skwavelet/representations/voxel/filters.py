"""Wavelet filters on the reciprocal lattice of one grid, and their response to a strain."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from skwavelet._utils.threads import spread
from skwavelet.representations.voxel.arrays import Array, Arrays, half
from skwavelet.representations.voxel.density import pair_weights
from skwavelet.representations.voxel.grid import Grid, clear_nyquist, reciprocal_vectors
from skwavelet.representations.wavelets import wavelet_spectrum, wavelet_spectrum_gradient

# Filters and their gradients that are kept for the next structure of the same cell.
KEEP_BYTES = 2**28
# Points of a filter that are computed together, so that the intermediate arrays stay in cache.
POINTS = 2**15

_kept: OrderedDict[tuple, tuple[Any, int]] = OrderedDict()
_lock = threading.Lock()


def _keep(key: tuple, make: Callable, nbytes: int):
    """Return what ``make`` once made for a key, as long as there is room."""
    if nbytes > KEEP_BYTES:
        return make()
    with _lock:
        if key in _kept:
            _kept.move_to_end(key)
            return _kept[key][0]
    value = make()
    with _lock:
        _kept[key] = value, nbytes
        while sum(size for _, size in _kept.values()) > KEEP_BYTES:
            _kept.popitem(last=False)
    return value


class Filters:
    """Wavelets of one scale on one grid: real numbers, to be multiplied by a phase.

    Frequencies without a partner (-L/2 on an axis of even length L) are left out, so that maps are
    real and reflections of a structure give reflected maps. The filters of scale j
    are psi^(2^j G); the width beta and the box are in Å.
    """

    def __init__(
        self,
        wavelets: Sequence[tuple[int, int]],
        beta: float,
        scale: float,
        shape: tuple[int, int, int],
        cell: np.ndarray,
        arrays: Arrays,
    ):
        self.wavelets, self.beta, self.scale = wavelets, beta, scale
        self.shape, self.cell, self.arrays = shape, cell, arrays
        self._key = beta, scale, shape, cell.tobytes(), arrays
        self._half_bytes = prod(half(shape)) * arrays.dtype.itemsize
        # Those that this object was asked for before: no key is made for them again.
        self._found: dict[int, Any] = {}

    def phase(self, which: int) -> complex:
        """Return what the filters are to be multiplied by: 1, or -i where l is odd."""
        return -1j if self._is_odd(which) else 1

    def _sign(self, which: int) -> int:
        """Return (-i)^l over the phase."""
        return -1 if self.wavelets[which][1] // 2 % 2 else 1

    def _cached(self, what: str, which: int, make: Callable, n_numbers: int):
        key = (what, self.wavelets[which], *self._key)
        return _keep(key, make, n_numbers * self._half_bytes)

    def _parts(self) -> Iterator[slice]:
        count = max(1, POINTS // prod(half(self.shape)[1:]))
        for start in range(0, self.shape[0], count):
            yield slice(start, min(start + count, self.shape[0]))

    def _points(self, planes: slice) -> np.ndarray:
        """Return 2^j G (3, planes, L1, L2 // 2 + 1)."""
        cell = self.cell / 2.0**self.scale
        return reciprocal_vectors(self.shape, cell, self.arrays.dtype, planes)

    def values(self, which: int):
        """Return psi^_nlm over its phase, m by m, of one (n, l), as chunks take it."""
        if which not in self._found:
            shape = (2 * self.wavelets[which][1] + 1, *half(self.shape))

            def make():
                values = self._write(which, np.empty(shape, dtype=self.arrays.dtype))
                return self._packed(which, self.arrays.asarray(values))

            # Packed filters are twice as many numbers.
            self._found[which] = self._cached("values", which, make, 2 * shape[0])
        return self._found[which]

    def _is_odd(self, which: int) -> bool:
        return self.wavelets[which][1] % 2 == 1

    def _packed(self, which: int, values):
        return self.arrays.pack_filters(values, self.shape, odd=self._is_odd(which))

    def _write(self, which: int, values: np.ndarray) -> np.ndarray:
        n, l = self.wavelets[which]

        def part(planes):
            spectrum = wavelet_spectrum(self._points(planes), n, l, self.beta)
            np.multiply(self._sign(which), spectrum, out=values[:, planes])
            clear_nyquist(values[:, planes], self.shape, planes)

        spread(part, self._parts())
        return values

    def _gradients(self, which: int) -> Iterator[tuple[slice, Array, Array]]:
        """Yield planes, their points (3, ...) and gradients (3, 2l + 1, ...) in those."""
        l, everything = self.wavelets[which][1], slice(0, self.shape[0])
        pair = self._cached(
            "gradients",
            which,
            lambda: [self.arrays.asarray(v) for v in self._gradients_of(which, everything)],
            3 * (2 * l + 2),
        )
        yield everything, *pair

    def _gradients_of(self, which: int, planes: slice) -> tuple[np.ndarray, np.ndarray]:
        n, l = self.wavelets[which]
        points = self._points(planes)
        gradients = wavelet_spectrum_gradient(points, n, l, self.beta)
        gradients *= self._sign(which)
        clear_nyquist(gradients, self.shape, planes)
        return points, gradients

    def jvp(self, which: int, strains: np.ndarray):
        """Return derivatives (S, 2l + 1, ...) of ``values`` along strains (S, 3, 3).

        A strain turns G into (1 - eps) G.
        """
        arrays = self.arrays
        result = arrays.empty((len(strains), 2 * self.wavelets[which][1] + 1, *half(self.shape)))
        factors = arrays.asarray(-strains)
        for planes, points, gradients in self._gradients(which):
            motion = arrays.xp.matmul(factors, points.reshape(3, -1))
            motion = motion.reshape(len(strains), 3, 1, *points.shape[1:])
            change = arrays.empty((*result.shape[:2], *points.shape[1:]))
            arrays.sum_products(motion, gradients[None], 1, change)
            result[:, :, planes] = change
        return self._packed(which, result)

    def vjp(self, which: int, cotangent) -> np.ndarray:
        """Return the strain gradients (S, 3, 3) of sum_G cotangent psi^ over the full lattice.

        ``cotangent`` is that of ``values``, of shape (S, 2l + 1, ...).
        """
        arrays, count = self.arrays, len(cotangent)
        cotangent = arrays.unpack_filters(cotangent, self.shape, odd=self._is_odd(which))
        total = np.zeros((count, 3, 3))
        weights = arrays.asarray(pair_weights(self.shape, arrays.dtype))
        for planes, points, gradients in self._gradients(which):
            slopes = arrays.empty((count, 3, *points.shape[1:]))
            weighted = cotangent[:, None, :, planes] * weights
            arrays.sum_products(weighted, gradients[None], 2, slopes)
            flat = slopes.reshape(count, 3, -1), points.reshape(3, -1).T
            total -= arrays.host(arrays.xp.matmul(*flat))
        return total


class PlaneFilters(Filters):
    """Filters for ``PlaneArrays``, which are not kept: there is no room."""

    def values(self, which: int):
        """Return psi^_nlm over its phase of one (n, l), valid until the next call."""
        shape = (2 * self.wavelets[which][1] + 1, *half(self.shape))
        return self._write(which, self.arrays.buffer("filters", shape))

    def _gradients(self, which: int) -> Iterator[tuple[slice, Array, Array]]:
        for planes in self._parts():
            yield planes, *self._gradients_of(which, planes)


@dataclass(frozen=True, eq=False)
class Bank:
    """The wavelets of an evaluator: everything about filters but the grid."""

    wavelets: tuple[tuple[int, int], ...]
    scales: tuple[float, ...]
    beta: float
    arrays: Arrays

    def on(self, scale: int, level: int, grid: Grid) -> Filters:
        """Return the filters of scale number ``scale`` on the grid of scale number ``level``.

        Structures of one cell share them.
        """
        shape, j = grid.shapes[level], self.scales[scale]
        arrays = self.arrays.at(shape)
        kind = PlaneFilters if arrays.by_planes else Filters
        return kind(self.wavelets, self.beta, j, shape, grid.cells[level], arrays)
