"""Physical properties of potentials fitted to the mlearn elements, beside those of their labels.

    python benchmarks/accuracy/properties.py --data DIR --cache DIR
    python benchmarks/accuracy/properties.py --quick --data DIR --cache DIR

DIR/mlearn: the sets of Zuo et al. 2020 (PBE), one file per element, with their published split into
training and test structures. Every model of `common.potentials` is fitted to energies and forces
of the training structures (those with "stresses" in their name to stresses too). The first table
has errors of the test structures and costs, the second properties of the perfect crystal, the third
defects and dynamics. `skwavelet.properties` computes them, `PropertyError` is "-" with its reason
below.

The line "labels" is read from the labels of the same set, training structures among them: lattice
constant of the ground state, C11 and C12 from stresses of cells strained by the smallest strain
either way, C44 from the energies of the sheared ones, B = (C11 + 2 C12)/3, surface energies of two
relaxed slabs. Atoms of strained cells were not relaxed in this set ("clamped"): in diamond this
matters to C44, which therefore stands there twice; a third time it stands with strains of 2 %
instead of 0.5 %, from which it must not differ much. The labels know no vacancy at its minimum
and no phonons.

Surface energies are those of the two slabs of the set, relaxed by the model. Drift and stability
are of dynamics of cells of at least 10 Å: --duration picoseconds of it.

Penalties are those of least error in five folds of the training structures, whose energies and
forces count as in the fit.

The networks are trained for ``--minutes`` of CPU time each, and what was interrupted goes on where
it was: ``--elements Si --only network`` makes their rows alone.

Cost: 15 min, and ``--minutes`` for each network and element; --quick 30 s. Needs phonopy; pypolymlp
and the networks are left out where pypolymlp or torch is not installed.
"""

import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from ase.build import bulk

from skwavelet import properties
from skwavelet.properties import PropertyError

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common.command import arguments
from common.data import mlearn, mlearn_reference, mlearn_stress
from common.potentials import MODELS, QUICK, fitted
from common.table import Table
from common.timing import machine

LATTICES = {
    "Li": ("bcc", ("H", "N"), ("(1_1_0)", "(1_0_0)")),
    "Mo": ("bcc", ("H", "N"), ("(1_1_0)", "(1_0_0)")),
    "Cu": ("fcc", ("X", "L"), ("(1_1_1)", "(1_0_0)")),
    "Ni": ("fcc", ("X", "L"), ("(1_1_1)", "(1_0_0)")),
    "Si": ("diamond", ("X", "L"), ("(1_1_1)", "(1_0_0)_reconstructed")),
    "Ge": ("diamond", ("X", "L"), ("(1_1_1)", "(1_0_0)_reconstructed")),
}


class Reasons:
    """Values that may be missing, and why."""

    def __init__(self):
        self.lines = []

    def of(self, what, compute):
        """Return a value, or None where the potential has none."""
        try:
            return compute()
        except PropertyError as error:
            self.lines.append(f"{what}: {error}")
            return None


def text(value, digits):
    """Return what a cell shows: numbers, one or several."""
    if value is None:
        return "-"
    return " ".join(f"{part:.{digits}f}" for part in np.atleast_1d(value))


def levels(frequencies):
    """Return different frequencies, each once: degenerate ones agree but for rounding."""
    return frequencies[np.diff(frequencies, prepend=-np.inf) > 0.02]


def errors(calculator, test):
    """Return mean absolute errors of energies (meV/atom) and forces (eV/Å)."""
    energies, forces = [], []
    for atoms in test[0]:
        copy = atoms.copy()
        copy.calc = calculator
        forces.append(copy.get_forces())
        energies.append(copy.get_potential_energy() / len(copy))
    return (
        1e3 * np.abs(energies - test[1]).mean(),
        np.abs(np.concatenate(forces) - np.concatenate(test[2])).mean(),
    )


