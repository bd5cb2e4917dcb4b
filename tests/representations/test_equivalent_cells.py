"""Equal energies of cells that describe the same crystal, for random crystals."""

import warnings

import numpy as np
import pytest
from ase import Atoms
from ase.build import make_supercell
from hypothesis import given, settings
from hypothesis import strategies as st

from skwavelet import AngularFeatures, PointScattering, VoxelScattering

REPRESENTATIONS = {
    "voxel": VoxelScattering(spacing=0.35, dtype="float64"),
    "voxel, first order": VoxelScattering(order=1, spacing=0.3, dtype="float64"),
    "point": PointScattering(n=2, dtype="float64"),
    "angular": AngularFeatures(dtype="float64"),
}
# Powers of two repeat the voxels; other repetitions only the atoms.
DOUBLED = [np.diag(counts) for counts in ((2, 1, 1), (1, 2, 2), (1, 1, 4))]
SHEARED = [((1, 0, 0), (2, 1, 0), (0, 0, 1)), ((1, 1, 0), (0, 1, 2), (0, 0, 1))]
OTHERS = [np.diag((3, 1, 1)), ((-1, 1, 1), (1, -1, 1), (1, 1, -1))]


def crystal(seed):
    """Return three atoms of two elements, nowhere too near, in an oblique cell."""
    rng = np.random.default_rng(seed)
    cell = np.diag(rng.uniform(3.8, 4.6, 3)) + rng.uniform(-0.4, 0.4, (3, 3))
    fractions = np.array([[0, 0, 0], [0.5, 0.5, 0], [0, 0.5, 0.5]])
    fractions = fractions + rng.uniform(-0.05, 0.05, (3, 3))
    return Atoms("Li2Si", scaled_positions=fractions, cell=cell, pbc=True)


@pytest.mark.parametrize("name", REPRESENTATIONS)
@settings(max_examples=6, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), matrix=st.data())
def test_equivalent_cells_have_equal_energies(name, seed, matrix):
    atoms = crystal(seed)
    exact = name.startswith("voxel")
    matrix = matrix.draw(st.sampled_from(DOUBLED + SHEARED + ([] if exact else OTHERS)))
    other = make_supercell(atoms, matrix)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "n_scales=")
        representation = REPRESENTATIONS[name].fit([atoms])
    one, equivalent = representation.transform([atoms, other])
    # An energy is a sum of features times weights of any sign.
    weights = np.random.default_rng(seed).normal(size=len(one)) / np.abs(one).clip(1e-12)
    scale = np.abs(weights * one).sum()
    assert abs(weights @ (equivalent - one)) <= 1e-9 * scale
