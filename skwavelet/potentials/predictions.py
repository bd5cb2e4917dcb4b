"""What `EnergyForceRegressor` predicts: energies, forces, stresses, and how far to trust them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms
from sklearn.utils.validation import check_is_fitted

from skwavelet.potentials.contract import Calibrations, EnergyModel
from skwavelet.potentials.energy_model import energy_model
from skwavelet.potentials.extrapolation import ExtrapolationScore
from skwavelet.potentials.label_checks import check_stress_is_defined
from skwavelet.potentials.linear_models import linear_members, used_features
from skwavelet.structures.checks import as_atoms, check_structures


class PredictionMixin:
    """What `EnergyForceRegressor` predicts with its fitted features and linear model."""

    features_: Any
    regressor_: Any
    _extrapolation: ExtrapolationScore
    _calibrations: Calibrations

    def predict(
        self, X: Sequence[Atoms], return_std: bool = False
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """Predict energies per atom.

        Parameters
        ----------
        X : sequence of ase.Atoms
        return_std : bool, default=False
            Whether to return the standard deviation too, where the linear model has members
            (`RidgePath`, `BaggedOLSEnsemble`), calibrated by errors of groups that were left out.
            Where these tell that errors grow with how unusual the surroundings of the atoms are,
            standard deviations grow, too.

        Returns
        -------
        energies : ndarray of shape (n_structures,)
            eV/atom.
        std : ndarray of shape (n_structures,)
            eV/atom; only with ``return_std=True``.
        """
        check_is_fitted(self)
        if not return_std:
            return self.regressor_.predict(np.asarray(self.features_.transform(X)))
        model = self._energy_model(True)
        values = model.values(X)
        return values[:, 0], model.energy_std(X, values)

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
            Lower and upper ends, eV/atom; see `BaggedOLSEnsemble.predict_interval`.

        Raises
        ------
        ValueError
            If ``coverage`` is not between 0.5 and 1.
        TypeError
            If the linear model is no ensemble.
        """
        self._check_ensemble()
        features = np.asarray(self.features_.transform(X))
        return self.regressor_.predict_interval(features, coverage)

    def predict_forces(
        self, X: Sequence[Atoms], return_std: bool = False
    ) -> list[np.ndarray] | tuple[list[np.ndarray], list[np.ndarray]]:
        """Predict forces, the negative gradients of the total energies.

        Parameters
        ----------
        X : sequence of ase.Atoms
        return_std : bool, default=False
            Whether to return the standard deviation of an ensemble too, calibrated by errors out of
            bag (by those of energies where the model was trained without forces). It takes one
            reverse sweep for each main deviation of the models from their mean (see
            Notes): up to 16 times the cost of the forces.

        Returns
        -------
        forces : list of ndarray of shape (N, 3)
            eV/Å.
        std : list of ndarray of shape (N, 3)
            eV/Å; only with ``return_std=True``.

        Notes
        -----
        The deviations of the models from their mean are rotated to the principal axes of the
        forces that they predict along the training directions. At most 16 axes are kept, and the
        variance is divided by the share that they carry. A model trained without forces keeps all
        deviations, and the result is exact, at one sweep for each of its models.
        """
        results = self._energy_model(return_std).forces_and_stress(X, with_spread=return_std)
        forces = [result.forces for result in results]
        return (forces, [result.forces_std for result in results]) if return_std else forces

    def predict_stress(
        self, X: Sequence[Atoms], return_std: bool = False
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """Predict stresses, the derivatives of the energies by strain per volume.

        Parameters
        ----------
        X : sequence of ase.Atoms
            Structures that are periodic in all directions.
        return_std : bool, default=False
            Whether to return the standard deviation of an ensemble too, as for `predict_forces`.

        Returns
        -------
        stress : ndarray of shape (n_structures, 6)
            eV/Å³, ASE's sign and order (xx, yy, zz, yz, xz, xy).
        std : ndarray of shape (n_structures, 6)
            eV/Å³; only with ``return_std=True``.

        Raises
        ------
        ValueError
            If a structure is not periodic in all directions.
        """
        X = as_atoms(X)
        check_stress_is_defined(check_structures(X))
        results = self._energy_model(return_std).forces_and_stress(X, with_spread=return_std)
        stress = np.array([result.stress for result in results])
        return (stress, np.array([r.stress_std for r in results])) if return_std else stress

    def extrapolation_score(self, X: Sequence[Atoms]) -> np.ndarray:
        """Tell how far the features of structures leave those of the training set.

        Parameters
        ----------
        X : sequence of ase.Atoms

        Returns
        -------
        ndarray of shape (n_structures,)
            See `ExtrapolationScore`, of the features that the model has weights on: about 1 for
            structures like those of the training set.
        """
        check_is_fitted(self)
        features = np.asarray(self.features_.transform(X))
        return self._extrapolation.score_samples(features[:, used_features(self.regressor_)])

    def expected_error(self, X: Sequence[Atoms]) -> np.ndarray:
        """Tell the size of the error to expect, which grows outside of the training set.

        The variance of ``predict(X, return_std=True)`` has two parts: one from the spread of the
        models, and one for what all models get wrong together, learned inside the training set.
        Here the latter is multiplied by the square of the extrapolation score where that is more
        than 1.

        Parameters
        ----------
        X : sequence of ase.Atoms

        Returns
        -------
        ndarray of shape (n_structures,)
            eV/atom; at least the standard deviation.

        Raises
        ------
        TypeError
            If the linear model is no ensemble.
        """
        self._check_ensemble()
        _, std = self.predict(X, return_std=True)
        outside = np.maximum(self.extrapolation_score(X), 1)
        floor = self._calibrations.energy.floor
        return np.sqrt(std**2 + floor**2 * (outside**2 - 1))

    def _energy_model(self, with_members: bool) -> EnergyModel:
        if with_members:
            self._check_ensemble()
        model = energy_model(self)
        return model if with_members else model.without_members()

    def _check_ensemble(self) -> None:
        check_is_fitted(self)
        if not linear_members(self.regressor_):
            raise TypeError(
                "Standard deviations and intervals need an ensemble such as RidgePath() or "
                f"BaggedOLSEnsemble(), not {type(self.regressor_).__name__}."
            )
