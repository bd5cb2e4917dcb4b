"""Wavelet scattering features of atomic structures and sparse models of their energy."""

__version__ = "0.1.0"

from skwavelet.angular import AngularFeatures
from skwavelet.budget import FeatureCosts, fit_to_budget
from skwavelet.calculator import ScatteringCalculator
from skwavelet.linear import BaggedOLSEnsemble, GreedyOLSRegressor
from skwavelet.model_selection import RelaxationPathGroupKFold
from skwavelet.point import PointScattering
from skwavelet.potential import EnergyForceRegressor
from skwavelet.pruning import prune
from skwavelet.uncertainty import ExtrapolationScore, calibrate_spread, rank_structures
from skwavelet.voxel import VoxelScattering

__all__ = [
    "AngularFeatures",
    "BaggedOLSEnsemble",
    "EnergyForceRegressor",
    "ExtrapolationScore",
    "FeatureCosts",
    "GreedyOLSRegressor",
    "PointScattering",
    "RelaxationPathGroupKFold",
    "ScatteringCalculator",
    "VoxelScattering",
    "calibrate_spread",
    "fit_to_budget",
    "prune",
    "rank_structures",
]
