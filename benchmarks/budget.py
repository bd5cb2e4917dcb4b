"""Models within a budget of time: error on unseen Li-Si paths against milliseconds.

    python benchmarks/budget.py --cache DIR              # packaged structures
    python benchmarks/budget.py --cache DIR --data DATA  # all paths, 12 frames each

Labels are CHGNet v0.3.0's, not those of density functional theory. The full set has 3,740
features (five scales; the two widest describe the box, but all boxes here are alike). Features
are chosen on the training paths, with the time that they cost in mind, and the ensemble is fitted
again with the features that a budget pays for. Times are measured: the shortest of several runs
for one structure, on one core, all in one process.
"""

import argparse
import os
import warnings
from pathlib import Path

import numpy as np
from lisi_rows import cached, load

from skwavelet import BaggedOLSEnsemble, FeatureCosts, VoxelScattering
from skwavelet.budget import features_in_budget


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default=os.environ.get("SKWAVELET_DATA"))
    parser.add_argument("--packaged", action="store_true", help="packaged structures only")
    parser.add_argument("--cache", required=True)
    parser.add_argument("--bags", type=int, default=20)
    parser.add_argument("--n-jobs", type=int, default=None)
    args = parser.parse_args()
    data = load(None if args.packaged else args.data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # scales wider than the cells: meant
        transformer = VoxelScattering(n_scales=5, n_jobs=args.n_jobs).fit(data.structures)
    features = cached(
        Path(args.cache, "features_5_scales.npz"),
        lambda: {"X": transformer.transform(data.structures)},
    )["X"]
    number = np.array([int(path.rpartition("p")[2]) for path in data.paths])
    test = number >= (number.max() + 1) * 4 // 5
    atoms = data.structures[len(data.structures) // 2]
    costs = FeatureCosts(transformer, atoms)
    print(costs.measured_.round(1).to_string(index=False))

    def evaluate(columns):
        model = BaggedOLSEnsemble(args.bags, max_features=600, random_state=0, n_jobs=args.n_jobs)
        model.fit(features[~test][:, columns], data.energies[~test], groups=data.paths[~test])
        error = model.predict(features[test][:, columns]) - data.energies[test]
        used = columns[np.any([m.coef_ for m in model.estimators_], axis=0)]
        return 1e3 * np.sqrt(np.mean(error**2)), used

    every = np.arange(features.shape[1])
    full_error, used = evaluate(every)
    full_time = costs.measure(every, repeats=9)
    print(
        f"\n{(~test).sum()} training and {test.sum()} test structures, {args.bags} bags; "
        f"timed on {len(atoms)} atoms\n"
    )
    print("| budget ms | features | used | transforms by grid | ms | faster | RMSE meV/atom | |")
    print("|---|---|---|---|---|---|---|---|")

    def report(label, columns, used, error):
        grids = "+".join(map(str, costs.transforms(used)))
        milliseconds = costs.measure(used, repeats=9)
        print(
            f"| {label} | {len(columns)} | {len(used)} | {grids} | {milliseconds:.1f} | "
            f"{full_time / milliseconds:.1f} | {error:.2f} | {error / full_error - 1:+.0%} |",
            flush=True,
        )

    print(f"| all computed | {len(every)} | | | {full_time:.1f} | 1 | {full_error:.2f} | |")
    report("pruned", every, used, full_error)
    whole = costs.predict(every)
    for fraction in (1 / 2, 1 / 4, 1 / 6, 1 / 8, 1 / 10, 1 / 12, 1 / 16, 1 / 24, 1 / 40):
        chosen = np.sort(
            features_in_budget(features[~test], data.energies[~test], costs, fraction * whole)
        )
        if len(chosen):
            error, used = evaluate(chosen)
            report(f"{fraction * whole:.1f}", chosen, used, error)


if __name__ == "__main__":
    main()
