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

from collections.abc import Iterator
from typing import Any

import numpy as np

from skwavelet.voxel.chunk import Chunk
from skwavelet.voxel.fft import half, workspace
from skwavelet.voxel.filters import Bank
from skwavelet.voxel.grid import Grid, add_embedded, truncate
from skwavelet.voxel.plan import FirstNode, ScaleNode, SecondNode
from skwavelet.voxel.powers import PowerSums

# Maps that are transformed together stay in cache.
CHUNK_BYTES = 2**22


class Cascade:
    """The cascade of one structure.

    Parameters
    ----------
    plan : tuple of ScaleNode
        What to compute.
    bank : Bank
        The wavelets.
    grid : Grid
        Box and grid shapes of the structure.
    mix : ndarray of shape (n_channels, E)
        Weights of the E elements of the structure in every channel.
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
        self.grid: Grid = grid
        self.mix = mix.astype(bank.dtype)
        self.floors, self.gains = floors
        self.powers: PowerSums = powers
        self.n_paths = n_paths

    # -- what all sweeps share ---------------------------------------------------------------

    def _first_chunk(self, node: FirstNode, density: np.ndarray, scale: int) -> Chunk:
        psi = self.bank.on(scale, scale, self.grid).spectra[node.wavelet]
        shape = self.grid.shapes[scale]
        if self._mixes_early(node):
            return Chunk(self._channels(node, density), psi, shape)
        return Chunk(density, psi, shape, self.mix[node.channels])

    def _mixes_early(self, node: FirstNode) -> bool:
        """Whether the channels are mixed before the transforms: no more of them than elements."""
        return len(node.channels) <= self.mix.shape[1]

    def _channels(self, node: FirstNode, elements: np.ndarray) -> np.ndarray:
        """Return what enters a node's transforms, given the elements' densities or tangents."""
        if not self._mixes_early(node):
            return elements
        return np.tensordot(self.mix[node.channels], elements, axes=1)

    def _first_floor(self, node: FirstNode, scale: int) -> np.ndarray:
        return self.floors[node.channels, node.wavelet, scale].astype(self.bank.dtype)

    def _second_floors(self, scale_node: ScaleNode) -> np.ndarray:
        """Return the floors (n_wavelets, n_parents) of the maps that follow from a scale."""
        parents = [self._first_floor(node, scale_node.scale) for node in scale_node.first]
        return np.outer(self.gains, np.concatenate(parents)).astype(self.bank.dtype)

    def _second_chunks(
        self, node: SecondNode, level: int, parents: np.ndarray
    ) -> Iterator[tuple[Chunk, slice]]:
        """Split a node's parents into chunks that stay in cache; slices are into its rows."""
        shape = self.grid.shapes[level]
        psi = self.bank.on(node.scale, level, self.grid).spectra[node.wavelet]
        per_parent = 2 * len(psi) * np.prod(shape) * self.bank.dtype.itemsize
        size = max(1, int(CHUNK_BYTES // per_parent))
        for start in range(0, len(node.rows), size):
            part = slice(start, min(start + size, len(node.rows)))
            rows = part if node.all_rows else node.rows[part]
            yield Chunk(parents[rows], psi, shape), part

    def _levels(self, scale_node: ScaleNode) -> Iterator[tuple[int, list[SecondNode]]]:
        """Yield the second-order nodes grid by grid: a path lives on the grid of max(j1, j2)."""
        for level in range(scale_node.scale, len(self.grid.shapes)):
            nodes = [n for n in scale_node.second if max(n.scale, scale_node.scale) == level]
            if nodes:
                yield level, nodes

    def _roots(self, u: np.ndarray, floor: np.ndarray) -> dict[str, np.ndarray]:
        u += (floor**2)[:, None, None, None]
        return self.powers.roots(u)

    def _integrals(self, roots, floor: np.ndarray) -> np.ndarray:
        """Return the integrals (B, n_powers) of sigma^q over the box, without the floor's own."""
        voxel = self.grid.volume / roots["u"][0].size
        constant = self.grid.volume * floor.astype(np.float64)[:, None] ** self.powers.powers
        return voxel * self.powers.sums(roots) - constant

    def _parent_spectra(self, modulus: np.ndarray, floor: np.ndarray | None = None) -> np.ndarray:
        """Return the Fourier coefficients of maps (B, grid)."""
        spectra = np.empty(
            (len(modulus), *half(modulus.shape[1:])),
            dtype=np.result_type(self.bank.dtype, np.complex64),
        )
        work = workspace(1, modulus.shape[1:], self.bank.dtype, slot=2)
        for row, values in zip(spectra, modulus, strict=True):
            work.maps[0] = values
            np.multiply(work.forward()[0], 1 / values.size, out=row)
        if floor is not None:
            spectra[:, 0, 0, 0] -= floor
        return spectra

    def _parent_maps(self, cotangent: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
        """Apply the adjoint of ``_parent_spectra``: maps from cotangents of coefficients."""
        maps = np.empty((len(cotangent), *shape), dtype=self.bank.dtype)
        work = workspace(1, shape, self.bank.dtype, slot=2)
        for row, values in zip(maps, cotangent, strict=True):
            np.conjugate(values, out=work.spectra[0])
            np.multiply(work.inverse()[0], 1 / row.size, out=row)
        return maps

    def maps(
        self, density: np.ndarray, first: tuple[int, int, int], second: tuple[int, int] | None
    ) -> np.ndarray:
        """Return the equivariant maps (2l + 1, grid) of one path.

        ``first`` is (channel, wavelet, scale), ``second`` (wavelet, scale) of a second layer.
        """
        channel, wavelet, scale = first
        node = FirstNode(wavelet, np.array([channel]), np.array([-1]), slice(0, 1))
        density = truncate(density, self.grid.shapes[0], self.grid.shapes[scale])
        chunk, level = self._first_chunk(node, density, scale), scale
        if second is not None:
            level = max(scale, second[1])
            floor = self._first_floor(node, scale)
            roots = self._roots(chunk.squared_modulus(), floor)
            parents = self._parent_spectra(roots["r"], floor)
            parents = truncate(parents, self.grid.shapes[scale], self.grid.shapes[level])
            psi = self.bank.on(second[1], level, self.grid).spectra[second[0]]
            chunk = Chunk(parents, psi, self.grid.shapes[level])
        return np.concatenate([maps[0].copy() for _, _, maps in chunk.blocks()])

    # -- forward, with tangents --------------------------------------------------------------

    def forward(
        self,
        density: np.ndarray,
        tangents: np.ndarray | None = None,
        strains: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Compute the integrals, and their derivatives along directions.

        Parameters
        ----------
        density : ndarray of shape (E, half grid)
            Coefficients rho^(G) / V of the elements' densities on the base grid.
        tangents : ndarray of shape (D, E, half grid), optional
            Their derivatives along every direction.
        strains : ndarray of shape (D, 3, 3), optional
            Strain of the box along every direction; no strain if None.

        Returns
        -------
        integrals : ndarray of shape (n_paths, n_powers)
        derivatives : ndarray of shape (D, n_paths, n_powers)
        """
        n_directions = 0 if tangents is None else len(tangents)
        n_powers = len(self.powers.powers)
        integrals = np.zeros((self.n_paths, n_powers))
        derivatives = np.zeros((n_directions, self.n_paths, n_powers))
        along: Any = [None] * n_directions if strains is None else strains
        for scale_node in self.plan:
            scale = scale_node.scale
            base, shape = self.grid.shapes[0], self.grid.shapes[scale]
            X = truncate(density, base, shape)
            dX = [truncate(t, base, shape) for t in tangents] if tangents is not None else []
            parents, parent_tangents = self._forward_first(
                scale_node, X, dX, along, integrals, derivatives
            )
            floors = self._second_floors(scale_node)
            for level, nodes in self._levels(scale_node):
                Y = truncate(parents, shape, self.grid.shapes[level])
                dY = [truncate(t, shape, self.grid.shapes[level]) for t in parent_tangents]
                for node in nodes:
                    self._forward_second(node, level, Y, dY, along, floors, integrals, derivatives)
        for direction, strain in enumerate(along):
            if strain is not None:
                derivatives[direction] += np.trace(strain) * integrals
        return integrals, derivatives

    def _forward_first(self, scale_node, X, dX, strains, integrals, derivatives):
        scale = scale_node.scale
        bank = self.bank.on(scale, scale, self.grid)
        shape = (scale_node.n_parents if scale_node.second else 0, *X.shape[1:])
        parents = np.empty(shape, dtype=X.dtype)
        parent_tangents = [np.empty(shape, dtype=X.dtype) for _ in dX]
        for node in scale_node.first:
            chunk = self._first_chunk(node, X, scale)
            floor = self._first_floor(node, scale)
            roots = self._roots(chunk.squared_modulus(), floor)
            output = node.paths >= 0
            integrals[node.paths[output]] = self._integrals(roots, floor)[output]
            if scale_node.second:
                parents[node.rows] = self._parent_spectra(roots["r"], floor)
            slopes = self.powers.slopes(roots) if len(dX) else []
            for direction, (tangent, strain) in enumerate(zip(dX, strains, strict=True)):
                psi_tangent = None if strain is None else bank.strained(node.wavelet, strain)
                du = chunk.push(self._channels(node, tangent), psi_tangent)
                derivative = self._pushed(slopes, du)
                derivatives[direction, node.paths[output]] = derivative[output]
                if scale_node.second:
                    du /= 2 * roots["r"]
                    parent_tangents[direction][node.rows] = self._parent_spectra(du)
        return parents, parent_tangents

    def _forward_second(self, node, level, Y, dY, strains, floors, integrals, derivatives) -> None:
        bank = self.bank.on(node.scale, level, self.grid)
        floors = floors[node.wavelet, node.rows]
        psi_tangents = [
            None if strain is None else bank.strained(node.wavelet, strain) for strain in strains
        ]
        for chunk, part in self._second_chunks(node, level, Y):
            roots = self._roots(chunk.squared_modulus(), floors[part])
            integrals[node.paths[part]] = self._integrals(roots, floors[part])
            rows = part if node.all_rows else node.rows[part]
            slopes = self.powers.slopes(roots) if len(dY) else []
            for direction, psi_tangent in enumerate(psi_tangents):
                du = chunk.push(dY[direction][rows], psi_tangent)
                derivatives[direction, node.paths[part]] = self._pushed(slopes, du)

    def _pushed(self, slopes: list[np.ndarray], du: np.ndarray) -> np.ndarray:
        """Return the derivatives (B, n_powers) of the integrals along du."""
        rows = (*du.shape[:2], -1)
        sums = [np.vecdot(s.reshape(rows), du.reshape(rows)).sum(1, np.float64) for s in slopes]
        return np.stack(sums, axis=-1) * (self.grid.volume / du[0].size)

    # -- reverse -----------------------------------------------------------------------------

    def reverse(
        self, density: np.ndarray, cotangents: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Compute the integrals and the gradient of sum(cotangents * integrals).

        Parameters
        ----------
        density : ndarray of shape (E, half grid)
            Coefficients rho^(G) / V of the elements' densities on the base grid.
        cotangents : ndarray of shape (n_paths, n_powers)

        Returns
        -------
        integrals : ndarray of shape (n_paths, n_powers)
        density_gradient : ndarray of shape (E, half grid)
            Cotangent of ``density``: d / d density_G over the full lattice.
        strain_gradient : ndarray of shape (3, 3)
            At fixed ``density``: through the filters and the volume of the integrals.
        """
        integrals = np.zeros((self.n_paths, len(self.powers.powers)))
        density_gradient = np.zeros_like(density)
        filter_gradients: dict[tuple[int, int, int], np.ndarray] = {}
        for scale_node in self.plan:
            scale = scale_node.scale
            base, shape = self.grid.shapes[0], self.grid.shapes[scale]
            X = truncate(density, base, shape)
            parents, _ = self._forward_first(scale_node, X, [], [], integrals, None)
            parent_gradients = np.zeros_like(parents)
            floors = self._second_floors(scale_node)
            for level, nodes in self._levels(scale_node):
                Y = truncate(parents, shape, self.grid.shapes[level])
                gradient = np.zeros_like(Y)
                for node in nodes:
                    self._reverse_second(
                        node, level, Y, cotangents, floors, integrals, gradient, filter_gradients
                    )
                add_embedded(parent_gradients, gradient, shape, self.grid.shapes[level])
            gradient = np.zeros_like(X)
            for parent in scale_node.first:
                gradient += self._reverse_first(
                    scale_node,
                    parent,
                    X,
                    cotangents,
                    parent_gradients[parent.rows],
                    filter_gradients,
                )
            add_embedded(density_gradient, gradient, base, shape)
        strain_gradient = np.eye(3) * (cotangents * integrals).sum()
        for (wavelet, scale, level), gradient in filter_gradients.items():
            bank = self.bank.on(scale, level, self.grid)
            strain_gradient += bank.strain_gradient(wavelet, gradient)
        return integrals, density_gradient, strain_gradient

    def _reverse_second(
        self, node, level, Y, cotangents, floors, integrals, gradient, filter_gradients
    ) -> None:
        floors = floors[node.wavelet, node.rows]
        for chunk, part in self._second_chunks(node, level, Y):
            roots = self._roots(chunk.squared_modulus(), floors[part])
            integrals[node.paths[part]] = self._integrals(roots, floors[part])
            voxel = self.grid.volume / roots["u"][0].size
            slope = self.powers.slope(roots, voxel * cotangents[node.paths[part]])
            filter_gradient = filter_gradients.setdefault(
                (node.wavelet, node.scale, level), np.zeros_like(chunk.psi)
            )
            gradient[node.rows[part]] += chunk.pull(slope, filter_gradient)

    def _reverse_first(
        self, scale_node, node, X, cotangents, parent_gradients, filter_gradients
    ) -> np.ndarray:
        scale = scale_node.scale
        chunk = self._first_chunk(node, X, scale)
        roots = self._roots(chunk.squared_modulus(), self._first_floor(node, scale))
        voxel = self.grid.volume / roots["u"][0].size
        weights = voxel * cotangents[node.paths] * (node.paths >= 0)[:, None]
        slope = self.powers.slope(roots, weights)
        if len(parent_gradients):
            above = self._parent_maps(parent_gradients, self.grid.shapes[scale])
            above /= 2 * roots["r"]
            slope += above
        filter_gradient = filter_gradients.setdefault(
            (node.wavelet, scale, scale), np.zeros_like(chunk.psi)
        )
        pulled = chunk.pull(slope, filter_gradient)
        if not self._mixes_early(node):
            return pulled
        return np.tensordot(self.mix[node.channels].T, pulled, axes=1)
