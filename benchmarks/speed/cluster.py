"""Featurization to disk: two Dask workers beside one, and what writing and resuming cost.

Protocol. Structures are the packaged Li-Si frames (about 60 atoms), features those of
``VoxelScattering`` with the learned defaults (``--quick``: first order, fewer structures). A Dask
cluster of processes on this machine, one thread each, is started before the clock; a small first
run lets every worker import and plan its FFTs, and does not count. Then ``featurize`` writes the
structures to a new directory with one and with two workers in turn, ``--repeats`` times, all with
the same FFT plans; the ratio of the shortest times is quoted.

``overhead`` compares, in one process and in turn, ``transform`` of all structures, ``featurize``
of them to a new directory, and a call of ``featurize`` that finds everything done. What writing
adds is also given as a sum of its parts (settings, checksums, files), timed alone in the same
process: on a busy machine that is the figure to trust.

    python benchmarks/speed/cluster.py [workers overhead] [--quick]

Cost: 8 min; needs "dask[distributed]".
"""

import shutil
import sys
import tempfile
import time
from pathlib import Path

import joblib
import numpy as np

from skwavelet import VoxelScattering, featurize
from skwavelet.datasets import load_lisi
from skwavelet.storage import writer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common.command import arguments
from common.table import table
from common.timing import alternate, machine


def fresh(directory: Path, plans: Path) -> Path:
    """Return a directory with FFT plans and nothing else."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    if plans.exists():
        shutil.copy(plans, directory / "plans.json")
    return directory


def workers(transformer, structures, directory: Path, repeats: int) -> None:
    from distributed import Client, LocalCluster

    plans = directory / "first" / "plans.json"
    times: dict[int, list[float]] = {1: [], 2: []}
    options = {"threads_per_worker": 1, "processes": True, "dashboard_address": None}
    with LocalCluster(n_workers=2, **options) as cluster, Client(cluster) as client:
        every = list(client.scheduler_info()["workers"])
        with joblib.parallel_config("dask"):
            featurize(transformer, structures[:64], directory / "first", chunk_size=4)
        for _ in range(repeats):
            for n, seconds in times.items():
                store = fresh(directory / "store", plans)
                with joblib.parallel_config("dask", workers=every[:n]):
                    start = time.perf_counter()
                    featurize(transformer, structures, store, chunk_size=8)
                    seconds.append(time.perf_counter() - start)
    one, two = (min(times[n]) for n in (1, 2))
    print(
        table(
            ["Dask workers", "s", "structures/s", "speed-up"],
            [
                [1, f"{one:.1f}", f"{len(structures) / one:.1f}", ""],
                [2, f"{two:.1f}", f"{len(structures) / two:.1f}", f"{one / two:.2f}"],
            ],
        )
    )


def overhead(transformer, structures, directory: Path, repeats: int) -> None:
    done = directory / "done"
    featurize(transformer, structures, done)
    plans = done / "plans.json"
    spent = []
    compute = writer._compute

    def clocked(*arguments):
        start = time.process_time()
        result = compute(*arguments)
        spent[-1] += time.process_time() - start
        return result

    def written():
        spent.append(0.0)
        start = time.process_time()
        featurize(transformer, structures, fresh(directory / "store", plans))
        own.append(time.process_time() - start - spent[-1])

    own: list[float] = []
    writer._compute = clocked
    try:
        times = alternate(
            {
                "transform": lambda: transformer.transform(structures),
                "featurize": written,
                "featurize, all done": lambda: featurize(transformer, structures, done),
            },
            repeats,
        )
    finally:
        writer._compute = compute
    base = times["transform"].best
    rows = [
        [name, f"{t.best:.2f}", f"{t.best_cpu:.2f}", f"{100 * (t.best / base - 1):+.1f} %"]
        for name, t in times.items()
    ]
    share = 100 * np.median(own) / times["transform"].best_cpu
    rows.append(["featurize besides features", "", f"{np.median(own):.3f}", f"{share:.2f} %"])
    print(table(["", "wall, s", "CPU, s", "beside transform"], rows))


def main() -> None:
    options = arguments(
        __doc__, quick={"count": 120}, parts=("workers", "overhead"), repeats=3, count=480
    )
    structures = load_lisi().structures[: options.count]
    transformer = VoxelScattering(order=1 if options.quick else 2).fit(structures)
    print(machine("joblib"))
    print(f"\n{len(structures)} structures, {transformer.n_features_out_} features\n")
    for part in options.parts:
        with tempfile.TemporaryDirectory() as directory:
            globals()[part](transformer, structures, Path(directory), options.repeats)
            print()


if __name__ == "__main__":
    main()
