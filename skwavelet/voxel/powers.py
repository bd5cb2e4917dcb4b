"""Sums over voxels of powers of the modulus, and their derivatives.

With u the squared modulus, r = sqrt(u) and c = cbrt(u), the thesis's four sums of sigma^q,
q = 1, 4/3, 5/3, 2, are sum(r), c.c, r.c and sum(u): two roots and four dot products.
"""

from __future__ import annotations

import numpy as np

from skwavelet.voxel.fft import buffer

# q -> the two maps whose product is u^(q/2).
_FACTORS = {1.0: "r1", 4 / 3: "cc", 5 / 3: "rc", 2.0: "u1"}


class PowerSums:
    """Sums of u^(q/2) over the voxels of squared moduli u, for several powers q.

    Parameters
    ----------
    powers : sequence of float
        Exponents q of the modulus.
    """

    def __init__(self, powers):
        self.powers = tuple(float(q) for q in powers)
        self._factors = [
            next((f for known, f in _FACTORS.items() if abs(known - q) < 1e-9), None)
            for q in self.powers
        ]

    def roots(self, u: np.ndarray) -> dict[str, np.ndarray]:
        """Return the maps that the sums and slopes are made of, valid until the next call.

        ``u`` must be positive.
        """
        roots = {"u": u, "r": np.sqrt(u, out=buffer("r", u.shape, u.dtype))}
        if "cc" in self._factors or "rc" in self._factors:
            roots["c"] = np.cbrt(u, out=buffer("c", u.shape, u.dtype))
        return roots

    def sums(self, roots: dict[str, np.ndarray]) -> np.ndarray:
        """Return the sums (B, n_powers), accumulated in float64, of maps (B, L0, L1, L2)."""
        u = roots["u"]
        flat = {name: root.reshape(*u.shape[:2], -1) for name, root in roots.items()}
        # Products along planes in the maps' own precision, sums over planes in float64.
        planes = np.empty((*u.shape[:2], len(self.powers)), dtype=u.dtype)
        for column, (q, factors) in enumerate(self._pairs()):
            if factors is None:
                np.sum(flat["u"] ** u.dtype.type(q / 2), axis=-1, out=planes[..., column])
            elif factors[1] == "1":
                ones = np.ones(flat["u"].shape[-1], dtype=u.dtype)
                np.matmul(flat[factors[0]], ones, out=planes[..., column])
            else:
                np.vecdot(flat[factors[0]], flat[factors[1]], out=planes[..., column])
        return planes.sum(axis=1, dtype=np.float64)

    def _pairs(self):
        return zip(self.powers, self._factors, strict=True)

    def slopes(self, roots: dict[str, np.ndarray]) -> list[np.ndarray]:
        """Return the derivatives d u^(q/2) / du as maps (B, L0, L1, L2), one per power."""
        u, r = roots["u"], roots["r"]
        slopes = []
        for q, factors in self._pairs():
            half = u.dtype.type(q / 2)
            if factors == "r1":
                slopes.append(half / r)
            elif factors == "cc":
                slopes.append(half / roots["c"])
            elif factors == "rc":
                slopes.append(half * (roots["c"] / r))
            elif factors == "u1":
                slopes.append(np.broadcast_to(half, u.shape))
            else:
                slopes.append(half * u ** (half - 1))
        return slopes

    def slope(self, roots: dict[str, np.ndarray], weights: np.ndarray) -> np.ndarray:
        """Return sum_q weights_q d u^(q/2) / du as maps (B, L0, L1, L2).

        ``weights`` has shape (B, n_powers).
        """
        total = np.zeros_like(roots["u"])
        weights = weights.astype(total.dtype)[:, :, None, None, None]
        for column, slope in enumerate(self.slopes(roots)):
            if weights[:, column].any():
                total += weights[:, column] * slope
        return total
