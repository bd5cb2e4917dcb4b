"""The scaler: its rule, that rare columns cannot blow up, scikit-learn's conventions."""

import pickle

import numpy as np
import pandas as pd
import pytest
from helpers.emt_data import copper_crystals, small_scattering
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from skwavelet import EnergyForceRegressor, FeatureScaler, ScatteringCalculator, prune
from skwavelet.potentials.affine_maps import affine_map


@parametrize_with_checks([FeatureScaler()])
def test_estimator_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_divisors_are_max_squared_over_rms(dtype):
    rng = np.random.default_rng(0)
    X = (rng.normal(size=(50, 6)) * 10.0 ** np.arange(-3, 3)).astype(dtype)
    X[3:, 2] = 0
    X[:, 4] = 0
    expected = np.abs(X).max(axis=0).astype(float) ** 2
    expected = expected / np.sqrt(np.square(X.astype(float)).mean(axis=0).clip(1e-30))
    expected[4] = 1  # a column of zeros
    scaler = FeatureScaler(floor=0).fit(X)
    tolerance = 1e-12 if dtype is np.float64 else 1e-5
    np.testing.assert_allclose(scaler.scale_, expected, rtol=tolerance)
    scaled = scaler.transform(X)
    assert scaled.dtype == dtype
    assert np.abs(scaled).max() <= 1
    np.testing.assert_allclose(scaler.inverse_transform(scaled), X, rtol=4 * tolerance)
    floored = FeatureScaler(floor=0.1).fit(X).scale_
    expected[4] = 0
    expected[expected < 0.1 * expected.max()] = expected.max()
    np.testing.assert_allclose(floored, expected, rtol=tolerance)
    assert (FeatureScaler().fit(np.zeros((3, 2))).scale_ == 1).all()


@pytest.mark.parametrize("level", [0.0, 1.0])
@pytest.mark.parametrize("noise", [1e-12, 1e-9, 3e-7])
def test_columns_that_are_all_but_constant_cannot_blow_up(level, noise):
    """Ten columns tell the target; one is rounding errors in training, and 1 more in a test row."""
    rng = np.random.default_rng(0)
    X = rng.uniform(size=(200, 11))
    X[:, 10] = level + noise * rng.uniform(size=200)
    y = X[:, :10] @ rng.normal(size=10) + 0.01 * rng.normal(size=200)
    row = np.full((1, 11), 0.5)
    outlier = row.copy()
    row[0, 10], outlier[0, 10] = level, level + 1
    changes = []
    for scaler in (FeatureScaler(), StandardScaler()):
        model = make_pipeline(scaler, Ridge(1e-3)).fit(X, y)
        changes.append(abs(model.predict(outlier) - model.predict(row))[0])
    assert changes[0] < 0.1 * np.std(y)
    assert changes[1] > 100 * changes[0]


def test_names_and_pickles():
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(9, 2)), columns=["a", "b"])
    scaler = FeatureScaler().set_output(transform="pandas").fit(frame)
    scaled = scaler.transform(frame)
    assert list(scaled.columns) == list(scaler.get_feature_names_out()) == ["a", "b"]
    np.testing.assert_allclose(scaler.inverse_transform(scaled), frame)
    stored = pickle.loads(pickle.dumps(scaler))
    pd.testing.assert_frame_equal(stored.transform(frame), scaled)
    with pytest.raises(ValueError, match="floor"):
        FeatureScaler(floor=2.0).fit(frame)


def test_scaler_in_chains():
    data = copper_crystals(12)
    features = make_pipeline(small_scattering(order=1), FeatureScaler())
    model = EnergyForceRegressor(features, Ridge(1e-6), random_state=0)
    model.fit(data.structures, data.energies, forces=data.forces)
    matrix, offset = affine_map(model.features_[-1])
    rows = model.features_[0].transform(data.structures)
    np.testing.assert_allclose(rows @ matrix + offset, model.features_.transform(data.structures))
    atoms = data.structures[0].copy()
    atoms.calc = ScatteringCalculator(prune(model))
    np.testing.assert_allclose(atoms.get_forces(), model.predict_forces([atoms])[0], atol=1e-9)
    moved = [atoms.copy(), atoms.copy()]
    moved[0].positions[0, 1] += 1e-4
    moved[1].positions[0, 1] -= 1e-4
    energies = 4 * model.predict(moved)
    slope = (energies[0] - energies[1]) / 2e-4
    np.testing.assert_allclose(atoms.get_forces()[0, 1], -slope, rtol=1e-4, atol=1e-6)
