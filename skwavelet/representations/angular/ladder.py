"""Evenly spaced Gaussians of the cosine, in the form of the compiled kernels."""

from __future__ import annotations

import numpy as np

from skwavelet.representations.angular.ladder_kernels import Ladder
from skwavelet.representations.exponential_kernels import LAST_EXPONENT, exponential

# Gaussians are zero in every precision beyond so many standard deviations.
VANISHED = 9


def make_ladder(centers: np.ndarray, width: float, dtype: np.dtype) -> Ladder:
    """Return the Gaussians with one anchor for all, or with one for every few.

    The centers go from -1 to 1, two standard deviations (``width``) from each other. Exponents must
    not exceed ``LAST_EXPONENT``. With one anchor for all, those of narrow Gaussians would. Of those
    that have one of several anchors, each has vanished where exponents get there.
    """
    n, half = len(centers), 0.5 / width**2
    bounds, anchors = np.array([0, n]), np.array([n // 2])
    limit = 1 + abs(centers[n // 2])
    if half * limit**2 > LAST_EXPONENT:
        limit = np.sqrt(LAST_EXPONENT / half)
        aside = int((limit / width - VANISHED) / 2)
        bounds = np.append(np.arange(0, n, 2 * aside + 1), n)
        anchors = np.minimum(bounds[:-1] + aside, n - 1)
    levels = np.concatenate([
        np.exp(-half * (centers[low:high] - centers[anchor]) ** 2)
        for low, high, anchor in zip(bounds, bounds[1:], anchors, strict=False)
    ])  # fmt: skip
    return Ladder(
        bounds,
        anchors,
        centers.astype(dtype),
        centers[::-1].astype(dtype),
        levels.astype(dtype),
        np.array([half, 4 * half * width, limit * (1 + 1e-6)], dtype),
        exponential(dtype.name),
    )
