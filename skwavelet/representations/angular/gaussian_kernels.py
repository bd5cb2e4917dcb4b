"""Compiled sums over pairs of neighbours of Gaussians of the cosine, see `angle_kernels`."""

from __future__ import annotations

import numpy as np

from skwavelet._utils.compiled import compiled, compiled_part
from skwavelet.representations.angular.angle_kernels import most_pairs, take_rows
from skwavelet.representations.pair_kernels import add_product, fill_product_with_transposed
from skwavelet.representations.point.wavelet_kernels import fill_exponentials
from skwavelet.structures.neighbor_kernels import GROUP


@compiled_part
def fill_cosines(unit, k, n, cosines):
    """Write the cosines between vector k and the first n of ``unit`` (3, n_room)."""
    x, y, z = unit[0, k], unit[1, k], unit[2, k]
    for j in range(n):
        cosines[j] = x * unit[0, j] + y * unit[1, j] + z * unit[2, j]


@compiled_part
def fill_gaussians(cosines, center, half, decays, series, k, n, scratch, values):
    """Write exp(-(cos - center)^2 half) of the first k cosines, and zeros up to n."""
    most = cosines.dtype.type(len(decays) - 1)
    for j in range(n):
        offset = cosines[j] - center
        scratch[j] = min(offset * offset * half, most)
    fill_exponentials(scratch, n, decays, series, values)
    for j in range(k, n):
        values[j] = 0


