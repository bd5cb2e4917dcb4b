"""Can error bars be believed? Standard deviations, intervals and scores against errors on Li-Si.

    python benchmarks/accuracy/trust.py --cache DIR             # the frames in benchmarks/data
    python benchmarks/accuracy/trust.py energies --cache DIR    # or: forces, default, networks
    python benchmarks/accuracy/trust.py --cache DIR --quick     # a few compositions

Labels are CHGNet v0.3.0's, not those of density functional theory. Features of `PointScattering`;
five folds of whole relaxation paths. Models are trained on paths alone, and asked for unseen paths,
larger cells, diffusion paths and strained cells; structures that stem from a training path are left
out. Nothing is calibrated by hand, and nothing is learned from the sets that are asked for.

energies: `BaggedOLSEnsemble` of energies, six frames of each path. rms(error / spread) is that of
the standard deviation over the models as it is, rms(error / std) that of ``return_std=True``,
rms(error / expected) that with the extrapolation score (``EnergyForceRegressor.expected_error``);
then the share of energies within ``predict_interval(coverage=0.9)``.

forces: `EnergyForceRegressor` of energies, forces along four directions and every third stress of
``--train`` structures: rms(error / std) of energies, components of forces and stresses. Errors of
energies along a path are alike, so that each path counts once. Folds are those with diffusion paths
first. Then, for the atoms with the largest 5 % of the errors of forces, the area under the curve (1
is perfect, 0.5 chance) with which `AtomExtrapolationScore`, and the standard deviation of the
force, find them.

default: the same of ``EnergyForceRegressor()``, of every force, whose members are models of half of
the groups of its training set; ``--train-default`` structures of each fold, and of each set every
so manyth, about ``--most-default``, and ten times as many for energies.

networks: the same of ``AngularNetwork(2, 32, n_members=16)``, whose members are other last layers,
calibrated by a quarter of the training set. Needs torch.

Cost: 10 min, and 15 min each for the default and the networks.
"""

import sys
import time
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from skwavelet import (
    AtomExtrapolationScore,
    BaggedOLSEnsemble,
    EnergyForceRegressor,
    ExtrapolationScore,
    PointScattering,
)
from skwavelet.linear.calibration import unbiased_std

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent / "lisi"))

from common.command import arguments
from common.data import lisi_home
from common.table import Table
from common.timing import machine
from data import LARGE, N_FOLDS, independent, load, path_folds
from features import FeatureCache

# Folds for forces: those with diffusion paths first, each of them images of one relaxation path.
FOLDS = (0, 3, 1, 2, 4)

SETS = {
    "out of bag": ("out of bag",),
    "unseen paths": ("paths",),
    "larger cells": LARGE,
    "– packed independently": ("scratch",),
    "– tiled and displaced": ("t211", "t222"),
    "diffusion paths": ("barriers",),
    "strained cells": ("bulk",),
    "all together": ("all",),
}


def rms(values):
    """Return the root mean square."""
    return float(np.sqrt(np.mean(np.square(values))))


def unseen_rows(parts, fold):
    """Return the rows of every set that models of a fold may be asked for."""
    of_path, fold_of_path = path_folds(parts["paths"])
    rows = {name: independent(part, fold, fold_of_path) for name, part in parts.items()}
    frames = np.arange(len(parts["paths"]))
    rows["paths"] = (of_path == fold) & (frames % 2 == 0)
    found = {name: np.flatnonzero(own) for name, own in rows.items() if own.any()}
    return np.flatnonzero((of_path != fold) & (frames % 2 == 1)), found


def summary(folds, columns, measures, scale):
    """Print a table: one row a set, the columns of all folds together."""
    table = Table(["set", "structures", *columns])
    for name, members in SETS.items():
        found = [fold[part] for fold in folds for part in members if part in fold]
        if found:
            joined = {key: np.concatenate([f[key] for f in found]) for key in found[0]}
            n_structures = sum(f["n_structures"].sum() for f in found)
            table.add(name, int(n_structures), *measures(joined, scale))


