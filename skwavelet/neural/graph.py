"""Structures as padded neighbourhoods, and batches of them as tensors.

Every atom has a row of K slots for its neighbours, K the largest number in the batch, so that
sums over neighbours and over pairs of neighbours are matrix products: O(atoms x neighbours^2),
without a loop over atoms or an index per triplet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from skwavelet.structures.checks import Structure
from skwavelet.structures.neighborhoods import Neighborhoods


@dataclass(frozen=True, eq=False)
class Graph:
    """The neighbourhoods of one structure.

    Attributes
    ----------
    index : int
        Place of the structure in its sequence, for messages.
    species : ndarray of shape (N,)
        Number of each atom's element.
    positions : ndarray of shape (N, 3)
    neighbors : ndarray of shape (N, K)
        Atoms in the slots; the atom itself in empty ones.
    offsets : ndarray of shape (N, K, 3)
        Period (Å) added to the neighbour's position.
    filled : ndarray of shape (N, K)
        Whether a slot holds a neighbour.
    volume: float
        Of the cell (Å^3); 1 where not all directions are periodic, and no stress is defined.
    """

    index: int
    species: np.ndarray
    positions: np.ndarray
    neighbors: np.ndarray
    offsets: np.ndarray
    filled: np.ndarray
    volume: float


def build_graph(structure: Structure, cutoff: float, elements: Sequence[int]) -> Graph:
    """Find the neighbours closer than ``cutoff`` (Å), periodic images included.

    Parameters
    ----------
    structure : Structure
    cutoff : float
    elements : sequence of int
        Atomic numbers in increasing order, all that occur among them.

    Raises
    ------
    ValueError
        If two atoms stand at the same place.
    """
    hoods = Neighborhoods(structure, cutoff)
    counts = np.bincount(hoods.centers, minlength=len(structure))
    slots = np.arange(len(hoods.centers)) - np.repeat(np.cumsum(counts) - counts, counts)
    shape = (len(structure), int(counts.max()))
    neighbors = np.repeat(np.arange(shape[0])[:, None], shape[1], axis=1)
    neighbors[hoods.centers, slots] = hoods.neighbors
    direct = structure.positions[hoods.neighbors] - structure.positions[hoods.centers]
    offsets = np.zeros((*shape, 3))
    offsets[hoods.centers, slots] = hoods.vectors - direct
    filled = np.zeros(shape, dtype=bool)
    filled[hoods.centers, slots] = True
    species = np.searchsorted(elements, structure.numbers)
    volume = abs(np.linalg.det(structure.cell)) if structure.pbc.all() else 1.0
    return Graph(structure.index, species, structure.positions, neighbors, offsets, filled, volume)


@dataclass(frozen=True, eq=False)
class Batch:
    """Several structures side by side, as tensors.

    Attributes
    ----------
    species : Tensor of shape (N,)
    positions : Tensor of shape (N, 3)
    neighbors : Tensor of shape (N, K)
    offsets : Tensor of shape (N, K, 3)
    filled : Tensor of shape (N, K)
    structure : Tensor of shape (N,)
        Number of the structure of each atom.
    sizes : Tensor of shape (B,)
        Number of atoms of each structure.
    volumes : Tensor of shape (B,)
        Of the cells (Å^3); 1 where not all directions are periodic.
    """

    species: Tensor
    positions: Tensor
    neighbors: Tensor
    offsets: Tensor
    filled: Tensor
    structure: Tensor
    sizes: Tensor
    volumes: Tensor

    def __len__(self) -> int:
        return len(self.sizes)

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device."""
        return Batch(*(getattr(self, field.name).to(device) for field in fields(self)))

    def strained(self, strain: Tensor) -> Batch:
        """Return the batch with every structure strained by its part of (B, 3, 3)."""
        strain = strain[self.structure]
        return replace(
            self,
            positions=self.positions + torch.einsum("na,nab->nb", self.positions, strain),
            offsets=self.offsets + torch.einsum("nka,nab->nkb", self.offsets, strain),
        )

    def vectors(self) -> Tensor:
        """Return the vectors (N, K, 3) from atoms to what is in their slots (Å)."""
        # index_select has a faster double derivative than fancy indexing.
        there = self.positions.index_select(0, self.neighbors.reshape(-1))
        return there.view(self.offsets.shape) - self.positions[:, None] + self.offsets

    def sums(self, values: Tensor) -> Tensor:
        """Add the rows (N, ...) of the atoms of each structure up to (B, ...)."""
        shape = (len(self), *values.shape[1:])
        return values.new_zeros(shape).index_add(0, self.structure, values)


def collate(graphs: Sequence[Graph], dtype: torch.dtype) -> Batch:
    """Put the neighbourhoods of structures into one batch."""
    sizes = np.array([len(graph.species) for graph in graphs])
    starts = np.cumsum(sizes) - sizes
    shape = (int(sizes.sum()), max(graph.neighbors.shape[1] for graph in graphs))
    neighbors = np.repeat(np.arange(shape[0])[:, None], shape[1], axis=1)
    offsets, filled = np.zeros((*shape, 3)), np.zeros(shape, dtype=bool)
    for graph, start, size in zip(graphs, starts, sizes, strict=True):
        here = (slice(start, start + size), slice(graph.neighbors.shape[1]))
        neighbors[here] = graph.neighbors + start
        offsets[here] = graph.offsets
        filled[here] = graph.filled
    return Batch(
        torch.from_numpy(np.concatenate([graph.species for graph in graphs])),
        torch.from_numpy(np.concatenate([graph.positions for graph in graphs])).to(dtype),
        torch.from_numpy(neighbors),
        torch.from_numpy(offsets).to(dtype),
        torch.from_numpy(filled),
        torch.from_numpy(np.repeat(np.arange(len(graphs)), sizes)),
        torch.from_numpy(sizes),
        torch.tensor([graph.volume for graph in graphs], dtype=dtype),
    )
