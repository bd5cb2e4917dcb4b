"""Labelled files: the same structures and labels in memory as a part at a time."""

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from helpers.check_helpers import error_of

from skwavelet import labels_of
from skwavelet.storage.labelled import LabelledFile

KEYS = dict.fromkeys(("energy_key", "forces_key", "stress_key", "virial_key"))


def labelled(n=30, seed=0):
    """Chains of two to five atoms in runs of four, one of gold, some of them with forces."""
    rng = np.random.default_rng(seed)
    made = []
    for i in range(n):
        size = 2 + i % 4
        atoms = Atoms(["Au" if i == 17 else "Cu"] * size, np.outer(np.arange(size), [2.3, 0, 0]))
        atoms.positions += rng.uniform(-0.2, 0.2, (size, 3))
        atoms.info["run"] = f"r{i // 4}"
        results = {"energy": rng.normal()}
        if i % 3:
            results["forces"] = rng.normal(size=(size, 3))
        atoms.calc = SinglePointCalculator(atoms, **results)
        made.append(atoms)
    return made


@pytest.fixture
def file(tmp_path):
    path = str(tmp_path / "set.xyz")
    write(path, labelled())
    return path


def read(path, max_atoms, group_key="run", **keys):
    return LabelledFile(path, KEYS | keys, group_key, max_atoms)


def test_parts_are_the_whole(file):
    whole, parts = read(file, 1000), read(file, 15)
    assert parts.in_parts
    assert not whole.in_parts
    np.testing.assert_array_equal(whole.groups, np.arange(30) // 4)
    np.testing.assert_array_equal(parts.groups, whole.groups)
    rows = np.setdiff1d(np.arange(30), [3, 4, 20])
    (expected,) = whole.parts(rows)
    found = list(parts.parts(rows))
    assert len(found) > 4
    # None is much larger than memory, and no group is cut in two.
    assert max(sum(map(len, part.structures)) for part in found) <= 2 * 15
    groups = [set(part.groups) for part in found]
    assert sum(map(len, groups)) == len(set.union(*groups))
    assert [a for part in found for a in part.structures] == expected.structures
    energies = np.concatenate([part.labels.energies for part in found])
    np.testing.assert_array_equal(energies, expected.labels.energies)
    labels = labels_of(labelled())
    np.testing.assert_allclose(energies, labels.energies[rows], atol=1e-7)
    forces = [f for part in found for f in part.labels.forces or [None] * len(part.structures)]
    for one, row in zip(forces, rows, strict=True):
        if labels.forces[row] is None:
            assert one is None
        else:
            np.testing.assert_allclose(one, labels.forces[row], atol=1e-7)
    assert whole.take(rows[5:7]).structures == parts.take(rows[5:7]).structures


def test_a_group_that_is_larger_than_memory_is_cut(tmp_path):
    path = str(tmp_path / "set.xyz")
    made = labelled()
    for atoms in made:
        atoms.info["run"] = "one"
    write(path, made)
    found = list(read(path, 15).parts(np.arange(30)))
    sizes = [sum(map(len, part.structures)) for part in found]
    assert len(sizes) == 4
    assert max(sizes) <= 2 * 15


def test_the_first_rows_stand_for_all(file):
    data, rows = read(file, 40), np.arange(1, 30)
    drawn = {seed: data.first_rows(rows, seed) for seed in range(20)}
    for chosen in drawn.values():
        assert set(chosen) <= set(rows)
        assert 17 in chosen  # the one with gold
        assert 30 < data.sizes[chosen].sum() <= 40
        # Groups are larger than a fifth of a part: of each there are some.
        of_group = np.bincount(data.groups[chosen], data.sizes[chosen])
        assert np.delete(of_group, 4).max() <= 40 / 5
        assert (of_group > 0).sum() >= 5
    assert len({tuple(chosen) for chosen in drawn.values()}) > 10
    # Groups that fit are taken as a whole.
    data = read(file, 80)
    chosen = data.first_rows(rows, 0)
    members = [np.flatnonzero(data.groups == group) for group in range(8)]
    assert sum(np.isin(rows, chosen).all() for rows in members) >= 3


def test_errors_name_structures_by_their_numbers_in_the_file(tmp_path):
    path = str(tmp_path / "set.xyz")
    made = labelled()
    made[23].calc = None
    write(path, made)
    error_of(lambda: read(path, 12), ValueError, "Structure 23 has no energy")
    made = labelled()
    made[23].positions[1] = made[23].positions[0]
    made[23].calc = SinglePointCalculator(made[23], energy=0.0)
    write(path, made)
    error_of(lambda: read(path, 12), ValueError, "Structure 23 has atoms 0 and 1")
    made = labelled()
    made[22].info = {}
    write(path, made)
    error_of(lambda: read(path, 12), ValueError, r"Structure 22 .* has no info\['run'\] to group")
    write(path, [])
    error_of(lambda: read(path, 12), ValueError, "holds no structures")


@pytest.mark.filterwarnings("ignore:Structure 2. has no forces")
def test_names_that_a_part_does_not_have(tmp_path):
    """Forces under a name may be missing in many structures, but not in all."""
    path = str(tmp_path / "set.xyz")
    made = labelled()
    for i, atoms in enumerate(made):
        atoms.calc = SinglePointCalculator(atoms, energy=1.0)
        if i > 20:
            atoms.arrays["ref_forces"] = np.full((len(atoms), 3), float(i))
    write(path, made)
    data = read(path, 12, forces_key="ref_forces")
    forces = [part.labels.forces for part in data.parts(np.arange(30))]
    assert forces[0] is None
    np.testing.assert_array_equal(forces[-1][-1], np.full((len(made[-1]), 3), 29.0))
    for max_atoms in (12, 1000):
        error_of(
            lambda m=max_atoms: read(path, m, forces_key="other"),
            ValueError,
            r"No structure has arrays\['other'\], its forces; found 'ref_forces'",
        )
    with pytest.warns(UserWarning, match="Structure 21 has no forces, but"):
        read(path, 12)
    made[3].calc = SinglePointCalculator(made[3], free_energy=1.0)
    for atoms in made[:3]:
        atoms.calc = SinglePointCalculator(atoms, free_energy=1.0)
    write(path, made)
    error_of(
        lambda: read(path, 12, forces_key="ref_forces"), ValueError, "free energy only, and others"
    )


def test_a_file_that_changes(file):
    data = read(file, 20)
    write(file, labelled()[1:])
    error_of(lambda: list(data.parts(np.arange(29))), ValueError, "has changed while it was in use")
