"""The physics in the benchmark of Li-Si, beside closed forms and other programs."""

import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from skwavelet.datasets import load_lisi
from skwavelet.properties import elastic_tensor, relaxed

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
if not BENCHMARKS.exists():
    pytest.skip("the benchmarks are not in this copy", allow_module_level=True)


@pytest.fixture
def lisi(monkeypatch):
    """Import modules of the benchmark, and forget them."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.syspath_prepend(str(BENCHMARKS / "accuracy" / "lisi"))
    before = set(sys.modules)
    yield lambda name: __import__(name)
    for name in set(sys.modules) - before:
        if BENCHMARKS in Path(getattr(sys.modules[name], "__file__", None) or "/").parents:
            del sys.modules[name]


def test_clamped_tensor_of_a_crystal_without_inner_freedom(lisi):
    crystal = relaxed(bulk("Cu"), EMT())
    found = lisi("elastic").clamped_tensor(crystal, EMT())
    np.testing.assert_allclose(found, elastic_tensor(crystal, EMT()), rtol=2e-3, atol=0.1)


def test_debye_temperature_of_an_isotropic_solid(lisi):
    """In SI units, with the constants of the CODATA set."""
    elastic, constants = lisi("elastic"), pytest.importorskip("scipy.constants")
    bulk_modulus, shear = 100.0, 40.0
    tensor = np.diag([2 * shear] * 3 + [shear] * 3)
    tensor[:3, :3] += bulk_modulus - 2 / 3 * shear
    np.testing.assert_allclose(elastic.averages(tensor), (bulk_modulus, shear), rtol=1e-12)
    atoms = Atoms("Si2Li", cell=[5, 5, 3], pbc=True)
    volume = 75e-30
    density = atoms.get_masses().sum() * constants.atomic_mass / volume
    longitudinal = np.sqrt((bulk_modulus + 4 / 3 * shear) * 1e9 / density)
    transverse = np.sqrt(shear * 1e9 / density)
    speed = (3 / (longitudinal**-3 + 2 * transverse**-3)) ** (1 / 3)
    expected = constants.h / constants.k * (3 * 3 / (4 * np.pi * volume)) ** (1 / 3) * speed
    assert elastic.debye_temperature(atoms, tensor) == pytest.approx(expected, rel=1e-6)
    # A shear modulus below zero is no solid.
    assert np.isnan(elastic.debye_temperature(atoms, tensor - np.diag([0] * 3 + [300] * 3)))


def test_diffusion_coefficient_of_a_random_walk(lisi):
    diffusion = lisi("diffusion")
    rng, interval, expected = np.random.default_rng(0), 0.05, 0.3
    steps = rng.normal(scale=np.sqrt(2 * expected * interval), size=(400, 400, 3))
    positions = np.cumsum(steps, axis=0)
    still = np.zeros((400, 3, 3))  # a heavy wall, which drifts together with the walkers
    drift = np.linspace(0, 50, 400)[:, None, None]
    masses = np.concatenate([np.full(400, 1e-6), np.ones(3)])
    moving = np.concatenate([positions, still], axis=1) + drift
    square = diffusion.mean_square(moving, np.arange(400), masses)
    assert diffusion.coefficient(square, interval) == pytest.approx(expected, rel=0.05)


def test_voltage_of_a_straight_line(lisi):
    voltage = lisi("voltage")
    alpha = np.linspace(0.1, 3.75, 20)
    found = voltage.voltages(alpha, -5.3 + alpha * (voltage.LITHIUM - 0.25))
    np.testing.assert_allclose(found, 0.25, atol=1e-9)


def test_distance_of_structures_without_drift_and_across_walls(lisi):
    atoms = bulk("Cu", cubic=True).repeat(2)
    moved = atoms.copy()
    moved.positions += np.tile([[0.3, 0, 0], [-0.3, 0, 0]], (len(atoms) // 2, 1))
    moved.positions += [1.0, 2.0, 0.5]
    moved.wrap()
    found = lisi("relaxations").rms_distance(moved, atoms)
    assert found == pytest.approx(0.3, rel=1e-9)


@pytest.fixture
def parts(lisi):
    """Three compositions of four paths of two frames, without structures; energies number them."""
    paths = np.array([f"c{c:02d}/p{p}" for c in range(3) for p in range(4) for _ in range(2)])
    of_tasks = {
        "bulk": np.array(["c00/p3", "c01/p0", "c02/p2"]),
        "barriers": np.array(["c01/p0"]),
        "paths": paths,
    }
    return {
        name: lisi("data").Part(
            [None] * len(parents),
            np.arange(len(parents)),
            [None] * len(parents),
            np.zeros((len(parents), 6)),
            parents,
        )
        for name, parents in of_tasks.items()
    }


def test_held_out_paths_are_two_of_each_composition(lisi, parts):
    found = lisi("potentials").held_out(parts)
    assert {"c00/p3", "c01/p0", "c02/p2"} < found
    assert sorted(name[:3] for name in found) == ["c00", "c00", "c01", "c01", "c02", "c02"]


def test_choices_are_made_on_one_training_path_of_each_composition(lisi, parts):
    potentials = lisi("potentials").Potentials(parts, cache=None)
    training = potentials.of_training_paths()
    assert sorted(name[:3] for name in training.names) == ["c00", "c01", "c02"]
    assert not training.names & potentials.names
    paths, everything = training.parts["paths"], parts["paths"]
    assert not set(paths.parents) & potentials.names
    assert set(paths.parents) | potentials.names == set(everything.parents)
    # Rows stay together.
    np.testing.assert_array_equal(everything.parents[paths.energies], paths.parents)
    np.testing.assert_array_equal(training.unseen, np.isin(paths.parents, list(training.names)))


def test_frames_with_forces_are_of_every_path(lisi, parts):
    parents = parts["paths"].parents
    labelled_frames = lisi("potentials").labelled_frames
    for n_frames in (1, 2):
        frames = labelled_frames(parents, n_frames)
        assert [len(set(rows)) for rows in frames] == [n_frames] * 12
        assert [set(parents[rows]) for rows in frames] == [{path} for path in np.unique(parents)]
    assert not np.concatenate(labelled_frames(parents, 0)).size


def test_labels_of_own_ends_are_of_their_structures(lisi):
    """Forces of a whole cell add up to nothing, and relaxed structures are low in energy."""
    data, potentials = load_lisi(), lisi("potentials")
    paths = lisi("data").Part(
        data.structures, data.energies, data.forces, data.stress, np.asarray(data.paths)
    )
    some = paths.take(np.flatnonzero(np.isin(paths.parents, np.unique(paths.parents)[::7])))
    ends = potentials.own_ends(some)
    assert 20 < len(ends) == len(set(ends.parents)) <= len(set(some.parents))
    for k, path in enumerate(ends.parents):
        of_path = np.flatnonzero(some.parents == path)
        assert len(ends.forces[k]) == len(ends.structures[k])
        np.testing.assert_allclose(ends.forces[k].sum(axis=0), 0, atol=1e-4)
        assert ends.structures[k].info["path"] == some.structures[of_path[-1]].info["path"]
        assert ends.energies[k] < some.energies[of_path[0]]
        assert abs(ends.energies[k] - some.energies[of_path[-1]]) < 0.03
