"""Energies, forces and stresses along unseen Li-Si paths, trained with and without forces.

    python benchmarks/accuracy/forces.py --data DATA --cache DIR      # all paths, 12 frames each
    python benchmarks/accuracy/forces.py --cache DIR                  # packaged structures
    python benchmarks/accuracy/forces.py --cache DIR --quick          # minutes

Labels are CHGNet v0.3.0's, not those of density functional theory. Of every composition, four
fifths of the paths are for training, the others are never seen. Training sets are nested random
draws of frames of the training paths; resolution and channels are learned from the geometry of all
structures. Every third structure brings its stress. Rows of derivatives are taken along random
directions, whose number per structure stands in the table, and kept in ``--cache``. Errors of
forces and stresses are estimated along random directions of the unseen structures, too, which is
unbiased. Features of SOAP (DScribe, averaged over the atoms of each element) have no derivatives
in periodic cells: theirs are central differences along the same directions.

Weights of forces and stresses are chosen by the errors of training structures in the models of the
ensemble that did not see their paths.

"defaults" is ``EnergyForceRegressor(n_directions=--directions)``, which chooses weights and penalty
on training paths that it holds out, with forces and the stresses of every third structure, and on
energies alone. Its errors of forces are those of all components.

Cost: hours; 10 min with ``--only Point --largest 480``, 5 min with ``--only defaults --largest
480``. SOAP needs dscribe.
"""

import sys
import time
from pathlib import Path

import numpy as np

from skwavelet import (
    AngularFeatures,
    BaggedOLSEnsemble,
    EnergyForceRegressor,
    ExtrapolationScore,
    PointScattering,
    VoxelScattering,
    calibrate_spread,
)
from skwavelet._utils.validation import check_groups
from skwavelet.potentials.row_fits import fit_rows
from skwavelet.potentials.rows import ENERGY, FORCE, STRESS

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common.command import arguments
from common.data import lisi, split_paths
from common.rivals import DScribe
from common.rows import RowsRidge, beside, cached_rows, errors, select
from common.table import line, table
from common.timing import machine

TRAININGS = {  # force_weight, stress_weight
    "energies": (0.0, 0.0),
    "and forces": (1e-3, 0.0),
    "and stresses": (1e-3, 1.0),
    "and stresses, forces tenfold": (1e-2, 1.0),
}
SIZES = (60, 120, 240, 480, 960, 1920, 10**6)
UNITS = ("energy meV/atom", "force meV/Å", "stress meV/Å³")
PENALTIES = 10.0 ** np.arange(-9, -2)


def representations(smoothing, n_jobs):
    """Return name -> (representations side by side, directions, most training structures)."""
    voxel = VoxelScattering(smoothing=smoothing, n_jobs=n_jobs)
    point, angular = PointScattering(n_jobs=n_jobs), AngularFeatures(angles="legendre")
    return {
        "Point": ([point], 8, 10**6),
        "Point + Angular": ([point, angular], 8, 1920),
        "Voxel": ([voxel], 4, 480),
        "SOAP": ([DScribe("SOAP", {"n_max": 8, "l_max": 6}, by_element=True)], 4, 480),
    }


def out_of_bag(model, train):
    """Return RMSEs of structures in the models that did not see their paths."""
    error = model.oob_prediction_ - train.targets
    known = ~np.isnan(error)
    # Few structures are in every bag; the others stand for them.
    return [
        1e3
        * np.sqrt(
            np.square(error[known & (train.kind == kind)]).sum()
            / max(count * known[train.kind == kind].mean(), 1)
        )
        for kind, count in enumerate(train.n_components)
        if count
    ]


def worst_structures(models, train, unseen, names):
    """Print how force errors are spread over the unseen structures, and which is worst."""
    score = ExtrapolationScore().fit(train.design[train.kind == ENERGY])
    scores = score.score_samples(unseen.design[unseen.kind == ENERGY])
    at = unseen.kind == FORCE
    components = unseen.n_components[FORCE] / unseen.n_components[ENERGY]
    rows = []
    for name, model in models.items():
        squares = np.square(unseen.design[at] @ model.coef_ - unseen.targets[at])
        each = 1e3 * np.sqrt(np.bincount(unseen.structure[at], squares) / components)
        worst = int(np.argmax(each))
        rank = 1 + np.count_nonzero(scores > scores[worst])
        row = [name, *np.percentile(each, [50, 90]).round(), each[worst].round(), names[worst]]
        row += [f"{scores[worst]:.1f}, no. {rank}"]
        row.append(f"{np.sqrt(np.mean(np.delete(each, worst) ** 2)):.0f}")
        rows.append(row)
    header = ["force error of a structure, meV/Å", "median", "90 %", "worst", "which"]
    header += ["its extrapolation score", "rms without it"]
    print("\n" + table(header, rows), flush=True)


