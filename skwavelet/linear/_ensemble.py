"""`BaggedOLSEnsemble`: the average of greedy models of resampled groups."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Integral
from os import PathLike
from typing import Any, ClassVar, Self

import numpy as np
from joblib import delayed
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from threadpoolctl import threadpool_limits
from tqdm.auto import tqdm

from skwavelet._utils.documentation import DocumentedMixin
from skwavelet._utils.parallel import unordered_results
from skwavelet._utils.validation import Interval, StrOptions, check_parameters
from skwavelet._utils.versioning import VersionedMixin
from skwavelet.linear._blocks import BlockwiseData
from skwavelet.linear._checkpoint import Checkpoint
from skwavelet.linear._regressor import GreedyOLSRegressor
from skwavelet.linear._training import (
    TrainingData,
    check_prediction_data,
    check_training_data,
    is_usable,
    linear_prediction,
    n_groups,
    resolve_candidates,
)
from skwavelet.linear.path import greedy_path
from skwavelet.model_selection import assign_folds

_MAX_REDRAWS = 1000


class BaggedOLSEnsemble(DocumentedMixin, VersionedMixin, RegressorMixin, BaseEstimator):
    """Average of sparse linear models, each greedy on a bootstrap sample of the groups.

    Every model draws groups (relaxation paths, say) with repetition, compares a few random
    features per step of its greedy path, and takes as many features as are best on the groups
    that it did not draw. The average is still one linear model.

    Parameters
    ----------
    n_estimators : int, default=100
        Number of models; with ``resampling="folds"``, the number of folds.
    max_features : int, default=1000
        Greatest number of features of a model.
    candidates : {"all", "sqrt"}, int or float, default="sqrt"
        Features compared at each step, drawn at random from those not selected yet: all, the
        square root of (n_features + 1), so many, or this fraction of n_features.
    resampling : {"bootstrap", "folds"}, default="bootstrap"
        ``"bootstrap"`` draws as many groups as there are, with repetition, again until some
        group is left out. ``"folds"`` leaves each of n_estimators parts of the groups out of
        one model; with ``n_estimators=4, candidates="all"`` this is the scheme without
        randomized selection of the reference.
    patience : int or None, default=50
        End a path when its out-of-bag error has not improved for so many steps. None never
        does.
    n_jobs : int or None, default=None
        Number of models fitted at a time, each on one core; None is one, -1 one per core. They
        are threads, unless a `joblib.parallel_config` context says otherwise. The result does
        not depend on it.
    random_state : int, RandomState instance or None, default=None
        Draws the groups and the candidates.
    verbose : bool, default=False
        Show progress.
    checkpoint : path or None, default=None
        Directory in which to keep every model as soon as it is fitted. After an interruption,
        `fit` with the same data and parameters reads the models that are there, and fits the
        others; more ``n_estimators`` are added in the same way. Needs ``random_state`` to be
        an int. The files are pickles: use a directory of your own, and delete it after use.

    Attributes
    ----------
    estimators_ : list of GreedyOLSRegressor
        The models. Their ``path_`` has the out-of-bag error as ``validation_rmse``, and their
        weights are those of the drawn groups.
    coef_ : ndarray of shape (n_features,)
        Mean of the weights of the models; units of y per unit of the feature.
    intercept_ : float
        Mean of the independent terms, in units of y.
    oob_prediction_ : ndarray of shape (n_samples,)
        For each training row, the mean prediction of the models that did not see its group;
        NaN where every model saw it.
    feature_importances_ : ndarray of shape (n_features,)
        Mean over the models of the absolute weight, times the standard deviation of the feature
        on the training rows, divided by its sum.
    n_features_in_ : int
        Number of features seen in fit.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, where X had string column names.

    See Also
    --------
    GreedyOLSRegressor : One such model.
    RelaxationPathGroupKFold : Cross-validation over whole paths.

    References
    ----------
    X. Brumwell, *Wavelet scattering and graph representations for atomic structures*,
    dissertation, Michigan State University, section 4.1.

    Examples
    --------
    >>> import numpy as np
    >>> from skwavelet import BaggedOLSEnsemble
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(120, 20))
    >>> y = 3 * X[:, 4] - X[:, 7] + 0.01 * rng.normal(size=120)
    >>> paths = np.repeat(np.arange(12), 10)
    >>> model = BaggedOLSEnsemble(n_estimators=10, random_state=0).fit(X, y, groups=paths)
    >>> model.coef_[[4, 7]].round(2)
    array([ 3., -1.])
    >>> mean, std = model.predict(X[:3], return_std=True)
    >>> std.shape
    (3,)
    """

    _parameter_constraints: ClassVar[dict] = {
        "n_estimators": [Interval(Integral, 1, None, closed="left")],
        "max_features": GreedyOLSRegressor._parameter_constraints["max_features"],
        "candidates": GreedyOLSRegressor._parameter_constraints["candidates"],
        "resampling": [StrOptions({"bootstrap", "folds"})],
        "patience": GreedyOLSRegressor._parameter_constraints["patience"],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
        "checkpoint": [str, PathLike, None],
    }

    def __init__(
        self,
        n_estimators: int = 100,
        *,
        max_features: int = 1000,
        candidates: str | int | float = "sqrt",
        resampling: str = "bootstrap",
        patience: int | None = 50,
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: bool = False,
        checkpoint: str | PathLike[str] | None = None,
    ):
        self.n_estimators = n_estimators
        self.max_features = max_features
        self.candidates = candidates
        self.resampling = resampling
        self.patience = patience
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose
        self.checkpoint = checkpoint

    def fit(
        self,
        X: Any,
        y: ArrayLike,
        groups: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        intercept_column: ArrayLike | None = None,
    ) -> Self:
        """Fit the models.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features. Float32 is accepted; the arithmetic is float64, on one float64 copy that
            all models share. A matrix on disk (a `FeatureStore`, a memory map, or anything with
            ``shape``, ``dtype`` and slices of rows) is read block by block, once per model, and
            never held as a whole.
        y : array-like of shape (n_samples,)
            Targets, for example energies in eV/atom.
        groups : array-like of shape (n_samples,), default=None
            Group of each row, drawn or left out as a whole. None: every row is its own.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the squared errors of the rows, in training (times the number of draws
            of the group) and out of bag.
        intercept_column : array-like of shape (n_samples,), default=None
            Advanced: what multiplies the intercept in each row, by default ones. A row that
            is the derivative of another kind of row has no intercept: pass 0 there, and stack
            rows of both kinds. Features are then made orthogonal to this column rather than
            centred. Only ``oob_prediction_`` follows it; `predict` always has the intercept
            in full.

        Returns
        -------
        self : object
            Fitted estimator.

        Raises
        ------
        ValueError
            If an array has the wrong length or is not finite, weights are negative, a
            parameter is out of range, or there is one group, or fewer than folds.
        """
        check_parameters(self)
        data = check_training_data(self, X, y, groups, sample_weight, intercept_column)
        entropy = check_random_state(self.random_state).randint(2**31 - 1, size=4)
        first, *seeds = np.random.SeedSequence(entropy.tolist()).spawn(1 + self.n_estimators)
        fitter = _BagFitter(
            n_groups(data),
            self._folds(data, np.random.default_rng(first)),
            self.max_features,
            self.candidates,
            self.patience,
            getattr(self, "feature_names_in_", None),
        )
        checkpoint = self._checkpoint(data, fitter, entropy)
        fitted = {i: bag for i in range(self.n_estimators) if (bag := checkpoint.load(i))}
        missing = [i for i in range(self.n_estimators) if i not in fitted]
        # One BLAS thread each: cores are not fought over, and sums are rounded alike whatever
        # n_jobs. Threads share the matrix.
        with (
            threadpool_limits(limits=1, user_api="blas"),
            tqdm(
                total=len(missing),
                desc=type(self).__name__,
                unit="model",
                disable=not self.verbose,
            ) as progress,
        ):
            tasks = (delayed(_fit_bag)(fitter, data, i, seeds[i]) for i in missing)
            for i, *bag in unordered_results(tasks, self.n_jobs, prefer="threads"):
                fitted[i] = bag
                checkpoint.save(i, bag)
                progress.update()

        self.estimators_ = [fitted[i][0] for i in range(self.n_estimators)]
        self.coef_ = np.mean([model.coef_ for model in self.estimators_], axis=0)
        self.intercept_ = float(np.mean([model.intercept_ for model in self.estimators_]))
        left_out = np.column_stack([fitted[i][1] for i in range(self.n_estimators)])
        self.oob_prediction_ = self._out_of_bag(data, left_out)
        size = sum(np.abs(model.coef_) for model in self.estimators_) * data.scale
        self.feature_importances_ = size / size.sum() if size.any() else size
        return self

    def _folds(
        self, data: TrainingData | BlockwiseData, rng: np.random.Generator
    ) -> np.ndarray | None:
        """Return the fold of every group, None for bootstrap."""
        count = n_groups(data)
        if count < 2:
            raise ValueError(
                "All rows are in one group, none would be out of bag: pass groups of at least"
                " two labels."
            )
        if self.resampling == "bootstrap":
            return None
        if not 2 <= self.n_estimators <= count:
            raise ValueError(
                f"resampling='folds' needs n_estimators (the number of folds) of at least 2 and"
                f" at most the number of groups, {count}; got {self.n_estimators}."
            )
        return assign_folds(np.bincount(data.groups), self.n_estimators, rng)

    def _checkpoint(
        self, data: TrainingData | BlockwiseData, fitter: _BagFitter, entropy: Any
    ) -> Checkpoint:
        if self.checkpoint is None:
            return Checkpoint(None)
        if not isinstance(self.random_state, Integral):
            raise ValueError(
                "checkpoint needs random_state to be an int: the models of another draw could"
                " not be gone on with."
            )
        labels = (data.y, data.weight, data.groups, data.intercept_column)
        return Checkpoint(self.checkpoint, data.fingerprint(), labels, fitter, entropy)

    def _out_of_bag(self, data: TrainingData | BlockwiseData, left_out: np.ndarray) -> np.ndarray:
        """Mean prediction, for each row, of the models that left it out."""
        coefs = np.column_stack([model.coef_ for model in self.estimators_])
        levels = data.center @ coefs + [model.intercept_ for model in self.estimators_]
        coefs *= data.scale[:, None]
        total = np.empty(len(data.y))
        ones = data.intercept_column
        assert ones is not None  # these models always have an intercept
        for rows, block in data.blocks():
            predictions = block @ coefs + np.outer(ones[rows], levels)
            total[rows] = np.where(left_out[rows], predictions, 0.0).sum(axis=1)
        count = left_out.sum(axis=1)
        return np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)

    def predict(
        self, X: Any, return_std: bool = False
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """Predict with the average model.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features.
        return_std : bool, default=False
            Whether to return the spread of the models too.

        Returns
        -------
        mean : ndarray of shape (n_samples,), float64
            Predictions, in units of y.
        std : ndarray of shape (n_samples,), float64
            Standard deviation over the models, in units of y; only with ``return_std=True``.
        """
        check_is_fitted(self)
        X = check_prediction_data(self, X)
        mean = linear_prediction(X, self.coef_) + self.intercept_
        if not return_std:
            return mean
        coefs = np.column_stack([model.coef_ for model in self.estimators_])
        members = linear_prediction(X, coefs) + [model.intercept_ for model in self.estimators_]
        return mean, members.std(axis=1)

    def staged_predict(self, X: Any) -> Iterator[np.ndarray]:
        """Predict with at most 1, 2, 3, ... features per model.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features.

        Yields
        ------
        ndarray of shape (n_samples,), float64
            Mean over the models of their predictions with min(M, M*) features, for M from 1
            to the largest M*; the last one is that of `predict`.
        """
        check_is_fitted(self)
        X = check_prediction_data(self, X)
        n_stages = max(model.n_features_selected_ for model in self.estimators_)
        stages = np.zeros((n_stages, X.shape[0]))
        for model in self.estimators_:
            prediction = model.intercept_
            for stage, prediction in zip(stages, model._staged_predictions(X), strict=False):
                stage += prediction
            stages[model.n_features_selected_ :] += prediction
        for stage in stages:
            yield stage / len(self.estimators_)


@dataclass(frozen=True)
class _BagFitter:
    """What all models of an ensemble have in common."""

    n_groups: int
    folds: np.ndarray | None
    max_features: int
    candidates: str | int | float
    patience: int | None
    feature_names: np.ndarray | None

    def draw(self, i: int, rng: np.random.Generator) -> np.ndarray:
        """Return how often model i draws each group."""
        if self.folds is not None:
            return (self.folds != i).astype(int)
        return np.bincount(rng.integers(self.n_groups, size=self.n_groups), minlength=self.n_groups)

    def fit(
        self, data: TrainingData | BlockwiseData, i: int, seed: Any
    ) -> tuple[GreedyOLSRegressor, np.ndarray]:
        """Fit model i; return it with a mask of the rows that it left out."""
        rng = np.random.default_rng(seed)
        for _ in range(_MAX_REDRAWS):
            counts = self.draw(i, rng)[data.groups]
            weight = counts * data.weight
            validation_weight = np.where(counts == 0, data.weight, 0.0)
            if is_usable(data, weight) and validation_weight.any():
                break
        else:
            raise ValueError(
                "No bag has rows of nonzero sample_weight (and intercept_column) both in and"
                " out of it: too few groups have such rows."
            )
        n_features = len(data.scale)
        problem = data.problem(weight, validation_weight)
        path = greedy_path(
            problem.design,
            problem.y,
            problem.weight,
            max_features=self.max_features,
            n_candidates=resolve_candidates(self.candidates, n_features),
            rng=rng,
            validation_weight=problem.validation_weight,
            patience=self.patience,
        )
        model = GreedyOLSRegressor(
            self.max_features,
            candidates=self.candidates,
            patience=self.patience,
            random_state=int(seed.generate_state(1)[0]),
        )
        model.n_features_in_ = n_features
        if self.feature_names is not None:
            model.feature_names_in_ = self.feature_names
        model._set_model(problem, path, problem.weight, path.n_best)
        return model, counts == 0


def _fit_bag(
    fitter: _BagFitter, data: TrainingData | BlockwiseData, i: int, seed: Any
) -> tuple[int, GreedyOLSRegressor, np.ndarray]:
    """Fit model i, in whatever process."""
    with threadpool_limits(limits=1, user_api="blas"):
        return i, *fitter.fit(data, i, seed)
