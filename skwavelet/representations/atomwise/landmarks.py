"""Which atoms become landmarks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from scipy.linalg.lapack import dpstrf

from skwavelet.representations.atomwise.kernels import Kernel

# Vectors whose part outside the span of those before is smaller add rounding errors only. It is
# relative to the largest k(z, z); at 1e-8 half of the landmarks of a molecule are lost.
TOLERANCE = 1e-12
# Features that vary less than this part of their size do not vary but for rounding.
CONSTANT = 1e-5
# Atoms are the same if all of their features, in standard deviations, are: those of a crystal are.
SAME = 1e-4


@dataclass(frozen=True, eq=False)
class Candidates:
    """Atoms of one element of which some become landmarks, each but once.

    ``columns`` (F,) are the features that vary, with mean and scale over all atoms, and ``vectors``
    (n_candidates, F) the (x - mean) / scale of the atoms that differ, in an order of their own.
    """

    columns: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    vectors: np.ndarray

    @classmethod
    def of(cls, x: np.ndarray) -> Candidates:
        """Return the candidates among atoms with features x (n_atoms, n_features)."""
        if not len(x):
            return cls(np.zeros(0, dtype=int), np.zeros(0), np.zeros(0), np.zeros((0, 0)))
        # What is learned does not depend on the order of the atoms, not even by rounding.
        x = x[np.lexsort(x.T[::-1])]
        mean, scale = x.mean(axis=0), x.std(axis=0)
        columns = np.flatnonzero(scale > CONSTANT * np.abs(x).max(axis=0))
        mean, scale = mean[columns], scale[columns]
        vectors = (x[:, columns] - mean) / scale
        if not len(columns):
            return cls(columns, mean, scale, vectors[:1])
        first = np.unique(np.round(vectors / SAME), axis=0, return_index=True)[1]
        return cls(columns, mean, scale, vectors[first])


def shares(counts: np.ndarray, total: int) -> np.ndarray:
    """Share ``total`` out in proportion to counts: at least 1 where there is any, at most all."""
    if counts.sum() <= total:
        return counts
    exact = total * counts / counts.sum()
    whole = np.floor(exact).astype(int)
    remainder = np.argsort(whole - exact, kind="stable")[: total - whole.sum()]
    whole[remainder] += 1
    return np.maximum(whole, np.minimum(counts, 1))


def choose(
    y: np.ndarray, size: int, method: str, kernel: Kernel, rng: np.random.Generator
) -> np.ndarray:
    """Return the numbers of ``size`` of the atoms with vectors y (n_atoms, F), by a method."""
    if size >= len(y):
        return np.arange(len(y))
    if method == "farthest":
        return _farthest(y, size)
    if method == "leverage":
        scores = _leverage(y, size, kernel, rng)
        return rng.choice(len(y), size, replace=False, p=scores / scores.sum())
    return rng.choice(len(y), size, replace=False)


def _farthest(y: np.ndarray, size: int) -> np.ndarray:
    """Return atoms of which each is the farthest from the mean and from those before."""
    squares = np.square(y).sum(axis=1)
    distances = squares.copy()
    chosen = np.empty(size, dtype=int)
    for place in range(size):
        chosen[place] = atom = int(np.argmax(distances))
        np.minimum(distances, squares + squares[atom] - 2 * (y @ y[atom]), out=distances)
    return chosen


def _leverage(y: np.ndarray, size: int, kernel: Kernel, rng: np.random.Generator) -> np.ndarray:
    """Return the leverage of atoms, up to a factor, estimated from ``size`` random ones.

    It is what is left of k(y, y) in a regression on the random ones, with a penalty at which half
    of them would do.
    """
    random = y[rng.choice(len(y), size, replace=False)]
    gram = kernel.between(random, random)
    _, mixing = whitening(gram)
    gram[np.diag_indices_from(gram)] += mixing[len(mixing) // 2, len(mixing) // 2] ** -2
    across = kernel.between(random, y)
    explained = np.einsum("ma,ma->a", across, cho_solve(cho_factor(gram), across))
    own = np.concatenate([kernel.between(row, row)[0] for row in y[:, None]])
    return np.maximum(own - explained, 0)


def whitening(gram: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which landmarks to keep (r,) and what makes features of their kernels (r, r).

    Cholesky factorization with pivots of the kernels (M, M) among the landmarks: of those that are
    left, the one farthest from the span of those before comes next, and those within the span are
    left out. The second is the transposed inverse of the lower factor of the kernels among those
    kept.
    """
    tolerance = TOLERANCE * gram.diagonal().max()
    lower, pivots, rank, _ = dpstrf(gram, tol=tolerance, lower=1)
    lower = np.tril(lower[:rank, :rank])
    inverse = solve_triangular(lower, np.eye(rank), lower=True, check_finite=False)
    return pivots[:rank] - 1, np.ascontiguousarray(inverse.T)
