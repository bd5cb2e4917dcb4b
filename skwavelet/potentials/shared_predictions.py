"""Forces, stresses and intervals as fitted potentials predict them, linear models or networks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms

from skwavelet.linear.intervals import OutOfBagIntervals, check_coverage
from skwavelet.potentials.contract import EnergyModel
from skwavelet.potentials.energy_model import energy_model
from skwavelet.potentials.label_checks import check_stress_is_defined
from skwavelet.structures.checks import as_atoms, check_structures


class SharedPredictionMixin:
    """Intervals and derivatives of the energy that a fitted estimator predicts."""

    _intervals: OutOfBagIntervals | None

    def predict_interval(self, X: Sequence[Atoms], coverage: float = 0.9) -> np.ndarray:
        """Predict intervals that hold the energy per atom with a given probability.

        Parameters
        ----------
        X : sequence of ase.Atoms
        coverage : float, default=0.9
            Share of the energies that intervals are to hold, between 0.5 and 1.

        Returns
        -------
        ndarray of shape (n_structures, 2)
            Lower and upper ends, eV/atom, infinite where there are fewer than
            coverage / (1 - coverage) groups that members have not seen.

        Raises
        ------
        ValueError
            If ``coverage`` is not between 0.5 and 1.
        TypeError
            If the model has no members.

        Notes
        -----
        As `skwavelet.BaggedOLSEnsemble.predict_interval`: errors on groups that members have not
        seen are relative to standard deviations, so that intervals are wider where these are
        larger, such as for unusual surroundings. The promise is the same for structures of new
        groups like those of the training set.
        """
        self._check_ensemble()
        coverage, X = check_coverage(coverage), as_atoms(X)
        model = energy_model(self)
        members = model.values(X)[:, 1:]
        if self._intervals is None:  # no group was left out
            return np.tile([-np.inf, np.inf], (len(members), 1))
        return self._intervals.predict(members, coverage, model.remoteness(X))

    def predict_forces(
        self, X: Sequence[Atoms], return_std: bool = False
    ) -> list[np.ndarray] | tuple[list[np.ndarray], list[np.ndarray]]:
        """Predict forces, the negative gradients of the total energies.

        Parameters
        ----------
        X : sequence of ase.Atoms
        return_std : bool, default=False
            Whether to return the standard deviation too, of ensembles, and of networks with
            ``n_members``; it is calibrated by errors on groups that were left out (by those of
            energies where there were no forces). It takes one reverse sweep for each main
            deviation of the members from their mean (see Notes): up to 16 times the cost of the
            forces.

        Returns
        -------
        forces : list of ndarray of shape (N, 3)
            eV/Å.
        std : list of ndarray of shape (N, 3)
            eV/Å; only with ``return_std=True``.

        Raises
        ------
        TypeError
            If standard deviations are asked for, and the model has no members.

        Notes
        -----
        The deviations of the members from their mean are rotated to the principal axes of the
        forces that they predict along the training directions. At most 16 axes are kept, and the
        variance is divided by the share that they carry. A model trained without forces keeps all
        deviations, and the result is exact, at one sweep for each of its members.
        """
        results = self._energy_model(return_std).forces_and_stress(X, with_spread=return_std)
        forces = [result.forces for result in results]
        return (forces, [result.forces_std for result in results]) if return_std else forces

    def predict_stress(
        self, X: Sequence[Atoms], return_std: bool = False
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """Predict stresses, the derivatives of the total energies by strain per volume.

        Parameters
        ----------
        X : sequence of ase.Atoms
            Structures that are periodic in all directions.
        return_std : bool, default=False
            Whether to return the standard deviation too, as for `predict_forces`.

        Returns
        -------
        stress : ndarray of shape (n_structures, 6)
            eV/Å³, ASE's sign and order (xx, yy, zz, yz, xz, xy).
        std : ndarray of shape (n_structures, 6)
            eV/Å³; only with ``return_std=True``.

        Raises
        ------
        TypeError
            If standard deviations are asked for, and the model has no members.
        ValueError
            If a structure is not periodic in all directions.
        """
        X = as_atoms(X)
        check_stress_is_defined(check_structures(X))
        results = self._energy_model(return_std).forces_and_stress(X, with_spread=return_std)
        stress = np.array([result.stress for result in results])
        return (stress, np.array([r.stress_std for r in results])) if return_std else stress

    def _energy_model(self, with_members: bool) -> EnergyModel:
        if with_members:
            self._check_ensemble()
            return energy_model(self)
        return energy_model(self).without_members()

    def _check_ensemble(self) -> None:
        """Raise ``TypeError`` with the remedy where there are no members."""
        raise NotImplementedError
