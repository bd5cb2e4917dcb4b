"""Structures as they are given: names of files, damaged frames, foreign and odd structures."""

import gzip
import lzma
import os
import pickle
import shutil
import threading
from pathlib import Path

import joblib
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.constraints import FixAtoms
from ase.io import write
from helpers.check_helpers import error_of

from skwavelet import PointScattering, featurize
from skwavelet.__main__ import main
from skwavelet.storage.sources import read_structures

CRYSTALS = [bulk("Cu", a=3.5 + 0.02 * i) for i in range(6)]


@pytest.fixture(scope="module")
def point():
    return PointScattering(order=0, beta=0.5).fit(CRYSTALS)


def lattice_constants(structures):
    return [round(float(np.cbrt(4 * atoms.get_volume())), 4) for atoms in structures]


# -- names of files ------------------------------------------------------------------------------

NAMES = [
    "md@300K.xyz",
    "train.xyz@new",
    "train.xyz@0",
    "file.xyz@0:2",
    "a@b@c.xyz",
    "run*.xyz",
    "run[1].xyz",
    "what?.xyz",
    "two words.xyz",
    "größe-日本.xyz",
    "-",
    "-.xyz",
    "--help.xyz",
    "~.xyz",
    "$HOME.xyz",
    "UPPER.XYZ",
    "dots....xyz",
    "dot.",
    ".hidden.xyz",
    "%20#fragment.xyz",
    "postgresql:x.xyz",
    "mysql.xyz",
    "no_suffix",
    "comma,semicolon;.extxyz",
]


class Named(os.PathLike):
    def __init__(self, name):
        self.name = name

    def __fspath__(self):
        return self.name


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", [str, Path, Named, "absolute"])
def test_files_are_read_by_whatever_name_they_have(name, kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "plain.xyz", CRYSTALS)
    # What a name cut short, or taken for a pattern, would read.
    for decoy in ("md", "train.xyz", "file.xyz", "run7.xyz", "run1.xyz", "what1.xyz"):
        write(tmp_path / decoy, CRYSTALS[:1], format="extxyz")
    shutil.move("plain.xyz", name)
    given = tmp_path / name if kind == "absolute" else kind(name)
    assert lattice_constants(read_structures(given)) == lattice_constants(CRYSTALS)


@pytest.mark.parametrize("name", ["x@1.traj", "x@1.db", "x.traj@1", "x@1.json", "x.cif@1"])
def test_names_of_other_formats(name, tmp_path):
    form = name.replace("@1", "").rpartition(".")[2]
    write(tmp_path / f"plain.{form}", CRYSTALS)
    shutil.move(tmp_path / f"plain.{form}", tmp_path / name)
    found = lattice_constants(read_structures(tmp_path / name))
    assert found == lattice_constants(CRYSTALS)


@pytest.mark.parametrize("name", ["x.xyz", "x@1.xyz", "x.extxyz", "x.traj"])
@pytest.mark.parametrize("compressed", [gzip, lzma])
def test_compressed_files(name, compressed, tmp_path):
    write(tmp_path / f"plain{Path(name).suffix}", CRYSTALS)
    data = (tmp_path / f"plain{Path(name).suffix}").read_bytes()
    path = tmp_path / (name + (".gz" if compressed is gzip else ".xz"))
    path.write_bytes(compressed.compress(data))
    assert lattice_constants(read_structures(path)) == lattice_constants(CRYSTALS)


