"""From what a user passes to ``fit`` to checked arrays."""

from collections.abc import Iterator
from dataclasses import dataclass

import joblib
import numpy as np
from sklearn.utils.validation import check_array, column_or_1d, validate_data

from skwavelet._utils.validation import check_groups, check_row_vector, check_sample_weight
from skwavelet.linear._blocks import BlockwiseData, blockwise_data, is_on_disk
from skwavelet.linear.design import Design, Problem, build_design

_ROWS = 4096


@dataclass(frozen=True)
class TrainingData:
    """Checked input of a fit: the design, targets, row weights and group codes."""

    design: Design
    y: np.ndarray
    weight: np.ndarray
    groups: np.ndarray

    @property
    def intercept_column(self) -> np.ndarray | None:
        """What multiplies the intercept in each row; None for no intercept."""
        return self.design.intercept_column

    @property
    def center(self) -> np.ndarray:
        """What was taken off every column."""
        return self.design.center

    @property
    def scale(self) -> np.ndarray:
        """Root mean squares of the centred columns."""
        return self.design.scale

    def fingerprint(self) -> str:
        """Checksum of the matrix."""
        design = self.design
        return joblib.hash((design.columns, design.center, design.scale, design.rounding))

    def problem(self, weight, validation_weight=None) -> Problem:
        """Return the least-squares problem of some of the rows."""
        return Problem(self.design, self.y, weight, validation_weight)

    def blocks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield (rows, centred and scaled columns) of the matrix."""
        for start in range(0, len(self.y), _ROWS):
            rows = slice(start, start + _ROWS)
            yield rows, self.design.columns[:, rows].T

    def __sizeof__(self):
        # What Dask goes by to send the matrix to a worker once, and not with every task.
        return self.design.columns.nbytes


def n_groups(data: TrainingData | BlockwiseData) -> int:
    """Return the number of groups."""
    return int(data.groups.max()) + 1


def is_usable(data: TrainingData | BlockwiseData, weight: np.ndarray) -> bool:
    """Whether rows of these weights determine a model (and its intercept)."""
    c = data.intercept_column
    return bool(weight.any()) and (c is None or bool((c * weight).any()))


def check_training_data(
    estimator, X, y, groups=None, sample_weight=None, intercept_column=None, fit_intercept=True
):
    """Check the arguments of ``fit`` and centre and scale the matrix.

    Returns `TrainingData`, or `BlockwiseData` for a matrix that is on disk. Raises ValueError if
    an array has the wrong length, holds NaN or infinity, or weights are negative.
    """
    _check_finite(y)
    on_disk = is_on_disk(X)
    if on_disk:
        y = _check_shapes(estimator, X, y)
    else:
        X, y = validate_data(
            estimator, X, y, dtype=[np.float64, np.float32], y_numeric=True, ensure_min_samples=2
        )
    n_samples = len(y)
    y = y.astype(np.float64)
    groups = check_groups(groups, n_samples)
    weight = check_sample_weight(sample_weight, n_samples)
    if not fit_intercept:
        if intercept_column is not None:
            raise ValueError("intercept_column needs fit_intercept=True.")
    elif intercept_column is None:
        intercept_column = np.ones(n_samples)
    else:
        intercept_column = check_row_vector(intercept_column, n_samples, "intercept_column")
        if not (intercept_column * weight).any():
            raise ValueError("intercept_column is zero for every sample of nonzero sample_weight.")
    if on_disk:
        return blockwise_data(X, y, weight, groups, intercept_column)
    return TrainingData(build_design(X, weight, intercept_column), y, weight, groups)


def _check_finite(y):
    """Name the target that is NaN or infinite, which scikit-learn's own check does not."""
    values = np.asarray(y)
    if values.ndim == 1 and values.dtype.kind == "f":
        check_row_vector(values, len(values), "y")


def _check_shapes(estimator, X, y):
    """Check a matrix on disk, as far as possible without reading it; return the targets."""
    if not np.issubdtype(X.dtype, np.floating):
        raise ValueError(f"X has dtype {X.dtype}; pass floating-point numbers.")
    y = column_or_1d(check_array(y, ensure_2d=False, dtype=np.float64, input_name="y"))
    if len(y) != X.shape[0] or len(y) < 2:
        raise ValueError(f"X has {X.shape[0]} rows and y has {len(y)}; pass the same, at least 2.")
    estimator.n_features_in_ = X.shape[1]
    # Those of an earlier fit.
    vars(estimator).pop("feature_names_in_", None)
    return y


def check_prediction_data(estimator, X):
    """Check the argument of ``predict``."""
    if not is_on_disk(X):
        return validate_data(estimator, X, dtype=[np.float64, np.float32], reset=False)
    if X.shape[1] != estimator.n_features_in_:
        raise ValueError(
            f"X has {X.shape[1]} features, but {type(estimator).__name__} is expecting "
            f"{estimator.n_features_in_} features as input."
        )
    return X


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
    if isinstance(X, np.ndarray) and X.dtype == np.float64:
        return X @ coef
    starts = range(0, X.shape[0], _ROWS)
    return np.concatenate([np.asarray(X[i : i + _ROWS]) @ coef for i in starts])


def take_columns(X, columns):
    """``X[:, columns]`` without the whole of a matrix that is on disk."""
    starts = range(0, X.shape[0], _ROWS)
    return np.concatenate([np.asarray(X[i : i + _ROWS])[:, columns] for i in starts])
