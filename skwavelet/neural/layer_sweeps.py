"""The sweeps through layers of the angular network that training and forces need, on a processor.

Layers go four ways: their values; the gradient of the energy, backward; the change of all that
is known when atoms move, forward; and the change of the gradient, backward, which is the gradient
of the loss by the weights. Everything is written out, with few and large operations: as a graph
of torch these were 2,000 small ones, and the second derivatives went through all of them again.

Names: ``d_x`` is the change of x when atoms move, ``g_x`` the gradient of the energy by x, and
``h_x`` the change of that gradient. As the energy's own share in the loss is added to the change
of the gradient, h_x is the gradient of the loss by x.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor, nn

from skwavelet.neural import message_kernels, moment_kernels, part_kernels
from skwavelet.neural.bases import shifted_softplus
from skwavelet.neural.layers import LegendreAngularLayer
from skwavelet.neural.moments import Basis
from skwavelet.neural.product_kernels import lanes

_ONE_GRADIENT = "Only the last gradient by the vectors of pairs can be part of a loss."


def _arrays(*tensors: Tensor) -> list[np.ndarray]:
    return [tensor.numpy() for tensor in tensors]


class Sweeps:
    """Values of layers and the sweeps of their derivatives.

    Parameters
    ----------
    layers : sequence of LegendreAngularLayer
    basis : Basis
        Constant.
    """

    def __init__(self, layers: Sequence[nn.Module], basis: Basis):
        functions = basis.radial.detach(), basis.harmonics.detach()
        basis = replace(basis, radial=functions[0], harmonics=functions[1])
        self.layers = [LayerSweeps(layer, basis) for layer in layers]
        self.basis = basis
        # What the gradients that are kept came from, and what the changes are along.
        self.source: Tensor | None = None
        self.along: Tensor | None = None

    def parameters(self) -> list[Tensor]:
        """Return the weights in the order of their gradients."""
        return [weight for one in self.layers for weight in one.parameters]

    def values(self, features: Tensor, keep: bool) -> Tensor:
        """Return the features (N, width) after all layers, and keep what other sweeps need."""
        moments = None
        for one in self.layers:
            features, moments = one.values(features, moments)
            if not keep:
                del one.kept
        return features

    def gradients(self, g_features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the gradients by the first features, radial functions and harmonics."""
        self.source = g_features
        g_radial, g_harmonics = (
            torch.zeros_like(part) for part in (self.basis.radial, self.basis.harmonics)
        )
        g_moments = None
        for one in reversed(self.layers):
            g_features, g_moments = one.gradients(g_features, g_moments, g_radial, g_harmonics)
        return g_features, g_radial, g_harmonics

    def tangents(self, source: Tensor, d_radial: Tensor, d_harmonics: Tensor) -> Tensor:
        """Return the changes of the features after all layers.

        Raises
        ------
        RuntimeError
            If ``source`` is not what `gradients` was given last.
        """
        if source is not self.source:
            raise RuntimeError(_ONE_GRADIENT)
        self.along = d_radial
        d_features = torch.zeros_like(self.layers[0].kept.features)
        d_moments = None
        for one in self.layers:
            d_features, d_moments = one.tangents(d_features, d_moments, d_radial, d_harmonics)
        return d_features

    def second(self, h_features: Tensor, along: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        """Return the changes of the gradients by the first features and by all weights.

        They are those along the ``d_radial`` of the last `tangents`, plus the gradients for those
        by the features, which are all there is without any ``along``.

        Raises
        ------
        RuntimeError
            If ``along`` is not what `tangents` was given last.
        """
        if along is not None and (self.along is None or along.data_ptr() != self.along.data_ptr()):
            raise RuntimeError(_ONE_GRADIENT)
        h_moments, by_weights = None, list[Tensor]()
        for one in reversed(self.layers):
            h_features, h_moments, own = one.second(h_features, h_moments, along is not None)
            by_weights = own + by_weights
        return h_features, by_weights


class LayerSweeps:
    """The sweeps of one layer.

    Parameters
    ----------
    layer : LegendreAngularLayer
    basis : Basis
    """

    def __init__(self, layer: LegendreAngularLayer, basis: Basis):
        self.layer, self.basis = layer, basis
        of_layer = _parameters_of(layer)
        self.parameters = list(of_layer.values())
        self.weights = weights = {name: weight.detach() for name, weight in of_layer.items()}
        self.first = layer.first
        # Matrices and factors of degrees, once for every moment.
        self.repeated = {
            name: weights[name].index_select(0, basis.degrees)
            for name in ("mix.weight", "send.weight", "receive.weight", "kept")
            if name in weights
        }
        radial = weights["radial.weight"]
        self.radial = radial.T.contiguous()
        self.degrees = tuple(range(layer.n_degrees))
        if not self.first:
            self.filters = weights["filters.weight"].T.contiguous()
        self.products = layer.products.shape(layer.mix.weight.shape[2])

    def values(self, features: Tensor, before: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return features (N, width) and moments (M, N, width), of those of the layer before."""
        w, r, n_atoms = self.weights, self.repeated, len(features)
        carried = torch.addmm(w["features.bias"], features, w["features.weight"].T)
        if before is None:
            own = carried.new_zeros(len(self.basis.degrees), *carried.shape)
            sent = received = own.new_zeros(*own.shape[:2], 0)
        else:
            sent, own = torch.bmm(before, r["send.weight"]), before * r["kept"]
            received = own.new_zeros(*own.shape[:2], self.layer.receive.weight.shape[1])
        self.kept = kept = SimpleNamespace(
            features=features, carried=carried, before=before, sent=sent, own=own, received=received
        )
        moment_kernels.add_moments(*self._carried(), *_arrays(own))
        if before is not None:
            moment_kernels.add_moments(*self._sent(), *_arrays(received))
            own.baddbmm_(received, r["receive.weight"])
        mixed = torch.bmm(own, r["mix.weight"])
        products = self._products(mixed)
        kept.P, kept.factors = torch.empty_like(mixed), mixed.new_empty(2, n_atoms)
        kept.message = mixed.new_empty(1, n_atoms, w["update.inner.weight"].shape[1])
        message_kernels.messages(
            self.products, *_arrays(own, mixed, kept.P, products, kept.message, kept.factors)
        )
        kept.inner = torch.addmm(
            w["update.inner.bias"], kept.message[0], w["update.inner.weight"].T
        )
        kept.hidden = shifted_softplus(kept.inner)
        change = torch.addmm(w["update.outer.bias"], kept.hidden, w["update.outer.weight"].T)
        return change.add_(features), own

    def gradients(
        self, g_features: Tensor, g_own: Tensor | None, g_radial: Tensor, g_harmonics: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """Return gradients by features and moments of before; add those by the functions."""
        w, r, kept = self.weights, self.repeated, self.kept
        g_hidden = g_features @ w["update.outer.weight"]
        kept.slope = torch.sigmoid(kept.inner)
        g_inner = g_hidden * kept.slope
        g_message = (g_inner @ w["update.inner.weight"])[None]
        g_own = torch.zeros_like(kept.own) if g_own is None else g_own
        g_mixed, g_P = torch.empty_like(kept.P), torch.zeros_like(kept.P)
        g_products = torch.empty_like(self._products(kept.P))
        message_kernels.message_gradients(
            self.products, *_arrays(kept.P, kept.message, kept.factors, g_message),
            *_arrays(torch.empty_like(g_message), g_products, g_P, g_mixed, g_own),
        )  # fmt: skip
        g_own.baddbmm_(g_mixed, r["mix.weight"].mT)
        g_received = self._received(g_own)
        g_sent, g_carried = torch.zeros_like(kept.sent), torch.zeros_like(kept.carried)
        moment_kernels.add_gradients(
            *self._carried(), *_arrays(g_own, g_radial, g_harmonics, g_carried[None])
        )
        if not self.first:
            moment_kernels.add_gradients(
                *self._sent(), *_arrays(g_received, g_radial, g_harmonics, g_sent)
            )
        self.g = SimpleNamespace(
            features=g_features, hidden=g_hidden, inner=g_inner, message=g_message,
            products=g_products, P=g_P, mixed=g_mixed, own=g_own, received=g_received,
            sent=g_sent, carried=g_carried,
        )  # fmt: skip
        return self._before(g_features, g_carried, g_own, g_sent)

    def tangents(
        self, d_features: Tensor, d_before: Tensor | None, d_radial: Tensor, d_harmonics: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the changes of features and moments."""
        w, r, kept = self.weights, self.repeated, self.kept
        d_carried = d_features @ w["features.weight"].T
        if d_before is None:
            d_own, d_sent = torch.zeros_like(kept.own), kept.sent
            d_received = kept.received
        else:
            d_sent = torch.bmm(d_before, r["send.weight"])
            d_own, d_received = d_before * r["kept"], torch.zeros_like(kept.received)
        moment_kernels.add_tangents(
            *self._carried(), *_arrays(d_radial, d_harmonics, d_carried[None], d_own)
        )
        if d_before is not None:
            moment_kernels.add_tangents(
                *self._sent(), *_arrays(d_radial, d_harmonics, d_sent, d_received)
            )
            d_own.baddbmm_(d_received, r["receive.weight"])
        d_mixed = torch.bmm(d_own, r["mix.weight"])
        d_P, d_message = torch.empty_like(d_mixed), torch.empty_like(kept.message)
        message_kernels.message_tangents(
            self.products, *_arrays(kept.P, kept.message, kept.factors, d_own, d_mixed),
            *_arrays(d_P, self._products(d_P), d_message),
        )  # fmt: skip
        d_inner = d_message[0] @ w["update.inner.weight"].T
        d_hidden = d_inner * kept.slope
        self.d = SimpleNamespace(
            radial=d_radial, harmonics=d_harmonics, features=d_features, carried=d_carried,
            before=d_before, sent=d_sent, received=d_received, own=d_own, P=d_P,
            message=d_message, inner=d_inner, hidden=d_hidden,
        )  # fmt: skip
        return torch.addmm(d_features, d_hidden, w["update.outer.weight"].T), d_own

    def second(
        self, h_features: Tensor, h_own: Tensor | None, moved: bool
    ) -> tuple[Tensor, Tensor | None, list[Tensor]]:
        """Return changes of the gradients by features, moments of before, and weights."""
        w, r, kept, by = self.weights, self.repeated, self.kept, {}
        if not moved:
            self._stay()
        g, d = self.g, self.d
        h_hidden = h_features @ w["update.outer.weight"]
        h_inner = h_hidden * kept.slope
        if moved:
            curvature = kept.slope - kept.slope.square()
            h_inner.addcmul_(curvature.mul_(d.inner), g.hidden)
        h_message = (h_inner @ w["update.inner.weight"])[None]
        by["update.outer.bias"], by["update.inner.bias"] = h_features.sum(dim=0), h_inner.sum(dim=0)
        h_own = torch.zeros_like(kept.own) if h_own is None else h_own
        h_mixed, h_P = torch.empty_like(kept.P), torch.zeros_like(kept.P)
        message_kernels.message_second(
            self.products, *_arrays(kept.P, kept.message, kept.factors),
            *_arrays(d.P, d.message, g.message, g.products, g.P, h_message),
            *_arrays(torch.empty_like(h_message), torch.empty_like(g.products)),
            *_arrays(h_P, h_mixed, h_own),
        )  # fmt: skip
        h_own.baddbmm_(h_mixed, r["mix.weight"].mT)
        h_received = self._received(h_own)
        h_sent, h_carried, h_radial = (
            torch.zeros_like(x) for x in (kept.sent, kept.carried, self.radial)
        )
        moment_kernels.add_second(
            *self._carried(), *_arrays(g.own, d.radial, d.harmonics, d.carried[None]),
            *_arrays(h_own, h_carried[None], h_radial),
        )  # fmt: skip
        by["radial.weight"], by["features.bias"] = h_radial.T, h_carried.sum(dim=0)
        # A weight is multiplied by x, and g is the gradient by the product: it gets h x + g dx.
        dense = {
            "features.weight": (h_carried, kept.features, g.carried, d.features),
            "update.inner.weight": (h_inner, kept.message[0], g.inner, d.message[0]),
            "update.outer.weight": (h_features, kept.hidden, g.features, d.hidden),
        }
        mixing = {"mix.weight": (h_mixed, kept.own, g.mixed, d.own)}
        if not self.first:
            h_filters = torch.zeros_like(self.filters)
            moment_kernels.add_second(
                *self._sent(), *_arrays(g.received, d.radial, d.harmonics, d.sent),
                *_arrays(h_received, h_sent, h_filters),
            )  # fmt: skip
            by["filters.weight"] = h_filters.T
            mixing["send.weight"] = h_sent, kept.before, g.sent, d.before
            mixing["receive.weight"] = h_own, kept.received, g.own, d.received
            by["kept"] = torch.zeros_like(w["kept"])
            self._add_sums(h_own, kept.before, by["kept"])
            if moved:
                self._add_sums(g.own, d.before, by["kept"])
        for name, (h, x, g_out, d_x) in dense.items():
            by[name] = h.T @ x
            if moved:
                by[name].addmm_(g_out.T, d_x)
        for name, (h, x, g_out, d_x) in mixing.items():
            of_moments = torch.bmm(x.mT, h)
            if moved:
                of_moments.baddbmm_(d_x.mT, g_out)
            by[name] = self._of_degrees(of_moments)
        gradients = [by[name] for name in w]
        return (*self._before(h_features, h_carried, h_own, h_sent), gradients)

    def _stay(self) -> None:
        """Let the gradients that are known, and the changes, be zero."""
        kept, basis = self.kept, self.basis
        kept.slope = torch.sigmoid(kept.inner)
        functions = torch.zeros_like(basis.radial), torch.zeros_like(basis.harmonics)
        own, received, P = (torch.zeros_like(x) for x in (kept.own, kept.received, kept.P))
        message, carried, sent = (
            torch.zeros_like(x) for x in (kept.message, kept.carried, kept.sent)
        )
        self.g = SimpleNamespace(
            features=None, hidden=None, inner=None, message=message, products=self._products(P),
            P=P, mixed=None, own=own, received=received, sent=sent, carried=carried,
        )  # fmt: skip
        self.d = SimpleNamespace(
            radial=functions[0], harmonics=functions[1], features=None, carried=carried,
            before=None, sent=sent, received=received, own=own, P=P, message=message, inner=None,
            hidden=None,
        )  # fmt: skip

    def _before(
        self, by_features: Tensor, by_carried: Tensor, by_own: Tensor, by_sent: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """Return the gradients, or their changes, by features and moments of the layer before."""
        features = torch.addmm(by_features, by_carried, self.weights["features.weight"])
        if self.first:
            return features, None
        before = by_own * self.repeated["kept"]
        return features, before.baddbmm_(by_sent, self.repeated["send.weight"].mT)

    def _received(self, by_own: Tensor) -> Tensor:
        if self.first:
            return self.kept.received
        return torch.bmm(by_own, self.repeated["receive.weight"].mT)

    def _carried(self) -> list:
        """Return what the sums of features that are carried are of."""
        return self._sums((0,), self.radial, self.kept.carried[None])

    def _sent(self) -> list:
        """Return what the sums of moments that are handed on are of."""
        return self._sums(self.degrees, self.filters, self.kept.sent)

    def _sums(self, taken: tuple[int, ...], weights: Tensor, moments: Tensor) -> list:
        basis = self.basis
        pairs = _arrays(basis.pairs.starts, basis.pairs.neighbors)
        functions = _arrays(basis.radial, basis.harmonics, weights, moments)
        return [*pairs, (self.degrees, taken, lanes(moments.shape[2])), *functions]

    def _products(self, mixed: Tensor) -> Tensor:
        return mixed.new_zeros(self.layer.products.n_outputs, *mixed.shape[1:])

    def _of_degrees(self, values: Tensor) -> Tensor:
        """Return the sums (L, ...) over moments of a degree of values (M, ...)."""
        sums = values.new_zeros(self.layer.n_degrees, *values.shape[1:])
        return sums.index_add_(0, self.basis.degrees, values)

    def _add_sums(self, by: Tensor, moments: Tensor, gradient: Tensor) -> None:
        """Add to the gradient (L, 1, C) of factors of moments."""
        part_kernels.add_diagonal(*_arrays(self.basis.degrees, by, moments, gradient[:, 0]))


def _parameters_of(layer: LegendreAngularLayer) -> dict[str, Tensor]:
    """Return what ``named_parameters`` would, in a fraction of the time."""
    parts = {"features": layer.features, "radial": layer.radial}
    own = {}
    if not layer.first:
        own = {"kept": layer.kept}
        parts |= {"send": layer.send, "filters": layer.filters, "receive": layer.receive}
    parts |= {
        "mix": layer.mix, "update.inner": layer.update.inner, "update.outer": layer.update.outer,
    }  # fmt: skip
    for name, part in parts.items():
        own[f"{name}.weight"] = part.weight
        if getattr(part, "bias", None) is not None:
            own[f"{name}.bias"] = part.bias
    return own
