"""Compiled squared moduli of mixed moments, and their derivatives.

A map is a channel c and a radial part q of degree l:

    f_m = sum_e weights[e, c] A[e, q, m],    u = sum_m f_m^2 + floor.
"""

from __future__ import annotations

import numpy as np

from skwavelet._utils.compiled import compiled, compiled_part
from skwavelet.representations.point.moment_kernels import fill_chunk, make_chunk
from skwavelet.representations.point.wavelet_kernels import add_harmonic_gradient


@compiled_part
def mix(moments, weights, channel, term, mixed):
    """Write f = sum_e weights[e, channel] moments[e, term] of all atoms to ``mixed`` (n_atoms,)."""
    n_atoms = len(mixed)
    weight = weights[0, channel]
    for k in range(n_atoms):
        mixed[k] = weight * moments[0, term, k]
    for kind in range(1, len(moments)):
        weight = weights[kind, channel]
        if weight != 0:
            for k in range(n_atoms):
                mixed[k] += weight * moments[kind, term, k]


@compiled
def square(moments, weights, maps, floors, squared):
    """Write the squared moduli.

    Parameters
    ----------
    moments : ndarray of shape (n_elements, n_terms, n_atoms)
    weights : ndarray of shape (n_elements, n_channels)
    maps : ndarray of shape (n_maps, 4)
        Channel, first term, step from term to term and number of terms (2l + 1) of every map.
    floors : ndarray of shape (n_maps,)
    squared : ndarray of shape (n_maps, n_atoms)
        Written.
    """
    n_atoms = moments.shape[2]
    mixed = np.empty(n_atoms, moments.dtype)
    for row in range(len(maps)):
        channel, first, step, count = maps[row, 0], maps[row, 1], maps[row, 2], maps[row, 3]
        floor = floors[row]
        for k in range(n_atoms):
            squared[row, k] = floor
        for m in range(count):
            mix(moments, weights, channel, first + m * step, mixed)
            for k in range(n_atoms):
                squared[row, k] += mixed[k] * mixed[k]


@compiled
def square_vjp(moments, weights, maps, cotangents, of_moments):
    """Add the gradients of ``(cotangents * squared).sum()`` in the moments to ``of_moments``."""
    n_atoms = moments.shape[2]
    mixed = np.empty(n_atoms, moments.dtype)
    for row in range(len(maps)):
        channel, first, step, count = maps[row, 0], maps[row, 1], maps[row, 2], maps[row, 3]
        for m in range(count):
            term = first + m * step
            mix(moments, weights, channel, term, mixed)
            for k in range(n_atoms):
                mixed[k] *= cotangents[row, k]
            for kind in range(len(moments)):
                weight = weights[kind, channel] + weights[kind, channel]
                if weight != 0:
                    for k in range(n_atoms):
                        of_moments[kind, term, k] += weight * mixed[k]


@compiled
def square_jacobian(vectors, ends, radials, moments, weights, maps, radial_of_map, jacobian):
    """Write the derivatives (n_pairs, 3, n_maps) of squared moduli in every vector to a neighbour.

    See `square`; ``radial_of_map`` (n_maps,) is the radial part of each.
    """
    dtype = moments.dtype
    zero = dtype.type(0)
    n_lines = (len(radials.bounds) - 1) ** 2
    chunk = make_chunk(ends, radials, dtype, np.bool_(True))
    taken, values, slopes = chunk.vectors, chunk.values, chunk.slopes
    harmonics = chunk.harmonics
    room = len(chunk.squares)
    ones = np.ones(room, dtype)
    gradients = np.zeros((n_lines, 3, room), dtype)
    turned = np.empty((3, room), dtype)
    along = np.empty(room, dtype)
    first = np.int64(0)
    while first < len(ends) - 1:
        stop, n_pairs = fill_chunk(chunk, vectors, ends, radials, first)
        gradients[:] = 0
        for line in range(1, n_lines):
            add_harmonic_gradient(
                radials.norms, line, taken, n_pairs, chunk.vertical, chunk.azimuth, ones,
                gradients[line],
            )  # fmt: skip
        begin = offset = ends[first, -1]
        for row in range(first, stop):
            for kind in range(len(moments)):
                here, n = np.uint64(begin - offset), ends[row + 1, kind] - begin
                target = np.uint64(begin)
                begin = ends[row + 1, kind]
                for entry in range(len(maps)):
                    channel, term, step = maps[entry, 0], maps[entry, 1], maps[entry, 2]
                    count, q = maps[entry, 3], radial_of_map[entry]
                    twice = weights[kind, channel] + weights[kind, channel]
                    for k in range(n):
                        p = here + np.uint64(k)
                        turned[0, p] = 0
                        turned[1, p] = 0
                        turned[2, p] = 0
                        along[p] = 0
                    line = (count // 2) ** 2
                    for m in range(count):
                        f = zero
                        for other in range(len(moments)):
                            f += weights[other, channel] * moments[other, term + m * step, row]
                        f *= twice
                        for k in range(n):
                            p = here + np.uint64(k)
                            turned[0, p] += f * gradients[line + m, 0, p]
                            turned[1, p] += f * gradients[line + m, 1, p]
                            turned[2, p] += f * gradients[line + m, 2, p]
                            along[p] += f * harmonics[line + m, p]
                    for k in range(n):
                        p = here + np.uint64(k)
                        slope = (slopes[q, p] + slopes[q, p]) * along[p]
                        for axis in range(3):
                            jacobian[target + np.uint64(k), axis, entry] = (
                                values[q, p] * turned[axis, p] + slope * taken[axis, p]
                            )
        first = stop


@compiled
def add_rows(jacobian, factors, first, starts, neighbors, groups, rows):
    """Add what pairs do to sums of functions of the squared moduli, to rows of derivatives.

    Parameters
    ----------
    jacobian : ndarray of shape (n_room, 3, n_maps)
        See `square_jacobian`.
    factors : ndarray of shape (n_powers, n_atoms, n_maps)
        Derivatives of the functions in the squared moduli of every atom.
    first : int
        The first of these atoms.
    starts, neighbors : ndarray
        See ``PairBlock``.
    groups : ndarray of shape (n_atoms,)
        The sum that every atom belongs to.
    rows : ndarray of shape (n_atoms, 3, n_groups, n_powers, n_maps)
        Derivatives in the positions; added to.
    """
    n_powers, n_maps = factors.shape[0], factors.shape[2]
    for center in range(len(starts) - 1):
        group = groups[center]
        for pair in range(starts[center], starts[center + 1]):
            neighbor = neighbors[pair]
            if first + center == neighbor:
                continue
            for axis in range(3):
                for power in range(n_powers):
                    for m in range(n_maps):
                        change = factors[power, center, m] * jacobian[pair, axis, m]
                        rows[neighbor, axis, group, power, m] += change
                        rows[first + center, axis, group, power, m] -= change
