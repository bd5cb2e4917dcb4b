"""Training: loss and its second derivatives, batches, validation, messages."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="the networks need torch")

import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from helpers.neural_checks import NETWORKS, cells, labels, waters, weights
from helpers.small_structures import molecule, triclinic

from skwavelet import labels_of
from skwavelet.neural import AngularNetwork, PointScatteringNetwork, training
from skwavelet.neural.graph import build_graph, collate
from skwavelet.neural.loss import Labels, LossWeights, loss_and_errors
from skwavelet.neural.networks import AngularModule
from skwavelet.neural.training import Trainer
from skwavelet.potentials.label_checks import check_forces, check_stress
from skwavelet.structures.checks import check_structures


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


def test_structures_count_by_their_weights_everywhere(monkeypatch):
    """In the unit of forces, and in the errors that choose the epoch."""
    X, found = crystals(8)
    forces, stress = list(found.forces), list(found.stress)
    forces[2] = stress[5] = None
    counts = np.array([1, 3, 2, 1, 1, 2, 1, 4])
    rows = np.repeat(np.arange(8), counts)
    labels = [found.energies, forces, stress]
    one = NETWORKS["pairs"](validation_fraction=None).fit(X, *labels, sample_weight=counts)
    two = NETWORKS["pairs"](validation_fraction=None).fit(
        [X[i] for i in rows], *([part[i] for i in rows] for part in labels)
    )
    np.testing.assert_allclose(one.scale_, two.scale_, rtol=1e-12)
    np.testing.assert_allclose(one.shifts_, two.shifts_, rtol=1e-12)
    structures = check_structures(X)
    totals = found.energies * [len(atoms) for atoms in X]
    results = []
    for kept, counted in ((np.arange(8), counts.astype(float)), (rows, np.ones(len(rows)))):
        data = one._labelled(
            [structures[i] for i in kept], totals[kept], [forces[i] for i in kept],
            [stress[i] for i in kept], counted,
        )  # fmt: skip
        settings = replace(one._settings(0, structures, ()), batch_size=1)
        results.append(Trainer(one.module_, data, data, settings)._validate())
    assert set(results[0]) == {
        "validation_loss", "validation_energy_mae", "validation_force_mae", "validation_stress_mae"
    }  # fmt: skip
    for name, value in results[0].items():
        np.testing.assert_allclose(value, results[1][name], rtol=1e-9)


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


def test_rounding_of_forces_that_symmetry_lets_vanish_chooses_no_epoch(monkeypatch):
    X, y, forces = waters(16)
    for pulls, best in (([np.zeros((3, 3))] * 16, 3), (forces, 2)):
        errors = iter([(3.0, 1e-9), (2.0, 1e-12), (1.0, 1e-9)])

        def scripted(trainer, errors=errors):
            energy, force = next(errors)
            return {"validation_energy_mae": energy, "validation_force_mae": force}

        monkeypatch.setattr(training.Trainer, "_validate", scripted)
        network = NETWORKS["legendre"](max_epochs=3, validation_fraction=0.25)
        assert network.fit(X, y, forces=pulls).best_epoch_ == best


@pytest.mark.parametrize("kind", [AngularNetwork, PointScatteringNetwork])
@pytest.mark.parametrize("label", [None, 0.0, 1e-8])
def test_perfect_crystals_say_nothing_of_what_vanishes_in_them(kind, label):
    """In single precision: features that vanish are not blown up, and forces are no unit."""
    sizes = np.linspace(5.2, 5.7, 12)
    X = [bulk("Si", a=a, cubic=True) for a in sizes]
    y = 2 * (sizes - 5.43) ** 2 - 5.4
    forces = None if label is None else [np.full((8, 3), label)] * 12
    network = kind(width=8, max_epochs=10, validation_fraction=None, random_state=0)
    network.fit(X, y, forces=forces)
    # Whatever it learned of energies, whose spread is 0.05 eV/atom or 0.4 eV in a cell.
    np.testing.assert_allclose(network.scale_, 8 * np.std(y), rtol=0.02)
    assert np.abs(network.predict_forces(X)).max() < 5e-3
    moved = X[6].copy()
    moved.rattle(0.01, seed=0)
    energies = network.predict([X[6], moved])
    assert abs(energies[1] - energies[0]) < np.std(y)


@pytest.mark.parametrize("powers", [(1, 2), (1, 4 / 3, 5 / 3, 2)])
def test_forces_grow_in_proportion_to_small_displacements(powers):
    """Where moduli vanish, at the sites of a crystal, the energy has no kink, and is learned."""
    X = [bulk("Si", cubic=True), Atoms("Si")]
    for seed in range(8):
        X.append(bulk("Si", cubic=True))
        X[-1].rattle(0.05, seed=seed)
    y, forces = labels(X)
    forces[0][:], forces[1][:] = 0.0, 0.0
    network = PointScatteringNetwork(
        2, 4, powers=powers, max_epochs=3, validation_fraction=None, dtype="float64", random_state=0
    ).fit(X, y, forces=forces)
    constants = []
    for shift in (1e-5, 1e-4, 1e-3, 1e-2):  # Å
        moved = bulk("Si", cubic=True)
        moved.positions[0, 0] += shift
        constants.append(network.predict_forces([moved])[0][0, 0] / shift)
    assert abs(constants[0]) > 1e-3
    np.testing.assert_allclose(constants[:3], constants[0], rtol=1e-3)
    np.testing.assert_allclose(constants[3], constants[0], rtol=0.2)


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


@pytest.mark.parametrize("fraction", [None, 0.25])
@pytest.mark.parametrize("name", ["legendre", "point"])
def test_steps_to_nowhere_are_told(name, fraction):
    """Also those of the last epoch, whose loss is never computed."""
    X, y, forces = waters(8)
    network = NETWORKS[name](learning_rate=1e300, validation_fraction=fraction, batch_size=8)
    with pytest.raises(FloatingPointError, match="gives no numbers after epoch 1: lower"):
        network.fit(X, y, forces=forces)


def test_features_of_sorted_sets_are_of_order_one():
    """Means and spreads are taken from structures of all kinds, not from those that come first."""
    rng, X = np.random.default_rng(0), []
    for symbol, a, n in (("Cu", 3.6, 110), ("Au", 4.1, 40)):
        for _ in range(n):
            X.append(bulk(symbol, a=a * rng.uniform(0.97, 1.03), cubic=True))
            X[-1].rattle(0.05, rng=rng)
    network = PointScatteringNetwork(1, 4, max_epochs=1, validation_fraction=None, random_state=0)
    network.fit(X, np.zeros(len(X)))
    graphs = [build_graph(s, network._reaches(), (29, 79)) for s in check_structures(X)]
    module = network.module_
    scaled = module._scaled(module.pooled(collate(graphs, torch.float32)))
    assert scaled.abs().max() < 10  # in units of the first 100, of one element, some are 1e5
    assert scaled.square().mean() < 2


@pytest.mark.parametrize(("size", "molecules"), [(1, 67), (2, 33), (16, 4), (250, 2)])
def test_steps_hold_about_100_atoms(size, molecules):
    X = [Atoms(["H"] * size, 3 * np.arange(3 * size).reshape(-1, 3))] * 3
    X += [Atoms(["H"] * 2 * size, 3 * np.arange(6 * size).reshape(-1, 3))] * 3
    structures = check_structures(X)
    for kind in ("legendre", "point"):
        network = NETWORKS[kind](batch_size=None)
        assert network._settings(0, structures, ()).batch_size == molecules
        assert NETWORKS[kind]()._settings(0, structures, ()).batch_size == 3


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
    with pytest.raises(ValueError, match=r"powers must be numbers of at least 1, not \('a',\)"):
        PointScatteringNetwork(powers=("a",)).fit(X, y)
    with pytest.raises(ValueError, match="no filters without angles"):
        AngularNetwork(basis="literal", n_angular=0).fit([molecule()] * 3, y[:3])
    for basis in ("legendre", "literal"):
        with pytest.raises(ValueError, match='messages="center" is a choice of basis="gaussian"'):
            AngularNetwork(basis=basis, messages="center").fit([molecule()] * 3, y[:3])


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
        settings = replace(network._settings(0, structures, ()), batch_size=size)
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
