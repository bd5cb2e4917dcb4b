"""Sparse linear models: greedy orthogonal least squares and its bagged ensemble."""

from skwavelet.linear._ensemble import BaggedOLSEnsemble
from skwavelet.linear._regressor import GreedyOLSRegressor
from skwavelet.linear.scaler import FeatureScaler

__all__ = ["BaggedOLSEnsemble", "FeatureScaler", "GreedyOLSRegressor"]
