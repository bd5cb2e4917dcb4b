"""The networks as scikit-learn estimators, on other devices, and in ASE."""

import io
import pickle

import joblib
import numpy as np
import pytest

pytest.importorskip("torch", reason="the networks need torch")

import torch
from ase.optimize import BFGS
from helpers.neural_checks import NETWORKS, cells, labels, split_as_fit_does, waters
from helpers.small_structures import Convertible
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.utils.validation import check_is_fitted

from skwavelet import RelaxationPathGroupKFold, ScatteringCalculator, load_model, save_model
from skwavelet._utils.validation import InvalidParameterError
from skwavelet.neural import AngularNetwork, PointScatteringNetwork

networks = pytest.mark.parametrize("name", NETWORKS)
classes = pytest.mark.parametrize("cls", [AngularNetwork, PointScatteringNetwork])


@networks
def test_clones_are_unfitted_and_fit_alike(name):
    X, y, forces = waters(6)
    network = NETWORKS[name]().fit(X, y, forces=forces)
    copy = clone(network)
    assert copy.get_params() == network.get_params()
    with pytest.raises(NotFittedError):
        copy.predict(X)
    refitted = copy.fit(X, y, forces=forces)
    np.testing.assert_array_equal(refitted.predict(X), network.predict(X))
    # A second fit starts anew and keeps nothing of the first.
    np.testing.assert_array_equal(network.fit(X, y, forces=forces).predict(X), copy.predict(X))


@networks
def test_stored_networks_predict_the_same(name, tmp_path):
    X, y, _ = waters(6)
    network = NETWORKS[name](
        n_members=3, validation_fraction=0.5, device=torch.device("cpu"),
        checkpoint_path=tmp_path / "fit.checkpoint",
    ).fit(X, y)  # fmt: skip
    joblib.dump(network, tmp_path / "network.joblib")
    save_model(network, tmp_path / "network.skops")
    network.set_params(width=9, n_layers=3, dtype="float32")  # what a fit to come shall have
    for stored in (
        pickle.loads(pickle.dumps(network)),
        joblib.load(tmp_path / "network.joblib"),
        load_model(tmp_path / "network.skops"),
    ):
        for one, two in zip(
            stored.predict(X, return_std=True), network.predict(X, return_std=True), strict=True
        ):
            np.testing.assert_array_equal(one, two)
        assert stored.history_.equals(network.history_)
        assert isinstance(stored.module_, torch.nn.Module)
        assert not stored.module_.training
        for one, two in zip(stored.predict_forces(X), network.predict_forces(X), strict=True):
            np.testing.assert_array_equal(one, two)


@networks
def test_parameters_are_stored_as_they_are(name):
    network = NETWORKS[name]()
    for key, value in network.get_params().items():
        assert getattr(network, key) is value
    network.set_params(width=5, n_layers=1)
    X, y, _ = waters(4)
    fitted = network.fit(X, y)
    assert fitted.get_params()["width"] == 5
    assert fitted.module_.embedding.weight.shape[1] == 5


@classes
@pytest.mark.parametrize(
    "bad",
    [{"width": 0}, {"force_weight": 0}, {"stress_weight": -1.0}, {"dtype": "float16"},
     {"schedule": "step"}, {"warm_start": 2}, {"validation_fraction": 1.0},
     {"averaging": 1.0}, {"learning_rate": 0}],
    ids=str,
)  # fmt: skip
def test_bad_parameters_are_named(cls, bad):
    X, y, _ = waters(3)
    with pytest.raises(InvalidParameterError, match=next(iter(bad))):
        cls(**bad).fit(X, y)


def test_grid_search_and_cross_validation_over_groups():
    X, y, _ = waters(12)
    groups = np.repeat(np.arange(4), 3)
    search = GridSearchCV(
        NETWORKS["pairs"](), {"width": [2, 4], "n_layers": [1, 2]}, cv=RelaxationPathGroupKFold(2)
    ).fit(X, y, groups=groups)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    scores = cross_val_score(
        NETWORKS["point"](), X, y, groups=groups, cv=RelaxationPathGroupKFold(2)
    )
    assert np.isfinite(scores).all()


@networks
def test_inputs_are_left_alone_and_containers_do_not_matter(name):
    X, y, forces = waters(6)
    before = [(atoms.positions.copy(), f.copy()) for atoms, f in zip(X, forces, strict=True)]
    network = NETWORKS[name]().fit(X, y, forces=forces)
    for atoms, f, (positions, pull) in zip(X, forces, before, strict=True):
        np.testing.assert_array_equal(atoms.positions, positions)
        np.testing.assert_array_equal(f, pull)
    column = np.empty(6, dtype=object)
    column[:] = X
    np.testing.assert_array_equal(network.predict(column), network.predict(X))
    converted = [Convertible(atoms) for atoms in X]
    np.testing.assert_array_equal(network.predict_forces(converted), network.predict_forces(X))
    other = NETWORKS[name]().fit(converted, list(y), forces=forces)
    np.testing.assert_array_equal(other.predict(X), network.predict(X))
    with pytest.raises(TypeError, match="single structure"):
        network.predict(X[0])


