"""Compiled weights of neighbours by their distance, and how vectors act through them."""

from __future__ import annotations

import numpy as np

from skwavelet._utils.compiled import compiled
from skwavelet.representations.exponential_kernels import LAST_EXPONENT, fill_exponentials

# Pairs that are worked on at a time.
CHUNK = 512


@compiled
def fill_weights(
    distances, elements, weights, cutoff, cutoff_slope, centers, half, exponential, left, right,
    left_slopes, right_slopes,
):  # fmt: skip
    """Write the weights of pairs, and their derivatives in the distance.

    Parameters
    ----------
    distances : ndarray of shape (n_pairs,)
    elements : ndarray of int of shape (n_pairs,)
        Place of the neighbour's element.
    weights : ndarray of shape (n_elements, n_channels)
    cutoff, cutoff_slope : ndarray of shape (n_pairs,)
        Zero beyond the reach.
    centers : ndarray of shape (n_radial,)
        Centres of the Gaussians of the distance.
    half : float
        Half the squared inverse of their standard deviation.
    exponential : Exponential
    left : ndarray of shape (n_channels, n_pairs)
        The channel's weight times the cutoff; written.
    right : ndarray of shape (n_channels n_radial, n_pairs)
        The same times every Gaussian; written.
    left_slopes, right_slopes : ndarray
        Written unless they are empty.
    """
    dtype = distances.dtype
    last, precision = dtype.type(LAST_EXPONENT), half + half
    n_channels, n_radial = weights.shape[1], len(centers)
    t, rest, gauss = np.empty(CHUNK, dtype), np.empty(CHUNK, dtype), np.empty(CHUNK, dtype)
    bits = np.empty(CHUNK, exponential.fields.dtype)
    for first in range(0, len(distances), CHUNK):
        here, n = np.uint64(first), min(CHUNK, len(distances) - first)
        for c in range(n_channels):
            for k in range(n):
                p = here + np.uint64(k)
                weight = weights[elements[p], c]
                left[c, p] = weight * cutoff[p]
                if len(left_slopes):
                    left_slopes[c, p] = weight * cutoff_slope[p]
        for s in range(n_radial):
            center = centers[s]
            for k in range(n):
                offset = distances[here + np.uint64(k)] - center
                t[k] = min(offset * offset * half, last)
            fill_exponentials(t, n, exponential, rest, bits, gauss)
            for c in range(n_channels):
                line = c * n_radial + s
                for k in range(n):
                    p = here + np.uint64(k)
                    right[line, p] = left[c, p] * gauss[k]
                if len(right_slopes):
                    for k in range(n):
                        p = here + np.uint64(k)
                        fall = precision * (distances[p] - center)
                        right_slopes[line, p] = (left_slopes[c, p] - fall * left[c, p]) * gauss[k]


@compiled
def fill_pulls(distances, unit, left_slopes, right_slopes, of_left, of_right, of_unit, pulls):
    """Write the gradients (3, n_pairs) in the vectors from those in weights and unit vectors."""
    dtype = distances.dtype
    one = dtype.type(1)
    along = np.empty(CHUNK, dtype)
    for first in range(0, len(distances), CHUNK):
        here, n = np.uint64(first), min(CHUNK, len(distances) - first)
        for k in range(n):
            along[k] = 0
        for c in range(len(of_left)):
            for k in range(n):
                p = here + np.uint64(k)
                along[k] += of_left[c, p] * left_slopes[c, p]
        for s in range(len(of_right)):
            for k in range(n):
                p = here + np.uint64(k)
                along[k] += of_right[s, p] * right_slopes[s, p]
        for k in range(n):
            p = here + np.uint64(k)
            inverse = one / distances[p]
            x, y, z = unit[0, p], unit[1, p], unit[2, p]
            a, b, c = of_unit[0, p] * inverse, of_unit[1, p] * inverse, of_unit[2, p] * inverse
            radial = along[k] - (a * x + b * y + c * z)
            pulls[0, p] = a + radial * x
            pulls[1, p] = b + radial * y
            pulls[2, p] = c + radial * z
