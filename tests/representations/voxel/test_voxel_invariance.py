"""What must not change voxel features, to the rounding or to the discretization."""

import warnings

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, make_supercell
from helpers.small_structures import CELLS, cubic, molecule, random_rotation, rotated, triclinic

from skwavelet import VoxelScattering

# Rounding: sums of up to 1e4 terms; single precision also rounds coordinates.
ROUNDING = {"float64": 1e-9, "float32": 2e-4}
DTYPES = pytest.mark.parametrize("dtype", list(ROUNDING))


def fitted(atoms, **parameters):
    parameters = {"n": (1, 3), "beta": 0.5, "n_scales": 2, "spacing": 0.3} | parameters
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "n_scales=")
        return VoxelScattering(**parameters).fit([atoms])


def deviations(transformer, one, other):
    """Relative differences of the features of two structures."""
    one, other = transformer.transform([one, other]).astype(float)
    return np.abs(other - one) / np.abs(one).clip(1e-300)


def shapes(transformer, atoms):
    (structure,) = transformer._check([atoms])
    return transformer._evaluator.grid(structure).shapes


@DTYPES
@pytest.mark.parametrize("cell", ["triclinic", "three_elements", "slab", "molecule"])
def test_permutation(cell, dtype):
    atoms = CELLS[cell]()
    transformer = fitted(atoms, dtype=dtype, order=1 if cell == "molecule" else 2)
    permuted = atoms[np.random.default_rng(0).permutation(len(atoms))]
    assert deviations(transformer, atoms, permuted).max() <= ROUNDING[dtype]


@DTYPES
def test_translation_by_whole_voxels(dtype):
    atoms = triclinic()
    transformer = fitted(atoms, dtype=dtype)
    fine, coarse = shapes(transformer, atoms)
    moved = atoms.copy()
    moved.positions += np.array([5, -1, 3]) / np.gcd(fine, coarse) @ atoms.cell.array
    assert deviations(transformer, atoms, moved).max() <= ROUNDING[dtype]


@DTYPES
def test_translation_by_lattice_vectors(dtype):
    """Atoms may be wrapped into the cell or not, each on its own."""
    atoms = triclinic()
    transformer = fitted(atoms, dtype=dtype)
    unwrapped = atoms.copy()
    unwrapped.positions += np.array([[1, 0, -1], [0, 2, 0], [-3, 1, 1]]) @ atoms.cell.array
    assert deviations(transformer, atoms, unwrapped).max() <= ROUNDING[dtype]
    wrapped = unwrapped.copy()
    wrapped.wrap()
    assert deviations(transformer, atoms, wrapped).max() <= ROUNDING[dtype]


@pytest.mark.parametrize("cell", ["triclinic", "cubic"])
def test_translation_by_parts_of_a_voxel(cell):
    """Discretization: exact for first-order squares, small where the modulus has kinks."""
    atoms = CELLS[cell]()
    transformer = fitted(atoms, dtype="float64", spacing=0.2, oversampling=2)
    table = transformer.feature_table_
    for shift in np.random.default_rng(1).uniform(0, 0.2, size=(3, 3)):
        moved = atoms.copy()
        moved.positions += shift
        deviation = deviations(transformer, atoms, moved)
        squares = (table["order"] == 1) & (table["q"] == 2)
        assert deviation[squares].max() <= 1e-8
        assert np.median(deviation) <= 5e-4
        assert deviation.max() <= 3e-2


@DTYPES
@pytest.mark.parametrize("cell", ["triclinic", "slab", "cubic"])
def test_rotation_of_the_crystal(cell, dtype):
    """The grid turns with the cell: nothing but rounding."""
    atoms = CELLS[cell]()
    transformer = fitted(atoms, dtype=dtype)
    for seed in range(2):
        turned = rotated(atoms, random_rotation(seed))
        assert deviations(transformer, atoms, turned).max() <= ROUNDING[dtype]


@DTYPES
@pytest.mark.parametrize("cell", ["triclinic", "slab", "cubic"])
def test_reflection_of_the_crystal(cell, dtype):
    atoms = CELLS[cell]()
    transformer = fitted(atoms, dtype=dtype)
    for mirror in (np.diag([1, -1, 1]), -np.eye(3), -random_rotation(3)):
        mirrored = rotated(atoms, mirror)
        assert deviations(transformer, atoms, mirrored).max() <= ROUNDING[dtype]


def point_group():
    """The 48 rotations and reflections of a cube."""
    signs = [np.diag(s) for s in np.ndindex(2, 2, 2) for s in [1 - 2 * np.array(s)]]
    turns = [np.eye(3)[list(p)] for p in ((0, 1, 2), (1, 2, 0), (2, 0, 1), (1, 0, 2), (0, 2, 1))]
    return [sign @ turn for sign in signs for turn in turns]


