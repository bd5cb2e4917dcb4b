"""One model of an ensemble: the draw of its groups, and its fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from skwavelet.linear._blocks import BlockwiseData
from skwavelet.linear._regressor import GreedyOLSRegressor
from skwavelet.linear._training import TrainingData, is_usable, n_groups, resolve_candidates
from skwavelet.linear.path import greedy_path
from skwavelet.structures.folds import assign_folds

_MAX_REDRAWS = 1000


def draw_folds(
    data: TrainingData | BlockwiseData, resampling: str, n_folds: int, rng: np.random.Generator
) -> np.ndarray | None:
    """Return the fold of every group, None for bootstrap."""
    count = n_groups(data)
    if count < 2:
        raise ValueError(
            "All rows are in one group, none would be out of bag: pass groups of at least two"
            " labels."
        )
    if resampling == "bootstrap":
        return None
    if not 2 <= n_folds <= count:
        raise ValueError(
            f"resampling='folds' needs n_estimators (the number of folds) of at least 2 and"
            f" at most the number of groups, {count}; got {n_folds}."
        )
    return assign_folds(np.bincount(data.groups), n_folds, rng)


@dataclass(frozen=True)
class BagFitter:
    """What all models of an ensemble have in common."""

    n_groups: int
    folds: np.ndarray | None
    max_features: int
    candidates: str | int | float
    patience: int | None
    keep_path: bool
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
        n_prefixes = len(path.support) if self.keep_path else path.n_best
        model._set_model(problem, path, problem.weight, n_prefixes)
        return model, counts == 0


def fit_bag(
    fitter: BagFitter, data: TrainingData | BlockwiseData, i: int, seed: Any
) -> tuple[int, GreedyOLSRegressor, np.ndarray]:
    """Fit model i, in whatever process."""
    with threadpool_limits(limits=1, user_api="blas"):
        return i, *fitter.fit(data, i, seed)
