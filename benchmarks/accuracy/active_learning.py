"""Active learning on Li-Si: structures chosen by disagreement of an ensemble, or at random.

    python benchmarks/accuracy/active_learning.py --data DATA --cache DIR  # all paths
    python benchmarks/accuracy/active_learning.py --cache DIR                # packaged structures
    python benchmarks/accuracy/active_learning.py --cache DIR --quick        # seconds

Labels are CHGNet v0.3.0's, not those of density functional theory; energies only, features of
`PointScattering` (``--voxel`` for `VoxelScattering`). Each round fits an ensemble to the labelled
structures and has a batch of the pool labelled: the top of `rank_structures`, the structures of
largest standard deviation, or random ones. Errors are those of structures of paths that are never
in the pool: their root mean square, and the 95th percentile of their size, which tells whether the
worst structures gain; median and quartiles over repeats.
"""

import argparse
import os
import sys
from pathlib import Path

import numpy as np
import threadpoolctl

from skwavelet import BaggedOLSEnsemble, PointScattering, VoxelScattering
from skwavelet.potentials.uncertainty import rank_by_disagreement

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common.rows import cached, load, split_paths
from common.timing import machine

STRATEGIES = ("random", "largest spread", "rank_structures")


def choose(strategy, model, X, rng):
    """Return the rows of X in the order in which a strategy wants their labels."""
    if strategy == "random":
        return rng.permutation(len(X))
    members = np.column_stack([member.predict(X) for member in model.estimators_])
    if strategy == "largest spread":
        return np.argsort(-members.std(axis=1))
    return rank_by_disagreement(members)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default=os.environ.get("SKWAVELET_DATA"))
    parser.add_argument("--cache", required=True)
    parser.add_argument("--quick", action="store_true", help="packaged structures, one repeat")
    parser.add_argument("--voxel", action="store_true")
    parser.add_argument("--batch", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--bags", type=int, default=20)
    args = parser.parse_args()
    if args.quick:
        args.data, args.repeats, args.rounds, args.bags = None, 1, 3, 5
    data = load(args.data)
    transformer = (VoxelScattering() if args.voxel else PointScattering()).fit(data.structures)
    file = f"{type(transformer).__name__}_{len(data.structures)}.npz"
    X = cached(Path(args.cache, file), lambda: {"X": transformer.transform(data.structures)})["X"]
    y, paths = data.energies, data.paths
    pool, unseen = split_paths(data)
    curves = {strategy: [] for strategy in STRATEGIES}
    for seed in range(args.repeats):
        for strategy in STRATEGIES:
            rng = np.random.default_rng(seed)
            order = rng.permutation(pool)
            labelled, left, curve = order[: args.batch], order[args.batch :], []
            for _ in range(args.rounds):
                model = BaggedOLSEnsemble(args.bags, random_state=seed)
                model.fit(X[labelled], y[labelled], groups=paths[labelled])
                error = 1e3 * np.abs(model.predict(X[unseen]) - y[unseen])
                curve.append([np.sqrt(np.mean(error**2)), np.percentile(error, 95)])
                chosen = choose(strategy, model, X[left], rng)[: args.batch]
                labelled = np.append(labelled, left[chosen])
                left = np.delete(left, chosen)
            curves[strategy].append(curve)
    print(machine("numpy"))
    print(
        f"\n{type(transformer).__name__}, {X.shape[1]} features, {args.bags} bags, {args.repeats} "
        f"repeats; pool of {len(pool)}, {len(unseen)} structures of unseen paths"
    )
    for column, name in enumerate(("RMSE", "95th percentile of errors")):
        print(f"\n{name}, meV/atom\n\n| labelled | " + " | ".join(STRATEGIES) + " |")
        print("|---" * (1 + len(STRATEGIES)) + "|")
        for step in range(args.rounds):
            cells = []
            for strategy in STRATEGIES:
                values = np.array(curves[strategy])[:, step, column]
                low, middle, high = np.percentile(values, [25, 50, 75])
                cells.append(f"{middle:.2f} ({low:.2f} to {high:.2f})")
            print(f"| {(step + 1) * args.batch} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    with threadpoolctl.threadpool_limits(1):
        main()
