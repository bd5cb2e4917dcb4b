"""More structures for fitted potentials: training sets a part at a time, errors that are told."""

import tracemalloc

import numpy as np
import pytest
from helpers.check_helpers import error_of
from helpers.emt_data import copper_crystals
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import Ridge

from skwavelet import BaggedOLSEnsemble, EnergyForceRegressor, PointScattering, RidgePath
from skwavelet.potentials.active_learning import updatable
from skwavelet.potentials.energy_model import energy_model

FEATURES = PointScattering((1, 2), 1, n_scales=2, reach=3.9, powers=(1, 2), dtype="float64")
RIDGE = RidgePath([1e-5, 1e-3, 1e-1], updatable=True)


@pytest.fixture(scope="module")
def copper():
    return copper_crystals(60, symbols=("Cu", "Au"))


@pytest.fixture(scope="module")
def features(copper):
    return FrozenEstimator(FEATURES.fit(copper.structures))


def take(data, part):
    labels = data.energies[part], data.forces[part], data.stress[part]
    return data.structures[part], *labels


def in_parts(model, data, sizes):
    ends = np.cumsum(sizes)
    first, *rest = (slice(end - size, end) for size, end in zip(sizes, ends, strict=True))
    model.fit(*take(data, first))
    for part in rest:
        model.update(*take(data, part))
    return model


@pytest.mark.slow
def test_parts_are_the_whole(copper, features):
    model = EnergyForceRegressor(features, RIDGE, force_weight=0.02, stress_weight=1.0)
    parts = in_parts(clone(model), copper, [20, 1, 9, 30])
    alpha = parts.regressor_.alpha_
    whole = clone(model).set_params(regressor__alphas=[alpha]).fit(*take(copper, slice(None)))
    one, other = whole.regressor_, parts.regressor_
    np.testing.assert_allclose(one.coef_, other.coef_, atol=1e-10 * np.abs(one.coef_).max())
    X = copper.structures
    np.testing.assert_allclose(whole.predict(X), parts.predict(X), rtol=1e-10)
    forces, others = whole.predict_forces(X), parts.predict_forces(X)
    np.testing.assert_allclose(forces, others, atol=1e-10 * np.abs(forces).max())
    assert parts.n_rows_ == whole.n_rows_ == 60 * (1 + 12 + 6)
    # Every group has been told of once, whatever part it came in.
    _, counts = np.unique(parts._errors.groups, return_counts=True)
    assert counts.tolist() == [1 + 12 + 6] * 60


def test_memory_does_not_grow_with_the_number_of_structures(features, monkeypatch):
    monkeypatch.setattr("skwavelet.potentials.errors_out_of_bag._MOST_ERRORS", 50)
    peaks = []
    data = copper_crystals(10, symbols=("Cu", "Au"))
    EnergyForceRegressor(features, RIDGE).fit(*take(data, slice(None)))  # compiles
    for n_parts in (2, 8):
        model = EnergyForceRegressor(features, RIDGE)
        tracemalloc.start()
        model.fit(*take(data, slice(None)))
        for _ in range(n_parts):
            model.update(*take(data, slice(None)))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert model.n_rows_ == (1 + n_parts) * 10 * 19
    rows_of_one = 19 * features.estimator.n_features_out_ * 8
    assert peaks[1] - peaks[0] < 60 * rows_of_one / 10


def test_errors_that_are_remembered_do_not_grow_for_ever(copper, features, monkeypatch):
    monkeypatch.setattr("skwavelet.potentials.errors_out_of_bag._MOST_ERRORS", 100)
    model = EnergyForceRegressor(features, RIDGE)
    whole = EnergyForceRegressor(features, RIDGE).fit(*take(copper, slice(None)))
    in_parts(model, copper, [30, 10, 10, 10])
    assert 50 <= len(model._errors.errors) <= 100
    atoms = copper.structures[:1]
    for method in ("predict", "predict_forces", "predict_stress"):
        one, other = (getattr(each, method)(atoms, True)[1][0] for each in (model, whole))
        assert 0.3 < np.median(one / other) < 3


@pytest.mark.parametrize(
    "regressor", [RIDGE, BaggedOLSEnsemble(12, max_features=20, random_state=0)]
)
def test_updates_renew_calibrations(copper, features, regressor):
    """What is learned of errors that are larger than before, is told."""
    model = EnergyForceRegressor(features, regressor)
    model.fit(*take(copper, slice(0, 20)))
    X = copper.structures[:5]
    before = [model.predict(X, True)[1], *model.predict_forces(X, True)[1]]
    noise = np.random.default_rng(0)
    for start in (20, 40):
        structures, energies, forces, stress = take(copper, slice(start, start + 20))
        energies = energies + noise.normal(scale=0.1, size=20)
        forces = [force + noise.normal(scale=1.0, size=force.shape) for force in forces]
        model.update(structures, energies, forces, stress)
    after = [model.predict(X, True)[1], *model.predict_forces(X, True)[1]]
    for one, other in zip(before, after, strict=True):
        assert np.median(other / one) > 2
    low, high = model.predict_interval(X).T
    assert (high - low > 0.1).all()
    # Members are compared with the errors of the groups that each has left out.
    members = energy_model(model).values(X)[:, 1:]
    plain = model._errors.intervals(model.regressor_.calibration_).predict(members, 0.9)
    expected = model.regressor_.predict_interval(model.features_.transform(X))
    np.testing.assert_allclose(plain, expected, rtol=1e-6)


def test_copies_learn_by_themselves(copper, features):
    model = EnergyForceRegressor(features, RIDGE).fit(*take(copper, slice(0, 30)))
    before, twin = model.regressor_.coef_.copy(), updatable(model)
    twin.update(*take(copper, slice(30, 60)))
    np.testing.assert_array_equal(model.regressor_.coef_, before)
    model.update(*take(copper, slice(30, 60)))
    np.testing.assert_array_equal(model.regressor_.coef_, twin.regressor_.coef_)
    assert abs(model.regressor_.coef_ - before).max() > 0


def test_models_that_cannot_be_updated(copper, features):
    for regressor in (Ridge(1e-3), RidgePath()):
        model = EnergyForceRegressor(features, regressor).fit(*take(copper, slice(None)))
        error_of(
            lambda model=model: model.update(*take(copper, slice(5))),
            TypeError,
            r"cannot be updated: use RidgePath\(updatable=True\)",
        )
