"""Compiled sums over pairs of atoms, and their derivatives, for a processor.

With G the radial functions of a pair p = (i, j), Y its harmonics, x the features of atoms and H
their moments, whose index m has the degree l(m),

    R_lc = sum_n G_n W_nlc        A_mic = sum_p R_l(m)c Y_m x_jc
    T_ms = sum_n G_n U_nms        B_mis = sum_p T_ms H_mjs.

Nothing is kept per pair: in the form of array operations these sums wait for memory. All loops
run over pairs, sorted by atoms i; ``starts[i]`` is the first pair of atom i. Indices lc and ms
are one axis, so that inner loops are long; U repeats what it has for a degree for its moments.
What is known of an atom is first put together, as rows of different moments are far apart.
"""

from __future__ import annotations

import numpy as np

from skwavelet._utils.compiled import compiled, compiled_part


@compiled_part
def _contract(functions, weights, result):
    """Write the products (Q,) of the functions (n,) of a pair with weights (n, Q)."""
    n_outputs = len(result)
    for q in range(n_outputs):
        result[q] = 0
    n_blocks = len(functions) // 5
    # Five functions at a time, as memory is slower than products.
    for block in range(n_blocks):
        n = 5 * block
        f0, f1, f2, f3, f4 = (
            functions[n], functions[n + 1], functions[n + 2], functions[n + 3], functions[n + 4],
        )  # fmt: skip
        w0, w1, w2, w3, w4 = (
            weights[n], weights[n + 1], weights[n + 2], weights[n + 3], weights[n + 4],
        )  # fmt: skip
        for q in range(n_outputs):
            result[q] += f0 * w0[q] + f1 * w1[q] + f2 * w2[q] + f3 * w3[q] + f4 * w4[q]
    for rest in range(len(functions) - 5 * n_blocks):
        value, row = functions[5 * n_blocks + rest], weights[5 * n_blocks + rest]
        for q in range(n_outputs):
            result[q] += value * row[q]


@compiled_part
def _contract_both(functions, changes, weights, result, changed):
    """Write the products (Q,) of functions (n,) and of their changes with weights (n, Q)."""
    n_outputs = len(result)
    for q in range(n_outputs):
        result[q] = 0
    for q in range(n_outputs):
        changed[q] = 0
    n_blocks = len(functions) // 5
    for block in range(n_blocks):
        n = 5 * block
        f0, f1, f2, f3, f4 = (
            functions[n], functions[n + 1], functions[n + 2], functions[n + 3], functions[n + 4],
        )  # fmt: skip
        d0, d1, d2, d3, d4 = (
            changes[n], changes[n + 1], changes[n + 2], changes[n + 3], changes[n + 4],
        )  # fmt: skip
        w0, w1, w2, w3, w4 = (
            weights[n], weights[n + 1], weights[n + 2], weights[n + 3], weights[n + 4],
        )  # fmt: skip
        for q in range(n_outputs):
            result[q] += f0 * w0[q] + f1 * w1[q] + f2 * w2[q] + f3 * w3[q] + f4 * w4[q]
            changed[q] += d0 * w0[q] + d1 * w1[q] + d2 * w2[q] + d3 * w3[q] + d4 * w4[q]
    for rest in range(len(functions) - 5 * n_blocks):
        n = 5 * n_blocks + rest
        value, change, row = functions[n], changes[n], weights[n]
        for q in range(n_outputs):
            result[q] += value * row[q]
            changed[q] += change * row[q]


@compiled_part
def _take(moments, i, result):
    """Write the moments (M, C) of atom i of all (M, N, C), one behind the other."""
    for m in range(len(moments)):
        row, part = result[m], moments[m, i]
        for c in range(len(part)):
            row[c] = part[c]


@compiled_part
def _by_atom(moments):
    """Return moments (N, MC) of moments (M, N, C): those of an atom next to each other."""
    n_atoms, n_channels = moments.shape[1:]
    result = np.empty((n_atoms, len(moments) * n_channels), moments.dtype)
    for i in range(n_atoms):
        _take(moments, i, result[i].reshape(len(moments), n_channels))
    return result


@compiled_part
def _write(values, moments):
    """Write values (N, MC) to moments (M, N, C)."""
    for i in range(len(values)):
        parts = values[i].reshape(len(moments), moments.shape[2])
        for m in range(len(moments)):
            row, part = moments[m, i], parts[m]
            for c in range(len(part)):
                row[c] = part[c]


@compiled_part
def _add(values, moments, i):
    """Add values (M, C) to the moments (M, N, C) of atom i."""
    for m in range(len(values)):
        row, part = moments[m, i], values[m]
        for c in range(len(part)):
            row[c] += part[c]


