"""What the benchmarks share: keys of results, tables, data sets; and that all of them import."""

import hashlib
import importlib
import importlib.util
import json
import re
import runpy
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import threadpoolctl
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from helpers.analytic_potentials import Keating
from sklearn.linear_model import Ridge

from skwavelet import PointScattering
from skwavelet.datasets import LISI_STEPS, load_lisi, load_lisi_task

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
if not BENCHMARKS.exists():
    pytest.skip("the benchmarks are not in this copy", allow_module_level=True)
sys.path.insert(0, str(BENCHMARKS))

from common import cache as caching  # noqa: E402
from common.cache import Cache  # noqa: E402
from common.command import about, arguments, pages, scripts  # noqa: E402
from common.data import (  # noqa: E402
    lisi_home,
    mlearn_reference,
    mlearn_stress,
    qm7,
    rmd17_parts,
)
from common.data import mlearn as read_mlearn  # noqa: E402
from common.potentials import FoldRidge  # noqa: E402
from common.table import Table, table  # noqa: E402

OPTIONAL = {"torch", "kymatio", "dscribe", "matscipy", "schnetpack", "distributed", "finufft"}


@pytest.fixture
def isolated(monkeypatch):
    """Undo what importing scripts does to paths and modules."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None)
        if file and BENCHMARKS in Path(file).parents:
            del sys.modules[name]


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("name", sorted(scripts()))
def test_scripts_import(name, isolated):
    path = scripts()[name]
    if path.is_dir():
        sys.path.insert(0, str(path))
    else:
        sys.path.insert(0, str(path.parent))
    try:
        runpy.run_path(str(path), run_name="imported")
    except ModuleNotFoundError as error:
        if error.name.split(".")[0] not in OPTIONAL:
            raise
        pytest.skip(f"{error.name} is not installed")


def test_labels_of_mlearn_tell_elastic_constants(tmp_path):
    """Cells strained as the set strains them (Green's strain), with VASP's stresses."""
    model = Keating(3.0, 0.9, 5.43)
    crystal = bulk("Si", a=5.43, cubic=True)
    structures, stresses = [], []

    def add(description, strain, group="Elastic"):
        atoms = crystal.copy()
        values, axes = np.linalg.eigh(np.eye(3) + 2 * strain)
        atoms.set_cell(atoms.cell.array @ (axes * np.sqrt(values)) @ axes.T, scale_atoms=True)
        atoms.info = {"description": description, "group": group, "split": "train"}
        atoms.calc = model
        stresses.append(atoms.get_stress())
        atoms.info["virial_stress_raw"] = -stresses[-1][[0, 1, 2, 5, 3, 4]] / (0.1 * units.GPa)
        results = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
        atoms.calc = SinglePointCalculator(atoms, **results)
        structures.append(atoms)

    add("Ground state crystal", np.zeros((3, 3)))
    add("Si_surface_mp/Si_mp-149_(1_1_1)", np.zeros((3, 3)), "Surface")
    for size in (-0.1, -0.02, -0.01, 0.01, 0.02, 0.1):
        for i, j in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)):
            strain = np.zeros((3, 3))
            strain[i, j] = strain[j, i] = size
            add(f"Si 1x1x1 cell, mode 0, strain {size}", strain)
    (tmp_path / "mlearn").mkdir()
    write(tmp_path / "mlearn" / "Si.extxyz", structures, format="extxyz")
    found = mlearn_reference(tmp_path, "Si")
    c11, c12, _, clamped = model.constants()
    np.testing.assert_allclose(found.elastic, (c11, c12, clamped), rtol=0.01)
    assert found.lattice_constant == pytest.approx(5.43)
    assert list(found.slabs) == ["(1_1_1)"]
    np.testing.assert_allclose([mlearn_stress(a) for a in structures], stresses, atol=1e-12)


def test_penalties_are_chosen_in_folds_of_structures(isolated):
    """The model is scikit-learn's, and the penalty that of a search over the same folds."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(30), 4)
    X = rng.normal(size=(120, 8)) * 10.0 ** -np.arange(8)
    y, weight = X @ rng.normal(size=8) + 0.1 * rng.normal(size=120), rng.uniform(0.1, 1, 120)
    alphas = (1e-8, 1e-4, 1e-2, 1.0)
    model = FoldRidge(alphas).fit(X, y, sample_weight=weight, groups=groups)
    size = (weight @ X**2).mean()

    def fitted(alpha, rows):
        ridge = Ridge(alpha * size, fit_intercept=False)
        return ridge.fit(X[rows], y[rows], sample_weight=weight[rows])

    fold = np.random.default_rng(0).integers(5, size=30)[groups]
    errors = [
        sum(
            weight[held] @ (y[held] - fitted(alpha, ~held).predict(X[held])) ** 2
            for held in (fold == number for number in range(5))
        )
        for alpha in alphas
    ]
    np.testing.assert_allclose(model.errors_, errors, rtol=1e-6)
    assert model.alpha_ == alphas[int(np.argmin(errors))]
    everything = fitted(model.alpha_, np.full(120, True))
    np.testing.assert_allclose(model.coef_, everything.coef_, rtol=1e-6)


def test_list_shows_every_script_with_cost_and_pages():
    listed = subprocess.run(
        [sys.executable, str(BENCHMARKS), "--list"], check=True, capture_output=True, text=True
    ).stdout
    for path in scripts().values():
        what, cost = about(path)
        assert f"{path.relative_to(BENCHMARKS).as_posix()}\n    {what}\n    cost: {cost}" in listed
    assert "docs/results/lisi.md" in pages(scripts()["lisi"])


def test_quoted_commands_exist():
    project = BENCHMARKS.parent
    for page in [project / "README.md", project / "CONTRIBUTING.md", *project.glob("docs/**/*.md")]:
        for path in re.findall(r"benchmarks/[\w/.]*", page.read_text(encoding="utf-8")):
            assert (project / path.rstrip(".")).exists(), f"{page} names {path}"


def test_key_depends_on_settings_data_and_code(tmp_path, monkeypatch):
    atoms = Atoms("Si2", [[0, 0, 0], [0, 0, 2.3]], cell=[5, 5, 5], pbc=True)
    cache, compute = Cache(tmp_path), (lambda: None)

    def key(transformer, structures, code=()):
        return cache.key(compute, transformer, structures, code=code)

    base = key(PointScattering(), [atoms])
    assert key(PointScattering(n_jobs=2), [atoms]) == base
    moved = atoms.copy()
    moved.positions[0, 0] += 1e-9
    fitted = PointScattering().fit([atoms])
    others = [
        key(PointScattering(max_l=2), [atoms]),
        key(PointScattering(), [moved]),
        key(PointScattering(), [atoms, atoms]),
        key(fitted, [atoms]),
        key(PointScattering(), [atoms], code=["skwavelet.linear"]),
    ]
    assert len({base, *others}) == 6

    real = caching._code

    def changed(file):
        code, imports = real(file)
        return (code + "changed", imports) if file.name == "wavelets.py" else (code, imports)

    monkeypatch.setattr(caching, "_code", changed)
    assert key(PointScattering(), [atoms]) != base, "a module that the transformer imports"
    monkeypatch.setattr(
        caching,
        "_code",
        lambda file: (real(file)[0] + "x", real(file)[1]) if "neural" in str(file) else real(file),
    )
    assert key(PointScattering(), [atoms]) == base, "a module that it does not use"


def test_prose_is_not_code():
    plain = "def f(x):\n    return x + 1\n"
    told = '"""Prose."""\n\n\ndef f(x):\n    """Add one."""\n    return x + 1  # more\n'
    code = [caching._read(source)[0].replace("Pass(), ", "") for source in (plain, told)]
    assert code[0] == code[1]
    assert caching._read(plain.replace("1", "2"))[0] != caching._read(plain)[0]


def test_cache_computes_once_and_again_when_the_function_changes(tmp_path):
    cache, calls = Cache(tmp_path), []

    def once():
        calls.append(1)
        return {"x": np.arange(3)}

    for _ in range(2):
        assert np.array_equal(cache.get("name", once, 1.5)["x"], [0, 1, 2])
    assert len(calls) == 1
    cache.get("name", once, 1.6)
    assert len(calls) == 2

    def twice():
        return {"x": 2 * np.arange(3)}

    assert np.array_equal(cache.get("name", twice, 1.5)["x"], [0, 2, 4])
    assert not list(tmp_path.glob("*.part"))


SCRIPT = """
STEP = 2
OTHER = {"a": lambda: 0}
def part(): return STEP
class Sum:
    n = 1
    def value(self): return [part() for _ in range(self.n)]
def whole(n): return sum(Sum().value()) * n
def handed(): return 4
def around(function): return lambda: whole(3) + function()
compute = around(handed)
"""


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("STEP = 2", "STEP = 3", False),
        ("return STEP", "return STEP + 1", False),
        ("return 4", "return 5", False),
        ("    n = 1", "    n = 2", False),
        ("lambda: 0", "lambda: 1", True),
    ],
)
def test_key_depends_on_what_a_lambda_leads_to_in_its_script(tmp_path, monkeypatch, old, new, same):
    monkeypatch.syspath_prepend(str(tmp_path))

    def key(text):
        name = f"script_{hashlib.sha256(text.encode()).hexdigest()}"
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.setitem(sys.modules, name, importlib.import_module(name))
        return Cache(tmp_path).key(sys.modules[name].compute, 1.5)

    assert (key(SCRIPT) == key(SCRIPT.replace(old, new))) == same


