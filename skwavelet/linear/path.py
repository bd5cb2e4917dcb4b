"""Paths of greedy models: the columns in order of selection, errors and weights of every prefix."""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular

from skwavelet.linear.greedy import GreedySteps

_EPS = np.finfo(np.float64).eps


@dataclass(frozen=True)
class GreedyPath:
    """Columns in order of selection, and weighted root mean square errors of the prefixes.

    Those of the validation rows are NaN where there are none.
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
    """Select columns by orthogonal least squares, see `GreedySteps`.

    Parameters
    ----------
    design : Design
        The columns, and the intercept column, on all rows.
    y, weight : ndarray of shape (n_samples,)
        Targets, and weights of the rows: those of weight zero take no part in the fit.
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
    """
    steps = GreedySteps(
        design,
        y,
        weight,
        max_features=max_features,
        n_candidates=n_candidates,
        tol=tol,
        rng=rng,
        validation_weight=validation_weight,
    )
    met = (100 * _EPS) ** 2 * (weight @ y**2)
    support: list[int] = []
    train2: list[float] = []
    validation2: list[float] = []
    best_step = 0
    while len(support) < steps.n_most and steps.train2 > met:
        column = steps.step()
        if column is None:
            break
        support.append(column)
        train2.append(steps.train2 / weight.sum())
        if validation_weight is None:
            validation2.append(np.nan)
            continue
        validation2.append(steps.validation2 / validation_weight.sum())
        if validation2[-1] < validation2[best_step]:
            best_step = len(support) - 1
        if patience is not None and len(support) - 1 - best_step >= patience:
            break
    return GreedyPath(np.array(support, dtype=np.intp), np.sqrt(train2), np.sqrt(validation2))


@dataclass(frozen=True)
class PrefixWeights:
    """Least-squares solutions of every prefix of a support, from one QR factorization.

    ``factor`` (k, k) is the triangular factor of the weighted matrix, intercept column first if
    there is one, ``projection`` (k,) holds the targets' components along the orthonormal columns.
    """

    factor: np.ndarray
    projection: np.ndarray

    def solve(self, k):
        """Weights of the first k columns of the matrix."""
        return solve_triangular(self.factor[:k, :k], self.projection[:k])

    def with_rows(self, matrix, y):
        """Return the solutions with more rows, as if they had been there from the beginning.

        ``matrix`` (n_rows, k) of the same columns and ``y`` are times the square roots of weights.
        """
        # The factor and the projection have all that the earlier rows say about the weights.
        known = np.column_stack([self.factor, self.projection])
        return _factorized(np.vstack([known, np.column_stack([matrix, y])]))

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
    """Solve the weighted least-squares problem on some independent columns by QR."""
    rows = weight > 0
    root = np.sqrt(weight[rows])
    matrix = np.column_stack([design.matrix(support)[rows], y[rows]])
    return _factorized(root[:, None] * matrix)


def _factorized(matrix):
    """Return the solutions of a weighted matrix with the targets as last column."""
    # The last column of the triangular factor is the projection of the targets.
    factor = np.asarray(np.linalg.qr(matrix, mode="r"))
    k = matrix.shape[1] - 1
    return PrefixWeights(np.ascontiguousarray(factor[:k, :k]), factor[:k, k].copy())
