"""Layers of the angular network as a function that torch differentiates, on a processor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from skwavelet.neural.layer_sweeps import Sweeps
from skwavelet.neural.moments import Basis


def through_layers(layers: Sequence[nn.Module], features: Tensor, basis: Basis) -> Tensor:
    """Return the features (N, width) of the atoms after layers of harmonics.

    Gradients by the vectors of pairs may be differentiated in their turn, by what the gradient
    came from and by the weights, as forces in a loss are.

    Parameters
    ----------
    layers : sequence of LegendreAngularLayer
    features : Tensor of shape (N, width)
    basis : Basis
        Constant, of atoms on a processor.
    """
    sweeps = Sweeps(layers, basis)
    return _Layers.apply(features, basis.radial, basis.harmonics, sweeps, *sweeps.parameters())[0]


class _Layers(torch.autograd.Function):
    """The layers.

    Besides features there are two outputs without values. What the sweeps know of the first
    derivatives is the input of `_Gradients` to torch: their gradients are the directions along
    which everything moves, and tell `backward` to go along.
    """

    @staticmethod
    def forward(
        ctx: Any,
        features: Tensor,
        radial: Tensor,
        harmonics: Tensor,
        sweeps: Sweeps,
        *weights: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        after = sweeps.values(features.detach(), keep=any(ctx.needs_input_grad))
        known = torch.empty_like(radial), torch.empty_like(harmonics)
        ctx.save_for_backward(features, *known, *weights)
        ctx.sweeps, ctx.forces_known = sweeps, False
        ctx.set_materialize_grads(False)
        return after, *known

    @staticmethod
    def backward(
        ctx: Any, by_features: Tensor | None, d_radial: Tensor | None, d_harmonics: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        features, known_radial, known_harmonics, *weights = ctx.saved_tensors
        sweeps, nothing = ctx.sweeps, [None] * len(weights)
        if by_features is None:
            by_features = torch.zeros_like(features)
        # The gradient that is differentiated in its turn is that of forces, by the vectors; the
        # sweep after it is that of a training step, by the weights alone.
        if torch.is_grad_enabled():
            ctx.forces_known = True
            gradients = _Gradients.apply(by_features, known_radial, known_harmonics, sweeps)
            return None, *gradients, None, *nothing
        before, radial, harmonics, by_weights = None, None, None, nothing
        if ctx.needs_input_grad[1] and not ctx.forces_known:
            before, radial, harmonics = sweeps.gradients(by_features)
        if any(ctx.needs_input_grad[4:]):
            before, by_weights = sweeps.second(by_features, d_radial)
        return before, radial, harmonics, None, *by_weights


class _Gradients(torch.autograd.Function):
    """The gradients by radial functions and harmonics."""

    @staticmethod
    def forward(
        ctx: Any, by_features: Tensor, known_radial: Tensor, known_harmonics: Tensor, sweeps: Sweeps
    ) -> tuple[Tensor, Tensor]:
        # Sweeps that knew where it comes from would keep each other alive.
        ctx.sweeps, ctx.source = sweeps, by_features.detach()
        _, radial, harmonics = sweeps.gradients(ctx.source)
        return radial, harmonics

    @staticmethod
    def backward(
        ctx: Any, d_radial: Tensor, d_harmonics: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, None]:
        along = d_radial.contiguous(), d_harmonics.contiguous()
        return ctx.sweeps.tangents(ctx.source, *along), *along, None
