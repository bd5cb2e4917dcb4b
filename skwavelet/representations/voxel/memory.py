"""How much memory the maps of a structure take."""

from __future__ import annotations

import math
from collections.abc import Sequence

# Libraries, plans, buffers and scratch space of bounded size.
FIXED_BYTES = 1.25 * 2**30


def peak_memory(
    arrays,
    shape: tuple[int, int, int],
    *,
    degrees: Sequence[int],
    n_elements: int,
    n_channels: int,
    order: int,
    method: str,
) -> float:
    """Estimate the bytes that a structure takes at its peak.

    Parameters
    ----------
    arrays : Arrays
    shape : tuple of (int, int, int)
        Base grid; what the coarser ones add is in the factors.
    degrees : sequence of int
        Degrees l of the wavelets.
    n_elements, n_channels : int
    order : int
        Highest order.
    method : {"values", "jvp", "vjp"}
        Derivatives (jvp) are along one direction; further ones add their densities only.
    """
    grid = float(math.prod(shape)) * arrays.dtype.itemsize
    widest = 2 * max(degrees) + 1
    n_filters = sum(2 * l + 1 for l in degrees)
    if order == 0:
        return FIXED_BYTES
    if arrays.at(shape).by_planes:
        # Half spectra count as one grid: densities; of one channel its spectrum, the
        # half-transformed one, the squared modulus and the parent; the real filters of one
        # wavelet; coarser copies; the parent on a shifted grid.
        maps = n_elements + 4 + 1.5 * (order == 2) + widest / 2
        if method == "jvp":
            # Densities, spectra, a second transform, du, slopes, filters along strains.
            maps += n_elements + 1 + 1 + 1 + 4 + 2 * (order == 2) + widest / 2
        if method == "vjp":
            # Cotangents of the above, and slopes.
            maps += 2 * n_elements + 2 + 2 + 3 * (order == 2) + 2 * widest
        return FIXED_BYTES + maps * grid
    parents = n_channels * len(degrees) if order == 2 else 0
    maps = (
        n_filters + 6  # complex filters, their frequencies and radial parts
        + 3 * n_elements  # densities and outer products
        + widest * (2 * n_elements + n_channels)  # transforms and mixed maps
        + 6 * n_channels  # squared modulus and its roots, parents on a shifted grid
        + parents
    )  # fmt: skip
    factor = {"values": 1, "jvp": 3, "vjp": 3}[method]
    return factor * maps * grid
