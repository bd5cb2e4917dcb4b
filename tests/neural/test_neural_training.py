"""Training: loss and its second derivatives, optimizer, checkpoints, validation, messages."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="the networks need torch")

import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from helpers.neural_checks import NETWORKS, cells, labels, waters
from helpers.small_structures import molecule, triclinic

from skwavelet import labels_of
from skwavelet.neural import AngularNetwork, PointScatteringNetwork, training
from skwavelet.neural.graph import build_graph, collate
from skwavelet.neural.layers import DegreeLinear, Dense
from skwavelet.neural.loss import Labels, LossWeights, loss_and_errors
from skwavelet.neural.networks import AngularModule
from skwavelet.neural.optimizer import NetworkOptimizer, orthogonalized
from skwavelet.neural.training import Trainer
from skwavelet.potentials.label_checks import check_forces, check_stress
from skwavelet.structures.checks import check_structures


def weights(network):
    return torch.cat([value.ravel() for value in network.module_.state_dict().values()]).numpy()


@pytest.mark.parametrize("options", [
    {"basis": "legendre"}, {"basis": "gaussian"}, {"basis": "literal"},
    {"basis": "legendre", "n_pools": 1},
])  # fmt: skip
def test_loss_with_forces_and_stress_has_the_right_derivatives(options):
    """The loss holds first derivatives of the network, its gradient second ones."""
    torch.manual_seed(0)
    module = AngularModule(
        3, width=2, n_layers=1, n_radial=2, n_angular=2, cutoff=3.2, start=0.5, messages="both",
        **options,
    ).double()  # fmt: skip
    structures = [molecule(), triclinic()]
    n_atoms, reaches = sum(map(len, structures)), (3.2, 9.6)[: len(module.reaches)]
    graphs = [build_graph(s, reaches, (3, 8, 14)) for s in check_structures(structures)]
    batch = collate(graphs, torch.float64)
    stress = torch.randn(2, 6, dtype=torch.float64)
    stress[0] = torch.nan
    given = Labels(
        torch.randn(2, dtype=torch.float64), torch.randn(n_atoms, 3, dtype=torch.float64),
        stress, torch.tensor([1.0, 2.0], dtype=torch.float64),
    )  # fmt: skip
    names, values = zip(*module.named_parameters(), strict=True)

    class Loss(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.module = module

        def forward(self):
            loss, losses, _ = loss_and_errors(
                self.module, batch, given, LossWeights(1.5, 0.2, 3.0), training=True
            )
            return loss + 0.1 * losses

    def loss(*parameters):
        named = {f"module.{n}": p for n, p in zip(names, parameters, strict=True)}
        return torch.func.functional_call(Loss(), named, ())

    assert torch.autograd.gradcheck(loss, values, atol=1e-6, rtol=1e-5)


def crystals(n):
    """Rattled and strained cells of copper of two sizes, with the labels of their potential."""
    rng, structures = np.random.default_rng(0), []
    for number in range(n):
        atoms = bulk("Cu", a=3.6 * rng.uniform(0.96, 1.04), cubic=number % 2 == 0)
        atoms = atoms.repeat((2, 1, 1))
        atoms.rattle(0.1, rng=rng)
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.02 * rng.normal(size=(3, 3))), True)
        atoms.calc = EMT()
        structures.append(atoms)
    return structures, labels_of(structures)


def test_loss_is_the_weighted_sum_of_means_of_squares():
    """Of all structures, however they are dealt out to batches of one size."""
    X, found = crystals(6)
    y, forces, stress = found.energies, list(found.forces), list(found.stress)
    forces[1] = stress[0] = stress[4] = None
    stress[3] = np.full(6, np.nan)
    weights = np.array([1.0, 2, 0.5, 1, 3, 1])
    network = NETWORKS["legendre"](validation_fraction=None, force_weight=0.3, stress_weight=5.0)
    network.fit(X, y, forces, stress, sample_weight=weights)
    structures = check_structures(X)
    sizes = np.array([len(atoms) for atoms in X])
    data = network._labelled(
        structures, y * sizes, check_forces(forces, X), check_stress(stress, X), weights
    )
    kinds, like = data.loss_weights(0.3, 5.0), next(network.module_.parameters())
    unit = network.scale_
    off = (network.predict(X) - y) / unit
    expected = np.average(off**2, weights=weights)
    pulls, given = [0, 2, 3, 4, 5], [1, 2, 5]
    errors = [(network.predict_forces(X)[i] - forces[i]) / unit for i in pulls]
    squares = [weights[i] * np.square(e).sum() for i, e in zip(pulls, errors, strict=True)]
    expected += 0.3 * sum(squares) / sum(weights[i] * 3 * len(X[i]) for i in pulls)
    rest = (network.predict_stress([X[i] for i in given]) - [stress[i] for i in given]) / unit
    expected += 5.0 * np.average((rest**2).mean(axis=1), weights=weights[given])
    for size in (1, 2, 6):
        losses = []
        for start in range(0, 6, size):
            batch, labels = data.batch(np.arange(start, start + size), like, kinds)
            loss, _, parts = loss_and_errors(network.module_, batch, labels, kinds, training=False)
            losses.append(loss.item())
        np.testing.assert_allclose(np.mean(losses), expected, rtol=1e-10)
    parts = [part.detach().numpy() for part in parts]
    np.testing.assert_allclose(parts[0], off, rtol=1e-7, atol=1e-10)
    np.testing.assert_allclose(parts[1], np.concatenate(errors).ravel(), rtol=1e-7, atol=1e-10)
    np.testing.assert_allclose(parts[2], rest.ravel(), rtol=1e-7, atol=1e-10)


def test_structures_of_weight_zero_are_not_there():
    X, found = crystals(6)
    labels = found.energies, found.forces, found.stress
    weights = [1, 1, 0, 1, 0, 1]
    kept = [0, 1, 3, 5]
    one = NETWORKS["pairs"]().fit(X, *labels, sample_weight=weights)
    two = NETWORKS["pairs"]().fit(
        [X[i] for i in kept], *([part[i] for i in kept] for part in labels)
    )
    np.testing.assert_array_equal(one.predict(X), two.predict(X))
    other = NETWORKS["pairs"]().fit(X, *labels, sample_weight=[1, 1, 2, 1, 2, 1])
    assert np.abs(other.predict(X) - one.predict(X)).max() > 1e-6


def test_stress_is_learned():
    X, found = crystals(8)
    errors = {}
    for kind, stress in (("alone", None), ("stress", found.stress)):
        network = AngularNetwork(
            1, 8, cutoff=4.0, learning_rate=0.05, max_epochs=100, batch_size=8, averaging=0.9,
            validation_fraction=None, dtype="float64", random_state=0, stress_weight=10.0,
        ).fit(X, found.energies, stress=stress)  # fmt: skip
        off = network.predict_stress(X) - found.stress
        errors[kind] = np.sqrt(np.mean(off**2) / np.mean(np.square(found.stress)))
    assert errors["stress"] < 0.3
    assert errors["alone"] > 3 * errors["stress"]


@pytest.mark.parametrize("missing", [None, np.full(6, np.nan)])
def test_stress_of_no_structure_is_no_stress(missing):
    X, found = crystals(4)
    alone = NETWORKS["pairs"]().fit(X, found.energies, found.forces)
    assert "validation_stress_mae" not in alone.history_
    same = NETWORKS["pairs"]().fit(X, found.energies, found.forces, stress=[missing] * 4)
    np.testing.assert_array_equal(same.predict(X), alone.predict(X))
    both = NETWORKS["pairs"]().fit(X, found.energies, found.forces, found.stress)
    assert both.history_["validation_stress_mae"].notna().all()
    with pytest.raises(ValueError, match=r"stress\[0\] is given, but structure 0 is not periodic"):
        alone.fit([molecule()], [0.0], stress=[np.zeros(6)])


@pytest.mark.parametrize("name", ["legendre", "point"])
def test_warm_start_goes_on(name):
    X, y, forces = waters(10)
    network = NETWORKS[name](warm_start=True, max_epochs=3)
    network.fit(X, y, forces)  # there is nothing to go on from: as ever
    np.testing.assert_array_equal(
        network.predict(X), NETWORKS[name](max_epochs=3).fit(X, y, forces).predict(X)
    )
    before, units = network.predict(X), (network.scale_, *network.shifts_)
    network.set_params(learning_rate=1e-12).fit(X[:4], y[:4] + 1, forces[:4])
    np.testing.assert_allclose(network.predict(X), before, rtol=1e-7)
    assert (network.scale_, *network.shifts_) == units
    network.set_params(learning_rate=1e-3).fit(X, y, forces)
    assert np.abs(network.predict(X) - before).max() > 1e-6
    with pytest.raises(ValueError, match="Structure 1 contains Na, not seen in fit"):
        network.fit([X[0], Atoms("Na")], y[:2])
    with pytest.raises(ValueError, match="do not fit the parameters as they are now"):
        network.set_params(width=9).fit(X, y, forces)
    network.set_params(warm_start=False).fit(X[:5], y[:5])
    assert (network.scale_, *network.shifts_) != units


def test_shifts_are_least_squares_and_the_unit_is_that_of_the_forces():
    rng = np.random.default_rng(0)
    X = [Atoms(f"Li{a}Si{b}", rng.normal(size=(a + b, 3)) * 4) for a, b in [(1, 2), (3, 1), (2, 2)]]
    y = np.array([(-1.0 * a - 5.0 * b) / (a + b) for a, b in [(1, 2), (3, 1), (2, 2)]])
    forces = [rng.normal(size=(len(atoms), 3)) for atoms in X]
    network = NETWORKS["pairs"](validation_fraction=None).fit(X, y, forces=forces)
    np.testing.assert_allclose(network.shifts_, [-1, -5])
    np.testing.assert_allclose(network.scale_, np.sqrt(np.mean(np.concatenate(forces) ** 2)))
    # One composition tells nothing about the elements apart.
    same = NETWORKS["pairs"](validation_fraction=None).fit([X[0], X[0]], [-4.0, -4.0])
    np.testing.assert_allclose(same.shifts_, [-4, -4])


@pytest.mark.parametrize("network", [
    AngularNetwork(1, 16, learning_rate=0.03, max_epochs=200),
    AngularNetwork(1, 16, basis="gaussian", n_angular=6, learning_rate=0.03, max_epochs=200),
    AngularNetwork(1, 12, pooling=1, learning_rate=0.03, max_epochs=200),
    # With half as many, rounding decides whether it gets there.
    PointScatteringNetwork(2, 8, learning_rate=0.002, max_epochs=400),
], ids=["legendre", "gaussian", "pooling", "point"])  # fmt: skip
def test_five_structures_are_learned_by_heart(network):
    X, y, forces = waters(5, rattle=0.05)
    network.set_params(
        batch_size=5, validation_fraction=None, averaging=0.9, dtype="float64", random_state=0,
        force_weight=0.1,
    ).fit(X, y, forces=forces)  # fmt: skip
    assert np.abs(network.predict(X) - y).max() < 0.02 * np.ptp(y)
    errors = np.array(network.predict_forces(X)) - forces
    assert np.sqrt(np.mean(errors**2)) < 0.03 * np.sqrt(np.mean(np.square(forces)))


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


@pytest.mark.parametrize("with_forces", [True, False])
def test_energies_get_their_weight_as_the_learning_rate_falls(monkeypatch, with_forces):
    X, y, forces = waters(8)
    seen, loss = [], training.loss_and_errors

    def spy(module, batch, labels, kinds, *, training):
        if training:
            seen.append(kinds)
        return loss(module, batch, labels, kinds, training=training)

    monkeypatch.setattr(training, "loss_and_errors", spy)
    network = NETWORKS["pairs"](
        max_epochs=25, batch_size=2, validation_fraction=None, force_weight=0.3
    )
    network.fit(X, y, forces=forces if with_forces else None)
    steps = np.arange(100)
    fall = 0.5 * (1 + np.cos(np.pi * steps / 100))
    shares = np.where(steps < 10, 0.01, np.minimum(1, 0.01 / fall)) if with_forces else 1.0
    np.testing.assert_allclose([kinds.energy for kinds in seen], shares * np.ones(100), rtol=1e-9)
    # A structure of three atoms has nine components.
    assert {kinds.forces for kinds in seen} == {0.3 / 9 if with_forces else 0.0}


def test_a_seed_makes_fits_repeatable_and_random_states_differ():
    X, y, forces = waters(8)
    first, again, other = (
        weights(NETWORKS["legendre"](random_state=seed).fit(X, y, forces=forces))
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3
    torch.manual_seed(0)
    before = torch.rand(1)
    torch.manual_seed(0)
    NETWORKS["legendre"]().fit(X, y)
    assert torch.rand(1) == before  # torch's own random numbers are left alone


def test_whole_groups_are_held_out(monkeypatch):
    X, y, forces = waters(12)
    groups, seen = np.repeat(["a", "b", "c", "d"], 3), {}
    initialize = training.Trainer.__init__

    def spy(trainer, module, train, validation, settings):
        seen.update(train=train.graphs, validation=validation.graphs)
        initialize(trainer, module, train, validation, settings)

    monkeypatch.setattr(training.Trainer, "__init__", spy)
    network = NETWORKS["pairs"](validation_fraction=0.25)
    network.fit(X, y, forces=forces, groups=groups)
    train, validation = ({groups[g.index] for g in seen[part]} for part in ("train", "validation"))
    assert len(validation) == 1
    assert train == set("abcd") - validation
    with pytest.raises(ValueError, match=r"One group cannot be split .* validation_fraction=None"):
        network.fit(X, y, groups=np.zeros(12))


def test_the_best_weights_are_kept_and_patience_ends_the_fit():
    """Random labels: validation cannot go on getting better."""
    X, _, _ = waters(12)
    y, forces = labels(X)
    ended, whole = (
        NETWORKS["legendre"](
            max_epochs=30,
            patience=patience,
            validation_fraction=0.25,
            averaging=0.0,
            learning_rate=0.02,
        ).fit(X, y, forces=forces)
        for patience in (5, None)
    )
    for network in (ended, whole):
        history = network.history_
        errors = history["validation_energy_mae"] * history["validation_force_mae"]
        assert network.best_epoch_ == errors.index[errors <= 1.436 * errors.min()].max()
        if network is ended:
            assert errors.idxmin() == network.n_iter_ - 5 < 25
    assert whole.n_iter_ == 30
    np.testing.assert_array_equal(whole.history_.iloc[: ended.n_iter_], ended.history_)


@pytest.mark.parametrize(("last", "best"), [(1.37, 4), (1.38, 3)])
def test_epochs_that_chance_explains_are_alike(monkeypatch, last, best):
    """Four structures are held out, and the product of errors is 2, 1, 1.1, ``last``, 1.5.

    Of normal errors the spread of absolute values is (pi / 2 - 1)^(1/2) of their mean, and that of
    means of four half of it: 0.3777.
    """
    products = iter([2, 1, 1.1, last, 1.5])

    def scripted(trainer):
        assert len(trainer.validation) == 4
        return {"validation_energy_mae": 0.1 * next(products), "validation_force_mae": 10.0}

    monkeypatch.setattr(training.Trainer, "_validate", scripted)
    X, y, forces = waters(16)
    network = NETWORKS["legendre"](max_epochs=5, validation_fraction=0.25)
    assert network.fit(X, y, forces=forces).best_epoch_ == best


def test_learning_rate_falls():
    X, y, forces = waters(12)
    network = NETWORKS["pairs"](max_epochs=8, validation_fraction=0.25)
    rates = network.fit(X, y, forces=forces).history_["learning_rate"]
    assert np.all(np.diff(rates[1:]) < 0)
    assert rates.iloc[-1] < 0.05 * network.learning_rate
    plateau = NETWORKS["pairs"](
        max_epochs=40, validation_fraction=0.25, schedule="plateau", patience=30, learning_rate=0.1
    )
    rates = plateau.fit(X, labels(X)[0]).history_["learning_rate"]
    assert set(np.round(np.log2(rates[1:] / rates.iloc[0]), 9) % 1) == {0.0}
    assert rates.iloc[-1] < rates.iloc[0]


def test_a_loss_that_is_no_number_names_the_batch(monkeypatch):
    X, y, forces = waters(6)
    network = NETWORKS["legendre"](validation_fraction=None, batch_size=2)
    batch = training.Labelled.batch

    def spoiled(data, rows, like, kinds):
        structures, found = batch(data, rows, like, kinds)
        bad = any(data.graphs[row].index == 4 for row in rows)
        return structures, replace(found, energies=found.energies * (np.nan if bad else 1))

    monkeypatch.setattr(training.Labelled, "batch", spoiled)
    with pytest.raises(FloatingPointError, match=r"epoch 1, batch \d \(structures .*4.*\): lower"):
        network.fit(X, y, forces=forces)


@pytest.mark.parametrize(("size", "molecules"), [(1, 67), (2, 33), (16, 4), (250, 2)])
def test_steps_hold_about_100_atoms(size, molecules):
    X = [Atoms(["H"] * size, 3 * np.arange(3 * size).reshape(-1, 3))] * 3
    X += [Atoms(["H"] * 2 * size, 3 * np.arange(6 * size).reshape(-1, 3))] * 3
    structures = check_structures(X)
    for kind in ("legendre", "point"):
        network = NETWORKS[kind](batch_size=None)
        assert network._settings(0, structures, (), False).batch_size == molecules
        assert NETWORKS[kind]()._settings(0, structures, (), False).batch_size == 3


def test_averaged_weights_lie_on_the_way():
    """Averaging with decay 0 gives the last weights; with others, older ones have a part."""
    X, y, forces = waters(6)
    plain, averaged = (
        weights(
            NETWORKS["pairs"](validation_fraction=None, max_epochs=3, averaging=decay).fit(
                X, y, forces=forces
            )
        )
        for decay in (0.0, 0.9)
    )
    assert 0 < np.abs(plain - averaged).max() < 0.1


def test_orthogonalized_matrices_have_singular_values_near_one():
    x = torch.randn(3, 8, 20, dtype=torch.float64, generator=torch.manual_seed(0))
    stacks = [x, x[:1, :, :9]]
    for stack, result in zip(stacks, orthogonalized(stacks), strict=True):
        values = torch.linalg.svdvals(result)
        assert values.min() > 0.5
        assert values.max() < 1.3
        left, _, right = torch.linalg.svd(stack, full_matrices=False)
        expected = left @ right
        cosine = (result * expected).sum() / (result.norm() * expected.norm())
        assert cosine > 0.97


def soap(gradients, lr):
    """Return the sum of changes by SOAP (Vyas et al. 2024, algorithm 3), one side if not square."""
    n_rows, n_columns = gradients[0].shape
    left, right = np.eye(n_rows), np.eye(n_columns)
    rows, columns = np.zeros((n_rows, n_rows)), np.zeros((n_columns, n_columns))
    mean, square, total = 0.0, 0.0, 0.0
    for step, gradient in enumerate(gradients, start=1):
        mean = 0.99 * mean + 0.01 * gradient
        square = 0.99 * square + 0.01 * (left.T @ gradient @ right) ** 2
        share = 1 - 0.99**step
        total = total - 2 * lr * left @ (
            (left.T @ mean @ right / share) / (np.sqrt(square / share) + 1e-8)
        ) @ right.T  # fmt: skip
        rows = 0.99 * rows + 0.01 * gradient @ gradient.T
        columns = 0.99 * columns + 0.01 * gradient.T @ gradient
        if step < 10 or step % 10 == 0:
            if n_rows <= n_columns:
                left = np.linalg.qr(rows @ left)[0]
            if n_columns <= n_rows:
                right = np.linalg.qr(columns @ right)[0]
    return total


def muon(gradients, lr):
    """Return the sum of changes by Muon of a matrix or a stack, with Nesterov's momentum."""
    shape = gradients[0].shape
    gradients = [gradient.reshape(-1, *shape[-2:]) for gradient in gradients]
    momentum, total = torch.zeros_like(gradients[0]), 0.0
    flat = gradients[0].shape[1] <= gradients[0].shape[2]
    for gradient in gradients:
        momentum = 0.95 * momentum + 0.05 * gradient
        ahead = 0.05 * gradient + 0.95 * momentum
        change = orthogonalized([ahead if flat else ahead.mT])[0]
        total = total - 0.2 * max(ahead.shape[1:]) ** 0.5 * lr * (change if flat else change.mT)
    return total.reshape(shape)