@classes
def test_energies_alone_and_some_forces(cls):
    X = cells()
    y, forces = labels(X)
    forces[1] = None
    forces[2] = np.full_like(forces[2], np.nan)
    network = cls(max_epochs=2, random_state=0, width=4)
    alone = network.fit(X, y)
    assert "validation_force_mae" not in alone.history_
    assert np.isfinite(alone.predict(X)).all()
    assert np.isfinite(network.fit(X, y, forces=forces).predict(X)).all()
    assert np.isfinite(network.history_["train_loss"]).all()


def test_history_holds_errors_in_electronvolts():
    X, y, forces = waters(10)
    network = NETWORKS["legendre"](max_epochs=3, averaging=0.0, validation_fraction=0.3)
    network.fit(X, y, forces=forces)
    train, held_out = split_as_fit_does(network, X, np.arange(10))
    assert set(train) | set(held_out) == set(range(10))
    rows = [X[i] for i in held_out]
    best = network.history_.loc[network.best_epoch_]
    energy = np.abs(network.predict(rows) - y[held_out]).mean()
    force = np.abs(np.array(network.predict_forces(rows)) - np.array(forces)[held_out]).mean()
    np.testing.assert_allclose(best["validation_energy_mae"], energy, rtol=1e-9)
    np.testing.assert_allclose(best["validation_force_mae"], force, rtol=1e-9)


def test_filters_are_those_of_the_layer():
    X, y, forces = waters(6)
    network = NETWORKS["gaussian"]().fit(X, y, forces=forces)
    values = network.filters([1.0, 1.5, 2.0], [-0.5, 0.5], layer=1)
    assert values.shape == (3, 2, 6)
    layer, geometry = network.module_.levels[0][1], network.module_.geometries[0]
    theta = layer.triplet.weight.reshape(4, 6, 5).numpy()
    g_r = geometry.radial(torch.tensor(1.5, dtype=torch.float64)).numpy()
    g_a = geometry.angular(torch.tensor(0.5, dtype=torch.float64)).numpy()
    h = np.einsum("acr,a,r->c", theta, g_a, g_r)
    expected = layer.mix.weight.numpy() @ (np.logaddexp(0, h) - np.log(2))
    np.testing.assert_allclose(values[1, 1], expected, rtol=1e-10)
    with pytest.raises(ValueError, match="layer=2 must be one of 0 to 1"):
        network.filters([1.0], [0.0], layer=2)
    with pytest.raises(ValueError, match='basis="gaussian"'):
        NETWORKS["legendre"]().fit(X, y).filters([1.0], [0.0])


def test_relaxation_under_a_network():
    X, y, forces = waters(20, rattle=0.1)
    network = AngularNetwork(1, 8, max_epochs=40, random_state=0, dtype="float64")
    network.fit(X, y, forces=forces)
    atoms = X[0].copy()
    atoms.calc = ScatteringCalculator(network)
    start = atoms.get_potential_energy()
    assert BFGS(atoms, logfile=io.StringIO()).run(fmax=0.01, steps=100)
    assert atoms.get_potential_energy() < start


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@networks
def test_cuda_agrees_with_the_cpu(name):
    X, (y, forces) = cells(), labels(cells())
    for dtype, rtol in (("float64", 1e-9), ("float32", 1e-3)):
        network = NETWORKS[name](device="cuda", dtype=dtype).fit(X, y, forces=forces)
        stored = pickle.loads(pickle.dumps(network)).set_params(device="cpu")
        np.testing.assert_allclose(stored.predict(X), network.predict(X), rtol=rtol)
        pulls = [np.concatenate(one.predict_forces(X)) for one in (stored, network)]
        np.testing.assert_allclose(*pulls, atol=rtol * np.abs(pulls[0]).max())
        stresses = [one.predict_stress(X[1:2]) for one in (stored, network)]
        np.testing.assert_allclose(*stresses, atol=rtol * np.abs(stresses[0]).max())
        assert next(stored.module_.parameters()).device.type == "cpu"


@classes
def test_devices_that_are_not_there_are_named(cls):
    X, y, _ = waters(4)
    bad = ["toaster"] if torch.cuda.is_available() else ["toaster", "cuda"]
    fitted = cls(max_epochs=1, random_state=0, width=4).fit(X, y)
    for device in bad:
        for call in (
            lambda device=device: cls(device=device).fit(X, y),
            lambda device=device: fitted.set_params(device=device).predict(X),
        ):
            with pytest.raises(ValueError, match=rf"^torch cannot use device='{device}' \(.*$"):
                call()


def test_verbose_shows_progress(capsys):
    X, y, _ = waters(4)
    NETWORKS["pairs"](verbose=True, max_epochs=2).fit(X, y)
    assert "2/2" in capsys.readouterr().err


@classes
def test_unfitted_networks_say_so(cls):
    with pytest.raises(NotFittedError):
        check_is_fitted(cls())
    with pytest.raises(NotFittedError):
        ScatteringCalculator(cls())
