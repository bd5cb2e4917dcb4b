"""The command line that the scripts share, and the list of them."""

import argparse
import ast
import os
import sys
from pathlib import Path

import threadpoolctl
from common.cache import DEFAULT, Cache

ROOT = Path(__file__).resolve().parents[1]
DATA = {
    "packaged": "directory that contains lisi/; default: the packaged structures",
    "lisi": "directory that contains lisi/; default: the frames in benchmarks/data",
    "needed": "directory that contains the data sets; default: SKWAVELET_DATA",
}


def arguments(doc, *, data=None, cache=False, quick=None, **options):
    """Return the parsed command line of a script.

    Parameters
    ----------
    doc : str
        The script's docstring; its first line is shown by ``--help``.
    data : {"packaged", "lisi", "needed"}, optional
        Whether there is ``--data``, and what is read without it (`DATA`).
    cache : bool
        Whether there is ``--cache``; the argument becomes a `Cache`.
    quick : dict, optional
        What ``--quick`` sets other options to; None for scripts without.
    **options
        Defaults by name: True or False make a flag, a list or tuple takes several values, None a
        word; anything else a value of the same type. ``parts`` is positional, all where none is
        given. BLAS has ``threads``, one unless that is an option, for the whole process.
    """
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    if data:
        default = os.environ.get("SKWAVELET_DATA") if data != "packaged" else None
        parser.add_argument("--data", type=Path, default=default, help=DATA[data])
    if cache:
        parser.add_argument("--cache", type=Path, default=DEFAULT, help="default: %(default)s")
    if quick is not None:
        parser.add_argument("--quick", action="store_true", help="small, in seconds or minutes")
    for name, default in options.items():
        flag = name if name == "parts" else "--" + name.replace("_", "-")
        shown = {"help": f"default: {default}"}
        if isinstance(default, bool):
            parser.add_argument(flag, action="store_true")
        elif isinstance(default, list | tuple):
            kind = type(default[0]) if default else str
            several = {"nargs": "+", "default": default}
            if name == "parts":  # argparse would check the default as if it were one word
                several = {"nargs": "*", "default": [], "choices": [[], *default]}
            parser.add_argument(flag, type=kind, **several, **shown)
        else:
            kind = str if default is None else type(default)
            parser.add_argument(flag, type=kind, default=default, **shown)
    args = parser.parse_args()
    if data == "needed" and args.data is None:
        parser.error("--data (or the environment variable SKWAVELET_DATA) names the data sets")
    if data and args.data is not None:
        args.data = Path(args.data)
    if cache:
        args.cache = Cache(args.cache)
    if quick is not None and args.quick:
        for name, value in quick.items():
            setattr(args, name, value)
    if "parts" in options and not args.parts:
        args.parts = list(options["parts"])
    threadpoolctl.threadpool_limits(getattr(args, "threads", 1))
    return args


def scripts():
    """Return the scripts by name: a file, or a directory with a ``__main__.py``."""
    found = {}
    for room in ("speed", "accuracy", "data"):
        for path in sorted((ROOT / room).iterdir()):
            if (path / "__main__.py").exists() or (path.suffix == ".py" and path.stem[0] != "_"):
                found[path.stem] = path
    return found


def about(path):
    """Return what a script measures and what it costs, from its docstring.

    The docstring's last paragraph is "Cost: ...".
    """
    file = path / "__main__.py" if path.is_dir() else path
    doc = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))
    paragraphs = [" ".join(part.split()) for part in doc.split("\n\n")]
    cost = next((p for p in paragraphs if p.startswith("Cost: ")), None)
    if cost is None:
        raise ValueError(f"the docstring of {file} has no paragraph 'Cost: ...'")
    return paragraphs[0], cost.removeprefix("Cost: ").rstrip(".")


def pages(path):
    """Return the pages that quote a script."""
    project = ROOT.parent
    name = path.relative_to(project).as_posix()
    files = [project / "README.md", *sorted((project / "docs").rglob("*.md"))]
    return [
        file.relative_to(project).as_posix()
        for file in files
        if name in file.read_text(encoding="utf-8")
    ]


def run(argv):
    """List the scripts, or run one: what ``python benchmarks/`` does."""
    known = scripts()
    if argv in ([], ["--list"], ["--help"]):
        print("python benchmarks/ [--list]\npython benchmarks/ NAME [--help] [options]\n")
        for path in known.values():
            what, cost = about(path)
            print(f"{path.relative_to(ROOT).as_posix()}\n    {what}")
            print(f"    cost: {cost}\n    quoted in: {', '.join(pages(path)) or 'no page'}")
        return
    name = Path(argv[0]).stem
    if name not in known:
        sys.exit(f"no benchmark is called {argv[0]}; there are {', '.join(known)}")
    os.execv(sys.executable, [sys.executable, str(known[name]), *argv[1:]])
