"""Transforms of maps too large for the caches: columns first, then planes, several threads.

A transform of three axes is one of columns (the first axis), then one of planes (the other two).
Everything that is done to the maps and spectra happens while a few columns or a plane are in cache:
a map is never written to memory, only its half-transformed spectrum is. Threads share the columns
and planes.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from skwavelet._utils.fftw_plans import current_file
from skwavelet._utils.threads import spread
from skwavelet.representations.voxel.arrays import Unpacked, half
from skwavelet.representations.voxel.fftw import aligned, plan
from skwavelet.representations.voxel.map_kernels import average
from skwavelet.representations.voxel.numpy_arrays import NumpyArrays
from skwavelet.representations.voxel.numpy_chunk import MapPowers
from skwavelet.representations.voxel.shifts import Shift

# Larger maps are transformed by planes.
STREAM_VOXELS = 2**22
# As many columns as fit the cache together.
COLUMNS = 96
# First-order maps that are kept for the second order together.
GROUP_BYTES = 2**26

_local = threading.local()


def _planned(key: tuple, make: Callable):
    """Return buffers with their plan, one set for every thread and key."""
    cache = _local.__dict__.setdefault("plans", {})
    key = (*key, current_file())
    if key not in cache:
        if len(cache) > 64:
            cache.clear()
        cache[key] = make()
    return cache[key]


class PlaneTransform:
    """The transform between one map and its spectrum.

    A ``slot`` tells transforms apart that are used together.
    """

    def __init__(self, arrays: NumpyArrays, shape: tuple[int, int, int], slot: int = 0):
        self.arrays, self.shape, self.slot = arrays, shape, slot
        # Planes of spectra, transformed along the first axis only.
        self._halfway = arrays.buffer(f"halfway {slot}", half(shape), spectra=True)

    def _blocks(self) -> list[tuple[slice, int, slice]]:
        width = self._halfway.shape[2]
        edges = np.linspace(0, width, max(1, round(width / COLUMNS)) + 1).astype(int)
        pairs = list(pairwise(edges.tolist()))
        return [
            (slice(None), j, slice(start, stop))
            for j in range(self.shape[1])
            for start, stop in pairs
        ]

    def _columns(self, width: int, inverse: bool):
        shape = (self.shape[0], width)

        def make():
            columns = aligned(shape, self.arrays.complex_dtype)
            return columns, plan(columns, columns, (0,), inverse).execute

        return _planned(("columns", shape, self.arrays.dtype.char, inverse), make)

    def _plane(self):
        shape = self.shape[1:]

        def make():
            spectra = aligned(half(shape), self.arrays.complex_dtype)
            maps = aligned(shape, self.arrays.dtype)
            inverse, forward = (
                plan(spectra, maps, (0, 1), inverse=True).execute,
                plan(maps, spectra, (0, 1), inverse=False).execute,
            )
            return spectra, maps, inverse, forward

        return _planned(("plane", shape, self.arrays.dtype.char, self.slot), make)

    def enter(self, fill: Callable[[tuple, np.ndarray], None]) -> None:
        """Transform coefficients along the columns: ``fill(at, out)`` writes some of them."""

        def columns(at):
            work, execute = self._columns(at[2].stop - at[2].start, inverse=True)
            fill(at, work)
            execute()
            self._halfway[at] = work

        spread(columns, self._blocks())

    def plane(self, i: int) -> np.ndarray:
        """Return plane ``i`` of the map, valid until this thread's next call."""
        spectra, maps, inverse, _ = self._plane()
        spectra[...] = self._halfway[i]
        inverse()
        return maps

    def plane_buffer(self) -> np.ndarray:
        """Return this thread's plane, to be filled for ``put``."""
        return self._plane()[1]

    def put(self, i: int) -> None:
        """Transform this thread's plane, as plane ``i`` of the map that is transformed back."""
        spectra, _, _, forward = self._plane()
        forward()
        self._halfway[i] = spectra

    def leave(self, use: Callable[[tuple, np.ndarray], None]) -> None:
        """Transform planes that were ``put`` along the columns: ``use(at, coefficients)``."""

        def columns(at):
            work, execute = self._columns(at[2].stop - at[2].start, inverse=False)
            work[...] = self._halfway[at]
            execute()
            use(at, work)

        spread(columns, self._blocks())

    def planes(self, function: Callable[[int], None]) -> None:
        """Call a function with the number of every plane."""
        spread(function, range(self.shape[0]))


