"""Grids: the padded box of a structure, its voxels at every scale, its reciprocal lattice."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import ceil

import numpy as np

from skwavelet.structures import Structure
from skwavelet.voxel.fft import half

# Fewer points along an axis cannot carry the modulus of even the widest wavelets.
MIN_POINTS = 12


def bounding_cell(structure: Structure) -> np.ndarray:
    """Return the cell (3, 3) with unit vectors across the periods in place of non-periodic ones."""
    cell, pbc = structure.cell.copy(), structure.pbc
    periods = cell[pbc]
    if len(periods) == 0:
        return np.eye(3)
    if len(periods) == 2:
        normal = np.cross(*periods)
        cell[~pbc] = normal / np.linalg.norm(normal)
    elif len(periods) == 1:
        cell[~pbc] = _frame(periods[0])[1:]
    return cell


def _frame(period: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return unit vectors along a period and across it, the latter by the most distant axis."""
    along = period / np.linalg.norm(period)
    across = np.eye(3)[np.abs(along).argmin()]
    across = across - (across @ along) * along
    across /= np.linalg.norm(across)
    return along, across, np.cross(along, across)


@dataclass(frozen=True, eq=False)
class Grid:
    """The voxels of one structure.

    Attributes
    ----------
    cell : ndarray of shape (3, 3)
        Rows are the box vectors (Å); vacuum-padded where the structure is not periodic.
    shapes : tuple of (int, int, int)
        Number of points along each vector, for every scale; the first is the base grid.
    """

    cell: np.ndarray
    shapes: tuple[tuple[int, int, int], ...]

    @cached_property
    def volume(self) -> float:
        """Volume of the box (Å^3)."""
        return float(abs(np.linalg.det(self.cell)))


def make_grid(
    structure: Structure,
    spacings: tuple[float, ...],
    padding: float,
    shapes: tuple[tuple[int, int, int], ...] | None = None,
) -> Grid:
    """Return the grid of a structure.

    Parameters
    ----------
    structure : Structure
    spacings : tuple of float
        Largest voxel size of every scale (Å), base first.
    padding : float
        Vacuum (Å) between periodic repetitions of a direction that is not periodic.
    shapes : tuple of (int, int, int), optional
        Grid to keep instead of the smallest FFT-friendly one.
    """
    cell, pbc = bounding_cell(structure), structure.pbc
    lengths = np.linalg.norm(cell, axis=1)
    # Whole voxels of vacuum: the box does not follow every small motion of the atoms, so that
    # derivatives at a fixed box are those of the features.
    extents = np.ptp(structure.positions @ np.linalg.inv(cell), axis=0) + padding
    lengths[~pbc] = extents[~pbc]
    if shapes is None:
        shapes = ((_fast(lengths, spacings[0], 1)),)
        for spacing in spacings[1:]:
            coarse = _fast(lengths, spacing, MIN_POINTS)
            shapes = (*shapes, tuple(min(pair) for pair in zip(coarse, shapes[0], strict=True)))
    base = np.array(shapes[0])
    cell[~pbc] *= (base[~pbc] * spacings[0])[:, None]
    return Grid(cell, shapes)


def _fast(lengths: np.ndarray, spacing: float, least: int) -> tuple[int, int, int]:
    return tuple(fast_length(max(least, ceil(length / spacing - 1e-9))) for length in lengths)


def fast_length(points: int) -> int:
    """Return the smallest length of at least ``points`` that real FFTs do fast.

    Multiples of 4 without prime factors beyond 7: up to twice as fast as their neighbours.
    """
    quarter = max(1, ceil(points / 4))
    while not _is_smooth(quarter):
        quarter += 1
    return 4 * quarter


def _is_smooth(number: int) -> bool:
    for factor in (2, 3, 5, 7):
        while number % factor == 0:
            number //= factor
    return number == 1


def box_strain(structure: Structure, strains: np.ndarray) -> np.ndarray:
    """Return the strains (..., 3, 3) of the padded box when the structure is strained.

    Periods follow the strain; the other box vectors keep their lengths and stay perpendicular to
    the periods: eta = P eps - (1 - P) eps^T P with P the projector on the span of the periods.
    The box of a wire turns about it, too, when the wire turns.
    """
    if structure.pbc.all():
        return strains
    P, (direction, turn) = _projector(structure), _turn(structure)
    bent = P @ strains - (np.eye(3) - P) @ np.swapaxes(strains, -1, -2) @ P
    angles = np.tensordot(strains, direction, axes=2)
    return bent + np.multiply.outer(angles, turn)


def box_strain_transpose(structure: Structure, gradient: np.ndarray) -> np.ndarray:
    """Apply the adjoint of ``box_strain`` to a strain gradient (3, 3)."""
    if structure.pbc.all():
        return gradient
    P, (direction, turn) = _projector(structure), _turn(structure)
    return P @ gradient - P @ gradient.T @ (np.eye(3) - P) + (turn * gradient).sum() * direction


def _projector(structure: Structure) -> np.ndarray:
    """Return the projector (3, 3) on the span of the periods."""
    basis = np.linalg.qr(structure.cell[structure.pbc].T)[0]
    return basis @ basis.T


def _turn(structure: Structure) -> tuple[np.ndarray, np.ndarray]:
    """Return the strain that turns the box about a wire, and the turn, each of shape (3, 3).

    The axis e that fixes the box across the wire a stands still: when a moves by da, the box
    turns about a by -(e.a) (da.c) / |e - (e.a) a|, with c perpendicular to both a and e.
    """
    if structure.pbc.sum() != 1:
        return np.zeros((3, 3)), np.zeros((3, 3))
    along, _, third = _frame(structure.cell[structure.pbc][0])
    cosine = along[np.abs(along).argmin()]
    direction = -cosine / np.sqrt(1 - cosine**2) * np.outer(along, third)
    return direction, np.cross(along, np.eye(3))


def orders(shape: tuple[int, int, int]) -> list[np.ndarray]:
    """Return the integer frequencies along the three axes of a half spectrum."""
    return [
        np.fft.fftfreq(shape[0], 1 / shape[0]),
        np.fft.fftfreq(shape[1], 1 / shape[1]),
        np.arange(shape[2] // 2 + 1, dtype=float),
    ]


def reciprocal_vectors(
    shape: tuple[int, int, int], cell: np.ndarray, dtype: np.dtype
) -> np.ndarray:
    """Return the reciprocal lattice vectors (3, L0, L1, L2 // 2 + 1) of a half spectrum (1/Å)."""
    h0, h1, h2 = orders(shape)
    basis = 2 * np.pi * np.linalg.inv(cell).T
    vectors = np.empty((3, *half(shape)), dtype=dtype)
    for a in range(3):
        vectors[a] = (basis[0, a] * h0[:, None] + basis[1, a] * h1)[:, :, None] + basis[2, a] * h2
    return vectors


def nyquist_mask(shape: tuple[int, int, int]) -> tuple:
    """Return index expressions of the frequencies without a partner, on even axes."""
    return tuple(
        (slice(None),) * axis + (length // 2,)
        for axis, length in enumerate(shape)
        if length % 2 == 0
    )


def truncate(spectra: np.ndarray, fine: tuple[int, int, int], coarse: tuple[int, int, int]):
    """Restrict half spectra (..., on ``fine``) to the frequencies of ``coarse``, exactly."""
    if fine == coarse:
        return spectra
    kept = np.empty((*spectra.shape[:-3], *half(coarse)), dtype=spectra.dtype)
    for inner, outer in _blocks(fine, coarse):
        kept[inner] = spectra[outer]
    return kept


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
