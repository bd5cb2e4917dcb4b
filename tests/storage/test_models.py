"""Models in files: what is loaded is what was saved, and nothing else is loaded."""

import pickle

import joblib
import numpy as np
import pytest
import skops.io
from ase import Atoms
from helpers.check_helpers import error_of
from helpers.emt_data import copper_crystals
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline

from skwavelet import (
    AngularFeatures,
    EnergyForceRegressor,
    FeatureScaler,
    PointScattering,
    VoxelScattering,
)
from skwavelet.potentials.recipes import RECIPES, recipe
from skwavelet.storage.models import load_model, record_of, save_model


@pytest.fixture(scope="module")
def data():
    return copper_crystals(6)


@pytest.mark.parametrize(
    "features",
    [
        PointScattering(n=[1, 2], max_l=1, n_scales=2),
        AngularFeatures(),
        VoxelScattering(n=[1], max_l=0, spacing=0.5, order=1),
    ],
    ids=lambda features: type(features).__name__,
)
def test_every_representation_comes_back(features, data, tmp_path):
    pipeline = make_pipeline(features, FeatureScaler())
    model = EnergyForceRegressor(pipeline, Ridge(1e-6), random_state=0)
    model.fit(data.structures, data.energies, data.forces)
    save_model(model, tmp_path / "m.skops", record={"errors": [1.5, None]})
    loaded = load_model(tmp_path / "m.skops")
    np.testing.assert_array_equal(loaded.predict(data.structures), model.predict(data.structures))
    assert record_of(tmp_path / "m.skops") == {"errors": [1.5, None]}
    # It is a file of skops like any other.
    types = skops.io.get_untrusted_types(file=tmp_path / "m.skops")
    skops.io.load(tmp_path / "m.skops", trusted=types)
    save_model(model, tmp_path / "m.skops")
    assert record_of(tmp_path / "m.skops") == {}


def test_the_default_linear_model_comes_back(data, tmp_path):
    features = PointScattering(n=[1, 2], max_l=1, n_scales=2)
    model = EnergyForceRegressor(features, random_state=0).fit(data.structures, data.energies)
    save_model(model, tmp_path / "m.skops")
    loaded = load_model(tmp_path / "m.skops")
    np.testing.assert_array_equal(loaded.predict(data.structures), model.predict(data.structures))
    path = loaded.regressor_.path_
    assert path.equals(model.regressor_.path_)
    assert list(path.columns) == ["alpha", "held_out_rmse"]


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_every_model_by_name_can_be_saved(name, tmp_path):
    save_model(recipe(name), tmp_path / "m.skops")
    assert str(load_model(tmp_path / "m.skops")) == str(recipe(name))
    error_of(lambda: recipe("no such"), ValueError, "no model 'no such'; take one of .*point")


class Payload:
    """What a stranger could send: unpickling it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_pickles_are_refused_unopened(tmp_path):
    payload = Payload(tmp_path / "victim")
    joblib.dump(payload, tmp_path / "joblib")
    joblib.dump(payload, tmp_path / "compressed", compress=3)
    (tmp_path / "pickle").write_bytes(pickle.dumps(payload))
    for name in ("joblib", "compressed", "pickle"):
        error_of(lambda name=name: load_model(tmp_path / name), ValueError, "is a pickle.*any code")
    assert not (tmp_path / "victim").exists()


def test_types_of_strangers_are_refused(tmp_path):
    skops.io.dump(make_pipeline(Atoms, Ridge()), tmp_path / "m.skops")
    error_of(lambda: load_model(tmp_path / "m.skops"), ValueError, "contains ase.atoms.Atoms")


def test_what_cannot_be_stored_as_data_is_refused(tmp_path):
    model = PointScattering(channels={"one": lambda z: 1.0})
    error_of(lambda: save_model(model, tmp_path / "m.skops"), TypeError, "which no file of data")
    assert list(tmp_path.iterdir()) == []


def test_damage_is_told_in_one_line(tmp_path):
    path = tmp_path / "m.skops"
    save_model(PointScattering(), path)
    whole = path.read_bytes()
    error_of(lambda: load_model(tmp_path / "none"), FileNotFoundError, "none")
    path.write_bytes(b"")
    error_of(lambda: load_model(path), ValueError, "is empty")
    path.write_bytes(b"2\n\nCu 0 0 0")
    error_of(lambda: load_model(path), ValueError, "is no model")
    path.write_bytes(whole.replace(b"PointScattering", b"PointScattersng"))
    error_of(lambda: load_model(path), ValueError, "(damaged|cannot be loaded)")
    hurt = bytearray(whole)
    hurt[len(hurt) // 3] ^= 255
    path.write_bytes(hurt)
    error_of(lambda: load_model(path), ValueError, "(damaged|cannot be loaded)")
