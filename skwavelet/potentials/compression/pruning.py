"""``prune``: fitted models that compute only the features that they use."""

from __future__ import annotations

import copy
from functools import singledispatch
from typing import Any

import numpy as np
from sklearn.decomposition import PCA, IncrementalPCA, TruncatedSVD
from sklearn.feature_selection import SelectorMixin
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler
from sklearn.random_projection import GaussianRandomProjection, SparseRandomProjection

from skwavelet.linear import FeatureScaler, GreedyOLSRegressor
from skwavelet.potentials.energy_model import split_model
from skwavelet.potentials.estimators import union_parts, unwrapped
from skwavelet.potentials.linear_models import linear_coefficients, linear_members, used_features
from skwavelet.representations.base import StructureTransformer


def prune(model: Any) -> Any:
    """Return a model that computes only the features with nonzero weight.

    A representation computes maps, and a map gives several features; with few features in use,
    few maps, wavelets, scales and channels are needed. Predictions stay the same to rounding
    (that of the ``dtype`` of the features).

    Parameters
    ----------
    model : estimator
        A fitted Pipeline of representations (one, or a FeatureUnion), scalers, feature selectors
        or projections, and a linear model; a fitted `EnergyForceRegressor`; or a search over the
        parameters of either, whose best estimator is taken. It is left as it is. Behind a
        projection (PCA, ...) every feature is in use, and nothing can be saved.

    Returns
    -------
    estimator
        Of the same kind, fitted. Its representations know their kept features only
        (``feature_table_``); its linear model, scalers and selectors have been cut to match.
        Parameters are those of ``model``: a clone of it, fitted, has all features again.

    Raises
    ------
    TypeError
        If a step or the final model is not of a kind that can be cut.

    Examples
    --------
    >>> import numpy as np
    >>> from ase.build import bulk
    >>> from sklearn.pipeline import make_pipeline
    >>> from skwavelet import GreedyOLSRegressor, VoxelScattering, prune
    >>> structures = [bulk("Cu", a=a, cubic=True) for a in np.linspace(3.4, 3.8, 9)]
    >>> energies = [(atoms.get_volume() - 47) ** 2 for atoms in structures]
    >>> regressor = GreedyOLSRegressor(3, validation_fraction=None)
    >>> features = VoxelScattering(spacing=0.4, dtype="float64")
    >>> model = make_pipeline(features, regressor).fit(structures, energies)
    >>> small = prune(model)
    >>> small[0].n_features_out_ < model[0].n_features_out_
    True
    >>> np.allclose(small.predict(structures), model.predict(structures))
    True
    """
    model = unwrapped(model)
    features, regressor = split_model(model)
    keep = used_features(regressor)
    (features, _), regressor = _restrict(features, keep), restrict_model(regressor, keep)
    if isinstance(model, Pipeline):
        return _pipeline(model, [*features.steps, (model.steps[-1][0], regressor)])
    pruned = copy.copy(model)
    pruned.features_, pruned.regressor_ = features, regressor
    return pruned


def restrict_model(regressor: Any, keep: np.ndarray) -> Any:
    """Return a linear model of some of the features, without those of zero weight."""
    model = copy.copy(regressor)
    try:
        model.coef_ = regressor.coef_[..., keep]
        _restrict_input(model, regressor, keep)
        if hasattr(regressor, "feature_importances_"):
            model.feature_importances_ = regressor.feature_importances_[keep]
        if isinstance(regressor, GreedyOLSRegressor):
            _restrict_path(model, keep)
        if members := linear_members(regressor):
            model.estimators_ = [restrict_model(member, keep) for member in members]
        same = bool(np.isclose(linear_coefficients(model)[1], linear_coefficients(regressor)[1]))
    except (AttributeError, ValueError):  # coef_ that is computed, arrays of the old length
        same = False
    if not same:
        raise TypeError(
            f"{type(regressor).__name__} predicts with more than coef_ and intercept_ and cannot "
            "be pruned: use BaggedOLSEnsemble(), Ridge() or the like."
        )
    return model


