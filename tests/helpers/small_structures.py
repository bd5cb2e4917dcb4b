"""Small structures of every kind of cell, for tests of representations."""

import numpy as np
from ase import Atoms


class Convertible:
    """Something like a pymatgen structure."""

    def __init__(self, atoms, error=None):
        self.atoms, self.error = atoms, error

    def to_ase_atoms(self):
        if self.error is not None:
            raise self.error
        return self.atoms


def triclinic():
    return Atoms(
        "Li2Si",
        positions=[[0.3, 0.4, 0.2], [2.1, 0.9, 1.4], [0.8, 2.2, 2.6]],
        cell=[[3.4, 0.3, -0.2], [0.5, 3.7, 0.4], [-0.6, 0.2, 3.9]],
        pbc=True,
    )


def cubic():
    return Atoms(
        "LiSi", positions=[[0.3, 0.4, 0.2], [1.9, 2.2, 1.7]], cell=[3.8, 3.8, 3.8], pbc=True
    )


def three_elements():
    return Atoms(
        "LiSiO",
        positions=[[0.3, 0.4, 0.2], [2.1, 0.9, 1.4], [0.8, 2.2, 2.6]],
        cell=[[3.4, 0, 0], [0.5, 3.7, 0], [0, 0, 3.9]],
        pbc=True,
    )


def slab():
    """Periodic along the first and third vector, which are not perpendicular."""
    return Atoms(
        "LiSi2",
        positions=[[0.2, 0.1, 0.3], [1.9, 1.6, 0.9], [0.5, 0.8, 2.4]],
        cell=[[3.3, 0.4, 0.3], [0, 0, 0], [0.2, -0.5, 3.6]],
        pbc=[True, False, True],
    )


def wire():
    """Periodic along a direction that is no axis."""
    return Atoms(
        "LiSi",
        positions=[[0.2, 0.1, 0.3], [1.2, 1.3, 1.9]],
        cell=[[0, 0, 0], [0.6, 3.1, 0.8], [0, 0, 0]],
        pbc=[False, True, False],
    )


def molecule():
    return Atoms("Li2Si", positions=[[0.1, 0.0, 0.2], [1.8, 0.9, -0.4], [0.4, 1.3, 1.7]])


CELLS = {f.__name__: f for f in (triclinic, cubic, three_elements, slab, wire, molecule)}


def random_rotation(seed):
    """A proper rotation matrix."""
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    q *= np.sign(np.diag(r))
    return q * np.linalg.det(q)


def rotated(atoms, rotation):
    """Rotate (or reflect) positions and cell."""
    atoms = atoms.copy()
    atoms.set_cell(atoms.cell.array @ rotation.T)
    atoms.positions = atoms.positions @ rotation.T
    return atoms


def strained(atoms, strain):
    """Apply row vectors a -> a (1 + eps) to cell and positions."""
    return rotated(atoms, (np.eye(3) + strain).T)
