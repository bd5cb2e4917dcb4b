"""Structures that LAMMPS computes on any number of ranks, and what it finds.

As a script, ``lammps_runs.py DIRECTORY MODEL-CASE...`` runs under mpiexec and writes one file per
case; `results` starts it.
"""

import os
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
from ase import Atoms
from ase.build import bulk, fcc111
from ase.io import write

ELEMENTS = ("Au", "Cu")
MPIEXEC = Path(sys.executable).parent / "mpiexec"


def rattled(atoms, seed=0):
    atoms.rattle(0.08, seed=seed)
    return atoms


def alloy(shape):
    atoms = bulk("Cu", a=3.8, cubic=True).repeat(shape)
    atoms.symbols[np.random.default_rng(0).random(len(atoms)) < 0.4] = "Au"
    return rattled(atoms)


def surface():
    atoms = fcc111("Cu", (4, 4, 3), a=3.65, vacuum=9.0, orthogonal=True)
    atoms.pbc = (True, True, False)
    return rattled(atoms)


def triclinic():
    atoms = alloy((3, 2, 2))
    cell = atoms.cell.array
    cell[1, 0], cell[2, 0], cell[2, 1] = 1.1, -0.7, 0.9
    atoms.set_cell(cell, scale_atoms=True)
    return atoms


def half_empty():
    """All atoms on one of two ranks."""
    atoms = alloy((2, 2, 2))
    atoms.cell[0, 0] = 60.0
    return atoms


# Structures, what prepares a run, and the run before energies are compared.
CASES = {
    "crystal": (lambda: rattled(bulk("Cu", a=3.65, cubic=True)), "", "run 0"),
    "alloy": (lambda: alloy((3, 2, 2)), "", "run 0"),
    "surface": (surface, "", "run 0"),
    "triclinic": (triclinic, "", "run 0"),
    "half_empty": (half_empty, "", "run 0"),
    # Fast enough for atoms to cross the boundaries of ranks and of the box.
    "hot": (
        lambda: alloy((3, 2, 2)),
        "velocity all create 1000 1 mom yes rot no\nvelocity all set 60 20 0 sum yes\n"
        "timestep 0.001\nfix 1 all nve",
        "run 80",
    ),
    "pressed": (
        lambda: alloy((3, 2, 2)),
        "velocity all create 600 1\ntimestep 0.002\nfix 1 all npt temp 600 600 0.1 aniso 0 0 0.5",
        "run 20",
    ),
    "relaxed": (
        lambda: alloy((3, 2, 2)),
        "fix 1 all box/relax iso 0.0",
        "minimize 1e-8 1e-5 4 20",
    ),
}


def start(atoms, file):
    """Return LAMMPS with a structure in it."""
    from lammps import lammps

    lmp = lammps(cmdargs=["-log", "none", "-screen", "none"])
    if lmp.extract_setting("world_rank") == 0:
        # Where mpi4py is loaded, ASE takes writing for something that all ranks do together.
        write(file, atoms, "lammps-data", False, specorder=list(ELEMENTS), masses=True)
    if (comm := lmp.get_mpi_comm()) is not None:
        comm.barrier()
    boundary = " ".join("p" if periodic else "f" for periodic in atoms.pbc)
    lmp.commands_string(
        f"units metal\nboundary {boundary}\natom_modify map yes\nread_data {file}\n"
    )
    return lmp


def state(lmp):
    """Return what LAMMPS has computed, by atoms in the order of their tags."""
    low, high, xy, yz, xz, *_ = lmp.extract_box()
    lx, ly, lz = np.subtract(high, low)
    n = lmp.get_natoms()
    pressure = np.array(lmp.numpy.extract_compute("virial", 0, 1)[:6])
    found = {
        "positions": np.array(lmp.gather_atoms("x", 1, 3)).reshape(n, 3),
        "types": np.array(lmp.gather_atoms("type", 0, 1)),
        "forces": np.array(lmp.gather_atoms("f", 1, 3)).reshape(n, 3),
        "cell": np.array([[lx, 0, 0], [xy, ly, 0], [xz, yz, lz]]),
        "energy": lmp.get_thermo("pe"),
        "total": lmp.get_thermo("etotal"),
        "kinetic": lmp.get_thermo("ke"),
        "moved": lmp.get_thermo("nbuild"),
        # eV/Å³, order xx, yy, zz, yz, xz, xy instead of xx, yy, zz, xy, xz, yz.
        "pressure": pressure[[0, 1, 2, 5, 4, 3]] / lmp.extract_global("nktv2p"),
    }
    if lmp.has_id("fix", "skwavelet_std"):
        found["energy_std"] = lmp.extract_fix("skwavelet", 0, 1, 0)
        found["forces_std"] = np.array(lmp.gather("d2_forces_std", 1, 3)).reshape(n, 3)
    for name, columns in (("pe", 1), ("stress", 6)):
        if lmp.has_id("compute", name):
            found[name] = np.array(lmp.gather("c_" + name, 1, columns)).reshape(n, -1)
    return found


