"""Invariant products of moments, as a function that torch can differentiate."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from skwavelet.neural import invariant_kernels as kernels
from skwavelet.neural.couplings import triples
from skwavelet.neural.product_kernels import lanes


class MomentProducts(nn.Module):
    """Invariant products of two and of three moments of an atom, channel by channel.

    Of moments P_lm of Q channels: the scalar products sum_m P_lm P_lm and of neighbouring channels,
    sum_m P_lmq P_lm(q-1), and of three degrees sum C_m1m2m3 P_l1m1 P_l2m2 P_l3m3, with the
    coefficients of the product of spherical harmonics (Gaunt's).

    Parameters
    ----------
    degrees : Tensor of shape (M,)
    """

    def __init__(self, degrees: Tensor):
        super().__init__()
        self.degrees = degrees.numpy().copy()
        self.n_degrees = int(degrees.max()) + 1
        self.triples = triples(self.n_degrees)
        self.n_outputs = 2 * self.n_degrees + len({row for *_, row, _ in self.triples})

    def forward(self, moments: Tensor) -> Tensor:
        """Return products (N, n_outputs * Q) of moments (M, N, Q)."""
        if moments.device.type == "cpu":
            results = _Products.apply(moments, self)
        else:
            results = self.plain(moments)
        return results.transpose(0, 1).flatten(1)

    def shape(self, n_channels: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return what kernels know of the products."""
        return tuple(range(self.n_degrees)), lanes(n_channels)

    def plain(self, moments: Tensor) -> Tensor:
        """Return products (n_outputs, N, Q) by array operations, on any device."""
        place = moments.device
        degrees = torch.from_numpy(self.degrees).to(place)
        results = moments.new_zeros(self.n_outputs, *moments.shape[1:])
        results = results.index_add(0, degrees, moments * moments)
        crossed = moments * moments.roll(1, dims=2)
        results = results.index_add(0, self.n_degrees + degrees, crossed)
        if not self.triples:
            return results
        *indices, factors = zip(*self.triples, strict=True)
        a, b, c, row = (torch.tensor(part, device=place) for part in indices)
        values = torch.tensor(factors, dtype=torch.float64).to(moments)[:, None, None]
        return results.index_add(0, row, values * moments[a] * moments[b] * moments[c])


def _arrays(*tensors: Tensor) -> list[np.ndarray]:
    return [tensor.detach().contiguous().numpy() for tensor in tensors]


class _Products(torch.autograd.Function):
    """`MomentProducts` by compiled kernels."""

    @staticmethod
    def forward(ctx: Any, moments: Tensor, products: MomentProducts) -> Tensor:
        ctx.save_for_backward(moments)
        ctx.products = products
        results = moments.new_zeros(products.n_outputs, *moments.shape[1:])
        kernels.add_products(products.shape(moments.shape[2]), *_arrays(moments, results))
        return results

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple:
        return _ProductGradient.apply(gradient, *ctx.saved_tensors, ctx.products), None


class _ProductGradient(torch.autograd.Function):
    """The gradient of `_Products`, and its derivatives."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, moments: Tensor, products: MomentProducts) -> Tensor:
        ctx.save_for_backward(gradient, moments)
        ctx.products = products
        result = torch.zeros(moments.shape, dtype=moments.dtype)
        kernels.add_gradient(products.shape(moments.shape[2]), *_arrays(moments, gradient, result))
        return result

    @staticmethod
    def backward(ctx: Any, along: Tensor) -> tuple:
        gradient, moments = ctx.saved_tensors
        shape = ctx.products.shape(moments.shape[2])
        by_gradient, by_moments = (
            torch.zeros(part.shape, dtype=part.dtype) for part in (gradient, moments)
        )
        kernels.add_tangents(shape, *_arrays(moments, along, by_gradient))
        still = torch.zeros(gradient.shape, dtype=gradient.dtype)
        kernels.add_second(shape, *_arrays(moments, along, gradient, still, by_moments))
        return by_gradient, by_moments, None
