"""Design matrices: centred and scaled columns, the intercept beside them."""

from dataclasses import dataclass

import numpy as np

# Columns handled at a time where a temporary copy of them is needed.
BLOCK = 256


@dataclass(frozen=True)
class Design:
    """Centred and scaled columns of a design matrix, X = scale * columns.T + c center.

    Attributes
    ----------
    columns : ndarray of shape (n_features, n_samples), float64
        One feature per (contiguous) row.
    center, scale : ndarray of shape (n_features,)
        What was taken off every column, in units of c, and its root mean square afterwards.
    rounding : ndarray of shape (n_features,)
        Size of the rounding error of the input, in units of ``columns``.
    intercept_column : ndarray of shape (n_samples,) or None
        The column c; None for no intercept.
    """

    columns: np.ndarray
    center: np.ndarray
    scale: np.ndarray
    rounding: np.ndarray
    intercept_column: np.ndarray | None

    def matrix(self, support):
        """Return c (if there is one) and the selected columns side by side."""
        selected = self.columns[support].T
        if self.intercept_column is None:
            return selected
        return np.column_stack([self.intercept_column, selected])

    def original_coefficients(self, support, weights):
        """Turn weights of `matrix` into (coef, intercept) of the original features."""
        coef = np.zeros(len(self.columns))
        first = 0 if self.intercept_column is None else 1
        coef[support] = weights[first:] / self.scale[support]
        intercept = weights[0] - coef @ self.center if first else 0.0
        return coef, float(intercept)


def build_design(
    X: np.ndarray, weight: np.ndarray, intercept_column: np.ndarray | None = None
) -> Design:
    """Centre and scale X (n_samples, n_features) with row weights, in float64.

    Features are orthogonalized against the intercept column. A path on some of the rows centres
    again, on those rows, because that column is the first of its basis. Taking the overall centre
    off beforehand keeps that step free of cancellation.
    """
    n_samples, n_features = X.shape
    columns = np.empty((n_features, n_samples))
    center = np.zeros(n_features)
    scale = np.ones(n_features)
    rounding = np.empty(n_features)
    c = intercept_column
    total = weight.sum()
    for start in range(0, n_features, BLOCK):
        rows = slice(start, start + BLOCK)
        block = columns[rows]
        block[:] = X[:, rows].T
        size = np.sqrt(np.square(block) @ weight / total)
        if c is not None:
            center[rows] = block @ (weight * c) / (weight @ c**2)
            block -= center[rows, None] * c
        spread = np.sqrt(np.square(block) @ weight / total)
        scale[rows], rounding[rows], constant = scale_of(size, spread, X.dtype)
        block /= scale[rows, None]
        block[constant] = 0.0
    return Design(columns, center, scale, rounding, c)


def scale_of(size, spread, dtype):
    """Return scale, rounding error and constancy of columns of a dtype.

    ``size`` and ``spread`` (n_features,) are root mean squares before and after centring.
    """
    noise = 10 * np.finfo(dtype).eps * size
    constant = spread <= noise
    scale = np.where(constant, 1.0, spread)
    return scale, noise / scale, constant


@dataclass(frozen=True)
class Problem:
    """A design, targets, and the weights of training and of validation rows."""

    design: Design
    y: np.ndarray
    weight: np.ndarray
    validation_weight: np.ndarray | None

    @property
    def all_weight(self):
        """Weights of all rows."""
        held_out = self.validation_weight
        return self.weight if held_out is None else self.weight + held_out
