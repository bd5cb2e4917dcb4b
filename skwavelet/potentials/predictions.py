"""What `EnergyForceRegressor` predicts: energies, forces, stresses, and how far to trust them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms
from sklearn.utils.validation import check_is_fitted

from skwavelet.linear.intervals import OutOfBagIntervals
from skwavelet.potentials.contract import Calibrations
from skwavelet.potentials.extrapolation import ExtrapolationScore
from skwavelet.potentials.linear_models import linear_members, used_features
from skwavelet.potentials.shared_predictions import SharedPredictionMixin
from skwavelet.structures.checks import as_atoms


class PredictionMixin(SharedPredictionMixin):
    """What `EnergyForceRegressor` predicts with its fitted features and linear model."""

    features_: Any
    regressor_: Any
    _extrapolation: ExtrapolationScore
    _calibrations: Calibrations
    _intervals: OutOfBagIntervals | None

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
        X, model = as_atoms(X), self._energy_model(True)
        values = model.values(X)
        return values[:, 0], model.energy_std(X, values)

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

    def _check_ensemble(self) -> None:
        check_is_fitted(self)
        if not linear_members(self.regressor_):
            raise TypeError(
                "Standard deviations and intervals need an ensemble such as RidgePath() or "
                f"BaggedOLSEnsemble(), not {type(self.regressor_).__name__}."
            )
