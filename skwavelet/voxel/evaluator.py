"""Features of one structure and their derivatives: density, cascade, normalization."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import psutil

from skwavelet.boxes import box_strain, box_strain_transpose
from skwavelet.normalization import Normalization, lower_paths, zero_order
from skwavelet.structures import Structure
from skwavelet.voxel.cascade import Cascade
from skwavelet.voxel.chunk import KEEP_BYTES
from skwavelet.voxel.density import (
    pair_weights,
    structure_factor,
    structure_factor_jvp,
    structure_factor_vjp,
)
from skwavelet.voxel.fft import half
from skwavelet.voxel.filters import Bank
from skwavelet.voxel.grid import Grid, make_grid
from skwavelet.voxel.plan import ScaleNode, make_plan
from skwavelet.voxel.powers import PowerSums
from skwavelet.wavelets import radial_polynomial, spectrum_peak


@dataclass(frozen=True, eq=False)
class VoxelEvaluator:
    """The fitted state of a ``VoxelScattering`` on plain arrays.

    Attributes
    ----------
    bank : Bank
        Wavelets and scales.
    spacings : tuple of float
        Voxel size of every scale (Å).
    padding : float
        Vacuum in non-periodic directions (Å).
    elements : tuple of int
        Atomic numbers of the rows of ``weights``.
    weights : ndarray of shape (n_elements, n_channels)
        Channel weights.
    paths : ndarray of shape (n_paths, 6)
        See ``make_plan``.
    columns : tuple of (ndarray, ndarray)
        Path and power of every feature.
    powers : tuple of float
    smoothing : float
        Floor of the modulus relative to the map of one atom.
    normalize : {"atoms", "lower_order"} or None
    shapes : tuple of (int, int, int), optional
        Grids to keep for every structure instead of each one's own.
    """

    bank: Bank
    spacings: tuple[float, ...]
    padding: float
    elements: tuple[int, ...]
    weights: np.ndarray
    paths: np.ndarray
    columns: tuple[np.ndarray, np.ndarray]
    powers: tuple[float, ...]
    smoothing: float
    normalize: str | None
    shapes: tuple[tuple[int, int, int], ...] | None = None

    def grid(self, structure: Structure) -> Grid:
        """Return the grid of a structure."""
        return make_grid(structure, self.spacings, self.padding, self.shapes)

    def check(self, structure: Structure) -> None:
        """Raise ``ValueError`` if the maps of a structure would not fit into memory."""
        grid = self.grid(structure)
        needed, free = self.memory(grid, structure), psutil.virtual_memory().available
        if needed > free:
            shape = " x ".join(map(str, grid.shapes[0]))
            raise ValueError(
                f"Structure {structure.index} needs a grid of {shape} voxels and about "
                f"{needed / 2**30:.1f} GiB, but {free / 2**30:.1f} GiB are free; increase spacing "
                f"(now {self.spacings[0]:.3g} Å), use fewer channels or a smaller cell."
            )

    def memory(self, grid: Grid, structure: Structure) -> float:
        """Estimate the bytes that the features of a structure take at their peak."""
        item = np.dtype(self.bank.dtype).itemsize
        base = float(np.prod(grid.shapes[0], dtype=float)) * item
        n_filters = sum(2 * l + 1 for _, l in self.bank.wavelets)
        widest = max(2 * l + 1 for _, l in self.bank.wavelets)
        n_elements, n_channels = len(structure.elements), self.weights.shape[1]
        block = widest if base * n_elements * widest <= KEEP_BYTES else 1
        parents = n_channels * len(self.bank.wavelets) if (self.paths[:, 0] == 2).any() else 0
        maps = (
            n_filters + 6  # complex filters, their frequencies and radial parts
            + 3 * n_elements  # densities and outer products
            + block * (2 * n_elements + n_channels)  # transforms and mixed maps
            + 5 * n_channels  # squared modulus and its roots
            + parents
        )  # fmt: skip
        return maps * base

    # -- one structure -----------------------------------------------------------------------

    def features(self, structure: Structure) -> np.ndarray:
        """Return the features, of shape (n_features,)."""
        grid = self.grid(structure)
        integrals, _ = self._cascade(structure, grid).forward(self._density(structure, grid))
        integrals += self._zero_order(structure)
        features = self._normalization.features(integrals, len(structure))
        return features.astype(self.bank.dtype)

    def tangents(
        self, structure: Structure, displacements: np.ndarray, strains: np.ndarray
    ) -> np.ndarray:
        """Return derivatives along directions, of shape (n_directions, n_features)."""
        grid = self.grid(structure)
        box = box_strain(structure, strains)
        moves = displacements + structure.positions @ (strains - box)
        inverse = np.linalg.inv(grid.cell)
        density = self._density(structure, grid)
        tangents = np.stack(
            [
                structure_factor_jvp(
                    structure.positions[members] @ inverse,
                    moves[:, members] @ inverse,
                    grid.shapes[0],
                    self.bank.dtype,
                )
                for members in self._members(structure)
            ],
            axis=1,
        )
        tangents /= grid.volume
        tangents -= np.trace(box, axis1=1, axis2=2).astype(tangents.real.dtype)[
            :, None, None, None, None
        ] * (density)
        integrals, derivatives = self._cascade(structure, grid).forward(
            density, tangents, box if box.any() else None
        )
        integrals += self._zero_order(structure)
        tangents = self._normalization.tangents(integrals, derivatives, len(structure))
        return tangents.astype(self.bank.dtype)

    def gradients(
        self, structure: Structure, cotangent: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the features and the gradients of ``cotangent @ features``."""
        grid = self.grid(structure)
        density = self._density(structure, grid)
        cascade, zero = self._cascade(structure, grid), self._zero_order(structure)
        # The weights of the integrals may depend on their values.
        ratios = self.normalize == "lower_order"
        sums = cascade.forward(density)[0] + zero if ratios else zero
        weights = self._normalization.cotangents(cotangent, sums, len(structure))
        integrals, pulled, strain = cascade.reverse(density, weights)
        integrals += zero
        inverse = np.linalg.inv(grid.cell)
        strain -= np.eye(3) * self._pairing(pulled, density, grid)
        forces = np.zeros((len(structure), 3))
        for members, gradient in zip(self._members(structure), pulled, strict=True):
            fractional = structure.positions[members] @ inverse
            forces[members] = structure_factor_vjp(fractional, gradient, grid.shapes[0])
        forces = forces @ inverse.T / grid.volume
        virial = structure.positions.T @ forces
        strain = box_strain_transpose(structure, strain - virial) + virial
        features = self._normalization.features(integrals, len(structure))
        return features.astype(self.bank.dtype), forces, strain

    def maps(
        self, structure: Structure, first: tuple[int, int, int], second: tuple[int, int] | None
    ) -> np.ndarray:
        """Return the equivariant maps of one path; see ``Cascade.maps``."""
        grid = self.grid(structure)
        cascade = self._cascade(structure, grid)
        return cascade.maps(self._density(structure, grid), first, second)

    @cached_property
    def _normalization(self) -> Normalization:
        return Normalization(self.normalize, self.lower, self.columns)

    @cached_property
    def lower(self) -> np.ndarray:
        """The path one order lower of every path that is divided by it, -1 for none."""
        ratios = self.normalize == "lower_order"
        return lower_paths(self.paths) if ratios else np.full(len(self.paths), -1)

    # -- parts -------------------------------------------------------------------------------

    def _members(self, structure: Structure) -> list[np.ndarray]:
        return [np.flatnonzero(structure.numbers == z) for z in structure.elements]

    def _rows(self, structure: Structure) -> list[int]:
        return [self.elements.index(z) for z in structure.elements]

    def _density(self, structure: Structure, grid: Grid) -> np.ndarray:
        """Return the coefficients rho^(G) / V of every element that occurs."""
        inverse = np.linalg.inv(grid.cell)
        density = np.empty(
            (len(structure.elements), *half(grid.shapes[0])),
            dtype=np.result_type(self.bank.dtype, np.complex64),
        )
        for row, members in zip(density, self._members(structure), strict=True):
            fractional = structure.positions[members] @ inverse
            row[...] = structure_factor(fractional, grid.shapes[0], self.bank.dtype)
        density /= grid.volume
        return density

    def _cascade(self, structure: Structure, grid: Grid) -> Cascade:
        mix = self.weights[self._rows(structure)].T
        active = tuple(np.flatnonzero(mix.any(axis=1)).tolist())
        return Cascade(
            _plan(self.paths.tobytes(), active),
            self.bank,
            grid,
            mix,
            self._floors(),
            PowerSums(self.powers),
            len(self.paths),
        )

    def _floors(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the floors of the modulus, see ``Cascade``.

        ``smoothing`` times the amplitude of the map of a single average atom, which a second
        wavelet multiplies by at most its largest gain.
        """
        bank, origin = self.bank, np.zeros((3, 1))
        # Q_nl / r^l at the origin times beta^l is the size of the wavelet near its maximum.
        sizes = np.array(
            [abs(radial_polynomial(origin, n, l, bank.beta)[0]) * bank.beta**l
             for n, l in bank.wavelets]
        )  # fmt: skip
        weights = np.sqrt((self.weights**2).mean(axis=0))
        dilation = 2.0 ** (-3 * np.array(bank.scales))
        floors = self.smoothing * weights[:, None, None] * sizes[:, None] * dilation
        gains = np.array([spectrum_peak(n, l, bank.beta)[1] for n, l in bank.wavelets])
        return floors, gains

    def _zero_order(self, structure: Structure) -> np.ndarray:
        """Return sum_k |c(Z_k)|^q in the rows (n_paths, n_powers) of the zero-order paths."""
        channels = np.where(self.paths[:, 0] == 0, self.paths[:, 1], -1)
        return zero_order(structure.numbers, self.elements, self.weights, channels, self.powers)

    def _pairing(self, a: np.ndarray, b: np.ndarray, grid: Grid) -> float:
        """Return Re sum_G a b over the full lattice."""
        products = (a.real * b.real - a.imag * b.imag).sum(axis=(0, 1, 2), dtype=np.float64)
        return float(products @ pair_weights(grid.shapes[0], products.dtype))


@lru_cache(maxsize=32)
def _plan(paths: bytes, channels: tuple[int, ...]) -> tuple[ScaleNode, ...]:
    return make_plan(np.frombuffer(paths, dtype=np.int64).reshape(-1, 6), channels)
