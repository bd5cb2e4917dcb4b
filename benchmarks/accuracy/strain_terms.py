"""Pair terms and roots of densities: do they carry a potential to volumes that it has not seen.

    python benchmarks/accuracy/strain_terms.py                  # the frames in benchmarks/data
    python benchmarks/accuracy/strain_terms.py --folds 0 --train 60

Labels are CHGNet v0.3.0's, not those of density functional theory. ``--train`` structures of each
of ``--folds`` of `trust.py`, with all their forces and every third stress. The features are those
of ``EnergyForceRegressor()``, to which terms of few parameters are added, hardly penalized: pairs,
the sums over atoms of exp(-k r) f(r) for each pair of elements with k = 2 and 4 / Å, and roots, the
sums over the atoms of each element of the square roots of densities of neighbours, sum_j w_j
exp(-k r) f(r), with k = 1, 2, 3, 4 / Å and weights of lithium and silicon of (1, 1), (1, 0.3) and
(0.3, 1). f falls from 1 at 4 Å to 0 at 6 Å.

Weights of forces (0.003) and stresses (1) and the penalty (1e-10) are fixed. Errors held out are
those on a fifth of the training paths; strained cells and unseen paths are as in `trust.py`.

Cost: 5 min for each fold, and 6 GB of memory.
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from ase.neighborlist import neighbor_list

from skwavelet import RidgePath
from skwavelet.potentials.default_features import default_features
from skwavelet.potentials.linear_chain import feature_chain
from skwavelet.potentials.row_fits import fit_rows
from skwavelet.potentials.rows import ENERGY, FORCE, STRESS, VOIGT_STRAINS, build_rows

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent / "lisi"))

from common.command import arguments
from common.data import lisi_home
from common.table import Table
from common.timing import machine
from data import load
from trust import rms, unseen_rows

LITHIUM, SILICON = 3, 14
PAIRS = ((LITHIUM, LITHIUM), (LITHIUM, SILICON), (SILICON, SILICON))
MIXTURES = ((1.0, 1.0), (1.0, 0.3), (0.3, 1.0))
# Where the terms begin to end, and where they end; what distances are counted from (Å).
INNER, OUTER, BOND = 4.0, 6.0, 2.4
FORCE_WEIGHT, STRESS_WEIGHT, ALPHA = 0.003, 1.0, 1e-10
# Penalty factors of the default features go from 0.02 to 384.
PENALTY_FACTOR = 0.3
TERMS = {
    "defaults": ((), ()),
    "- pairs": ((2.0, 4.0), ()),
    "- pairs, roots": ((2.0, 4.0), (1.0, 2.0, 3.0, 4.0)),
}


def terms_of(atoms, pairs, roots):
    """Return sums over the atoms (T,), and derivatives in positions (T, N, 3) and strain (T, 3, 3).

    ``pairs`` and ``roots`` are the exponents k (1/Å) of terms of either kind.
    """
    n_atoms, numbers = len(atoms), atoms.numbers
    i, j, distances, vectors = neighbor_list("ijdD", atoms, OUTER)
    x = np.clip((distances - INNER) / (OUTER - INNER), 0, 1)
    switch = 1 - x**3 * (10 - 15 * x + 6 * x * x)
    fall = -30 * x**2 * (1 - x) ** 2 / (OUTER - INNER)
    values, by_distance = [], []

    def decay(k):
        part = np.exp(-k * (distances - BOND))
        return part * switch, part * (fall - k * switch)

    for k in pairs:
        value, slope = decay(k)
        for pair in PAIRS:
            one, other = numbers[i], numbers[j]
            of = ((one == pair[0]) & (other == pair[1])) | ((one == pair[1]) & (other == pair[0]))
            values.append(0.5 * value[of].sum())
            by_distance.append(0.5 * slope * of)
    for k in roots:
        value, slope = decay(k)
        for of_lithium, of_silicon in MIXTURES:
            weight = np.where(numbers[j] == LITHIUM, of_lithium, of_silicon)
            root = np.sqrt(np.bincount(i, weight * value, n_atoms) + 1e-9)
            for center in (LITHIUM, SILICON):
                own = numbers == center
                values.append(root[own].sum())
                by_distance.append((0.5 * own / root)[i] * weight * slope)
    gradients, strains = np.zeros((len(values), n_atoms, 3)), np.zeros((len(values), 3, 3))
    for term, slope in enumerate(by_distance):
        pull = (slope / distances)[:, None] * vectors
        for axis in range(3):
            gradients[term, :, axis] = np.bincount(j, pull[:, axis], n_atoms)
            gradients[term, :, axis] -= np.bincount(i, pull[:, axis], n_atoms)
        strains[term] = vectors.T @ pull
    return np.array(values), gradients, strains


def means_of(structures, terms):
    """Return the terms (n_structures, T) as energies per atom have them."""
    return np.array([terms_of(atoms, *terms)[0] / len(atoms) for atoms in structures])


def columns_of(structures, rows, terms):
    """Return the columns (n_rows, T) of the terms."""
    columns = []
    for number, atoms in enumerate(structures):
        values, gradients, strains = terms_of(atoms, *terms)
        own = rows.structure == number
        here = np.empty((own.sum(), len(values)))
        kind = rows.kind[own]
        here[kind == ENERGY] = values / len(atoms)
        here[kind == FORCE] = -gradients.reshape(len(values), -1).T
        if (kind == STRESS).any():
            along = np.einsum("tab,kab->kt", strains, VOIGT_STRAINS)
            here[kind == STRESS] = along / atoms.get_volume()
        columns.append((np.flatnonzero(own), here))
    whole = np.empty((len(rows), columns[0][1].shape[1]))
    for own, here in columns:
        whole[own] = here
    return whole


def taken(rows, chosen):
    """Return some of the rows."""
    parts = (part[chosen] for part in (rows.design, rows.targets, rows.structure, rows.kind))
    return replace(
        rows, **dict(zip(("design", "targets", "structure", "kind"), parts, strict=True))
    )


def of_fold(parts, fold, n_train):
    """Yield a name, errors held out of every kind, and errors by set, of every choice of terms."""
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
    plain = build_rows(
        feature_chain(features), X, paths.energies[train], values, [paths.forces[i] for i in train],
        [paths.stress[i] if k % 3 == 0 else None for k, i in enumerate(train)], "all",
        np.random.default_rng(0), np.ones(len(X)),
    )  # fmt: skip
    sets = [np.asarray(features.transform(some), float) for some in (strained, others)]
    names = np.unique(paths.parents[train])
    held = np.isin(paths.parents[train], np.random.default_rng(1).permutation(names)[::5])
    out = held[plain.structure]
    # The volumes that were not seen: sides that are shorter or longer by 4 % and more.
    volumes = np.array([atoms.get_volume() / len(atoms) for atoms in strained])
    middle = {p: np.median(volumes[bulk.parents[asked] == p]) for p in bulk.parents[asked]}
    side = np.cbrt(volumes / [middle[p] for p in bulk.parents[asked]]) - 1
    for name, terms in TERMS.items():
        rows, factors, inputs = plain, features.penalty_factors_, sets
        if any(terms):
            added = columns_of(X, plain, terms)
            rows = replace(plain, design=np.hstack([plain.design, added.astype(np.float32)]))
            factors = np.append(factors, np.full(added.shape[1], PENALTY_FACTOR))
            inputs = [
                np.hstack([part, means_of(some, terms)])
                for part, some in zip(sets, (strained, others), strict=True)
            ]
        models = [
            fit_rows(
                RidgePath([ALPHA], members=False), taken(rows, chosen), paths.parents[train],
                FORCE_WEIGHT, STRESS_WEIGHT, penalty_factors=factors,
            )
            for chosen in (np.flatnonzero(~out), slice(None))
        ]  # fmt: skip
        test = taken(rows, np.flatnonzero(out))
        wrong = test.design @ models[0].coef_ - test.targets
        wrong += models[0].intercept_ * (test.kind == ENERGY)
        errors = [models[1].predict(part) for part in inputs]
        errors = errors[0] - bulk.energies[asked], errors[1] - paths.energies[unseen]
        yield (
            name,
            rows.design.shape[1],
            [1e3 * rms(wrong[test.kind == kind]) for kind in (ENERGY, FORCE, STRESS)],
            [1e3 * rms(e) for e in (errors[0], errors[0][side < -0.04], errors[0][side > 0.04])],
            1e3 * rms(errors[1]),
        )


def main():
    args = arguments(__doc__, data="lisi", folds=(0, 3), train=240)
    print(machine("numpy", "scikit-learn"))
    parts = load(lisi_home(args.data))
    table = Table([
        "", "fold", "features", "held out: meV/atom, meV/Å, meV/Å³", "strained cells, meV/atom",
        "compressed, expanded", "unseen paths",
    ])  # fmt: skip
    for fold in args.folds:
        for name, size, held, strained, unseen in of_fold(parts, fold, args.train):
            table.add(
                name, fold, size, "{:.2f}, {:.1f}, {:.2f}".format(*held), f"{strained[0]:.2f}",
                f"{strained[1]:.1f}, {strained[2]:.1f}", f"{unseen:.2f}",
            )  # fmt: skip


if __name__ == "__main__":
    main()
