"""Radial functions of the invariants: wavelets contracted to what varies most, and tabulated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline

from skwavelet.representations.point.tabulated import TabulatedMoments
from skwavelet.representations.wavelets import radial_polynomial
from skwavelet.structures.cell_list import PairFinder
from skwavelet.structures.checks import Structure

# Parts of the reach on which radial functions are cubic. With 512 they differ from the wavelets by
# less than 1e-8 of their size.
PARTS = 512
# Components that vary less than this part of the first are rounding errors.
SMALLEST = 1e-12
# Mean squares of moments of functions of size 1 that are zero but for rounding, as of symmetry.
ROUNDING = 1e-20


@dataclass(frozen=True, eq=False)
class WaveletFamily:
    """The wavelets that radial functions are made of: all orders up to n, at several octaves.

    ``beta`` is the width of the narrowest (Å). A factor (1 - (r / reach)^2)^decay brings them to
    zero at the reach (Å).
    """

    beta: float
    n: int
    n_scales: int
    reach: float
    decay: int

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
        return np.array(rows) * (1 - (grid / self.reach) ** 2) ** self.decay

    def moments(self, max_l: int, n_elements: int) -> TabulatedMoments:
        """Return the moments of all functions, the same for all elements, in double precision."""
        functions = [self.values(l) for l in range(max_l + 1)]
        degrees = np.repeat(np.arange(max_l + 1), [len(part) for part in functions])
        table = cubic_table(np.concatenate(functions), self.reach)
        table = np.broadcast_to(table, (1, n_elements, *table.shape))
        return TabulatedMoments(degrees, "float64", table, self.reach, False)


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
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Contract wavelets and elements to the principal components of the moments, by centre.

    The components of degree l are combinations sum_(e, w) c_(e, w) A[e, w, l m] over the elements
    of the neighbours and the wavelets, with unit variance over m and the atoms of one element,
    largest variance first. Before, the moments of every element of the neighbours are divided by
    their root mean square, so that rare ones count.

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
    table : ndarray of shape (n_elements, n_elements, PARTS + 1, 4, n_radials)
        By element of the centre and of the neighbour, see `cubic_table`. Components that an
        element does not have are zero.
    kept : ndarray of shape (n_elements, n_degrees)
        Part of the variance that is kept, for every element of the centre and degree.
    """
    raw = family.moments(len(n_components) - 1, len(elements))
    covariances = _covariances(raw, structures, elements)
    degrees, tables, kept = [], [], np.ones((len(elements), len(n_components)))
    for l, n in enumerate(n_components):
        mixes = []
        for kind, covariance in enumerate(covariances[l]):
            mix, kept[kind, l] = _components(covariance, n, len(elements))
            mixes.append(mix)
        count = max(mix.shape[1] for mix in mixes)
        filled = np.stack([np.pad(mix, [(0, 0), (0, count - mix.shape[1])]) for mix in mixes])
        values = family.values(l)
        by_neighbor = filled.reshape(len(elements), len(elements), len(values), count)
        functions = (by_neighbor.swapaxes(2, 3) @ values).reshape(-1, PARTS + 1)
        table = cubic_table(functions, family.reach)
        shape = (PARTS + 1, 4, len(elements), len(elements), count)
        tables.append(table.reshape(shape).transpose(2, 3, 0, 1, 4))
        degrees += [l] * count
    return np.array(degrees, dtype=int), np.concatenate(tables, axis=-1), kept


def _components(covariance: np.ndarray, n: int, n_elements: int) -> tuple[np.ndarray, float]:
    """Return the first principal components (n_functions, n), and their part of the variance."""
    powers = np.diag(covariance).reshape(n_elements, -1).sum(axis=1)
    scales = np.where(powers > ROUNDING, 1 / np.sqrt(np.maximum(powers, ROUNDING)), 0)
    scales = np.repeat(scales, len(covariance) // n_elements)
    variances, vectors = np.linalg.eigh(covariance * scales * scales[:, None])
    order = np.argsort(-variances)[:n]
    order = order[variances[order] > SMALLEST * variances.max()]
    kept = float(variances[order].sum() / variances.sum()) if len(order) else 1.0
    return vectors[:, order] / np.sqrt(variances[order]) * scales[:, None], kept


def _covariances(
    raw: TabulatedMoments, structures: Sequence[Structure], elements: Sequence[int]
) -> list[np.ndarray]:
    """Return covariances (n_elements, n, n) of the moments of every degree, by centre."""
    max_l, n_elements = int(raw.degrees.max()), len(elements)
    sizes = raw.layout.counts * n_elements
    covariances = [np.zeros((n_elements, n, n)) for n in sizes]
    means, counts = np.zeros((n_elements, sizes[0])), np.zeros(n_elements)
    ends = np.cumsum(raw.layout.counts * (2 * np.arange(max_l + 1) + 1))
    for structure in structures:
        for pairs in PairFinder(structure, elements, raw.reach, raw.dtype).blocks():
            moments = raw.values(pairs)
            counts += np.bincount(pairs.kinds, minlength=n_elements)
            for l, part in enumerate(np.split(moments, ends[:-1], axis=1)):
                # (elements, m, radials, atoms) to (elements, radials, m, atoms)
                by_m = part.reshape(n_elements, 2 * l + 1, -1, part.shape[2]).transpose(0, 2, 1, 3)
                for kind in np.unique(pairs.kinds):
                    flat = by_m[..., pairs.kinds == kind].reshape(sizes[l], -1)
                    covariances[l][kind] += flat @ flat.T
                    if l == 0:  # only scalars have a mean
                        means[kind] += flat.sum(axis=1)
    counts = np.maximum(counts, 1)
    for covariance in covariances:
        covariance /= counts[:, None, None]
    means /= counts[:, None]
    covariances[0] -= means[:, :, None] * means[:, None]
    return covariances
