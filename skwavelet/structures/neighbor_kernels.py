"""Compiled search for neighbours: atoms and their images in bins, pairs in blocks.

Nothing here grows faster than the number of atoms: images are kept, pairs are not. The caller
works on the pairs of a few atoms at a time, while they are in the processor's cache.
"""

from __future__ import annotations

from math import ceil, floor
from typing import NamedTuple

import numpy as np

from skwavelet._utils.compiled import compiled

# The pairs of an atom with neighbours of one element fill up whole groups of this many, which is
# what processors work on at a time.
GROUP = 8
# Spreads numbers of atoms over a table (Knuth's golden ratio of 2^32).
SCATTER = 2654435761


class Bins(NamedTuple):
    """Atoms and images within reach of the cell, in cubic bins; all arrays by bin.

    Attributes
    ----------
    points : ndarray of shape (3, n_points)
        Positions (Å), component first.
    owner : ndarray of shape (n_points,)
        The atom that each point is an image of.
    kinds : ndarray of shape (n_points,)
        Place of its element.
    start : ndarray of shape (n_bins + 1,)
        First point of each bin.
    home : ndarray of shape (n_atoms,)
        The point that is the atom itself.
    low : ndarray of shape (3,)
        Corner of the first bin (Å).
    shape : ndarray of shape (3,)
        Number of bins along each axis.
    width : float
        Of a bin (Å).
    closest : ndarray of shape (n_kinds, n_kinds)
        Squares of the distances (Å) that two atoms may not come below.
    """

    points: np.ndarray
    owner: np.ndarray
    kinds: np.ndarray
    start: np.ndarray
    home: np.ndarray
    low: np.ndarray
    shape: np.ndarray
    width: float
    closest: np.ndarray


@compiled
def list_shifts(most):  # type: ignore[no-untyped-def]
    """Return all shifts (n, 3) from ``-most`` to ``most`` (3,) as floats, the last axis first."""
    a, b, c = most[0], most[1], most[2]
    shifts = np.empty(((2 * a + 1) * (2 * b + 1) * (2 * c + 1), 3))
    place = 0
    for i in range(-a, a + 1):
        for j in range(-b, b + 1):
            for k in range(-c, c + 1):
                shifts[place, 0] = i
                shifts[place, 1] = j
                shifts[place, 2] = k
                place += 1
    return shifts


@compiled
def make_images(positions, fractional, margins, pbc, most, moves):  # type: ignore[no-untyped-def]
    """Return all points within ``margins`` of the unit cell, and what lies around them.

    Parameters
    ----------
    positions : ndarray of shape (n_atoms, 3)
        In the unit cell (Å).
    fractional : ndarray of shape (n_atoms, 3)
        Their coordinates along the cell vectors, in [0, 1] along periods.
    margins : ndarray of shape (3,)
        In units of the cell's heights.
    pbc : ndarray of bool of shape (3,)
    most : ndarray of int of shape (3,)
        No shift is larger.
    moves : ndarray of shape (n, 3)
        Where shifts lead (Å), see `list_shifts`.

    Returns
    -------
    points : ndarray of shape (n_points, 3)
    owner : ndarray of shape (n_points,)
        The atom that each is an image of.
    own : ndarray of shape (n_atoms,)
        The point that is the atom itself.
    low, high : ndarray of shape (3,)
        Corners of the box around the points.
    """
    n_atoms = len(positions)
    first = np.zeros((n_atoms, 3), np.int64)
    last = np.zeros((n_atoms, 3), np.int64)
    total = 0
    for i in range(n_atoms):
        count = 1
        for axis in range(3):
            if pbc[axis]:
                first[i, axis] = ceil(-margins[axis] - fractional[i, axis])
                last[i, axis] = floor(1 + margins[axis] - fractional[i, axis])
            count *= last[i, axis] - first[i, axis] + 1
        total += count
    points = np.empty((total, 3))
    owner = np.empty(total, np.int64)
    own = np.empty(n_atoms, np.int64)
    low, high = positions[0].copy(), positions[0].copy()
    place = 0
    for i in range(n_atoms):
        for a in range(first[i, 0], last[i, 0] + 1):
            for b in range(first[i, 1], last[i, 1] + 1):
                line = ((a + most[0]) * (2 * most[1] + 1) + b + most[1]) * (2 * most[2] + 1)
                for c in range(first[i, 2], last[i, 2] + 1):
                    move = line + c + most[2]
                    if a == 0 and b == 0 and c == 0:
                        own[i] = place
                    owner[place] = i
                    for axis in range(3):
                        along = positions[i, axis] + moves[move, axis]
                        points[place, axis] = along
                        low[axis] = min(low[axis], along)
                        high[axis] = max(high[axis], along)
                    place += 1
    return points, owner, own, low, high


@compiled
def sort_into_bins(points, owner, own, kinds, low, shape, width, closest):  # type: ignore[no-untyped-def]
    """Return ``points`` (n_points, 3) as `Bins`; ``own`` are the atoms themselves."""
    n_points = len(points)
    bins = np.empty(n_points, np.int64)
    start = np.zeros(shape[0] * shape[1] * shape[2] + 1, np.int64)
    for p in range(n_points):
        place = 0
        for axis in range(3):
            along = min(int((points[p, axis] - low[axis]) / width), shape[axis] - 1)
            place = place * shape[axis] + along
        bins[p] = place
        start[place + 1] += 1
    for place in range(len(start) - 1):
        start[place + 1] += start[place]
    filled = start[:-1].copy()
    home = np.empty(len(own), np.int64)
    sorted_points = np.empty((3, n_points))
    sorted_owner = np.empty(n_points, np.int64)
    sorted_kinds = np.empty(n_points, np.int64)
    for p in range(n_points):
        slot = filled[bins[p]]
        filled[bins[p]] += 1
        for axis in range(3):
            sorted_points[axis, slot] = points[p, axis]
        sorted_owner[slot] = owner[p]
        sorted_kinds[slot] = kinds[owner[p]]
        if own[owner[p]] == p:
            home[owner[p]] = slot
    return Bins(sorted_points, sorted_owner, sorted_kinds, start, home, low, shape, width, closest)


