"""Time representations at the atoms beside NumPy, DScribe and featomic; threads.

    python benchmarks/speed/atom_speed.py [rivals threads jobs first_use]  # all or some
    python benchmarks/speed/atom_speed.py --quick  # the smaller cell, no 10^5 atoms, one dtype

rivals: features, and features with a gradient, on one thread, per atom of a Li-Si cell of 76 atoms
and of a tiling of it. The NumPy formulas are those that the tests check the kernels against. SOAPs
have as many features. DScribe's is averaged there, and has no gradient then. featomic's is not
averaged, and its gradient is that of every feature of every atom, where ours is that of a weighted
sum of the features: what a potential needs. Everything reaches 6 Å. Rivals take turns, and the
minimum of the CPU times counts.
threads: wall times of a single structure with one and two threads, and the peak memory of a fresh
process less what it has after a structure of one cell.
jobs: wall times of the features of many cells, in processes and in threads of joblib.
first_use: CPU seconds of the first features and gradients where nothing is compiled.

Cost: 15 min; needs dscribe and featomic.
"""

import os

os.environ["RAYON_NUM_THREADS"] = "1"  # of featomic

import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import joblib
import numpy as np

from skwavelet import AngularFeatures, PointInvariants, PointScattering, VoxelScattering
from skwavelet._utils.threads import LIMITS
from skwavelet.datasets import load_lisi
from skwavelet.structures.checks import check_structures

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from common.command import arguments
from common.rivals import averaged_soap, featomic_soap
from common.table import Table
from common.timing import alternate, machine, peak_memory
from helpers.angular_blocks import reference_blocks, reference_sums
from helpers.point_cascade import reference_cascade
from point_angular_speed import OCTAVES, REACH

# Ours, and (n_max, l_max) of DScribe's and of featomic's SOAP with no more features.
KINDS = {
    "PointScattering()": (PointScattering(reach=REACH), (9, 6), (8, 5)),
    "- second order": (PointScattering(3, **OCTAVES), (10, 7), (9, 6)),
    "AngularFeatures()": (AngularFeatures(reach=REACH), (12, 9), (12, 6)),
    "- Legendre": (AngularFeatures(angles="legendre", reach=REACH), (12, 9), (12, 6)),
}
TILINGS = (1, 1, 1), (4, 2, 2)
LARGE = (11, 11, 11)
FIRST_USE = {
    "PointScattering(order=1)": PointScattering(order=1),
    "PointScattering(order=2)": PointScattering(n_scales=2, order=2),
    "AngularFeatures()": AngularFeatures(),
    "AngularFeatures(angles='legendre')": AngularFeatures(angles="legendre"),
    "PointInvariants()": PointInvariants(),
    "VoxelScattering()": VoxelScattering(n_scales=2),
}


def in_numpy(transformer, structure, gradient):
    """Compute sums in NumPy, with the gradient of all of them if asked for."""
    evaluator = transformer._evaluator
    groups = evaluator._groups(structure)
    weights = np.ones((groups.count, evaluator.n_terms, len(evaluator.powers)))
    if isinstance(transformer, PointScattering):
        cascade = reference_cascade(evaluator, structure, groups)
        return cascade.vjp(weights) if gradient else cascade.sums()
    if not gradient:
        return [block.powers() for block in reference_blocks(evaluator, structure)[1]]
    none = np.empty((0, len(structure), 3)), np.empty((0, 3, 3))
    return reference_sums(evaluator, structure, groups, *none, weights)


def again(count, function):
    for _ in range(count):
        function()