def energies_of_fold(fold, store, bags):
    """Return errors and what was said about them, by set."""
    parts = store.parts
    train, rows = unseen_rows(parts, fold)
    X, y = store.get("point", "paths")[train], parts["paths"].energies[train]
    model = BaggedOLSEnsemble(bags, random_state=fold)
    model.fit(X, y, groups=parts["paths"].parents[train])
    used = np.flatnonzero(np.any([member.coef_ for member in model.estimators_], axis=0))
    score = ExtrapolationScore().fit(X[:, used], groups=parts["paths"].parents[train])
    seen = np.isfinite(model.oob_prediction_)
    spread = model.oob_spread_[seen]
    std = model.calibration_(spread)
    results = {
        "out of bag": {
            "error": (model.oob_prediction_ - y)[seen],
            "spread": spread,
            "std": std,
            "expected": std,
            "inside": np.full(seen.sum(), np.nan),
            "score": np.ones(seen.sum()),
            "n_structures": np.array([seen.sum()]),
        }
    }
    for name, own in rows.items():
        Z, truth = store.get("point", name)[own], parts[name].energies[own]
        predicted, std = model.predict(Z, return_std=True)
        low, high = model.predict_interval(Z, coverage=0.9).T
        members = np.column_stack([member.predict(Z) for member in model.estimators_])
        far = score.score_samples(Z[:, used])
        floor = model.calibration_.floor
        results[name] = {
            "error": predicted - truth,
            "spread": unbiased_std(members),
            "std": std,
            "expected": np.sqrt(std**2 + floor**2 * (np.maximum(far, 1) ** 2 - 1)),
            "inside": ((low <= truth) & (truth <= high)).astype(float),
            "score": far,
            "n_structures": np.array([len(own)]),
        }
    return results


def of_energies(found, scale):
    """Return the cells of a set."""
    error = found["error"]
    ratios = [rms(error / found[key]) for key in ("spread", "std", "expected")]
    return [scale * rms(error), *ratios, 100 * found["inside"].mean(), np.median(found["score"])]


def potential(part, fold, args):
    """Return the unfitted model of a part."""
    if part == "default":
        return EnergyForceRegressor(random_state=fold)
    if part == "networks":
        from skwavelet.neural import AngularNetwork

        return AngularNetwork(
            2, 32, n_members=16, validation_fraction=0.25, max_epochs=args.epochs, device="cpu",
            random_state=fold,
        )  # fmt: skip
    return EnergyForceRegressor(
        PointScattering(),
        BaggedOLSEnsemble(args.bags_forces, max_features=300, random_state=fold),
        n_directions=4,
        random_state=fold,
    )


