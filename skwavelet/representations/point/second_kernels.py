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

from skwavelet._utils.compiled import compiled
from skwavelet.representations.pair_kernels import (
    add_product,
    add_pulls,
    fill_product_with_transposed,
)
from skwavelet.representations.point.moment_kernels import (
    CHUNK,
    Chunk,
    largest_chunk,
    make_chunk,
    next_chunk,
)
from skwavelet.representations.point.wavelet_kernels import (
    add_harmonic_gradient,
    add_harmonic_gradients,
    fill_harmonics,
    fill_wavelets,
)
from skwavelet.structures.neighbor_kernels import GROUP


class SecondMaps(NamedTuple):
    """Which maps there are; by radial part, then by input.

    Attributes
    ----------
    rows : ndarray of shape (n_scales,)
        Number of rows of the products of every scale.
    widths : ndarray of shape (n_scales,)
        Number of columns.
    offsets : ndarray of shape (n_scales + 1,)
        Where the products of every scale start.
    run_bounds : ndarray of shape (n_scales + 1,)
        Runs ``run_bounds[s]`` to ``run_bounds[s + 1]`` of consecutive inputs are those of scale s.
    run_starts, run_lengths : ndarray of shape (n_runs,)
    degrees : ndarray of shape (n_radials,)
    first_rows : ndarray of shape (n_radials,)
        Row of m = -l.
    bounds : ndarray of shape (n_radials + 1,)
        Maps ``bounds[q]`` to ``bounds[q + 1]`` belong to radial part q.
    columns : ndarray of shape (n_maps,)
        Column of the input of every map.
    floors : ndarray of shape (n_maps,)
    inputs, radials : ndarray of shape (n_maps,)
        Input and radial part of every map.
    order : ndarray of shape (n_maps,)
        Maps by input.
    """

    rows: np.ndarray
    widths: np.ndarray
    offsets: np.ndarray
    run_bounds: np.ndarray
    run_starts: np.ndarray
    run_lengths: np.ndarray
    degrees: np.ndarray
    first_rows: np.ndarray
    bounds: np.ndarray
    columns: np.ndarray
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


@compiled
def make_room(radials, second, ends, dtype):
    """Return `Room` for the pairs of any atoms that are worked on together."""
    chunk = make_chunk(ends, radials, dtype, True)
    most = largest_chunk(ends, 0)
    return Room(
        np.zeros(len(ends), np.int64),
        np.zeros((len(ends), len(radials.half)), np.int64),
        np.zeros(len(chunk.squares), np.int64),
        chunk,
        np.zeros((second.rows.max(), most), dtype),
        np.zeros((most, second.widths.max()), dtype),
    )


@compiled
def sort_by_reach(vectors, neighbors, ends, first, stop, atom, radials, room):
    """Take the pairs of some atoms, nearest scales first; return their number."""
    n_scales, taken = len(radials.end), room.chunk.vectors
    used = 0
    for row in range(first, stop):
        begin = used
        room.starts[row - first] = begin
        for scale in range(n_scales):
            low = radials.end[scale - 1] if scale else radials.end.dtype.type(-1)
            high = radials.end[scale]
            for p in range(ends[row, -1], ends[row + 1, -1]):
                x, y, z = vectors[0, p], vectors[1, p], vectors[2, p]
                square = x * x + y * y + z * z
                if low <= square < high:
                    taken[0, used], taken[1, used], taken[2, used] = x, y, z
                    room.chunk.squares[used] = square
                    room.owners[used] = neighbors[p]
                    used += 1
            room.counts[row - first, scale] = (used - begin + GROUP - 1) // GROUP * GROUP
        end = begin + room.counts[row - first, n_scales - 1]
        for slot in range(used, end):
            taken[0, slot] = np.sqrt(radials.end[n_scales - 1])
            taken[1, slot] = 0
            taken[2, slot] = 0
            room.chunk.squares[slot] = radials.end[n_scales - 1]
            room.owners[slot] = atom + row
        used = end
    room.starts[stop - first] = used
    return used


@compiled
def fill_taken(radials, n_pairs, room, derivatives):
    """Write radial parts and harmonics of the pairs that were taken."""
    chunk = room.chunk
    fill_wavelets(
        radials, chunk.squares, n_pairs, chunk.scratch, chunk.values, chunk.slopes, derivatives
    )
    fill_harmonics(
        radials.norms, len(radials.bounds) - 2, chunk.vectors, chunk.squares, n_pairs,
        chunk.vertical, chunk.azimuth, chunk.harmonics,
    )  # fmt: skip


