"""How much memory the maps of a structure take."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple


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

    ``shape`` is the base grid: what the coarser ones add is in the factors. Derivatives ("jvp") are
    along one direction; further ones add their densities only.
    """
    backend = arrays.at(shape)
    if order == 0:
        return backend.fixed_bytes
    count = by_planes if backend.by_planes else whole
    maps = count(Size(n_elements, n_channels, tuple(degrees), order))[method]
    return backend.fixed_bytes + maps * math.prod(shape) * arrays.dtype.itemsize


class Size(NamedTuple):
    """What the number of maps depends on; see `peak_memory`."""

    n_elements: int
    n_channels: int
    degrees: tuple[int, ...]
    order: int

    @property
    def widest(self) -> int:
        """The most components of a map."""
        return 2 * max(self.degrees) + 1


def whole(size: Size) -> dict[str, float]:
    """Count maps that are transformed whole, by method."""
    maps = (
        sum(2 * l + 1 for l in size.degrees) + 6  # real filters, frequencies, radial parts
        + 5 * size.n_elements  # densities, packed ones and outer products
        + size.widest * size.n_elements  # transforms
        + 7 * size.n_channels  # moduli, their means, and packed spectra on a shifted grid
        + 3 * size.n_channels * len(size.degrees) * (size.order == 2)  # parents, and packed ones
    )  # fmt: skip
    return {"values": maps, "jvp": 3 * maps, "vjp": 2 * maps}


def by_planes(size: Size) -> dict[str, float]:
    """Count maps that are transformed by planes, by method; half spectra count as one."""
    second, filters = float(size.order == 2), size.widest / 2
    # Densities; of one channel its spectrum, that on a shifted grid, the half-transformed one and
    # the modulus; filters. At second order the parent, the mean over grids, and coarser copies.
    values = size.n_elements + 4 + filters + 2.5 * second
    # Densities, both spectra, a second transform, du, filters along strains; parents and means.
    jvp = size.n_elements + 4 + filters + 3 * second
    # Cotangents of all, filters in both layers.
    vjp = 2 * size.n_elements + 4 + 4 * filters + 5 * second
    return {"values": values, "jvp": values + jvp, "vjp": values + vjp}
