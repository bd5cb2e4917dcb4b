"""Standard deviations, and where LAMMPS finds them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms

from skwavelet.linear.calibration import unbiased_std
from skwavelet.potentials.atom_energies import AtomSpread
from skwavelet.potentials.contract import EnergyModel

# The fix that carries the model, and its standard deviation of the energy.
FIX = "skwavelet"
# What keeps the standard deviations of the forces with the atoms, and what LAMMPS calls them.
STD_FIX, FORCES_STD = "skwavelet_std", "d2_forces_std"


@dataclass(frozen=True)
class Spread:
    """Standard deviations of a model, every so many steps, and where LAMMPS finds them."""

    lmp: Any
    model: EnergyModel
    of_atoms: AtomSpread
    every: int

    @property
    def n_sums(self) -> int:
        """Number of sums over atoms: the energies of the members, and the log of remoteness."""
        return self.model.n_members + 1

    @property
    def interaction_range(self) -> float:
        """Distance (Å) beyond which atoms do not change what is known of an atom."""
        return self.model.remoteness_range

    def asked(self, step: int) -> bool:
        """Whether a step has standard deviations."""
        return step % self.every == 0

    def partial(self, atoms: Atoms, n_owned: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the sums over atoms and the deviations of forces, of this rank."""
        if not n_owned:
            shape = (len(atoms), len(self.of_atoms.cotangents), 3)
            return np.zeros(self.n_sums), np.zeros(shape)
        energies, deviations = self.of_atoms.partial(atoms, n_owned)
        return np.append(energies, self.model.log_remoteness(atoms, n_owned)), deviations

    def write(
        self, sums: np.ndarray, deviations: np.ndarray, forces: np.ndarray, numbers: np.ndarray
    ) -> None:
        """Hand over the standard deviations, of the whole energies and of forces on own atoms."""
        n_atoms = self.lmp.get_natoms()
        means = sums / n_atoms
        energy_std = self.model.calibrations.energy(
            unbiased_std(means[None, :-1]), np.exp(means[-1])
        )
        self.lmp.fix_external_set_vector(FIX, 1, float(n_atoms * energy_std[0]))
        if len(deviations):
            stored = self.lmp.numpy.extract_atom(FORCES_STD, nelem=len(deviations), dim=3)
            stored[:] = self.model.forces_std(deviations.transpose(1, 0, 2), forces, numbers)
