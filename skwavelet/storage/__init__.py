"""Features on disk: written chunk by chunk, resumable, read as a matrix."""

from skwavelet.storage.store import FeatureStore
from skwavelet.storage.writer import featurize

__all__ = ["FeatureStore", "featurize"]
