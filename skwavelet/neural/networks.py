"""The networks as torch modules: batches in, one number per structure out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from skwavelet.neural.bases import SolidWavelets, cosine_cutoff, lengths, shifted_softplus
from skwavelet.neural.geometry import GaussianGeometry, HarmonicGeometry
from skwavelet.neural.graph import Batch, Pairs
from skwavelet.neural.layer_functions import through_layers
from skwavelet.neural.layers import (
    Dense,
    GaussianAngularLayer,
    LegendreAngularLayer,
    LiteralAngularLayer,
    gather,
)
from skwavelet.neural.moments import Basis
from skwavelet.neural.pooling import AtomPooling, Nodes

# Features of order 1 that are smaller on all structures vanish by symmetry, but for rounding.
_VANISHING = 1e-5


class Readout(nn.Module):
    """A dense layer, a nonlinearity and a number per row."""

    def __init__(self, inner: nn.Linear):
        super().__init__()
        self.inner, self.outer = inner, nn.Linear(inner.out_features, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Return numbers (...) of features (..., n_inputs)."""
        return self.outer(self.last(features)).squeeze(-1)

    def last(self, features: Tensor) -> Tensor:
        """Return what the last layer sees (..., width)."""
        return shifted_softplus(self.inner(features))


@torch.no_grad()
def multiply_readout(readout: nn.Module, factor: float) -> None:
    """Multiply the numbers of a readout by a factor."""
    last = readout.outer if isinstance(readout, Readout) else readout
    for weight in last.parameters():
        weight.mul_(factor)


def last_features(readout: nn.Module, features: Tensor) -> Tensor:
    """Return what the last layer of a readout sees, which in a linear one is what it is given."""
    return readout.last(features) if isinstance(readout, Readout) else features


