"""Labels from a pool of Li-Si where training and use differ: by disagreement, or at random.

    python benchmarks/accuracy/active_learning_shift.py --cache DIR
    python benchmarks/accuracy/active_learning_shift.py --cache DIR --quick

Labels are CHGNet v0.3.0's, not those of density functional theory; energies only, features of
`PointScattering`. Models know 200 structures of one kind, and are used on another, of which the
pool has few among many of the first:

- relaxation: late frames of paths are known, the first three frames of paths are used;
- composition: up to 1.2 Li per Si is known, more than 2.5 is used;
- strain: frames of paths are known, strained cells are used.

Each round fits an ensemble and has a batch of the pool labelled: the top of `rank_structures`, or
random ones. The pool has ten structures of the first kind for each of the second. Errors are those
of structures of the second kind, of compositions or paths that are not in the pool.

Cost: 5 min.
"""

import sys
from pathlib import Path

import numpy as np

from skwavelet import BaggedOLSEnsemble, PointScattering
from skwavelet.potentials.uncertainty import rank_by_disagreement

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent / "lisi"))

from common.command import arguments
from common.data import lisi_home
from common.table import Table
from common.timing import machine
from data import load
from features import FeatureCache

START, MANY = 200, 10


def kinds(task, parts):
    """Return (part, row) of the known kind, and of the kind that is used."""
    paths = parts["paths"]
    known, used = np.arange(len(paths)), np.arange(len(paths))
    if task == "relaxation":
        number = _places(paths.parents)
        known, used = known[number >= 8], used[number < 3]
    elif task == "composition":
        ratio = np.array([a.symbols.count("Li") / a.symbols.count("Si") for a in paths.structures])
        known, used = known[ratio < 1.2], used[ratio > 2.5]
    else:
        return [("paths", i) for i in known], [("bulk", i) for i in range(len(parts["bulk"]))]
    return [("paths", i) for i in known], [("paths", i) for i in used]


def _places(paths):
    """Return the number of each structure among those of its path."""
    count, places = {}, np.empty(len(paths), dtype=int)
    for row, path in enumerate(paths):
        places[row] = count[path] = count.get(path, -1) + 1
    return places


def learn(task, strategy, seed, store, args):
    """Return the errors (meV/atom) before and after each round."""
    rng, parts = np.random.default_rng(seed), store.parts
    known, used = kinds(task, parts)

    def group(structure):
        part, row = structure
        return parts[part].parents[row]

    unseen = set(rng.permutation(sorted({group(s) for s in used}))[::2].tolist())
    test = [s for s in used if group(s) in unseen]
    known = [known[i] for i in rng.permutation(len(known)) if group(known[i]) not in unseen]
    rare = [used[i] for i in rng.permutation(len(used)) if group(used[i]) not in unseen]
    labelled, common = known[:START], [s for s in known[START:] if s not in set(rare)]
    rare = rare[: len(common) // MANY]
    pool = [*common[: MANY * len(rare)], *rare]

    def rows(structures):
        X = np.array([store.get("point", part)[row] for part, row in structures])
        return X, np.array([parts[part].energies[row] for part, row in structures])

    X_test, y_test = rows(test)
    curve = []
    for _ in range(args.rounds + 1):
        X, y = rows(labelled)
        model = BaggedOLSEnsemble(args.bags, max_features=200, random_state=seed)
        model.fit(X, y, groups=[str(group(s)) for s in labelled])
        curve.append(1e3 * np.sqrt(np.mean((model.predict(X_test) - y_test) ** 2)))
        order = rng.permutation(len(pool))
        if strategy == "rank_structures":
            of_pool, _ = rows(pool)
            predictions = [member.predict(of_pool) for member in model.estimators_]
            order = rank_by_disagreement(np.column_stack(predictions))
        labelled = [*labelled, *(pool[i] for i in order[: args.batch])]
        pool = [pool[i] for i in sorted(order[args.batch :])]
    return curve


def main():
    args = arguments(
        __doc__,
        data="lisi",
        cache=True,
        quick={"repeats": 1, "rounds": 2, "bags": 5},
        parts=("relaxation", "composition", "strain"),
        batch=10,
        rounds=6,
        repeats=3,
        bags=15,
    )
    parts = load(lisi_home(args.data))
    store = FeatureCache(parts, {"point": PointScattering()}, args.cache)
    print(machine("numpy", "scikit-learn"))
    print(f"\n{args.bags} bags, medians of {args.repeats} repeats, RMSE in meV/atom\n")
    table = Table(["task", "new labels", "at random", "rank_structures"], digits=1)
    for task in args.parts:
        curves = [
            np.median([learn(task, how, seed, store, args) for seed in range(args.repeats)], axis=0)
            for how in ("random", "rank_structures")
        ]
        for number, values in enumerate(zip(*curves, strict=True)):
            table.add(task, number * args.batch, *map(float, values))


if __name__ == "__main__":
    main()
