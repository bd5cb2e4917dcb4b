"""Every example runs without a warning, and those of the gallery end in a figure."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted(Path(__file__).parent.parent.glob("examples/*.py"))
_RUN = """
import runpy, sys
import matplotlib
matplotlib.use("agg")
runpy.run_path(sys.argv[1], run_name="__main__")
from matplotlib import pyplot
figures = [pyplot.figure(number) for number in pyplot.get_fignums()]
assert figures, "no figure"
axes = [ax for figure in figures for ax in figure.axes if ax.get_label() != "<colorbar>"]
assert all(ax.has_data() for ax in axes), "empty axes"
"""


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example(example, tmp_path):
    if "skwavelet.neural" in example.read_text(encoding="utf-8"):
        pytest.importorskip("torch")
    subprocess.run(
        [sys.executable, "-W", "error", "-c", _RUN, example], cwd=tmp_path, check=True, timeout=1800
    )


def test_there_are_examples():
    assert len(EXAMPLES) > 10
