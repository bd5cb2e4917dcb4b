"""Compiled operations on the pairs of atoms that several representations share."""

from __future__ import annotations

import numpy as np

from skwavelet._utils.compiled import compiled, compiled_part


@compiled_part
def add_product(left, right, n_rows, n_inner, width, product):
    """Add left @ right to a product (n_rows, width): two rows, four columns of left at a time."""
    for half in range(n_rows // 2):
        row = 2 * half
        top, bottom = product[row], product[row + 1]
        for quarter in range(n_inner // 4):
            k = 4 * quarter
            a, b, c, d = left[row, k], left[row, k + 1], left[row, k + 2], left[row, k + 3]
            e, f, g, h = (
                left[row + 1, k],
                left[row + 1, k + 1],
                left[row + 1, k + 2],
                left[row + 1, k + 3],
            )
            w, x, y, z = right[k], right[k + 1], right[k + 2], right[k + 3]
            for p in range(width):
                top[p] += a * w[p] + b * x[p] + c * y[p] + d * z[p]
                bottom[p] += e * w[p] + f * x[p] + g * y[p] + h * z[p]


@compiled_part
def fill_product_with_transposed(left, right, n_rows, n_columns, width, product):
    """Write left @ right.T, of (n_rows, width) and (n_columns, width)."""
    zero = left.dtype.type(0)
    for row in range(n_rows):
        line = left[row]
        for quarter in range(n_columns // 4):
            k = 4 * quarter
            w, x, y, z = right[k], right[k + 1], right[k + 2], right[k + 3]
            a = b = c = d = zero
            for p in range(width):
                a += line[p] * w[p]
                b += line[p] * x[p]
                c += line[p] * y[p]
                d += line[p] * z[p]
            product[row, k] = a
            product[row, k + 1] = b
            product[row, k + 2] = c
            product[row, k + 3] = d


@compiled
def add_at(rows, part, total):
    """Add a part (n, M) to ``total[rows]``."""
    for k in range(len(rows)):
        line, target = part[k], total[rows[k]]
        for i in range(len(line)):
            target[i] += line[i]


@compiled
def add_pulls(vectors, pulls, neighbors, starts, n_atoms, first, gradient, strain):
    """Add gradients in the vectors to neighbours to those in positions and in a strain.

    Parameters
    ----------
    vectors, pulls : ndarray of shape (3, n_room)
        Vectors from consecutive atoms to their neighbours, and the gradients in them.
    neighbors : ndarray of shape (n_room,)
        As they are numbered in the gradient.
    starts : ndarray of shape (n_atoms + 1,)
        Where the pairs of every atom start.
    n_atoms, first : int
        How many atoms, and the first of them.
    gradient : ndarray of shape (n_around, 3)
        Added to.
    strain : ndarray of shape (1, 3, 3) or (n_atoms, 3, 3)
        Of all atoms together, or of every one apart; added to.
    """
    for row in range(n_atoms):
        begin = starts[row]
        here, n = np.uint64(begin), starts[row + 1] - begin
        place = first + row if len(strain) > 1 else 0
        for a in range(3):
            for b in range(3):
                total = 0.0
                for k in range(n):
                    total += vectors[a, here + np.uint64(k)] * pulls[b, here + np.uint64(k)]
                strain[place, a, b] += total
        for axis in range(3):
            total = 0.0
            for k in range(begin, begin + n):
                gradient[neighbors[k], axis] += pulls[axis, k]
                total += pulls[axis, k]
            gradient[first + row, axis] -= total
