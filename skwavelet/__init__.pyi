# The public names. A new one is added here and nowhere else. (Not `neural`, which needs torch.)
from . import datasets as datasets
from . import energies as energies
from . import inspection as inspection
from . import properties as properties
from .linear import BaggedOLSEnsemble as BaggedOLSEnsemble
from .linear import FeatureScaler as FeatureScaler
from .linear import GreedyOLSRegressor as GreedyOLSRegressor
from .linear import RidgePath as RidgePath
from .potentials.active_learning import ActiveLearner as ActiveLearner
from .potentials.calculator import ScatteringCalculator as ScatteringCalculator
from .potentials.compression.budget import fit_to_budget as fit_to_budget
from .potentials.compression.costs import FeatureCosts as FeatureCosts
from .potentials.compression.pruning import prune as prune
from .potentials.extrapolation import AtomExtrapolationScore as AtomExtrapolationScore
from .potentials.extrapolation import ExtrapolationScore as ExtrapolationScore
from .potentials.regressor import EnergyForceRegressor as EnergyForceRegressor
from .potentials.uncertainty import calibrate_spread as calibrate_spread
from .potentials.uncertainty import rank_structures as rank_structures
from .representations.angular import AngularFeatures as AngularFeatures
from .representations.atomwise import AtomKernel as AtomKernel
from .representations.atomwise import AtomPolynomial as AtomPolynomial
from .representations.invariants import PointInvariants as PointInvariants
from .representations.point import PointScattering as PointScattering
from .representations.voxel import VoxelScattering as VoxelScattering
from .storage import FeatureStore as FeatureStore
from .storage import featurize as featurize
from .storage.models import load_model as load_model
from .storage.models import save_model as save_model
from .structures.folds import RelaxationPathGroupKFold as RelaxationPathGroupKFold
from .structures.labels import labels_of as labels_of

__all__: list[str]
__version__: str
