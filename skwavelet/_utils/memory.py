"""How much memory this process may still use."""

from __future__ import annotations

import sys
import time
from functools import lru_cache
from pathlib import Path

import psutil

# The control groups of this process, and where their limits are (Linux).
GROUPS, LIMITS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


def available_memory() -> float:
    """Return the bytes that this process can still use.

    That is what the machine has free, or less where a limit is set: on the process (``ulimit -v``)
    or on the job or container that it is part of (control groups, as SLURM and Kubernetes use).
    """
    return min(
        psutil.virtual_memory().available,
        _below_process_limit(),
        _below_group_limits(int(time.monotonic())),
    )


@lru_cache(maxsize=1)
def _below_group_limits(second: int) -> float:
    """Return what the groups leave, read once a second: many files stand behind it."""
    return min(_below_group_limit(LIMITS), _below_old_group_limit(LIMITS / "memory"))


def _below_process_limit() -> float:
    if sys.platform == "win32":
        return float("inf")
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return float("inf")
    return max(0.0, limit - psutil.Process().memory_info().vms)


def _below_group_limit(root: Path) -> float:
    """Return what the tightest of the groups of this process (version 2) leaves."""
    free = float("inf")
    try:
        groups = GROUPS.read_text().splitlines()
    except OSError:
        return free
    here = root / next((line[4:] for line in groups if line.startswith("0::/")), "")
    for directory in [here, *here.parents]:
        try:
            limit = (directory / "memory.max").read_text().strip()
            used = int((directory / "memory.current").read_text())
            lines = (directory / "memory.stat").read_text().splitlines()
        except OSError:
            continue
        if limit != "max":
            # Cached files give way.
            cached = dict(line.split() for line in lines).get("inactive_file", 0)
            free = min(free, int(limit) - used + int(cached))
    return max(0.0, free)


def _below_old_group_limit(container: Path) -> float:
    """Return what the container leaves, with control groups of version 1."""
    try:
        limit = int((container / "memory.limit_in_bytes").read_text())
        used = int((container / "memory.usage_in_bytes").read_text())
    except OSError:
        return float("inf")
    return max(0.0, float(limit - used))
