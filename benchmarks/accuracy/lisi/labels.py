"""Training on energies, forces and stresses of the same path structures."""

from dataclasses import dataclass

import numpy as np
from common.rows import cached_rows, unweighted
from data import TASKS
from features import SHARD
from representations import REPRESENTATIONS
from schemes import SEED

from skwavelet import BaggedOLSEnsemble
from skwavelet.potentials.row_fits import fit_rows
from skwavelet.potentials.rows import ENERGY, FORCE, STRESS


@dataclass(frozen=True)
class Labels:
    """Kinds of labels that train, with the weights of `EnergyForceRegressor`."""

    kinds: tuple[int, ...]
    force_weight: float = 0.001  # its defaults
    stress_weight: float = 1.0


LABELS = {
    "energies, stresses": Labels((ENERGY, STRESS)),
    "energies, 10 × stresses": Labels((ENERGY, STRESS), stress_weight=10.0),
    "energies, forces, stresses": Labels((ENERGY, FORCE, STRESS)),
    "energies, 10 × (forces, stresses)": Labels((ENERGY, FORCE, STRESS), 0.01, 10.0),
}


@dataclass(frozen=True)
class Derivatives:
    """Which derivatives of a representation are computed, and what is trained on them.

    Attributes
    ----------
    every : int
        Every so manyth structure gives derivatives.
    n_directions : int
        Random directions of the forces, and of the stress, of each.
    trained_on : tuple of str
        Keys of `LABELS`.
    """

    every: int
    n_directions: int
    trained_on: tuple[str, ...]


LABELLED = {
    "Point": Derivatives(3, 4, tuple(LABELS)[1:]),
    "Point, two scales": Derivatives(3, 4, tuple(LABELS)[3:]),
    "Voxel": Derivatives(24, 6, tuple(LABELS)[1:]),
}


def derivative_rows(protocol, name):
    """Return energy, force and stress rows of some path structures, computed once and kept."""
    (base,) = REPRESENTATIONS[name].bases
    every, n_directions = LABELLED[name].every, LABELLED[name].n_directions
    paths = protocol.paths
    return cached_rows(
        protocol.store.transformer(base),
        paths.structures,
        (paths.energies, paths.forces, paths.stress),
        np.arange(every - 1, len(paths), every),
        n_directions,
        protocol.cache,
        chunk=SHARD,
        seed=lambda X, start: start,
    )


def assemble(protocol, name, structures, kinds):
    """Return the `Rows` of some structures: all energies, and the derivatives there are."""
    derivatives = derivative_rows(protocol, name)
    paths = protocol.paths
    chosen = np.isin(derivatives["structure"], structures) & np.isin(
        derivatives["kind"], [kind for kind in kinds if kind != ENERGY]
    )
    place = np.full(len(paths), -1)
    place[structures] = np.arange(len(structures))
    labelled = np.unique(derivatives["structure"][chosen])
    n_atoms = sum(len(paths.structures[i]) for i in labelled)
    return unweighted(
        np.concatenate(
            [protocol.features(name, "paths")[structures], derivatives["design"][chosen]]
        ),
        np.concatenate([paths.energies[structures], derivatives["targets"][chosen]]),
        np.concatenate([np.arange(len(structures)), place[derivatives["structure"][chosen]]]),
        np.concatenate([np.full(len(structures), ENERGY), derivatives["kind"][chosen]]),
        (len(structures), 3 * n_atoms * (FORCE in kinds), 6 * len(labelled) * (STRESS in kinds)),
    )


def result(protocol, name, labels, fold, n_bags):
    """Return the stored result of training on some kinds of labels, fitting first if need be."""

    def compute():
        return _fit(protocol, name, LABELS[labels], fold, n_bags)

    given = (name, labels, fold, n_bags, vars(LABELLED[name]), vars(LABELS[labels]))
    return protocol.cached(name, compute, *given, code=["labels", "skwavelet.potentials.rows"])


def _fit(protocol, name, labels, fold, n_bags):
    train = np.flatnonzero(protocol.fold != fold)
    test = np.flatnonzero(protocol.fold == fold)
    rows = assemble(protocol, name, train, labels.kinds)
    ensemble = BaggedOLSEnsemble(n_bags, random_state=SEED)
    groups = protocol.paths.parents[train]
    model = fit_rows(ensemble, rows, groups, labels.force_weight, labels.stress_weight)
    arrays = {"test": test, "coef": model.coef_, "intercept": model.intercept_}
    arrays["sizes"] = np.array([m.n_features_selected_ for m in model.estimators_])
    arrays["prediction_paths"] = model.predict(protocol.features(name, "paths")[test])
    for part in TASKS:
        Z = protocol.features(name, part)
        arrays[f"prediction_{part}"] = model.predict(Z)
        if part in ("barriers", "bulk"):
            arrays[f"members_{part}"] = np.array([m.predict(Z) for m in model.estimators_])
    unseen = assemble(protocol, name, test, (ENERGY, FORCE, STRESS))
    errors = unseen.design @ model.coef_ - unseen.targets
    for kind, key in ((FORCE, "force_rmse"), (STRESS, "stress_rmse")):
        squares = np.square(errors[unseen.kind == kind]).sum()
        arrays[key] = np.sqrt(squares / unseen.n_components[kind])
    return arrays
