"""Compiled derivatives of the maps of the second order, see `second_kernels`."""

from __future__ import annotations

import numpy as np

from skwavelet._utils.compiled import compiled
from skwavelet.representations.pair_kernels import (
    add_product,
    add_pulls,
    fill_product_with_transposed,
)
from skwavelet.representations.point.moment_kernels import CHUNK, next_chunk
from skwavelet.representations.point.second_kernels import (
    fill_inputs,
    fill_psi,
    fill_taken,
    make_room,
    sort_by_reach,
)
from skwavelet.representations.point.wavelet_kernels import (
    add_harmonic_gradient,
    add_harmonic_gradients,
)


@compiled
def add_second_gradients(
    vectors, neighbors, ends, radials, second, sigma, maps, of_squared, of_sigma, gradient, strain
):  # fmt: skip
    """Add the gradients of ``(of_squared * squared).sum()``.

    Parameters
    ----------
    vectors, neighbors, ends, radials, second, sigma, maps
        See `fill_second`. Neighbours are numbered with the centres first.
    of_squared : ndarray of shape (n_maps, n_atoms)
    of_sigma : ndarray of shape (n_around, n_inputs)
        In the inputs; added to.
    gradient, strain : ndarray of shape (n_around, 3) and (1, 3, 3)
        In the positions and in a strain; added to.
    """
    dtype = sigma.dtype
    room = make_room(radials, second, ends, sigma, np.bool_(True))
    max_l = len(radials.bounds) - 2
    of_psi, of_inputs = np.empty_like(room.psi), np.empty_like(room.inputs)
    of_harmonics = np.empty_like(room.chunk.harmonics)
    along, pull = np.empty_like(room.chunk.squares), np.empty_like(room.chunk.vectors)
    twice = np.empty(sigma.shape[1], dtype)
    of_products = np.zeros((len(room.psi), len(twice)), dtype)
    first = np.int64(0)
    while first < len(ends) - 1:
        stop = next_chunk(ends, first, CHUNK)
        n_pairs = sort_by_reach(vectors, neighbors, ends, first, stop, radials, room)
        fill_taken(radials, n_pairs, room)
        of_harmonics[:] = 0
        along[:] = 0
        for row in range(first, stop):
            begin, counts = room.starts[row - first], room.counts[row - first]
            here, most = np.uint64(begin), counts[-1]
            fill_psi(radials, second, counts, begin, room)
            fill_inputs(sigma, begin, most, room)
            for q in range(len(second.degrees)):
                width = second.widths[radials.scale[q]]
                for i in range(width):
                    twice[i] = 0
                for e in range(second.bounds[q], second.bounds[q + 1]):
                    twice[second.inputs[e]] = of_squared[e, row] + of_squared[e, row]
                for m in range(2 * second.degrees[q] + 1):
                    line = second.first_lines[q] + m
                    product, kept = of_products[line], maps[row, line]
                    for i in range(width):
                        product[i] = twice[i] * kept[i]
            for k in range(most):
                for i in range(len(twice)):
                    of_inputs[k, i] = 0
            for scale in range(len(second.sizes)):
                low, high, size = second.lines[scale], second.lines[scale + 1], second.sizes[scale]
                n, width = counts[scale], second.widths[scale]
                fill_product_with_transposed(
                    of_products[low:], room.inputs, size, n, width, of_psi[low:]
                )
                add_product(room.psi[low:].T, of_products[low:], n, high - low, width, of_inputs)
            for q in range(len(second.degrees)):
                n = counts[radials.scale[q]]
                for m in range(2 * second.degrees[q] + 1):
                    harmonic = second.degrees[q] ** 2 + m
                    back = of_psi[second.first_lines[q] + m]
                    for k in range(n):
                        p = here + np.uint64(k)
                        of_harmonics[harmonic, p] += back[k] * room.chunk.values[q, p]
                        along[p] += (
                            back[k] * room.chunk.harmonics[harmonic, p] * room.chunk.slopes[q, p]
                        )
            for k in range(most):
                source, target = of_inputs[k], of_sigma[room.owners[begin + k]]
                for i in range(len(source)):
                    target[i] += source[i]
        for axis in range(3):
            for k in range(n_pairs):
                pull[axis, k] = (along[k] + along[k]) * room.chunk.vectors[axis, k]
        add_harmonic_gradients(
            radials.norms, max_l, room.chunk.vectors, n_pairs, room.chunk.vertical,
            room.chunk.azimuth, of_harmonics, pull,
        )  # fmt: skip
        add_pulls(
            room.chunk.vectors, pull, room.owners, room.starts, stop - first, first, gradient,
            strain,
        )  # fmt: skip
        first = stop


@compiled
def add_second_changes(
    vectors, neighbors, ends, radials, second, sigma, maps, factors, groups,
    displacements, strains, of_sigma, sums,
):  # fmt: skip
    """Add derivatives of powers of the squared moduli along directions to those of sums.

    Parameters
    ----------
    vectors, neighbors, ends, radials, second, sigma, maps
        See `fill_second`. Neighbours are numbered with the centres first.
    factors : ndarray of shape (n_powers, n_maps, n_atoms)
        Derivatives of the powers in the squared moduli.
    groups : ndarray of shape (n_atoms,)
        The sum that every atom belongs to.
    displacements : ndarray of shape (n_directions, n_around, 3)
    strains : ndarray of shape (n_directions, 3, 3)
    of_sigma : ndarray of shape (n_inputs, n_directions, n_around)
        Derivatives of the inputs.
    sums : ndarray of shape (n_groups, n_maps, n_powers, n_directions)
        Added to.
    """
    dtype = maps.dtype
    zero, two = dtype.type(0), dtype.type(2)
    n_directions = len(strains)
    room = make_room(radials, second, ends, sigma, np.bool_(True))
    most = room.psi.shape[1]
    max_l = len(radials.bounds) - 2
    n_lines = (max_l + 1) ** 2
    gradients = np.empty((n_lines, 3, len(room.chunk.squares)), dtype)
    ones = np.ones(len(room.chunk.squares), dtype)
    moves = np.empty((n_directions, 3, most), dtype)
    carried = np.empty((n_directions, most), dtype)
    turned, along = np.empty((3, most), dtype), np.empty(most, dtype)
    changes, source = np.empty(n_directions, dtype), np.empty(most, dtype)
    first = np.int64(0)
    while first < len(ends) - 1:
        stop = next_chunk(ends, first, CHUNK)
        n_pairs = sort_by_reach(vectors, neighbors, ends, first, stop, radials, room)
        fill_taken(radials, n_pairs, room)
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
                            - displacements[direction, row, axis]
                        )
                        for other in range(3):
                            move += room.chunk.vectors[other, begin + k] * strain[other, axis]
                        moves[direction, axis, k] = move
            current = -1
            for position in range(len(second.order)):
                e = second.order[position]
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
                place = second.first_lines[q]
                for k in range(n):
                    turned[0, k] = 0
                    turned[1, k] = 0
                    turned[2, k] = 0
                    along[k] = 0
                for m in range(2 * degree + 1):
                    line = degree * degree + m
                    f = two * maps[row, place + m, current]
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
