"""Predict the energies of relaxation paths that the model has never seen.

Five-fold cross-validation of ``make_pipeline(VoxelScattering(), BaggedOLSEnsemble())`` over whole
relaxation paths of amorphous lithium-silicon, beside two baselines: a model that knows the
composition only, and the same model on folds of random frames, which leak. Saves a figure.

Labels: the pretrained potential CHGNet v0.3.0, not density functional theory.

Three of the five packaged frames of every path are taken, from the beginning of the relaxation.

Run: ``python examples/lisi_path_cross_validation.py`` (two minutes on two cores).
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.linear_model import LinearRegression
from sklearn.metrics import root_mean_squared_error
from sklearn.model_selection import KFold, cross_validate
from sklearn.pipeline import make_pipeline

from skwavelet import BaggedOLSEnsemble, RelaxationPathGroupKFold, VoxelScattering
from skwavelet.datasets import load_lisi

# Steps of the relaxations that are taken.
STEPS = (0, 4, 13)
SCORING = {"RMSE": "neg_root_mean_squared_error", "MAE": "neg_mean_absolute_error"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n-estimators", type=int, default=50, help="models per ensemble")
    parser.add_argument("--n-jobs", type=int, default=-1, help="processes")
    parser.add_argument(
        "--figure", type=Path, default=Path("lisi_path_cross_validation.png"), help="where to save"
    )
    options = parser.parse_args()
    start = time.perf_counter()

    lisi = load_lisi()
    taken = np.flatnonzero(np.isin(lisi.steps, STEPS))
    structures = [lisi.structures[i] for i in taken]
    energies, paths, steps = lisi.energies[taken], lisi.paths[taken], lisi.steps[taken]
    print(f"{len(structures)} structures of {len(np.unique(paths))} relaxation paths")

    # Resolution and features depend on the geometry only: one transform serves all folds.
    scattering = VoxelScattering(n_jobs=options.n_jobs, verbose=True).fit(structures)
    features = scattering.transform(structures)
    print(
        f"{features.shape[1]} features: beta = {scattering.beta_:.3f} Å, {scattering.n_scales_} "
        f"scales, voxels of {scattering.spacing_:.3f} Å"
    )
    ensemble = BaggedOLSEnsemble(options.n_estimators, n_jobs=options.n_jobs, random_state=0)

    path_folds = list(RelaxationPathGroupKFold(5, random_state=0).split(structures, groups=paths))
    frame_folds = list(KFold(5, shuffle=True, random_state=0).split(features))
    fractions = np.array([[np.mean(atoms.numbers == 3)] for atoms in structures])
    by_path = {"groups": paths}
    runs = {
        "scattering, folds of paths": (ensemble, features, path_folds, by_path),
        "composition only, folds of paths": (LinearRegression(), fractions, path_folds, None),
        "scattering, folds of random frames (leaks)": (ensemble, features, frame_folds, None),
    }
    results = {
        name: cross_validate(
            model, X, energies, cv=folds, params=params, scoring=SCORING, return_estimator=True
        )
        for name, (model, X, folds, params) in runs.items()
    }
    table = pd.DataFrame({name: summary(result) for name, result in results.items()}).T
    print(f"\nErrors in meV/atom, mean ± spread over 5 folds (labels: CHGNet v0.3.0)\n\n{table}\n")

    # One fold through the whole pipeline, resolution learned from its training paths alone; the
    # first frame of each path suffices to show that the numbers agree.
    first = steps == STEPS[0]
    train, test = (rows[first[rows]] for rows in path_folds[0])
    fit_arguments = {"baggedolsensemble__groups": paths[train]}
    pipeline = make_pipeline(VoxelScattering(n_jobs=options.n_jobs, verbose=True), ensemble)
    pipeline.fit([structures[i] for i in train], energies[train], **fit_arguments)
    predicted = pipeline.predict([structures[i] for i in test])
    error = root_mean_squared_error(energies[test], predicted)
    model = clone(ensemble).fit(features[train], energies[train], groups=paths[train])
    once = root_mean_squared_error(energies[test], model.predict(features[test]))
    print(
        f"First fold, first frames: whole pipeline {1000 * error:.2f} meV/atom "
        f"(beta = {pipeline[0].beta_:.3f} Å learned from its training paths), "
        f"features computed once {1000 * once:.2f} meV/atom"
    )

    models = results["scattering, folds of paths"]["estimator"]
    figure = plot(features, energies, path_folds, models)
    figure.savefig(options.figure, dpi=150)
    print(f"Figure: {options.figure}. Took {time.perf_counter() - start:.0f} s.")


def summary(result: dict) -> dict[str, str]:
    """Return the errors of a cross-validation as mean ± spread over folds (meV/atom)."""
    errors = {name: -1000 * result[f"test_{name}"] for name in SCORING}
    return {name: f"{e.mean():.2f} ± {e.std():.2f}" for name, e in errors.items()}


def plot(features, energies, folds, models) -> plt.Figure:
    """Draw predicted against reference energies, and the error against the number of features."""
    figure, (parity, learning) = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
    curves = []
    for (_, test), model in zip(folds, models, strict=True):
        parity.plot(energies[test], model.predict(features[test]), ".", color="C0", ms=3)
        staged = model.staged_predict(features[test])
        curves.append([1000 * root_mean_squared_error(energies[test], p) for p in staged])
    parity.axline((energies.mean(), energies.mean()), slope=1, color="k", lw=0.8)
    parity.set(
        xlabel="reference energy (eV/atom)",
        ylabel="predicted energy (eV/atom)",
        title="Paths the model has not seen",
    )
    for curve in curves:
        learning.plot(np.arange(1, len(curve) + 1), curve, color="C0", alpha=0.6, lw=1)
    learning.set(
        xscale="log",
        yscale="log",
        xlabel="features per model",
        ylabel="RMSE (meV/atom)",
        title="Five folds of paths",
    )
    figure.suptitle("Li-Si relaxation paths; labels from CHGNet v0.3.0, not DFT", fontsize=10)
    return figure


if __name__ == "__main__":
    main()
