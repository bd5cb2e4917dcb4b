"""Train on up to 10^5 structures with forces in bounded memory: ``skwavelet fit`` in parts.

    python benchmarks/speed/large_sets.py [--counts 10000 100000]
    python benchmarks/speed/large_sets.py --quick

Structures are rattled cells of copper and gold with 2 to 8 atoms, at several volumes, with
energies and forces of a Lennard-Jones potential that ends smoothly at 5 Å. ``skwavelet fit``
learns from them with small first-order features, 20,000 atoms at a time, and validates on 1,000
others. Its CPU time and its peak memory are those of its process, all that it imports included; a
hundred structures show what of that is there in any case. Beside them stands what all rows of the
training set would take in memory, in single precision.

Structures are written in pieces, which are kept in the cache, as are the results: an interrupted
run goes on where it stopped.

Cost: 6 min.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from skwavelet.structures.checks import check_structures

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common.command import arguments
from common.table import Table
from common.timing import machine

PIECE = 5000
EPSILON, REACH = 0.4, 5.0
CODE = ("skwavelet.potentials.commands",)
SETTINGS = ["n=(1,2,3)", "max_l=2", "n_scales=3", "powers=(1,2)", 'channels="elements"']


def structure(seed):
    """Return a labelled cell of 2, 4 or 8 atoms."""
    rng = np.random.default_rng(seed)
    cell = bulk("Cu", a=rng.uniform(3.8, 4.3), cubic=True)
    pair = bulk("Cu", a=cell.cell[0, 0]).repeat((2, 1, 1))
    atoms = (pair, cell, cell.repeat((2, 1, 1)))[seed % 3]
    atoms.symbols[rng.random(len(atoms)) < 0.3] = "Au"
    atoms.rattle(rng.uniform(0.02, 0.12), rng=rng)
    energy, forces = lennard_jones(atoms)
    atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
    return atoms


def lennard_jones(atoms):
    """Return energy (eV) and forces (eV/Å): 4 ε ((σ/r)^12 - (σ/r)^6) (1 - (r/R)²)² of all pairs."""
    (checked,) = check_structures([atoms])
    i, j, vectors, r = checked.neighbors(REACH, "ijDd")
    radii = np.where(atoms.numbers == 79, 2.55, 2.3)
    power = (0.5 * (radii[i] + radii[j]) / r) ** 6
    end = 1 - (r / REACH) ** 2
    pair = 4 * EPSILON * (power**2 - power)
    slope = 24 * EPSILON * (power - 2 * power**2) / r * end**2 - 4 * pair * end * r / REACH**2
    pulls = vectors * (slope / r)[:, None]
    forces = np.zeros((len(atoms), 3))
    np.add.at(forces, i, pulls)
    return 0.5 * float((pair * end**2).sum()), forces


def structures(directory, name, count, first):
    """Return a file of so many structures; pieces of it that are there are not made again."""
    path = directory / f"{name}.xyz"
    if path.exists():
        return path
    pieces = []
    for start in range(first, first + count, PIECE):
        stop = min(start + PIECE, first + count)
        piece = directory / f"piece_{start}_{stop}.xyz"
        if not piece.exists():
            write(directory / "new.xyz", [structure(seed) for seed in range(start, stop)])
            os.replace(directory / "new.xyz", piece)
        pieces.append(piece)
    with open(directory / "new.xyz", "wb") as file:
        for piece in pieces:
            file.write(piece.read_bytes())
    os.replace(directory / "new.xyz", path)
    return path


def fit(train, valid, output):
    """Run ``skwavelet fit``; return its CPU time (s), peak memory (MiB) and what it wrote."""
    command = ["fit", train, "--valid", valid, "-o", output, "--overwrite", "--quiet"]
    for setting in SETTINGS:
        command += ["--set", f"features__{setting}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, "-m", "skwavelet", *map(str, command)],
                               env=environment, stdout=subprocess.DEVNULL)  # fmt: skip
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"skwavelet fit has failed on {train}")
    record = json.loads(output.with_suffix(".json").read_text())
    return {
        "cpu": usage.ru_utime + usage.ru_stime,
        "memory": usage.ru_maxrss / 1024,
        "chosen": record["chosen"],
        "errors": record["errors"]["validation"],
    }


def main():
    options = arguments(__doc__, cache=True, quick={"counts": [6000]}, counts=[10_000, 100_000])
    print(machine("numpy", "numba", "ase"))
    directory = options.cache.directory / "large_sets"
    directory.mkdir(parents=True, exist_ok=True)
    valid = structures(directory, "valid", 1000, 10**9)
    table = Table(
        ["structures", "atoms", "CPU, s", "peak memory, MiB", "rows, MiB",
         "energy MAE, meV/atom", "forces MAE, meV/Å"], digits=1
    )  # fmt: skip
    for count in (100, *options.counts):
        train = structures(directory, f"train_{count}", count, 0)
        model = directory / f"model_{count}.skops"

        def compute(train=train, model=model):
            return fit(train, valid, model)

        found = options.cache.get(f"large_sets_{count}", compute, SETTINGS, count, code=CODE)
        chosen, errors = found["chosen"], found["errors"]
        n_atoms = (chosen["rows"] - count) // 3
        table.add(
            count, n_atoms, found["cpu"], found["memory"],
            4 * chosen["rows"] * chosen["features"] / 2**20,
            1e3 * errors["energy"]["MAE"], 1e3 * errors["forces"]["MAE"],
        )  # fmt: skip


if __name__ == "__main__":
    main()
