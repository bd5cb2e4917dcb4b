"""Members of networks: other last layers, and the standard deviations that their spread tells."""

import copy
import pickle

import numpy as np
import pytest

pytest.importorskip("torch", reason="the networks need torch")

import torch
from helpers.neural_checks import NETWORKS, cells, labels, split_as_fit_does, waters
from sklearn.base import clone
from torch import nn

from skwavelet import ScatteringCalculator
from skwavelet._utils.validation import InvalidParameterError
from skwavelet.neural import AngularNetwork
from skwavelet.potentials.energy_model import energy_model

networks = pytest.mark.parametrize("name", NETWORKS)
N_MEMBERS = 5


def rms(values):
    return np.sqrt(np.mean(np.square(values)))


def held_out(network, X, groups):
    return split_as_fit_does(network, X, groups)[1]


@pytest.fixture(scope="module")
def data():
    X, y, forces = waters(12)
    return X, y, forces, np.arange(12) // 2


@pytest.fixture(scope="module")
def fitted(data):
    X, y, forces, groups = data
    parameters = {"n_members": N_MEMBERS, "validation_fraction": 0.34, "max_epochs": 2}
    return {
        name: make(**parameters).fit(X, y, forces=forces, groups=groups)
        for name, make in NETWORKS.items()
    }


@pytest.fixture(scope="module")
def of_cells():
    X = cells()
    y, forces = labels(X)
    return AngularNetwork(
        1, 4, n_members=3, validation_fraction=0.4, max_epochs=1, dtype="float64", random_state=0
    ).fit(X, y, forces=forces, stress=[np.arange(6.0) if a.pbc.all() else None for a in X])


@networks
def test_errors_on_groups_held_out_are_as_large_as_predicted(fitted, data, name):
    X, y, forces, groups = data
    network, unseen = fitted[name], held_out(fitted[name], X, groups)
    rows = [X[i] for i in unseen]
    energies, std = network.predict(rows, return_std=True)
    np.testing.assert_allclose(rms((energies - y[unseen]) / std), 1, rtol=1e-9)
    pulls, std = network.predict_forces(rows, return_std=True)
    wrong = [(pull - forces[i]) / s for pull, s, i in zip(pulls, std, unseen, strict=True)]
    np.testing.assert_allclose(rms(wrong), 1, rtol=1e-9)


@networks
def test_intervals_are_conformal(fitted, data, name):
    """As wide as the errors of the two groups held out, relative to standard deviations."""
    X, y, _, groups = data
    network, unseen = fitted[name], held_out(fitted[name], X, groups)
    values = energy_model(network).values(X)
    spread, found = np.std(values[:, 1:], axis=1, ddof=1), network._intervals.calibration
    if name not in ("point", "linear point"):  # two groups tell of no floor: it is the typical one
        assert found.floor == pytest.approx(found.factor * rms(spread[unseen]))
    scale = np.hypot(found.factor * spread, found.floor)
    score = np.abs(values[unseen, 0] - y[unseen]) / scale[unseen]
    assert len(unseen) == 2 * len(np.unique(groups[unseen])) == 4
    for coverage, number in ((0.51, 3), (0.66, 3), (0.9, None)):
        reach = np.inf if number is None else np.sort(score)[number] * scale
        expected = values[:, :1] + np.outer(reach, [-1, 1]) if number else [[-np.inf, np.inf]] * 12
        np.testing.assert_allclose(network.predict_interval(X, coverage), expected, rtol=1e-9)
    with pytest.raises(ValueError, match="coverage must be a number"):
        network.predict_interval(X, 1.0)


@networks
def test_members_are_the_network_with_another_last_layer(fitted, data, name):
    network, X = copy.deepcopy(fitted[name]), data[0][:3]
    if name == "pooled":  # so that nodes count in part
        network.module_.pools[0].score.weight *= 0.3
        levels = network.module_._levels(network._batch_of(X[0])[0])[0]
        assert (levels[1].activity % 1).any()
    weights, model = network._last_layers.weights, energy_model(network)
    assert weights.shape[1] == model.n_members == N_MEMBERS
    values = model.values(X)
    for number, change in enumerate(weights.T):
        other = copy.deepcopy(network)
        readouts = getattr(other.module_, "readouts", None) or [other.module_.head]
        layers = [getattr(r, "outer", r) for r in readouts]
        for layer, own in zip(layers, np.split(change, len(layers)), strict=True):
            assert isinstance(layer, nn.Linear)
            layer.weight += torch.from_numpy(own)
        np.testing.assert_allclose(values[:, 1 + number], other.predict(X), rtol=1e-10)
        one = np.zeros((3, 1 + N_MEMBERS))
        one[:, 1 + number] = [len(atoms) for atoms in X]
        gradients = [-gradient for _, gradient, _ in model.value_and_vjp(X, one)]
        np.testing.assert_allclose(gradients, other.predict_forces(X), rtol=1e-7, atol=1e-9)


