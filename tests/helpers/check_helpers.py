"""What checks of transformers share: structures, fitting without warnings, errors of one line."""

import warnings

import pytest
from helpers.small_structures import cubic, three_elements, triclinic
from sklearn.base import clone


def small_set():
    """Structures of different cells and sizes; two of one size follow each other."""
    return [triclinic(), three_elements(), cubic(), triclinic().repeat((2, 1, 1)), cubic()]


def fitted(transformer, X=None):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "n_scales=")
        return clone(transformer).fit(small_set() if X is None else X)


def changed(transformer, **parameters):
    """Return an unfitted copy with other parameters, of what it contains where that has them."""
    copied = clone(transformer)
    known = copied.get_params()
    for name, value in parameters.items():
        places = [key for key in known if key == name or key.endswith("__" + name)]
        copied.set_params(**dict.fromkeys(places, value))
    return copied


def plain_parameters(transformer):
    """Return all parameters but estimators, which compare by identity."""
    parameters = transformer.get_params().items()
    return {name: value for name, value in parameters if not hasattr(value, "get_params")}


def error_of(call, kind, pattern):
    """Assert that a call raises one line that matches."""
    with pytest.raises(kind, match=pattern) as caught:
        call()
    assert "\n" not in str(caught.value)