def rivals(structures, cell, tilings, repeats):
    """Print CPU times per atom beside the NumPy formulas and SOAP."""
    print("\nCPU time per atom, µs; how many times longer others take\n")
    table = Table((
        "", "features", "atoms", "µs", "NumPy", "DScribe", "featomic", "with gradient, µs", "NumPy",
        "featomic",
    ))  # fmt: skip
    for name, (transformer, of_dscribe, of_featomic) in KINDS.items():
        transformer.set_params(n_jobs=1).fit(structures)
        cotangent = np.ones((1, transformer.n_features_out_))
        soap = averaged_soap(*of_dscribe, "inner", REACH)
        featomic = partial(featomic_soap(*of_featomic, REACH).compute, use_native_system=True)
        for tiling in tilings:
            atoms = cell * tiling
            (structure,) = check_structures([atoms])
            functions = {
                "ours": partial(transformer.transform, [atoms]),
                "gradient": partial(transformer.value_and_vjp, [atoms], cotangent),
                "numpy": partial(in_numpy, transformer, structure, False),
                "numpy gradient": partial(in_numpy, transformer, structure, True),
                "dscribe": partial(soap.create, atoms),
                "featomic": partial(featomic, atoms),
                "featomic gradient": partial(featomic, atoms, gradients=["positions"]),
            }
            # Several in a row, or every one would find the caches full of what another needs.
            counts = dict.fromkeys(functions, max(3, 800 // len(atoms)))
            counts["featomic gradient"] = 1  # takes seconds
            functions = {key: partial(again, counts[key], f) for key, f in functions.items()}
            times = alternate(functions, repeats)
            best = {key: timing.best_cpu / counts[key] for key, timing in times.items()}
            table.add(
                name,
                transformer.n_features_out_,
                len(atoms),
                1e6 * best["ours"] / len(atoms),
                best["numpy"] / best["ours"],
                best["dscribe"] / best["ours"],
                best["featomic"] / best["ours"],
                1e6 * best["gradient"] / len(atoms),
                best["numpy gradient"] / best["gradient"],
                best["featomic gradient"] / best["gradient"],
            )


def in_threads(structures, cell, tilings, repeats):
    """Print wall times of one and of two threads, and what memory they take."""
    for name in LIMITS:
        os.environ.pop(name, None)
    print("\nWall time, ms: one thread, two threads, ratio; peak memory of both, GiB\n")
    table = Table(("", "atoms", "one", "two", "ratio", "with gradient: one", "two", "ratio", "GiB"))
    for name, (transformer, _, _) in KINDS.items():
        transformer.fit(structures)
        cotangent = np.ones((1, transformer.n_features_out_))
        for tiling in tilings[1:] if name == "PointScattering()" else tilings[1:2]:
            atoms, row, peaks = cell * tiling, [], []
            count = repeats if tiling in TILINGS else 1
            for method in ("transform", "value_and_vjp"):
                given = ([atoms],) if method == "transform" else ([atoms], cotangent)

                def run(n_jobs, method=method, given=given, transformer=transformer):
                    getattr(transformer.set_params(n_jobs=n_jobs), method)(*given)

                times = alternate({n: partial(run, n) for n in (1, 2)}, count)
                one, two = (times[n].best for n in (1, 2))
                row += [1e3 * one, 1e3 * two, one / two]
            for n_jobs in (1, 2):
                peaks.append(peak_memory(transformer.set_params(n_jobs=n_jobs), cell, atoms))
            table.add(name, len(atoms), *row, ", ".join(f"{peak:.2f}" for peak in peaks))


def in_jobs(structures, cell, repeats):
    """Print wall times of many structures in two processes and in two threads."""
    print("\nWall time of cells of 76 atoms, s\n")
    table = Table(("", "one", "two processes", "two threads"))
    for name, (transformer, _, _) in KINDS.items():
        transformer.fit(structures)
        cells = [cell] * (400 if name == "PointScattering()" else 60)

        def run(backend, transformer=transformer, cells=cells):
            transformer.set_params(n_jobs=2 if backend else 1)
            with joblib.parallel_config(backend=backend or "loky"):
                transformer.transform(cells)

        times = alternate({b: partial(run, b) for b in (None, "loky", "threading")}, repeats)
        table.add(f"{name}, {len(cells)}", *(timing.best for timing in times.values()))


def first_use(dtypes):
    """Print the CPU seconds of a process that compiles everything that it needs."""
    print("\nCPU seconds of features and gradients where nothing is compiled\n")
    table = Table(("", *dtypes))
    for name in FIRST_USE:
        seconds = []
        for dtype in dtypes:
            with tempfile.TemporaryDirectory() as empty:
                command = [sys.executable, __file__, "--compile", name, dtype]
                environment = os.environ | {"NUMBA_CACHE_DIR": empty}
                result = subprocess.run(
                    command, env=environment, capture_output=True, text=True, check=True
                )
            seconds.append(float(result.stdout.splitlines()[-1]))
        table.add(name, *seconds)


def compile_all(name, dtype):
    """Print the CPU seconds that the first features and gradients of a process take."""
    from ase.build import bulk

    atoms = bulk("NaCl", "rocksalt", 5.6, cubic=True)
    atoms.rattle(0.1, seed=0)
    start = time.process_time()
    transformer = FIRST_USE[name].set_params(dtype=dtype).fit([atoms])
    transformer.transform([atoms])
    transformer.value_and_vjp([atoms], np.ones((1, transformer.n_features_out_)))
    print(time.process_time() - start)


def main():
    if sys.argv[1:2] == ["--compile"]:
        compile_all(*sys.argv[2:])
        return
    options = arguments(__doc__, quick={}, parts=("rivals", "threads", "jobs", "first_use"))
    structures = load_lisi().structures
    cell = next(atoms for atoms in structures if len(atoms) == 76)
    tilings = TILINGS if options.quick else (*TILINGS, LARGE)
    print(machine("numpy", "numba", "dscribe", "featomic"))
    if "rivals" in options.parts:
        rivals(structures, cell, TILINGS[:1] if options.quick else TILINGS, 3)
    if "threads" in options.parts:
        in_threads(structures, cell, tilings, 5)
    if "jobs" in options.parts:
        in_jobs(structures, cell, 2)
    if "first_use" in options.parts:
        first_use(["float32"] if options.quick else ["float32", "float64"])


if __name__ == "__main__":
    main()
