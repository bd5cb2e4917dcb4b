"""Results kept by everything that they depend on: settings, data, versions and the code itself.

The key of a result holds the version of skwavelet and of the numerical libraries, the settings
and learned parameters of the estimators that made it, the data, and a hash of the code: the modules
in which those estimators are defined, whatever these import of skwavelet and of ``common``, and the
function that computes, with all that it names of its own script. Comments, docstrings and layout do
not count. So a change of code never returns old numbers, and a change of prose does not throw
numbers away.
"""

import ast
import hashlib
import importlib.metadata
import inspect
import os
import sys
import textwrap
import types
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

import joblib
import numpy as np
from ase import Atoms

import skwavelet

DEFAULT = Path.home() / ".cache" / "skwavelet-benchmarks"
BENCHMARKS = Path(__file__).resolve().parents[1]
HOMES = {"skwavelet": Path(skwavelet.__file__).parents[1], "common": BENCHMARKS}
LEARNED = ("beta_", "n_scales_", "spacing_", "reach_", "cutoff_", "channels_")
IRRELEVANT = {"n_jobs", "verbose", "device", "checkpoint_path"}
LIBRARIES = ("skwavelet", "numpy", "scipy", "scikit-learn")


def file_of(module: str) -> Path | None:
    """Return the file of a module of skwavelet or of the benchmarks, None of any other."""
    parts = module.split(".")
    if parts[0] not in HOMES:
        file = getattr(sys.modules.get(module), "__file__", None)
        return Path(file) if file and BENCHMARKS in Path(file).resolve().parents else None
    base = HOMES[parts[0]].joinpath(*parts)
    return next((f for f in (base.with_suffix(".py"), base / "__init__.py") if f.exists()), None)


@cache
def _code(file: Path) -> tuple[str, frozenset[str]]:
    """Return the code of a file without its prose, and the names of what it imports."""
    return _read(file.read_text(encoding="utf-8"))


def _read(source: str) -> tuple[str, frozenset[str]]:
    tree, imports = ast.parse(source), set()
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            value = body[0].value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                body[0] = ast.Pass()
        if isinstance(node, ast.Import):
            imports |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            imports |= {node.module} | {f"{node.module}.{name.name}" for name in node.names}
    return ast.dump(tree), frozenset(imports)


def code_hash(modules: Iterable[str]) -> str:
    """Return a hash of modules and of all that they import of skwavelet and of ``common``."""
    waiting, known = {file_of(module) for module in modules} - {None}, {}
    while waiting:
        file = waiting.pop()
        known[str(file)], imports = _code(file)
        waiting |= {f for f in map(file_of, imports) if f and str(f) not in known}
    # Without paths, so that a clone elsewhere finds the same.
    return joblib.hash(sorted(code for file, code in known.items()))


def describe(value: object, modules: set[str]) -> object:
    """Return what a value is, by names and hashes, and note the modules that define estimators."""
    if hasattr(value, "get_params"):
        modules.add(type(value).__module__)
        params = {k: v for k, v in value.get_params(deep=False).items() if k not in IRRELEVANT}
        learned = {key: getattr(value, key) for key in LEARNED if hasattr(value, key)}
        return type(value).__name__, describe(params, modules), describe(learned, modules)
    if isinstance(value, dict):
        return [(str(key), describe(v, modules)) for key, v in sorted(value.items(), key=str)]
    if isinstance(value, Atoms):
        return joblib.hash((value.numbers, value.positions, value.cell.array, value.pbc))
    if isinstance(value, list | tuple):
        return [describe(v, modules) for v in value]
    if isinstance(value, type) or inspect.isroutine(value):
        return f"{value.__module__}.{value.__qualname__} {_own_code(value)}"
    if isinstance(value, str | bool | int | float | None | np.generic):
        return repr(value)
    return joblib.hash(value)


class Cache:
    """Results in a directory."""

    def __init__(self, directory: str | os.PathLike = DEFAULT):
        self.directory = Path(directory)

    def key(self, compute: Callable, *settings: object, code: Iterable[str] = ()) -> str:
        """Return the key of what ``compute`` makes of settings.

        ``code`` names modules that count beside those of the estimators among the settings.
        """
        modules = set(code)
        described = describe(settings, modules)
        versions = [importlib.metadata.version(name) for name in LIBRARIES]
        own = "".join([_own_code(compute), *_named(compute)])
        text = f"{versions} {described} {code_hash(modules)} {own}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def path(self, name: str, compute: Callable, *settings: object, code: Iterable[str] = ()):
        """Return the file of a result, whether it is there or not."""
        return self.directory / f"{name}-{self.key(compute, *settings, code=code)}.joblib"

    def get(self, name: str, compute: Callable, *settings: object, code: Iterable[str] = ()):
        """Return ``compute()``, or what it returned when everything was the same.

        The name begins that of the file, for people. Settings are all that the result depends on
        (estimators, structures, arrays, numbers, words), and ``code`` modules that count beside
        those of the estimators.
        """
        file = self.path(name, compute, *settings, code=code)
        if not file.exists():
            value = compute()
            file.parent.mkdir(parents=True, exist_ok=True)
            # In one step: an interruption leaves no half-written file.
            part = file.with_suffix(f".{os.getpid()}.part")
            joblib.dump(value, part)
            part.replace(file)
        return joblib.load(file)


def _named(compute: Callable) -> list[str]:
    """Return the functions, classes and constants of its script that a function leads to.

    Of what it has from the function around it, those that are functions or classes: values are
    settings.
    """
    waiting, seen = [getattr(compute, "func", compute)], {}
    while waiting:
        function = waiting.pop()
        names = set().union(*(part.co_names for part in _codes(function)))
        script = vars(sys.modules[function.__module__])
        around = inspect.getclosurevars(function).nonlocals if inspect.isfunction(function) else {}
        named = {name: script[name] for name in names & set(script)} | around
        for name in set(named) - set(seen):
            value = named[name]
            if getattr(value, "__module__", None) == function.__module__:
                seen[name] = _own_code(value)
                waiting.append(value)
            elif not (name in around or callable(value) or isinstance(value, types.ModuleType)):
                seen[name] = repr(describe(value, set()))
    return [f" {name} {seen[name]}" for name in sorted(seen)]


def _codes(value: object) -> list[types.CodeType]:
    """Return the code objects of a function, of what is defined in it, or of a class's methods."""
    if isinstance(value, type):
        return [code for part in vars(value).values() for code in _codes(part)]
    waiting, found = [getattr(inspect.unwrap(value), "__code__", None)], []
    while waiting:
        if isinstance(code := waiting.pop(), types.CodeType):
            found.append(code)
            waiting += code.co_consts
    return found


def _own_code(function: Callable) -> str:
    """Return the code of a function; none of a lambda or a partial, which only pass things on."""
    try:
        return _read(textwrap.dedent(inspect.getsource(function)))[0]
    except (OSError, TypeError, SyntaxError):
        return ""
