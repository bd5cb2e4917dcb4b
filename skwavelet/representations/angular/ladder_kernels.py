"""Compiled ladders of Gaussians of the cosine: each is the one before it times a factor."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from skwavelet._utils.compiled import compiled_part
from skwavelet.representations.exponential_kernels import (
    LAST_EXPONENT,
    Exponential,
    fill_exponentials,
)
from skwavelet.structures.neighbor_kernels import GROUP

# Neighbours whose angles with all others are worked on together, four at a time; atoms have whole
# groups of neighbours.
TOGETHER = GROUP


class Ladder(NamedTuple):
    """Evenly spaced Gaussians of the cosine x, of which neighbours differ by a factor.

    With powers of that factor up,

        g_a = exp(-(x - c_a)^2 half) = level_a start up^(a - b),

    where start and up are the exponentials of -(x - c_b)^2 half and of 2 half spacing (x - c_b),
    and level_a is that of -(c_a - c_b)^2 half, in which x does not occur. The Gaussian b is the
    anchor of some consecutive ones, so few that powers stay within single precision.

    Attributes
    ----------
    bounds : ndarray of shape (n_groups + 1,)
        Gaussians ``bounds[i]`` to ``bounds[i + 1]`` have an anchor in common.
    anchors : ndarray of shape (n_groups,)
        Which one it is.
    centers, backward, levels : ndarray of shape (n_angular,)
        The second are the first in reverse order.
    numbers : ndarray of shape (3,)
        half, 2 half spacing, and the distance from the anchor where all Gaussians vanish.
    exponential : Exponential
    """

    bounds: np.ndarray
    anchors: np.ndarray
    centers: np.ndarray
    backward: np.ndarray
    levels: np.ndarray
    numbers: np.ndarray
    exponential: Exponential


class Steps(NamedTuple):
    """What the Gaussians of one anchor are made of, for some neighbours and all others.

    Arrays are flat, by neighbour; ``down`` is 1 / up; ``t``, ``rest`` and ``bits`` are scratch.
    """

    cosines: np.ndarray
    start: np.ndarray
    up: np.ndarray
    down: np.ndarray
    t: np.ndarray
    rest: np.ndarray
    bits: np.ndarray


@compiled_part
def make_steps(ladder, n_rows, most):
    """Return room for ``n_rows`` neighbours of an atom that has ``most``."""
    dtype, room = ladder.levels.dtype, n_rows * most
    return Steps(
        np.empty(room, dtype),
        np.empty(room, dtype),
        np.empty(room, dtype),
        np.empty(room, dtype),
        np.empty(room, dtype),
        np.empty(room, dtype),
        np.empty(room, ladder.exponential.fields.dtype),
    )


@compiled_part
def fill_steps(ladder, group, unit, first, n_rows, n, steps):
    """Write the steps of consecutive neighbours with the first n of ``unit`` (3, n_room)."""
    cast = unit.dtype.type
    zero, one, last = cast(0), cast(1), cast(LAST_EXPONENT)
    half, pace, limit = ladder.numbers[0], ladder.numbers[1], ladder.numbers[2]
    center = ladder.centers[ladder.anchors[group]]
    size = n_rows * n
    for row in range(n_rows):
        k = first + row
        x, y, z = unit[0, k], unit[1, k], unit[2, k]
        cosines = steps.cosines[row * n : (row + 1) * n]
        for j in range(n):
            cosines[j] = x * unit[0, j] + y * unit[1, j] + z * unit[2, j]
    for p in range(size):
        offset = steps.cosines[p] - center
        steps.t[p] = min(offset * offset * half, last)
    fill_exponentials(steps.t, size, ladder.exponential, steps.rest, steps.bits, steps.start)
    for p in range(size):
        steps.t[p] = min(abs(steps.cosines[p] - center) * pace, last)
    fill_exponentials(steps.t, size, ladder.exponential, steps.rest, steps.bits, steps.down)
    for p in range(size):
        offset = steps.cosines[p] - center
        small, large = steps.down[p], one / steps.down[p]
        steps.up[p] = large if offset > zero else small
        steps.down[p] = small if offset > zero else large
        if abs(offset) > limit:
            steps.start[p] = zero
    for row in range(n_rows):
        steps.start[row * n + first + row] = zero


@compiled_part
def climb(rungs, factors, n, rows, first, step, count):
    """Add the sum of four rungs times their factors^i to the rows ``first + i step``.

    Rungs, which are overwritten, and factors are flat, n of each; i = 0 ... count - 1.
    """
    one, place = np.uint64(n), first
    two, three = one + one, one + one + one
    for _ in range(count // 4):
        a, b, c, d = rows[place], rows[place + step], rows[place + 2 * step], rows[place + 3 * step]
        place += 4 * step
        for i in range(n):
            k = np.uint64(i)
            w, x, y, z = rungs[k], rungs[k + one], rungs[k + two], rungs[k + three]
            e, f, g, h = factors[k], factors[k + one], factors[k + two], factors[k + three]
            a[k] += w + x + y + z
            w, x, y, z = w * e, x * f, y * g, z * h
            b[k] += w + x + y + z
            w, x, y, z = w * e, x * f, y * g, z * h
            c[k] += w + x + y + z
            w, x, y, z = w * e, x * f, y * g, z * h
            d[k] += w + x + y + z
            rungs[k] = w * e
            rungs[k + one] = x * f
            rungs[k + two] = y * g
            rungs[k + three] = z * h
    for _ in range(count % 4):
        a = rows[place]
        place += step
        for i in range(n):
            k = np.uint64(i)
            w, x, y, z = rungs[k], rungs[k + one], rungs[k + two], rungs[k + three]
            a[k] += w + x + y + z
            rungs[k] = w * factors[k]
            rungs[k + one] = x * factors[k + one]
            rungs[k + two] = y * factors[k + two]
            rungs[k + three] = z * factors[k + three]


@compiled_part
def add_rungs(ladder, group, steps, first, n, weights, rungs, sums, column, n_columns):
    """Add the Gaussians of a group, but for their levels, to rows ``a n_columns + column``.

    Those of the angles of four neighbours, from row ``first`` of ``steps`` on, times their weights.
    """
    low, high, anchor = ladder.bounds[group], ladder.bounds[group + 1], ladder.anchors[group]
    begin, end = first * n, (first + 4) * n
    start, up, down = steps.start[begin:end], steps.up[begin:end], steps.down[begin:end]
    for row in range(4):
        weight, rung, from_start = weights[row], rungs[row * n :], start[row * n :]
        for k in range(n):
            rung[k] = weight * from_start[k]
    climb(rungs, up, n, sums, anchor * n_columns + column, n_columns, high - anchor)
    for row in range(4):
        weight, rung = weights[row], rungs[row * n :]
        from_start, factor = start[row * n :], down[row * n :]
        for k in range(n):
            rung[k] = weight * from_start[k] * factor[k]
    climb(rungs, down, n, sums, (anchor - 1) * n_columns + column, -n_columns, anchor - low)


@compiled_part
def fill_rungs(ladder, group, steps, n, values):
    """Write the Gaussians (n_angular, n) of a group, of the angles of the first row of steps."""
    low, high, anchor = ladder.bounds[group], ladder.bounds[group + 1], ladder.anchors[group]
    rung = steps.t
    for k in range(n):
        rung[k] = steps.start[k]
    for place in range(anchor, high):
        level, line = ladder.levels[place], values[place]
        for k in range(n):
            line[k] = level * rung[k]
            rung[k] *= steps.up[k]
    for k in range(n):
        rung[k] = steps.start[k]
    for place in range(anchor - 1, low - 1, -1):
        level, line = ladder.levels[place], values[place]
        for k in range(n):
            rung[k] *= steps.down[k]
            line[k] = level * rung[k]


@compiled_part
def pull_side(rung, factor, cosines, n, centers, weights, first, step, count, value, change):
    """Add one side of an anchor to the sums of `pull_rungs`; overwrites the rung."""
    place = first
    for quarter in range(count // 4):
        i = 4 * quarter
        a, b, c, d = (
            weights[place], weights[place + step], weights[place + 2 * step],
            weights[place + 3 * step],
        )  # fmt: skip
        place += 4 * step
        p, q, r, s = centers[i], centers[i + 1], centers[i + 2], centers[i + 3]
        for k in range(n):
            x, f, cosine = rung[k], factor[k], cosines[k]
            term = a[k] * x
            total, slope = term, term * (p - cosine)
            x *= f
            term = b[k] * x
            total += term
            slope += term * (q - cosine)
            x *= f
            term = c[k] * x
            total += term
            slope += term * (r - cosine)
            x *= f
            term = d[k] * x
            value[k] += total + term
            change[k] += slope + term * (s - cosine)
            rung[k] = x * f
    for i in range(count - count % 4, count):
        a, p = weights[place], centers[i]
        place += step
        for k in range(n):
            term = a[k] * rung[k]
            value[k] += term
            change[k] += term * (p - cosines[k])
            rung[k] *= factor[k]


@compiled_part
def pull_rungs(ladder, group, steps, row, n, weights, column, n_columns, rung, value, change):
    """Write the sums of the Gaussians of a group, and of their derivatives times width^2.

    Those of the angles of the neighbour in one row of ``steps``, times the rows
    ``a n_columns + column`` of ``weights``, which hold the levels.
    """
    low, high, anchor = ladder.bounds[group], ladder.bounds[group + 1], ladder.anchors[group]
    begin, end = row * n, (row + 1) * n
    start, cosines = steps.start[begin:end], steps.cosines[begin:end]
    up, down = steps.up[begin:end], steps.down[begin:end]
    for k in range(n):
        rung[k] = start[k]
        value[k] = 0
        change[k] = 0
    pull_side(
        rung, up, cosines, n, ladder.centers[anchor:], weights, anchor * n_columns + column,
        n_columns, high - anchor, value, change,
    )  # fmt: skip
    for k in range(n):
        rung[k] = start[k] * down[k]
    pull_side(
        rung, down, cosines, n, ladder.backward[len(ladder.centers) - anchor :], weights,
        (anchor - 1) * n_columns + column, -n_columns, anchor - low, value, change,
    )  # fmt: skip