def test_optimizer_has_a_rule_for_each_kind_of_weights():
    torch.manual_seed(0)
    degrees = torch.tensor([0, 1, 1, 1])
    dense = [Dense(*sizes) for sizes in [(4, 6), (6, 4), (5, 5), (4, 1)]]
    mixing = [DegreeLinear(degrees, 4, 6), torch.nn.Linear(6, 3), DegreeLinear(degrees, 6, 3)]
    layers = torch.nn.ModuleList([*dense, *mixing, torch.nn.Embedding(3, 4)]).double()
    before = [p.detach().clone() for p in layers.parameters()]
    given = [[torch.randn_like(p) for p in layers.parameters()] for _ in range(23)]
    matrices = [dense[0].weight, dense[1].weight, dense[2].weight]
    stacks = [one.weight for one in mixing]
    chosen = {id(one) for one in matrices + stacks}
    copies = [p.detach().clone().requires_grad_() for p in layers.parameters()]
    optimizer, adam = NetworkOptimizer(layers, lr=0.1), torch.optim.Adam(copies, lr=0.1)
    for gradients in given:
        for parameter, copy, gradient in zip(layers.parameters(), copies, gradients, strict=True):
            parameter.grad = copy.grad = gradient.clone()
        optimizer.step()
        adam.step()
    for place, (parameter, copy) in enumerate(zip(layers.parameters(), copies, strict=True)):
        own = [gradients[place] for gradients in given]
        if id(parameter) not in chosen:
            expected = copy
        elif any(parameter is one for one in stacks):
            expected = before[place] + muon(own, 0.1)
        else:
            expected = before[place] + torch.from_numpy(soap([g.numpy() for g in own], 0.1))
        torch.testing.assert_close(parameter.detach(), expected.detach(), rtol=1e-9, atol=1e-9)


