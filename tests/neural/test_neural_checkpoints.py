"""Trainings that are gone on with: checkpoints and warm starts."""

import pickle

import numpy as np
import pytest

pytest.importorskip("torch", reason="the networks need torch")

import torch
from ase import Atoms
from helpers.neural_checks import NETWORKS, waters, weights
from sklearn.exceptions import NotFittedError

from skwavelet.neural import training


@pytest.mark.parametrize("schedule", ["cosine", "plateau"])
def test_a_resumed_fit_ends_with_the_weights_of_an_uninterrupted_one(
    tmp_path, monkeypatch, schedule
):
    X, y, forces = waters(12)
    network = NETWORKS["legendre"](max_epochs=6, schedule=schedule, validation_fraction=0.25)
    whole = weights(network.fit(X, y, forces=forces))
    history = network.history_
    network.set_params(checkpoint_path=tmp_path / "fit.checkpoint")
    run_epoch = training.Trainer._run_epoch

    def interrupted(trainer):
        if trainer.epoch == 3:
            raise KeyboardInterrupt
        run_epoch(trainer)

    with monkeypatch.context() as patch:
        patch.setattr(training.Trainer, "_run_epoch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            network.fit(X, y, forces=forces)
    epochs = []

    def counted(trainer):
        run_epoch(trainer)
        epochs.append(trainer.epoch)

    monkeypatch.setattr(training.Trainer, "_run_epoch", counted)
    resumed = network.fit(X, y, forces=forces)
    assert epochs == [4, 5, 6]
    np.testing.assert_array_equal(weights(resumed), whole)
    np.testing.assert_array_equal(resumed.history_, history)
    assert epochs == [4, 5, 6]
    network.fit(X, y, forces=forces)  # finished: there is nothing left to do
    assert epochs == [4, 5, 6]
    with pytest.raises(ValueError, match=r"is of another fit .* remove it or choose another"):
        network.set_params(width=4).fit(X, y, forces=forces)


@pytest.mark.parametrize("kind", ["empty", "text", "other file of torch", "other optimizer"])
def test_files_that_are_no_checkpoint_are_refused_and_kept(tmp_path, kind):
    X, y, forces = waters(8)
    path = tmp_path / "fit.checkpoint"
    network = NETWORKS["pairs"](max_epochs=1, checkpoint_path=path)
    if kind == "other optimizer":
        network.fit(X, y, forces=forces)
        state = torch.load(path, weights_only=True)
        groups = state["optimizer"]["param_groups"]
        groups[0]["params"] += groups.pop()["params"]
        torch.save(state, path)
    elif kind == "other file of torch":
        torch.save({"weights": torch.ones(2)}, path)
    else:
        path.write_text("" if kind == "empty" else "energies of waters")
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"fit.checkpoint is no file of this version .* remove it"):
        network.fit(X, y, forces=forces)
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", ["legendre", "point"])
def test_warm_start_goes_on(name):
    X, y, forces = waters(10)
    parameters = {"max_epochs": 3, "validation_fraction": None}
    network = NETWORKS[name](warm_start=True, **parameters)
    network.fit(X, y, forces)  # there is nothing to go on from: as ever
    np.testing.assert_array_equal(
        network.predict(X), NETWORKS[name](**parameters).fit(X, y, forces).predict(X)
    )
    before, units = network.predict(X), (network.scale_, *network.shifts_)
    hot = [3 * pull for pull in forces[:4]]
    network.set_params(learning_rate=1e-12).fit(X[:4], y[:4] + 1, hot)
    np.testing.assert_allclose(network.predict(X), before, rtol=1e-7)
    assert tuple(network.shifts_) == units[1:]
    assert network.scale_ == pytest.approx(np.sqrt(np.mean(np.square(hot))))
    network.set_params(learning_rate=1e-3).fit(X, y, forces)
    assert np.abs(network.predict(X) - before).max() > 1e-6
    with pytest.raises(ValueError, match="Structure 1 contains Na, not seen in fit"):
        network.fit([X[0], Atoms("Na")], y[:2])
    network.set_params(width=9, warm_start=False).fit(X[:5], y[:5])
    assert (network.scale_, *network.shifts_) != units


@pytest.mark.parametrize("name", ["legendre", "literal", "pooled", "point", "linear point"])
def test_another_unit_changes_no_prediction(name):
    """Of the network and its members: a fit that goes on may be interrupted after it."""
    X, y, forces = waters(8)
    network = NETWORKS[name](n_members=3, validation_fraction=0.5).fit(X, y, forces=forces)

    def predicted():
        found = *network.predict(X, return_std=True), *network.predict_forces(X, return_std=True)
        return [np.concatenate(list(map(np.atleast_1d, part))) for part in found]

    before, unit = predicted(), network.scale_
    network._set_unit(0.1 * unit)
    assert network.scale_ == 0.1 * unit
    for one, other in zip(before, predicted(), strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-9, atol=1e-12)


