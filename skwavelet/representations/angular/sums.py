"""Sums over pairs and triplets of the atoms of a block, and their gradients, from kernels."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from math import pi
from typing import Any

import numpy as np

from skwavelet.representations.angular.angle_kernels import fill_pair_sums
from skwavelet.representations.angular.gaussian_kernels import (
    add_gaussian_gradients,
    fill_gaussian_changes,
    fill_gaussian_sums,
)
from skwavelet.representations.angular.ladder import make_ladder
from skwavelet.representations.angular.ladder_kernels import Ladder
from skwavelet.representations.angular.legendre_kernels import (
    add_legendre_gradients,
    fill_legendre_changes,
    fill_legendre_sums,
)
from skwavelet.representations.angular.radial import RadialBasis
from skwavelet.representations.angular.weight_kernels import fill_pulls, fill_weights
from skwavelet.representations.exponential_kernels import exponential
from skwavelet.representations.pair_kernels import add_pulls
from skwavelet.representations.sweep import Pulls
from skwavelet.representations.wavelets import solid_harmonic_norm
from skwavelet.structures.cell_list import PairBlock


@dataclass(frozen=True, eq=False)
class AngularSums:
    """The sums of pairs and triplets of single atoms.

    ``weights`` (n_elements, n_channels) are those of the neighbours. There are ``n_angular``
    functions of the cosine, 0 for sums of pairs alone: Gaussians of some width at the centers,
    Legendre polynomials if there are none.
    """

    radial: RadialBasis
    weights: np.ndarray
    centers: np.ndarray
    width: float
    n_angular: int

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @cached_property
    def _gaussians(self) -> tuple[Ladder]:
        """The Gaussians of the cosine in the form of the compiled kernels."""
        return (make_ladder(self.centers, self.width, self.weights.dtype),)

    @cached_property
    def _distances(self) -> tuple:
        """Centres of the Gaussians of the distance, half their precision, and the exponential."""
        dtype, radial = self.weights.dtype, self.radial
        centers, half = np.array(radial.centers, dtype), dtype.type(0.5 / radial.width**2)
        return centers, half, exponential(dtype.name)

    @cached_property
    def _harmonics(self) -> tuple[np.ndarray, np.ndarray]:
        """Norms of the solid harmonics, and 4 pi / (2 l + 1)."""
        dtype, degrees = self.weights.dtype, range(self.n_angular)
        norms = [solid_harmonic_norm(l, m) for l in degrees for m in range(l + 1)]
        return np.array(norms, dtype), 4 * pi / (2 * np.arange(self.n_angular) + 1).astype(dtype)

    def of(self, pairs: PairBlock, kinds: np.ndarray, slopes: bool = False) -> BlockSums:
        """Return the sums of the centres of some pairs.

        ``kinds`` are elements of all atoms. Derivatives need ``slopes``.
        """
        return BlockSums(self, pairs, kinds, slopes)


class BlockSums:
    """The sums of consecutive atoms: ``values`` (n_terms, n_atoms), pairs first, then triplets."""

    def __init__(self, sums: AngularSums, pairs: PairBlock, kinds: np.ndarray, slopes: bool):
        self._sums, self._pairs = sums, pairs
        dtype = sums.weights.dtype
        r = np.sqrt((pairs.vectors**2).sum(axis=0))
        n_left, n_right = sums.weights.shape[1], sums.weights.shape[1] * len(sums.radial.centers)
        self._r, self._unit = r, pairs.vectors / r
        self._left, self._right = (np.empty((n, len(r)), dtype) for n in (n_left, n_right))
        self._left_slopes, self._right_slopes = (
            np.empty((n if slopes else 0, len(r)), dtype) for n in (n_left, n_right)
        )
        # Pairs that fill up places are beyond the reach.
        within = r < sums.radial.reach
        cutoff, cutoff_slope = (part * within for part in sums.radial.cutoff(r))
        fill_weights(
            r, kinds[pairs.neighbors], sums.weights, cutoff, cutoff_slope, *sums._distances,
            self._left, self._right, self._left_slopes, self._right_slopes,
        )  # fmt: skip
        self._starts = np.ascontiguousarray(pairs.starts)
        n_atoms = len(self._starts) - 1
        n_terms = n_right * (1 + n_left * sums.n_angular)
        self.values = np.empty((n_terms, n_atoms), dtype)
        fill_pair_sums(self._right, self._starts, self.values[:n_right])
        if not sums.n_angular:
            return
        both = self._unit, self._left, self._right, self._starts
        triplets = self.values[n_right:]
        if len(sums.centers):
            self._kept = np.empty((sums.n_angular * n_left, len(r)), dtype)
            fill_gaussian_sums(*both, *sums._gaussians, self._kept, triplets)
        else:
            shape = n_atoms, _filled(n_left + n_right), _filled(sums.n_angular**2)
            self._kept = np.empty(shape, dtype)
            fill_legendre_sums(*both, *sums._harmonics, self._kept, triplets)

    def add_vjp(self, cotangents: np.ndarray, pulls: Pulls) -> None:
        """Add the gradients of ``(cotangents * values).sum()``."""
        sums, pairs, n_right = self._sums, self._pairs, len(self._right)
        of_unit, of_left = np.zeros_like(self._unit), np.zeros_like(self._left)
        of_right = np.repeat(cotangents[:n_right], np.diff(self._starts), axis=1)
        if sums.n_angular:
            add = add_gaussian_gradients if len(sums.centers) else add_legendre_gradients
            tables = sums._gaussians if len(sums.centers) else sums._harmonics
            add(
                self._unit, self._left, self._right, self._starts, *tables, self._kept,
                cotangents[n_right:], of_unit, of_left, of_right,
            )  # fmt: skip
        pulled = np.empty_like(of_unit)
        fill_pulls(
            self._r, self._unit, self._left_slopes, self._right_slopes, of_left, of_right, of_unit,
            pulled,
        )  # fmt: skip
        add_pulls(
            pairs.vectors, pulled, pairs.local, self._starts, len(self._starts) - 1, 0,
            pulls.positions, pulls.strain.reshape(-1, 3, 3),
        )  # fmt: skip

    def jvp(self, moves: np.ndarray) -> np.ndarray:
        """Return derivatives (n_directions, n_terms, n_atoms) of the values.

        ``moves`` (n_directions, 3, n_pairs) are those of the vectors to the neighbours.
        """
        sums, n_right = self._sums, len(self._right)
        along = (moves * self._unit).sum(axis=1)
        turns = (moves - self._unit * along[:, None]) / self._r
        n_terms, n_atoms = self.values.shape
        # Apart: kernels are compiled for contiguous arrays.
        of_pairs = np.empty((len(moves), n_right, n_atoms), moves.dtype)
        of_triplets = np.empty((len(moves), n_terms - n_right, n_atoms), moves.dtype)
        for direction, change in zip(along, of_pairs, strict=True):
            fill_pair_sums(self._right_slopes * direction, self._starts, change)
        if sums.n_angular:
            fill = fill_gaussian_changes if len(sums.centers) else fill_legendre_changes
            tables = sums._gaussians if len(sums.centers) else sums._harmonics
            fill(
                self._unit, self._left, self._right, self._starts, *tables, self._kept,
                self._left_slopes, self._right_slopes, along, turns, of_triplets,
            )  # fmt: skip
        return np.concatenate([of_pairs, of_triplets], axis=1)


def _filled(n: int) -> int:
    """Return the next multiple of four."""
    return -(-n // 4) * 4
