"""Moments of the surroundings of atoms, as functions that torch can differentiate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from skwavelet.neural.couplings import Couplings
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


def moments(basis: Basis, couplings: Couplings, weights: Tensor, sent: Tensor) -> Tensor:
    """Return sums over neighbours of moments times harmonics, with all derivatives, on any device.

    Parameters
    ----------
    basis : Basis
    couplings : Couplings
        Of as many degrees.
    weights : Tensor of shape (n_radial, K, C)
        Of radial functions for every path.
    sent : Tensor of shape (A, N, C)
        Moments of the degrees that are taken.

    Returns
    -------
    Tensor of shape (M, N, n_places * C)
        B of `skwavelet.neural.moment_kernels`.
    """
    pairs, n_channels = basis.pairs, sent.shape[2]
    filters = (basis.radial @ weights.flatten(1)).unflatten(1, weights.shape[1:])
    # index_select has a faster double derivative than fancy indexing.
    there = sent.transpose(0, 1).index_select(0, pairs.neighbors)
    made: list[list[Tensor]] = [[] for _ in range(couplings.n_degrees)]
    for k, (c, a, b) in enumerate(couplings.paths):
        coefficients = torch.from_numpy(couplings.blocks[k]).to(sent)
        harmonics = basis.harmonics[:, b * b : (b + 1) ** 2]
        matrices = torch.einsum("pb,cab->pca", harmonics, coefficients)
        taken = filters[:, k, None] * there[:, a * a : (a + 1) ** 2]
        made[c].append(matrices @ taken if a else matrices * taken)  # one column times one row
    width = couplings.n_places * n_channels
    degrees = [torch.cat(parts, dim=2) for parts in made]
    all_degrees = [nn.functional.pad(part, (0, width - part.shape[2])) for part in degrees]
    of_pairs = torch.cat(all_degrees, dim=1)
    sums = of_pairs.new_zeros(sent.shape[1], *of_pairs.shape[1:])
    return sums.index_add(0, pairs.centers, of_pairs).transpose(0, 1)
