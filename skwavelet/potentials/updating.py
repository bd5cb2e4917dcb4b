"""More structures for a fitted potential, without a fit from scratch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from skwavelet._utils.validation import check_groups, check_row_vector, check_sample_weight
from skwavelet.linear.intervals import OutOfBagIntervals
from skwavelet.potentials.contract import Calibrations
from skwavelet.potentials.errors_out_of_bag import ErrorRecord
from skwavelet.potentials.label_checks import check_forces, check_stress
from skwavelet.potentials.linear_chain import feature_chain
from skwavelet.potentials.row_fits import copies_of_rows
from skwavelet.potentials.rows import ENERGY, build_rows
from skwavelet.potentials.surroundings import Surroundings
from skwavelet.structures.checks import as_atoms, check_structures


class UpdateMixin:
    """What `EnergyForceRegressor` adds to learn from more structures."""

    force_weight_: float
    stress_weight_: float
    n_directions: int | str | None
    features_: Any
    regressor_: Any
    n_rows_: int
    _row_factors: np.ndarray
    _errors: ErrorRecord
    _surroundings: Surroundings | None
    _calibrations: Calibrations
    _intervals: OutOfBagIntervals | None
    _update_seed: int

    def update(
        self,
        X: Sequence[Atoms],
        y: ArrayLike,
        forces: Sequence[np.ndarray | None] | None = None,
        stress: Sequence[np.ndarray | None] | None = None,
        groups: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Learn from more structures, with the features that are selected already.

        Only the rows of the new structures are computed, and none are kept; see
        `RidgePath.update` and `BaggedOLSEnsemble.update`. Rows have the weights that such rows had
        in `fit`. Calibrations learn from the errors of the new structures, too; extrapolation
        scores stay those of the last `fit`. Training sets of any size can be passed a part at a
        time: only a part is in memory.

        Parameters
        ----------
        X, y, forces, stress, groups, sample_weight
            As in `fit`, of the new structures. Their groups are new ones.

        Returns
        -------
        self

        Raises
        ------
        TypeError
            If the linear model has no ``update``: use ``RidgePath(updatable=True)`` or
            `BaggedOLSEnsemble`.
        ValueError
            As in `fit`.
        """
        check_is_fitted(self)
        if not hasattr(self.regressor_, "update"):
            raise TypeError(
                f"{type(self.regressor_).__name__} cannot be updated: use "
                "RidgePath(updatable=True) or BaggedOLSEnsemble()."
            )
        X = as_atoms(X)
        check_structures(X)
        y = check_row_vector(y, len(X), "y")
        groups = check_groups(groups, len(X))
        forces, stress = check_forces(forces, X), check_stress(stress, X)
        weight = check_sample_weight(sample_weight, len(X))
        rng = np.random.default_rng([self._update_seed, self.n_rows_])
        chain, features = feature_chain(self.features_), np.asarray(self.features_.transform(X))
        rows = build_rows(
            chain, X, y, features, forces, stress, self.n_directions, rng, weight,
            n_copies=copies_of_rows(self.regressor_),
        )  # fmt: skip
        factors = self._row_factors
        new = rows.factors(self.force_weight_, self.stress_weight_)
        self._row_factors = np.where(factors > 0, factors, new)  # of kinds without labels in fit
        self.regressor_.update(
            rows.design,
            rows.targets,
            groups=groups[rows.structure],
            sample_weight=rows.weigh(self._row_factors),
            intercept_column=rows.kind == ENERGY,
        )
        self.n_rows_ += len(rows.targets)
        new_errors = ErrorRecord.of(self.regressor_, rows, X, groups, self._surroundings)
        self._errors = self._errors + new_errors
        self._calibrate()
        return self

    def _calibrate(self) -> None:
        """Learn from the errors out of bag how large errors are."""
        self._calibrations = self._errors.calibrations(self.regressor_)
        self._intervals = self._errors.intervals(self._calibrations.energy)
