"""The scattering cascade on plain arrays, with its forward (JVP) and reverse (VJP) sweeps.

The inputs are the Fourier coefficients of the elements' densities and the filters; the outputs
are the integrals of sigma^q over the box, one per path and power. Positions act through the
densities, strains through the filters and the volume, so that derivatives need no more than
tangents and cotangents of those two.

Conventions. Coefficients X_G make maps f(u) = sum_G X_G exp(iG.u): no factor in the inverse
transform. A cotangent of X is the complex conjugate of the full-lattice gradient, of which the
half spectrum is kept, so that the adjoint of the inverse transform is the plain forward transform.
The modulus is sigma = sqrt(u + floor^2) - floor with u = sum_m |f_m|^2: smooth, and zero where the
maps are zero.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from skwavelet.representations.voxel import planes
from skwavelet.representations.voxel.chunk import Chunk
from skwavelet.representations.voxel.fft import Array, half
from skwavelet.representations.voxel.filters import Bank
from skwavelet.representations.voxel.grid import Grid, add_embedded, truncate
from skwavelet.representations.voxel.plan import FirstNode, ScaleNode, SecondNode
from skwavelet.representations.voxel.powers import PowerSums
from skwavelet.representations.voxel.shifts import UNSHIFTED, Shift, samples, shift_spectra
from skwavelet.representations.voxel.transfer import Transfer

# First-order maps that are kept for the second order together.
GROUP_BYTES = 2**26


class Table:
    """Sums (S, rows, n_powers) of some paths after another, put together on the host at the end."""

    def __init__(self, arrays):
        self.arrays, self._parts = arrays, []

    def add(self, paths: np.ndarray, sums, factor: float, offset: np.ndarray | float = 0.0) -> None:
        """Add factor * sums - offset to the paths that are not -1."""
        self._parts.append((paths, sums, factor, offset))

    def collect(self, n_structures: int, n_paths: int, n_powers: int) -> np.ndarray:
        """Return the table (S, n_paths, n_powers) in float64, zero where nothing was added."""
        table = np.zeros((n_structures, n_paths, n_powers))
        if self._parts:
            sums = self.arrays.host(self.arrays.xp.concat([p[1] for p in self._parts], axis=1))
            start = 0
            for paths, _, factor, offset in self._parts:
                values = factor * sums[:, start : start + len(paths)] - offset
                start += len(paths)
                table[:, paths[paths >= 0]] += values[:, paths >= 0]
        return table


class Cascade:
    """The cascade of S structures of one box.

    Parameters
    ----------
    plan : tuple of ScaleNode
        What to compute.
    bank : Bank
        The wavelets.
    grid : Grid
        Box and grid shapes of the structures.
    mix : ndarray of shape (n_channels, E)
        Weights of the E elements of the structures in every channel.
    floors : tuple of ndarray
        Floors of the modulus: (n_channels, n_wavelets, n_scales) for first-order maps, and the
        factors (n_wavelets,) by which a second wavelet changes them.
    powers : PowerSums
    n_paths : int
        Rows of the result.
    """

    def __init__(self, plan, bank, grid, mix, floors, powers, n_paths):
        self.plan: tuple[ScaleNode, ...] = plan
        self.bank: Bank = bank
        self.arrays = bank.arrays
        self.grid: Grid = grid
        self.mix = mix
        self.floors, self.gains = floors
        self.powers: PowerSums = powers
        self.n_paths = n_paths

    # -- what all sweeps share ---------------------------------------------------------------

    def _nodes(self) -> Iterator[ScaleNode]:
        """Yield the plan in pieces whose first-order maps may be kept."""
        for node in self.plan:
            shape = self.grid.shapes[node.scale]
            size = node.n_parents
            if self.arrays.streams(shape):
                size = max(1, GROUP_BYTES // (self.arrays.dtype.itemsize * math.prod(shape)))
            yield from node.split(size)

    def _density(self, densities: dict[int, Array], scale: int):
        """Return the coefficients of densities on the grid of a scale."""
        return densities[scale] if self.grid.has_boxes else self._moved(densities[0], 0, scale)

    def _moved(self, spectra, fine: int, coarse: int):
        """Move half spectra on the grid of a scale to that of a coarser one."""
        shapes = self.grid.shapes[fine], self.grid.shapes[coarse]
        if self.grid.has_boxes and fine != coarse:
            return Transfer(self.arrays, self.grid, fine, coarse).apply(spectra)
        if shapes[0] == shapes[1]:
            return spectra
        kept = self.arrays.empty((*spectra.shape[:-3], *half(shapes[1])), spectra=True)
        truncate(spectra, *shapes, kept)
        return kept

    def _move_back(self, total, cotangent, fine: int, coarse: int) -> None:
        """Add the adjoint of ``_moved`` of cotangents on the grid of the coarser scale."""
        if self.grid.has_boxes and fine != coarse:
            total += Transfer(self.arrays, self.grid, fine, coarse).adjoint(cotangent)
        else:
            add_embedded(total, cotangent, self.grid.shapes[fine], self.grid.shapes[coarse])

    def _chunk(
        self, spectra, wavelet: int, scale: int, level: int, mix=None, shift: Shift = UNSHIFTED
    ):
        filters, shape = self.bank.on(scale, level, self.grid, shift), self.grid.shapes[level]
        psi = filters.spectrum(wavelet)
        if filters.large:
            return planes.PlaneChunk(self.arrays, spectra, psi, filters.phase(wavelet), shape)
        return Chunk(self.arrays, spectra, psi, shape, mix)

    def _first_chunk(self, node: FirstNode, spectra, scale: int, shift: Shift = UNSHIFTED):
        """Return the first-order maps of what ``_channels`` returns."""
        mix = None if self._mixes_early(node, scale) else self._mix(node)
        return self._chunk(spectra, node.wavelet, scale, scale, mix, shift)

    def _samples(self, node: FirstNode, is_parent: bool):
        degree = self.bank.wavelets[node.wavelet][1]
        return samples(degree, is_feature=bool((node.paths >= 0).any()), is_parent=is_parent)

    def _mix(self, node: FirstNode):
        return self.arrays.asarray(self.mix[node.channels])

    def _mixes_early(self, node: FirstNode, scale: int) -> bool:
        """Whether the channels are mixed before the transforms: no more of them than elements."""
        large = self.arrays.streams(self.grid.shapes[scale])
        return large or len(node.channels) <= self.mix.shape[1]

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

    def _second_chunks(self, node: SecondNode, level: int, parents) -> Iterator[tuple]:
        """Split a node's parents into chunks that stay in cache; slices are into its rows."""
        shape, l = self.grid.shapes[level], self.bank.wavelets[node.wavelet][1]
        voxels = len(parents) * (2 * l + 1) * math.prod(shape)
        per_parent = 2 * voxels * self.arrays.dtype.itemsize
        size = max(1, int(self.arrays.chunk_bytes // per_parent))
        for start in range(0, len(node.rows), size):
            part = slice(start, min(start + size, len(node.rows)))
            rows = part if node.all_rows else self.arrays.index(node.rows[part])
            yield self._chunk(parents[:, rows], node.wavelet, node.scale, level), part, rows

    def _levels(self, scale_node: ScaleNode) -> Iterator[tuple[int, list[SecondNode]]]:
        """Yield the second-order nodes grid by grid: a path lives on the grid of max(j1, j2)."""
        for level in range(scale_node.scale, len(self.grid.shapes)):
            nodes = [n for n in scale_node.second if max(n.scale, scale_node.scale) == level]
            if nodes:
                yield level, nodes

    def _raised(self, u, floor: np.ndarray):
        """Add the squared floors, so that all maps are positive."""
        u += self.arrays.asarray(floor**2)[:, None, None, None]
        return u

    def _voxel(self, level: int) -> float:
        return self.grid.volumes[level] / math.prod(self.grid.shapes[level])

    def _integrate(
        self, table: Table, paths: np.ndarray, u, floor: np.ndarray, level: int, weight: float = 1.0
    ) -> None:
        """Take in the integrals of sigma^q over the box, without the floor's own."""
        constant = floor[:, None] ** np.array(self.powers.powers)
        constant *= weight * self.grid.volumes[level]
        table.add(paths, self.powers.sums(u), weight * self._voxel(level), constant)

    def _write_spectra(self, maps, spectra, floor: np.ndarray | None = None) -> None:
        """Write the Fourier coefficients of maps (S, B, grid), or of the modulus if of u."""
        shape, arrays = maps.shape[2:], self.arrays
        if arrays.streams(shape):
            for b in range(maps.shape[1]):
                function = np.positive if floor is None else np.sqrt
                planes.spectra_of(arrays, maps[0, b], function, spectra[0, b])
        else:
            arrays.forward_rows(maps, spectra, root=floor is not None)
        spectra *= 1 / math.prod(shape)
        if floor is not None:
            spectra[:, :, 0, 0, 0] -= arrays.asarray(floor)

    def _parent_maps(self, cotangent, shape: tuple[int, int, int]):
        """Apply the adjoint of ``_write_spectra``: maps from cotangents of coefficients."""
        maps = self.arrays.empty((*cotangent.shape[:2], *shape))
        if self.arrays.streams(shape):
            for b in range(maps.shape[1]):
                planes.maps_of(self.arrays, cotangent[0, b], maps[0, b])
        else:
            self.arrays.inverse_rows(cotangent, maps)
        maps *= 1 / math.prod(shape)
        return maps

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
            u = self._raised(chunk.squared_modulus(), floor)
            parents = self.arrays.empty((*u.shape[:2], *half(u.shape[2:])), spectra=True)
            self._write_spectra(u, parents, floor)
            parents = self._moved(parents, scale, level)
            chunk = self._chunk(parents, second[0], second[1], level)
        return np.array(self.arrays.host(chunk.maps[0, 0]))

    # -- forward, with tangents --------------------------------------------------------------

    def forward(
        self,
        densities: dict[int, Array],
        tangents: list[dict[int, Array]] | None = None,
        strains: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Compute the integrals, and their derivatives along directions.

        Parameters
        ----------
        densities : dict of arrays of shape (S, E, half grid)
            Coefficients rho^(G) / V of the elements' densities, by scale: on the base grid only
            where all scales have one box.
        tangents : sequence of D such dicts, optional
            Their derivatives along every direction.
        strains : ndarray of shape (D, S, 3, 3), optional
            Strain of the box along every direction; no strain if None.

        Returns
        -------
        integrals : ndarray of shape (S, n_paths, n_powers)
        derivatives : ndarray of shape (D, S, n_paths, n_powers)
        """
        tangents = [] if tangents is None else tangents
        table, derivatives = Table(self.arrays), [Table(self.arrays) for _ in tangents]
        along: Any = [None] * len(tangents) if strains is None else strains
        for scale_node in self._nodes():
            scale = scale_node.scale
            X = self._density(densities, scale)
            dX = [self._density(t, scale) for t in tangents]
            parents, moving = self._forward_first(scale_node, X, dX, along, table, derivatives)
            floors = self._second_floors(scale_node)
            for level, nodes in self._levels(scale_node):
                Y = self._moved(parents, scale, level)
                dY = [self._moved(t, scale, level) for t in moving]
                for node in nodes:
                    self._forward_second(node, level, Y, dY, along, floors, table, derivatives)
        count = len(next(iter(densities.values())))
        shape = count, self.n_paths, len(self.powers.powers)
        self.arrays.release()
        integrals = table.collect(*shape)
        moved = np.zeros((len(tangents), *shape))
        for direction, (derivative, strain) in enumerate(zip(derivatives, along, strict=True)):
            moved[direction] = derivative.collect(*shape)
            if strain is not None:
                moved[direction] += np.trace(strain, axis1=1, axis2=2)[:, None, None] * integrals
        return integrals, moved

    def _forward_first(self, scale_node, X, dX, strains, table, derivatives):
        scale, is_parent = scale_node.scale, bool(scale_node.second)
        shape = (len(X), scale_node.n_parents if is_parent else 0, *X.shape[2:])
        parents = self.arrays.buffer("parents", shape, spectra=True)
        moving = [self.arrays.empty(shape, spectra=True) for _ in dX]
        for node in scale_node.first:
            floor, spectra = self._first_floor(node, scale), self._channels(node, X, scale)
            for sample in self._samples(node, is_parent):
                bank = self.bank.on(scale, scale, self.grid, sample.shift)
                chunk = self._first_chunk(node, spectra, scale, sample.shift)
                u = self._raised(chunk.squared_modulus(), floor)
                if sample.of_sums:
                    self._integrate(table, node.paths, u, floor, scale, sample.of_sums)
                if not dX:
                    del chunk  # Its filters and spectra make room for the parents.
                self._write_parents(u, parents[:, node.rows], sample, floor)
                slopes = self.powers.slopes(u) if dX else []
                for direction, (tangent, strain) in enumerate(zip(dX, strains, strict=True)):
                    psi_tangent = None if strain is None else bank.strained(node.wavelet, strain)
                    moved = self._channels(node, tangent, scale, "moved channels")
                    du = chunk.push(moved, psi_tangent)
                    if sample.of_sums:
                        pushed = self.powers.pushed(slopes, du)
                        factor = sample.of_sums * self._voxel(scale)
                        derivatives[direction].add(node.paths, pushed, factor)
                    if sample.of_parents:
                        du /= 2 * self.powers.modulus(u)
                        self._write_parents(du, moving[direction][:, node.rows], sample)
        return parents, moving

    def _write_parents(self, maps, parents, sample, floor: np.ndarray | None = None) -> None:
        """Add the coefficients of one sample to those of the parents, or begin with them."""
        if not sample.of_parents:
            return
        if sample.of_parents == 1:
            self._write_spectra(maps, parents, floor)
            return
        spectra = self.arrays.buffer("sample", parents.shape, spectra=True)
        self._write_spectra(maps, spectra, floor)
        shift_spectra(self.arrays, spectra, maps.shape[2:], sample.shift.back)
        spectra *= sample.of_parents
        if sample.shift == UNSHIFTED:
            parents[...] = spectra
        else:
            parents += spectra

    def _forward_second(self, node, level, Y, dY, strains, floors, table, derivatives) -> None:
        bank = self.bank.on(node.scale, level, self.grid)
        floors = floors[node.wavelet, node.rows]
        psi_tangents = [
            None if strain is None else bank.strained(node.wavelet, strain) for strain in strains
        ]
        for chunk, part, rows in self._second_chunks(node, level, Y):
            u = self._raised(chunk.squared_modulus(), floors[part])
            self._integrate(table, node.paths[part], u, floors[part], level)
            slopes = self.powers.slopes(u) if dY else []
            for direction, psi_tangent in enumerate(psi_tangents):
                du = chunk.push(dY[direction][:, rows], psi_tangent)
                pushed = self.powers.pushed(slopes, du)
                derivatives[direction].add(node.paths[part], pushed, self._voxel(level))

    # -- reverse -----------------------------------------------------------------------------

    def reverse(
        self, densities: dict[int, Array], cotangents: np.ndarray
    ) -> tuple[np.ndarray, dict[int, Array], np.ndarray]:
        """Compute the integrals and the gradients of sum(cotangents * integrals).

        Parameters
        ----------
        densities : dict of arrays of shape (S, E, half grid)
            As for ``forward``.
        cotangents : ndarray of shape (S, n_paths, n_powers)

        Returns
        -------
        integrals : ndarray of shape (S, n_paths, n_powers)
        gradients : dict of arrays of shape (S, E, half grid)
            Cotangents of ``densities``: d / d density_G over the full lattice.
        strain_gradient : ndarray of shape (S, 3, 3)
            At fixed ``densities``: through the filters and the volume of the integrals.
        """
        table = Table(self.arrays)
        gradients = {
            scale: self.arrays.zeros(density.shape, spectra=True)
            for scale, density in densities.items()
        }
        strain_gradient = np.zeros((len(cotangents), 3, 3))
        for scale_node in self._nodes():
            scale = scale_node.scale
            X = self._density(densities, scale)
            parents, _ = self._forward_first(scale_node, X, [], [], table, [])
            above = self.arrays.zeros(parents.shape, spectra=True)
            floors = self._second_floors(scale_node)
            for level, nodes in self._levels(scale_node):
                Y = self._moved(parents, scale, level)
                gradient = self.arrays.zeros(Y.shape, spectra=True)
                for node in nodes:
                    strain_gradient += self._reverse_second(
                        node, level, Y, cotangents, floors, table, gradient
                    )
                self._move_back(above, gradient, scale, level)
            gradient = self.arrays.zeros(X.shape, spectra=True)
            for parent in scale_node.first:
                strain_gradient += self._reverse_first(
                    scale, parent, X, cotangents, above[:, parent.rows], gradient
                )
            origin = scale if self.grid.has_boxes else 0
            self._move_back(gradients[origin], gradient, origin, scale)
        self.arrays.release()
        integrals = table.collect(*cotangents.shape)
        strain_gradient += np.eye(3) * (cotangents * integrals).sum(axis=(1, 2))[:, None, None]
        return integrals, gradients, strain_gradient

    def _reverse_second(self, node, level, Y, cotangents, floors, table, gradient) -> np.ndarray:
        floors, filter_gradient = floors[node.wavelet, node.rows], 0
        for chunk, part, rows in self._second_chunks(node, level, Y):
            u = self._raised(chunk.squared_modulus(), floors[part])
            self._integrate(table, node.paths[part], u, floors[part], level)
            slope = self.powers.slope(u, self._voxel(level) * cotangents[:, node.paths[part]])
            pulled, filters = chunk.pull(slope)
            gradient[:, rows] += pulled
            filter_gradient = filters + filter_gradient
        bank = self.bank.on(node.scale, level, self.grid)
        return bank.strain_gradient(node.wavelet, filter_gradient)

    def _reverse_first(self, scale, node, X, cotangents, above, gradient) -> np.ndarray:
        spectra, floor = self._channels(node, X, scale), self._first_floor(node, scale)
        weights = cotangents[:, node.paths] * (node.paths >= 0)[:, None]
        total: Any = 0
        strain_gradient = np.zeros((len(X), 3, 3))
        for sample in self._samples(node, is_parent=bool(above.shape[1])):
            chunk = self._first_chunk(node, spectra, scale, sample.shift)
            u = self._raised(chunk.squared_modulus(), floor)
            slope = self.powers.slope(u, sample.of_sums * self._voxel(scale) * weights)
            if sample.of_parents:
                through = self._sample_maps(above, self.grid.shapes[scale], sample)
                through /= 2 * self.powers.modulus(u)
                slope += through
            pulled, filters = chunk.pull(slope)
            total = pulled + total
            bank = self.bank.on(scale, scale, self.grid, sample.shift)
            strain_gradient += bank.strain_gradient(node.wavelet, filters)
        if self._mixes_early(node, scale):
            mix = self.arrays.asarray(self.mix[node.channels].T.astype(np.complex128))
            flat = total.reshape(*total.shape[:2], -1)
            total = self.arrays.xp.matmul(mix, flat).reshape(gradient.shape)
        gradient += total
        return strain_gradient

    def _sample_maps(self, cotangent, shape: tuple[int, int, int], sample):
        """Apply the adjoint of ``_write_parents``."""
        if sample.of_parents != 1:
            cotangent = cotangent * sample.of_parents
            shift_spectra(self.arrays, cotangent, shape, sample.shift.back)
        return self._parent_maps(cotangent, shape)
