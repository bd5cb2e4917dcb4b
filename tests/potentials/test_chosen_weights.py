"""Which weights of forces and stresses, and how many features, a potential takes by default."""

import numpy as np
import pytest
from ase import Atoms
from sklearn.linear_model import Ridge

from skwavelet import EnergyForceRegressor, PointInvariants, RidgePath
from skwavelet.potentials.default_features import chosen_decay, default_features
from tests.helpers.emt_data import copper_crystals


def fitted(data, regressor=None, **settings):
    features = PointInvariants((3, 2, 2), reach=4.0)
    model = EnergyForceRegressor(features, regressor, random_state=0, **settings)
    return model.fit(data.structures, data.energies, forces=data.forces, stress=data.stress)


@pytest.fixture(scope="module")
def copper():
    return copper_crystals(20, seed=3)


def test_the_default_model_chooses_weights_on_structures_held_out(copper, capsys):
    model = fitted(copper, verbose=True)
    path, factors = model.regressor_.path_, model.regressor_.kind_weights_
    best = path.loc[path["held_out_rmse"].idxmin()]
    errors = best[["rmse_0", "rmse_1", "rmse_2"]]
    np.testing.assert_allclose(best["held_out_rmse"], errors.prod() ** (1 / 3))
    np.testing.assert_allclose(model.force_weight_, 0.001 * factors[1])
    np.testing.assert_allclose(model.stress_weight_, factors[2])
    assert path["weight_1"].nunique() > 1
    assert path["weight_2"].nunique() > 1
    printed = f"force_weight={model.force_weight_:.2g}, stress_weight={model.stress_weight_:.2g}"
    assert printed in capsys.readouterr().out
    # Weights that are given make the same model.
    given = {"force_weight": model.force_weight_, "stress_weight": model.stress_weight_}
    same = fitted(copper, RidgePath([model.regressor_.alpha_]), **given)
    np.testing.assert_allclose(same.regressor_.coef_, model.regressor_.coef_, rtol=1e-4, atol=1e-7)


def test_given_weights_stay(copper):
    model = fitted(copper, force_weight=0.02)
    assert model.force_weight_ == 0.02
    assert "weight_1" not in model.regressor_.path_
    assert "weight_2" in model.regressor_.path_
    model = fitted(copper, force_weight=0.02, stress_weight=3.0)
    assert (model.force_weight_, model.stress_weight_) == (0.02, 3.0)
    assert list(model.regressor_.path_) == ["alpha", "held_out_rmse"]


def test_other_linear_models_have_the_documented_weights(copper):
    model = fitted(copper, Ridge(1e-6))
    assert (model.force_weight_, model.stress_weight_) == (0.001, 1.0)


@pytest.mark.parametrize(
    ("n_elements", "n_labels", "each"),
    [
        (1, 10, 1500),
        (1, 10**6, 1500),
        (2, 8000, 1000),
        (3, 18000, 1500),
        (3, 24000, 2000),
        (4, 31999, 1500),
        (4, 32000, 2000),
        (5, 10**6, 1200),
    ],
)
def test_default_products_grow_with_the_labels(n_elements, n_labels, each):
    features = default_features(n_elements, n_labels, decay=6)
    assert features.max_products == each
    assert (features.representation.n_components is None) == (each <= 1500)
    assert features.representation.decay == 6


def floppy_molecules(near, n_molecules=60):
    """Stiff molecules among atoms that drift about, and the forces of bonds or of these atoms."""
    rng = np.random.default_rng(0)
    structures, energies, forces = [], [], []
    for _ in range(n_molecules):
        drifting = np.concatenate([np.eye(3), -np.eye(3)]) * rng.uniform(3.0, 5.5, (6, 1))
        drifting += rng.normal(scale=0.2, size=(6, 3))
        bonded = np.array([[0, 0, 0], [1.2, 0, 0], [0, 1.0, 0]]) + rng.normal(0, 0.05, (3, 3))
        atoms = Atoms("COHCOHCOH", np.concatenate([bonded, drifting]))
        vectors = atoms.positions[1:] - atoms.positions[0]
        r = np.linalg.norm(vectors, axis=1)
        here = np.arange(8) < 2
        slope = np.where(here == near, 3 * np.cos(3 * r), 0.0)
        along = slope[:, None] * vectors / r[:, None]
        structures.append(atoms)
        energies.append(np.where(here == near, np.sin(3 * r), 0.0).sum() / 9)
        forces.append(np.concatenate([along.sum(axis=0, keepdims=True), -along]))
    return structures, np.array(energies), forces


@pytest.mark.parametrize(("near", "decay"), [(True, 6), (False, 3)])
def test_small_models_choose_radial_functions(near, decay):
    structures, energies, forces = floppy_molecules(near)
    groups, rng = np.arange(len(structures)), np.random.default_rng(0)
    assert chosen_decay(structures, energies, forces, groups, rng) == decay
