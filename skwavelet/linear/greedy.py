"""Greedy orthogonal least squares on plain arrays.

Everything happens in the inner product <a, b> = sum_i w_i a_i b_i of the row weights w. A row
of weight zero takes no part in the fit but is carried along, so that predictions of every
prefix of the path on held-out rows come for free.

The intercept is an ordinary column c that is selected first: orthogonalizing a feature against
c is centring when c is all ones, and leaves rows alone (derivatives, say) where c is zero.

Source: equations (3.3)-(3.9) of X. Brumwell, *Wavelet scattering and graph representations for
atomic structures* (dissertation, Michigan State University).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import solve_triangular

from skwavelet.linear.design import BLOCK

_EPS = np.finfo(np.float64).eps
# Scores closer than this are equal.
_TIE = 1e-10
# A squared norm kept up to date by subtraction is recomputed once it has lost this much of
# itself: until then its relative error stays below about 1e-3.
_STALE = 1e-12


class Basis:
    """Orthonormal vectors in the inner product of row weights.

    Parameters
    ----------
    weight : ndarray of shape (n_samples,)
    capacity : int
        Largest number of vectors.
    """

    def __init__(self, weight: np.ndarray, capacity: int):
        self.weight = weight
        self.size = 0
        self._storage = np.empty((capacity, len(weight)))

    @property
    def vectors(self) -> np.ndarray:
        """The vectors, of shape (size, n_samples)."""
        return self._storage[: self.size]

    def append(self, vector: np.ndarray) -> None:
        """Add a vector, orthogonal to the others and of norm 1."""
        self._storage[self.size] = vector
        self.size += 1

    def residual(self, columns: np.ndarray) -> np.ndarray:
        """Return the part of columns (one, or one per row) that is orthogonal to the basis."""
        # Once is not enough for nearly dependent columns, twice is (Kahan and Parlett).
        for _ in range(2):
            columns = columns - ((columns * self.weight) @ self.vectors.T) @ self.vectors
        return columns


class _Search:
    """Find the column whose decorrelated, renormalized form best matches the residual."""

    def __init__(self, design, weight, tol, basis):
        columns = design.columns
        self.columns = columns
        self.weight = weight
        self.alive = np.ones(len(columns), dtype=bool)
        self.start2 = np.empty(len(columns))
        for start in range(0, len(columns), BLOCK):
            part = slice(start, start + BLOCK)
            self.start2[part] = np.square(columns[part]) @ weight
        self.centred2 = self.start2.copy()
        if basis.size:
            self.centred2 -= (columns @ (weight * basis.vectors[0])) ** 2
        # The squared norm up to which what is left of a column counts as nothing.
        self.floor = np.maximum(tol**2 * self.centred2, design.rounding**2 * weight.sum())

    def pick(self, index, norm2, inner, basis):
        """Return the candidate of the best score and its basis vector, or None."""
        left = norm2 > self.floor[index]
        self.alive[index[~left]] = False
        if not left.any():
            return None
        scores = inner[left] ** 2 / norm2[left]
        # The first of several that are equal but for rounding, as copies of one feature are.
        column = index[left][np.argmax(scores >= (1 - _TIE) * scores.max())]
        self.alive[column] = False
        vector = basis.residual(self.columns[column])
        return column, vector / np.sqrt(self.weight @ vector**2)

    def exact(self, index, basis, residual):
        """Squared norms and inner products with the residual, by orthogonalization."""
        norm2, inner = np.empty(len(index)), np.empty(len(index))
        for start in range(0, len(index), BLOCK):
            part = slice(start, start + BLOCK)
            left = basis.residual(self.columns[index[part]])
            norm2[part] = np.square(left) @ self.weight
            inner[part] = left @ (self.weight * residual)
        return norm2, inner


class _AllColumns(_Search):
    """Every column is a candidate: norms and inner products are updated at each step."""

    def __init__(self, design, weight, tol, basis, residual):
        super().__init__(design, weight, tol, basis)
        self._norm2 = self.centred2.copy()
        self._reference = self.start2.copy()
        self._inner = self.columns @ (weight * residual)

    def best(self, basis, residual):
        stale = np.flatnonzero(self.alive & (self._norm2 < _STALE * self._reference))
        if len(stale):
            self._norm2[stale], self._inner[stale] = self.exact(stale, basis, residual)
            self._reference[stale] = self._norm2[stale]
        index = np.flatnonzero(self.alive)
        return self.pick(index, self._norm2[index], self._inner[index], basis)

    def update(self, vector, projection):
        """Take a new basis vector, and the residual's component along it, off every column."""
        along = self.columns @ (self.weight * vector)
        self._norm2 -= along**2
        self._inner -= along * projection


class _SampledColumns(_Search):
    """A few random candidates per step: only these are compared with the basis."""

    def __init__(self, design, weight, tol, basis, n_candidates, rng):
        super().__init__(design, weight, tol, basis)
        self._n_candidates = n_candidates
        self._rng = rng
        # Reused at every step: fresh memory of this size costs as much as filling it.
        self._buffer = np.empty((min(n_candidates, len(self.columns)), len(weight)))

    def best(self, basis, residual):
        # A draw of nothing but dependent columns is repeated; each one leaves the pool.
        while (pool := np.flatnonzero(self.alive)).size:
            index = pool
            if self._n_candidates < len(pool):
                index = self._rng.choice(pool, self._n_candidates, replace=False, shuffle=False)
                index.sort()
            candidates = self._buffer[: len(index)]
            np.take(self.columns, index, axis=0, out=candidates, mode="clip")
            candidates *= self.weight
            norm2 = self.start2[index] - np.square(candidates @ basis.vectors.T).sum(axis=1)
            inner = candidates @ residual
            stale = np.flatnonzero(norm2 < _STALE * self.start2[index])
            norm2[stale], inner[stale] = self.exact(index[stale], basis, residual)
            found = self.pick(index, norm2, inner, basis)
            if found is not None:
                return found
        return None

    def update(self, vector, projection):
        """Nothing is carried from step to step."""


