"""The sums of angular features: neighbours, pairs and triplets of one structure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from skwavelet.representations.angular.angles import GaussianAngles, LegendreAngles
from skwavelet.representations.angular.radial import RadialBasis, SignedPowers
from skwavelet.representations.atom_evaluator import AtomEvaluator, AtomGroups
from skwavelet.representations.evaluator import Gradients
from skwavelet.representations.paths import Paths
from skwavelet.structures.checks import Structure
from skwavelet.structures.neighborhoods import (
    Block,
    Neighborhoods,
    describe_pairs,
    estimate_pairs,
)

# Neighbour list, vectors, radial functions and their gradients in float64.
BYTES_PER_PAIR = 400


@dataclass(frozen=True, eq=False)
class AngularPaths(Paths):
    """The paths of angular features.

    Attributes
    ----------
    radial : ndarray of int
        Radial function of neighbour k, whose channel is ``channel``.
    partner : ndarray of int
        Channel of neighbour j.
    angle : ndarray of int
        Angular function.
    """

    radial: np.ndarray
    partner: np.ndarray
    angle: np.ndarray


@dataclass(frozen=True, eq=False, kw_only=True)
class AngularEvaluator(AtomEvaluator):
    """The fitted state of an ``AngularFeatures`` on plain arrays.

    The terms of an atom are those of pairs, then those of triplets.

    Attributes
    ----------
    paths : AngularPaths
    radial : RadialBasis
    angles : tuple of float
        Centres of the Gaussians of the cosine; empty for Legendre polynomials.
    n_angular : int
        Number of angular functions.
    angle_width : float
        Standard deviation of the Gaussians of the cosine.
    smoothing : float
        Floor of the powers relative to the largest contribution of a pair or triplet.
    """

    paths: AngularPaths
    radial: RadialBasis
    angles: tuple[float, ...]
    n_angular: int
    angle_width: float
    smoothing: float

    def memory(self, structure: Structure, method: str = "values") -> float:
        """Estimate the bytes that the neighbours of a structure take."""
        return estimate_pairs(structure, self.radial.reach) * BYTES_PER_PAIR

    def describe_need(self, structure: Structure) -> tuple[str, str]:
        """Return how many neighbours a structure has, and how to have fewer."""
        return describe_pairs(structure, self.radial.reach), "set a smaller reach"

    @property
    def interaction_range(self) -> float:
        """Distance (Å) beyond which atoms do not change the terms of an atom."""
        return self.radial.reach

    @property
    def places(self) -> np.ndarray:
        """Place of every path among the terms of an atom, of shape (n_paths,)."""
        paths, n_channels, n_radial = self.paths, self.weights.shape[1], len(self.radial.centers)
        pairs = paths.channel * n_radial + paths.radial
        n_pairs = n_channels * n_radial
        triplets = n_pairs + (paths.angle * n_channels + paths.partner) * n_pairs + pairs
        return np.select([paths.order == 1, paths.order == 2], [pairs, triplets], 0)

    @property
    def n_terms(self) -> int:
        """Number of terms of an atom."""
        return len(self._floors)

    def group_sums(self, structure: Structure, groups: AtomGroups) -> np.ndarray:
        """Return the sums (n_groups, n_terms, n_powers) over the atoms of every group."""
        sums = self._zeros(groups)
        for block in self._blocks(Neighborhoods(structure, self.radial.reach), structure):
            for power, (value, _) in enumerate(block.powers()):
                groups.add(block.atoms, value, sums[..., power])
        return sums

    def group_sums_jvp(
        self,
        structure: Structure,
        groups: AtomGroups,
        displacements: np.ndarray,
        strains: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the sums and their derivatives along directions."""
        hoods = Neighborhoods(structure, self.radial.reach)
        sums, derivatives = self._zeros(groups), self._zeros(groups, len(strains))
        for block in self._blocks(hoods, structure):
            factors = []
            for power, (value, factor) in enumerate(block.powers()):
                groups.add(block.atoms, value, sums[..., power])
                factors.append(factor)
            for direction, pair in enumerate(zip(displacements, strains, strict=True)):
                moves = hoods.jvp(*pair)[block.block.pairs].astype(self.dtype)
                dv = block.jvp(moves)
                for power, factor in enumerate(factors):
                    groups.add(block.atoms, factor * dv, derivatives[direction, ..., power])
        return sums, derivatives

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
        hoods = Neighborhoods(structure, self.radial.reach)
        sums, weights = self._zeros(groups), weights.astype(self.dtype)
        gradient = np.zeros((len(hoods.vectors), 3))
        for block in self._blocks(hoods, structure):
            of_values = np.zeros_like(block.values)
            for power, (value, factor) in enumerate(block.powers()):
                groups.add(block.atoms, value, sums[..., power])
                of_values += weights[groups.of[block.atoms], :, power] * factor
            gradient[block.block.pairs] = block.vjp(of_values)
        by_position, by_strain = hoods.vjp(gradient)
        if strain is not None and strain.ndim == 3:
            np.add.at(strain, hoods.centers, hoods.vectors[:, :, None] * gradient[:, None])
            by_strain = strain
        elif strain is not None:
            strain += by_strain
        return sums, by_position, by_strain

    # -- parts -------------------------------------------------------------------------------

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
        return bool((self.paths.order == 2).any())

    def _zeros(self, groups: AtomGroups, *directions: int) -> np.ndarray:
        return groups.zeros(self.n_terms, len(self.powers), self.dtype, *directions)

    def _blocks(self, hoods: Neighborhoods, structure: Structure) -> Iterator[_AtomBlock]:
        if not (self.paths.order > 0).any():
            return
        kinds = self.kinds(structure)
        floats = self.weights.shape[1] * len(self.radial.centers) * 4
        per_pair = 2 * self.n_angular if self._has_triplets and self.angles else 0
        floors = self._floors
        for block in hoods.blocks(self.radial.reach, floats, per_pair):
            yield _AtomBlock(self, hoods, block, kinds, floors)


