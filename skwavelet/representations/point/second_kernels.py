"""Compiled maps of the second order: wavelets of first-order moduli at the neighbours.

A map is an input p, which is a first-order modulus, and a radial part q of degree l:

    f_m = sum_k R_q(r_k) S_lm(r_k) sigma_p(k),    u = sum_m f_m^2 + floor.

Those of one scale are a product of two matrices for every atom, one with a row for every wavelet
(q, m), the other with a column for every input. Rows, columns and neighbours fill up whole groups
with zeros.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from skwavelet._utils.compiled import compiled, compiled_part
from skwavelet.representations.pair_kernels import add_product
from skwavelet.representations.point.moment_kernels import (
    CHUNK,
    Chunk,
    largest_chunk,
    make_chunk,
    next_chunk,
)
from skwavelet.representations.point.wavelet_kernels import fill_harmonics, fill_wavelets
from skwavelet.structures.neighbor_kernels import GROUP


class SecondMaps(NamedTuple):
    """Which maps there are; by radial part, then by input.

    Attributes
    ----------
    lines : ndarray of shape (n_scales + 1,)
        Rows ``lines[s]`` to ``lines[s + 1]`` of the products are those of scale s, whole groups.
    sizes : ndarray of shape (n_scales,)
        How many of them are wavelets; those that fill up groups come last.
    widths : ndarray of shape (n_scales,)
        So many of the first inputs the maps of a scale have, whole groups.
    degrees : ndarray of shape (n_radials,)
    first_lines : ndarray of shape (n_radials,)
        Row of m = -l.
    bounds : ndarray of shape (n_radials + 1,)
        Maps ``bounds[q]`` to ``bounds[q + 1]`` belong to radial part q.
    floors : ndarray of shape (n_maps,)
    inputs, radials : ndarray of shape (n_maps,)
        Input and radial part of every map.
    order : ndarray of shape (n_maps,)
        Maps by input.
    """

    lines: np.ndarray
    sizes: np.ndarray
    widths: np.ndarray
    degrees: np.ndarray
    first_lines: np.ndarray
    bounds: np.ndarray
    floors: np.ndarray
    inputs: np.ndarray
    radials: np.ndarray
    order: np.ndarray


class Room(NamedTuple):
    """What is worked on: the wavelets of the pairs of some atoms, and those and inputs of one.

    Pairs stand by atom, those within the reach of the first scale before those of the second,
    and so on, filled up to whole groups by pairs beyond the reach.
    """

    starts: np.ndarray
    counts: np.ndarray
    owners: np.ndarray
    chunk: Chunk
    psi: np.ndarray
    inputs: np.ndarray


@compiled_part
def make_room(radials, second, ends, sigma, derivatives):
    """Return `Room` for the pairs of any atoms that are worked on together."""
    dtype = sigma.dtype
    chunk = make_chunk(ends, radials, dtype, derivatives)
    most = largest_chunk(ends, 0)
    return Room(
        np.zeros(len(ends), np.int64),
        np.zeros((len(ends), len(radials.half)), np.int64),
        np.zeros(len(chunk.squares), np.int64),
        chunk,
        np.zeros((second.lines[-1], most), dtype),
        np.zeros((most, sigma.shape[1]), dtype),
    )


@compiled_part
def sort_by_reach(vectors, neighbors, ends, first, stop, radials, room):
    """Take the pairs of some atoms, nearest scales first; return their number."""
    n_scales, taken = len(radials.end), room.chunk.vectors
    used = 0
    for row in range(first, stop):
        begin = used
        room.starts[row - first] = begin
        for scale in range(n_scales):
            low = radials.end[scale - 1] if scale else radials.end.dtype.type(-1)
            high = radials.end[scale]
            # Without branches, which could not be foreseen: the next overwrites who is elsewhere.
            for p in range(ends[row, -1], ends[row + 1, -1]):
                x, y, z = vectors[0, p], vectors[1, p], vectors[2, p]
                square = x * x + y * y + z * z
                taken[0, used], taken[1, used], taken[2, used] = x, y, z
                room.chunk.squares[used] = square
                room.owners[used] = neighbors[p]
                used += (low <= square) & (square < high)
            room.counts[row - first, scale] = (used - begin + GROUP - 1) // GROUP * GROUP
        end = begin + room.counts[row - first, n_scales - 1]
        for slot in range(used, end):
            taken[0, slot] = np.sqrt(radials.end[n_scales - 1])
            taken[1, slot] = 0
            taken[2, slot] = 0
            room.chunk.squares[slot] = radials.end[n_scales - 1]
            room.owners[slot] = neighbors[ends[row, -1]]
        used = end
    room.starts[stop - first] = used
    return used


@compiled_part
def fill_taken(radials, n_pairs, room):
    """Write radial parts and harmonics of the pairs that were taken."""
    chunk = room.chunk
    fill_wavelets(
        radials, chunk.squares, n_pairs, chunk.scratch, chunk.bits, chunk.values, chunk.slopes
    )
    fill_harmonics(
        radials.norms, len(radials.bounds) - 2, chunk.vectors, chunk.squares, n_pairs,
        chunk.vertical, chunk.azimuth, chunk.harmonics,
    )  # fmt: skip


@compiled_part
def fill_psi(radials, second, counts, begin, room):
    """Write the wavelets (n_lines, n) of all scales at the neighbours of one atom."""
    here = np.uint64(begin)
    for q in range(len(second.degrees)):
        degree, n = second.degrees[q], counts[radials.scale[q]]
        for m in range(2 * degree + 1):
            line, psi = degree * degree + m, room.psi[second.first_lines[q] + m]
            for k in range(n):
                p = here + np.uint64(k)
                psi[k] = room.chunk.values[q, p] * room.chunk.harmonics[line, p]


@compiled_part
def fill_inputs(sigma, begin, n, room):
    """Write the inputs (n, n_inputs) at the neighbours of one atom."""
    for k in range(n):
        source, target = sigma[room.owners[begin + k]], room.inputs[k]
        for p in range(len(target)):
            target[p] = source[p]


@compiled
def fill_second(vectors, neighbors, ends, radials, second, sigma, maps, squared):
    """Write maps and their squared moduli.

    Parameters
    ----------
    vectors, ends : ndarray
        See ``PairBlock``.
    neighbors : ndarray of shape (n_pairs,)
        Neighbours as they are numbered in the inputs.
    radials : Radials
    second : SecondMaps
    sigma : ndarray of shape (n, n_inputs)
        The inputs, filled up to whole groups with zeros.
    maps : ndarray of shape (n_atoms, n_lines, n_inputs) or (1, n_lines, n_inputs)
        Written; for all atoms, or for the last one.
    squared : ndarray of shape (n_maps, n_atoms)
        Written.
    """
    room = make_room(radials, second, ends, sigma, np.bool_(False))
    moduli = np.empty((GROUP, len(second.degrees), sigma.shape[1]), sigma.dtype)
    keep = len(maps) > 1
    first = np.int64(0)
    while first < len(ends) - 1:
        stop = next_chunk(ends, first, CHUNK)
        n_pairs = sort_by_reach(vectors, neighbors, ends, first, stop, radials, room)
        fill_taken(radials, n_pairs, room)
        for row in range(first, stop):
            begin, counts = room.starts[row - first], room.counts[row - first]
            products = maps[row if keep else 0]
            fill_psi(radials, second, counts, begin, room)
            fill_inputs(sigma, begin, counts[-1], room)
            for scale in range(len(second.sizes)):
                low, size, width = second.lines[scale], second.sizes[scale], second.widths[scale]
                n_lines = (size + 1) // 2 * 2
                for line in range(low, low + n_lines):
                    product = products[line]
                    for p in range(width):
                        product[p] = 0
                add_product(
                    room.psi[low:], room.inputs, n_lines, counts[scale], width, products[low:]
                )
            place = (row - first) % GROUP
            for q in range(len(second.degrees)):
                width, total = second.widths[radials.scale[q]], moduli[place, q]
                for p in range(width):
                    total[p] = 0
                for m in range(2 * second.degrees[q] + 1):
                    product = products[second.first_lines[q] + m]
                    for p in range(width):
                        total[p] += product[p] * product[p]
            # Those of several atoms together, as they stand side by side.
            if place == GROUP - 1 or row == stop - 1:
                for e in range(len(second.inputs)):
                    q, i, floor = second.radials[e], second.inputs[e], second.floors[e]
                    for k in range(place + 1):
                        squared[e, row - place + k] = moduli[k, q, i] + floor
        first = stop
