"""From what a user passes to ``fit`` to checked arrays."""

from dataclasses import dataclass

import numpy as np
from sklearn.utils.validation import validate_data

from skwavelet._validation import check_groups, check_row_vector
from skwavelet.linear.greedy import Design, build_design

_ROWS = 4096


@dataclass(frozen=True)
class TrainingData:
    """Checked input of a fit: the design, targets, row weights and group codes."""

    design: Design
    y: np.ndarray
    weight: np.ndarray
    groups: np.ndarray

    @property
    def n_groups(self):
        return int(self.groups.max()) + 1

    def usable(self, weight):
        """Whether rows of these weights determine a model (and its intercept)."""
        c = self.design.intercept_column
        return bool(weight.any()) and (c is None or bool((c * weight).any()))


def check_training_data(
    estimator, X, y, groups=None, sample_weight=None, intercept_column=None, fit_intercept=True
):
    """Check the arguments of ``fit`` and build the design matrix.

    Raises
    ------
    ValueError
        If an array has the wrong length, holds NaN or infinity, or weights are negative.
    """
    X, y = validate_data(
        estimator, X, y, dtype=[np.float64, np.float32], y_numeric=True, ensure_min_samples=2
    )
    n_samples = len(X)
    y = y.astype(np.float64)
    groups = check_groups(groups, n_samples)
    weight = np.ones(n_samples)
    if sample_weight is not None:
        weight = check_row_vector(sample_weight, n_samples, "sample_weight", non_negative=True)
    if not fit_intercept:
        if intercept_column is not None:
            raise ValueError("intercept_column needs fit_intercept=True")
    elif intercept_column is None:
        intercept_column = np.ones(n_samples)
    else:
        intercept_column = check_row_vector(intercept_column, n_samples, "intercept_column")
        if not (intercept_column * weight).any():
            raise ValueError("intercept_column is zero for every sample of nonzero sample_weight")
    return TrainingData(build_design(X, weight, intercept_column), y, weight, groups)


def resolve_candidates(candidates, n_features):
    """Turn the parameter into a number of candidates per step, or None for all."""
    if candidates == "all":
        return None
    if candidates == "sqrt":
        return round(np.sqrt(n_features + 1))
    if isinstance(candidates, float):
        return max(1, round(candidates * n_features))
    return int(candidates)


def linear_prediction(X, coef):
    """``X @ coef`` in float64 without a float64 copy of all of X."""
    if X.dtype == np.float64:
        return X @ coef
    return np.concatenate([X[i : i + _ROWS] @ coef for i in range(0, len(X), _ROWS)])
