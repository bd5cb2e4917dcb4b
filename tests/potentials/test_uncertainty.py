"""Calibration and ranking."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from helpers.emt_data import copper_crystals, small_scattering
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skwavelet import (
    BaggedOLSEnsemble,
    EnergyForceRegressor,
    PointScattering,
    ScatteringCalculator,
    calibrate_spread,
    prune,
    rank_structures,
)
from skwavelet.linear.calibration import SpreadCalibration
from skwavelet.linear.intervals import OutOfBagIntervals
from skwavelet.potentials import regressor
from skwavelet.potentials.contract import Calibrations, spread_cotangents
from skwavelet.potentials.element_calibrations import ElementCalibrations
from skwavelet.potentials.energy_model import energy_model
from skwavelet.potentials.uncertainty import main_deviations


@pytest.fixture(scope="module")
def copper():
    return copper_crystals(40, seed=3)


# -- calibration -----------------------------------------------------------------------------


def test_calibration_factor_and_table():
    rng = np.random.default_rng(0)
    std = rng.uniform(0.5, 3, size=20000)
    factor, table = calibrate_spread(1.7 * std * rng.normal(size=20000), std)
    np.testing.assert_allclose(factor, 1.7, rtol=0.02)
    np.testing.assert_allclose(table["rmse"] / table["std"], 1.7, rtol=0.08)
    assert table["count"].sum() == 20000
    assert table["std"].is_monotonic_increasing


@pytest.mark.parametrize(
    ("errors", "std", "n_bins", "message"),
    [
        ([1.0], [1.0, 2.0], 1, "vectors of one length"),
        ([[1.0]], [[1.0]], 1, "vectors of one length"),
        ([1.0, np.nan], [1.0, 2.0], 1, "must be finite"),
        ([1.0, 1.0], [1.0, 0.0], 1, "std positive"),
        ([1.0, 1.0], [1.0, 1.0], 3, "n_bins=3"),
    ],
)
def test_bad_calibration_input(errors, std, n_bins, message):
    with pytest.raises(ValueError, match=message):
        calibrate_spread(errors, std, n_bins)


@pytest.mark.parametrize("n_directions", ["all", 3])
def test_energies_forces_and_stresses_are_calibrated(copper, monkeypatch, n_directions):
    kept = []
    original = regressor.build_rows
    monkeypatch.setattr(
        regressor, "build_rows", lambda *a, **more: kept.append(original(*a, **more)) or kept[0]
    )
    ensemble = BaggedOLSEnsemble(12, max_features=10, random_state=0)
    model = EnergyForceRegressor(small_scattering(), ensemble, n_directions=n_directions)
    weight = np.random.default_rng(0).integers(1, 4, size=40)
    groups = np.arange(40) // 2
    labels = {"forces": copper.forces, "stress": copper.stress}
    model.fit(copper.structures, copper.energies, groups=groups, sample_weight=weight, **labels)
    (rows,) = kept
    errors = model.regressor_.oob_prediction_ - rows.targets
    for kind, size in enumerate((1, 12, 6)):
        own = rows.kind == kind
        # Each row stands for the components that were not drawn, and is as much longer.
        length = np.sqrt(size / 3) if kind and n_directions == 3 else 1
        spread = model.regressor_.oob_spread_[own] / length
        remoteness = model._surroundings.remoteness(copper.structures)[rows.structure[own]]
        std = model._calibrations[kind]
        if size == 12:  # the same in all directions, or drawn directions of all atoms
            predicted = np.reshape(model.regressor_.oob_prediction_[own] / length, (-1, 3))
            forces = np.sqrt(np.mean(predicted**2, axis=1))
            if n_directions == "all":
                of_atoms = np.sqrt(np.mean(np.reshape(spread, (-1, 3)) ** 2, axis=1))
                spread = np.repeat(of_atoms, 3)
            np.testing.assert_allclose(
                model._errors.size[model._errors.kind == 1],
                np.repeat(forces, 3)[np.isfinite(spread)],
            )
            std = std(spread, np.repeat(forces, 3), np.full(len(spread), 29))
        elif size == 6:
            assert std.power == 0
            std = std(spread)
        else:
            std = std(spread, remoteness)
        z2 = (errors[own] / length / std) ** 2
        seen = np.isfinite(z2)
        assert seen.mean() > 0.9
        assert np.average(z2[seen], weights=weight[rows.structure[own]][seen]) == pytest.approx(1)
    atoms = copper.structures[0].copy()
    atoms.calc = ScatteringCalculator(model)
    _, (energy_std,) = model.predict(iter([atoms]), return_std=True)
    _, (forces_std,) = model.predict_forces([atoms], return_std=True)
    assert atoms.calc.get_property("energy_std", atoms) == pytest.approx(4 * energy_std)
    np.testing.assert_allclose(atoms.calc.get_property("forces_std", atoms), forces_std, rtol=1e-9)


def test_errors_of_energies_grow_with_the_remoteness(copper):
    """Where those of the training set do; the model, pruned or not, asks the surroundings."""
    ensemble = BaggedOLSEnsemble(12, max_features=10, random_state=0)
    model = EnergyForceRegressor(small_scattering(), ensemble)
    groups = np.arange(40) // 2
    model.fit(copper.structures, copper.energies, groups=groups)
    inside = model._surroundings.remoteness(copper.structures)
    assert 0.7 < np.sqrt(np.mean(inside**2)) < 1.1
    strained = [atoms.copy() for atoms in copper.structures]
    for atoms in strained:
        atoms.set_cell(1.15 * atoms.cell.array, scale_atoms=True)
    outside = model._surroundings.remoteness(strained)
    assert np.median(outside) > 2 * np.median(inside)
    told = model._errors
    power = 1.5
    noise = np.random.default_rng(0).normal(size=len(told.errors))
    many = replace(told, errors=noise * told.remoteness**power, spread=1e-3 * np.abs(noise) + 1e-6)
    model._calibrations = many.calibrations(model.regressor_)
    found = model._calibrations.energy
    z = many.errors / found(many.spread, many.remoteness)
    assert np.mean(z**2) == pytest.approx(1)
    for one in (model, pickle.loads(pickle.dumps(model)), prune(model)):
        values = energy_model(one).values(strained)
        spread = np.std(values[:, 1:], axis=1, ddof=1)
        _, std = one.predict(strained, return_std=True)
        np.testing.assert_allclose(std, found(spread, outside), rtol=1e-6)


def test_elements_have_calibrations_where_their_errors_differ():
    rng = np.random.default_rng(0)
    numbers, groups = rng.choice([0, 3, 14], size=12000), np.arange(12000) // 200
    truth = {0: SpreadCalibration(0, 2), 3: SpreadCalibration(0, 1.2), 14: SpreadCalibration(0, 3)}
    spread, size = rng.lognormal(size=(2, 12000))
    factors = np.select([numbers == one for one in truth], [c.factor for c in truth.values()])
    noise = rng.normal(size=12000)
    told = spread, np.ones(12000), groups, size, numbers
    found = ElementCalibrations.fit(factors * spread * noise, *told)
    assert set(found.of_elements) == {3, 14}
    std = found(spread, size, numbers)
    for number in (3, 14):
        own = numbers == number
        assert found.of_elements[number].factor == pytest.approx(truth[number].factor, rel=0.05)
        z = (factors * spread * noise / std)[own]
        assert np.mean(z**2) == pytest.approx(1, rel=1e-9)
    np.testing.assert_array_equal(std[numbers == 0], found.common(spread[numbers == 0]))
    scaled = found.scaled(-2)
    np.testing.assert_allclose(scaled(2 * spread, 2 * size, numbers), 2 * std)
    # The same errors of all elements, or too few groups to tell: one calibration.
    assert not ElementCalibrations.fit(2 * spread * noise, *told).of_elements
    few = spread, np.ones(12000), groups % 2, size, numbers
    assert not ElementCalibrations.fit(factors * spread * noise, *few).of_elements


def test_atoms_know_their_elements_and_forces(copper):
    """Errors out of bag that differ between elements and grow with forces, are told as such."""
    alloys = copper_crystals(24, symbols=("Cu", "Au"), rattle=0.1)
    ensemble = BaggedOLSEnsemble(12, max_features=10, random_state=0)
    model = EnergyForceRegressor(PointScattering((1, 2), 1), ensemble, n_directions="all")
    model.fit(alloys.structures, alloys.energies, forces=alloys.forces)
    told = model._errors
    forces, numbers = told.kind == 1, np.concatenate([a.numbers for a in alloys.structures])
    np.testing.assert_array_equal(told.numbers[forces], np.repeat(numbers, 3))
    assert not told.numbers[~forces].any()
    noise, *wide = np.random.default_rng(0).normal(size=(3, len(told.errors)))
    spread, size = np.exp(wide) * [[0.1], [1.0]]
    errors = np.where(told.numbers == 79, 5.0, 1.0) * np.hypot(spread, 0.2 * size) * noise
    told = replace(told, errors=errors, spread=spread, size=size)
    model._calibrations = told.calibrations(model.regressor_)
    calibration = model._calibrations.forces
    assert calibration.of_elements[79].share > 2 * calibration.of_elements[29].share > 0
    for one in (model, pickle.loads(pickle.dumps(model)), prune(model)):
        X = alloys.structures[:3]
        pulls, stds = one.predict_forces(X, return_std=True)
        plain = replace(energy_model(one), calibrations=Calibrations())
        for atoms, pull, std, raw in zip(
            X, pulls, stds, plain.forces_and_stress(X, with_spread=True), strict=True
        ):
            size = np.sqrt(np.mean(pull**2, axis=1, keepdims=True))
            for number, own in calibration.of_elements.items():
                rows = atoms.numbers == number
                expected = own(raw.forces_std[rows], size=size[rows])
                np.testing.assert_allclose(std[rows], expected, rtol=1e-9)


def test_forces_are_as_wrong_as_predicted(copper):
    """On structures of the same kind that no model has seen, component by component."""
    ensemble = BaggedOLSEnsemble(16, max_features=15, random_state=0)
    model = EnergyForceRegressor(small_scattering(order=1), ensemble, n_directions=4)
    model.fit(copper.structures, copper.energies, forces=copper.forces)
    new = copper_crystals(12, seed=9)
    predictions = (
        model.predict(new.structures, return_std=True),
        model.predict_forces(new.structures, return_std=True),
    )
    for truth, (predicted, std) in zip((new.energies, new.forces), predictions, strict=True):
        z = (np.array(predicted) - truth) / std
        assert 0.5 < np.sqrt(np.mean(z**2)) < 1.6


def test_calibration_follows_transformed_targets_and_totals(copper):
    X, y = copper.structures, copper.energies
    ensemble = BaggedOLSEnsemble(6, max_features=5, random_state=0)
    plain = make_pipeline(small_scattering(), ensemble).fit(X, y)
    _, expected = plain.predict(X[:3], return_std=True)
    assert plain[-1].calibration_.floor > 0
    energies = energy_model(plain)
    np.testing.assert_allclose(energies.energy_std(X[:3], energies.values(X[:3])), expected)
    target = TransformedTargetRegressor(clone(plain), transformer=StandardScaler()).fit(X, y)
    scaled = energy_model(target)
    np.testing.assert_allclose(scaled.energy_std(X[:3], scaled.values(X[:3])), expected, rtol=1e-6)
    totals = clone(plain).fit(X, 4 * y)
    atoms = X[0].copy()
    atoms.calc = ScatteringCalculator(totals, per_atom=False)
    assert atoms.calc.get_property("energy_std", atoms) == pytest.approx(4 * expected[0])


def test_intervals_of_potentials(copper):
    ensemble = BaggedOLSEnsemble(10, max_features=10, random_state=0)
    model = EnergyForceRegressor(small_scattering(), ensemble)
    model.fit(copper.structures, copper.energies, forces=copper.forces)
    X = copper.structures[:4]
    intervals = model.predict_interval(X, coverage=0.8)
    # As those of the linear model, but for what standard deviations know of the surroundings.
    features = model.features_.transform(X)
    members = energy_model(model).values(X)[:, 1:]
    plain = model._errors.intervals(model.regressor_.calibration_).predict(members, 0.8)
    expected = model.regressor_.predict_interval(features, 0.8)
    np.testing.assert_allclose(plain, expected, rtol=1e-9)
    errors, spread, _, groups, left_out = model.regressor_._told
    calibration, surroundings = model._calibrations.energy, model._surroundings
    assert calibration.power > 0
    remoteness = surroundings.remoteness(copper.structures)
    found = OutOfBagIntervals.fit(left_out, errors, spread, groups, calibration, remoteness)
    expected = found.predict(members, 0.8, surroundings.remoteness(X))
    np.testing.assert_allclose(intervals, expected, rtol=1e-9)
    for kept in (prune(model), pickle.loads(pickle.dumps(model))):
        np.testing.assert_allclose(kept.predict_interval(X, coverage=0.8), intervals, rtol=1e-9)
        np.testing.assert_allclose(
            kept.predict_stress(X, return_std=True), model.predict_stress(X, return_std=True)
        )
    with pytest.raises(ValueError, match="coverage must be a number"):
        model.predict_interval(X, coverage=90)
    single = EnergyForceRegressor(small_scattering(), Ridge()).fit(X, copper.energies[:4])
    with pytest.raises(TypeError, match="intervals need an ensemble"):
        single.predict_interval(X)


# -- ranking ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ensemble(copper):
    pipeline = make_pipeline(
        small_scattering(), BaggedOLSEnsemble(8, max_features=10, random_state=0)
    )
    return pipeline.fit(copper.structures[:15], copper.energies[:15])


def test_ranking_is_pivoted_cholesky(copper, ensemble):
    pool = copper.structures[15:]
    order = rank_structures(ensemble, pool)
    assert sorted(order) == list(range(25))
    members = energy_model(ensemble).values(pool)[:, 1:]
    covariance = np.cov(members, bias=True)
    expected, left = [], covariance.copy()
    for _ in range(5):
        best = int(np.argmax(np.diag(left)))
        expected.append(best)
        left = left - np.outer(left[:, best], left[best]) / left[best, best]
    np.testing.assert_array_equal(order[:5], expected)
    assert order[0] == np.argmax(np.diag(covariance))


def test_ranking_does_not_pick_the_same_structure_twice(copper, ensemble):
    pool = [*copper.structures[15:20], *copper.structures[15:20]]
    first = rank_structures(ensemble, pool)[:5]
    assert len(set(first % 5)) == 5


def test_ranking_needs_an_ensemble(copper):
    pipeline = make_pipeline(small_scattering(order=1), Ridge()).fit(
        copper.structures, copper.energies
    )
    with pytest.raises(TypeError, match="needs an ensemble"):
        rank_structures(pipeline, copper.structures)


# -- main deviations -------------------------------------------------------------------------


def test_main_deviations_carry_the_spread():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 30)) @ rng.normal(size=(30, 30))
    ensemble = BaggedOLSEnsemble(12, max_features=20, random_state=0)
    ensemble.fit(X, X[:, 0] + 0.5 * rng.normal(size=300))
    mixtures = main_deviations(ensemble, [X[:7], X[7:]])
    assert 1 <= len(mixtures) < 12
    members = np.column_stack([X @ m.coef_ for m in ensemble.estimators_])
    outputs = np.column_stack([X @ ensemble.coef_, members])
    compressed = outputs @ spread_cotangents(13, True, mixtures)[1:].T
    exact = outputs @ spread_cotangents(13, True)[1:].T
    np.testing.assert_allclose(np.square(exact).sum(axis=1), members.var(axis=1), rtol=1e-9)
    np.testing.assert_allclose(np.square(compressed).sum(), members.var(axis=1).sum(), rtol=0.01)
    assert main_deviations(Ridge().fit(X, X[:, 0]), [X]) is None
    assert main_deviations(ensemble, []) is None


def test_models_that_agree_have_no_deviations():
    X = np.random.default_rng(0).normal(size=(40, 3))
    ensemble = BaggedOLSEnsemble(4, random_state=0).fit(X, np.ones(40))
    assert main_deviations(ensemble, [X]) is None
