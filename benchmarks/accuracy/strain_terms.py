"""Densities and their roots: do they carry a potential to volumes that it has not seen.

    python benchmarks/accuracy/strain_terms.py                  # the frames in benchmarks/data
    python benchmarks/accuracy/strain_terms.py --folds 0 --train 60

Labels are CHGNet v0.3.0's, not those of density functional theory. ``--train`` structures of each
of ``--folds`` of `trust.py`, with all their forces and every third stress. The features are those
of ``EnergyForceRegressor()``, without densities and with them, or with their roots alone.

Weights of forces (0.003) and stresses (1) and the penalty (1e-10) are fixed but in the last
column, where they are what the default potential chooses on a fifth of the training paths. Errors
held out are those on another fifth; strained cells and unseen paths are as in `trust.py`.

Cost: 5 min for each fold, and 6 GB of memory.
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from skwavelet import RidgePath
from skwavelet.potentials.default_features import default_features
from skwavelet.potentials.linear_chain import feature_chain
from skwavelet.potentials.regressor import WEIGHTS
from skwavelet.potentials.row_fits import fit_rows
from skwavelet.potentials.rows import ENERGY, FORCE, STRESS, build_rows

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent / "lisi"))

from common.command import arguments
from common.data import lisi_home
from common.table import Table
from common.timing import machine
from data import load
from trust import rms, unseen_rows

FORCE_WEIGHT, STRESS_WEIGHT, ALPHA = 0.003, 1.0, 1e-10
# Powers of the densities that are kept.
CHOICES = {"no densities": (), "densities": (1,), "roots": (0.5,), "densities, roots": (0.5, 1)}


def taken(rows, chosen, columns=slice(None)):
    """Return some of the rows, and some columns of their design."""
    parts = (part[chosen] for part in (rows.targets, rows.structure, rows.kind))
    named = dict(zip(("targets", "structure", "kind"), parts, strict=True))
    return replace(rows, design=rows.design[chosen][:, columns], **named)


def of_fold(parts, fold, n_train):
    """Yield a name, errors held out of every kind, and errors by set, of every choice of powers."""
    train, rows_of = unseen_rows(parts, fold)
    train = np.sort(np.random.default_rng(fold).permutation(train)[:n_train])
    paths, bulk, asked = parts["paths"], parts["bulk"], rows_of["bulk"]
    unseen = rows_of["paths"][:: max(1, len(rows_of["paths"]) // 120)]
    X, strained, others = (
        [part.structures[i] for i in chosen]
        for part, chosen in ((paths, train), (bulk, asked), (paths, unseen))
    )
    features = default_features(2, len(X) + sum(3 * len(atoms) for atoms in X))
    values = features.fit_transform(X)
    rows = build_rows(
        feature_chain(features), X, paths.energies[train], values, [paths.forces[i] for i in train],
        [paths.stress[i] if k % 3 == 0 else None for k, i in enumerate(train)], "all",
        np.random.default_rng(0), np.ones(len(X)),
    )  # fmt: skip
    sets = [np.asarray(features.transform(some), float) for some in (strained, others)]
    names = np.unique(paths.parents[train])
    held = np.isin(paths.parents[train], np.random.default_rng(1).permutation(names)[::5])
    out = held[rows.structure]
    # The volumes that were not seen: sides that are shorter or longer by 4 % and more.
    volumes = np.array([atoms.get_volume() / len(atoms) for atoms in strained])
    middle = {p: np.median(volumes[bulk.parents[asked] == p]) for p in bulk.parents[asked]}
    side = np.cbrt(volumes / [middle[p] for p in bulk.parents[asked]]) - 1
    table = features.feature_table_
    for name, powers in CHOICES.items():
        columns = (table["density"].isna() | table["q"].isin(powers)).to_numpy()

        def fit(ridge, chosen, *weights, columns=columns, **options):
            return fit_rows(
                ridge, taken(rows, chosen, columns), paths.parents[train], *weights,
                penalty_factors=features.penalty_factors_[columns], **options,
            )  # fmt: skip

        fixed = RidgePath([ALPHA], members=False), FORCE_WEIGHT, STRESS_WEIGHT
        kept = fit(fixed[0], np.flatnonzero(~out), *fixed[1:])
        model = fit(fixed[0], slice(None), *fixed[1:])
        start = WEIGHTS[FORCE], WEIGHTS[STRESS]
        free = fit(RidgePath(members=False), slice(None), *start, free=(FORCE, STRESS))
        test = taken(rows, np.flatnonzero(out), columns)
        wrong = test.design @ kept.coef_ - test.targets
        wrong += kept.intercept_ * (test.kind == ENERGY)
        inputs = [part[:, columns] for part in sets]
        errors = [
            model.predict(inputs[0]) - bulk.energies[asked],
            model.predict(inputs[1]) - paths.energies[unseen],
            free.predict(inputs[0]) - bulk.energies[asked],
        ]
        yield (
            name,
            columns.sum(),
            [1e3 * rms(wrong[test.kind == kind]) for kind in (ENERGY, FORCE, STRESS)],
            [1e3 * rms(e) for e in (errors[0], errors[0][side < -0.04], errors[0][side > 0.04])],
            [1e3 * rms(e) for e in errors[1:]],
        )


def main():
    args = arguments(__doc__, data="lisi", folds=(0, 3), train=240)
    print(machine("numpy", "scikit-learn"))
    parts = load(lisi_home(args.data))
    table = Table([
        "", "fold", "features", "held out: meV/atom, meV/Å, meV/Å³", "strained cells, meV/atom",
        "compressed, expanded", "unseen paths", "strained cells, chosen weights",
    ])  # fmt: skip
    for fold in args.folds:
        for name, size, held, strained, others in of_fold(parts, fold, args.train):
            table.add(
                name, fold, f"{size:,}", "{:.2f}, {:.1f}, {:.2f}".format(*held),
                f"{strained[0]:.2f}", f"{strained[1]:.1f}, {strained[2]:.1f}",
                *(f"{error:.2f}" for error in others),
            )  # fmt: skip


if __name__ == "__main__":
    main()