def microseconds(calculator, cell, repeats=50):
    """Return the CPU time of forces per atom (µs), in a cell of 10 Å: the least of some."""
    atoms = repeated(cell)
    atoms.calc = calculator
    atoms.get_forces()
    seconds = []
    for seed in range(repeats):
        atoms.rattle(0.01, seed=seed)
        start = time.process_time()
        atoms.get_forces()
        seconds.append(time.process_time() - start)
    return 1e6 * min(seconds) / len(atoms)


def repeated(cell):
    return cell.repeat(np.ceil(10 / np.linalg.norm(cell.cell.array, axis=1)).astype(int))


def of_the_crystal(calculator, cell, points, reasons):
    """Return lattice constant, elastic constants, bulk modulus and phonons of a model."""
    elastic, clamped, coarse = (
        reasons.of("elastic constants", lambda how=how: cubic(cell, calculator, **how))
        for how in ({}, {"relax_ions": False}, {"strain": 0.02})
    )
    special = cell.cell.bandpath(npoints=0).special_points
    phonons = reasons.of(
        "phonons",
        lambda: properties.phonon_frequencies(
            cell, calculator, {name: special[name] for name in points}, fmax=1e-3
        ),
    )
    return [
        text(reasons.of("a", lambda: properties.lattice_constant(cell, calculator, fmax=1e-3)), 3),
        *(text(elastic and elastic[i], 0) for i in range(3)),
        text(coarse and coarse.c44, 0),
        text(clamped and clamped.c44, 0),
        text(reasons.of("B", lambda: properties.bulk_modulus(cell, calculator, fmax=1e-3)), 0),
        *(text(phonons and levels(phonons[name]), 1) for name in points),
    ]


def cubic(cell, calculator, **how):
    """Return C11, C12 and C44 (GPa)."""
    tensor = properties.elastic_tensor(cell, calculator, fmax=1e-3, **how)
    try:
        return properties.cubic_constants(tensor)
    except ValueError as error:
        # Strained crystals relaxed to minima of another symmetry.
        raise PropertyError(str(error)) from error


def of_slab(calculator, cell, slab):
    """Return the energy (J/m²) of a slab of the set, relaxed by the model."""
    crystal = properties.relaxed(cell, calculator, fmax=1e-3)
    per_atom = crystal.get_potential_energy() / len(crystal)
    slab = properties.relaxed(slab, calculator, cell=False, fmax=0.02)
    return surface_energy(slab, slab.get_potential_energy(), per_atom)


def surface_energy(slab, energy, per_atom):
    area = np.linalg.norm(np.cross(slab.cell[0], slab.cell[1]))
    return (energy - len(slab) * per_atom) / (2 * area) * 16.02177


def of_the_rest(calculator, cell, slabs, reasons, duration):
    """Return vacancy energy, surface energies, drift and stability of a model."""
    vacancy = reasons.of(
        "vacancy",
        lambda: properties.vacancy_formation_energy(cell, calculator, fmax=0.01),
    )
    surfaces = [
        reasons.of(f"surface {name}", lambda slab=slab: of_slab(calculator, cell, slab))
        for name, slab in slabs.items()
    ]
    supercell = repeated(cell)
    settings = {"temperature": 300.0, "random_state": 0}
    drift = reasons.of(
        "drift",
        lambda: properties.energy_drift(supercell, calculator, duration=duration / 5, **settings),
    )
    run = properties.stability(supercell, calculator, duration=duration, timestep=2.0, **settings)
    if run.reason:
        reasons.lines.append(f"stability: {run.reason}")
    return [
        text(vacancy, 2),
        *(text(surface, 2) for surface in surfaces),
        text(drift, 2),
        f"{'' if run.intact else 'only '}{run.time:g}",
        text(run.displacement, 2),
    ]


# -- tables --------------------------------------------------------------------------------------