@networks
def test_they_differ_and_their_mean_is_the_network(fitted, data, name):
    X, y, forces, groups = data
    network = fitted[name]
    values = energy_model(network).values(X)
    np.testing.assert_allclose(values[:, 1:].mean(axis=1), values[:, 0], rtol=1e-10)
    assert (np.ptp(values[:, 1:], axis=1) > 0).all()
    alone = clone(network).set_params(n_members=None)
    alone.fit(X, y, forces=forces, groups=groups)
    np.testing.assert_array_equal(network.predict(X), alone.predict(X))


@networks
def test_stored_networks_tell_the_same(fitted, data, name):
    X = data[0][:2]
    stored = pickle.loads(pickle.dumps(fitted[name]))
    for method in ("predict", "predict_forces"):
        found, expected = (
            getattr(network, method)(X, return_std=True)[1] for network in (stored, fitted[name])
        )
        np.testing.assert_array_equal(found, expected)


def test_structures_of_all_sizes_at_once_and_one_by_one(of_cells):
    model, X = energy_model(of_cells), cells()
    together = model.forces_and_stress(X, with_spread=True)
    for atoms, found in zip(X, together, strict=True):
        (alone,) = model.forces_and_stress([atoms], with_spread=True)
        for key in ("values", "forces", "forces_std"):
            np.testing.assert_allclose(getattr(found, key), getattr(alone, key), rtol=1e-9)
        assert (found.stress_std is None) == (not atoms.pbc.all())
        assert (found.forces_std > 0).all()
    # Two cotangents for one structure, and one for the next.
    asked = np.random.default_rng(0).normal(size=(3, 4))
    mixed = model.value_and_vjp([X[0], X[0], X[1]], asked)
    for atoms, cotangent, found in zip((X[0], X[0], X[1]), asked, mixed, strict=True):
        ((_, *expected),) = model.value_and_vjp([atoms], cotangent[None])
        for one, two in zip(found[1:], expected, strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-9, atol=1e-12)


def test_stresses_have_standard_deviations(of_cells):
    X = [atoms for atoms in cells() if atoms.pbc.all()]
    stress, std = of_cells.predict_stress(X, return_std=True)
    assert stress.shape == std.shape == (len(X), 6)
    assert (std > 0).all()
    np.testing.assert_allclose(of_cells.predict_stress(X), stress, rtol=1e-9)


def test_calculators_tell_what_predict_does(fitted, data):
    network, atoms = fitted["legendre"], data[0][0]
    calculator = ScatteringCalculator(network)
    std = calculator.get_property("energy_std", atoms)
    np.testing.assert_allclose(std, 3 * network.predict([atoms], return_std=True)[1][0])
    np.testing.assert_allclose(
        calculator.get_property("forces_std", atoms),
        network.predict_forces([atoms], return_std=True)[1][0],
    )
    np.testing.assert_allclose(calculator.get_forces(atoms), network.predict_forces([atoms])[0])


def test_structures_may_come_one_after_the_other(fitted, data):
    network, X = fitted["pairs"], data[0][:3]
    for one, other in zip(
        network.predict(iter(X), return_std=True), network.predict(X, return_std=True), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_members_of_energies_alone_and_of_another_fit(data):
    X, y, _, groups = data
    network = NETWORKS["pairs"](n_members=3, validation_fraction=0.34, warm_start=True)
    network.fit(X, y, groups=groups)
    unseen = held_out(network, X, groups)
    rows = [X[i] for i in unseen]
    energies, std = network.predict(rows, return_std=True)
    np.testing.assert_allclose(rms((energies - y[unseen]) / std), 1, rtol=1e-9)
    assert (network.predict_forces(X[:1], return_std=True)[1][0] > 0).all()
    before = network._last_layers.weights
    network.fit(X, y, groups=groups)
    assert (network._last_layers.weights != before).any()
    network.set_params(n_members=None).fit(X, y, groups=groups)
    with pytest.raises(TypeError, match="fit with n_members"):
        network.predict(X, return_std=True)
    with pytest.raises(TypeError, match="fit with n_members"):
        network.predict_forces(X, return_std=True)


def test_a_finished_checkpoint_serves_with_members(data, tmp_path):
    X, y, _, groups = data
    network = NETWORKS["pairs"](max_epochs=2, validation_fraction=0.34)
    network.set_params(checkpoint_path=tmp_path / "state").fit(X, y, groups=groups)
    expected = network.predict(X)
    network.set_params(n_members=3).fit(X, y, groups=groups)
    np.testing.assert_array_equal(network.predict(X), expected)
    assert (network.predict(X, return_std=True)[1] > 0).all()


def test_what_members_need_is_said(data):
    X, y, _, groups = data
    with pytest.raises(ValueError, match=r"n_members needs groups .* validation_fraction"):
        NETWORKS["pairs"](n_members=3, validation_fraction=None).fit(X, y, groups=groups)
    with pytest.raises(InvalidParameterError, match="n_members"):
        NETWORKS["pairs"](n_members=1).fit(X, y)
