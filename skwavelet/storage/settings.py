"""What a fitted transformer computes, as plain data that can be stored and compared."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import joblib
import numpy as np
import pandas as pd

from skwavelet import __version__
from skwavelet._utils.files import digest
from skwavelet.representations.tables import plain_table

# How features are computed, not what they are.
EXECUTION = {"n_jobs", "verbose", "memory"}
# Longer arrays are stored as their checksum.
LONGEST = 64


def settings_of(transformer: Any) -> dict[str, Any]:
    """Return class, parameters and fitted state of a transformer, fit for JSON."""
    # Through JSON and back, so that settings compare equal to those read from a file.
    settings = {"skwavelet": __version__, "transformer": _describe(transformer)}
    result: dict[str, Any] = json.loads(json.dumps(settings))
    return result


def first_difference(stored: Any, current: Any, name: str = "") -> str | None:
    """Return one line about the first setting that differs, None where all are equal."""
    if isinstance(stored, dict) and isinstance(current, dict):
        for key in _in_reading_order(stored | current):
            inner = f"{name}.{key}" if name else key
            found = first_difference(stored.get(key), current.get(key), inner)
            if found:
                return found
        return None
    # NaN differs from itself.
    if json.dumps(stored) == json.dumps(current):
        return None
    return f"{name} is {_short(stored)} there and {_short(current)} here"


def _in_reading_order(names: dict[str, Any]) -> Iterator[str]:
    """Parameters before what was learned with them."""
    yield from sorted(names, key=lambda name: (name == "fitted", name))


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _name(kind: Any) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _describe(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.dtype):
        return value.str
    if isinstance(value, np.ndarray):
        if value.size > LONGEST or value.dtype == object:
            return f"{value.dtype} {value.shape} {joblib.hash(value)}"
        return value.tolist()
    if isinstance(value, pd.DataFrame):
        table = plain_table(value)
        text = json.dumps(table, default=str)
        return table if len(value) * value.shape[1] <= LONGEST else digest(text.encode())
    if isinstance(value, dict):
        return {str(key): _describe(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_describe(item) for item in value]
    if hasattr(value, "get_params") and not isinstance(value, type):
        return _describe_estimator(value)
    if is_dataclass(value) and not isinstance(value, type):
        # Fields only: what such objects keep besides is derived from them.
        parts = {field.name: _describe(getattr(value, field.name)) for field in fields(value)}
        return {"class": _name(type(value)), **parts}
    if hasattr(value, "__qualname__"):
        return _name(value)
    return f"{_name(type(value))} {joblib.hash(value)}"


def _describe_estimator(estimator: Any) -> dict[str, Any]:
    parameters = estimator.get_params(deep=False)
    fitted = {
        name: value
        for name, value in vars(estimator).items()
        if (name.endswith("_") and not name.startswith("_")) or name == "_evaluator"
    }
    return {
        "class": _name(type(estimator)),
        **{k: _describe(v) for k, v in parameters.items() if k not in EXECUTION},
        "fitted": _describe(fitted),
    }
