"""What the benchmarks of networks share."""

import itertools
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.neighborlist import neighbor_list
from sklearn.base import BaseEstimator

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
if not BENCHMARKS.exists():
    pytest.skip("the benchmarks are not in this copy", allow_module_level=True)
sys.path.insert(0, str(BENCHMARKS))

from common.cache import Cache  # noqa: E402
from common.networks import epochs_for, errors, train_for  # noqa: E402
from common.timing import machine  # noqa: E402

PER_ATOM = 1e-5  # CPU seconds of an epoch


class Slow(BaseEstimator):
    """Takes a time to set up, and a time for every atom and epoch; moves the clock by it."""

    clock = 0.0  # s

    def __init__(self, max_epochs=7, checkpoint_path=None):
        self.max_epochs, self.checkpoint_path = max_epochs, checkpoint_path

    def fit(self, X, y, forces=None):
        assert len(X) == len(y) == len(forces)
        Slow.clock += 0.02 + self.max_epochs * PER_ATOM * sum(map(len, X))
        return self


def test_epochs_fill_the_time_that_is_given(tmp_path, monkeypatch):
    # The time is a clock of the test's own: a real one depends on what else the machine does.
    monkeypatch.setattr(time, "process_time", lambda: Slow.clock)
    # A hundred of them are timed: of all sizes, of which only the atoms count.
    X = [Atoms(["H"] * n) for n in np.repeat([4, 6, 8], 200)]
    forces = [np.zeros((len(atoms), 3)) for atoms in X]
    network = Slow(checkpoint_path="old")
    epochs = epochs_for(network, X, np.zeros(600), minutes=0.02, forces=forces)
    assert epochs == 33  # 0.02 * 60 / (600 * 6 * PER_ATOM)
    assert network.get_params() == {"max_epochs": 7, "checkpoint_path": "old"}
    cache = Cache(tmp_path)
    fitted = train_for(network, X, np.zeros(600), 0.002, cache, forces=forces)
    assert fitted.max_epochs == 3
    assert fitted.checkpoint_path.parent == tmp_path
    again = train_for(Slow(), X, np.zeros(600), 0.002, cache, forces=forces)
    assert again.get_params() == fitted.get_params()


class Offset(Slow):
    """Has errors in proportion to its seed."""

    def __init__(self, max_epochs=7, checkpoint_path=None, random_state=None):
        super().__init__(max_epochs, checkpoint_path)
        self.random_state = random_state

    def fit(self, X, y, forces=None):
        self.n_iter_, self.module_ = self.max_epochs, pytest.importorskip("torch").nn.Linear(2, 1)
        return super().fit(X, y, forces=[None] * len(X))

    def predict(self, X):
        return np.full(len(X), 0.001 * self.random_state)

    def predict_forces(self, X):
        return [np.full((len(atoms), 3), 0.1 * self.random_state) for atoms in X]


