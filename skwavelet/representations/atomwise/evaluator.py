"""Sums over atoms of functions of their features, and the two derivatives.

With x_i the features of atom i, as another evaluator computes them, the sums are

    phi_t = sum_i f_t(x_i),

and what depends on positions and strain is left to the other evaluator.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from skwavelet.representations.atom_evaluator import AtomEvaluator, AtomGroups
from skwavelet.representations.evaluator import Gradients
from skwavelet.structures.checks import Structure
from skwavelet.structures.directions import Directions
from skwavelet.structures.neighborhoods import estimate_pairs

# Terms of some atoms together stay below this.
TERM_BYTES = 2**23


@dataclass(frozen=True, eq=False, kw_only=True)
class AtomwiseEvaluator(AtomEvaluator):
    """Base of evaluators of functions of the features of every atom, which ``inner`` computes.

    A subclass writes the functions and their two derivatives, of some atoms at a time. They are in
    double precision whatever the dtypes: sums of products and of kernels cancel.
    """

    inner: AtomEvaluator

    # -- what a subclass writes --------------------------------------------------------------

    def functions(self, kinds: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Return f_t of features x (n_atoms, F) of atoms of some elements: (n_atoms, T)."""
        raise NotImplementedError

    def add_functions(
        self, kinds: np.ndarray, x: np.ndarray, groups: AtomGroups, atoms: slice, sums: np.ndarray
    ) -> None:
        """Add the functions of some atoms to the sums (n_groups, T) of their groups."""
        groups.add(atoms, self.functions(kinds, x), sums)

    def functions_jvp(self, kind: int, x: np.ndarray, derivatives: np.ndarray) -> np.ndarray:
        """Return the derivatives (R, T) for those (R, F) of the features x (F,) of one atom."""
        raise NotImplementedError

    def functions_vjp(
        self, kinds: np.ndarray, x: np.ndarray, weights: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the functions and the gradients (n_atoms, F) of ``(weights * f).sum()``."""
        raise NotImplementedError

    def add_and_pull(
        self,
        kinds: np.ndarray,
        x: np.ndarray,
        groups: AtomGroups,
        atoms: slice,
        sums: np.ndarray,
        weights: np.ndarray,
    ) -> np.ndarray:
        """Do as ``add_functions``, and return the gradients for weights (n_groups, T)."""
        functions, gradients = self.functions_vjp(kinds, x, weights[groups.of[atoms]])
        groups.add(atoms, functions, sums)
        return gradients

    def needed(self, columns: np.ndarray) -> np.ndarray:
        """Return the features of ``inner`` that some of the features are made of."""
        raise NotImplementedError

    @property
    def n_functions(self) -> int:
        """Number T of functions."""
        return len(self.paths)

    def mix(self, functions: np.ndarray) -> np.ndarray:
        """Return the terms (..., n_terms), which are linear in the functions (..., T)."""
        return functions

    def unmix(self, weights: np.ndarray) -> np.ndarray:
        """Return weights (..., T) of the functions for weights (..., n_terms) of the terms."""
        return weights

    # -- sweeps ------------------------------------------------------------------------------

    @property
    def interaction_range(self) -> float:
        """Distance (Å) beyond which atoms do not change the terms of an atom."""
        return self.inner.interaction_range

    @property
    def places(self) -> np.ndarray:
        """Place of every path among the terms: its own."""
        return np.arange(len(self.paths))

    @property
    def n_terms(self) -> int:
        """Number of terms of an atom."""
        return len(self.paths)

    def group_sums(self, structure: Structure, groups: AtomGroups) -> np.ndarray:
        """Return the sums (n_groups, n_terms, 1) over the atoms of every group."""
        x = self._features(structure, len(groups.of))
        return self._finished(self._sums(structure, groups, x), groups)

    def group_sums_jvp(
        self, structure: Structure, groups: AtomGroups, directions: Directions
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the sums and their derivatives along directions."""
        x, parts = self._inner_jvp(structure, directions)
        kinds = self.kinds(structure)
        derivatives = np.zeros((len(directions), groups.count, self.n_functions))
        for atom, moving, part in parts:
            along = self.functions_jvp(kinds[atom], x[atom], part.astype(np.float64))
            derivatives[moving, groups.of[atom]] += along
        sums = self._sums(structure, groups, x)
        return self._finished(sums, groups), self._finished(derivatives, groups)

    @property
    def strains_apart(self) -> bool:
        """Whether `group_sums_vjp` gives the gradients in a strain atom by atom."""
        return self.inner.strains_apart

    def group_sums_vjp(
        self,
        structure: Structure,
        groups: AtomGroups,
        weights: np.ndarray,
        strain: np.ndarray | None = None,
    ) -> Gradients:
        """Return the sums and the gradients of ``(weights * sums).sum()``."""
        kinds, of_functions = self.kinds(structure), self.unmix(weights[..., 0])
        gradient = np.zeros((len(structure), 3))
        strain = np.zeros((3, 3)) if strain is None else strain
        sums = np.zeros((groups.count, self.n_functions))
        for outer, values, pull in self.inner.atom_blocks(
            structure, len(groups.of), gradient, strain
        ):
            x, cotangents = values.astype(np.float64), np.empty(values.shape)
            for part in self._blocks(len(x)):
                atoms = slice(outer.start + part.start, outer.start + part.stop)
                cotangents[part] = self.add_and_pull(
                    kinds[atoms], x[part], groups, atoms, sums, of_functions
                )
            pull(cotangents)
        return self._finished(sums, groups), gradient, strain

    # -- other ------------------------------------------------------------------------------

    def memory(self, structure: Structure, method: str = "values") -> float:
        """Estimate the bytes of the features of all atoms, besides what these need.

        For directions those are the derivatives of every atom in its neighbours, and of the sums.
        """
        n_atoms, n_features = len(structure), len(self.inner.columns[0])
        needed = self.inner.memory(structure, method) + 16 * n_atoms * n_features
        if "jvp" in method:
            pairs = n_atoms + estimate_pairs(structure, self.interaction_range)
            entries = min(pairs, n_atoms * n_atoms)
            needed += 24 * (entries * n_features + n_atoms * self.n_functions)
        return needed

    def describe_need(self, structure: Structure) -> tuple[str, str]:
        """Return what the features of the atoms need, and the remedy."""
        return self.inner.describe_need(structure)

    def in_double(self) -> Self:
        """Return an evaluator whose features of atoms are in double precision, too."""
        return replace(
            self, dtype="float64", inner=replace(self.inner.in_double(), dtype="float64")
        )

    def _inner_jvp(
        self, structure: Structure, directions: Directions
    ) -> tuple[np.ndarray, Iterator[tuple[int, np.ndarray, np.ndarray]]]:
        """Return the features of the atoms and, atom by atom, what they change by."""
        if len(directions) >= 3 * len(structure):
            jacobian = self.inner.atom_jacobian(structure)
            return jacobian.features.astype(np.float64), jacobian.along(directions)
        derivatives = self.inner.atom_jvp(structure, directions)
        parts = (
            (atom, rows, derivatives[rows, atom])
            for atom in range(len(structure))
            if len(rows := np.flatnonzero(derivatives[:, atom].any(axis=1)))
        )
        return self._features(structure, len(structure)), parts

    def _features(self, structure: Structure, n_atoms: int) -> np.ndarray:
        """Return the features x (n_atoms, F) of the first atoms."""
        return self.inner.atom_values(structure, n_atoms).astype(np.float64)

    def _sums(self, structure: Structure, groups: AtomGroups, x: np.ndarray) -> np.ndarray:
        kinds = self.kinds(structure)
        sums = np.zeros((groups.count, self.n_functions))
        for atoms in self._blocks(len(x)):
            self.add_functions(kinds[atoms], x[atoms], groups, atoms, sums)
        return sums

    def _finished(self, functions: np.ndarray, groups: AtomGroups) -> np.ndarray:
        terms = self.mix(functions)[..., None]
        return terms.astype(self.dtype) if groups.each else terms

    def _blocks(self, n_atoms: int) -> Iterator[slice]:
        size = max(1, TERM_BYTES // (8 * max(1, self.n_functions)))
        for start in range(0, n_atoms, size):
            yield slice(start, min(start + size, n_atoms))
