"""Geometry and message layers of the angular network."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from skwavelet.neural.bases import (
    GaussianBasis,
    RadialBasis,
    SolidHarmonics,
    cosine_cutoff,
    lengths,
    shifted_softplus,
)


def gather(values: Tensor, neighbors: Tensor) -> Tensor:
    """Return the rows (N, K, ...) of ``values`` (N, ...) in the slots of neighbours (N, K)."""
    # index_select has a faster double derivative than fancy indexing.
    rows = values.index_select(0, neighbors.reshape(-1))
    return rows.view(*neighbors.shape, *values.shape[1:])


@dataclass(frozen=True, eq=False)
class Surroundings:
    """What the angular layers know of the geometry.

    Attributes
    ----------
    neighbors : Tensor of shape (N, K)
    switch : Tensor of shape (N, K)
        Cutoff function of the distances; 0 in empty slots.
    radial : Tensor of shape (N, K, n_radial)
        Gaussians of the logarithms of the distances.
    angular : Tensor of shape (N, K, K, n_angular)
        Gaussians of cos(angle j i k) for the slots k and j; 0 where they are the same.
    harmonics : list of Tensor of shape (N, K, 2l + 1)
        Spherical harmonics of the directions, with sum_m Y_lm(u) Y_lm(v) = P_l(u v).
    """

    neighbors: Tensor
    switch: Tensor
    radial: Tensor
    angular: Tensor | None
    harmonics: list[Tensor] | None


class Geometry(nn.Module):
    """What the layers of one resolution share.

    Parameters
    ----------
    cutoff : float
        Å.
    start : float
        Centre of the first radial Gaussian (Å), greater than 0.
    n_radial, n_angular : int
        Number of Gaussians, or of Legendre polynomials; ``n_angular=0`` leaves the angles out.
    legendre : bool
        Whether angles enter by spherical harmonics rather than by Gaussians.
    """

    def __init__(self, cutoff: float, start: float, n_radial: int, n_angular: int, legendre: bool):
        super().__init__()
        self.cutoff = cutoff
        self.radial = RadialBasis(n_radial, start, cutoff)
        self.harmonics = SolidHarmonics(n_angular - 1) if legendre else None
        self.angular = GaussianBasis(n_angular, -1, 1) if n_angular and not legendre else None

    def forward(self, vectors: Tensor, neighbors: Tensor, filled: Tensor) -> Surroundings:
        """Evaluate at vectors (N, K, 3) to the neighbours (N, K)."""
        distances = lengths(vectors)
        directions = vectors / distances[..., None]
        switch = cosine_cutoff(distances, self.cutoff) * filled
        angular = harmonics = None
        if self.angular is not None:
            cosines = directions @ directions.transpose(1, 2)
            others = ~torch.eye(vectors.shape[1], dtype=torch.bool, device=vectors.device)
            angular = self.angular(cosines) * others[..., None]
        if self.harmonics is not None:
            harmonics = [
                math.sqrt(4 * math.pi / (2 * l + 1)) * values
                for l, values in enumerate(self.harmonics(directions))
            ]
        return Surroundings(neighbors, switch, self.radial(distances), angular, harmonics)


class _Update(nn.Module):
    """Two dense layers that turn a message into a change of the features.

    Messages are products of learned factors, which made the training diverge until their size
    was bounded: a small message enters as it is, a large one as its direction.
    """

    def __init__(self, n_inputs: int, width: int):
        super().__init__()
        self.inner, self.outer = nn.Linear(n_inputs, width), nn.Linear(width, width)

    def forward(self, message: Tensor) -> Tensor:
        """Return changes (N, width) of the features for messages (N, n_inputs)."""
        size = (1 + message.square().mean(dim=-1, keepdim=True)).sqrt()
        return self.outer(shifted_softplus(self.inner(message / size)))


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
        self.features = nn.Linear(width, width)
        self.pair = nn.Linear(n_radial, width)
        self.mix = nn.Linear(width, width)
        self.update = _Update(width, width)
        nn.init.normal_(self.pair.weight)
        if n_angular:
            self.triplet = nn.Linear(n_radial, n_angular * width, bias=False)
            nn.init.normal_(self.triplet.weight, std=0.5)
            if messages == "both":
                self.partner_radial = nn.Linear(n_radial, width, bias=False)
                self.partner = nn.Linear(width, width)

    def forward(
        self, features: Tensor, moments: list[Tensor], around: Surroundings
    ) -> tuple[Tensor, list[Tensor]]:
        """Return new features (N, width), and the empty list of moments."""
        filters = self.filters(features, around)
        carried = self.features(features)
        if self.messages == "center":
            message = (filters * around.switch[..., None]).sum(dim=1) * carried
        else:
            carried = gather(carried, around.neighbors) * around.switch[..., None]
            message = (filters * carried).sum(dim=1)
        return features + self.update(message), moments

    def filters(self, features: Tensor, around: Surroundings) -> Tensor:
        """Return the filters (N, K, width), summed over the second neighbour."""
        inner = shifted_softplus(self.pair(around.radial))
        if self.n_angular:
            triplets = self._triplets(around.radial, around.angular)
            weights = around.switch[..., None]
            if self.messages == "both":
                partner = gather(self.partner(features), around.neighbors)
                weights = weights * partner * self.partner_radial(around.radial)
            # The slot j = k has angular Gaussians 0, and ssp(0) = 0.
            inner = inner + 0.5 * (triplets * weights[:, None]).sum(dim=2)
        return self.mix(inner)

    def triplet_filters(self, radial: Tensor, angular: Tensor) -> Tensor:
        """Return Theta ssp(h) (n_distances, n_cosines, width) without the bias of Theta."""
        return self._triplets(radial, angular) @ self.mix.weight.T

    def _triplets(self, radial: Tensor, angular: Tensor) -> Tensor:
        """Return ssp(h) (..., K, J, width) of Gaussians (..., K, n_radial), (..., J, n_angular)."""
        contracted = self.triplet(radial).unflatten(-1, (self.n_angular, -1))
        return shifted_softplus(angular @ contracted)


class LegendreAngularLayer(nn.Module):
    """Messages through learned three-body filters in Legendre polynomials (6.4).

    The message to atom i is a learned combination, per channel, of

        sum_jk f_ij f_ik R_l(r_ij) R'_l(r_ik) P_l(cos jik) (W X)_j (W X)_k,    l < n_angular,

    and of sum_k f_ik R_0(r_ik) (W X)_k; R' is R with the channels mixed. By the addition theorem
    of spherical harmonics the double sum is a scalar product, sum_m A_ilm (M_l A)_ilm, of moments

        A_ilm = sum_k f_ik R_l(r_ik) Y_lm(u_ik) (W X)_k,

    so that the cost is proportional to the neighbours and not to their pairs. The terms j = k are
    part of it. Any layer but the first adds to its moments those A' of the layer before, of the
    atom itself and, in fewer channels, of its neighbours,

        (O_l A')_ilm + V_l sum_k f_ik T_l(r_ik) (S_l A')_klm,    l > 0,

    which tells how the surroundings of two neighbours are turned to each other.

    Parameters
    ----------
    width : int
    n_radial, n_angular : int
    first : bool
        Whether no layer comes before.
    """

    def __init__(self, width: int, n_radial: int, n_angular: int, first: bool):
        super().__init__()
        self.n_angular = n_angular
        self.features = nn.Linear(width, width)
        self.radial = nn.Linear(n_radial, n_angular * width, bias=False)
        self.mix = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(n_angular))
        self.update = _Update((n_angular + 1) * width, width)
        nn.init.normal_(self.radial.weight, std=0.5)
        n_carried = 0 if first else n_angular - 1
        self.carriers = nn.ModuleList(_MomentCarrier(width, n_radial) for _ in range(n_carried))

    def forward(
        self, features: Tensor, moments: list[Tensor], around: Surroundings
    ) -> tuple[Tensor, list[Tensor]]:
        """Return new features (N, width) and moments, of which the first layer takes none.

        Moments are a list of tensors (N, 2l + 1, width), l = 1 ... n_angular - 1.
        """
        carried = gather(self.features(features), around.neighbors) * around.switch[..., None]
        weights = self.radial(around.radial).unflatten(-1, (self.n_angular, -1))
        weights = weights * carried[:, :, None]
        assert around.harmonics is not None  # networks of this basis compute them
        sums = [
            harmonics.transpose(1, 2) @ weights[:, :, l]
            for l, harmonics in enumerate(around.harmonics)
        ]
        for l, carrier in enumerate(self.carriers, start=1):
            sums[l] = sums[l] + carrier(moments[l - 1], around)
        products = [
            0.3 * (moment * mix(moment)).sum(dim=1)
            for moment, mix in zip(sums, self.mix, strict=True)
        ]
        message = torch.cat([sums[0][:, 0], *products], dim=1)
        return features + self.update(message), sums[1:]


class _MomentCarrier(nn.Module):
    """What the moments of one degree add to those of the next layer, at the atom and around it."""

    def __init__(self, width: int, n_radial: int):
        super().__init__()
        n_sent = max(1, width // 4)
        self.own = nn.Linear(width, width, bias=False)
        self.send = nn.Linear(width, n_sent, bias=False)
        self.radial = nn.Linear(n_radial, n_sent, bias=False)
        self.receive = nn.Linear(n_sent, width, bias=False)
        nn.init.normal_(self.radial.weight, std=0.5)

    def forward(self, moments: Tensor, around: Surroundings) -> Tensor:
        """Return (N, 2l + 1, width) for moments of that shape."""
        filters = self.radial(around.radial) * around.switch[..., None]
        sent = gather(self.send(moments), around.neighbors) * filters[:, :, None]
        return self.own(moments) + self.receive(sent.sum(dim=1))
