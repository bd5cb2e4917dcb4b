"""Compiled sums over neighbours of moments times harmonics of bonds, and their derivatives.

With G the radial functions of a pair p = (i, j), Y its harmonics and H the moments of atoms, of
channels s,

    T_ks = sum_n G_n U_nks    X_ts = T_k(t)s H_ja(t)s    B_irs = sum_p sum_bt C_rbt Y_b X_ts,

where `skwavelet.neural.couplings` says which: features of atoms are moments of degree 0. The tuples
of ``shape`` have the lengths n_degrees, n_taken and channels / `LANES`, rounded up.

Nothing is kept per pair: in the form of array operations these sums wait for memory. All loops run
over pairs, sorted by atoms i; ``starts[i]`` is the first pair of atom i. What is known of a pair is
first put together, as rows of all variables, one behind the other, whose products
`skwavelet.neural.product_kernels` writes out. A row has as many numbers as there are channels, and
zeros up to the next multiple of `LANES`.
"""

from __future__ import annotations

import numpy as np

from skwavelet._utils.compiled import compiled, compiled_part
from skwavelet.neural.couplings import Couplings
from skwavelet.neural.part_kernels import (
    add,
    contract,
    contract_both,
    copy,
    dot,
    give,
    outer_sum,
    take,
)
from skwavelet.neural.product_kernels import LANES, Table, written_out


def _table(n_degrees: int, n_taken: int, n_parts: int) -> Table:
    return Couplings(n_degrees, n_taken).table(n_parts * LANES)


couple = written_out(_table, "h t", "b", shared="y")
couple_gradients = written_out(_table, "h t gb", "gy gh gt", shared="y")
couple_tangents = written_out(_table, "h t dh dt", "db", shared="y dy")
couple_second = written_out(_table, "h t dh dt gb dgb", "dgh gt dgt", shared="y dy")


@compiled_part
def _add_totals(rows, n_lanes, totals):
    """Add the sums over the channels of rows (Q n_lanes,) to totals (Q,)."""
    for q in range(len(totals)):
        total = totals[q]
        for s in range(n_lanes):
            total += rows[q * n_lanes + s]
        totals[q] = total


