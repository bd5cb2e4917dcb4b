"""Normal modes and torsions of ethanol by a potential, beside those of its labels' method.

    python benchmarks/accuracy/molecule_properties.py --data DIR --cache DIR
    python benchmarks/accuracy/molecule_properties.py --data DIR --cache DIR --quick

``EnergyForceRegressor()``, without standard deviations, is fitted to training structures of revised
MD17 (split 01). The reference is PBE/def2-SVP, the method of the labels, by PySCF: it comes with
the repository, ``benchmarks/data/label_ethanol.py`` makes it, and PySCF is not needed here.

Normal modes are those at the minimum of either method; ours is relaxed from the reference's.
Frequencies are compared in increasing order.

Torsions are rigid: at the very same geometries, the reference's minimum with one group turned.
Energies are above that of the minimum, where the hydroxyl is opposite to the methyl group (C-C-O-H
is 180 degrees) and the methyl group staggered (O-C-C-H is 60). The training structures are of
dynamics at 500 K: beside every angle stands how many of them are nearer to it than to the others
(mirror images, and thirds of a turn of the methyl group, are the same).

Cost: 3 min; --quick 20 s.
"""

import sys
from pathlib import Path

import numpy as np
from ase import Atoms, units

from skwavelet import EnergyForceRegressor, RidgePath, ScatteringCalculator
from skwavelet.properties import normal_mode_frequencies, relaxed

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common.command import arguments
from common.data import ETHANOL, rmd17_parts
from common.table import Table
from common.timing import machine

FMAX = 1e-3
# Atoms of ethanol in the set that span each angle, and after how many degrees it is the same.
CHAINS = {"hydroxyl": ((1, 0, 2, 8), 360), "methyl": ((2, 0, 1, 5), 120)}
ZERO_POINT = 0.5e3 * 100 * units._hplanck * units._c / units._e  # meV of one 1/cm


def fitted(X, energies, forces, cache):
    """Return the calculator of a potential."""
    model = EnergyForceRegressor(regressor=RidgePath(members=False), random_state=0)

    def compute():
        return model.fit(X, energies, forces=forces)

    return ScatteringCalculator(cache.get("molecule-fit", compute, model, X, energies, forces))


def folded(angles, period):
    """Return angles (degrees) less whole periods, without sign."""
    return np.abs((np.asarray(angles) + period / 2) % period - period / 2)


def modes(reference, calculator):
    """Print the frequencies of both methods."""
    atoms = Atoms(reference["numbers"], reference["positions"])
    found = normal_mode_frequencies(atoms, calculator, fmax=FMAX)
    known = reference["frequencies"]
    ours = relaxed(atoms, calculator, cell=False, fmax=FMAX).get_all_distances()
    print(
        f"\nAt the minima, distances of atoms differ by up to "
        f"{np.abs(ours - atoms.get_all_distances()).max():.4f} Å, frequencies by "
        f"{np.abs(found - known).mean():.1f} on average and {np.abs(found - known).max():.1f}/cm "
        f"at most, zero-point energies by {ZERO_POINT * (found - known).sum():.1f} of "
        f"{ZERO_POINT * known.sum():.0f} meV\n"
    )
    table = Table(["1/cm", "PBE/def2-SVP", "model", "difference"], digits=1)
    for number, (ours, theirs) in enumerate(zip(found, known, strict=True), 1):
        table.add(number, f"{theirs:.0f}", f"{ours:.0f}", f"{ours - theirs:+.1f}")


def torsions(reference, calculator, frames):
    """Print the energies of both methods while groups of ethanol are turned."""
    numbers = reference["numbers"]

    def energy(positions):
        return calculator.get_potential_energy(Atoms(numbers, positions))

    at_minimum = energy(reference["positions"])
    for group, (chain, period) in CHAINS.items():
        angles = folded(180 - reference[group], period)
        seen = folded([atoms.get_dihedral(*chain) for atoms in frames], period)
        nearest = np.abs(seen[:, None] - angles).argmin(axis=1)
        print()
        table = Table([f"{group}, °", "training", "PBE/def2-SVP, meV", "model", "difference"])
        rows = zip(
            angles, reference[f"{group}_positions"], reference[f"{group}_energy"], strict=True
        )
        for number, (angle, positions, known) in enumerate(rows):
            above = energy(positions) - at_minimum
            near = int((nearest == number).sum())
            shown = [f"{1e3 * value:z.1f}" for value in (known, above, above - known)]
            table.add(f"{angle:.0f}", near, *shown)


def main():
    options = arguments(__doc__, data="needed", cache=True, quick={"train": 60}, train=1000)
    with np.load(ETHANOL) as archive:
        reference = dict(archive)
    train, _ = rmd17_parts(options.data, "ethanol", options.train)
    print(machine("numpy", "ase"))
    calculator = fitted(*train, options.cache)
    modes(reference, calculator)
    torsions(reference, calculator, train[0])
    print(
        f"\nLabels of {len(reference['frames'])} frames deviate from the reference by up to "
        f"{1e3 * np.abs(reference['energy_deviation']).max():.3f} meV (a constant apart) and "
        f"{1e3 * reference['force_deviation']:.2f} meV/Å."
    )


if __name__ == "__main__":
    main()