def calibration(model, unseen, halves):
    """Print how the spread of an ensemble compares with its errors, and corrects itself."""
    members = np.column_stack([member.coef_ - model.coef_ for member in model.estimators_])
    levels = np.array([member.intercept_ - model.intercept_ for member in model.estimators_])
    predicted = unseen.design @ model.coef_ + model.intercept_ * (unseen.kind == ENERGY)
    for name, kind in (("energies", ENERGY), ("forces along directions", FORCE)):
        at = unseen.kind == kind
        spread = (unseen.design[at] @ members + levels * (kind == ENERGY)).std(axis=1)
        error, half = (predicted - unseen.targets)[at], halves[unseen.structure[at]]
        factors = [calibrate_spread(error[half == k], spread[half == k])[0] for k in (0, 1)]
        left = factors[1] / factors[0]
        inside = np.mean(np.abs(error) < factors[0] * spread)
        factor, bins = calibrate_spread(error, spread, n_bins=5)
        print(
            f"\n{name}: rms(error / spread) = {factor:.2f}. Multiplied by the factor of one half "
            f"of the unseen paths ({factors[0]:.2f}), that of the other half is {left:.2f}; "
            f"{inside:.0%} of the errors are within one corrected spread (Gaussian: 68 %)\n"
        )
        rows = (bins * [1, 1e3, 1e3]).round(2).to_numpy().tolist()
        print(table(["count", "spread, meV", "rmse, meV"], rows), flush=True)


