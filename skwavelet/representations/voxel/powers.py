"""Sums over voxels of powers of the modulus, and their derivatives, for any array namespace.

With u the squared modulus, r = sqrt(u) and c = cbrt(u), the dissertation's four sums of sigma^q,
q = 1, 4/3, 5/3, 2, are sum(r), c.c, r.c and sum(u): two roots and four dot products. Compiled
loops (`skwavelet.representations.voxel.map_kernels`) take their place on NumPy arrays.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from skwavelet.representations.voxel.arrays import Array, Arrays


class Roots:
    """Squared moduli u (..., voxels) and their roots, each computed when it is asked for."""

    def __init__(self, arrays: Arrays, u: Array):
        self.arrays, self.u = arrays, u

    @cached_property
    def modulus(self) -> Array:
        """The square root of u."""
        return self.arrays.xp.sqrt(self.u)

    @cached_property
    def cube(self) -> Array:
        """The cube root of u."""
        return self.u ** (1 / 3)


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
        return roots.modulus.sum(-1)

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
        return roots.u.sum(-1)

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

    Maps are arrays (..., L0, L1, L2) of the namespace of ``arrays``, and must be positive. Sums
    along planes are in the maps' own precision, those over planes in float64.
    """

    def __init__(self, powers, arrays: Arrays):
        self.powers = tuple(float(q) for q in powers)
        self.arrays = arrays
        self._powers = [power(q) for q in self.powers]

    def values(self, u: Array) -> Array:
        """Return the sums (..., n_powers), accumulated in float64."""
        xp = self.arrays.xp
        roots = Roots(self.arrays, u.reshape(*u.shape[:-2], -1))
        planes = xp.stack([power.sums(roots) for power in self._powers], axis=-1)
        return xp.sum(planes, axis=-2, dtype=xp.float64)

    def jvp(self, u: Array, du: Array) -> Array:
        """Return the derivatives (..., n_powers) of the sums along ``du``."""
        xp = self.arrays.xp
        rows = (*u.shape[:-2], -1)
        roots, du = Roots(self.arrays, u.reshape(rows)), du.reshape(rows)
        along = [(power.derivative(roots) * du).sum(-1) for power in self._powers]
        return xp.sum(xp.stack(along, axis=-1), axis=-2, dtype=xp.float64)

    def vjp(self, u: Array, weights: np.ndarray) -> Array:
        """Return sum_q weights_q d u^(q/2) / du as maps; ``weights`` has shape (..., n_powers)."""
        roots, total = Roots(self.arrays, u), self.arrays.zeros(u.shape)
        for k, power in enumerate(self._powers):
            if weights[..., k].any():
                factors = self.arrays.asarray(weights[..., k])[..., None, None, None]
                total += factors * power.derivative(roots)
        return total
