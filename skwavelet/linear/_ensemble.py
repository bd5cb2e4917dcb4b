"""`BaggedOLSEnsemble`: the average of greedy models of resampled groups."""

from __future__ import annotations

from collections.abc import Iterator
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
from skwavelet.linear._bags import BagFitter, draw_folds, fit_bag
from skwavelet.linear._blocks import BlockwiseData
from skwavelet.linear._checkpoint import Checkpoint
from skwavelet.linear._regressor import GreedyOLSRegressor
from skwavelet.linear._training import (
    TrainingData,
    check_prediction_data,
    check_training_data,
    n_groups,
)
from skwavelet.linear._updating import UpdateMixin, patterns_of
from skwavelet.linear.calibration import mean_and_spread


class BaggedOLSEnsemble(
    UpdateMixin, DocumentedMixin, VersionedMixin, RegressorMixin, BaseEstimator
):
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
    keep_path : bool, default=False
        Whether the models keep the weights of their whole paths, so that `staged_predict` goes
        on beyond M*, to ``max_features`` with ``patience=None``. A path of M features takes 8 M²
        bytes. Predictions do not depend on it.
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
    oob_spread_ : ndarray of shape (n_samples,)
        For each training row, the standard deviation over the models that did not see its group,
        as it is; over all models where only one did not see it. NaN where every model saw it.
    calibration_ : SpreadCalibration
        ``floor`` (units of y) and ``factor`` from spread to standard deviation, by which errors out
        of bag are as large as predicted: std² = floor² + (factor · spread)².
    n_updates_ : int
        Number of calls of `update` since `fit`.
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
        "keep_path": ["boolean"],
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
        keep_path: bool = False,
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
        self.keep_path = keep_path
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
        fitter = BagFitter(
            n_groups(data),
            draw_folds(data, self.resampling, self.n_estimators, np.random.default_rng(first)),
            self.max_features,
            self.candidates,
            self.patience,
            self.keep_path,
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
            tasks = (delayed(fit_bag)(fitter, data, i, seeds[i]) for i in missing)
            for i, *bag in unordered_results(tasks, self.n_jobs, prefer="threads"):
                fitted[i] = bag
                checkpoint.save(i, bag)
                progress.update()

        self.estimators_ = [fitted[i][0] for i in range(self.n_estimators)]
        self._entropy, self.n_updates_ = entropy.tolist(), 0
        self._average()
        left_out = np.column_stack([fitted[i][1] for i in range(self.n_estimators)])
        self.oob_prediction_, self.oob_spread_ = self._out_of_bag(data, left_out)
        self._calibrate(data, left_out)
        size = sum(np.abs(model.coef_) for model in self.estimators_) * data.scale
        self.feature_importances_ = size / size.sum() if size.any() else size
        return self

    def _checkpoint(
        self, data: TrainingData | BlockwiseData, fitter: BagFitter, entropy: Any
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

    def _out_of_bag(
        self, data: TrainingData | BlockwiseData, left_out: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Mean and spread, for each row, of the predictions of the models that left it out."""
        coefs = np.column_stack([model.coef_ for model in self.estimators_])
        levels = data.center @ coefs + [model.intercept_ for model in self.estimators_]
        coefs *= data.scale[:, None]
        mean, spread = np.full((2, len(data.y)), np.nan)
        ones = data.intercept_column
        assert ones is not None  # these models always have an intercept
        for rows, block in data.blocks():
            predictions = block @ coefs + np.outer(ones[rows], levels)
            out = left_out[rows]
            mean[rows], spread[rows] = mean_and_spread(predictions, out)
            # One model has no spread: the best there is then is that of all.
            _, everyone = mean_and_spread(predictions, np.ones_like(out))
            spread[rows] = np.where(out.sum(axis=1) == 1, everyone, spread[rows])
        return mean, spread

    def _calibrate(self, data: TrainingData | BlockwiseData, left_out: np.ndarray) -> None:
        """Learn from the errors out of bag how large errors are."""
        # Rows without intercept are derivatives, which `predict` is not asked for.
        rows = (data.intercept_column != 0) & (data.weight > 0) & left_out.any(axis=1)
        self._told, self._left_out = None, patterns_of(left_out, data.groups)
        self._learn_spread(rows, data.y, data.weight, data.groups, left_out)

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
            to the largest M*; the last one is that of `predict`. With ``keep_path=True`` M goes on
            to the length of the longest path, and a path that has ended counts with its last model.
        """
        check_is_fitted(self)
        X = check_prediction_data(self, X)
        n_stages = max(len(model._path_support) for model in self.estimators_)
        stages = np.zeros((n_stages, X.shape[0]))
        for model in self.estimators_:
            prediction = model.intercept_
            for stage, prediction in zip(stages, model._staged_predictions(X), strict=False):
                stage += prediction
            stages[len(model._path_support) :] += prediction
        for stage in stages:
            yield stage / len(self.estimators_)
