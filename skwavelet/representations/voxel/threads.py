"""Threads for one large structure: the columns and planes of its maps are shared among them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from skwavelet._utils.fftw_plans import current_file, use_file

_local = threading.local()


def n_threads() -> int:
    """Return how many threads this thread may use for one large structure."""
    return getattr(_local, "threads", 1)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let large transforms of this thread use several threads."""
    if count == 1:
        yield
        return
    with ThreadPoolExecutor(count, initializer=use_file, initargs=(current_file(),)) as created:
        _local.pool, _local.threads = created, count
        try:
            yield
        finally:
            _local.pool, _local.threads = None, 1


def spread(function: Callable, items: Iterable) -> None:
    """Call a function with every item, shared among the threads that this thread may use."""
    executor = getattr(_local, "pool", None)
    for _ in map(function, items) if executor is None else executor.map(function, items):
        pass
