"""The angular network, and a linear potential, on unseen paths and on the tasks beyond them."""

import time

import numpy as np
import torch
from common.networks import train_for
from data import TASKS, independent, path_folds
from titled import Titled

from skwavelet import EnergyForceRegressor, ScatteringCalculator
from skwavelet.neural import AngularNetwork

FOLD = 0


def table(parts, minutes, cache):
    """Return the table of errors of a network trained for so many minutes of CPU time.

    Beside them those of `EnergyForceRegressor`, with the same structures and labels.
    """
    torch.set_num_threads(1)
    paths = parts["paths"]
    fold, fold_of_path = path_folds(paths)
    train, unseen = np.flatnonzero(fold != FOLD), np.flatnonzero(fold == FOLD)
    labels = {
        "forces": [paths.forces[i] for i in train],
        "stress": [paths.stress[i] for i in train],
        "groups": paths.parents[train],
    }
    structures, energies = [paths.structures[i] for i in train], paths.energies[train]
    network = AngularNetwork(validation_fraction=0.05, device="cpu", random_state=0)
    linear = EnergyForceRegressor(random_state=0)
    given = [(part.structures, part.energies, part.forces, part.stress) for part in parts.values()]

    def measured(fit):
        start = time.process_time()
        fitted = fit()
        found = {"seconds": time.process_time() - start, "epochs": getattr(fitted, "n_iter_", None)}
        found["paths"] = errors(fitted, paths, unseen)
        for task in TASKS:
            rows = np.flatnonzero(independent(parts[task], FOLD, fold_of_path))
            found[task] = errors(fitted, parts[task], rows)
        return found

    def trained():
        return measured(lambda: train_for(network, structures, energies, minutes, cache, **labels))

    def solved():
        return measured(lambda: linear.fit(structures, energies, **labels))

    results = {
        "AngularNetwork": cache.get("network", trained, network, given, minutes, code=["data"]),
        "EnergyForceRegressor": cache.get("linear", solved, linear, given, code=["data"]),
    }
    epochs = results["AngularNetwork"].pop("epochs")
    results["EnergyForceRegressor"].pop("epochs")
    seconds = {title: found.pop("seconds") for title, found in results.items()}
    made = Titled(
        "network",
        "The angular network, and a linear potential, beside what they have not seen",
        f"Energies, forces and stresses of {len(train)} frames of four fifths of the paths train. "
        f"AngularNetwork(): {epochs} epochs, counted for {minutes:g} minutes, "
        f"{seconds['AngularNetwork']:.0f} CPU s with counting, compiling and neighbours; "
        f"EnergyForceRegressor(): {seconds['EnergyForceRegressor']:.0f} CPU s. Mean absolute "
        "and root mean square errors of energies (meV/atom), components of forces (meV/Å) and of "
        "stresses (meV/Å³), for structures that do not stem from the paths that train.",
    )
    for name in results["AngularNetwork"]:
        for title, found in results.items():
            wrong = found[name]
            if not len(wrong["energy"]):  # with few compositions
                continue
            row = {"set": name, "structures": len(wrong["energy"]), "model": title}
            for kind in ("energy", "force", "stress"):
                row[kind] = float(1e3 * np.abs(wrong[kind]).mean())
                row[f"{kind}, RMS"] = float(1e3 * np.sqrt(np.mean(wrong[kind] ** 2)))
            made.add(row)
    return made


def errors(model, part, rows):
    """Return the errors of energies per atom, and of all components of forces and stresses."""
    calculator = ScatteringCalculator(model)
    wrong = {kind: [np.zeros(0)] for kind in ("energy", "force", "stress")}
    for i in rows:
        atoms = part.structures[i].copy()
        atoms.calc = calculator
        energy = atoms.get_potential_energy() / len(atoms)
        wrong["energy"].append(np.array([energy - part.energies[i]]))
        wrong["force"].append((atoms.get_forces() - part.forces[i]).ravel())
        wrong["stress"].append(atoms.get_stress() - part.stress[i])
    return {kind: np.concatenate(values) for kind, values in wrong.items()}
