"""Compiled sums of the moments of neighbours times harmonics of bonds, and their derivatives.

With G the radial functions of a pair p = (i, j), Y its harmonics and H the moments of atoms,

    T_ks = sum_n G_n U_nks    X_ts = T_k(t)s H_ja(t)s    B_irs = sum_p sum_bt C_rbt Y_b X_ts,

where `skwavelet.neural.couplings` says which. A pair has few channels s, and loops as short as
that are slow. So pairs come in blocks: a row has the numbers of all channels of all pairs of a
block, one pair after the other, and `skwavelet.neural.coupling_kernels` multiplies rows. Of a last
block with fewer pairs, what is left of the rows is not used.

Nothing is kept per pair: in the form of array operations these sums wait for memory.
"""

from __future__ import annotations

import numpy as np

from skwavelet._utils.compiled import compiled, compiled_part
from skwavelet.neural.coupling_kernels import (
    ROW,
    couple,
    couple_gradients,
    couple_second,
    couple_tangents,
)
from skwavelet.neural.part_kernels import by_atom, contract, dot, outer_sum, write


@compiled_part
def _place(values, k, rows):
    """Write the values (Q, S) of pair k of a block to rows (Q, ROW)."""
    n_channels = values.shape[1]
    for q in range(len(values)):
        here, to = values[q], rows[q, k * n_channels : (k + 1) * n_channels]
        for s in range(n_channels):
            to[s] = here[s]


@compiled_part
def _of_pair(rows, k, values):
    """Write what rows have of pair k to values (Q, S)."""
    n_channels = values.shape[1]
    for q in range(len(values)):
        here, to = rows[q, k * n_channels : (k + 1) * n_channels], values[q]
        for s in range(n_channels):
            to[s] = here[s]


@compiled_part
def _filter(functions, weights, values, rows):
    """Write the products of functions (K, n) with weights (n, Q S), by way of values (Q, S)."""
    for k in range(len(functions)):
        contract(functions[k], weights, values.reshape(-1))
        _place(values, k, rows)


@compiled_part
def _gather(values, atoms, rows):
    """Write the values (N, Q, S) of atoms (K,)."""
    for k in range(len(atoms)):
        _place(values[atoms[k]], k, rows)


@compiled_part
def _scatter(rows, atoms, values):
    """Add rows to the values (N, Q, S) of atoms (K,)."""
    n_channels = values.shape[2]
    for k in range(len(atoms)):
        part = values[atoms[k]]
        for q in range(len(rows)):
            here, to = rows[q, k * n_channels : (k + 1) * n_channels], part[q]
            for s in range(n_channels):
                to[s] += here[s]


@compiled_part
def _repeat(harmonics, n_channels, rows):
    """Write harmonics (K, M), the same for all channels."""
    for k in range(len(harmonics)):
        for m in range(len(rows)):
            value, to = harmonics[k, m], rows[m, k * n_channels : (k + 1) * n_channels]
            for s in range(n_channels):
                to[s] = value


@compiled_part
def _read(functions, harmonics, moments, atoms, weights, values, rows):
    """Write the harmonics, moments and filters of pairs, one kind after the other."""
    M = harmonics.shape[1]
    _repeat(harmonics, values.shape[1], rows[:M])
    _gather(moments, atoms, rows[M : 2 * M])
    _filter(functions, weights, values, rows[2 * M :])


@compiled_part
def _add_sums(rows, n_channels, harmonics):
    """Add the sums over channels to harmonics (K, M)."""
    for k in range(len(harmonics)):
        for m in range(len(rows)):
            here, total = rows[m, k * n_channels : (k + 1) * n_channels], harmonics[k, m]
            for s in range(n_channels):
                total += here[s]
            harmonics[k, m] = total


@compiled_part
def _of_atoms(moments, n_channels):
    """Return moments (N, Q, S) of moments (M, N, C): those of an atom next to each other."""
    return by_atom(moments).reshape(moments.shape[1], -1, n_channels)


