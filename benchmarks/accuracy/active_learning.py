"""Active learning on Li-Si: structures chosen by disagreement of an ensemble, or at random.

    python benchmarks/accuracy/active_learning.py --data DATA --cache DIR  # all paths
    python benchmarks/accuracy/active_learning.py --cache DIR          # those in benchmarks/data
    python benchmarks/accuracy/active_learning.py --cache DIR --quick  # seconds

Labels are CHGNet v0.3.0's, not those of density functional theory; energies only, features of
`PointScattering` (``--voxel`` for `VoxelScattering`). Each round fits an ensemble to the labelled
structures and has a batch of the pool labelled: the top of `rank_structures`, the structures of
largest standard deviation, or random ones. Errors are those of structures of paths that are never
in the pool: their root mean square, and the 95th percentile of their size, which tells whether the
worst structures gain; median and quartiles over repeats.

Cost: 10 min.
"""

import sys
from pathlib import Path

import numpy as np

from skwavelet import BaggedOLSEnsemble, PointScattering, VoxelScattering
from skwavelet.potentials.uncertainty import rank_by_disagreement

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common.command import arguments
from common.data import lisi, split_paths
from common.table import table
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
    args = arguments(
        __doc__,
        data="lisi",
        cache=True,
        quick={"repeats": 1, "rounds": 3, "bags": 5},
        voxel=False,
        batch=40,
        rounds=8,
        repeats=5,
        bags=20,
    )
    data = lisi(args.data, packaged=args.quick)
    transformer = (VoxelScattering() if args.voxel else PointScattering()).fit(data.structures)
    X = args.cache.get(
        "features", lambda: transformer.transform(data.structures), transformer, data.structures
    )
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
        print(f"\n{name}, meV/atom\n")
        rows = []
        for step in range(args.rounds):
            values = (np.array(curves[strategy])[:, step, column] for strategy in STRATEGIES)
            ranges = (np.percentile(value, [50, 25, 75]) for value in values)
            cells = ["{:.2f} ({:.2f} to {:.2f})".format(*found) for found in ranges]
            rows.append([(step + 1) * args.batch, *cells])
        print(table(["labelled", *STRATEGIES], rows))


if __name__ == "__main__":
    main()
