"""Alternating timings, and a line about the machine.

Rivals are timed in turn, again and again, so that whatever else the machine does hits all of them;
the minimum is the figure to quote, the median tells how disturbed the run was. On a busy machine
the CPU times of one-threaded code stay meaningful when the wall times do not.
"""

import gc
import importlib.metadata
import os
import platform
import resource
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Timing:
    """Seconds of repeated runs of one function."""

    wall: np.ndarray
    cpu: np.ndarray

    @property
    def best(self) -> float:
        """Shortest wall time."""
        return float(self.wall.min())

    @property
    def median(self) -> float:
        """Median wall time."""
        return float(np.median(self.wall))

    @property
    def best_cpu(self) -> float:
        """Shortest CPU time, of all threads of this process."""
        return float(self.cpu.min())


def alternate(functions: dict[str, Callable[[], object]], repeats: int) -> dict[str, Timing]:
    """Time functions in turn, ``repeats`` times each after one run that does not count."""
    for function in functions.values():
        function()
    times = {name: np.empty((repeats, 2)) for name in functions}
    gc.collect()
    gc.disable()
    try:
        for repeat in range(repeats):
            for name, function in functions.items():
                wall, cpu = time.perf_counter(), time.process_time()
                function()
                times[name][repeat] = time.perf_counter() - wall, time.process_time() - cpu
    finally:
        gc.enable()
    return {name: Timing(*values.T) for name, values in times.items()}


def peak_memory() -> float:
    """Return the most memory (GB) that this process has had."""
    status = Path("/proc/self/status")
    if status.exists():  # unlike getrusage, this begins anew with the process
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return 1024 * int(line.split()[1]) / 1e9
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used * (1 if sys.platform == "darwin" else 1024) / 1e9


def machine(*packages: str) -> str:
    """Return a line about processor, load and versions."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = lines[0].split(":")[1].strip() if lines else model
    versions = [f"Python {platform.python_version()}"]
    for name in ("skwavelet", *packages):
        # Some parts of a benchmark do without a package that others need.
        with suppress(importlib.metadata.PackageNotFoundError):
            versions.append(f"{name} {importlib.metadata.version(name)}")
    load = f", load {os.getloadavg()[0]:.1f} at the start" if hasattr(os, "getloadavg") else ""
    return f"{model}, {os.cpu_count()} cores{load}; {', '.join(versions)}"
