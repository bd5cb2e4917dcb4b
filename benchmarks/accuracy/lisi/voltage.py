"""Voltage of lithiation from energies of structures that no potential has seen."""

from itertools import pairwise

import numpy as np
from potentials import RECIPES
from relaxations import relaxed
from titled import Titled

# Of body-centred lithium by CHGNet v0.3.0, cell relaxed (its volume: 19.84 Å³ an atom).
LITHIUM = -1.8803  # eV/atom
EDGES = (0.1, 0.5, 1.0, 1.75, 2.5, 3.25, 3.75)


def per_silicon(potentials, energies):
    """Return α = Li/Si and the energy per silicon atom (eV), the mean over paths, sorted by α.

    ``energies`` (eV/atom) has one entry for each path, by name.
    """
    paths = potentials.parts["paths"]
    rows = {}
    for path, energy in energies.items():
        atoms = paths.structures[np.flatnonzero(paths.parents == path)[0]]
        n_silicon = np.sum(atoms.numbers == 14)
        alpha = np.sum(atoms.numbers == 3) / n_silicon
        rows.setdefault(round(alpha, 6), []).append(energy * len(atoms) / n_silicon)
    alpha = np.array(sorted(rows))
    return alpha, np.array([np.mean(rows[a]) for a in alpha])


def voltages(alpha, energy):
    """Return the mean voltage (V) between the `EDGES`, from a cubic fitted to the energies.

    V = -(dE/dα - E(Li)), E per silicon atom.
    """
    curve = np.polynomial.Polynomial.fit(alpha, energy, 3)
    at = curve(np.array(EDGES))
    return LITHIUM - np.diff(at) / np.diff(EDGES)


def table(potentials):
    """Return the table of voltages."""
    made = Titled(
        "voltage",
        "Voltage against lithium, from unseen structures",
        "V = E(Li) - dE/dα, from a cubic fitted to energies per silicon atom against α = Li/Si: "
        "the mean over two structures of each of 37 compositions, each relaxed from the first "
        "frame of an unseen path by the potential itself. Mean over intervals of α, V. Energies, "
        "no free energies; cells of volumes that were prescribed, not relaxed.",
        digits=3,
    )
    paths = potentials.parts["paths"]
    names = np.unique(paths.parents[potentials.unseen]).tolist()
    last = {path: np.flatnonzero(paths.parents == path)[-1] for path in names}
    reference = voltages(
        *per_silicon(potentials, {path: paths.energies[last[path]] for path in names})
    )
    header = [f"α {a:g} to {b:g}" for a, b in pairwise(EDGES)]

    def add(name, found):
        row = {"trained on": name} | dict(zip(header, map(float, found), strict=True))
        made.add(row | {"mean absolute error": float(np.abs(found - reference).mean())})

    add("(labels)", reference)
    for name in RECIPES:
        runs = relaxed(potentials, name)
        ends = {path: run["energies"][-1] for path, run in runs.items() if not run["reason"]}
        add(name, voltages(*per_silicon(potentials, ends)))
    return made
