"""Features on disk: written chunk by chunk, resumable, read as a matrix."""

from skwavelet.storage.featurize import featurize
from skwavelet.storage.store import FeatureStore

__all__ = ["FeatureStore", "featurize"]
