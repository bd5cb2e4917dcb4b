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


def error_of(call, kind, pattern):
    """Assert that a call raises one line that matches."""
    with pytest.raises(kind, match=pattern) as caught:
        call()
    assert "\n" not in str(caught.value)
