"""Neighbours of every atom, found in linear time and memory, some atoms at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from math import ceil, floor, prod

import numpy as np
from ase.data import covalent_radii

from skwavelet.structures.checks import (
    CLOSEST,
    Structure,
    check_distances,
)
from skwavelet.structures.directions import Directions
from skwavelet.structures.neighbor_kernels import (
    Bins,
    fill_pairs,
    list_shifts,
    make_images,
    number_around,
    sort_into_bins,
)

# Bins of half the reach: pairs are looked for in a volume 3.7 times that of the sphere, in bins
# as wide as the reach 6.4 times.
BINS_PER_REACH = 2
# Empty bins cost memory, too.
BINS_PER_POINT = 4
# Pairs of the atoms that are worked on together.
PAIRS = 2**14
# Pairs are kept for further sweeps, if there is as much as this of them, and found again otherwise.
KEPT_BYTES = 2**26
# Parts of a structure are this much smaller than its first block, so that most are one block.
FILLED = 0.9


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
    kinds : ndarray of shape (n_atoms,)
        Places of the centres' elements.
    """

    atoms: slice
    vectors: np.ndarray
    neighbors: np.ndarray
    ends: np.ndarray
    kinds: np.ndarray

    @property
    def starts(self) -> np.ndarray:
        """Where the pairs of every centre start, and where the last end, (n_atoms + 1,)."""
        return self.ends[:, -1]

    @property
    def around(self) -> np.ndarray:
        """The centres, then the other atoms among the neighbours, each once."""
        return self._numbered[0]

    @property
    def local(self) -> np.ndarray:
        """Places of ``neighbors`` in ``around``, of shape (n_pairs,)."""
        return self._numbered[1]

    @cached_property
    def _numbered(self) -> tuple[np.ndarray, np.ndarray]:
        n_atoms, n_pairs = self.atoms.stop - self.atoms.start, len(self.neighbors)
        around, local = np.empty(n_atoms + n_pairs, np.int64), np.empty(n_pairs, np.int64)
        places = np.empty(2 ** int(n_atoms + n_pairs).bit_length(), np.int64)
        count = number_around(self.neighbors, self.atoms.start, n_atoms, places, around, local)
        return around[:count], local

    def moves(self, directions: Directions) -> np.ndarray:
        """Return how vectors change along directions, of shape (n_directions, 3, n_pairs)."""
        displacements = directions.displacements
        centers = np.repeat(np.arange(self.atoms.start, self.atoms.stop), np.diff(self.starts))
        moves = displacements[:, self.neighbors] - displacements[:, centers]
        return np.swapaxes(moves + self.vectors.T @ directions.strains, 1, 2)

    def by_atom(self, jacobian: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yield, for every centre, the derivatives in the positions of atoms and in a strain.

        From those (n_pairs, 3, M) of M terms of a centre in the vector of every pair: the atoms
        (n,) that move the terms, the derivatives (n, 3, M) in these and (3, 3, M) in the strain.
        """
        n_terms = jacobian.shape[2]
        for atom, (start, end) in enumerate(pairwise(self.starts.tolist()), self.atoms.start):
            # Without those that fill up places: the centre is no neighbour but by its images,
            # which move with it.
            real = start + np.flatnonzero(self.neighbors[start:end] != atom)
            atoms, place = np.unique(np.append(self.neighbors[real], atom), return_inverse=True)
            # Images move together; the centre moves against all its neighbours.
            incidence = np.zeros((len(atoms), len(real)), jacobian.dtype)
            incidence[place[:-1], np.arange(len(real))] = 1
            incidence[place[-1]] -= 1
            by_atom = incidence @ jacobian[real].reshape(len(real), 3 * n_terms)
            flat = jacobian[start:end].reshape(end - start, 3 * n_terms)
            by_strain = self.vectors[:, start:end] @ flat
            yield atoms, by_atom.reshape(-1, 3, n_terms), by_strain.reshape(3, 3, n_terms)


class PairFinder:
    """Finds the pairs of the first atoms with their neighbours, some atoms at a time.

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
    room : int, optional
        Pairs in a block, ``PAIRS`` if nothing is said, more where one atom has more.
    again : bool, default=False
        Whether there will be several sweeps over the atoms. Pairs are kept if they are few.
    """

    def __init__(
        self,
        structure: Structure,
        elements: Sequence[int],
        reach: float,
        dtype: str,
        room: int | None = None,
        again: bool = False,
    ):
        self._structure, self._n_elements = structure, len(elements)
        self._reach, self._dtype, self._room = reach, dtype, room or PAIRS
        self._kinds = np.searchsorted(elements, structure.numbers)
        self._bins = make_bins(structure, elements, self._kinds, reach)
        self._first: PairBlock | None = None
        self._again = again
        self._kept: dict[tuple[int, int], list[PairBlock]] = {}

    def blocks(self, n_centers: int | None = None) -> Iterator[PairBlock]:
        """Yield the pairs of the first ``n_centers`` atoms, all by default.

        Others are neighbours only. Raises ValueError if two atoms are closer than chemistry allows.
        """
        for part in self.parts(n_centers):
            yield from self.blocks_of(part)

    def parts(self, n_centers: int | None = None) -> Iterator[PairBlock | slice]:
        """Yield what `blocks_of` takes: parts of the atoms, by the structure and not by threads.

        The first is a block already: it says how many atoms have the pairs that there is room for.
        """
        n_centers = len(self._structure) if n_centers is None else n_centers
        if not n_centers:
            return
        first = self._first
        if first is None or first.atoms.stop > n_centers:
            first = next(self._found(slice(0, n_centers)))
        # A sweep over fewer atoms in between leaves the blocks of the others as they are.
        if self._first is None:
            self._first = first
        yield first
        begin = first.atoms.stop
        count = ceil((n_centers - begin) / (FILLED * begin))
        for part in range(count):
            start, stop = (begin + (n_centers - begin) * k // count for k in (part, part + 1))
            yield slice(start, stop)

    def blocks_of(self, part: PairBlock | slice) -> Iterator[PairBlock]:
        """Yield the pairs of one of the `parts`, which threads may do at the same time."""
        if not isinstance(part, slice):
            yield part
        elif not self._keeps:
            yield from self._found(part)
        else:
            place = part.start, part.stop
            if place not in self._kept:
                self._kept[place] = list(self._found(part))
            yield from self._kept[place]

    @property
    def _keeps(self) -> bool:
        """Whether pairs are kept, as the first block is in any case."""
        if not self._again or self._first is None:
            return False
        per_atom = pair_bytes(self._dtype) * len(self._first.neighbors) / self._first.atoms.stop
        return per_atom * len(self._structure) <= KEPT_BYTES

    def _found(self, atoms: slice) -> Iterator[PairBlock]:
        """Yield the pairs of consecutive atoms."""
        room, start = self._room, atoms.start
        while start < atoms.stop:
            vectors, neighbors = np.empty((3, room), self._dtype), np.empty(room, np.int64)
            # No atom fits without a place for its pairs, but atoms without pairs need none.
            stop = min(atoms.stop, start + room)
            ends = np.zeros((stop - start + 1, self._n_elements), np.int64)
            found = np.empty(room, np.int64)
            count = fill_pairs(
                self._bins, self._reach, start, stop, vectors, neighbors, ends, found
            )
            if count < 0:
                check_distances([self._structure])
            if not count:
                room *= 2
                continue
            n_pairs = ends[count, -1]
            yield PairBlock(
                slice(start, start + count),
                # Kernels are compiled for contiguous arrays.
                np.ascontiguousarray(vectors[:, :n_pairs]),
                neighbors[:n_pairs],
                ends[: count + 1],
                self._kinds[start : start + count],
            )
            start += count


def pair_bytes(dtype: str) -> int:
    """Return the bytes that a pair takes: a vector, and the neighbour under two numbers."""
    return 3 * np.dtype(dtype).itemsize + 16


def make_bins(
    structure: Structure, elements: Sequence[int], kinds: np.ndarray, reach: float
) -> Bins:
    """Return the atoms of a structure, and their images within reach of the cell, in bins.

    ``kinds`` are the places of the atoms' elements.
    """
    positions, pbc = structure.positions, structure.pbc
    if pbc.any():
        fractional = positions @ structure.inverse_box
        wrapped = np.where(pbc, np.floor(fractional), 0.0)
        fractional -= wrapped
        positions = positions - wrapped @ structure.box
        margins = reach / structure.heights
        most = np.where(pbc, np.floor(margins) + 1, 0).astype(np.int64)
        moves = list_shifts(most) @ structure.box
    else:
        fractional, margins = positions, np.zeros(3)
        most, moves = np.zeros(3, np.int64), np.zeros((1, 3))
    points, owner, own, low, high = make_images(positions, fractional, margins, pbc, most, moves)
    extent, width = (high - low).tolist(), reach / BINS_PER_REACH
    most_bins = BINS_PER_POINT * len(points) + 64
    while prod(shape := [floor(length / width) + 1 for length in extent]) > most_bins:
        width *= 1.25
    return sort_into_bins(
        points, owner, own, kinds, low, np.array(shape), width, _closest(tuple(elements))
    )


@lru_cache(maxsize=64)
def _closest(elements: tuple[int, ...]) -> np.ndarray:
    """Return the squares of the distances (Å) that atoms of two elements may not come below."""
    radii = covalent_radii[list(elements)]
    return np.square(CLOSEST * np.add.outer(radii, radii))
