"""Compiled sums of the moments of neighbours times harmonics of bonds, and their derivatives.

With G the radial functions of a pair p = (i, j), Y its harmonics and H the moments of atoms, of
`LANES` channels s,

    T_ks = sum_n G_n U_nks    X_ts = T_k(t)s H_ja(t)s    B_irs = sum_p sum_bt C_rbt Y_b X_ts,

where `skwavelet.neural.couplings` says which. Nothing is kept per pair: in the form of array
operations these sums wait for memory. All loops run over pairs, sorted by atoms i; ``starts[i]`` is
the first pair of atom i. What is known of a pair is first put together, as rows of all variables,
one behind the other; what is multiplied is written out by `skwavelet.neural.product_kernels`.
"""

from __future__ import annotations

import numpy as np

from skwavelet._utils.compiled import compiled, compiled_part
from skwavelet.neural.couplings import Couplings
from skwavelet.neural.part_kernels import (
    add,
    by_atom,
    contract,
    contract_both,
    dot,
    outer_sum,
    take,
    write,
)
from skwavelet.neural.product_kernels import LANES, Table, written_out


def _table(n_degrees: int) -> Table:
    return Couplings(n_degrees).table()


couple = written_out(_table, "h t", "b", shared="y")
couple_gradients = written_out(_table, "h t gb", "gy gh gt", shared="y")
couple_tangents = written_out(_table, "h t dh dt", "db", shared="y dy")
couple_second = written_out(_table, "h t dh dt gb dgb", "dgh gt dgt", shared="y dy")


@compiled_part
def _copy(values, to):
    """Write values to others."""
    for q in range(len(values)):
        to[q] = values[q]


@compiled_part
def _add(values, to):
    """Add values to others."""
    for q in range(len(values)):
        to[q] += values[q]


@compiled_part
def _add_totals(rows, totals):
    """Add the sums over the channels of rows (Q LANES,) to totals (Q,)."""
    for q in range(len(totals)):
        total = totals[q]
        for s in range(LANES):
            total += rows[q * LANES + s]
        totals[q] = total


@compiled
def add_convolution(starts, neighbors, degrees, G, Y, U, H, B):
    """Add the sums to B (M, N, places S), for U (n, K S) and H (M, N, S)."""
    sent = by_atom(H)
    n_h, n_b = sent.shape[1], len(B) * B.shape[2]
    x = np.empty(n_h + U.shape[1], G.dtype)
    h, t = x[:n_h], x[n_h:]
    b = np.empty(n_b, G.dtype)
    for i in range(len(starts) - 1):
        b[:] = 0
        for p in range(starts[i], starts[i + 1]):
            _copy(sent[neighbors[p]], h)
            contract(G[p], U, t)
            couple(degrees, (Y[p],), x, b)
        add(b.reshape(len(B), -1), B, i)


@compiled
def add_convolution_gradients(starts, neighbors, degrees, G, Y, U, H, gB, gG, gY, gH):
    """Add the gradients by G, Y and H, for those by the sums."""
    sent, g_sent = by_atom(H), by_atom(gH)
    n_h, n_t = sent.shape[1], U.shape[1]
    x = np.empty(n_h + n_t + len(gB) * gB.shape[2], G.dtype)
    h, t, gb = x[:n_h], x[n_h : n_h + n_t], x[n_h + n_t :]
    gx = np.empty(2 * n_h + n_t, G.dtype)
    gy, gh, gt = gx[:n_h], gx[n_h : 2 * n_h], gx[2 * n_h :]
    for i in range(len(starts) - 1):
        take(gB, i, gb.reshape(len(gB), -1))
        for p in range(starts[i], starts[i + 1]):
            _copy(sent[neighbors[p]], h)
            contract(G[p], U, t)
            gx[:] = 0
            couple_gradients(degrees, (Y[p],), x, gx)
            _add_totals(gy, gY[p])
            _add(gh, g_sent[neighbors[p]])
            dot(gt, U, gG[p])
    write(g_sent, gH)


@compiled
def add_convolution_tangents(starts, neighbors, degrees, G, Y, U, H, dG, dY, dH, dB):
    """Add the changes of the sums, for those of G, Y and H, to dB."""
    sent, d_sent = by_atom(H), by_atom(dH)
    n_h, n_t, n_b = sent.shape[1], U.shape[1], len(dB) * dB.shape[2]
    x = np.empty(2 * (n_h + n_t), G.dtype)
    h, t, dh, dt = x[:n_h], x[n_h : n_h + n_t], x[n_h + n_t : -n_t], x[-n_t:]
    db = np.empty(n_b, G.dtype)
    for i in range(len(starts) - 1):
        db[:] = 0
        for p in range(starts[i], starts[i + 1]):
            _copy(sent[neighbors[p]], h)
            _copy(d_sent[neighbors[p]], dh)
            contract_both(G[p], dG[p], U, t, dt)
            couple_tangents(degrees, (Y[p], dY[p]), x, db)
        add(db.reshape(len(dB), -1), dB, i)


@compiled
def add_convolution_second(starts, neighbors, degrees, G, Y, U, H, gB, dG, dY, dH, hB, hH, hU):
    """Add the changes of the gradients by H and U to hH and hU.

    They are those of a change of G, Y and H, and of one of gB, hB.
    """
    sent, d_sent, h_sent = by_atom(H), by_atom(dH), by_atom(hH)
    n_h, n_t, n_b = sent.shape[1], U.shape[1], len(hB) * hB.shape[2]
    x = np.empty(2 * (n_h + n_t + n_b), G.dtype)
    h, t, dh = x[:n_h], x[n_h : n_h + n_t], x[n_h + n_t : 2 * n_h + n_t]
    dt, gb, hb = x[2 * n_h + n_t : -2 * n_b], x[-2 * n_b : -n_b], x[-n_b:]
    hx = np.empty(n_h + 2 * n_t, G.dtype)
    hh, gt, ht = hx[:n_h], hx[n_h : n_h + n_t], hx[n_h + n_t :]
    g_values, h_values = np.empty((4, n_t), G.dtype), np.empty((4, n_t), G.dtype)
    for i in range(len(starts) - 1):
        take(gB, i, gb.reshape(len(gB), -1))
        take(hB, i, hb.reshape(len(hB), -1))
        for p in range(starts[i], starts[i + 1]):
            _copy(sent[neighbors[p]], h)
            _copy(d_sent[neighbors[p]], dh)
            contract_both(G[p], dG[p], U, t, dt)
            hx[:] = 0
            couple_second(degrees, (Y[p], dY[p]), x, hx)
            _add(hh, h_sent[neighbors[p]])
            turn = p % 4
            _copy(gt, g_values[turn])
            _copy(ht, h_values[turn])
            if turn == 3 or p + 1 == len(neighbors):
                outer_sum(dG, g_values, G, h_values, p - turn, turn + 1, hU)
    write(h_sent, hH)
