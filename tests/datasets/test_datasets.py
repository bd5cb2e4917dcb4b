import doctest
import pickle
from collections import Counter

import numpy as np
import pytest
from ase.neighborlist import neighbor_list
from numpy.testing import assert_allclose, assert_array_equal

import skwavelet.datasets.lisi
from skwavelet.datasets import LISI_STEPS, load_lisi, load_lisi_task

STEPS = [0, 4, 13, 35, 55]


def same(a, b):
    assert a.structures == b.structures
    assert [atoms.info for atoms in a.structures] == [atoms.info for atoms in b.structures]
    for key in ("energies", "stress", "paths", "compositions"):
        assert_array_equal(a[key], b[key])
    for mine, other in zip(a.forces, b.forces, strict=True):
        assert_array_equal(mine, other)


def test_counts(lisi):
    assert len(lisi.structures) == len(lisi.forces) == 925
    for key in ("energies", "paths", "compositions", "steps"):
        assert lisi[key].shape == (925,)
    assert lisi.stress.shape == (925, 6)
    assert Counter(Counter(lisi.compositions).values()) == {25: 37}
    assert Counter(lisi.paths) == {f"c{c:02d}/p{p}": 5 for c in range(37) for p in range(5)}
    assert_array_equal(lisi.steps.reshape(-1, 5), np.tile(STEPS, (185, 1)))


def test_labels_agree_with_structures(lisi):
    for i, atoms in enumerate(lisi.structures):
        assert atoms.info["path"] == lisi.paths[i]
        assert atoms.info["composition"] == lisi.compositions[i]
        assert atoms.info["step"] == lisi.steps[i]
        formula = atoms.symbols.formula
        assert str(formula.reduce()[0]) == lisi.compositions[i]
        n_lithium, n_silicon = (formula.count()[symbol] for symbol in ("Li", "Si"))
        assert n_lithium + n_silicon == len(atoms)
        assert 58 <= len(atoms) <= 76
        # Whole atoms in a box can miss the intended ratio by about half an atom of lithium.
        assert abs(n_lithium - atoms.info["alpha"] * n_silicon) <= 1
        assert lisi.forces[i].shape == (len(atoms), 3)
    # One composition per file of the source, and the labels of a path all alike.
    tags = np.array([path.split("/")[0] for path in lisi.paths])
    assert len(set(zip(tags, lisi.compositions, strict=True))) == 37


def test_geometry_is_sane(lisi):
    for atoms in lisi.structures:
        assert atoms.pbc.all()
        assert_array_equal(atoms.cell.angles(), 90)
        assert np.ptp(atoms.cell.lengths()) == 0
        assert 9.7 < atoms.cell.lengths()[0] < 11.1
    shortest = [neighbor_list("d", atoms, 3.0).min() for atoms in lisi.structures]
    # 1.51 Å is the smallest distance of the full set, at the start of a path.
    assert min(shortest) == pytest.approx(1.513, abs=1e-3)
    assert max(shortest) < 2.5
    assert np.median(np.reshape(shortest, (-1, 5))[:, -1]) > 2.2


def test_energies_and_forces_are_plausible(lisi):
    energies = lisi.energies.reshape(185, 5)
    # Relaxation lowers the energy, by some tenths of an eV per atom in all.
    assert (energies[:, -1] < energies[:, 0]).all()
    assert 0.15 < (energies[:, 0] - energies[:, -1]).mean() < 0.35
    assert energies.min() > -5.0
    assert energies.max() < -2.0
    # Silicon is bound more strongly than lithium.
    lithium = [atoms.symbols.count("Li") / len(atoms) for atoms in lisi.structures]
    assert np.corrcoef(lithium, lisi.energies)[0, 1] > 0.95
    rms = np.array([np.sqrt(np.mean(forces**2)) for forces in lisi.forces]).reshape(185, 5)
    assert 0.5 < rms[:, 0].mean() < 1.0
    assert 0.05 < rms[:, -1].mean() < 0.1
    for forces in lisi.forces:
        assert_allclose(forces.sum(axis=0), 0, atol=1e-5)
    # 1 GPa is 0.00624 eV/Å³.
    assert 0.001 < np.abs(lisi.stress).max() < 0.2


