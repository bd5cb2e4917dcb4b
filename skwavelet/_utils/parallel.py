"""Parallel work through joblib, whatever its backend."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import closing
from itertools import islice
from typing import Any

from joblib import Parallel, effective_n_jobs

# Tasks per worker at a time, where results cannot be had one by one.
_ROUND = 8


def unordered_results(
    tasks: Iterable[Any], n_jobs: int | None, **options: Any
) -> Generator[Any, None, None]:
    """Yield results of tasks (``joblib.delayed(...)``) as they come.

    Tasks are taken from the iterable only shortly before they are run. ``options`` are those of
    `joblib.Parallel`.
    """
    try:
        parallel = Parallel(n_jobs=n_jobs, return_as="generator_unordered", **options)
    except ValueError:
        # Backends such as multiprocessing and Ray return lists only.
        tasks = iter(tasks)
        with Parallel(n_jobs=n_jobs, **options) as parallel:
            while some := list(islice(tasks, _ROUND * effective_n_jobs(n_jobs))):
                yield from parallel(some)
        return
    # Closing ends the work where the caller stops early.
    with closing(parallel(tasks)) as results:
        yield from results