class _AtomBlock:
    """The pair and triplet sums of a block of atoms, ``values`` (n_atoms, M)."""

    def __init__(self, evaluator, hoods: Neighborhoods, block: Block, kinds, floors):
        self.block, self.atoms, self.floors = block, block.atoms, floors
        self.triplets = evaluator._has_triplets
        self.exponents = SignedPowers(evaluator.powers)
        radial: RadialBasis = evaluator.radial
        dtype = np.dtype(evaluator.dtype)
        self.r = hoods.distances[block.pairs].astype(dtype)
        self.unit = (hoods.vectors[block.pairs] / hoods.distances[block.pairs, None]).astype(dtype)
        weights = evaluator.weights[kinds[hoods.neighbors[block.pairs]]].T.astype(dtype)
        cutoff, cutoff_derivative = radial.cutoff(self.r)
        gauss, gauss_derivative = radial.gaussians(self.r)
        # Per pair: (C, E) weights of j, (C R, E) of k, and their derivatives in r.
        self.left, self.left_derivative = weights * cutoff, weights * cutoff_derivative
        shape = (len(weights) * len(gauss), len(self.r))
        self.right = (self.left[:, None] * gauss).reshape(shape)
        right_derivative = self.left_derivative[:, None] * gauss
        right_derivative += self.left[:, None] * gauss_derivative
        self.right_derivative = right_derivative.reshape(shape)
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

    def powers(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the powers of the values and their derivatives."""
        for q in self.exponents.powers:
            yield self.exponents.value_and_derivative(self.values, self.floors, q)

    def jvp(self, moves: np.ndarray) -> np.ndarray:
        """Return the derivatives (n_atoms, M) of the values along ``moves`` (E, 3)."""
        dr = np.vecdot(self.unit, moves)
        dright = self._padded(self.right_derivative * dr)
        derivatives = [dright.sum(axis=2)]
        if self.triplets:
            turn = (moves - self.unit * dr[:, None]) / self.r[:, None]
            du, dleft = (
                np.moveaxis(self.block.pad(turn.T), 0, 2),
                self._padded(self.left_derivative * dr),
            )
            derivatives.append(self.sums.jvp(du, dleft, dright).reshape(len(dright), -1))
        return np.concatenate(derivatives, axis=1)

    def vjp(self, cotangent: np.ndarray) -> np.ndarray:
        """Return the gradient (E, 3) in the vectors for a cotangent (n_atoms, M) of the values."""
        n_pairs, width = len(self.right), self.block.neighbors.shape[1]
        dright = np.repeat(cotangent[:, :n_pairs, None], width, axis=2)
        along = np.zeros_like(self.r)
        turn: Any = 0.0
        if self.triplets:
            n_atoms, n_left = len(cotangent), len(self.left)
            shaped = cotangent[:, n_pairs:].reshape(n_atoms, -1, n_left, n_pairs)
            du, dleft, from_triplets = self.sums.vjp(shaped)
            dright += from_triplets
            along += np.einsum("se,se->e", self._unpadded(dleft), self.left_derivative)
            turn = self.block.unpad(np.moveaxis(du, 2, 0)).T
            turn = (turn - self.unit * np.vecdot(turn, self.unit)[:, None]) / self.r[:, None]
        along += np.einsum("se,se->e", self._unpadded(dright), self.right_derivative)
        return turn + along[:, None] * self.unit

    def _padded(self, values: np.ndarray) -> np.ndarray:
        """Spread (S, E) over (n_atoms, S, K), contiguous."""
        return np.ascontiguousarray(np.moveaxis(self.block.pad(values), 0, 1))

    def _unpadded(self, values: np.ndarray) -> np.ndarray:
        return self.block.unpad(np.moveaxis(values, 1, 0))