@compiled
def fill_psi(radials, second, scale, begin, n, room):
    """Write the wavelets (n_rows, n) of one scale at the neighbours of one atom."""
    here = np.uint64(begin)
    row = 0
    for q in range(len(second.degrees)):
        if radials.scale[q] != scale:
            continue
        degree = second.degrees[q]
        for line in range(degree * degree, (degree + 1) ** 2):
            for k in range(n):
                p = here + np.uint64(k)
                room.psi[row, k] = room.chunk.values[q, p] * room.chunk.harmonics[line, p]
            row += 1
    for rest in range(row, second.rows[scale]):
        for k in range(n):
            room.psi[rest, k] = 0


@compiled
def fill_inputs(second, scale, sigma, begin, n, room):
    """Write the inputs (n, width) of one scale at the neighbours of one atom."""
    for k in range(n):
        source, target = sigma[room.owners[begin + k]], room.inputs[k]
        column = 0
        for run in range(second.run_bounds[scale], second.run_bounds[scale + 1]):
            start, length = second.run_starts[run], second.run_lengths[run]
            part, place = source[start : start + length], target[column : column + length]
            for p in range(length):
                place[p] = part[p]
            column += length
        for p in range(column, second.widths[scale]):
            target[p] = 0


@compiled
def products_of(second, scale, maps):
    """Return the part of an atom's ``maps`` that belongs to a scale, (n_rows, width)."""
    part = maps[second.offsets[scale] : second.offsets[scale + 1]]
    return part.reshape(second.rows[scale], second.widths[scale])


@compiled
def fill_second(vectors, neighbors, ends, atom, radials, second, sigma, maps, squared):
    """Write maps and their squared moduli.

    Parameters
    ----------
    vectors, neighbors, ends : ndarray
        See ``PairBlock``.
    atom : int
        The first atom of the block.
    radials : Radials
    second : SecondMaps
    sigma : ndarray of shape (N, n_inputs)
    maps : ndarray of shape (n_atoms, n_products)
        Written.
    squared : ndarray of shape (n_maps, n_atoms)
        Written.
    """
    room = make_room(radials, second, ends, sigma.dtype)
    moduli = np.empty(second.widths.max(), sigma.dtype)
    first = 0
    while first < len(ends) - 1:
        stop = next_chunk(ends, first, CHUNK)
        n_pairs = sort_by_reach(vectors, neighbors, ends, first, stop, atom, radials, room)
        fill_taken(radials, n_pairs, room, False)
        for row in range(first, stop):
            begin = room.starts[row - first]
            for scale in range(len(second.rows)):
                n, width = room.counts[row - first, scale], second.widths[scale]
                fill_psi(radials, second, scale, begin, n, room)
                fill_inputs(second, scale, sigma, begin, n, room)
                products = products_of(second, scale, maps[row])
                products[:] = 0
                add_product(room.psi, room.inputs, second.rows[scale], n, width, products)
                for q in range(len(second.degrees)):
                    if radials.scale[q] != scale:
                        continue
                    for p in range(width):
                        moduli[p] = 0
                    for m in range(2 * second.degrees[q] + 1):
                        line = products[second.first_rows[q] + m]
                        for p in range(width):
                            moduli[p] += line[p] * line[p]
                    for e in range(second.bounds[q], second.bounds[q + 1]):
                        squared[e, row] = moduli[second.columns[e]] + second.floors[e]
        first = stop


