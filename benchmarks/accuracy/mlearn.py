"""Energies and forces of lithium and silicon, beside DScribe's SOAP and ACSF and published errors.

    python benchmarks/accuracy/mlearn.py --data DIR --cache DIR
    python benchmarks/accuracy/mlearn.py --data DIR --cache DIR --quick  # half of silicon, few rows

DIR/mlearn: the sets of Zuo et al. 2020 (PBE) with their published split into training and test
structures. Test errors are mean absolute errors, as published.

Protocol: every representation is fitted to energies and to forces along random directions of all
atoms, as EnergyForceRegressor does it, by ridge regression and by BaggedOLSEnsemble. The weight of
the forces and the penalty are those of least error in five folds of the *training* structures,
folds which hold an equal share of each kind of structure (molecular dynamics, vacancies, elastic,
surfaces), as the published split does; so were the settings of the representations chosen. What
counts is the product of the mean absolute error of the energies and the root mean square error of
the forces. The bags take the weight that was chosen for ridge regression; their groups are the
structures.

DScribe offers no derivatives of averages over periodic structures. The derivative rows of SOAP and
ACSF are central differences of the averaged descriptor along the same random directions as those
of the others, and their forces on test structures are central differences along every component.

Rows are kept in --cache under the settings that made them, so that a run can be resumed. "ms" is
the CPU time of the features of one structure, on one thread.

Cost: 1 h; needs dscribe.
"""

import sys
import time
import warnings
from itertools import product
from pathlib import Path

import numpy as np
from sklearn.model_selection import StratifiedKFold

from skwavelet import AngularFeatures, BaggedOLSEnsemble, PointScattering, VoxelScattering
from skwavelet.potentials.row_fits import fit_rows
from skwavelet.potentials.rows import ENERGY, FORCE

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common.command import arguments
from common.data import mlearn
from common.rivals import DScribe
from common.rows import RowsRidge, beside, cached_rows, select
from common.table import line, table
from common.timing import machine

ONE_CHANNEL = {"channels": ["number"]}  # all channels of one element are multiples of one
PUBLISHED = {
    "Li": {"GAP": (0.49, 0.01), "MTP": (0.49, 0.01)},
    "Si": {"GAP": (2.91, 0.07), "MTP": (2.21, 0.06)},
}
FORCE_WEIGHTS = (0.001, 0.003, 0.01, 0.03)
PENALTIES = 10.0 ** np.arange(-9, -2)


def dscribe(kind, **settings):
    """Return a rival; in random directions an atom moves by about 0.2 Å, here by 2e-4 Å."""
    return DScribe(kind, settings, step=2e-4)


def representations():
    """Return the parts of every representation, unfitted."""
    point = PointScattering((1, 2, 3, 4, 5, 6), 5, n_scales=4, **ONE_CHANNEL)
    second = PointScattering(n_scales=2, order=2, **ONE_CHANNEL)
    angular = AngularFeatures(14, 14, reach=6.0, **ONE_CHANNEL)
    # The smallest cells are surfaces of 12 atoms: what fits them is one scale.
    voxel = VoxelScattering(n_scales=3, smoothing=0.03, **ONE_CHANNEL)
    return {
        "PointScattering()": [PointScattering(**ONE_CHANNEL)],
        "PointScattering(n_scales=4)": [PointScattering(n_scales=4, **ONE_CHANNEL)],
        "PointScattering(n_scales=2)": [PointScattering(n_scales=2, **ONE_CHANNEL)],
        "PointScattering(n_scales=2, order=2)": [second],
        "Point: n to 6, l to 5, four scales": [point],
        "Point + second order": [point, second],
        "AngularFeatures(reach=6)": [AngularFeatures(reach=6.0, **ONE_CHANNEL)],
        "Angular: 14 x 14 functions": [angular],
        "Point + Angular": [point, angular],
        "SOAP n8 l6": [dscribe("SOAP", n_max=8, l_max=6)],
        "SOAP n10 l8": [dscribe("SOAP", n_max=10, l_max=8)],
        "Voxel: three scales": [voxel],
        "Point + Voxel": [point, voxel],
        "ACSF": [dscribe("ACSF")],
    }


def rows_of(source, part, n_directions, cache):
    """Return energy and force rows of structures."""
    X, energies, forces = part
    labels = energies, forces, [None] * len(X)
    return cached_rows(source, X, labels, np.arange(len(X)), n_directions, cache)


def seconds_per_structure(source, X, cache):
    """Return the CPU seconds of the features of a structure, measured once."""

    def measure():
        start = time.process_time()
        source.transform(X)
        return (time.process_time() - start) / len(X)

    return cache.get("seconds", measure, source, X)


def held_errors(problem, model):
    """Return the MAE of energies (eV/atom) and RMSE of forces (eV/Å) of held structures.

    The mean absolute error of forces is not known from random directions, their squared error is.
    """
    rows, held = problem.rows, problem.held
    energy = rows.kind[held] == ENERGY
    residual = rows.design[held] @ model.coef_ + model.intercept_ * energy - rows.targets[held]
    share = energy.sum() / rows.n_components[ENERGY]
    forces = np.square(residual[~energy]).sum() / (share * rows.n_components[FORCE])
    return np.abs(residual[energy]).mean(), np.sqrt(forces)


