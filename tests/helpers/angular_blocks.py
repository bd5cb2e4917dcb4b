r"""Angular sums in plain NumPy: what the compiled kernels are checked against.

Both bases take padded neighbourhoods: unit vectors ``u`` (n_atoms, K, 3) and two sets of weights,
``left`` (n_atoms, C, K) and ``right`` (n_atoms, S, K), 0 in padded places, and compute

.. math:: b_{acs}(i) = \sum_{j \ne k} left_{cj}\, right_{sk}\, g_a(u_j \cdot u_k),

of shape (n_atoms, A, C, S), with the derivatives for those of their three inputs (``jvp``) and
the gradients in them (``vjp``).
"""

from __future__ import annotations

from collections.abc import Iterator
from math import pi
from typing import Any

import numpy as np
from helpers.neighbor_blocks import Block, padded_blocks

from skwavelet.representations.angular.radial import RadialBasis, SignedPowers
from skwavelet.representations.wavelets import SolidHarmonics
from skwavelet.structures.neighborhoods import Neighborhoods


def gaussians(basis: RadialBasis, r: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the Gaussians (n_radial, E) at distances ``r`` (E,) and their derivatives."""
    offsets = r - np.array(basis.centers, dtype=r.dtype)[:, None]
    scaled = offsets * r.dtype.type(1 / basis.width**2)
    values = np.exp(-0.5 * scaled * offsets)
    return values, -scaled * values


class GaussianAngles:
    """Gaussians of the cosine: a sum over the pairs of neighbours.

    Parameters
    ----------
    centers : sequence of float
        Centres of the Gaussians.
    width : float
        Their standard deviation.
    """

    def __init__(self, centers, width, u, left, right):
        self.u, self.left, self.right = u, left, right
        self.cosines = u @ np.swapaxes(u, 1, 2)
        self.centers = np.array(centers, dtype=u.dtype)
        self.precision = u.dtype.type(1 / width**2)
        n_atoms, _, K = left.shape
        g = self.cosines[:, None] - self.centers[:, None, None]
        np.square(g, out=g)
        g *= -0.5 * self.precision
        np.exp(g, out=g)
        g.reshape(n_atoms, len(self.centers), -1)[:, :, :: K + 1] = 0  # j = k
        self.g = g  # (n_atoms, A, K, K)
        self.h = left[:, None] @ g  # (n_atoms, A, C, K): summed over j

    def values(self) -> np.ndarray:
        """Return b (n_atoms, A, C, S)."""
        return self._with_right(self.h, self.right)

    def jvp(self, du: np.ndarray, dleft: np.ndarray, dright: np.ndarray) -> np.ndarray:
        """Return the derivative of b for those of the unit vectors and weights."""
        dcosines = du @ np.swapaxes(self.u, 1, 2)
        dcosines += np.swapaxes(dcosines, 1, 2)
        dcosines *= self.precision
        dg = (self.centers[:, None, None] - self.cosines[:, None]) * dcosines[:, None]
        dg *= self.g
        dh = self.left[:, None] @ dg + dleft[:, None] @ self.g
        return self._with_right(dh, self.right) + self._with_right(self.h, dright)

    def vjp(self, cotangent: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the gradients in the unit vectors and weights for a cotangent of b."""
        n_atoms, A, C, K = self.h.shape
        flat = cotangent.reshape(n_atoms, A * C, -1)
        dright = np.swapaxes(flat, 1, 2) @ self.h.reshape(n_atoms, A * C, K)
        dh = (flat @ self.right).reshape(n_atoms, A, C, K)
        dleft = (dh @ self.g).sum(axis=1)
        dg = np.swapaxes(self.left, 1, 2)[:, None] @ dh
        dg *= self.g
        # d g_a / d cos = g_a (center_a - cos) / width^2
        sums = np.stack([np.ones_like(self.centers), self.centers]) @ dg.reshape(n_atoms, A, -1)
        plain, weighted = np.moveaxis(sums.reshape(n_atoms, 2, K, K), 1, 0)
        dcosines = (weighted - plain * self.cosines) * self.precision
        return (dcosines + np.swapaxes(dcosines, 1, 2)) @ self.u, dleft, dright

    def _with_right(self, h: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Sum h (n_atoms, A, C, K) with ``right`` over k."""
        n_atoms, A, C, K = h.shape
        summed = h.reshape(n_atoms, A * C, K) @ np.swapaxes(right, 1, 2)
        return summed.reshape(n_atoms, A, C, -1)


class LegendreAngles:
    r"""Legendre polynomials of the cosine: a sum over neighbours, by the addition theorem.

    :math:`\sum_{jk} a_j b_k P_l(\cos) = \frac{4\pi}{2l+1}\sum_m (\sum_j a_j Y_{lm})
    (\sum_k b_k Y_{lm})`, less the terms j = k (6.4).

    Parameters
    ----------
    n_degrees : int
        Degrees l = 0 ... n_degrees - 1.
    """

    def __init__(self, n_degrees, u, left, right):
        self.u, self.left, self.right = u, left, right
        self.n_degrees = n_degrees
        self._solid = SolidHarmonics(np.moveaxis(u, 2, 0), n_degrees - 1)
        harmonics = [self._solid.values(l) for l in range(n_degrees)]
        self.y = np.moveaxis(np.concatenate(harmonics), 0, 1)  # (n_atoms, lm, K)
        self.sums = [self.y @ np.swapaxes(weights, 1, 2) for weights in (left, right)]

    def values(self) -> np.ndarray:
        """Return b (n_atoms, A, C, S)."""
        return self._combine(*self.sums) - self._self_terms(self.left, self.right)

    def jvp(self, du: np.ndarray, dleft: np.ndarray, dright: np.ndarray) -> np.ndarray:
        """Return the derivative of b for those of the unit vectors and weights."""
        moves = np.moveaxis(du, 2, 0)
        dy = np.concatenate([(g * moves[:, None]).sum(axis=0) for g in self._gradients()])
        dy = np.moveaxis(dy, 0, 1)
        dsums = [
            dy @ np.swapaxes(weights, 1, 2) + self.y @ np.swapaxes(dweights, 1, 2)
            for weights, dweights in ((self.left, dleft), (self.right, dright))
        ]
        return (
            self._combine(dsums[0], self.sums[1])
            + self._combine(self.sums[0], dsums[1])
            - self._self_terms(dleft, self.right)
            - self._self_terms(self.left, dright)
        )

    def vjp(self, cotangent: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the gradients in the unit vectors and weights for a cotangent of b."""
        dsums = [np.empty_like(part) for part in self.sums]
        for l, m, factor in self._degrees():
            dsums[0][:, m] = factor * self.sums[1][:, m] @ np.swapaxes(cotangent[:, l], 1, 2)
            dsums[1][:, m] = factor * self.sums[0][:, m] @ cotangent[:, l]
        dleft, dright = (np.swapaxes(part, 1, 2) @ self.y for part in dsums)
        total = cotangent.sum(axis=1)
        dleft -= total @ self.right
        dright -= np.swapaxes(total, 1, 2) @ self.left
        dy = np.moveaxis(dsums[0] @ self.left + dsums[1] @ self.right, 1, 0)
        du = np.zeros((3, *self.u.shape[:2]), dtype=self.u.dtype)
        for (_, m, _), gradients in zip(self._degrees(), self._gradients(), strict=True):
            du += np.einsum("amnk,mnk->ank", gradients, dy[m])
        return np.moveaxis(du, 0, 2), dleft, dright

    def _gradients(self):
        return (self._solid.gradients(l) for l in range(self.n_degrees))

    def _degrees(self):
        """Yield every degree, the rows of its harmonics, and 4 pi / (2 l + 1)."""
        for l in range(self.n_degrees):
            yield l, slice(l**2, (l + 1) ** 2), self.u.dtype.type(4 * pi / (2 * l + 1))

    def _combine(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        parts = [
            factor * np.swapaxes(left[:, m], 1, 2) @ right[:, m] for _, m, factor in self._degrees()
        ]
        return np.stack(parts, axis=1)

    def _self_terms(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        return (left @ np.swapaxes(right, 1, 2))[:, None]


def reference_blocks(evaluator, structure):
    """Return the neighbourhoods of a structure, and a list of `AtomBlock`."""
    hoods = Neighborhoods(structure, evaluator.radial.reach)
    kinds = evaluator.kinds(structure)
    blocks = padded_blocks(hoods, evaluator.radial.reach, 4 * evaluator.n_terms)
    return hoods, [AtomBlock(evaluator, hoods, block, kinds, evaluator._floors) for block in blocks]


def reference_sums(evaluator, structure, groups, displacements, strains, weights):
    """Return sums over groups, their derivatives along directions, and the gradients."""
    hoods, blocks = reference_blocks(evaluator, structure)
    sums = evaluator._zeros(groups)
    derivatives = evaluator._zeros(groups, len(strains))
    gradient = np.zeros((len(hoods.vectors), 3))
    for block in blocks:
        of_values = np.zeros_like(block.values)
        for power, (value, factor) in enumerate(block.powers()):
            groups.add(block.atoms, value, sums[..., power])
            of_values += weights[groups.of[block.atoms], :, power] * factor
            for direction, pair in enumerate(zip(displacements, strains, strict=True)):
                moves = hoods.jvp(*pair)[block.block.pairs]
                groups.add(
                    block.atoms, factor * block.jvp(moves), derivatives[direction, ..., power]
                )
        gradient[block.block.pairs] = block.vjp(of_values)
    return sums, derivatives, *hoods.vjp(gradient)


class AtomBlock:
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
        gauss, gauss_derivative = gaussians(radial, self.r)
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
