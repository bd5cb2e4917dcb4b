"""Evaluators whose sums are over atoms: they give features of every atom, too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from skwavelet.representations.atom_jacobian import AtomJacobian, jacobian_by_directions
from skwavelet.representations.evaluator import Evaluator, Gradients
from skwavelet.structures.checks import Structure
from skwavelet.structures.directions import Directions


@dataclass(frozen=True, eq=False)
class AtomGroups:
    """Which atoms are summed: those of a group have one sum.

    ``of`` is the group of every atom, maybe of the first ones only: those behind are neighbours.
    There are ``count`` groups; ``each`` tells whether every atom is one of its own.
    """

    of: np.ndarray
    count: int
    each: bool = False

    @classmethod
    def atoms(cls, n_atoms: int) -> AtomGroups:
        """Return a group for every atom."""
        return cls(np.arange(n_atoms), n_atoms, each=True)

    def zeros(self, n_terms: int, n_powers: int, dtype: Any, *directions: int) -> np.ndarray:
        """Return zeros (..., n_groups, n_terms, n_powers), float64 where terms are added up."""
        shape = (*directions, self.count, n_terms, n_powers)
        return np.zeros(shape, dtype if self.each else np.float64)

    def part(self, sums: np.ndarray) -> np.ndarray:
        """Return what the terms of some atoms are added to, before it is joined to the sums."""
        return sums if self.each else np.zeros_like(sums)

    def join(self, part: np.ndarray, sums: np.ndarray) -> None:
        """Add a part of the sums to all of them."""
        if not self.each:
            sums += part

    def add(
        self, atoms: slice, terms: np.ndarray, sums: np.ndarray, places: Any = slice(None)
    ) -> None:
        """Add ``terms`` (n_atoms, M) of some atoms to ``sums[:, places]`` of their groups."""
        if self.each:
            sums[atoms][:, places] += terms
        else:
            members = self.of[atoms] == np.arange(self.count)[:, None]
            sums[:, places] += members.astype(terms.dtype) @ terms


class ElementPart(NamedTuple):
    """Features beyond order zero of the atoms of one element (its place, ``kind``) in a block.

    The ``members`` (n_members,) are counted from the first atom of the block. ``values``
    (n_own, n_members) are what the features of the element are made of, ``AtomEvaluator.own``, and
    ``units`` (n_own,) what these are multiplied by.
    """

    kind: int
    members: np.ndarray
    values: np.ndarray
    units: np.ndarray


class AtomEvaluator(Evaluator):
    """Base of evaluators whose sums are over atoms: they give features of every atom, too.

    A subclass writes the three sweeps over groups of atoms, and where the paths stand among them.
    All terms of one group are added, for ``AtomGroups.atoms`` none.
    """

    # -- what a representation writes --------------------------------------------------------

    @property
    def places(self) -> np.ndarray:
        """Place of every path (n_paths,) among the terms of an atom; any for order zero."""
        raise NotImplementedError

    @property
    def n_terms(self) -> int:
        """Number of terms of an atom, times powers: paths whatever their centre."""
        raise NotImplementedError

    @property
    def interaction_range(self) -> float:
        """Distance (Å) beyond which atoms do not change the terms of an atom."""
        raise NotImplementedError

    def group_sums(self, structure: Structure, groups: AtomGroups) -> np.ndarray:
        """Return the sums (n_groups, n_terms, n_powers) over the atoms of every group."""
        raise NotImplementedError

    def group_sums_jvp(
        self, structure: Structure, groups: AtomGroups, directions: Directions
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return ``group_sums`` and their derivatives (n_directions, *shape) along directions."""
        raise NotImplementedError

    def group_sums_vjp(
        self,
        structure: Structure,
        groups: AtomGroups,
        weights: np.ndarray,
        strain: np.ndarray | None = None,
    ) -> Gradients:
        """Return ``group_sums`` and the gradients of ``(weights * group_sums).sum()``.

        Where ``strains_apart``, the gradient in a strain is added to ``strain``, if it is passed:
        (3, 3), or (N, 3, 3) for that of every atom's part of the sums.
        """
        raise NotImplementedError

    @property
    def strains_apart(self) -> bool:
        """Whether `group_sums_vjp` gives the gradients in a strain atom by atom."""
        return False

    def prepare(self, method: str) -> None:
        """Compile the kernels of a method, which takes seconds on a new machine."""
        element = np.array([self.elements[0]])
        atom = Structure(0, element, np.zeros((1, 3)), np.eye(3), np.zeros(3, dtype=bool))
        if "jvp" in method:
            getattr(self, method)(atom, Directions(np.zeros((1, 1, 3)), np.zeros((1, 3, 3))))
        elif method.endswith("vjp"):
            self.vjp(atom, np.zeros(len(self.columns[0])))
        else:
            self.values(atom)

    # -- sums --------------------------------------------------------------------------------

    def sums(self, structure: Structure) -> np.ndarray:
        """Return the sums (n_paths, n_powers)."""
        return self._by_path(self.group_sums(structure, self._groups(structure)))

    def sums_jvp(
        self, structure: Structure, directions: Directions
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the sums and their derivatives (n_directions, n_paths, n_powers)."""
        groups = self._groups(structure)
        sums, derivatives = self.group_sums_jvp(structure, groups, directions)
        return self._by_path(sums), self._by_path(derivatives)

    def sums_vjp(self, structure: Structure, weights: np.ndarray) -> Gradients:
        """Return the sums and the gradients of ``(weights * sums).sum()``."""
        groups = self._groups(structure)
        by_group = self._by_group(groups, weights)
        sums, gradient, strain = self.group_sums_vjp(structure, groups, by_group)
        return self._by_path(sums), gradient, strain

    def partial_vjp(self, structure: Structure, cotangent: np.ndarray, n_atoms: int) -> Gradients:
        """Return the sums over the first atoms only, and the gradients of ``cotangent @ sums``.

        The other atoms are their neighbours. Shapes (n_features,), (N, 3) and (3, 3).
        """
        groups = self._groups(structure)
        groups = AtomGroups(groups.of[:n_atoms], groups.count)
        weights = self._by_group(groups, self._of_paths(cotangent))
        sums, gradient, strain = self.group_sums_vjp(structure, groups, weights)
        zero = self._zero_order(replace(structure, numbers=structure.numbers[:n_atoms]))
        return (self._by_path(sums) + zero)[self.columns], gradient, strain

    # -- every atom --------------------------------------------------------------------------

    def atom_values(self, structure: Structure, n_atoms: int | None = None) -> np.ndarray:
        """Return what every atom, or every one of the first, adds to the sums.

        Shape (N, n_features) or (n_atoms, n_features).
        """
        groups = AtomGroups.atoms(len(structure) if n_atoms is None else n_atoms)
        kinds = self.kinds(structure)[: len(groups.of)]
        values = self._of_atoms(kinds, self.group_sums(structure, groups))
        return self._with_zero_order(kinds, values)

    def atom_jvp(self, structure: Structure, directions: Directions) -> np.ndarray:
        """Return derivatives of ``atom_values``, of shape (n_directions, N, n_features)."""
        groups = AtomGroups.atoms(len(structure))
        _, derivatives = self.group_sums_jvp(structure, groups, directions)
        return self._of_atoms(self.kinds(structure), derivatives)

    def atom_vjp(
        self, structure: Structure, cotangents: np.ndarray, strain: np.ndarray | None = None
    ) -> Gradients:
        """Return ``atom_values`` and the gradients of ``(cotangents * atom_values).sum()``.

        Shapes (N, n_features), (N, 3) for positions and (3, 3) for a strain. With cotangents of
        the first atoms only, values are those of these.
        """
        n_atoms, shape = len(cotangents), (self.n_terms, len(self.powers))
        terms = self.places[self.columns[0]] * shape[1] + self.columns[1]
        # Features of several centres share a term.
        spread = sparse.csr_array(
            (np.ones(len(terms)), (np.arange(len(terms)), terms)),
            shape=(len(terms), shape[0] * shape[1]),
        )
        kinds = self.kinds(structure)[:n_atoms]
        weights = (cotangents * self._has_feature(kinds)) @ spread
        sums, gradient, strain = self.group_sums_vjp(
            structure, AtomGroups.atoms(n_atoms), weights.reshape(n_atoms, *shape), strain
        )
        return self._with_zero_order(kinds, self._of_atoms(kinds, sums)), gradient, strain

    def atom_blocks(
        self, structure: Structure, n_atoms: int, gradient: np.ndarray, strain: np.ndarray
    ) -> Iterator[tuple[slice, np.ndarray, Callable[[np.ndarray], None]]]:
        """Yield ``atom_values`` of some of the first atoms at a time, with the way back.

        Atoms behind the first ``n_atoms`` are their neighbours only. For a slice of atoms: values
        (n, n_features), and a function that takes cotangents (n, n_features) and adds the gradients
        of ``(cotangents * values).sum()`` to ``gradient`` (N, 3) and ``strain`` (3, 3). Override it
        where that is possible without computing values twice.
        """

        def pull(cotangents: np.ndarray) -> None:
            into = strain if self.strains_apart else None
            _, by_position, by_strain = self.atom_vjp(structure, cotangents, into)
            gradient[:] += by_position
            if into is None:
                strain[:] += by_strain

        yield slice(0, n_atoms), self.atom_values(structure, n_atoms), pull

    def element_blocks(
        self, structure: Structure, n_atoms: int, gradient: np.ndarray, strain: np.ndarray
    ) -> Iterator[tuple[list[ElementPart], Callable[[list[np.ndarray]], None]]]:
        """Yield what `atom_blocks` does, element by element and with atoms as the last axis.

        So kernels take it, without what atoms of other elements have. The way back takes the
        cotangents of the ``values`` of all parts. Override it where values are made so.
        """
        kinds = self.kinds(structure)
        for atoms, values, pull in self.atom_blocks(structure, n_atoms, gradient, strain):
            parts = []
            for kind in np.unique(kinds[atoms]).tolist():
                members, own = np.flatnonzero(kinds[atoms] == kind), self.own[kind]
                part = np.ascontiguousarray(values[np.ix_(members, own)].T)
                parts.append(ElementPart(kind, members, part, np.ones(len(own))))
            yield parts, partial(self._pull_parts, pull, parts, values)

    def _pull_parts(
        self,
        pull: Callable[[np.ndarray], None],
        parts: list[ElementPart],
        values: np.ndarray,
        cotangents: list[np.ndarray],
    ) -> None:
        whole = np.zeros_like(values)
        for part, own in zip(parts, cotangents, strict=True):
            whole[np.ix_(part.members, self.own[part.kind])] = own.T
        pull(whole)

    def atom_strains(self, structure: Structure, cotangent: np.ndarray) -> np.ndarray:
        """Return the gradients (N, 3, 3) of ``atom_values @ cotangent`` in a strain."""
        n_atoms = len(structure)
        if self.strains_apart:
            groups, strain = self._groups(structure), np.zeros((n_atoms, 3, 3))
            weights = self._by_group(groups, self._of_paths(cotangent))
            self.group_sums_vjp(structure, groups, weights, strain)
            return strain
        # One by one: derivatives of all atoms along a direction are as large as their features.
        bends = Directions(np.zeros((9, n_atoms, 3)), np.eye(9).reshape(9, 3, 3))
        slopes = [
            self.atom_jvp(structure, bends[i : i + 1])[0] @ cotangent for i in range(len(bends))
        ]
        return np.transpose(slopes).reshape(n_atoms, 3, 3)

    def atom_jacobian(self, structure: Structure) -> AtomJacobian:
        """Return ``atom_values`` with their derivatives in every atom and in a strain.

        Override it where that is possible in less than 3 N directions.
        """
        return jacobian_by_directions(self, structure)

    # -- parts -------------------------------------------------------------------------------

    @cached_property
    def own(self) -> list[np.ndarray]:
        """The features beyond order zero that atoms of every element have."""
        has = self._has_feature(np.arange(len(self.elements)))
        return [np.flatnonzero(row) for row in has]

    @cached_property
    def of_order_zero(self) -> tuple[np.ndarray, np.ndarray]:
        """The features of order zero, and their values (n_elements, n) for atoms of elements."""
        path, power = self.columns
        zero, powers = self._channel_powers
        features = np.flatnonzero(self.paths.order[path] == 0)
        return features, powers[:, np.searchsorted(zero, path[features]), power[features]]

    def _of_paths(self, cotangent: np.ndarray) -> np.ndarray:
        """Return the weights (n_paths, n_powers) of a form of the features."""
        by_path = np.zeros((len(self.paths), len(self.powers)))
        np.add.at(by_path, self.columns, cotangent)
        return by_path

    def _by_group(self, groups: AtomGroups, weights: np.ndarray) -> np.ndarray:
        """Return weights (n_groups, n_terms, n_powers) from those (n_paths, n_powers) of paths."""
        summed, place = self._summed
        by_group = np.zeros((groups.count * self.n_terms, len(self.powers)))
        by_group[place] = weights.take(summed, axis=0)
        return by_group.reshape(groups.count, self.n_terms, len(self.powers))

    @cached_property
    def _summed(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the paths beyond order zero, and their places among the terms of all groups."""
        summed = np.flatnonzero(self.paths.order > 0)
        group = np.maximum(self.paths.center[summed], 0)
        return summed, group * self.n_terms + self.places[summed]

    def _groups(self, structure: Structure) -> AtomGroups:
        """Return all atoms as one group, or the atoms of every element."""
        if self.paths.center.max(initial=-1) < 0:
            return AtomGroups(np.zeros(len(structure), dtype=int), 1)
        return AtomGroups(self.kinds(structure), len(self.elements))

    def _by_path(self, sums: np.ndarray) -> np.ndarray:
        """Return the sums (..., n_paths, n_powers) from (..., n_groups, n_terms, n_powers)."""
        *directions, n_groups, n_terms, n_powers = sums.shape
        summed, place = self._summed
        by_path = np.zeros((*directions, len(self.paths), n_powers))
        flat = sums.reshape(*directions, n_groups * n_terms, n_powers)
        by_path[..., summed, :] = flat.take(place, axis=-2)
        return by_path

    def _has_feature(self, kinds: np.ndarray) -> np.ndarray:
        """Return whether atoms are among those of a feature, of shape (n_atoms, n_features)."""
        path = self.columns[0]
        center = self.paths.center[path]
        return (self.paths.order[path] > 0) & ((center < 0) | (center == kinds[:, None]))

    def _of_atoms(self, kinds: np.ndarray, terms: np.ndarray) -> np.ndarray:
        """Return the features (..., n_features) of terms (..., n_terms, n_powers) of atoms."""
        path, power = self.columns
        features = terms[..., self.places[path], power]
        features *= self._has_feature(kinds)
        return features

    def _with_zero_order(self, kinds: np.ndarray, values: np.ndarray) -> np.ndarray:
        features, of_kinds = self.of_order_zero
        values[:, features] = of_kinds[kinds]
        return values
