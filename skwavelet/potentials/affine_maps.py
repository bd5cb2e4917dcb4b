"""Linear steps between representations and models as matrices and offsets."""

from __future__ import annotations

from functools import singledispatch
from typing import Any, TypeAlias

import numpy as np
from scipy import sparse
from sklearn.decomposition import PCA, IncrementalPCA, TruncatedSVD
from sklearn.feature_selection import SelectorMixin
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler
from sklearn.random_projection import GaussianRandomProjection, SparseRandomProjection

from skwavelet.linear import FeatureScaler
from skwavelet.potentials.estimators import active_steps, union_parts

# A dense array or one of scipy.sparse, which has no types.
Matrix: TypeAlias = Any


@singledispatch
def affine_map(step: Any) -> tuple[Matrix, np.ndarray]:
    """Return (matrix, offset) of a fitted step that computes ``X @ matrix + offset``.

    Register further kinds of step with ``affine_map.register``. Raises TypeError if the kind of
    step is not known to be linear.
    """
    raise TypeError(
        f"{type(step).__name__} is not known to be linear, its derivative is not available: use "
        "a linear step (StandardScaler, PCA, a feature selector, ...) or remove it."
    )


def _diagonal(factor: np.ndarray, offset: np.ndarray) -> tuple[Matrix, np.ndarray]:
    return sparse.diags_array(factor).tocsr(), offset


def _refuse_clip(step: Any) -> None:
    if getattr(step, "clip", False):
        raise TypeError(f"{type(step).__name__}(clip=True) is not linear: set clip=False.")


@affine_map.register
def _(step: FrozenEstimator) -> tuple[Matrix, np.ndarray]:
    return affine_map(step.estimator)


@affine_map.register
def _(step: StandardScaler) -> tuple[Matrix, np.ndarray]:
    factor = 1 / step.scale_ if step.with_std else np.ones(step.n_features_in_)
    return _diagonal(factor, -step.mean_ * factor if step.with_mean else np.zeros_like(factor))


@affine_map.register
def _(step: FeatureScaler) -> tuple[Matrix, np.ndarray]:
    return _diagonal(1 / step.scale_, np.zeros(len(step.scale_)))


@affine_map.register
def _(step: RobustScaler) -> tuple[Matrix, np.ndarray]:
    factor = 1 / step.scale_ if step.with_scaling else np.ones(step.n_features_in_)
    shift = -step.center_ * factor if step.with_centering else np.zeros_like(factor)
    return _diagonal(factor, shift)


@affine_map.register
def _(step: MinMaxScaler) -> tuple[Matrix, np.ndarray]:
    _refuse_clip(step)
    return _diagonal(step.scale_, step.min_)


@affine_map.register
def _(step: MaxAbsScaler) -> tuple[Matrix, np.ndarray]:
    _refuse_clip(step)
    return _diagonal(1 / step.scale_, np.zeros(len(step.scale_)))


@affine_map.register
def _(step: SelectorMixin) -> tuple[Matrix, np.ndarray]:
    support = step.get_support(indices=True)
    identity = sparse.eye_array(step.n_features_in_, format="csc")
    return identity[:, support].tocsr(), np.zeros(len(support))


@affine_map.register(PCA)
@affine_map.register(IncrementalPCA)
def _(step: Any) -> tuple[Matrix, np.ndarray]:
    matrix = step.components_.T.astype(np.float64)
    if step.whiten:
        spread = np.sqrt(step.explained_variance_)
        matrix = matrix / np.maximum(spread, np.finfo(spread.dtype).eps)
    return matrix, -(step.mean_ @ matrix)


@affine_map.register(TruncatedSVD)
@affine_map.register(GaussianRandomProjection)
@affine_map.register(SparseRandomProjection)
def _(step: Any) -> tuple[Matrix, np.ndarray]:
    components = step.components_
    matrix = sparse.csr_array(components.T) if sparse.issparse(components) else components.T
    return matrix, np.zeros(matrix.shape[1])


@affine_map.register
def _(step: Pipeline) -> tuple[Matrix, np.ndarray]:
    first, *others = active_steps(step)
    matrix, offset = affine_map(first)
    for inner in others:
        next_matrix, next_offset = affine_map(inner)
        matrix, offset = matrix @ next_matrix, offset @ next_matrix + next_offset
    return matrix, offset


@affine_map.register
def _(step: FeatureUnion) -> tuple[Matrix, np.ndarray]:
    maps = [(affine_map(part), weight) for part, weight in union_parts(step)]
    matrices = [
        weight * (matrix.toarray() if sparse.issparse(matrix) else matrix)
        for (matrix, _), weight in maps
    ]
    return np.hstack(matrices), np.concatenate([weight * b for (_, b), weight in maps])