@DTYPES
def test_point_group_of_the_lattice(dtype):
    """Atoms turn, the cubic cell stays: its grid is mapped to itself, nothing but rounding."""
    atoms = cubic()
    transformer = fitted(atoms, dtype=dtype)
    for operation in point_group()[::7]:
        turned = atoms.copy()
        turned.positions = atoms.positions @ operation.T
        assert deviations(transformer, atoms, turned).max() <= ROUNDING[dtype]


def test_rotation_of_a_molecule():
    """The box stays where it is: the same to the discretization and the padding."""
    atoms = molecule()
    transformer = fitted(atoms, n=3, max_l=2, dtype="float64", spacing=0.2, oversampling=2, order=1)
    for seed in range(2):
        deviation = deviations(transformer, atoms, rotated(atoms, random_rotation(seed)))
        assert np.median(deviation) <= 1e-4
        assert deviation.max() <= 1e-2


def test_other_cells_of_the_same_crystal():
    """a1 -> a1 + a2 and the like: other grids of the same density, equal to the discretization."""
    atoms = triclinic()
    transformer = fitted(atoms, n=3, max_l=2, dtype="float64", spacing=0.15, oversampling=4)
    table = transformer.feature_table_
    for change in ([[1, 1, 0], [0, 1, 0], [0, 0, 1]], [[0, 1, 0], [0, -1, 1], [1, 0, 0]]):
        other = atoms.copy()
        other.set_cell(np.array(change) @ atoms.cell.array)
        deviation = deviations(transformer, atoms, other)
        squares = (table["order"] == 1) & (table["q"] == 2)
        assert deviation[squares].max() <= 1e-8
        assert np.median(deviation) <= 5e-4
        assert deviation.max() <= 3e-2


@DTYPES
def test_order_and_sense_of_cell_vectors(dtype):
    """Cyclic or not, right- or left-handed: the same grid points."""
    atoms = triclinic()
    transformer = fitted(atoms, dtype=dtype)
    for rows, signs in (((1, 2, 0), (1, 1, 1)), ((1, 0, 2), (1, 1, 1)), ((0, 1, 2), (1, -1, 1))):
        other = atoms.copy()
        other.set_cell(atoms.cell.array[list(rows)] * np.array(signs)[:, None])
        assert deviations(transformer, atoms, other).max() <= ROUNDING[dtype]


@DTYPES
@pytest.mark.parametrize("repeats", [(2, 1, 1), (1, 1, 3), (2, 2, 1)])
def test_tiled_grids_give_the_same_features(repeats, dtype):
    """Features per atom of a supercell, on the tiled grid: nothing but rounding."""
    atoms = cubic()
    transformer = fitted(atoms, dtype=dtype, spacing=3.8 / 16, oversampling=2)
    tiled = atoms.repeat(repeats)
    for small, large in zip(shapes(transformer, atoms), shapes(transformer, tiled), strict=True):
        assert large == tuple(np.multiply(small, repeats))
    assert deviations(transformer, atoms, tiled).max() <= ROUNDING[dtype]


@pytest.mark.parametrize("name", ["triclinic", "cubic"])
def test_equivalent_cells_have_equal_features(name):
    """Doubled and skewed cells of one crystal have the same voxels: nothing but rounding."""
    atoms = CELLS[name]()
    transformer = fitted(atoms, n=3, dtype="float64", spacing=0.23)
    skewed = atoms.copy()
    skewed.set_cell(np.array([[1, 0, 0], [2, 1, 0], [0, -1, 1]]) @ atoms.cell.array)
    for other in (atoms.repeat((2, 1, 1)), atoms.repeat((1, 2, 4)), skewed, skewed.repeat(2)):
        assert deviations(transformer, atoms, other).max() <= 1e-7


def test_repeated_and_primitive_cells():
    """Cells of one crystal whose voxels differ: below 3e-4 at first order, 4e-3 on one grid."""
    cell = bulk("Cu", a=3.61, cubic=True)
    primitive = bulk("Cu", a=3.61).repeat(2)
    for atoms in (cell, primitive):
        atoms.rattle(0.08, seed=0)
    conventional = make_supercell(primitive, [[-1, 1, 1], [1, -1, 1], [1, 1, -1]])
    transformer = VoxelScattering(order=1, beta=0.5, dtype="float64").fit([cell])
    pairs = ((cell, cell.repeat((3, 1, 1))), (cell, cell.repeat(3)), (primitive, conventional))
    for one, other in pairs:
        assert deviations(transformer, one, other).max() <= 6e-4


