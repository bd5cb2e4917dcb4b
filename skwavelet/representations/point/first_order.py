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
from skwavelet.representations.evaluator import Gradients
from skwavelet.representations.point.moduli_kernels import (
    add_rows,
    square,
    square_jacobian,
    square_vjp,
)
from skwavelet.representations.point.moments import WaveletMoments
from skwavelet.representations.point.powers import AtomPowers
from skwavelet.structures.cell_list import PairBlock, pair_blocks
from skwavelet.structures.checks import Structure

# Derivatives in all positions are made for this part of as many directions, if they take less.
WHOLE_PART = 0.2
ROWS_BYTES = 2**28


@dataclass(frozen=True, eq=False)
class FirstOrder:
    """Sums over atoms of powers of first-order moduli.

    Attributes
    ----------
    moments : WaveletMoments
    channels, radials : ndarray of shape (n_maps,)
        Channel and radial part of every map.
    floors : ndarray of shape (n_maps,)
        What is added to the squared moduli.
    elements : tuple of int
        Atomic numbers, in increasing order.
    weights : ndarray of shape (n_elements, n_channels)
        Channel weights of the elements.
    powers : AtomPowers
    """

    moments: WaveletMoments
    channels: np.ndarray
    radials: np.ndarray
    floors: np.ndarray
    elements: tuple[int, ...]
    weights: np.ndarray
    powers: AtomPowers

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

    def sums(self, structure: Structure, groups: AtomGroups) -> np.ndarray:
        """Return the sums (n_groups, n_maps, n_powers) over the atoms of every group."""
        sums = self._zeros(groups)
        for pairs, _, squared in self._blocks(structure, len(groups.of)):
            self._add(groups, pairs.atoms, squared, sums)
        return sums

    def vjp(
        self,
        structure: Structure,
        groups: AtomGroups,
        weights: np.ndarray,
        strain: np.ndarray | None = None,
    ) -> Gradients:
        """Return the sums and the gradients of ``(weights * sums).sum()``."""
        sums, gradient = self._zeros(groups), np.zeros((len(structure), 3))
        strain = np.zeros((3, 3)) if strain is None else strain
        # Powers first and groups last, as the squared moduli have their atoms.
        weights = weights.transpose(2, 1, 0).astype(self.moments.dtype)
        for pairs, moments, squared in self._blocks(structure, len(groups.of)):
            self._add(groups, pairs.atoms, squared, sums)
            members = groups.of[pairs.atoms]
            of_squared = sum(
                weight[:, members] * derivative
                for weight, derivative in zip(
                    weights, self.powers.derivatives(squared), strict=True
                )
            )
            of_moments = np.zeros_like(moments)
            square_vjp(moments, self._weights, self._maps, of_squared, of_moments)
            self.moments.add_vjp(pairs, of_moments, gradient, strain)
        return sums, gradient, strain

    def jvp(
        self,
        structure: Structure,
        groups: AtomGroups,
        displacements: np.ndarray,
        strains: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the sums and their derivatives along directions."""
        n_directions, n_atoms = len(strains), len(structure)
        sums, derivatives = self._zeros(groups), self._zeros(groups, n_directions)
        n_rows = 3 * n_atoms
        # With many directions, the derivatives in all positions are made first.
        whole = (
            not groups.each
            and n_directions > WHOLE_PART * n_rows
            and n_rows * sums.nbytes < ROWS_BYTES
        )
        by_power = (groups.count, len(self.powers.powers), len(self._maps))
        rows = np.zeros((n_atoms if whole else 0, 3, *by_power))
        strained = strains.any()
        moved = displacements.any() and not whole
        for changes in self._pairs(structure):
            atoms = changes.pairs.atoms
            self._add(groups, atoms, changes.squared, sums)
            factors = np.stack([d.T for d in self.powers.derivatives(changes.squared)])
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
        n_atoms, n_terms = len(structure), len(self._maps) * len(self.powers.powers)
        groups = AtomGroups.atoms(n_atoms)
        features = self._zeros(groups)
        strain = np.empty((n_atoms, 3, 3, n_terms), self.moments.dtype)
        parts = []
        for changes in self._pairs(structure):
            block = changes.pairs.atoms
            self._add(groups, block, changes.squared, features)
            factors = np.stack([d.T for d in self.powers.derivatives(changes.squared)], axis=-1)
            by_centre = changes.pairs.by_atom(changes.jacobian)
            for row, (atoms, values, by_strain) in enumerate(by_centre):
                values = values[..., None] * factors[row]
                centers = np.full(len(atoms), block.start + row)
                parts.append((centers, atoms, values.reshape(len(atoms), 3, n_terms)))
                by_strain = by_strain[..., None] * factors[row]
                strain[block.start + row] = by_strain.reshape(3, 3, n_terms)
        centers, atoms, values = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        return AtomJacobian(features.reshape(n_atoms, n_terms), centers, atoms, values, strain)

    def _pairs(self, structure: Structure) -> Iterator[PairDerivatives]:
        """Yield the derivatives of squared moduli in the vectors to neighbours."""
        for pairs, moments, squared in self._blocks(structure, len(structure)):
            jacobian = np.empty((len(pairs.neighbors), 3, len(self._maps)), self.moments.dtype)
            square_jacobian(
                pairs.vectors, pairs.ends, self.moments.radials, moments, self._weights,
                self._maps, self.radials, jacobian,
            )  # fmt: skip
            yield PairDerivatives(pairs, squared, jacobian)

    def _blocks(
        self, structure: Structure, n_centers: int
    ) -> Iterator[tuple[PairBlock, np.ndarray, np.ndarray]]:
        """Yield pairs, moments of their centres, and squared moduli (n_maps, n_atoms)."""
        moments = self.moments
        kind = self.elements, moments.reach, moments.dtype
        for pairs in pair_blocks(structure, *kind, n_centers):
            values = moments.values(pairs)
            squared = np.empty((len(self._maps), values.shape[2]), moments.dtype)
            square(values, self._weights, self._maps, self._floors, squared)
            yield pairs, values, squared

    def _add(self, groups: AtomGroups, atoms: slice, squared: np.ndarray, sums: np.ndarray) -> None:
        for power, values in enumerate(self.powers.values(squared, self._floors[:, None])):
            groups.add(atoms, values.T, sums[..., power])

    def _zeros(self, groups: AtomGroups, *directions: int) -> np.ndarray:
        n_powers = len(self.powers.powers)
        return groups.zeros(len(self._maps), n_powers, self.moments.dtype, *directions)


@dataclass(frozen=True, eq=False)
class PairDerivatives:
    """What the vectors to their neighbours do to the squared moduli of consecutive atoms.

    Attributes
    ----------
    pairs : PairBlock
    squared : ndarray of shape (n_maps, n_atoms)
        Squared moduli of these atoms.
    jacobian : ndarray of shape (n_pairs, 3, n_maps)
        Derivatives of the centre's squared moduli in the vector, zero where a place is filled up.
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
