"""Compiled sums over pairs of neighbours of functions of the angle between them.

The sums of one atom are

    b[a, c, s] = sum_{j != k} left[c, j] right[s, k] g_a(cos_jk),

with Gaussians or Legendre polynomials g_a, and their gradients in the unit vectors to neighbours
and in both weights. Pairs of an atom fill up whole groups with weights of zero.
"""

from __future__ import annotations

import numpy as np

from skwavelet._utils.compiled import compiled
from skwavelet.representations.pair_kernels import add_product, fill_product_with_transposed
from skwavelet.representations.point.power_kernels import fill_cube_roots
from skwavelet.representations.point.wavelet_kernels import (
    add_harmonic_gradient,
    add_harmonic_gradients,
    fill_exponentials,
    fill_harmonics,
)
from skwavelet.structures.neighbor_kernels import GROUP


@compiled
def take_rows(source, begin, n, target, first):
    """Copy columns of ``source`` to rows of ``target`` from ``first`` on."""
    here = np.uint64(begin)
    for row in range(len(source)):
        for k in range(n):
            target[first + row, k] = source[row, here + np.uint64(k)]


@compiled
def most_pairs(starts):
    """Return the largest number of pairs of an atom."""
    most = GROUP
    for row in range(len(starts) - 1):
        most = max(most, starts[row + 1] - starts[row])
    return most


@compiled
def fill_pair_sums(right, starts, values):
    """Write the sums (n_right, n_atoms) of ``right`` (n_right, n_pairs) over pairs."""
    for row in range(len(starts) - 1):
        here, n = np.uint64(starts[row]), starts[row + 1] - starts[row]
        for s in range(len(right)):
            total = right.dtype.type(0)
            for k in range(n):
                total += right[s, here + np.uint64(k)]
            values[s, row] = total


@compiled
def fill_cosines(unit, k, n, cosines):
    """Write the cosines between vector k and the first n of ``unit`` (3, n_room)."""
    x, y, z = unit[0, k], unit[1, k], unit[2, k]
    for j in range(n):
        cosines[j] = x * unit[0, j] + y * unit[1, j] + z * unit[2, j]


@compiled
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


@compiled
def take_both(left, right, begin, n, both):
    """Copy the left and then the right weights of an atom, with zeros in rows behind them."""
    take_rows(left, begin, n, both, 0)
    take_rows(right, begin, n, both, len(left))
    for row in range(len(left) + len(right), len(both)):
        for k in range(n):
            both[row, k] = 0


@compiled
def fill_legendre_sums(unit, left, right, starts, norms, factors, moments, values):
    """Write the sums over pairs of neighbours, with Legendre polynomials of the cosine.

    Parameters
    ----------
    unit, left, right, starts
        See `fill_gaussian_sums`.
    norms : ndarray
        See `Radials`.
    factors : ndarray of shape (n_degrees,)
        4 pi / (2 l + 1).
    moments : ndarray of shape (n_atoms, n_weights, n_lines)
        Sums of weights times harmonics; written for `add_legendre_gradients`. Whole groups of
        four of both: left weights, right weights, zeros.
    values : ndarray of shape (n_degrees n_left n_right, n_atoms)
        Written.
    """
    dtype = unit.dtype
    n_left, n_right, n_degrees = len(left), len(right), len(factors)
    most = most_pairs(starts)
    u, squares = np.empty((3, most), dtype), np.ones(most, dtype)
    both = np.empty((moments.shape[1], most), dtype)
    vertical = np.empty((len(norms), most), dtype)
    azimuth = np.empty((2, n_degrees, most), dtype)
    harmonics = np.zeros((moments.shape[2], most), dtype)
    for row in range(len(starts) - 1):
        begin = starts[row]
        n = starts[row + 1] - begin
        take_rows(unit, begin, n, u, 0)
        take_both(left, right, begin, n, both)
        fill_harmonics(norms, n_degrees - 1, u, squares, n, vertical, azimuth, harmonics)
        sums = moments[row]
        fill_product_with_transposed(both, harmonics, len(both), len(harmonics), n, sums)
        for c in range(n_left):
            for s in range(n_right):
                same = dtype.type(0)
                for k in range(n):
                    same += both[c, k] * both[n_left + s, k]
                for l in range(n_degrees):
                    total = dtype.type(0)
                    for line in range(l * l, (l + 1) ** 2):
                        total += sums[c, line] * sums[n_left + s, line]
                    values[(l * n_left + c) * n_right + s, row] = factors[l] * total - same


