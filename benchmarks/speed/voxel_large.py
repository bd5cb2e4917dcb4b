"""Scale VoxelScattering from a hundred to a hundred thousand atoms: time, memory, exponent.

    python benchmarks/speed/voxel_large.py                     # up to 10^4 atoms, about ten minutes
    python benchmarks/speed/voxel_large.py --atoms 100000      # further, half an hour more
    python benchmarks/speed/voxel_large.py --quick             # seconds, two sizes

A Li-Si cell of 66 atoms of the packaged paths is tiled, and its atoms are displaced by 0.05 Å
(standard deviation), so that no two of its cells are alike. The transformer is the default one,
fitted to the packaged structures: 1,640 features, three scales, float32, one thread. Every size
runs in a process of its own, whose peak memory is what it adds to the process before its first
``transform``. Up to 10^4 atoms the second run is timed; beyond, there is one, and making FFT plans
is part of its time (a few seconds). "Density" is the part of the coefficients rho^(G), by
non-uniform FFT and by separable sums; "full resolution" keeps every map on the base grid. The last
two are run as long as they take minutes.

Cost: 10 min, an hour to 10^5 atoms; needs finufft.
"""

import multiprocessing
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import psutil

from skwavelet import VoxelScattering
from skwavelet.datasets import load_lisi
from skwavelet.representations.voxel.density import SeparableDensity
from skwavelet.representations.voxel.nufft import NonUniformDensity
from skwavelet.representations.voxel.numpy_arrays import NumpyArrays

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common.command import arguments
from common.table import table
from common.timing import machine

TILINGS = {
    132: (1, 1, 2), 264: (1, 2, 2), 528: (2, 2, 2), 1056: (2, 2, 4), 2376: (3, 3, 4),
    4224: (4, 4, 4), 9900: (5, 5, 6), 33264: (7, 8, 9), 104544: (11, 12, 12),
}  # fmt: skip
LIMITS = {"full resolution": 1100, "separable sums": 10000, "warm": 10000}


def tiled(atoms, tiling):
    large = atoms.repeat(tiling)
    large.rattle(0.05, seed=0)
    return large


def measured(function, warm):
    """Return wall and CPU seconds, after a first run if ``warm``, and the bytes that both added."""
    process, done = psutil.Process(), threading.Event()
    before = peak = process.memory_info().rss

    def watch():
        nonlocal peak
        while not done.wait(0.02):
            peak = max(peak, process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    if warm:
        function()
    wall, cpu = time.perf_counter(), time.process_time()
    function()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    done.set()
    watcher.join()
    return {"wall": wall, "cpu": cpu, "memory": peak - before}


def case(n_atoms, kind, n_jobs):
    """Measure one size, in a process that has done nothing before."""
    structures = load_lisi().structures
    atoms = next(a for a in structures if str(a.symbols) == "Li19Si47")
    large = tiled(atoms, TILINGS[n_atoms])
    oversampling = {"oversampling": 4.0} if kind == "full resolution" else {}
    scattering = VoxelScattering(n_jobs=n_jobs, **oversampling).fit(structures)
    (structure,) = scattering._check([large])
    evaluator = scattering._evaluator
    grid = evaluator.grid(structure)
    result = {"shape": grid.shapes[0], "estimate": evaluator.memory(structure)}
    if kind in ("density", "separable sums"):
        fractional = structure.positions @ np.linalg.inv(grid.cell)
        arrays = NumpyArrays(np.dtype("float32"))
        shape = grid.shapes[0]
        out = arrays.zeros((*shape[:2], shape[2] // 2 + 1), spectra=True)

        def run():
            for z in structure.elements:
                here = fractional[structure.numbers == z]
                if kind == "density":
                    NonUniformDensity(arrays, here, shape, evaluator.tolerance).write(out)
                else:
                    SeparableDensity(arrays, here, shape).write(out)
    else:

        def run():
            scattering.transform([large])

    return result | measured(run, n_atoms <= LIMITS["warm"])


def separate(n_atoms, kind, n_jobs, cache):
    """Return the measurement of one size, from the cache or from a process of its own."""

    def measure():
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            return pool.submit(case, n_atoms, kind, n_jobs).result()

    return cache.get("large", measure, VoxelScattering(), n_atoms, kind, n_jobs)


def seconds(result):
    return f"{result['cpu']:.3g}" if result else "-"


def main():
    args = arguments(__doc__, cache=True, quick={}, atoms=10000)
    print(machine("numpy", "pyFFTW", "finufft"), flush=True)
    sizes = [132, 264] if args.quick else [n for n in TILINGS if n <= 1.05 * args.atoms]
    rows, results = [], {}
    for n in sizes:
        kinds = ["features", "density"]
        kinds += [k for k in ("separable sums", "full resolution") if n <= LIMITS[k]]
        found = {k: separate(n, k, 1, args.cache) for k in kinds}
        main = results[n] = found["features"]
        grid = 4 * np.prod(main["shape"], dtype=float)
        rows.append(
            [
                n,
                "x".join(map(str, main["shape"])),
                f"{main['wall']:.3g}",
                f"{main['cpu']:.3g}",
                f"{1e3 * main['cpu'] / n:.2f}",
                f"{main['memory'] / 2**30:.2f}",
                f"{main['memory'] / grid:.0f}",
                f"{main['estimate'] / 2**30:.2f}",
                *(seconds(found.get(k)) for k in ("density", "separable sums", "full resolution")),
            ]
        )
        print(f"{n} atoms: {main['wall']:.1f} s", flush=True)
    header = ["atoms", "grid", "wall (s)", "CPU (s)", "CPU per atom (ms)", "peak memory (GiB)"]
    header += ["in grids", "estimated (GiB)", "of this: density (CPU s)"]
    header += ["by separable sums (CPU s)", "full resolution (CPU s)"]
    print("\n" + table(header, rows))
    cpu = [results[n]["cpu"] for n in sizes]
    print(f"\nTime grows as N^{np.polyfit(np.log(sizes), np.log(cpu), 1)[0]:.2f}.")
    n = sizes[-1] if args.quick else 9900
    if n in results:
        two = separate(n, "features", 2, args.cache)
        print(f"{n} atoms with n_jobs=2: {two['wall']:.1f} s, {results[n]['wall']:.1f} s with 1.")


if __name__ == "__main__":
    main()
