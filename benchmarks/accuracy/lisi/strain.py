"""What is read from predictions of tasks: those of the right fold, bulk moduli, images of paths."""

import numpy as np
from data import LARGE, TASKS, independent

from skwavelet.inspection import EnergyVolumeDisplay


def images(part):
    """Return the rows of every diffusion path, or of every strained cell, by name."""
    names = np.array([atoms.info["path"] for atoms in part.structures])
    return {str(name): np.flatnonzero(names == name) for name in dict.fromkeys(names)}


def of_unseen(experiments, results, task, key="prediction"):
    """Return the predictions (..., n_structures) of the models not trained on the parent paths.

    Structures without parent: those of the first fold's model. ``key="staged"``: a row for each
    number of features.
    """
    protocol = experiments.protocol
    part = protocol.parts[task]
    chosen = np.array(results[0][f"{key}_{task}"])
    for fold, result in enumerate(results):
        rows = independent(part, fold, protocol.fold_of_path) & (part.parents != "")
        chosen[..., rows] = result[f"{key}_{task}"][..., rows]
    return chosen


def errors_by_size(experiments, results):
    """Return the RMSE (meV/atom) with 1, 2, ... features per model, by set.

    The sets are the unseen paths, each task, and "large", the larger cells together. As for the
    tables, every model predicts what stems from none of its training paths.
    """
    protocol = experiments.protocol
    parts, squares = protocol.parts, {}
    for fold, result in enumerate(results):
        test = result["test"]
        errors = {"paths": result["staged_paths"] - parts["paths"].energies[test]}
        for task in TASKS:
            rows = independent(parts[task], fold, protocol.fold_of_path)
            errors[task] = (result[f"staged_{task}"] - parts[task].energies)[:, rows]
        errors["large"] = np.concatenate([errors[task] for task in LARGE], axis=1)
        for name, error in errors.items():
            squares.setdefault(name, []).append(error**2)
    return {
        name: 1e3 * np.sqrt(np.concatenate(parts, axis=1).mean(axis=1))
        for name, parts in squares.items()
    }


def bulk_rmse_within(experiments, results, strain):
    """Return the RMSE (meV/atom) of strained cells up to some strain."""
    part = experiments.protocol.parts["bulk"]
    strains = np.array([atoms.info["strain"] for atoms in part.structures])
    errors = of_unseen(experiments, results, "bulk") - part.energies
    return 1e3 * np.sqrt(np.mean(errors[np.abs(strains) < strain] ** 2))


def bulk_displays(experiments, results):
    """Return one `EnergyVolumeDisplay` per composition, of the members of the ensemble."""
    part = experiments.protocol.parts["bulk"]
    key = "members" if "members_bulk" in results[0] else "prediction"
    predictions = np.atleast_2d(of_unseen(experiments, results, "bulk", key))
    displays = {}
    for rows in images(part).values():
        structures = [part.structures[i] for i in rows]
        n_atoms = len(structures[0])
        displays[structures[0].info["composition"]] = EnergyVolumeDisplay(
            [atoms.get_volume() for atoms in structures],
            n_atoms * predictions[:, rows],
            n_atoms * part.energies[rows],
        )
    return displays


def bulk_moduli(experiments, results):
    """Return predictions, reference and spread (GPa), one per composition."""
    displays = bulk_displays(experiments, results).values()
    return (
        np.array([display.bulk_modulus for display in displays]),
        np.array([display.reference_bulk_modulus for display in displays]),
        np.array([display.bulk_modulus_std for display in displays]),
    )
