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
    squares, root, inverse : ndarray of shape (BLOCK,)
        u, its square root, and one over its cube root.
    bits : unsigned ndarray of shape (BLOCK,)
        The memory of ``inverse`` as integers.
    magic : unsigned integer
        A third of the bits of u from this are about the bits of its inverse cube root.
    n_steps : int
        Iterations from there to rounding.
    """

    squares: np.ndarray
    root: np.ndarray
    inverse: np.ndarray
    bits: np.ndarray
    magic: np.unsignedinteger
    n_steps: int


class Exponents(NamedTuple):
    """The powers of u that are summed.

    ``sixths`` (n_powers,) are those that are 3, 4, 5 or 6 sixths, 0 for others; ``cubic`` tells
    whether there is one of 4 or 5.
    """

    values: np.ndarray
    sixths: np.ndarray
    cubic: bool


@compiled_part
def sum_powers(roots, exponents, root, n, sums):
    """Add the sums of the powers of n squares to ``sums`` (n_powers,).

    Writes their square roots to ``root``, and the inverses of the cube roots if any power needs
    them.
    """
    u, inverse = roots.squares, roots.inverse
    cast = u.dtype.type
    one, first, second = cast(1), cast(1 / 3), cast(2 / 9)
    three = four = five = six = cast(0)
    if exponents.cubic:
        words, bits, magic = u.view(roots.bits.dtype), roots.bits, roots.magic
        for k in range(n):
            bits[k] = magic - words[k] // 3
        for _ in range(roots.n_steps - 2):
            for k in range(n):
                y = inverse[k]
                rest = one - u[k] * y * (y * y)
                inverse[k] = y + y * rest * (first + rest * second)
        # The last two steps and all sums in one pass: what is in registers need not be read again.
        for k in range(n):
            x, y = u[k], inverse[k]
            rest = one - x * y * (y * y)
            y = y + y * rest * (first + rest * second)
            rest = one - x * y * (y * y)
            y = y + y * rest * (first + rest * second)
            half, two_thirds = np.sqrt(x), x * y
            inverse[k], root[k] = y, half
            three += half
            four += two_thirds
            five += half * (two_thirds * y)
            six += x
    else:
        for k in range(n):
            half = np.sqrt(u[k])
            root[k] = half
            three += half
            six += u[k]
    for p in range(len(sums)):
        sixths = exponents.sixths[p]
        if sixths == 3:
            sums[p] += three
        elif sixths == 4:
            sums[p] += four
        elif sixths == 5:
            sums[p] += five
        elif sixths == 6:
            sums[p] += six
        else:
            total, exponent = cast(0), exponents.values[p]
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
def mix_block(maps, mix, channel, m, start, n, room):
    """Return n values of component m of one channel's map: written to ``room``, if it is mixed."""
    if len(mix) == 0:
        return maps[channel, m, start : start + n]
    mixed = room[:n]
    first, f = mix[channel, 0], maps[0, m, start : start + n]
    if len(maps) == 1:
        for k in range(n):
            mixed[k] = first * f[k]
    else:
        second, g = mix[channel, 1], maps[1, m, start : start + n]
        for k in range(n):
            mixed[k] = first * f[k] + second * g[k]
        for b in range(len(maps) - 2):
            weight, h = mix[channel, b + 2], maps[b + 2, m, start : start + n]
            for k in range(n):
                mixed[k] += weight * h[k]
    return mixed


