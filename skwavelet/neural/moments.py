"""Moments of the surroundings of atoms, as functions that torch can differentiate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from skwavelet.neural.graph import Pairs


@dataclass(frozen=True, eq=False)
class Basis:
    """Functions of the vectors of pairs.

    Attributes
    ----------
    pairs : Pairs
    radial : Tensor of shape (P, n_radial)
        Radial functions times the cutoff function.
    harmonics : Tensor of shape (P, M)
        Spherical harmonics of all degrees, with sum_m Y_lm(u) Y_lm(v) = P_l(u v).
    degrees : Tensor of shape (M,)
    constant : bool
        Whether no weights act on the vectors, so that their second derivatives are not asked for.
    """

    pairs: Pairs
    radial: Tensor
    harmonics: Tensor
    degrees: Tensor
    constant: bool


class FixedFunctions(torch.autograd.Function):
    """Functions of vectors whose values and first derivatives are known.

    They may be differentiated once by the vectors, and then by what the gradient came from: in
    training the vectors are no functions of the weights.
    """

    @staticmethod
    def forward(
        ctx: Any,
        vectors: Tensor,
        radial: Tensor,
        radial_slopes: Tensor,
        harmonics: Tensor,
        harmonic_slopes: Tensor,
        directions: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Return the radial functions (P, n) and harmonics (P, M) of the vectors (P, 3).

        Their slopes are (P, n), along the directions (P, 3), and (P, 3, M).
        """
        ctx.save_for_backward(radial_slopes, harmonic_slopes, directions)
        return radial.clone(), harmonics.clone()

    @staticmethod
    def backward(ctx: Any, by_radial: Tensor, by_harmonics: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradient of the vectors."""
        radial_slopes, harmonic_slopes, directions = ctx.saved_tensors
        along = (by_radial * radial_slopes).sum(dim=1, keepdim=True) * directions
        across = (harmonic_slopes @ by_harmonics[:, :, None]).squeeze(-1)
        return along + across, None, None, None, None, None


def moments(
    basis: Basis, carried: Tensor, weights: Tensor, sent: Tensor, filters: Tensor
) -> tuple[Tensor, Tensor]:
    """Return sums over neighbours, on any device and with all derivatives.

    Parameters
    ----------
    basis : Basis
    carried : Tensor of shape (N, C)
        Features that the harmonics are multiplied by.
    weights : Tensor of shape (n_radial, L, C)
    sent : Tensor of shape (M, N, S)
        Moments that are handed on.
    filters : Tensor of shape (n_radial, L, S)

    Returns
    -------
    own, received : Tensor of shape (M, N, C) and (M, N, S)
        A and B of `skwavelet.neural.moment_kernels`.
    """
    pairs, degrees = basis.pairs, basis.degrees
    # index_select has a faster double derivative than fancy indexing.
    there = carried.index_select(0, pairs.neighbors)
    radial, handed = (
        (basis.radial @ part.flatten(1)).unflatten(1, part.shape[1:]) for part in (weights, filters)
    )
    own = (radial * there[:, None]).index_select(1, degrees) * basis.harmonics[:, :, None]
    moments_there = sent.transpose(0, 1).index_select(0, pairs.neighbors)
    received = handed.index_select(1, degrees) * moments_there
    sums = [
        part.new_zeros(len(carried), *part.shape[1:])
        .index_add(0, pairs.centers, part)
        .transpose(0, 1)
        for part in (own, received)
    ]
    return sums[0], sums[1]