def _restrict_path(model: GreedyOLSRegressor, keep: np.ndarray) -> None:
    """Cut the path of a greedy model to the prefixes up to its own size."""
    size = model.n_features_selected_
    n_columns = size + len(model._path_factor) - len(model._path_support)
    model.support_ = np.searchsorted(keep, model.support_)
    model._path_support = model.support_
    model._path_errors = model._path_errors[:, :size]
    model._path_center, model._path_scale = model._path_center[:size], model._path_scale[:size]
    model._path_factor = model._path_factor[:n_columns, :n_columns]
    model._path_projection = model._path_projection[:n_columns]


def _restrict_input(restricted: Any, original: Any, keep: np.ndarray) -> None:
    restricted.n_features_in_ = len(keep)
    if hasattr(original, "feature_names_in_"):
        restricted.feature_names_in_ = original.feature_names_in_[keep]


@singledispatch
def _restrict(step: Any, keep: np.ndarray) -> tuple[Any, np.ndarray | None]:
    """Return a fitted step with some of its outputs, and the inputs that it then needs."""
    raise TypeError(
        f"{type(step).__name__} cannot be cut to fewer features: use scalers, feature selectors "
        "or projections between representations and model."
    )


@_restrict.register
def _(step: StructureTransformer, keep: np.ndarray) -> tuple[Any, None]:
    return step.restrict(keep), None


@_restrict.register
def _(step: FrozenEstimator, keep: np.ndarray) -> tuple[Any, np.ndarray | None]:
    part, needed = _restrict(step.estimator, keep)
    return FrozenEstimator(part), needed


@_restrict.register
def _(step: Pipeline, keep: np.ndarray) -> tuple[Any, np.ndarray | None]:
    steps: list[tuple[str, Any]] = []
    needed: Any = keep  # None once the representation is reached, which comes first
    for name, part in reversed(step.steps):
        if part is not None and part != "passthrough":
            part, needed = _restrict(part, needed)
        steps.insert(0, (name, part))
    return _pipeline(step, steps), needed


def _pipeline(original: Pipeline, steps: list) -> Pipeline:
    pipeline = copy.copy(original)
    pipeline.steps = steps
    return pipeline


@_restrict.register
def _(step: FeatureUnion, keep: np.ndarray) -> tuple[Any, None]:
    restricted, start = copy.copy(step), 0
    parts: list[Any] = []
    for part, _ in union_parts(step):
        if not hasattr(part, "jvp") and not isinstance(part, Pipeline | FeatureUnion):
            raise TypeError("A FeatureUnion can be cut only where its parts take structures.")
        size = len(part.get_feature_names_out())
        here = keep[(keep >= start) & (keep < start + size)] - start
        parts.append(_restrict(part, here)[0] if len(here) else "drop")
        start += size
    used = iter(parts)
    restricted.transformer_list = [
        (name, part if part == "drop" else next(used)) for name, part in step.transformer_list
    ]
    return restricted, None


@_restrict.register(FeatureScaler)
@_restrict.register(StandardScaler)
@_restrict.register(RobustScaler)
@_restrict.register(MinMaxScaler)
@_restrict.register(MaxAbsScaler)
def _(step: Any, keep: np.ndarray) -> tuple[Any, np.ndarray]:
    restricted = copy.copy(step)
    for name, value in vars(step).items():
        # Everything that these learn (means, scales, ranges) is one number per feature.
        if name.endswith("_") and np.shape(value) == (step.n_features_in_,):
            setattr(restricted, name, value[keep])
    _restrict_input(restricted, step, keep)
    return restricted, keep


@_restrict.register
def _(step: SelectorMixin, keep: np.ndarray) -> tuple[Any, np.ndarray]:
    return "passthrough", step.get_support(indices=True)[keep]


@_restrict.register(PCA)
@_restrict.register(IncrementalPCA)
@_restrict.register(TruncatedSVD)
@_restrict.register(GaussianRandomProjection)
@_restrict.register(SparseRandomProjection)
def _(step: Any, keep: np.ndarray) -> tuple[Any, np.ndarray]:
    restricted = copy.copy(step)
    restricted.components_ = step.components_[keep]
    if hasattr(step, "explained_variance_"):
        restricted.explained_variance_ = step.explained_variance_[keep]
    return restricted, np.arange(step.n_features_in_)