def compare(element, options):
    lattice, points, faces = LATTICES[element]
    train, test = mlearn(options.data, element)
    reference = mlearn_reference(options.data, element)
    slabs = {face: reference.slabs[face] for face in faces if face in reference.slabs}
    if options.quick:
        train = tuple(part[::2] for part in train)
        slabs = dict(list(slabs.items())[:1])
    stress = [mlearn_stress(atoms) for atoms in train[0]]
    cell = bulk(element, lattice, a=reference.lattice_constant)
    names = [name for name in options.only or MODELS if name in MODELS]
    for package, first in (("pypolymlp", "pypolymlp"), ("torch", "network")):
        if find_spec(package) is None and any(name.startswith(first) for name in names):
            print(f"\n{package} is not installed: models that need it are left out.")
            names = [name for name in names if not name.startswith(first)]
    rows = {}
    for name in names:
        # Every model is computed as a whole, so that the tables can be told apart afterwards.
        def compute(name=name):
            reasons = Reasons()
            calculator, size, seconds = fitted(name, train, stress, options)
            energy, force = errors(calculator, test)
            micros = microseconds(calculator, cell)
            costs = [size, f"{seconds:.1f}", f"{micros:.0f}", f"{energy:.2f}", f"{force:.4f}"]
            return (
                costs,
                of_the_crystal(calculator, cell, points, reasons),
                of_the_rest(calculator, cell, slabs, reasons, options.duration),
                reasons.lines,
            )

        settings = (MODELS[name](), name, train, test, stress, cell, slabs, options.duration)
        cost = [options.minutes if name.startswith("network") else options.directions]
        rows[name] = options.cache.get(
            "properties",
            compute,
            *settings,
            *cost,
            code=["common.potentials", "skwavelet.properties"],
        )
        print(f"{element}, {name}: done", file=sys.stderr, flush=True)
    print(f"\n{element}: {len(train[0])} training, {len(test[0])} test structures\n")
    costs = Table(
        [element, "parameters", "training, CPU s", "µs/atom", "energy, meV/atom", "force, eV/Å"]
    )
    for name, row in rows.items():
        costs.add(name, *row[0])
    print()
    crystal = Table(
        [element, "a, Å", "C11, GPa", "C12", "C44", "C44, strain 2 %", "C44 clamped", "B"]
        + [f"{point}, THz" for point in points]
    )
    c11, c12, c44 = reference.elastic
    same = text(c44, 0) if lattice != "diamond" else "-"
    crystal.add(
        "labels", text(reference.lattice_constant, 3), text(c11, 0), text(c12, 0), same, same,
        text(c44, 0), text((c11 + 2 * c12) / 3, 0), *["-"] * len(points),
    )  # fmt: skip
    for name, row in rows.items():
        crystal.add(name, *row[1])
    print()
    shown = [face.replace("_", "").replace("reconstructed", " rec.") for face in slabs]
    rest = Table(
        [
            element,
            "vacancy, eV",
            *(f"{face}, J/m²" for face in shown),
            "drift at 300 K, meV/atom/ps",
            f"of {options.duration:g} ps at 300 K",
            "displacement, Å",
        ]
    )
    known = [
        surface_energy(slab, slab.get_potential_energy(), reference.energy)
        for slab in slabs.values()
    ]
    rest.add("labels", "-", *(text(value, 2) for value in known), "-", "-", "-")
    for name, row in rows.items():
        rest.add(name, *row[2])
    for name, row in rows.items():
        for line in row[3]:
            print(f"\n{name}: {line}")


def main():
    options = arguments(
        __doc__,
        data="needed",
        cache=True,
        quick={"elements": ["Si"], "directions": 4, "duration": 0.5, "minutes": 0.2},
        elements=("Si", "Li"),
        only=(),
        directions=24,
        duration=5.0,
        minutes=15.0,
    )
    if options.quick:
        options.only = options.only or QUICK
    print(machine("numpy", "ase", "phonopy"))
    for element in options.elements:
        compare(element, options)


if __name__ == "__main__":
    main()
