"""Linear models fitted to rows of energies, forces and stresses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import has_fit_parameter

from skwavelet.linear import RidgePath
from skwavelet.potentials.rows import ENERGY, Rows


def copies_of_rows(regressor: Any) -> int:
    """Return how many copies of its rows in float64 there are at once while a model is fitted."""
    if isinstance(regressor, RidgePath):  # sees some rows at a time
        return 0
    if has_fit_parameter(regressor, "intercept_column"):  # ours: columns, and what they are made of
        return 2
    return 3  # those of `fit_rows`, and those that scikit-learn centres and weighs


def fit_rows(
    regressor: Any,
    rows: Rows,
    groups: np.ndarray,
    force_weight: float,
    stress_weight: float,
    penalty_factors: np.ndarray | None = None,
    free: Sequence[int] = (),
) -> Any:
    """Return a fitted clone of a linear model, whose intercept enters energy rows only.

    ``groups`` (n_structures,), passed on to models that know groups, are those of the structures,
    and the weights of forces and stresses those of `Rows.weights`. Models that can choose weights
    choose those of the ``free`` kinds of rows, from the ones given; ``penalty_factors``
    (n_features,) are passed on to models that take them. Raises TypeError if the model takes no
    sample weights.
    """
    if isinstance(regressor, Pipeline):
        raise TypeError(
            "regressor is a Pipeline, but its steps would scale rows of forces as if they were "
            "features: put scalers and the like with the features, "
            "features=make_pipeline(VoxelScattering(), FeatureScaler()), and pass the last step."
        )
    regressor = clone(regressor)
    if not has_fit_parameter(regressor, "sample_weight"):
        raise TypeError(
            f"{type(regressor).__name__}.fit takes no sample_weight, which energies, forces and "
            "stresses need: use BaggedOLSEnsemble(), GreedyOLSRegressor(), Ridge() or the like."
        )
    weight = rows.weights(force_weight, stress_weight)
    energy = rows.kind == ENERGY
    arguments = {"groups": groups[rows.structure]} if has_fit_parameter(regressor, "groups") else {}
    if penalty_factors is not None and has_fit_parameter(regressor, "penalty_factors"):
        arguments["penalty_factors"] = penalty_factors
    if len(free) and has_fit_parameter(regressor, "kinds"):
        arguments["kinds"] = np.where(np.isin(rows.kind, free), rows.kind, ENERGY)
    intercept = getattr(regressor, "fit_intercept", True)
    if has_fit_parameter(regressor, "intercept_column"):
        if intercept:
            arguments["intercept_column"] = energy.astype(np.float64)
        return regressor.fit(rows.design, rows.targets, sample_weight=weight, **arguments)
    # Least squares with an intercept in the energy rows alone is that without one after the
    # energy rows have been centred. The models of scikit-learn compute in the dtype they get.
    design, targets = rows.design.astype(np.float64), rows.targets.copy()
    if intercept:
        center, level = (
            np.average(values[energy], axis=0, weights=weight[energy])
            for values in (design, targets)
        )
        design[energy] -= center
        targets[energy] -= level
        if "fit_intercept" not in regressor.get_params(deep=False):
            raise TypeError(
                f"{type(regressor).__name__} has no parameter fit_intercept, and force rows "
                "must not have an intercept: use a linear model that has."
            )
        regressor.set_params(fit_intercept=False)
    regressor.fit(design, targets, sample_weight=weight, **arguments)
    if intercept:
        regressor.set_params(fit_intercept=True)
        regressor.intercept_ = float(level - center @ np.ravel(regressor.coef_))
    return regressor
