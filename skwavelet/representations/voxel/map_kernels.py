"""Compiled passes over wavelet maps, which read every map once, by blocks in the inner cache.

Maps f_bm of B parents and M = 2l + 1 components are mixed into C channels, squared and raised,

    u_c = sum_m (sum_b mix_cb f_bm)^2 + floor_c,

and powers of u are summed. Those of the dissertation, u^(k/6) with k = 3, 4, 5, 6 for the modulus
to q = 1, 4/3, 5/3, 2, are products of the square root and the cube root, here written out: a
library's cube root takes ten times as long. Others are the library's.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from skwavelet._utils.compiled import compiled, compiled_part

# Voxels that are worked on at a time.
BLOCK = 1024


class Roots(NamedTuple):
    """What the roots of a block of voxels need, and where they are written.

    Attributes
    ----------
    squares, root, cube, inverse : ndarray of shape (BLOCK,)
        u, its square root, its cube root, and one over that.
    bits : unsigned ndarray of shape (BLOCK,)
        The memory of ``inverse`` as integers.
    magic : unsigned integer
        A third of the bits of u from this are about the bits of its inverse cube root.
    n_steps : int
        Iterations from there to rounding.
    """

    squares: np.ndarray
    root: np.ndarray
    cube: np.ndarray
    inverse: np.ndarray
    bits: np.ndarray
    magic: np.unsignedinteger
    n_steps: int


class Exponents(NamedTuple):
    """The powers of u that are summed.

    Attributes
    ----------
    values : ndarray of shape (n_powers,)
    sixths : ndarray of int of shape (n_powers,)
        Those that are 3, 4, 5 or 6 sixths, 0 for others.
    cubic : bool
        Whether there is one of 4 or 5 sixths.
    """

    values: np.ndarray
    sixths: np.ndarray
    cubic: bool


@compiled_part
def take_roots(roots, cubic, n):
    """Write the square roots of n squares, and the cube roots and their inverses if ``cubic``."""
    u, root, cube, inverse = roots.squares, roots.root, roots.cube, roots.inverse
    cast = u.dtype.type
    one, first, second = cast(1), cast(1 / 3), cast(2 / 9)
    for k in range(n):
        root[k] = np.sqrt(u[k])
    if not cubic:
        return
    words, bits, magic = u.view(roots.bits.dtype), roots.bits, roots.magic
    for k in range(n):
        bits[k] = magic - words[k] // 3
    for _ in range(roots.n_steps):
        for k in range(n):
            y = inverse[k]
            rest = one - u[k] * y * (y * y)
            inverse[k] = y + y * rest * (first + rest * second)
    for k in range(n):
        cube[k] = u[k] * inverse[k] * inverse[k]


@compiled_part
def add_sums(roots, exponents, n, sums):
    """Add the sums of the powers of n squares to ``sums`` (n_powers,)."""
    u, root, cube = roots.squares, roots.root, roots.cube
    zero = u.dtype.type(0)
    one = two = four = five = zero
    for k in range(n):
        one += root[k]
        two += u[k]
    if exponents.cubic:
        for k in range(n):
            four += cube[k] * cube[k]
            five += root[k] * cube[k]
    for p in range(len(sums)):
        sixths = exponents.sixths[p]
        if sixths == 3:
            sums[p] += one
        elif sixths == 4:
            sums[p] += four
        elif sixths == 5:
            sums[p] += five
        elif sixths == 6:
            sums[p] += two
        else:
            total, exponent = zero, exponents.values[p]
            for k in range(n):
                total += u[k] ** exponent
            sums[p] += total


@compiled_part
def fill_slopes(roots, exponents, weights, of_modulus, n, slopes):
    """Write d/du of sum_p weights_p u^exponent_p + of_modulus u^(1/2) of n squares.

    ``of_modulus`` may be empty.
    """
    u, root, inverse = roots.squares, roots.root, roots.inverse
    cast = u.dtype.type
    half = cast(0.5)
    one = two = four = five = cast(0)
    for p in range(len(weights)):
        sixths, factor = exponents.sixths[p], weights[p] * exponents.values[p]
        if sixths == 3:
            one += factor
        elif sixths == 4:
            four += factor
        elif sixths == 5:
            five += factor
        elif sixths == 6:
            two += factor
    if exponents.cubic:
        for k in range(n):
            y = inverse[k]
            slopes[k] = two + y * (four + root[k] * y * (five + one * y))
    else:
        for k in range(n):
            slopes[k] = two + one / root[k]
    for k in range(len(of_modulus)):
        slopes[k] += half * of_modulus[k] / root[k]
    for p in range(len(weights)):
        if exponents.sixths[p] == 0:
            exponent = exponents.values[p]
            factor, lower = weights[p] * exponent, exponent - cast(1)
            for k in range(n):
                slopes[k] += factor * u[k] ** lower


@compiled_part
def mix_block(maps, mix, channel, m, start, n, mixed):
    """Write n values of component m of one channel's map to ``mixed``."""
    if len(mix) == 0:
        f = maps[channel, m, start : start + n]
        for k in range(n):
            mixed[k] = f[k]
        return
    for k in range(n):
        mixed[k] = 0
    for b in range(len(maps)):
        weight, f = mix[channel, b], maps[b, m, start : start + n]
        for k in range(n):
            mixed[k] += weight * f[k]


