"""Rattled copper cells with energies by EMT, and how far energies of equivalent cells are apart."""

import numpy as np
from ase.build import bulk, make_supercell
from ase.calculators.emt import EMT

from skwavelet import BaggedOLSEnsemble

HEADER = ("test RMSE", "doubled", "sheared", "3x1x1", "1x3x2", "primitive")


def copper():
    """Return rattled cells of copper, single and doubled, and energies per atom by EMT."""
    rng, structures = np.random.default_rng(0), []
    for seed in range(80):
        cell = bulk("Cu", a=rng.uniform(3.5, 3.72), cubic=True)
        cell = cell.repeat((1 + (seed % 3 == 0), 1, 1))
        cell.rattle(0.08, seed=seed)
        cell.calc = EMT()
        structures.append(cell)
    return structures, np.array([a.get_potential_energy() / len(a) for a in structures])


def equivalents(lattice_constant, seed):
    """Return pairs of cells that describe the same crystal, by name."""
    cell = bulk("Cu", a=lattice_constant, cubic=True)
    cell.rattle(0.08, seed=seed)
    sheared = cell.copy()
    sheared.set_cell(np.array([[1, 1, 0], [0, 1, 1], [0, 0, 1]]) @ cell.cell.array)
    oblique = bulk("Cu", a=lattice_constant).repeat(2)
    oblique.rattle(0.08, seed=seed)
    conventional = make_supercell(oblique, [[-1, 1, 1], [1, -1, 1], [1, 1, -1]])
    return {
        "doubled": (cell, cell.repeat(2)),
        "sheared": (cell, sheared),
        "3x1x1": (cell, cell.repeat((3, 1, 1))),
        "1x3x2": (cell, cell.repeat((1, 3, 2))),
        "primitive": (oblique, conventional),
    }


def compare(transform, n_crystals=10, n_models=4):
    """Return the cells of a row under `HEADER`, meV/atom, for a function of lists of structures.

    The test error of linear models of 60 cells, and the root mean square difference of the
    energies of equivalent cells, over crystals and models.
    """
    structures, energies = copper()
    features = transform(structures)
    models = [
        BaggedOLSEnsemble(30, random_state=seed).fit(features[:60], energies[:60])
        for seed in range(n_models)
    ]
    errors = [model.predict(features[60:]) - energies[60:] for model in models]
    differences = {}
    for k in range(n_crystals):
        for name, pair in equivalents(3.54 + 0.012 * k, 1000 + k).items():
            both = transform(list(pair))
            found = [np.diff(model.predict(both))[0] for model in models]
            differences.setdefault(name, []).extend(found)
    return [
        f"{1000 * np.sqrt(np.mean(np.square(values))):.3f}"
        for values in (errors, *(differences[name] for name in HEADER[1:]))
    ]
