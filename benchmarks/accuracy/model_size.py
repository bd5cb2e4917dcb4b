"""How many features should a model have? Rules compared, on unseen paths and beyond them.

    python benchmarks/accuracy/model_size.py --cache DIR           # the frames in benchmarks/data
    python benchmarks/accuracy/model_size.py --cache DIR --quick   # a few compositions

Labels are CHGNet v0.3.0's, not those of density functional theory; energies only, six frames of
each relaxation path of Li-Si, features of `PointScattering`. The models of an ensemble are greedy
models of bootstrap samples of the paths, as in `BaggedOLSEnsemble`, but each path of models goes on
to ``--longest`` features. A rule chooses the number of features M from what a model has left out:

- minimum: the least out-of-bag error (what `BaggedOLSEnsemble` does);
- one standard error: the fewest features whose error is within one standard error, over the
  groups out of bag, of the least;
- median: the median of the minima of all models, for all of them;
- pressure: the least out-of-bag error of the pressure of the last frame of every path, which takes
  labels of stress;
- both: the least product of the two errors;
- pressure within 5 % (10 %): the least error of the pressure among numbers of features whose
  out-of-bag error of energies is so close to the least;
- half, quarter: so much of the minimum.

Errors are those of the ensemble: on unseen paths, larger cells, diffusion paths and strained cells
(structures that stem from a training path are left out), and of the pressure of unseen paths. The
second table has them by M, the same for all models, beyond the minimum too.

Cost: 10 min.
"""

import sys
from itertools import islice
from pathlib import Path

import numpy as np

from skwavelet import GreedyOLSRegressor, PointScattering

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent / "lisi"))

from common.command import arguments
from common.data import lisi_home
from common.table import Table
from common.timing import machine
from data import LARGE, N_FOLDS, independent, load, path_folds
from features import FeatureCache
from fits import pressure_frames

GPA = 160.21766
WITHIN = {"pressure within 5 %": 1.05, "pressure within 10 %": 1.1, "pressure": np.inf}
RULES = ("minimum", "one standard error", "median", *WITHIN, "both", "half", "quarter")
SIZES = (10, 20, 30, 50, 70, 100, 150, 200, 300, 400)
SETS = ("paths", *LARGE, "barriers", "bulk")


def by_size(model, X, longest):
    """Return predictions (longest, n) with 1, 2, ... features; a path that ends stays as it is."""
    stages = np.array(list(islice(model.staged_predict(X), longest)))
    return np.concatenate([stages, np.repeat(stages[-1:], longest - len(stages), axis=0)])


