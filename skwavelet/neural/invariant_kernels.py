"""Compiled products of two and of three moments of an atom, and their derivatives.

Of moments P (M, N, Q), rows of the results (T, N, Q) are, for every degree l,

    sum_m P_mq P_mq,    then    sum_m P_mq P_m(q-1)    (q - 1 of the first channel is the last),

and sums of coefficient P_aq P_bq P_cq over ``triples`` (n, 4), which hold a, b, c and the row.
Loops over the channels of one atom are short; products of three run over a block of atoms at once.
"""

from __future__ import annotations

from skwavelet._utils.compiled import compiled

# Atoms of a block: with 32 channels, what a block reads and writes stays in the nearest cache.
_BLOCK = 4


@compiled
def add_products(degrees, n_degrees, triples, coefficients, P, results):
    """Add the products to ``results``."""
    n_channels = P.shape[2]
    for i in range(P.shape[1]):
        for m in range(len(degrees)):
            row, square, cross = P[m, i], results[degrees[m], i], results[n_degrees + degrees[m], i]
            here, left, to = row[1:], row[:-1], cross[1:]
            for q in range(n_channels):
                square[q] += row[q] * row[q]
            for q in range(n_channels - 1):
                to[q] += here[q] * left[q]
            cross[0] += row[0] * row[n_channels - 1]
    size = P.shape[1] * n_channels
    flat, sums = P.reshape(len(P), size), results.reshape(len(results), size)
    step = _BLOCK * n_channels
    for block in range((size + step - 1) // step):
        start, stop = block * step, min(block * step + step, size)
        for t in range(len(coefficients)):
            a, b, c = (
                flat[triples[t, 0], start:stop],
                flat[triples[t, 1], start:stop],
                flat[triples[t, 2], start:stop],
            )
            row, value = sums[triples[t, 3], start:stop], coefficients[t]
            for q in range(stop - start):
                row[q] += value * a[q] * b[q] * c[q]


@compiled
def add_gradient(degrees, n_degrees, triples, coefficients, P, g, gP):
    """Add the gradient by P to ``gP``, for the one by the results, g."""
    n_channels = P.shape[2]
    last = n_channels - 1
    for i in range(P.shape[1]):
        for m in range(len(degrees)):
            row, by, square, cross = (
                P[m, i], gP[m, i], g[degrees[m], i], g[n_degrees + degrees[m], i],
            )  # fmt: skip
            here, left, to, to_left, between = row[1:], row[:-1], by[1:], by[:-1], cross[1:]
            for q in range(n_channels):
                by[q] += 2 * square[q] * row[q]
            for q in range(last):
                to[q] += between[q] * left[q]
            for q in range(last):
                to_left[q] += between[q] * here[q]
            by[0] += cross[0] * row[last]
            by[last] += cross[0] * row[0]
    size = P.shape[1] * n_channels
    flat, flat_g, flat_gP = (
        P.reshape(len(P), size), g.reshape(len(g), size), gP.reshape(len(P), size),
    )  # fmt: skip
    step = _BLOCK * n_channels
    for block in range((size + step - 1) // step):
        start, stop = block * step, min(block * step + step, size)
        for t in range(len(coefficients)):
            ia, ib, ic = triples[t, 0], triples[t, 1], triples[t, 2]
            a, b, c = flat[ia, start:stop], flat[ib, start:stop], flat[ic, start:stop]
            by_a, by_b, by_c = (
                flat_gP[ia, start:stop], flat_gP[ib, start:stop], flat_gP[ic, start:stop],
            )  # fmt: skip
            row, value = flat_g[triples[t, 3], start:stop], coefficients[t]
            # One by one, as two of the three may be the same.
            for q in range(stop - start):
                by_a[q] += value * row[q] * b[q] * c[q]
            for q in range(stop - start):
                by_b[q] += value * row[q] * a[q] * c[q]
            for q in range(stop - start):
                by_c[q] += value * row[q] * a[q] * b[q]


@compiled
def add_tangents(degrees, n_degrees, triples, coefficients, P, d, changes):
    """Add the changes of the products, for those of P, d, to ``changes``."""
    n_channels = P.shape[2]
    last = n_channels - 1
    for i in range(P.shape[1]):
        for m in range(len(degrees)):
            row, along = P[m, i], d[m, i]
            square, cross = changes[degrees[m], i], changes[n_degrees + degrees[m], i]
            here, left, along_here, along_left = row[1:], row[:-1], along[1:], along[:-1]
            to = cross[1:]
            for q in range(n_channels):
                square[q] += 2 * row[q] * along[q]
            for q in range(last):
                to[q] += along_here[q] * left[q] + here[q] * along_left[q]
            cross[0] += along[0] * row[last] + row[0] * along[last]
    size = P.shape[1] * n_channels
    flat, flat_d = P.reshape(len(P), size), d.reshape(len(P), size)
    sums = changes.reshape(len(changes), size)
    step = _BLOCK * n_channels
    for block in range((size + step - 1) // step):
        start, stop = block * step, min(block * step + step, size)
        for t in range(len(coefficients)):
            ia, ib, ic = triples[t, 0], triples[t, 1], triples[t, 2]
            a, b, c = flat[ia, start:stop], flat[ib, start:stop], flat[ic, start:stop]
            da, db, dc = flat_d[ia, start:stop], flat_d[ib, start:stop], flat_d[ic, start:stop]
            row, value = sums[triples[t, 3], start:stop], coefficients[t]
            for q in range(stop - start):
                row[q] += value * (da[q] * b[q] * c[q] + a[q] * (db[q] * c[q] + b[q] * dc[q]))


@compiled
def add_second(degrees, n_degrees, triples, coefficients, P, d, g, h, hP):
    """Add the change of the gradient by P to ``hP``, for changes d of P and h of g."""
    n_channels = P.shape[2]
    last = n_channels - 1
    for i in range(P.shape[1]):
        for m in range(len(degrees)):
            row, along, by = P[m, i], d[m, i], hP[m, i]
            square, cross = g[degrees[m], i], g[n_degrees + degrees[m], i]
            h_square, h_cross = h[degrees[m], i], h[n_degrees + degrees[m], i]
            here, left, along_here, along_left = row[1:], row[:-1], along[1:], along[:-1]
            to, to_left, between, ahead = by[1:], by[:-1], cross[1:], h_cross[1:]
            for q in range(n_channels):
                by[q] += 2 * (square[q] * along[q] + h_square[q] * row[q])
            for q in range(last):
                to[q] += between[q] * along_left[q] + ahead[q] * left[q]
            for q in range(last):
                to_left[q] += between[q] * along_here[q] + ahead[q] * here[q]
            by[0] += cross[0] * along[last] + h_cross[0] * row[last]
            by[last] += cross[0] * along[0] + h_cross[0] * row[0]
    size = P.shape[1] * n_channels
    flat, flat_d, flat_hP = (
        P.reshape(len(P), size), d.reshape(len(P), size), hP.reshape(len(P), size),
    )  # fmt: skip
    flat_g, flat_h = g.reshape(len(g), size), h.reshape(len(g), size)
    step = _BLOCK * n_channels
    for block in range((size + step - 1) // step):
        start, stop = block * step, min(block * step + step, size)
        for t in range(len(coefficients)):
            ia, ib, ic = triples[t, 0], triples[t, 1], triples[t, 2]
            a, b, c = flat[ia, start:stop], flat[ib, start:stop], flat[ic, start:stop]
            da, db, dc = flat_d[ia, start:stop], flat_d[ib, start:stop], flat_d[ic, start:stop]
            by_a, by_b, by_c = (
                flat_hP[ia, start:stop], flat_hP[ib, start:stop], flat_hP[ic, start:stop],
            )  # fmt: skip
            row, ahead = flat_g[triples[t, 3], start:stop], flat_h[triples[t, 3], start:stop]
            value = coefficients[t]
            for q in range(stop - start):
                change = row[q] * (db[q] * c[q] + b[q] * dc[q])
                by_a[q] += value * (change + ahead[q] * b[q] * c[q])
            for q in range(stop - start):
                change = row[q] * (da[q] * c[q] + a[q] * dc[q])
                by_b[q] += value * (change + ahead[q] * a[q] * c[q])
            for q in range(stop - start):
                change = row[q] * (da[q] * b[q] + a[q] * db[q])
                by_c[q] += value * (change + ahead[q] * a[q] * b[q])
