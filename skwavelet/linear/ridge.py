"""``RidgePath``: ridge regression on Gram matrices, its penalty chosen on groups held out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.linear_model import LinearRegression
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if
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
from skwavelet.linear._moments import ROWS, TINY, Data, Moments
from skwavelet.linear._spread import SpreadMixin
from skwavelet.linear.calibration import unbiased_std

ALPHAS = 10.0 ** np.arange(-14, -2)
# Weights of kinds are tried up to so many steps of a factor below and above those given.
STEPS, FACTOR = 6, 10**0.5


class RidgePath(SpreadMixin, DocumentedMixin, VersionedMixin, RegressorMixin, BaseEstimator):
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

    How wrong the model may be is told by its members, weights that the data could have given as
    well: samples of the normal distribution of mean w and covariance sigma² A⁻¹, A the matrix of
    the equations of w and sigma² the mean of v_i times the squared error of rows held out. Their
    spread is calibrated by the errors of the groups held out, of a model that has not seen them.

    Parameters
    ----------
    alphas : sequence of float, default=None
        Penalties to choose from; one is taken as it is. None: the powers of ten from 1e-14 to 1e-3.
    held_out : float, default=0.2
        Part of the groups whose error chooses alpha, and calibrates standard deviations. The final
        weights are those of all rows.
    fit_intercept : bool, default=True
        Whether the model has an intercept.
    n_members : int, default=20
        Number of members; 0 for none, and no standard deviations.
    updatable : bool, default=False
        Whether to keep what `update` needs, 2 n_features² numbers (in files of the model, too).
    random_state : int, RandomState instance or None, default=0
        Chooses the groups that are held out, and draws the members.

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
    estimators_ : list of LinearRegression
        The members, whose mean is the model.
    oob_prediction_, oob_spread_ : ndarray of shape (n_samples,)
        For each row of the last `fit` or `update`, the prediction of the model that has not seen
        the groups held out, and the standard deviation over its members; NaN for other groups.
    calibration_ : SpreadCalibration
        From the spread of the members to standard deviations, see `BaggedOLSEnsemble`.
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
        "n_members": [Interval(Integral, 0, None, closed="left")],
        "updatable": ["boolean"],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        alphas: Sequence[float] | None = None,
        *,
        held_out: float = 0.2,
        fit_intercept: bool = True,
        n_members: int = 20,
        updatable: bool = False,
        random_state: int | np.random.RandomState | None = 0,
    ):
        self.alphas = alphas
        self.held_out = held_out
        self.fit_intercept = fit_intercept
        self.n_members = n_members
        self.updatable = updatable
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
        choose = len(alphas) > 1 or kind.min() < kind.max()
        random = check_random_state(self.random_state)
        held = np.zeros(n_samples, dtype=bool)
        if choose or (self.n_members and codes.any()):
            held = self._held_out(codes, random)
        data = Data.of(rows, targets, weight, ones)
        present = np.unique(kind[~held])
        parts = [Moments.of(data, np.flatnonzero(~held & (kind == one))) for one in present]
        place = (0, *np.zeros(kind.max() + 1, dtype=int).tolist())
        self._judged = np.intersect1d(kind[held], present)
        self._path: list[list[float]] = []
        if choose:
            tests = [np.flatnonzero(held & (kind == one)) for one in self._judged]

            def error(place: tuple[int, ...]) -> float:
                alpha, weights = alphas[place[0]], FACTOR ** np.array(place[1:])
                solution = Moments.sum(parts, weights[present]).solve(alpha, factors, data.origin)
                if solution is None:
                    return np.inf
                errors = np.array([data.rms_error(test, *solution) for test in tests])
                mean = float(np.exp(np.log(np.maximum(errors, TINY)).mean()))
                self._path.append([alpha, *weights[self._judged], *errors, mean])
                return mean

            free = [int(k) + 1 for k in self._judged[1:]]
            place = _least(error, place, len(alphas), free)
        self.alpha_, self.kind_weights_ = float(alphas[place[0]]), FACTOR ** np.array(place[1:])
        data = replace(data, weight=weight * self.kind_weights_[kind])
        apart = Moments.sum(parts, self.kind_weights_[present])
        self._parts = apart, Moments.of(data, np.flatnonzero(held))
        self._factors, self._origin = factors, data.origin
        self._entropy = random.randint(2**31 - 1, size=4).tolist()
        self._told = None
        self._noise: float | None = None
        self._n_groups = int(codes.max()) + 1
        self._solve(data, codes, held)
        return self

    @available_if(lambda self: self.updatable)
    def update(
        self,
        X: ArrayLike,
        y: ArrayLike,
        groups: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        intercept_column: ArrayLike | None = None,
    ) -> Self:
        """Learn from more rows, with the penalty and the weights of kinds that were chosen.

        The model becomes that of a fit to all rows together, at the cost of the new ones: rows of
        any number can be passed a part at a time.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features of the new rows.
        y : array-like of shape (n_samples,)
            Targets.
        groups, intercept_column : array-like of shape (n_samples,), default=None
            As in `fit`. The groups are new ones, whatever their labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the squared errors, with ``kind_weights_`` in them; None is 1.

        Returns
        -------
        self

        Raises
        ------
        AttributeError
            If ``updatable`` is false.
        ValueError
            As in `fit`.

        Examples
        --------
        >>> import numpy as np
        >>> from skwavelet import RidgePath
        >>> rng = np.random.default_rng(0)
        >>> X = rng.normal(size=(600, 4))
        >>> y = X @ [1.0, 0.0, -2.0, 0.0] + rng.normal(size=600)
        >>> model = RidgePath(updatable=True).fit(X[:300], y[:300]).update(X[300:], y[300:])
        >>> bool(np.allclose(model.coef_, RidgePath([model.alpha_]).fit(X, y).coef_))
        True
        """
        check_is_fitted(self, "_parts")
        rows: Any
        rows, targets = validate_data(
            self, X, y, reset=False, dtype=[np.float64, np.float32], y_numeric=True
        )
        n_samples = len(rows)
        codes = check_groups(groups, n_samples)
        weight = check_sample_weight(sample_weight, n_samples)
        ones = np.full(n_samples, float(self.fit_intercept))
        if intercept_column is not None and self.fit_intercept:
            ones = check_row_vector(intercept_column, n_samples, "intercept_column")
        data = Data(rows, targets.astype(np.float64), weight, ones, self._origin)
        random = np.random.default_rng([*self._entropy, self._n_groups])
        held = (random.random(codes.max() + 1) < self.held_out)[codes]
        codes = codes + self._n_groups
        self._n_groups = int(codes.max()) + 1
        apart, rest = (
            Moments.sum([sums, Moments.of(data, np.flatnonzero(part))], np.ones(2))
            for sums, part in zip(self._parts, (~held, held), strict=True)
        )
        self._parts = apart, rest
        self._solve(data, codes, held)
        return self

    def _solve(self, data: Data, codes: np.ndarray, held: np.ndarray) -> None:
        """Solve for all rows that were ever seen, and learn from the errors of the new ones."""
        apart, whole = self._parts[0], Moments.sum(self._parts, np.ones(2))
        solution = whole.solve(self.alpha_, self._factors, self._origin)
        while solution is None:  # too little to keep all features apart in double precision
            self.alpha_ *= 10
            solution = whole.solve(self.alpha_, self._factors, self._origin)
        self.coef_ = solution[0]
        self.intercept_ = float(solution[1] - self._origin @ self.coef_)
        before = apart.solve(self.alpha_, self._factors, self._origin) if held.any() else None
        if self._noise is None:
            rows = np.arange(len(held)) if before is None else np.flatnonzero(held)
            error = data.rms_error(rows, *(before or solution))
            self._noise = float(np.sqrt(data.weight[rows].mean()) * error)
        random = np.random.default_rng(self._entropy)  # the same numbers, whatever is learned later
        normal = self._noise * random.standard_normal((len(self.coef_) + 1, self.n_members))
        if self.n_members:  # the model is the mean of its members
            normal -= normal.mean(axis=1, keepdims=True)
        weights, constants = whole.sampled(self.alpha_, self._factors, self._origin, normal)
        constants -= self._origin @ weights
        self.estimators_ = [LinearRegression() for _ in constants]
        for member, change, constant in zip(self.estimators_, weights.T, constants, strict=True):
            member.coef_, member.n_features_in_ = self.coef_ + change, len(change)
            member.intercept_ = self.intercept_ + float(constant)
        self.oob_prediction_, self.oob_spread_ = np.full((2, len(held)), np.nan)
        if before is not None and self.n_members:
            spread = apart.sampled(self.alpha_, self._factors, self._origin, normal)
            self._tell(data, np.flatnonzero(held), before, spread)
        # Rows without intercept are derivatives, which `predict` is not asked for.
        told = np.isfinite(self.oob_spread_) & (data.ones != 0) & (data.weight > 0)
        errors = (self.oob_prediction_ - data.targets)[told]
        everyone = np.ones((len(errors), self.n_members), dtype=bool)
        self._learn_spread(errors, self.oob_spread_[told], data.weight[told], codes[told], everyone)
        if not self.updatable:
            del self._parts

    def _tell(self, data: Data, held: np.ndarray, solution: Any, spread: Any) -> None:
        """Predict rows held out with the model that has not seen them, and with its members."""
        for start in range(0, len(held), ROWS):
            part = held[start : start + ROWS]
            block, ones = data.block(part), data.ones[part]
            self.oob_prediction_[part] = block @ solution[0] + ones * solution[1]
            deviations = block @ spread[0] + np.outer(ones, spread[1])
            self.oob_spread_[part] = unbiased_std(deviations)

    @property
    def path_(self) -> pd.DataFrame:
        """Errors on held-out groups by penalty; made anew, as skops cannot store a DataFrame."""
        check_is_fitted(self)
        names = [f"{name}_{kind}" for name in ("weight", "rmse") for kind in self._judged]
        path = pd.DataFrame(self._path, columns=["alpha", *names, "held_out_rmse"])
        return path if len(self._judged) > 1 else path[["alpha", "held_out_rmse"]]

    def _held_out(self, codes: np.ndarray, random: np.random.RandomState) -> np.ndarray:
        n_groups = codes.max() + 1
        if n_groups < 2:
            raise ValueError(
                f"One group cannot be held out to choose between alphas (n_samples={len(codes)}); "
                "pass more groups, or one alpha."
            )
        count = int(np.clip(round(self.held_out * n_groups), 1, n_groups - 1))
        return np.isin(codes, random.permutation(n_groups)[:count])


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
