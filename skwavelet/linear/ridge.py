"""``RidgePath``: ridge regression on Gram matrices, its penalty chosen on groups held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, RegressorMixin
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
from skwavelet.linear._members import Members, drawn_blocks, halves_of
from skwavelet.linear._moments import TINY, Data, Moments, check_memory
from skwavelet.linear._search import least
from skwavelet.linear._spread import SpreadMixin

ALPHAS = 10.0 ** np.arange(-14, -2)
# Weights of kinds are tried in steps of this factor.
FACTOR = 10**0.5
# Groups are divided into so many blocks, whose halves are twenty members.
BLOCKS = 6


class RidgePath(SpreadMixin, DocumentedMixin, VersionedMixin, RegressorMixin, BaseEstimator):
    r"""Ridge regression with the penalty, and weights, that predict groups held out best.

    With weights v_i of the rows and penalty factors p_j, the weights w minimize

    .. math:: \sum_i v_i (y_i - x_i \cdot w - b)^2 + \alpha \sum_j p_j^2 s_j^2 w_j^2,
        \qquad s_j^2 = \sum_i v_i (x_{ij} - \bar x_j)^2,

    so that the penalty does not depend on the size of a column. Everything is computed from Gram
    matrices, which are summed over blocks of rows in double precision: one pass over the rows
    serves all alphas.

    Rows may be of several kinds whose errors cannot be compared, such as energies and forces. With
    ``kinds`` in `fit`, the weights of each kind are multiplied by a factor that is chosen together
    with alpha: by the least geometric mean over the kinds of the root mean square errors of groups
    held out. All kinds then count alike, whatever their units: halving one error is worth doubling
    another. Each kind has a Gram matrix of its own, so that one pass serves all factors.

    How wrong the model may be is told by its members. The groups are divided into six blocks (one
    of them is held out to choose alpha), and the twenty halves of these give a member each. Their
    spread is calibrated by the errors on groups of members that have not seen them.

    Memory, besides the rows: a fit with members holds seven symmetric matrices of n_features² at
    once, without members three, and one more for every kind beyond the second. Each takes
    4 n_features² bytes: 2.3 GB in all for 9,000 features and two kinds.

    Parameters
    ----------
    alphas : sequence of float, default=None
        Penalties to choose from; one is taken as it is. None: the powers of ten from 1e-14 to 1e-3.
    held_out : float, default=0.2
        Part of the groups whose error chooses alpha. The final weights are those of all rows.
    fit_intercept : bool, default=True
        Whether the model has an intercept.
    members : bool, default=True
        Whether to fit members, without which there are no standard deviations.
    updatable : bool, default=False
        Whether to keep what `update` needs, 3 n_features² numbers (in files of the model, too).
    random_state : int, RandomState instance or None, default=0
        Chooses the groups that are held out, and divides the others into blocks.

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
        The members, all shifted alike so that their mean is the model.
    oob_prediction_, oob_spread_ : ndarray of shape (n_samples,)
        For each row of the last `fit` or `update`, mean and standard deviation of the predictions
        of the members that have not seen its group; NaN where there are none.
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
        "members": ["boolean"],
        "updatable": ["boolean"],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        alphas: Sequence[float] | None = None,
        *,
        held_out: float = 0.2,
        fit_intercept: bool = True,
        members: bool = True,
        updatable: bool = False,
        random_state: int | np.random.RandomState | None = 0,
    ):
        self.alphas = alphas
        self.held_out = held_out
        self.fit_intercept = fit_intercept
        self.members = members
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
            Kind of every row, 0, 1, ...: ``sample_weight`` of the first kind stays as it is, that
            of the others is where the choice begins. None: all rows are of one kind.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If an argument has another shape, is not finite or not positive, if squares overflow,
            if products of the features do not fit into memory, or if there is one group only to
            choose between several alphas or weights.
        """
        check_parameters(self)
        rows, targets, codes, weight, ones = self._checked(
            X, y, groups, sample_weight, intercept_column, reset=True
        )
        n_samples, n_features = rows.shape
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
        n_others = BLOCKS - 1 if self.members else 1
        block = drawn_blocks(int(codes.max()) + 1, self.held_out, n_others, random)[codes]
        held = (block == 0) & (block.max() > 0)
        if choose and not held.any():
            raise ValueError(
                f"One group cannot be held out to choose between alphas (n_samples={n_samples}); "
                "pass more groups, or one alpha."
            )
        data = Data.of(rows, targets, weight, ones)
        data.check_squares()
        present, numbers = np.unique(kind[~held]), np.unique(block[~held])
        # What is held at once: sums of blocks, of other kinds or of those held out, and their sum.
        check_memory(n_features, n_samples, len(numbers) + max(len(present), 1 + held.any()))
        self._factors, self._origin = factors, data.origin
        self.kind_weights_ = np.ones(kind.max() + 1)
        self._judged = np.intersect1d(kind[held], present)
        self._path: list[list[float]] = []
        self.alpha_ = float(alphas[0])
        # Sums of the kind with most rows are kept; those of the others cost less than memory.
        largest = np.bincount(kind[~held]).argmax()
        sums = [Moments.of(data, np.flatnonzero((block == n) & (kind == largest))) for n in numbers]
        if choose:
            others = [one for one in present if one != largest]
            apart = [Moments.of(data, np.flatnonzero(~held & (kind == one))) for one in others]
            kinds_of = np.array([*np.full(len(sums), largest), *others], dtype=int)
            tests = [np.flatnonzero(held & (kind == one)) for one in self._judged]
            self._choose(alphas, data, kinds_of, [*sums, *apart], tests)
            del apart
        data = replace(data, weight=weight * self.kind_weights_[kind])
        for number, own in zip(numbers, sums, strict=True):
            own.scale(self.kind_weights_[largest])
            own.add_rows(data, np.flatnonzero((block == number) & (kind != largest)))
        self._blocks = [Moments.of(data, np.flatnonzero(held))] if held.any() else []
        self._blocks += sums
        self._entropy = random.randint(2**31 - 1, size=4).tolist()
        self._told = None
        self._n_groups = int(codes.max()) + 1
        self._solve(data, codes, block)
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
        check_is_fitted(self, "_blocks")
        rows, targets, codes, weight, ones = self._checked(
            X, y, groups, sample_weight, intercept_column, reset=False
        )
        data = Data(rows, targets, weight, ones, self._origin)
        data.check_squares()
        random = np.random.default_rng([*self._entropy, self._n_groups])
        block = random.integers(len(self._blocks), size=codes.max() + 1)[codes]
        codes = codes + self._n_groups
        self._n_groups = int(codes.max()) + 1
        # New sums, as a copy of the model may learn from other rows.
        self._blocks = [
            Moments.sum([sums, Moments.of(data, np.flatnonzero(block == number))])
            for number, sums in enumerate(self._blocks)
        ]
        self._solve(data, codes, block)
        return self

    def _checked(
        self,
        X: ArrayLike,
        y: ArrayLike,
        groups: ArrayLike | None,
        sample_weight: ArrayLike | None,
        intercept_column: ArrayLike | None,
        reset: bool,
    ) -> tuple[np.ndarray, ...]:
        """Return rows, targets, numbers of groups, weights, and what multiplies the intercept."""
        rows: Any
        rows, targets = validate_data(
            self, X, y, reset=reset, dtype=[np.float64, np.float32], y_numeric=True
        )
        n_samples = len(rows)
        codes = check_groups(groups, n_samples)
        weight = check_sample_weight(sample_weight, n_samples)
        ones = np.full(n_samples, float(self.fit_intercept))
        if intercept_column is not None and self.fit_intercept:
            ones = check_row_vector(intercept_column, n_samples, "intercept_column")
        return rows, targets.astype(np.float64), codes, weight, ones

    def _choose(
        self,
        alphas: np.ndarray,
        data: Data,
        kinds: np.ndarray,
        parts: Sequence[Moments],
        tests: Sequence[np.ndarray],
    ) -> None:
        """Choose alpha and the weights of kinds by the least error on the tests, rows of each kind.

        ``parts`` are the sums of the rows that are not held out, ``kinds`` the kind of each.
        """

        def error(place: tuple[int, ...]) -> float:
            alpha, weights = alphas[place[0]], FACTOR ** np.array(place[1:])
            whole = Moments.sum(parts, weights[kinds])
            solution = whole.solve(alpha, self._factors, data.origin)
            if solution is None:
                return np.inf
            errors = np.array([data.rms_error(test, *solution) for test in tests])
            mean = float(np.exp(np.log(np.maximum(errors, TINY)).mean()))
            self._path.append([alpha, *weights[self._judged], *errors, mean])
            return mean

        free = [int(k) + 1 for k in self._judged[1:]]
        start = (0, *np.zeros(len(self.kind_weights_), dtype=int).tolist())
        place = least(error, start, len(alphas), free)
        self.alpha_, self.kind_weights_ = float(alphas[place[0]]), FACTOR ** np.array(place[1:])

    def _solve(self, data: Data, codes: np.ndarray, block: np.ndarray) -> None:
        """Solve for all rows that were ever seen, and learn from errors on the new ones."""
        while True:
            whole = Moments.sum(self._blocks)
            solution = whole.solve(self.alpha_, self._factors, self._origin)
            del whole
            if solution is not None:
                break
            self.alpha_ *= 10  # too little to keep all features apart in double precision
        self.coef_, intercept = solution
        self.intercept_ = float(intercept - self._origin @ self.coef_)
        halves = halves_of(len(self._blocks)) if self.members else []
        members = Members.of(self._blocks, halves, self.alpha_, self._factors, self._origin)
        self.estimators_ = members.models(self.coef_, self.intercept_, self._origin)
        self._left_out = ~members.seen, block
        left_out = ~members.seen[block]
        self.oob_prediction_, self.oob_spread_ = members.of_others(data, left_out)
        # Rows without intercept are derivatives, which `predict` is not asked for.
        told = np.isfinite(self.oob_spread_) & (data.ones != 0) & (data.weight > 0)
        self._learn_spread(told, data.targets, data.weight, codes, left_out)
        if not self.updatable:
            del self._blocks

    def _end_updates(self) -> None:
        """Forget what only `update` needs."""
        self.updatable = False
        del self._blocks

    @property
    def path_(self) -> pd.DataFrame:
        """Errors on held-out groups by penalty; made anew, as skops cannot store a DataFrame."""
        check_is_fitted(self)
        names = [f"{name}_{kind}" for name in ("weight", "rmse") for kind in self._judged]
        path = pd.DataFrame(self._path, columns=["alpha", *names, "held_out_rmse"])
        return path if len(self._judged) > 1 else path[["alpha", "held_out_rmse"]]


def _check_kinds(kinds: ArrayLike, n_samples: int) -> np.ndarray:
    codes = check_row_vector(kinds, n_samples, "kinds")
    if (codes < 0).any() or (codes != codes.astype(int)).any():
        raise ValueError("kinds must be whole numbers 0, 1, ...")
    return codes.astype(int)
