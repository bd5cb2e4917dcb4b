"""Training on energies, forces and stresses of the same path structures."""

import hashlib
import time
from dataclasses import dataclass

import numpy as np
from data import TASKS
from features import SHARD, save
from representations import REPRESENTATIONS
from schemes import SEED

from skwavelet import BaggedOLSEnsemble
from skwavelet.potentials.linear_chain import feature_chain
from skwavelet.potentials.rows import (
    ENERGY,
    FORCE,
    STRESS,
    Rows,
    build_rows,
    check_forces,
    check_stress,
    fit_rows,
)


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
    """Return force and stress rows of some path structures, computed once and kept."""
    (base,) = REPRESENTATIONS[name].bases
    every, n_directions = LABELLED[name].every, LABELLED[name].n_directions
    paths = protocol.paths
    frames = np.arange(every - 1, len(paths), every)
    chain = feature_chain(protocol.store.transformer(base))
    shards = []
    for start in range(0, len(frames), SHARD):
        chosen = frames[start : start + SHARD]
        folder = protocol.store.folder(base)
        file = folder / f"rows_{every}_{n_directions}_{start:05d}.npz"
        if not file.exists():
            X = [paths.structures[i] for i in chosen]
            features = protocol.store.get(base, "paths")[chosen]
            rows = build_rows(
                chain,
                X,
                paths.energies[chosen],
                features,
                check_forces([paths.forces[i] for i in chosen], X),
                check_stress(paths.stress[chosen], X),
                n_directions,
                np.random.default_rng(start),
            )
            of = rows.kind != ENERGY
            arrays = {
                "design": rows.design[of].astype(np.float32),
                "targets": rows.targets[of],
                "structure": chosen[rows.structure[of]],
                "kind": rows.kind[of],
            }
            save(file, lambda target, arrays=arrays: np.savez(target, **arrays))
            print(f"features: {base} derivatives {start}", flush=True)
        with np.load(file) as archive:
            shards.append(dict(archive))
    return {key: np.concatenate([shard[key] for shard in shards]) for key in shards[0]}


def assemble(protocol, name, structures, kinds):
    """Return the `Rows` of some structures: all energies, and the derivatives there are."""
    derivatives = derivative_rows(protocol, name)
    paths = protocol.paths
    chosen = np.isin(derivatives["structure"], structures) & np.isin(derivatives["kind"], kinds)
    place = np.full(len(paths), -1)
    place[structures] = np.arange(len(structures))
    labelled = np.unique(derivatives["structure"][chosen])
    n_atoms = sum(len(paths.structures[i]) for i in labelled)
    return Rows(
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
    (base,) = REPRESENTATIONS[name].bases
    stamp = (
        f"{protocol.store.folder(base)} {name} {labels} {fold} {n_bags} {LABELLED[name].every} "
        f"{LABELLED[name].n_directions} {LABELS[labels]} {SEED}"
    )
    digest = hashlib.sha256(stamp.encode()).hexdigest()[:16]
    file = protocol.directory / f"labels-{digest}.npz"
    if not file.exists():
        start = time.process_time()
        arrays = _fit(protocol, name, LABELS[labels], fold, n_bags)
        arrays["fit_seconds"] = time.process_time() - start
        save(file, lambda target: np.savez_compressed(target, stamp=stamp, **arrays))
        print(f"fit: {name}; {labels}; fold {fold}; {arrays['fit_seconds']:.0f} s", flush=True)
    with np.load(file) as archive:
        return dict(archive)


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
