"""Sums over voxels of powers of the modulus, and their derivatives.

With u the squared modulus, r = sqrt(u) and c = cbrt(u), the thesis's four sums of sigma^q,
q = 1, 4/3, 5/3, 2, are sum(r), c.c, r.c and sum(u): two roots and four dot products.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from skwavelet.representations.voxel.arrays import Array, Arrays


class Roots:
    """Squared moduli u (rows, voxels) and their roots, each computed when it is asked for.

    Valid until those of the next ones are. ``ones`` (voxels,) sums rows by a product, the fastest
    way.
    """

    def __init__(self, arrays: Arrays, u: Array, ones: Array = None):
        self.arrays, self.u, self.ones = arrays, u, ones
        self._modulus: Any = None
        self._cube: Any = None

    @property
    def modulus(self) -> Array:
        """The square root of u."""
        if self._modulus is None:
            out = self.arrays.buffer("square root", self.u.shape)
            self._modulus = self.arrays.xp.sqrt(self.u, out=out)
        return self._modulus

    @property
    def cube(self) -> Array:
        """The cube root of u."""
        if self._cube is None:
            out = self.arrays.buffer("cube root", self.u.shape)
            self._cube = self.arrays.cbrt(self.u, out=out)
        return self._cube


class Power:
    """Any power q: u^(q/2)."""

    def __init__(self, q: float):
        self.q = q

    def sums(self, roots: Roots) -> Array:
        """Return sum u^(q/2) of every row."""
        return (roots.u ** (self.q / 2)).sum(-1)

    def derivative(self, roots: Roots) -> Array | float:
        """Return d u^(q/2) / du."""
        return self.q / 2 * roots.u ** (self.q / 2 - 1)


class One(Power):
    """q = 1, the modulus."""

    def sums(self, roots: Roots) -> Array:
        """Return sum sqrt(u)."""
        return roots.modulus @ roots.ones

    def derivative(self, roots: Roots) -> Array:
        """Return 1 / 2 sqrt(u)."""
        return self.q / 2 / roots.modulus


class FourThirds(Power):
    """q = 4/3, the square of the cube root."""

    def sums(self, roots: Roots) -> Array:
        """Return sum cbrt(u)^2."""
        return roots.arrays.xp.vecdot(roots.cube, roots.cube)

    def derivative(self, roots: Roots) -> Array:
        """Return 2/3 / cbrt(u)."""
        return self.q / 2 / roots.cube


class FiveThirds(Power):
    """q = 5/3, both roots."""

    def sums(self, roots: Roots) -> Array:
        """Return sum sqrt(u) cbrt(u)."""
        return roots.arrays.xp.vecdot(roots.modulus, roots.cube)

    def derivative(self, roots: Roots) -> Array:
        """Return 5/6 cbrt(u) / sqrt(u)."""
        return self.q / 2 * (roots.cube / roots.modulus)


class Two(Power):
    """q = 2, the squared modulus itself."""

    def sums(self, roots: Roots) -> Array:
        """Return sum u."""
        return roots.u @ roots.ones

    def derivative(self, roots: Roots) -> float:
        """Return 1."""
        return self.q / 2


def power(q: float) -> Power:
    """Return the power q, in the way that is fastest."""
    for known, kind in ((1.0, One), (4 / 3, FourThirds), (5 / 3, FiveThirds), (2.0, Two)):
        if abs(known - q) < 1e-9:
            return kind(q)
    return Power(q)


class PowerSums:
    """Sums of u^(q/2) over the voxels of squared moduli u, for several powers q.

    Maps are arrays (..., L0, L1, L2) of the namespace of ``arrays``, and must be positive.

    Parameters
    ----------
    powers : sequence of float
        Exponents q of the modulus.
    arrays : Arrays
    """

    def __init__(self, powers, arrays: Arrays):
        self.powers = tuple(float(q) for q in powers)
        self.arrays = arrays
        self._powers = [power(q) for q in self.powers]
        self._vectors: dict[int, Array] = {}

    def modulus(self, u: Array) -> Array:
        """Return sqrt(u), valid until the next call."""
        return Roots(self.arrays, u).modulus

    def _planes(self, *maps: Array) -> Iterator[tuple]:
        """Yield the maps (planes, voxels) part by part, and where in the planes."""
        flat = [m.reshape(-1, m.shape[-2] * m.shape[-1]) for m in maps]
        ones = self._ones(flat[0].shape[1])
        for part in self.arrays.parts(*flat[0].shape):
            yield part, Roots(self.arrays, flat[0][part], ones), *(m[part] for m in flat[1:])

    def _ones(self, count: int) -> Array:
        if count not in self._vectors:
            self._vectors[count] = self.arrays.asarray(np.ones(count))
        return self._vectors[count]

    def values(self, u: Array) -> Array:
        """Return the sums (..., n_powers), accumulated in float64."""
        xp = self.arrays.xp
        # Products along planes in the maps' own precision, sums over planes in float64.
        planes = self.arrays.empty((*u.shape[:-2], len(self.powers)))
        rows = planes.reshape(-1, len(self.powers))
        for part, roots in self._planes(u):
            for column, power in enumerate(self._powers):
                rows[part, column] = power.sums(roots)
        return xp.sum(planes, axis=-2, dtype=xp.float64)

    def derivatives(self, u: Array) -> list[Array]:
        """Return d u^(q/2) / du as maps, one per power, for ``jvp``."""
        maps = [self.arrays.empty(u.shape) for _ in self.powers]
        for _, roots, *parts in self._planes(u, *maps):
            for power, out in zip(self._powers, parts, strict=True):
                out[...] = power.derivative(roots)
        return maps

    def jvp(self, derivatives: list[Array], du: Array) -> Array:
        """Return the derivatives (..., n_powers) of the sums along ``du``."""
        xp = self.arrays.xp
        rows = (*du.shape[:-2], -1)
        along = [xp.vecdot(d.reshape(rows), du.reshape(rows)) for d in derivatives]
        return xp.sum(xp.stack(along, axis=-1), axis=-2, dtype=xp.float64)

    def vjp(self, u: Array, weights: np.ndarray) -> Array:
        """Return sum_q weights_q d u^(q/2) / du as maps; ``weights`` has shape (..., n_powers)."""
        total = self.arrays.empty(u.shape)
        columns = [k for k in range(len(self.powers)) if weights[..., k].any()]
        # One weight for every plane.
        planes = np.repeat(weights.reshape(-1, len(self.powers)), u.shape[-3], axis=0)
        planes = self.arrays.asarray(planes)
        for part, roots, out in self._planes(u, total):
            out[...] = 0
            for k in columns:
                out += planes[part, k][:, None] * self._powers[k].derivative(roots)
        return total
