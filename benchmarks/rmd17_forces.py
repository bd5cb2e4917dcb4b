r"""Scattering with forces on rMD17: energies and forces of small molecules.

    python benchmarks/rmd17_forces.py --data DATA --cache DIR              # days on one core
    python benchmarks/rmd17_forces.py --data DATA --cache DIR \
        --molecules ethanol --train 200 --test 60 --directions 9           # half an hour

Revised MD17 (PBE/def2-SVP), split 01: training structures from the published 1000, test
structures from the others. A twentieth of the training structures chooses the ridge penalty. The
convention of the field, not a leak-free one: neighbouring frames of one trajectory lie on both
sides. Mean absolute errors of total energies (meV) and force components (meV/Å).
"""

import argparse
import os
from pathlib import Path

import numpy as np
from ase import Atoms
from lisi_rows import cached
from sklearn.linear_model import Ridge

from skwavelet import BaggedOLSEnsemble, VoxelScattering
from skwavelet.chaining import feature_chain
from skwavelet.labels import ENERGY, Rows, build_rows, fit_rows

_CHUNK = 50
# Energy and force MAE of linear ACE and FCHL19 with 1000 structures (Batatia et al. 2022).
PUBLISHED = {"ethanol": "1.2 / 7.3, 0.9 / 6.2", "uracil": "1.1 / 6.6, 0.6 / 4.2"}


def chunked_rows(X, y, forces, transformer, directory, n_directions):
    """Return the rows of structures, computed in chunks that a later run finds again."""
    parts = []
    for start in range(0, len(X), _CHUNK):
        part = slice(start, start + _CHUNK)

        def compute(part=part, start=start):
            rows = build_rows(
                feature_chain(transformer),
                X[part],
                y[part],
                transformer.transform(X[part]),
                list(forces[part]),
                [None] * len(X[part]),
                n_directions,
                np.random.default_rng(start),
            )
            kept = ("design", "targets", "structure", "kind")
            return {name: getattr(rows, name) for name in kept}

        arrays = cached(Path(directory, f"rows_{start}_{len(X[part])}.npz"), compute)
        arrays["structure"] = arrays["structure"] + start
        parts.append(arrays)
        print(f"rows of {start + len(X[part])} structures", flush=True)
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    order = np.argsort(joined["kind"] != ENERGY, kind="stable")
    joined = {name: values[order] for name, values in joined.items()}
    return Rows(n_components=(len(X), forces.size, 0), **joined)


def take(rows, structures):
    """Return the rows of some structures."""
    chosen = np.isin(rows.structure, structures)
    share = len(structures) / rows.n_components[0]
    counts = (len(structures), round(share * rows.n_components[1]), 0)
    number = np.searchsorted(structures, rows.structure[chosen])
    return Rows(rows.design[chosen], rows.targets[chosen], number, rows.kind[chosen], counts)


def standardized(rows):
    """Return the rows with features divided by their spread over energy rows, and the spread."""
    spread = np.maximum(rows.design[rows.kind == ENERGY].std(axis=0), 1e-9)
    return Rows(rows.design / spread, rows.targets, rows.structure, rows.kind, rows.n_components)


def fit_ridge(rows, force_weight):
    """Choose the penalty on held-out structures, and fit on all."""
    n = rows.n_components[0]
    rows = standardized(rows)
    held = np.sort(np.random.default_rng(0).permutation(n)[: max(n // 20, 5)])
    train, validation = take(rows, np.setdiff1d(np.arange(n), held)), take(rows, held)
    best = None
    for alpha in 10.0 ** np.arange(-9, 0):
        model = fit_rows(Ridge(alpha), train, np.arange(n), force_weight, 1.0)
        predicted = validation.design @ model.coef_
        predicted = predicted + model.intercept_ * (validation.kind == ENERGY)
        error = validation.weights(force_weight, 1.0) @ (predicted - validation.targets) ** 2
        if best is None or error < best[0]:
            best = (error, alpha)
    return fit_rows(Ridge(best[1]), rows, np.arange(n), force_weight, 1.0), best[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default=os.environ.get("SKWAVELET_DATA"), required=False)
    parser.add_argument("--cache", required=True)
    parser.add_argument("--molecules", nargs="+", default=["ethanol", "uracil"])
    parser.add_argument("--train", type=int, default=1000)
    parser.add_argument("--test", type=int, default=1000)
    parser.add_argument("--directions", type=int, default=27)
    parser.add_argument("--bags", type=int, default=20)
    parser.add_argument("--beta", type=float, default=0.35, help="wavelet width, Å")
    parser.add_argument("--n", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--force-weight", type=float, default=0.01)
    parser.add_argument("--n-jobs", type=int, default=None)
    args = parser.parse_args()
    print("| molecule | training | model | energy meV | force meV/Å | linear ACE, FCHL19 |")
    print("|---|---|---|---|---|---|")
    for name in args.molecules:
        with np.load(Path(args.data, "rmd17", f"{name}.npz")) as archive:
            data = dict(archive)
        n_atoms = len(data["numbers"])
        structures = [Atoms(data["numbers"], positions) for positions in data["positions"]]
        rng = np.random.default_rng(0)
        train = rng.permutation(np.flatnonzero(data["train"]))[: args.train]
        test = rng.permutation(np.flatnonzero(~data["train"]))[: args.test]
        y, forces = data["energy"] / n_atoms, data["forces"]
        X, unseen = [structures[i] for i in train], [structures[i] for i in test]
        scattering = VoxelScattering(
            args.n, 2, channels=["elements"], beta=args.beta, smoothing=0.01, n_jobs=args.n_jobs
        ).fit(X)
        label = f"{name}_{args.train}_{args.directions}_{args.beta}_{'-'.join(map(str, args.n))}"
        rows = chunked_rows(
            X, y[train], forces[train], scattering, Path(args.cache, label), args.directions
        )
        spread = np.maximum(rows.design[rows.kind == ENERGY].std(axis=0), 1e-9)
        ridge, alpha = fit_ridge(rows, args.force_weight)
        bagged = fit_rows(
            BaggedOLSEnsemble(args.bags, random_state=0, n_jobs=args.n_jobs),
            rows,
            np.arange(len(X)),
            args.force_weight,
            1.0,
        )
        models = {
            f"ridge ({alpha:.0e})": (ridge.coef_ / spread, ridge.intercept_),
            f"{args.bags} bags": (bagged.coef_, bagged.intercept_),
        }
        for title, (coef, intercept) in models.items():
            chain = feature_chain(scattering).then(coef[:, None], np.array([intercept]))
            results = chain.value_and_vjp(unseen, np.full((len(unseen), 1), float(n_atoms)))
            energy = n_atoms * np.array([value[0] for value, _, _ in results])
            gradient = np.array([gradient for _, gradient, _ in results])
            print(
                f"| {name} | {len(X)} | {scattering.n_features_out_} features, {title} | "
                f"{1e3 * np.abs(energy - data['energy'][test]).mean():.1f} | "
                f"{1e3 * np.abs(gradient + forces[test]).mean():.1f} | "
                f"{PUBLISHED.get(name, '')} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