def test_return_x_y_is_the_same_data(lisi):
    structures, energies = load_lisi(return_X_y=True)
    assert structures == lisi.structures
    assert_array_equal(energies, lisi.energies)


def test_steps_select_frames(lisi):
    part = load_lisi(steps=[55, 4])
    assert len(part.structures) == 370
    keep = np.isin(lisi.steps, [4, 55])
    assert part.structures == [atoms for atoms, k in zip(lisi.structures, keep, strict=True) if k]
    assert_array_equal(part.energies, lisi.energies[keep])
    assert_array_equal(part.steps, lisi.steps[keep])


@pytest.mark.parametrize("steps", [[0, 5], LISI_STEPS, []])
def test_unrecorded_steps_are_refused(steps):
    with pytest.raises(ValueError, match="recorded are 0, 4, 13, 35, 55"):
        load_lisi(steps=steps)


def test_calls_share_no_mutable_state():
    first, second = load_lisi(steps=[55]), load_lisi(steps=[55])
    untouched = pickle.loads(pickle.dumps(second))
    first.structures[0].positions += 1
    first.structures[0].info["path"] = "changed"
    first.forces[0] += 1
    first.energies += 1
    first.stress += 1
    first.paths[:] = ""
    same(second, untouched)
    same(load_lisi(steps=[55]), untouched)
    # Nor do the structures of one call share anything among themselves.
    assert first.structures[1] == second.structures[1]
    assert_array_equal(first.forces[1], second.forces[1])


def test_description_is_honest(lisi):
    for fact in ("CHGNet v0.3.0", "not density\nfunctional theory", "925", "eV/atom", "eV/Å³"):
        assert fact in lisi.DESCR


def test_missing_directory_says_what_to_pass(tmp_path):
    with pytest.raises(FileNotFoundError, match="directory that contains lisi/"):
        load_lisi(data_home=tmp_path)
    with pytest.raises(FileNotFoundError, match="barriers"):
        load_lisi_task("barriers", tmp_path)
    with pytest.raises(ValueError, match="Unknown task 'large'; choose from barriers"):
        load_lisi_task("large", tmp_path)


def test_packaged_frames_are_those_of_the_full_set(lisi, data_home):
    full = load_lisi(data_home=data_home, steps=STEPS)
    assert len(full.structures) == 1850
    index = {key: i for i, key in enumerate(zip(full.paths, full.steps, strict=True))}
    for i, key in enumerate(zip(lisi.paths, lisi.steps, strict=True)):
        j = index[key]
        mine, theirs = lisi.structures[i], full.structures[j]
        assert mine.info == theirs.info
        assert_array_equal(mine.numbers, theirs.numbers)
        assert_array_equal(mine.cell, theirs.cell)
        assert_allclose(mine.positions, theirs.positions, rtol=0, atol=5e-7)
        assert lisi.energies[i] == full.energies[j]
        assert_array_equal(lisi.forces[i], full.forces[j])
        assert_array_equal(lisi.stress[i], full.stress[j])


def test_benchmark_frames_of_the_full_set(data_home):
    full = load_lisi(data_home=data_home, steps=LISI_STEPS)
    assert Counter(full.paths) == {f"c{c:02d}/p{p}": 12 for c in range(37) for p in range(10)}
    assert_array_equal(full.steps.reshape(-1, 12), np.tile(LISI_STEPS, (370, 1)))


def test_forces_are_minus_the_gradient_of_the_energy(data_home):
    """Along one step of a relaxation: the mean force times the displacement, in eV/Å and Å."""
    full = load_lisi(data_home=data_home, steps=[45, 46])
    work, change = [], []
    for i in range(0, len(full.structures), 2):
        first, last = full.structures[i : i + 2]
        mean_force = (full.forces[i] + full.forces[i + 1]) / 2
        work.append(-np.sum(mean_force * (last.positions - first.positions)) / len(first))
        change.append(full.energies[i + 1] - full.energies[i])
    assert_allclose(work, change, rtol=0, atol=1e-4)


