"""Sums over voxels of powers of the modulus, and their derivatives.

With u the squared modulus, r = sqrt(u) and c = cbrt(u), the thesis's four sums of sigma^q,
q = 1, 4/3, 5/3, 2, are sum(r), c.c, r.c and sum(u): two roots and four dot products.
"""

from __future__ import annotations

from typing import Any

import numpy as np

# q -> the two maps whose product is u^(q/2).
_FACTORS = {1.0: "r1", 4 / 3: "cc", 5 / 3: "rc", 2.0: "u1"}


class PowerSums:
    """Sums of u^(q/2) over the voxels of squared moduli u, for several powers q.

    Maps are arrays (..., L0, L1, L2) of the namespace of ``arrays``, and must be positive.

    Parameters
    ----------
    powers : sequence of float
        Exponents q of the modulus.
    arrays : Arrays
    """

    def __init__(self, powers, arrays):
        self.powers = tuple(float(q) for q in powers)
        self.arrays = arrays
        self._vectors: dict[int, Any] = {}
        self._factors = [
            next((f for known, f in _FACTORS.items() if abs(known - q) < 1e-9), None)
            for q in self.powers
        ]

    def _roots(self, u) -> dict[str, Any]:
        """Return the maps that the sums and slopes are made of, valid until the next call."""
        roots = {"u": u, "r": self.modulus(u)}
        if "cc" in self._factors or "rc" in self._factors:
            roots["c"] = self.arrays.cbrt(u, out=self.arrays.buffer("c", u.shape))
        return roots

    def modulus(self, u):
        """Return sqrt(u), valid until the next call."""
        return self.arrays.xp.sqrt(u, out=self.arrays.buffer("r", u.shape))

    def _planes(self, *maps):
        """Yield the maps (planes, voxels) part by part, and where in the planes."""
        flat = [m.reshape(-1, m.shape[-2] * m.shape[-1]) for m in maps]
        for part in self.arrays.parts(*flat[0].shape):
            yield part, *(m[part] for m in flat)

    def sums(self, u):
        """Return the sums (..., n_powers), accumulated in float64."""
        xp = self.arrays.xp
        # Products along planes in the maps' own precision, sums over planes in float64.
        planes = self.arrays.empty((*u.shape[:-2], len(self.powers)))
        rows = planes.reshape(-1, len(self.powers))
        ones = self._ones(u.shape[-2] * u.shape[-1])
        for part, values in self._planes(u):
            roots = self._roots(values)
            for column, (q, factors) in enumerate(self._pairs()):
                if factors is None:
                    rows[part, column] = (values ** (q / 2)).sum(-1)
                elif factors[1] == "1":
                    rows[part, column] = roots[factors[0]] @ ones
                else:
                    rows[part, column] = xp.vecdot(roots[factors[0]], roots[factors[1]])
        return xp.sum(planes, axis=-2, dtype=xp.float64)

    def _ones(self, count: int):
        if count not in self._vectors:
            self._vectors[count] = self.arrays.asarray(np.ones(count))
        return self._vectors[count]

    def pushed(self, slopes: list, du):
        """Return the derivatives (..., n_powers) of the sums along ``du``."""
        xp = self.arrays.xp
        rows = (*du.shape[:-2], -1)
        along = [xp.vecdot(s.reshape(rows), du.reshape(rows)) for s in slopes]
        return xp.sum(xp.stack(along, axis=-1), axis=-2, dtype=xp.float64)

    def _pairs(self):
        return zip(self.powers, self._factors, strict=True)

    def slopes(self, u) -> list:
        """Return the derivatives d u^(q/2) / du as maps, one per power."""
        slopes = [self.arrays.empty(u.shape) for _ in self.powers]
        for _, values, *parts in self._planes(u, *slopes):
            roots = self._roots(values)
            for column, out in enumerate(parts):
                out[...] = self._slope(column, roots)
        return slopes

    def slope(self, u, weights: np.ndarray):
        """Return sum_q weights_q d u^(q/2) / du as maps; ``weights`` has shape (..., n_powers)."""
        total = self.arrays.empty(u.shape)
        columns = [k for k in range(len(self.powers)) if weights[..., k].any()]
        # One weight for every plane.
        planes = np.repeat(weights.reshape(-1, len(self.powers)), u.shape[-3], axis=0)
        planes = self.arrays.asarray(planes)
        for part, values, out in self._planes(u, total):
            roots = self._roots(values)
            out[...] = 0
            for k in columns:
                out += planes[part, k][:, None] * self._slope(k, roots)
        return total

    def _slope(self, column: int, roots: dict[str, Any]):
        q, factors = self.powers[column], self._factors[column]
        if factors == "r1":
            return q / 2 / roots["r"]
        if factors == "cc":
            return q / 2 / roots["c"]
        if factors == "rc":
            return q / 2 * (roots["c"] / roots["r"])
        if factors == "u1":
            return q / 2
        return q / 2 * roots["u"] ** (q / 2 - 1)