class PlaneChunk:
    """A ``Chunk`` of one structure whose maps are transformed by planes.

    The parents' spectra are those of channels: they are mixed before.
    """

    def __init__(self, arrays, spectra, filters, wavelet, floors, powers):
        self.arrays, self.spectra, self.shape = arrays, spectra, filters.shape
        self.psi = filters.values(wavelet)
        self.phase = arrays.complex_dtype.type(filters.phase(wavelet))
        self._powers = [
            MapPowers(None, floors[b : b + 1], powers, arrays.dtype) for b in range(len(floors))
        ]
        # Of squares that are raised already.
        self._raised = MapPowers(None, np.zeros(1), powers, arrays.dtype)
        self._n_powers = len(powers)
        self._transform = PlaneTransform(arrays, self.shape)
        self._moduli: Any = None

    def _each(self):
        return np.ndindex(self.spectra.shape[1], len(self.psi))

    def _enter(self, b: int, m: int) -> None:
        def fill(at, out):
            np.multiply(self.spectra[0, b][at], self.psi[m][at], out=out)
            if self.phase != 1:
                out *= self.phase

        self._transform.enter(fill)

    def _buffer(self, name: str) -> np.ndarray:
        return self.arrays.buffer(name, (1, self.spectra.shape[1], *self.shape))

    def _sums(self) -> np.ndarray:
        """Return zeros for the sums of every plane, (1, B, planes, n_powers)."""
        return np.zeros((1, self.spectra.shape[1], self.shape[0], self._n_powers))

    @property
    def maps(self) -> np.ndarray:
        """The maps, of shape (1, B, 2l + 1, grid)."""
        maps = self.arrays.empty((1, self.spectra.shape[1], len(self.psi), *self.shape))
        for b, m in self._each():
            self._enter(b, m)

            def plane(i, values=maps[0, b, m]):
                values[i] = self._transform.plane(i)

            self._transform.planes(plane)
        return maps

    def _squared(self) -> np.ndarray:
        """Return sum_m f_m^2, of shape (1, B, grid), valid until the next call."""
        u = self._buffer("u")
        for b, m in self._each():
            self._enter(b, m)

            def plane(i, m=m, u=u[0, b]):
                f = self._transform.plane(i)
                _accumulate(f, f, m == 0, u[i])

            self._transform.planes(plane)
        return u

    def values(self, *, moduli: bool) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the sums, and the moduli if asked for, valid until the next call."""
        self._moduli, sums = self._squared(), self._sums()

        def plane(i):
            for b, powers in enumerate(self._powers):
                maps = _rows(self._moduli[0, b, i])
                sums[0, b, i] = powers.values(maps, maps[0], squared=True)[0]

        self._transform.planes(plane)
        return sums.sum(axis=2), self._moduli if moduli else None

    def jvp(self, moved, psi_moved, *, moduli: bool) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the derivatives of ``values``, which were computed before; see ``Chunk.jvp``."""
        du, sums = self._buffer("du"), self._sums()
        moving = PlaneTransform(self.arrays, self.shape, slot=1)
        for b, m in self._each():
            self._enter(b, m)

            def fill(at, out, b=b, m=m):
                np.multiply(moved[0, b][at], self.psi[m][at], out=out)
                if psi_moved is not None:
                    out += self.spectra[0, b][at] * psi_moved[0, m][at]
                out *= 2 * self.phase

            def plane(i, m=m, du=du[0, b]):
                _accumulate(self._transform.plane(i), moving.plane(i), m == 0, du[i])

            moving.enter(fill)
            moving.planes(plane)

        def along(i):
            for b in range(len(self._powers)):
                change = _rows(du[0, b, i])
                maps = _rows(self._moduli[0, b, i] ** 2)
                sums[0, b, i] = self._raised.jvp(maps, change, change[0], squared=True)[0]

        self._transform.planes(along)
        return sums.sum(axis=2), du if moduli else None

    def vjp(self, weights, of_moduli) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the sums and the cotangents of spectra and filters; see ``Chunk.vjp``."""
        slopes, sums = self._squared(), self._sums()

        def slope(i):
            for b, powers in enumerate(self._powers):
                of_plane = None if of_moduli is None else _rows(of_moduli[0, b, i])[0]
                maps = _rows(slopes[0, b, i])
                found = powers.vjp(maps, weights[0, b : b + 1], of_plane, squared=True)
                sums[0, b, i] = found[0]

        self._transform.planes(slope)
        cotangent = np.zeros_like(self.spectra)
        filters = np.zeros((1, *self.psi.shape), dtype=self.arrays.dtype)
        for b, m in self._each():
            self._enter(b, m)

            def plane(i, slopes=slopes[0, b]):
                f = self._transform.plane(i)
                f *= slopes[i]
                f *= 2
                self._transform.put(i)

            def use(at, pulled, b=b, m=m):
                np.conjugate(pulled, out=pulled)
                pulled *= self.phase
                filters[0, m][at] += (self.spectra[0, b][at] * pulled).real
                cotangent[0, b][at] += self.psi[m][at] * pulled

            self._transform.planes(plane)
            self._transform.leave(use)
        return sums.sum(axis=2), cotangent, filters


def _rows(plane: np.ndarray) -> np.ndarray:
    """Return a plane as one map of one component."""
    return plane.reshape(1, 1, -1)


def _accumulate(a: np.ndarray, b: np.ndarray, first: bool, total: np.ndarray) -> None:
    """Add a * b, which overwrites ``a``, to ``total``, or begin with it."""
    if first:
        np.multiply(a, b, out=total)
    else:
        total += np.multiply(a, b, out=a)


@dataclass(frozen=True)
class StreamingArrays(NumpyArrays):
    """NumPy arrays of one precision; maps too large for the caches are transformed by planes."""

    def at(self, shape: tuple[int, int, int]) -> NumpyArrays:
        """Return the backend for maps of a shape."""
        return PlaneArrays(self.dtype) if math.prod(shape) > STREAM_VOXELS else self


@dataclass(frozen=True)
class PlaneArrays(Unpacked, NumpyArrays):
    """The backend for maps too large for the caches, of one structure at a time."""

    fixed_bytes = property(lambda self: 1.25 * 2**30, doc="What is of bounded size.")
    by_planes = True

    def kept_parents(self, shape: tuple[int, int, int], count: int) -> int:
        """Return how many first-order maps may be kept together: few."""
        return max(1, GROUP_BYTES // (self.dtype.itemsize * math.prod(shape)))

    def mixes_early(self, n_channels: int, n_elements: int) -> bool:
        """Whether spectra are mixed: always, so that one map at a time is enough."""
        return True

    def chunk(
        self,
        spectra: np.ndarray,
        filters: Any,
        wavelet: int,
        mix: Any,
        floors: np.ndarray,
        powers: tuple[float, ...],
    ) -> PlaneChunk:
        """Return the wavelet transforms of a few maps."""
        return PlaneChunk(self, spectra, filters, wavelet, floors, powers)

    def average(
        self,
        maps: np.ndarray,
        shift: Shift,
        weight: float,
        out: np.ndarray,
        *,
        add: bool = False,
    ) -> None:
        """Write, or add, means of neighbours in maps (S, B, grid) on a shifted grid to ``out``."""
        rows = [x.reshape(-1, *x.shape[2:]) for x in (maps, out)]
        halves = np.array(shift.halves)

        def plane(i):
            average(rows[0], halves, weight, add, i, i + 1, rows[1])

        spread(plane, range(maps.shape[2]))

    def forward_rows(
        self, maps: np.ndarray, out: np.ndarray, factors: np.ndarray | None = None
    ) -> None:
        """Write the forward transforms of maps (S, B, grid), times real factors (half grid)."""
        for row in np.ndindex(maps.shape[:2]):
            self._forward(maps[row], out[row])
        if factors is not None:
            out *= factors

    def inverse_rows(
        self, spectra: np.ndarray, out: np.ndarray, factors: np.ndarray | None = None
    ) -> None:
        """Write the inverse transforms of conjugated half spectra to maps (S, B, grid)."""
        for row in np.ndindex(out.shape[:2]):
            self._inverse(spectra[row], out[row], factors)

    def _forward(self, maps: np.ndarray, out: np.ndarray) -> None:
        transform = PlaneTransform(self, maps.shape)

        def plane(i):
            transform.plane_buffer()[...] = maps[i]
            transform.put(i)

        def use(at, coefficients):
            out[at] = coefficients

        transform.planes(plane)
        transform.leave(use)

    def _inverse(self, spectra: np.ndarray, out: np.ndarray, factors: np.ndarray | None) -> None:
        transform = PlaneTransform(self, out.shape)

        def fill(at, columns):
            np.conjugate(spectra[at], out=columns)
            if factors is not None:
                columns *= factors[at]

        def plane(i):
            out[i] = transform.plane(i)

        transform.enter(fill)
        transform.planes(plane)