def forces_of_fold(part, fold, store, args, sizes):
    """Return errors of energies, forces and stresses, and the scores of atoms, by set."""
    parts = store.parts
    n_train, most = sizes
    train, rows = unseen_rows(parts, fold)
    rng = np.random.default_rng(fold)
    train = np.sort(rng.permutation(train)[:n_train])
    paths = parts["paths"]
    X = [paths.structures[i] for i in train]
    start = time.process_time()
    model = potential(part, fold, args).fit(
        X,
        paths.energies[train],
        forces=[paths.forces[i] for i in train],
        stress=[paths.stress[i] if number % 3 == 0 else None for number, i in enumerate(train)],
        groups=paths.parents[train],
    )
    print(f"fold {fold}: fitted in {time.process_time() - start:.0f} s of CPU time", flush=True)
    of_atoms = AtomExtrapolationScore(PointScattering()).fit(X)
    results = {}
    for name, own in rows.items():
        # Energies need no derivatives: more structures can be asked for them.
        many, few = (own[:: max(1, len(own) // count)] for count in (10 * most, most))
        part = parts[name]
        X, Z = ([part.structures[i] for i in asked] for asked in (few, many))
        results[name] = {"n_structures": np.array([len(few)])}
        forces, forces_std = model.predict_forces(X, return_std=True)
        wrong = [f - part.forces[i] for f, i in zip(forces, few, strict=True)]
        predictions = {
            "energy": (*model.predict(Z, return_std=True), part.energies[many]),
            "stress": (*model.predict_stress(X, return_std=True), part.stress[few]),
        }
        for key, (predicted, std, truth) in predictions.items():
            results[name][key] = np.ravel(predicted - truth)
            results[name][f"{key}_std"] = np.ravel(std)
        low, high = model.predict_interval(Z, coverage=0.9).T
        results[name]["inside"] = (low <= part.energies[many]) & (part.energies[many] <= high)
        # Structures that stem from one path are of one kind; others are their own.
        parents = [p or f"{name} {i}" for p, i in zip(part.parents[many], many, strict=True)]
        results[name]["parent"] = np.array([f"{fold} {parent}" for parent in parents])
        results[name]["forces"] = np.concatenate([np.ravel(w) for w in wrong])
        results[name]["forces_std"] = np.concatenate([np.ravel(s) for s in forces_std])
        results[name]["of_atom"] = np.concatenate([np.linalg.norm(w, axis=1) for w in wrong])
        norms = [np.linalg.norm(s, axis=1) for s in forces_std]
        results[name]["std_of_atom"] = np.concatenate(norms)
        results[name]["score_of_atom"] = np.concatenate(of_atoms.score_atoms(X))
    keys = next(iter(results.values()))
    results["all"] = {key: np.concatenate([r[key] for r in results.values()]) for key in keys}
    return results


def of_forces(found, scale):
    """Return the cells of a set."""
    cells = []
    for key in ("energy", "forces", "stress"):
        ratios = found[key] / found[f"{key}_std"]
        if key == "energy":
            _, parent, count = np.unique(found["parent"], return_inverse=True, return_counts=True)
            once = np.sqrt(np.bincount(parent, ratios**2) / count)
            cells += [len(count), scale * rms(found[key]), rms(once)]
            cells.append(100 * found["inside"].mean())
        else:
            cells += [scale * rms(found[key]), rms(ratios)]
    return cells


def of_atoms(found, scale):
    """Return the cells of a set."""
    error = found["of_atom"]
    worst = error > np.percentile(error, 95)
    areas = [roc_auc_score(worst, found[f"{key}_of_atom"]) for key in ("score", "std")]
    return [len(error), scale * np.percentile(error, 95), *areas]


def main():
    args = arguments(
        __doc__,
        data="lisi",
        cache=True,
        quick={
            "bags": 8,
            "bags_forces": 4,
            "folds": 1,
            "folds_forces": 1,
            "train": 60,
            "most": 5,
            "train_default": 24,
            "most_default": 3,
            "epochs": 5,
        },
        parts=("energies", "forces", "default", "networks"),
        bags=30,
        bags_forces=20,
        folds=N_FOLDS,
        folds_forces=2,
        train=480,
        most=100,
        train_default=240,
        most_default=24,
        epochs=100,
    )
    parts = load(lisi_home(args.data), args.quick)
    store = FeatureCache(parts, {"point": PointScattering()}, args.cache)
    print(machine("numpy", "scikit-learn"))
    if "energies" in args.parts:
        folds = [energies_of_fold(fold, store, args.bags) for fold in range(args.folds)]
        print(f"\nenergies: {args.bags} bags, {args.folds} folds\n")
        columns = ["rmse, meV/atom", "rms(error / spread)", "rms(error / std)"]
        columns += ["rms(error / expected)", "within 90 % intervals, %", "median score"]
        summary(folds, columns, of_energies, 1e3)
    of = {
        "forces": f"{args.bags_forces} bags",
        "default": "EnergyForceRegressor()",
        "networks": f"AngularNetwork(2, 32), {args.epochs} epochs",
    }
    for part in of:
        if part not in args.parts:
            continue
        sizes = args.train_default, args.most_default
        if part == "forces":
            sizes = args.train, args.most
        of_folds = FOLDS[: args.folds_forces]
        folds = [forces_of_fold(part, fold, store, args, sizes) for fold in of_folds]
        print(
            f"\nenergies, forces and stresses: {sizes[0]} structures, {of[part]}, "
            f"{args.folds_forces} folds; rmse and rms(error / std)\n"
        )
        columns = ["paths", "energy, meV/atom", "/ std", "within 90 % intervals, %"]
        columns += ["forces, meV/Å", "/ std", "stress, meV/Å³", "/ std"]
        summary(folds, columns, of_forces, 1e3)
        print("\nthe 5 % of atoms with the largest errors of forces\n")
        columns = ["atoms", "error above, meV/Å", "area by score", "area by std"]
        summary(folds, columns, of_atoms, 1e3)


if __name__ == "__main__":
    main()
