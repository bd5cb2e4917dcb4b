"""Sparse linear models: greedy orthogonal least squares and its bagged ensemble."""

from skwavelet.linear._ensemble import BaggedOLSEnsemble
from skwavelet.linear._regressor import GreedyOLSRegressor

__all__ = ["BaggedOLSEnsemble", "GreedyOLSRegressor"]