@compiled_part
def _dot(values, weights, gradient):
    """Add to the gradient (n,) of functions that of their products (Q,) with weights (n, Q)."""
    n_outputs = len(values)
    n_blocks = len(gradient) // 5
    for block in range(n_blocks):
        n = 5 * block
        w0, w1, w2, w3, w4 = (
            weights[n], weights[n + 1], weights[n + 2], weights[n + 3], weights[n + 4],
        )  # fmt: skip
        s0, s1, s2, s3, s4 = (
            gradient[n], gradient[n + 1], gradient[n + 2], gradient[n + 3], gradient[n + 4],
        )  # fmt: skip
        for q in range(n_outputs):
            value = values[q]
            s0 += value * w0[q]
            s1 += value * w1[q]
            s2 += value * w2[q]
            s3 += value * w3[q]
            s4 += value * w4[q]
        gradient[n], gradient[n + 1], gradient[n + 2] = s0, s1, s2
        gradient[n + 3], gradient[n + 4] = s3, s4
    for rest in range(len(gradient) - 5 * n_blocks):
        n = 5 * n_blocks + rest
        row, total = weights[n], gradient[n]
        for q in range(n_outputs):
            total += values[q] * row[q]
        gradient[n] = total


@compiled_part
def _outer_sum(functions, values, changes, moved, first, count, gradient):
    """Add products of functions and values, and of changes and moved, to (n, Q).

    Functions (P, n) are those of ``count`` pairs from the first on, values (4, Q) are in turn. With
    four at a time, the gradient is read and written a quarter as often.
    """
    n_outputs = values.shape[1]
    if count == 4:
        v0, v1, v2, v3 = values[0], values[1], values[2], values[3]
        u0, u1, u2, u3 = moved[0], moved[1], moved[2], moved[3]
        f, d = functions[first : first + 4], changes[first : first + 4]
        for n in range(gradient.shape[0]):
            f0, f1, f2, f3 = f[0, n], f[1, n], f[2, n], f[3, n]
            d0, d1, d2, d3 = d[0, n], d[1, n], d[2, n], d[3, n]
            row = gradient[n]
            for q in range(n_outputs):
                row[q] += (
                    f0 * v0[q] + f1 * v1[q] + f2 * v2[q] + f3 * v3[q]
                    + d0 * u0[q] + d1 * u1[q] + d2 * u2[q] + d3 * u3[q]
                )  # fmt: skip
        return
    for k in range(count):
        value, change = values[k], moved[k]
        for n in range(gradient.shape[0]):
            f0, d0, row = functions[first + k, n], changes[first + k, n], gradient[n]
            for q in range(n_outputs):
                row[q] += f0 * value[q] + d0 * change[q]


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
def add_moments(starts, neighbors, degrees, G, Y, x, W, H, U, A, B):
    """Add the sums to A (M, N, C) and B (M, N, S), for W (n, LC), H (M, N, S) and U (n, MS)."""
    n_channels, n_sent = x.shape[1], H.shape[2]
    R, T = np.empty(W.shape[1], G.dtype), np.empty(U.shape[1], G.dtype)
    by_degree = R.reshape(-1, n_channels)
    own, received = np.empty((len(degrees), n_channels), G.dtype), np.empty_like(T)
    sent = _by_atom(H)
    for i in range(len(starts) - 1):
        own[:], received[:] = 0, 0
        for k in range(starts[i + 1] - starts[i]):
            p = starts[i] + k
            j = neighbors[p]
            _contract(G[p], W, R)
            source = x[j]
            for l in range(len(by_degree)):
                row = by_degree[l]
                for c in range(n_channels):
                    row[c] *= source[c]
            for m in range(len(degrees)):
                value, row, part = Y[p, m], own[m], by_degree[degrees[m]]
                for c in range(n_channels):
                    row[c] += value * part[c]
            if n_sent:
                _contract(G[p], U, T)
                there = sent[j]
                for q in range(len(T)):
                    received[q] += T[q] * there[q]
        _add(own, A, i)
        _add(received.reshape(len(degrees), n_sent), B, i)


@compiled
def add_gradients(starts, neighbors, degrees, G, Y, x, W, H, U, gA, gB, gG, gY, gx, gH):
    """Add the gradients by G, Y, x and H, for those by the sums, gA and gB."""
    n_channels, n_sent = x.shape[1], H.shape[2]
    R, V = np.empty(W.shape[1], G.dtype), np.empty(W.shape[1], G.dtype)
    T, Q = np.empty(U.shape[1], G.dtype), np.empty(U.shape[1], G.dtype)
    radial, projected = R.reshape(-1, n_channels), V.reshape(-1, n_channels)
    by_own, by_received = np.empty((len(degrees), n_channels), G.dtype), np.empty_like(T)
    sent, by_sent = _by_atom(H), _by_atom(gH)
    for i in range(len(starts) - 1):
        _take(gA, i, by_own)
        _take(gB, i, by_received.reshape(len(degrees), n_sent))
        for k in range(starts[i + 1] - starts[i]):
            p = starts[i] + k
            j = neighbors[p]
            source, gradient = x[j], gx[j]
            _contract(G[p], W, R)
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
            _dot(V, W, gG[p])
            if n_sent:
                _contract(G[p], U, T)
                there, back = sent[j], by_sent[j]
                for q in range(len(T)):
                    back[q] += T[q] * by_received[q]
                    Q[q] = by_received[q] * there[q]
                _dot(Q, U, gG[p])
    _write(by_sent, gH)


