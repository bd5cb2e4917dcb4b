"""Composite estimators of scikit-learn, taken apart."""

from __future__ import annotations

from typing import Any

from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.utils.validation import check_is_fitted

# The base of all searches over parameters, those by halving included.
BaseSearchCV: Any = GridSearchCV.__base__


def unwrapped(model: Any) -> Any:
    """Return the fitted estimator within a search over parameters or a FrozenEstimator.

    Raises NotFittedError if the search is not fitted, TypeError if it keeps no best estimator.
    """
    while isinstance(model, BaseSearchCV | FrozenEstimator):
        if isinstance(model, FrozenEstimator):
            model = model.estimator
            continue
        if not model.refit:
            raise TypeError(f"{type(model).__name__} keeps no model: set refit=True.")
        check_is_fitted(model, "best_estimator_")
        model = model.best_estimator_
    return model


def union_parts(union: FeatureUnion) -> list[tuple[Any, float]]:
    """Return (estimator, weight) of the parts of a union that are in use."""
    weights = union.transformer_weights or {}
    return [
        (part, float(weights.get(name, 1.0)))
        for name, part in union.transformer_list
        if part != "drop"
    ]


def active_steps(pipeline: Pipeline) -> list:
    """Return the estimators of a pipeline without those that pass everything on."""
    return [step for _, step in pipeline.steps if step is not None and step != "passthrough"]
