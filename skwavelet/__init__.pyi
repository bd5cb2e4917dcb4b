# The public names. A new one is added here and nowhere else. (Not `neural`, which needs torch.)
from . import datasets as datasets
from . import energies as energies
from . import inspection as inspection
from .angular import AngularFeatures as AngularFeatures
from .budget import fit_to_budget as fit_to_budget
from .calculator import ScatteringCalculator as ScatteringCalculator
from .linear import BaggedOLSEnsemble as BaggedOLSEnsemble
from .linear import GreedyOLSRegressor as GreedyOLSRegressor
from .model_selection import RelaxationPathGroupKFold as RelaxationPathGroupKFold
from .point import PointScattering as PointScattering
from .potential import EnergyForceRegressor as EnergyForceRegressor
from .pruning import prune as prune
from .storage import FeatureStore as FeatureStore
from .storage import featurize as featurize
from .uncertainty import ExtrapolationScore as ExtrapolationScore
from .uncertainty import calibrate_spread as calibrate_spread
from .uncertainty import rank_structures as rank_structures
from .voxel import FeatureCosts as FeatureCosts
from .voxel import VoxelScattering as VoxelScattering

__all__: list[str]
__version__: str
