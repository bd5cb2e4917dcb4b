"""Derivatives of the features of every atom in the atoms around it, without the zeros."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from skwavelet.structures.checks import Structure
from skwavelet.structures.directions import Directions

# Derivatives of all atoms along some directions stay below this.
DIRECTION_BYTES = 2**25


@dataclass(frozen=True, eq=False)
class AtomJacobian:
    """The features of all N atoms of a structure and their derivatives, without the zeros.

    An entry is a pair of a centre, whose F features are differentiated, and an atom that moves
    with all of its periodic images. There is at most one entry per pair, and one of every centre
    with itself; what has no entry is zero.

    Attributes
    ----------
    features : ndarray of shape (N, F)
        As from ``atom_values``.
    centers, atoms : ndarray of shape (P,)
        Both atoms of every entry, sorted by centre.
    values : ndarray of shape (P, 3, F)
        Derivatives in the position of ``atoms`` (per Å).
    strain : ndarray of shape (N, 3, 3, F)
        Derivatives in a homogeneous strain.
    """

    features: np.ndarray
    centers: np.ndarray
    atoms: np.ndarray
    values: np.ndarray
    strain: np.ndarray

    def along(self, directions: Directions) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Yield what every atom's features change along directions.

        For an atom: the numbers (R,) of the directions that move anything that it sees, and the
        derivatives (R, F) of its features along these.
        """
        n_atoms, n_features = self.features.shape
        starts = np.searchsorted(self.centers, np.arange(n_atoms + 1))
        displacements, strains = directions.displacements, directions.strains
        strained = strains.any(axis=(1, 2))
        for atom in range(n_atoms):
            entries = slice(starts[atom], starts[atom + 1])
            moves = displacements[:, self.atoms[entries]].reshape(len(displacements), -1)
            moving = np.flatnonzero(moves.any(axis=1) | strained)
            jacobian = self.values[entries].reshape(-1, n_features)
            derivatives = moves[moving].astype(jacobian.dtype) @ jacobian
            if strained.any():
                by_strain = strains[moving].reshape(-1, 9).astype(jacobian.dtype)
                derivatives += by_strain @ self.strain[atom].reshape(9, n_features)
            yield atom, moving, derivatives


def jacobian_by_directions(evaluator: Any, structure: Structure) -> AtomJacobian:
    """Return the derivatives from ``atom_jvp`` along unit directions, some at a time.

    It works for every representation at the cost of 3 N + 9 directions.
    """
    features = evaluator.atom_values(structure)
    n_atoms, n_features = features.shape
    size = max(1, int(DIRECTION_BYTES // max(1, 3 * features.nbytes)))
    parts = []
    for start in range(0, n_atoms, size):
        moving = np.arange(start, min(start + size, n_atoms))
        moves = np.zeros((len(moving), 3, n_atoms, 3))
        moves[np.arange(len(moving)), :, moving] = np.eye(3)
        directions = Directions(moves.reshape(-1, n_atoms, 3), np.zeros((3 * len(moving), 3, 3)))
        derivatives = evaluator.atom_jvp(structure, directions)
        derivatives = derivatives.reshape(len(moving), 3, n_atoms, n_features)
        seen = derivatives.any(axis=(1, 3)) | (moving[:, None] == np.arange(n_atoms))
        place, center = np.nonzero(seen)
        parts.append((center, moving[place], derivatives[place, :, center]))
    centers, atoms, values = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    order = np.argsort(centers, kind="stable")
    bends = Directions(np.zeros((9, n_atoms, 3)), np.eye(9).reshape(9, 3, 3))
    strain = evaluator.atom_jvp(structure, bends)
    return AtomJacobian(
        features,
        centers[order],
        atoms[order],
        values[order],
        strain.reshape(3, 3, n_atoms, n_features).transpose(2, 0, 1, 3),
    )
