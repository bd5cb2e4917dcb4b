"""Compiled sums over pairs of atoms, and their derivatives, for a processor.

With G the radial functions of a pair p = (i, j), Y its harmonics, x the features of atoms and H
their moments, whose index m has the degree l(m),

    R_lc = sum_n G_n W_nlc        A_mic = sum_p R_l(m)c Y_m x_jc
    T_ls = sum_n G_n U_nls        B_ims = sum_p T_l(m)s H_jms.

Nothing is kept per pair: in the form of array operations these sums wait for memory. All loops
run over pairs, sorted by atoms i; ``starts[i]`` is the first pair of atom i. Indices lc and ls
are one axis, so that inner loops are long.
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
def _outer(functions, values, gradient):
    """Add products of functions (n,) and values (Q,) to the gradient (n, Q) of weights."""
    n_outputs = len(values)
    for n in range(len(functions)):
        value, row = functions[n], gradient[n]
        for q in range(n_outputs):
            row[q] += value * values[q]


@compiled_part
def _outer_sum(functions, values, changes, moved, gradient):
    """Add the products of functions and values, and of changes and moved, likewise."""
    n_outputs = len(values)
    for n in range(len(functions)):
        value, change, row = functions[n], changes[n], gradient[n]
        for q in range(n_outputs):
            row[q] += value * values[q] + change * moved[q]


@compiled_part
def _project(harmonics, degrees, gradients, i, result):
    """Write the sums over m of harmonics times gradients (M, N, C) of atom i, by degree (L, C)."""
    n_degrees, n_channels = result.shape
    for l in range(n_degrees):
        row = result[l]
        for c in range(n_channels):
            row[c] = 0
    for m in range(len(degrees)):
        value, row, part = harmonics[m], result[degrees[m]], gradients[m, i]
        for c in range(n_channels):
            row[c] += value * part[c]


@compiled
def add_moments(starts, neighbors, degrees, G, Y, x, W, H, U, A, B):
    """Add the sums to A (M, N, C) and B (N, M, S), for W (n, LC), H (N, M, S) and U (n, LS)."""
    n_channels, n_sent = x.shape[1], H.shape[2]
    R, T = np.empty(W.shape[1], G.dtype), np.empty(U.shape[1], G.dtype)
    by_degree = R.reshape(-1, n_channels)
    handed = T.reshape(len(by_degree), n_sent)
    for i in range(len(starts) - 1):
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
                value, row, part = Y[p, m], A[m, i], by_degree[degrees[m]]
                for c in range(n_channels):
                    row[c] += value * part[c]
            if n_sent:
                _contract(G[p], U, T)
                for m in range(len(degrees)):
                    row, there, t = B[i, m], H[j, m], handed[degrees[m]]
                    for s in range(n_sent):
                        row[s] += t[s] * there[s]


@compiled
def add_gradients(
    starts, neighbors, degrees, G, Y, x, W, H, U, gA, gB, gG, gY, gx, gW, gH, gU,
    by_basis, by_weights,
):  # fmt: skip
    """Add the gradients of G and Y (``by_basis``), x and H, and W and U (``by_weights``)."""
    n_channels, n_sent = x.shape[1], H.shape[2]
    R, V = np.empty(W.shape[1], G.dtype), np.empty(W.shape[1], G.dtype)
    T, Q = np.empty(U.shape[1], G.dtype), np.empty(U.shape[1], G.dtype)
    radial, projected = R.reshape(-1, n_channels), V.reshape(-1, n_channels)
    handed, products = T.reshape(len(radial), n_sent), Q.reshape(len(radial), n_sent)
    for i in range(len(starts) - 1):
        for k in range(starts[i + 1] - starts[i]):
            p = starts[i] + k
            j = neighbors[p]
            source, gradient = x[j], gx[j]
            _contract(G[p], W, R)
            _project(Y[p], degrees, gA, i, projected)
            for l in range(len(radial)):
                here, there = radial[l], projected[l]
                for c in range(n_channels):
                    gradient[c] += here[c] * there[c]
                    here[c] *= source[c]
                    there[c] *= source[c]
            if by_basis:
                for m in range(len(degrees)):
                    total, row, part = gY[p, m], gA[m, i], radial[degrees[m]]
                    for c in range(n_channels):
                        total += row[c] * part[c]
                    gY[p, m] = total
                _dot(V, W, gG[p])
            if by_weights:
                _outer(G[p], V, gW)
            if n_sent:
                _contract(G[p], U, T)
                for q in range(len(Q)):
                    Q[q] = 0
                for m in range(len(degrees)):
                    there, here, back = H[j, m], gB[i, m], gH[j, m]
                    t, product = handed[degrees[m]], products[degrees[m]]
                    for s in range(n_sent):
                        back[s] += t[s] * here[s]
                        product[s] += here[s] * there[s]
                if by_basis:
                    _dot(Q, U, gG[p])
                if by_weights:
                    _outer(G[p], Q, gU)


@compiled
def add_second(
    starts, neighbors, degrees, G, Y, x, W, H, U, gA, gB, dG, dY, dx, dH, dA, dB, hx, hW, hH, hU
):  # fmt: skip
    """Add the derivatives of the gradients of G, Y, x and H along dG, dY, dx and dH.

    ``dA`` and ``dB`` get the change of the sums themselves, which is the derivative by gA and gB;
    hx, hW, hH and hU the derivatives by x, W, H and U. G and Y do not depend on the weights.
    """
    n_channels, n_sent, n_flat, n_handed = x.shape[1], H.shape[2], W.shape[1], U.shape[1]
    R, R1, V, V1 = (
        np.empty(n_flat, G.dtype), np.empty(n_flat, G.dtype),
        np.empty(n_flat, G.dtype), np.empty(n_flat, G.dtype),
    )  # fmt: skip
    T, T1, Q, Q1 = (
        np.empty(n_handed, G.dtype), np.empty(n_handed, G.dtype),
        np.empty(n_handed, G.dtype), np.empty(n_handed, G.dtype),
    )  # fmt: skip
    radial, changed = R.reshape(-1, n_channels), R1.reshape(-1, n_channels)
    projected, moved = V.reshape(-1, n_channels), V1.reshape(-1, n_channels)
    handed, changed_handed = T.reshape(len(radial), n_sent), T1.reshape(len(radial), n_sent)
    products, changed_products = Q.reshape(len(radial), n_sent), Q1.reshape(len(radial), n_sent)
    for i in range(len(starts) - 1):
        for k in range(starts[i + 1] - starts[i]):
            p = starts[i] + k
            j = neighbors[p]
            source, change, gradient = x[j], dx[j], hx[j]
            _contract(G[p], W, R)
            _contract(dG[p], W, R1)
            _project(Y[p], degrees, gA, i, projected)
            _project(dY[p], degrees, gA, i, moved)
            for l in range(len(radial)):
                r, r1, v, v1 = radial[l], changed[l], projected[l], moved[l]
                for c in range(n_channels):
                    gradient[c] += v[c] * r1[c] + v1[c] * r[c]
                    r1[c] = r1[c] * source[c] + r[c] * change[c]
                    r[c] *= source[c]
                    v1[c] = v1[c] * source[c] + v[c] * change[c]
                    v[c] *= source[c]
            for m in range(len(degrees)):
                y, y1, row = Y[p, m], dY[p, m], dA[m, i]
                r, r1 = radial[degrees[m]], changed[degrees[m]]
                for c in range(n_channels):
                    row[c] += y * r1[c] + y1 * r[c]
            _outer_sum(dG[p], V, G[p], V1, hW)
            if n_sent:
                _contract(G[p], U, T)
                _contract(dG[p], U, T1)
                for q in range(n_handed):
                    Q[q], Q1[q] = 0, 0
                for m in range(len(degrees)):
                    there, along, here = H[j, m], dH[j, m], gB[i, m]
                    back, row = hH[j, m], dB[i, m]
                    t, t1 = handed[degrees[m]], changed_handed[degrees[m]]
                    product, product1 = products[degrees[m]], changed_products[degrees[m]]
                    for s in range(n_sent):
                        row[s] += t1[s] * there[s] + t[s] * along[s]
                        back[s] += here[s] * t1[s]
                        product[s] += here[s] * there[s]
                        product1[s] += here[s] * along[s]
                _outer_sum(dG[p], Q, G[p], Q1, hU)
