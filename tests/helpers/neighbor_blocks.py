"""Neighbourhoods in blocks of the rectangular form that matrix products of NumPy need."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from skwavelet.structures.neighborhoods import Neighborhoods

# Floats per block of neighbourhoods.
BLOCK_FLOATS = 2**18


def padded_blocks(
    hoods: Neighborhoods, reach: float, floats: float, floats_per_pair: float = 0
) -> Iterator[Block]:
    """Yield the neighbourhoods within ``reach``, as many atoms at a time as fit into cache.

    ``floats`` is what an atom and a pair of neighbours take while a block is worked on:
    ``floats`` per neighbour, ``floats_per_pair`` per pair of neighbours.
    """
    kept = np.flatnonzero(hoods.distances < reach)
    counts = np.bincount(hoods.centers[kept], minlength=hoods.n_atoms)
    ends = np.concatenate([[0], np.cumsum(counts)])
    typical = counts.max(initial=1)
    size = max(1, int(BLOCK_FLOATS // (typical * (floats + floats_per_pair * typical))))
    for start in range(0, hoods.n_atoms, size):
        stop = min(start + size, hoods.n_atoms)
        pairs = kept[ends[start] : ends[stop]]
        width = max(1, int(counts[start:stop].max()))
        ranks = np.arange(ends[start], ends[stop]) - ends[hoods.centers[pairs]]
        slots = (hoods.centers[pairs] - start) * width + ranks
        neighbors = np.zeros((stop - start) * width, dtype=np.int64)
        neighbors[slots] = hoods.neighbors[pairs]
        yield Block(slice(start, stop), pairs, slots, neighbors.reshape(-1, width))


@dataclass(frozen=True, eq=False)
class Block:
    """Neighbourhoods of consecutive atoms, padded to the same number of neighbours.

    Attributes
    ----------
    atoms : slice
    pairs : ndarray of shape (n_pairs,)
        Rows of the pairs of ``Neighborhoods``.
    slots : ndarray of shape (n_pairs,)
        Place of each pair among the padded neighbours.
    neighbors : ndarray of shape (n_atoms, width)
        Neighbours; atom 0 in padded places.
    """

    atoms: slice
    pairs: np.ndarray
    slots: np.ndarray
    neighbors: np.ndarray

    def pad(self, values: np.ndarray) -> np.ndarray:
        """Spread values (..., n_pairs) over (..., n_atoms, width), 0 in padded places."""
        padded = np.zeros((*values.shape[:-1], self.neighbors.size), dtype=values.dtype)
        padded[..., self.slots] = values
        return padded.reshape(*values.shape[:-1], *self.neighbors.shape)

    def unpad(self, padded: np.ndarray) -> np.ndarray:
        """Collect values (..., n_pairs) from (..., n_atoms, width): the adjoint of ``pad``."""
        return padded.reshape(*padded.shape[:-2], -1)[..., self.slots]

    def add_to_neighbors(self, values: np.ndarray, target: np.ndarray) -> None:
        """Add values (n_atoms, width, P) to the rows of ``target`` (N, P) of the neighbours."""
        rows: slice | np.ndarray = slice(None)
        places = self.neighbors.ravel()
        n_rows = len(target)
        if n_rows > len(places):  # touch the block's neighbours only, or cost would grow as N^2
            rows, places = np.unique(places, return_inverse=True)
            n_rows = rows.size
        ends = np.arange(len(places) + 1)
        scatter = sparse.csc_array(
            (np.ones(len(places), values.dtype), places, ends), shape=(n_rows, len(places))
        )
        target[rows] += scatter @ values.reshape(len(places), -1)
