"""What the pages quote is there: commands, figures, files, and the parts of the package."""

import ast
import importlib.util
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
BUILT = ("_build", "gallery", "generated")
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "benchmarks" / "README.md",
    *sorted(p for p in DOCS.rglob("*.md") if not set(BUILT) & set(p.relative_to(DOCS).parts)),
]
TEXTS = {page.relative_to(ROOT).as_posix(): page.read_text(encoding="utf-8") for page in PAGES}

# What the figures of the dissertation show that are quoted here by their numbers. Before you quote
# another one, look up what it shows.
FIGURES = {
    "2.1": ("wavelet", "orbital"),
    "2.2": ("map",),
    "2.3": ("map",),
    "2.4": ("paths", "order"),
    "3.1": ("energies", "composition", "logarithmic"),
    "3.2": ("error", "weights"),
    "3.3": ("channels", "powers"),
    "3.4": ("scales", "wavelets"),
    "4.1": ("training", "validation", "error"),
    "4.2": ("diffusion", "error", "energies"),
    "4.3": ("diffusion", "21", "41"),
    "4.4": ("larger cells", "error"),
    "4.5": ("energy", "volume"),
    "4.6": ("strained", "error", "bulk mod"),
    "5.1": ("lennard-jones", "loss"),
    "6.1": ("filters",),
    "6.2": ("angle", "torsion"),
}


# -- commands -------------------------------------------------------------------------------------


def commands():
    """Return {script: options and words after it in all commands that pages quote}."""
    found = {}
    for text in TEXTS.values():
        for script, arguments in re.findall(
            r"python ((?:benchmarks|examples|docs)/[\w/.]*)([^`\n#&]*)", text
        ):
            found.setdefault(script, set()).update(arguments.replace("[", " ").split())
    return found


def source(script):
    """Return the text of a script, or of all modules of one that is a directory."""
    path = ROOT / script
    files = sorted(path.glob("*.py")) if path.is_dir() else [path]
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


def options(words):
    return sorted({word.strip("]").split("=")[0] for word in words if word.startswith("--")})


def test_pages_quote_commands():
    assert len(commands()) > 20


@pytest.mark.parametrize("script", sorted(commands()))
def test_quoted_scripts_and_options_exist(script):
    path = ROOT / script
    assert path.is_file() or (path / "__main__.py").is_file()
    shared = sorted((ROOT / "benchmarks" / "common").glob("*.py"))
    texts = [source(script), *(file.read_text(encoding="utf-8") for file in shared)]
    for option in options(commands()[script]):
        name = option[2:].replace("-", "_")
        pattern = rf'"{option}"|\b{name}\b\s*[=:]|"{name}"'
        assert any(re.search(pattern, text) for text in texts), f"{script} has no {option}"


@pytest.mark.slow
@pytest.mark.parametrize("script", sorted(commands()))
def test_help_of_quoted_scripts_names_their_options(script):
    if "argparse" not in source(script) and not options(commands()[script]):
        return
    run = subprocess.run(
        [sys.executable, str(ROOT / script), "--help"], capture_output=True, text=True, cwd=ROOT
    )
    if "No module named" in run.stderr:
        pytest.skip(run.stderr.strip().rpartition("\n")[2])
    assert run.returncode == 0, run.stderr
    for option in options(commands()[script]):
        assert re.search(rf"{option}\b", run.stdout), f"{script} has no {option}"


def test_every_number_of_the_readme_has_a_command():
    table = TEXTS["README.md"].split("## Measured results")[1].split("\n## ")[0]
    rows = [line.split(" | ") for line in table.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 10
    for what, measured, command in rows:
        assert len(measured) < 75, f"too long to be read at a glance: {what}"
        assert command.startswith(("`python ", "the same")), what


# -- figures --------------------------------------------------------------------------------------


def quoted_figures():
    """Yield (file, number, text around) of every mention of a figure by a number."""
    files = [*PAGES, *DOCS.glob("explanation/figures/*.py"), *(ROOT / "examples").glob("*.py")]
    files += (ROOT / "benchmarks").rglob("*.py")
    for file in files:
        paragraphs = ["", *re.split(r"\n\s*\n", file.read_text(encoding="utf-8"))]
        for before, paragraph in pairwise(paragraphs):
            for numbers in re.findall(r"[Ff]igures? (\d\.\d+(?:(?:,| and) \d\.\d+)*)", paragraph):
                for number in re.findall(r"\d\.\d+", numbers):
                    around = f"{before}\n{paragraph}".lower()
                    yield file.relative_to(ROOT).as_posix(), number, around


def test_figures_show_what_those_of_the_dissertation_show():
    found = list(quoted_figures())
    assert len(found) > 10
    for file, number, around in found:
        assert number in FIGURES, f"{file} quotes figure {number}: look up what it shows"
        missing = [word for word in FIGURES[number] if word not in around]
        assert not missing, f"{file} calls something figure {number} that has no {missing}"


def test_every_figure_of_the_results_is_made_by_the_script_and_has_its_number():
    text = TEXTS["docs/results/lisi.md"]
    captions = dict(re.findall(r"```{figure} (\S+)\.png\n(.*?)\n```", text, flags=re.DOTALL))
    assert set(captions) == {path.stem for path in (DOCS / "results").glob("*.png")}
    script = ast.parse((ROOT / "benchmarks/accuracy/lisi/figures.py").read_text(encoding="utf-8"))
    drawn = {
        key.value
        for node in ast.walk(script)
        if isinstance(node, ast.Dict)
        for key in node.keys
        if isinstance(key, ast.Constant)
    }
    for name, caption in captions.items():
        assert name in drawn
        number = re.match(r"figure_(\d)_(\d)_", name)
        expected = [".".join(number.groups())] if number else []
        assert re.findall(r"figure (\d\.\d)", caption) == expected


# -- files and parts ------------------------------------------------------------------------------


@pytest.mark.parametrize("page", sorted(TEXTS))
def test_quoted_files_exist(page):
    paths = re.findall(
        r"`((?:skwavelet|tests|docs|benchmarks|examples)/[\w/.-]+)(?: [^`]*)?`", TEXTS[page]
    )
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_contributing_describes_every_part_of_the_package():
    table = TEXTS["CONTRIBUTING.md"].split("## Architecture")[1].split("\n### ")[0]
    parts = {
        path.name + "/" * path.is_dir()
        for path in (ROOT / "skwavelet").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    missing = sorted(part for part in parts - {"__init__.py"} if f"`{part}`" not in table)
    assert not missing, f"describe {missing} in the table of CONTRIBUTING.md"


def test_the_way_to_the_powers_is_as_described():
    section = TEXTS["CONTRIBUTING.md"].split("### Where is a voxel's power taken?")[1]
    steps = re.findall(r"^\| \d.*\| `(.*?)` \| `(.*?)` \|$", section, flags=re.MULTILINE)
    assert len(steps) > 3
    for file, name in steps:
        code = (ROOT / "skwavelet/representations" / file).read_text(encoding="utf-8")
        assert re.search(rf"^ *(def|class) {name}\b", code, flags=re.MULTILINE), (file, name)


def test_the_drawing_of_the_architecture_is_up_to_date():
    path = DOCS / "contributing" / "architecture.py"
    spec = importlib.util.spec_from_file_location("architecture", path)
    architecture = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(architecture)
    drawn = architecture.FILE.read_text(encoding="utf-8")
    assert drawn == architecture.drawing(architecture.imports()), (
        "run `python docs/contributing/architecture.py`"
    )
