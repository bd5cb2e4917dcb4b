"""Compiled sums of products of moments, and their derivatives.

A sum is a range of terms, each a coefficient times one to three moments. Arrays have atoms as
their last axis.
"""

from __future__ import annotations

import numpy as np

from skwavelet._utils.compiled import compiled

# Atoms that are worked on at a time: their moments stay in a core's own cache.
ATOMS = 64


@compiled
def fill_sums(moments, starts, coefficients, factors, sums):
    """Write the sums (n_sums, n_atoms).

    Parameters
    ----------
    moments : ndarray of shape (n_moments, n_atoms)
    starts : ndarray of shape (n_sums + 1,)
        First term of every sum.
    coefficients : ndarray of shape (n_terms,)
    factors : ndarray of shape (n_terms, 3)
        Places of the moments, -1 for none.
    sums : ndarray
        Written.
    """
    n_atoms = moments.shape[1]
    for first in range(0, n_atoms, ATOMS):
        here, n = np.uint64(first), min(ATOMS, n_atoms - first)
        for row in range(len(starts) - 1):
            for k in range(n):
                sums[row, here + np.uint64(k)] = 0
            for term in range(starts[row], starts[row + 1]):
                c = coefficients[term]
                x, y, z = factors[term, 0], factors[term, 1], factors[term, 2]
                if y < 0:
                    for k in range(n):
                        p = here + np.uint64(k)
                        sums[row, p] += c * moments[x, p]
                elif z < 0:
                    for k in range(n):
                        p = here + np.uint64(k)
                        sums[row, p] += c * moments[x, p] * moments[y, p]
                else:
                    for k in range(n):
                        p = here + np.uint64(k)
                        sums[row, p] += c * moments[x, p] * moments[y, p] * moments[z, p]


@compiled
def fill_gradients(moments, starts, coefficients, factors, cotangents, gradients):
    """Write the gradients (n_moments, n_atoms) of ``(cotangents * sums).sum()``.

    See `fill_sums`; cotangents have the shape of the sums.
    """
    n_atoms = moments.shape[1]
    for first in range(0, n_atoms, ATOMS):
        here, n = np.uint64(first), min(ATOMS, n_atoms - first)
        for row in range(len(moments)):
            for k in range(n):
                gradients[row, here + np.uint64(k)] = 0
        for row in range(len(starts) - 1):
            for term in range(starts[row], starts[row + 1]):
                c = coefficients[term]
                x, y, z = factors[term, 0], factors[term, 1], factors[term, 2]
                if y < 0:
                    for k in range(n):
                        p = here + np.uint64(k)
                        gradients[x, p] += c * cotangents[row, p]
                elif z < 0:
                    for k in range(n):
                        p = here + np.uint64(k)
                        w, a, b = c * cotangents[row, p], moments[x, p], moments[y, p]
                        gradients[x, p] += w * b
                        gradients[y, p] += w * a
                else:
                    for k in range(n):
                        p = here + np.uint64(k)
                        w = c * cotangents[row, p]
                        a, b, d = moments[x, p], moments[y, p], moments[z, p]
                        # One after the other: factors may be the same moment.
                        gradients[x, p] += w * b * d
                        gradients[y, p] += w * a * d
                        gradients[z, p] += w * a * b


@compiled
def fill_jacobian_of_atom(moments, atom, starts, coefficients, factors, jacobian):
    """Write the derivatives (n_sums, n_moments) of the sums of one atom in its moments."""
    for row in range(len(starts) - 1):
        for column in range(len(moments)):
            jacobian[row, column] = 0
        for term in range(starts[row], starts[row + 1]):
            c = coefficients[term]
            x, y, z = factors[term, 0], factors[term, 1], factors[term, 2]
            if y < 0:
                jacobian[row, x] += c
            elif z < 0:
                a, b = moments[x, atom], moments[y, atom]
                jacobian[row, x] += c * b
                jacobian[row, y] += c * a
            else:
                a, b, d = moments[x, atom], moments[y, atom], moments[z, atom]
                jacobian[row, x] += c * b * d
                jacobian[row, y] += c * a * d
                jacobian[row, z] += c * a * b
