"""What point scattering and angular features have in common: geometry, derivatives, pipelines."""

import pickle

import numpy as np
import pytest
import skops.io
from ase import Atoms
from ase.build import bulk, make_supercell
from helpers.finite_differences import (
    check_atom_derivatives,
    check_derivatives,
    directional_differences,
    random_directions,
)
from helpers.small_structures import CELLS, random_rotation, rotated
from sklearn.base import clone
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import StandardScaler

from skwavelet import (
    AngularFeatures,
    EnergyForceRegressor,
    GreedyOLSRegressor,
    PointInvariants,
    PointScattering,
    ScatteringCalculator,
    VoxelScattering,
    prune,
)
from skwavelet.potentials.linear_chain import feature_chain
from skwavelet.structures.checks import check_structures
from skwavelet.structures.directions import Directions

ELEMENTS = [Atoms("LiSi", [[0, 0, 0], [0, 0, 2.4]]), Atoms("OSi", [[0, 0, 0], [0, 0, 1.6]])]

POINT = {"n": (1, 2, 3), "max_l": 2, "order": 2, "channels": ["kinetic"]}
POINT |= {"beta": 0.7, "n_scales": 2, "scale_step": 1.0, "reach": None}
ANGULAR = {"n_radial": 3, "n_angular": 4, "reach": 4.2}
KINDS = {
    "point": PointScattering(**POINT, dtype="float64"),
    "point, lower order": PointScattering(**POINT, dtype="float64", normalize="lower_order"),
    "point, all centers": PointScattering(
        **POINT, dtype="float64", centers="all", powers=(1.5, 3), normalize=None
    ),
    "point, first order": PointScattering(
        **POINT | {"order": 1, "channels": "auto"}, dtype="float64"
    ),
    "invariants": PointInvariants((5, 4, 3), n=3, n_scales=2, reach=4.2, dtype="float64"),
    "gaussian angles": AngularFeatures(**ANGULAR, dtype="float64"),
    "legendre angles": AngularFeatures(**ANGULAR, dtype="float64", angles="legendre"),
}
# Radial functions that are learned need more than pairs of atoms.
TRAINING = {
    "invariants": [*ELEMENTS, *(CELLS[name]() for name in ("triclinic", "three_elements", "slab"))]
}
MAIN = ["point", "point, first order", "invariants", "gaussian angles", "legendre angles"]


def fitted(kind, **options):
    return clone(KINDS[kind]).set_params(**options).fit(TRAINING.get(kind, ELEMENTS))


def without_noise(transformer, atoms):
    """Leave out features that are zero but for the rounding of sums that cancel."""
    features = np.abs(transformer.transform([atoms])[0])
    return transformer.restrict(np.flatnonzero(features > 1e-10 * features.max()))


def assert_same_features(kind, atoms, others, rtol=1e-10):
    transformer = fitted(kind)
    expected = transformer.transform([atoms])
    scale = np.abs(expected).max()
    assert np.count_nonzero(expected) > 50
    np.testing.assert_allclose(
        transformer.transform(others),
        np.repeat(expected, len(others), axis=0),
        rtol=rtol,
        atol=1e-12 * scale,
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CELLS)
def test_derivatives(kind, name):
    atoms, transformer = CELLS[name](), fitted(kind)
    if kind != "point, lower order":
        transformer = without_noise(transformer, atoms)
        assert transformer.n_features_out_ > 100
        check_derivatives(transformer, atoms, step=1e-4)
    else:
        # Ratios of small sums bend quickly.
        check_derivatives(transformer, atoms, step=1e-5, tolerance=1e-5)


@pytest.mark.parametrize("kind", MAIN)
def test_derivatives_of_cells_smaller_than_the_reach(kind):
    rng = np.random.default_rng(0)
    atoms = bulk("Si")
    atoms.set_cell(atoms.cell.array + rng.normal(scale=0.2, size=(3, 3)), scale_atoms=True)
    check_derivatives(without_noise(fitted(kind), atoms), atoms, step=1e-4)
    # The features of one atom per cell do not change as it moves, but under strain.
    atoms = bulk("Li")
    transformer = without_noise(fitted(kind), atoms)
    ((forces, _),) = transformer.vjp([atoms], np.ones((1, transformer.n_features_out_)))
    assert np.abs(forces).max() < 1e-12
    strain = rng.normal(scale=0.3, size=(3, 3))
    (derivative,) = transformer.jvp([atoms], strains=[strain[None]])
    expected = directional_differences(transformer, atoms, np.zeros((1, 3)), strain, 1e-4)
    np.testing.assert_allclose(derivative[0], expected, rtol=1e-6, atol=1e-8 * abs(expected).max())


