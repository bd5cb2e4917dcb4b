"""What the layers of the angular network know of distances and directions."""

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
    cutoff_slope,
    lengths,
)
from skwavelet.neural.graph import Pairs
from skwavelet.neural.moments import Basis, FixedFunctions


class HarmonicGeometry(nn.Module):
    """Radial functions and spherical harmonics of pairs.

    Parameters
    ----------
    cutoff : float
        Å.
    start : float
        Centre of the first radial Gaussian (Å), greater than 0.
    n_radial, n_angular : int
        Number of Gaussians of the logarithm of the distance, and of degrees of harmonics.
    """

    degrees: Tensor
    factor: Tensor

    def __init__(self, cutoff: float, start: float, n_radial: int, n_angular: int):
        super().__init__()
        self.cutoff = cutoff
        self.register_buffer("factor", torch.ones((), dtype=torch.float64))
        self.radial = RadialBasis(n_radial, start, cutoff)
        self.harmonics = SolidHarmonics(n_angular - 1)
        degrees = torch.repeat_interleave(torch.arange(n_angular), 2 * torch.arange(n_angular) + 1)
        self.register_buffer("degrees", degrees, persistent=False)
        units = (4 * math.pi / (2 * degrees.double() + 1)).sqrt()
        self.register_buffer("units", units, persistent=False)

    def set_crowding(self, crowding: float) -> None:
        """Set the typical sum over neighbours of squared cutoff functions.

        Sums over neighbours are divided by its root.
        """
        self.factor.fill_(crowding**-0.5)

    def forward(self, pairs: Pairs, activity: Tensor | None) -> Basis:
        """Return the functions of pairs, for nodes of some activity or for atoms."""
        if activity is None:
            return Basis(pairs, *self._fixed(pairs.vectors), self.degrees, constant=True)
        distances = lengths(pairs.vectors)
        switch = self.factor * cosine_cutoff(distances, self.cutoff) * activity[pairs.neighbors]
        radial = self.radial(distances) * switch[:, None]
        harmonics = self.harmonics(pairs.vectors / distances[:, None])
        return Basis(pairs, radial, harmonics * self.units, self.degrees, constant=False)

    def _fixed(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Return radial functions (P, n_radial) and harmonics (P, M) with known derivatives."""
        with torch.no_grad():
            distances = lengths(vectors)
            directions = vectors / distances[:, None]
            switch = self.factor * cosine_cutoff(distances, self.cutoff)
            gaussians = self.radial(distances)
            radial, solid = gaussians * switch[:, None], self.harmonics(directions)
            harmonics = solid * self.units
            if not vectors.requires_grad:
                return radial, harmonics
            slope = self.factor * cutoff_slope(distances, self.cutoff)
            radial_slopes = gaussians * slope[:, None]
            radial_slopes += self.radial.slopes(distances, gaussians) * switch[:, None]
            # Of r^l Y_l on the unit sphere, without what it has along the direction.
            slopes = self.harmonics.slopes(solid) * self.units
            slopes -= directions[:, :, None] * (harmonics * self.degrees)[:, None]
            slopes /= distances[:, None, None]
        return FixedFunctions.apply(vectors, radial, radial_slopes, harmonics, slopes, directions)


@dataclass(frozen=True, eq=False)
class Surroundings:
    """Functions of the neighbours and pairs of neighbours of atoms.

    Attributes
    ----------
    neighbors : Tensor of shape (N, K)
        Atoms in the places of every row; any atom in empty ones.
    switch : Tensor of shape (N, K)
        Cutoff function of the distances; 0 in empty places.
    radial : Tensor of shape (N, K, n_radial)
        Gaussians of the distances.
    angular : Tensor of shape (N, K, K, n_angular) or None
        Gaussians of cos(angle j i k) for the places k and j; 0 where they are the same.
    """

    neighbors: Tensor
    switch: Tensor
    radial: Tensor
    angular: Tensor | None


class GaussianGeometry(nn.Module):
    """Gaussians of distances and of angles.

    Parameters
    ----------
    cutoff, start, n_radial : see HarmonicGeometry
    n_angular : int
        Number of Gaussians of the cosine; 0 leaves the angles out.
    literal : bool
        Whether the radial ones are of the distance, from 0 to the cutoff, as in (6.6).
    """

    def __init__(self, cutoff: float, start: float, n_radial: int, n_angular: int, literal: bool):
        super().__init__()
        self.cutoff = cutoff
        self.radial = (
            GaussianBasis(n_radial, 0, cutoff) if literal else RadialBasis(n_radial, start, cutoff)
        )
        self.angular = GaussianBasis(n_angular, -1, 1) if n_angular else None

    def forward(self, pairs: Pairs, activity: Tensor | None) -> Surroundings:
        """Return the functions of pairs, for nodes of some activity or for atoms."""
        places, filled = pairs.rows()
        neighbors = torch.where(filled, pairs.neighbors[places], 0)
        # Empty places get a vector of the cutoff's length, where nothing is singular.
        vectors = torch.where(filled[:, :, None], pairs.vectors[places], self.cutoff)
        distances = lengths(vectors)
        switch = cosine_cutoff(distances, self.cutoff) * filled
        if activity is not None:
            switch = switch * activity[neighbors]
        angular = None
        if self.angular is not None:
            directions = vectors / distances[..., None]
            cosines = directions @ directions.transpose(1, 2)
            others = ~torch.eye(vectors.shape[1], dtype=torch.bool, device=vectors.device)
            angular = self.angular(cosines) * others[..., None]
        return Surroundings(neighbors, switch, self.radial(distances), angular)
