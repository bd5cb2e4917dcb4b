"""The potentials whose physical properties are compared, and their fits."""

import time
import warnings

import numpy as np
from common.rivals import Polymlp
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.pipeline import make_pipeline

from skwavelet import (
    AtomKernel,
    EnergyForceRegressor,
    FeatureScaler,
    PointScattering,
    ScatteringCalculator,
)

PENALTIES = tuple(10.0 ** np.arange(-11, -2))


class FoldRidge(RegressorMixin, BaseEstimator):
    """Ridge regression with the penalty of least error in folds of whole structures.

    Penalties ``alphas`` are relative to the mean square of the columns; ``fit_intercept`` is there
    because `EnergyForceRegressor` asks for it.
    """

    def __init__(self, alphas=PENALTIES, n_folds=5, fit_intercept=True):
        self.alphas, self.n_folds, self.fit_intercept = alphas, n_folds, fit_intercept

    def fit(self, X, y, sample_weight=None, groups=None):
        """Fit to rows of structures (``groups``)."""
        fold = np.random.default_rng(0).integers(self.n_folds, size=groups.max() + 1)[groups]
        grams, rights, squares = [], [], []
        for number in range(self.n_folds):
            rows = fold == number
            weighted = sample_weight[rows, None] * X[rows]
            grams.append(X[rows].T @ weighted)
            rights.append(y[rows] @ weighted)
            squares.append(sample_weight[rows] @ y[rows] ** 2)
        gram, right = np.sum(grams, axis=0), np.sum(rights, axis=0)
        size = np.trace(gram) / len(gram)
        self.errors_ = []
        for alpha in self.alphas:
            error = 0.0
            for held, held_right, square in zip(grams, rights, squares, strict=True):
                coef = self._solve(gram - held, right - held_right, alpha * size)
                error += square - 2 * coef @ held_right + coef @ held @ coef
            self.errors_.append(error)
        self.alpha_ = self.alphas[int(np.argmin(self.errors_))]
        self.coef_ = self._solve(gram, right, self.alpha_ * size)
        self.intercept_ = 0.0
        return self

    def _solve(self, gram, right, alpha):
        return np.linalg.solve(gram + alpha * np.eye(len(gram)), right)

    def predict(self, X):
        """Return energies."""
        return X @ self.coef_ + self.intercept_


def points(*args, **settings):
    # All channels of one element are multiples of one.
    return PointScattering(*args, channels=["number"], n_scales=4, **settings)


def ridge(features):
    """Return a potential, unfitted."""
    return EnergyForceRegressor(features, FoldRidge(), force_weight=0.01, random_state=0)


def scaled(*args, **settings):
    return ridge(make_pipeline(points(*args, **settings), FeatureScaler()))


def kernel(n_landmarks):
    squares = points(powers=(2,), centers="all")
    return ridge(AtomKernel(squares, n_landmarks, random_state=0))


def network():
    from skwavelet.neural import AngularNetwork

    return AngularNetwork(device="cpu", random_state=0)


# Unfitted estimators by name: one more line is one more model. What is fitted with ``fit(X, y,
# forces=, stress=)`` and taken by `ScatteringCalculator`, or has an ASE ``calculator_``, will do.
MODELS = {
    "points, smoothing 0.01": lambda: scaled(smoothing=0.01),
    "points, smoothing 0.1": lambda: scaled(smoothing=0.1),
    "points, smoothing 0.1, stresses": lambda: scaled(smoothing=0.1),
    "squares of points": lambda: scaled(powers=(2,)),
    "squares of points, n to 6, l to 5": lambda: scaled((1, 2, 3, 4, 5, 6), 5, powers=(2,)),
    "kernel of squares, 500 landmarks": lambda: kernel(500),
    "kernel of squares, 2,000 landmarks": lambda: kernel(2000),
    "defaults": lambda: EnergyForceRegressor(random_state=0),
    "defaults, stresses": lambda: EnergyForceRegressor(random_state=0),
    "pypolymlp": Polymlp,
    "network": network,
    "network, stresses": network,
}
QUICK = ["points, smoothing 0.01", "points, smoothing 0.1"]


def fitted(name, train, stress, options):
    """Return calculator, number of parameters, and CPU seconds of the training of a model."""
    X, energies, forces = train
    model = MODELS[name]()
    stress = stress if "stresses" in name else [None] * len(X)
    if name.startswith("network"):
        from common.networks import train_for

        start = time.process_time()
        labels = {"forces": forces, "stress": stress}
        train_for(model, X, energies, options.minutes, options.cache, **labels)
        seconds = time.process_time() - start
        size = sum(weight.numel() for weight in model.module_.parameters())
        return ScatteringCalculator(model), size, seconds
    if getattr(model, "features", None) is not None:  # the defaults choose for themselves
        model.set_params(n_directions=options.directions)
    with warnings.catch_warnings():
        # The smallest of these cells are narrower than the widest wavelet.
        warnings.filterwarnings("ignore", message="n_scales=")
        # What is compiled at its first use counts to nobody.
        model.fit(X[:20], energies[:20], forces=forces[:20], stress=stress[:20])
        start = time.process_time()
        model.fit(X, energies, forces=forces, stress=stress)
    seconds = time.process_time() - start
    if hasattr(model, "calculator_"):
        return model.calculator_, model.n_parameters_, seconds
    return ScatteringCalculator(model), model.regressor_.coef_.size, seconds