class AngularModule(nn.Module):
    """Embedding, angular layers and a readout, at the atoms and at every level of nodes.

    Parameters
    ----------
    n_elements : int
    width, n_layers, n_radial, n_angular : int
    cutoff, start : float
        Largest distance, and centre of the first radial Gaussian (Å).
    basis : {"legendre", "gaussian", "literal"}
    messages : {"both", "neighbor", "center"}
        See `GaussianAngularLayer`.
    n_pools : int
        How often atoms, then nodes, are pooled.
    """

    def __init__(
        self,
        n_elements: int,
        *,
        width: int,
        n_layers: int,
        n_radial: int,
        n_angular: int,
        cutoff: float,
        start: float,
        basis: str,
        messages: str,
        n_pools: int = 0,
    ):
        super().__init__()
        self.embedding = nn.Embedding(n_elements, width)
        harmonic = basis == "legendre" and n_angular > 0
        self.reaches = [cutoff * 2**level for level in range(n_pools + 1)]
        geometries: list[HarmonicGeometry | GaussianGeometry] = []
        levels = []
        for level, reach in enumerate(self.reaches):
            # Nodes may lie closer to each other than atoms do.
            first = 0.1 * reach if level else start
            sizes = reach, first, n_radial, n_angular
            if harmonic:
                geometry = HarmonicGeometry(*sizes)
                layers = [
                    LegendreAngularLayer(width, n_radial, geometry.degrees, first=number == 0)
                    for number in range(n_layers)
                ]
                geometries.append(geometry)
            else:
                geometries.append(GaussianGeometry(*sizes, literal=basis == "literal"))
                layers = [
                    LiteralAngularLayer(width, n_radial, n_angular)
                    if basis == "literal"
                    else GaussianAngularLayer(width, n_radial, n_angular, messages)
                    for _ in range(n_layers)
                ]
            levels.append(nn.ModuleList(layers))
        self.geometries, self.levels = nn.ModuleList(geometries), nn.ModuleList(levels)
        self.readouts = nn.ModuleList(
            nn.Linear(width, 1) if basis == "literal" else Readout(Dense(width, max(1, width // 2)))
            for _ in self.reaches
        )
        self.pools = nn.ModuleList(AtomPooling(width, reach / 2) for reach in self.reaches[:-1])

    def set_crowding(self, crowding: float) -> None:
        """Set how crowded atoms are, see `HarmonicGeometry`; Gaussian filters do not need it."""
        for geometry in self.geometries:
            if isinstance(geometry, HarmonicGeometry):
                geometry.set_crowding(crowding)

    def multiply(self, factor: float) -> None:
        """Multiply all numbers by a factor."""
        for readout in self.readouts:
            multiply_readout(readout, factor)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return one number per structure (B,), and the mean entropy of the shares of pooling."""
        levels, entropies = self._levels(batch)
        losses = (batch.sums(entropies) / batch.sizes).mean()
        # Sums of many atoms need more digits than their terms.
        return batch.sums(self._energies(levels).double()), losses

    def of_atoms(self, batch: Batch) -> Tensor:
        """Return one number per atom (N,), whose sums are those of the structures."""
        return self._energies(self._levels(batch)[0])

    def last_of_atoms(self, batch: Batch) -> Tensor:
        """Return what the last layers see of every atom, and the numbers (N, n_last + 1)."""
        levels, _ = self._levels(batch)
        seen = [
            last_features(readout, nodes.features)
            for readout, nodes in zip(self.readouts, levels, strict=True)
        ]
        # Nodes count for the atoms that they stand at.
        for level, nodes in enumerate(levels[1:], start=1):
            places = seen[0].new_zeros(len(seen[0]), seen[level].shape[1])
            seen[level] = places.index_add(0, nodes.sites, nodes.activity[:, None] * seen[level])
        return torch.cat([*seen, self._energies(levels)[:, None]], dim=1)

    def last_of_structures(self, batch: Batch) -> Tensor:
        """Return the sums over atoms (B, n_last + 1) of `last_of_atoms`."""
        return batch.sums(self.last_of_atoms(batch).double())

    def _energies(self, levels: Sequence[Nodes]) -> Tensor:
        """Return the numbers (N,) that the readouts of all levels add up to."""
        energies = self.readouts[0](levels[0].features).flatten()
        for readout, nodes in zip(self.readouts[1:], levels[1:], strict=True):
            numbers = nodes.activity * readout(nodes.features).flatten()
            energies = energies.index_add(0, nodes.sites, numbers)
        return energies

    def _levels(self, batch: Batch) -> tuple[list[Nodes], Tensor]:
        """Return the atoms, then the nodes of every level, and the entropies (N,) of the atoms."""
        pairs = batch.pairs[0]
        features = self._message(0, self.embedding(batch.species), pairs, None)
        entropies = features.new_zeros(len(features))
        sites = torch.arange(len(features), device=features.device)
        nodes = Nodes(
            features, sites, features.new_zeros(len(sites), 3), torch.ones_like(entropies)
        )
        levels = [nodes]
        for level, pooling in enumerate(self.pools, start=1):
            before = nodes.sites
            nodes, entropy = pooling(nodes, pairs)
            entropies = entropies.index_add(0, before, entropy)
            pairs = nodes.pairs(batch.pairs[level], self.reaches[level])
            features = self._message(level, nodes.features, pairs, nodes.activity)
            nodes = replace(nodes, features=features)
            levels.append(nodes)
        return levels, entropies

    def _message(
        self, level: int, features: Tensor, pairs: Pairs, activity: Tensor | None
    ) -> Tensor:
        """Return the features (N, width) after the layers of a level."""
        around = self.geometries[level](pairs, activity)
        if isinstance(around, Basis) and around.constant and features.device.type == "cpu":
            return through_layers(self.levels[level], features, around)
        moments = None
        for layer in self.levels[level]:
            features, moments = layer(features, moments, around)
        return features


class ScatteringModule(nn.Module):
    """Scattering at the atoms with learned mixing of channels, (5.7)-(5.15).

    Parameters
    ----------
    n_elements : int
    wavelets : sequence of (n, l)
    beta : float
        Width of the narrowest wavelets (Å).
    scales : sequence of float
    gains : ndarray of shape (n_wavelets,)
    reach : float
        Largest distance (Å).
    width, n_layers : int
        Channels that enter every layer, and number of layers.
    powers : sequence of float
    head : {"linear", "mlp"}
    """

    def __init__(
        self,
        n_elements: int,
        *,
        wavelets: Sequence[tuple[int, int]],
        beta: float,
        scales: Sequence[float],
        gains: np.ndarray,
        reach: float,
        width: int,
        n_layers: int,
        powers: Sequence[float],
        head: str,
    ):
        super().__init__()
        self.reach, self.powers = reach, tuple(powers)
        self.wavelets = SolidWavelets(wavelets, beta, scales, gains)
        self.embedding = nn.Embedding(n_elements, width)
        n_outputs = self.wavelets.n_outputs * width
        self.mixers = nn.ModuleList(
            nn.Linear(n_outputs, width, bias=False) for _ in range(n_layers - 1)
        )
        n_pooled = len(self.powers) * (width + n_layers * n_outputs)
        self.head = (
            nn.Linear(n_pooled, 1) if head == "linear" else Readout(nn.Linear(n_pooled, 2 * width))
        )
        # What features and pooled features are divided by, set by `calibrate`.
        self.register_buffer("layer_spreads", torch.ones(n_layers, n_outputs, dtype=torch.float64))
        self.register_buffer("means", torch.zeros(n_pooled, dtype=torch.float64))
        self.register_buffer("spreads", torch.ones(n_pooled, dtype=torch.float64))

    def multiply(self, factor: float) -> None:
        """Multiply all numbers by a factor."""
        multiply_readout(self.head, factor)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return one number per structure (B,), and 0 for auxiliary losses."""
        # The head acts on means over atoms, so that the result grows with the structure.
        energies = self.head(self._scaled(self.pooled(batch))).reshape(-1) * batch.sizes
        return energies, energies.new_zeros(())

    def of_atoms(self, batch: Batch) -> Tensor:
        """Return one number per atom (N,), whose sums the linear head gives."""
        return self.head(self._scaled(self.atom_powers(batch))).squeeze(-1)

    def last_of_atoms(self, batch: Batch) -> Tensor:
        """Return what the linear head sees of every atom, and the numbers (N, n_last + 1)."""
        seen = self._scaled(self.atom_powers(batch))
        return torch.cat([seen, self.head(seen)], dim=1)

    def last_of_structures(self, batch: Batch) -> Tensor:
        """Return what the last layer sees, and the number, times the atoms (B, n_last + 1)."""
        pooled = self._scaled(self.pooled(batch))
        numbers = self.head(pooled).reshape(-1, 1)
        seen = torch.cat([last_features(self.head, pooled), numbers], dim=1)
        return seen * batch.sizes[:, None]

    def _scaled(self, features: Tensor) -> Tensor:
        return (features - self.means) / self.spreads

    def pooled(self, batch: Batch) -> Tensor:
        """Return the means over atoms of the powers of all features, (B, n_pooled)."""
        powers = self.atom_powers(batch)
        return (batch.sums(powers.double()) / batch.sizes[:, None]).to(powers)

    def atom_powers(self, batch: Batch) -> Tensor:
        """Return the powers (N, n_pooled) of all features of the atoms."""
        # (1 + f)^q - 1, which has all derivatives where f vanishes.
        logarithms = [f.log1p() for f in self.layers(batch)]
        return torch.cat([(q * f).expm1() for f in logarithms for q in self.powers], dim=1)

    def layers(self, batch: Batch) -> list[Tensor]:
        """Return the moduli of the atoms: of the embedding, then of every layer."""
        places, filled = batch.pairs[0].rows()
        neighbors = torch.where(filled, batch.pairs[0].neighbors[places], 0)
        # Empty places get a vector of the cutoff's length, where nothing is singular.
        vectors = torch.where(filled[:, :, None], batch.pairs[0].vectors[places], self.reach)
        switch = cosine_cutoff(lengths(vectors), self.reach) * filled
        waves = (self.wavelets(vectors) * switch[..., None]).transpose(1, 2)
        inputs = self.embedding(batch.species)
        outputs = [inputs.abs()]
        for layer, spreads in enumerate(self.layer_spreads):
            if layer:
                inputs = self.mixers[layer - 1](outputs[-1])
            maps = waves @ gather(inputs, neighbors)
            square = maps.new_zeros(len(maps), self.wavelets.n_outputs, maps.shape[-1])
            square = square.index_add(1, self.wavelets.output_of, maps.square()).flatten(1)
            square = square / spreads**2
            # (1 + square)^(1/2) - 1, without a kink where maps vanish, as at the sites of crystals.
            outputs.append(square / ((1 + square).sqrt() + 1))
        return outputs

    @torch.no_grad()
    def calibrate(self, batch: Batch) -> None:
        """Set spreads so that features, and pooled features, are of order 1 on a batch."""
        for layer, spreads in enumerate(self.layer_spreads):
            modulus = self.layers(batch)[layer + 1]
            # That of the maps, by which a modulus is 1 where they are of typical size.
            spread = (modulus * (modulus + 2)).mean(dim=0).div(3).sqrt()
            spreads.copy_(torch.where(spread > _VANISHING, spread, 1.0))
        pooled = self.pooled(batch)
        self.means.copy_(pooled.mean(dim=0))
        size, spread = pooled.abs().mean(dim=0), pooled.std(dim=0, correction=0)
        # Means over atoms that hardly vary must not be blown up, and rounding of what symmetry
        # lets vanish not at all.
        self.spreads.copy_(torch.where(size > _VANISHING, spread.clamp(min=1e-3 * size), 1.0))


def energy_gradients(
    module: nn.Module, batch: Batch, *, create_graph: bool = False, strained: bool = False
) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
    """Return the module's numbers with their forces and gradients by strain.

    Parameters
    ----------
    module : nn.Module
        `AngularModule` or `ScatteringModule`.
    batch : Batch
    create_graph : bool
        Whether the gradients are to be differentiated in their turn, in training.
    strained : bool
        Whether the gradient with respect to strain is wanted.

    Returns
    -------
    energies : Tensor of shape (B,)
    forces : Tensor of shape (N, 3)
        Minus the gradient with respect to the positions.
    strains : Tensor of shape (B, 3, 3) or None
        Gradient with respect to a homogeneous strain of each structure.
    losses : Tensor of shape ()
        Auxiliary losses.
    """
    varied, leaves = batch.with_leaves()
    with torch.enable_grad():
        energies, losses = module(varied)
        gradients = torch.autograd.grad(
            energies.sum(), leaves, create_graph=create_graph, materialize_grads=True
        )
    strains = batch.strains_of(gradients) if strained else None
    return energies, batch.forces_of(gradients), strains, losses