@compiled
def fill_gaussian_sums(unit, left, right, starts, centers, half, decays, series, sums, values):
    """Write the sums over pairs of neighbours, with Gaussians of the cosine.

    Parameters
    ----------
    unit : ndarray of shape (3, n_pairs)
        Unit vectors to the neighbours of consecutive atoms.
    left, right : ndarray of shape (n_left, n_pairs) and (n_right, n_pairs)
    starts : ndarray of shape (n_atoms + 1,)
        Where the pairs of every atom start.
    centers : ndarray of shape (n_angular,)
    half : float
        Half the squared inverse of the standard deviation.
    decays, series : ndarray
        See `Radials`.
    sums : ndarray of shape (n_angular n_left, n_pairs)
        Of left_j g_a over j; written for `add_gaussian_gradients`.
    values : ndarray of shape (n_angular n_left n_right, n_atoms)
        Written.
    """
    dtype = unit.dtype
    zero = dtype.type(0)
    n_left, n_right, n_angular = len(left), len(right), len(centers)
    n_rows = n_angular * n_left
    most = most_pairs(starts)
    u = np.empty((3, most), dtype)
    a = np.empty((n_left, most), dtype)
    b = np.zeros(((n_right + 3) // 4 * 4, most), dtype)
    h = np.empty((n_rows, most), dtype)
    product = np.empty((n_rows, len(b)), dtype)
    cosines, scratch, g = np.empty(most, dtype), np.empty(most, dtype), np.empty(most, dtype)
    for row in range(len(starts) - 1):
        begin = starts[row]
        n_here = starts[row + 1] - begin
        here = np.uint64(begin)
        take_rows(unit, begin, n_here, u, 0)
        take_rows(left, begin, n_here, a, 0)
        take_rows(right, begin, n_here, b, 0)
        h[:] = 0
        for k in range(1, n_here):
            n = (k + GROUP - 1) // GROUP * GROUP
            fill_cosines(u, k, n, cosines)
            for angle in range(n_angular):
                fill_gaussians(cosines, centers[angle], half, decays, series, k, n, scratch, g)
                for c in range(n_left):
                    line = angle * n_left + c
                    weight, total = a[c, k], zero
                    for j in range(n):
                        total += a[c, j] * g[j]
                    h[line, k] += total
                    for j in range(n):
                        h[line, j] += weight * g[j]
        for line in range(n_rows):
            for k in range(n_here):
                sums[line, here + np.uint64(k)] = h[line, k]
        fill_product_with_transposed(h, b, n_rows, len(b), n_here, product)
        place = 0
        for line in range(n_rows):
            for s in range(n_right):
                values[place, row] = product[line, s]
                place += 1


@compiled
def add_gaussian_gradients(
    unit, left, right, starts, centers, half, decays, series, sums, cotangents, of_unit, of_left,
    of_right,
):  # fmt: skip
    """Add the gradients of ``(cotangents * values).sum()``, see `fill_gaussian_sums`.

    ``of_unit``, ``of_left`` and ``of_right`` have the shapes of what they are gradients in.
    """
    dtype = unit.dtype
    zero = dtype.type(0)
    precision = half + half
    n_left, n_right, n_angular = len(left), len(right), len(centers)
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
    cosines, scratch, g = np.empty(most, dtype), np.empty(most, dtype), np.empty(most, dtype)
    both, slope = np.empty(most, dtype), np.empty(most, dtype)
    for row in range(len(starts) - 1):
        begin = starts[row]
        n_here = starts[row + 1] - begin
        here = np.uint64(begin)
        take_rows(unit, begin, n_here, u, 0)
        take_rows(left, begin, n_here, a, 0)
        take_rows(right, begin, n_here, b, 0)
        take_rows(sums, begin, n_here, h, 0)
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
        add_product(weights, b, rows_filled, n_filled, n_here, w)
        add_product(transposed, h, n_filled, rows_filled, n_here, of_b)
        for k in range(1, n_here):
            n = (k + GROUP - 1) // GROUP * GROUP
            fill_cosines(u, k, n, cosines)
            for j in range(n):
                slope[j] = 0
            for angle in range(n_angular):
                center = centers[angle]
                fill_gaussians(cosines, center, half, decays, series, k, n, scratch, g)
                for j in range(n):
                    both[j] = 0
                for c in range(n_left):
                    line = angle * n_left + c
                    weight, of_sum, total = a[c, k], w[line, k], zero
                    for j in range(n):
                        both[j] += a[c, j] * of_sum + weight * w[line, j]
                        total += w[line, j] * g[j]
                    of_a[c, k] += total
                    for j in range(n):
                        of_a[c, j] += of_sum * g[j]
                for j in range(n):
                    slope[j] += both[j] * g[j] * (center - cosines[j])
            for axis in range(3):
                toward, total = precision * u[axis, k], zero
                for j in range(n):
                    total += slope[j] * u[axis, j]
                of_u[axis, k] += precision * total
                for j in range(n):
                    of_u[axis, j] += slope[j] * toward
        for k in range(n_here):
            p = here + np.uint64(k)
            for axis in range(3):
                of_unit[axis, p] += of_u[axis, k]
            for c in range(n_left):
                of_left[c, p] += of_a[c, k]
            for s in range(n_right):
                of_right[s, p] += of_b[s, k]


@compiled
def fill_gaussian_changes(
    unit, left, right, starts, centers, half, decays, series, sums, left_slopes, right_slopes,
    along, turns, changes,
):  # fmt: skip
    """Write the derivatives of the sums along directions, see `fill_gaussian_sums`.

    Parameters
    ----------
    left_slopes, right_slopes : ndarray of the shapes of left and right
        Derivatives of the weights in the distance.
    along : ndarray of shape (n_directions, n_pairs)
        Derivatives of the distances.
    turns : ndarray of shape (n_directions, 3, n_pairs)
        Those of the unit vectors.
    changes : ndarray of shape (n_directions, n_angular n_left n_right, n_atoms)
        Written.
    """
    dtype = unit.dtype
    n_left, n_right, n_angular = len(left), len(right), len(centers)
    n_rows, n_filled = n_angular * n_left, (n_right + 3) // 4 * 4
    most = most_pairs(starts)
    u, du = np.empty((3, most), dtype), np.empty((3, most), dtype)
    a, da = np.empty((n_left, most), dtype), np.empty((n_left, most), dtype)
    b, db = np.zeros((n_filled, most), dtype), np.zeros((n_filled, most), dtype)
    h, dh = np.empty((n_rows, most), dtype), np.zeros((n_rows, most), dtype)
    kept = np.empty((most, n_angular, most), dtype)
    slopes = np.empty_like(kept)
    product, other = np.empty((n_rows, n_filled), dtype), np.empty((n_rows, n_filled), dtype)
    cosines, scratch = np.empty(most, dtype), np.empty(most, dtype)
    for row in range(len(starts) - 1):
        begin = starts[row]
        n = starts[row + 1] - begin
        here = np.uint64(begin)
        take_rows(unit, begin, n, u, 0)
        take_rows(left, begin, n, a, 0)
        take_rows(right, begin, n, b, 0)
        take_rows(sums, begin, n, h, 0)
        for k in range(n):
            fill_cosines(u, k, n, cosines)
            for angle in range(n_angular):
                center, g, slope = centers[angle], kept[k, angle], slopes[k, angle]
                fill_gaussians(cosines, center, half, decays, series, n, n, scratch, g)
                g[k] = 0
                for j in range(n):
                    slope[j] = (half + half) * (center - cosines[j]) * g[j]
        for direction in range(len(along)):
            take_rows(turns[direction], begin, n, du, 0)
            for c in range(n_left):
                for j in range(n):
                    p = here + np.uint64(j)
                    da[c, j] = left_slopes[c, p] * along[direction, p]
            for s in range(n_right):
                for j in range(n):
                    p = here + np.uint64(j)
                    db[s, j] = right_slopes[s, p] * along[direction, p]
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
