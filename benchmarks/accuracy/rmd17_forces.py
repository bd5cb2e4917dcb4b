r"""Scattering with forces on rMD17: energies and forces of small molecules.

    python benchmarks/accuracy/rmd17_forces.py --data DATA --cache DIR  # ethanol and uracil
    python benchmarks/accuracy/rmd17_forces.py --data DATA --cache DIR --only defaults
    python benchmarks/accuracy/rmd17_forces.py --data DATA --only defaults --fixed 0.01,1e-13
    python benchmarks/accuracy/rmd17_forces.py --data DATA --cache DIR --quick   # a few structures

Revised MD17 (PBE/def2-SVP), split 01: training structures from the published 1000, test
structures from the others. A tenth of the training structures chooses penalty and force weight.
The convention of the field, not a leak-free one: neighbouring frames of one trajectory lie on both
sides. Mean absolute errors of total energies (meV) and of force components (meV/Å).

All molecules are turned onto the first one: features do not depend on the orientation but for
discretization errors of the voxels, which this keeps small, as one fixed box for all molecules
keeps the grid the same. Voxel rows are derivatives along some random directions per structure;
those of point scattering and angular features are cheap, and taken along all 3 N coordinates.

"defaults" is ``EnergyForceRegressor()``, which holds out a fifth of the training structures to
choose penalty and force weight by itself; its test structures are the first ones. With --fixed both
are as given, and no members are fitted, in a third of the time. "without members" (only if it is
named with ``--only``) is the same model without standard deviations, sooner.

Cost: 5 min for each molecule, 10 min more for the defaults, an hour with voxels.
"""

import sys
import time
from pathlib import Path

import numpy as np
from ase import Atoms
from scipy.spatial.transform import Rotation

from skwavelet import (
    AngularFeatures,
    BaggedOLSEnsemble,
    EnergyForceRegressor,
    PointScattering,
    RidgePath,
    VoxelScattering,
)
from skwavelet.potentials.row_fits import fit_rows

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common.command import arguments
from common.data import rmd17
from common.published import RMD17
from common.rows import RowsRidge, beside, cached_rows, select
from common.table import line, table
from common.timing import machine, peak_memory

FORCE_WEIGHTS = (1e-2, 1.0)
PENALTIES = 10.0 ** np.arange(-7, -1)
# Vacuum around the molecules (Å), about what the voxels' wavelets need.
VACUUM = 3.0


def turned(data):
    """Return structures turned onto the first in one box, and forces turned alike."""
    positions = np.array([atoms.positions for atoms in data.structures])
    centered = positions - positions.mean(axis=1, keepdims=True)
    # Along the principal axes of the first molecule the box is smallest.
    reference = centered[0] @ np.linalg.svd(centered[0])[2].T
    turns = [Rotation.align_vectors(reference, frame)[0] for frame in centered]
    positions = np.array([turn.apply(frame) for turn, frame in zip(turns, centered, strict=True)])
    forces = np.array([turn.apply(f) for turn, f in zip(turns, data.forces, strict=True)])
    low, high = positions.min(axis=(0, 1)) - VACUUM, positions.max(axis=(0, 1)) + VACUUM
    numbers = data.structures[0].numbers
    inside = [Atoms(numbers, frame - low, cell=high - low, pbc=False) for frame in positions]
    return inside, forces


class BoxedVoxels(VoxelScattering):
    """Voxels of molecules in one periodic box, large enough to part the images."""

    def transform(self, X):
        """Return the features."""
        return super().transform(boxed(X))

    def jvp(self, X, displacements, strains=None):
        """Return derivatives along displacements."""
        return super().jvp(boxed(X), displacements)

    def value_and_vjp(self, X, cotangents):
        """Return features and gradients."""
        return super().value_and_vjp(boxed(X), cotangents)


def boxed(structures):
    """Return copies that are periodic."""
    copies = [atoms.copy() for atoms in structures]
    for atoms in copies:
        atoms.pbc = True
    return copies


def representations(args):
    """Return name -> (representations side by side, directions, most training structures)."""
    # Channels of several elements at once (the default) are what tells their distances.
    voxel = BoxedVoxels(
        beta=0.35, n_scales=2, aliasing=3e-3, smoothing=0.1, oversampling=1.0, n_jobs=args.n_jobs
    )
    point = PointScattering(
        (1, 2, 3, 4, 5), 4, n_scales=4, powers=(1, 2, 3, 4), smoothing=0.1, reach=None,
        channels=["elements"], n_jobs=args.n_jobs,
    )  # fmt: skip
    angular = AngularFeatures(8, 8, angles="legendre", powers=(1, 2), n_jobs=args.n_jobs)
    return {
        "Voxel": ([voxel], args.directions, args.voxel_train),
        "Point": ([point], "all", args.train),
        "Point + Angular": ([point, angular], "all", args.train),
    }


def best_ridge(rows, held):
    """Return the ridge regression whose held-out energies and forces are best."""
    ridge, found = RowsRidge(rows, held), []
    for weight in FORCE_WEIGHTS:
        model, penalty, held_errors = ridge.choose(weight, 0.0, PENALTIES)
        # Energies and forces count alike, each relative to a typical size of its error.
        found.append((held_errors[0] * held_errors[1], weight, penalty, model))
    return min(found, key=lambda entry: entry[0])[1:]