def test_seeds_share_the_minutes_and_the_mean_of_what_they_predict_counts(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.syspath_prepend(str(BENCHMARKS / "accuracy"))
    from rmd17_networks import train_and_test

    monkeypatch.setattr(time, "process_time", lambda: Slow.clock)
    X = [Atoms(["H"] * n) for n in np.repeat([4, 6, 8], 200)]
    labels = X, np.zeros(600), None
    test = [Atoms("H2"), Atoms("H4")], np.zeros(2), [np.zeros((2, 3)), np.zeros((4, 3))]
    found = train_and_test("h", Offset(), labels, test, 0.06, Cache(tmp_path), seeds=3)
    assert found["epochs"] == 3 * 33  # as many in a third of 0.06 minutes as above in 0.02
    assert found["weights"] == 3 * 3
    assert found["force"] == pytest.approx((0 + 100 + 200) / 3)
    assert found["energy"] == pytest.approx((0 + 1 + 2) / 3 * (2 + 4) / 2)


def test_errors_are_of_atoms_or_of_structures_and_of_all_components():
    X = [Atoms("H2"), Atoms("H6")]
    forces = [np.zeros((2, 3)), np.zeros((6, 3))]
    test = (X, np.array([1.0, 2.0]), forces)
    pulls = np.full((8, 3), 0.01)
    pulls[0, 0] = -0.25  # eV/Å
    found = errors(test, np.array([1.003, 1.996]), pulls, total=False)
    assert found["energy"] == pytest.approx((3 + 4) / 2)
    assert found["energy_rmse"] == pytest.approx(np.sqrt((9 + 16) / 2))
    assert found["force"] == pytest.approx((23 * 10 + 250) / 24)
    assert found["force_rmse"] == pytest.approx(np.sqrt((23 * 10**2 + 250**2) / 24))
    total = errors(test, np.array([1.003, 1.996]), pulls, total=True)
    assert total["energy"] == pytest.approx((6 + 24) / 2)
    assert total["force"] == found["force"]


def cells(seed=0):
    """Return a molecule and rattled crystals, one of them smaller than the cutoff, of two sizes."""
    rng = np.random.default_rng(seed)
    crystals = [bulk("Si"), bulk("Si", cubic=True), bulk("Si") * (2, 1, 1)]
    molecule = Atoms("Si5", rng.normal(size=(5, 3)) * 2)
    for atoms in crystals:
        atoms.positions += rng.normal(scale=0.1, size=(len(atoms), 3))
        atoms.positions[0] -= atoms.cell[0]  # positions need not lie within the cell
    return [crystals[0], molecule, *crystals[1:]]


def test_rivals_see_the_neighbours_that_ase_finds():
    pytest.importorskip("torch")
    from common.rival_networks import CUTOFF, Batches

    X = cells()
    batches = Batches(X)
    found = batches.take([3, 0, 1, 2])
    start, pairs, vectors = 0, [], []
    for atoms in (X[3], X[0], X[1], X[2]):
        i, j, shift = neighbor_list("ijS", atoms, CUTOFF)
        pairs.append(start + np.array([i, j]))
        vectors.append(atoms.positions[j] - atoms.positions[i] + shift @ atoms.cell.array)
        start += len(atoms)
    expected = np.column_stack([np.concatenate(pairs, axis=1).T, np.concatenate(vectors)])
    i, j = found.pairs.numpy()
    vectors = found.positions[j] - found.positions[i] + found.offsets
    seen = np.column_stack([i, j, vectors.numpy()])
    order = [np.lexsort(np.round(table, 3).T) for table in (expected, seen)]
    np.testing.assert_allclose(seen[order[1]], expected[order[0]], atol=1e-5)
    np.testing.assert_array_equal(found.structure, np.repeat(range(4), [4, 2, 5, 8]))
    assert batches.n_neighbors == pytest.approx(len(expected) / start)


@pytest.mark.filterwarnings("ignore")  # what they warn of is not ours to mend
@pytest.mark.parametrize(
    ("kind", "package"), [("Mace", "mace"), ("Nequip", "nequip"), ("Painn", "schnetpack")]
)
def test_rivals_give_every_cell_of_a_crystal_the_same_energy(kind, package):
    torch = pytest.importorskip("torch")
    if not find_spec(package):  # not imported here: SchNetPack needs what its maker here gives it
        pytest.skip(f"{package} is not installed")
    from common import rival_networks

    X = cells()[2:]
    X = [*X, *(atoms * (1, 2, 1) for atoms in X)]
    batches = rival_networks.Batches(X)
    torch.manual_seed(0)
    network = getattr(rival_networks, kind)(batches.structures, batches.n_neighbors)
    batch = batches.take([0, 1, 2, 3])
    energies, forces = network.energies_forces(network.module, batch, False)
    sizes = torch.tensor([len(atoms) for atoms in X])
    per_atom = (energies / sizes).detach().numpy()
    np.testing.assert_allclose(per_atom[2:], per_atom[:2], rtol=1e-4)
    assert abs(per_atom[0] - per_atom[1]) > 1e-3 * abs(per_atom[0])
    first, second, *repeated = (f.detach().numpy() for f in torch.split(forces, sizes.tolist()))
    for once, twice in zip((first, second), repeated, strict=True):
        np.testing.assert_allclose(twice, np.tile(once, (2, 1)), atol=1e-4 * np.abs(once).max())
    alone, _ = network.energies_forces(network.module, batches.take([1]), False)
    np.testing.assert_allclose(alone.detach(), energies[1].detach(), rtol=1e-4)


def test_rivals_learn_structures_of_all_sizes(monkeypatch):
    torch = pytest.importorskip("torch")
    from common import rival_networks
    from common.rival_networks import Batches, train_rival

    # A step takes a second, however busy the machine is.
    ticks = SimpleNamespace(process_time=itertools.count().__next__)
    monkeypatch.setattr(rival_networks, "time", ticks)

    class Pairs:
        """Energies of pairs whose strength is learned, and a learned energy of every atom."""

        batch_size, learning_rate, averaging, amsgrad = 2, 0.2, 0.9, False
        energy_weight = force_weight = 1.0

        def __init__(self, structures, n_neighbors):
            self.module = torch.nn.ParameterList([torch.tensor(0.5), torch.tensor(0.0)])

        def energies_forces(self, module, batch, training):
            places = batch.positions.clone().requires_grad_()
            i, j = batch.pairs
            lengths = (places[j] - places[i] + batch.offsets).norm(dim=1)
            sums = torch.zeros(len(places)).index_add(0, i, torch.exp(-lengths))
            of_atoms = module[0] * sums + module[1]
            energies = torch.zeros(batch.n_structures).index_add(0, batch.structure, of_atoms)
            (slopes,) = torch.autograd.grad(energies.sum(), places, create_graph=training)
            return energies, -slopes

    X = [atoms for seed in range(4) for atoms in cells(seed)]
    truth = Pairs(X, None)
    with torch.no_grad():
        truth.module[0].fill_(3.0)
        truth.module[1].fill_(-5.0)
    energies, forces = truth.energies_forces(truth.module, Batches(X).take(range(16)), False)
    sizes = [len(atoms) for atoms in X]
    y = energies.detach().double().numpy() / sizes
    forces = [part.numpy() for part in torch.split(forces.detach().double(), sizes)]
    train, held, test = ((X[a:b], y[a:b], forces[a:b]) for a, b in ((0, 8), (8, 12), (12, 16)))
    found = train_rival(Pairs, train, held, test, 10, False)
    assert found["weights"] == 2
    assert found["energy"] < 1
    assert found["force"] < 1


def test_versions_are_those_of_installed_packages():
    """Networks on Li-Si need none of the packages that other parts of their script compare."""
    line = machine("numpy", "package-that-nobody-has")
    assert f"numpy {np.__version__}" in line
    assert "package-that-nobody-has" not in line