def test_dense_matrices_move_along_all_directions_of_a_constant_gradient_alike():
    """Adam's step is that of the sign, of singular values here: what is left are directions."""
    layer = Dense(4, 4, bias=False).double()
    left, right = (
        torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64, generator=seeded))[0]
        for seeded in (torch.manual_seed(1), torch.manual_seed(2))
    )
    layer.weight.grad = left @ torch.diag(torch.tensor([8.0, 4, 2, 1]).double()) @ right
    optimizer = NetworkOptimizer(layer, lr=0.01)
    for _ in range(300):
        before = layer.weight.detach().clone()
        optimizer.step()
    torch.testing.assert_close(
        layer.weight.detach(), before - 0.02 * left @ right, rtol=0, atol=1e-5
    )


def test_labels_are_checked():
    X = cells()
    y, forces = labels(X)
    network = NETWORKS["pairs"]()
    with pytest.raises(ValueError, match=r"y must hold one number .* got shape \(2,\)"):
        network.fit(X, y[:2])
    with pytest.raises(ValueError, match=r"forces\[1\] must have shape"):
        network.fit(X, y, forces=[forces[0], forces[0][:1], *forces[2:]])
    with pytest.raises(ValueError, match="at least 1"):
        PointScatteringNetwork(powers=(0.5,)).fit(X, y)
    with pytest.raises(ValueError, match="no filters without angles"):
        AngularNetwork(basis="literal", n_angular=0).fit([molecule()] * 3, y[:3])


