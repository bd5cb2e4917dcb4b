"""Sums of both orders at the atoms, and their derivatives, from compiled kernels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from skwavelet.representations.atom_evaluator import AtomGroups
from skwavelet.representations.pair_kernels import add_at
from skwavelet.representations.point.first_order import DERIVATIVE_PAIRS, FirstOrder, Moduli
from skwavelet.representations.point.moments import WaveletMoments
from skwavelet.representations.point.powers import AtomPowers
from skwavelet.representations.point.second_gradient_kernels import (
    add_second_changes,
    add_second_gradients,
)
from skwavelet.representations.point.second_kernels import SecondMaps, fill_second
from skwavelet.representations.sweep import Gradient, Pulls, sweep
from skwavelet.structures.cell_list import PairBlock, PairFinder
from skwavelet.structures.checks import Structure
from skwavelet.structures.directions import Directions
from skwavelet.structures.neighbor_kernels import GROUP

# Derivatives of all inputs together stay below this.
DERIVATIVE_BYTES = 2**26

# Rows of products are worked on by so many.
ROWS = 4


@dataclass(frozen=True, eq=False)
class SecondOrder:
    """Sums over atoms of powers of moduli of both orders.

    Maps are those of the first order that are summed, then those of the second. Of all moduli of
    the first order, ``sources`` (n_inputs,) are inputs of the second, those of its first scales
    first. Every map of the second order has an input, a radial part (of its wavelets, which have no
    moments themselves), and a floor that is added to the squared moduli.
    """

    first: FirstOrder
    sources: np.ndarray
    moments: WaveletMoments
    inputs: np.ndarray
    radials: np.ndarray
    floors: np.ndarray

    @cached_property
    def _order(self) -> np.ndarray:
        """The maps in the order of the kernels: by radial part."""
        return np.lexsort([self.inputs, self.radials])

    @cached_property
    def _maps(self) -> SecondMaps:
        order = self._order
        inputs, radials = self.inputs[order], self.radials[order]
        degrees, scale = self.moments.degrees, self.moments.radials.scale
        n_scales = scale.max() + 1
        # Wavelets of a scale stand together, by radial part, then m.
        sizes = np.bincount(scale, 2 * degrees + 1, n_scales).astype(int)
        lines = _bounds(_filled(sizes, ROWS))
        first_lines = np.empty_like(degrees)
        for s in range(n_scales):
            here = np.flatnonzero(scale == s)
            first_lines[here] = lines[s] + _bounds(2 * degrees[here] + 1)[:-1]
        widths = np.zeros(n_scales, int)
        np.maximum.at(widths, scale[radials], inputs + 1)
        return SecondMaps(
            lines=lines,
            sizes=sizes,
            widths=_filled(widths, GROUP),
            degrees=degrees,
            first_lines=first_lines,
            bounds=_bounds(np.bincount(radials, minlength=len(degrees))),
            floors=self.floors[order].astype(self.moments.dtype),
            inputs=inputs,
            radials=radials,
            order=np.argsort(inputs, kind="stable"),
        )

    @cached_property
    def _powers(self) -> AtomPowers:
        return AtomPowers(self.first.powers, self._maps.floors)

    def sums(self, structure: Structure, groups: AtomGroups) -> np.ndarray:
        """Return the sums (n_groups, n_maps, n_powers) over the atoms of every group."""
        first, second = self.first.zeros(groups), self._zeros(groups)
        sigma, finder = self._empty_sigma(structure), self._finder(structure)

        def below(pairs: PairBlock) -> np.ndarray:
            part, squared = groups.part(first), self.first.squared(pairs)[1]
            self._store(pairs.atoms, squared, sigma)
            self.first.add(groups, pairs.atoms, squared, part)
            return part

        def work(pairs: PairBlock) -> np.ndarray:
            part, (_, squared) = (
                groups.part(second),
                self._squared(pairs, pairs.neighbors, sigma, 1),
            )
            self._powers.add(squared, pairs.atoms, groups, part)
            return part

        for part in sweep(finder, len(structure), below):
            groups.join(part, first)
        for part in sweep(finder, len(groups.of), work):
            groups.join(part, second)
        return self._joined(first, second)

    def vjp(
        self, structure: Structure, groups: AtomGroups, weights: np.ndarray, strain: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the sums and the gradient of ``(weights * sums).sum()`` in the positions.

        That in a strain is added to ``strain`` (3, 3).
        """
        second, sigma = self._zeros(groups), self._empty_sigma(structure)
        finder = self._finder(structure)

        moduli: Moduli = {}

        def below(pairs: PairBlock) -> None:
            found = moduli[pairs.atoms.start] = self.first.squared(pairs)
            self._store(pairs.atoms, found[1], sigma)

        for _ in sweep(finder, len(structure), below):
            pass
        n_first = self.first.n_summed
        of_second = self._powers.weights(weights[:, n_first:][:, self._order])
        of_sigma = np.zeros_like(sigma)
        gradient = Gradient(np.zeros((len(structure), 3)), strain)

        def work(pairs: PairBlock) -> tuple[np.ndarray, Pulls, np.ndarray]:
            part, pulls, inputs = groups.part(second), gradient.part(pairs), sigma[pairs.around]
            maps, squared = self._squared(pairs, pairs.local, inputs)
            slopes = self._powers.add(squared, pairs.atoms, groups, part, of_second)
            of_inputs = np.zeros_like(inputs)
            add_second_gradients(
                *self._arguments(pairs), inputs, maps, slopes.of_squared, of_inputs,
                pulls.positions, pulls.strain.reshape(-1, 3, 3),
            )  # fmt: skip
            return part, pulls, of_inputs

        for part, pulls, of_inputs in sweep(finder, len(groups.of), work):
            groups.join(part, second)
            gradient.add(pulls)
            add_at(pulls.around, of_inputs, of_sigma)
        first, of_first = self.first.found_vjp(
            structure,
            finder,
            groups,
            weights[:, :n_first],
            strain,
            (self.sources, of_sigma[:, : len(self.sources)], moduli),
        )
        return self._joined(first, second), gradient.positions + of_first

    def jvp(
        self, structure: Structure, groups: AtomGroups, directions: Directions
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the sums and their derivatives along directions."""
        parts = []
        per_direction = len(structure) * len(self.sources) * np.dtype(self.moments.dtype).itemsize
        size = max(1, DERIVATIVE_BYTES // per_direction)
        for start in range(0, max(1, len(directions)), size):
            sums, derivatives = self._jvp(structure, groups, directions[start : start + size])
            parts.append(derivatives)
        return sums, np.concatenate(parts)

    def _jvp(
        self, structure: Structure, groups: AtomGroups, directions: Directions
    ) -> tuple[np.ndarray, np.ndarray]:
        displacements, strains = directions.displacements, directions.strains
        n_directions, dtype = len(directions), self.moments.dtype
        first, second = self.first.zeros(groups), self._zeros(groups)
        of_first = self.first.zeros(groups, n_directions)
        of_second = np.zeros((*second.shape, n_directions), second.dtype)
        sigma, finder = self._empty_sigma(structure), self._finder(structure, DERIVATIVE_PAIRS)
        of_sigma = np.empty((len(self.sources), n_directions, len(structure)), dtype)
        for changes in self.first.pairs(finder):
            atoms = changes.pairs.atoms
            slopes = self.first.add(groups, atoms, changes.squared, first, factors=True)
            self._store(atoms, changes.squared, sigma)
            halves = 0.5 / np.sqrt(changes.squared[self.sources])
            for place, change in enumerate(changes.along(displacements, strains)):
                atom = atoms.start + place
                summed = change[:, : self.first.n_summed, None] * slopes.factors[:, :, place].T
                of_first[:, groups.of[atom]] += summed
                of_sigma[:, :, atom] = (change[:, self.sources] * halves[:, place]).T
        moves, strains = displacements.astype(dtype), strains.astype(dtype)
        for pairs in finder.blocks():
            around, inputs = pairs.around, sigma[pairs.around]
            maps, squared = self._squared(pairs, pairs.local, inputs)
            slopes = self._powers.add(squared, pairs.atoms, groups, second, factors=True)
            members, part = groups.of[pairs.atoms], of_second
            if groups.each:  # the kernel knows sums in double precision
                members, part = members - pairs.atoms.start, np.zeros(of_second[pairs.atoms].shape)
            add_second_changes(
                *self._arguments(pairs), inputs, maps, slopes.factors, members,
                moves.take(around, axis=1), strains, of_sigma.take(around, axis=2), part,
            )  # fmt: skip
            if groups.each:
                of_second[pairs.atoms] = part
        derivatives = self._joined(of_first, np.moveaxis(of_second, -1, 0))
        return self._joined(first, second), derivatives

    def _squared(
        self, pairs: PairBlock, neighbors: np.ndarray, inputs: np.ndarray, n_kept: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return maps and squared moduli (n_maps, n_atoms) of the centres of some pairs.

        Inputs (n, n_inputs) are numbered as the neighbours (n_pairs,). Maps are needed for
        derivatives only; without them, there is room for those of one atom.
        """
        n_atoms, dtype = len(pairs.starts) - 1, self.moments.dtype
        maps = np.empty((n_kept or n_atoms, self._maps.lines[-1], inputs.shape[1]), dtype)
        squared = np.empty((len(self._maps.inputs), n_atoms), dtype)
        radials = self.moments.radials
        fill_second(
            pairs.vectors, neighbors, pairs.ends, radials, self._maps, inputs, maps, squared
        )
        return maps, squared

    def _arguments(self, pairs: PairBlock) -> tuple:
        """Return what the kernels of derivatives begin with."""
        return pairs.vectors, pairs.local, pairs.ends, self.moments.radials, self._maps

    def _store(self, atoms: slice, squared: np.ndarray, sigma: np.ndarray) -> None:
        """Write the inputs of consecutive atoms."""
        moduli = np.sqrt(squared) - self.first.moduli_floors[:, None]
        sigma[atoms, : len(self.sources)] = moduli[self.sources].T

    def _finder(self, structure: Structure, room: int | None = None) -> PairFinder:
        reach = max(self.first.moments.reach, self.moments.reach)
        return PairFinder(
            structure, self.first.elements, reach, self.moments.dtype, room, again=True
        )

    def _empty_sigma(self, structure: Structure) -> np.ndarray:
        n_inputs = self._maps.widths.max()
        return np.zeros((len(structure), n_inputs), self.moments.dtype)

    def _zeros(self, groups: AtomGroups) -> np.ndarray:
        return groups.zeros(len(self.inputs), len(self.first.powers), self.moments.dtype)

    def _joined(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Return both (..., n_maps, n_powers) together, maps in their own order."""
        n_first, n_second = first.shape[-2], second.shape[-2]
        shape = (*first.shape[:-2], n_first + n_second, first.shape[-1])
        joined = np.empty(shape, first.dtype)
        joined[..., :n_first, :] = first
        joined[..., n_first + self._order, :] = second
        return joined


def _filled(n: np.ndarray, group: int) -> np.ndarray:
    """Return numbers of places of whole groups."""
    return -(-n // group) * group


def _bounds(sizes: Any) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(sizes)])
