"""Compiled products of two and of three moments of an atom, and their derivatives.

Of moments P (M, N, Q), rows of the results (T, N, Q) are, for every degree l,

    sum_m P_mq P_mq,    then    sum_m P_mq P_m(q-1)    (q - 1 of the first channel is the last),

and sums of coefficient P_aq P_bq P_cq over ``triples`` (n, 4), which hold a, b, c and the row.
"""

from __future__ import annotations

from skwavelet._utils.compiled import compiled


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
        for t in range(len(coefficients)):
            a, b, c = P[triples[t, 0], i], P[triples[t, 1], i], P[triples[t, 2], i]
            row, value = results[triples[t, 3], i], coefficients[t]
            for q in range(n_channels):
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
        for t in range(len(coefficients)):
            a, b, c = P[triples[t, 0], i], P[triples[t, 1], i], P[triples[t, 2], i]
            by_a, by_b, by_c = gP[triples[t, 0], i], gP[triples[t, 1], i], gP[triples[t, 2], i]
            row, value = g[triples[t, 3], i], coefficients[t]
            # One by one, as two of the three may be the same.
            for q in range(n_channels):
                by_a[q] += value * row[q] * b[q] * c[q]
            for q in range(n_channels):
                by_b[q] += value * row[q] * a[q] * c[q]
            for q in range(n_channels):
                by_c[q] += value * row[q] * a[q] * b[q]


@compiled
def add_second(degrees, n_degrees, triples, coefficients, P, g, d, dg, hP):
    """Add the derivatives of the gradient along d, by g to ``dg`` and by P to ``hP``."""
    n_channels = P.shape[2]
    last = n_channels - 1
    for i in range(P.shape[1]):
        for m in range(len(degrees)):
            row, along, by = P[m, i], d[m, i], hP[m, i]
            square, cross = g[degrees[m], i], g[n_degrees + degrees[m], i]
            d_square, d_cross = dg[degrees[m], i], dg[n_degrees + degrees[m], i]
            here, left, along_here, along_left = row[1:], row[:-1], along[1:], along[:-1]
            to, to_left, between, d_between = by[1:], by[:-1], cross[1:], d_cross[1:]
            for q in range(n_channels):
                d_square[q] += 2 * row[q] * along[q]
                by[q] += 2 * square[q] * along[q]
            for q in range(last):
                d_between[q] += along_here[q] * left[q] + here[q] * along_left[q]
            for q in range(last):
                to[q] += between[q] * along_left[q]
            for q in range(last):
                to_left[q] += between[q] * along_here[q]
            d_cross[0] += along[0] * row[last] + row[0] * along[last]
            by[0] += cross[0] * along[last]
            by[last] += cross[0] * along[0]
        for t in range(len(coefficients)):
            ia, ib, ic, to_row = triples[t, 0], triples[t, 1], triples[t, 2], triples[t, 3]
            a, b, c = P[ia, i], P[ib, i], P[ic, i]
            da, db, dc = d[ia, i], d[ib, i], d[ic, i]
            by_a, by_b, by_c = hP[ia, i], hP[ib, i], hP[ic, i]
            row, along, value = g[to_row, i], dg[to_row, i], coefficients[t]
            for q in range(n_channels):
                along[q] += value * (da[q] * b[q] * c[q] + a[q] * (db[q] * c[q] + b[q] * dc[q]))
            for q in range(n_channels):
                by_a[q] += value * row[q] * (db[q] * c[q] + b[q] * dc[q])
            for q in range(n_channels):
                by_b[q] += value * row[q] * (da[q] * c[q] + a[q] * dc[q])
            for q in range(n_channels):
                by_c[q] += value * row[q] * (da[q] * b[q] + a[q] * db[q])
