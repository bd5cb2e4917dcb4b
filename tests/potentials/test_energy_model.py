"""One contract of every fitted model: eV/atom, derivatives, members, whatever it is wrapped in."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from helpers.emt_data import copper_crystals, small_scattering
from sklearn.base import BaseEstimator
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skwavelet import (
    BaggedOLSEnsemble,
    EnergyForceRegressor,
    ScatteringCalculator,
    fit_to_budget,
    prune,
    rank_structures,
)
from skwavelet.inspection import EnergyVolumeDisplay, PathEnergyDisplay, bulk_modulus
from skwavelet.potentials.contract import EnergyModel
from skwavelet.potentials.energy_model import energy_model


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def copper():
    return copper_crystals(12, rattle=0.15, strain=0.02)


@pytest.fixture(scope="module")
def ensemble(copper):
    features = make_pipeline(small_scattering(order=1), StandardScaler())
    regressor = BaggedOLSEnsemble(4, max_features=5, random_state=0)
    model = EnergyForceRegressor(features, regressor, n_directions="all")
    return model.fit(copper.structures, copper.energies, forces=copper.forces)


def pipeline():
    return make_pipeline(small_scattering(order=1), StandardScaler(), Ridge(1e-3))


WRAPPED = {
    "grid": lambda: GridSearchCV(pipeline(), {"ridge__alpha": [1e-3]}, cv=2),
    "randomized": lambda: RandomizedSearchCV(pipeline(), {"ridge__alpha": [1e-3]}, n_iter=1, cv=2),
    "frozen": lambda: FrozenEstimator(GridSearchCV(pipeline(), {"ridge__alpha": [1e-3]}, cv=2)),
    "steps": lambda: make_pipeline(pipeline()),
    "last step": lambda: make_pipeline(
        small_scattering(order=1), StandardScaler(), GridSearchCV(Ridge(), {"alpha": [1e-3]}, cv=2)
    ),
}


@pytest.mark.parametrize("name", WRAPPED)
def test_wrapped_models_are_what_they_wrap(copper, name):
    X, y = copper.structures, copper.energies
    plain, wrapped = pipeline().fit(X, y), WRAPPED[name]()
    if name == "frozen":
        wrapped.estimator.fit(X, y)
    else:
        wrapped.fit(X, y)
    atoms = X[0].copy()
    results = []
    for model in (plain, wrapped):
        atoms.calc = ScatteringCalculator(model)
        results.append([atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress()])
        np.testing.assert_allclose(results[-1][0], 4 * model.predict([atoms])[0])
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)
    if name != "steps":
        np.testing.assert_allclose(prune(wrapped).predict(X), plain.predict(X), rtol=1e-6)


@pytest.mark.parametrize("inside", [False, True])
def test_targets_may_be_scaled_but_not_bent(copper, inside):
    X, y = copper.structures, copper.energies

    def with_targets(**options):
        if inside:
            last = TransformedTargetRegressor(Ridge(1e-3), **options)
            return make_pipeline(small_scattering(order=1), StandardScaler(), last)
        return TransformedTargetRegressor(pipeline(), **options)

    model = with_targets(transformer=StandardScaler()).fit(X, y)
    np.testing.assert_allclose(energy_model(model).values(X)[:, 0], model.predict(X), rtol=1e-9)
    bent = with_targets(func=np.exp, inverse_func=np.log).fit(X, y)
    with pytest.raises(TypeError, match="FunctionTransformer is not known to be linear"):
        ScatteringCalculator(bent)


def test_unfitted_and_foreign_models_are_refused(copper):
    for model in (pipeline(), GridSearchCV(pipeline(), {}), FrozenEstimator(pipeline())):
        with pytest.raises(NotFittedError):
            energy_model(model)
    with pytest.raises(TypeError, match="put its features and it into one"):
        energy_model(Ridge())
    search = GridSearchCV(pipeline(), {"ridge__alpha": [1e-3]}, cv=2, refit=False)
    with pytest.raises(TypeError, match="set refit=True"):
        energy_model(search.fit(copper.structures, copper.energies))


class Springs(BaseEstimator):
    """A model of its own kind: E/N = k/2 (V/N - v0)² + atoms tied to where they should be."""

    def predict(self, X):
        return np.array([0.05 * (a.get_volume() / len(a) - 11.0) ** 2 / 2 for a in X])


class SpringsModel(EnergyModel):
    def __init__(self, model):
        self.model = model

    def values(self, X):
        return self.model.predict(X)[:, None]

    def value_and_vjp(self, X, cotangents):
        volumes = [atoms.get_volume() / len(atoms) for atoms in X]
        return [
            (value, np.zeros((len(a), 3)), weight * 0.05 * (v - 11.0) * v * np.eye(3))
            for a, v, value, (weight,) in zip(X, volumes, self.values(X), cotangents, strict=True)
        ]


@energy_model.register
def _(model: Springs) -> EnergyModel:
    return SpringsModel(model)


def test_another_kind_of_model_registers_itself():
    """K = V d²E/dV² = N k v0² / (N v0) per volume: the same for any number of atoms."""
    expected = 0.05 * 11.0 / units.GPa
    for repeat in (1, 2):
        X = [bulk("Cu", a=np.cbrt(4 * v), cubic=True) * (repeat, 1, 1) for v in (10.8, 11.0, 11.2)]
        display = EnergyVolumeDisplay.from_estimator(Springs(), X)
        np.testing.assert_allclose(display.bulk_modulus, expected, rtol=1e-6)
        energies = []
        for atoms in X:
            atoms.calc = ScatteringCalculator(Springs())
            energies.append(atoms.get_potential_energy())
        volumes = [atoms.get_volume() for atoms in X]
        np.testing.assert_allclose(bulk_modulus(volumes, energies), expected, rtol=1e-6)
        pressure = 0.05 * (10.8 - 11.0)
        np.testing.assert_allclose(X[0].get_stress(), 3 * [pressure] + 3 * [0], atol=1e-12)
        np.testing.assert_allclose(
            PathEnergyDisplay.from_estimator(Springs(), X[::-1]).predictions["model"][0],
            energies[::-1],
        )


def test_values_and_gradients_of_every_member(copper, ensemble):
    model, atoms = energy_model(ensemble), copper.structures[0]
    assert model.n_members == 4
    values = model.values(copper.structures)
    np.testing.assert_allclose(values[:, 0], ensemble.predict(copper.structures))
    np.testing.assert_allclose(values[:, 1:].mean(axis=1), values[:, 0], rtol=1e-10)
    cotangent = np.random.default_rng(0).normal(size=5)
    ((value, gradient, _),) = model.value_and_vjp([atoms], cotangent[None])
    np.testing.assert_allclose(value, values[0])

    def moved(step):
        other = atoms.copy()
        other.positions[1, 2] += step
        return model.values([other])[0] @ cotangent

    slope = (moved(1e-4) - moved(-1e-4)) / 2e-4
    np.testing.assert_allclose(gradient[1, 2], slope, rtol=1e-5)
    alone = model.without_members()
    assert alone.n_members == 0
    np.testing.assert_allclose(alone.values([atoms])[0], values[0, :1])


def test_members_cost_nothing_unless_they_are_asked_for(copper, ensemble, monkeypatch):
    from skwavelet.potentials.linear_chain import LinearChain

    outputs, value_and_vjp = [], LinearChain.value_and_vjp

    def counted(self, X, cotangents):
        outputs.append((self.n_outputs, len(X)))
        return value_and_vjp(self, X, cotangents)

    monkeypatch.setattr(LinearChain, "value_and_vjp", counted)
    atoms = copper.structures[0].copy()
    atoms.calc = ScatteringCalculator(ensemble)
    atoms.get_forces(), atoms.get_stress(), atoms.get_potential_energy()
    assert outputs == [(1, 1)]
    atoms.calc.get_property("forces_std", atoms)
    assert outputs[1][0] == 5
    assert outputs[1][1] > 1


def test_results_are_what_ase_knows(copper, ensemble):
    """Labels of a model are kept in the usual way, and the spread is asked for by name."""
    atoms = copper.structures[0].copy()
    calc = atoms.calc = ScatteringCalculator(ensemble)
    assert calc.get_property("energy_std", atoms, allow_calculation=False) is None
    energy, spread = atoms.get_potential_energy(), calc.get_property("energy_std", atoms)
    forces, forces_std = atoms.get_forces(), calc.get_property("forces_std", atoms)
    assert calc.get_property("energy_std") == spread > 0
    frozen = SinglePointCalculator(atoms, **calc.results)
    assert frozen.get_property("energy", atoms) == pytest.approx(energy, rel=1e-12)
    np.testing.assert_allclose(frozen.get_property("forces", atoms), forces)
    # Nothing of another structure is left.
    atoms.positions[0] += 0.1
    atoms.get_forces()
    assert calc.get_property("forces_std", atoms, allow_calculation=False) is None
    assert np.abs(calc.get_property("forces_std", atoms) - forces_std).max() > 0
    assert calc.get_property("energy_std", atoms) != spread


def test_searches_are_ranked_and_fitted_to_budgets(copper):
    X, y = copper.structures, copper.energies
    regressor = BaggedOLSEnsemble(3, max_features=4, random_state=0)
    model = make_pipeline(small_scattering(order=1), regressor)
    search = GridSearchCV(model, {"baggedolsensemble__max_features": [4]}, cv=2).fit(X, y)
    assert sorted(rank_structures(search, X)) == list(range(12))
    assert fit_to_budget(search, X, y, n_features=3)[0].estimator.n_features_out_ <= 3