@compiled
def add_second_gradients(
    vectors, neighbors, ends, atom, radials, second, sigma, maps, of_squared, of_sigma, gradient,
    strain,
):  # fmt: skip
    """Add the gradients of ``(of_squared * squared).sum()``.

    Parameters
    ----------
    vectors, neighbors, ends, atom, radials, second, sigma, maps
        See `fill_second`.
    of_squared : ndarray of shape (n_maps, n_atoms)
    of_sigma : ndarray of shape (N, n_inputs)
        In the inputs; added to.
    gradient, strain : ndarray of shape (N, 3) and (1, 3, 3)
        In the positions and in a strain; added to.
    """
    dtype = sigma.dtype
    room = make_room(radials, second, ends, dtype)
    max_l = len(radials.bounds) - 2
    of_psi, of_inputs = np.empty_like(room.psi), np.empty_like(room.inputs)
    transposed = np.empty((room.psi.shape[1], room.psi.shape[0]), dtype)
    of_harmonics = np.empty_like(room.chunk.harmonics)
    along, pull = np.empty_like(room.chunk.squares), np.empty_like(room.chunk.vectors)
    twice = np.empty(second.widths.max(), dtype)
    first = 0
    while first < len(ends) - 1:
        stop = next_chunk(ends, first, CHUNK)
        n_pairs = sort_by_reach(vectors, neighbors, ends, first, stop, atom, radials, room)
        fill_taken(radials, n_pairs, room, True)
        of_harmonics[:] = 0
        along[:] = 0
        for row in range(first, stop):
            begin = room.starts[row - first]
            here = np.uint64(begin)
            for scale in range(len(second.rows)):
                n, width = room.counts[row - first, scale], second.widths[scale]
                n_rows = second.rows[scale]
                fill_psi(radials, second, scale, begin, n, room)
                fill_inputs(second, scale, sigma, begin, n, room)
                products = products_of(second, scale, maps[row])
                # From here on those are gradients in the products.
                for q in range(len(second.degrees)):
                    if radials.scale[q] != scale:
                        continue
                    for i in range(width):
                        twice[i] = 0
                    for e in range(second.bounds[q], second.bounds[q + 1]):
                        twice[second.columns[e]] = of_squared[e, row] + of_squared[e, row]
                    for m in range(2 * second.degrees[q] + 1):
                        line = products[second.first_rows[q] + m]
                        for i in range(width):
                            line[i] *= twice[i]
                fill_product_with_transposed(products, room.inputs, n_rows, n, width, of_psi)
                for q in range(len(second.degrees)):
                    if radials.scale[q] != scale:
                        continue
                    for m in range(2 * second.degrees[q] + 1):
                        harmonic = second.degrees[q] ** 2 + m
                        back = of_psi[second.first_rows[q] + m]
                        for k in range(n):
                            p = here + np.uint64(k)
                            of_harmonics[harmonic, p] += back[k] * room.chunk.values[q, p]
                            along[p] += (
                                back[k]
                                * room.chunk.harmonics[harmonic, p]
                                * room.chunk.slopes[q, p]
                            )
                for k in range(n):
                    for line in range(n_rows):
                        transposed[k, line] = room.psi[line, k]
                    for i in range(width):
                        of_inputs[k, i] = 0
                add_product(transposed, products, n, n_rows, width, of_inputs)
                for k in range(n):
                    source, target = of_inputs[k], of_sigma[room.owners[begin + k]]
                    column = 0
                    for run in range(second.run_bounds[scale], second.run_bounds[scale + 1]):
                        start, length = second.run_starts[run], second.run_lengths[run]
                        part = source[column : column + length]
                        place = target[start : start + length]
                        for i in range(length):
                            place[i] += part[i]
                        column += length
        for axis in range(3):
            for k in range(n_pairs):
                pull[axis, k] = (along[k] + along[k]) * room.chunk.vectors[axis, k]
        add_harmonic_gradients(
            radials.norms, max_l, room.chunk.vectors, n_pairs, room.chunk.vertical,
            room.chunk.azimuth, of_harmonics, pull,
        )  # fmt: skip
        add_pulls(
            room.chunk.vectors, pull, room.owners, room.starts, stop - first, atom + first,
            gradient, strain,
        )  # fmt: skip
        first = stop


