"""FFT plans that processes share, so that they round alike.

FFTW chooses a plan by timing several, so two processes may choose differently, and their results
differ by rounding errors. Plans by rule (FFTW_ESTIMATE) would not, but take 1.2 to 2 times as
long. Here, the first process to meet a shape measures, and writes down its choice for all others.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from skwavelet._utils.files import lock_of, write_atomically

_lock = threading.RLock()
_here = threading.local()
# What reading plans from something else raises.
_NO_PLANS = (AttributeError, IndexError, OSError, TypeError, ValueError)
# The file that the plans of this process belong to.
_owner: Path | None = None


@contextmanager
def shared_plans(path: Path) -> Iterator[None]:
    """Within this context, plan the FFTs of this thread as a file says.

    Parameters
    ----------
    path : Path
        File of plans, made where it does not exist. It goes on growing. Where its directory is
        out of reach (another machine), plans are this process's own.
    """
    previous, _here.file = current_file(), Path(path).absolute()
    try:
        yield
    finally:
        _here.file = previous


def current_file() -> Path | None:
    """Return the file of plans of this thread, None for the process's own plans."""
    return getattr(_here, "file", None)


def use_file(path: Path | None) -> None:
    """Plan the FFTs of this thread, to its end, as a file says; None for the process's own."""
    _here.file = path


@contextmanager
def planning() -> Iterator[None]:
    """Make plans within this context: one thread at a time, and one process per file."""
    import pyfftw

    global _owner
    path = current_file()
    with _lock:
        if path is None or not path.parent.is_dir():
            _owner = None
            yield
            return
        if path != _owner:
            pyfftw.forget_wisdom()
            _owner = path
        with lock_of(path):
            known = path.read_bytes() if path.exists() else b""
            try:
                pyfftw.import_wisdom([text.encode() for text in json.loads(known)])
            except _NO_PLANS:
                # None yet, or damaged: it is written anew.
                known = b""
            yield
            plans = json.dumps([text.decode() for text in pyfftw.export_wisdom()]).encode()
            if plans != known:
                write_atomically(path, plans)


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