@compiled
def add_tangents(starts, neighbors, degrees, G, Y, x, W, H, U, dG, dY, dx, dH, dA, dB):
    """Add the changes of the sums, for those of G, Y, x and H, to dA and dB."""
    n_channels, n_sent = x.shape[1], H.shape[2]
    R, R1 = np.empty(W.shape[1], G.dtype), np.empty(W.shape[1], G.dtype)
    T, T1 = np.empty(U.shape[1], G.dtype), np.empty(U.shape[1], G.dtype)
    radial, changed = R.reshape(-1, n_channels), R1.reshape(-1, n_channels)
    own, received = np.empty((len(degrees), n_channels), G.dtype), np.empty_like(T)
    sent, d_sent = _by_atom(H), _by_atom(dH)
    for i in range(len(starts) - 1):
        own[:], received[:] = 0, 0
        for k in range(starts[i + 1] - starts[i]):
            p = starts[i] + k
            j = neighbors[p]
            source, change = x[j], dx[j]
            _contract_both(G[p], dG[p], W, R, R1)
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
            if n_sent:
                _contract_both(G[p], dG[p], U, T, T1)
                there, along = sent[j], d_sent[j]
                for q in range(len(T)):
                    received[q] += T1[q] * there[q] + T[q] * along[q]
        _add(own, dA, i)
        _add(received.reshape(len(degrees), n_sent), dB, i)


@compiled
def add_second(
    starts, neighbors, degrees, G, Y, x, W, H, U, gA, gB, dG, dY, dx, dH, hA, hB, hx, hH, hW, hU
):  # fmt: skip
    """Add the changes of the gradients by x, H, W and U to hx, hH, hW and hU.

    They are those of a change of G, Y, x and H, and of one of gA and gB, hA and hB. With gA and
    the changes of G, Y, x and H zero, they are the gradients for hA and hB.
    """
    n_channels, n_sent, n_flat, n_handed = x.shape[1], H.shape[2], W.shape[1], U.shape[1]
    R, R1, T, T1 = (
        np.empty(n_flat, G.dtype), np.empty(n_flat, G.dtype),
        np.empty(n_handed, G.dtype), np.empty(n_handed, G.dtype),
    )  # fmt: skip
    V, V1, Q, Q1 = (
        np.empty((4, n_flat), G.dtype), np.empty((4, n_flat), G.dtype),
        np.empty((4, n_handed), G.dtype), np.empty((4, n_handed), G.dtype),
    )  # fmt: skip
    radial, changed = R.reshape(-1, n_channels), R1.reshape(-1, n_channels)
    projected, moved = V.reshape(4, -1, n_channels), V1.reshape(4, -1, n_channels)
    g_own = np.empty((len(degrees), n_channels), G.dtype)
    h_own, g_received, h_received = np.empty_like(g_own), np.empty_like(T), np.empty_like(T)
    sent, d_sent, h_sent = _by_atom(H), _by_atom(dH), _by_atom(hH)
    for i in range(len(starts) - 1):
        _take(gA, i, g_own)
        _take(hA, i, h_own)
        _take(gB, i, g_received.reshape(len(degrees), n_sent))
        _take(hB, i, h_received.reshape(len(degrees), n_sent))
        for k in range(starts[i + 1] - starts[i]):
            p = starts[i] + k
            j = neighbors[p]
            source, change, gradient = x[j], dx[j], hx[j]
            _contract_both(G[p], dG[p], W, R, R1)
            turn = p % 4
            _project_both(Y[p], dY[p], degrees, g_own, h_own, projected[turn], moved[turn])
            for l in range(len(radial)):
                r, r1, v, v1 = radial[l], changed[l], projected[turn, l], moved[turn, l]
                for c in range(n_channels):
                    gradient[c] += v[c] * r1[c] + v1[c] * r[c]
                    v1[c] = v1[c] * source[c] + v[c] * change[c]
                    v[c] *= source[c]
            if n_sent:
                _contract_both(G[p], dG[p], U, T, T1)
                there, along, back = sent[j], d_sent[j], h_sent[j]
                product, product1 = Q[turn], Q1[turn]
                for q in range(n_handed):
                    here, ahead = g_received[q], h_received[q]
                    back[q] += here * T1[q] + ahead * T[q]
                    product[q] = here * there[q]
                    product1[q] = here * along[q] + ahead * there[q]
            if turn == 3 or p + 1 == len(neighbors):
                _outer_sum(dG, V, G, V1, p - turn, turn + 1, hW)
                _outer_sum(dG, Q, G, Q1, p - turn, turn + 1, hU)
    _write(h_sent, hH)


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
