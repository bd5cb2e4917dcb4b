"""Parameter and argument checks shared by all estimators.

scikit-learn's declarative parameter checks are private; this is the one module that
touches them, so that a change there is repaired here only.
"""

from collections.abc import Mapping, Set
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
    "check_sample_weight",
    "is_missing",
]


def check_parameters(estimator: Any) -> None:
    """Check an estimator's parameters against its ``_parameter_constraints``.

    Raises InvalidParameterError, a `ValueError` that names the parameter, its value and what is
    allowed.
    """
    validate_parameter_constraints(
        estimator._parameter_constraints,
        estimator.get_params(deep=False),
        caller_name=type(estimator).__name__,
    )


def check_powers(powers: ArrayLike) -> tuple[float, ...]:
    """Return powers of features as numbers; raise ValueError if one is not positive and finite."""
    checked = np.asarray(powers, dtype=np.float64)
    if checked.ndim != 1 or not len(checked) or not (np.isfinite(checked) & (checked > 0)).all():
        raise ValueError(f"powers must be positive numbers, not {powers!r}.")
    return tuple(checked.tolist())


def check_groups(groups: ArrayLike | None, n_samples: int) -> np.ndarray:
    """Turn group labels into codes (n_samples,) 0, 1, ... in order of appearance.

    Labels are anything hashable, tuples included; None puts every row in a group of its own. They
    are compared one by one as Python compares them, whatever holds them: 1 and "1" are two groups,
    in a list as in an object array.

    Raises
    ------
    ValueError
        If the length is wrong, or a label is missing (None, NaN, NaT, NA, masked, or a tuple with
        one of them) or not hashable.
    """
    if groups is None:
        return np.arange(n_samples)
    shape = _shape_of_labels(groups)
    if shape != (n_samples,):
        raise ValueError(
            f"groups must hold one label per sample, shape ({n_samples},); got shape {shape}."
        )
    labels: Any = groups
    if not isinstance(groups, np.ndarray | list | tuple) and not hasattr(groups, "factorize"):
        # Tensors and the like: their elements compare by identity.
        labels = np.asarray(groups) if hasattr(groups, "__array__") else groups
    seen: dict[Any, int] = {}
    codes = np.empty(n_samples, dtype=np.int64)
    for index, label in enumerate(labels):
        try:
            code = seen.get(label)
        except TypeError:
            code = None
        if code is None:
            _check_label(index, label)
            code = seen.setdefault(label, len(seen))
        codes[index] = code
    return codes


def is_missing(label: Any) -> bool:
    """Whether a label says that there is none: None, NaN, NaT, NA or masked, or one within."""
    if isinstance(label, tuple | frozenset):
        return any(is_missing(part) for part in label)
    if label is np.ma.masked:
        return True
    return bool(pd.api.types.is_scalar(label) and pd.isna(label))


def _shape_of_labels(groups: Any) -> tuple[int, ...]:
    if hasattr(groups, "shape"):
        return tuple(groups.shape)
    unordered = isinstance(groups, str | bytes | Mapping | Set)
    return (len(groups),) if hasattr(groups, "__len__") and not unordered else ()


def _check_label(index: int, label: Any) -> None:
    """Raise ``ValueError`` for what is no label."""
    if is_missing(label):
        raise ValueError(f"groups[{index}] is missing; give every sample a label, or groups=None.")
    is_array = hasattr(label, "__array__") and not isinstance(label, np.generic)
    try:
        hash(label)
    except TypeError:
        is_array = True
    if is_array:
        raise ValueError(
            f"groups[{index}] is {type(label).__name__}, which is no label; use strings, numbers "
            "or tuples of them."
        )


def check_columns(columns: ArrayLike, n_features: int) -> np.ndarray:
    """Return the numbers of some of ``n_features`` features.

    ``columns`` are numbers, maybe counted from the end, or a mask. Raises IndexError if there is
    no such feature, or they are anything else.
    """
    chosen = np.asarray(columns)
    return np.arange(n_features)[chosen if chosen.size else slice(0)]


def check_row_vector(values: ArrayLike, n_samples: int, name: str) -> np.ndarray:
    """Return one finite float64 number per row; raise ValueError for another shape or value."""
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


def check_sample_weight(sample_weight: ArrayLike | None, n_samples: int) -> np.ndarray:
    """Return one weight of at least 0 per sample, ones where none are given.

    Raises ValueError if the shape is wrong, a weight is negative or not finite, or all are zero.
    """
    if sample_weight is None:
        return np.ones(n_samples)
    weight = check_row_vector(sample_weight, n_samples, "sample_weight")
    if (weight < 0).any():
        index = np.flatnonzero(weight < 0)[0]
        raise ValueError(f"sample_weight[{index}] is negative; pass 0 to leave a sample out.")
    if not weight.any():
        raise ValueError("sample_weight is zero for every sample; give some of them weight.")
    return weight


def one_line(error: Exception) -> str:
    """Return what an error says, for a message."""
    text = " ".join(str(error).split())
    if isinstance(error, KeyError):
        # Its message is the key alone: that of an element that does not exist, for one.
        return f"unknown name {text}"
    return text or type(error).__name__
