"""How much memory the maps of a structure take."""

from __future__ import annotations

import math
from collections.abc import Sequence


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
    backend = arrays.at(shape)
    if order == 0:
        return backend.fixed_bytes
    if backend.by_planes:
        # Half spectra count as one grid: densities; of one channel its spectrum, the
        # half-transformed one, the modulus, the parent and both spectra on a shifted grid; the
        # real filters of one wavelet; coarser copies.
        maps = n_elements + 4 + 2.5 * (order == 2) + widest / 2
        if method == "jvp":
            # Densities, spectra, those on a shifted grid, a second transform, du, parents, and
            # filters along strains.
            maps += n_elements + 1 + 1 + 1 + 1 + 2 * (order == 2) + widest / 2
        if method == "vjp":
            # Cotangents of the above.
            maps += 2 * n_elements + 2 + 2 + 4 * (order == 2) + 2 * widest
        return backend.fixed_bytes + maps * grid
    parents = n_channels * len(degrees) if order == 2 else 0
    maps = (
        n_filters / 2 + 6  # real filters, their frequencies and radial parts
        + 3 * n_elements  # densities and outer products
        + 2 * widest * n_elements  # transforms
        + 6 * n_channels  # moduli, and parents on a shifted grid
        + parents
    )  # fmt: skip
    factor = {"values": 1, "jvp": 3, "vjp": 3}[method]
    return backend.fixed_bytes + factor * maps * grid
