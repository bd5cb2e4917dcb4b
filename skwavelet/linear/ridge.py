"""``RidgePath``: ridge regression on Gram matrices, its penalty chosen on groups held out."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import ClassVar, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.linalg.blas import dsyrk
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from skwavelet._utils.documentation import DocumentedMixin
from skwavelet._utils.validation import (
    Interval,
    check_groups,
    check_parameters,
    check_row_vector,
    check_sample_weight,
)
from skwavelet._utils.versioning import VersionedMixin

# Rows that are turned to double precision at a time.
ROWS = 2048
ALPHAS = 10.0 ** np.arange(-12, -2)


class RidgePath(DocumentedMixin, VersionedMixin, RegressorMixin, BaseEstimator):
    r"""Ridge regression with the penalty that predicts groups held out best.

    With weights v_i of the rows and penalty factors p_j, the weights w minimize

    .. math:: \sum_i v_i (y_i - x_i \cdot w - b)^2 + \alpha \sum_j p_j^2 s_j^2 w_j^2,
        \qquad s_j^2 = \sum_i v_i (x_{ij} - \bar x_j)^2,

    so that the penalty does not depend on the size of a column. Everything is computed from Gram
    matrices, which are summed over blocks of rows in double precision: memory grows with the
    square of the number of features, and one pass over the rows serves all alphas.

    Parameters
    ----------
    alphas : sequence of float, default=None
        Penalties to choose from; one is taken as it is. None: the powers of ten from 1e-12 to 1e-3.
    held_out : float, default=0.2
        Part of the groups whose error chooses alpha. The final weights are those of all rows.
    fit_intercept : bool, default=True
        Whether the model has an intercept.
    random_state : int, RandomState instance or None, default=0
        Chooses the groups that are held out.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,)
        Weights.
    intercept_ : float
        Intercept.
    alpha_ : float
        The penalty that was chosen.
    path_ : DataFrame
        Columns alpha and held_out_rmse (weighted, in units of y); empty for a single alpha.
    n_features_in_ : int
        Number of features seen in fit.
    feature_names_in_ : ndarray of str
        Their names, where X had names.

    See Also
    --------
    BaggedOLSEnsemble : A sparse model, with an error bar.

    Examples
    --------
    >>> import numpy as np
    >>> from skwavelet import RidgePath
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(60, 4))
    >>> model = RidgePath().fit(X, X @ [1.0, 0.0, -2.0, 0.0] + 3)
    >>> (model.coef_.round(3) + 0.0).tolist(), round(model.intercept_, 3)
    ([1.0, 0.0, -2.0, 0.0], 3.0)
    """

    _parameter_constraints: ClassVar[dict] = {
        "alphas": [None, "array-like"],
        "held_out": [Interval(Real, 0, 1, closed="neither")],
        "fit_intercept": ["boolean"],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        alphas: Sequence[float] | None = None,
        *,
        held_out: float = 0.2,
        fit_intercept: bool = True,
        random_state: int | np.random.RandomState | None = 0,
    ):
        self.alphas = alphas
        self.held_out = held_out
        self.fit_intercept = fit_intercept
        self.random_state = random_state

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        groups: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        intercept_column: ArrayLike | None = None,
        penalty_factors: ArrayLike | None = None,
    ) -> Self:
        """Choose the penalty, and fit all rows with it.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
        groups : array-like of shape (n_samples,), default=None
            Rows of one group are held out together. None puts every row in a group of its own.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the squared errors; None is 1.
        intercept_column : array-like of shape (n_samples,), default=None
            What the intercept is multiplied by in every row, such as 0 in rows of derivatives.
            None is 1.
        penalty_factors : array-like of shape (n_features,), default=None
            Positive factors p of the penalty of every feature; None is 1.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If an argument has another shape, is not finite or not positive, if squares overflow,
            or if there is one group only to choose between several alphas.
        """
        check_parameters(self)
        rows, targets = validate_data(self, X, y, dtype=[np.float64, np.float32], y_numeric=True)
        n_samples, n_features = rows.shape
        targets = targets.astype(np.float64)
        codes = check_groups(groups, n_samples)
        weight = check_sample_weight(sample_weight, n_samples)
        ones = np.full(n_samples, float(self.fit_intercept))
        if intercept_column is not None and self.fit_intercept:
            ones = check_row_vector(intercept_column, n_samples, "intercept_column")
        factors = np.ones(n_features)
        if penalty_factors is not None:
            factors = check_row_vector(penalty_factors, n_features, "penalty_factors")
        alphas = ALPHAS if self.alphas is None else self.alphas
        alphas = check_row_vector(alphas, np.size(alphas), "alphas")
        if not (factors > 0).all() or not len(alphas) or not (alphas > 0).all():
            raise ValueError("penalty_factors and alphas must be positive numbers.")
        held = np.zeros(n_samples, dtype=bool)
        if len(alphas) > 1:
            held = self._held_out(codes)
        # The size of columns that hardly vary around a large mean is lost in sums of squares.
        share = weight * ones
        origin = np.zeros(n_features)
        if share.any():
            origin += share.astype(rows.dtype) @ rows / (share @ ones)
        with np.errstate(over="ignore", invalid="ignore"):
            parts = [
                _Moments.of(rows[part], targets[part], weight[part], ones[part], origin)
                for part in (~held, held)
                if part.any()
            ]
        if not all(part.is_finite() for part in parts):
            raise ValueError("Squares of X or y overflow; scale them down.")
        whole = parts[0] if len(parts) == 1 else parts[0] + parts[1]
        path = []
        if len(alphas) > 1:
            for alpha in alphas:
                solution = parts[0].solve(alpha, factors)
                if solution is not None:
                    path.append((alpha, parts[1].rms_error(*solution)))
        self._path = np.reshape(path, (-1, 2))
        self.alpha_ = alphas[0]
        if path:
            self.alpha_ = float(min(path, key=lambda row: row[1])[0])
        solution = whole.solve(self.alpha_, factors)
        while solution is None:  # too little to keep all features apart in double precision
            self.alpha_ *= 10
            solution = whole.solve(self.alpha_, factors)
        self.coef_, intercept = solution
        self.intercept_ = float(intercept - origin @ self.coef_)
        return self

    @property
    def path_(self) -> pd.DataFrame:
        """Errors on held-out groups by penalty; made anew, as skops cannot store a DataFrame."""
        check_is_fitted(self)
        return pd.DataFrame(self._path, columns=["alpha", "held_out_rmse"])

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Predict.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        check_is_fitted(self)
        rows = validate_data(self, X, reset=False, dtype=[np.float64, np.float32])
        return rows @ self.coef_ + self.intercept_

    def _held_out(self, codes: np.ndarray) -> np.ndarray:
        n_groups = codes.max() + 1
        if n_groups < 2:
            raise ValueError(
                f"One group cannot be held out to choose between alphas (n_samples={len(codes)}); "
                "pass more groups, or one alpha."
            )
        count = int(np.clip(round(self.held_out * n_groups), 1, n_groups - 1))
        chosen = check_random_state(self.random_state).permutation(n_groups)[:count]
        return np.isin(codes, chosen)


class _Moments:
    """Weighted sums of products of features, targets and the intercept's column.

    An origin is taken from the features where the intercept counts, which changes the intercept.
    """

    def __init__(
        self, gram: np.ndarray, with_y: np.ndarray, with_ones: np.ndarray, scalars: np.ndarray
    ):
        # gram is a lower triangle; scalars are (y y, y 1, 1 1, sum of weights).
        self.gram, self.with_y, self.with_ones, self.scalars = gram, with_y, with_ones, scalars

    @classmethod
    def of(
        cls,
        X: np.ndarray,
        y: np.ndarray,
        weight: np.ndarray,
        ones: np.ndarray,
        origin: np.ndarray,
    ) -> _Moments:
        n_features = X.shape[1]
        gram = np.zeros((n_features, n_features), order="F")
        with_y, with_ones = np.zeros(n_features), np.zeros(n_features)
        root = np.sqrt(weight)
        for start in range(0, len(X), ROWS):
            part = slice(start, start + ROWS)
            rows = X[part] - np.multiply.outer(ones[part], origin)
            rows *= root[part, None]
            gram = dsyrk(1.0, rows.T, beta=1.0, c=gram, lower=1, overwrite_c=1)
            with_y += rows.T @ (root[part] * y[part])
            with_ones += rows.T @ (root[part] * ones[part])
        scalars = np.array([
            weight @ y**2, weight @ (y * ones), weight @ ones**2, weight.sum()
        ])  # fmt: skip
        return cls(gram, with_y, with_ones, scalars)

    def __add__(self, other: _Moments) -> _Moments:
        return _Moments(
            self.gram + other.gram,
            self.with_y + other.with_y,
            self.with_ones + other.with_ones,
            self.scalars + other.scalars,
        )

    def is_finite(self) -> bool:
        """Return whether no sum has overflowed."""
        sums = (self.gram, self.with_y, self.with_ones, self.scalars)
        return all(np.isfinite(values).all() for values in sums)

    def solve(self, alpha: float, factors: np.ndarray) -> tuple[np.ndarray, float] | None:
        """Return weights and intercept; None where the matrix is not positive in rounding."""
        _, y_ones, ones_ones, _ = self.scalars
        mean = self.with_ones / ones_ones if ones_ones else np.zeros_like(self.with_ones)
        level = y_ones / ones_ones if ones_ones else 0.0
        squares = np.diag(self.gram) - mean * self.with_ones
        # Columns that do not vary have no weight.
        varies = squares > 1e-12 * np.maximum(np.diag(self.gram), np.finfo(float).tiny)
        scale = np.where(varies, 1 / np.sqrt(np.where(varies, squares, 1)), 0) / factors
        matrix = self.gram - np.multiply.outer(mean, self.with_ones)
        matrix *= scale
        matrix *= scale[:, None]
        matrix[np.diag_indices_from(matrix)] += np.where(varies, alpha, 1)
        try:
            factored = cho_factor(matrix, lower=True, overwrite_a=True, check_finite=False)
        except LinAlgError:
            return None
        coef = scale * cho_solve(factored, scale * (self.with_y - mean * y_ones))
        return coef, float(level - mean @ coef)

    def rms_error(self, coef: np.ndarray, intercept: float) -> float:
        """Return the root of the weighted mean squared error of a model."""
        yy, y_ones, ones_ones, total = self.scalars
        lower = np.tril(self.gram, -1) @ coef
        quadratic = 2 * coef @ lower + np.square(coef) @ np.diag(self.gram)
        error = yy - 2 * coef @ self.with_y + quadratic
        error += intercept * (intercept * ones_ones - 2 * y_ones + 2 * coef @ self.with_ones)
        return float(np.sqrt(max(error, 0.0) / total))