@pytest.mark.parametrize("name", ["md@300K.xyz", "-.xyz", "two words.xyz"])
def test_the_command_line_reads_them_too(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write("plain.xyz", CRYSTALS)
    shutil.move("plain.xyz", name)
    options = ["--representation", "PointScattering", "--set", "order=0", "--quiet"]
    assert main(["featurize", *options, "--", name, "store"]) == 0
    assert "6 rows" in capsys.readouterr().out
    options += [f"--fit-on={name}"]
    assert main(["featurize", *options, "--", name, "other"]) == 0


# -- damaged files -------------------------------------------------------------------------------


def lines_of(path, structures=CRYSTALS):
    """Lines of a file of one-atom structures: three each."""
    write(path, structures, format="extxyz")
    return path.read_text().splitlines()


@pytest.mark.parametrize("where", [3, 9, 15])
@pytest.mark.parametrize("blank", ["", "  \t"])
def test_blank_lines_between_frames_lose_nothing(where, blank, tmp_path):
    path = tmp_path / "x.xyz"
    lines = lines_of(path)
    path.write_text("\n".join([*lines[:where], blank, *lines[where:], "", ""]))
    with pytest.warns(UserWarning, match=f"Line {where + 1} of .*x.xyz is blank.*{where // 3}"):
        found = list(read_structures(path))
    assert lattice_constants(found) == lattice_constants(CRYSTALS)


def test_blank_comments_and_ends_are_sound(tmp_path):
    path = tmp_path / "x.xyz"
    path.write_text("\n1\n\nCu 0 0 0\n2\n\nCu 0 0 0\nCu 0 0 2.5\n\n\n")
    assert [len(atoms) for atoms in read_structures(path)] == [1, 2]


def test_cell_vectors_after_the_atoms(tmp_path):
    path = tmp_path / "x.xyz"
    path.write_text("1\nx\nCu 0 0 0\nVEC1 3 0 0\nVEC2 0 3 0\nVEC3 0 0 3\n1\nx\nCu 0 0 0\n")
    assert [atoms.pbc.all() for atoms in read_structures(path)] == [True, False]


DAMAGES = {
    "more atoms than lines": (lambda lines: lines.__setitem__(9, "2"), "Structure 3 "),
    "as many more as another frame": (lambda lines: lines.__setitem__(9, "4"), "Structure 3 "),
    "more than there are": (lambda lines: lines.__setitem__(9, "400"), "Structure 3 "),
    "fewer atoms than lines": (lambda lines: lines.insert(11, lines[11]), "Line 13 "),
    "no count": (lambda lines: lines.pop(9), "Line 10 "),
    "no comment": (lambda lines: lines.pop(10), "Structure 3 "),
    "no atoms": (lambda lines: lines.pop(11), "Structure 3 "),
    "a count in words": (lambda lines: lines.__setitem__(9, "one"), "Line 10 "),
    "a negative count": (lambda lines: lines.__setitem__(9, "-1"), "Line 10 "),
    "deuterium": (lambda lines: lines.__setitem__(11, "D 0 0 0"), "Structure 3 .*unknown name 'D'"),
    "numbered": (
        lambda lines: lines.__setitem__(11, "Si1 0 0 0"),
        "Structure 3 .*unknown name 'Si1'",
    ),
    "not a number": (lambda lines: lines.__setitem__(11, "Cu 0 zero 0"), "Structure 3 "),
    "columns missing": (lambda lines: lines.__setitem__(11, "Cu 0 0"), "Structure 3 "),
    "blank among atoms": (lambda lines: lines.__setitem__(11, ""), "Structure 3 "),
    "cut at the end": (lambda lines: lines.pop(), "Structure 5 "),
    "cell of eight": (
        lambda lines: lines.__setitem__(10, 'Lattice="1 0 0 0 1 0 0 0"'),
        "Structure 3 ",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_said_of_the_right_frame_or_of_none(damage, point, tmp_path):
    path = tmp_path / "x.xyz"
    lines = lines_of(path)
    change, message = DAMAGES[damage]
    change(lines)
    path.write_text("\n".join(lines) + "\n")
    call = lambda: featurize(point, path, tmp_path / "store")  # noqa: E731
    error_of(call, ValueError, f"^{message}")
    error_of(call, ValueError, "of .*x.xyz cannot be read .*repair the file")
    error_of(lambda: list(read_structures(path)), ValueError, f"^{message}")


@pytest.mark.parametrize("species", ["D", "Si1", "Xx9"])
def test_frames_that_are_whole_but_wrong_can_be_left_out(species, point, tmp_path):
    path = tmp_path / "x.xyz"
    lines = lines_of(path)
    lines[11] = lines[11].replace("Cu", species)
    path.write_text("\n".join(lines) + "\n")
    store = featurize(point, path, tmp_path / "store", skip_errors=True)
    assert store.structure_index.tolist() == [0, 1, 2, 4, 5]
    assert list(store.errors) == [3]
    assert species in store.errors[3]


def test_frames_that_cannot_be_told_apart_are_not_skipped(point, tmp_path):
    """The count of one frame swallows the next: going on would shift every row behind."""
    path = tmp_path / "x.xyz"
    lines = lines_of(path)
    lines[9] = "4"
    path.write_text("\n".join(lines) + "\n")
    call = lambda: featurize(point, path, tmp_path / "store", skip_errors=True)  # noqa: E731
    error_of(call, ValueError, "^Structure 3 .*cannot be read")


# -- foreign structures --------------------------------------------------------------------------


class Foreign:
    """A structure of another package, whose conversion may fail."""

    def __init__(self, error=None):
        self.error = error

    def to_ase_atoms(self):
        if self.error is not None:
            raise self.error
        return CRYSTALS[0].copy()


ERRORS = [
    ValueError("ASE Atoms only supports ordered structures"),
    TypeError("no"),
    KeyError("X0+"),
    IndexError(3),
    AttributeError("lattice"),
    AssertionError(),
    NotImplementedError(),
    RuntimeError("two\nlines"),
    ZeroDivisionError("division by zero"),
    OSError(2, "No such file"),
    ModuleNotFoundError("No module named 'ase'"),
    StopIteration(),
    RecursionError("too deep"),
    Exception("bare"),
]


@pytest.mark.parametrize("n_jobs", [None, 2])
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_foreign_structures_that_cannot_be_converted(error, n_jobs, point, tmp_path):
    X = [Foreign(), CRYSTALS[1], Foreign(error), Foreign(), "water"]
    with joblib.parallel_config("threading"):
        call = lambda **o: featurize(point, X, tmp_path, chunk_size=2, n_jobs=n_jobs, **o)  # noqa: E731
        error_of(call, (TypeError, ValueError), r"^Structure 2 ")
        store = call(skip_errors=True)
    assert store.structure_index.tolist() == [0, 1, 3]
    assert sorted(store.errors) == [2, 4]
    assert store.errors[2].startswith("Structure 2 ")
    assert "\n" not in store.errors[2]
    np.testing.assert_array_equal(store[:], point.transform([CRYSTALS[i] for i in (0, 1, 0)]))


# -- what structures carry -----------------------------------------------------------------------


class Own(Atoms):
    """A subclass that takes other arguments and holds a lock."""

    def __init__(self, atoms):
        super().__init__(atoms)
        self.lock = threading.Lock()


def burden(atoms, kind):
    if kind == "calculator":
        atoms.calc = Calculator()
        atoms.calc.lock = threading.Lock()
    elif kind == "info":
        atoms.info.update(lock=threading.Lock(), thread=lambda: None, path="kept")
    elif kind == "arrays":
        atoms.set_array("locks", np.array([threading.Lock()] * len(atoms), dtype=object))
    elif kind == "constraint":
        constraint = FixAtoms([0])
        constraint.file = open(os.devnull)  # noqa: SIM115
        atoms.set_constraint(constraint)
    elif kind == "generator":
        atoms.info["rest"] = (i for i in range(3))
    elif kind == "subclass":
        return Own(atoms)
    return atoms


KINDS = ["calculator", "info", "arrays", "constraint", "generator", "subclass"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_what_cannot_be_pickled_stays_here(point, tmp_path):
    """In processes, all kinds at once: starting them takes seconds."""
    X = [burden(CRYSTALS[i].copy(), kind) for i, kind in enumerate(KINDS)]
    store = featurize(point, X, tmp_path, chunk_size=1, n_jobs=2)
    np.testing.assert_array_equal(store[:], point.transform(CRYSTALS))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_plain_data_are_kept(kind):
    atoms = CRYSTALS[0].copy()
    atoms.info.update(charge=1, name="x", weights=[1.0, 2.0])
    atoms.set_initial_charges([0.5])
    (found,) = read_structures([burden(atoms, kind)])
    assert found.calc is None
    assert type(found) is Atoms
    assert found.info["weights"] == [1.0, 2.0]
    assert found.get_initial_charges().tolist() == [0.5]
    assert "lock" not in found.info
    assert found == atoms
    assert pickle.loads(pickle.dumps(found)) == atoms


def test_an_iterator_may_yield_the_same_object_again(point, tmp_path):
    """Changed in place between two steps, as in dynamics."""

    def steps():
        atoms = CRYSTALS[0].copy()
        for a in (3.5, 3.6, 3.7):
            atoms.set_cell(bulk("Cu", a=a).cell, scale_atoms=True)
            yield atoms

    store = featurize(point, steps(), tmp_path)
    expected = point.transform([bulk("Cu", a=a) for a in (3.5, 3.6, 3.7)])
    np.testing.assert_array_equal(store[:], expected)
