"""Features of one structure and their derivatives: density, cascade, normalization."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from skwavelet.representations.evaluator import Evaluator, Gradients
from skwavelet.representations.paths import ScatteringPaths
from skwavelet.representations.voxel.arrays import Array, Arrays, half
from skwavelet.representations.voxel.cascade import Cascade
from skwavelet.representations.voxel.density import pair_weights
from skwavelet.representations.voxel.filters import Bank
from skwavelet.representations.voxel.grid import FEWEST, Grid, Layout, make_grid
from skwavelet.representations.voxel.memory import peak_memory
from skwavelet.representations.voxel.nufft import make_density
from skwavelet.representations.voxel.plan import make_plan
from skwavelet.representations.wavelets import spectrum_peak, wavelet_size
from skwavelet.structures.boxes import box_strain, box_strain_transpose
from skwavelet.structures.checks import Structure
from skwavelet.structures.directions import Directions


@dataclass(frozen=True, eq=False, kw_only=True)
class VoxelEvaluator(Evaluator):
    """The fitted state of a ``VoxelScattering`` on plain arrays.

    Of every scale there are the voxel size and the vacuum in directions without periods,
    ``spacings`` and ``padding`` (Å). ``smoothing`` is the floor of the modulus relative to the map
    of one atom, ``tolerance`` the error of the density's coefficients
    (`skwavelet.representations.voxel.nufft`), and ``layout`` the grids to keep for every structure
    instead of each one's own.
    """

    paths: ScatteringPaths
    bank: Bank
    spacings: tuple[float, ...]
    padding: tuple[float, ...]
    smoothing: float
    tolerance: float
    layout: Layout | None = None

    def grid(self, structure: Structure) -> Grid:
        """Return the grid of a structure."""
        return make_grid(structure, self.spacings, self.padding, self.layout)

    def memory(self, structure: Structure, method: str = "values") -> float:
        """Estimate the bytes that a method of one structure takes at its peak."""
        return peak_memory(
            self.bank.arrays,
            max(self.grid(structure).shapes, key=prod),
            degrees=[l for _, l in self.bank.wavelets],
            n_elements=len(structure.elements),
            n_channels=self.weights.shape[1],
            order=int(self.paths.order.max()),
            method=method,
        )

    def prepare(self, method: str) -> None:
        """Compile the kernels of a method, which takes seconds on a new machine."""
        cell = FEWEST * self.spacings[0] * np.eye(3)
        numbers, periodic = np.array([self.elements[0]]), np.ones(3, dtype=bool)
        atom = Structure(0, numbers, np.zeros((1, 3)), cell, periodic)
        plain = replace(self, layout=None)
        if "jvp" in method:
            plain.jvp(atom, Directions(np.zeros((1, 1, 3)), np.eye(3)[None]))
        elif method.endswith("vjp"):
            plain.vjp(atom, np.ones(len(self.columns[0])))
        else:
            plain.values(atom)

    def available_memory(self) -> float:
        """Return the bytes that are free where the maps are."""
        return self.bank.arrays.available_memory()

    def describe_need(self, structure: Structure) -> tuple[str, str]:
        """Return the grid of a structure, and how to have a smaller one."""
        shape = " x ".join(map(str, max(self.grid(structure).shapes, key=prod)))
        return f"needs a grid of {shape} voxels and about", (
            f"increase spacing (now {self.spacings[0]:.3g} Å), use fewer channels or a smaller cell"
        )

    def to(self, arrays: Arrays) -> VoxelEvaluator:
        """Return this evaluator on other arrays."""
        return replace(self, bank=replace(self.bank, arrays=arrays))

    def in_double(self) -> VoxelEvaluator:
        """Return an evaluator on maps in double precision: transforms round too much in single."""
        arrays = self.bank.arrays.in_precision(np.dtype("float64"))
        return replace(self.to(arrays), dtype="float64")

    # -- several structures of one grid, or one ----------------------------------------------

    def of_several(self, method: str) -> Callable[..., list]:
        """Return the method that computes several structures of one key ``together``."""
        methods: dict[str, Callable[..., list]] = {
            "values": self.all_values,
            "jvp": self.all_jvp,
            "vjp": self.all_vjp,
        }
        return methods[method]

    def together(self, structure: Structure) -> tuple:
        """Return a key that is equal for structures that can be computed together."""
        return structure.elements, *self.grid(structure).key

    def all_sums(self, structures: list[Structure]) -> list[np.ndarray]:
        """Return the integrals (S, n_paths, n_powers) of structures of one key ``together``."""
        grid = self.grid(structures[0])
        cascade = self._cascade(structures[0], grid)
        densities = self._densities(structures, grid)
        return list(cascade.values(self._coefficients(densities, grid)))

    def all_sums_jvp(
        self, structures: list[Structure], directions: list[Directions]
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return integrals and their derivatives along as many directions for every structure."""
        grid = self.grid(structures[0])
        cascade = self._cascade(structures[0], grid)
        densities = self._densities(structures, grid)
        coefficients = self._coefficients(densities, grid)
        boxes, moves = [], []
        for structure, own in zip(structures, directions, strict=True):
            boxes.append(box_strain(structure.cell, structure.pbc, own.strains))
            moves.append(own.displacements + structure.positions @ (own.strains - boxes[-1]))
        box = np.stack(boxes, axis=1)
        traces = np.trace(box, axis1=2, axis2=3)
        along: list[dict] = [{} for _ in traces]
        for scale, rows in densities.items():
            inverse = np.linalg.inv(grid.cells[scale])
            moving = [
                [
                    element.jvp((move @ inverse)[:, members])
                    for element, members in zip(row, self._members(structure), strict=True)
                ]
                for structure, move, row in zip(structures, moves, rows, strict=True)
            ]
            for direction, trace in enumerate(traces):
                stacked = self.bank.arrays.stack([[e[direction] for e in row] for row in moving])
                stacked /= grid.volumes[scale]
                trace = self.bank.arrays.asarray(trace)[:, None, None, None, None]
                stacked -= trace * coefficients[scale]
                along[direction][scale] = stacked
        integrals, derivatives = cascade.jvp(coefficients, along, box if box.any() else None)
        return [(sums, derivatives[:, i]) for i, sums in enumerate(integrals)]

    def all_sums_vjp(
        self, structures: list[Structure], weights: list[np.ndarray]
    ) -> list[Gradients]:
        """Return integrals and gradients of structures of one key ``together``."""
        grid, arrays = self.grid(structures[0]), self.bank.arrays
        cascade = self._cascade(structures[0], grid)
        densities = self._densities(structures, grid)
        coefficients = self._coefficients(densities, grid)
        integrals, of_densities, strains = cascade.vjp(coefficients, np.stack(weights))
        gradients = [np.zeros((len(structure), 3)) for structure in structures]
        pairing = np.zeros(len(structures))
        for scale, rows in densities.items():
            of_density = of_densities[scale]
            pairing += arrays.host(self._pairing(of_density, coefficients[scale], scale, grid))
            inverse = np.linalg.inv(grid.cells[scale]).T / grid.volumes[scale]
            for i, structure in enumerate(structures):
                for e, members in enumerate(self._members(structure)):
                    gradients[i][members] += rows[i][e].vjp(of_density[i, e]) @ inverse
        results = []
        for i, (structure, gradient) in enumerate(zip(structures, gradients, strict=True)):
            virial = structure.positions.T @ gradient
            strain = strains[i] - np.eye(3) * pairing[i] - virial
            strain = box_strain_transpose(structure.cell, structure.pbc, strain) + virial
            results.append((integrals[i], gradient, strain))
        return results

    def maps(
        self, structure: Structure, first: tuple[int, int, int], second: tuple[int, int] | None
    ) -> np.ndarray:
        """Return the equivariant maps of one path, along the vectors of the cell."""
        grid = make_grid(structure, self.spacings, self.padding, reduce=False)
        densities = self._coefficients(self._densities([structure], grid), grid)
        return self._cascade(structure, grid).maps(densities, first, second)

    # -- parts -------------------------------------------------------------------------------

    def _members(self, structure: Structure) -> list[np.ndarray]:
        return [np.flatnonzero(structure.numbers == z) for z in structure.elements]

    def _rows(self, structure: Structure) -> list[int]:
        return [self.elements.index(z) for z in structure.elements]

    def _densities(self, structures: list[Structure], grid: Grid) -> dict[int, list[list]]:
        """Return the density of every element of every structure, by scale.

        On the base grid only where all scales have one box.
        """
        first = self.paths.scale1[self.paths.order > 0]
        scales = np.unique(first).tolist() if grid.has_boxes else [0]
        densities = {}
        for scale in scales or [0]:
            inverse = np.linalg.inv(grid.cells[scale])
            densities[scale] = [
                [
                    make_density(
                        self.bank.arrays,
                        structure.positions[members] @ inverse,
                        grid.shapes[scale],
                        self.tolerance,
                    )
                    for members in self._members(structure)
                ]
                for structure in structures
            ]
        return densities

    def _coefficients(self, densities: dict[int, list[list]], grid: Grid) -> dict[int, Array]:
        """Return the coefficients rho^(G) / V, of shape (S, E, half grid), by scale."""
        coefficients = {}
        for scale, rows in densities.items():
            shape = len(rows), len(rows[0]), *half(grid.shapes[scale])
            values = coefficients[scale] = self.bank.arrays.empty(shape, spectra=True)
            for i, row in enumerate(rows):
                for e, density in enumerate(row):
                    density.write(values[i, e])
            values /= grid.volumes[scale]
        return coefficients

    def _cascade(self, structure: Structure, grid: Grid) -> Cascade:
        mix = self.weights[self._rows(structure)].T
        active = tuple(np.flatnonzero(mix.any(axis=1)).tolist())
        return Cascade(
            make_plan(self.paths, active),
            self.bank,
            grid,
            mix,
            self._floors(),
            self.powers,
            len(self.paths),
        )

    def _floors(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the floors of the modulus, see ``Cascade``.

        ``smoothing`` times the amplitude of the map of a single average atom, which a second
        wavelet multiplies by at most its largest gain.
        """
        bank = self.bank
        sizes = np.array([wavelet_size(n, l, bank.beta) for n, l in bank.wavelets])
        weights = np.sqrt((self.weights**2).mean(axis=0))
        dilation = 2.0 ** (-3 * np.array(bank.scales))
        floors = self.smoothing * weights[:, None, None] * sizes[:, None] * dilation
        gains = np.array([spectrum_peak(n, l, bank.beta)[1] for n, l in bank.wavelets])
        return floors, gains

    def _pairing(self, a, b, scale: int, grid: Grid):
        """Return Re sum_G a b (S,) over the full lattice."""
        arrays = self.bank.arrays
        weights = arrays.asarray(pair_weights(grid.shapes[scale], arrays.dtype))
        products = (a.real * b.real - a.imag * b.imag) * weights
        return arrays.xp.sum(products.reshape(len(a), -1), axis=-1, dtype=arrays.xp.float64)
