"""Relaxing unseen paths from their first frames, beside the paths of the labels."""

import numpy as np
from ase.geometry import find_mic
from ase.optimize import LBFGS
from potentials import FORCES, RECIPES, TRIED, label_calculator
from schemes import SEED
from titled import Titled

from skwavelet.properties import radial_distribution

# The labelled paths are this long too, with the same optimizer.
N_STEPS = 55
# Li/Si = 1.5, the fraction of lithium.
LITHIUM_RICH = 0.6
# By how much starts are displaced to see what ends depend on (Å, each component).
DISPLACED = 0.01
PAIRS = (("Li", "Li"), ("Li", "Si"), ("Si", "Si"))


def relax_all(potentials, name, displaced=0.0, training=False):
    """Return what the relaxations of all unseen paths come to, one dict per path.

    ``displaced``: standard deviation (Å) of random displacements of the first frames.
    ``training``: those of the training paths instead.
    """
    paths = potentials.parts["paths"]
    calculator = potentials.calculator(name)
    found, rng = {}, np.random.default_rng(SEED)
    for path in np.unique(paths.parents[potentials.unseen != training]):
        rows = np.flatnonzero(paths.parents == path)
        atoms = paths.structures[rows[0]].copy()
        atoms.positions += displaced * rng.standard_normal(atoms.positions.shape)
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


def relaxed(potentials, name, displaced=0.0):
    """Return the stored relaxations."""
    return potentials.result(
        "relaxed",
        lambda: relax_all(potentials, name, displaced),
        name,
        N_STEPS,
        displaced,
        code=["relaxations"],
    )


def end_structures(potentials, name, displaced=0.0):
    """Return the relaxed structures of paths that did not fail, by path."""
    paths = potentials.parts["paths"]
    ends = {}
    for path, run in relaxed(potentials, name, displaced).items():
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


def choice_table(potentials):
    """Return the table of what forces of more frames bring, on training paths."""
    made = Titled(
        "relaxations_choice",
        "Do forces of more frames help? Relaxing training paths",
        "As the table of relaxations, on 37 of the training paths, one of each composition, by "
        "potentials that know the 259 others. About as many rows of forces train each.",
    )
    training = potentials.of_training_paths()
    for name in TRIED:
        made.add(comparison(training, name))
    return made


def comparison(potentials, name):
    """Return a row: how a potential's relaxations end, beside those of the labels."""
    paths, last = potentials.parts["paths"], last_rows(potentials)
    runs, ends = relaxed(potentials, name), end_structures(potentials, name)
    references = [paths.structures[last[path]] for path in ends]
    expected = np.array([paths.energies[last[path]] for path in ends])
    miss = 1e3 * (np.array([runs[path]["energies"][-1] for path in ends]) - expected)
    at_end = 1e3 * (potentials.model(name).predict(references) - expected)
    return {
        "trained on": name,
        "failed": len(runs) - len(ends),
        **_sizes(miss, references),
        "at the labelled ends: median of sizes": float(np.median(np.abs(at_end))),
        "RMSD: median": _median_distance(ends.values(), references),
    }


def last_rows(potentials):
    """Return the rows of the last frames of all paths, by path."""
    parents = potentials.parts["paths"].parents
    return {str(path): np.flatnonzero(parents == path)[-1] for path in np.unique(parents)}


def _sizes(miss, structures):
    """Return columns of differences of energies, meV/atom."""
    rich = np.array([np.mean(atoms.numbers == 3) >= LITHIUM_RICH for atoms in structures])
    return {
        "end energy: median of sizes": float(np.median(np.abs(miss))),
        f"of {rich.sum()} with α ≥ 1.5": float(np.median(np.abs(miss[rich]))),
        f"of {(~rich).sum()} with α < 1.5": float(np.median(np.abs(miss[~rich]))),
        "mean": float(miss.mean()),
        "RMS": float(np.sqrt(np.mean(miss**2))),
    }


def _median_distance(structures, references):
    pairs = zip(structures, references, strict=True)
    return float(np.median([rms_distance(a, b) for a, b in pairs]))


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
        "two halves of the labelled ends from each other is in the last line. 'Displaced starts': "
        f"the same potential from first frames with random displacements of {DISPLACED:g} Å, "
        "against itself.",
    )
    paths, last = potentials.parts["paths"], last_rows(potentials)
    for name in RECIPES:
        row, ends = comparison(potentials, name), end_structures(potentials, name)
        runs, labels = relaxed(potentials, name), label_energies(potentials, name)
        references = [paths.structures[last[path]] for path in ends]
        there = 1e3 * np.array([labels[path] - paths.energies[last[path]] for path in ends])
        bias = 1e3 * np.array([runs[path]["energies"][-1] - labels[path] for path in ends])
        made.add(
            row
            | {
                "labels there: median of sizes": float(np.median(np.abs(there))),
                "labels there: mean": float(there.mean()),
                "potential - labels there: mean": float(bias.mean()),
                "potential - labels there: RMS": float(np.sqrt(np.mean(bias**2))),
                "g(r)": rdf_difference(list(ends.values()), references),
            }
        )
    empty = dict.fromkeys(made.header, float("nan"))
    made.add(empty | _displaced(potentials))
    labelled = [paths.structures[last[path]] for path in sorted(runs)]
    start = [paths.structures[np.flatnonzero(paths.parents == path)[0]] for path in sorted(runs)]
    made.add(
        empty
        | {
            "trained on": "first frames",
            "RMSD: median": _median_distance(start, labelled),
            "g(r)": rdf_difference(start, labelled),
        }
    )
    halves = rdf_difference(labelled[::2], labelled[1::2])
    made.add(empty | {"trained on": "labels, half by half", "g(r)": halves})
    return made


def _displaced(potentials):
    """Return the row of relaxations whose starts are displaced."""
    own, other = relaxed(potentials, FORCES), relaxed(potentials, FORCES, DISPLACED)
    ends = end_structures(potentials, FORCES)
    moved = end_structures(potentials, FORCES, DISPLACED)
    both = [path for path in ends if path in moved]
    difference = [other[path]["energies"][-1] - own[path]["energies"][-1] for path in both]
    references = [ends[path] for path in both]
    return {
        "trained on": f"{FORCES}; displaced starts",
        "failed": len(own) - len(both),
        **_sizes(1e3 * np.array(difference), references),
        "RMSD: median": _median_distance([moved[path] for path in both], references),
        "g(r)": rdf_difference([moved[path] for path in both], references),
    }