def load(directory, kind):
    from skwavelet import load_model

    file = directory / f"{kind}.skops"
    return load_model(file) if file.exists() else joblib.load(file.with_suffix(".joblib"))


def run(directory, names):
    from skwavelet.lammps import couple

    for name in names:
        kind, case = name.split("-")
        make, prepare, commands = CASES[case]
        atoms = make()
        lmp = start(atoms, directory / f"{name}.data")
        static = commands == "run 0"
        std = 8 * (kind in ("ensemble", "network"))
        couple(lmp, load(directory, kind), ELEMENTS, per_atom=static, std=std)
        # LAMMPS computes virials, and values of atoms, at steps of output that ask for them.
        columns = "step temp pe ke etotal press nbuild"
        lmp.command("compute virial all pressure NULL virial")
        if static:
            lmp.commands_string("compute pe all pe/atom\ncompute stress all stress/atom NULL")
            lmp.command("compute sum all reduce sum c_pe c_stress[1]")
            columns += " c_sum[1] c_sum[2]"
        lmp.commands_string(f"thermo_style custom {columns}\n{prepare}\nrun 0\n")
        found = {"pbc": atoms.pbc, "first": lmp.get_thermo("etotal")}
        lmp.command(commands)
        found |= state(lmp)
        if lmp.extract_setting("world_rank") == 0:
            np.savez(directory / f"{name}.npz", **found)
        lmp.close()
    fail(directory, load(directory, "point"))
    go_stale(directory, load(directory, "point"))


def fail(directory, model):
    """Put two atoms on top of each other in a run, catch the error, and go on."""
    from skwavelet.lammps import couple

    atoms = alloy((3, 2, 2))
    lmp = start(atoms, directory / "failing.data")
    couple(lmp, model, ELEMENTS)
    lmp.commands_string("fix 1 all nve\nrun 1\ngroup one id 1")
    good = lmp.get_thermo("pe")
    x, y, z = atoms.get_distance(0, 1, vector=True) - [0.3, 0, 0]
    lmp.command(f"displace_atoms one move {x} {y} {z}")
    text = "nothing"
    try:
        lmp.commands_string("run 5")
    except (RuntimeError, ValueError) as error:
        text = str(error)
    lmp.commands_string(f"displace_atoms one move {-x} {-y} {-z}\nrun 3")
    if abs(lmp.get_thermo("pe") - good) < 1 and lmp.extract_global("ntimestep") >= 4:
        text += "\nwent on"
    (directory / f"failing{lmp.extract_setting('world_rank')}.txt").write_text(text)
    lmp.close()


def go_stale(directory, model):
    """Fly far without new neighbour lists."""
    from skwavelet.lammps import couple

    lmp = start(alloy((3, 2, 2)), directory / "stale.data")
    couple(lmp, model, ELEMENTS)
    text = ""
    try:
        lmp.commands_string(
            "velocity all set 100 0 0\nneigh_modify delay 1000\nfix 1 all nve\nrun 15"
        )
    except (RuntimeError, ValueError) as error:
        text = str(error)
    (directory / f"stale{lmp.extract_setting('world_rank')}.txt").write_text(text)
    lmp.close()


def results(directory, n_ranks, names):
    """Run "model-case" of each name, where model.skops is in a directory.

    Returns {name: (ase.Atoms as they are in the end, what LAMMPS has found)}.
    """
    launcher = [] if n_ranks == 1 else [MPIEXEC, "-n", n_ranks]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*map(str, [*launcher, sys.executable, __file__, directory, *names])],
        capture_output=True,
        text=True,
        timeout=300,
        env=environment,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = {}
    for name in names:
        values = dict(np.load(Path(directory) / f"{name}.npz"))
        symbols = np.array(ELEMENTS)[values["types"] - 1]
        cell, pbc = values["cell"], values["pbc"]
        found[name] = Atoms(symbols, values["positions"], cell=cell, pbc=pbc), values
    return found


if __name__ == "__main__":
    run(Path(sys.argv[1]), sys.argv[2:])
