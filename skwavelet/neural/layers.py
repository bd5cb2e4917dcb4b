"""Message layers of the angular network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from skwavelet.neural.bases import shifted_softplus
from skwavelet.neural.couplings import Couplings
from skwavelet.neural.geometry import Surroundings
from skwavelet.neural.invariants import MomentProducts
from skwavelet.neural.moments import Basis, moments
from skwavelet.neural.product_kernels import LANES


def gather(values: Tensor, neighbors: Tensor) -> Tensor:
    """Return the rows (N, K, ...) of ``values`` (N, ...) in the places of neighbours (N, K)."""
    # index_select has a faster double derivative than fancy indexing.
    rows = values.index_select(0, neighbors.reshape(-1))
    return rows.view(*neighbors.shape, *values.shape[1:])


class Dense(nn.Linear):
    """A dense layer of the angular network, whose weights move by SOAP in training."""


class _Update(nn.Module):
    """Two dense layers that turn a message into a change of the features.

    Messages are products of learned factors, which made the training diverge until their size
    was bounded: a small message enters as it is, a large one as its direction.
    """

    def __init__(self, n_inputs: int, width: int):
        super().__init__()
        self.inner, self.outer = Dense(n_inputs, width), Dense(width, width)

    def forward(self, message: Tensor) -> Tensor:
        """Return changes (N, width) of the features for messages (N, n_inputs)."""
        return self.outer(shifted_softplus(self.inner(bounded(message, dim=-1))))


def bounded(values: Tensor, dim: int | tuple[int, ...]) -> Tensor:
    """Return values divided by (1 + their mean square)^(1/2)."""
    return values * (1 + values.square().mean(dim=dim, keepdim=True)).rsqrt()


class GaussianAngularLayer(nn.Module):
    """Messages through learned filters of a distance and an angle, (6.6)-(6.16).

    With X the features, W its linear map, f the cutoff function, the message to atom i is

        sum_k f_ik (W X)_k * Theta[ssp(Phi G(r_ik)) + sum_j f_ij V_ij * ssp(h_jik)]
        h_jik = Theta~ (G(r_ik) x G(cos jik))

    The sum over j comes before Theta, which is linear, and Theta~ is contracted with the radial
    Gaussians once per pair: a triplet costs n_angular * width operations.

    Parameters
    ----------
    width : int
    n_radial, n_angular : int
        Without angular Gaussians the second term in the bracket is left out.
    messages : {"both", "neighbor", "center"}
        Whose features the filter multiplies: V_ij is a learned function of X_j and r_ij and
        (W X)_k stands as above ("both"); V = 1 ("neighbor"); V = 1 and (W X)_i in the place of
        (W X)_k, the literal (6.13) ("center").
    """

    def __init__(self, width: int, n_radial: int, n_angular: int, messages: str):
        super().__init__()
        self.messages, self.n_angular = messages, n_angular
        self.features = Dense(width, width)
        self.pair = Dense(n_radial, width)
        self.mix = Dense(width, width)
        self.update = _Update(width, width)
        nn.init.normal_(self.pair.weight)
        if n_angular:
            self.triplet = Dense(n_radial, n_angular * width, bias=False)
            nn.init.normal_(self.triplet.weight, std=0.5)
            if messages == "both":
                self.partner_radial = Dense(n_radial, width, bias=False)
                self.partner = Dense(width, width)

    def forward(
        self, features: Tensor, before: Tensor | None, around: Surroundings
    ) -> tuple[Tensor, None]:
        """Return new features (N, width), and no moments."""
        filters = self.filters(features, around)
        carried = self.features(features)
        if self.messages == "center":
            message = (filters * around.switch[..., None]).sum(dim=1) * carried
        else:
            carried = gather(carried, around.neighbors) * around.switch[..., None]
            message = (filters * carried).sum(dim=1)
        return features + self.update(message), None

    def filters(self, features: Tensor, around: Surroundings) -> Tensor:
        """Return the filters (N, K, width), summed over the second neighbour."""
        inner = shifted_softplus(self.pair(around.radial))
        if around.angular is not None:
            triplets = _triplets(self.triplet, around.radial, around.angular)
            weights = around.switch[..., None]
            if self.messages == "both":
                partner = gather(self.partner(features), around.neighbors)
                weights = weights * partner * self.partner_radial(around.radial)
            # The place j = k has angular Gaussians 0, and ssp(0) = 0.
            inner = inner + 0.5 * (triplets * weights[:, None]).sum(dim=2)
        return self.mix(inner)

    def triplet_filters(self, radial: Tensor, angular: Tensor) -> Tensor:
        """Return Theta ssp(h) (n_distances, n_cosines, width) without the bias of Theta."""
        return _triplets(self.triplet, radial, angular) @ self.mix.weight.T


def _triplets(dense: nn.Linear, radial: Tensor, angular: Tensor) -> Tensor:
    """Return ssp(h) (..., K, J, width) of Gaussians (..., K, n_radial), (..., J, n_angular).

    Theta~ is contracted with the radial Gaussians once per pair.
    """
    contracted = dense(radial).unflatten(-1, (angular.shape[-1], -1))
    return shifted_softplus(angular @ contracted)


class LiteralAngularLayer(nn.Module):
    """Messages of (6.12)-(6.16) to the letter.

    With G the Gaussians of a distance and of a cosine,

        X_i + W_2 ssp(W_1 X_i * sum_jk f_ij f_ik Theta ssp(Theta~ (G(r_ik) x G(cos jik)))),

    so that an atom with less than two neighbours gets no message.

    Parameters
    ----------
    width : int
    n_radial, n_angular : int
    """

    def __init__(self, width: int, n_radial: int, n_angular: int):
        super().__init__()
        self.triplet = Dense(n_radial, n_angular * width, bias=False)
        self.mix = Dense(width, width, bias=False)
        self.inner, self.outer = Dense(width, width), Dense(width, width)

    def forward(
        self, features: Tensor, before: Tensor | None, around: Surroundings
    ) -> tuple[Tensor, None]:
        """Return new features (N, width), and no moments."""
        assert around.angular is not None  # networks of this basis compute them
        triplets = _triplets(self.triplet, around.radial, around.angular)
        switch = around.switch
        # The place j = k has angular Gaussians 0, and ssp(0) = 0.
        filters = torch.einsum("nkjc,nk,nj->nc", triplets, switch, switch)
        message = self.mix(filters) * features
        return features + self.outer(shifted_softplus(self.inner(message))), None

    def triplet_filters(self, radial: Tensor, angular: Tensor) -> Tensor:
        """Return Theta ssp(h), (n_distances, n_cosines, width)."""
        return _triplets(self.triplet, radial, angular) @ self.mix.weight.T


class DegreeLinear(nn.Module):
    """A matrix for each degree of moments (M,), the same for all their components."""

    degrees: Tensor

    def __init__(self, degrees: Tensor, n_inputs: int, n_outputs: int):
        super().__init__()
        n_degrees = int(degrees.max()) + 1
        self.weight = nn.Parameter(torch.empty(n_degrees, n_inputs, n_outputs))
        bound = n_inputs**-0.5
        nn.init.uniform_(self.weight, -bound, bound)
        self.register_buffer("degrees", degrees, persistent=False)

    def forward(self, moments: Tensor) -> Tensor:
        """Return moments (M, N, n_outputs) of moments (M, N, n_inputs)."""
        return torch.bmm(moments, self.weight.index_select(0, self.degrees))


class LegendreAngularLayer(nn.Module):
    """Messages through learned filters of up to four bodies, in spherical harmonics (6.4).

    With X the features, W their linear map and f the cutoff function, the moments of atom i are

        A_ilm = sum_k f_ik R_l(r_ik) Y_lm(u_ik) (W X)_k,    l < n_angular,

    and in any layer but the first, which takes the moments A' of the layer before, also what
    those of the atom itself are and what, in 16 channels, those of its neighbours make together
    with the harmonics of the bonds,

        O_l A'_ilm + sum_p V_p sum_k f_ik T_p(r_ik) sum_ab C_mab (S A'_k)_a Y_b(u_ik),  O diagonal,

    which tells how the surroundings of two neighbours are turned to each other and to the bond.
    Each path p has degrees of its own of a and b, and C of Gaunt's coefficients (`Couplings`); the
    first have b = 0 and hand moments on as they are. The message holds
    A_i00 and the products of two and three of the moments, with channels mixed and their size
    bounded (`MomentProducts`). By the addition theorem, products of two are double sums over
    neighbours j and k with P_l(cos jik), at a cost proportional to the neighbours and not to
    their pairs; terms j = k are part of it.

    Parameters
    ----------
    width : int
    n_radial : int
    degrees : Tensor of shape (M,)
    first : bool
        Whether no layer comes before.
    """

    def __init__(self, width: int, n_radial: int, degrees: Tensor, first: bool):
        super().__init__()
        self.n_degrees = int(degrees.max()) + 1
        self.first = first
        n_mixed = max(1, width // 2)
        self.features = Dense(width, width)
        self.radial = Dense(n_radial, self.n_degrees * width, bias=False)
        nn.init.normal_(self.radial.weight, std=0.5)
        self.of_features = Couplings(self.n_degrees, 1)
        if not first:
            self.kept = nn.Parameter(torch.ones(self.n_degrees, 1, width))
            # As many as kernels take at once: 8 channels are worse, 32 no better.
            self.send = DegreeLinear(degrees, width, LANES)
            self.of_moments = Couplings(self.n_degrees, self.n_degrees)
            n_paths, n_places = len(self.of_moments.paths), self.of_moments.n_places
            self.filters = Dense(n_radial, n_paths * LANES, bias=False)
            nn.init.normal_(self.filters.weight, std=0.5)
            self.receive = DegreeLinear(degrees, n_places * LANES, width)
        self.mix = DegreeLinear(degrees, width, n_mixed)
        self.products = MomentProducts(degrees)
        self.update = _Update(width + self.products.n_outputs * n_mixed, width)

    def forward(
        self, features: Tensor, before: Tensor | None, around: Basis
    ) -> tuple[Tensor, Tensor]:
        """Return new features (N, width) and moments (M, N, width), taking those of before."""
        carried = self.features(features)
        weights = self.radial.weight.T.unflatten(1, (self.n_degrees, -1))
        own = moments(around, self.of_features, weights, carried[None])
        if before is not None:
            filters = self.filters.weight.T.unflatten(1, (-1, LANES))
            received = moments(around, self.of_moments, filters, self.send(before))
            own = own + self.kept.index_select(0, around.degrees) * before + self.receive(received)
        products = self.products(bounded(self.mix(own), dim=(0, 2)))
        return features + self.update(torch.cat([own[0], products], dim=1)), own
