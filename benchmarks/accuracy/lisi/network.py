"""The angular network on unseen paths and on the tasks beyond them."""

import numpy as np
import torch
from common.networks import train_for
from data import TASKS, independent, path_folds
from titled import Titled

from skwavelet import ScatteringCalculator
from skwavelet.neural import AngularNetwork

FOLD = 0


def table(parts, minutes, cache):
    """Return the table of errors of a network trained for so many minutes of CPU time."""
    torch.set_num_threads(1)
    paths = parts["paths"]
    fold, fold_of_path = path_folds(paths)
    train, unseen = np.flatnonzero(fold != FOLD), np.flatnonzero(fold == FOLD)
    network = AngularNetwork(validation_fraction=0.05, random_state=0)

    def measure():
        labels = {
            "forces": [paths.forces[i] for i in train],
            "stress": [paths.stress[i] for i in train],
            "groups": paths.parents[train],
        }
        structures = [paths.structures[i] for i in train]
        fitted = train_for(network, structures, paths.energies[train], minutes, cache, **labels)
        found = {"epochs": fitted.n_iter_, "paths": errors(fitted, paths, unseen)}
        for task in TASKS:
            rows = np.flatnonzero(independent(parts[task], FOLD, fold_of_path))
            found[task] = errors(fitted, parts[task], rows)
        return found

    given = [(part.structures, part.energies, part.forces) for part in parts.values()]
    found = cache.get("network", measure, network, given, minutes, code=["data"])
    made = Titled(
        "network",
        "The angular network, beside paths and tasks that it has not seen",
        f"AngularNetwork(): energies, forces and stresses of {len(train)} frames of four fifths of "
        f"the paths, {minutes:g} minutes of CPU time, {found.pop('epochs')} epochs. Mean absolute "
        "and root mean square errors of energies (meV/atom), components of forces (meV/Å) and of "
        "stresses (meV/Å³), for structures that do not stem from the paths that train.",
    )
    for name, wrong in found.items():
        if not len(wrong["energy"]):  # with few compositions
            continue
        row = {"set": name, "structures": len(wrong["energy"])}
        for kind in ("energy", "force", "stress"):
            row[kind] = float(1e3 * np.abs(wrong[kind]).mean())
            row[f"{kind}, RMS"] = float(1e3 * np.sqrt(np.mean(wrong[kind] ** 2)))
        made.add(row)
    return made


def errors(network, part, rows):
    """Return the errors of energies per atom, and of all components of forces and stresses."""
    calculator = ScatteringCalculator(network)
    wrong = {kind: [np.zeros(0)] for kind in ("energy", "force", "stress")}
    for i in rows:
        atoms = part.structures[i].copy()
        atoms.calc = calculator
        energy = atoms.get_potential_energy() / len(atoms)
        wrong["energy"].append(np.array([energy - part.energies[i]]))
        wrong["force"].append((atoms.get_forces() - part.forces[i]).ravel())
        wrong["stress"].append(atoms.get_stress() - part.stress[i])
    return {kind: np.concatenate(values) for kind, values in wrong.items()}
