"""Compiled moments of atoms' neighbourhoods, and their derivatives.

The moments of an atom are the maps of its neighbours of every element apart,

    A[e, q, m] = sum_{k of element e} R_q(r_k) S_lm(r_k),

from which all first-order features and products of maps are made. They are stored with atoms as
last axis, ``moments[e, t, atom]`` with t = first[l] + m n_l + q counted within the degree l.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from skwavelet._utils.compiled import compiled, compiled_part
from skwavelet.representations.pair_kernels import add_pulls
from skwavelet.representations.point.wavelet_kernels import (
    add_harmonic_gradient,
    add_harmonic_gradients,
    fill_harmonics,
    fill_radials,
)
from skwavelet.structures.neighbor_kernels import GROUP

# Pairs that are worked on at a time: their wavelets stay in a core's own cache.
CHUNK = 512


class Chunk(NamedTuple):
    """Pairs of some atoms, and what their moments are made of.

    Attributes
    ----------
    vectors : ndarray of shape (3, n_room)
    squares : ndarray of shape (n_room,)
        Squares of their lengths.
    scratch : ndarray of shape (3, n_room)
    bits : ndarray of int of shape (n_room,)
        See `fill_exponentials`.
    values, slopes : ndarray of shape (n_radials, n_room)
        Radial parts, and their derivatives in the squares, if these are asked for.
    vertical : ndarray of shape ((max_l + 1) (max_l + 2) / 2, n_room)
    azimuth : ndarray of shape (2, max_l + 1, n_room)
    harmonics : ndarray of shape ((max_l + 1)^2, n_room)
        See `fill_harmonics`.
    """

    vectors: np.ndarray
    squares: np.ndarray
    scratch: np.ndarray
    bits: np.ndarray
    values: np.ndarray
    slopes: np.ndarray
    vertical: np.ndarray
    azimuth: np.ndarray
    harmonics: np.ndarray


@compiled_part
def make_chunk(ends, radials, dtype, derivatives):
    """Return room for the pairs that are worked on at a time."""
    # One place to spare, and rows whose distance is no power of two: caches do not like it.
    room = largest_chunk(ends, CHUNK) + GROUP
    degrees = len(radials.bounds) - 1
    n_radials = len(radials.scale)
    return Chunk(
        np.empty((3, room), dtype),
        np.empty(room, dtype),
        np.empty((3, room), dtype),
        np.empty(room, radials.exponential.fields.dtype),
        np.empty((n_radials, room), dtype),
        np.empty((n_radials if derivatives else 0, room), dtype),
        np.empty((len(radials.norms), room), dtype),
        np.empty((2, degrees, room), dtype),
        np.empty((degrees**2, room), dtype),
    )


@compiled_part
def fill_chunk(chunk, vectors, ends, radials, first):
    """Write the pairs from atom ``first`` on; return the atom after them and their number."""
    stop = next_chunk(ends, first, CHUNK)
    n_pairs = take_pairs(vectors, ends[first, -1], ends[stop, -1], chunk.vectors, chunk.squares)
    fill_radials(
        radials, ends, first, stop, chunk.squares, chunk.scratch, chunk.bits, chunk.values,
        chunk.slopes,
    )  # fmt: skip
    fill_harmonics(
        radials.norms, len(radials.bounds) - 2, chunk.vectors, chunk.squares, n_pairs,
        chunk.vertical, chunk.azimuth, chunk.harmonics,
    )  # fmt: skip
    return stop, n_pairs


@compiled_part
def next_chunk(ends, first, room):
    """Return the atom after ``first`` up to which pairs have ``room``."""
    stop = first + 1
    while stop < len(ends) - 1 and ends[stop + 1, -1] - ends[first, -1] <= room:
        stop += 1
    return stop


@compiled_part
def largest_chunk(ends, room):
    """Return ``room``, or the number of pairs of one atom where that is larger."""
    for row in range(len(ends) - 1):
        room = max(room, ends[row + 1, -1] - ends[row, -1])
    return room


@compiled_part
def take_pairs(vectors, start, stop, taken, squares):
    """Copy a range of vectors to ``taken`` and write their squares; return their number."""
    n_pairs = stop - start
    here = np.uint64(start)
    for axis in range(3):
        for k in range(n_pairs):
            taken[axis, k] = vectors[axis, here + np.uint64(k)]
    for k in range(n_pairs):
        squares[k] = taken[0, k] ** 2 + taken[1, k] ** 2 + taken[2, k] ** 2
    return n_pairs


@compiled
def fill_moments(vectors, ends, segments, radials, moments):
    """Write the moments (n_segments, n_terms, n_atoms) of a block of pairs.

    Parameters
    ----------
    vectors, ends : ndarray
        See ``PairBlock``.
    segments : ndarray of shape (n_atoms + 1, n_segments)
        Where the pairs end that are summed together: ``ends``, or its last column where
        neighbours of all elements are.
    radials : Radials
    moments : ndarray
        Written.
    """
    dtype = moments.dtype
    chunk = make_chunk(ends, radials, dtype, np.bool_(False))
    first = np.int64(0)
    while first < len(ends) - 1:
        stop, _ = fill_chunk(chunk, vectors, ends, radials, first)
        contract(radials.bounds, chunk.values, chunk.harmonics, segments, first, stop, moments)
        first = stop


@compiled_part
def contract(bounds, values, harmonics, ends, first, stop, moments):
    """Sum the products of radial parts and harmonics over the pairs of every atom and element."""
    zero = values.dtype.type(0)
    begin = offset = ends[first, -1]
    for row in range(first, stop):
        for kind in range(len(moments)):
            # Unsigned: signed indices may be negative, and are not vectorized.
            here = np.uint64(begin - offset)
            n = ends[row + 1, kind] - begin
            begin = ends[row + 1, kind]
            t = 0
            for l in range(len(bounds) - 1):
                for line in range(l * l, (l + 1) ** 2):
                    q = bounds[l]
                    while q + 4 <= bounds[l + 1]:
                        a = b = c = d = zero
                        for k in range(n):
                            p = here + np.uint64(k)
                            y = harmonics[line, p]
                            a += values[q, p] * y
                            b += values[q + 1, p] * y
                            c += values[q + 2, p] * y
                            d += values[q + 3, p] * y
                        moments[kind, t, row] = a
                        moments[kind, t + 1, row] = b
                        moments[kind, t + 2, row] = c
                        moments[kind, t + 3, row] = d
                        q += 4
                        t += 4
                    while q < bounds[l + 1]:
                        a = zero
                        for k in range(n):
                            p = here + np.uint64(k)
                            a += values[q, p] * harmonics[line, p]
                        moments[kind, t, row] = a
                        q += 1
                        t += 1


@compiled
def add_gradients(vectors, neighbors, ends, segments, radials, cotangents, gradient, strain):
    """Add the gradients of ``(cotangents * moments).sum()`` of a block of pairs.

    Parameters
    ----------
    vectors, ends : ndarray
        See ``PairBlock``.
    neighbors : ndarray of shape (n_pairs,)
        Neighbours as they are numbered in the gradient, where the centres come first.
    segments : ndarray
        See `fill_moments`.
    radials : Radials
    cotangents : ndarray of shape (n_segments, n_terms, n_atoms)
    gradient : ndarray of shape (n_around, 3)
        In the positions; added to.
    strain : ndarray of shape (1, 3, 3) or (n_atoms, 3, 3)
        In a strain, of all atoms together or of every one apart; added to.
    """
    dtype = cotangents.dtype
    max_l = len(radials.bounds) - 2
    chunk = make_chunk(ends, radials, dtype, np.bool_(True))
    taken, values, slopes = chunk.vectors, chunk.values, chunk.slopes
    harmonics = chunk.harmonics
    room = len(chunk.squares)
    of_harmonics = np.empty(((max_l + 1) ** 2, room), dtype)
    along = np.empty(room, dtype)
    pull = np.empty((3, room), dtype)
    first = np.int64(0)
    while first < len(ends) - 1:
        stop, n_pairs = fill_chunk(chunk, vectors, ends, radials, first)
        expand(
            radials.bounds, values, slopes, harmonics, segments, first, stop, cotangents,
            of_harmonics, along,
        )  # fmt: skip
        for axis in range(3):
            for k in range(n_pairs):
                pull[axis, k] = (along[k] + along[k]) * taken[axis, k]
        add_harmonic_gradients(
            radials.norms, max_l, taken, n_pairs, chunk.vertical, chunk.azimuth, of_harmonics, pull
        )
        offset = ends[first, -1]
        add_pulls(
            taken, pull, neighbors[offset:], ends[first : stop + 1, -1] - offset, stop - first,
            first, gradient, strain,
        )  # fmt: skip
        first = stop


@compiled
def fill_jacobian(vectors, ends, radials, jacobian):
    """Write the derivatives (n_pairs, 3, n_terms) of the moments in every vector to a neighbour.

    That is what a pair adds to the moments of its centre.
    """
    dtype = jacobian.dtype
    max_l = len(radials.bounds) - 2
    chunk = make_chunk(ends, radials, dtype, np.bool_(True))
    taken, values, slopes = chunk.vectors, chunk.values, chunk.slopes
    harmonics = chunk.harmonics
    room = len(chunk.squares)
    ones = np.ones(room, dtype)
    turned = np.empty((3, room), dtype)
    first = np.int64(0)
    while first < len(ends) - 1:
        stop, n_pairs = fill_chunk(chunk, vectors, ends, radials, first)
        begin = np.uint64(ends[first, -1])
        term = 0
        for l in range(max_l + 1):
            for line in range(l * l, (l + 1) ** 2):
                turned[:] = 0
                if l > 0:
                    add_harmonic_gradient(
                        radials.norms,
                        line,
                        taken,
                        n_pairs,
                        chunk.vertical,
                        chunk.azimuth,
                        ones,
                        turned,
                    )
                for q in range(radials.bounds[l], radials.bounds[l + 1]):
                    for axis in range(3):
                        for k in range(n_pairs):
                            slope = (slopes[q, k] + slopes[q, k]) * harmonics[line, k]
                            jacobian[begin + np.uint64(k), axis, term] = (
                                values[q, k] * turned[axis, k] + slope * taken[axis, k]
                            )
                    term += 1
        first = stop


@compiled_part
def expand(bounds, values, slopes, harmonics, ends, first, stop, cotangents, of_harmonics, along):
    """Write the gradients for cotangents of the moments: in the harmonics, and in r^2.

    Shapes ((max_l + 1)^2, n_room) and (n_room,).
    """
    begin = offset = ends[first, -1]
    for row in range(first, stop):
        for kind in range(len(cotangents)):
            here = np.uint64(begin - offset)
            n = ends[row + 1, kind] - begin
            begin = ends[row + 1, kind]
            for k in range(n):
                along[here + np.uint64(k)] = 0
            t = 0
            for l in range(len(bounds) - 1):
                for line in range(l * l, (l + 1) ** 2):
                    for k in range(n):
                        of_harmonics[line, here + np.uint64(k)] = 0
                    q = bounds[l]
                    while q + 3 <= bounds[l + 1]:
                        a = cotangents[kind, t, row]
                        b = cotangents[kind, t + 1, row]
                        c = cotangents[kind, t + 2, row]
                        for k in range(n):
                            p = here + np.uint64(k)
                            of_harmonics[line, p] += (
                                a * values[q, p] + b * values[q + 1, p] + c * values[q + 2, p]
                            )
                            along[p] += harmonics[line, p] * (
                                a * slopes[q, p] + b * slopes[q + 1, p] + c * slopes[q + 2, p]
                            )
                        q += 3
                        t += 3
                    while q < bounds[l + 1]:
                        a = cotangents[kind, t, row]
                        for k in range(n):
                            p = here + np.uint64(k)
                            of_harmonics[line, p] += a * values[q, p]
                            along[p] += harmonics[line, p] * a * slopes[q, p]
                        q += 1
                        t += 1
