"""FFT plans that processes share, so that they round alike.

FFTW chooses a plan by timing several, so two processes may choose differently, and their results
differ by rounding errors. Plans by rule (FFTW_ESTIMATE) would not, but take 1.2 to 2 times as
long. Here, the first process to meet a shape measures, and writes down its choice for all others.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

_lock = threading.RLock()
_here = threading.local()
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
        with FileLock(f"{path}.lock"):
            known = path.read_bytes() if path.exists() else b""
            try:
                pyfftw.import_wisdom([text.encode() for text in json.loads(known)])
            except (AttributeError, IndexError, TypeError, ValueError):
                # None yet, or damaged: it is written anew.
                known = b""
            yield
            plans = json.dumps([text.decode() for text in pyfftw.export_wisdom()]).encode()
            if plans != known:
                partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
                partial.write_bytes(plans)
                partial.replace(path)
