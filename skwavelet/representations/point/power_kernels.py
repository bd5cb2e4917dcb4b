"""Compiled powers of squared moduli, their sums over groups of atoms, and their derivatives.

With u the squared modulus, r = sqrt(u) and c = cbrt(u), the powers u^(q/2) for
q = 1, 4/3, 5/3, 2 are r, c c, r c and u: two roots and two products.
"""

from __future__ import annotations

import numpy as np

from skwavelet._utils.compiled import compiled, compiled_part


@compiled_part
def fill_cube_roots(values, roots, bits, steps):
    """Write cube roots of positive numbers; the library's would not be vectorized.

    ``bits`` are those of ``roots`` as integers. A third of the exponent is a first guess, and
    Halley's iteration leaves 2/3 of the third power of its relative error, which is 0.03.
    """
    n = len(values)
    cast = values.dtype.type
    two, third = cast(2), cast(1 / 3)
    # 2/3 of the exponent's offset; less a little, so that errors have both signs.
    offset = cast(0x2A5119F2) if steps < 3 else cast(0x2A9F7893 * 2.0**32)
    whole = bits.dtype.type
    for k in range(n):
        roots[k] = values[k]
    for k in range(n):
        bits[k] = whole(cast(bits[k]) * third + offset)
    for _ in range(steps):
        for k in range(n):
            cube = roots[k] * roots[k] * roots[k]
            roots[k] *= (cube + two * values[k]) / (two * cube + values[k])


@compiled_part
def fill_power(values, code, exponent, roots, cubes, terms):
    """Write u^exponent of a row of values, from roots where ``code`` says so."""
    n = len(values)
    if code == 1:
        for k in range(n):
            terms[k] = roots[k]
    elif code == 2:
        for k in range(n):
            terms[k] = cubes[k] * cubes[k]
    elif code == 3:
        for k in range(n):
            terms[k] = roots[k] * cubes[k]
    elif code == 4:
        for k in range(n):
            terms[k] = values[k]
    else:
        for k in range(n):
            terms[k] = values[k] ** exponent


@compiled_part
def add_to_groups(terms, masks, row, power, sums):
    """Add terms (n_atoms,) of consecutive atoms to the sums of their groups, see `add_powers`."""
    if len(masks):
        for group in range(len(masks)):
            mask, total = masks[group], 0.0
            for k in range(len(terms)):
                total += np.float64(mask[k] * terms[k])
            sums[group, row, power] += total
    else:
        for k in range(len(terms)):
            sums[k, row, power] += terms[k]


@compiled_part
def add_from_groups(slopes, masks, row, power, weights, of_row):
    """Add slopes (n_atoms,) times the weights of the atoms' groups to ``of_row`` (n_atoms,)."""
    if len(masks):
        for group in range(len(masks)):
            mask, weight = masks[group], weights[power, row, group]
            for k in range(len(slopes)):
                of_row[k] += weight * mask[k] * slopes[k]
    else:
        for k in range(len(slopes)):
            of_row[k] += weights[power, row, k] * slopes[k]


@compiled
def add_powers(
    squared, constants, codes, exponents, steps, bits, cubes, masks, sums, weights, of_squared,
    factors,
):  # fmt: skip
    """Add powers of the squared moduli of consecutive atoms to the sums of their groups.

    Parameters
    ----------
    squared : ndarray of shape (n_maps, n_atoms)
    constants : ndarray of shape (n_powers, n_maps)
        What the powers are where all maps vanish.
    codes, exponents : ndarray of shape (n_powers,)
        How each power is made (see `fill_power`), and q/2.
    steps : int
        Iterations for cube roots; none where there are none to take.
    bits, cubes : ndarray of shape (n_atoms,)
        Scratch, twice the same.
    masks : ndarray of shape (n_groups, n_atoms)
        1 where an atom belongs to a group, 0 elsewhere. Empty where every atom is a group of its
        own.
    sums : ndarray of shape (n_groups, n_maps, n_powers)
        Added to.
    weights : ndarray of shape (n_powers, n_maps, n_groups)
        Cotangents of the sums; may be empty.
    of_squared : ndarray of shape (n_maps, n_atoms)
        Written if there are weights: those of the squared moduli.
    factors : ndarray of shape (n_powers, n_maps, n_atoms)
        Written if it is not empty: derivatives of the powers in the squared moduli.
    """
    n_maps, n_atoms = squared.shape
    dtype = squared.dtype
    one = dtype.type(1)
    roots, terms = np.empty(n_atoms, dtype), np.empty(n_atoms, dtype)
    inverse, changes = np.empty(n_atoms, dtype), np.empty(n_atoms, dtype)
    for row in range(n_maps):
        u = squared[row]
        for k in range(n_atoms):
            roots[k] = np.sqrt(u[k])
        if steps:
            fill_cube_roots(u, cubes, bits, steps)
        if len(weights) or len(factors):
            for k in range(n_atoms):
                inverse[k] = one / u[k]
        if len(weights):
            for k in range(n_atoms):
                of_squared[row, k] = 0
        for power in range(len(codes)):
            exponent = exponents[power]
            fill_power(u, codes[power], exponent, roots, cubes, terms)
            constant = constants[power, row]
            for k in range(n_atoms):
                changes[k] = terms[k] - constant
            add_to_groups(changes, masks, row, power, sums)
            if not (len(weights) or len(factors)):
                continue
            for k in range(n_atoms):
                terms[k] *= exponent * inverse[k]
            if len(factors):
                for k in range(n_atoms):
                    factors[power, row, k] = terms[k]
            if len(weights):
                add_from_groups(terms, masks, row, power, weights, of_squared[row])
