"""Normal modes and torsions of ethanol by the method of the labels of revised MD17.

    python benchmarks/data/label_ethanol.py --data DIR --cache DIR

makes ``benchmarks/data/ethanol_pbe.npz``, which comes with the repository: ``pip install pyscf``
brings PBE/def2-SVP. The labels are ORCA's; the density is fitted, as it was there, on integration
grids of PySCF's level 4.

- ``numbers, positions``: the molecule at its minimum (largest force 1e-3 eV/Å), the hydroxyl
  opposite to the methyl group.
- ``hessian`` (3N, 3N), eV/Å², and ``frequencies`` (3N - 6,) of the normal modes there, 1/cm.
- ``hydroxyl, hydroxyl_positions, hydroxyl_energy`` and the same of ``methyl``: by how much
  (degrees) the group is turned about C-O or C-C, the rest as it is, and the energy (eV) above the
  minimum.
- ``frames`` (indices into the set), ``energy_deviation`` (PySCF's energies less the labels', less
  the mean of that, eV) and ``force_deviation``, the largest of the components, eV/Å.

Interrupted runs go on where they were.

Cost: 7 min; needs pyscf.
"""

import sys
from pathlib import Path

import numpy as np
from ase.build import molecule
from ase.calculators.calculator import Calculator, all_changes
from ase.units import Bohr, Hartree

from skwavelet.properties import relaxed

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common.command import arguments
from common.data import ETHANOL, rmd17

FRAMES = 5
FMAX = 1e-3
# Atoms of ase.build.molecule("CH3CH2OH"): C of the methyl group, C, O and H of the hydroxyl; what
# turns, and where to. Mirror images and thirds of a turn would say the same again.
CHAIN = (0, 1, 2, 3)
TURNS = {
    "hydroxyl": (CHAIN, [3], np.arange(0, 181, 30)),
    "methyl": ((2, 1, 0, 6), [6, 7, 8], np.arange(0, 61, 15)),
}


class PBE(Calculator):
    """PBE/def2-SVP by PySCF; the last density matrix is the next one's start."""

    implemented_properties = ("energy", "forces")
    field = None

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        """Compute the energy, and the forces where they are wanted."""
        from pyscf import dft, gto

        super().calculate(atoms, properties, system_changes)
        places = list(zip(atoms.get_chemical_symbols(), atoms.positions, strict=True))
        field = dft.RKS(gto.M(atom=places, basis="def2-svp", verbose=0), xc="pbe").density_fit()
        field.grids.level = 4
        field.conv_tol = 1e-9
        start = None if self.field is None else self.field.make_rdm1()
        self.results = {"energy": field.kernel(start) * Hartree}
        if not field.converged:
            raise RuntimeError("the density did not converge")
        self.field = field
        if "forces" in properties:
            self.results["forces"] = -field.nuc_grad_method().kernel() * Hartree / Bohr


def minimum(atoms):
    """Return positions and energy of the minimum near a structure."""
    found = relaxed(atoms, PBE(), cell=False, fmax=FMAX)
    return found.positions, found.get_potential_energy()


def modes(atoms):
    """Return the second derivatives of the energy (eV/Å²) and the frequencies (1/cm)."""
    from pyscf.hessian.thermo import harmonic_analysis

    calculator = PBE()
    calculator.calculate(atoms)
    blocks = calculator.field.Hessian().kernel()
    waves = harmonic_analysis(calculator.field.mol, blocks)["freq_wavenumber"]
    hessian = blocks.transpose(0, 2, 1, 3).reshape(3 * len(atoms), -1) * Hartree / Bohr**2
    return hessian, np.sort(np.real(waves) - np.abs(np.imag(waves)))


def turned(atoms, chain, group, angles):
    """Return angles, positions and energies while a group of a molecule is turned."""
    start, calculator = atoms.get_dihedral(*chain), PBE()
    positions, energies = [], []
    for angle in angles:
        copy = atoms.copy()
        copy.set_dihedral(*chain, start + angle, indices=group)
        positions.append(copy.positions)
        energies.append(calculator.get_potential_energy(copy))
    return angles, np.array(positions), np.array(energies)


def deviations(directory):
    """Return frames of the set, and how far their labels are from this method."""
    data, calculator = rmd17(directory, "ethanol"), PBE()
    unseen = np.flatnonzero(~data.train)
    frames = unseen[np.linspace(0, len(unseen) - 1, FRAMES).astype(int)]
    energies, largest = [], 0.0
    for frame in frames:
        atoms = data.structures[frame]
        forces = calculator.get_forces(atoms)
        energies.append(calculator.get_potential_energy(atoms) - data.energies[frame])
        largest = max(largest, np.abs(forces - data.forces[frame]).max())
    return frames, np.array(energies) - np.mean(energies), largest


def main():
    options = arguments(__doc__, data="needed", cache=True)

    def kept(what, function, *values):
        print(what, flush=True)
        return options.cache.get("pyscf", lambda: function(*values), what, *values)

    atoms = molecule("CH3CH2OH")
    frames = kept("frames", deviations, options.data)
    atoms.positions, energy = kept("minimum", minimum, atoms)
    found = {"numbers": atoms.numbers, "positions": atoms.positions}
    for group, turn in TURNS.items():
        angles, positions, energies = kept(group, turned, atoms, *turn)
        found |= {group: angles, f"{group}_positions": positions}
        found[f"{group}_energy"] = energies - energy
    found["hessian"], found["frequencies"] = kept("modes", modes, atoms)
    found |= zip(("frames", "energy_deviation", "force_deviation"), frames, strict=True)
    np.savez_compressed(ETHANOL, **found)
    print(
        f"labels of {FRAMES} frames deviate by up to {1e3 * np.abs(frames[1]).max():.3f} meV and "
        f"{1e3 * frames[2]:.2f} meV/Å"
    )


if __name__ == "__main__":
    main()
