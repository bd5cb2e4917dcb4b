"""Time and memory of PointScattering and AngularFeatures as the cell grows, on one thread.

    python benchmarks/speed/point_angular_speed.py [scaling memory lists]  # all or some
    python benchmarks/speed/point_angular_speed.py --quick  # without the largest cells

The structures are a Li-Si cell of 66 atoms and tilings of it; every representation reaches 6 Å. The
minimum of the CPU times counts, which other processes on the machine disturb less than wall times.
Peak memory is that of a fresh process, less what it has after a structure of one cell. Lists of
neighbours are timed beside those of matscipy. `atom_speed.py` has other representations.

Cost: 5 min; needs matscipy.
"""

import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from matscipy.neighbours import neighbour_list

from skwavelet import AngularFeatures, PointScattering
from skwavelet.datasets import load_lisi
from skwavelet.structures.checks import check_structures

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common.command import arguments
from common.table import line, table
from common.timing import alternate, machine, peak_memory

REACH = 6.0
OCTAVES = {"scale_step": 1.0, "n_scales": 2, "order": 2, "max_l": 2, "reach": REACH}


def memory_of(transformer, cell, atoms):
    """Return the GiB that features and gradient take in a fresh process."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_memory_of, transformer, cell, atoms).result()


def _memory_of(transformer, cell, atoms):
    peaks = []
    for structure in (cell, atoms):
        transformer.value_and_vjp([structure], np.ones((1, transformer.n_features_out_)))
        peaks.append(peak_memory())
    return 1e9 * (peaks[1] - peaks[0]) / 2**30


def sized(structures):
    """Return the transformers whose cost is followed as the cell grows."""
    transformers = {
        "Point": PointScattering(reach=REACH),
        "Point, order 2": PointScattering(3, **OCTAVES),
        "Angular": AngularFeatures(reach=REACH),
    }
    return {name: transformer.fit(structures) for name, transformer in transformers.items()}


def scaling(structures, cell, tilings):
    """Print the cost per atom of features, and of features with a gradient, as the cell grows."""
    transformers = sized(structures)
    rng = np.random.default_rng(0)
    columns = [column for name in transformers for column in (name, "with gradient")]
    print("\nCPU time per atom, µs\n")
    print(table(["atoms", *columns], []), flush=True)
    for tiling in tilings:
        atoms = cell * tiling
        row = [len(atoms)]
        for transformer in transformers.values():
            cotangent = rng.normal(size=(1, transformer.n_features_out_))
            functions = {
                "features": lambda t=transformer, a=atoms: t.transform([a]),
                "gradient": lambda t=transformer, c=cotangent, a=atoms: t.value_and_vjp([a], c),
            }
            if len(atoms) < 20_000:
                seconds = [t.best_cpu for t in alternate(functions, 3).values()]
            else:  # nothing to warm up
                seconds = [cpu_seconds(function) for function in functions.values()]
            row += [f"{1e6 * s / len(atoms):.0f}" for s in seconds]
        print(line(row), flush=True)


def memory(structures, cell, tilings):
    """Print the peak memory of features with a gradient as the cell grows."""
    transformers = sized(structures)
    print(f"\nPeak memory, GiB\n\n{table(['atoms', *transformers], [])}", flush=True)
    for tiling in tilings:
        atoms = cell * tiling
        peaks = [memory_of(transformer, cell, atoms) for transformer in transformers.values()]
        print(line([len(atoms), *(f"{peak:.2f}" for peak in peaks)]), flush=True)


def cpu_seconds(function):
    start = time.process_time()
    function()
    return time.process_time() - start


def neighbor_lists(cell, tilings):
    rows = []
    for tiling in tilings:
        atoms = cell * tiling
        (structure,) = check_structures([atoms])
        times = alternate(
            {
                "vesin": lambda s=structure: s.neighbors(REACH, "ijD"),
                "matscipy": lambda a=atoms: neighbour_list("ijD", a, REACH),
            },
            5,
        )
        rows.append([len(atoms), *(f"{1e3 * t.best_cpu:.2f}" for t in times.values())])
    print(
        f"\nNeighbour lists within {REACH:g} Å, ms\n\n{table(['atoms', 'vesin', 'matscipy'], rows)}"
    )


def main():
    options = arguments(__doc__, quick={}, parts=("scaling", "memory", "lists"))
    structures = load_lisi().structures
    cell = next(atoms for atoms in structures if len(atoms) == 66)
    tilings = [(4, 2, 2)] if options.quick else [(4, 2, 2), (6, 5, 5), (16, 10, 10)]
    print(machine("numpy", "scipy", "vesin", "matscipy"))
    if "scaling" in options.parts:
        scaling(structures, cell, [(1, 1, 1), *tilings])
    if "memory" in options.parts:
        memory(structures, cell, tilings)
    if "lists" in options.parts:
        neighbor_lists(cell, [(1, 1, 1), *tilings[:2]])


if __name__ == "__main__":
    main()
