"""Moments of the surroundings of atoms, as functions that torch can differentiate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skwavelet.neural import moment_kernels as kernels
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
    """Return sums over neighbours.

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
    if basis.constant and carried.device.type == "cpu":
        own, received = _Moments.apply(
            basis.radial,
            basis.harmonics,
            carried,
            weights.flatten(1),
            sent.transpose(0, 1),
            filters.flatten(1),
            basis,
        )
        return own, received.transpose(0, 1)
    return plain_moments(basis, carried, weights, sent, filters)


def plain_moments(
    basis: Basis, carried: Tensor, weights: Tensor, sent: Tensor, filters: Tensor
) -> tuple[Tensor, Tensor]:
    """Return `moments` by array operations, on any device and with all derivatives."""
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


def _arrays(*tensors: Tensor) -> list[np.ndarray]:
    return [tensor.detach().contiguous().numpy() for tensor in tensors]


def _zeros(tensor: Tensor) -> Tensor:
    return torch.zeros(tensor.shape, dtype=tensor.dtype)


class _Moments(torch.autograd.Function):
    """`moments` by compiled kernels: weights (n, LC), moments (N, M, S) and filters (n, LS)."""

    @staticmethod
    def forward(
        ctx: Any,
        radial: Tensor,
        harmonics: Tensor,
        carried: Tensor,
        weights: Tensor,
        sent: Tensor,
        filters: Tensor,
        basis: Basis,
    ) -> tuple[Tensor, Tensor]:
        inputs = (radial, harmonics, carried, weights, sent, filters)
        ctx.save_for_backward(*inputs)
        ctx.basis = basis
        own = carried.new_zeros(len(basis.degrees), *carried.shape)
        received = torch.zeros(sent.shape, dtype=sent.dtype)
        kernels.add_moments(
            *_arrays(basis.pairs.starts, basis.pairs.neighbors, basis.degrees),
            *_arrays(*inputs, own, received),
        )
        return own, received

    @staticmethod
    def backward(ctx: Any, by_own: Tensor, by_received: Tensor) -> tuple:
        # The gradient that is differentiated in its turn is that of forces, by the vectors; the
        # sweep after it is that of a training step, by the weights alone.
        for_forces = torch.is_grad_enabled()
        wanted = (
            for_forces or not getattr(ctx, "forces_known", False),
            ctx.needs_input_grad[3] and not for_forces,
        )
        ctx.forces_known = for_forces
        gradients = _MomentGradients.apply(
            by_own, by_received, *ctx.saved_tensors, ctx.basis, *wanted
        )
        return (*gradients, None)


class _MomentGradients(torch.autograd.Function):
    """The gradients of `_Moments`, and their derivatives."""

    @staticmethod
    def forward(
        ctx: Any,
        by_own: Tensor,
        by_received: Tensor,
        radial: Tensor,
        harmonics: Tensor,
        carried: Tensor,
        weights: Tensor,
        sent: Tensor,
        filters: Tensor,
        basis: Basis,
        by_basis: bool,
        by_weights: bool,
    ) -> tuple[Tensor | None, ...]:
        inputs = (radial, harmonics, carried, weights, sent, filters)
        ctx.save_for_backward(by_own, by_received, *inputs)
        ctx.basis = basis
        ctx.set_materialize_grads(False)
        gradients = [_zeros(tensor) for tensor in inputs]
        kernels.add_gradients(
            *_arrays(basis.pairs.starts, basis.pairs.neighbors, basis.degrees),
            *_arrays(*inputs, by_own, by_received, *gradients),
            by_basis,
            by_weights,
        )
        wanted = (by_basis, by_basis, True, by_weights, True, by_weights)
        return tuple(g if want else None for g, want in zip(gradients, wanted, strict=True))

    @staticmethod
    def backward(ctx: Any, *changes: Tensor | None) -> tuple:
        by_own, by_received, radial, harmonics, carried, weights, sent, filters = ctx.saved_tensors
        along = [
            _zeros(tensor) if change is None else change
            for tensor, change in zip(
                (radial, harmonics, carried, sent),
                (changes[0], changes[1], changes[2], changes[4]),
                strict=True,
            )
        ]
        results = [
            _zeros(tensor) for tensor in (by_own, by_received, carried, weights, sent, filters)
        ]
        kernels.add_second(
            *_arrays(ctx.basis.pairs.starts, ctx.basis.pairs.neighbors, ctx.basis.degrees),
            *_arrays(radial, harmonics, carried, weights, sent, filters, by_own, by_received),
            *_arrays(*along, *results),
        )
        own, received, hx, hw, hh, hu = results
        return own, received, None, None, hx, hw, hh, hu, None, None, None
