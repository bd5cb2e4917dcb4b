"""Compiled wavelets at pairs of atoms: radial parts and solid harmonics.

Arrays have pairs as their last axis, over which all loops run that the processor vectorizes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from skwavelet._utils.compiled import compiled_part
from skwavelet.representations.exponential_kernels import (
    LAST_EXPONENT,
    Exponential,
    fill_exponentials,
)

# Pairs whose tabulated functions are looked up before they are moved.
GROUP = 16


class Radials(NamedTuple):
    """The radial parts of wavelets, sorted by degree; floats in the dtype of the maps.

    A radial part is a polynomial in t = r^2 * half, times exp(-t), times the switch that falls
    from 1 at r^2 = begin to 0 at r^2 = end, with two continuous derivatives.

    Attributes
    ----------
    half, begin, end : ndarray of shape (n_scales,)
    scale : ndarray of shape (n_radials,)
        Place of the scale.
    degree : ndarray of shape (n_radials,)
        Degree of the polynomial.
    coefficients : ndarray of shape (n_radials, n_coefficients)
        Highest power first.
    bounds : ndarray of shape (max_l + 2,)
        Radial parts ``bounds[l]`` to ``bounds[l + 1]`` belong to harmonics of degree l.
    norms : ndarray of shape ((max_l + 1) (max_l + 2) / 2,)
        Norms of the solid harmonics, m = 0 ... l for every l.
    exponential : Exponential
    table : ndarray of shape (n_tables, n_elements, n_steps + 1, 4, n_radials)
        In place of the wavelets, if it is not empty: cubic polynomials in the distance, highest
        power first, on ``n_steps`` equal parts of the reach, and zeros beyond. They may differ
        from one element of the neighbour to another, and from one centre to another.
    centers : ndarray of shape (n_atoms,)
        The table of every centre.
    steps : ndarray of shape (1,)
        Number of parts per Å.
    """

    half: np.ndarray
    begin: np.ndarray
    end: np.ndarray
    scale: np.ndarray
    degree: np.ndarray
    coefficients: np.ndarray
    bounds: np.ndarray
    norms: np.ndarray
    exponential: Exponential
    table: np.ndarray
    centers: np.ndarray
    steps: np.ndarray


@compiled_part
def fill_envelope(radials, scale, squares, n_pairs, t, envelope, fall, bits, derivatives):
    """Write t, exp(-t) times the switch, and the derivative of that in r^2, of one scale."""
    cast = squares.dtype.type
    one, zero = cast(1), cast(0)
    six, ten, fifteen, thirty = cast(6), cast(10), cast(15), cast(30)
    half, begin, end = radials.half[scale], radials.begin[scale], radials.end[scale]
    per_width = one / (end - begin)
    most = cast(LAST_EXPONENT)
    for k in range(n_pairs):
        t[k] = min(squares[k] * half, most)
    fill_exponentials(t, n_pairs, radials.exponential, fall, bits, envelope)
    if derivatives:
        for k in range(n_pairs):
            y = min(max((squares[k] - begin) * per_width, zero), one)
            switch = one - y * y * y * (ten - fifteen * y + six * y * y)
            slope = -thirty * y * y * (one - y) * (one - y) * per_width
            fall[k] = envelope[k] * (slope - half * switch)
            envelope[k] *= switch
    else:
        for k in range(n_pairs):
            y = min(max((squares[k] - begin) * per_width, zero), one)
            envelope[k] *= one - y * y * y * (ten - fifteen * y + six * y * y)


@compiled_part
def fill_radials(radials, ends, first, stop, squares, scratch, bits, values, slopes):
    """Write the radial parts (n_radials, n_pairs), and their derivatives in r^2.

    Parameters
    ----------
    radials : Radials
    ends : ndarray
        See ``PairBlock``.
    first, stop : int
        Rows of the atoms whose pairs these are.
    squares : ndarray of shape (n_room,)
    scratch : ndarray of shape (3, n_room)
    bits : ndarray of int of shape (n_room,)
        See `fill_exponentials`.
    values, slopes : ndarray of shape (n_radials, n_room)
        Written, the latter unless it is empty.
    """
    if len(radials.table):
        begin = offset = ends[first, -1]
        for row in range(first, stop):
            for kind in range(ends.shape[1]):
                end = ends[row + 1, kind]
                look_up(
                    radials.table[radials.centers[row], kind], radials.steps[0], squares,
                    begin - offset, end - offset, values, slopes,
                )  # fmt: skip
                begin = end
    else:
        n_pairs = ends[stop, -1] - ends[first, -1]
        fill_wavelets(radials, squares, n_pairs, scratch, bits, values, slopes)


@compiled_part
def look_up(table, steps, squares, start, stop, values, slopes):
    """Write tabulated radial parts of a range of pairs."""
    dtype = squares.dtype
    cast = dtype.type
    two, three, half = cast(2), cast(3), cast(0.5)
    last = len(table) - 1
    n_radials = table.shape[2]
    # The functions of a pair stand side by side in the table and are computed together. Then those
    # of some pairs are moved to where the pairs stand side by side.
    lines = np.empty((GROUP, n_radials), dtype)
    rises = np.empty((GROUP if len(slopes) else 0, n_radials), dtype)
    for first in range(start, stop, GROUP):
        here, n = np.uint64(first), min(GROUP, stop - first)
        for k in range(n):
            r = np.sqrt(squares[here + np.uint64(k)])
            place = r * steps
            row = np.uint64(min(int(place), last))
            x = place - cast(row)
            cubic, line = table[row], lines[k]
            for q in range(n_radials):
                line[q] = ((cubic[0, q] * x + cubic[1, q]) * x + cubic[2, q]) * x + cubic[3, q]
            if len(slopes):
                scale, rise = half * steps / r, rises[k]
                for q in range(n_radials):
                    rise[q] = (
                        (three * cubic[0, q] * x + two * cubic[1, q]) * x + cubic[2, q]
                    ) * scale
        for q in range(n_radials):
            for k in range(n):
                values[q, here + np.uint64(k)] = lines[k, q]
        if len(slopes):
            for q in range(n_radials):
                for k in range(n):
                    slopes[q, here + np.uint64(k)] = rises[k, q]


@compiled_part
def fill_wavelets(radials, squares, n_pairs, scratch, bits, values, slopes):
    """Write the radial parts of wavelets, see `fill_radials`."""
    t, envelope, fall = scratch[0], scratch[1], scratch[2]
    derivatives = len(slopes) > 0
    for scale in range(len(radials.half)):
        fill_envelope(radials, scale, squares, n_pairs, t, envelope, fall, bits, derivatives)
        half = radials.half[scale]
        for q in range(len(radials.scale)):
            if radials.scale[q] != scale:
                continue
            leading = radials.coefficients[q, 0]
            for k in range(n_pairs):
                values[q, k] = leading
            if derivatives:
                for k in range(n_pairs):
                    slopes[q, k] = 0
            for power in range(1, radials.degree[q] + 1):
                coefficient = radials.coefficients[q, power]
                if derivatives:
                    for k in range(n_pairs):
                        slopes[q, k] = slopes[q, k] * t[k] + values[q, k]
                        values[q, k] = values[q, k] * t[k] + coefficient
                else:
                    for k in range(n_pairs):
                        values[q, k] = values[q, k] * t[k] + coefficient
            if derivatives:
                for k in range(n_pairs):
                    slopes[q, k] = slopes[q, k] * half * envelope[k] + values[q, k] * fall[k]
            for k in range(n_pairs):
                values[q, k] *= envelope[k]


@compiled_part
def fill_harmonics(norms, max_l, vectors, squares, n_pairs, vertical, azimuth, values):
    """Write the solid harmonics, and the tables that they are products of.

    Parameters
    ----------
    norms : ndarray
        See `Radials`.
    max_l : int
    vectors, squares : ndarray of shape (3, n_room) and (n_room,)
    n_pairs : int
    vertical : ndarray of shape ((max_l + 1) (max_l + 2) / 2, n_room)
        Pi_l^m = r^(l-m) d^m P_l / du^m at u = z/r; written.
    azimuth : ndarray of shape (2, max_l + 1, n_room)
        Real and imaginary parts of (x + iy)^m; written.
    values : ndarray of shape ((max_l + 1)^2, n_room)
        Rows l^2 + l + m; written.
    """
    cast = squares.dtype.type
    for k in range(n_pairs):
        vertical[0, k] = 1
        azimuth[0, 0, k] = 1
        azimuth[1, 0, k] = 0
    for m in range(1, max_l + 1):
        for k in range(n_pairs):
            x, y = vectors[0, k], vectors[1, k]
            azimuth[0, m, k] = x * azimuth[0, m - 1, k] - y * azimuth[1, m - 1, k]
            azimuth[1, m, k] = x * azimuth[1, m - 1, k] + y * azimuth[0, m - 1, k]
    for l in range(1, max_l + 1):
        row, below, lower = l * (l + 1) // 2, (l - 1) * l // 2, (l - 2) * (l - 1) // 2
        odd = cast(2 * l - 1)
        for m in range(l - 1):
            a, b = odd / cast(l - m), cast(l + m - 1) / cast(l - m)
            for k in range(n_pairs):
                vertical[row + m, k] = (
                    a * vectors[2, k] * vertical[below + m, k]
                    - b * squares[k] * vertical[lower + m, k]
                )
        for k in range(n_pairs):
            vertical[row + l - 1, k] = odd * vectors[2, k] * vertical[below + l - 1, k]
            vertical[row + l, k] = odd * vertical[below + l - 1, k]
    for l in range(max_l + 1):
        for m in range(l + 1):
            row = l * (l + 1) // 2 + m
            norm = norms[row]
            center = l * l + l
            for k in range(n_pairs):
                values[center + m, k] = norm * vertical[row, k] * azimuth[0, m, k]
            if m > 0:
                for k in range(n_pairs):
                    values[center - m, k] = norm * vertical[row, k] * azimuth[1, m, k]


@compiled_part
def add_harmonic_gradients(norms, max_l, vectors, n_pairs, vertical, azimuth, cotangents, gradient):
    """Add sum_lm cotangents_lm grad S_lm to ``gradient`` (3, n_room)."""
    for line in range(1, (max_l + 1) ** 2):
        add_harmonic_gradient(
            norms, line, vectors, n_pairs, vertical, azimuth, cotangents[line], gradient
        )


@compiled_part
def add_harmonic_gradient(norms, line, vectors, n_pairs, vertical, azimuth, cotangent, gradient):
    """Add cotangent grad S_lm of the harmonic in row ``line`` = l^2 + l + m.

    With Pi and (x + iy)^m the tables of `fill_harmonics`, d/dx Pi_l^m = -x Pi_{l-1}^{m+1},
    likewise for y, and d/dz Pi_l^m = (l + m) Pi_{l-1}^m.
    """
    cast = gradient.dtype.type
    l = int(np.sqrt(line))
    order = line - l * l - l
    m = abs(order)
    part = 1 if order < 0 else 0
    row, below = l * (l + 1) // 2 + m, (l - 1) * l // 2
    norm = norms[row]
    if m <= l - 2:
        for k in range(n_pairs):
            fall = norm * cotangent[k] * vertical[below + m + 1, k] * azimuth[part, m, k]
            gradient[0, k] -= vectors[0, k] * fall
            gradient[1, k] -= vectors[1, k] * fall
    if m <= l - 1:
        factor = norm * cast(l + m)
        for k in range(n_pairs):
            gradient[2, k] += factor * cotangent[k] * vertical[below + m, k] * azimuth[part, m, k]
    if m > 0:
        factor = norm * cast(m)
        sign = cast(1 if part else -1)
        for k in range(n_pairs):
            turn = factor * cotangent[k] * vertical[row, k]
            gradient[0, k] += turn * azimuth[part, m - 1, k]
            gradient[1, k] += sign * turn * azimuth[1 - part, m - 1, k]