@compiled_part
def square_block(maps, mix, squared, floor, channel, start, n, mixed, squares):
    """Write n squared moduli of one channel, and the components (M, BLOCK) of a mixed map."""
    for k in range(n):
        squares[k] = floor
    for m in range(maps.shape[1]):
        f = mix_block(maps, mix, channel, m, start, n, mixed[m])
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
            root = moduli[c, start : start + count] if len(moduli) else roots.root
            sum_powers(roots, exponents, root, count, sums[c])


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
    weights, unused = np.zeros((n_powers, n_powers), maps.dtype), sums[0, :0]
    for p in range(n_powers):
        weights[p, p] = one
    for start in range(0, n, BLOCK):
        count = min(BLOCK, n - start)
        for c in range(len(floors)):
            square_block(maps, mix, squared, floors[c], c, start, count, mixed, roots.squares)
            sum_powers(roots, exponents, roots.root, count, unused)
            for k in range(count):
                du[k] = 0
            for m in range(maps.shape[1]):
                g = mix_block(moved, mix, c, m, start, count, other)
                f = mixed[m] if len(mix) else maps[c, m, start : start + count]
                if squared:
                    for k in range(count):
                        du[k] += g[k]
                else:
                    for k in range(count):
                        du[k] += two * f[k] * g[k]
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

    ``weights`` (C, n_powers) are cotangents of the sums, and ``of_moduli`` (C, n) those of the
    square roots, or empty.
    """
    n, M = maps.shape[2], maps.shape[1]
    two = maps.dtype.type(2)
    mixed = np.empty((M, BLOCK), maps.dtype)
    slopes = np.empty(BLOCK, maps.dtype)
    total = np.empty((mix.shape[1], M, BLOCK), maps.dtype)
    for start in range(0, n, BLOCK):
        count = min(BLOCK, n - start)
        for b in range(len(total)):
            for m in range(M):
                f = total[b, m]
                for k in range(count):
                    f[k] = 0
        for c in range(len(floors)):
            square_block(maps, mix, squared, floors[c], c, start, count, mixed, roots.squares)
            sum_powers(roots, exponents, roots.root, count, sums[c])
            part = of_moduli[c, start : start + count] if len(of_moduli) else slopes[:0]
            fill_slopes(roots, exponents, weights[c], part, count, slopes)
            for m in range(M):
                f = mixed[m] if len(mix) else maps[c, m, start : start + count]
                if squared:
                    for k in range(count):
                        f[k] = slopes[k]
                else:
                    for k in range(count):
                        f[k] *= two * slopes[k]
                for b in range(len(total)):
                    weight, out = mix[c, b], total[b, m]
                    for k in range(count):
                        out[k] += weight * f[k]
        for b in range(len(total)):
            for m in range(M):
                f, out = total[b, m], maps[b, m, start : start + count]
                for k in range(count):
                    out[k] = f[k]


@compiled
def average(maps, halves, weight, add, first, stop, out):
    """Write, or add, weighted means of neighbours in maps on a shifted grid.

    Parameters
    ----------
    maps : ndarray of shape (R, L0, L1, L2)
    halves : ndarray of int of shape (3,)
        By how many halves of a voxel the points are shifted, 0, 1 or -1; along axes that are, the
        mean is over the two next to each voxel.
    weight : float
    add : bool
        Whether the means are added to what is there.
    first, stop : int
        Planes that are written.
    out : ndarray of shape (R, L0, L1, L2)
        Written.
    """
    _, L0, L1, n = maps.shape
    h0, h1, h2 = halves
    n0, n1, n2 = 1 + abs(h0), 1 + abs(h1), 1 + abs(h2)
    factor = maps.dtype.type(weight / (n0 * n1 * n2))
    # A line with its neighbours beyond both ends.
    line = np.empty(n + 2, maps.dtype)
    middle = line[1 : n + 1]
    beside = line[1 - h2 : n + 1 - h2]
    for r in range(len(maps)):
        for i in range(first, stop):
            for j in range(L1):
                for k in range(n):
                    middle[k] = 0
                for a in range(n0):
                    for b in range(n1):
                        f = maps[r, (i - a * h0) % L0, (j - b * h1) % L1]
                        for k in range(n):
                            middle[k] += f[k]
                line[0], line[n + 1] = middle[n - 1], middle[0]
                target = out[r, i, j]
                if not add:
                    for k in range(n):
                        target[k] = 0
                if h2 == 0:
                    for k in range(n):
                        target[k] += factor * middle[k]
                else:
                    for k in range(n):
                        target[k] += factor * (middle[k] + beside[k])
