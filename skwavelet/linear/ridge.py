"""``RidgePath``: ridge regression on Gram matrices, its penalty chosen on groups held out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
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
ALPHAS = 10.0 ** np.arange(-14, -2)
# Weights of kinds are tried up to so many steps of a factor below and above those given.
STEPS, FACTOR = 6, 10**0.5
TINY = np.finfo(float).tiny


class RidgePath(DocumentedMixin, VersionedMixin, RegressorMixin, BaseEstimator):
    r"""Ridge regression with the penalty, and weights, that predict groups held out best.

    With weights v_i of the rows and penalty factors p_j, the weights w minimize

    .. math:: \sum_i v_i (y_i - x_i \cdot w - b)^2 + \alpha \sum_j p_j^2 s_j^2 w_j^2,
        \qquad s_j^2 = \sum_i v_i (x_{ij} - \bar x_j)^2,

    so that the penalty does not depend on the size of a column. Everything is computed from Gram
    matrices, which are summed over blocks of rows in double precision: memory grows with the
    square of the number of features, and one pass over the rows serves all alphas.

    Rows may be of several kinds whose errors cannot be compared, such as energies and forces. With
    ``kinds`` in `fit`, the weights of each kind are multiplied by a factor that is chosen together
    with alpha: by the least geometric mean over the kinds of the root mean square errors of groups
    held out. All kinds then count alike, whatever their units: halving one error is worth doubling
    another. Each kind has a Gram matrix of its own, so that one pass serves all factors.

    Parameters
    ----------
    alphas : sequence of float, default=None
        Penalties to choose from; one is taken as it is. None: the powers of ten from 1e-14 to 1e-3.
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
    kind_weights_ : ndarray of shape (largest kind + 1,)
        Factor of the weights of each kind: 1 for the first, and for kinds without held-out rows.
    path_ : DataFrame
        What was tried, with columns alpha and held_out_rmse (weighted, in units of y); empty if
        there was nothing to choose. With several kinds k there are columns weight_k and rmse_k, and
        held_out_rmse is the geometric mean of the latter.
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
        kinds: ArrayLike | None = None,
    ) -> Self:
        """Choose the penalty and the weights of kinds, and fit all rows with them.

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
        kinds : array-like of int of shape (n_samples,), default=None
            Kind of every row, 0, 1, ...: `sample_weight` of the first kind stays as it is, that of
            the others is where the choice begins. None: all rows are of one kind.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If an argument has another shape, is not finite or not positive, if squares overflow,
            or if there is one group only to choose between several alphas or weights.
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
        kind = np.zeros(n_samples, dtype=int) if kinds is None else _check_kinds(kinds, n_samples)
        held = np.zeros(n_samples, dtype=bool)
        if len(alphas) > 1 or kind.min() < kind.max():
            held = self._held_out(codes)
        data = _Data.of(rows, targets, weight, ones)
        present = np.unique(kind[~held])
        parts = [_Moments.of(data, np.flatnonzero(~held & (kind == one))) for one in present]
        place = (0, *np.zeros(kind.max() + 1, dtype=int).tolist())
        self._judged = np.intersect1d(kind[held], present)
        self._path: list[list[float]] = []
        if held.any():
            tests = [np.flatnonzero(held & (kind == one)) for one in self._judged]

            def error(place: tuple[int, ...]) -> float:
                alpha, weights = alphas[place[0]], FACTOR ** np.array(place[1:])
                solution = _Moments.sum(parts, weights[present]).solve(alpha, factors, data.origin)
                if solution is None:
                    return np.inf
                errors = np.array([data.rms_error(test, *solution) for test in tests])
                mean = float(np.exp(np.log(np.maximum(errors, TINY)).mean()))
                self._path.append([alpha, *weights[self._judged], *errors, mean])
                return mean

            free = [int(k) + 1 for k in self._judged[1:]]
            place = _least(error, place, len(alphas), free)
        self.alpha_, self.kind_weights_ = float(alphas[place[0]]), FACTOR ** np.array(place[1:])
        whole = _Moments.sum(parts, self.kind_weights_[present])
        if held.any():
            data = replace(data, weight=weight * self.kind_weights_[kind])
            whole = _Moments.sum([whole, _Moments.of(data, np.flatnonzero(held))], np.ones(2))
        solution = whole.solve(self.alpha_, factors, data.origin)
        while solution is None:  # too little to keep all features apart in double precision
            self.alpha_ *= 10
            solution = whole.solve(self.alpha_, factors, data.origin)
        self.coef_ = solution[0]
        self.intercept_ = float(solution[1] - data.origin @ self.coef_)
        return self

    @property
    def path_(self) -> pd.DataFrame:
        """Errors on held-out groups by penalty; made anew, as skops cannot store a DataFrame."""
        check_is_fitted(self)
        names = [f"{name}_{kind}" for name in ("weight", "rmse") for kind in self._judged]
        path = pd.DataFrame(self._path, columns=["alpha", *names, "held_out_rmse"])
        return path if len(self._judged) > 1 else path[["alpha", "held_out_rmse"]]

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


def _check_kinds(kinds: ArrayLike, n_samples: int) -> np.ndarray:
    codes = check_row_vector(kinds, n_samples, "kinds")
    if (codes < 0).any() or (codes != codes.astype(int)).any():
        raise ValueError("kinds must be whole numbers 0, 1, ...")
    return codes.astype(int)


def _least(
    error: Callable[[tuple[int, ...]], float],
    start: tuple[int, ...],
    n_alphas: int,
    free: Sequence[int],
) -> tuple[int, ...]:
    """Return the place of the least error on a grid of alphas and of weights.

    All alphas are tried where no weights are free. Otherwise the search goes along one axis after
    the other, from the middle of the alphas, as long as the error becomes less.

    Parameters
    ----------
    error : callable
    start : tuple of int
        The number of an alpha, and the steps of all weights.
    n_alphas : int
    free : sequence of int
        Axes of the weights to choose.
    """
    if not free:
        return min(((k, *start[1:]) for k in range(n_alphas)), key=error)
    limits = {0: range(n_alphas)} | dict.fromkeys(free, range(-STEPS, STEPS + 1))
    best = (n_alphas // 2, *start[1:])
    known = {best: error(best)}
    while known[best] == np.inf and best[0] + 1 < n_alphas:
        best = (best[0] + 1, *best[1:])
        known[best] = error(best)
    before = None
    while best != before:
        before = best
        for axis, step in product(limits, (-1, 1)):
            while True:
                other = (*best[:axis], best[axis] + step, *best[axis + 1 :])
                if other[axis] not in limits[axis]:
                    break
                if other not in known:
                    known[other] = error(other)
                if not known[other] < known[best]:
                    break
                best = other
    return best


@dataclass(frozen=True, eq=False)
class _Data:
    """Rows, their targets, weights and what the intercept is multiplied by.

    Models are of features less their mean, ``origin``, so that squares do not cancel.
    """

    rows: np.ndarray
    targets: np.ndarray
    weight: np.ndarray
    ones: np.ndarray
    origin: np.ndarray

    @classmethod
    def of(
        cls, rows: np.ndarray, targets: np.ndarray, weight: np.ndarray, ones: np.ndarray
    ) -> _Data:
        """Return data with their mean, that of rows with an intercept."""
        with_ones = np.flatnonzero(weight * ones)
        total = np.zeros(rows.shape[1])
        for start in range(0, len(with_ones), ROWS):
            part = with_ones[start : start + ROWS]
            total += (weight[part] * ones[part]) @ rows[part].astype(np.float64)
        return cls(rows, targets, weight, ones, total / max(weight @ ones**2, TINY))

    def block(self, part: np.ndarray) -> np.ndarray:
        """Return some rows in double precision, of features less their mean."""
        rows = self.rows[part].astype(np.float64)
        rows -= np.multiply.outer(self.ones[part], self.origin)
        return rows

    def rms_error(self, chosen: np.ndarray, coef: np.ndarray, intercept: float) -> float:
        """Return the root of the weighted mean squared error of a model in some rows."""
        squares = 0.0
        for start in range(0, len(chosen), ROWS):
            part = chosen[start : start + ROWS]
            error = self.block(part) @ coef + intercept * self.ones[part] - self.targets[part]
            squares += self.weight[part] @ error**2
        total = self.weight[chosen].sum()
        return float(np.sqrt(squares / total)) if total else 0.0


class _Moments:
    """Weighted sums of products of features, targets and the intercept's column."""

    def __init__(
        self, gram: np.ndarray, with_y: np.ndarray, with_ones: np.ndarray, scalars: np.ndarray
    ):
        # gram is a lower triangle; scalars are (y 1, 1 1).
        self.gram, self.with_y, self.with_ones, self.scalars = gram, with_y, with_ones, scalars

    @classmethod
    def of(cls, data: _Data, chosen: np.ndarray) -> _Moments:
        """Return the sums over some rows.

        Raises
        ------
        ValueError
            If they overflow.
        """
        n_features = data.rows.shape[1]
        gram = np.zeros((n_features, n_features), order="F")
        with_y, with_ones, scalars = np.zeros(n_features), np.zeros(n_features), np.zeros(2)
        with np.errstate(over="ignore", invalid="ignore"):
            for start in range(0, len(chosen), ROWS):
                part = chosen[start : start + ROWS]
                root = np.sqrt(data.weight[part])
                rows = data.block(part) * root[:, None]
                y, ones = root * data.targets[part], root * data.ones[part]
                gram = dsyrk(1.0, rows.T, beta=1.0, c=gram, lower=1, overwrite_c=1)
                with_y += rows.T @ y
                with_ones += rows.T @ ones
                scalars += y @ ones, ones @ ones
        if not all(np.isfinite(sums).all() for sums in (gram, with_y, with_ones, scalars)):
            raise ValueError("Squares of X or y overflow; scale them down.")
        return cls(gram, with_y, with_ones, scalars)

    @classmethod
    def sum(cls, parts: Sequence[_Moments], weights: np.ndarray) -> _Moments:
        """Return the weighted sum of several."""
        sums = [
            np.zeros_like(getattr(parts[0], name))
            for name in ("gram", "with_y", "with_ones", "scalars")
        ]
        for part, weight in zip(parts, weights, strict=True):
            for total, own in zip(
                sums, (part.gram, part.with_y, part.with_ones, part.scalars), strict=True
            ):
                total += weight * own
        return cls(*sums)

    def solve(
        self, alpha: float, factors: np.ndarray, origin: np.ndarray
    ) -> tuple[np.ndarray, float] | None:
        """Return weights and intercept; None where the matrix is not positive in rounding."""
        y_ones, ones_ones = self.scalars
        mean = self.with_ones / ones_ones if ones_ones else np.zeros_like(self.with_ones)
        level = y_ones / ones_ones if ones_ones else 0.0
        squares = np.diag(self.gram) - mean * self.with_ones
        # Columns that do not vary have no weight.
        varies = squares > 1e-12 * np.maximum(np.diag(self.gram) + ones_ones * origin**2, TINY)
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
