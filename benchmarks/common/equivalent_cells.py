"""How far energies of equivalent cells are apart: rattled copper (EMT), and Li-Si (CHGNet)."""

import numpy as np
from ase.build import bulk, make_supercell
from ase.calculators.emt import EMT

from skwavelet import BaggedOLSEnsemble, RelaxationPathGroupKFold
from skwavelet.datasets import load_lisi

HEADER = ("test RMSE", "doubled", "sheared", "3x1x1", "1x3x2", "primitive")
# The conventional cell of the face-centred lattice, in vectors of the primitive one.
CONVENTIONAL = [[-1, 1, 1], [1, -1, 1], [1, 1, -1]]


def copper(n_crystals=10):
    """Return rattled cells of copper, their energies, which train, and equivalent cells."""
    rng, structures = np.random.default_rng(0), []
    for seed in range(80):
        cell = bulk("Cu", a=rng.uniform(3.5, 3.72), cubic=True)
        cell = cell.repeat((1 + (seed % 3 == 0), 1, 1))
        cell.rattle(0.08, seed=seed)
        cell.calc = EMT()
        structures.append(cell)
    energies = np.array([a.get_potential_energy() / len(a) for a in structures])
    crystals = []
    for k in range(n_crystals):
        a = 3.54 + 0.012 * k
        cells = bulk("Cu", a=a, cubic=True), bulk("Cu", a=a).repeat(2)
        for cell in cells:
            cell.rattle(0.08, seed=1000 + k)
        crystals.append(equivalents(*cells))
    return structures, energies, np.arange(60), crystals


def equivalents(cell, primitive):
    """Return pairs of cells that describe the same crystal, in the order of `HEADER`."""
    sheared = cell.copy()
    sheared.set_cell(np.array([[1, 1, 0], [0, 1, 1], [0, 0, 1]]) @ cell.cell.array)
    others = (cell.repeat(2), sheared, cell.repeat((3, 1, 1)), cell.repeat((1, 3, 2)))
    return [
        *((cell, other) for other in others),
        (primitive, make_supercell(primitive, CONVENTIONAL)),
    ]


def lisi(n_crystals=5):
    """Return last frames of packaged paths, their energies, which train, and equivalent cells.

    The cells are those of small structures that do not train, repeated, or as primitive cells of a
    crystal of four times the size.
    """
    data = load_lisi()
    rows = np.flatnonzero(data.steps == data.steps.max())
    structures = [data.structures[i] for i in rows]
    folds = RelaxationPathGroupKFold(5, random_state=0).split(rows, groups=data.paths[rows])
    train, test = next(iter(folds))
    small = sorted(test, key=lambda i: len(structures[i]))[:n_crystals]
    crystals = [equivalents(structures[i], structures[i]) for i in small]
    return structures, data.energies[rows], train, crystals


def compare(transform, structures, energies, train, crystals, n_models=4):
    """Return the cells of a row under `HEADER`, meV/atom, for a function of lists of structures.

    The test error of linear models of the training cells, and the root mean square difference of
    the energies of equivalent cells, over crystals and models.
    """
    features = transform(structures)
    models = [
        BaggedOLSEnsemble(30, random_state=seed).fit(features[train], energies[train])
        for seed in range(n_models)
    ]
    rest = np.setdiff1d(np.arange(len(energies)), train)
    errors = [model.predict(features[rest]) - energies[rest] for model in models]
    differences = [[] for _ in HEADER[1:]]
    for pairs in crystals:
        for found, pair in zip(differences, pairs, strict=True):
            both = transform(list(pair))
            found += [np.diff(model.predict(both))[0] for model in models]
    return [
        f"{1000 * np.sqrt(np.mean(np.square(values))):.3f}" for values in (errors, *differences)
    ]
