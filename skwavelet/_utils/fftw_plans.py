"""FFT plans that processes share, so that they round alike.

FFTW chooses a plan by timing several, so two processes may choose differently, and their results
differ by rounding errors. Plans by rule (FFTW_ESTIMATE) would not, but take 1.2 to 2 times as
long. Thorough plans (FFTW_PATIENT) save a third more, and take up to a second to make. Here, the
first process to meet a shape measures, and writes down its choice for all others: beside the
compiled kernels of this machine, or in a file of its own for what must be computed alike.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TypeVar

import llvmlite.binding

from skwavelet._utils.compiled import kept_in
from skwavelet._utils.files import lock_of, write_atomically

Plan = TypeVar("Plan")

_lock = threading.RLock()
_here = threading.local()
# What reading plans from something else raises.
_NO_PLANS = (AttributeError, IndexError, OSError, TypeError, ValueError)
# The file that the plans of this process belong to.
_owner: Path | None = None


@contextmanager
def shared_plans(path: Path) -> Iterator[None]:
    """Within this context, plan the FFTs of this thread as a file says.

    The file is made where it does not exist, with the plans that this machine has by then, and
    goes on growing. Where its directory is out of reach (another machine), plans are those of the
    machine.
    """
    previous, _here.file = current_file(), Path(path).absolute()
    try:
        yield
    finally:
        _here.file = previous


def current_file() -> Path | None:
    """Return the file of plans of this thread, None for the machine's."""
    return getattr(_here, "file", None)


def use_file(path: Path | None) -> None:
    """Plan the FFTs of this thread, to its end, as a file says; None for the machine's."""
    _here.file = path


@cache
def _machines_file() -> Path | None:
    """Return the file of plans of this kind of processor, None where none can be kept."""
    directory = kept_in()
    if directory is None:
        return None
    kind = re.sub("[^A-Za-z0-9-]", "", llvmlite.binding.get_host_cpu_name())
    path = directory / f"fft-plans-{kind}.json"
    try:
        with lock_of(path):
            return path
    except (OSError, NotImplementedError):  # where nothing can be written or locked
        return None


def planned(make: Callable[..., Plan], *, measured: bool) -> Plan:
    """Make a plan, one thread at a time and one process per file.

    ``make`` returns it, given further flags of FFTW. Plans that are not measured but made by rule
    are the same in every process of a machine.
    """
    import pyfftw

    global _owner
    path = current_file()
    if path is None or not path.parent.is_dir():
        path = _machines_file() if measured else None
    with _lock:
        if path is None:
            return make()
        if path == _owner:
            # What this process has read or measured need not be looked up again.
            with suppress(RuntimeError):
                return make("FFTW_WISDOM_ONLY")
        else:
            pyfftw.forget_wisdom()
            _owner = path
        with lock_of(path):
            files = (path, _machines_file())
            begun = next((file for file in files if file and file.exists()), None)
            known: list[str] = []
            try:
                known = json.loads(begun.read_bytes()) if begun else []
                pyfftw.import_wisdom([text.encode() for text in known])
            except _NO_PLANS:
                # Damaged: it is written anew.
                known = []
            plan = make()
            plans = [text.decode() for text in pyfftw.export_wisdom()]
            if _entries(plans) != _entries(known) or begun != path:
                write_atomically(path, json.dumps(plans).encode())
            return plan


def _entries(plans: list[str]) -> list[set[str]]:
    """Return the lines of plans, whose order says nothing."""
    return [set(text.splitlines()) for text in plans]


def check_plans(path: Path) -> None:
    """Raise ``ValueError`` for a file that is there and holds no plans."""
    if not path.exists():
        return
    try:
        plans = json.loads(path.read_bytes())
    except _NO_PLANS:
        plans = None
    # One text for each precision of FFTW.
    if isinstance(plans, list) and [type(text) for text in plans] == [str] * 3:
        return
    raise ValueError(f"{path} holds no FFT plans and stays as it is; use another directory.")
