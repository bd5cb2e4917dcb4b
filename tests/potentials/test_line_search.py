"""Optimizers with line searches, which energies of single precision used to stop."""

import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.optimize import LBFGSLineSearch
from ase.optimize.sciopt import SciPyFminBFGS, SciPyFminCG
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline

from skwavelet import EnergyForceRegressor, FeatureScaler, ScatteringCalculator, VoxelScattering
from skwavelet.energies import labels_of


@pytest.fixture(scope="module")
def model():
    """A potential of voxel features in the default precision, float32.

    With a smoothing of 0.05, a line search of seed 100 fails in float64 as well.
    """
    structures = [bulk("Cu", a=3.5 + 0.011 * seed, cubic=True) for seed in range(20)]
    for seed, atoms in enumerate(structures):
        atoms.rattle(0.12, seed=seed)
        atoms.calc = EMT()
    labels = labels_of(structures)
    features = make_pipeline(VoxelScattering([1, 2, 3], order=1, smoothing=0.1), FeatureScaler())
    regressor = EnergyForceRegressor(features, Ridge(1e-3), n_directions="all", random_state=0)
    return regressor.fit(structures, labels.energies, forces=labels.forces)


@pytest.mark.parametrize("optimizer", [LBFGSLineSearch, SciPyFminCG, SciPyFminBFGS])
@pytest.mark.parametrize("seed", [100, 101])
def test_line_searches_converge(model, optimizer, seed):
    atoms = bulk("Cu", a=3.6, cubic=True)
    atoms.rattle(0.1, seed=seed)
    atoms.calc = ScatteringCalculator(model)
    optimizer(atoms, logfile=None).run(fmax=0.005, steps=100)
    assert abs(atoms.get_forces()).max() < 0.005
