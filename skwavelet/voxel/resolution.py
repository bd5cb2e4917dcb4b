"""Resolution: wavelet width, number of scales and voxel size learned from geometry (2.4)."""

from __future__ import annotations

from collections.abc import Sequence
from math import floor, log, log2, pi, sqrt

import numpy as np
from scipy.optimize import brentq

from skwavelet.structures import Structure, perpendicular_heights
from skwavelet.voxel.grid import bounding_cell
from skwavelet.wavelets import spectrum_magnitude, spectrum_peak


def learn_beta(min_distance: float, overlap: float) -> float:
    """Return the width (Å) at which Gaussians of nearest atoms overlap by ``overlap``.

    exp(-(Delta/2)^2 / (2 beta^2)) = overlap, with Delta the smallest interatomic distance (2.37).
    """
    if not np.isfinite(min_distance):
        raise ValueError(
            "No structure has two atoms to learn the wavelet width from; set beta (Å) by hand."
        )
    return min_distance / 2 / sqrt(2 * log(1 / overlap))


def learn_spacing(wavelets: Sequence[tuple[int, int]], beta: float, aliasing: float) -> float:
    """Return the voxel size s (Å) at which every wavelet's band ends.

    |psi^_nl(pi/s)| = aliasing * max |psi^_nl|, beyond the peak; the smallest over all (n, l).
    """
    ends = []
    for n, l in wavelets:
        position, peak = spectrum_peak(n, l, beta)
        start = position + 1e-9 / beta
        ends.append(
            brentq(
                lambda w, n=n, l=l, peak=peak: spectrum_magnitude(w, n, l, beta) - aliasing * peak,
                start,
                start + 100 / beta,
            )
        )
    return pi / max(ends)


def learn_n_scales(structures: Sequence[Structure], beta: float, scale_step: float) -> int:
    """Return the number of scales whose wavelets fit the smallest structure.

    The two-sigma rule 2 beta 2^J = B_e gives J = floor(log2(B_e / (2 beta))), at least 0, with B_e
    half the smallest perpendicular height of the periodic cells, or half the largest extent of the
    atoms where nothing is periodic. A wider wavelet would see the box rather than the structure.
    """
    heights = [
        perpendicular_heights(bounding_cell(s))[s.pbc].min() for s in structures if s.pbc.any()
    ]
    if heights:
        extent = min(heights) / 2
    else:
        extent = max(np.ptp(s.positions, axis=0).max() for s in structures) / 2
    largest = max(0, floor(log2(max(extent, 1e-9) / (2 * beta))))
    return floor(largest / scale_step) + 1
