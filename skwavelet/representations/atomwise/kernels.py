"""Kernels between the features of atoms and those of landmarks, and their derivatives.

Every kernel here is a function of the inner products y . z and of the squared lengths, so that all
that costs is products of matrices.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


class Slopes(NamedTuple):
    """A kernel k(y, z) and its gradient ``along_z * z - along_y * y`` in y."""

    values: np.ndarray
    along_z: np.ndarray
    along_y: np.ndarray


@dataclass(frozen=True)
class Kernel(ABC):
    """A kernel between vectors, which are divided by a width."""

    width: float

    def between(self, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Return k (n, M) of vectors y (n, F) and z (M, F)."""
        return self.values(y @ z.T, np.square(y).sum(axis=1), np.square(z).sum(axis=1))

    @abstractmethod
    def values(
        self, products: np.ndarray, y_squared: np.ndarray, z_squared: np.ndarray
    ) -> np.ndarray:
        """Return k (n, M) for y . z (n, M), |y|^2 (n,) and |z|^2 (M,)."""

    @abstractmethod
    def slopes(self, products: np.ndarray, y_squared: np.ndarray, z_squared: np.ndarray) -> Slopes:
        """Return k and what its gradient is made of, arrays of shape (n, M)."""


@dataclass(frozen=True)
class GaussianKernel(Kernel):
    """exp(-|y - z|^2 / (2 width^2))."""

    def values(
        self, products: np.ndarray, y_squared: np.ndarray, z_squared: np.ndarray
    ) -> np.ndarray:
        """Return k (n, M) for y . z (n, M), |y|^2 (n,) and |z|^2 (M,)."""
        exponent = products - 0.5 * y_squared[:, None]
        exponent -= 0.5 * z_squared
        exponent /= self.width**2
        return np.exp(np.minimum(exponent, 0, out=exponent), out=exponent)

    def slopes(self, products: np.ndarray, y_squared: np.ndarray, z_squared: np.ndarray) -> Slopes:
        """Return k and what its gradient is made of."""
        values = self.values(products, y_squared, z_squared)
        along = values / self.width**2
        return Slopes(values, along, along)


@dataclass(frozen=True)
class PolynomialKernel(Kernel):
    """(1 + y . z / width^2)^degree."""

    degree: int

    def values(
        self, products: np.ndarray, y_squared: np.ndarray, z_squared: np.ndarray
    ) -> np.ndarray:
        """Return k (n, M) for y . z (n, M), |y|^2 (n,) and |z|^2 (M,)."""
        return self.slopes(products, y_squared, z_squared).values

    def slopes(self, products: np.ndarray, y_squared: np.ndarray, z_squared: np.ndarray) -> Slopes:
        """Return k and what its gradient is made of."""
        base = 1 + products / self.width**2
        power = base ** (self.degree - 1)
        along = self.degree / self.width**2 * power
        return Slopes(power * base, along, np.zeros_like(along))
