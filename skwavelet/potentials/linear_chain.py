"""Derivatives of whole pipelines: representations, linear steps and a linear model as one map.

Whatever stands between representations and prediction is affine, so a fitted pipeline is

    output(X) = sum_i representation_i(X) @ matrix_i + offset

and its derivatives are those of the representations times the matrices.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, singledispatch
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from ase import Atoms
from scipy import sparse
from sklearn.base import is_regressor
from sklearn.compose import TransformedTargetRegressor
from sklearn.decomposition import PCA, IncrementalPCA, TruncatedSVD
from sklearn.feature_selection import SelectorMixin
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler
from sklearn.random_projection import GaussianRandomProjection, SparseRandomProjection
from sklearn.utils.validation import check_is_fitted

from skwavelet.linear import FeatureScaler
from skwavelet.representations.base import StructureTransformer

# A dense array or one of scipy.sparse, which has no types.
Matrix: TypeAlias = Any

# The base of all searches over parameters, those by halving included.
BaseSearchCV: Any = GridSearchCV.__base__


@dataclass(frozen=True)
class LinearChain:
    """An affine function of the features of one or more representations.

    Attributes
    ----------
    leaves : tuple of StructureTransformer
        Fitted representations.
    matrices : tuple of (ndarray or sparse array) of shape (n_features_of_leaf, n_outputs)
        What multiplies the features of each.
    offset : ndarray of shape (n_outputs,)
        What is added.
    """

    leaves: tuple[StructureTransformer, ...]
    matrices: tuple[Matrix, ...]
    offset: np.ndarray

    @property
    def n_outputs(self) -> int:
        """Number of outputs."""
        return len(self.offset)

    def then(self, matrix: Matrix, offset: np.ndarray) -> LinearChain:
        """Return the chain followed by ``output @ matrix + offset``."""
        return LinearChain(
            self.leaves, tuple(m @ matrix for m in self.matrices), self.offset @ matrix + offset
        )

    def map_leaves(self, function: Callable) -> LinearChain:
        """Return the chain with every representation replaced by ``function`` of it."""
        return replace(self, leaves=tuple(function(leaf) for leaf in self.leaves))

    @cached_property
    def for_energies(self) -> tuple[tuple[Any, Matrix], ...]:
        """The representations and matrices as energies need them; force training does not."""
        return tuple(
            leaf.in_double().combined(matrix)
            for leaf, matrix in zip(self.leaves, self.matrices, strict=True)
        )

    def values(self, X: Sequence[Atoms]) -> np.ndarray:
        """Return the outputs, of shape (n_structures, n_outputs), in float64."""
        return self.offset + sum(
            np.asarray(leaf.transform(X)) @ matrix for leaf, matrix in self.for_energies
        )

    def jvp(
        self,
        X: Sequence[Atoms],
        displacements: Sequence[np.ndarray] | None = None,
        strains: Sequence[np.ndarray] | None = None,
    ) -> list[np.ndarray]:
        """Differentiate along directions, as ``StructureTransformer.jvp`` does.

        Returns one array (n_directions, n_outputs) per structure.
        """
        parts = [
            [tangent @ matrix for tangent in leaf.jvp(X, displacements, strains)]
            for leaf, matrix in zip(self.leaves, self.matrices, strict=True)
        ]
        return [np.sum(tangents, axis=0) for tangents in zip(*parts, strict=True)]

    def value_and_vjp(
        self, X: Sequence[Atoms], cotangents: np.ndarray
    ) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Return outputs and gradients of ``cotangents[i] @ output(X[i])``.

        Parameters
        ----------
        X : sequence of ase.Atoms
        cotangents : ndarray of shape (n_structures, n_outputs)

        Returns
        -------
        list of (ndarray (n_outputs,), ndarray (N, 3), ndarray (3, 3))
            Outputs, gradient with respect to the positions and to a homogeneous strain.
        """
        results: list[tuple[Any, Any, Any]] = [(self.offset, 0.0, 0.0)] * len(X)
        for leaf, matrix in self.for_energies:
            triples = leaf.value_and_vjp(X, cotangents @ matrix.T)
            results = [
                (value + features @ matrix, gradient + g, strain + s)
                for (value, gradient, strain), (features, g, s) in zip(
                    results, triples, strict=True
                )
            ]
        return results


def feature_chain(features: Any) -> LinearChain:
    """Return a fitted representation, pipeline or union of such as a chain.

    Parameters
    ----------
    features : estimator
        A fitted ``StructureTransformer``; a Pipeline of one and of linear steps; a FeatureUnion
        of such.

    Returns
    -------
    LinearChain
        Its outputs are the columns of ``features.transform``.

    Raises
    ------
    TypeError
        If a step is not linear, or its derivative is not known here.
    """
    features = unwrapped(features)
    if isinstance(features, Pipeline):
        first, *rest = active_steps(features)
        chain = feature_chain(first)
        for step in rest:
            chain = chain.then(*affine_map(step))
        return chain
    if isinstance(features, FeatureUnion):
        return _union([(feature_chain(part), weight) for part, weight in union_parts(features)])
    check_representations(features)
    check_is_fitted(features)
    size = features.n_features_out_
    return LinearChain((features,), (sparse.eye_array(size, format="csr"),), np.zeros(size))


