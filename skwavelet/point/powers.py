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

    def terms(self, u: np.ndarray) -> Iterator[np.ndarray]:
        """Yield u^(q/2) for every q; ``u`` must be positive."""
        r, c = np.sqrt(u), None
        for q in self.powers:
            if q == 1:
                yield r
            elif q == 2:
                yield u
            elif np.isclose(q, 4 / 3) or np.isclose(q, 5 / 3):
                c = np.cbrt(u) if c is None else c
                yield c * c if q < 1.5 else r * c
            else:
                yield u ** u.dtype.type(q / 2)

    def rises(self, u: np.ndarray, floor: np.ndarray) -> Iterator[np.ndarray]:
        """Yield u^(q/2) - floor^(q/2), exactly 0 where ``u`` (n_atoms, M) is ``floor`` (M,)."""
        for term, constant in zip(self.terms(u), self.terms(floor), strict=True):
            yield term - constant

    def sums(self, u: np.ndarray, floor: np.ndarray) -> np.ndarray:
        """Return the sums (M, n_powers) of ``rises`` over atoms."""
        sums = [rise.sum(axis=0) for rise in self.rises(u, floor)]
        return np.stack(sums, axis=-1).astype(np.float64)

    def slope(self, u: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Return sum_q weights_q d u^(q/2) / du of shape (n_atoms, M); weights (M, n_powers)."""
        cast = (weights * np.array(self.powers) / 2).astype(u.dtype)
        slope = np.zeros_like(u)
        for column, term in enumerate(self.terms(u)):
            if cast[:, column].any():
                slope += cast[:, column] * term
        return slope / u
