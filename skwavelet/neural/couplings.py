"""Which moments of neighbours and harmonics of bonds are multiplied, and what they make."""

from __future__ import annotations

import numpy as np

from skwavelet.representations.wavelets import solid_harmonics

# Moments of higher degrees are handed on as they are only, and harmonics are of these degrees.
_HIGHEST = 3
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
        Of moments and of harmonics.

    Attributes
    ----------
    n_degrees : int
    paths : list of (int, int, int)
        Degrees that are made, taken and multiplied by.
    n_places : int
        Of every moment that is made.
    n_rows : dict of str to int
        Of y, h, t and b.
    taken, coupled : dict of str to ndarray
        Rows of x, t and h, and of b, y and x, one entry for each product.
    blocks : list of ndarray
        Coefficients (2c + 1, 2a + 1, 2b + 1) of every path (c, a, b).
    coefficients : ndarray
        Of the products ``coupled``.
    """

    def __init__(self, n_degrees: int):
        self.n_degrees = n_degrees
        low = range(1, min(n_degrees, _HIGHEST + 1))
        self.paths = [(l, l, 0) for l in range(n_degrees)] + [
            (c, a, b)
            for c in (0, *low)
            for a in low
            for b in low
            if abs(a - b) <= c <= a + b and (a + b + c) % 2 == 0 and a + b + c <= _LARGEST_SUM
        ]
        made = [c for c, _, _ in self.paths]
        self.n_places = max(made.count(c) for c in made)
        n_moments = n_degrees**2
        self.n_rows = {
            "y": n_moments, "h": n_moments, "t": len(made), "b": n_moments * self.n_places,
        }  # fmt: skip
        taken: list[tuple[int, int, int]] = []
        coupled, coefficients = [], []
        self.blocks = [(2 * c + 1) ** 0.5 * gaunt(c, a, b) for c, a, b in self.paths]
        for k, (c, a, b) in enumerate(self.paths):
            first = len(taken)
            taken += [(first + m, k, a * a + m) for m in range(2 * a + 1)]
            m, product, harmonic = places = np.nonzero(self.blocks[k])
            coefficients.append(self.blocks[k][places])
            place = (c * c + m) * self.n_places + made[:k].count(c)
            coupled.append([place, b * b + harmonic, first + product])
        self.taken = dict(zip("xth", np.array(taken).T, strict=True))
        self.coupled = dict(zip("byx", np.concatenate(coupled, axis=1), strict=True))
        self.coefficients = np.concatenate(coefficients)
        self._degrees = np.array([a for _, a, _ in self.paths])[self.taken["t"]]  # of rows x

    def entries(self, degree: int, *variables: str) -> list[tuple[int, int, int, float]]:
        """Return rows of three variables that belong together, and the coefficients.

        They are those of paths that take moments of a degree.
        """
        table, values = self.coupled, self.coefficients
        if not table.keys() >= set(variables):
            table, values = self.taken, np.ones(len(self.taken["x"]))
        here = self._degrees[table["x"]] == degree
        rows = [table[variable][here].tolist() for variable in variables]
        return list(zip(*rows, values[here].tolist(), strict=True))

    def rows(self, degree: int, variable: str) -> list[int]:
        """Return the rows of a variable that paths have which take moments of a degree."""
        table = self.taken if variable in self.taken else self.coupled
        return np.unique(table[variable][self._degrees[table["x"]] == degree]).tolist()


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
