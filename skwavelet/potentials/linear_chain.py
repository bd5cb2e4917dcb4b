"""Derivatives of whole pipelines: representations, linear steps and a linear model as one map.

Whatever stands between representations and prediction is affine, so a fitted pipeline is

    output(X) = sum_i representation_i(X) @ matrix_i + offset

and its derivatives are those of the representations times the matrices.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from typing import Any

import numpy as np
from ase import Atoms
from scipy import sparse
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.utils.validation import check_is_fitted

from skwavelet.potentials.affine_maps import Matrix, affine_map
from skwavelet.potentials.estimators import active_steps, union_parts, unwrapped
from skwavelet.representations.base import StructureTransformer


@dataclass(frozen=True)
class LinearChain:
    """An affine function of the features of one or more fitted representations, the ``leaves``.

    The features of each are multiplied by a matrix (n_features_of_leaf, n_outputs), dense or
    sparse, and the ``offset`` (n_outputs,) is added to the sum.
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
            [_times(tangent, matrix) for tangent in leaf.jvp(X, displacements, strains)]
            for leaf, matrix in zip(self.leaves, self.matrices, strict=True)
        ]
        return [reduce(np.add, tangents) for tangents in zip(*parts, strict=True)]

    def value_and_vjp(
        self, X: Sequence[Atoms], cotangents: np.ndarray
    ) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Return outputs and gradients of ``cotangents[i] @ output(X[i])``.

        Cotangents have the shape (n_structures, n_outputs). For each structure: outputs
        (n_outputs,), gradients (N, 3) with respect to the positions and (3, 3) to a homogeneous
        strain.
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


def _times(values: np.ndarray, matrix: Matrix) -> Any:
    """Return ``values @ matrix``, or the values where the matrix is a sparse identity."""
    if sparse.issparse(matrix) and matrix.shape[0] == matrix.shape[1] == matrix.nnz:
        row, column = matrix.nonzero()
        if np.array_equal(row, column) and (matrix.data == 1).all():
            return values
    return values @ matrix


def feature_chain(features: Any) -> LinearChain:
    """Return a fitted representation, pipeline or union of such as a chain.

    Outputs are the columns of ``features.transform``. It takes a ``StructureTransformer``, a
    Pipeline of one and of linear steps, or a FeatureUnion of such, and raises TypeError if a step
    is not linear, or its derivative is not known here.
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
