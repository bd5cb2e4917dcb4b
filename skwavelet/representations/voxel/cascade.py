"""The scattering cascade on plain arrays, with its derivatives (jvp, vjp).

The inputs are the Fourier coefficients of the elements' densities and the filters; the outputs
are the integrals of sigma^q over the box, one per path and power. Positions act through the
densities, strains through the filters and the volume, so that derivatives need no more than
motions and cotangents of those two.

Conventions. Coefficients X_G make maps f(u) = sum_G X_G exp(iG.u): no factor in the inverse
transform. A cotangent of X is the complex conjugate of the full-lattice gradient, of which the
half spectrum is kept, so that the adjoint of the inverse transform is the plain forward transform.
The modulus is sigma = sqrt(u + floor^2) - floor with u = sum_m |f_m|^2: smooth, and zero where the
maps are zero.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from skwavelet.representations.voxel.arrays import Array, half
from skwavelet.representations.voxel.steps import Steps, Table


class Cascade(Steps):
    """The cascade and its derivatives, of S structures of one box; see ``Steps``."""

    def values(self, densities: dict[int, Array]) -> np.ndarray:
        """Compute the integrals (S, n_paths, n_powers); see ``jvp``."""
        return self.jvp(densities, [])[0]

    def jvp(
        self,
        densities: dict[int, Array],
        motions: list[dict[int, Array]],
        strains: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Compute the integrals, and their derivatives along directions.

        Densities are the coefficients rho^(G) / V of the elements' densities (S, E, half grid) by
        scale, on the base grid only where all scales have one box; D motions are their derivatives
        along every direction, and strains (D, S, 3, 3) those of the box, none if None. Returns
        integrals (S, n_paths, n_powers) and derivatives (D, S, n_paths, n_powers).
        """
        table, derivatives = self._table(), [self._table() for _ in motions]
        along: Any = [None] * len(motions) if strains is None else strains
        for scale_node in self._nodes():
            scale = scale_node.scale
            X = self._density(densities, scale)
            dX = [self._density(t, scale) for t in motions]
            parents, moving = self._first(scale_node, X, dX, along, table, derivatives)
            floors = self._second_floors(scale_node)
            for level, nodes in self._levels(scale_node):
                Y = self._packed(self._moved(parents, scale, level), level)
                dY = [self._packed(self._moved(t, scale, level), level) for t in moving]
                for node in nodes:
                    self._second(node, level, Y, dY, along, floors, table, derivatives)
        count = len(next(iter(densities.values())))
        shape = count, self.n_paths
        self.arrays.release()
        integrals = table.collect(*shape)
        moved = np.zeros((len(motions), *integrals.shape))
        for direction, (derivative, strain) in enumerate(zip(derivatives, along, strict=True)):
            moved[direction] = derivative.collect(*shape)
            if strain is not None:
                moved[direction] += np.trace(strain, axis1=1, axis2=2)[:, None, None] * integrals
        return integrals, moved

    def _table(self) -> Table:
        return Table(self.arrays, self.powers)

    def _first(self, scale_node, X, dX, strains, table, derivatives):
        scale, is_parent = scale_node.scale, bool(scale_node.second)
        grid = half(self.grid.shapes[scale])
        shape = (len(X), scale_node.n_parents if is_parent else 0, *grid)
        parents = self.arrays.buffer("parents", shape, spectra=True)
        moving = [self.arrays.empty(shape, spectra=True) for _ in dX]
        channels: Any = None
        for node in scale_node.first:
            floor = self._first_floor(node, scale)
            if not np.array_equal(channels, node.channels):
                channels, spectra = node.channels, self._channels(node, X, scale)
            bank, sampling = self._filters(scale, scale), self._sampling(node, scale)
            for shift in sampling.shifts:
                chunk = self._first_chunk(node, spectra, scale, shift)
                sums, moduli = chunk.values(moduli=is_parent)
                self._integrate(table, node.paths, sums, floor, scale, sampling.share)
                if is_parent:
                    sampling.add(moduli, shift, parents[:, node.rows], "means")
                for direction, (motion, strain) in enumerate(zip(dX, strains, strict=True)):
                    psi_motion = None if strain is None else bank.jvp(node.wavelet, strain)
                    moved = self._channels(node, motion, scale, "moved channels")
                    moved = self._shifted(moved, scale, shift, "moved shifted")
                    along, moduli = chunk.jvp(moved, psi_motion, moduli=is_parent)
                    factor = sampling.share * self._voxel(scale)
                    derivatives[direction].add(node.paths, along, factor)
                    if is_parent:
                        rows = moving[direction][:, node.rows]
                        sampling.add(moduli, shift, rows, f"means {direction}")
            if is_parent:
                parents[:, node.rows, 0, 0, 0] -= self.arrays.asarray(floor)
        return parents, moving

    def _second(self, node, level, Y, dY, strains, floors, table, derivatives) -> None:
        bank = self._filters(node.scale, level)
        floors = floors[node.wavelet, node.rows]
        psi_motions = [
            None if strain is None else bank.jvp(node.wavelet, strain) for strain in strains
        ]
        for chunk, part, rows in self._second_chunks(node, level, Y, floors):
            sums, _ = chunk.values(moduli=False)
            self._integrate(table, node.paths[part], sums, floors[part], level)
            for direction, psi_motion in enumerate(psi_motions):
                along, _ = chunk.jvp(dY[direction][:, rows], psi_motion, moduli=False)
                derivatives[direction].add(node.paths[part], along, self._voxel(level))

    # -- vjp -----------------------------------------------------------------------------

    def vjp(
        self, densities: dict[int, Array], cotangents: np.ndarray
    ) -> tuple[np.ndarray, dict[int, Array], np.ndarray]:
        """Compute the integrals and the gradients of sum(cotangents * integrals).

        Both have the shape (S, n_paths, n_powers). The gradients are comotions of the densities,
        see ``jvp``: d / d density_G over the full lattice; and those of the strain (S, 3, 3) at
        fixed densities, through the filters and the volume of the integrals.
        """
        table = self._table()
        gradients = {
            scale: self.arrays.zeros(density.shape, spectra=True)
            for scale, density in densities.items()
        }
        strain_gradient = np.zeros((len(cotangents), 3, 3))
        for scale_node in self._nodes():
            scale = scale_node.scale
            X = self._density(densities, scale)
            parents, _ = self._first(scale_node, X, [], [], table, [])
            above = self.arrays.zeros(parents.shape, spectra=True)
            floors = self._second_floors(scale_node)
            for level, nodes in self._levels(scale_node):
                Y = self._packed(self._moved(parents, scale, level), level)
                gradient = self.arrays.zeros(Y.shape, spectra=True)
                for node in nodes:
                    strain_gradient += self._second_vjp(
                        node, level, Y, cotangents, floors, table, gradient
                    )
                self._move_back(above, self._unpacked(gradient, level), scale, level)
            gradient = self.arrays.zeros(X.shape, spectra=True)
            for parent in scale_node.first:
                strain_gradient += self._first_vjp(
                    scale, parent, X, cotangents, above[:, parent.rows], gradient
                )
            origin = scale if self.grid.has_boxes else 0
            self._move_back(gradients[origin], self._unpacked(gradient, scale), origin, scale)
        self.arrays.release()
        integrals = table.collect(*cotangents.shape[:2])
        strain_gradient += np.eye(3) * (cotangents * integrals).sum(axis=(1, 2))[:, None, None]
        return integrals, gradients, strain_gradient

    def _second_vjp(self, node, level, Y, cotangents, floors, table, gradient) -> np.ndarray:
        floors, filter_gradient = floors[node.wavelet, node.rows], 0
        for chunk, part, rows in self._second_chunks(node, level, Y, floors):
            weights = self._voxel(level) * cotangents[:, node.paths[part]]
            sums, pulled, filters = chunk.vjp(weights, None)
            self._integrate(table, node.paths[part], sums, floors[part], level)
            gradient[:, rows] += pulled
            filter_gradient = filters + filter_gradient
        bank = self._filters(node.scale, level)
        return bank.vjp(node.wavelet, filter_gradient)

    def _first_vjp(self, scale, node, X, cotangents, above, gradient) -> np.ndarray:
        spectra = self._channels(node, X, scale)
        weights = cotangents[:, node.paths] * (node.paths >= 0)[:, None]
        total: Any = 0
        of_filters: Any = 0
        sampling = self._sampling(node, scale)
        weights = sampling.share * self._voxel(scale) * weights
        means = sampling.means(above) if above.shape[1] else None
        for shift in sampling.shifts:
            chunk = self._first_chunk(node, spectra, scale, shift)
            through = None if means is None else sampling.maps(means, shift)
            _, pulled, filters = chunk.vjp(weights, through)
            total = self._shifted(pulled, scale, shift, "pulled shifted") + total
            of_filters = filters + of_filters
        strain_gradient = self._filters(scale, scale).vjp(node.wavelet, of_filters)
        if self._mixes_early(node, scale):
            mix = self.arrays.asarray(self.mix[node.channels].T.astype(np.complex128))
            flat = total.reshape(*total.shape[:2], -1)
            total = self.arrays.xp.matmul(mix, flat).reshape(gradient.shape)
        gradient += total
        return strain_gradient
