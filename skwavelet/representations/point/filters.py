"""Reaches of wavelets, and numbers of scales."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, log2

import numpy as np

from skwavelet.representations.wavelets import radial_polynomial

# The switch acts on this fraction of the squared reach: beyond 0.71 of the reach.
SWITCH_START = 0.5


def natural_reach(wavelets: Sequence[tuple[int, int]], beta: float, tolerance: float) -> float:
    """Return the distance (Å) beyond which every |psi_nl| is below tolerance times its maximum."""
    r = np.linspace(0, 40 * beta, 40001)
    reaches = []
    for n, l in wavelets:
        size = np.abs(_profile(r, n, l, beta))
        reaches.append(r[np.flatnonzero(size >= tolerance * size.max())[-1]])
    return float(max(reaches))


def wavelet_maximum(n: int, l: int, beta: float) -> float:
    """Return the maximum of |Q_nl| over all distances."""
    return float(np.abs(_profile(np.linspace(0, 20 * beta, 2001), n, l, beta)).max())


def _profile(r: np.ndarray, n: int, l: int, beta: float) -> np.ndarray:
    """Return Q_nl at distances r (Å)."""
    return r**l * radial_polynomial(np.stack([np.zeros_like(r), np.zeros_like(r), r]), n, l, beta)


def scales_to_reach(reach: float, natural: float, scale_step: float) -> int:
    """Return the number of scales up to the first whose wavelets reach (Å) by themselves.

    ``natural`` is the reach of scale 0.
    """
    return 1 + max(0, ceil(log2(reach / natural) / scale_step))
