"""Wavelet scattering features of atomic structures and sparse models of their energy."""

__version__ = "0.1.0"

from skwavelet.linear import BaggedOLSEnsemble, GreedyOLSRegressor
from skwavelet.model_selection import RelaxationPathGroupKFold
from skwavelet.voxel import VoxelScattering

__all__ = [
    "BaggedOLSEnsemble",
    "GreedyOLSRegressor",
    "RelaxationPathGroupKFold",
    "VoxelScattering",
]