def test_a_warm_start_from_next_to_nothing_learns():
    """The unit of energies that hardly differ would be far too small for the structures after."""
    X, y, forces = waters(20)
    nearly = [X[0].copy() for _ in range(6)]
    for seed, atoms in enumerate(nearly):
        atoms.rattle(1e-4, seed=seed)
    parameters = {"validation_fraction": None, "max_epochs": 40, "learning_rate": 0.01}
    network = NETWORKS["legendre"](warm_start=True, **parameters)
    network.fit(nearly, y[0] + 1e-6 * np.arange(6)).fit(X, y, forces)
    expected = np.concatenate(forces)
    wrong = np.abs(np.concatenate(network.predict_forces(X)) - expected).mean()
    assert wrong < 0.1 * np.abs(expected).mean()


@pytest.mark.parametrize("name", ["gaussian", "point"])
def test_warm_starts_with_another_architecture_are_refused(name):
    """Whether the weights have other shapes, or would only mean something else."""
    others = {
        "gaussian": {
            "n_layers": 3, "width": 9, "basis": "legendre", "n_radial": 6, "n_angular": 5,
            "cutoff": 4.0, "messages": "neighbor", "pooling": 1,
        },
        "point": {
            "n_layers": 3, "width": 9, "n": [1, 3], "max_l": 0, "beta": 0.3, "n_scales": 5,
            "scale_step": 0.5, "overlap": 0.2, "reach": 4.0, "powers": (1, 3), "head": "linear",
        },
    }[name]  # fmt: skip
    X, y, _ = waters(6)
    network = NETWORKS[name](warm_start=True).fit(X, y)
    before = network.predict(X)
    for parameter, value in others.items():
        old = network.get_params()[parameter]
        network.set_params(**{parameter: value})
        with pytest.raises(ValueError, match=rf"with {parameter}=.*: set that back"):
            network.fit(X, y)
        # What was fitted predicts as it did, whatever the parameters are now.
        np.testing.assert_array_equal(network.predict(X), before)
        network.set_params(**{parameter: old})
    network.set_params(dtype="float32")
    np.testing.assert_array_equal(network.predict(X), before)
    assert network.fit(X, y).module_.embedding.weight.dtype == torch.float32


@pytest.mark.parametrize("name", ["nowhere/fit.checkpoint", ".", "file/fit.checkpoint"])
def test_checkpoints_that_cannot_be_written_are_refused_before_the_work(tmp_path, name):
    X, y, _ = waters(6)
    (tmp_path / "file").touch()
    network = NETWORKS["pairs"]().fit(X, y)
    before = network.predict(X)
    network.set_params(checkpoint_path=tmp_path / name)
    with pytest.raises(ValueError, match=r"checkpoint_path=.* is no file that can be written"):
        network.fit(X, 2 * y)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    np.testing.assert_array_equal(network.predict(X), before)


@pytest.mark.parametrize("name", ["legendre", "point"])
def test_a_fit_that_fails_leaves_no_model_of_two_halves(monkeypatch, name):
    X, y, _ = waters(6)
    network = NETWORKS[name]().fit(X, y)

    def interrupted(trainer):
        raise KeyboardInterrupt

    monkeypatch.setattr(training.Trainer, "_run_epoch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        network.set_params(warm_start=True).fit(X, 10 * y)
    kept = pickle.loads(pickle.dumps(network))  # what it was to go on from
    np.testing.assert_array_equal(kept.predict(X), network.predict(X))
    with pytest.raises(KeyboardInterrupt):
        network.set_params(warm_start=False, width=5).fit(X, 10 * y)
    for left in (network, pickle.loads(pickle.dumps(network)), NETWORKS[name]()):
        with pytest.raises(NotFittedError):
            left.predict(X)
    with pytest.raises(KeyboardInterrupt):  # there is nothing to go on from
        network.set_params(warm_start=True).fit(X, y)


def test_checkpoints_need_a_seed(tmp_path):
    """A second fit with other random numbers could not go on."""
    X, y, _ = waters(6)
    for state in (None, np.random.RandomState(0)):
        network = NETWORKS["pairs"](checkpoint_path=tmp_path / "fit.checkpoint", random_state=state)
        with pytest.raises(ValueError, match="checkpoint_path needs random_state to be an int"):
            network.fit(X, y)
