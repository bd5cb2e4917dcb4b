"""Diffusion of lithium in amorphous Li-Si by dynamics with a potential."""

import numpy as np
from ase import units
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from potentials import FORCES, label_calculator
from titled import Titled

TEMPERATURES = (800, 1200)
RUNS = 3
TIMESTEP = 2.0  # fs
FRICTION = 0.001 / units.fs  # a picosecond: diffusion is that of Newton's equations
WARMING = 1.0  # ps, not counted
KEPT = 25  # a structure of every so many steps is kept


def start(potentials):
    """Return the last frame of the unseen path whose composition is nearest to LiSi."""
    paths = potentials.parts["paths"]
    last = [i for i in np.flatnonzero(potentials.unseen) if paths.structures[i].info["step"] == 55]
    return paths.structures[
        min(last, key=lambda i: (abs(np.mean(paths.structures[i].numbers == 3) - 0.5), i))
    ].copy()


def trajectory(potentials, name, temperature, seed, duration):
    """Return positions (n_kept, N, 3) of a run, and what ended it early."""
    atoms = start(potentials)
    atoms.calc = potentials.calculator(name)
    rng = np.random.default_rng(seed)
    MaxwellBoltzmannDistribution(atoms, temperature_K=temperature, rng=rng)
    run = Langevin(
        atoms, TIMESTEP * units.fs, temperature_K=temperature, friction=FRICTION, rng=rng
    )
    kept, warm, reason = [], [], ""
    n_steps = round(1e3 * (WARMING + duration) / TIMESTEP)
    try:
        for step, _ in enumerate(run.irun(n_steps)):
            if step * TIMESTEP >= 1e3 * WARMING and step % KEPT == 0:
                kept.append(atoms.get_positions())
                warm.append(atoms.get_temperature())
    except ValueError as error:
        reason = str(error)
    return {"positions": np.array(kept), "temperature": np.mean(warm), "reason": reason}


def stored(potentials, temperature, seed, duration):
    """Return the stored run."""
    return potentials.result(
        "dynamics",
        lambda: trajectory(potentials, FORCES, temperature, seed, duration),
        FORCES,
        temperature,
        seed,
        duration,
        code=["diffusion"],
    )


def mean_square(positions, mobile, masses):
    """Return the mean square displacement (Å²) of some atoms against the lag, over all origins."""
    centred = positions - np.average(positions, axis=1, weights=masses)[:, None]
    moved = centred[:, mobile]
    lags = np.arange(len(moved))
    return np.array(
        [np.square(moved[lag:] - moved[: len(moved) - lag]).sum(-1).mean() for lag in lags]
    )


def coefficient(square, interval):
    """Return D (Å²/ps) from the slope of the mean square displacement in its second quarter.

    Earlier displacements are of atoms in their cages, later ones have few origins.
    """
    window = slice(len(square) // 4, len(square) // 2)
    times = interval * np.arange(len(square))
    return np.polyfit(times[window], square[window], 1)[0] / 6


def table(potentials, duration):
    """Return the table of diffusion coefficients."""
    atoms = start(potentials)
    lithium = np.flatnonzero(atoms.numbers == 3)
    made = Titled(
        "diffusion",
        "Diffusion of lithium by dynamics",
        f"{atoms.info['composition']}, {len(atoms)} atoms, from the end of an unseen path at its "
        f"cell; the potential trained on '{FORCES}'. {RUNS} runs of {duration:g} ps (steps of "
        f"{TIMESTEP:g} fs) after {WARMING:g} ps at the temperature, Langevin with 1 ps. "
        "D: slope of the mean square displacement from a quarter to a half of the time, over "
        "six, mean of the runs ± its standard error. Displacement: root mean square at "
        "half of the time, Å. Forces: of the potential against the labels' on four structures of "
        "each run, root mean square, eV/Å.",
        digits=3,
    )
    calculator = label_calculator()
    for temperature in TEMPERATURES:
        runs = [stored(potentials, temperature, seed, duration) for seed in range(RUNS)]
        whole = [run for run in runs if not run["reason"]]
        interval = KEPT * TIMESTEP * 1e-3
        squares = [mean_square(run["positions"], lithium, atoms.get_masses()) for run in whole]
        found = np.array([coefficient(square, interval) for square in squares])
        silicon = np.array(
            [
                coefficient(
                    mean_square(run["positions"], atoms.numbers == 14, atoms.get_masses()),
                    interval,
                )
                for run in whole
            ]
        )

        def forces(runs=whole, seed=temperature):
            errors = []
            for run in runs:
                for positions in run["positions"][:: max(1, len(run["positions"]) // 4)][:4]:
                    structure = atoms.copy()
                    structure.positions = positions
                    structure.calc = calculator
                    expected = structure.get_forces()
                    structure.calc = potentials.calculator(FORCES)
                    errors.append(structure.get_forces() - expected)
            return float(np.sqrt(np.mean(np.square(errors))))

        made.add(
            {
                "wanted temperature, K": temperature,
                "temperature, K": float(np.mean([run["temperature"] for run in whole])),
                "runs": f"{len(whole)} of {RUNS}",
                "D of Li, Å²/ps (10⁻⁴ cm²/s)": _mean_and_error(found),
                "D of Si": _mean_and_error(silicon),
                "displacement of Li, Å": float(
                    np.mean([np.sqrt(square[len(square) // 2]) for square in squares])
                ),
                "error of forces": np.nan
                if calculator is None
                else potentials.result(
                    "dynamics-forces", forces, FORCES, temperature, duration, code=["diffusion"]
                ),
            }
        )
    return made


def _mean_and_error(values):
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))
