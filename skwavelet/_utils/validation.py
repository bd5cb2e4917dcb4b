"""Parameter and argument checks shared by all estimators.

scikit-learn's declarative parameter checks are private; this is the one module that
touches them, so that a change there is repaired here only.
"""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    InvalidParameterError,
    RealNotInt,
    StrOptions,
    validate_parameter_constraints,
)

__all__ = [
    "HasMethods",
    "Interval",
    "InvalidParameterError",
    "RealNotInt",
    "StrOptions",
    "check_columns",
    "check_groups",
    "check_parameters",
    "check_powers",
    "check_row_vector",
]


def check_parameters(estimator: Any) -> None:
    """Check an estimator's parameters against its ``_parameter_constraints``.

    Raises
    ------
    InvalidParameterError
        A `ValueError` that names the parameter, its value and what is allowed.
    """
    validate_parameter_constraints(
        estimator._parameter_constraints,
        estimator.get_params(deep=False),
        caller_name=type(estimator).__name__,
    )


def check_powers(powers: ArrayLike) -> tuple[float, ...]:
    """Return powers of features as positive numbers.

    Raises
    ------
    ValueError
        If there is none, or one is not positive and finite.
    """
    checked = np.asarray(powers, dtype=np.float64)
    if checked.ndim != 1 or not len(checked) or not (np.isfinite(checked) & (checked > 0)).all():
        raise ValueError(f"powers must be positive numbers, not {powers!r}.")
    return tuple(checked.tolist())


def check_groups(groups: ArrayLike | None, n_samples: int) -> np.ndarray:
    """Turn group labels into codes 0, 1, ... in order of appearance.

    Parameters
    ----------
    groups : array-like of shape (n_samples,) or None
        Any hashable labels; None puts every row in a group of its own.
    n_samples : int
        The number of rows the labels must match.

    Returns
    -------
    ndarray of shape (n_samples,)
        Integer codes.

    Raises
    ------
    ValueError
        If the length is wrong or a label is missing (None or NaN).
    """
    if groups is None:
        return np.arange(n_samples)
    groups = np.asarray(groups)
    if groups.shape != (n_samples,):
        raise ValueError(
            f"groups must hold one label per sample, shape ({n_samples},); got shape "
            f"{groups.shape}."
        )
    codes, _ = pd.factorize(groups)
    if (codes < 0).any():
        index = np.flatnonzero(codes < 0)[0]
        raise ValueError(f"groups[{index}] is missing; give every sample a label, or groups=None.")
    return codes


def check_columns(columns: ArrayLike, n_features: int) -> np.ndarray:
    """Return the numbers of some features.

    Parameters
    ----------
    columns : array-like of int or of bool
        Numbers, maybe counted from the end, or a mask.
    n_features : int
        How many features there are.

    Raises
    ------
    IndexError
        If there is no such feature, or ``columns`` holds anything else.
    """
    chosen = np.asarray(columns)
    return np.arange(n_features)[chosen if chosen.size else slice(0)]


def check_row_vector(values: ArrayLike, n_samples: int, name: str) -> np.ndarray:
    """Return one finite float64 number per row.

    Raises
    ------
    ValueError
        If the shape is wrong or a value is not finite.
    """
    vector = np.asarray(values, dtype=np.float64)
    if vector.shape != (n_samples,):
        raise ValueError(
            f"{name} must hold one number per sample, shape ({n_samples},); got shape "
            f"{vector.shape}."
        )
    if not np.isfinite(vector).all():
        index = np.flatnonzero(~np.isfinite(vector))[0]
        raise ValueError(f"{name}[{index}] is {vector[index]}; repair or remove sample {index}.")
    return vector
