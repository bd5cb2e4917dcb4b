"""The examples of these pages are tests: every page is one session in a directory of its own."""

from importlib.util import find_spec

import pytest

collect_ignore_glob = ["*.py", "_build", "gallery"]
if find_spec("pymatgen") is None:
    collect_ignore_glob.append("howto/pymatgen.md")
if find_spec("torch") is None:
    collect_ignore_glob.append("howto/gpu.md")
if find_spec("skops") is None:
    collect_ignore_glob.append("howto/save_models.md")


@pytest.fixture(autouse=True)
def own_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
