"""Features of one structure and their derivatives: neighbours, sums, powers, normalization."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from skwavelet.representations.angular.angles import GaussianAngles, LegendreAngles
from skwavelet.representations.angular.radial import RadialBasis, SignedPowers
from skwavelet.representations.normalization import Normalization, zero_order
from skwavelet.structures.checks import Structure
from skwavelet.structures.neighborhoods import Block, Neighborhoods, check_memory

# Neighbour list, vectors, radial functions and their gradients in float64.
BYTES_PER_PAIR = 400


@dataclass(frozen=True, eq=False)
class AngularEvaluator:
    """The fitted state of an ``AngularFeatures`` on plain arrays.

    Attributes
    ----------
    radial : RadialBasis
    angles : tuple of float
        Centres of the Gaussians of the cosine; empty for Legendre polynomials.
    n_angular : int
        Number of angular functions.
    angle_width : float
        Standard deviation of the Gaussians of the cosine.
    elements : tuple of int
        Atomic numbers of the rows of ``weights``, in increasing order.
    weights : ndarray of shape (n_elements, n_channels)
        Channel weights.
    paths : ndarray of shape (n_paths, 6)
        Order, centre, channel of k, radial function, channel of j, angular function, as places
        in their lists; -1 where the order has none.
    columns : tuple of (ndarray, ndarray)
        Path and power of every feature.
    powers : tuple of float
    smoothing : float
        Floor of the powers relative to the largest contribution of a pair or triplet.
    normalize : {"atoms"} or None
    dtype : str
    """

    radial: RadialBasis
    angles: tuple[float, ...]
    n_angular: int
    angle_width: float
    elements: tuple[int, ...]
    weights: np.ndarray
    paths: np.ndarray
    columns: tuple[np.ndarray, np.ndarray]
    powers: tuple[float, ...]
    smoothing: float
    normalize: str | None
    dtype: str

    def check(self, structure: Structure) -> None:
        """Raise ``ValueError`` if the neighbours of a structure would not fit into memory."""
        check_memory(structure, self.radial.reach, BYTES_PER_PAIR, "set a smaller reach")

    def features(self, structure: Structure) -> np.ndarray:
        """Return the features, of shape (n_features,)."""
        totals = self._empty_totals()
        for block in self._blocks(Neighborhoods(structure, self.radial.reach), structure):
            self._add_powers(block, totals)
        sums = self._zero_order(structure) + self._by_path(totals)
        return self._normalization.features(sums, len(structure)).astype(self.dtype)

    def atom_features(self, structure: Structure) -> np.ndarray:
        """Return what every atom adds to the sums, of shape (N, n_features)."""
        kinds = np.searchsorted(self.elements, structure.numbers)
        table = np.zeros((len(structure), len(self.paths), len(self.powers)), self.dtype)
        zero = self.paths[:, 0] == 0
        weights = np.abs(self.weights[kinds][:, self.paths[zero, 2]])
        table[:, zero] = weights[:, :, None] ** np.array(self.powers)
        centers, entries, rows = self._entries
        for block in self._blocks(Neighborhoods(structure, self.radial.reach), structure):
            summed_over = block.centers[:, None] == centers
            for power, (value, _) in enumerate(self._powers(block)):
                table[block.block.atoms, rows, power] = value[:, entries] * summed_over
        return table[:, self.columns[0], self.columns[1]]

    def tangents(
        self, structure: Structure, displacements: np.ndarray, strains: np.ndarray
    ) -> np.ndarray:
        """Return derivatives along directions, of shape (n_directions, n_features)."""
        hoods = Neighborhoods(structure, self.radial.reach)
        totals, derivatives = self._empty_totals(), self._empty_totals(len(strains))
        for block in self._blocks(hoods, structure):
            self._add_powers(block, totals)
            slopes = [slope for _, slope in self._powers(block)]
            for direction, pair in enumerate(zip(displacements, strains, strict=True)):
                moves = hoods.moves(*pair)[block.block.pairs].astype(self.dtype)
                dv = block.push(moves)
                for power, slope in enumerate(slopes):
                    derivatives[direction, ..., power] += block.by_center(slope * dv)
        sums = self._zero_order(structure) + self._by_path(totals)
        derivatives = self._by_path(derivatives)
        tangents = self._normalization.tangents(sums, derivatives, len(structure))
        return tangents.astype(self.dtype)

    def gradients(
        self, structure: Structure, cotangent: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the features and the gradients of ``cotangent @ features``."""
        hoods = Neighborhoods(structure, self.radial.reach)
        zero, totals = self._zero_order(structure), self._empty_totals()
        weights = self._normalization.cotangents(cotangent, zero, len(structure))
        centers, entries, rows = self._entries
        table = self._empty_totals().astype(self.dtype)
        table[centers, entries] = weights[rows]
        gradient = np.zeros((len(hoods.vectors), 3))
        for block in self._blocks(hoods, structure):
            slope = np.zeros_like(block.values)
            for power, (value, derivative) in enumerate(self._powers(block)):
                totals[..., power] += block.by_center(value)
                slope += table[block.centers, :, power] * derivative
            gradient[block.block.pairs] = block.pull(slope)
        sums = zero + self._by_path(totals)
        features = self._normalization.features(sums, len(structure)).astype(self.dtype)
        return features, *hoods.pull(gradient)

    # -- parts -------------------------------------------------------------------------------

    @cached_property
    def _normalization(self) -> Normalization:
        return Normalization(self.normalize, self.paths, self.columns)

    @property
    def _entries(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return centre, place among the values of an atom, and row of every path."""
        rows = np.flatnonzero(self.paths[:, 0] > 0)
        order, center, channel, radial, partner, angle = self.paths[rows].T
        n_channels, n_radial = self.weights.shape[1], len(self.radial.centers)
        pairs = channel * n_radial + radial
        n_pairs = n_channels * n_radial
        triplets = n_pairs + (angle * n_channels + partner) * n_pairs + pairs
        return center, np.where(order == 1, pairs, triplets), rows

    @property
    def _floors(self) -> np.ndarray:
        """Return the floors (M,) of the values of an atom, pairs first."""
        sizes = np.sqrt((self.weights**2).mean(axis=0))
        floors = pairs = np.repeat(sizes, len(self.radial.centers))
        if self._has_triplets:
            triplets = np.tile(np.outer(sizes, pairs).ravel(), self.n_angular)
            floors = np.concatenate([pairs, triplets])
        return self.smoothing * floors

    @property
    def _has_triplets(self) -> bool:
        return bool((self.paths[:, 0] == 2).any())

    def _blocks(self, hoods: Neighborhoods, structure: Structure) -> Iterator[_AtomBlock]:
        kinds = np.searchsorted(self.elements, structure.numbers)
        if not (self.paths[:, 0] > 0).any():
            return
        floats = self.weights.shape[1] * len(self.radial.centers) * 4
        per_pair = 2 * self.n_angular if self._has_triplets and self.angles else 0
        floors = self._floors
        for block in hoods.blocks(self.radial.reach, floats, per_pair):
            yield _AtomBlock(self, hoods, block, kinds, floors)

    def _powers(self, block: _AtomBlock) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        powers = SignedPowers(self.powers)
        for q in powers.powers:
            yield powers.value_and_slope(block.values, block.floors, q)

    def _empty_totals(self, *directions: int) -> np.ndarray:
        """Return zeros for sums over the atoms of every element: (..., n_elements, M, n_powers)."""
        shape = (*directions, len(self.elements), len(self._floors), len(self.powers))
        return np.zeros(shape)

    def _add_powers(self, block: _AtomBlock, totals: np.ndarray) -> None:
        for power, (value, _) in enumerate(self._powers(block)):
            totals[..., power] += block.by_center(value)

    def _by_path(self, totals: np.ndarray) -> np.ndarray:
        """Return the sums (..., n_paths, n_powers) of ``_empty_totals``."""
        centers, entries, rows = self._entries
        sums = np.zeros((*totals.shape[:-3], len(self.paths), totals.shape[-1]))
        sums[..., rows, :] = totals[..., centers, entries, :]
        return sums

    def _zero_order(self, structure: Structure) -> np.ndarray:
        """Return sum_k |c(Z_k)|^q in the rows (n_paths, n_powers) of the zero-order paths."""
        channels = np.where(self.paths[:, 0] == 0, self.paths[:, 2], -1)
        return zero_order(structure.numbers, self.elements, self.weights, channels, self.powers)


class _AtomBlock:
    """The pair and triplet sums of a block of atoms, ``values`` (n_atoms, M)."""

    def __init__(self, evaluator, hoods: Neighborhoods, block: Block, kinds, floors):
        self.block, self.floors = block, floors
        self.triplets = evaluator._has_triplets
        self.n_elements = len(evaluator.elements)
        self.centers = kinds[block.atoms]
        radial: RadialBasis = evaluator.radial
        dtype = np.dtype(evaluator.dtype)
        self.r = hoods.distances[block.pairs].astype(dtype)
        self.unit = (hoods.vectors[block.pairs] / hoods.distances[block.pairs, None]).astype(dtype)
        weights = evaluator.weights[kinds[hoods.neighbors[block.pairs]]].T.astype(dtype)
        cutoff, cutoff_slope = radial.cutoff(self.r)
        gauss, gauss_slope = radial.gaussians(self.r)
        # Per pair: (C, E) weights of j, (C R, E) of k, and their derivatives in r.
        self.left, self.left_slope = weights * cutoff, weights * cutoff_slope
        shape = (len(weights) * len(gauss), len(self.r))
        self.right = (self.left[:, None] * gauss).reshape(shape)
        self.right_slope = self.left_slope[:, None] * gauss + self.left[:, None] * gauss_slope
        self.right_slope = self.right_slope.reshape(shape)
        right = self._padded(self.right)
        values = [right.sum(axis=2)]
        if self.triplets:
            left, unit = self._padded(self.left), np.moveaxis(block.pad(self.unit.T), 0, 2)
            self.sums = (
                GaussianAngles(evaluator.angles, evaluator.angle_width, unit, left, right)
                if evaluator.angles
                else LegendreAngles(evaluator.n_angular, unit, left, right)
            )
            values.append(self.sums.values().reshape(len(right), -1))
        self.values = np.concatenate(values, axis=1)

    def by_center(self, values: np.ndarray) -> np.ndarray:
        """Return the sums (n_elements, M) of ``values`` (n_atoms, M) over the atoms of each."""
        members = self.centers == np.arange(self.n_elements)[:, None]
        return members.astype(values.dtype) @ values

    def push(self, moves: np.ndarray) -> np.ndarray:
        """Return the derivatives (n_atoms, M) of the values along ``moves`` (E, 3)."""
        dr = np.vecdot(self.unit, moves)
        dright = self._padded(self.right_slope * dr)
        tangents = [dright.sum(axis=2)]
        if self.triplets:
            turn = (moves - self.unit * dr[:, None]) / self.r[:, None]
            du, dleft = (
                np.moveaxis(self.block.pad(turn.T), 0, 2),
                self._padded(self.left_slope * dr),
            )
            tangents.append(self.sums.push(du, dleft, dright).reshape(len(dright), -1))
        return np.concatenate(tangents, axis=1)

    def pull(self, cotangent: np.ndarray) -> np.ndarray:
        """Return the gradient (E, 3) in the vectors for a cotangent (n_atoms, M) of the values."""
        n_pairs, width = len(self.right), self.block.neighbors.shape[1]
        dright = np.repeat(cotangent[:, :n_pairs, None], width, axis=2)
        along = np.zeros_like(self.r)
        turn: Any = 0.0
        if self.triplets:
            n_atoms, n_left = len(cotangent), len(self.left)
            shaped = cotangent[:, n_pairs:].reshape(n_atoms, -1, n_left, n_pairs)
            du, dleft, from_triplets = self.sums.pull(shaped)
            dright += from_triplets
            along += np.einsum("se,se->e", self._unpadded(dleft), self.left_slope)
            turn = self.block.unpad(np.moveaxis(du, 2, 0)).T
            turn = (turn - self.unit * np.vecdot(turn, self.unit)[:, None]) / self.r[:, None]
        along += np.einsum("se,se->e", self._unpadded(dright), self.right_slope)
        return turn + along[:, None] * self.unit

    def _padded(self, values: np.ndarray) -> np.ndarray:
        """Spread (S, E) over (n_atoms, S, K), contiguous."""
        return np.ascontiguousarray(np.moveaxis(self.block.pad(values), 0, 1))

    def _unpadded(self, values: np.ndarray) -> np.ndarray:
        return self.block.unpad(np.moveaxis(values, 1, 0))