@dataclass(frozen=True)
class GreedyPath:
    """Order of selection and errors of its prefixes.

    Attributes
    ----------
    support : ndarray of shape (n_steps,)
        Columns in order of selection.
    train_rmse, validation_rmse : ndarray of shape (n_steps,)
        Weighted root mean square error of the prefixes of 1, 2, ... columns; the latter is NaN
        without validation rows.
    """

    support: np.ndarray
    train_rmse: np.ndarray
    validation_rmse: np.ndarray

    @property
    def n_best(self):
        """Length of the prefix of least validation error (the whole path without one)."""
        if not len(self.support) or np.isnan(self.validation_rmse[0]):
            return len(self.support)
        return int(np.argmin(self.validation_rmse)) + 1


def greedy_path(
    design,
    y,
    weight,
    *,
    max_features,
    n_candidates=None,
    tol=1e-8,
    rng=None,
    validation_weight=None,
    patience=None,
):
    """Select columns by orthogonal least squares.

    At each step, the candidate with the largest absolute inner product of its decorrelated,
    renormalized column with the residual; that is the one whose addition leaves the least
    squared error after all weights are refitted.

    Parameters
    ----------
    design : Design
        The columns, and the intercept column, on all rows.
    y : ndarray of shape (n_samples,)
        Targets.
    weight : ndarray of shape (n_samples,)
        Row weights; rows of weight zero take no part in the fit.
    max_features : int
        Length at which the path ends. It ends earlier when no column is left that is
        independent of the selected ones, or when the targets are met to rounding.
    n_candidates : int, default=None
        Columns drawn at random, at each step, from those not selected yet; None for all.
    tol : float, default=1e-8
        Columns of which less than this is left (norm, relative to the centred column) are
        never selected; nor are those of which no more than rounding errors are left.
    rng : numpy.random.Generator, default=None
        Draws the candidates.
    validation_weight : ndarray of shape (n_samples,), default=None
        Row weights of the validation error.
    patience : int, default=None
        End the path when the validation error has not improved for so many steps.

    Returns
    -------
    GreedyPath
    """
    has_intercept = design.intercept_column is not None
    n_steps = min(max_features, len(design.columns), np.count_nonzero(weight) - has_intercept)
    basis = Basis(weight, n_steps + has_intercept)
    residual = y.astype(np.float64)
    if has_intercept:
        vector = design.intercept_column / np.sqrt(weight @ design.intercept_column**2)
        residual -= (weight @ (vector * residual)) * vector
        basis.append(vector)
    if n_candidates is None:
        search: Any = _AllColumns(design, weight, tol, basis, residual)
    else:
        search = _SampledColumns(design, weight, tol, basis, n_candidates, rng)

    met = (100 * _EPS) ** 2 * (weight @ y**2)
    support: list[int] = []
    train2: list[float] = []
    validation2: list[float] = []
    best_step = 0
    while len(support) < n_steps and weight @ residual**2 > met:
        found = search.best(basis, residual)
        if found is None:
            break
        column, vector = found
        projection = weight @ (vector * residual)
        residual -= projection * vector
        basis.append(vector)
        search.update(vector, projection)
        support.append(column)
        train2.append(weight @ residual**2 / weight.sum())
        if validation_weight is None:
            validation2.append(np.nan)
            continue
        validation2.append(validation_weight @ residual**2 / validation_weight.sum())
        if validation2[-1] < validation2[best_step]:
            best_step = len(support) - 1
        if patience is not None and len(support) - 1 - best_step >= patience:
            break
    return GreedyPath(np.array(support, dtype=np.intp), np.sqrt(train2), np.sqrt(validation2))


@dataclass(frozen=True)
class PrefixWeights:
    """Least-squares solutions of every prefix of a support, from one QR factorization.

    Attributes
    ----------
    factor : ndarray of shape (k, k)
        Triangular factor of the weighted matrix (intercept column first, if there is one).
    projection : ndarray of shape (k,)
        Components of the targets along the orthonormal columns.
    """

    factor: np.ndarray
    projection: np.ndarray

    def solve(self, k):
        """Weights of the first k columns of the matrix."""
        return solve_triangular(self.factor[:k, :k], self.projection[:k])

    def predictions(self, matrix):
        """Yield predictions on new rows, of shape (n_rows, k), of prefixes 1, 2, ..., k."""
        # One triangular recursion maps the orthonormal columns to the new rows; a longer
        # prefix adds one of them.
        orthonormal = solve_triangular(self.factor, matrix.T, trans="T")
        prediction = np.zeros(len(matrix))
        for vector, component in zip(orthonormal, self.projection, strict=True):
            prediction = prediction + component * vector
            yield prediction


def prefix_weights(design, y, weight, support):
    """Solve the weighted least-squares problem on the selected columns by QR.

    Parameters
    ----------
    design, y, weight
        As in `greedy_path`.
    support : ndarray of shape (n_selected,)
        Linearly independent columns.

    Returns
    -------
    PrefixWeights
    """
    rows = weight > 0
    root = np.sqrt(weight[rows])
    orthonormal, factor = np.linalg.qr(root[:, None] * design.matrix(support)[rows])
    return PrefixWeights(factor, orthonormal.T @ (root * y[rows]))