@compiled
def add_legendre_gradients(
    unit, left, right, starts, norms, factors, moments, cotangents, of_unit, of_left, of_right
):
    """Add the gradients of ``(cotangents * values).sum()``, see `fill_legendre_sums`."""
    dtype = unit.dtype
    n_left, n_right, n_degrees = len(left), len(right), len(factors)
    n_weights, n_lines = moments.shape[1], moments.shape[2]
    most = most_pairs(starts)
    u, pull, squares = np.empty((3, most), dtype), np.empty((3, most), dtype), np.ones(most, dtype)
    both, of_both = np.empty((n_weights, most), dtype), np.empty((n_weights, most), dtype)
    vertical = np.empty((len(norms), most), dtype)
    azimuth = np.empty((2, n_degrees, most), dtype)
    harmonics = np.zeros((n_lines, most), dtype)
    of_harmonics = np.empty((n_lines, most), dtype)
    of_moments = np.empty((n_weights, n_lines), dtype)
    transposed = np.empty((n_lines, n_weights), dtype)
    for row in range(len(starts) - 1):
        begin = starts[row]
        n = starts[row + 1] - begin
        take_rows(unit, begin, n, u, 0)
        take_both(left, right, begin, n, both)
        fill_harmonics(norms, n_degrees - 1, u, squares, n, vertical, azimuth, harmonics)
        sums = moments[row]
        of_moments[:] = 0
        of_both[:] = 0
        of_harmonics[:] = 0
        pull[:] = 0
        for c in range(n_left):
            for s in range(n_right):
                same, other = dtype.type(0), n_left + s
                for l in range(n_degrees):
                    weight = cotangents[(l * n_left + c) * n_right + s, row]
                    same += weight
                    weight *= factors[l]
                    for line in range(l * l, (l + 1) ** 2):
                        of_moments[c, line] += weight * sums[other, line]
                        of_moments[other, line] += weight * sums[c, line]
                for k in range(n):
                    of_both[c, k] -= same * both[other, k]
                    of_both[other, k] -= same * both[c, k]
        for weight in range(n_weights):
            for line in range(n_lines):
                transposed[line, weight] = of_moments[weight, line]
        add_product(of_moments, harmonics, n_weights, n_lines, n, of_both)
        add_product(transposed, both, n_lines, n_weights, n, of_harmonics)
        add_harmonic_gradients(norms, n_degrees - 1, u, n, vertical, azimuth, of_harmonics, pull)
        here = np.uint64(begin)
        for k in range(n):
            p = here + np.uint64(k)
            for axis in range(3):
                of_unit[axis, p] += pull[axis, k]
            for c in range(n_left):
                of_left[c, p] += of_both[c, k]
            for s in range(n_right):
                of_right[s, p] += of_both[n_left + s, k]


