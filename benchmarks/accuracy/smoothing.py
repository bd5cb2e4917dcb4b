"""What the smoothing of the voxel modulus does to energies and forces.

    python benchmarks/accuracy/smoothing.py --cache DIR            # packaged Li-Si
    python benchmarks/accuracy/smoothing.py --cache DIR --quick    # a few structures, minutes

The modulus of a map has a kink where the map vanishes, which no grid resolves. For several values
of ``smoothing``, on packaged Li-Si structures (labels: CHGNet v0.3.0, not density functional
theory):

- discretization: median deviation of features from converged ones *of the same smoothing* (half
  the voxel size, full resolution, float64), relative to their own values;
- change: median deviation from the features of smoothing 1e-6;
- errors on paths of each composition that no model has seen, of models of energies alone and of
  energies, forces and stresses (a stress for every third structure);
- net force: the sum of the predicted forces, per sqrt(number of atoms), relative to the forces.
  That of a random error of every component would be the relative error itself; the exact sum is 0.

Cost: 15 min.
"""

import sys
from pathlib import Path

import numpy as np

from skwavelet import BaggedOLSEnsemble, VoxelScattering
from skwavelet._utils.validation import check_groups
from skwavelet.potentials.row_fits import fit_rows

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common.command import arguments
from common.data import lisi, split_paths
from common.rows import cached_rows, errors, select
from common.table import table
from common.timing import machine

SMOOTHINGS = (1e-6, 1e-2, 3e-2, 1e-1)
TRAININGS = {"energies": (0.0, 0.0), "and forces, stresses": (1e-3, 1.0)}


def net_force(transformer, model, structures):
    """Return rms of the summed forces per sqrt(N), relative to the rms of the forces."""
    cotangents = np.array([len(atoms) * model.coef_ for atoms in structures])
    forces = [gradient for gradient, _ in transformer.vjp(structures, cotangents)]
    net = np.mean([np.mean(f.sum(axis=0) ** 2) / len(f) for f in forces])
    return np.sqrt(net / np.mean(np.concatenate(forces) ** 2))


def median_deviation(features, reference, orders):
    """Return the median relative deviation of the features of orders 1 and 2."""
    return np.median(np.abs(features / reference - 1)[:, orders > 0])


def main():
    args = arguments(
        __doc__,
        cache=True,
        quick={"train": 40, "bags": 3, "smoothings": (1e-6, 1e-1)},
        smoothings=SMOOTHINGS,
        train=120,
        test=40,
        directions=4,
        bags=20,
        n_jobs=1,
    )
    data = lisi(packaged=True)
    pool, test = split_paths(data)
    train, test = pool[: args.train], test[: args.test]
    n_atoms = np.array([len(atoms) for atoms in data.structures])
    stress = [value if i % 3 == 0 else None for i, value in enumerate(data.stress)]
    labels = (data.energies, data.forces, stress)
    some = [data.structures[i] for i in test[: 2 if args.quick else 6]]
    print(machine("numpy"), flush=True)

    def fitted(smoothing, **parameters):
        transformer = VoxelScattering(smoothing=smoothing, n_jobs=args.n_jobs, **parameters)
        return transformer.fit(data.structures)

    sharp = fitted(1e-6).transform(some)
    rows = []
    for smoothing in args.smoothings:
        transformer = fitted(smoothing)
        orders = transformer.feature_table_["order"].to_numpy()
        converged = fitted(
            smoothing,
            spacing=transformer.spacing_ / 2,
            oversampling=2.0 ** (transformer.n_scales_ - 1),
            dtype="float64",
        )
        features = transformer.transform(some)
        exact = converged.transform(some[:1])
        deviations = [
            f"{median_deviation(a, b, orders):.1e}"
            for a, b in ((features[:1], exact), (features, sharp))
        ]
        train_rows, test_rows = (
            select(
                cached_rows(
                    transformer, data.structures, labels, members, args.directions, args.cache
                ),
                np.sort(members),
                n_atoms,
            )
            for members in (train, test)
        )
        for name, weights in TRAININGS.items():
            results = []
            for seed in range(1 if args.quick else 2):
                model = fit_rows(
                    BaggedOLSEnsemble(
                        args.bags, max_features=600, random_state=seed, n_jobs=args.n_jobs
                    ),
                    train_rows,
                    check_groups(data.paths[np.sort(train)], len(train)),
                    *weights,
                )
                results.append([*errors(model, test_rows), net_force(transformer, model, some)])
            energy, force, virial, net = np.mean(results, axis=0)
            row = [f"{smoothing:g}", *deviations, name]
            row += [f"{energy:.2f}", f"{force:.0f}", f"{virial:.2f}", f"{net:.3f}"]
            rows.append(row)
            print(" ".join(row), flush=True)
    counts = test_rows.n_components[1:]
    spreads = [
        1e3 * np.sqrt((test_rows.targets[test_rows.kind == kind] ** 2).sum() / count)
        for kind, count in zip((1, 2), counts, strict=True)
    ]
    print(
        f"\n{args.train} training structures, {args.test} of unseen paths, rms of their forces "
        f"{spreads[0]:.0f} meV/Å, of their stresses {spreads[1]:.1f} meV/Å³; {args.bags} bags, "
        f"{args.directions} directions; {transformer.n_features_out_} features\n"
    )
    header = ["smoothing", "discretization", "change", "trained on", "energy meV/atom"]
    header += ["force meV/Å", "stress meV/Å³", "net force"]
    print(table(header, rows))


if __name__ == "__main__":
    main()
