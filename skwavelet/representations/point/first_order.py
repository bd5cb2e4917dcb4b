"""Sums of the first order at the atoms, and their derivatives, from compiled kernels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from skwavelet.representations.atom_evaluator import AtomGroups
from skwavelet.representations.atom_jacobian import AtomJacobian
from skwavelet.representations.point.moduli_kernels import (
    add_rows,
    square,
    square_jacobian,
    square_vjp,
)
from skwavelet.representations.point.moments import WaveletMoments
from skwavelet.representations.point.powers import AtomPowers, Slopes
from skwavelet.representations.sweep import Gradient, Pulls, sweep
from skwavelet.structures.cell_list import PairBlock, PairFinder
from skwavelet.structures.checks import Structure
from skwavelet.structures.directions import Directions

# Derivatives in all positions are made for this part of as many directions, if they take less.
WHOLE_PART = 0.2
ROWS_BYTES = 2**28
# Pairs whose derivatives of all maps are in memory together.
DERIVATIVE_PAIRS = 2**13

# Moments and squared moduli of the atoms of every block, by its first atom.
Moduli = dict[int, tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True, eq=False)
class FirstOrder:
    """Sums over atoms of powers of first-order moduli.

    Every map has a channel, with weights (n_elements, n_channels) of the elements, a radial part,
    and a floor that is added to the squared moduli. The first ``n_summed`` are summed; the others
    are only inputs of the second order.
    """

    moments: WaveletMoments
    channels: np.ndarray
    radials: np.ndarray
    floors: np.ndarray
    elements: tuple[int, ...]
    weights: np.ndarray
    powers: tuple[float, ...]
    n_summed: int

    @cached_property
    def _weights(self) -> np.ndarray:
        return self.weights.astype(self.moments.dtype)

    @cached_property
    def _floors(self) -> np.ndarray:
        return self.floors.astype(self.moments.dtype)

    @cached_property
    def _maps(self) -> np.ndarray:
        """The maps as `square` takes them."""
        degrees = self.moments.degrees[self.radials]
        steps = self.moments.layout.counts[degrees]
        return np.column_stack(
            [self.channels, self.moments.layout.terms[self.radials], steps, 2 * degrees + 1]
        ).astype(np.int64)

    @cached_property
    def moduli_floors(self) -> np.ndarray:
        """The moduli of maps that vanish."""
        return np.sqrt(self._floors)

    @cached_property
    def _powers(self) -> AtomPowers:
        return AtomPowers(self.powers, self._floors[: self.n_summed])

    def sums(self, structure: Structure, groups: AtomGroups) -> np.ndarray:
        """Return the sums (n_groups, n_maps, n_powers) over the atoms of every group."""
        sums = self.zeros(groups)

        def work(pairs: PairBlock) -> np.ndarray:
            part = groups.part(sums)
            self.add(groups, pairs.atoms, self.squared(pairs)[1], part)
            return part

        for part in sweep(self._finder(structure), len(groups.of), work):
            groups.join(part, sums)
        return sums

    def vjp(
        self, structure: Structure, groups: AtomGroups, weights: np.ndarray, strain: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the sums and the gradient of ``(weights * sums).sum()`` in the positions.

        That in a strain is added to ``strain``, see `AtomEvaluator.group_sums_vjp`.
        """
        return self.found_vjp(structure, self._finder(structure), groups, weights, strain)

    def found_vjp(
        self,
        structure: Structure,
        finder: PairFinder,
        groups: AtomGroups,
        weights: np.ndarray,
        strain: np.ndarray,
        above: tuple[np.ndarray, np.ndarray, Moduli] | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the same as `vjp`, from given pairs.

        ``above`` adds another form: numbers of some maps, gradients (N, n_some) in their moduli,
        and what was computed before.
        """
        sums, gradient = self.zeros(groups), Gradient(np.zeros((len(structure), 3)), strain)
        weights = self._powers.weights(weights)
        n_centers = len(structure) if above else len(groups.of)

        def work(pairs: PairBlock) -> tuple[np.ndarray, Pulls]:
            part, pulls = groups.part(sums), gradient.part(pairs)
            moments, squared = above[2][pairs.atoms.start] if above else self.squared(pairs)
            slopes = self.add(groups, pairs.atoms, squared, part, weights)
            of_squared = slopes.of_squared
            if above:
                sources, of_moduli, _ = above
                of_squared = np.zeros_like(squared)
                n_maps, n_atoms = slopes.of_squared.shape
                of_squared[:n_maps, :n_atoms] = slopes.of_squared
                of_squared[sources] += of_moduli[pairs.atoms].T / (2 * np.sqrt(squared[sources]))
            of_moments = np.zeros_like(moments)
            square_vjp(moments, self._weights, self._maps, of_squared, of_moments)
            self.moments.add_vjp(pairs, of_moments, pulls)
            return part, pulls

        for part, pulls in sweep(finder, n_centers, work):
            groups.join(part, sums)
            gradient.add(pulls)
        return sums, gradient.positions

    def jvp(
        self, structure: Structure, groups: AtomGroups, directions: Directions
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the sums and their derivatives along directions."""
        displacements, strains = directions.displacements, directions.strains
        n_directions, n_atoms = len(directions), len(structure)
        sums, derivatives = self.zeros(groups), self.zeros(groups, n_directions)
        n_rows = 3 * n_atoms
        # With many directions, the derivatives in all positions are made first.
        whole = (
            not groups.each
            and n_directions > WHOLE_PART * n_rows
            and n_rows * sums.nbytes < ROWS_BYTES
        )
        by_power = (groups.count, len(self.powers), len(self._maps))
        rows = np.zeros((n_atoms if whole else 0, 3, *by_power))
        strained = strains.any()
        moved = displacements.any() and not whole
        for changes in self.pairs(self._finder(structure, DERIVATIVE_PAIRS)):
            atoms = changes.pairs.atoms
            slopes = self.add(groups, atoms, changes.squared, sums, factors=True)
            factors = np.ascontiguousarray(slopes.factors.swapaxes(1, 2))
            members = groups.of[atoms]
            if whole:
                starts, neighbors = changes.pairs.starts, changes.pairs.neighbors
                add_rows(changes.jacobian, factors, atoms.start, starts, neighbors, members, rows)
            if not (moved or strained):
                continue
            along = changes.along(displacements if moved else None, strains if strained else None)
            for place, (group, change) in enumerate(zip(members, along, strict=True)):
                derivatives[:, group] += (change[:, None] * factors[:, place]).swapaxes(1, 2)
        if whole:
            flat = displacements.reshape(n_directions, n_rows) @ rows.reshape(n_rows, -1)
            derivatives += np.moveaxis(flat.reshape(n_directions, *by_power), 2, 3)
        return sums, derivatives

    def jacobian(self, structure: Structure) -> AtomJacobian:
        """Return the features (N, n_maps n_powers) of all atoms and their derivatives."""
        n_atoms, n_terms = len(structure), len(self._maps) * len(self.powers)
        groups = AtomGroups.atoms(n_atoms)
        features = self.zeros(groups)
        strain = np.empty((n_atoms, 3, 3, n_terms), self.moments.dtype)
        parts = []
        for changes in self.pairs(self._finder(structure, DERIVATIVE_PAIRS)):
            block = changes.pairs.atoms
            slopes = self.add(groups, block, changes.squared, features, factors=True)
            factors = slopes.factors.T
            by_centre = changes.pairs.by_atom(changes.jacobian)
            for row, (atoms, values, by_strain) in enumerate(by_centre):
                values = values[..., None] * factors[row]
                centers = np.full(len(atoms), block.start + row)
                parts.append((centers, atoms, values.reshape(len(atoms), 3, n_terms)))
                by_strain = by_strain[..., None] * factors[row]
                strain[block.start + row] = by_strain.reshape(3, 3, n_terms)
        centers, atoms, values = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        return AtomJacobian(features.reshape(n_atoms, n_terms), centers, atoms, values, strain)

    def pairs(self, finder: PairFinder) -> Iterator[PairDerivatives]:
        """Yield the derivatives of squared moduli in the vectors to neighbours."""
        for pairs in finder.blocks():
            moments, squared = self.squared(pairs)
            jacobian = np.empty((len(pairs.neighbors), 3, len(self._maps)), self.moments.dtype)
            square_jacobian(
                pairs.vectors, pairs.ends, self.moments.radials, moments, self._weights,
                self._maps, self.radials, jacobian,
            )  # fmt: skip
            yield PairDerivatives(pairs, squared, jacobian)

    def squared(self, pairs: PairBlock) -> tuple[np.ndarray, np.ndarray]:
        """Return moments and squared moduli (n_maps, n_atoms) of the centres of some pairs."""
        moments = self.moments.values(pairs)
        squared = np.empty((len(self._maps), moments.shape[2]), self.moments.dtype)
        square(moments, self._weights, self._maps, self._floors, squared)
        return moments, squared

    def add(
        self,
        groups: AtomGroups,
        atoms: slice,
        squared: np.ndarray,
        sums: np.ndarray,
        weights: np.ndarray | None = None,
        factors: bool = False,
    ) -> Slopes:
        """Add the powers of the maps that are summed, of those atoms that belong to a group."""
        n_atoms = len(groups.of[atoms])
        summed = np.ascontiguousarray(squared[: self.n_summed, :n_atoms])
        atoms = slice(atoms.start, atoms.start + n_atoms)
        return self._powers.add(summed, atoms, groups, sums, weights, factors)

    def _finder(self, structure: Structure, room: int | None = None) -> PairFinder:
        return PairFinder(structure, self.elements, self.moments.reach, self.moments.dtype, room)

    def zeros(self, groups: AtomGroups, *directions: int) -> np.ndarray:
        """Return sums of no atom, or derivatives along directions."""
        n_powers = len(self.powers)
        return groups.zeros(self.n_summed, n_powers, self.moments.dtype, *directions)


@dataclass(frozen=True, eq=False)
class PairDerivatives:
    """What the vectors to their neighbours do to the squared moduli of consecutive atoms.

    These (n_maps, n_atoms), and the derivatives (n_pairs, 3, n_maps) of the centre's in the vector,
    zero where a place is filled up.
    """

    pairs: PairBlock
    squared: np.ndarray
    jacobian: np.ndarray

    def along(
        self, displacements: np.ndarray | None, strains: np.ndarray | None
    ) -> Iterator[np.ndarray]:
        """Yield the derivatives (n_directions, n_maps) of every centre along directions.

        Those of displacements (n_directions, N, 3) and strains (n_directions, 3, 3), if any.
        """
        dtype, n_maps = self.jacobian.dtype, self.jacobian.shape[2]
        pairs = self.pairs
        for atom, (start, end) in enumerate(pairwise(pairs.starts.tolist()), pairs.atoms.start):
            moves: Any = 0
            if displacements is not None:
                moves = displacements[:, pairs.neighbors[start:end]] - displacements[:, atom, None]
            if strains is not None:
                moves = moves + pairs.vectors[:, start:end].T @ strains
            moves = moves.reshape(len(moves), -1).astype(dtype)
            yield moves @ self.jacobian[start:end].reshape(-1, n_maps)