@compiled
def fill_legendre_changes(
    unit, left, right, starts, norms, factors, moments, left_slopes, right_slopes, along, turns,
    changes,
):  # fmt: skip
    """Write the derivatives of the sums along directions.

    See `fill_legendre_sums` and `fill_gaussian_changes`.
    """
    dtype = unit.dtype
    n_left, n_right, n_degrees = len(left), len(right), len(factors)
    n_weights, n_lines = moments.shape[1], moments.shape[2]
    most = most_pairs(starts)
    u, squares, ones = np.empty((3, most), dtype), np.ones(most, dtype), np.ones(most, dtype)
    both, moved = np.empty((n_weights, most), dtype), np.zeros((n_weights, most), dtype)
    vertical = np.empty((len(norms), most), dtype)
    azimuth = np.empty((2, n_degrees, most), dtype)
    harmonics, turned = np.zeros((n_lines, most), dtype), np.zeros((n_lines, most), dtype)
    gradients = np.empty((n_lines, 3, most), dtype)
    of_weights = np.empty((n_weights, n_lines), dtype)
    of_harmonics = np.empty((n_weights, n_lines), dtype)
    for row in range(len(starts) - 1):
        begin = starts[row]
        n = starts[row + 1] - begin
        here = np.uint64(begin)
        take_rows(unit, begin, n, u, 0)
        take_both(left, right, begin, n, both)
        fill_harmonics(norms, n_degrees - 1, u, squares, n, vertical, azimuth, harmonics)
        gradients[:] = 0
        for line in range(1, n_degrees * n_degrees):
            add_harmonic_gradient(norms, line, u, n, vertical, azimuth, ones, gradients[line])
        sums = moments[row]
        for direction in range(len(along)):
            turn = turns[direction]
            for line in range(n_degrees * n_degrees):
                for k in range(n):
                    p = here + np.uint64(k)
                    turned[line, k] = (
                        gradients[line, 0, k] * turn[0, p]
                        + gradients[line, 1, k] * turn[1, p]
                        + gradients[line, 2, k] * turn[2, p]
                    )
            for c in range(n_left):
                for k in range(n):
                    p = here + np.uint64(k)
                    moved[c, k] = left_slopes[c, p] * along[direction, p]
            for s in range(n_right):
                for k in range(n):
                    p = here + np.uint64(k)
                    moved[n_left + s, k] = right_slopes[s, p] * along[direction, p]
            fill_product_with_transposed(moved, harmonics, n_weights, n_lines, n, of_weights)
            fill_product_with_transposed(both, turned, n_weights, n_lines, n, of_harmonics)
            for weight in range(n_weights):
                for line in range(n_lines):
                    of_weights[weight, line] += of_harmonics[weight, line]
            for c in range(n_left):
                for s in range(n_right):
                    other, same = n_left + s, dtype.type(0)
                    for k in range(n):
                        same += moved[c, k] * both[other, k] + both[c, k] * moved[other, k]
                    for l in range(n_degrees):
                        total = dtype.type(0)
                        for line in range(l * l, (l + 1) ** 2):
                            total += (
                                of_weights[c, line] * sums[other, line]
                                + sums[c, line] * of_weights[other, line]
                            )
                        place = (l * n_left + c) * n_right + s
                        changes[direction, place, row] = factors[l] * total - same


@compiled
def add_signed_powers(
    values, floors, exponents, steps, bits, cubes, masks, sums, weights, of_values
):
    """Add powers v (v^2 + e^2)^exponent of the values of consecutive atoms to sums of groups.

    Parameters
    ----------
    values : ndarray of shape (n_terms, n_atoms)
    floors : ndarray of shape (n_terms,)
        Squares of e.
    exponents : ndarray of shape (n_powers,)
        (q - 1) / 2: 0, 1/6, 1/3 and 1/2 are made of roots.
    steps, bits, cubes, masks, sums, weights
        See `add_powers`.
    of_values : ndarray of shape (n_terms, n_atoms)
        Written if there are weights: their gradients.
    """
    n_terms, n_atoms = values.shape
    dtype = values.dtype
    one, near = dtype.type(1), dtype.type(1e-6)
    squares, powers = np.empty(n_atoms, dtype), np.empty(n_atoms, dtype)
    for row in range(n_terms):
        v = values[row]
        for k in range(n_atoms):
            squares[k] = v[k] * v[k] + floors[row]
        if steps:
            fill_cube_roots(squares, cubes, bits, steps)
        if len(weights):
            for k in range(n_atoms):
                of_values[row, k] = 0
        for power in range(len(exponents)):
            exponent = exponents[power]
            if exponent == 0:
                for k in range(n_atoms):
                    powers[k] = one
            elif abs(exponent - dtype.type(1 / 6)) < near:
                for k in range(n_atoms):
                    powers[k] = np.sqrt(cubes[k])
            elif abs(exponent - dtype.type(1 / 3)) < near:
                for k in range(n_atoms):
                    powers[k] = cubes[k]
            elif exponent == dtype.type(0.5):
                for k in range(n_atoms):
                    powers[k] = np.sqrt(squares[k])
            else:
                for k in range(n_atoms):
                    powers[k] = squares[k] ** exponent
            if len(masks):
                for group in range(len(masks)):
                    mask, total = masks[group], 0.0
                    for k in range(n_atoms):
                        total += np.float64(mask[k] * v[k] * powers[k])
                    sums[group, row, power] += total
            else:
                for k in range(n_atoms):
                    sums[k, row, power] += v[k] * powers[k]
            if not len(weights):
                continue
            twice = exponent + exponent
            for k in range(n_atoms):
                powers[k] *= one + twice * v[k] * v[k] / squares[k]
            if len(masks):
                for group in range(len(masks)):
                    mask, weight = masks[group], weights[power, row, group]
                    for k in range(n_atoms):
                        of_values[row, k] += weight * mask[k] * powers[k]
            else:
                for k in range(n_atoms):
                    of_values[row, k] += weights[power, row, k] * powers[k]
