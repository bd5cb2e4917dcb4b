"""Compiled sums over pairs of atoms, and their derivatives, for a processor.

With G the radial functions of a pair p = (i, j), Y its harmonics and x the features of atoms,
for moments m of the degrees l(m),

    R_lc = sum_n G_n W_nlc        A_mic = sum_p R_l(m)c Y_m x_jc.

Nothing is kept per pair: in the form of array operations these sums wait for memory. All loops
run over pairs, sorted by atoms i; ``starts[i]`` is the first pair of atom i. Indices lc are one
axis, so that inner loops are long. What is known of an atom is first put together, as rows of
different moments are far apart.
"""

from __future__ import annotations

import numpy as np

from skwavelet._utils.compiled import compiled, compiled_part
from skwavelet.neural.part_kernels import add, contract, contract_both, dot, outer_sum, take


@compiled_part
def _project(harmonics, degrees, gradients, result):
    """Write the sums over m of harmonics (M,) times gradients (M, C), by degree (L, C)."""
    result[:] = 0
    n_channels = result.shape[1]
    for m in range(len(degrees)):
        value, row, part = harmonics[m], result[degrees[m]], gradients[m]
        for c in range(n_channels):
            row[c] += value * part[c]


@compiled_part
def _project_both(harmonics, changes, degrees, gradients, ahead, result, changed):
    """Write these sums, and their changes for those of harmonics and gradients (ahead)."""
    result[:], changed[:] = 0, 0
    n_channels = result.shape[1]
    for m in range(len(degrees)):
        value, change, part, more = harmonics[m], changes[m], gradients[m], ahead[m]
        row, moved = result[degrees[m]], changed[degrees[m]]
        for c in range(n_channels):
            row[c] += value * part[c]
            moved[c] += change * part[c] + value * more[c]


@compiled
def add_moments(starts, neighbors, degrees, G, Y, x, W, A):
    """Add the sums to A (M, N, C), for W (n, LC)."""
    n_channels = x.shape[1]
    R = np.empty(W.shape[1], G.dtype)
    by_degree = R.reshape(-1, n_channels)
    own = np.empty((len(degrees), n_channels), G.dtype)
    for i in range(len(starts) - 1):
        own[:] = 0
        for k in range(starts[i + 1] - starts[i]):
            p = starts[i] + k
            contract(G[p], W, R)
            source = x[neighbors[p]]
            for l in range(len(by_degree)):
                row = by_degree[l]
                for c in range(n_channels):
                    row[c] *= source[c]
            for m in range(len(degrees)):
                value, row, part = Y[p, m], own[m], by_degree[degrees[m]]
                for c in range(n_channels):
                    row[c] += value * part[c]
        add(own, A, i)


@compiled
def add_gradients(starts, neighbors, degrees, G, Y, x, W, gA, gG, gY, gx):
    """Add the gradients by G, Y and x, for those by the sums, gA."""
    n_channels = x.shape[1]
    R, V = np.empty(W.shape[1], G.dtype), np.empty(W.shape[1], G.dtype)
    radial, projected = R.reshape(-1, n_channels), V.reshape(-1, n_channels)
    by_own = np.empty((len(degrees), n_channels), G.dtype)
    for i in range(len(starts) - 1):
        take(gA, i, by_own)
        for k in range(starts[i + 1] - starts[i]):
            p = starts[i] + k
            j = neighbors[p]
            source, gradient = x[j], gx[j]
            contract(G[p], W, R)
            _project(Y[p], degrees, by_own, projected)
            for l in range(len(radial)):
                here, there = radial[l], projected[l]
                for c in range(n_channels):
                    gradient[c] += here[c] * there[c]
                    here[c] *= source[c]
                    there[c] *= source[c]
            for m in range(len(degrees)):
                total, row, part = gY[p, m], by_own[m], radial[degrees[m]]
                for c in range(n_channels):
                    total += row[c] * part[c]
                gY[p, m] = total
            dot(V, W, gG[p])


@compiled
def add_tangents(starts, neighbors, degrees, G, Y, x, W, dG, dY, dx, dA):
    """Add the changes of the sums, for those of G, Y and x, to dA."""
    n_channels = x.shape[1]
    R, R1 = np.empty(W.shape[1], G.dtype), np.empty(W.shape[1], G.dtype)
    radial, changed = R.reshape(-1, n_channels), R1.reshape(-1, n_channels)
    own = np.empty((len(degrees), n_channels), G.dtype)
    for i in range(len(starts) - 1):
        own[:] = 0
        for k in range(starts[i + 1] - starts[i]):
            p = starts[i] + k
            source, change = x[neighbors[p]], dx[neighbors[p]]
            contract_both(G[p], dG[p], W, R, R1)
            for l in range(len(radial)):
                r, r1 = radial[l], changed[l]
                for c in range(n_channels):
                    r1[c] = r1[c] * source[c] + r[c] * change[c]
                    r[c] *= source[c]
            for m in range(len(degrees)):
                y, y1, row = Y[p, m], dY[p, m], own[m]
                r, r1 = radial[degrees[m]], changed[degrees[m]]
                for c in range(n_channels):
                    row[c] += y * r1[c] + y1 * r[c]
        add(own, dA, i)


@compiled
def add_second(starts, neighbors, degrees, G, Y, x, W, gA, dG, dY, dx, hA, hx, hW):
    """Add the changes of the gradients by x and W to hx and hW.

    They are those of a change of G, Y and x, and of one of gA, hA. With gA and the changes of G, Y
    and x zero, they are the gradients for hA.
    """
    n_channels, n_flat = x.shape[1], W.shape[1]
    R, R1 = np.empty(n_flat, G.dtype), np.empty(n_flat, G.dtype)
    V, V1 = np.empty((4, n_flat), G.dtype), np.empty((4, n_flat), G.dtype)
    radial, changed = R.reshape(-1, n_channels), R1.reshape(-1, n_channels)
    projected, moved = V.reshape(4, -1, n_channels), V1.reshape(4, -1, n_channels)
    g_own = np.empty((len(degrees), n_channels), G.dtype)
    h_own = np.empty_like(g_own)
    for i in range(len(starts) - 1):
        take(gA, i, g_own)
        take(hA, i, h_own)
        for k in range(starts[i + 1] - starts[i]):
            p = starts[i] + k
            j = neighbors[p]
            source, change, gradient = x[j], dx[j], hx[j]
            contract_both(G[p], dG[p], W, R, R1)
            turn = p % 4
            _project_both(Y[p], dY[p], degrees, g_own, h_own, projected[turn], moved[turn])
            for l in range(len(radial)):
                r, r1, v, v1 = radial[l], changed[l], projected[turn, l], moved[turn, l]
                for c in range(n_channels):
                    gradient[c] += v[c] * r1[c] + v1[c] * r[c]
                    v1[c] = v1[c] * source[c] + v[c] * change[c]
                    v[c] *= source[c]
            if turn == 3 or p + 1 == len(neighbors):
                outer_sum(dG, V, G, V1, p - turn, turn + 1, hW)


@compiled
def add_diagonal(degrees, x, c, gradient):
    """Add the sums over moments of a degree, and atoms, of products of x and c to (L, C)."""
    n_channels = x.shape[2]
    for m in range(len(degrees)):
        row = gradient[degrees[m]]
        for i in range(x.shape[1]):
            here, there = x[m, i], c[m, i]
            for q in range(n_channels):
                row[q] += here[q] * there[q]
