"""The contract of energy models: what calculators, displays and everything else ask for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms
from ase.stress import full_3x3_to_voigt_6_stress

from skwavelet.linear.calibration import SpreadCalibration, unbiased_std
from skwavelet.potentials.atom_energies import AtomEnergies, AtomSpread
from skwavelet.potentials.element_calibrations import ElementCalibrations
from skwavelet.structures.checks import as_atoms


class Derivatives(NamedTuple):
    """Energies of one structure, and the derivatives of its total energy.

    Attributes
    ----------
    values : ndarray of shape (1 + n_members,)
        Energies, eV/atom.
    forces : ndarray of shape (N, 3)
        eV/Å.
    stress : ndarray of shape (6,) or None
        eV/Å³, ASE's sign and order; None where not all directions are periodic.
    forces_std, stress_std : like forces and stress
        Calibrated standard deviations; zero unless they were asked for. Those of a force are the
        same in all directions, as those of few members along one direction are uncertain.
    """

    values: np.ndarray
    forces: np.ndarray
    stress: np.ndarray | None
    forces_std: np.ndarray
    stress_std: np.ndarray | None


class Calibrations(NamedTuple):
    """From spreads to standard deviations: energies (eV/atom), forces (eV/Å), stresses (eV/Å³)."""

    energy: SpreadCalibration = SpreadCalibration()
    forces: ElementCalibrations = ElementCalibrations(SpreadCalibration())
    stress: SpreadCalibration = SpreadCalibration()

    def scaled(self, unit: float) -> Calibrations:
        """Return those of energies that are multiplied by ``unit``."""
        energy, forces, stress = self
        return Calibrations(energy.scaled(unit), forces.scaled(unit), stress.scaled(unit))


UNCALIBRATED: Calibrations = Calibrations()


def calibrations_of(regressor: Any) -> Calibrations:
    """Return the calibrations of a linear model of energies.

    That of energies is learned from them. No floor is known of forces and stresses: their spread
    is multiplied by the ratio of the errors of energies to the spread of energies.
    """
    if not hasattr(regressor, "calibration_"):
        return UNCALIBRATED
    ratio = SpreadCalibration(factor=regressor._overall_ratio)
    return Calibrations(regressor.calibration_, ElementCalibrations(ratio), ratio)


class EnergyModel(ABC):
    """Energies per atom (eV/atom) of structures, and their derivatives.

    Output 0 is the prediction. Outputs 1, 2, ... are those of the members of an ensemble, whose
    mean is the prediction.

    Attributes
    ----------
    n_members : int
        Number of members, 0 where the model is no ensemble.
    deviations : ndarray of shape (r, n_members) or None
        Mixtures of members of which the sum of squares is the variance of forces and stresses
        over the members; None for each member's own deviation, which is exact.
    calibrations : Calibrations
        From the standard deviations over the members to those that are returned.
    """

    n_members: int = 0
    deviations: np.ndarray | None = None
    calibrations: Calibrations = UNCALIBRATED

    @abstractmethod
    def values(self, X: Sequence[Atoms]) -> np.ndarray:
        """Return energies (n_structures, 1 + n_members), eV/atom, in float64."""

    @abstractmethod
    def value_and_vjp(
        self, X: Sequence[Atoms], cotangents: np.ndarray
    ) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Return energies and gradients of ``cotangents[i] @ energies(X[i])``.

        Cotangents have the shape (n_structures, 1 + n_members). For each structure: energies
        (1 + n_members,) in eV/atom, gradients with respect to the positions (N, 3), per Å, and to a
        homogeneous strain (3, 3).
        """

    def energy_std(self, X: Sequence[Atoms], values: np.ndarray) -> np.ndarray:
        """Return calibrated standard deviations (n_structures,), eV/atom, of these `values`."""
        return self.calibrations.energy(unbiased_std(values[:, 1:]), self.remoteness(X))

    def remoteness(self, X: Sequence[Atoms]) -> np.ndarray:
        """Return how far structures (n_structures,) are from the training set; 1 is inside."""
        return np.ones(len(X))

    #: Distance (Å) beyond which atoms do not change the part of an atom in the remoteness.
    remoteness_range: float = 0.0

    def log_remoteness(self, atoms: Atoms, n_atoms: int) -> float:
        """Return the parts of the first atoms in N times the logarithm of the remoteness."""
        return 0.0

    def of_atoms(self) -> AtomEnergies:
        """Return the energies of the atoms, whose sum is the energy.

        Raises TypeError, and says why, if the energy is no sum over atoms or its terms are not
        known here.
        """
        raise TypeError(f"{type(self).__name__} does not say what the energies of atoms are.")

    def spread_of_atoms(self) -> AtomSpread:
        """Return how far the members are apart, as sums over atoms.

        Raises TypeError if there are no members, or as for `of_atoms`.
        """
        raise TypeError(
            "The model has no standard deviations: fit an ensemble such as RidgePath() or "
            "BaggedOLSEnsemble(), or a network with n_members."
        )

    def forces_std(
        self, deviations: np.ndarray, forces: np.ndarray, numbers: np.ndarray
    ) -> np.ndarray:
        """Return calibrated standard deviations (N, 3) of forces, eV/Å, the same in all directions.

        ``deviations`` (r, N, 3) are those of forces, by the mixtures that `spread_cotangents`
        compares with the prediction ``forces`` (N, 3).
        """
        return self.calibrations.forces(
            over_directions(self._spread(deviations)), over_directions(forces), numbers
        )

    def _spread(self, deviations: np.ndarray) -> np.ndarray:
        """Return unbiased standard deviations (...) over members of deviations (r, ...)."""
        unbiased = np.sqrt(self.n_members / max(self.n_members - 1, 1))
        return unbiased * np.sqrt(np.square(deviations).sum(axis=0))

    def keep_grid(self, atoms: Atoms) -> EnergyModel:
        """Return the model with the discretization of one structure, where it has any."""
        return self

    def with_jobs(self, n_jobs: int | None) -> EnergyModel:
        """Return the model with so many threads for a large structure, where they can be set."""
        return self

    def without_members(self) -> EnergyModel:
        """Return the model with its prediction as only output."""
        return self

    def of_totals(self) -> EnergyModel:
        """Return the model that it is if it was fitted to total energies, eV.

        Nothing changes where the kind of model settles what it predicts.
        """
        return self

    def forces_and_stress(
        self, X: Sequence[Atoms], *, with_spread: bool = False
    ) -> list[Derivatives]:
        """Differentiate total energies; with a spread also deviations of members, a sweep each."""
        X = as_atoms(X)
        cotangents = spread_cotangents(1 + self.n_members, with_spread, self.deviations)
        n_sweeps = len(cotangents)
        sizes = np.repeat([len(atoms) for atoms in X], n_sweeps)
        sweeps = self.value_and_vjp(
            [atoms for atoms in X for _ in cotangents],
            sizes[:, None] * np.tile(cotangents, (len(X), 1)),
        )
        results = []
        for index, atoms in enumerate(X):
            values, gradients, strains = zip(
                *sweeps[index * n_sweeps : (index + 1) * n_sweeps], strict=True
            )
            stress = stress_std = None
            if atoms.pbc.all():
                stresses = full_3x3_to_voigt_6_stress(strains) / atoms.get_volume()
                stress, stress_std = stresses[0], np.zeros(6)
                if with_spread:
                    stress_std = self.calibrations.stress(self._spread(stresses[1:]))
            forces = -gradients[0]
            forces_std = np.zeros_like(forces)
            if with_spread:
                forces_std = self.forces_std(np.array(gradients[1:]), forces, atoms.numbers)
            results.append(Derivatives(values[0], forces, stress, forces_std, stress_std))
        return results


def over_directions(values: np.ndarray) -> np.ndarray:
    """Return components (N, 3) with the root mean square over directions in all of them."""
    return np.repeat(np.sqrt(np.square(values).mean(axis=1, keepdims=True)), 3, axis=1)


def spread_cotangents(
    n_outputs: int, with_spread: bool, deviations: np.ndarray | None = None
) -> np.ndarray:
    """Return what to differentiate for a prediction and for its spread.

    That is (1, n_outputs), or (1 + r, n_outputs) with the spread: the outputs of an `EnergyModel`
    are the prediction and those of the members, and the sum of squares of the r deviations is the
    variance.
    """
    prediction = np.zeros((1, n_outputs))
    prediction[0, 0] = 1
    if not with_spread:
        return prediction
    if deviations is None:
        deviations = np.eye(n_outputs - 1) / np.sqrt(n_outputs - 1)
    # Members are compared with their mean, output 0.
    against = -deviations.sum(axis=1, keepdims=True)
    return np.vstack([prediction, np.hstack([against, deviations])])
