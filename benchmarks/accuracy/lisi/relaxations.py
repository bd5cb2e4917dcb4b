"""Relaxing unseen paths from their first frames, beside the paths of the labels."""

import numpy as np
from ase.geometry import find_mic
from ase.optimize import LBFGS
from potentials import RECIPES, label_calculator
from titled import Titled

from skwavelet.properties import radial_distribution

# The labelled paths are this long too, with the same optimizer.
N_STEPS = 55
# Li/Si = 1.5, the fraction of lithium.
LITHIUM_RICH = 0.6
PAIRS = (("Li", "Li"), ("Li", "Si"), ("Si", "Si"))


def relax_all(potentials, name):
    """Return what the relaxations of all unseen paths come to, one dict per path."""
    paths = potentials.parts["paths"]
    calculator = potentials.calculator(name)
    found = {}
    for path in np.unique(paths.parents[potentials.unseen]):
        rows = np.flatnonzero(paths.parents == path)
        atoms = paths.structures[rows[0]].copy()
        atoms.calc = calculator
        energies, reason = [], ""
        try:
            for _ in LBFGS(atoms, logfile=None).irun(fmax=1e-3, steps=N_STEPS):
                energies.append(atoms.get_potential_energy() / len(atoms))
        except ValueError as error:  # atoms on top of each other
            reason = str(error)
        if not reason and not np.isfinite(energies).all():
            reason = "the energy is not finite"
        found[str(path)] = {
            "positions": atoms.get_positions(),
            "energies": np.array(energies),
            "reason": reason,
        }
    return found


def relaxed(potentials, name):
    """Return the stored relaxations."""
    return potentials.result(
        "relaxed", lambda: relax_all(potentials, name), name, N_STEPS, code=["relaxations"]
    )


def end_structures(potentials, name):
    """Return the relaxed structures of paths that did not fail, by path."""
    paths = potentials.parts["paths"]
    ends = {}
    for path, run in relaxed(potentials, name).items():
        if not run["reason"]:
            ends[path] = paths.structures[np.flatnonzero(paths.parents == path)[-1]].copy()
            ends[path].positions = run["positions"]
    return ends


def label_energies(potentials, name):
    """Return the labels' own energies (eV/atom) of the relaxed structures; NaN without CHGNet."""
    calculator = label_calculator()
    ends = end_structures(potentials, name)
    if calculator is None:
        return dict.fromkeys(ends, np.nan)

    def compute():
        energies = {}
        for path, atoms in ends.items():
            atoms.calc = calculator
            energies[path] = atoms.get_potential_energy() / len(atoms)
        return energies

    return potentials.result("relabelled", compute, name, N_STEPS, code=["relaxations"])


def rms_distance(a, b):
    """Return the root mean square distance (Å) of two structures of one cell, without drift."""
    moved = find_mic(a.positions - b.positions, a.cell, a.pbc)[0]
    moved -= moved.mean(axis=0)
    return float(np.sqrt(np.square(moved).sum(axis=1).mean()))


def rdf_difference(structures, references):
    """Return the mean over pairs of elements of the mean of abs(g - g of the labels) below 6 Å."""
    differences = []
    for pair in PAIRS:
        _, g = radial_distribution(structures, elements=pair, n_bins=60)
        _, expected = radial_distribution(references, elements=pair, n_bins=60)
        differences.append(np.abs(g - expected).mean())
    return float(np.mean(differences))


