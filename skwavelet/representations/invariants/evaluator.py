"""The sums of invariants over atoms, and their derivatives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, Self

import numpy as np

from skwavelet._utils.threads import n_threads
from skwavelet.representations.atom_evaluator import AtomEvaluator, AtomGroups, ElementPart
from skwavelet.representations.atom_jacobian import AtomJacobian
from skwavelet.representations.evaluator import Gradients
from skwavelet.representations.invariants.products import Products
from skwavelet.representations.paths import Paths
from skwavelet.representations.point.tabulated import TabulatedMoments
from skwavelet.representations.sweep import Gradient, Pulls, sweep
from skwavelet.structures.cell_list import PAIRS, PairBlock, PairFinder
from skwavelet.structures.checks import Structure
from skwavelet.structures.directions import Directions
from skwavelet.structures.neighborhoods import describe_pairs, estimate_pairs, image_bytes


@dataclass(frozen=True, eq=False)
class InvariantPaths(Paths):
    """The invariants that are summed, by their places ``product``, -1 for order zero."""

    product: np.ndarray


@dataclass(frozen=True, eq=False, kw_only=True)
class InvariantEvaluator(AtomEvaluator):
    """The fitted state of a ``PointInvariants`` on plain arrays.

    ``scales`` (n_elements, n_products) are what the invariants of an atom are multiplied by.
    """

    paths: InvariantPaths
    moments: TabulatedMoments
    products: Products
    scales: np.ndarray

    def memory(self, structure: Structure, method: str = "values") -> float:
        """Estimate the bytes that images, and the derivatives of a block of atoms, take."""
        reach = self.moments.reach
        images = image_bytes(structure, reach)
        per_pair = 8 * (3 * self.moments.layout.n_terms if "jvp" in method else 60)
        largest = estimate_pairs(structure, reach) / len(structure)
        return images + n_threads() * max(largest, PAIRS) * per_pair

    def describe_need(self, structure: Structure) -> tuple[str, str]:
        """Return how many neighbours a structure has, and how to have fewer."""
        return describe_pairs(structure, self.moments.reach), "set a smaller reach"

    def restrict(self, columns: np.ndarray) -> Self:
        """Return an evaluator of some of the features, with no more products than those need."""
        restricted = super().restrict(columns)
        product = restricted.paths.product
        used = np.unique(product[product >= 0])
        places = np.where(product >= 0, np.searchsorted(used, product), -1)
        return replace(
            restricted,
            paths=replace(restricted.paths, product=places),
            products=self.products.take(used),
            scales=self.scales[:, used],
        )

    @property
    def interaction_range(self) -> float:
        """Distance (Å) beyond which atoms do not change the terms of an atom."""
        return self.moments.reach

    @property
    def places(self) -> np.ndarray:
        """Invariant of every path, of shape (n_paths,)."""
        return np.maximum(self.paths.product, 0)

    @property
    def n_terms(self) -> int:
        """Number of invariants of an atom, one at least."""
        return max(1, len(self.products))

    def group_sums(self, structure: Structure, groups: AtomGroups) -> np.ndarray:
        """Return the sums (n_groups, n_terms, 1) over the atoms of every group."""
        sums = self._zeros(groups)

        def work(pairs: PairBlock) -> np.ndarray:
            part = groups.part(sums)
            self._add(structure, groups, pairs.atoms, self.moments.values(pairs)[0], part)
            return part

        for part in sweep(self._finder(structure), len(groups.of), work):
            groups.join(part, sums)
        return sums

    @property
    def strains_apart(self) -> bool:
        """Whether `group_sums_vjp` gives the gradients in a strain atom by atom."""
        return True

    def group_sums_vjp(
        self,
        structure: Structure,
        groups: AtomGroups,
        weights: np.ndarray,
        strain: np.ndarray | None = None,
    ) -> Gradients:
        """Return the sums and the gradients of ``(weights * sums).sum()``."""
        strain = np.zeros((3, 3)) if strain is None else strain
        sums, gradient = self._zeros(groups), Gradient(np.zeros((len(structure), 3)), strain)
        kinds = self.kinds(structure)

        def work(pairs: PairBlock) -> tuple[np.ndarray, Pulls]:
            part, pulls = groups.part(sums), gradient.part(pairs)
            moments = self.moments.values(pairs)[0]
            self._add(structure, groups, pairs.atoms, moments, part)
            if len(self.products):
                of_terms = weights[groups.of[pairs.atoms], :, 0]
                self._pull_terms(pairs, moments, kinds[pairs.atoms], of_terms, pulls)
            return part, pulls

        for part, pulls in sweep(self._finder(structure), len(groups.of), work):
            groups.join(part, sums)
            gradient.add(pulls)
        return sums, gradient.positions, strain

    def group_sums_jvp(
        self, structure: Structure, groups: AtomGroups, directions: Directions
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the sums and their derivatives along directions."""
        sums, derivatives = self._zeros(groups), self._zeros(groups, len(directions))
        by_strain = directions.strains.reshape(-1, 9)
        for pairs, moments in self._blocks(structure, len(structure)):
            self._add(structure, groups, pairs.atoms, moments, sums)
            for atom, atoms, values, strain in self._derivatives(structure, pairs, moments):
                moves = directions.displacements[:, atoms].reshape(len(directions), -1)
                rows = np.flatnonzero(moves.any(axis=1) | by_strain.any(axis=1))
                n_terms = values.shape[-1]
                change = moves[rows].astype(values.dtype) @ values.reshape(-1, n_terms)
                change += by_strain[rows].astype(values.dtype) @ strain.reshape(9, n_terms)
                derivatives[rows, groups.of[atom], :, 0] += change
        return sums, derivatives

    def atom_blocks(
        self, structure: Structure, n_atoms: int, gradient: np.ndarray, strain: np.ndarray
    ) -> Iterator[tuple[slice, np.ndarray, Callable[[np.ndarray], None]]]:
        """Yield ``atom_values`` of some of the first atoms at a time, with the way back."""
        for pairs, moments in self._blocks(structure, n_atoms):
            kinds = self.kinds(structure)[pairs.atoms]
            pull = partial(self._pull, pairs, moments, kinds, Gradient(gradient, strain))
            yield pairs.atoms, self._features(kinds, moments), pull

    def element_blocks(
        self, structure: Structure, n_atoms: int, gradient: np.ndarray, strain: np.ndarray
    ) -> Iterator[tuple[list[ElementPart], Callable[[list[np.ndarray]], None]]]:
        """Yield values by element, with atoms as the last axis, and the way back."""
        for pairs, moments in self._blocks(structure, n_atoms):
            values, parts = self.products.values(moments), []
            for kind in np.unique(pairs.kinds).tolist():
                members, (_, place) = np.flatnonzero(pairs.kinds == kind), self._own[kind]
                part = np.ascontiguousarray(_taken(values[place].T, members).T)
                parts.append(ElementPart(kind, members, part, self.scales[kind, place]))
            into = Gradient(gradient, strain)
            yield parts, partial(self._pull_parts_of, pairs, moments, into, parts)

    def atom_jacobian(self, structure: Structure) -> AtomJacobian:
        """Return ``atom_values`` with their derivatives in every atom and in a strain."""
        n_features = len(self.columns[0])
        features, centers, moving, parts, strains = [], [], [], [], []
        for pairs, moments in self._blocks(structure, len(structure)):
            kinds = self.kinds(structure)[pairs.atoms]
            features.append(self._features(kinds, moments))
            for atom, atoms, values, strain in self._derivatives(structure, pairs, moments):
                own, place = self._own[kinds[atom - pairs.atoms.start]]
                both = np.zeros((3 * len(atoms) + 9, n_features), values.dtype)
                both[: 3 * len(atoms), own] = values.reshape(-1, self.n_terms)[:, place]
                both[3 * len(atoms) :, own] = strain.reshape(9, self.n_terms)[:, place]
                centers.append(np.full(len(atoms), atom))
                moving.append(atoms)
                parts.append(both[: 3 * len(atoms)].reshape(-1, 3, n_features))
                strains.append(both[3 * len(atoms) :].reshape(3, 3, n_features))
        return AtomJacobian(
            np.concatenate(features),
            np.concatenate(centers),
            np.concatenate(moving),
            np.concatenate(parts),
            np.stack(strains),
        )

    # -- parts -------------------------------------------------------------------------------

    def _blocks(
        self, structure: Structure, n_centers: int
    ) -> Iterator[tuple[PairBlock, np.ndarray]]:
        """Yield pairs of the first atoms, and the moments (n_moments, n_atoms) of these."""
        for pairs in self._finder(structure).blocks(n_centers):
            yield pairs, self.moments.values(pairs)[0]

    def _finder(self, structure: Structure) -> PairFinder:
        return PairFinder(structure, self.elements, self.moments.reach, self.moments.dtype)

    @cached_property
    def _own(self) -> list[tuple[Any, Any]]:
        """The features beyond order zero of atoms of every element, and their invariants."""
        path = self.columns[0]
        return [(_range(features), _range(self.places[path[features]])) for features in self.own]

    def _features(self, kinds: np.ndarray, moments: np.ndarray) -> np.ndarray:
        """Return the features (n_atoms, n_features) of atoms with some moments."""
        features = np.zeros((len(kinds), len(self.columns[0])), self.dtype)
        if len(self.products):
            values = self._scaled(kinds, moments)
            for kind in np.unique(kinds):
                rows, (own, place) = np.flatnonzero(kinds == kind), self._own[kind]
                _put(features, rows, own, _taken(values, rows)[:, place])
        return self._with_zero_order(kinds, features)

    def _scaled(self, kinds: np.ndarray, moments: np.ndarray) -> np.ndarray:
        """Return the invariants (n_atoms, n_terms)."""
        return self.products.values(moments).T * self.scales[kinds]

    def _pull(
        self,
        pairs: PairBlock,
        moments: np.ndarray,
        kinds: np.ndarray,
        gradient: Gradient,
        cotangents: np.ndarray,
    ) -> None:
        """Add the gradients of ``(cotangents * features).sum()`` of some atoms."""
        if not len(self.products):
            return
        of_terms = np.zeros((len(kinds), self.n_terms))
        for kind in np.unique(kinds):
            rows, (own, place) = np.flatnonzero(kinds == kind), self._own[kind]
            _put(of_terms, rows, place, _taken(cotangents, rows)[:, own])
        pulls = gradient.part(pairs)
        self._pull_terms(pairs, moments, kinds, of_terms, pulls)
        gradient.add(pulls)

    def _pull_parts_of(
        self,
        pairs: PairBlock,
        moments: np.ndarray,
        gradient: Gradient,
        parts: list[ElementPart],
        cotangents: list[np.ndarray],
    ) -> None:
        """Add the gradients for cotangents of the values of some atoms, by element."""
        if not len(self.products):
            return
        whole = cotangents[0]
        if whole.shape != (self.n_terms, len(pairs.kinds)):
            whole = np.zeros((self.n_terms, len(pairs.kinds)), moments.dtype)
            for part, own in zip(parts, cotangents, strict=True):
                _put(whole.T, part.members, self._own[part.kind][1], own.T)
        pulls = gradient.part(pairs)
        self.moments.add_vjp(pairs, self.products.vjp(moments, whole)[None], pulls)
        gradient.add(pulls)

    def _pull_terms(
        self,
        pairs: PairBlock,
        moments: np.ndarray,
        kinds: np.ndarray,
        cotangents: np.ndarray,
        pulls: Pulls,
    ) -> None:
        """Add the gradients of ``(cotangents * invariants).sum()``, (n_atoms, n_terms) each."""
        of_moments = self.products.vjp(moments, (cotangents * self.scales[kinds]).T)
        self.moments.add_vjp(pairs, of_moments[None], pulls)

    def _add(
        self,
        structure: Structure,
        groups: AtomGroups,
        atoms: slice,
        moments: np.ndarray,
        sums: np.ndarray,
    ) -> None:
        """Add the invariants of some atoms to the sums of their groups."""
        if len(self.products):
            values = self._scaled(self.kinds(structure)[atoms], moments)
            groups.add(atoms, values, sums[..., 0])

    def _derivatives(
        self, structure: Structure, pairs: PairBlock, moments: np.ndarray
    ) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
        """Yield atoms, those around them, and derivatives of the invariants.

        Centre, atoms that move (n,), values (n, 3, n_terms) and in a strain (3, 3, n_terms).
        """
        dtype, n_terms = moments.dtype, self.n_terms
        jacobian = self.moments.jacobian(pairs)
        scales = self.scales[self.kinds(structure)[pairs.atoms]].astype(dtype)
        for row, (atoms, by_atom, by_strain) in enumerate(pairs.by_atom(jacobian)):
            by_both = np.concatenate(
                [by_atom.reshape(-1, len(moments)), by_strain.reshape(-1, len(moments))]
            )
            changes = np.zeros((n_terms, len(by_both)), dtype)
            if len(self.products):
                changes = self.products.changes(moments, row, np.ascontiguousarray(by_both.T))
                changes *= scales[row][:, None]
            cut = 3 * len(atoms)
            yield (
                pairs.atoms.start + row,
                atoms,
                changes.T[:cut].reshape(-1, 3, n_terms),
                changes.T[cut:].reshape(3, 3, n_terms),
            )

    def _zeros(self, groups: AtomGroups, *directions: int) -> np.ndarray:
        return groups.zeros(self.n_terms, 1, self.dtype, *directions)


def _taken(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return some rows, or all of them as they are."""
    return values if len(rows) == len(values) else values[rows]


def _put(target: np.ndarray, rows: np.ndarray, columns: Any, values: np.ndarray) -> None:
    """Write values in some rows and columns, which may be a slice."""
    if len(rows) == len(target):
        target[:, columns] = values
    else:
        target[rows[:, None], np.arange(target.shape[1])[columns]] = values


def _range(places: np.ndarray) -> Any:
    """Return places as a slice where they follow each other: what it takes is not copied."""
    if len(places) and np.array_equal(places, np.arange(places[0], places[0] + len(places))):
        return slice(int(places[0]), int(places[0]) + len(places))
    return places