def test_stress_is_the_strain_derivative_of_the_energy(data_home):
    """Under hydrostatic strain dE/dV is the mean normal stress, positive in tension."""
    bulk = load_lisi_task("bulk", data_home)
    volumes = np.array([atoms.get_volume() for atoms in bulk.structures]).reshape(37, 9)
    sizes = np.array([len(atoms) for atoms in bulk.structures]).reshape(37, 9)
    slopes = np.diff(sizes * bulk.energies.reshape(37, 9)) / np.diff(volumes)
    normal = bulk.stress[:, :3].mean(axis=1).reshape(37, 9)
    # The strains are 2 % apart, so the mean of the end points is good to 1 % of the range.
    assert_allclose(slopes, (normal[:, 1:] + normal[:, :-1]) / 2, rtol=0, atol=0.003)


@pytest.mark.parametrize(
    ("name", "n_structures", "key"),
    [
        ("barriers", 48, "moving"),
        ("bulk", 333, "strain"),
        ("scratch", 37, "alpha"),
        ("t211", 108, "parent_frame"),
        ("t222", 40, "parent_frame"),
    ],
)
def test_tasks(data_home, name, n_structures, key):
    task = load_lisi_task(name, data_home)
    assert len(task.structures) == len(task.energies) == len(task.forces) == n_structures
    assert task.stress.shape == (n_structures, 6)
    for atoms, forces, path in zip(task.structures, task.forces, task.paths, strict=True):
        assert key in atoms.info
        assert atoms.info["path"] == path
        assert (atoms.info["parent"] == "") == (name == "scratch")
        assert forces.shape == (len(atoms), 3)
        assert_allclose(forces.sum(axis=0), 0, atol=1e-4)


@pytest.mark.parametrize(("name", "repeats"), [("t211", (2, 1, 1)), ("t222", (2, 2, 2))])
def test_tiled_structures_name_their_parent(data_home, name, repeats):
    full = load_lisi(data_home=data_home)
    tiled = load_lisi_task(name, data_home)
    frames = {}
    for i, path in enumerate(full.paths):
        frames.setdefault(path.split("/")[0], []).append(i)
    for atoms, path in zip(tiled.structures, tiled.paths, strict=True):
        i = frames[path.split("/")[0]][atoms.info["parent_frame"]]
        assert full.paths[i] == path == atoms.info["parent"]
        parent = full.structures[i].repeat(repeats)
        assert_array_equal(parent.numbers, atoms.numbers)
        moved = np.linalg.norm(atoms.positions - parent.positions, axis=1)
        assert_allclose(moved, 0.1, atol=1e-6)


@pytest.mark.parametrize("name", ["barriers", "bulk"])
def test_parents_are_the_closest_paths(data_home, name):
    """The last frame of the parent is near, and those of the other paths far."""
    full = load_lisi(data_home=data_home, steps=[55])
    task = load_lisi_task(name, data_home)
    for i, atoms in enumerate(task.structures):
        if i and task.paths[i] == task.paths[i - 1] and name == "barriers":
            continue  # the first image
        if atoms.info.get("strain", 0.0) != 0.0:
            continue
        distances = {}
        for other, path in zip(full.structures, full.paths, strict=True):
            if path.startswith(task.parents[i].split("/")[0]):
                difference = other.cell.scaled_positions(atoms.positions - other.positions)
                difference = (difference - np.round(difference)) @ other.cell
                distances[path] = np.sqrt((difference**2).sum(axis=1).mean())
        closest = min(distances, key=distances.get)
        assert task.parents[i] == closest
        assert distances.pop(closest) < 0.9
        assert min(distances.values()) > 4


def test_docstring_examples_run():
    results = doctest.testmod(skwavelet.datasets.lisi)
    assert results.attempted > 0
    assert results.failed == 0