def test_supercells_to_the_discretization():
    atoms = triclinic()
    transformer = fitted(atoms, n=3, dtype="float64", spacing=0.21, oversampling=4)
    tiled = atoms.repeat((3, 1, 1))
    assert shapes(transformer, tiled)[0][0] != 3 * shapes(transformer, atoms)[0][0]
    deviation = deviations(transformer, atoms, tiled)
    assert np.median(deviation) <= 5e-4
    assert deviation.max() <= 3e-2


def test_precision():
    """Single precision agrees with double; the two are of their own types."""
    atoms = triclinic()
    single, double = (fitted(atoms, dtype=d).transform([atoms]) for d in ("float32", "float64"))
    assert single.dtype == np.float32
    assert double.dtype == np.float64
    deviation = np.abs(single / double - 1)
    assert np.median(deviation) <= 1e-6
    assert deviation.max() <= 2e-4


def test_features_differ_where_structures_do():
    """The checks above could pass with features that see nothing."""
    atoms = triclinic()
    transformer = fitted(atoms, dtype="float64")
    moved = atoms.copy()
    moved.positions[0] += [0.2, 0, 0]
    table = transformer.feature_table_
    seen = ((table["order"] > 0) & (table["channel"] != "Si")).to_numpy()
    assert np.median(deviations(transformer, atoms, moved)[seen]) > 1e-3
    swapped = atoms.copy()
    swapped.symbols = "LiSiLi"
    assert np.median(deviations(transformer, atoms, swapped)[seen]) > 1e-3


# -- default settings on real structures ---------------------------------------------------------


@pytest.fixture(scope="module")
def real(lisi):
    return [lisi.structures[i] for i in (2, 452, 902)]


def default_transformer(lisi, **parameters):
    return VoxelScattering(**parameters).fit(lisi.structures)


def test_translation_of_real_structures(lisi, real):
    """Spread over translations below a voxel with the defaults: measured 2e-4, at most 8e-3."""
    transformer = default_transformer(lisi)
    shifts = np.random.default_rng(0).uniform(0, transformer.spacing_, size=(5, 3))
    moved = []
    for shift in shifts:
        atoms = real[1].copy()
        atoms.positions += shift
        moved.append(atoms)
    values = transformer.transform(moved).astype(float)
    spread = values.std(axis=0) / values.mean(axis=0)
    assert np.median(spread) <= 5e-4
    assert spread.max() <= 1.5e-2


@pytest.mark.slow
def test_default_discretization(lisi, real):
    """Deviation of the defaults from a converged grid: measured 1.4e-4, at most 8.5e-3."""
    transformer = default_transformer(lisi)
    converged = default_transformer(
        lisi,
        beta=transformer.beta_,
        n_scales=transformer.n_scales_,
        spacing=transformer.spacing_ / 2,
        oversampling=8,
        dtype="float64",
    )
    reference = converged.transform(real)
    deviation = np.abs(transformer.transform(real) / reference - 1)
    assert np.median(deviation) <= 5e-4
    assert deviation.max() <= 1e-2


@pytest.mark.slow
def test_supercells_of_real_structures(lisi, real):
    transformer = default_transformer(lisi)
    deviation = deviations(transformer, real[0], real[0].repeat((2, 1, 1)))
    assert np.median(deviation) <= 5e-4
    assert deviation.max() <= 2e-2


def test_empty_channels_give_zeros():
    """An element that fit has seen and a structure lacks: exact zeros, never NaN."""
    both = [cubic(), Atoms("Si2", positions=[[0, 0, 0], [1.9, 1.9, 1.7]], cell=[4] * 3, pbc=True)]
    transformer = fitted(both[0])
    values = transformer.transform(both)
    lithium = (transformer.feature_table_["channel"] == "Li").to_numpy()
    assert not values[1, lithium].any()
    assert (values[0, lithium] > 0).all()
    assert np.isfinite(values).all()


def test_maps_lie_along_the_vectors_of_the_cell():
    """Also of a sheared cell, whose features are computed in its shortest basis."""
    atoms = cubic()
    atoms.set_cell(np.array([[1, 0, 0], [1, 1, 0], [0, 0, 1]]) @ atoms.cell.array)
    transformer = fitted(atoms, dtype="float64")
    (values,) = transformer.maps(atoms, channel="Si", first=(1, 0, 0))
    top = np.array(np.unravel_index(values.argmax(), values.shape)) / values.shape
    distance = top - atoms[1].scaled_position
    assert np.linalg.norm((distance - distance.round()) @ atoms.cell.array) < 0.4