def test_validation_loss_does_not_depend_on_the_batches():
    """Structures without forces are spread over the batches unevenly."""
    X, y, forces = waters(9)
    forces[:4] = [None] * 4
    network = NETWORKS["legendre"](averaging=0.0, validation_fraction=None, max_epochs=1)
    network.fit(X, y, forces=forces)
    structures = check_structures(X)
    data = network._labelled(structures, 3 * y, forces, [None] * 9, np.ones(9))
    results = []
    for size in (1, 2, 9):
        settings = replace(network._settings(0, structures, (), False), batch_size=size)
        results.append(Trainer(network.module_, data, data, settings)._validate())
    off = (network.predict(X) - y) / network.scale_
    rest = np.array(network.predict_forces(X))[4:] - np.array(forces[4:])
    loss = np.mean(off**2) + network.force_weight * np.mean(rest**2) / network.scale_**2
    for result in results:
        np.testing.assert_allclose(result["validation_loss"], loss, rtol=1e-10)


def test_forces_of_no_structure_are_no_forces():
    X, y, _ = waters(4)
    alone = NETWORKS["pairs"]().fit(X, y)
    missing = NETWORKS["pairs"]().fit(X, y, forces=[None] * 4)
    np.testing.assert_array_equal(missing.predict(X), alone.predict(X))
