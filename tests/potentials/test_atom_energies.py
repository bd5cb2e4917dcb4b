"""Energies of atoms: they add up, see their surroundings only, and have the right derivatives."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import PropertyNotImplementedError
from helpers.check_helpers import error_of
from helpers.emt_data import copper_crystals, small_scattering
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline

from skwavelet import (
    AngularFeatures,
    EnergyForceRegressor,
    FeatureScaler,
    PointScattering,
    RidgePath,
    ScatteringCalculator,
    prune,
)
from skwavelet.potentials.energy_model import energy_model
from skwavelet.representations.atomwise import AtomKernel, AtomPolynomial

FEATURES = {
    "point": PointScattering((1, 2), 1, n_scales=2, reach=3.5, dtype="float64"),
    "second": PointScattering((1, 2), 1, n_scales=2, reach=3.5, order=2, dtype="float64"),
    "angular": AngularFeatures(3, 3, reach=3.5, dtype="float64"),
    "polynomial": AtomPolynomial(
        PointScattering((1, 2), 1, n_scales=1, reach=3.5, powers=(1,), dtype="float64"),
        dtype="float64",
    ),
    "kernel": AtomKernel(
        PointScattering((1, 2), 1, n_scales=1, reach=3.5, powers=(2,), dtype="float64"),
        n_landmarks=20,
        random_state=0,
    ),
    # Of features whose sweeps do not take the first atoms only.
    "second polynomial": AtomPolynomial(
        PointScattering(2, 0, n_scales=1, reach=3.5, order=2, powers=(1,), dtype="float64"),
        dtype="float64",
    ),
}


@pytest.fixture(scope="module")
def data():
    return copper_crystals(8, symbols=("Cu", "Au"))


@pytest.fixture(scope="module", params=FEATURES)
def model(request, data):
    pipeline = make_pipeline(FEATURES[request.param], FeatureScaler(), Ridge(1e-3))
    return pipeline.fit(data.structures, data.energies)


def crystal():
    atoms = bulk("Cu", a=3.7, cubic=True).repeat((4, 3, 3))
    atoms.symbols[::3] = "Au"
    atoms.rattle(0.1, seed=3)
    return atoms


def test_they_add_up(model, data):
    calculator = ScatteringCalculator(model)
    for atoms in data.structures:
        energies = calculator.get_property("energies", atoms)
        assert energies.shape == (len(atoms),)
        np.testing.assert_allclose(
            energies.sum(), calculator.get_potential_energy(atoms), rtol=1e-9
        )
    assert "energies" in calculator.results


def test_single_precision(data):
    features = FEATURES["point"].__class__((1, 2), 1, n_scales=2, reach=3.5)
    model = make_pipeline(features, FeatureScaler(), Ridge(1e-3))
    model.fit(data.structures, data.energies)
    atoms = crystal()
    total = ScatteringCalculator(model).get_potential_energy(atoms)
    values = energy_model(model).of_atoms().values(atoms)
    np.testing.assert_allclose(values.sum(), total, rtol=1e-5)


def test_atoms_beyond_the_range_do_not_matter(model):
    """The energy of some atoms needs those within the range, and no others."""
    energies = energy_model(model).of_atoms()
    atoms = crystal()
    reach = energies.interaction_range
    n_atoms = 20
    expected, gradient, strain = energies.partial_value_and_vjp(atoms, n_atoms)
    np.testing.assert_allclose(expected, energies.values(atoms)[:n_atoms].sum(), rtol=1e-9)
    # All images of the others within the range stand around the first atoms.
    images = atoms.repeat((5, 5, 5))
    images.positions -= 2 * atoms.cell.array.sum(axis=0)
    first = atoms.positions[:n_atoms]
    distances = np.linalg.norm(images.positions[:, None] - first, axis=-1).min(axis=1)
    near = np.flatnonzero((distances < reach) & (distances > 1e-6))
    cluster = atoms[:n_atoms] + images[near]
    cluster.pbc = False
    found, forces, tensor = energies.partial_value_and_vjp(cluster, n_atoms)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    np.testing.assert_allclose(tensor, strain, atol=1e-9 * np.abs(strain).max())
    collected = np.zeros((len(atoms), 3))
    np.add.at(collected, np.concatenate([np.arange(n_atoms), near % len(atoms)]), forces)
    np.testing.assert_allclose(collected, gradient, atol=1e-9 * np.abs(gradient).max())


def test_the_range_is_not_larger_than_it_has_to_be(model):
    """Atoms just within the range do matter: a chain of atoms that hand the news on."""
    energies = energy_model(model).of_atoms()
    reach = energies.interaction_range
    for distance, matters in ((0.93 * reach, True), (1.01 * reach, False)):
        chain = Atoms("CuAuCu", [[0, 0, 0], [distance / 2, 0.3, 0], [distance, 0, 0]])
        moved = chain.copy()
        moved.positions[2, 1] += 0.2
        change = energies.values(moved)[0] - energies.values(chain)[0]
        assert (change != 0) == matters


def test_derivatives_of_a_part(model):
    energies = energy_model(model).of_atoms()
    atoms = crystal()
    n_atoms, step = 11, 1e-5
    _, gradient, strain = energies.partial_value_and_vjp(atoms, n_atoms)
    rng = np.random.default_rng(0)
    direction, tensor = rng.normal(size=(len(atoms), 3)), rng.normal(size=(3, 3))
    values, parts = [], []
    for sign in (1, -1):
        moved = atoms.copy()
        moved.positions += sign * step * direction
        deformation = np.eye(3) + sign * step * tensor
        moved.set_cell(moved.cell.array @ deformation)
        moved.positions = moved.positions @ deformation
        values.append(energies.partial_value_and_vjp(moved, n_atoms)[0])
        parts.append(energies.values(moved))
    slope = (values[0] - values[1]) / (2 * step)
    np.testing.assert_allclose(
        slope, (gradient * direction).sum() + (strain * tensor).sum(), rtol=1e-6
    )
    # Virials are those of the energies of atoms in strained cells, ...
    values = []
    for sign in (1, -1):
        strained = atoms.copy()
        deformation = np.eye(3) + sign * step * tensor
        strained.set_cell(strained.cell.array @ deformation, scale_atoms=True)
        values.append(energies.values(strained))
    slopes = (values[0] - values[1]) / (2 * step)
    found = -(energies.virials(atoms) * tensor).sum(axis=(1, 2))
    np.testing.assert_allclose(found, slopes, atol=1e-6 * np.abs(slopes).max())
    # ... and the strain of all atoms is their sum.
    _, _, strain = energies.partial_value_and_vjp(atoms, len(atoms))
    np.testing.assert_allclose(
        -energies.virials(atoms).sum(axis=0), strain, atol=1e-9 * np.abs(strain).max()
    )


@pytest.mark.parametrize("kind", ["point", "kernel", "second polynomial"])
def test_the_spread_of_parts_adds_up_to_that_of_the_calculator(data, kind):
    regressor = EnergyForceRegressor(FEATURES[kind], RidgePath(), random_state=0)
    regressor.fit(data.structures, data.energies, data.forces)
    model, atoms, n_atoms = energy_model(regressor), crystal(), 11
    spread = model.spread_of_atoms()
    energies, gradients = spread.partial(atoms, n_atoms)
    swapped = np.roll(np.arange(len(atoms)), -n_atoms)
    others, back = spread.partial(atoms[swapped], len(atoms) - n_atoms)
    gradients[swapped] += back
    values = model.values([atoms])
    np.testing.assert_allclose((energies + others) / len(atoms), values[0, 1:], rtol=1e-9)
    assert np.abs(energies / n_atoms - values[0, 1:]).max() > 1e-6
    ((low, high),) = regressor.predict_interval([atoms], coverage=0.6)
    assert -np.inf < low < values[0, 0] < high < np.inf
    calculator = ScatteringCalculator(regressor)
    np.testing.assert_allclose(
        model.forces_std(gradients.transpose(1, 0, 2), calculator.get_forces(atoms), atoms.numbers),
        calculator.get_property("forces_std", atoms),
        rtol=1e-8,
    )


def test_models_without_spread_say_so(data):
    pipeline = make_pipeline(FEATURES["point"], FeatureScaler(), Ridge(1e-3))
    pipeline.fit(data.structures, data.energies)
    error_of(
        lambda: energy_model(pipeline).spread_of_atoms(), TypeError, "has no standard deviations"
    )
    voxel = make_pipeline(small_scattering(), RidgePath()).fit(data.structures, data.energies)
    error_of(lambda: energy_model(voxel).spread_of_atoms(), TypeError, "is not local")


def test_pruned_models(data):
    pipeline = make_pipeline(FEATURES["point"], FeatureScaler(), Ridge(1e-3))
    pipeline.fit(data.structures, data.energies)
    pipeline[-1].coef_[np.arange(len(pipeline[-1].coef_)) % 7 > 0] = 0
    atoms, energies = crystal(), energy_model(pipeline).of_atoms()
    for pruned in (prune(pipeline), make_pipeline(pipeline[0], pipeline[1], pipeline[2])):
        found = energy_model(pruned).of_atoms()
        np.testing.assert_allclose(found.values(atoms), energies.values(atoms), rtol=1e-9)
        part, expected = (e.partial_value_and_vjp(atoms, 9) for e in (found, energies))
        for one, other in zip(part, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-8, atol=1e-9)
    assert energies.elements == ("Cu", "Au")


def test_models_without_energies_of_atoms(data):
    voxel = make_pipeline(small_scattering(), FeatureScaler(), Ridge(1e-3))
    voxel.fit(data.structures, data.energies)
    error_of(lambda: energy_model(voxel).of_atoms(), TypeError, "VoxelScattering is not local")
    point = make_pipeline(FEATURES["point"], FeatureScaler(), Ridge(1e-3))
    point.fit(data.structures, data.energies)
    error_of(
        lambda: energy_model(point).of_totals().of_atoms(), TypeError, "model of total energies"
    )
    for calculator in (ScatteringCalculator(voxel), ScatteringCalculator(point, per_atom=False)):
        with pytest.raises(PropertyNotImplementedError):
            calculator.get_property("energies", data.structures[0])
