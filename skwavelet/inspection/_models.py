"""What displays ask of fitted models, whatever they are wrapped in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from ase import Atoms
from scipy import sparse
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from skwavelet.linear import BaggedOLSEnsemble, GreedyOLSRegressor
from skwavelet.potentials.energy_model import energy_model, split_model
from skwavelet.potentials.estimators import unwrapped
from skwavelet.potentials.linear_chain import feature_chain
from skwavelet.potentials.regressor import EnergyForceRegressor


def split_estimator(estimator: Any) -> tuple[Any | None, Any]:
    """Return (features, regressor) of a fitted model; features are None for a bare regressor."""
    estimator = unwrapped(estimator)
    if isinstance(estimator, Pipeline) and len(estimator.steps) == 1:
        estimator = estimator.steps[0][1]
    if isinstance(estimator, Pipeline | EnergyForceRegressor):
        return split_model(estimator)
    check_is_fitted(estimator)
    return None, estimator


def greedy_models(regressor: Any) -> list[GreedyOLSRegressor]:
    """Return the greedy models that a fitted regressor consists of."""
    if isinstance(regressor, GreedyOLSRegressor):
        return [regressor]
    if isinstance(regressor, BaggedOLSEnsemble):
        return regressor.estimators_
    raise TypeError(
        f"{type(regressor).__name__} has no path of models of 1, 2, ... features: use "
        "GreedyOLSRegressor or BaggedOLSEnsemble."
    )


def staged_predictions(estimator: Any, X: Any) -> Iterable[np.ndarray]:
    """Yield predictions with 1, 2, ... features of a model of rows or of structures."""
    features, regressor = split_estimator(estimator)
    greedy_models(regressor)
    staged: Iterable[np.ndarray] = regressor.staged_predict(
        X if features is None else features.transform(X)
    )
    return staged


def predictions_of_members(
    estimator: Any, X: Sequence[Atoms], keep_grid: Atoms | None = None
) -> np.ndarray:
    """Predict structures with every member of an ensemble; a single model is one member.

    All structures are computed on the grid of ``keep_grid``, where that is given.

    Returns
    -------
    ndarray of shape (n_members, n_structures)
        eV/atom. The mean over members is the prediction. Their deviations from it are stretched
        until the standard deviation over them is calibrated on average, all alike so that
        curves keep their shapes.
    """
    model = energy_model(estimator)
    if keep_grid is not None:
        model = model.keep_grid(keep_grid)
    outputs = model.values(X)
    members = outputs[:, 1:]
    if not members.shape[1]:
        return outputs.T
    variance = np.mean(members.var(axis=1))
    calibrated = np.mean(model.energy_std(X, outputs) ** 2)
    stretch = np.sqrt(calibrated / variance) if variance else 1.0
    return (outputs[:, :1] + stretch * (members - outputs[:, :1])).T


def common_size(X: Sequence[Atoms]) -> int:
    """Return the number of atoms that structures of one system share."""
    sizes = sorted({len(atoms) for atoms in X})
    if len(sizes) != 1:
        raise ValueError(f"X must be one system, of one number of atoms; got {sizes}.")
    return sizes[0]


def table_of_features(features: Any) -> pd.DataFrame:
    """Return the rows of ``feature_table_`` that the columns of fitted features stand for.

    Raises ValueError if a column mixes several features.
    """
    chain = feature_chain(features)
    tables = [
        leaf.feature_table_.assign(representation=type(leaf).__name__) for leaf in chain.leaves
    ]
    table = tables[0] if len(tables) == 1 else pd.concat(tables, ignore_index=True)
    matrix = sparse.csc_array(sparse.vstack([sparse.csc_array(m) for m in chain.matrices]))
    if (np.diff(matrix.indptr) != 1).any():
        raise ValueError(
            "The columns behind a projection (PCA, ...) mix features, and nothing tells "
            "which are selected; remove it."
        )
    rows: pd.DataFrame = table.iloc[matrix.indices].reset_index(drop=True)
    return rows
