"""Stored models say which version of skwavelet wrote them."""

import warnings
from typing import Any

from skwavelet import __version__


class VersionMismatchWarning(UserWarning):
    """A stored model was written by another version of skwavelet."""


class VersionedMixin:
    """Record the version of skwavelet in the pickled state of an estimator.

    Put it before `sklearn.base.BaseEstimator` among the base classes. Loading a model that
    another version wrote goes on with a `VersionMismatchWarning`.
    """

    def __getstate__(self) -> dict[str, Any]:
        state: Any = super().__getstate__()  # scikit-learn's, a dictionary
        return {**state, "_skwavelet_version": __version__}

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        written_by = state.pop("_skwavelet_version", "unknown")
        if written_by != __version__:
            warnings.warn(
                f"This {type(self).__name__} was written by skwavelet {written_by} and is read by"
                f" {__version__}: refit it, or check its predictions before relying on them.",
                VersionMismatchWarning,
                stacklevel=2,
            )
        super().__setstate__(state)  # type: ignore[misc]  # scikit-learn's
