"""How models are trained: the ensembles of the protocol, a single greedy model, ridge."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from skwavelet import BaggedOLSEnsemble
from skwavelet.structures.folds import assign_folds

SEED = 0
# Features to which errors are followed beyond the best number.
LONGEST = 500


class GroupRidge(RegressorMixin, BaseEstimator):
    """Ridge on standardized features, its penalty chosen on held-out groups."""

    def __init__(self, alphas=(1e-5, 1e-4, 1e-3, 0.01, 0.1, 1.0, 10.0, 100.0, 1e3), n_splits=4):
        self.alphas = alphas
        self.n_splits = n_splits

    def fit(self, X, y, groups):
        """Fit; all penalties share one Gram matrix per split."""
        _, codes = np.unique(groups, return_inverse=True)
        rng = np.random.default_rng(SEED)
        fold = assign_folds(np.bincount(codes), self.n_splits, rng)[codes]
        scaler = StandardScaler().fit(X.astype(np.float64))
        scaled = scaler.transform(X.astype(np.float64))
        squares = np.zeros(len(self.alphas))
        for split in range(self.n_splits):
            train, test = fold != split, fold == split
            several = np.tile(y[train, None], len(self.alphas))
            model = Ridge(alpha=np.array(self.alphas), solver="cholesky")
            errors = model.fit(scaled[train], several).predict(scaled[test]) - y[test, None]
            squares += np.square(errors).sum(axis=0)
        self.alpha_ = self.alphas[int(np.argmin(squares))]
        model = Ridge(alpha=self.alpha_, solver="cholesky").fit(scaled, y)
        self.coef_ = model.coef_ / scaler.scale_
        self.intercept_ = float(model.intercept_ - self.coef_ @ scaler.mean_)
        return self

    def predict(self, X):
        """Return predictions (n_samples,)."""
        return X.astype(np.float64) @ self.coef_ + self.intercept_


@dataclass(frozen=True)
class Scheme:
    """A way of training.

    Attributes
    ----------
    make : callable
        From the number of bags to the estimator.
    by_path : bool
        Whether what validates inside the fit is whole paths, or frames.
    folds : {"paths", "frames"}
        What the outer folds hold out.
    target : {"energy", "formation", "total"}
        Energies per atom, formation energies per atom, or those of whole cells.
    """

    make: Callable[[int], object]
    by_path: bool = True
    folds: str = "paths"
    target: str = "energy"


def _bagged(n_bags, **settings):
    return BaggedOLSEnsemble(n_bags, random_state=SEED, **settings)


def _folds(n_bags, **settings):
    return _bagged(4, resampling="folds", candidates="all", **settings)


# More features than there are: paths end when the validation error has turned.
_FOUR_MODELS = partial(_folds, max_features=5000, patience=100, keep_path=True)
SCHEMES = {
    "bagged": Scheme(_bagged),
    "bagged, whole paths": Scheme(
        partial(_bagged, max_features=LONGEST, patience=None, keep_path=True)
    ),
    "bagged, formation energy": Scheme(_bagged, target="formation"),
    "nested folds, all candidates": Scheme(_folds),
    "bags of random frames": Scheme(partial(_bagged, max_features=5000), by_path=False),
    "chapter 3": Scheme(_FOUR_MODELS, by_path=False, folds="frames"),
    "chapter 3, total energies": Scheme(
        _FOUR_MODELS, by_path=False, folds="frames", target="total"
    ),
    "ridge": Scheme(lambda n_bags: GroupRidge()),
}
