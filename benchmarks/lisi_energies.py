"""Energies along unseen relaxation paths: the whole Li-Si set, 12 frames per path.

Five-fold cross-validation over whole paths of the default ``VoxelScattering`` with
``BaggedOLSEnsemble``, beside first order only and the composition alone. Features depend on the
geometry only: they are computed once and kept in ``--cache``.

    python benchmarks/lisi_energies.py --data DIR --cache DIR

DIR contains ``lisi/``. Labels are those of the pretrained potential CHGNet v0.3.0, not of density
functional theory.
"""

from __future__ import annotations

import argparse
import platform
import time
from pathlib import Path

import numpy as np
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import cross_validate

import skwavelet
from skwavelet import BaggedOLSEnsemble, RelaxationPathGroupKFold, VoxelScattering
from skwavelet.datasets import LISI_STEPS, load_lisi

SCORING = {"RMSE": "neg_root_mean_squared_error", "MAE": "neg_mean_absolute_error"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, type=Path, help="directory that contains lisi/")
    parser.add_argument("--cache", required=True, type=Path, help="directory for the features")
    parser.add_argument("--n-estimators", type=int, default=100)
    parser.add_argument("--n-jobs", type=int, default=1)
    options = parser.parse_args()

    lisi = load_lisi(data_home=options.data, steps=LISI_STEPS)
    transformer = VoxelScattering(n_jobs=options.n_jobs, verbose=True).fit(lisi.structures)
    features = cached_features(transformer, lisi.structures, options.cache)
    first = (transformer.feature_table_["order"] < 2).to_numpy()
    fractions = np.array([[np.mean(atoms.numbers == 3)] for atoms in lisi.structures])
    ensemble = BaggedOLSEnsemble(options.n_estimators, n_jobs=options.n_jobs, random_state=0)
    by_path = {"groups": lisi.paths}
    runs = {
        "orders 0-2": (ensemble, features, by_path),
        "orders 0-1": (ensemble, features[:, first], by_path),
        "composition alone": (LinearRegression(), fractions, None),
    }

    folds = list(
        RelaxationPathGroupKFold(5, random_state=0).split(lisi.structures, groups=lisi.paths)
    )
    print(
        f"{len(features)} structures, {len(np.unique(lisi.paths))} paths, 5 path folds, "
        f"{options.n_estimators} bags; beta {transformer.beta_:.3f} Å, {transformer.n_scales_} "
        f"scales, voxels {transformer.spacing_:.3f} Å; skwavelet {skwavelet.__version__}, "
        f"Python {platform.python_version()}. Labels: CHGNet v0.3.0, not DFT.\n"
    )
    print("| features | number | RMSE (meV/atom) | MAE (meV/atom) | features per model | fit (s) |")
    print("|---|---|---|---|---|---|")
    for name, (model, X, params) in runs.items():
        result = cross_validate(
            model,
            X,
            lisi.energies,
            cv=folds,
            params=params,
            scoring=SCORING,
            return_estimator=True,
        )
        errors = [
            f"{e.mean():.2f} ± {e.std():.2f}"
            for e in (-1000 * result[f"test_{score}"] for score in SCORING)
        ]
        sizes = [
            member.n_features_selected_
            for fitted in result["estimator"]
            for member in getattr(fitted, "estimators_", [])
        ]
        size = f"{np.mean(sizes):.0f} ± {np.std(sizes):.0f}" if sizes else "-"
        seconds = result["fit_time"].mean()
        print(f"| {name} | {X.shape[1]} | {' | '.join(errors)} | {size} | {seconds:.1f} |")


def cached_features(transformer: VoxelScattering, structures: list, directory: Path) -> np.ndarray:
    """Compute the features, or read those that the same settings have left in ``directory``."""
    settings = {**transformer.get_params(), "n_jobs": None, "verbose": None}
    fitted = f"{transformer.beta_} {transformer.n_scales_} {transformer.spacing_}"
    file = directory / "lisi_energies.npz"
    stamp = f"{skwavelet.__version__} {len(structures)} {fitted} {settings}"
    if file.exists():
        with np.load(file) as stored:
            if str(stored["stamp"]) == stamp:
                return stored["features"]
    start = time.perf_counter()
    features = transformer.transform(structures)
    print(f"Features: {(time.perf_counter() - start) / len(structures):.3f} s per structure")
    directory.mkdir(parents=True, exist_ok=True)
    np.savez(file, features=features, stamp=stamp)
    return features


if __name__ == "__main__":
    main()
