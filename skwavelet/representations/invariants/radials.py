"""Radial functions of the invariants: wavelets contracted to what varies most, and tabulated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline

from skwavelet.representations.point.tabulated import TabulatedMoments
from skwavelet.representations.wavelets import radial_polynomial
from skwavelet.structures.cell_list import pair_blocks
from skwavelet.structures.checks import Structure

# Parts of the reach on which radial functions are cubic. With 512 they differ from the wavelets by
# less than 1e-8 of their size.
PARTS = 512
# Components that vary less than this part of the first are rounding errors.
SMALLEST = 1e-12


@dataclass(frozen=True, eq=False)
class WaveletFamily:
    """The wavelets that radial functions are made of: all n up to one, at several octaves.

    Attributes
    ----------
    beta : float
        Width of the narrowest (Å).
    n : int
        Largest radial order.
    n_scales : int
        Number of octaves.
    reach : float
        Distance (Å) at which a factor (1 - (r / reach)^2)^3 brings them to zero.
    """

    beta: float
    n: int
    n_scales: int
    reach: float

    @property
    def grid(self) -> np.ndarray:
        """Distances (Å) of shape (PARTS + 1,)."""
        return np.linspace(0, self.reach, PARTS + 1)

    def values(self, l: int) -> np.ndarray:
        """Return the functions of degree l, divided by r^l, of shape (n_functions, PARTS + 1)."""
        grid = self.grid
        rows = []
        for scale in 2.0 ** np.arange(self.n_scales):
            points = np.zeros((3, len(grid)))
            points[2] = grid / scale
            for n in range(l + 1, self.n + 1):
                row = radial_polynomial(points, n, l, self.beta) / scale**l
                rows.append(row / np.abs(row * grid**l).max())
        return np.array(rows) * (1 - (grid / self.reach) ** 2) ** 3

    def moments(self, max_l: int, n_elements: int) -> TabulatedMoments:
        """Return the moments of all functions, the same for all elements, in double precision."""
        functions = [self.values(l) for l in range(max_l + 1)]
        degrees = np.repeat(np.arange(max_l + 1), [len(part) for part in functions])
        table = cubic_table(np.concatenate(functions), self.reach)
        return TabulatedMoments(
            degrees, "float64", np.repeat(table[None], n_elements, axis=0), self.reach, False
        )


def cubic_table(functions: np.ndarray, reach: float) -> np.ndarray:
    """Return the cubic polynomials (n_parts + 1, 4, n_functions) through values on a grid.

    In the fraction of a part, highest power first, on equal parts of the reach and zero beyond.
    """
    n_parts = functions.shape[1] - 1
    ends = "not-a-knot", (1, np.zeros(len(functions)))  # no slope at the reach
    coefficients = CubicSpline(np.linspace(0, reach, n_parts + 1), functions.T, bc_type=ends).c
    step = reach / n_parts
    scaled = coefficients * step ** np.arange(3, -1, -1.0)[:, None, None]
    table = np.zeros((n_parts + 1, 4, len(functions)))
    table[:-1] = scaled.swapaxes(0, 1)
    return table


def contract(
    family: WaveletFamily,
    n_components: Sequence[int],
    structures: Sequence[Structure],
    elements: Sequence[int],
) -> tuple[np.ndarray, np.ndarray, list[float]]:
    """Contract wavelets and elements to the principal components of the moments.

    The components of degree l are combinations sum_(e, w) c_(e, w) A[e, w, l m] over the elements
    of the neighbours and the wavelets, with unit variance over atoms and m, largest variance
    first. Before, the moments of every element are divided by their root mean square, so that
    rare elements count.

    Parameters
    ----------
    family : WaveletFamily
    n_components : sequence of int
        Number of components of every degree.
    structures : sequence of Structure
    elements : sequence of int
        Atomic numbers.

    Returns
    -------
    degrees : ndarray of shape (n_radials,)
    table : ndarray of shape (n_elements, PARTS + 1, 4, n_radials)
        See `cubic_table`.
    kept : list of float
        Part of the variance that is kept, for every degree.
    """
    raw = family.moments(len(n_components) - 1, len(elements))
    covariances, means, count = _covariances(raw, structures, elements)
    degrees, tables, kept = [], [], []
    for l, n in enumerate(n_components):
        covariance = covariances[l] / count
        if l == 0:  # only scalars have a mean
            covariance -= np.multiply.outer(means, means) / count**2
        size = len(covariance) // len(elements)
        powers = np.diag(covariance).reshape(len(elements), size).sum(axis=1)
        scales = np.repeat(1 / np.sqrt(np.where(powers > 0, powers, 1)), size)
        variances, vectors = np.linalg.eigh(covariance * scales * scales[:, None])
        order = np.argsort(-variances)[:n]
        order = order[variances[order] > SMALLEST * variances.max()]
        mix = vectors[:, order] / np.sqrt(variances[order]) * scales[:, None]
        kept.append(float(variances[order].sum() / variances.sum()) if len(order) else 1.0)
        functions = family.values(l)
        by_element = mix.reshape(len(elements), size, len(order)).swapaxes(1, 2) @ functions
        tables.append([cubic_table(part, family.reach) for part in by_element])
        degrees += [l] * len(order)
    return np.array(degrees, dtype=int), np.concatenate(tables, axis=-1), kept


def _covariances(
    raw: TabulatedMoments, structures: Sequence[Structure], elements: Sequence[int]
) -> tuple[list[np.ndarray], np.ndarray, int]:
    """Return sums of products of moments per degree, of the scalars, and the number of atoms."""
    max_l = int(raw.degrees.max())
    sizes = raw.layout.counts * len(elements)
    covariances, means, count = [np.zeros((n, n)) for n in sizes], np.zeros(sizes[0]), 0
    ends = np.cumsum(raw.layout.counts * (2 * np.arange(max_l + 1) + 1))
    for structure in structures:
        for pairs in pair_blocks(structure, elements, raw.reach, raw.dtype):
            moments = raw.values(pairs)
            count += moments.shape[2]
            for l, part in enumerate(np.split(moments, ends[:-1], axis=1)):
                # (elements, m, radials, atoms) to (elements radials, m atoms)
                by_m = part.reshape(len(elements), 2 * l + 1, -1, part.shape[2])
                flat = by_m.transpose(0, 2, 1, 3).reshape(sizes[l], -1)
                covariances[l] += flat @ flat.T
                if l == 0:
                    means += flat.sum(axis=1)
    return covariances, means, count
