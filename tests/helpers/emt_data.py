"""Small copper crystals with the energies, forces and stresses of ASE's effective medium theory."""

from dataclasses import dataclass

import numpy as np
from ase.build import bulk
from ase.calculators.emt import EMT

from skwavelet import VoxelScattering


@dataclass
class Labelled:
    structures: list
    energies: np.ndarray  # eV/atom
    forces: list
    stress: np.ndarray


def copper_crystals(n=24, *, rattle=0.12, strain=0.03, symbols=("Cu",), seed=0):
    """Four-atom cells, rattled (Å) and strained, of a random choice of elements."""
    rng = np.random.default_rng(seed)
    structures = []
    for _ in range(n):
        atoms = bulk("Cu", a=3.62, cubic=True)
        atoms.symbols = rng.choice(symbols, size=len(atoms))
        atoms.rattle(rattle, rng=rng)
        shear = rng.normal(scale=strain, size=(3, 3))
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + shear + shear.T), scale_atoms=True)
        structures.append(atoms)
    return label(structures)


def label(structures):
    energies, forces, stress = [], [], []
    for atoms in structures:
        atoms = atoms.copy()
        atoms.calc = EMT()
        energies.append(atoms.get_potential_energy() / len(atoms))
        forces.append(atoms.get_forces())
        stress.append(atoms.get_stress())
    return Labelled(structures, np.array(energies), forces, np.array(stress))


def small_scattering(**changes):
    """About a hundred features of a few milliseconds in float64."""
    settings = {"n": [1, 2], "max_l": 1, "beta": 0.6, "n_scales": 1, "spacing": 0.5}
    # Differences resolve this smoothing of the modulus, not the default.
    settings["smoothing"] = 1e-4
    return VoxelScattering(**settings | {"dtype": "float64"} | changes)
