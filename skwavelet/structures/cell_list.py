"""Neighbours of every atom, found in linear time and memory, some atoms at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from ase.data import covalent_radii

from skwavelet.structures.boxes import bounding_cell
from skwavelet.structures.checks import (
    CLOSEST,
    Structure,
    check_distances,
    perpendicular_heights,
)
from skwavelet.structures.neighbor_kernels import Bins, fill_pairs, find_images, sort_into_bins

# Bins of half the reach: pairs are looked for in a volume 3.7 times that of the sphere, in bins
# as wide as the reach 6.4 times.
BINS_PER_REACH = 2
# Empty bins cost memory, too.
BINS_PER_POINT = 4


@dataclass(frozen=True, eq=False)
class PairBlock:
    """The pairs of consecutive atoms.

    Attributes
    ----------
    atoms : slice
    vectors : ndarray of shape (3, n_pairs)
        From centres to neighbours (Å), by centre and element of the neighbour. Those of every
        centre and element are filled up to whole groups by pairs beyond the reach.
    neighbors : ndarray of shape (n_pairs,)
        The centre itself where a place is filled up.
    ends : ndarray of shape (n_atoms + 1, n_elements)
        Where the pairs of every centre and element end. Row 0 holds zeros.
    """

    atoms: slice
    vectors: np.ndarray
    neighbors: np.ndarray
    ends: np.ndarray

    @property
    def starts(self) -> np.ndarray:
        """Where the pairs of every centre start, and where the last end, (n_atoms + 1,)."""
        return self.ends[:, -1]


def pair_blocks(
    structure: Structure,
    elements: Sequence[int],
    reach: float,
    dtype: str,
    room: int,
    n_centers: int,
) -> Iterator[PairBlock]:
    """Yield the pairs of the first atoms with their neighbours, some atoms at a time.

    An atom is no neighbour of itself, but its periodic images are.

    Parameters
    ----------
    structure : Structure
    elements : sequence of int
        Atomic numbers by which neighbours are sorted, in increasing order.
    reach : float
        Largest distance (Å).
    dtype : str
        Of the vectors.
    room : int
        Pairs in a block, more where one atom has more.
    n_centers : int
        How many atoms have pairs; those behind them are neighbours only.

    Raises
    ------
    ValueError
        If two atoms are closer than chemistry allows.
    """
    bins = make_bins(structure, elements, reach)
    start = 0
    while start < n_centers:
        vectors, neighbors = np.empty((3, room), dtype), np.empty(room, np.int64)
        # No atom fits without a place for its pairs, but atoms without pairs need none.
        stop = min(n_centers, start + room)
        ends = np.zeros((stop - start + 1, len(elements)), np.int64)
        found = np.empty(room, np.int64)
        count = fill_pairs(bins, reach, start, stop, vectors, neighbors, ends, found)
        if count < 0:
            check_distances([structure])
        if not count:
            room *= 2
            continue
        n_pairs = ends[count, -1]
        yield PairBlock(
            slice(start, start + count),
            vectors[:, :n_pairs],
            neighbors[:n_pairs],
            ends[: count + 1],
        )
        start += count


def make_bins(structure: Structure, elements: Sequence[int], reach: float) -> Bins:
    """Return the atoms of a structure, and their images within reach of the cell, in bins."""
    positions, pbc = structure.positions, structure.pbc
    kinds = np.searchsorted(elements, structure.numbers)
    radii = covalent_radii[list(elements)]
    if pbc.any():
        cell = bounding_cell(structure)
        fractional = positions @ np.linalg.inv(cell)
        wrapped = np.where(pbc, np.floor(fractional), 0.0)
        fractional -= wrapped
        owner, shifts = find_images(fractional, reach / perpendicular_heights(cell), pbc)
        points = (positions - wrapped @ cell)[owner] + shifts @ cell
    else:
        points, owner = positions, np.arange(len(positions))
        shifts = np.zeros((len(positions), 3), dtype=np.int64)
    low = points.min(axis=0)
    extent = points.max(axis=0) - low
    width = reach / BINS_PER_REACH
    most = BINS_PER_POINT * len(points) + 64
    while np.prod(np.floor(extent / width) + 1) > most:
        width *= 1.25
    return sort_into_bins(
        points,
        owner,
        shifts,
        kinds,
        len(positions),
        low,
        np.floor(extent / width).astype(np.int64) + 1,
        width,
        np.square(CLOSEST * np.add.outer(radii, radii)),
    )
