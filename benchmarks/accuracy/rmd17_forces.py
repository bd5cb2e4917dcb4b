r"""Scattering with forces on rMD17: energies and forces of small molecules.

    python benchmarks/accuracy/rmd17_forces.py --data DATA --cache DIR  # ethanol and uracil
    python benchmarks/accuracy/rmd17_forces.py --data DATA --cache DIR --quick   # a few structures

Revised MD17 (PBE/def2-SVP), split 01: training structures from the published 1000, test
structures from the others. A tenth of the training structures chooses penalty and force weight.
The convention of the field, not a leak-free one: neighbouring frames of one trajectory lie on both
sides. Mean absolute errors of total energies (meV) and of force components (meV/Å).

All molecules are turned onto the first one: features do not depend on the orientation but for
discretization errors of the voxels, which this keeps small, as one fixed box for all molecules
keeps the grid the same. Voxel rows are derivatives along some random directions per structure;
those of point scattering and angular features are cheap, and taken along all 3 N coordinates.
"""

import argparse
import os
import sys
import time
from pathlib import Path

import numpy as np
import threadpoolctl
from ase import Atoms
from scipy.spatial.transform import Rotation

from skwavelet import AngularFeatures, BaggedOLSEnsemble, PointScattering, VoxelScattering
from skwavelet.potentials.rows import ENERGY, Rows, fit_rows

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common.rows import RowsRidge, beside, cached_rows
from common.timing import machine, table

# Energy and force MAE of linear ACE and FCHL19 with 1000 structures (Batatia et al. 2022).
PUBLISHED = {"ethanol": "1.2 / 7.3, 0.9 / 6.2", "uracil": "1.1 / 6.6, 0.6 / 4.2"}
FORCE_WEIGHTS = (1e-2, 1.0)
PENALTIES = 10.0 ** np.arange(-7, -1)
# Vacuum around the molecules (Å), about what the voxels' wavelets need.
VACUUM = 3.0


def read(file):
    """Return structures turned onto the first, forces turned alike, energies and the split."""
    with np.load(file) as archive:
        data = dict(archive)
    centered = data["positions"] - data["positions"].mean(axis=1, keepdims=True)
    # Along the principal axes of the first molecule the box is smallest.
    reference = centered[0] @ np.linalg.svd(centered[0])[2].T
    turns = [Rotation.align_vectors(reference, frame)[0] for frame in centered]
    positions = np.array([turn.apply(frame) for turn, frame in zip(turns, centered, strict=True)])
    forces = np.array([turn.apply(f) for turn, f in zip(turns, data["forces"], strict=True)])
    low, high = positions.min(axis=(0, 1)) - VACUUM, positions.max(axis=(0, 1)) + VACUUM
    boxed = [Atoms(data["numbers"], frame - low, cell=high - low, pbc=False) for frame in positions]
    return boxed, forces, data["energy"], data["train"]


class BoxedVoxels:
    """A ``VoxelScattering`` of molecules in one periodic box, large enough to part the images."""

    def __init__(self, **parameters):
        self.scattering = VoxelScattering(**parameters)

    def get_params(self):
        """Return what the rows depend on."""
        return self.scattering.get_params()

    def fit(self, structures):
        """Learn the resolution from molecules."""
        self.scattering.fit(structures)
        self.n_features_out_ = self.scattering.n_features_out_
        return self

    def transform(self, structures):
        """Return the features."""
        return self.scattering.transform([self._boxed(atoms) for atoms in structures])

    def jvp(self, structures, displacements, strains):
        """Return derivatives along displacements."""
        return self.scattering.jvp([self._boxed(atoms) for atoms in structures], displacements)

    def value_and_vjp(self, structures, cotangents):
        """Return features and gradients."""
        return self.scattering.value_and_vjp([self._boxed(a) for a in structures], cotangents)

    @staticmethod
    def _boxed(atoms):
        copy = atoms.copy()
        copy.pbc = True
        return copy


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


def as_rows(arrays, members, n_coordinates):
    """Return the `Rows` of some structures, energies first."""
    order = np.argsort(arrays["kind"] != ENERGY, kind="stable")
    place = np.empty(arrays["structure"].max() + 1, dtype=int)
    place[members] = np.arange(len(members))
    return Rows(
        arrays["design"][order],
        arrays["targets"][order],
        place[arrays["structure"][order]],
        arrays["kind"][order],
        (len(members), len(members) * n_coordinates, 0),
    )


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


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default=os.environ.get("SKWAVELET_DATA"))
    parser.add_argument("--cache", required=True)
    parser.add_argument("--quick", action="store_true", help="40 structures, ethanol")
    parser.add_argument("--molecules", nargs="+", default=["ethanol", "uracil"])
    parser.add_argument("--only", nargs="+", help="names of representations")
    parser.add_argument("--train", type=int, default=1000)
    parser.add_argument("--voxel-train", type=int, default=1000)
    parser.add_argument("--test", type=int, default=200)
    parser.add_argument("--directions", type=int, default=6, help="per structure, of voxels")
    parser.add_argument("--bags", type=int, default=20)
    parser.add_argument("--n-jobs", type=int, default=None)
    args = parser.parse_args()
    if args.quick:
        args.train = args.voxel_train = 40
        args.test, args.bags, args.molecules = 10, 3, ["ethanol"]
    print(machine("numpy") + "\n")
    header = ["molecule", "features", "number", "directions", "training", "model"]
    header += ["energy meV", "force meV/Å", "linear ACE, FCHL19"]
    print(table(header, []), flush=True)
    for name in args.molecules:
        structures, forces, energies, published = read(Path(args.data, "rmd17", f"{name}.npz"))
        n_atoms = len(structures[0])
        rng = np.random.default_rng(0)
        train = rng.permutation(np.flatnonzero(published))
        test = rng.permutation(np.flatnonzero(~published))[: args.test]
        unseen = [structures[i] for i in test]
        labels = (energies / n_atoms, forces, [None] * len(structures))
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
                few = np.isin(arrays["structure"], members)
                rows = as_rows({k: v[few] for k, v in arrays.items()}, members, 3 * n_atoms)
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
                    row += [f"{energy:.1f}", f"{force:.1f}", PUBLISHED.get(name, "")]
                    print("| " + " | ".join(map(str, row)) + " |", flush=True)
            print(f"<!-- {seconds:.2f} CPU s per structure for the rows -->", flush=True)


if __name__ == "__main__":
    with threadpoolctl.threadpool_limits(1):
        main()
