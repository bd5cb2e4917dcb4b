"""Structures as lists of pairs of neighbours, and batches of them as tensors.

Networks see nothing of a structure but its elements and the vectors of its pairs: moving atoms and
straining cells, of whatever periods, are both changes of these vectors, and are linear in them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from skwavelet.structures.checks import Structure
from skwavelet.structures.neighborhoods import Neighborhoods

# Atoms that several structures may have together: their pairs have to fit into memory.
_MOST_ATOMS = 2000


@dataclass(frozen=True, eq=False)
class Graph:
    """The pairs of neighbours of one structure.

    Attributes
    ----------
    index : int
        Place of the structure in its sequence, for messages.
    species : ndarray of shape (N,)
        Number of each atom's element.
    pairs : tuple of Neighborhoods
        Within each of the reaches that were asked for.
    volume : float
        Of the cell (Å^3); 1 where not all directions are periodic, and no stress is defined.
    """

    index: int
    species: np.ndarray
    pairs: tuple[Neighborhoods, ...]
    volume: float


def build_graph(structure: Structure, reaches: Sequence[float], elements: Sequence[int]) -> Graph:
    """Find the neighbours closer than each of some reaches (Å), periodic images included.

    ``elements`` are atomic numbers in increasing order, all that occur among them. Raises
    ValueError if two atoms stand at the same place.
    """
    pairs = tuple(Neighborhoods(structure, reach) for reach in reaches)
    volume = abs(np.linalg.det(structure.cell)) if structure.pbc.all() else 1.0
    return Graph(structure.index, np.searchsorted(elements, structure.numbers), pairs, volume)


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of neighbours of a batch, sorted by their first atom.

    Attributes
    ----------
    starts : Tensor of shape (N + 1,)
        First pair of every atom.
    centers, neighbors : Tensor of shape (P,)
        Atoms of the pairs.
    vectors : Tensor of shape (P, 3)
        From centre to neighbour (Å).
    """

    starts: Tensor
    centers: Tensor
    neighbors: Tensor
    vectors: Tensor

    @classmethod
    def of(cls, centers: Tensor, neighbors: Tensor, vectors: Tensor, n_atoms: int) -> Pairs:
        """Return pairs that are sorted by their centres."""
        starts = torch.searchsorted(centers, torch.arange(n_atoms + 1, device=centers.device))
        return cls(starts, centers, neighbors, vectors)

    def rows(self) -> tuple[Tensor, Tensor]:
        """Return the pairs as rows (N, K) of every atom, padded, and which places hold a pair."""
        counts = self.starts.diff()
        width = int(counts.max()) if len(self.centers) else 0
        places = self.starts[:-1, None] + torch.arange(width, device=self.centers.device)
        filled = places < self.starts[1:, None]
        return torch.where(filled, places, 0), filled

    def to(self, device: torch.device) -> Pairs:
        """Return the pairs on a device."""
        return Pairs(*(getattr(self, field.name).to(device) for field in fields(self)))