@compiled
def fill_pairs(bins, reach, first, stop, vectors, neighbors, ends, found):  # type: ignore[no-untyped-def]
    """Collect the pairs of consecutive atoms, for as many atoms as there is room for.

    Pairs of one atom are sorted by the neighbour's element, and filled up to whole groups by
    pairs beyond the reach of an atom with itself.

    Parameters
    ----------
    bins : Bins
    reach : float
        Largest distance (Å).
    first, stop : int
        Range of the atoms.
    vectors : ndarray of shape (3, n_room)
        Vectors from atoms to neighbours (Å); written.
    neighbors : ndarray of shape (n_room,)
        Neighbours; written.
    ends : ndarray of shape (n_room + 1, n_kinds)
        Where the pairs of every atom and element end; written from row 1 on.
    found : ndarray of shape (n_room,)
        Scratch.

    Returns
    -------
    int
        Number of atoms whose pairs were collected; -1 if two atoms are closer than they may be.
    """
    room = len(neighbors)
    n_kinds = ends.shape[1]
    steps = ceil(reach / bins.width)
    square = reach * reach
    corner = np.empty(3, np.int64)
    counts = np.empty(n_kinds, np.int64)
    used = 0
    for atom in range(first, stop):
        row = atom - first + 1
        here = bins.home[atom]
        kind = bins.kinds[here]
        x, y, z = bins.points[0, here], bins.points[1, here], bins.points[2, here]
        for axis in range(3):
            along = int((bins.points[axis, here] - bins.low[axis]) / bins.width)
            corner[axis] = min(along, bins.shape[axis] - 1)
        counts[:] = 0
        n_found = 0
        lowest = max(corner[2] - steps, 0)
        highest = min(corner[2] + steps, bins.shape[2] - 1)
        for a in range(max(corner[0] - steps, 0), min(corner[0] + steps, bins.shape[0] - 1) + 1):
            for b in range(
                max(corner[1] - steps, 0), min(corner[1] + steps, bins.shape[1] - 1) + 1
            ):
                line = (a * bins.shape[1] + b) * bins.shape[2]
                begin, end = bins.start[line + lowest], bins.start[line + highest + 1]
                if n_found + end - begin > room:
                    return row - 1
                # Without branches, which could not be foreseen: the next overwrites who is too far.
                for p in range(begin, end):
                    dx, dy, dz = (
                        bins.points[0, p] - x,
                        bins.points[1, p] - y,
                        bins.points[2, p] - z,
                    )
                    found[n_found] = p
                    n_found += (dx * dx + dy * dy + dz * dz < square) & (p != here)
        for k in range(n_found):
            p = found[k]
            dx, dy, dz = bins.points[0, p] - x, bins.points[1, p] - y, bins.points[2, p] - z
            if dx * dx + dy * dy + dz * dz < bins.closest[kind, bins.kinds[p]]:
                return -1
            counts[bins.kinds[p]] += 1
        total = 0
        for other in range(n_kinds):
            total += (counts[other] + GROUP - 1) // GROUP * GROUP
        if used + total > room:
            return row - 1
        for other in range(n_kinds):
            begin = used
            used += (counts[other] + GROUP - 1) // GROUP * GROUP
            ends[row, other] = used
            for slot in range(begin + counts[other], used):
                vectors[0, slot] = 2 * reach
                vectors[1, slot] = 0
                vectors[2, slot] = 0
                neighbors[slot] = atom
            counts[other] = begin
        for k in range(n_found):
            p = found[k]
            slot = counts[bins.kinds[p]]
            counts[bins.kinds[p]] += 1
            vectors[0, slot] = bins.points[0, p] - x
            vectors[1, slot] = bins.points[1, p] - y
            vectors[2, slot] = bins.points[2, p] - z
            neighbors[slot] = bins.owner[p]
    return stop - first


@compiled
def number_around(neighbors, first, n_atoms, places, around, local):  # type: ignore[no-untyped-def]
    """Count the atoms around some atoms, and number them: those first, others as they come.

    Parameters
    ----------
    neighbors : ndarray of shape (n_pairs,)
    first, n_atoms : int
        The first of the atoms, and how many.
    places : ndarray
        Scratch for a table by atom: more than n_atoms + n_pairs, a power of two.
    around : ndarray of shape (n_atoms + n_pairs,)
        The atoms; written as far as there are any.
    local : ndarray of shape (n_pairs,)
        The numbers of the neighbours; written.
    """
    last = len(places) - 1
    places[:] = -1
    count = 0
    for k in range(-n_atoms, len(neighbors)):
        atom = neighbors[k] if k >= 0 else first + n_atoms + k
        place = ((atom * SCATTER) >> 16) & last
        while places[place] >= 0 and around[places[place]] != atom:
            place = (place + 1) & last
        if places[place] < 0:
            places[place] = count
            around[count] = atom
            count += 1
        if k >= 0:
            local[k] = places[place]
    return count
