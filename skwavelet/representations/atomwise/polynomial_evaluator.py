"""Products of the features of every atom."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Self

import numpy as np
from scipy import sparse

from skwavelet.representations.atom_evaluator import AtomGroups
from skwavelet.representations.atomwise.evaluator import AtomwiseEvaluator
from skwavelet.representations.atomwise.polynomial_kernels import (
    add_product_gradients,
    add_product_rows,
    add_product_sums,
    sum_and_pull,
)
from skwavelet.representations.evaluator import Gradients
from skwavelet.representations.paths import Paths
from skwavelet.structures.checks import Structure
from skwavelet.structures.directions import Directions


@dataclass(frozen=True, eq=False)
class ProductPaths(Paths):
    """The products that are summed: one to three features of an atom each, -1 for no factor."""

    factor1: np.ndarray
    factor2: np.ndarray
    factor3: np.ndarray

    @classmethod
    def of(cls, factors: np.ndarray) -> ProductPaths:
        """Return the products of features (n_paths, 3)."""
        degree, everywhere = (factors >= 0).sum(axis=1), np.full(len(factors), -1)
        return cls(degree, everywhere, everywhere, *factors.T)

    @property
    def factors(self) -> np.ndarray:
        """All factors, of shape (3, n_paths)."""
        return np.stack([self.factor1, self.factor2, self.factor3])


@dataclass(frozen=True, eq=False, kw_only=True)
class PolynomialEvaluator(AtomwiseEvaluator):
    """The fitted state of an ``AtomPolynomial`` on plain arrays.

    A product of d features x with means m and sizes s is

        (prod_k (x_k - m_k) - prod_k (-m_k)) / (prod_k s_k)^((d-1)/d):

    it has the size of a single feature, is zero where all features are, and one of a single
    feature is that feature.
    """

    paths: ProductPaths
    sizes: np.ndarray
    means: np.ndarray

    def needed(self, columns: np.ndarray) -> np.ndarray:
        """Return the factors of some products, as columns of ``inner``."""
        factors = self.paths.factors[:, self.columns[0][columns]]
        return np.unique(factors[factors >= 0])

    def restrict(self, columns: np.ndarray) -> Self:
        """Return an evaluator of some of the products, which computes their factors only."""
        used, factors = self.needed(columns), self.paths.factors[:, self.columns[0][columns]]
        places = np.where(factors >= 0, np.searchsorted(used, factors), -1)
        return replace(
            self,
            paths=ProductPaths.of(places.T),
            columns=(np.arange(len(columns)), np.zeros(len(columns), dtype=int)),
            sizes=self.sizes[used],
            means=self.means[used],
            inner=self.inner.restrict(used),
        )

    def group_sums_jvp(
        self, structure: Structure, groups: AtomGroups, directions: Directions
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the sums and their derivatives along directions."""
        n_atoms = len(structure)
        if groups.each or len(directions) < 3 * n_atoms:
            return super().group_sums_jvp(structure, groups, directions)
        # So many directions that the derivatives in all positions are made first.
        jacobian = self.inner.atom_jacobian(structure)
        x = jacobian.features.astype(np.float64)
        centered = x - self.means
        rows = np.zeros((len(self.paths), 3 * n_atoms + 9))
        kinds = self.kinds(structure)
        starts = np.searchsorted(jacobian.centers, np.arange(n_atoms + 1)).tolist()
        for atom, (start, end) in enumerate(pairwise(starts)):
            columns = 3 * jacobian.atoms[start:end, None] + np.arange(3)
            columns = np.append(columns, np.arange(3 * n_atoms, 3 * n_atoms + 9))
            parts = jacobian.values[start:end], jacobian.strain[atom]
            flat = np.concatenate([part.reshape(-1, x.shape[1]) for part in parts])
            add_product_rows(
                centered[atom], np.ascontiguousarray(flat.T), columns, self._of_kind[kinds[atom]],
                self._factors, self._scales, rows,
            )  # fmt: skip
        moves = directions.displacements.reshape(len(directions), -1)
        both = np.hstack([moves, directions.strains.reshape(-1, 9)])
        # They are mostly zeros.
        derivatives = sparse.csr_array(both) @ rows.T
        return self._finished(self._sums(structure, groups, x), groups), derivatives[
            :, None, :, None
        ]

    def group_sums_vjp(
        self,
        structure: Structure,
        groups: AtomGroups,
        weights: np.ndarray,
        strain: np.ndarray | None = None,
    ) -> Gradients:
        """Return the sums and the gradients of ``(weights * sums).sum()``."""
        if groups.each or groups.count > 1:
            return super().group_sums_vjp(structure, groups, weights, strain)
        # One sum of all atoms, as forces need it.
        gradient, n_atoms = np.zeros((len(structure), 3)), len(groups.of)
        strain = np.zeros((3, 3)) if strain is None else strain
        sums, of_functions = np.zeros(len(self.paths)), weights[0, :, 0]
        for parts, pull in self.inner.element_blocks(structure, n_atoms, gradient, strain):
            cotangents = []
            for kind, members, values, units in parts:
                means, products, factors, scales, constants = self._by_kind[kind]
                pulls = np.empty_like(values)
                sum_and_pull(
                    values, units, means, products, factors, scales,
                    scales * of_functions[products], sums, pulls,
                )  # fmt: skip
                sums[products] -= len(members) * constants
                cotangents.append(pulls)
            pull(cotangents)
        alone, values = self._of_order_zero
        sums[alone] += values[self.kinds(structure)[:n_atoms]].sum(axis=0)
        return self._finished(sums[None], groups), gradient, strain

    def functions(self, kinds: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Return the products (n_atoms, T)."""
        first, *others = self._gathered(x)
        for other in others:
            first *= other
        first *= self._scales
        first -= self._constants
        return first

    def add_functions(
        self, kinds: np.ndarray, x: np.ndarray, groups: AtomGroups, atoms: slice, sums: np.ndarray
    ) -> None:
        """Add the products of some atoms to the sums (n_groups, T) of their groups."""
        if groups.each:
            super().add_functions(kinds, x, groups, atoms, sums)
            return
        for group in np.unique(groups.of[atoms]):
            for kind in np.unique(kinds):
                chosen = x[(groups.of[atoms] == group) & (kinds == kind)] - self.means
                of_kind = self._of_kind[kind]
                add_product_sums(
                    np.ascontiguousarray(chosen.T),
                    of_kind,
                    self._factors,
                    self._scales,
                    sums[group],
                )
                sums[group, of_kind] -= len(chosen) * self._constants[of_kind]

    def functions_jvp(self, kind: int, x: np.ndarray, derivatives: np.ndarray) -> np.ndarray:
        """Return the derivatives (R, T) of the products of one atom."""
        along = np.zeros((len(derivatives), len(self.paths)))
        for place, slope in enumerate(self._slopes(x[None])):
            has = self._has[place]
            along[:, has] += derivatives[:, self.paths.factors[place][has]] * slope[0, has]
        return along

    def functions_vjp(
        self, kinds: np.ndarray, x: np.ndarray, weights: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the products and the gradients (n_atoms, F) of ``(weights * products).sum()``."""
        members = np.arange(len(x))
        return self.functions(kinds, x), self._gradients(kinds, x, members, weights)

    def add_and_pull(
        self,
        kinds: np.ndarray,
        x: np.ndarray,
        groups: AtomGroups,
        atoms: slice,
        sums: np.ndarray,
        weights: np.ndarray,
    ) -> np.ndarray:
        """Do as ``add_functions``, and return the gradients for weights (n_groups, T)."""
        self.add_functions(kinds, x, groups, atoms, sums)
        return self._gradients(kinds, x, groups.of[atoms], weights)

    def _gradients(
        self, kinds: np.ndarray, x: np.ndarray, members: np.ndarray, weights: np.ndarray
    ) -> np.ndarray:
        """Return the gradients (n_atoms, F) for weights (n_groups, T) of the atoms of groups."""
        gradients = np.zeros(x.shape)
        for group in np.flatnonzero(weights.any(axis=1)):
            for kind in np.unique(kinds[members == group]):
                atoms = np.flatnonzero((members == group) & (kinds == kind))
                columns = np.ascontiguousarray((x[atoms] - self.means).T)
                part = np.zeros_like(columns)
                add_product_gradients(
                    columns, self._of_kind[kind], self._factors, weights[group] * self._scales, part
                )
                gradients[atoms] = part.T
        return gradients

    # -- parts -------------------------------------------------------------------------------

    @cached_property
    def _has(self) -> np.ndarray:
        """Whether a product has a first, second, third factor, of shape (n, T), up to the last."""
        has = self.paths.factors >= 0
        return has[has.any(axis=1)]

    @cached_property
    def _of_kind(self) -> list[np.ndarray]:
        """The products that atoms of every element have."""
        center = self.inner.paths.center[self.inner.columns[0]][self.paths.factor1]
        return [np.flatnonzero((center < 0) | (center == k)) for k in range(len(self.elements))]

    @cached_property
    def _by_kind(self) -> list[tuple[np.ndarray, ...]]:
        """For every element what ``sum_and_pull`` asks of its products, and their constants."""
        found: list[tuple[np.ndarray, ...]] = []
        for own in self.inner.own:
            places = np.full(len(self.means) + 1, -1)
            places[own] = np.arange(len(own))
            factors = places[self._factors]
            products = np.flatnonzero(factors[:, 0] >= 0)
            of_products = (self._scales[products], self._constants[products])
            found.append((self.means[own], products, factors[products], *of_products))
        return found

    @cached_property
    def _of_order_zero(self) -> tuple[np.ndarray, np.ndarray]:
        """The products of order zero, one factor each, and their values (n_elements, n)."""
        features, values = self.inner.of_order_zero
        products = np.flatnonzero(np.isin(self.paths.factor1, features))
        return products, values[:, np.searchsorted(features, self.paths.factor1[products])]

    @cached_property
    def _scales(self) -> np.ndarray:
        degree = self.paths.order
        sizes = np.append(self.sizes, 1.0)[self.paths.factors].prod(axis=0)
        return sizes ** (1 / degree - 1)

    @cached_property
    def _constants(self) -> np.ndarray:
        """The products of the features of an atom that has none, of shape (T,)."""
        means = np.append(-self.means, 1.0)[self.paths.factors[: len(self._has)]]
        return means.prod(axis=0) * self._scales

    @cached_property
    def _factors(self) -> np.ndarray:
        """The factors (n_products, 3)."""
        return np.ascontiguousarray(self.paths.factors.T)

    def _gathered(self, x: np.ndarray) -> list[np.ndarray]:
        """Return the factors (n_atoms, T) of the products, 1 where one has fewer."""
        padded = np.hstack([x - self.means, np.ones((len(x), 1))])
        return [padded[:, factors] for factors in self.paths.factors[: len(self._has)]]

    def _slopes(self, x: np.ndarray) -> list[np.ndarray]:
        """Return the derivatives (n_atoms, T) of the products in each of their factors."""
        factors = self._gathered(x)
        slopes = []
        for place in range(len(factors)):
            slope = np.broadcast_to(self._scales, factors[0].shape)
            for other, values in enumerate(factors):
                if other != place:
                    slope = slope * values
            slopes.append(slope)
        return slopes
