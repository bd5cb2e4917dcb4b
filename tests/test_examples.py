"""Every example runs without a warning, and those of the gallery end in a figure."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted(Path(__file__).parent.parent.glob("examples/*.py"))
# Block by block, as the gallery does, which takes the figures after each.
_RUN = """
import pathlib, sys
import matplotlib
matplotlib.use("agg")
from matplotlib import pyplot
(example,) = sys.argv = sys.argv[1:]
source = pathlib.Path(example).read_text(encoding="utf-8")
lines, namespace = 0, {"__name__": "__main__", "__file__": example}
for block in source.split("\\n# %%\\n"):
    exec(compile("\\n" * lines + block, example, "exec"), namespace)
    lines += block.count("\\n") + 2
    figures = [pyplot.figure(number) for number in pyplot.get_fignums()]
    axes = [ax for figure in figures for ax in figure.axes if ax.get_label() != "<colorbar>"]
    assert all(ax.has_data() for ax in axes), "empty axes"
    pyplot.close("all")
assert figures, "no figure at the end"
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
