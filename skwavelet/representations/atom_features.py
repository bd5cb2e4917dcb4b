"""What transformers have whose features are sums over atoms: the terms of every atom."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from ase import Atoms
from sklearn.utils.validation import check_is_fitted

from skwavelet.representations.atom_evaluator import AtomEvaluator
from skwavelet.representations.base import StructureTransformer
from skwavelet.structures.directions import check_directions


class AtomFeaturesMixin(StructureTransformer):
    """What transformers add whose features are sums over atoms.

    Their evaluators are instances of ``AtomEvaluator``.
    """

    _evaluator: AtomEvaluator
    _finds_neighbors = True

    def transform_atoms(self, X: Iterable[Atoms]) -> list[np.ndarray]:
        """Compute the features of every atom, before they are summed.

        Parameters
        ----------
        X : sequence of ase.Atoms

        Returns
        -------
        list of ndarray of shape (N, n_features)
            One array per structure, in the order of its atoms. Whatever ``normalize``, these are
            the terms of the sums themselves (0 where an atom is not of the feature's element):
            their mean over the atoms is what ``transform`` returns for ``normalize="atoms"``.
        """
        structures = self._check(X)
        return self._in_order("atom_values", structures)

    @property
    def interaction_range(self) -> float:
        """Distance (Å) beyond which atoms do not change the features of an atom."""
        check_is_fitted(self)
        return self._evaluator.interaction_range

    def atom_jvp(
        self,
        X: Iterable[Atoms],
        displacements: Sequence[np.ndarray] | None = None,
        strains: Sequence[np.ndarray] | None = None,
    ) -> list[np.ndarray]:
        """Differentiate the features of every atom along directions, as ``jvp`` does.

        Parameters
        ----------
        X : sequence of ase.Atoms
        displacements : sequence of array of shape (n_directions, N, 3), optional
            See ``jvp``.
        strains : sequence of array of shape (n_directions, 3, 3), optional
            See ``jvp``.

        Returns
        -------
        list of ndarray of shape (n_directions, N, n_features)
            Derivatives of what ``transform_atoms`` returns, one array per structure.
        """
        structures = self._check(X)
        directions = check_directions(structures, displacements, strains)
        return self._in_order("atom_jvp", structures, [(own,) for own in directions])

    def atom_strains(self, X: Iterable[Atoms], cotangents: np.ndarray) -> list[np.ndarray]:
        """Differentiate linear forms of the features of every atom in a homogeneous strain.

        Parameters
        ----------
        X : sequence of ase.Atoms
        cotangents : array of shape (n_structures, n_features)
            Weights w of the linear form w @ features of the atoms of each structure.

        Returns
        -------
        list of ndarray of shape (N, 3, 3)
            Gradients of what ``transform_atoms`` returns times w, one array per structure.
        """
        structures = self._check(X)
        rows = [(cotangent,) for cotangent in np.asarray(cotangents, dtype=np.float64)]
        return self._in_order("atom_strains", structures, rows)

    def partial_value_and_vjp(
        self, X: Iterable[Atoms], cotangents: np.ndarray, n_atoms: Sequence[int]
    ) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Sum the features of the first atoms, and differentiate linear forms of the sums.

        Parameters
        ----------
        X : sequence of ase.Atoms
            The first atoms, and behind them others that are their neighbours only.
        cotangents : array of shape (n_structures, n_features)
            Weights w of the linear form w @ sums of each structure.
        n_atoms : sequence of int
            How many atoms of each structure are summed over.

        Returns
        -------
        list of (sums, gradient, strain gradient)
            Shapes (n_features,), (N, 3) for the positions of all atoms and (3, 3); the sums are
            those of what ``transform_atoms`` returns.
        """
        structures = self._check(X)
        rows = list(zip(cotangents, n_atoms, strict=True))
        return self._in_order("partial_vjp", structures, rows)
