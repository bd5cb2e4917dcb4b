"""Symmetric matrices in half the memory, at the speed of full ones.

LAPACK's rectangular full packed format keeps the lower triangle of an (n, n) matrix in a vector of
n (n + 1) / 2 numbers: the triangle of the first half of the columns and, turned over into what that
leaves of a rectangle, the triangle of the second half, with the square between them below. Each of
the three is what the fast routines for matrices take, which packed columns are not.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg.lapack import dpftrf, dpftrs, dsfrk

_FORMAT = {"transr": "N", "uplo": "L"}


def packed_zeros(n: int) -> np.ndarray:
    """Return a matrix (n, n) of zeros."""
    return np.zeros(n * (n + 1) // 2)


def places(n: int, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """Return where entries (i, j) of a matrix (n, n) are, whichever triangle they are in."""
    row, column = np.maximum(i, j), np.minimum(i, j)
    half, odd = (n + 1) // 2, n % 2
    height = n + 1 - odd
    first = column * height + row + 1 - odd
    second = (row - half + odd) * height + column - half
    return np.where(column < half, first, second)


def diagonal(n: int) -> np.ndarray:
    """Return the places of the diagonal."""
    return places(n, np.arange(n), np.arange(n))


def add_products(packed: np.ndarray, rows: np.ndarray, factor: float = 1.0) -> None:
    """Add ``factor * rows.T @ rows`` of rows (m, n) in C order."""
    m, n = rows.shape
    dsfrk(n, m, factor, rows.T, 1.0, packed, trans="N", overwrite_c=1, **_FORMAT)


def solve_in_place(packed: np.ndarray, right: np.ndarray) -> np.ndarray | None:
    """Return the solution (n,), of a matrix that is lost; None where it is not positive."""
    factor, failed = dpftrf(len(right), packed, overwrite_a=1, **_FORMAT)
    if failed:
        return None
    return dpftrs(len(right), factor, right, **_FORMAT)[0]
