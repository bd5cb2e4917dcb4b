"""Figures of fitted models, and the physics that is read from energies.

Displays as in scikit-learn: ``from_estimator`` and ``from_predictions`` draw and return an object
with the data, ``ax_`` and ``figure_``; its ``plot`` draws again, elsewhere or otherwise. matplotlib
(``pip install "skwavelet[plot]"``) is imported only when one is drawn.
"""

from skwavelet.inspection._energy_volume import EnergyVolumeDisplay
from skwavelet.inspection._learning_path import LearningPathDisplay
from skwavelet.inspection._parity import ParityDisplay
from skwavelet.inspection._path_energy import PathEnergyDisplay
from skwavelet.inspection._reliability import ReliabilityDisplay
from skwavelet.inspection._selection import SelectionDisplay
from skwavelet.properties.curves import barrier, bulk_modulus

__all__ = [
    "EnergyVolumeDisplay",
    "LearningPathDisplay",
    "ParityDisplay",
    "PathEnergyDisplay",
    "ReliabilityDisplay",
    "SelectionDisplay",
    "barrier",
    "bulk_modulus",
]
