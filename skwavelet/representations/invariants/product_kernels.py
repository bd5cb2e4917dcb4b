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
def fill_gradients(moments, pairs, starts, coefficients, rows, thirds, cotangents, gradients):
    """Write the gradients (n_moments, n_atoms) of ``(cotangents * sums).sum()``.

    Terms stand by their first two moments, whose product and whose gradients then serve all terms
    that have them.

    Parameters
    ----------
    moments : ndarray of shape (n_moments, n_atoms)
    pairs : ndarray of shape (n_pairs, 2)
        Places of the first two moments, -1 for none.
    starts : ndarray of shape (n_pairs + 1,)
        First term of every pair.
    coefficients : ndarray of shape (n_terms,)
    rows : ndarray of shape (n_terms,)
        The sum that a term belongs to.
    thirds : ndarray of shape (n_terms,)
        Place of the third moment, -1 for none.
    cotangents : ndarray of shape (n_sums, n_atoms)
    gradients : ndarray
        Written.
    """
    n_atoms = moments.shape[1]
    product, pull = np.empty(ATOMS, moments.dtype), np.empty(ATOMS, moments.dtype)
    for first in range(0, n_atoms, ATOMS):
        here, n = np.uint64(first), min(ATOMS, n_atoms - first)
        for row in range(len(moments)):
            for k in range(n):
                gradients[row, here + np.uint64(k)] = 0
        for pair in range(len(pairs)):
            x, y = pairs[pair, 0], pairs[pair, 1]
            for k in range(n):
                pull[k] = 0
            if y >= 0:
                for k in range(n):
                    p = here + np.uint64(k)
                    product[k] = moments[x, p] * moments[y, p]
            for term in range(starts[pair], starts[pair + 1]):
                c, row, z = coefficients[term], rows[term], thirds[term]
                if z < 0:
                    for k in range(n):
                        pull[k] += c * cotangents[row, here + np.uint64(k)]
                else:
                    for k in range(n):
                        p = here + np.uint64(k)
                        weight = c * cotangents[row, p]
                        pull[k] += weight * moments[z, p]
                        gradients[z, p] += weight * product[k]
            if y < 0:
                for k in range(n):
                    gradients[x, here + np.uint64(k)] += pull[k]
            else:
                # One after the other: both may be the same moment.
                for k in range(n):
                    p = here + np.uint64(k)
                    gradients[x, p] += pull[k] * moments[y, p]
                for k in range(n):
                    p = here + np.uint64(k)
                    gradients[y, p] += pull[k] * moments[x, p]


@compiled
def fill_changes_of_atom(
    moments, atom, starts, coefficients, factors, held_starts, held, changes, changed
):
    """Write what the sums of one atom change by where its moments change.

    See `fill_sums`. A sum has few of the moments, so that its derivatives are mostly zero.

    Parameters
    ----------
    held_starts, held : ndarray of shape (n_sums + 1,) and (n_held,)
        The moments that every sum has, each once.
    changes : ndarray of shape (n_moments, n_columns)
        Of the moments, for several changes.
    changed : ndarray of shape (n_sums, n_columns)
        Of the sums; written.
    """
    n_columns = changes.shape[1]
    slopes = np.zeros(len(moments), moments.dtype)
    for row in range(len(starts) - 1):
        line = changed[row]
        for term in range(starts[row], starts[row + 1]):
            c = coefficients[term]
            x, y, z = factors[term, 0], factors[term, 1], factors[term, 2]
            if y < 0:
                slopes[x] += c
            elif z < 0:
                a, b = moments[x, atom], moments[y, atom]
                slopes[x] += c * b
                slopes[y] += c * a
            else:
                a, b, d = moments[x, atom], moments[y, atom], moments[z, atom]
                slopes[x] += c * b * d
                slopes[y] += c * a * d
                slopes[z] += c * a * b
        for k in range(n_columns):
            line[k] = 0
        place, end = held_starts[row], held_starts[row + 1]
        while place + 4 <= end:
            p, q, r, s = held[place], held[place + 1], held[place + 2], held[place + 3]
            a, b, c, d = slopes[p], slopes[q], slopes[r], slopes[s]
            for k in range(n_columns):
                line[k] += (
                    a * changes[p, k] + b * changes[q, k] + c * changes[r, k] + d * changes[s, k]
                )
            slopes[p] = slopes[q] = slopes[r] = slopes[s] = 0
            place += 4
        while place < end:
            p = held[place]
            a = slopes[p]
            for k in range(n_columns):
                line[k] += a * changes[p, k]
            slopes[p] = 0
            place += 1
