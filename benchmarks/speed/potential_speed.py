"""Time a step of dynamics with an ensemble of linear models, and a fit to all forces of silicon.

    python benchmarks/speed/potential_speed.py --data DIR [dynamics fit]  # all or some
    python benchmarks/speed/potential_speed.py --data DIR --quick         # one cell, 40 structures

dynamics: CPU time per atom of a step of a `ScatteringCalculator` with 20 bags of Li-Si (labels of
CHGNet v0.3.0, every fifth packaged structure, forces along two directions), in tilings of a cell of
76 atoms that move between steps: energy and forces, and the standard deviation of the energy, too.
fit: CPU time of `EnergyForceRegressor` on about 1,000 features and all forces of the training part
of silicon in DIR/mlearn (Zuo et al. 2020), rows and penalty included, and the most memory of this
process beyond what it had before.

Kernels are compiled before the clock starts. One thread.

Cost: 2 min.
"""

import sys
import time
from functools import partial
from pathlib import Path

import numpy as np

from skwavelet import (
    BaggedOLSEnsemble,
    EnergyForceRegressor,
    PointScattering,
    ScatteringCalculator,
)
from skwavelet.datasets import load_lisi

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common.command import arguments
from common.data import mlearn
from common.table import Table
from common.timing import alternate, machine, peak_memory

# Of one element, all channels are multiples of one.
SILICON = {"n": (1, 2, 3, 4, 5, 6), "max_l": 5, "scale_step": 0.25, "n_scales": 12}
REPRESENTATIONS = {
    "`PointScattering()`": PointScattering(),
    "– second order, octaves, n = 3": PointScattering(3, 2, scale_step=1, n_scales=2, order=2),
}


def step(atoms, rng, names):
    """Move the atoms a little and compute properties."""
    atoms.positions += rng.normal(scale=1e-3, size=atoms.positions.shape)
    for name in names:
        atoms.calc.get_property(name, atoms)


def dynamics(tilings, repeats):
    """Print the CPU time per atom of steps with 20 bags."""
    data = load_lisi()
    cell = next(atoms for atoms in data.structures if len(atoms) == 76)
    train, energies, forces = (x[::5] for x in (data.structures, data.energies, data.forces))
    table = Table(("", "atoms", "energy and forces, µs/atom", "and standard deviation"))
    for name, representation in REPRESENTATIONS.items():
        bags = BaggedOLSEnsemble(20, random_state=0)
        model = EnergyForceRegressor(representation, bags, n_directions=2, random_state=0)
        model.fit(train, energies, forces=forces)
        for tiling in tilings:
            atoms, rng = cell * tiling, np.random.default_rng(0)
            atoms.calc = ScatteringCalculator(model)
            times = alternate(
                {
                    "forces": partial(step, atoms, rng, ("energy", "forces")),
                    "spread": partial(step, atoms, rng, ("energy", "forces", "energy_std")),
                },
                repeats,
            )
            best = (1e6 * timing.best_cpu / len(atoms) for timing in times.values())
            table.add(name, len(atoms), *best)


def fit(directory, most):
    """Print the CPU time and the memory of a fit to all forces."""
    (structures, energies, forces), test = mlearn(directory, "Si")
    features = PointScattering(channels=["number"], **SILICON)
    model = EnergyForceRegressor(features, random_state=0)
    model.fit(structures[:2], energies[:2], forces=forces[:2])
    before, start = peak_memory(), time.process_time()
    part = slice(0, most)
    model.fit(structures[part], energies[part], forces=forces[part])
    seconds, memory = time.process_time() - start, peak_memory() - before
    energy_error = np.abs(model.predict(test[0]) - test[1]).mean()
    predicted = np.concatenate(model.predict_forces(test[0]))
    force_error = np.abs(predicted - np.concatenate(test[2])).mean()
    table = Table(("features", "structures", "rows", "CPU s", "GB", "test, meV/atom", "eV/Å"))
    table.add(
        model.features_.n_features_out_, len(structures[part]), model.n_rows_, seconds,
        f"{memory:.2f}", 1e3 * energy_error, f"{force_error:.3f}",
    )  # fmt: skip


def main():
    options = arguments(__doc__, data="needed", quick={}, parts=("dynamics", "fit"))
    print(f"{machine('numpy', 'numba')}\n")
    if "fit" in options.parts:
        fit(options.data, 40 if options.quick else None)
        print()
    if "dynamics" in options.parts:
        dynamics([(1, 1, 1)] if options.quick else [(1, 1, 1), (4, 2, 2)], 5)


if __name__ == "__main__":
    main()
