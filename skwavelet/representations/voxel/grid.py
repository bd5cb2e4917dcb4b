"""Grids: the padded box of a structure, its voxels at every scale, its reciprocal lattice."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import pi

import numpy as np
from ase.geometry import minkowski_reduce
from scipy.optimize import brentq

from skwavelet.representations.wavelets import spectrum_magnitude, spectrum_peak
from skwavelet.structures.checks import Structure

# Points along an axis are one of these times a power of two, so that twice the period gets twice
# the points and the same voxels: a cell and its double have equal features.
OCTAVE = (8, 9, 10, 12, 14, 15)
FEWEST = 4

# How much shorter, in the product of the three lengths, another basis of a cell's lattice must be
# to be taken: a sheared cubic cell has sqrt(2), long cells that are not quite straight have less.
SHORTENED = 1.25


@dataclass(frozen=True)
class Layout:
    """How voxels divide a cell: what stays while the cell changes a little.

    The box vectors are the shortest ones, a ``basis`` in units of the cell's: cells that describe
    one crystal in different ways have the same voxels. ``shapes`` are the numbers of points along
    each, for every scale.
    """

    basis: tuple[tuple[int, ...], ...]
    shapes: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, eq=False)
class Grid:
    """The voxels of one structure.

    Rows of the boxes ``cells`` of every scale are their vectors (Å), vacuum-padded where the
    structure is not periodic, as the wavelets of the scale need it. ``pbc`` tells which of them are
    periods, and ``center`` where the middle of the atoms is along the others (Å).
    """

    cells: tuple[np.ndarray, ...]
    layout: Layout
    pbc: tuple[bool, ...]
    center: tuple[float, ...]

    @property
    def shapes(self) -> tuple[tuple[int, int, int], ...]:
        """Number of points along each vector, for every scale; the first is the base grid."""
        return self.layout.shapes

    @property
    def cell(self) -> np.ndarray:
        """Box of the first scale."""
        return self.cells[0]

    @property
    def volume(self) -> float:
        """Volume of the box of the first scale (Å^3)."""
        return self.volumes[0]

    @cached_property
    def volumes(self) -> tuple[float, ...]:
        """Volume of the box of every scale (Å^3)."""
        return tuple(float(abs(np.linalg.det(cell))) for cell in self.cells)

    @property
    def has_boxes(self) -> bool:
        """Whether every scale has a box of its own; else all have the cell."""
        return not all(self.pbc)

    @property
    def key(self) -> tuple:
        """What structures have in common that are computed together."""
        return self.shapes, self.pbc, self.center, *(cell.tobytes() for cell in self.cells)


def make_grid(
    structure: Structure,
    spacings: tuple[float, ...],
    padding: float | Sequence[float],
    layout: Layout | None = None,
    *,
    reduce: bool = True,
) -> Grid:
    """Return the grid of a structure, of its own layout or of a given one.

    ``spacings`` are the largest voxel sizes of every scale (Å), base first, and ``padding`` the
    vacuum (Å) between repetitions along directions without periods, of all scales or of each.
    ``reduce`` lets a layout of its own have another basis than the cell's vectors.
    """
    cell, pbc = structure.box, structure.pbc
    basis = _reduction(cell, pbc) if reduce else np.eye(3, dtype=int)
    if layout is not None:
        basis = np.array(layout.basis)
    cell = basis @ cell
    lengths, along = np.linalg.norm(cell, axis=1), structure.positions @ np.linalg.inv(cell)
    paddings = np.broadcast_to(padding, len(spacings))
    shapes, cells = [] if layout is None else list(layout.shapes), []
    for level, (spacing, vacuum) in enumerate(zip(spacings, paddings, strict=True)):
        extents = np.where(pbc, lengths, np.ptp(along, axis=0) + vacuum)
        if layout is None:
            points = _fast(extents, spacing)
            fewest = np.where(pbc, np.minimum(points, shapes[0] if shapes else points), points)
            shapes.append(tuple(fewest.tolist()))
        # Whole voxels of vacuum: the box does not follow every small motion of the atoms, so that
        # derivatives at a fixed box are those of the features.
        box = cell.copy()
        box[~pbc] *= (np.array(shapes[level])[~pbc] * spacing)[:, None]
        cells.append(box)
    if layout is None:
        layout = Layout(tuple(map(tuple, basis.tolist())), tuple(shapes))
    middle = (along.min(axis=0) + along.max(axis=0)) / 2
    center = np.where(pbc, 0.0, spacings[0] * np.round(middle / spacings[0]))
    return Grid(tuple(cells), layout, tuple(pbc.tolist()), tuple(center.tolist()))


def _reduction(cell: np.ndarray, pbc: np.ndarray) -> np.ndarray:
    """Return the integer matrix (3, 3) that turns periods into the shortest of their lattice.

    One where they hardly become shorter: repeated cells keep the directions of the single one.
    """
    reduced, basis = minkowski_reduce(cell, pbc)
    shortened = np.linalg.norm(cell, axis=1).prod() / np.linalg.norm(reduced, axis=1).prod()
    return basis if shortened > SHORTENED else np.eye(3, dtype=int)


def _fast(lengths: np.ndarray, spacing: float) -> tuple[int, int, int]:
    a, b, c = (fast_length(length / spacing - 1e-9) for length in lengths)
    return a, b, c


def fast_length(points: float) -> int:
    """Return the smallest number of at least ``points`` in the octaves of ``OCTAVE``.

    Products of powers of 2, 3, 5 and 7, which real FFTs do fast. Below the first octave, every
    whole number from ``FEWEST`` on.
    """
    if points <= OCTAVE[0] - 1:
        return max(FEWEST, math.ceil(points))
    octave = 1
    while octave * OCTAVE[-1] < points:
        octave *= 2
    return next(octave * length for length in OCTAVE if octave * length >= points)


def orders(shape: tuple[int, int, int]) -> list[np.ndarray]:
    """Return the integer frequencies along the three axes of a half spectrum."""
    return [
        np.fft.fftfreq(shape[0], 1 / shape[0]),
        np.fft.fftfreq(shape[1], 1 / shape[1]),
        np.arange(shape[2] // 2 + 1, dtype=float),
    ]


def reciprocal_vectors(
    shape: tuple[int, int, int], cell: np.ndarray, dtype: np.dtype, planes: slice
) -> np.ndarray:
    """Return the reciprocal lattice vectors (3, planes, L1, L2 // 2 + 1) of a half spectrum (1/Å).

    ``planes`` selects the first axis.
    """
    h0, h1, h2 = orders(shape)
    basis = 2 * np.pi * np.linalg.inv(cell).T
    vectors = np.empty((3, len(h0[planes]), len(h1), len(h2)), dtype=dtype)
    for a in range(3):
        rows = basis[0, a] * h0[planes][:, None] + basis[1, a] * h1
        vectors[a] = rows[:, :, None] + basis[2, a] * h2
    return vectors


def clear_nyquist(values: np.ndarray, shape: tuple[int, int, int], planes: slice) -> None:
    """Clear the frequencies without a partner, on even axes, of some planes of a half spectrum."""
    middles = [length // 2 if length % 2 == 0 else None for length in shape]
    if middles[0] is not None and planes.start <= middles[0] < planes.stop:
        values[..., middles[0] - planes.start, :, :] = 0
    if middles[1] is not None:
        values[..., middles[1], :] = 0
    if middles[2] is not None:
        values[..., middles[2]] = 0


def truncate(spectra, fine: tuple[int, int, int], coarse: tuple[int, int, int], out) -> None:
    """Write the frequencies of ``coarse`` of half spectra (..., on ``fine``) to ``out``."""
    for inner, outer in _blocks(fine, coarse):
        out[inner] = spectra[outer]


def add_embedded(
    target: np.ndarray,
    spectra: np.ndarray,
    fine: tuple[int, int, int],
    coarse: tuple[int, int, int],
) -> None:
    """Add half spectra on ``coarse`` to ``target`` on ``fine``: the adjoint of ``truncate``."""
    for inner, outer in _blocks(fine, coarse):
        target[outer] += spectra[inner]


def _blocks(fine: tuple[int, int, int], coarse: tuple[int, int, int]):
    """Yield (index in coarse, index in fine) of the blocks of common frequencies."""
    axes = []
    for large, small in zip(fine[:2], coarse[:2], strict=True):
        positive, negative = (small + 1) // 2, small // 2
        axes.append(
            [(slice(0, positive), slice(0, positive))]
            + [(slice(small - negative, small), slice(large - negative, large))] * (negative > 0)
        )
    last = slice(0, coarse[2] // 2 + 1)
    for inner0, outer0 in axes[0]:
        for inner1, outer1 in axes[1]:
            yield (..., inner0, inner1, last), (..., outer0, outer1, last)


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