def choose(rows, X):
    """Return force weight and penalty of least error in five folds, and those errors."""
    kinds = [atoms.info["group"] for atoms in X]
    folds = StratifiedKFold(5, shuffle=True, random_state=0).split(X, kinds)
    problems = [RowsRidge(rows, test) for _, test in folds]
    tried = []
    for force_weight, alpha in product(FORCE_WEIGHTS, PENALTIES):
        errors = [
            held_errors(p, p.fit(force_weight, 0.0, alpha, everything=False)) for p in problems
        ]
        energy, force = np.mean(errors, axis=0)
        tried.append((energy * force, force_weight, alpha, energy, force))
    return *min(tried)[1:], problems[0]


def test_errors(parts, model, test, cache):
    """Return mean absolute errors of energies (meV/atom) and forces (eV/Å)."""
    X, energies, forces = test
    ends = np.cumsum([0, *(part.transform(X[:1]).shape[1] for part in parts)])
    energy, gradient = np.full(len(X), model.intercept_), [np.zeros((len(a), 3)) for a in X]
    for part, start, stop in zip(parts, ends[:-1], ends[1:], strict=True):
        coef = model.coef_[start:stop]
        energy += part.transform(X) @ coef
        if isinstance(part, DScribe):
            rows = rows_of(part, test, "all", cache)
            for i, total in enumerate(gradient):
                own = (rows["structure"] == i) & (rows["kind"] != ENERGY)
                total -= (rows["design"][own] @ coef).reshape(-1, 3)
        else:
            weights = np.array([len(atoms) * coef for atoms in X])
            for total, (own, _) in zip(gradient, part.vjp(X, weights), strict=True):
                total += own
    residuals = [own + force for own, force in zip(gradient, forces, strict=True)]
    return (
        1e3 * np.abs(energy - energies).mean(),
        np.abs(np.concatenate([r.ravel() for r in residuals])).mean(),
    )


def compare(element, options):
    train, test = mlearn(options.data, element)
    if options.quick:
        train = tuple(part[::2] for part in train)
    n_atoms = np.array([len(atoms) for atoms in train[0]])
    print(
        f"\n{element}: {len(train[0])} training, {len(test[0])} test structures, forces along "
        f"{options.directions} directions each. CV: MAE of energies and RMSE of forces by ridge "
        f"regression in five folds of the training structures. Then MAE of the test structures.\n"
    )
    header = [
        element, "features", "ms", "force weight", "CV: energy, meV/atom", "force, eV/Å",
        "ridge: energy, meV/atom", "force, eV/Å", f"{options.bags} bags: energy", "force",
    ]  # fmt: skip
    print(table(header, []), flush=True)
    for name, parts in representations().items():
        if options.only and not any(name.startswith(only) for only in options.only):
            continue
        with warnings.catch_warnings():
            # The smallest of these cells are narrower than the widest wavelet.
            warnings.filterwarnings("ignore", message="n_scales=")
            parts = [part.fit(train[0]) for part in parts]
        cache = options.cache
        blocks = [rows_of(part, train, options.directions, cache) for part in parts]
        joined = beside(blocks) if len(blocks) > 1 else blocks[0]
        seconds = sum(seconds_per_structure(part, train[0], cache) for part in parts)
        rows = select(joined, np.arange(len(n_atoms)), n_atoms)
        force_weight, alpha, *held, problem = choose(rows, train[0])
        ridge = problem.fit(force_weight, 0.0, alpha)
        bags = BaggedOLSEnsemble(options.bags, random_state=0)
        bagged = fit_rows(bags, rows, np.arange(len(n_atoms)), force_weight, 1.0)
        errors = [test_errors(parts, model, test, cache) for model in (ridge, bagged)]
        row = [
            name, len(ridge.coef_), f"{1e3 * seconds:.1f}", force_weight,
            f"{1e3 * held[0]:.2f}", f"{held[1]:.3f}",
            *(text for e, f in errors for text in (f"{e:.2f}", f"{f:.4f}")),
        ]  # fmt: skip
        print(line(row), flush=True)
    for name, (energy, force) in PUBLISHED[element].items():
        print(line([f"{name}, published", *[""] * 5, energy, force, "", ""]))


def main():
    options = arguments(
        __doc__,
        data="needed",
        cache=True,
        quick={"elements": ["Si"], "directions": 4, "bags": 5},
        elements=("Si", "Li"),
        only=(),
        directions=24,
        bags=20,
    )
    if options.quick:
        options.only = options.only or ["PointScattering()", "AngularF", "SOAP n8"]
    print(machine("numpy", "dscribe"))
    for element in options.elements:
        compare(element, options)


if __name__ == "__main__":
    main()