@pytest.mark.parametrize("kind", MAIN)
def test_derivatives_in_single_precision(kind):
    atoms = CELLS["triclinic"]()
    single, double = (fitted(kind, dtype=d) for d in ("float32", "float64"))
    rng = np.random.default_rng(1)
    cotangent = rng.normal(size=(1, single.n_features_out_))
    ((g32, s32),), ((g64, s64),) = single.vjp([atoms], cotangent), double.vjp([atoms], cotangent)
    assert np.abs(g32 - g64).max() < 1e-4 * np.abs(g64).max()
    assert np.abs(s32 - s64).max() < 1e-4 * np.abs(s64).max()


@pytest.mark.parametrize("kind", MAIN)
@pytest.mark.parametrize("name", CELLS)
def test_invariances(kind, name):
    atoms = CELLS[name]()
    shifted = atoms.copy()
    shifted.positions += [0.7, -12.3, 5.1]
    order = np.random.default_rng(0).permutation(len(atoms))
    reflection = rotated(atoms, np.diag([1.0, -1.0, 1.0]))
    turned = rotated(atoms, random_rotation(3))
    assert_same_features(kind, atoms, [shifted, atoms[order], reflection, turned], rtol=1e-8)


@pytest.mark.parametrize("kind", MAIN)
def test_supercells_and_other_cells_of_the_same_crystal(kind):
    atoms = CELLS["triclinic"]()
    sheared = atoms.copy()
    sheared.set_cell(np.array([[1, 1, 0], [0, 1, 0], [-1, 0, 1]]) @ atoms.cell.array)
    wrapped = atoms.copy()
    wrapped.positions += np.array([[2, 0, 0], [0, -1, 3], [0, 0, 0]]) @ atoms.cell.array
    tripled = make_supercell(atoms, [[1, 1, 0], [-1, 1, 0], [0, 1, 2]])
    assert_same_features(kind, atoms, [sheared, wrapped, atoms * (2, 1, 3), tripled], rtol=1e-8)
    slab = CELLS["slab"]()
    assert_same_features(kind, slab, [slab * (2, 1, 2)], rtol=1e-8)


@pytest.mark.parametrize("kind", MAIN)
def test_invariances_in_single_precision(kind):
    atoms = CELLS["triclinic"]()
    others = [rotated(atoms, random_rotation(3)), atoms * (2, 1, 3)]
    transformer = fitted(kind, dtype="float32")
    expected = transformer.transform([atoms])
    for features in transformer.transform(others):
        np.testing.assert_allclose(
            features, expected[0], rtol=3e-4, atol=1e-5 * np.abs(expected).max()
        )


