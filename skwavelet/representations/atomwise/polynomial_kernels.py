"""Compiled derivatives of products of an atom's features."""

from __future__ import annotations

import numpy as np

from skwavelet._utils.compiled import compiled


@compiled
def add_product_rows(x, jacobian, columns, products, factors, scales, rows):
    """Add the derivatives of products of one atom's features to rows of all derivatives.

    Parameters
    ----------
    x : ndarray of shape (n_features,)
        Features of the atom.
    jacobian : ndarray of shape (n_features, n_columns)
        Their derivatives.
    columns : ndarray of shape (n_columns,)
        Where each derivative stands in the rows.
    products : ndarray of int
        The products that the atom has.
    factors : ndarray of shape (n_products, 3)
        Places of the factors, -1 for none.
    scales : ndarray of shape (n_products,)
        What the products are multiplied by.
    rows : ndarray of shape (n_products, n_rows)
        Added to.
    """
    n_columns = len(columns)
    change = np.empty(n_columns)
    for t in products:
        a, b, c = factors[t, 0], factors[t, 1], factors[t, 2]
        scale = scales[t]
        if b < 0:
            for k in range(n_columns):
                change[k] = scale * jacobian[a, k]
        elif c < 0:
            of_a, of_b = scale * x[b], scale * x[a]
            for k in range(n_columns):
                change[k] = of_a * jacobian[a, k] + of_b * jacobian[b, k]
        else:
            of_a, of_b, of_c = scale * x[b] * x[c], scale * x[a] * x[c], scale * x[a] * x[b]
            for k in range(n_columns):
                change[k] = of_a * jacobian[a, k] + of_b * jacobian[b, k] + of_c * jacobian[c, k]
        for k in range(n_columns):
            rows[t, columns[k]] += change[k]


@compiled
def add_product_sums(x, products, factors, scales, sums):
    """Add the products of the features x (n_features, n_atoms), summed over atoms, to ``sums``."""
    n_atoms = x.shape[1]
    for t in products:
        a, b, c = factors[t, 0], factors[t, 1], factors[t, 2]
        total = 0.0
        if b < 0:
            for k in range(n_atoms):
                total += x[a, k]
        elif c < 0:
            for k in range(n_atoms):
                total += x[a, k] * x[b, k]
        else:
            for k in range(n_atoms):
                total += x[a, k] * x[b, k] * x[c, k]
        sums[t] += scales[t] * total


@compiled
def add_product_gradients(x, products, factors, weights, gradients):
    """Add the gradients of ``weights @ products`` of every atom, all of shape of ``x``."""
    n_atoms = x.shape[1]
    for t in products:
        a, b, c = factors[t, 0], factors[t, 1], factors[t, 2]
        weight = weights[t]
        if b < 0:
            for k in range(n_atoms):
                gradients[a, k] += weight
        elif c < 0:
            for k in range(n_atoms):
                gradients[a, k] += weight * x[b, k]
                gradients[b, k] += weight * x[a, k]
        else:
            for k in range(n_atoms):
                gradients[a, k] += weight * x[b, k] * x[c, k]
                gradients[b, k] += weight * x[a, k] * x[c, k]
                gradients[c, k] += weight * x[a, k] * x[b, k]
