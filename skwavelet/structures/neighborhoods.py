"""Neighbours of every atom as one list.

The atom-centred representations depend on a structure only through the vectors from atoms to
their neighbours within a reach. This is the one place that knows where those vectors come from,
and therefore what a displacement or a strain does to them.
"""

from __future__ import annotations

from math import pi

import numpy as np

from skwavelet.structures.checks import Structure, check_pairs

# Position, sorted and not, owner and shifts.
BYTES_PER_IMAGE = 120


class Neighborhoods:
    """All ordered pairs of atoms closer than a reach (Å), periodic images included.

    An atom is no neighbour of itself, but its periodic images are.

    Attributes
    ----------
    centers, neighbors : ndarray of shape (n_pairs,)
        Atoms of each pair, sorted by ``centers``.
    vectors : ndarray of shape (n_pairs, 3)
        From centre to neighbour (Å).
    distances : ndarray of shape (n_pairs,)
    """

    def __init__(self, structure: Structure, reach: float):
        i, j, vectors, distances = structure.neighbors(reach, "ijDd")
        check_pairs(structure, i, j, distances)
        order = np.argsort(i, kind="stable")
        self.n_atoms = len(structure)
        self.centers = i[order].astype(np.int64)
        self.neighbors = j[order].astype(np.int64)
        self.vectors, self.distances = vectors[order], distances[order]

    def jvp(self, displacements: np.ndarray, strain: np.ndarray) -> np.ndarray:
        """Return how the vectors (n_pairs, 3) change along displacements (N, 3) and a strain."""
        return displacements[self.neighbors] - displacements[self.centers] + self.vectors @ strain

    def vjp(self, gradient: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the gradients in positions and strain for one (n_pairs, 3) in the vectors."""
        forces = np.empty((self.n_atoms, 3))
        for axis, column in enumerate(gradient.T):
            forces[:, axis] = np.bincount(self.neighbors, column, self.n_atoms)
            forces[:, axis] -= np.bincount(self.centers, column, self.n_atoms)
        return forces, self.vectors.T @ gradient


def estimate_pairs(structure: Structure, reach: float) -> float:
    """Estimate the number of ordered pairs of atoms closer than a reach (Å)."""
    n_atoms, pbc = len(structure), structure.pbc
    if not pbc.any():
        every_pair = float(n_atoms * n_atoms)
        if every_pair < 1e5:  # An upper bound is enough: it is next to nothing.
            return every_pair
    cell = structure.box
    if not pbc.all():
        extents = np.ptp(structure.positions @ structure.inverse_box, axis=0) + 2 * reach
        cell = np.where(pbc[:, None], cell, cell * extents[:, None])
    (a, b, c), (d, e, f), (g, h, i) = cell.tolist()
    volume = abs(a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g))
    return n_atoms * n_atoms / volume * 4 / 3 * pi * reach**3


def image_bytes(structure: Structure, reach: float) -> float:
    """Estimate the bytes of all atoms and images within a reach (Å) of the cell."""
    copies = 1.0
    for height, periodic in zip(structure.heights.tolist(), structure.pbc.tolist(), strict=True):
        copies *= 1 + 2 * reach / height if periodic else 1
    return BYTES_PER_IMAGE * len(structure) * copies


def describe_pairs(structure: Structure, reach: float) -> str:
    """Return how many pairs of atoms are closer than a reach (Å), in words."""
    n_pairs = estimate_pairs(structure, reach)
    return f"has about {n_pairs:.1e} pairs of atoms closer than {reach:.3g} Å, which need"
