"""The sums of angular features: neighbours, pairs and triplets of one structure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from skwavelet._utils.threads import n_threads
from skwavelet.representations.angular.radial import RadialBasis, SignedPowers
from skwavelet.representations.angular.sums import AngularSums
from skwavelet.representations.atom_evaluator import AtomEvaluator, AtomGroups
from skwavelet.representations.evaluator import Gradients
from skwavelet.representations.paths import Paths
from skwavelet.representations.sweep import Gradient, Pulls, sweep
from skwavelet.structures.cell_list import PairBlock, PairFinder
from skwavelet.structures.checks import Structure
from skwavelet.structures.directions import Directions
from skwavelet.structures.neighborhoods import describe_pairs, estimate_pairs, image_bytes

# Directions whose derivatives are computed together.
DIRECTIONS = 16
# Pairs of the atoms that are worked on together: their sums take more than moments would.
PAIRS = 2**13


@dataclass(frozen=True, eq=False)
class AngularPaths(Paths):
    """The paths of angular features, of pairs and triplets of neighbours j and k.

    ``radial`` is the radial function of neighbour k, whose channel is ``channel``; ``partner`` is
    the channel of neighbour j, ``angle`` the angular function.
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
        # Pairs of a few atoms for every thread, their weights twice, and images within reach.
        reach, itemsize = self.radial.reach, np.dtype(self.dtype).itemsize
        n_right = self.weights.shape[1] * len(self.radial.centers)
        per_pair = (4 * n_right + self.n_angular * self.weights.shape[1]) * itemsize + 100
        if method == "jvp":
            per_pair += DIRECTIONS * 8 * itemsize
        largest = max(PAIRS, estimate_pairs(structure, reach) / len(structure))
        return image_bytes(structure, reach) + n_threads() * largest * per_pair

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
        sums, kinds = self._zeros(groups), self.kinds(structure)

        def work(pairs: PairBlock) -> np.ndarray:
            part, block = groups.part(sums), self._sums.of(pairs, kinds)
            self._exponents.add(block.values, self._floors, pairs.atoms, groups, part)
            return part

        if self._sums_anything:
            for part in sweep(self._finder(structure), len(groups.of), work):
                groups.join(part, sums)
        return sums

    def group_sums_jvp(
        self, structure: Structure, groups: AtomGroups, directions: Directions
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the sums and their derivatives along directions."""
        sums, derivatives = self._zeros(groups), self._zeros(groups, len(directions))
        kinds = self.kinds(structure)
        for pairs in self._finder(structure).blocks() if self._sums_anything else ():
            block = self._sums.of(pairs, kinds, slopes=True)
            values = block.values.T
            factors = []
            for power, q in enumerate(self._exponents.powers):
                value, factor = self._exponents.value_and_derivative(values, self._floors, q)
                groups.add(pairs.atoms, value, sums[..., power])
                factors.append(factor)
            for start in range(0, len(directions), DIRECTIONS):
                some = directions[start : start + DIRECTIONS]
                moves = pairs.moves(some).astype(self.dtype)
                for direction, change in enumerate(block.jvp(moves), start):
                    for power, factor in enumerate(factors):
                        change_of_power = factor * change.T
                        groups.add(pairs.atoms, change_of_power, derivatives[direction, ..., power])
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
        sums, kinds = self._zeros(groups), self.kinds(structure)
        strain = np.zeros((3, 3)) if strain is None else strain
        gradient = Gradient(np.zeros((len(structure), 3)), strain)
        by_power = np.ascontiguousarray(weights.transpose(2, 1, 0), dtype=self.dtype)

        def work(pairs: PairBlock) -> tuple[np.ndarray, Pulls]:
            part, pulls = groups.part(sums), gradient.part(pairs)
            block = self._sums.of(pairs, kinds, slopes=True)
            cotangents = self._exponents.add(
                block.values, self._floors, pairs.atoms, groups, part, by_power
            )
            block.add_vjp(cotangents, pulls)
            return part, pulls

        if self._sums_anything:
            for part, pulls in sweep(self._finder(structure), len(groups.of), work):
                groups.join(part, sums)
                gradient.add(pulls)
        return sums, gradient.positions, strain

    # -- parts -------------------------------------------------------------------------------

    @cached_property
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

    @cached_property
    def _exponents(self) -> SignedPowers:
        return SignedPowers(self.powers)

    @cached_property
    def _sums(self) -> AngularSums:
        n_angular = self.n_angular if self._has_triplets else 0
        weights = np.asarray(self.weights, dtype=self.dtype)
        return AngularSums(self.radial, weights, np.array(self.angles), self.angle_width, n_angular)

    @property
    def _sums_anything(self) -> bool:
        return bool((self.paths.order > 0).any())

    def _finder(self, structure: Structure) -> PairFinder:
        dtype = np.dtype(self.dtype).name
        return PairFinder(structure, self.elements, self.radial.reach, dtype, PAIRS)