def test_table(tmp_path, capsys):
    shown = Table(["name", "error"], digits=1)
    shown.add("a", (1.25, 0.5))
    shown.add({"name": "b", "error": float("nan")})
    shown.add("c", 1234.5)
    expected = "| name | error |\n| --- | --- |\n| a | 1.2 ± 0.5 |\n| b | - |\n| c | 1234 |"
    assert capsys.readouterr().out.strip() == shown.markdown() == expected
    shown.write_csv(tmp_path / "t.csv")
    csv = (tmp_path / "t.csv").read_text().splitlines()
    assert csv == ["name,error,error (std)", "a,1.25,0.5", "b,,", "c,1234.5,"]
    with pytest.raises(ValueError, match="1 cells for 2 columns"):
        shown.add("a")
    assert table(["x"], [[1]]) == "| x |\n| --- |\n| 1 |"


@pytest.fixture(scope="module")
def convert():
    spec = importlib.util.spec_from_file_location("convert", BENCHMARKS / "data" / "convert.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_convert_rmd17(convert, tmp_path):
    rng = np.random.default_rng(0)
    source = tmp_path / "rmd17"
    for folder in ("npz_data", "splits"):
        (source / folder).mkdir(parents=True)
    coords, forces = rng.normal(size=(2, 10, 3, 3))
    np.savez(
        source / "npz_data" / "rmd17_water.npz",
        nuclear_charges=np.array([8, 1, 1]),
        coords=coords,
        energies=np.arange(10.0),
        forces=forces,
        old_indices=np.arange(10)[::-1],
    )
    (source / "splits" / "index_train_01.csv").write_text("7\n2\n")
    (source / "splits" / "index_test_01.csv").write_text("4\n")
    (source / "splits" / "index_train_02.csv").write_text("1\n")
    with tarfile.open(tmp_path / "rmd17.tar.bz2", "w:bz2") as archive:
        archive.add(source, "rmd17")
    convert.rmd17(tmp_path / "rmd17.tar.bz2", tmp_path / "out" / "rmd17")
    (X, y, F), (test_X, _, _) = rmd17_parts(tmp_path / "out", "water")
    assert [len(X), len(test_X)] == [2, 1]
    assert np.array_equal(X[0].positions, coords[2])
    np.testing.assert_allclose(y, [2 * 0.0433641 / 3, 7 * 0.0433641 / 3], rtol=1e-5)
    np.testing.assert_allclose(F, 0.0433641 * forces[[2, 7]], rtol=1e-5)
    (source / "splits" / "index_test_01.csv").write_text("2\n")
    with pytest.raises(ValueError, match="both sides"):
        convert.rmd17(source, tmp_path / "again")


def test_convert_mlearn(convert, tmp_path):
    def record(shift):
        sites = [{"species": [{"element": "Si", "occu": 1}], "xyz": [0, 0, shift]}]
        return {
            "structure": {"lattice": {"matrix": (3 * np.eye(3)).tolist()}, "sites": sites},
            "outputs": {
                "energy": -5.0 - shift,
                "forces": [[0, 0, shift]],
                "virial_stress": [0] * 6,
            },
            "group": "Elastic",
            "description": "made up",
        }

    folder = tmp_path / "data" / "Si"
    folder.mkdir(parents=True)
    (folder / "training.json").write_text(json.dumps([record(0.1), record(0.2)]))
    (folder / "test.json").write_text(json.dumps([record(0.3)]))
    convert.mlearn(tmp_path / "data", tmp_path / "mlearn")
    (X, y, F), (test_X, test_y, _) = read_mlearn(tmp_path, "Si")
    assert [len(X), len(test_X)] == [2, 1]
    np.testing.assert_allclose([*y, *test_y], [-5.1, -5.2, -5.3])
    np.testing.assert_allclose(F[1], [[0, 0, 0.2]])
    assert X[0].info["group"] == "Elastic"


def test_convert_qm7(convert, tmp_path):
    (tmp_path / "xyz").mkdir()
    for name, formula in (("0001.xyz", "CH4"), ("0002.xyz", "H2O")):
        write(tmp_path / "xyz" / name, molecule(formula))
    (tmp_path / "hof.txt").write_text("0001.xyz -417.0 -431.0\n0002.xyz -230.0 -231.0\n")
    convert.qm7(tmp_path / "xyz", tmp_path / "hof.txt", tmp_path / "qm7")
    structures, energies = qm7(tmp_path)
    assert [str(a.symbols) for a in structures] == ["CH4", "OH2"]
    assert energies.tolist() == [-417.0, -230.0]
    (tmp_path / "hof.txt").write_text("0001.xyz -417.0 -431.0\n")
    with pytest.raises(ValueError, match=r"missing for 0002.xyz"):
        convert.qm7(tmp_path / "xyz", tmp_path / "hof.txt", tmp_path / "qm7")


@pytest.mark.slow
def test_frames_of_the_tables(tmp_path):
    home = lisi_home(target=tmp_path)
    assert lisi_home(target=tmp_path) == home
    data = load_lisi(data_home=home, steps=LISI_STEPS)
    assert len(data.structures) == 4440
    packaged = load_lisi()
    number = {(a.info["path"], a.info["step"]): i for i, a in enumerate(data.structures)}
    rows = [number[a.info["path"], a.info["step"]] for a in packaged.structures]
    assert np.array_equal(data.energies[rows], packaged.energies)
    assert np.array_equal(data.structures[rows[-1]].positions, packaged.structures[-1].positions)
    assert np.array_equal(data.forces[rows[-1]], packaged.forces[-1])
    sizes = {"barriers": 48, "bulk": 333}
    assert {task: len(load_lisi_task(task, home).structures) for task in sizes} == sizes
    for task in ("scratch", "t211", "t222"):
        assert len(load_lisi_task(task, home).structures)


def test_arguments(monkeypatch, tmp_path, capsys):
    def parse(*argv):
        monkeypatch.setattr(sys, "argv", ["script", *argv])
        with threadpoolctl.threadpool_limits():  # the limit that `arguments` sets ends here
            return arguments(
                "What.", data="needed", cache=True, quick={"n": 1}, parts=("a", "b"), n=5,
                words=("x",), flag=False, threads=1,
            )  # fmt: skip

    monkeypatch.setenv("SKWAVELET_DATA", str(tmp_path))
    args = parse()
    assert (args.data, args.n, args.parts, args.words) == (tmp_path, 5, ["a", "b"], ("x",))
    args = parse("b", "--n", "7", "--words", "y", "z", "--flag", "--cache", str(tmp_path / "c"))
    assert (args.n, args.parts, args.words, args.flag) == (7, ["b"], ["y", "z"], True)
    assert args.cache.directory == tmp_path / "c"
    assert parse("--quick", "--n", "7").n == 1
    monkeypatch.delenv("SKWAVELET_DATA")
    for wrong, message in ((["c"], "invalid choice"), ([], "SKWAVELET_DATA")):
        with pytest.raises(SystemExit):
            parse(*wrong)
        assert message in capsys.readouterr().err


EARLIER = """
import numpy as np

class PointScattering:
    def fit(self, X):
        return self

    def transform(self, X):
        return np.ones((1, 7))

    def value_and_vjp(self, X, cotangent):
        assert cotangent.shape == (1, 7)

AngularFeatures = VoxelScattering = PointScattering
"""
EARLIER_CELLS = """
from ase import Atoms

def load_lisi():
    load_lisi.structures = [Atoms("Li5", cell=[9, 9, 9])]
    return load_lisi
"""


def test_versions_are_of_the_checkouts_that_are_named(tmp_path, monkeypatch):
    # The other version is found although Python begins in a checkout of this one.
    monkeypatch.chdir(BENCHMARKS.parent)
    monkeypatch.syspath_prepend(BENCHMARKS / "speed")
    versions = importlib.import_module("versions")
    package = tmp_path / "skwavelet"
    package.mkdir()
    (package / "__init__.py").write_text(EARLIER)
    (package / "datasets.py").write_text(EARLIER_CELLS)
    both = [versions.Version(path) for path in (tmp_path, BENCHMARKS.parent)]
    sizes, seconds = versions.compare(both, "PointScattering()", (1, 1, 2), True, 2)
    for version in both:
        version.close()
        assert version.process.returncode == 0
    assert sizes[0] == [7, 10]
    assert sizes[1][0] > 7
    assert sizes[1][1] > 10
    assert 0 <= seconds[0] < seconds[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        "accuracy/active_learning.py --quick",
        "accuracy/forces.py --quick --only Point",
        "speed/linear_models.py --quick",
        f"speed/versions.py --quick --before {BENCHMARKS.parent}",
        "speed/voxel_speed.py --quick floor",
    ],
)
def test_scripts_run(command, tmp_path):
    script, *options = command.split()
    if script.startswith("accuracy"):
        options += ["--cache", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / script), *options], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "| --- |" in done.stdout
