"""Kernels between the features of atoms and those of landmarks, and their derivatives.

Every kernel here is a function of the inner product y . z and of the squared lengths, so that all
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
    """A kernel between vectors.

    Attributes
    ----------
    width : float
        What vectors are divided by.
    """

    width: float

    @abstractmethod
    def values(self, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Return k (n, M) of vectors y (n, F) and z (M, F)."""

    @abstractmethod
    def slopes(self, y: np.ndarray, z: np.ndarray) -> Slopes:
        """Return k and what its gradient is made of, arrays of shape (n, M)."""


@dataclass(frozen=True)
class GaussianKernel(Kernel):
    """exp(-|y - z|^2 / (2 width^2))."""

    def values(self, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Return k (n, M) of vectors y (n, F) and z (M, F)."""
        exponent = y @ z.T
        exponent -= 0.5 * np.square(y).sum(axis=1)[:, None]
        exponent -= 0.5 * np.square(z).sum(axis=1)
        exponent /= self.width**2
        return np.exp(np.minimum(exponent, 0, out=exponent), out=exponent)

    def slopes(self, y: np.ndarray, z: np.ndarray) -> Slopes:
        """Return k and what its gradient is made of."""
        values = self.values(y, z)
        along = values / self.width**2
        return Slopes(values, along, along)


@dataclass(frozen=True)
class PolynomialKernel(Kernel):
    """(1 + y . z / width^2)^degree."""

    degree: int

    def values(self, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Return k (n, M) of vectors y (n, F) and z (M, F)."""
        return (1 + y @ z.T / self.width**2) ** self.degree

    def slopes(self, y: np.ndarray, z: np.ndarray) -> Slopes:
        """Return k and what its gradient is made of."""
        base = 1 + y @ z.T / self.width**2
        power = base ** (self.degree - 1)
        along = self.degree / self.width**2 * power
        return Slopes(power * base, along, np.zeros_like(along))
