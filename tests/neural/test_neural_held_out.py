"""Which structures networks are judged by, and not trained on."""

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

pytest.importorskip("torch", reason="the networks need torch")

import torch
from ase import Atoms
from helpers.neural_checks import NETWORKS, split_as_fit_does, waters, weights

from skwavelet.neural import AngularNetwork, PointScatteringNetwork, training
from skwavelet.neural.held_out import fingerprints, split
from skwavelet.structures.checks import check_structures


def parted(X, groups, fraction=0.1, seed=0, trained_on=()):
    """Return the rows of both parts, which are all rows, and whole groups."""
    structures, groups = check_structures(X), np.asarray(groups)
    seen = np.isin(fingerprints(structures), np.array(trained_on, np.uint64))
    train, held_out = split(X, structures, groups, fraction, seed, seen)
    assert sorted([*train, *held_out]) == list(range(len(X)))
    assert not set(groups[train]) & set(groups[held_out])
    return train, held_out


@pytest.mark.parametrize(
    ("sizes", "expected"), [([40] + [1] * 20, {2, 3}), ([30, 20, 10], {10}), ([6] * 10, {6})]
)
def test_large_groups_do_not_make_large_parts(sizes, expected):
    X, groups = waters(60)[0], np.repeat(range(len(sizes)), sizes)
    for seed in range(10):
        assert len(parted(X, groups, 0.1, seed)[1]) in expected


def test_equal_groups_are_held_out_by_chance():
    X = waters(40)[0]
    found = {tuple(parted(X, range(40), 0.25, seed)[1]) for seed in range(20)}
    assert {len(rows) for rows in found} == {10}
    assert len(found) > 10


@pytest.mark.parametrize("n_others", [19, 20, 30])
def test_an_element_of_one_group_is_trained_on(n_others):
    X = [*waters(n_others)[0], Atoms("HCl", [[0, 0, 0], [0, 0, 1.27]])]
    for seed in range(20):
        train, held_out = parted(X, range(len(X)), 0.1, seed)
        assert len(X) - 1 in train
        assert len(held_out) >= 1
    # Two of them: one may be held out, and then the other is trained on.
    X.append(X[-1].copy())
    for seed in range(20):
        assert {len(X) - 1, len(X) - 2} & set(parted(X, range(len(X)), 0.1, seed)[0])


def test_energies_of_rare_elements_are_learned():
    X, y, _ = waters(20)
    X.append(Atoms("Cl2", [[0, 0, 0], [0, 0, 2.0]]))
    y = np.append(y - 3.5, -3000.0)
    network = NETWORKS["pairs"]().fit(X, y)
    assert network.shifts_[network.elements_.index("Cl")] == pytest.approx(-3000)
    assert abs(network.predict(X)[-1] + 3000) < 30


def test_where_nothing_can_be_held_out_it_is_said():
    X = [Atoms("H2", [[0, 0, 0], [0, 0, 0.74]]), Atoms("Cl2", [[0, 0, 0], [0, 0, 2.0]])]
    with pytest.raises(
        ValueError, match="every group has an element that is in no other group: pass"
    ):
        AngularNetwork(1, width=4).fit(X, [0.0, 1.0])
    with pytest.raises(ValueError, match="One group cannot be split"):
        AngularNetwork(1, width=4).fit(X, [0.0, 1.0], groups=[1, 1])


def test_fingerprints_tell_structures_apart():
    X = waters(3)[0]
    others = [X[0].copy() for _ in range(4)]
    others[0].numbers[0] = 7
    others[1].positions[0, 0] += 1e-9
    others[2].cell[:] = 9 * np.eye(3)
    others[3].cell[:], others[3].pbc = 9 * np.eye(3), True
    numbers = fingerprints(check_structures([*X, *others]))
    assert len(set(numbers)) == 7
    np.testing.assert_array_equal(fingerprints(check_structures([X[1].copy()])), numbers[1:2])


def test_what_was_trained_on_before_is_not_held_out():
    X = waters(50)[0]
    groups = np.arange(50) // 2
    before = [0, 1, 2, 4, *range(10, 36)]  # not 3 and 5, which are in groups with 2 and 4
    seen = fingerprints(check_structures([X[row] for row in before]))
    for seed in range(10):
        _, held_out = parted(X, groups, 0.1, seed, seen)
        assert set(held_out) <= {*range(6, 10), *range(36, 50)}
        assert len(held_out) in {4, 6}
    # Fewer are left than would be held out: all of them.
    seen = fingerprints(check_structures(X[:47]))
    np.testing.assert_array_equal(parted(X, groups, 0.1, 0, seen)[1], [48, 49])
    seen = fingerprints(check_structures(X))
    with pytest.raises(ValueError, match=r"of every group: pass others as well, or set valid"):
        parted(X, groups, 0.1, 0, seen)


def test_warm_starts_are_judged_by_what_they_have_not_seen(monkeypatch):
    X, y, forces = waters(40)
    parts, initialize = [], training.Trainer.__init__

    def spy(trainer, module, train, validation, settings):
        parts.append([{graph.index for graph in part.graphs} for part in (train, validation)])
        initialize(trainer, module, train, validation, settings)

    monkeypatch.setattr(training.Trainer, "__init__", spy)
    network = NETWORKS["pairs"](validation_fraction=0.2, warm_start=True, n_members=2)
    for seed, size in enumerate((20, 30, 40)):
        network.set_params(random_state=seed).fit(X[:size], y[:size], forces[:size])
    trained = set()
    for train, held_out in parts:
        assert not trained & held_out
        trained |= train
    assert [len(held_out) for _, held_out in parts] == [4, 7, 8]
    # The same structures once more: the same are held out.
    network.fit(X, y, forces)
    assert parts[-1][1] <= set(range(40)) - trained
    # A fit that begins anew knows nothing of that.
    expected = split_as_fit_does(network, X, np.arange(40))
    network.set_params(warm_start=False, random_state=0).fit(X, y, forces)
    assert parts[-1] == [set(part) for part in expected]


def test_fits_in_threads_are_those_of_their_seeds(monkeypatch):
    """The first weights come from random numbers that all threads share."""
    X, y, forces = waters(6)
    build = AngularNetwork._build

    def slow(network):
        time.sleep(0.02)  # between the seed and the numbers
        return build(network)

    def fitted(seed):
        return weights(NETWORKS["pairs"](random_state=seed).fit(X, y, forces))

    expected = [fitted(seed) for seed in range(4)]
    monkeypatch.setattr(AngularNetwork, "_build", slow)
    torch.manual_seed(7)
    state = torch.get_rng_state()
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(fitted, range(4)))
    np.testing.assert_array_equal(found, expected)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    "network",
    [AngularNetwork(1, width=4, cutoff=0.5), PointScatteringNetwork(1, reach=0.5, beta=0.3)],
)
def test_reaches_to_no_other_atom_are_refused(network):
    X, y, _ = waters(6)
    with pytest.raises(ValueError, match=r"=0.5 Å reaches no other atom, .* is 0.\d* Å: raise it"):
        network.fit(X, y)
    apart = [Atoms("H"), Atoms("O")]  # atoms alone have no distance
    assert np.isfinite(
        network.set_params(validation_fraction=None).fit(apart, [0.0, 1.0]).shifts_
    ).all()
