"""Compilation of kernels, once for every machine and not once for every process."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba
from numba.extending import overload

# Sums may be reordered and products be fused into them, but NaN and infinity stay what they are.
FAST_MATH = {"contract", "reassoc", "nsz"}


def compiled(function: Callable) -> Any:
    """Compile a function at its first call, and keep the machine code on disk.

    It runs without Python's global lock. Where no directory can be written to, it is compiled
    anew in every process.
    """
    # What C code would call takes time to compile, and there is none.
    return _compiled(function, no_cfunc_wrapper=True)


def compiled_part(function: Callable) -> Any:
    """Compile a function that compiled functions call, and nothing else; see `compiled`.

    What Python would call takes as long to compile as a short function itself.
    """
    return _compiled(function, no_cfunc_wrapper=True, no_cpython_wrapper=True)


def compiled_as(function: Callable) -> Callable[[Callable], Callable]:
    """Decorate what returns the code of a function, for the types of the arguments.

    Compiled functions run this code where they call the function. It is kept on disk with them.
    """
    options: Any = {"fastmath": FAST_MATH, "error_model": "numpy"}
    return overload(function, jit_options=options)


def _compiled(function: Callable, **more: bool) -> Any:
    # With called kernels inlined whether they were just compiled or read from disk: apart, they
    # round differently, and processes would disagree in the last bit.
    options: dict[str, Any] = {
        "fastmath": FAST_MATH, "error_model": "numpy", "nogil": True, "forceinline": True, **more,
    }  # fmt: skip
    try:
        dispatcher = numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no directory to keep it in
        return numba.njit(**options)(function)
    files = getattr(getattr(dispatcher, "_cache", None), "_cache_file", None)
    if files is not None:  # not where compilation is switched off
        # Numba looks at the function's own file alone, but kernels call those of other files.
        files._source_stamp = _newest()
    return dispatcher


@cache
def kept_in() -> Path | None:
    """Return the directory of compiled kernels, of this version and user; None without one."""
    stats = getattr(compiled(_compiled), "stats", None)
    return None if stats is None or stats.cache_path is None else Path(stats.cache_path)


@cache
def _newest() -> tuple[float, int]:
    """Return the time of the last change of a kernel, and the size of all files with kernels."""
    package = Path(__file__).parents[1]
    names = "*kernels.py", "couplings.py"  # of which the text of kernels is made
    files = [path.stat() for name in names for path in package.rglob(name)]
    return max(file.st_mtime for file in files), sum(file.st_size for file in files)
