"""Time VoxelScattering: over its FFT floor, against full resolution, with size, with processes.

    python benchmarks/speed/voxel_speed.py                  # all parts, about ten minutes
    python benchmarks/speed/voxel_speed.py floor scaling    # some of them
    python benchmarks/speed/voxel_speed.py --quick          # seconds, smaller and fewer

Everything is float32 on Li-Si cells of the packaged paths, beta = 0.4 Å, n = 3, l <= 2, five
channels and, where nothing else is said, five scales: 3,740 features of 66 atoms. The five scales
are set by hand, as in the dissertation; the last two are wider than such a cell, which costs time
all the same. Filters and FFT plans exist before the clock starts, except in the part ``cells``.

- floor: ``transform`` of one structure over the bare pyFFTW transforms that its features need: the
  same number of transforms of the same grids, one thread, as many at a time as is fastest. Real
  ones (c2r and r2c, FFTW_MEASURE), and complex ones of half the length as `VoxelScattering` does
  them (FFTW_PATIENT).
- resolution: multi-resolution against full-resolution grids (oversampling = 2^J), in time and in
  deviation from converged features (float64, half the voxel size, full resolution).
- scaling: time against number of atoms, tiled cells, with three scales.
- jobs: many structures with one and with two processes.
- cells: structures that all have different cells against structures of one cell.
- plans: what one map's transform to space takes as a real transform, and as a complex one of half
  the length (as `VoxelScattering` does it), planned by measuring and thoroughly (FFTW_PATIENT).
- molecules: organic molecules of the G2 set, with a box for every scale (the default) and with one
  periodic box, as large as the widest wavelets need: in time, and in deviation of the features.

Cost: 8 min.
"""

import sys
import time
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pyfftw
from ase.build import molecule

from skwavelet import VoxelScattering
from skwavelet.datasets import load_lisi
from skwavelet.representations.voxel.shifts import grids

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common.command import arguments
from common.table import table
from common.timing import Timing, alternate, machine

PARTS = ("floor", "resolution", "scaling", "jobs", "cells", "plans", "molecules")
MOLECULES = ("CH3CH2OH", "C6H6", "CH3CONH2", "C4H4S", "C4H4NH", "C3H9N", "HCOOCH3")
WIDTH = {"beta": 0.4}