def check_representations(features: Any) -> None:
    """Raise TypeError if the (unfitted) features do not begin with representations."""
    features = unwrapped(features)
    if isinstance(features, Pipeline):
        check_representations(active_steps(features)[0])
    elif isinstance(features, FeatureUnion):
        for part, _ in union_parts(features):
            check_representations(part)
    elif not (hasattr(features, "jvp") and hasattr(features, "value_and_vjp")):
        raise TypeError(
            f"{type(features).__name__} has no derivatives (no jvp and vjp); begin the features "
            "with a representation of skwavelet, such as VoxelScattering()."
        )


def unwrapped(model: Any) -> Any:
    """Return the fitted estimator within a search over parameters or a FrozenEstimator.

    Raises
    ------
    NotFittedError
        If the search is not fitted.
    TypeError
        If it keeps no best estimator.
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


def target_map(model: TransformedTargetRegressor) -> tuple[float, float]:
    """Return (factor, shift) that undo the transformation of the targets of a fitted regressor.

    Raises
    ------
    TypeError
        If the transformation is not known to be linear.
    """
    matrix, offset = affine_map(model.transformer_)
    factor = 1 / float(np.sum(matrix))
    return factor, -factor * float(np.sum(offset))


def linear_coefficients(model: Any) -> tuple[np.ndarray, float]:
    """Return ``(coef, intercept)`` of a fitted linear model of one target.

    Raises
    ------
    TypeError
        If the model has no ``coef_``, several targets, or predicts anything but a linear
        function of its features (a logarithmic link, say).
    """
    model = unwrapped(model)
    check_is_fitted(model)
    if isinstance(model, TransformedTargetRegressor):
        factor, shift = target_map(model)
        weights, intercept = linear_coefficients(model.regressor_)
        return factor * weights, factor * intercept + shift
    coef = getattr(model, "coef_", None)
    if coef is None or not is_regressor(model):
        raise TypeError(
            f"{type(model).__name__} is no linear model with coef_, its derivative is not known: "
            "end the pipeline with a linear model such as BaggedOLSEnsemble() or Ridge()."
        )
    coef = np.asarray(coef, dtype=np.float64)
    if coef.size != coef.shape[-1]:
        raise TypeError(f"{type(model).__name__} has {len(coef)} targets; fit one, the energy.")
    coef = coef.ravel()
    rows = np.zeros((2, len(coef)))
    # Random signs, scaled so that no term hides the others.
    signs = np.random.default_rng(0).choice([-1.0, 1.0], len(coef))
    size = np.abs(coef)
    rows[1] = signs / np.where(size > 0, size, 1.0)
    names = getattr(model, "feature_names_in_", None)
    probe = rows if names is None else pd.DataFrame(rows, columns=names)
    at_zero, value = np.ravel(model.predict(probe)).tolist()
    expected = rows[1] @ coef
    if not np.isclose(value - at_zero, expected, atol=1e-6 * (1 + len(coef)) + 1e-9 * abs(at_zero)):
        raise TypeError(
            f"{type(model).__name__} has coef_ but does not predict a linear function of its "
            "features, its derivative is not known: use one that does, such as Ridge()."
        )
    return coef, at_zero


def linear_members(regressor: Any) -> list:
    """Return the linear models of an ensemble; none where it is no ensemble of such."""
    members = getattr(regressor, "estimators_", [])
    return list(members) if all(hasattr(member, "coef_") for member in members) else []


def all_coefficients(regressor: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return weights and intercepts of a fitted linear model and of its members, if any.

    Returns
    -------
    coefs : ndarray of shape (n_features, 1 + n_members)
    intercepts : ndarray of shape (1 + n_members,)

    Raises
    ------
    TypeError
        As for `linear_coefficients`.
    """
    models = [regressor, *linear_members(regressor)]
    coefs, intercepts = zip(*map(linear_coefficients, models), strict=True)
    return np.column_stack(coefs), np.array(intercepts)


def used_features(regressor: Any) -> np.ndarray:
    """Return the features that a linear model, or any member of an ensemble, has a weight on.

    One feature at least, since scikit-learn has no arrays without any.

    Raises
    ------
    TypeError
        As for `linear_coefficients`.
    """
    used = np.flatnonzero(all_coefficients(regressor)[0].any(axis=1))
    return used if len(used) else np.array([0])


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


def _union(parts: list[tuple[LinearChain, float]]) -> LinearChain:
    """Put the outputs of chains side by side."""
    sizes = [chain.n_outputs for chain, _ in parts]
    starts = np.cumsum([0, *sizes])
    leaves: list[StructureTransformer] = []
    matrices: list[Matrix] = []
    for (chain, weight), start, size in zip(parts, starts, sizes, strict=False):
        shift = weight * sparse.eye_array(size, starts[-1], k=int(start), format="csr")
        leaves += chain.leaves
        matrices += [matrix @ shift for matrix in chain.matrices]
    offset = np.concatenate([weight * chain.offset for chain, weight in parts])
    return LinearChain(tuple(leaves), tuple(matrices), offset)


@singledispatch
def affine_map(step: Any) -> tuple[Matrix, np.ndarray]:
    """Return (matrix, offset) of a fitted step that computes ``X @ matrix + offset``.

    Register further kinds of step with ``affine_map.register``.

    Raises
    ------
    TypeError
        If the kind of step is not known to be linear.
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
