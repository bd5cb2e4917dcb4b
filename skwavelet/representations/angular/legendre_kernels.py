"""Compiled sums over pairs of neighbours of Legendre polynomials, see `angle_kernels`."""

from __future__ import annotations

import numpy as np

from skwavelet._utils.compiled import compiled, compiled_part
from skwavelet.representations.angular.angle_kernels import (
    add_back,
    most_pairs,
    take_products,
    take_rows,
)
from skwavelet.representations.pair_kernels import add_product, fill_product_with_transposed
from skwavelet.representations.point.wavelet_kernels import (
    add_harmonic_gradient,
    add_harmonic_gradients,
    fill_harmonics,
)


@compiled_part
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
        add_back(pull, 0, begin, n, of_unit)
        add_back(of_both, 0, begin, n, of_left)
        add_back(of_both, n_left, begin, n, of_right)


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
            take_products(left_slopes, along[direction], begin, n, moved, 0)
            take_products(right_slopes, along[direction], begin, n, moved, n_left)
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
