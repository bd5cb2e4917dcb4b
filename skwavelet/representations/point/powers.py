"""Powers of the modulus at every atom, and their derivatives.

With u the squared modulus, r = sqrt(u) and c = cbrt(u), the powers u^(q/2) for
q = 1, 4/3, 5/3, 2 are r, c c, r c and u: two roots and two products.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


class AtomPowers:
    """Powers u^(q/2) of squared moduli u, for several q.

    Parameters
    ----------
    powers : sequence of float
        Exponents q of the modulus.
    """

    def __init__(self, powers):
        self.powers = tuple(float(q) for q in powers)
        self._cubic = [min(abs(q - 4 / 3), abs(q - 5 / 3)) < 1e-9 for q in self.powers]

    def terms(self, u: np.ndarray) -> Iterator[np.ndarray]:
        """Yield u^(q/2) for every q; ``u`` must be positive."""
        r, c = np.sqrt(u), None
        for q, cubic in zip(self.powers, self._cubic, strict=True):
            if q == 1:
                yield r
            elif q == 2:
                yield u
            elif cubic:
                c = np.cbrt(u) if c is None else c
                yield c * c if q < 1.5 else r * c
            else:
                yield u ** u.dtype.type(q / 2)

    def values(self, u: np.ndarray, floor: np.ndarray) -> Iterator[np.ndarray]:
        """Yield u^(q/2) - floor^(q/2), exactly 0 where ``u`` (n_atoms, M) is ``floor`` (M,)."""
        for term, constant in zip(self.terms(u), self.terms(floor), strict=True):
            yield term - constant

    def derivatives(self, u: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the derivatives of the terms in ``u``."""
        inverse = 1 / u
        for q, term in zip(self.powers, self.terms(u), strict=True):
            yield u.dtype.type(q / 2) * term * inverse