def test_errors(parts, coef, intercept, structures, energies, forces):
    """Return mean absolute errors of total energies (meV) and force components (meV/Å)."""
    n_atoms = len(structures[0])
    total, gradient, start = np.full(len(structures), n_atoms * intercept), 0.0, 0
    for part in parts:
        cotangent = n_atoms * coef[start : start + part.n_features_out_]
        start += part.n_features_out_
        results = part.value_and_vjp(structures, np.tile(cotangent, (len(structures), 1)))
        total += np.array([features.astype(np.float64) @ cotangent for features, _, _ in results])
        gradient = gradient + np.array([pulled for _, pulled, _ in results])
    return 1e3 * np.abs(total - energies).mean(), 1e3 * np.abs(gradient + forces).mean()


def of_defaults(title, structures, energies, forces, train, test, fixed):
    """Return the cells of ``EnergyForceRegressor()``, and the CPU seconds of its training."""
    n_atoms = len(structures[0])
    model = EnergyForceRegressor(random_state=0)
    if title == "without members":
        model.set_params(regressor=RidgePath(members=False))
    if fixed is not None:
        weight, alpha = map(float, fixed.split(","))
        model.set_params(force_weight=weight, regressor=RidgePath([alpha], members=False))
    start = time.process_time()
    model.fit([structures[i] for i in train], energies[train] / n_atoms, forces=list(forces[train]))
    seconds = time.process_time() - start
    unseen = [structures[i] for i in test]
    energy = np.abs(n_atoms * model.predict(unseen) - energies[test]).mean()
    force = np.abs(np.array(model.predict_forces(unseen)) - forces[test]).mean()
    decay = model.features_.representation.decay
    alpha, weight = model.regressor_.alpha_, model.force_weight_
    chosen = f"decay {decay}, ridge {alpha:.0e}, force weight {weight:.2g}"
    cells = [title, len(model.regressor_.coef_), "all", len(train), chosen]
    return [*cells, f"{1e3 * energy:.1f}", f"{1e3 * force:.1f}"], seconds


def main():
    args = arguments(
        __doc__,
        data="needed",
        cache=True,
        quick={"train": 40, "voxel_train": 40, "test": 10, "bags": 3, "molecules": ["ethanol"]},
        molecules=("ethanol", "uracil"),
        only=(),
        fixed=None,
        train=1000,
        voxel_train=1000,
        test=200,
        directions=6,
        bags=20,
        n_jobs=1,
    )
    print(machine("numpy") + "\n")
    header = ["molecule", "features", "number", "directions", "training", "model"]
    header += ["energy meV", "force meV/Å", "linear ACE, FCHL19"]
    print(table(header, []), flush=True)
    for name in args.molecules:
        data = rmd17(args.data, name)
        (structures, forces), energies, published = turned(data), data.energies, data.train
        n_atoms = len(structures[0])
        rng = np.random.default_rng(0)
        train = rng.permutation(np.flatnonzero(published))
        test = rng.permutation(np.flatnonzero(~published))[: args.test]
        unseen = [structures[i] for i in test]
        labels = (energies / n_atoms, forces, [None] * len(structures))
        beside_ours = ", ".join(RMD17[method][name] for method in ("linear ACE", "FCHL19"))
        for title in args.only or ["defaults"]:
            if title not in ("defaults", "without members"):
                continue
            members, first = train[: args.train], np.flatnonzero(~published)[: args.test]
            cells, seconds = of_defaults(
                title, structures, energies, forces, members, first, args.fixed
            )
            print(line([name, *cells, beside_ours]))
            memory = f"the process has taken up to {peak_memory():.1f} GB"
            print(f"<!-- {seconds:.0f} CPU s of training; {memory} -->", flush=True)
        for kind, (parts, n_directions, most) in representations(args).items():
            if args.only and kind not in args.only:
                continue
            parts = [part.fit(structures) for part in parts]
            start = time.process_time()
            arrays = beside(
                [
                    cached_rows(part, structures, labels, train[:most], n_directions, args.cache)
                    for part in parts
                ]
            )
            seconds = (time.process_time() - start) / most
            for size in sorted({most // 4, most}):
                members = train[:size]
                rows = select(arrays, members, np.full(len(structures), n_atoms))
                weight, penalty, ridge = best_ridge(rows, np.arange(0, size, 10))
                models = {f"ridge {penalty:.0e}, force weight {weight:g}": ridge}
                if kind != "Point + Angular":
                    ensemble = BaggedOLSEnsemble(args.bags, random_state=0, n_jobs=args.n_jobs)
                    bagged = fit_rows(ensemble, rows, np.arange(size), weight, 1.0)
                    models[f"{args.bags} bags, force weight {weight:g}"] = bagged
                for title, model in models.items():
                    energy, force = test_errors(
                        parts, model.coef_, model.intercept_, unseen, energies[test], forces[test]
                    )
                    row = [name, kind, rows.design.shape[1], n_directions, size, title]
                    row += [f"{energy:.1f}", f"{force:.1f}", beside_ours]
                    print(line(row), flush=True)
            print(f"<!-- {seconds:.2f} CPU s per structure for the rows -->", flush=True)


if __name__ == "__main__":
    main()
