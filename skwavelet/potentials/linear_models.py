"""Weights of fitted linear models, whatever wraps them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import is_regressor
from sklearn.compose import TransformedTargetRegressor
from sklearn.utils.validation import check_is_fitted

from skwavelet.potentials.affine_maps import affine_map
from skwavelet.potentials.estimators import unwrapped


def target_map(model: TransformedTargetRegressor) -> tuple[float, float]:
    """Return (factor, shift) that undo the transformation of the targets of a fitted regressor.

    Raises TypeError if the transformation is not known to be linear.
    """
    matrix, offset = affine_map(model.transformer_)
    factor = 1 / float(np.sum(matrix))
    return factor, -factor * float(np.sum(offset))


def linear_coefficients(model: Any) -> tuple[np.ndarray, float]:
    """Return ``(coef, intercept)`` of a fitted linear model of one target.

    Raises TypeError if the model has no ``coef_``, several targets, or predicts anything but a
    linear function of its features (a logarithmic link, say).
    """
    model = unwrapped(model)
    check_is_fitted(model)
    if isinstance(model, TransformedTargetRegressor):
        factor, shift = target_map(model)
        weights, intercept = linear_coefficients(model.regressor_)
        return factor * weights, factor * intercept + shift
    coef = getattr(model, "coef_", None)
    if coef is None or not is_regressor(model):
        raise TypeError(
            f"{type(model).__name__} is no linear model with coef_, its derivative is not known: "
            "end the pipeline with a linear model such as BaggedOLSEnsemble() or Ridge()."
        )
    coef = np.asarray(coef, dtype=np.float64)
    if coef.size != coef.shape[-1]:
        raise TypeError(f"{type(model).__name__} has {len(coef)} targets; fit one, the energy.")
    coef = coef.ravel()
    rows = np.zeros((2, len(coef)))
    # Random signs, scaled so that no term hides the others.
    signs = np.random.default_rng(0).choice([-1.0, 1.0], len(coef))
    size = np.abs(coef)
    rows[1] = signs / np.where(size > 0, size, 1.0)
    names = getattr(model, "feature_names_in_", None)
    probe = rows if names is None else pd.DataFrame(rows, columns=names)
    at_zero, value = np.ravel(model.predict(probe)).tolist()
    expected = rows[1] @ coef
    if not np.isclose(value - at_zero, expected, atol=1e-6 * (1 + len(coef)) + 1e-9 * abs(at_zero)):
        raise TypeError(
            f"{type(model).__name__} has coef_ but does not predict a linear function of its "
            "features, its derivative is not known: use one that does, such as Ridge()."
        )
    return coef, at_zero


def linear_members(regressor: Any) -> list:
    """Return the linear models of an ensemble; none where it is no ensemble of such."""
    members = getattr(regressor, "estimators_", [])
    return list(members) if all(hasattr(member, "coef_") for member in members) else []


def all_coefficients(regressor: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return weights and intercepts of a fitted linear model, and of its members behind it.

    Their shapes are (n_features, 1 + n_members) and (1 + n_members,). Raises TypeError as
    `linear_coefficients` does.
    """
    models = [regressor, *linear_members(regressor)]
    coefs, intercepts = zip(*map(linear_coefficients, models), strict=True)
    return np.column_stack(coefs), np.array(intercepts)


def used_features(regressor: Any) -> np.ndarray:
    """Return the features that a linear model, or any member of an ensemble, has a weight on.

    One feature at least, since scikit-learn has no arrays without any. Raises TypeError as
    `linear_coefficients` does.
    """
    used = np.flatnonzero(all_coefficients(regressor)[0].any(axis=1))
    return used if len(used) else np.array([0])
