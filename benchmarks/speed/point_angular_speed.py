"""Time PointScattering and AngularFeatures beside DScribe's SOAP, on one thread.

    python benchmarks/speed/point_angular_speed.py [soap scaling memory lists]  # all or some
    python benchmarks/speed/point_angular_speed.py --quick  # without the largest cells

The structures are a Li-Si cell of 66 atoms and tilings of it; every representation reaches 6 Å. The
feature sets are paired with a SOAP of about as many features, which is averaged over atoms within
DScribe: "outer" (the mean of the power spectra, what sums over atoms are) and "inner" (the power
spectrum of the mean, DScribe's fastest). Rivals take turns; the minimum of the CPU times counts,
which other processes on the machine disturb less than wall times. Peak memory is that of a fresh
process, less what it has after a structure of one cell.

Cost: 6 min; needs dscribe and matscipy.
"""

import multiprocessing
import sys
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from matscipy.neighbours import neighbour_list

from skwavelet import AngularFeatures, PointScattering
from skwavelet.datasets import load_lisi
from skwavelet.structures.checks import check_structures

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common.command import arguments
from common.rivals import averaged_soap
from common.table import line, table
from common.timing import alternate, machine, peak_memory

REACH = 6.0
OCTAVES = {"scale_step": 1.0, "n_scales": 2, "order": 2, "max_l": 2, "reach": REACH}
# Ours, and (n_max, l_max) of a SOAP with no more features.
PAIRS = {
    "PointScattering()": (PointScattering(reach=REACH), (9, 6)),
    "PointScattering, n = 1-3, l <= 2": (PointScattering((1, 2, 3), 2, reach=REACH), (8, 4)),
    "orders 0-2, n = 3, octaves": (PointScattering(3, **OCTAVES), (10, 7)),
    "orders 0-2, n = 1-3, octaves": (PointScattering((1, 2, 3), **OCTAVES), (16, 10)),
    "AngularFeatures()": (AngularFeatures(reach=REACH), (12, 9)),
    "AngularFeatures, Legendre": (AngularFeatures(angles="legendre", reach=REACH), (12, 9)),
}


def compare(structures, atoms, repeats):
    """Print the times of every pair, and of gradients, for one structure."""
    rng = np.random.default_rng(0)
    rows = []
    for name, (transformer, (n_max, l_max)) in PAIRS.items():
        transformer.fit(structures)
        cotangent = rng.normal(size=(1, transformer.n_features_out_))
        rivals = {
            average: averaged_soap(n_max, l_max, average, REACH) for average in ("outer", "inner")
        }
        times = alternate(
            {
                "ours": lambda t=transformer: t.transform([atoms]),
                "gradient": lambda t=transformer, c=cotangent: t.value_and_vjp([atoms], c),
                "outer": lambda r=rivals: r["outer"].create(atoms),
                "inner": lambda r=rivals: r["inner"].create(atoms),
            },
            repeats,
        )
        best = {key: 1e3 * timing.best_cpu for key, timing in times.items()}
        rows.append([
            name,
            transformer.n_features_out_,
            f"{best['ours']:.1f}",
            f"{best['gradient'] / best['ours']:.2f}",
            f"n{n_max} l{l_max}, {rivals['outer'].get_number_of_features()}",
            f"{best['outer']:.1f}",
            f"{best['inner']:.1f}",
            f"{best['inner'] / best['ours']:.1f}",
        ])  # fmt: skip
    header = ["", "features", "ms", "with gradient", "SOAP", "outer, ms", "inner, ms"]
    header.append("inner / ours")
    print(f"\n{len(atoms)} atoms\n\n{table(header, rows)}")


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
    options = arguments(__doc__, quick={}, parts=("soap", "scaling", "memory", "lists"))
    structures = load_lisi().structures
    cell = next(atoms for atoms in structures if len(atoms) == 66)
    tilings = [(4, 2, 2)] if options.quick else [(4, 2, 2), (6, 5, 5), (16, 10, 10)]
    print(machine("numpy", "scipy", "vesin", "dscribe"))
    # The radial functions of the largest SOAP are nearly dependent.
    warnings.filterwarnings("ignore", message="An ill-conditioned matrix")
    if "soap" in options.parts:
        compare(structures, cell, repeats=10)
        compare(structures, cell * (4, 2, 2), repeats=1 if options.quick else 3)
    if "scaling" in options.parts:
        scaling(structures, cell, [(1, 1, 1), *tilings])
    if "memory" in options.parts:
        memory(structures, cell, tilings)
    if "lists" in options.parts:
        neighbor_lists(cell, [(1, 1, 1), *tilings[:2]])


if __name__ == "__main__":
    main()