def error_table(potentials):
    """Return the table of errors of the potentials on unseen paths."""
    paths = potentials.parts["paths"]
    unseen = np.flatnonzero(potentials.unseen)
    names = np.unique(paths.parents[unseen])
    made = Titled(
        "potentials",
        "The potentials on paths that they have not seen",
        f"RMSE of the energies (meV/atom) of {len(unseen)} frames and of forces (eV/Å) of the "
        f"first and of the last frames of {len(names)} paths.",
        digits=3,
    )
    ends = [[np.flatnonzero(paths.parents == path)[k] for path in names] for k in (0, -1)]
    for name in RECIPES:
        model = potentials.model(name)
        errors = model.predict([paths.structures[i] for i in unseen]) - paths.energies[unseen]
        row = {"trained on": name, "energies": float(1e3 * np.sqrt(np.mean(errors**2)))}
        for title, rows in zip(("first", "last"), ends, strict=True):
            found = model.predict_forces([paths.structures[i] for i in rows])
            wrong = [a - paths.forces[i] for a, i in zip(found, rows, strict=True)]
            row[f"forces, {title} frames"] = float(np.sqrt(np.mean(np.concatenate(wrong) ** 2)))
        made.add(row)
    return made


def table(potentials):
    """Return the table of relaxations."""
    made = Titled(
        "relaxations",
        "Relaxing unseen paths from their first frame",
        f"{N_STEPS} steps of LBFGS at constant cell from the first frame of each of the 74 unseen "
        "paths, as the labelled paths were made. End energy: that of the potential at the end of "
        "its own path, less that of the labels at the end of theirs; meV/atom. 'At the labelled "
        "ends': error of the potential for the structures where the labels end. 'Labels there': "
        "the labels' own energy of the structure where the potential ended, less that of the "
        "labelled end. RMSD between both ends, Å. g(r): mean difference of the "
        "radial distribution functions of all ends, over Li-Li, Li-Si and Si-Si to 6 Å; that of "
        "two halves of the labelled ends from each other is in the last line.",
    )
    paths = potentials.parts["paths"]
    last = {path: np.flatnonzero(paths.parents == path)[-1] for path in np.unique(paths.parents)}
    for name in RECIPES:
        runs = relaxed(potentials, name)
        ends = end_structures(potentials, name)
        labels = label_energies(potentials, name)
        miss = 1e3 * np.array(
            [runs[path]["energies"][-1] - paths.energies[last[path]] for path in ends]
        )
        there = 1e3 * np.array([labels[path] - paths.energies[last[path]] for path in ends])
        references = [paths.structures[last[path]] for path in ends]
        expected = np.array([paths.energies[last[path]] for path in ends])
        at_end = 1e3 * (potentials.model(name).predict(references) - expected)
        rich = np.array([np.mean(atoms.numbers == 3) >= LITHIUM_RICH for atoms in references])
        pairs = list(zip(ends.values(), references, strict=True))
        made.add(
            {
                "trained on": name,
                "failed": len(runs) - len(ends),
                "end energy: median of sizes": float(np.median(np.abs(miss))),
                f"of {rich.sum()} with α ≥ 1.5": float(np.median(np.abs(miss[rich]))),
                f"of {(~rich).sum()} with α < 1.5": float(np.median(np.abs(miss[~rich]))),
                "mean": float(miss.mean()),
                "RMS": float(np.sqrt(np.mean(miss**2))),
                "at the labelled ends: median of sizes": float(np.median(np.abs(at_end))),
                "labels there: median of sizes": float(np.median(np.abs(there))),
                "labels there: mean": float(there.mean()),
                "potential - labels there, RMS": float(np.sqrt(np.mean((miss - there) ** 2))),
                "RMSD: median": float(np.median([rms_distance(a, b) for a, b in pairs])),
                "g(r)": rdf_difference(list(ends.values()), references),
            }
        )
    everything = [paths.structures[last[path]] for path in sorted(relaxed(potentials, name))]
    row = dict.fromkeys(made.header, float("nan"))
    start = [paths.structures[np.flatnonzero(paths.parents == path)[0]] for path in runs]
    moved = [rms_distance(a, b) for a, b in zip(start, everything, strict=True)]
    made.add(
        row
        | {
            "trained on": "first frames",
            "RMSD: median": float(np.median(moved)),
            "g(r)": rdf_difference(start, everything),
        }
    )
    made.add(
        row
        | {
            "trained on": "labels, half by half",
            "g(r)": rdf_difference(everything[::2], everything[1::2]),
        }
    )
    return made