@pytest.mark.parametrize("kind", MAIN)
def test_features_and_slopes_are_continuous_as_an_atom_enters_the_reach(kind):
    transformer = fitted(kind)
    reach = transformer.reaches_[-1] if "point" in kind else transformer.reach
    # A third atom comes near two others from far away.
    direction = np.array([0.6, 0.0, 0.8])

    def features_and_slope(r):
        atoms = Atoms("LiSiSi", [[0, 0, 0], [1.1, 1.5, -1.2], r * direction])
        move = np.zeros((1, 3, 3))
        move[0, 2] = direction
        return transformer.transform([atoms])[0], transformer.jvp([atoms], [move])[0][0]

    outside, slope_outside = features_and_slope(reach + 1e-9)
    scale = np.abs(features_and_slope(0.6 * reach)[1]).max()
    assert np.abs(slope_outside).max() < 1e-9 * scale  # the reach to the other atom is longer
    # The cutoff of the invariants falls with the third power, to rounding errors sooner.
    distances = np.array([4e-3, 2e-3, 1e-3]) * (10 if kind == "invariants" else 1)
    rises, slopes = [], []
    for distance in distances:
        features, slope = features_and_slope(reach - distance)
        rises.append(np.abs(features - outside).max())
        slopes.append(np.abs(slope).max())
    # Values fall at least quadratically, slopes at least linearly, and neither is zero.
    assert min(rises) > 0
    assert min(slopes) > 0
    assert (np.diff(np.log(rises)) < np.log(0.3)).all()
    assert (np.diff(np.log(slopes)) < np.log(0.6)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_isolated_atoms_have_nothing_beyond_order_zero(kind):
    transformer = fitted(kind)
    apart = Atoms("LiSi", [[0, 0, 0], [0, 0, 50.0]])
    structures = [Atoms("O"), apart, Atoms("Li", cell=[60, 60, 60], pbc=True)]
    features = transformer.transform(structures)
    beyond = (transformer.feature_table_["order"] > 0).to_numpy()
    assert (features[:, beyond] == 0).all()
    assert (features[:, ~beyond].sum(axis=1) > 0).all()
    for atoms in structures:
        (pair,) = transformer.vjp([atoms], np.ones((1, transformer.n_features_out_)))
        assert all((gradient == 0).all() for gradient in pair)
        (tangent,) = transformer.jvp([atoms], [np.ones((2, len(atoms), 3))])
        assert tangent.shape == (2, transformer.n_features_out_)
        assert (tangent == 0).all()


@pytest.mark.parametrize("kind", [kind for kind in MAIN if kind != "invariants"])
def test_a_channel_without_weight_is_zero_and_no_nan(kind):
    # Hydrogen has no electrons but valence ones.
    molecules = [Atoms("H2", [[0, 0, 0], [0, 0, d]]) for d in (0.7, 0.75)]
    transformer = clone(KINDS[kind]).set_params(channels=["ionic", "valence"]).fit(molecules)
    features = transformer.transform(molecules)
    ionic = (transformer.feature_table_["channel"] == "ionic").to_numpy()
    assert (features[:, ionic] == 0).all()
    assert (features[:, ~ionic] != 0).any()
    for gradient, strain in transformer.vjp(molecules, np.ones_like(features)):
        assert np.isfinite(gradient).all()
        assert np.isfinite(strain).all()


@pytest.mark.parametrize("kind", MAIN)
def test_atoms_at_the_same_place_are_refused(kind):
    bad = Atoms("LiSi", [[0, 0, 0], [0, 0, 1e-4]])
    with pytest.raises(ValueError, match=r"Structure 1 has atoms \d and \d at the same place"):
        fitted(kind).transform([CELLS["molecule"](), bad])


@pytest.mark.parametrize("kind", MAIN)
def test_large_structures_are_worked_on_in_blocks(kind, monkeypatch):
    atoms = CELLS["triclinic"]() * (2, 2, 2)
    transformer = fitted(kind)
    cotangent = np.random.default_rng(0).normal(size=(1, transformer.n_features_out_))
    whole = transformer.value_and_vjp([atoms], cotangent)[0]
    monkeypatch.setattr("skwavelet.structures.cell_list.PAIRS", 64)
    monkeypatch.setattr("skwavelet.representations.angular.evaluator.PAIRS", 64)
    monkeypatch.setattr("skwavelet.representations.point.first_order.DERIVATIVE_PAIRS", 64)
    monkeypatch.setattr("skwavelet.representations.point.second_order.DERIVATIVE_BYTES", 1)
    for part, expected in zip(transformer.value_and_vjp([atoms], cotangent)[0], whole, strict=True):
        np.testing.assert_allclose(part, expected, rtol=1e-9, atol=1e-11 * np.abs(expected).max())
    atoms = CELLS["triclinic"]()
    check_derivatives(without_noise(transformer, atoms), atoms, step=1e-4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["triclinic", "slab", "molecule"])
def test_derivatives_of_atoms(kind, name):
    atoms = CELLS[name]()
    check_atom_derivatives(without_noise(fitted(kind), atoms), atoms)


@pytest.mark.parametrize("kind", MAIN)
def test_float32_derivatives_of_atoms(kind):
    """Single precision against double, and in its own type."""
    (structure,) = check_structures([CELLS["slab"]()])
    single, double = (fitted(kind, dtype=dtype)._evaluator for dtype in ("float32", "float64"))
    directions = Directions(*random_directions(CELLS["slab"](), 3))
    expected, derivatives = (e.atom_jvp(structure, directions) for e in (double, single))
    assert derivatives.dtype == np.float32
    assert np.linalg.norm(derivatives - expected) <= 5e-5 * np.linalg.norm(expected)
    cotangents = np.random.default_rng(0).normal(size=expected.shape[1:])
    for one, other in zip(
        single.atom_vjp(structure, cotangents), double.atom_vjp(structure, cotangents), strict=True
    ):
        assert np.linalg.norm(one - other) <= 5e-5 * np.linalg.norm(other)


@pytest.mark.parametrize("kind", MAIN)
def test_atoms_that_are_far_have_no_derivative(kind, monkeypatch):
    """Entries are pairs that see each other, images included once; blocks change nothing."""
    chain = Atoms("SiLiSi", [[0, 0, 0], [2.2, 0, 0], [0, 0, 60.0]], cell=[4, 60, 90], pbc=True)
    (structure,) = check_structures([chain])
    evaluator = fitted(kind)._evaluator
    whole = evaluator.atom_jacobian(structure)
    near = [(0, 0), (0, 1), (1, 0), (1, 1), (2, 2)]
    assert list(zip(whole.centers, whole.atoms, strict=True)) == near
    # What is moved as a whole does not change, and a lone chain along x has one strain.
    assert np.abs(whole.values[:2].sum(axis=0)).max() < 1e-12 * np.abs(whole.values).max()
    assert not whole.strain[2, 1:].any()
    assert whole.strain[2, 0, 0].any()
    monkeypatch.setattr("skwavelet.representations.atom_jacobian.DIRECTION_BYTES", 1)
    parts = evaluator.atom_jacobian(structure)
    for name in ("features", "centers", "atoms", "values", "strain"):
        np.testing.assert_allclose(
            getattr(parts, name), getattr(whole, name), rtol=1e-9, atol=1e-13
        )


@pytest.mark.parametrize("kind", KINDS)
def test_features_of_atoms_add_up(kind):
    structures = [CELLS["slab"](), CELLS["molecule"](), Atoms("O")]
    transformer = fitted(kind)
    arrays = transformer.transform_atoms(structures)
    assert [a.shape for a in arrays] == [(n, transformer.n_features_out_) for n in (3, 3, 1)]
    means = fitted(kind, normalize="atoms").transform(structures)
    np.testing.assert_allclose(
        [a.mean(axis=0) for a in arrays], means, rtol=1e-10, atol=1e-13 * means.max()
    )
    # An atom knows the atoms within its reach only, and keeps its own place in the order.
    order = [2, 0, 1]
    (turned,) = transformer.transform_atoms([structures[1][order]])
    np.testing.assert_allclose(turned, arrays[1][order], rtol=1e-8, atol=1e-13 * means.max())
    part = transformer.restrict([50, 3]).transform_atoms(structures)
    np.testing.assert_allclose(part[0], arrays[0][:, [50, 3]], rtol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_restricted_transformers_compute_the_same_features(kind):
    transformer, structures = fitted(kind), [CELLS["triclinic"](), CELLS["molecule"]()]
    everything = transformer.transform(structures)
    rng = np.random.default_rng(0)
    for size in (1, 7, 40):
        columns = rng.permutation(transformer.n_features_out_)[:size]
        small = transformer.restrict(columns)
        np.testing.assert_allclose(
            small.transform(structures), everything[:, columns], rtol=1e-9, atol=1e-14
        )
        assert (small.get_feature_names_out() == transformer.get_feature_names_out()[columns]).all()
    only_composition = np.flatnonzero(transformer.feature_table_["order"] == 0)
    small = transformer.restrict(only_composition)
    np.testing.assert_allclose(small.transform(structures), everything[:, only_composition])
    assert small.jvp(structures[:1], [np.ones((1, 3, 3))])[0].shape == (1, len(only_composition))


@pytest.mark.parametrize("kind", MAIN)
def test_pickles_and_processes_give_the_same(kind):
    transformer = fitted(kind)
    structures = [CELLS[name]() for name in CELLS]
    features = transformer.transform(structures)
    copied = pickle.loads(pickle.dumps(transformer))
    np.testing.assert_array_equal(copied.transform(structures), features)
    parallel = fitted(kind, n_jobs=2).transform(structures)
    np.testing.assert_array_equal(parallel, features)


@pytest.mark.parametrize("kind", MAIN)
def test_evaluators_are_stored_by_skops(kind):
    evaluator = fitted(kind)._evaluator
    data = skops.io.dumps(evaluator)
    stored = skops.io.loads(data, trusted=skops.io.get_untrusted_types(data=data))
    (structure,) = check_structures([CELLS["slab"]()])
    np.testing.assert_array_equal(stored.values(structure), evaluator.values(structure))


def strained_crystals():
    rng = np.random.default_rng(0)
    structures = []
    for a in np.linspace(5.2, 5.8, 12):
        atoms = bulk("Si", cubic=True, a=a)
        atoms.positions += rng.normal(scale=0.05, size=(8, 3))
        structures.append(atoms)
    return structures


def test_union_with_voxels_trains_prunes_and_drives_a_calculator():
    structures = strained_crystals()
    energies = np.array([(a.get_volume() / 160 - 1) ** 2 - 4.6 for a in structures])
    union = FeatureUnion([
        ("voxel", VoxelScattering(order=1, channels=["number"], spacing=0.5, dtype="float64")),
        ("point", PointScattering(channels=["number"], dtype="float64")),
        ("angular", AngularFeatures(3, 3, channels=["number"], powers=(1,), dtype="float64")),
    ])  # fmt: skip
    model = make_pipeline(
        union.set_output(transform="pandas"),
        StandardScaler(),
        GreedyOLSRegressor(6, validation_fraction=None),
    ).fit(structures, energies)
    names = model[0].get_feature_names_out()
    assert len(set(names)) == len(names)
    np.testing.assert_allclose(prune(model).predict(structures), model.predict(structures))
    atoms = structures[0].copy()
    atoms.calc = ScatteringCalculator(model)
    forces, step = atoms.get_forces(), 1e-4
    energy = []
    for sign in (1, -1):
        moved = atoms.copy()
        moved.calc = atoms.calc
        moved.positions[2, 1] += sign * step
        energy.append(moved.get_potential_energy())
    expected = -(energy[0] - energy[1]) / (2 * step)
    assert forces[2, 1] == pytest.approx(expected, rel=1e-4, abs=1e-7)


TRAINED = {
    "point": PointScattering((2, 3), 1, n_scales=1, channels=["number"], dtype="float64"),
    "gaussian angles": AngularFeatures(3, 3, channels=["number"], powers=(1,), dtype="float64"),
    "legendre angles": AngularFeatures(
        3, 3, channels=["number"], powers=(1,), angles="legendre", dtype="float64"
    ),
}
TRAINED["union"] = FeatureUnion([
    ("voxel", VoxelScattering(2, 1, order=1, channels=["number"], spacing=0.5, dtype="float64")),
    ("point", TRAINED["point"]),
    ("angular", TRAINED["gaussian angles"]),
])  # fmt: skip


@pytest.mark.parametrize("kind", TRAINED)
def test_energies_forces_and_stresses_train(kind):
    """Labels that are linear in two features are learned, and predicted for other structures."""
    structures = strained_crystals()
    for atoms in structures[1::2]:
        atoms.positions += np.random.default_rng(1).normal(scale=0.1, size=(8, 3))
    features = clone(TRAINED[kind]).fit(structures)
    weights = np.zeros(features.transform(structures[:1]).shape[1])
    weights[[-1, 7]] = 0.3, -0.2
    truth = feature_chain(features).then(weights[:, None], np.array([-4.6]))
    labels = truth.value_and_vjp(structures, np.array([[len(atoms)] for atoms in structures]))
    energies = np.array([energy[0] for energy, _, _ in labels])
    forces = [-gradient for _, gradient, _ in labels]
    stress = [
        strain[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]] / atoms.get_volume()
        for atoms, (_, _, strain) in zip(structures, labels, strict=True)
    ]
    model = EnergyForceRegressor(
        TRAINED[kind], GreedyOLSRegressor(20, validation_fraction=None), n_directions=2,
        random_state=0,
    ).fit(structures[:8], energies[:8], forces=forces[:8], stress=stress[:8])  # fmt: skip
    unseen = structures[8:]
    np.testing.assert_allclose(model.predict(unseen), energies[8:], rtol=1e-8)
    for predicted, expected in zip(model.predict_forces(unseen), forces[8:], strict=True):
        np.testing.assert_allclose(predicted, expected, atol=1e-7 * abs(expected).max())
    np.testing.assert_allclose(
        model.predict_stress(unseen), stress[8:], atol=1e-7 * np.abs(stress).max()
    )