@compiled_part
def _take_all(values, n_channels, n_lanes):
    """Return the rows of the values of all atoms, (N, A Q n_lanes)."""
    n_rows = len(values) * (values.shape[2] // n_channels)
    rows = np.zeros((values.shape[1], n_rows * n_lanes), values.dtype)
    for i in range(values.shape[1]):
        take(values, i, n_channels, n_lanes, rows[i])
    return rows


@compiled_part
def _give_all(rows, n_channels, n_lanes, values):
    """Add to values what belongs to them of the rows of all atoms."""
    for i in range(values.shape[1]):
        give(rows[i], i, n_channels, n_lanes, values)


@compiled
def add_moments(starts, neighbors, shape, G, Y, U, H, B):
    """Add the sums to B (M, N, places C), for U (n, K C) and H (A, N, C)."""
    C, L = H.shape[2], len(shape[2]) * LANES
    sent, weights = _take_all(H, C, L), _take_all(U.reshape(1, *U.shape), C, L)
    n_h, n_t = sent.shape[1], weights.shape[1]
    x = np.empty(n_h + n_t, G.dtype)
    b = np.empty(len(B) * (B.shape[2] // C) * L, G.dtype)
    for i in range(len(starts) - 1):
        b[:] = 0
        for p in range(starts[i], starts[i + 1]):
            copy(sent[neighbors[p]], x[:n_h])
            contract(G[p], weights, x[n_h:])
            couple(shape, (Y[p],), x, b)
        give(b, i, C, L, B)


@compiled
def add_gradients(starts, neighbors, shape, G, Y, U, H, gB, gG, gY, gH):
    """Add the gradients by G, Y and H, for those by the sums."""
    C, L = H.shape[2], len(shape[2]) * LANES
    sent, weights = _take_all(H, C, L), _take_all(U.reshape(1, *U.shape), C, L)
    g_sent = np.zeros_like(sent)
    n_h, n_t, n_y = sent.shape[1], weights.shape[1], Y.shape[1] * L
    n = n_h + n_t
    x = np.zeros(n + len(gB) * (gB.shape[2] // C) * L, G.dtype)
    gx = np.empty(n_y + n, G.dtype)
    for i in range(len(starts) - 1):
        take(gB, i, C, L, x[n:])
        for p in range(starts[i], starts[i + 1]):
            copy(sent[neighbors[p]], x[:n_h])
            contract(G[p], weights, x[n_h:n])
            gx[:] = 0
            couple_gradients(shape, (Y[p],), x, gx)
            _add_totals(gx[:n_y], L, gY[p])
            add(gx[n_y:], g_sent[neighbors[p]])
            dot(gx[n_y + n_h :], weights, gG[p])
    _give_all(g_sent, C, L, gH)


@compiled
def add_tangents(starts, neighbors, shape, G, Y, U, H, dG, dY, dH, dB):
    """Add the changes of the sums, for those of G, Y and H, to dB."""
    C, L = H.shape[2], len(shape[2]) * LANES
    sent, weights = _take_all(H, C, L), _take_all(U.reshape(1, *U.shape), C, L)
    d_sent = _take_all(dH, C, L)
    n_h, n = sent.shape[1], sent.shape[1] + weights.shape[1]
    x = np.empty(2 * n, G.dtype)
    db = np.empty(len(dB) * (dB.shape[2] // C) * L, G.dtype)
    for i in range(len(starts) - 1):
        db[:] = 0
        for p in range(starts[i], starts[i + 1]):
            copy(sent[neighbors[p]], x[:n_h])
            copy(d_sent[neighbors[p]], x[n : n + n_h])
            contract_both(G[p], dG[p], weights, x[n_h:n], x[n + n_h :])
            couple_tangents(shape, (Y[p], dY[p]), x, db)
        give(db, i, C, L, dB)


@compiled
def add_second(starts, neighbors, shape, G, Y, U, H, gB, dG, dY, dH, hB, hH, hU):
    """Add the changes of the gradients by H and U to hH and hU.

    They are those of a change of G, Y and H, and of one of gB, hB. With gB and the changes of G, Y
    and H zero, they are the gradients for hB.
    """
    C, L = H.shape[2], len(shape[2]) * LANES
    sent, weights = _take_all(H, C, L), _take_all(U.reshape(1, *U.shape), C, L)
    d_sent = _take_all(dH, C, L)
    h_sent, h_weights = np.zeros_like(sent), np.zeros_like(weights)
    n_h, n_t, n_b = sent.shape[1], weights.shape[1], len(hB) * (hB.shape[2] // C) * L
    n = n_h + n_t
    x = np.zeros(2 * (n + n_b), G.dtype)
    hx = np.empty(n + n_t, G.dtype)
    gT, hT = np.empty((4, n_t), G.dtype), np.empty((4, n_t), G.dtype)
    for i in range(len(starts) - 1):
        take(gB, i, C, L, x[2 * n : 2 * n + n_b])
        take(hB, i, C, L, x[2 * n + n_b :])
        for p in range(starts[i], starts[i + 1]):
            copy(sent[neighbors[p]], x[:n_h])
            copy(d_sent[neighbors[p]], x[n : n + n_h])
            contract_both(G[p], dG[p], weights, x[n_h:n], x[n + n_h : 2 * n])
            hx[:] = 0
            couple_second(shape, (Y[p], dY[p]), x, hx)
            add(hx, h_sent[neighbors[p]])
            turn = p % 4
            copy(hx[n_h:n], gT[turn])
            copy(hx[n:], hT[turn])
            if turn == 3 or p + 1 == len(neighbors):
                outer_sum(dG, gT, G, hT, p - turn, turn + 1, h_weights)
    _give_all(h_sent, C, L, hH)
    _give_all(h_weights, C, L, hU.reshape(1, *hU.shape))
