"""Compiled sums over pairs of neighbours of Gaussians of the cosine, see `angle_kernels`."""

from __future__ import annotations

import numpy as np

from skwavelet._utils.compiled import compiled
from skwavelet.representations.angular.angle_kernels import (
    add_back,
    most_pairs,
    take_products,
    take_rows,
)
from skwavelet.representations.angular.ladder_kernels import (
    TOGETHER,
    add_rungs,
    fill_rungs,
    fill_steps,
    make_steps,
    pull_rungs,
)
from skwavelet.representations.pair_kernels import add_product, fill_product_with_transposed


@compiled
def fill_gaussian_sums(unit, left, right, starts, ladder, sums, values):
    """Write the sums over pairs of neighbours, with Gaussians of the cosine.

    Parameters
    ----------
    unit : ndarray of shape (3, n_pairs)
        Unit vectors to the neighbours of consecutive atoms.
    left, right : ndarray of shape (n_left, n_pairs) and (n_right, n_pairs)
    starts : ndarray of shape (n_atoms + 1,)
        Where the pairs of every atom start.
    ladder : Ladder
    sums : ndarray of shape (n_angular n_left, n_pairs)
        Of left_j g_a over j; written for `add_gaussian_gradients`.
    values : ndarray of shape (n_angular n_left n_right, n_atoms)
        Written.
    """
    dtype = unit.dtype
    n_left, n_right, n_angular = len(left), len(right), len(ladder.levels)
    n_rows = n_angular * n_left
    most = most_pairs(starts)
    u = np.empty((3, most), dtype)
    a = np.empty((n_left, most), dtype)
    b = np.zeros(((n_right + 3) // 4 * 4, most), dtype)
    h = np.empty((n_rows, most), dtype)
    product = np.empty((n_rows, len(b)), dtype)
    steps, rungs = make_steps(ladder, TOGETHER, most), np.empty(4 * most, dtype)
    for row in range(len(starts) - 1):
        begin = starts[row]
        n = starts[row + 1] - begin
        here = np.uint64(begin)
        take_rows(unit, begin, n, u, 0)
        take_rows(left, begin, n, a, 0)
        take_rows(right, begin, n, b, 0)
        for line in range(n_rows):
            for k in range(n):
                h[line, k] = 0
        for group in range(len(ladder.anchors)):
            for first in range(0, n, TOGETHER):
                fill_steps(ladder, group, u, first, TOGETHER, n, steps)
                for quarter in range(TOGETHER // 4):
                    begin_row = 4 * quarter
                    for c in range(n_left):
                        weights = a[c, first + begin_row : first + begin_row + 4]
                        if (
                            weights[0] == 0 and weights[1] == 0
                            and weights[2] == 0 and weights[3] == 0
                        ):  # fmt: skip
                            continue
                        add_rungs(ladder, group, steps, begin_row, n, weights, rungs, h, c, n_left)
        for angle in range(n_angular):
            level = ladder.levels[angle]
            for c in range(n_left):
                line = angle * n_left + c
                for k in range(n):
                    h[line, k] *= level
                    sums[line, here + np.uint64(k)] = h[line, k]
        fill_product_with_transposed(h, b, n_rows, len(b), n, product)
        place = 0
        for line in range(n_rows):
            for s in range(n_right):
                values[place, row] = product[line, s]
                place += 1


@compiled
def add_gaussian_gradients(
    unit, left, right, starts, ladder, sums, cotangents, of_unit, of_left, of_right
):  # fmt: skip
    """Add the gradients of ``(cotangents * values).sum()``, see `fill_gaussian_sums`.

    ``of_unit``, ``of_left`` and ``of_right`` have the shapes of what they are gradients in. What
    is left out are gradients in left weights that are zero.
    """
    dtype = unit.dtype
    zero = dtype.type(0)
    precision = ladder.numbers[0] + ladder.numbers[0]
    n_left, n_right, n_angular = len(left), len(right), len(ladder.levels)
    n_rows = n_angular * n_left
    most = most_pairs(starts)
    u, of_u = np.empty((3, most), dtype), np.empty((3, most), dtype)
    a, of_a = np.empty((n_left, most), dtype), np.empty((n_left, most), dtype)
    n_filled = (n_right + 3) // 4 * 4
    b, of_b = np.zeros((n_filled, most), dtype), np.empty((n_filled, most), dtype)
    rows_filled = (n_rows + 3) // 4 * 4
    h, w = np.zeros((rows_filled, most), dtype), np.empty((rows_filled, most), dtype)
    weights = np.zeros((rows_filled, n_filled), dtype)
    transposed = np.zeros((n_filled, rows_filled), dtype)
    steps, slope = make_steps(ladder, TOGETHER, most), np.empty(most, dtype)
    rung, value, change = np.empty(most, dtype), np.empty(most, dtype), np.empty(most, dtype)
    for row in range(len(starts) - 1):
        begin = starts[row]
        n = starts[row + 1] - begin
        take_rows(unit, begin, n, u, 0)
        take_rows(left, begin, n, a, 0)
        take_rows(right, begin, n, b, 0)
        take_rows(sums, begin, n, h, 0)
        place = 0
        for line in range(n_rows):
            for s in range(n_right):
                weights[line, s] = cotangents[place, row]
                transposed[s, line] = cotangents[place, row]
                place += 1
        w[:] = 0
        of_b[:] = 0
        of_a[:] = 0
        of_u[:] = 0
        # Gradients in the sums over j, and in the right weights.
        add_product(weights, b, rows_filled, n_filled, n, w)
        add_product(transposed, h, n_filled, rows_filled, n, of_b)
        for angle in range(n_angular):
            level = ladder.levels[angle]
            for c in range(n_left):
                for k in range(n):
                    w[angle * n_left + c, k] *= level
        for group in range(len(ladder.anchors)):
            for first in range(0, n, TOGETHER):
                fill_steps(ladder, group, u, first, TOGETHER, n, steps)
                for j in range(TOGETHER):
                    for k in range(n):
                        slope[k] = 0
                    for c in range(n_left):
                        weight = a[c, first + j]
                        if weight == 0:
                            continue
                        pull_rungs(ladder, group, steps, j, n, w, c, n_left, rung, value, change)
                        total = zero
                        for k in range(n):
                            total += value[k]
                            slope[k] += weight * change[k]
                        of_a[c, first + j] += total
                    for axis in range(3):
                        toward, total = precision * u[axis, first + j], zero
                        for k in range(n):
                            total += slope[k] * u[axis, k]
                            of_u[axis, k] += slope[k] * toward
                        of_u[axis, first + j] += precision * total
        add_back(of_u, 0, begin, n, of_unit)
        add_back(of_a, 0, begin, n, of_left)
        add_back(of_b, 0, begin, n, of_right)


@compiled
def fill_gaussian_changes(
    unit, left, right, starts, ladder, sums, left_slopes, right_slopes, along, turns, changes
):  # fmt: skip
    """Write the derivatives of the sums along directions, see `fill_gaussian_sums`.

    Those of the weights in the distance are the slopes, those of the distances ``along``
    (n_directions, n_pairs), and those of the unit vectors ``turns`` (n_directions, 3, n_pairs);
    ``changes`` (n_directions, n_angular n_left n_right, n_atoms) are written.
    """
    dtype = unit.dtype
    precision = ladder.numbers[0] + ladder.numbers[0]
    n_left, n_right, n_angular = len(left), len(right), len(ladder.levels)
    n_rows, n_filled = n_angular * n_left, (n_right + 3) // 4 * 4
    most = most_pairs(starts)
    u, du = np.empty((3, most), dtype), np.empty((3, most), dtype)
    a, da = np.empty((n_left, most), dtype), np.empty((n_left, most), dtype)
    b, db = np.zeros((n_filled, most), dtype), np.zeros((n_filled, most), dtype)
    h, dh = np.empty((n_rows, most), dtype), np.zeros((n_rows, most), dtype)
    kept = np.empty((most, n_angular, most), dtype)
    slopes = np.empty_like(kept)
    product, other = np.empty((n_rows, n_filled), dtype), np.empty((n_rows, n_filled), dtype)
    steps, cosines = make_steps(ladder, 1, most), np.empty(most, dtype)
    for row in range(len(starts) - 1):
        begin = starts[row]
        n = starts[row + 1] - begin
        take_rows(unit, begin, n, u, 0)
        take_rows(left, begin, n, a, 0)
        take_rows(right, begin, n, b, 0)
        take_rows(sums, begin, n, h, 0)
        for k in range(n):
            for group in range(len(ladder.anchors)):
                fill_steps(ladder, group, u, k, 1, n, steps)
                fill_rungs(ladder, group, steps, n, kept[k])
            for angle in range(n_angular):
                center, g, slope = ladder.centers[angle], kept[k, angle], slopes[k, angle]
                for j in range(n):
                    slope[j] = precision * (center - steps.cosines[j]) * g[j]
        for direction in range(len(along)):
            take_rows(turns[direction], begin, n, du, 0)
            take_products(left_slopes, along[direction], begin, n, da, 0)
            take_products(right_slopes, along[direction], begin, n, db, 0)
            for k in range(n):
                x, y, z = u[0, k], u[1, k], u[2, k]
                dx, dy, dz = du[0, k], du[1, k], du[2, k]
                for j in range(n):
                    cosines[j] = (
                        x * du[0, j] + y * du[1, j] + z * du[2, j]
                        + dx * u[0, j] + dy * u[1, j] + dz * u[2, j]
                    )  # fmt: skip
                for angle in range(n_angular):
                    g, slope = kept[k, angle], slopes[k, angle]
                    for c in range(n_left):
                        total = dtype.type(0)
                        for j in range(n):
                            total += da[c, j] * g[j] + a[c, j] * slope[j] * cosines[j]
                        dh[angle * n_left + c, k] = total
            fill_product_with_transposed(dh, b, n_rows, n_filled, n, product)
            fill_product_with_transposed(h, db, n_rows, n_filled, n, other)
            place = 0
            for line in range(n_rows):
                for s in range(n_right):
                    changes[direction, place, row] = product[line, s] + other[line, s]
                    place += 1
