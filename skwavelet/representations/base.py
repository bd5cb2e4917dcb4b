"""The transformer that all representations share.

A representation brings fitted attributes and an ``Evaluator``: the features of one structure and
their derivatives on plain arrays. Everything else, from checking the input to processes and
progress, is here.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, Self

import joblib
import numpy as np
import pandas as pd
from ase import Atoms
from ase.data import chemical_symbols
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted
from tqdm.auto import tqdm

from skwavelet._utils.documentation import DocumentedMixin
from skwavelet._utils.parallel import unordered_results
from skwavelet._utils.threads import threads, threads_for
from skwavelet._utils.validation import check_columns, check_parameters
from skwavelet._utils.versioning import VersionedMixin
from skwavelet.representations.channels import channel_weights
from skwavelet.representations.evaluator import Evaluator
from skwavelet.representations.paths import Paths
from skwavelet.representations.tables import PlainTablesMixin, feature_names
from skwavelet.structures.checks import (
    Structure,
    as_atoms,
    check_distances,
    check_elements,
    check_structures,
    check_symbols,
    smallest_distance,
)
from skwavelet.structures.directions import check_directions
from skwavelet.structures.outliers import check_outliers


class StructureTransformer(
    PlainTablesMixin, DocumentedMixin, VersionedMixin, TransformerMixin, BaseEstimator
):
    """Base of transformers from sequences of ``ase.Atoms`` to feature matrices.

    Subclasses implement ``_learn``, which sets the fitted attributes, ``feature_table_`` and
    ``_evaluator`` from checked structures; they have the parameters ``channels``, ``elements``,
    ``dtype``, ``n_jobs`` and ``verbose``.
    """

    feature_table_: pd.DataFrame
    _evaluator: Evaluator
    # Whether the evaluator looks at all pairs of close atoms, and refuses those too close.
    _finds_neighbors = False

    def fit(self, X: Iterable[Atoms], y: Any = None) -> Self:
        """Learn elements, channels and resolution from structures.

        Only the geometry is used, never the energies.

        Parameters
        ----------
        X : sequence of ase.Atoms
            Structures; lengths in Å.
        y : ignored

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If a structure or a parameter is unusable; the message names the structure's index.
        """
        check_parameters(self)
        self._fit(X)
        self.n_features_out_ = len(self.feature_table_)
        return self

    def _fit(self, X: Iterable[Atoms]) -> None:
        """Set the fitted attributes but for the number of features."""
        structures = check_structures(X)
        elements = sorted(set(chain.from_iterable(s.elements for s in structures)))
        if self.elements is not None:
            elements = check_symbols(self.elements)
            check_elements(structures, elements, declared=True)
        self.min_distance_ = smallest_distance(structures)
        if getattr(self, "beta", None) is None:
            given = "set beta by hand" if hasattr(self, "beta") else "add more that have it"
            check_outliers(structures, f"{given} if it is meant")
        self.elements_ = [chemical_symbols[z] for z in elements]
        self.channels_ = channel_weights(self.channels, elements)
        self._atomic_numbers = tuple(elements)
        self._learn(structures)

    def fit_transform(self, X: Iterable[Atoms], y: Any = None, **fit_params: Any) -> np.ndarray:
        """Fit, then compute the features of the same structures; see ``fit`` and ``transform``.

        Parameters
        ----------
        X : sequence of ase.Atoms
        y : ignored
        **fit_params : ignored

        Returns
        -------
        ndarray of shape (n_structures, n_features)
        """
        # X is read twice, which iterators do not allow.
        return super().fit_transform(as_atoms(X), y, **fit_params)

    def transform(self, X: Iterable[Atoms]) -> np.ndarray:
        """Compute the features of structures.

        Parameters
        ----------
        X : sequence of ase.Atoms

        Returns
        -------
        ndarray of shape (n_structures, n_features)
            Of the transformer's ``dtype``; a DataFrame after ``set_output``.

        Raises
        ------
        TypeError, ValueError
            If a structure is unusable, has an element not seen in ``fit``, is beyond memory, or
            has features that overflow; the message names its index.
        """
        structures = self._check(X)
        features = np.empty((len(structures), self.n_features_out_), dtype=self.dtype)
        for index, row in self._map("values", structures):
            with np.errstate(over="ignore"):
                features[index] = row
            if not np.isfinite(features[index]).all():
                raise ValueError(
                    f"Structure {structures[index].index} has features beyond {self.dtype}; "
                    "use dtype='float64' or smaller powers."
                )
        return features

    def in_double(self) -> Self:
        """Return a fitted copy whose features are in double precision, for energies.

        An energy is a small difference of large products, and line searches see its rounding
        errors. Sums over atoms are smooth enough in single precision until they end; maps on
        voxels are not, and are computed in double precision from the start.

        Returns
        -------
        StructureTransformer
        """
        check_is_fitted(self)
        double = copy.copy(self)
        double.dtype = "float64"
        double._evaluator = self._evaluator.in_double()
        return double

    def combined(self, matrix: Any) -> tuple[Self, Any]:
        """Return a fitted copy and a matrix with ``features @ matrix`` of the same value.

        Where features are products with a matrix themselves, both matrices are multiplied
        beforehand. Elsewhere nothing changes.

        Parameters
        ----------
        matrix : array or sparse array of shape (n_features, n_outputs)

        Returns
        -------
        transformer : StructureTransformer
        matrix : array or sparse array
        """
        return self, matrix

    def jvp(
        self,
        X: Iterable[Atoms],
        displacements: Sequence[np.ndarray] | None = None,
        strains: Sequence[np.ndarray] | None = None,
    ) -> list[np.ndarray]:
        """Differentiate the features along directions (Jacobian-vector products).

        Parameters
        ----------
        X : sequence of ase.Atoms
        displacements : sequence of array of shape (n_directions, N, 3), optional
            One array per structure: how far each atom moves (Å) per unit of the direction.
        strains : sequence of array of shape (n_directions, 3, 3), optional
            One array per structure: homogeneous strains eps; row vectors a of the cell and of
            the positions become a (1 + eps).

        Returns
        -------
        list of ndarray of shape (n_directions, n_features)
            Exact derivatives of what ``transform`` returns, one array per structure.

        Raises
        ------
        ValueError
            If both kinds of direction are missing or a shape does not fit.
        """
        structures = self._check(X)
        directions = check_directions(structures, displacements, strains)
        return self._in_order("jvp", structures, [(own,) for own in directions])

    def vjp(
        self, X: Iterable[Atoms], cotangents: np.ndarray
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Differentiate linear forms of the features (vector-Jacobian products).

        Parameters
        ----------
        X : sequence of ase.Atoms
        cotangents : array of shape (n_structures, n_features)
            Weights w of the linear form w @ features of each structure.

        Returns
        -------
        list of (ndarray of shape (N, 3), ndarray of shape (3, 3))
            Gradients of w @ features with respect to the positions (per Å) and to a homogeneous
            strain, one pair per structure.

        Raises
        ------
        ValueError
            If ``cotangents`` has another shape or is not finite.
        """
        return [(gradient, strain) for _, gradient, strain in self.value_and_vjp(X, cotangents)]

    def value_and_vjp(
        self, X: Iterable[Atoms], cotangents: np.ndarray
    ) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Return the features together with ``vjp``, at no further cost.

        Parameters
        ----------
        X : sequence of ase.Atoms
        cotangents : array of shape (n_structures, n_features)

        Returns
        -------
        list of (features, gradient, strain gradient)
            Shapes (n_features,), (N, 3) and (3, 3), one triple per structure.
        """
        structures = self._check(X)
        cotangents = np.asarray(cotangents, dtype=np.float64)
        expected = (len(structures), self.n_features_out_)
        if cotangents.shape != expected:
            raise ValueError(f"cotangents has shape {cotangents.shape}; pass shape {expected}.")
        if not np.isfinite(cotangents).all():
            raise ValueError("cotangents holds NaN or infinite values; repair them.")
        rows = [(cotangent,) for cotangent in cotangents]
        return self._in_order("vjp", structures, rows)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names of the features, made from the rows of ``feature_table_``.

        Parameters
        ----------
        input_features : ignored

        Returns
        -------
        ndarray of str of shape (n_features,)
        """
        check_is_fitted(self)
        return np.asarray(self._feature_names(), dtype=object)

    def restrict(self, columns: ArrayLike) -> Self:
        """Return a fitted copy that computes only some of the features.

        Parameters
        ----------
        columns : array-like of int or of bool
            Numbers of the features to keep, in the order to keep them in, or a mask.

        Returns
        -------
        StructureTransformer
            Refitting it, or a clone of it, brings back all features.

        Raises
        ------
        IndexError
            If there is no such feature.
        ValueError
            If no feature is kept.
        """
        check_is_fitted(self)
        kept = check_columns(columns, self.n_features_out_)
        if not len(kept):
            raise ValueError("columns chooses no feature; keep at least one.")
        restricted = copy.copy(self)
        restricted._restrict(kept)
        return restricted

    def _restrict(self, kept: np.ndarray) -> None:
        """Keep some of the features, of a copy."""
        self.feature_table_ = self.feature_table_.iloc[kept].reset_index(drop=True)
        self.n_features_out_ = len(kept)
        self._evaluator = self._evaluator.restrict(kept)

    def keep_grid(self, atoms: Atoms) -> Self:
        """Return a fitted copy whose discretization stays that of one structure.

        Grids change in steps when a cell changes; whoever follows an energy along changing cells
        (a relaxation, a curve of energy against volume) keeps one. Where a representation has no
        grid, nothing changes.

        Parameters
        ----------
        atoms : ase.Atoms
            Whose grid to keep, for structures with cells within a few per cent of its own.

        Returns
        -------
        StructureTransformer
        """
        self._check([atoms])
        return copy.copy(self)

    def _check(self, X: Iterable[Atoms]) -> list[Structure]:
        if not hasattr(self, "_evaluator"):  # asking scikit-learn takes longer
            check_is_fitted(self)
        structures = check_structures(X)
        check_elements(structures, self._atomic_numbers, declared=self.elements is not None)
        if not self._finds_neighbors:
            check_distances(structures)
        return structures

    def _shared_state(self, paths: Paths, powers: tuple[float, ...]) -> dict[str, Any]:
        """Return the fields that all evaluators have."""
        return {
            "elements": self._atomic_numbers,
            "weights": self.channels_.to_numpy(),
            "paths": paths,
            "powers": powers,
            "normalize": self.normalize,
            "dtype": self.dtype,
        }

    def _in_order(
        self, method: str, structures: list[Structure], arguments: list[tuple] | None = None
    ) -> list:
        """Return the results of the evaluator's method for all structures."""
        results = dict(self._map(method, structures, arguments))
        return [results[index] for index in range(len(structures))]

    def _map(
        self, method: str, structures: list[Structure], arguments: list[tuple] | None = None
    ) -> Iterator[tuple[int, Any]]:
        """Yield (position in ``structures``, result of the evaluator's method)."""
        evaluator = self._evaluator
        if len(structures) == 1:  # a step of dynamics: threads if it is large, no progress
            with threads(threads_for(self.n_jobs)):
                evaluator.check(structures, method)
                yield 0, getattr(evaluator, method)(structures[0], *(arguments or [()])[0])
            return
        # Structures of one cell side by side, so that they share their filters.
        keys = [(s.elements, s.pbc.tobytes(), s.cell.tobytes()) for s in structures]
        order = sorted(range(len(structures)), key=keys.__getitem__)
        tasks = [(i, structures[i], arguments[i] if arguments else ()) for i in order]
        n_workers = joblib.effective_n_jobs(self.n_jobs)
        size = 1 if n_workers == 1 else int(np.clip(len(tasks) // (8 * n_workers), 1, 64))
        batches = [tasks[start : start + size] for start in range(0, len(tasks), size)]
        n_jobs = self.n_jobs if len(batches) > 1 else 1  # one batch is not worth a process
        evaluator.check(structures, method, n_workers if len(batches) > 1 else 1)
        if n_jobs is not None and len(batches) > 1:
            evaluator.prepare(method)
        work = (joblib.delayed(_run)(getattr(evaluator, method), batch) for batch in batches)
        with tqdm(
            total=len(tasks), desc=type(self).__name__, unit="structure", disable=not self.verbose
        ) as progress:
            for results in unordered_results(work, n_jobs):
                yield from results
                progress.update(len(results))

    def _learn(self, structures: list[Structure]) -> None:
        raise NotImplementedError

    def _feature_names(self) -> list[str]:
        return feature_names(self.feature_table_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        return tags


def _run(method: Callable, batch: list[tuple[int, Structure, tuple]]) -> list[tuple[int, Any]]:
    return [(index, method(structure, *arguments)) for index, structure, arguments in batch]
