"""Linear models: greedy orthogonal least squares, its bagged ensemble, and ridge."""

from skwavelet.linear._ensemble import BaggedOLSEnsemble
from skwavelet.linear._regressor import GreedyOLSRegressor
from skwavelet.linear.ridge import RidgePath
from skwavelet.linear.scaler import FeatureScaler

__all__ = ["BaggedOLSEnsemble", "FeatureScaler", "GreedyOLSRegressor", "RidgePath"]
