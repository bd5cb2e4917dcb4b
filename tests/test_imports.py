"""What importing the package loads, and what it must not."""

import os
import subprocess
import sys

import pytest

import skwavelet

# Packages that are optional, or slow to import and needed by few.
AT_NO_TIME = ("matplotlib", "torch", "IPython", "ipywidgets", "vesin", "finufft", "kymatio", "dask")


def loaded_after(statement: str, **environment: str) -> set[str]:
    """Return the packages that a fresh interpreter has loaded after a statement."""
    code = f"import sys; {statement}; print(*sys.modules)"
    output = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **environment},
    )
    return set(output.stdout.split())


def test_import_alone_loads_nothing_heavy():
    modules = loaded_after("import skwavelet")
    heavy = {*AT_NO_TIME, "numpy", "scipy", "sklearn", "pandas", "pandas.plotting", "ase"}
    assert not heavy & modules


@pytest.mark.parametrize("names", ["VoxelScattering", "*"])
def test_public_names_load_no_optional_package(names):
    # The tests run where matplotlib and torch are installed, so that they could be loaded.
    modules = loaded_after(f"from skwavelet import {names}")
    assert "sklearn" in modules
    assert not set(AT_NO_TIME) & modules


def test_public_names_are_listed_and_reachable():
    assert {"VoxelScattering", "BaggedOLSEnsemble", "prune"} <= set(skwavelet.__all__)
    for name in skwavelet.__all__:
        assert getattr(skwavelet, name).__name__.rpartition(".")[2] == name
    with pytest.raises(AttributeError, match="NoSuchName"):
        _ = skwavelet.NoSuchName