@dataclass(frozen=True, eq=False)
class Batch:
    """Several structures side by side, as tensors.

    Attributes
    ----------
    species : Tensor of shape (N,)
    pairs : tuple of Pairs
        Within each of the reaches of the network.
    structure : Tensor of shape (N,)
        Number of the structure of each atom.
    sizes : Tensor of shape (B,)
        Number of atoms of each structure.
    volumes : Tensor of shape (B,)
        Of the cells (Å^3); 1 where not all directions are periodic.
    """

    species: Tensor
    pairs: tuple[Pairs, ...]
    structure: Tensor
    sizes: Tensor
    volumes: Tensor

    def __len__(self) -> int:
        return len(self.sizes)

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device."""
        return Batch(
            self.species.to(device),
            tuple(pairs.to(device) for pairs in self.pairs),
            self.structure.to(device),
            self.sizes.to(device),
            self.volumes.to(device),
        )

    def with_vectors(self, vectors: Sequence[Tensor]) -> Batch:
        """Return the batch with other vectors of its pairs."""
        pairs = zip(self.pairs, vectors, strict=True)
        return replace(self, pairs=tuple(replace(p, vectors=v) for p, v in pairs))

    def with_leaves(self) -> tuple[Batch, list[Tensor]]:
        """Return the batch with vectors by which it can be differentiated, and these."""
        leaves = [pairs.vectors.detach().requires_grad_() for pairs in self.pairs]
        return self.with_vectors(leaves), leaves

    def forces_of(self, gradients: Sequence[Tensor]) -> Tensor:
        """Return minus the gradient (N, 3) by positions, of gradients (P, 3) by the vectors."""
        forces = self.volumes.new_zeros(len(self.species), 3)
        for pairs, gradient in zip(self.pairs, gradients, strict=True):
            forces = forces.index_add(0, pairs.centers, gradient)
            forces = forces.index_add(0, pairs.neighbors, -gradient)
        return forces

    def strains_of(self, gradients: Sequence[Tensor]) -> Tensor:
        """Return the gradient (B, 3, 3) by a strain of each structure, likewise."""
        strains = self.volumes.new_zeros(len(self.species), 9)
        for pairs, gradient in zip(self.pairs, gradients, strict=True):
            products = (pairs.vectors.detach()[:, :, None] * gradient[:, None]).flatten(1)
            strains = strains.index_add(0, pairs.centers, products)
        # Sums of many atoms need more digits than their terms.
        return self.sums(strains.double()).to(strains).view(-1, 3, 3)

    def sums(self, values: Tensor) -> Tensor:
        """Add the rows (N, ...) of the atoms of each structure up to (B, ...)."""
        shape = (len(self), *values.shape[1:])
        return values.new_zeros(shape).index_add(0, self.structure, values)


def check_reach(name: str, reach: float, smallest: float) -> None:
    """Raise ``ValueError`` if no two atoms of a set, ``smallest`` (Å) apart, are within reach."""
    if reach <= smallest < np.inf:
        raise ValueError(
            f"{name}={reach:g} Å reaches no other atom, as the smallest distance is "
            f"{smallest:.3g} Å: raise it, or pass positions in Å."
        )


def portions(sizes: Sequence[int], most: int) -> Iterator[slice]:
    """Yield runs of at most ``most`` structures and `_MOST_ATOMS` atoms, or of one structure."""
    start, n_atoms = 0, 0
    for place, size in enumerate(sizes):
        if place > start and (place - start == most or n_atoms + size > _MOST_ATOMS):
            yield slice(start, place)
            start, n_atoms = place, 0
        n_atoms += size
    if len(sizes):
        yield slice(start, len(sizes))


def collate(graphs: Sequence[Graph], dtype: torch.dtype) -> Batch:
    """Put structures into one batch."""
    sizes = np.array([len(graph.species) for graph in graphs])
    starts = np.cumsum(sizes) - sizes
    pairs = []
    for level in range(len(graphs[0].pairs)):
        parts = [graph.pairs[level] for graph in graphs]
        shifts = np.repeat(starts, [len(part.centers) for part in parts])
        centers, neighbors, vectors = (
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("centers", "neighbors", "vectors")
        )
        pairs.append(
            Pairs.of(
                torch.from_numpy(centers + shifts),
                torch.from_numpy(neighbors + shifts),
                torch.from_numpy(vectors).to(dtype),
                int(sizes.sum()),
            )
        )
    return Batch(
        torch.from_numpy(np.concatenate([graph.species for graph in graphs])),
        tuple(pairs),
        torch.from_numpy(np.repeat(np.arange(len(graphs)), sizes)),
        torch.from_numpy(sizes),
        torch.tensor([graph.volume for graph in graphs], dtype=dtype),
    )


def array_of(tensor: Tensor) -> np.ndarray:
    """Return the numbers of a tensor, in double precision."""
    return tensor.detach().cpu().numpy().astype(np.float64)
