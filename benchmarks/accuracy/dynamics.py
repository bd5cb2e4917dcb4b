"""Dynamics of silicon and lithium by fitted potentials, beside that of their labels.

    python benchmarks/accuracy/dynamics.py --data DIR --cache DIR
    python benchmarks/accuracy/dynamics.py --quick --data DIR --cache DIR

DIR/mlearn: the sets of Zuo et al. 2020 (PBE) have frames of dynamics by their labels' own method:
crystals at the volume of the ground state, at several temperatures, some of which melt them. They
are the lines "labels", training structures among them. The models (``--only``, of
`common.potentials`) are fitted to the training structures, and start from the perfect crystal at
the same volume: --duration picoseconds with a Langevin thermostat (0.01 per fs, steps of 2 fs),
whose first quarter does not count, then a quarter as long without thermostat.

Of both: the energy above the crystal, the pressure without that of moving atoms, the closest pair
in any frame, and the radial distribution function g(r): its first maximum, and how far g of the
model is from that of the labels, on average over r from 0 to 6 Å in bins of 0.1 Å. In brackets
there is how far as many frames of the model's own run are from all of it: what is that near cannot
be told apart. Of the model, there is how fast the total energy drifts without thermostat. A run
whose forces are not finite stops the script.

Cost: 5 min; --quick 20 s.
"""

import sys
from pathlib import Path

import numpy as np
from ase import units
from ase.build import bulk
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution, Stationary
from ase.md.verlet import VelocityVerlet

from skwavelet.properties import PropertyError, radial_distribution

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common.command import arguments
from common.data import mlearn, mlearn_reference, mlearn_stress
from common.potentials import fitted
from common.table import Table
from common.timing import machine

CRYSTALS = {"Si": ("diamond", 2, (300, 1518, 2530)), "Li": ("bcc", 3, (300, 408, 907))}
TIMESTEP = 2 * units.fs
FRICTION = 0.01 / units.fs
KEPT = 50  # a frame of every so many steps is kept
R_MAX, BINS = 6.0, 60


def labelled(structures, temperature):
    """Return the frames of dynamics of the labels at the volume of the ground state."""
    end = f"AIMD NVT simulation for normal structure at {temperature} K"
    return [atoms for atoms in structures if atoms.info["description"].endswith(end)]


def pressure(stress):
    """Return a pressure (GPa) from a stress."""
    return -stress[:3].mean() / units.GPa


def run(crystal, calculator, temperature, duration):
    """Return frames, energies, pressures and temperatures of a run, and its drift."""
    atoms = crystal.copy()
    atoms.calc = calculator
    rng = np.random.default_rng(0)
    MaxwellBoltzmannDistribution(atoms, temperature_K=temperature, rng=rng)
    Stationary(atoms)
    thermostat = Langevin(
        atoms, TIMESTEP, temperature_K=temperature, friction=FRICTION, fixcm=False, rng=rng
    )
    steps, kept = round(duration * 1e3 * units.fs / TIMESTEP), []
    for step, _ in enumerate(thermostat.irun(steps)):
        if not np.isfinite(atoms.get_forces()).all():
            raise PropertyError(f"The forces are not finite after {step} steps of dynamics.")
        if step % KEPT == 0 and step >= steps // 4:
            numbers = atoms.get_potential_energy(), pressure(atoms.get_stress())
            kept.append((atoms.copy(), *numbers, atoms.get_temperature()))
    totals = []
    for _ in VelocityVerlet(atoms, TIMESTEP).irun(steps // 4):
        totals.append(atoms.get_total_energy() / len(atoms))
    times = np.arange(len(totals)) * TIMESTEP / (1e3 * units.fs)
    return (*zip(*kept, strict=True), np.polyfit(times, totals, 1)[0])


def closest(frames):
    """Return the least distance of two atoms in any frame."""
    return min(
        (distances + 100 * np.eye(len(distances))).min()
        for distances in (atoms.get_all_distances(mic=True) for atoms in frames)
    )


def distribution(frames):
    """Return g(r)."""
    return radial_distribution(frames, r_max=R_MAX, n_bins=BINS)[1]


def sampled(frames, number):
    """Return how far g of so many frames, evenly spaced, is from that of all, on average."""
    whole, stride = distribution(frames), max(len(frames) // number, 1)
    parts = [frames[first::stride] for first in range(stride)]
    return np.mean([np.abs(distribution(part) - whole).mean() for part in parts])


def compare(element, options):
    lattice, repeats, temperatures = CRYSTALS[element]
    train, test = mlearn(options.data, element)
    reference = mlearn_reference(options.data, element)
    stress = [mlearn_stress(atoms) for atoms in train[0]]
    cell = bulk(element, lattice, a=reference.lattice_constant, cubic=True)
    crystal = cell.repeat(repeats)
    fits = {
        name: options.cache.get(
            "dynamics-fit",
            lambda name=name: fitted(name, train, stress, options)[0],
            name,
            train,
            stress,
            options.directions,
            code=["common.potentials"],
        )
        for name in options.only
    }
    header = ["K", "mean K", "energy, meV/atom", "pressure, GPa", "closest pair, Å"]
    header += ["g: first maximum, Å", "height", "from the labels'", "drift, meV/atom/ps"]
    print()
    table = Table([element, *header])
    for temperature in temperatures[: options.most]:
        frames = labelled([*train[0], *test[0]], temperature)
        known = distribution(frames)
        energies = [
            atoms.get_potential_energy() / len(atoms) - reference.energy for atoms in frames
        ]
        pressures = [pressure(mlearn_stress(atoms)) for atoms in frames]
        name = f"labels, {len(frames)} frames"
        table.add(name, temperature, "-", *means(energies, pressures, frames), "-", "-")
        for name, calculator in fits.items():
            found, energies, pressures, heats, drift = options.cache.get(
                "dynamics",
                lambda calculator=calculator, kelvin=temperature: run(
                    crystal, calculator, kelvin, options.duration
                ),
                name, train, stress, options.directions, crystal, temperature, options.duration,
                code=["common.potentials"],
            )  # fmt: skip
            crystal.calc = calculator
            above = (np.array(energies) - crystal.get_potential_energy()) / len(crystal)
            apart = np.abs(distribution(found) - known).mean()
            shown = f"{apart:.3f} ({sampled(found, len(frames)):.3f})"
            cells = [f"{np.mean(heats):.0f}", *means(above, pressures, found), shown]
            table.add(name, temperature, *cells, f"{1e3 * drift:z.2f}")


def means(energies, pressures, frames):
    """Return the cells that labels and models share."""
    g = distribution(frames)
    peak = (np.argmax(g) + 0.5) * R_MAX / BINS
    cells = f"{1e3 * np.mean(energies):.0f}", f"{np.mean(pressures):.1f}"
    return [*cells, f"{closest(frames):.2f}", f"{peak:.2f}", f"{g.max():.2f}"]


def main():
    options = arguments(
        __doc__,
        data="needed",
        cache=True,
        quick={"elements": ["Li"], "directions": 4, "duration": 1.0, "most": 1},
        elements=("Si", "Li"),
        only=("defaults",),
        directions=24,
        duration=20.0,
        most=3,
    )
    print(machine("numpy", "ase"))
    for element in options.elements:
        compare(element, options)


if __name__ == "__main__":
    main()