def fitted(structures, **parameters):
    """Return a transformer fitted without the warning about scales beyond the cell."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return VoxelScattering(**(WIDTH | parameters)).fit(structures)


def milliseconds(seconds):
    return f"{1e3 * seconds:.1f}"


# -- floor ---------------------------------------------------------------------------------------


def transforms_needed(scattering, atoms):
    """Count the transforms (c2r, r2c) that the features of a structure need, by grid shape.

    First-order maps are linear in the channels: one set of maps per element and wavelet. Every
    modulus that has children goes to frequency once. Every second-order path has its own maps, on
    the grid of its larger scale. First-order maps with l = 0 and 1 are on several shifted grids.
    """
    paths = scattering.feature_table_.drop(columns="q").drop_duplicates()
    step, shapes = scattering.scale_step, grid_shapes(scattering, atoms)
    first, second = (paths[paths["order"] == order] for order in (1, 2))
    counts = {shape: np.zeros(2, dtype=int) for shape in shapes}
    n_elements = len(set(atoms.numbers))
    for _, _, l, j in unique(paths[paths["order"] > 0], ["n1", "l1", "j1"]):
        counts[shapes[round(j / step)]][0] += n_elements * (2 * l + 1) * len(grids(l))
    for *_, j in unique(second, ["channel", "n1", "l1", "j1"]):
        counts[shapes[round(j / step)]][1] += 1
    for path in second.itertuples():
        counts[shapes[round(max(path.j1, path.j2) / step)]][0] += 2 * path.l2 + 1
    assert len(first) == len(unique(first, ["channel", "n1", "l1", "j1"]))
    return counts


def unique(paths, columns):
    return list(paths[columns].drop_duplicates().itertuples())


def grid_shapes(scattering, atoms):
    """Return the grid of every scale."""
    (structure,) = scattering._check([atoms])
    return scattering._evaluator.grid(structure).shapes


def bare_transforms(shape, direction, batch, *, packed, flag):
    """Return a planned, aligned transform of ``batch`` maps at a time.

    Of real maps, or of ``packed`` ones, which are complex and half as long.
    """
    width = shape[-1] // 2 + (not packed)
    spectra = pyfftw.zeros_aligned((batch, *shape[:-1], width), np.complex64)
    maps = spectra if packed else pyfftw.zeros_aligned((batch, *shape), np.float32)
    inverse = direction == "to space"
    plan = pyfftw.FFTW(
        *((spectra, maps) if inverse else (maps, spectra)),
        axes=(1, 2, 3),
        direction="FFTW_BACKWARD" if inverse else "FFTW_FORWARD",
        flags=(flag, *([] if packed else ["FFTW_DESTROY_INPUT"])),
        threads=1,
    )
    return plan.execute


def repeated(function, times):
    for _ in range(times):
        function()


def floor_of(counts, repeats, **kind):
    """Return a function that does all transforms, and (grid, direction, count, number at a time).

    The divisors of each count are tried as the number of maps transformed at a time.
    """
    chosen = []
    for shape, both in counts.items():
        for direction, count in zip(("to space", "back"), both.tolist(), strict=True):
            if count == 0:
                continue
            sizes = [b for b in range(1, 46) if count % b == 0]
            plans = {b: bare_transforms(shape, direction, b, **kind) for b in sizes}
            # About the same number of transforms for every size.
            runs = {b: partial(repeated, plans[b], max(1, 45 // b)) for b in sizes}
            timings = alternate(runs, repeats)
            best = min(sizes, key=lambda b: timings[b].best_cpu / (b * max(1, 45 // b)))
            chosen.append((shape, direction, count, best, plans[best]))

    def floor():
        for _, _, count, batch, execute in chosen:
            repeated(execute, count // batch)

    return floor, [entry[:4] for entry in chosen]


def part_floor(structures, quick):
    scattering = fitted(structures, n_scales=3 if quick else 5)
    # The larger of the two cells just misses a base grid of 48.
    for formula in ("Li19Si47", "Li6Si60")[: 1 if quick else 2]:
        atoms = cell_of(formula, structures)
        scattering.transform([atoms])
        counts = transforms_needed(scattering, atoms)
        repeats = 3 if quick else 10
        real, chosen = floor_of(counts, repeats, packed=False, flag="FFTW_MEASURE")
        packed, _ = floor_of(counts, repeats, packed=True, flag="FFTW_PATIENT")
        transform = partial(scattering.transform, [atoms])
        functions = {"transform": transform, "real FFTs": real, "packed FFTs": packed}
        timings = alternate(functions, 10 if quick else 60)
        side = atoms.cell.lengths()[0]
        print(f"{formula}, cell of {side:.2f} Å, {scattering.n_features_out_} features\n")
        rows = [["x".join(map(str, shape)), *rest] for shape, *rest in chosen]
        print(table(["grid", "transform", "count", "at a time"], rows), "\n")
        for floor in ("real FFTs", "packed FFTs"):
            print_timings(timings, floor)
            print(flush=True)


def cell_of(formula, structures):
    return next(atoms for atoms in structures if str(atoms.symbols) == formula)


def print_timings(timings: dict[str, Timing], base: str):
    rows = [
        [
            name,
            milliseconds(timing.best),
            milliseconds(timing.median),
            milliseconds(timing.best_cpu),
            f"{timing.best / timings[base].best:.2f}",
            f"{timing.best_cpu / timings[base].best_cpu:.2f}",
        ]
        for name, timing in timings.items()
    ]
    header = ["", "best (ms)", "median (ms)", "best CPU (ms)", f"best / {base}", f"CPU / {base}"]
    print(table(header, rows))


# -- resolution ----------------------------------------------------------------------------------


def deviations(features, reference, table):
    """Return relative deviations of the first- and second-order features, per order."""
    with np.errstate(invalid="ignore"):  # channels without any of a molecule's elements are zero
        relative = np.abs(features - reference) / np.abs(reference)
    return {order: relative[:, (table["order"] == order).to_numpy()] for order in (1, 2)}


def part_resolution(structures, quick):
    n_scales = 3 if quick else 5
    chosen = spread(structures, 2 if quick else 4)
    full = 2.0 ** (n_scales - 1)
    rivals = {
        "multi-resolution": {},
        "oversampling 2": {"oversampling": 2.0},
        "full resolution": {"oversampling": full},
    }
    models = {
        name: fitted(structures, n_scales=n_scales, **given) for name, given in rivals.items()
    }
    spacing = next(iter(models.values())).spacing_
    # Half the voxel size, at full resolution: J + 1 doublings above the multi-resolution grids.
    converged = fitted(
        structures, n_scales=n_scales, spacing=spacing / 2, oversampling=full, dtype="float64"
    ).transform(chosen)
    atoms = chosen[0]
    timings = alternate(
        {name: partial(model.transform, [atoms]) for name, model in models.items()},
        3 if quick else 10,
    )
    rows = []
    for name, model in models.items():
        found = deviations(model.transform(chosen), converged, model.feature_table_)
        rows.append(
            [
                name,
                milliseconds(timings[name].best),
                f"{timings[name].best_cpu / timings['multi-resolution'].best_cpu:.1f}",
                *(
                    f"{statistic(found[order]):.1e}"
                    for order in (1, 2)
                    for statistic in (np.median, np.max)
                ),
            ]
        )
    compositions = ", ".join(str(a.symbols) for a in chosen)
    print(f"Relative deviations over {compositions}; times of the first.\n")
    header = ["grids", "best (ms)", "CPU ratio"]
    header += [f"{what}, order {order}" for order in (1, 2) for what in ("median", "largest")]
    print(table(header, rows))


def spread(structures, count):
    """Return structures spread evenly over the list, which goes through all compositions."""
    return [structures[i] for i in np.linspace(0, len(structures) - 1, count).astype(int)]


# -- scaling -------------------------------------------------------------------------------------


def part_scaling(structures, quick):
    scattering = fitted(structures, n_scales=3)
    tilings = [(1, 1, 1), (2, 1, 1), (2, 2, 1), (2, 2, 2)]
    if not quick:
        tilings += [(3, 2, 2), (3, 3, 2), (3, 3, 3)]
    atoms = cell_of("Li19Si47", structures)
    rows, sizes, seconds = [], [], []
    for tiling in tilings:
        tiled = atoms.repeat(tiling)
        timing = alternate({"": partial(scattering.transform, [tiled])}, 3)[""]
        (structure,) = scattering._check([tiled])
        evaluator = scattering._evaluator
        memory = evaluator.memory(structure)
        sizes.append(len(tiled))
        seconds.append(timing.best_cpu)
        rows.append(
            [
                len(tiled),
                "x".join(map(str, grid_shapes(scattering, tiled)[0])),
                f"{timing.best:.3f}",
                f"{timing.best_cpu:.3f}",
                f"{1e3 * timing.best_cpu / len(tiled):.2f}",
                f"{memory / 2**20:.0f}",
            ]
        )
    header = ["atoms", "grid", "best (s)", "best CPU (s)", "CPU per atom (ms)", "memory (MiB)"]
    print(table(header, rows))
    exponent = np.polyfit(np.log(sizes), np.log(seconds), 1)[0]
    print(f"\nTime grows as N^{exponent:.2f}; memory as estimated before anything is allocated.")


# -- jobs ----------------------------------------------------------------------------------------


def part_jobs(structures, quick):
    chosen = spread(structures, 16 if quick else 100)
    models = {
        f"n_jobs={n}": fitted(structures, n_scales=3 if quick else 5, n_jobs=n) for n in (1, 2)
    }
    timings = alternate(
        {name: partial(model.transform, chosen) for name, model in models.items()},
        2 if quick else 3,
    )
    one = timings["n_jobs=1"].best
    rows = [
        [name, f"{timing.best:.2f}", f"{timing.median:.2f}", f"{one / timing.best:.2f}"]
        for name, timing in timings.items()
    ]
    print(f"{len(chosen)} structures of all compositions; the processes have started before.\n")
    print(table(["", "best (s)", "median (s)", "speed-up"], rows))


# -- cells ---------------------------------------------------------------------------------------


def part_cells(structures, quick):
    scattering = fitted(structures, n_scales=3 if quick else 5)
    atoms = cell_of("Li19Si47", structures)
    count = 4 if quick else 12
    same = [atoms] * count
    different = []
    for k in range(count):
        scaled = atoms.copy()
        # Other lengths and angles, the same grids.
        scaled.set_cell(atoms.cell * (1 - 1e-4 * k) + 1e-3 * k * np.eye(3, k=1), scale_atoms=True)
        different.append(scaled)
    assert len({grid_shapes(scattering, a) for a in different}) == 1
    timings = alternate(
        {
            "one cell": partial(scattering.transform, same),
            "all cells differ": partial(scattering.transform, different),
        },
        5 if quick else 20,
    )
    print(f"{count} structures; the FFT plans exist.\n")
    print_timings(timings, "one cell")


# -- plans ---------------------------------------------------------------------------------------


def part_plans(structures, quick):
    ways = {
        f"{kind}, {name}": {"packed": kind == "packed", "flag": flag}
        for kind in ("real", "packed")
        for name, flag in (("measured", "FFTW_MEASURE"), ("thorough", "FFTW_PATIENT"))
    }
    rows = []
    for shape in ((30, 30, 30), (36, 36, 36), (48, 48, 48), (56, 56, 56))[: 1 if quick else 4]:
        runs, seconds = {}, {}
        for name, way in ways.items():
            pyfftw.forget_wisdom()
            start = time.process_time()
            execute = bare_transforms(shape, "to space", 1, **way)
            runs[name], seconds[name] = partial(repeated, execute, 24), time.process_time() - start
        timings = alternate(runs, 5 if quick else 20)
        for name in ways:
            each = f"{1e6 * timings[name].best_cpu / 24:.0f}"
            rows.append(["x".join(map(str, shape)), name, each, f"{seconds[name]:.1f}"])
    print(table(["grid", "transform", "CPU µs per map", "CPU s to plan"], rows))


# -- molecules -----------------------------------------------------------------------------------


def part_molecules(structures, quick):
    atoms = [molecule(name) for name in (MOLECULES[:1] if quick else MOLECULES)]
    scattering = VoxelScattering().fit([molecule(name) for name in MOLECULES])
    evaluator = scattering._evaluator
    boxed, rows = [], []
    for molecular in atoms:
        (structure,) = scattering._check([molecular])
        grid = evaluator.grid(structure)
        boxed.append(molecular.copy())
        boxed[-1].cell, boxed[-1].pbc = grid.cells[-1], True
        shapes = ", ".join("x".join(map(str, shape)) for shape in grid.shapes)
        rows.append([str(molecular.symbols), shapes])
    print(table(["molecule", "grids"], rows), "\n")
    own, one = scattering.transform(atoms), scattering.transform(boxed)
    relative = deviations(own, one, scattering.feature_table_)
    rows = [
        [order, f"{np.median(found):.1e}", f"{np.quantile(found, 0.99):.1e}"]
        for order, found in ((k, v[np.isfinite(v)]) for k, v in relative.items())
    ]
    print(table(["order", "median deviation", "99 %"], rows), "\n")
    timings = alternate(
        {
            "a box per scale": partial(scattering.transform, atoms),
            "one box": partial(scattering.transform, boxed),
        },
        1 if quick else 3,
    )
    print(f"{len(atoms)} molecules, {scattering.n_features_out_} features each\n")
    print_timings(timings, "one box")


def main():
    args = arguments(__doc__, quick={}, parts=PARTS)
    structures = load_lisi().structures
    print(machine("numpy", "pyFFTW"))
    for part in args.parts:
        print(f"\n## {part}\n", flush=True)
        globals()[f"part_{part}"](structures, args.quick)


if __name__ == "__main__":
    main()
