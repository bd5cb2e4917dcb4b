"""Compiled messages of moments, and the sweeps of their derivatives.

Of moments A_0 (N, C) and mixed moments (M, N, Q) of the atoms,

    P = bounded(mixed),    z = bounded([A_0, products(P)]),    bounded(v) = v / (1 + v v / n)^(1/2)

for the n numbers v of an atom; products are those of `skwavelet.neural.invariant_kernels`. With
f = (1 + v v / n)^(-1/2) and b = f v, the derivative of a bounded row is the symmetric matrix
f (1 - b b^T / n): changes and gradients go through the same function.

Rows are those of an atom in arrays (K, N, Q): all K Q numbers. Names: ``d_x`` is the change of x
when atoms move, ``g_x`` the gradient of the energy by x, ``h_x`` the change of that gradient.
"""

from __future__ import annotations

import numpy as np

from skwavelet._utils.compiled import compiled, compiled_part
from skwavelet.neural.invariant_kernels import (
    add_gradient,
    add_products,
    add_second,
    add_tangents,
)


@compiled_part
def _dot(one, two, i):
    """Return the scalar product of rows, over their length."""
    n_channels = one.shape[2]
    total = one.dtype.type(0)
    for k in range(len(one)):
        a, b = one[k, i], two[k, i]
        for q in range(n_channels):
            total += a[q] * b[q]
    return total / one.dtype.type(len(one) * n_channels)


@compiled_part
def _bound(values, i, result):
    """Write the bounded row, and return the factor."""
    one = values.dtype.type(1)
    factor = one / np.sqrt(one + _dot(values, values, i))
    for k in range(len(values)):
        row, to = values[k, i], result[k, i]
        for q in range(values.shape[2]):
            to[q] = factor * row[q]
    return factor


@compiled_part
def _bound_change(bounded, factor, change, i, result):
    """Write the derivative of a bounded row times a change, or a gradient."""
    share = factor * _dot(bounded, change, i)
    for k in range(len(bounded)):
        row, by, to = bounded[k, i], change[k, i], result[k, i]
        for q in range(bounded.shape[2]):
            to[q] = factor * by[q] - share * row[q]


@compiled_part
def _bound_second(bounded, factor, change, gradient, ahead, i, result):
    """Write the change of the gradient by a row, for a change and one of the gradient (ahead)."""
    slope = -_dot(bounded, change, i) / factor  # the change of the factor
    along, aside = _dot(bounded, gradient, i), _dot(change, gradient, i)
    share = factor * (_dot(bounded, ahead, i) + aside) + slope * along
    along *= factor
    for k in range(len(bounded)):
        row, moved, by, more, to = (
            bounded[k, i], change[k, i], gradient[k, i], ahead[k, i], result[k, i],
        )  # fmt: skip
        for q in range(bounded.shape[2]):
            to[q] = factor * more[q] + slope * by[q] - share * row[q] - along * moved[q]


@compiled_part
def _join(own, products, i, message):
    """Write the numbers of an atom as one row."""
    n_channels, n_mixed = own.shape[2], products.shape[2]
    row, first = message[0, i], own[0, i]
    for c in range(n_channels):
        row[c] = first[c]
    for t in range(len(products)):
        part, to = products[t, i], row[n_channels + t * n_mixed :]
        for q in range(n_mixed):
            to[q] = part[q]


@compiled_part
def _split(message, i, own, products):
    """Add the row to that of the moments, and write those of the products."""
    n_channels, n_mixed = own.shape[2], products.shape[2]
    row, first = message[0, i], own[0, i]
    for c in range(n_channels):
        first[c] += row[c]
    for t in range(len(products)):
        part, to = row[n_channels + t * n_mixed :], products[t, i]
        for q in range(n_mixed):
            to[q] = part[q]


@compiled
def messages(shape, own, mixed, P, products, z, factors):
    """Write P, z (1, N, n) and the factors (2, N) of both, and add to the products."""
    for i in range(mixed.shape[1]):
        factors[0, i] = _bound(mixed, i, P)
    add_products(shape, P, products)
    for i in range(mixed.shape[1]):
        _join(own, products, i, z)
        factors[1, i] = _bound(z, i, z)


@compiled
def message_gradients(
    shape, P, z, factors, g_z,
    joined, g_products, g_P, g_mixed, g_own,
):  # fmt: skip
    """Write the gradients by the products and mixed moments, add those by P and the moments."""
    for i in range(P.shape[1]):
        _bound_change(z, factors[1, i], g_z, i, joined)
        _split(joined, i, g_own, g_products)
    add_gradient(shape, P, g_products, g_P)
    for i in range(P.shape[1]):
        _bound_change(P, factors[0, i], g_P, i, g_mixed)


@compiled
def message_tangents(
    shape, P, z, factors, d_own, d_mixed, d_P, d_products, d_z
):  # fmt: skip
    """Write the changes of P and z, and add those of the products."""
    for i in range(P.shape[1]):
        _bound_change(P, factors[0, i], d_mixed, i, d_P)
    add_tangents(shape, P, d_P, d_products)
    for i in range(P.shape[1]):
        _join(d_own, d_products, i, d_z)
        _bound_change(z, factors[1, i], d_z, i, d_z)


@compiled
def message_second(
    shape, P, z, factors, d_P, d_z, g_z, g_products, g_P, h_z,
    joined, h_products, h_P, h_mixed, h_own,
):  # fmt: skip
    """Write the changes of what `message_gradients` writes, and add those of what it adds to."""
    for i in range(P.shape[1]):
        _bound_second(z, factors[1, i], d_z, g_z, h_z, i, joined)
        _split(joined, i, h_own, h_products)
    add_second(shape, P, d_P, g_products, h_products, h_P)
    for i in range(P.shape[1]):
        _bound_second(P, factors[0, i], d_P, g_P, h_P, i, h_mixed)