@compiled
def add_convolution(centers, neighbors, degrees, G, Y, U, H, B):
    """Add the sums to B (M, N, C), for U (n, KS) and H (M, N, S)."""
    S, K = H.shape[2], U.shape[1] // H.shape[2]
    N = 2 * len(H) + K
    values = np.empty((K, S), G.dtype)
    sent, received = _of_atoms(H, S), _of_atoms(B, S)
    inputs = np.zeros((N, ROW), G.dtype)
    b = np.zeros((received.shape[1], ROW), G.dtype)
    for first in range(0, len(neighbors), ROW // S):
        pairs = slice(first, min(first + ROW // S, len(neighbors)))
        _read(G[pairs], Y[pairs], sent, neighbors[pairs], U, values, inputs)
        couple(degrees, inputs.reshape(-1), b.reshape(-1))
        _scatter(b, centers[pairs], received)
    write(received.reshape(len(received), -1), B)


@compiled
def add_convolution_gradients(centers, neighbors, degrees, G, Y, U, H, gB, gG, gY, gH):
    """Add the gradients by G, Y and H, for those by the sums."""
    M, S, K = len(H), H.shape[2], U.shape[1] // H.shape[2]
    N = 2 * M + K
    values = np.empty((K, S), G.dtype)
    sent, g_sent, g_received = _of_atoms(H, S), _of_atoms(gH, S), _of_atoms(gB, S)
    inputs = np.zeros((N + g_received.shape[1], ROW), G.dtype)
    outputs = np.zeros((N, ROW), G.dtype)
    gy, gh, gt = outputs[:M], outputs[M : 2 * M], outputs[2 * M :]
    for first in range(0, len(neighbors), ROW // S):
        pairs = slice(first, min(first + ROW // S, len(neighbors)))
        _read(G[pairs], Y[pairs], sent, neighbors[pairs], U, values, inputs[:N])
        _gather(g_received, centers[pairs], inputs[N:])
        gy[:] = 0
        couple_gradients(degrees, inputs.reshape(-1), outputs.reshape(-1))
        _add_sums(gy, S, gY[pairs])
        _scatter(gh, neighbors[pairs], g_sent)
        for p in range(pairs.start, pairs.stop):
            _of_pair(gt, p - first, values)
            dot(values.reshape(-1), U, gG[p])
    write(g_sent.reshape(len(g_sent), -1), gH)


@compiled
def add_convolution_tangents(centers, neighbors, degrees, G, Y, U, H, dG, dY, dH, dB):
    """Add the changes of the sums, for those of G, Y and H, to dB."""
    S, K = H.shape[2], U.shape[1] // H.shape[2]
    N = 2 * len(H) + K
    values = np.empty((K, S), G.dtype)
    sent, d_sent, d_received = _of_atoms(H, S), _of_atoms(dH, S), _of_atoms(dB, S)
    inputs = np.zeros((2 * N, ROW), G.dtype)
    db = np.zeros((d_received.shape[1], ROW), G.dtype)
    for first in range(0, len(neighbors), ROW // S):
        pairs = slice(first, min(first + ROW // S, len(neighbors)))
        _read(G[pairs], Y[pairs], sent, neighbors[pairs], U, values, inputs[:N])
        _read(dG[pairs], dY[pairs], d_sent, neighbors[pairs], U, values, inputs[N : 2 * N])
        couple_tangents(degrees, inputs.reshape(-1), db.reshape(-1))
        _scatter(db, centers[pairs], d_received)
    write(d_received.reshape(len(d_received), -1), dB)


@compiled
def add_convolution_second(centers, neighbors, degrees, G, Y, U, H, gB, dG, dY, dH, hB, hH, hU):
    """Add the changes of the gradients by H and U to hH and hU.

    They are those of a change of G, Y and H, and of one of gB, hB.
    """
    M, S, K = len(H), H.shape[2], U.shape[1] // H.shape[2]
    N = 2 * M + K
    values, g_values, h_values = (
        np.empty((K, S), G.dtype), np.empty((4, K, S), G.dtype), np.empty((4, K, S), G.dtype),
    )  # fmt: skip
    sent, d_sent, h_sent = _of_atoms(H, S), _of_atoms(dH, S), _of_atoms(hH, S)
    g_received, h_received = _of_atoms(gB, S), _of_atoms(hB, S)
    Q = g_received.shape[1]
    inputs = np.zeros((2 * N + 2 * Q, ROW), G.dtype)
    outputs = np.zeros((M + 2 * K, ROW), G.dtype)
    hh, gt, ht = outputs[:M], outputs[M : M + K], outputs[M + K :]
    for first in range(0, len(neighbors), ROW // S):
        pairs = slice(first, min(first + ROW // S, len(neighbors)))
        _read(G[pairs], Y[pairs], sent, neighbors[pairs], U, values, inputs[:N])
        _read(dG[pairs], dY[pairs], d_sent, neighbors[pairs], U, values, inputs[N : 2 * N])
        _gather(g_received, centers[pairs], inputs[2 * N : -Q])
        _gather(h_received, centers[pairs], inputs[-Q:])
        couple_second(degrees, inputs.reshape(-1), outputs.reshape(-1))
        _scatter(hh, neighbors[pairs], h_sent)
        for p in range(pairs.start, pairs.stop):
            turn = (p - first) % 4
            _of_pair(gt, p - first, g_values[turn])
            _of_pair(ht, p - first, h_values[turn])
            if turn == 3 or p + 1 == pairs.stop:
                outer_sum(
                    dG, g_values.reshape(4, -1), G, h_values.reshape(4, -1), p - turn, turn + 1, hU
                )
    write(h_sent.reshape(len(h_sent), -1), hH)
