"""Compiled derivatives of products of an atom's features."""

from __future__ import annotations

import numpy as np

from skwavelet._utils.compiled import compiled

# Atoms that are worked on at a time: their features stay in a core's own cache.
ATOMS = 32


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


@compiled
def sum_and_pull(values, units, means, products, factors, scales, weights, sums, cotangents):
    """Add the products of the features of atoms of one element, and write their gradients.

    The features are ``units * values - means``, some atoms at a time in double precision.

    Parameters
    ----------
    values : ndarray of shape (n_features, n_atoms)
    units, means : ndarray of shape (n_features,)
    products : ndarray of shape (n_products,)
        Their places in ``sums``.
    factors : ndarray of shape (n_products, 3)
        Places of the factors, -1 for none.
    scales, weights : ndarray of shape (n_products,)
        What the products are multiplied by in the sums, and in the form that is differentiated.
    sums : ndarray of shape (n_sums,)
        Added to.
    cotangents : ndarray of shape (n_features, n_atoms)
        Gradients in ``values``, written.
    """
    n_features, n_atoms = values.shape
    x, pull = np.empty((n_features, ATOMS)), np.empty((n_features, ATOMS))
    for first in range(0, n_atoms, ATOMS):
        here, n = np.uint64(first), min(ATOMS, n_atoms - first)
        for row in range(n_features):
            unit, mean = units[row], means[row]
            for k in range(ATOMS):  # places without an atom add nothing
                x[row, k] = 0.0
                pull[row, k] = 0.0
            for k in range(n):
                x[row, k] = unit * values[row, here + np.uint64(k)] - mean
        for t in range(len(products)):
            a, b, c = factors[t, 0], factors[t, 1], factors[t, 2]
            weight, total = weights[t], 0.0
            # One factor after the other, as they may be the same.
            if b < 0:
                for k in range(ATOMS):
                    total += x[a, k]
                    pull[a, k] += weight
            elif c < 0:
                for k in range(ATOMS):
                    total += x[a, k] * x[b, k]
                    pull[a, k] += weight * x[b, k]
                for k in range(ATOMS):
                    pull[b, k] += weight * x[a, k]
            else:
                for k in range(ATOMS):
                    total += x[a, k] * x[b, k] * x[c, k]
                    pull[a, k] += weight * x[b, k] * x[c, k]
                for k in range(ATOMS):
                    pull[b, k] += weight * x[a, k] * x[c, k]
                for k in range(ATOMS):
                    pull[c, k] += weight * x[a, k] * x[b, k]
            sums[products[t]] += scales[t] * total
        for row in range(n_features):
            unit = units[row]
            for k in range(n):
                cotangents[row, here + np.uint64(k)] = unit * pull[row, k]
