"""Active learning on Li-Si: structures chosen by disagreement of an ensemble, or at random.

    python benchmarks/active_learning.py --cache DIR              # packaged structures
    python benchmarks/active_learning.py --cache DIR --data DATA  # all paths, 12 frames each

Labels are CHGNet v0.3.0's, not those of density functional theory; energies only. Each round
fits an ensemble to the labelled structures and has a batch of the pool labelled: the top of
`rank_structures`, the structures of largest standard deviation, or random ones. Errors are those
of the fifth of the paths that are never in the pool, the median and the quartiles over repeats.
"""

import argparse
import os
from pathlib import Path

import numpy as np
from lisi_rows import cached, load

from skwavelet import BaggedOLSEnsemble, VoxelScattering
from skwavelet.uncertainty import rank_by_disagreement


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default=os.environ.get("SKWAVELET_DATA"))
    parser.add_argument("--packaged", action="store_true", help="packaged structures only")
    parser.add_argument("--cache", required=True)
    parser.add_argument("--batch", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=6)
    parser.add_argument("--bags", type=int, default=30)
    args = parser.parse_args()
    data = load(None if args.packaged else args.data)
    transformer = VoxelScattering().fit(data.structures)
    X = cached(
        Path(args.cache, "features.npz"), lambda: {"X": transformer.transform(data.structures)}
    )["X"]
    y, paths = data.energies, data.paths
    number = np.array([int(path.rpartition("p")[2]) for path in paths])
    test = number >= (number.max() + 1) * 4 // 5

    def choose(strategy, model, pool, rng):
        if strategy == "random":
            return rng.permutation(len(pool))
        members = np.column_stack([member.predict(X[pool]) for member in model.estimators_])
        if strategy == "largest spread":
            return np.argsort(-members.std(axis=1))
        return rank_by_disagreement(members)

    strategies = ("random", "largest spread", "rank_structures")
    curves = {strategy: [] for strategy in strategies}
    for seed in range(args.repeats):
        for strategy in strategies:
            rng = np.random.default_rng(seed)
            order = rng.permutation(np.flatnonzero(~test))
            labelled, pool, curve = order[: args.batch], order[args.batch :], []
            for _ in range(args.rounds):
                model = BaggedOLSEnsemble(args.bags, max_features=300, random_state=seed)
                model.fit(X[labelled], y[labelled], groups=paths[labelled])
                error = model.predict(X[test]) - y[test]
                curve.append(1e3 * np.sqrt(np.mean(error**2)))
                chosen = choose(strategy, model, pool, rng)[: args.batch]
                labelled = np.append(labelled, pool[chosen])
                pool = np.delete(pool, chosen)
            curves[strategy].append(curve)
    print(f"RMSE in meV/atom of {test.sum()} structures of unseen paths\n")
    print("| labelled | " + " | ".join(strategies) + " |")
    print("|---" * (1 + len(strategies)) + "|")
    for step in range(args.rounds):
        cells = []
        for strategy in strategies:
            low, middle, high = np.percentile(np.array(curves[strategy])[:, step], [25, 50, 75])
            cells.append(f"{middle:.2f} ({low:.2f} to {high:.2f})")
        print(f"| {(step + 1) * args.batch} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
