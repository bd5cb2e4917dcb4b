"""Which functions of moments are invariant under rotations: products, and roots of densities."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import cached_property, lru_cache
from itertools import combinations_with_replacement
from math import pi, sqrt
from typing import Any, Self

import numpy as np

from skwavelet.representations.invariants.densities import root, root_slope
from skwavelet.representations.invariants.product_kernels import (
    fill_changes_of_atom,
    fill_gradients,
    fill_sums,
)
from skwavelet.representations.point.moments import MomentLayout
from skwavelet.representations.wavelets import solid_harmonics

# Coupling coefficients below this are zero but for rounding.
ZERO = 1e-12
# Atoms beyond whole groups of this many are worked on one by one, which takes longer than a group.
GROUP = 4

Factor = tuple[int, int]  # (degree l, component k)


@dataclass(frozen=True, eq=False)
class Products:
    """Invariant sums of products of moments: polynomials with few terms, and roots of moments.

    ``factors`` are degree and component (l, k) of the moments of every sum; for the terms see
    ``fill_sums``. ``roots`` are the sums of which the `root` is taken: a single moment, a density.
    """

    factors: tuple[tuple[Factor, ...], ...]
    starts: np.ndarray
    coefficients: np.ndarray
    places: np.ndarray
    roots: np.ndarray

    def __len__(self) -> int:
        return len(self.factors)

    def values(self, moments: np.ndarray) -> np.ndarray:
        """Return the sums (n_sums, n_atoms) of moments (n_moments, n_atoms)."""
        whole = whole_groups(moments)
        sums = np.empty((len(self), whole.shape[1]), moments.dtype)
        fill_sums(whole, self.starts, self._cast(moments), self.places, sums)
        sums[self.roots] = root(sums[self.roots])
        return np.ascontiguousarray(sums[:, : moments.shape[1]])

    def vjp(self, moments: np.ndarray, cotangents: np.ndarray) -> np.ndarray:
        """Return the gradients of ``(cotangents * values).sum()`` in the moments."""
        whole = whole_groups(moments)
        gradients = np.empty_like(whole)
        cotangents = np.array(cotangents, moments.dtype, order="C")
        cotangents[self.roots] *= root_slope(moments[self._densities])
        cotangents = whole_groups(cotangents)
        pairs, starts, coefficients, *others = self._by_pair
        ordered = coefficients.astype(moments.dtype)
        fill_gradients(whole, pairs, starts, ordered, *others, cotangents, gradients)
        return np.ascontiguousarray(gradients[:, : moments.shape[1]])

    def changes(self, moments: np.ndarray, atom: int, of_moments: np.ndarray) -> np.ndarray:
        """Return changes (n_sums, n_columns) of the sums of one atom for those of its moments."""
        changed = np.empty((len(self), of_moments.shape[1]), moments.dtype)
        fill_changes_of_atom(
            moments, atom, self.starts, self._cast(moments), self.places, *self._held, of_moments,
            changed,
        )  # fmt: skip
        changed[self.roots] *= root_slope(moments[self._densities, atom])[:, None]
        return changed

    def take(self, rows: np.ndarray) -> Self:
        """Return some of the sums."""
        counts = np.diff(self.starts)[rows]
        parts = [np.arange(self.starts[row], self.starts[row + 1]) for row in rows]
        terms = np.concatenate([*parts, np.empty(0, dtype=int)]).astype(int)
        return replace(
            self,
            factors=tuple(self.factors[row] for row in rows),
            starts=np.concatenate([[0], np.cumsum(counts)]),
            coefficients=self.coefficients[terms],
            places=self.places[terms],
            roots=np.flatnonzero(np.isin(rows, self.roots)),
        )

    @cached_property
    def _densities(self) -> np.ndarray:
        """Places of the moments that are densities, one for each of the roots."""
        return self.places[self.starts[self.roots], 0]

    @cached_property
    def _by_pair(self) -> tuple[np.ndarray, ...]:
        """What ``fill_gradients`` asks of terms that stand by their first two moments.

        The pairs (n_pairs, 2), the first term of each, and of every term its coefficient, sum and
        third moment.
        """
        first, second, third = self.places.T
        rows = np.repeat(np.arange(len(self)), np.diff(self.starts))
        order = np.lexsort((third, second, first))
        pairs = self.places[order, :2]
        new = np.flatnonzero(np.append(True, np.diff(pairs, axis=0).any(axis=1))[: len(order)])
        starts = np.append(new, len(order))
        return pairs[new].copy(), starts, self.coefficients[order], rows[order], third[order]

    @cached_property
    def _held(self) -> tuple[np.ndarray, np.ndarray]:
        """The moments that every sum has, each once: where they start, and their places."""
        rows = np.repeat(np.arange(len(self)), np.diff(self.starts))
        both = np.unique(np.column_stack([np.repeat(rows, 3), self.places.ravel()]), axis=0)
        both = both[both[:, 1] >= 0]
        starts = np.searchsorted(both[:, 0], np.arange(len(self) + 1))
        return starts, both[:, 1].copy()

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def _cast(self, moments: np.ndarray) -> np.ndarray:
        return self.coefficients.astype(moments.dtype)


def invariant_products(
    layout: MomentLayout, n_densities: int, max_order: int, max_degree: float
) -> Products:
    """Return the invariants of one to three moments, and after them the roots of densities.

    These are the last moments of degree 0. Of the others, ``max_order`` at most are taken together:
    one moment is invariant if l = 0. Two of the same l are contracted, sum_m a_m b_m / sqrt(2l+1),
    and three are coupled by the integrals of three real spherical harmonics, if the sum of k + l /
    2 is at most ``max_degree``. Products with a scalar (l = 0) are left out: they are products of
    invariants.
    """
    channels = [(l, k) for l, n in enumerate(layout.counts.tolist()) for k in range(n)]
    chosen: list[tuple[Factor, ...]] = []
    starts, places = [0], []
    coefficients: list[float] = []
    for order in range(1, max_order + 1):
        for factors in combinations_with_replacement(channels, order):
            if not _is_kept(factors, max_degree):
                continue
            terms: dict[tuple[int, ...], float] = defaultdict(float)
            for m, coefficient in _coupling(tuple(l for l, _ in factors)):
                moments = (
                    _place(layout, factor, row) for factor, row in zip(factors, m, strict=True)
                )
                terms[tuple(sorted(moments))] += coefficient
            chosen.append(factors)
            places += [key + (-1,) * (3 - order) for key in terms]
            coefficients += terms.values()
            starts.append(len(places))
    n_products, n_scalars = len(chosen), int(layout.counts[0])
    for k in range(n_scalars - n_densities, n_scalars):
        chosen.append(((0, k),))
        places.append((_place(layout, (0, k), 0), -1, -1))
        coefficients.append(1.0)
        starts.append(len(places))
    return Products(
        tuple(chosen),
        np.array(starts),
        np.array(coefficients),
        np.array(places, dtype=np.int64).reshape(-1, 3),
        np.arange(n_products, len(chosen)),
    )


def whole_groups(values: np.ndarray) -> np.ndarray:
    """Return values (n, n_atoms) with zeros for atoms that fill up the last group of `GROUP`."""
    n_rows, n_atoms = values.shape
    size = -(-n_atoms // GROUP) * GROUP
    if size == n_atoms or n_atoms < GROUP:
        return values
    whole = np.zeros((n_rows, size), values.dtype)
    whole[:, :n_atoms] = values
    return whole


def _is_kept(factors: tuple[Factor, ...], max_degree: float) -> bool:
    degrees = [l for l, _ in factors]
    if len(factors) == 1:
        return degrees[0] == 0
    if min(degrees) == 0:
        return False
    if len(factors) == 2:
        return degrees[0] == degrees[1]
    coupled = sum(degrees) % 2 == 0 and degrees[2] <= degrees[0] + degrees[1]
    return coupled and sum(k + l / 2 for l, k in factors) <= max_degree


def _place(layout: MomentLayout, factor: Factor, row: int) -> int:
    l, k = factor
    return int(layout.terms[layout.bounds[l] + k] + row * layout.counts[l])


@lru_cache(maxsize=4096)
def _coupling(degrees: tuple[int, ...]) -> list[tuple[tuple[int, ...], float]]:
    """Return rows m and coefficients of the invariant of harmonics of some degrees."""
    if len(degrees) == 1:
        return [((0,), 1.0)]
    if len(degrees) == 2:
        size = 2 * degrees[0] + 1
        return [((m, m), 1 / sqrt(size)) for m in range(size)]
    return list(_gaunt(degrees))


def _gaunt(degrees: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], float]]:
    """Yield the integrals of three real spherical harmonics times sqrt(4 pi), without zeros.

    The quadrature (Gauss-Legendre times equidistant angles) is exact for their products.
    """
    size = sum(degrees) // 2 + 1
    heights, weights = np.polynomial.legendre.leggauss(size)
    angles = 2 * pi * np.arange(2 * size) / (2 * size)
    radii = np.sqrt(1 - heights**2)
    points = np.stack([
        np.outer(radii, np.cos(angles)),
        np.outer(radii, np.sin(angles)),
        np.outer(heights, np.ones(2 * size)),
    ]).reshape(3, -1)  # fmt: skip
    measure = np.repeat(weights, 2 * size) * 2 * pi / (2 * size)
    harmonics = [solid_harmonics(points, l) for l in degrees]
    integrals = sqrt(4 * pi) * np.einsum("ap,bp,cp,p->abc", *harmonics, measure, optimize=True)
    for m in np.argwhere(np.abs(integrals) > ZERO):
        yield tuple(m.tolist()), float(integrals[tuple(m)])
