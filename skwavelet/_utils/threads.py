"""Threads for one large structure: parts of its work are shared among them.

They belong to the thread that asks for them, and live as long as its request: processes that are
forked meet none, and threads of the caller, who is parallel already, have none.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from joblib import effective_n_jobs
from joblib.parallel import get_active_backend

from skwavelet._utils.fftw_plans import current_file, use_file

LIMITS = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS")

Item = TypeVar("Item")
Result = TypeVar("Result")
_local = threading.local()


def threads_of_environment() -> int | None:
    """Return how many threads a process may use, None where the environment does not say."""
    values = (os.environ.get(name, "") for name in LIMITS)
    return min((int(value) for value in values if value.isdecimal() and int(value)), default=None)


def threads_for(n_jobs: int | None) -> int:
    """Return how many threads one structure gets where ``n_jobs`` are asked for.

    One where this is already one of several jobs of joblib, and no more than the environment and
    `at_most` say.
    """
    count = int(effective_n_jobs(n_jobs))
    if count == 1 or get_active_backend()[0].nesting_level:
        return 1
    limits = (threads_of_environment(), getattr(_local, "limit", None))
    return min([count, *filter(None, limits)])


@contextmanager
def at_most(count: int | None) -> Iterator[None]:
    """Limit the threads of one structure in this thread; None changes nothing."""
    previous = getattr(_local, "limit", None)
    _local.limit = previous if count is None else count
    try:
        yield
    finally:
        _local.limit = previous


def n_threads() -> int:
    """Return how many threads this thread may use for one large structure."""
    return getattr(_local, "threads", 1)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let the work on a large structure in this thread use several threads."""
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
    for _ in in_turn(function, items):
        pass


def in_turn(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Yield the results of a function in the order of the items, shared among threads.

    At most two results for every thread are made before they are taken.
    """
    executor = getattr(_local, "pool", None)
    if executor is None:
        yield from map(function, items)
        return
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            if len(waiting) == 2 * n_threads():
                yield waiting.popleft().result()
            waiting.append(executor.submit(function, item))
        while waiting:
            yield waiting.popleft().result()
    finally:
        # Those that have not begun: the caller stops early, or one has failed.
        for future in waiting:
            future.cancel()