@compiled_part
def square_block(maps, mix, squared, floor, channel, start, n, mixed, squares):
    """Write n squared moduli of one channel, and the components (M, BLOCK) of its map."""
    for k in range(n):
        squares[k] = floor
    for m in range(maps.shape[1]):
        f = mixed[m]
        mix_block(maps, mix, channel, m, start, n, f)
        if squared:
            for k in range(n):
                squares[k] += f[k]
        else:
            for k in range(n):
                squares[k] += f[k] * f[k]


@compiled
def fold(maps, mix, squared, floors, exponents, roots, sums, moduli):
    """Sum the powers of the squared moduli of maps.

    Parameters
    ----------
    maps : ndarray of shape (B, M, n)
    mix : ndarray of shape (C, B)
        Channel weights, or empty if every map is a channel.
    squared : bool
        Whether the maps are squares already.
    floors : ndarray of shape (C,)
    exponents : Exponents
    roots : Roots
    sums : float64 ndarray of shape (C, n_powers)
        Added to.
    moduli : ndarray of shape (C, n)
        The square roots; written unless empty.
    """
    n = maps.shape[2]
    mixed = np.empty((maps.shape[1], BLOCK), maps.dtype)
    for start in range(0, n, BLOCK):
        count = min(BLOCK, n - start)
        for c in range(len(floors)):
            square_block(maps, mix, squared, floors[c], c, start, count, mixed, roots.squares)
            take_roots(roots, exponents.cubic, count)
            add_sums(roots, exponents, count, sums[c])
            if len(moduli):
                modulus = moduli[c, start : start + count]
                for k in range(count):
                    modulus[k] = roots.root[k]


@compiled
def push(maps, moved, mix, squared, floors, exponents, roots, sums, moduli):
    """Sum the derivatives of the powers along ``moved`` maps; see `fold`.

    ``moduli`` are the derivatives of the square roots.
    """
    n, n_powers = maps.shape[2], len(exponents.values)
    cast = maps.dtype.type
    zero, half, one, two = cast(0), cast(0.5), cast(1), cast(2)
    mixed = np.empty((maps.shape[1], BLOCK), maps.dtype)
    other, du = np.empty(BLOCK, maps.dtype), np.empty(BLOCK, maps.dtype)
    slopes = np.empty(BLOCK, maps.dtype)
    weights = np.zeros((n_powers, n_powers), maps.dtype)
    for p in range(n_powers):
        weights[p, p] = one
    for start in range(0, n, BLOCK):
        count = min(BLOCK, n - start)
        for c in range(len(floors)):
            square_block(maps, mix, squared, floors[c], c, start, count, mixed, roots.squares)
            take_roots(roots, exponents.cubic, count)
            for k in range(count):
                du[k] = 0
            for m in range(maps.shape[1]):
                mix_block(moved, mix, c, m, start, count, other)
                f = mixed[m]
                if squared:
                    for k in range(count):
                        du[k] += other[k]
                else:
                    for k in range(count):
                        du[k] += two * f[k] * other[k]
            for p in range(n_powers):
                fill_slopes(roots, exponents, weights[p], slopes[:0], count, slopes)
                total = zero
                for k in range(count):
                    total += slopes[k] * du[k]
                sums[c, p] += total
            if len(moduli):
                modulus = moduli[c, start : start + count]
                for k in range(count):
                    modulus[k] = half * du[k] / roots.root[k]


@compiled
def pull(maps, mix, squared, floors, exponents, roots, weights, of_moduli, sums):
    """Overwrite maps by their cotangents; see `fold`, whose sums it adds, too.

    Parameters
    ----------
    weights : ndarray of shape (C, n_powers)
        Cotangents of the sums.
    of_moduli : ndarray of shape (C, n)
        Cotangents of the square roots, or empty.
    """
    n, M = maps.shape[2], maps.shape[1]
    two = maps.dtype.type(2)
    mixed = np.empty((M, BLOCK), maps.dtype)
    slopes = np.empty(BLOCK, maps.dtype)
    total = np.empty((len(maps), M, BLOCK), maps.dtype)
    for start in range(0, n, BLOCK):
        count = min(BLOCK, n - start)
        for b in range(len(total)):
            for m in range(M):
                f = total[b, m]
                for k in range(count):
                    f[k] = 0
        for c in range(len(floors)):
            square_block(maps, mix, squared, floors[c], c, start, count, mixed, roots.squares)
            take_roots(roots, exponents.cubic, count)
            add_sums(roots, exponents, count, sums[c])
            part = of_moduli[c, start : start + count] if len(of_moduli) else slopes[:0]
            fill_slopes(roots, exponents, weights[c], part, count, slopes)
            for m in range(M):
                f = mixed[m]
                if squared:
                    for k in range(count):
                        f[k] = slopes[k]
                else:
                    for k in range(count):
                        f[k] *= two * slopes[k]
                if len(mix) == 0:
                    out = maps[c, m, start : start + count]
                    for k in range(count):
                        out[k] = f[k]
                else:
                    for b in range(len(maps)):
                        weight, out = mix[c, b], total[b, m]
                        for k in range(count):
                            out[k] += weight * f[k]
        if len(mix):
            for b in range(len(maps)):
                for m in range(M):
                    f, out = total[b, m], maps[b, m, start : start + count]
                    for k in range(count):
                        out[k] = f[k]
