"""`GreedyOLSRegressor`: one sparse linear model along the greedy path."""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from skwavelet._utils.documentation import DocumentedMixin
from skwavelet._utils.validation import Interval, RealNotInt, StrOptions, check_parameters
from skwavelet._utils.versioning import VersionedMixin
from skwavelet.linear._blocks import BlockwiseData
from skwavelet.linear._training import (
    TrainingData,
    check_prediction_data,
    check_training_data,
    is_usable,
    linear_prediction,
    n_groups,
    resolve_candidates,
    take_columns,
)
from skwavelet.linear.design import Problem
from skwavelet.linear.path import GreedyPath, PrefixWeights, greedy_path, prefix_weights


class GreedyOLSRegressor(DocumentedMixin, VersionedMixin, RegressorMixin, BaseEstimator):
    """Sparse linear model by greedy orthogonal least squares.

    Features are added one at a time: at each step the one whose column, made orthogonal to the
    columns already selected and renormalized, has the largest absolute inner product with the
    residual. That is the feature whose addition leaves the least squared error once all
    weights are refitted. Columns are centred, and the selection does not depend on their scale
    (they count as having unit variance on the training rows).

    The number of features M* is the one of least error on held-out rows, which are whole
    groups (relaxation paths, say). Selection and M* come from the remaining rows; the weights
    of the selected features are then estimated by least squares on *all* rows, because a fifth
    more data costs one small QR factorization and changes nothing that was validated.

    Parameters
    ----------
    max_features : int, default=1000
        Length of the path.
    candidates : {"all", "sqrt"}, int or float, default="all"
        Features compared at each step, drawn at random from those not selected yet: all, the
        square root of (n_features + 1), so many, or this fraction of n_features.
    validation_fraction : float or None, default=0.2
        Fraction of the groups held out to choose the number of features. None holds out
        nothing and keeps the whole path.
    patience : int or None, default=None
        End the path when the validation error has not improved for so many steps. None never
        does.
    tol : float, default=1e-8
        Features of which less than this is independent of the selected ones (relative norm of
        the centred column) are never selected. Nor are those of which no more is left than
        rounding errors of the dtype of X.
    fit_intercept : bool, default=True
        Whether to fit an intercept. False fits a model through the origin, without centring.
    random_state : int, RandomState instance or None, default=None
        Draws the held-out groups and the candidates.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,)
        Weights, zero for features that were not selected; units of y per unit of the feature.
    intercept_ : float
        Independent term, in units of y.
    support_ : ndarray of shape (n_selected,)
        Indices of the selected features in order of selection.
    n_features_selected_ : int
        M*, the number of selected features.
    path_ : DataFrame
        Columns ``n_features`` (1, 2, ...), ``train_rmse`` and ``validation_rmse`` (in units of
        y, both of the fit without the held-out groups; NaN without validation).
    n_features_in_ : int
        Number of features seen in fit.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, where X had string column names.

    See Also
    --------
    BaggedOLSEnsemble : The average of many randomized models of this kind.
    sklearn.linear_model.OrthogonalMatchingPursuit : The same without renormalizing the
        decorrelated columns, which prefers features unlike those already selected.

    References
    ----------
    X. Brumwell, *Wavelet scattering and graph representations for atomic structures*,
    dissertation, Michigan State University, equations (3.3)-(3.9).

    Examples
    --------
    >>> import numpy as np
    >>> from skwavelet import GreedyOLSRegressor
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(100, 20))
    >>> y = 3 * X[:, 4] - X[:, 7] + 0.5
    >>> model = GreedyOLSRegressor(max_features=2, random_state=0).fit(X, y)
    >>> model.support_
    array([4, 7])
    >>> model.coef_[[4, 7]].round(6), round(model.intercept_, 6)
    (array([ 3., -1.]), 0.5)
    """

    _parameter_constraints: ClassVar[dict] = {
        "max_features": [Interval(Integral, 1, None, closed="left")],
        "candidates": [
            StrOptions({"all", "sqrt"}),
            Interval(Integral, 1, None, closed="left"),
            Interval(RealNotInt, 0, 1, closed="right"),
        ],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither"), None],
        "patience": [Interval(Integral, 1, None, closed="left"), None],
        "tol": [Interval(Real, 0, 1, closed="left")],
        "fit_intercept": ["boolean"],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        max_features: int = 1000,
        *,
        candidates: str | int | float = "all",
        validation_fraction: float | None = 0.2,
        patience: int | None = None,
        tol: float = 1e-8,
        fit_intercept: bool = True,
        random_state: int | np.random.RandomState | None = None,
    ):
        self.max_features = max_features
        self.candidates = candidates
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.tol = tol
        self.fit_intercept = fit_intercept
        self.random_state = random_state

    def fit(
        self,
        X: Any,
        y: ArrayLike,
        groups: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        intercept_column: ArrayLike | None = None,
    ) -> Self:
        """Select features and estimate their weights.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features. Float32 is accepted; the arithmetic is float64. A matrix on disk (a
            `FeatureStore`, a memory map, or anything with ``shape``, ``dtype`` and slices of
            rows) is read block by block, twice, and never held as a whole.
        y : array-like of shape (n_samples,)
            Targets, for example energies in eV/atom.
        groups : array-like of shape (n_samples,), default=None
            Group of each row; a group is held out as a whole. None: every row is its own.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the squared errors of the rows, in training and in validation.
        intercept_column : array-like of shape (n_samples,), default=None
            Advanced: what multiplies the intercept in each row, by default ones. A row that
            is the derivative of another kind of row has no intercept: pass 0 there, and stack
            rows of both kinds. Features are then made orthogonal to this column rather than
            centred. Predictions always have the intercept in full.

        Returns
        -------
        self : object
            Fitted estimator.

        Raises
        ------
        ValueError
            If an array has the wrong length or is not finite, weights are negative, a
            parameter is out of range, or there is only one group to hold out from.
        """
        check_parameters(self)
        data = check_training_data(
            self, X, y, groups, sample_weight, intercept_column, self.fit_intercept
        )
        random_state = check_random_state(self.random_state)
        rng = np.random.default_rng(random_state.randint(2**31 - 1, size=4))
        weight, validation_weight = data.weight, None
        if self.validation_fraction is not None:
            held_out = _held_out_rows(data, self.validation_fraction, rng)
            weight = np.where(held_out, 0.0, data.weight)
            validation_weight = np.where(held_out, data.weight, 0.0)
        problem = data.problem(weight, validation_weight)
        path = greedy_path(
            problem.design,
            problem.y,
            problem.weight,
            max_features=self.max_features,
            n_candidates=resolve_candidates(self.candidates, self.n_features_in_),
            tol=self.tol,
            rng=rng,
            validation_weight=problem.validation_weight,
            patience=self.patience,
        )
        self._set_model(problem, path, problem.all_weight, len(path.support))
        return self

    def _set_model(
        self, problem: Problem, path: GreedyPath, weight: np.ndarray, n_prefixes: int
    ) -> None:
        """Derive the fitted attributes, keeping the first ``n_prefixes`` prefixes."""
        support = path.support[:n_prefixes]
        design = problem.design
        weights = prefix_weights(design, problem.y, weight, support)
        self.n_features_selected_ = path.n_best
        self.support_ = path.support[: path.n_best]
        n_columns = path.n_best + (design.intercept_column is not None)
        self.coef_, self.intercept_ = design.original_coefficients(
            self.support_, weights.solve(n_columns)
        )
        self._path_errors = np.stack([path.train_rmse, path.validation_rmse])
        self._path_support = support
        self._path_center = design.center[support]
        self._path_scale = design.scale[support]
        self._path_factor = weights.factor
        self._path_projection = weights.projection

    def _add_rows(
        self, X: np.ndarray, y: np.ndarray, weight: np.ndarray, intercept_column: np.ndarray
    ) -> None:
        """Estimate the weights of the selected features from more rows too."""
        matrix = X[:, self._path_support] - np.outer(intercept_column, self._path_center)
        matrix /= self._path_scale
        n_intercept = len(self._path_factor) - len(self._path_support)
        if n_intercept:
            matrix = np.column_stack([intercept_column, matrix])
        root = np.sqrt(weight)
        weights = PrefixWeights(self._path_factor, self._path_projection).with_rows(
            root[:, None] * matrix, root * y
        )
        self._path_factor, self._path_projection = weights.factor, weights.projection
        size = self.n_features_selected_
        solved = weights.solve(size + n_intercept)
        self.coef_ = np.zeros_like(self.coef_)
        self.coef_[self.support_] = solved[n_intercept:] / self._path_scale[:size]
        if n_intercept:
            center = self._path_center[:size]
            self.intercept_ = float(solved[0] - self.coef_[self.support_] @ center)

    # Built on demand: skops cannot store a DataFrame.
    @property
    def path_(self) -> pd.DataFrame:
        """Errors of the models of 1, 2, ... features."""
        train, validation = self._path_errors
        return pd.DataFrame(
            {
                "n_features": np.arange(1, len(train) + 1),
                "train_rmse": train,
                "validation_rmse": validation,
            }
        )

    def _path_weight_norms(self) -> np.ndarray:
        """Norm of the weights, per standard deviation of each feature, of every prefix."""
        weights = PrefixWeights(self._path_factor, self._path_projection)
        n_columns, n_features = len(self._path_factor), len(self._path_support)
        first = n_columns - n_features
        return np.array(
            [np.linalg.norm(weights.solve(first + m)[first:]) for m in range(1, n_features + 1)]
        )

    def predict(self, X: Any) -> np.ndarray:
        """Predict with the selected number of features.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features.

        Returns
        -------
        ndarray of shape (n_samples,), float64
            Predictions, in units of y.
        """
        check_is_fitted(self)
        X = check_prediction_data(self, X)
        return linear_prediction(X, self.coef_) + self.intercept_

    def staged_predict(self, X: Any) -> Iterator[np.ndarray]:
        """Predict with the first 1, 2, 3, ... features of the path.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features.

        Yields
        ------
        ndarray of shape (n_samples,), float64
            Predictions of the model of M features, one for each row of ``path_`` (for the
            members of a `BaggedOLSEnsemble` up to M*, unless it keeps their paths).
        """
        check_is_fitted(self)
        X = check_prediction_data(self, X)
        yield from self._staged_predictions(X)

    def _staged_predictions(self, X: Any) -> Iterator[np.ndarray]:
        matrix = take_columns(X, self._path_support)
        matrix = (matrix - self._path_center) / self._path_scale
        n_intercept = len(self._path_factor) - len(self._path_support)
        matrix = np.hstack([np.ones((len(matrix), n_intercept)), matrix])
        prefixes = PrefixWeights(self._path_factor, self._path_projection).predictions(matrix)
        for n_columns, prediction in enumerate(prefixes, start=1):
            if n_columns > n_intercept:
                yield prediction


def _held_out_rows(
    data: TrainingData | BlockwiseData, fraction: float, rng: np.random.Generator
) -> np.ndarray:
    """Mask of the rows of a random fraction of the groups, at least one and not all."""
    count = n_groups(data)
    if count < 2:
        raise ValueError(
            "All rows are in one group, none is left to train on: pass groups of at least two"
            " labels, or validation_fraction=None."
        )
    n_held_out = min(max(round(fraction * count), 1), count - 1)
    order = rng.permutation(count)
    held_out = np.isin(data.groups, order[:n_held_out])
    if not all(is_usable(data, data.weight * rows) for rows in (held_out, ~held_out)):
        raise ValueError(
            "The training or the held-out groups have no row of nonzero weight (and intercept):"
            " change sample_weight, groups or random_state."
        )
    return held_out
