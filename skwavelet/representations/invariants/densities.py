"""Densities of neighbours, whose square roots are invariants: what metals are known to have."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import numpy as np

from skwavelet.representations.invariants.radials import PARTS, cubic_table
from skwavelet.representations.point.tabulated import TabulatedMoments
from skwavelet.structures.cell_list import PairFinder
from skwavelet.structures.checks import Structure

# What neighbours of other elements weigh in the densities in which one element counts most.
OTHERS = 0.3
# Densities begin to fall off to zero at this part of the reach.
INNER = 2 / 3
# Roots are rounded off below this part of the mean density, so that forces are smooth where the
# last neighbour goes.
ROUNDED = 1e-3


def density_table(
    exponents: np.ndarray,
    reach: float,
    structures: Sequence[Structure],
    elements: Sequence[int],
) -> np.ndarray:
    """Return the radial functions of the densities, by element of the centre and of the neighbour.

    They are w exp(-k r) times a factor that falls from 1 to 0 within the last third of the reach
    (Å), as a table (n_elements, n_elements, PARTS + 1, 4, n_densities), see `cubic_table`. One
    density of every exponent k (1/Å) weighs all neighbours alike; with several elements, there is
    another one for each, in which the others weigh less. The mean of a density is 1 over the atoms
    of every element in the structures.
    """
    kinds = np.arange(len(elements))
    weights = [np.ones(len(kinds))]
    if len(kinds) > 1:
        weights += [np.where(kinds == kind, 1.0, OTHERS) for kind in kinds]
    grid = np.linspace(0, reach, PARTS + 1)
    x = np.clip((grid / reach - INNER) / (1 - INNER), 0, 1)
    functions = np.exp(-np.outer(exponents, grid)) * (1 - x**3 * (10 - 15 * x + 6 * x**2))
    table = cubic_table(functions, reach)
    # By element of the neighbour: (n_elements, PARTS + 1, 4, n_weights * n_exponents).
    mixed = np.concatenate([w[:, None, None, None] * table for w in weights], axis=-1)
    degrees = np.zeros(mixed.shape[-1], dtype=int)
    moments = TabulatedMoments(degrees, "float64", mixed[None], reach, True)
    sums, counts = np.zeros((len(kinds), len(degrees))), np.zeros(len(kinds))
    for structure in structures:
        for pairs in PairFinder(structure, elements, reach, "float64").blocks():
            members = pairs.kinds == kinds[:, None]
            sums += members @ moments.values(pairs)[0].T
            counts += members.sum(axis=1)
    sums[sums == 0] = 1
    return mixed * (np.maximum(counts, 1)[:, None] / sums)[:, None, None, None]


def root(densities: np.ndarray) -> np.ndarray:
    """Return square roots of densities that are zero, and smooth, where the density is zero."""
    # The difference of sqrt(densities + ROUNDED) and sqrt(ROUNDED), without cancellation.
    return densities / (np.sqrt(densities + ROUNDED) + sqrt(ROUNDED))


def root_slope(densities: np.ndarray) -> np.ndarray:
    """Return the derivative of `root`."""
    return 0.5 / np.sqrt(densities + ROUNDED)