@compiled
def add_second_changes(
    vectors, neighbors, ends, atom, radials, second, sigma, maps, factors, groups,
    displacements, strains, of_sigma, sums,
):  # fmt: skip
    """Add derivatives of powers of the squared moduli along directions to those of sums.

    Parameters
    ----------
    vectors, neighbors, ends, atom, radials, second, sigma, maps
        See `fill_second`.
    factors : ndarray of shape (n_powers, n_maps, n_atoms)
        Derivatives of the powers in the squared moduli.
    groups : ndarray of shape (n_atoms,)
        The sum that every atom belongs to.
    displacements : ndarray of shape (n_directions, N, 3)
    strains : ndarray of shape (n_directions, 3, 3)
    of_sigma : ndarray of shape (n_inputs, n_directions, N)
        Derivatives of the inputs.
    sums : ndarray of shape (n_groups, n_maps, n_powers, n_directions)
        Added to.
    """
    dtype = maps.dtype
    zero, two = dtype.type(0), dtype.type(2)
    n_directions = len(strains)
    room = make_room(radials, second, ends, dtype)
    most = room.psi.shape[1]
    max_l = len(radials.bounds) - 2
    n_lines = (max_l + 1) ** 2
    gradients = np.empty((n_lines, 3, len(room.chunk.squares)), dtype)
    ones = np.ones(len(room.chunk.squares), dtype)
    moves = np.empty((n_directions, 3, most), dtype)
    carried = np.empty((n_directions, most), dtype)
    turned, along = np.empty((3, most), dtype), np.empty(most, dtype)
    changes, source = np.empty(n_directions, dtype), np.empty(most, dtype)
    first = 0
    while first < len(ends) - 1:
        stop = next_chunk(ends, first, CHUNK)
        n_pairs = sort_by_reach(vectors, neighbors, ends, first, stop, atom, radials, room)
        fill_taken(radials, n_pairs, room, True)
        gradients[:] = 0
        for line in range(1, n_lines):
            add_harmonic_gradient(
                radials.norms, line, room.chunk.vectors, n_pairs, room.chunk.vertical,
                room.chunk.azimuth, ones, gradients[line],
            )  # fmt: skip
        for row in range(first, stop):
            begin = room.starts[row - first]
            here = np.uint64(begin)
            n_here = room.starts[row - first + 1] - begin
            for direction in range(n_directions):
                strain = strains[direction]
                for k in range(n_here):
                    owner = room.owners[begin + k]
                    for axis in range(3):
                        move = (
                            displacements[direction, owner, axis]
                            - displacements[direction, atom + row, axis]
                        )
                        for other in range(3):
                            move += room.chunk.vectors[other, begin + k] * strain[other, axis]
                        moves[direction, axis, k] = move
            current = -1
            for place in range(len(second.order)):
                e = second.order[place]
                if second.inputs[e] != current:
                    current = second.inputs[e]
                    for k in range(n_here):
                        source[k] = sigma[room.owners[begin + k], current]
                    for direction in range(n_directions):
                        moved = of_sigma[current, direction]
                        for k in range(n_here):
                            carried[direction, k] = moved[room.owners[begin + k]]
                q = second.radials[e]
                scale, degree = radials.scale[q], second.degrees[q]
                n = room.counts[row - first, scale]
                products = products_of(second, scale, maps[row])
                for k in range(n):
                    turned[0, k] = 0
                    turned[1, k] = 0
                    turned[2, k] = 0
                    along[k] = 0
                for m in range(2 * degree + 1):
                    line = degree * degree + m
                    f = two * products[second.first_rows[q] + m, second.columns[e]]
                    for k in range(n):
                        p = here + np.uint64(k)
                        turned[0, k] += f * gradients[line, 0, p]
                        turned[1, k] += f * gradients[line, 1, p]
                        turned[2, k] += f * gradients[line, 2, p]
                        along[k] += f * room.chunk.harmonics[line, p]
                # What a neighbour's place does, and what its input does.
                for k in range(n):
                    p = here + np.uint64(k)
                    value = room.chunk.values[q, p] * source[k]
                    slope = two * room.chunk.slopes[q, p] * along[k] * source[k]
                    turned[0, k] = value * turned[0, k] + slope * room.chunk.vectors[0, p]
                    turned[1, k] = value * turned[1, k] + slope * room.chunk.vectors[1, p]
                    turned[2, k] = value * turned[2, k] + slope * room.chunk.vectors[2, p]
                    along[k] *= room.chunk.values[q, p]
                for direction in range(n_directions):
                    change = zero
                    for k in range(n):
                        change += (
                            turned[0, k] * moves[direction, 0, k]
                            + turned[1, k] * moves[direction, 1, k]
                            + turned[2, k] * moves[direction, 2, k]
                            + along[k] * carried[direction, k]
                        )
                    changes[direction] = change
                for power in range(len(factors)):
                    factor = factors[power, e, row]
                    target = sums[groups[row], e, power]
                    for direction in range(n_directions):
                        target[direction] += factor * changes[direction]
        first = stop