def time_derivatives(structures, transformer):
    """Print what forces, stresses and directional derivatives cost relative to features."""
    X = structures[:: len(structures) // 3][:3]
    rng = np.random.default_rng(0)

    def clock(function):
        times = []
        for atoms in X:
            function(atoms)
            start = time.process_time()
            function(atoms)
            times.append(time.process_time() - start)
        return np.median(times)

    cotangent = rng.normal(size=(1, transformer.n_features_out_))
    moves = {n: rng.normal(size=(8, n, 3)) for n in {len(atoms) for atoms in X}}
    rows = [
        ("energy", clock(lambda a: transformer.transform([a]))),
        ("energy, forces, stress", clock(lambda a: transformer.value_and_vjp([a], cotangent))),
        ("1 direction", clock(lambda a: transformer.jvp([a], [moves[len(a)][:1]]))),
        ("8 directions", clock(lambda a: transformer.jvp([a], [moves[len(a)]]))),
    ]
    name = f"{type(transformer).__name__}, {transformer.n_features_out_} features"
    cells = [[row, f"{1e3 * s:.0f}", f"{s / rows[0][1]:.2f}"] for row, s in rows]
    print("\n" + table([name, "CPU ms", "ratio"], cells), flush=True)


_BOTH = [f"{unit}, {how}" for unit in ("meV/atom", "meV/Å") for how in ("MAE", "RMSE")]


def _mae_rmse(errors):
    return np.abs(errors).mean(), np.sqrt(np.mean(errors**2))


def of_defaults(data, chosen, unseen, n_directions):
    """Print the errors of ``EnergyForceRegressor()`` with forces and stresses, and without."""
    X, test = [data.structures[i] for i in chosen], [data.structures[i] for i in unseen]
    derivatives = {
        "forces": [data.forces[i] for i in chosen],
        "stress": [data.stress[i] if i % 3 == 0 else None for i in chosen],
    }
    title = f"defaults, {len(X)} structures, {len(test)} of unseen paths"
    print("\n" + table([title, "features", "CPU s", *_BOTH], []), flush=True)
    for trained_on, labels in (("energies", {}), ("forces, stresses too", derivatives)):
        model = EnergyForceRegressor(n_directions=n_directions, random_state=0)
        start = time.process_time()
        model.fit(X, data.energies[chosen], **labels, groups=data.paths[chosen])
        seconds = time.process_time() - start
        energy = 1e3 * (model.predict(test) - data.energies[unseen])
        pairs = zip(model.predict_forces(test), unseen, strict=True)
        force = 1e3 * np.concatenate([(found - data.forces[i]).ravel() for found, i in pairs])
        cells = [f"{mean:.{d}f}" for e, d in ((energy, 2), (force, 1)) for mean in _mae_rmse(e)]
        print(line([trained_on, model.regressor_.coef_.size, f"{seconds:.0f}", *cells]), flush=True)


def main():
    args = arguments(
        __doc__,
        data="packaged",
        cache=True,
        quick={"data": None, "largest": 80, "test": 40, "bags": 4},
        only=(),
        largest=10**6,
        test=280,
        bags=30,
        smoothing=0.03,
        directions=24,
        n_jobs=1,
    )
    data = lisi(args.data, packaged=args.data is None)
    pool, unseen = split_paths(data)
    unseen = unseen[: args.test]
    n_atoms = np.array([len(atoms) for atoms in data.structures])
    labels = (
        data.energies,
        data.forces,
        [value if i % 3 == 0 else None for i, value in enumerate(data.stress)],
    )
    print(machine("numpy"))
    if not args.only or "defaults" in args.only:
        of_defaults(data, pool[: min(args.largest, 960)], unseen, args.directions)
    sources = representations(args.smoothing, args.n_jobs)
    header = ["structures", "trained on", "model", *UNITS, "features in use"]
    for name, (parts, n_directions, most) in sources.items():
        if args.only and name not in args.only:
            continue
        for part in parts:
            part.fit(data.structures)
        most = min(most, args.largest, len(pool))
        train_rows, unseen_rows = (
            beside(
                [
                    cached_rows(part, data.structures, labels, members, n_directions, args.cache)
                    for part in parts
                ]
            )
            for members in (pool[:most], unseen)
        )
        test = select(unseen_rows, np.sort(unseen), n_atoms)
        spread = [
            1e3 * np.sqrt((test.targets[test.kind == kind] ** 2).sum() / test.n_components[kind])
            for kind in (FORCE, STRESS)
        ]
        print(
            f"\n### {name}\n\n{test.design.shape[1]} features, {n_directions} directions per "
            f"structure, {args.bags} bags; {len(unseen)} structures of unseen paths, rms of their "
            f"forces {spread[0]:.0f} meV/Å, of their stresses {spread[1]:.1f} meV/Å³\n"
        )
        print(table(header, []), flush=True)

        def bagged(train, groups, weights):
            ensemble = BaggedOLSEnsemble(
                args.bags, max_features=1000, random_state=0, n_jobs=args.n_jobs
            )
            return fit_rows(ensemble, train, groups, *weights)

        def report(size, trained_on, title, model, test=test):
            row = [size, trained_on, title, *(f"{e:.2f}" for e in errors(model, test)[:1])]
            row += [f"{errors(model, test)[1]:.0f}", f"{errors(model, test)[2]:.2f}"]
            row.append(np.count_nonzero(model.coef_))
            print(line(row), flush=True)

        sizes = sorted({min(size, most) for size in SIZES})
        for size in sizes:
            chosen = np.sort(pool[:size])
            train = select(train_rows, chosen, n_atoms)
            groups = check_groups(data.paths[chosen], size)
            ridges = RowsRidge(train, np.flatnonzero(groups % 5 == 0))
            models = {}
            for trained_on, weights in TRAININGS.items():
                models[f"{trained_on}, bags"] = model = bagged(train, groups, weights)
                report(size, trained_on, "bags", model)
                if weights[1]:
                    ridge, penalty, _ = ridges.choose(*weights, PENALTIES)
                    models[f"{trained_on}, ridge"] = ridge
                    report(size, trained_on, f"ridge {penalty:.0e}", ridge)
        frames = [data.structures[i].info for i in np.sort(unseen)]
        named = [f"{info['path']}, step {info['step']}" for info in frames]
        worst_structures(models, train, test, named)
        halves = np.unique(data.paths[np.sort(unseen)], return_inverse=True)[1] % 2
        calibration(models["and stresses, bags"], test, halves)
        chosen = np.sort(pool[: min(240, most)])
        print(f"\nWeights, by out-of-bag errors of {len(chosen)} training structures:\n")
        train, groups = (
            select(train_rows, chosen, n_atoms),
            check_groups(data.paths[chosen], len(chosen)),
        )
        print(table(["force_weight", "stress_weight", *UNITS], []))
        for weights in ((1e-4, 1.0), (1e-3, 1.0), (1e-2, 1.0), (1e-3, 0.1), (1e-3, 10.0)):
            found = out_of_bag(bagged(train, groups, weights), train)
            cells = [*weights, *(f"{error:.2f}" for error in found)]
            print(line(cells), flush=True)
    for name in ("Point", "Voxel"):
        if args.only and name not in args.only:
            continue
        (part,) = sources[name][0]
        if hasattr(part, "feature_table_"):
            time_derivatives(data.structures, part)


if __name__ == "__main__":
    main()
