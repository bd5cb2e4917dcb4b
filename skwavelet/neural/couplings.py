"""Which moments of neighbours and harmonics of bonds are multiplied, and what they make."""

from __future__ import annotations

import numpy as np

from skwavelet.neural.product_kernels import Product, Table
from skwavelet.representations.wavelets import solid_harmonics

# Moments of higher degrees are handed on as they are only, and harmonics are of these degrees.
_HIGHEST = 3
# Degrees of three moments whose product has an invariant part that is no product of smaller ones.
_TRIPLES = ((1, 1, 2), (2, 2, 2), (1, 2, 3))
# Of the degrees of a path. With the three paths above it, errors are the same.
_LARGEST_SUM = 6


class Couplings:
    """Which moments of neighbours and harmonics of bonds are multiplied, and what they make.

    A path takes moments h of one degree times harmonics y of another, and makes moments of a third,

        x_t = T_k(t) h_a(t)        b_r = sum C_rat y_a x_t,

    with filters T, and the coefficients C of the product of three harmonics (Gaunt's), of norm 1
    for each component of b. Paths of harmonics of degree 0 hand moments on as they are. Rows t are
    the moments that all paths take. Rows r are places of what is made: every moment has as many as
    there are paths to the degree with most of them, and those that are left over stay empty.

    Parameters
    ----------
    n_degrees : int
        Of harmonics, and of moments that are made.
    n_taken : int
        Of moments that are taken: as many, or 1. Of features, which are moments of degree 0,
        moments of all degrees are made.

    Attributes
    ----------
    n_degrees, n_taken : int
    paths : list of (int, int, int)
        Degrees that are made, taken and multiplied by.
    n_places : int
        Of every moment that is made.
    blocks : list of ndarray
        Coefficients (2c + 1, 2a + 1, 2b + 1) of every path (c, a, b).
    """

    def __init__(self, n_degrees: int, n_taken: int):
        self.n_degrees, self.n_taken = n_degrees, n_taken
        low = range(1, min(n_degrees, _HIGHEST + 1))
        self.paths = [(l, 0, l) for l in range(n_degrees)]
        if n_taken > 1:
            self.paths = [(l, l, 0) for l in range(n_degrees)] + [
                (c, a, b)
                for c in (0, *low)
                for a in low
                for b in low
                if abs(a - b) <= c <= a + b and (a + b + c) % 2 == 0 and a + b + c <= _LARGEST_SUM
            ]
        made = [c for c, _, _ in self.paths]
        self.n_places = max(made.count(c) for c in made)
        self.blocks = [(2 * c + 1) ** 0.5 * gaunt(c, a, b) for c, a, b in self.paths]

    def table(self, n_channels: int) -> Table:
        """Return what is to be multiplied, with the paths of moments of one degree together."""
        groups: list[list[Product]] = [[] for _ in range(self.n_taken)]
        first, n_made = 0, [0] * self.n_degrees
        for k, (c, a, b) in enumerate(self.paths):
            groups[a] += [
                Product(("x", first + m), ("t", k), ("h", a * a + m)) for m in range(2 * a + 1)
            ]
            for m, product, harmonic in np.argwhere(self.blocks[k]).tolist():
                place = (c * c + m) * self.n_places + n_made[c]
                # Rounded, as products with 1 are left out.
                factor = round(float(self.blocks[k][m, product, harmonic]), 14)
                one, two = ("x", first + product), ("y", b * b + harmonic)
                groups[a].append(Product(("b", place), one, two, factor))
            first, n_made[c] = first + 2 * a + 1, n_made[c] + 1
        n_moments = self.n_degrees**2
        n_rows = {
            "y": n_moments, "h": self.n_taken**2, "t": len(self.paths),
            "b": n_moments * self.n_places,
        }  # fmt: skip
        return Table(n_rows, n_channels, groups)


def gaunt(a: int, b: int, c: int) -> np.ndarray:
    """Return coefficients (2a + 1, 2b + 1, 2c + 1) of an invariant product of three moments.

    They are integrals of three harmonics over the sphere, of norm 1: of Gauss and equidistant
    points, which are exact for polynomials.
    """
    top = a + b + c
    heights, weights = np.polynomial.legendre.leggauss(top // 2 + 1)
    angles = 2 * np.pi * np.arange(top + 1) / (top + 1)
    radii = np.sqrt(1 - heights**2)
    points = np.array([
        np.outer(radii, np.cos(angles)).ravel(),
        np.outer(radii, np.sin(angles)).ravel(),
        np.repeat(heights, len(angles)),
    ])  # fmt: skip
    one, two, three = (solid_harmonics(points, l) for l in (a, b, c))
    values = np.einsum("ap,bp,cp,p->abc", one, two, three, np.repeat(weights, len(angles)))
    values = np.where(np.abs(values) < 1e-12, 0, values)
    return values / np.linalg.norm(values)


def triples(n_degrees: int) -> list[tuple[int, int, int, int, float]]:
    """Return the products of three moments that are invariant together.

    Returns
    -------
    list of (int, int, int, int, float)
        Three moments, the row of the results, which follow those of the products of two, and the
        coefficient (Gaunt's). Each product is there once.
    """
    used = [degrees for degrees in _TRIPLES if max(degrees) < n_degrees]
    result: list[tuple[int, int, int, int, float]] = []
    for row, (a, b, c) in enumerate(used, start=2 * n_degrees):
        values, together = gaunt(a, b, c), dict[tuple[int, ...], float]()
        for place in np.argwhere(values):
            # Products of the same three moments in another order are the same.
            moved = tuple(np.sort(place + np.array([a * a, b * b, c * c])).tolist())
            together[moved] = together.get(moved, 0.0) + float(values[tuple(place)])
        result += [(i, j, k, row, value) for (i, j, k), value in sorted(together.items())]
    return result
