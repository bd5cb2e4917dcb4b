"""Parts of compiled kernels: rows, and products with matrices."""

from __future__ import annotations

from skwavelet._utils.compiled import compiled, compiled_part


@compiled_part
def copy(values, to):
    """Write values to others, of which there may be more."""
    for q in range(len(values)):
        to[q] = values[q]


@compiled_part
def add(values, to):
    """Add values to others."""
    for q in range(len(to)):
        to[q] += values[q]


@compiled_part
def take(values, i, n_channels, n_lanes, rows):
    """Write the values (A, N, Q n_channels) of atom i to rows (A Q n_lanes,)."""
    n_parts = values.shape[2] // n_channels
    by_moment = rows.reshape(len(values), n_parts * n_lanes)
    for m in range(len(values)):
        if n_channels == n_lanes:
            copy(values[m, i], by_moment[m])
        else:
            parts, to = values[m, i].reshape(n_parts, -1), by_moment[m].reshape(n_parts, -1)
            for q in range(n_parts):
                copy(parts[q], to[q])


@compiled_part
def give(rows, i, n_channels, n_lanes, values):
    """Add to values what belongs to them of rows; see `take`."""
    n_parts = values.shape[2] // n_channels
    by_moment = rows.reshape(len(values), n_parts * n_lanes)
    for m in range(len(values)):
        if n_channels == n_lanes:
            add(by_moment[m], values[m, i])
        else:
            parts, to = by_moment[m].reshape(n_parts, -1), values[m, i].reshape(n_parts, -1)
            for q in range(n_parts):
                add(parts[q], to[q])


@compiled_part
def contract(functions, weights, result):
    """Write the products (Q,) of the functions (n,) of a pair with weights (n, Q)."""
    n_outputs = len(result)
    n_blocks = len(functions) // 5
    if n_blocks == 0:
        result[:] = 0
    # Five functions at a time, as memory is slower than products.
    for block in range(n_blocks):
        n = 5 * block
        f0, f1, f2, f3, f4 = (
            functions[n], functions[n + 1], functions[n + 2], functions[n + 3], functions[n + 4],
        )  # fmt: skip
        w0, w1, w2, w3, w4 = (
            weights[n], weights[n + 1], weights[n + 2], weights[n + 3], weights[n + 4],
        )  # fmt: skip
        if block == 0:
            for q in range(n_outputs):
                result[q] = f0 * w0[q] + f1 * w1[q] + f2 * w2[q] + f3 * w3[q] + f4 * w4[q]
        else:
            for q in range(n_outputs):
                result[q] += f0 * w0[q] + f1 * w1[q] + f2 * w2[q] + f3 * w3[q] + f4 * w4[q]
    for rest in range(len(functions) - 5 * n_blocks):
        value, row = functions[5 * n_blocks + rest], weights[5 * n_blocks + rest]
        for q in range(n_outputs):
            result[q] += value * row[q]


@compiled_part
def contract_both(functions, changes, weights, result, changed):
    """Write the products (Q,) of functions (n,) and of their changes with weights (n, Q)."""
    n_outputs = len(result)
    n_blocks = len(functions) // 5
    if n_blocks == 0:
        result[:], changed[:] = 0, 0
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
        if block == 0:
            for q in range(n_outputs):
                result[q] = f0 * w0[q] + f1 * w1[q] + f2 * w2[q] + f3 * w3[q] + f4 * w4[q]
                changed[q] = d0 * w0[q] + d1 * w1[q] + d2 * w2[q] + d3 * w3[q] + d4 * w4[q]
        else:
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
def dot(values, weights, gradient):
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
def outer_sum(functions, values, changes, moved, first, count, gradient):
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
