"""What the cascade and its derivatives share: which maps, on which grids, and their powers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from skwavelet.representations.voxel.arrays import Array, Arrays, half
from skwavelet.representations.voxel.filters import Bank, Filters
from skwavelet.representations.voxel.grid import Grid, add_embedded, truncate
from skwavelet.representations.voxel.plan import FirstNode, ScaleNode, SecondNode
from skwavelet.representations.voxel.sampling import Sampling
from skwavelet.representations.voxel.shifts import UNSHIFTED, Shift
from skwavelet.representations.voxel.transfer import Transfer


class Table:
    """Sums (S, rows, n_powers) of some paths after another, put together on the host at the end."""

    def __init__(self, arrays: Arrays, powers: tuple[float, ...]):
        self.arrays, self.powers = arrays, np.array(powers)
        self._sums: list[Array] = []
        self._rows: list[tuple[np.ndarray, float, np.ndarray, float]] = []

    def add(
        self,
        paths: np.ndarray,
        sums: Array,
        factor: float,
        floors: np.ndarray | None = None,
        volume: float = 0.0,
    ) -> None:
        """Add factor * sums - volume * floors^q to the paths that are not -1."""
        floors = np.zeros(len(paths)) if floors is None else floors
        self._sums.append(sums)
        self._rows.append((paths, factor, floors, volume))

    def collect(self, n_structures: int, n_paths: int) -> np.ndarray:
        """Return the table (S, n_paths, n_powers) in float64, zero where nothing was added."""
        table = np.zeros((n_structures, n_paths, len(self.powers)))
        if self._sums:
            sums = self.arrays.host(self.arrays.xp.concat(self._sums, axis=1))
            counts = [len(paths) for paths, *_ in self._rows]
            paths, floors = (np.concatenate([row[k] for row in self._rows]) for k in (0, 2))
            factors, volumes = (np.repeat([row[k] for row in self._rows], counts) for k in (1, 3))
            values = factors[:, None] * sums - volumes[:, None] * floors[:, None] ** self.powers
            kept: Any = (slice(None), paths[paths >= 0])
            np.add.at(table, kept, values[:, paths >= 0])
        return table


class Steps:
    """The steps of the cascade of S structures of one box.

    ``mix`` (n_channels, E) weighs the E elements of the structures in every channel. Floors of the
    modulus are those (n_channels, n_wavelets, n_scales) of first-order maps, and the factors
    (n_wavelets,) by which a second wavelet changes them.
    """

    def __init__(self, plan, bank, grid, mix, floors, powers, n_paths):
        self.plan: tuple[ScaleNode, ...] = plan
        self.bank: Bank = bank
        self.arrays = bank.arrays
        self.grid: Grid = grid
        self.mix = mix
        self.floors, self.gains = floors
        self.powers: tuple[float, ...] = powers
        self.n_paths = n_paths
        self._known_filters: dict[tuple[int, int], Filters] = {}

    def _at(self, level: int) -> Arrays:
        """Return the backend for the maps of a level."""
        return self.arrays.at(self.grid.shapes[level])

    def _filters(self, scale: int, level: int) -> Filters:
        """Return the filters of a scale on the grid of a level."""
        if (scale, level) not in self._known_filters:
            self._known_filters[scale, level] = self.bank.on(scale, level, self.grid)
        return self._known_filters[scale, level]

    def _nodes(self) -> Iterator[ScaleNode]:
        """Yield the plan in pieces whose first-order maps may be kept."""
        for node in self.plan:
            shape = self.grid.shapes[node.scale]
            size = node.n_parents
            size = self._at(node.scale).kept_parents(shape, size)
            yield from node.split(size)

    def _density(self, densities: dict[int, Array], scale: int):
        """Return the coefficients of densities on the grid of a scale, as chunks take them."""
        if self.grid.has_boxes:
            return self._packed(densities[scale], scale)
        return self._packed(self._moved(densities[0], 0, scale), scale)

    def _packed(self, spectra, level: int):
        """Return half spectra on the grid of a level as chunks take them."""
        return self._at(level).pack(spectra, self.grid.shapes[level])

    def _unpacked(self, cotangents, level: int):
        """Apply the adjoint of ``_packed``."""
        return self._at(level).unpack(cotangents, self.grid.shapes[level])

    def _moved(self, spectra, fine: int, coarse: int):
        """Move half spectra on the grid of a scale to that of a coarser one."""
        shapes = self.grid.shapes[fine], self.grid.shapes[coarse]
        if self.grid.has_boxes and fine != coarse:
            return Transfer(self.arrays, self.grid, fine, coarse).values(spectra)
        if shapes[0] == shapes[1]:
            return spectra
        kept = self.arrays.empty((*spectra.shape[:-3], *half(shapes[1])), spectra=True)
        truncate(spectra, *shapes, kept)
        return kept

    def _move_back(self, total, cotangent, fine: int, coarse: int) -> None:
        """Add the adjoint of ``_moved`` of cotangents on the grid of the coarser scale."""
        if self.grid.has_boxes and fine != coarse:
            total += Transfer(self.arrays, self.grid, fine, coarse).vjp(cotangent)
        else:
            add_embedded(total, cotangent, self.grid.shapes[fine], self.grid.shapes[coarse])

    def _chunk(self, spectra, wavelet: int, scale: int, level: int, mix, floors: np.ndarray):
        filters = self._filters(scale, level)
        return self._at(level).chunk(spectra, filters, wavelet, mix, floors, self.powers)

    def _first_chunk(self, node: FirstNode, spectra, scale: int, shift: Shift = UNSHIFTED):
        """Return the first-order maps of what ``_channels`` returns."""
        mix = None if self._mixes_early(node, scale) else self._mix(node)
        spectra = self._shifted(spectra, scale, shift, "shifted")
        floors = self._first_floor(node, scale)
        return self._chunk(spectra, node.wavelet, scale, scale, mix, floors)

    def _shifted(self, spectra, scale: int, shift: Shift, name: str):
        """Return the coefficients of shifted maps, valid until the next call with this name.

        Those of cotangents, too: they are complex conjugates.
        """
        if shift == UNSHIFTED:
            return spectra
        shifted = self.arrays.buffer(name, spectra.shape, spectra=True)
        return self._at(scale).shifted(spectra, self.grid.shapes[scale], shift, shifted)

    def _mix(self, node: FirstNode):
        return self.arrays.asarray(np.ascontiguousarray(self.mix[node.channels]))

    def _mixes_early(self, node: FirstNode, scale: int) -> bool:
        """Whether the channels are mixed before the transforms."""
        return self._at(scale).mixes_early(len(node.channels), self.mix.shape[1])

    def _channels(self, node: FirstNode, elements, scale: int, name: str = "channels"):
        """Return what enters a node's transforms, given the elements' densities or tangents.

        Valid until the next call with this name.
        """
        if not self._mixes_early(node, scale):
            return elements
        channels = len(node.channels)
        shape = (len(elements), channels, *elements.shape[2:])
        mixed = self.arrays.buffer(name, shape, spectra=True)
        mix = self.arrays.asarray(self.mix[node.channels].astype(np.complex128))
        flat = elements.reshape(*elements.shape[:2], -1)
        self.arrays.xp.matmul(mix, flat, out=mixed.reshape(len(mixed), channels, -1))
        return mixed

    def _first_floor(self, node: FirstNode, scale: int) -> np.ndarray:
        return self.floors[node.channels, node.wavelet, scale]

    def _second_floors(self, scale_node: ScaleNode) -> np.ndarray:
        """Return the floors (n_wavelets, n_parents) of the maps that follow from a scale."""
        parents = [self._first_floor(node, scale_node.scale) for node in scale_node.first]
        return np.outer(self.gains, np.concatenate(parents))

    def _second_chunks(
        self, node: SecondNode, level: int, parents, floors: np.ndarray
    ) -> Iterator[tuple]:
        """Split a node's parents into chunks that stay in cache; slices are into its rows."""
        shape, l = self.grid.shapes[level], self.bank.wavelets[node.wavelet][1]
        voxels = len(parents) * (2 * l + 1) * math.prod(shape)
        per_parent = 2 * voxels * self.arrays.dtype.itemsize
        size = max(1, int(self.arrays.chunk_bytes // per_parent))
        for start in range(0, len(node.rows), size):
            part = slice(start, min(start + size, len(node.rows)))
            rows = part if node.all_rows else self.arrays.index(node.rows[part])
            spectra = parents[:, rows]
            chunk = self._chunk(spectra, node.wavelet, node.scale, level, None, floors[part])
            yield chunk, part, rows

    def _levels(self, scale_node: ScaleNode) -> Iterator[tuple[int, list[SecondNode]]]:
        """Yield the second-order nodes grid by grid: a path lives on the grid of max(j1, j2)."""
        for level in range(scale_node.scale, len(self.grid.shapes)):
            nodes = [n for n in scale_node.second if max(n.scale, scale_node.scale) == level]
            if nodes:
                yield level, nodes

    def _voxel(self, level: int) -> float:
        return self.grid.volumes[level] / math.prod(self.grid.shapes[level])

    def _integrate(
        self,
        table: Table,
        paths: np.ndarray,
        sums,
        floor: np.ndarray,
        level: int,
        weight: float = 1.0,
    ) -> None:
        """Take in the integrals of sigma^q over the box, without the floor's own."""
        volume = weight * self.grid.volumes[level]
        table.add(paths, sums, weight * self._voxel(level), floor, volume)

    def _sampling(self, node: FirstNode, scale: int) -> Sampling:
        """Return how the coefficients of a node's moduli are sampled."""
        degree = self.bank.wavelets[node.wavelet][1]
        return Sampling(self._at(scale), self.grid.shapes[scale], degree)

    def maps(
        self,
        densities: dict[int, Array],
        first: tuple[int, int, int],
        second: tuple[int, int] | None,
    ) -> np.ndarray:
        """Return the equivariant maps (2l + 1, grid) of one path of the first structure.

        ``first`` is (channel, wavelet, scale), ``second`` (wavelet, scale) of a second layer.
        """
        channel, wavelet, scale = first
        node = FirstNode(wavelet, np.array([channel]), np.array([-1]), slice(0, 1))
        spectra = self._channels(node, self._density(densities, scale), scale)
        chunk = self._first_chunk(node, spectra, scale)
        if second is not None:
            level = max(scale, second[1])
            floor = self._first_floor(node, scale)
            _, moduli = chunk.values(moduli=True)
            parents = self.arrays.empty((*moduli.shape[:2], *half(moduli.shape[2:])), spectra=True)
            self._at(scale).forward_rows(moduli, parents)
            parents /= math.prod(moduli.shape[2:])
            parents[:, :, 0, 0, 0] -= self.arrays.asarray(floor)
            parents = self._packed(self._moved(parents, scale, level), level)
            chunk = self._chunk(parents, *second, level, None, floor)
        return np.array(self.arrays.host(chunk.maps[0, 0]))
