"""Compiled products of two and of three moments of an atom, and their derivatives.

Of moments P (M, N, Q), rows of the results (T, N, Q) are, for every degree l,

    sum_m P_mq P_mq,    then    sum_m P_mq P_m(q-1)    (q - 1 of the first channel is the last),

and the products of three of `skwavelet.neural.couplings.triples`. The tuples of ``shape`` have the
lengths n_degrees and channels / `LANES`, rounded up. The moments of an atom, and behind them those
of the channel before, are first put together as rows, as `skwavelet.neural.moment_kernels` does it.
"""

from __future__ import annotations

import numpy as np

from skwavelet._utils.compiled import compiled, compiled_part
from skwavelet.neural.couplings import triples
from skwavelet.neural.part_kernels import add, copy, give, take
from skwavelet.neural.product_kernels import LANES, Product, Table, written_out


def _table(n_degrees: int, n_parts: int) -> Table:
    """Return the products, of moments p and those of the channel before, l, to the results z.

    Products u of two, of which those of three are made, are formed once.
    """
    degrees = [l for l in range(n_degrees) for _ in range(2 * l + 1)]
    products = [
        Product(("z", place + l), ("p", m), (other, m))
        for place, other in ((0, "p"), (n_degrees, "l"))
        for m, l in enumerate(degrees)
    ]
    pairs: dict[tuple[int, int], int] = {}
    threes = triples(n_degrees)
    for a, b, c, row, value in threes:
        if (a, b) not in pairs:
            pairs[a, b] = len(pairs)
            products.append(Product(("u", pairs[a, b]), ("p", a), ("p", b)))
        products.append(Product(("z", row), ("u", pairs[a, b]), ("p", c), value))
    n_results = 2 * n_degrees + len({row for *_, row, _ in threes})
    n_rows = {"p": len(degrees), "l": len(degrees), "z": n_results}
    return Table(n_rows, n_parts * LANES, [products])


_products = written_out(_table, "p l", "z")
_gradients = written_out(_table, "p l gz", "gp gl")
_tangents = written_out(_table, "p l dp dl", "dz")
_second = written_out(_table, "p l dp dl gz dgz", "dgp dgl")


@compiled_part
def _take_both(values, i, n_lanes, rows):
    """Write the values (K, N, Q) of atom i to rows, then those of the channels before."""
    take(values, i, values.shape[2], n_lanes, rows[: len(values) * n_lanes])
    last = values.shape[2] - 1
    for k in range(len(values)):
        own, before = values[k, i], rows[(len(values) + k) * n_lanes :]
        before[0] = own[last]
        copy(own[:last], before[1:])


@compiled_part
def _give_both(rows, i, n_lanes, values):
    """Add rows to what `_take_both` takes."""
    give(rows[: len(values) * n_lanes], i, values.shape[2], n_lanes, values)
    last = values.shape[2] - 1
    for k in range(len(values)):
        own, before = values[k, i], rows[(len(values) + k) * n_lanes :]
        own[last] += before[0]
        add(before[1:], own[:last])


@compiled
def add_products(shape, P, results):
    """Add the products to ``results``."""
    L = len(shape[1]) * LANES
    rows, to = np.zeros(2 * len(P) * L, P.dtype), np.empty(len(results) * L, P.dtype)
    for i in range(P.shape[1]):
        _take_both(P, i, L, rows)
        to[:] = 0
        _products(shape, (), rows, to)
        give(to, i, P.shape[2], L, results)


@compiled
def add_gradient(shape, P, g, gP):
    """Add the gradient by P to ``gP``, for the one by the results, g."""
    L = len(shape[1]) * LANES
    n = 2 * len(P) * L
    rows, to = np.zeros(n + len(g) * L, P.dtype), np.empty(n, P.dtype)
    for i in range(P.shape[1]):
        _take_both(P, i, L, rows[:n])
        take(g, i, P.shape[2], L, rows[n:])
        to[:] = 0
        _gradients(shape, (), rows, to)
        _give_both(to, i, L, gP)


@compiled
def add_tangents(shape, P, d, changes):
    """Add the changes of the products, for those of P, d, to ``changes``."""
    L = len(shape[1]) * LANES
    n = 2 * len(P) * L
    rows, to = np.zeros(2 * n, P.dtype), np.empty(len(changes) * L, P.dtype)
    for i in range(P.shape[1]):
        _take_both(P, i, L, rows[:n])
        _take_both(d, i, L, rows[n:])
        to[:] = 0
        _tangents(shape, (), rows, to)
        give(to, i, P.shape[2], L, changes)


@compiled
def add_second(shape, P, d, g, h, hP):
    """Add the change of the gradient by P to ``hP``, for changes d of P and h of g."""
    L = len(shape[1]) * LANES
    n, n_g = 2 * len(P) * L, len(g) * L
    rows, to = np.zeros(2 * (n + n_g), P.dtype), np.empty(n, P.dtype)
    for i in range(P.shape[1]):
        _take_both(P, i, L, rows[:n])
        _take_both(d, i, L, rows[n : 2 * n])
        take(g, i, P.shape[2], L, rows[2 * n : 2 * n + n_g])
        take(h, i, P.shape[2], L, rows[2 * n + n_g :])
        to[:] = 0
        _second(shape, (), rows, to)
        _give_both(to, i, L, hP)
