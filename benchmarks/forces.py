"""Force training on Li-Si: learning curves, calibration, and the cost of derivatives.

    python benchmarks/forces.py --cache DIR              # packaged structures, about an hour
    python benchmarks/forces.py --cache DIR --parts 2    # a quarter of them
    python benchmarks/forces.py --cache DIR --data DATA  # all paths, 12 frames each: a day

A cache belongs to one choice of data, --directions and --smoothing.

Labels are CHGNet v0.3.0's, not those of density functional theory. Training structures are drawn
at random from four fifths of the paths of each composition; errors are those of the other paths.
Errors of forces and stresses are estimated from random directions (unbiased). Resolution and
channels are learned from the geometry of all structures.

Timings are the median over three structures, side by side in one process.
"""

import argparse
import os
import time

import numpy as np
from lisi_rows import errors, lisi_rows, load, select

from skwavelet import BaggedOLSEnsemble, VoxelScattering, calibrate_spread
from skwavelet._validation import check_groups
from skwavelet.labels import ENERGY, FORCE, fit_rows

TRAININGS = {  # force_weight, stress_weight
    "energies": (0.0, 0.0),
    "and forces": (1e-3, 0.0),
    "and stresses": (1e-3, 1.0),
}


def time_derivatives(data, transformer):
    """Print what forces, stresses and directional derivatives cost relative to features."""
    X = data.structures[:: len(data.structures) // 3][:3]
    rng = np.random.default_rng(0)

    def clock(function):
        function(X[0])
        times = []
        for atoms in X:
            start = time.perf_counter()
            function(atoms)
            times.append(time.perf_counter() - start)
        return np.median(times)

    cotangent = rng.normal(size=(1, transformer.n_features_out_))
    energy = clock(lambda atoms: transformer.transform([atoms]))
    rows = [("energy", energy)]
    rows.append(
        ("energy, forces, stress", clock(lambda a: transformer.value_and_vjp([a], cotangent)))
    )
    for n_directions in (1, 8):
        moves = {len(a): rng.normal(size=(n_directions, len(a), 3)) for a in X}
        rows.append(
            (
                f"{n_directions} directions",
                clock(lambda a, m=moves: transformer.jvp([a], [m[len(a)]])),
            )
        )
    print(f"\n| {len(X[0])} atoms, {transformer.n_features_out_} features | ms | ratio |")
    print("|---|---|---|")
    for name, seconds in rows:
        print(f"| {name} | {1e3 * seconds:.0f} | {seconds / energy:.2f} |")


def net_forces(data, transformer, model):
    """Print how large forces are that the discretization makes up: their sums should be zero."""
    X = data.structures[:: len(data.structures) // 8][:8]
    cotangents = np.array([len(atoms) * model.coef_ for atoms in X])
    forces = [gradient for gradient, _ in transformer.vjp(X, cotangents)]
    net = np.sqrt(np.mean([np.mean(f.sum(axis=0) ** 2) / len(f) for f in forces]))
    print(
        f"\nSum of the predicted forces over sqrt(N) atoms: rms {1e3 * net:.0f} meV/Å; the forces "
        f"themselves: {1e3 * np.sqrt(np.mean(np.concatenate(forces) ** 2)):.0f} meV/Å "
        f"(smoothing {transformer.smoothing:g})"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default=os.environ.get("SKWAVELET_DATA"))
    parser.add_argument("--packaged", action="store_true", help="packaged structures only")
    parser.add_argument("--cache", required=True)
    parser.add_argument("--parts", type=int, default=8, help="eighths of the data to use")
    parser.add_argument("--directions", type=int, default=4)
    parser.add_argument("--bags", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3, help="random draws per training size")
    parser.add_argument("--smoothing", type=float, default=1e-4, help="of the modulus")
    parser.add_argument("--n-jobs", type=int, default=None)
    args = parser.parse_args()
    data = load(None if args.packaged else args.data)
    transformer = VoxelScattering(smoothing=args.smoothing, n_jobs=args.n_jobs)
    transformer.fit(data.structures)
    rows = lisi_rows(
        data, transformer, args.cache, n_parts=args.parts, n_directions=args.directions
    )
    n_atoms = np.array([len(atoms) for atoms in data.structures])
    known = np.unique(rows["structure"])
    number = np.array([int(path.rpartition("p")[2]) for path in data.paths])
    is_test = number[known] >= (number.max() + 1) * 4 // 5
    test, pool = select(rows, known[is_test], n_atoms), known[~is_test]
    labels = [
        1e3 * np.sqrt((test.targets[test.kind == kind] ** 2).sum() / test.n_components[kind])
        for kind in (1, 2)
    ]
    print(
        f"\n{is_test.sum()} test structures; rms of their forces {labels[0]:.0f} meV/Å, of their "
        f"stresses {labels[1]:.1f} meV/Å³; {args.bags} bags, {args.directions} directions\n"
    )
    print("| structures | trained on | energy meV/atom | force meV/Å | stress meV/Å³ | features |")
    print("|---|---|---|---|---|---|")
    sizes = [n for n in (30, 60, 120, 240, 480, 960, 1920) if n < 0.9 * len(pool)] + [len(pool)]
    for size in sizes:
        for name, weights in TRAININGS.items():
            results = []
            for seed in range(args.repeats if size < len(pool) else 1):
                chosen = np.sort(np.random.default_rng(seed).permutation(pool)[:size])
                train = select(rows, chosen, n_atoms)
                model = fit_rows(
                    BaggedOLSEnsemble(
                        args.bags, max_features=600, random_state=seed, n_jobs=args.n_jobs
                    ),
                    train,
                    check_groups(data.paths[chosen], size),
                    *weights,
                )
                results.append([*errors(model, test), np.count_nonzero(model.coef_)])
            energy, force, stress, used = np.mean(results, axis=0)
            print(
                f"| {size} | {name} | {energy:.2f} | {force:.0f} | {stress:.2f} | {used:.0f} |",
                flush=True,
            )
    print("\nSpread of the last ensemble on the test paths:")
    members = np.column_stack([member.coef_ - model.coef_ for member in model.estimators_])
    levels = np.array([member.intercept_ - model.intercept_ for member in model.estimators_])
    predicted = test.design @ model.coef_ + model.intercept_ * (test.kind == ENERGY)
    for name, kind in (("energies", ENERGY), ("forces along directions", FORCE)):
        at = test.kind == kind
        spread = (test.design[at] @ members + levels * (kind == ENERGY)).std(axis=1)
        factor, table = calibrate_spread((predicted - test.targets)[at], spread, n_bins=5)
        print(f"\n{name}: rms(error / spread) = {factor:.2f}")
        print((table * [1, 1e3, 1e3]).round(2).to_string(index=False))
    net_forces(data, transformer, model)
    time_derivatives(data, transformer)


if __name__ == "__main__":
    main()
