"""Products of the features of every atom."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from scipy import sparse

from skwavelet.representations.atomwise.evaluator import AtomwiseEvaluator
from skwavelet.representations.paths import Paths


@dataclass(frozen=True, eq=False)
class ProductPaths(Paths):
    """The products that are summed: one to three features of an atom each.

    Attributes
    ----------
    factor1, factor2, factor3 : ndarray of int
        Places of the factors among the features, -1 where a product has fewer.
    """

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

    A product of d features x with sizes s is prod_k x_k / (prod_k s_k)^((d-1)/d): it has the size
    of a single feature, and one of a single feature is that feature.

    Attributes
    ----------
    paths : ProductPaths
    sizes : ndarray of shape (F,)
        Of the features of ``inner``.
    """

    paths: ProductPaths
    sizes: np.ndarray

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
            inner=self.inner.restrict(used),
        )

    def functions(self, kinds: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Return the products (n_atoms, T)."""
        first, *others = self._gathered(x)
        for other in others:
            first *= other
        first *= self._scales
        return first

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
        gradients = np.zeros(x.shape)
        for slope, spread in zip(self._slopes(x), self._spreads, strict=True):
            gradients += (weights * slope) @ spread
        return self.functions(kinds, x), gradients

    # -- parts -------------------------------------------------------------------------------

    @cached_property
    def _has(self) -> np.ndarray:
        """Whether a product has a first, second, third factor, of shape (n, T), up to the last."""
        has = self.paths.factors >= 0
        return has[has.any(axis=1)]

    @cached_property
    def _scales(self) -> np.ndarray:
        degree = self.paths.order
        sizes = np.append(self.sizes, 1.0)[self.paths.factors].prod(axis=0)
        return sizes ** (1 / degree - 1)

    @cached_property
    def _spreads(self) -> list[Any]:
        """From products to their factors, arrays of shape (T, F)."""
        shape = (len(self.paths), len(self.sizes))
        spreads = []
        for has, factors in zip(self._has, self.paths.factors, strict=False):
            rows = np.flatnonzero(has)
            ones = np.ones(len(rows))
            spreads.append(sparse.csr_array((ones, (rows, factors[rows])), shape=shape))
        return spreads

    def _gathered(self, x: np.ndarray) -> list[np.ndarray]:
        """Return the factors (n_atoms, T) of the products, 1 where one has fewer."""
        padded = np.hstack([x, np.ones((len(x), 1))])
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
