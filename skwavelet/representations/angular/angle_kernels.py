"""Compiled sums over pairs of neighbours of functions of the angle: what both bases share.

The sums of one atom are

    b[a, c, s] = sum_{j != k} left[c, j] right[s, k] g_a(cos_jk),

with Gaussians (`gaussian_kernels`) or Legendre polynomials (`legendre_kernels`) g_a, and their
gradients in the unit vectors to neighbours and in both weights. Pairs of an atom fill up whole
groups with weights of zero.
"""

from __future__ import annotations

import numpy as np

from skwavelet._utils.compiled import compiled, compiled_part
from skwavelet.representations.point.power_kernels import (
    add_from_groups,
    add_to_groups,
    fill_cube_roots,
)
from skwavelet.structures.neighbor_kernels import GROUP


@compiled_part
def take_rows(source, begin, n, target, first):
    """Copy columns of ``source`` to rows of ``target`` from ``first`` on."""
    here = np.uint64(begin)
    for row in range(len(source)):
        for k in range(n):
            target[first + row, k] = source[row, here + np.uint64(k)]


@compiled_part
def take_products(source, factors, begin, n, target, first):
    """Copy columns of ``source``, times their factors, to rows of ``target`` from ``first`` on."""
    here = np.uint64(begin)
    for row in range(len(source)):
        for k in range(n):
            p = here + np.uint64(k)
            target[first + row, k] = source[row, p] * factors[p]


@compiled_part
def add_back(part, first, begin, n, target):
    """Add rows of ``part`` from ``first`` on to the columns that `take_rows` took of ``target``."""
    here = np.uint64(begin)
    for row in range(len(target)):
        for k in range(n):
            target[row, here + np.uint64(k)] += part[first + row, k]


@compiled_part
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
    terms = np.empty(n_atoms, dtype)
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
            for k in range(n_atoms):
                terms[k] = v[k] * powers[k]
            add_to_groups(terms, masks, row, power, sums)
            if not len(weights):
                continue
            twice = exponent + exponent
            for k in range(n_atoms):
                powers[k] *= one + twice * v[k] * v[k] / squares[k]
            add_from_groups(powers, masks, row, power, weights, of_values[row])