def choose(rule, errors, groups, pressure):
    """Return M of one model.

    ``errors`` (longest, n) and ``pressure`` (longest, n_frames) are errors out of bag.
    """
    mean = np.mean(errors**2, axis=1)
    best = int(np.argmin(mean))
    if rule in ("minimum", "median"):
        return best + 1
    if rule == "half":
        return max(1, (best + 1) // 2)
    if rule == "quarter":
        return max(1, (best + 1) // 4)
    if rule == "one standard error":
        size = np.bincount(groups)
        of_groups = np.bincount(groups, errors[best] ** 2) / np.maximum(size, 1)
        of_groups = of_groups[size > 0]
        standard_error = of_groups.std(ddof=1) / np.sqrt(len(of_groups))
        return int(np.argmax(mean <= mean[best] + standard_error)) + 1
    of_pressure = np.mean(pressure**2, axis=1)
    if rule == "both":
        return int(np.argmin(of_pressure * mean)) + 1
    allowed = mean <= WITHIN[rule] ** 2 * mean[best]
    return int(np.argmin(np.where(allowed, of_pressure, np.inf))) + 1


def fold_errors(fold, store, args):
    """Return the errors of the ensembles of one fold by rule and by size, in each set."""
    parts = store.parts
    paths = parts["paths"]
    of_path, fold_of_path = path_folds(paths)
    frames = np.arange(len(paths))
    train = frames[(of_path != fold) & (frames % 2 == 1)]
    unseen = frames[(of_path == fold) & (frames % 2 == 0)]
    X = store.get("point", "paths")
    _, group = np.unique(paths.parents[train], return_inverse=True)
    rows = {name: independent(parts[name], fold, fold_of_path) for name in SETS[1:]}
    rows["paths"] = unseen
    targets = {name: parts[name].energies[rows[name]] for name in SETS}
    inputs = {name: store.get("point", name)[rows[name]] for name in SETS}
    # The pressure is that of the last frame of each path, by -d(features)/d(strain) N / 3V.
    last = pressure_frames(paths, every=1)
    slopes = store.strain_derivative("point", last)
    reference = -paths.stress[last, :3].mean(axis=1)
    seen = of_path[last] != fold
    _, group_of_frame = np.unique(paths.parents[last[seen]], return_inverse=True)
    rng = np.random.default_rng(fold)
    members, chosen = [], {rule: [] for rule in RULES}
    for _ in range(args.bags):
        counts = np.bincount(rng.integers(group.max() + 1, size=group.max() + 1))
        counts = np.pad(counts, (0, group.max() + 1 - len(counts)))
        model = GreedyOLSRegressor(
            args.longest,
            candidates="sqrt",
            validation_fraction=None,
            random_state=int(rng.integers(2**31)),
        )
        model.fit(X[train], paths.energies[train], sample_weight=counts[group])
        out = counts[group] == 0
        errors = by_size(model, X[train[out]], args.longest) - paths.energies[train[out]]
        # Energies of rows of features are affine; without the independent term, of derivatives.
        zero = by_size(model, np.zeros((1, X.shape[1])), args.longest)
        pressure = -(by_size(model, slopes, args.longest) - zero)
        left_out = np.flatnonzero(seen)[counts[group_of_frame] == 0]
        for rule in RULES:
            wrong = (pressure - reference)[:, left_out]
            chosen[rule].append(choose(rule, errors, group[out], wrong))
        predictions = {
            name: by_size(model, inputs[name], args.longest) for name in SETS if len(inputs[name])
        }
        members.append((predictions, pressure[:, ~seen]))
    chosen["median"] = [int(np.median(chosen["median"]))] * args.bags

    def errors_at(sizes):
        """Return squared errors of the ensemble whose models have these numbers of features."""
        found = {
            name: (
                np.mean([m[0][name][s - 1] for m, s in zip(members, sizes, strict=True)], axis=0)
                - targets[name]
            )
            ** 2
            for name in members[0][0]
        }
        mean = np.mean([m[1][s - 1] for m, s in zip(members, sizes, strict=True)], axis=0)
        return found | {"pressure": (mean - reference[~seen]) ** 2}

    results = {rule: errors_at(chosen[rule]) for rule in RULES}
    results |= {size: errors_at([size] * args.bags) for size in SIZES if size <= args.longest}
    return results, chosen


def main():
    args = arguments(
        __doc__,
        data="lisi",
        cache=True,
        quick={"bags": 4, "folds": 1, "longest": 60},
        second=False,
        longest=400,
        bags=15,
        folds=N_FOLDS,
    )
    parts = load(lisi_home(args.data), args.quick)
    base = PointScattering(order=2 if args.second else 1)
    store = FeatureCache(parts, {"point": base}, args.cache)
    results = [fold_errors(fold, store, args) for fold in range(args.folds)]
    print(machine("numpy", "scikit-learn"))
    print(f"\n{base}, {args.bags} bags, {args.folds} folds; RMSE, meV/atom and GPa\n")
    header = ["unseen paths", "larger cells", "diffusion paths", "strained cells", "pressure"]

    def cells(key):
        def rms(*names):
            squares = [
                result[key][name] for result, _ in results for name in names if name in result[key]
            ]
            return np.sqrt(np.concatenate(squares).mean()) if squares else np.nan

        energies = [1e3 * rms(*names) for names in (["paths"], LARGE, ["barriers"], ["bulk"])]
        return [*energies, GPA * rms("pressure")]

    table = Table(["rule", "M", *header])
    for rule in RULES:
        sizes = np.concatenate([chosen[rule] for _, chosen in results])
        table.add(rule, f"{sizes.mean():.0f} ({sizes.min()} to {sizes.max()})", *cells(rule))
    print()
    table = Table(["M of all models", *header])
    for size in SIZES:
        if size <= args.longest:
            table.add(size, *cells(size))


if __name__ == "__main__":
    main()
