"""Time the linear models at the size of the Li-Si problem and print a Markdown table.

    python benchmarks/speed/linear_models.py            # a few minutes
    python benchmarks/speed/linear_models.py --quick    # seconds, at a tenth of the size

The data are synthetic: 370 paths of 12 correlated frames and positive, strongly correlated
features (powers of mixtures of a few latent variables, in float32), a target that is linear in
the latent variables but for a small part, and noise. Every row of the table solves the same
problem; the error is that of paths which no model has seen.

- textbook OLS: orthogonal least squares with every column orthogonalized at every step;
- OMP: scikit-learn's OrthogonalMatchingPursuit (centred and scaled columns);
- the two models of skwavelet.

Cost: 3 min.
"""

import sys
import time
from pathlib import Path

import numpy as np
from sklearn.linear_model import OrthogonalMatchingPursuit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skwavelet import BaggedOLSEnsemble, GreedyOLSRegressor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common.command import arguments
from common.table import Table
from common.timing import machine


def synthetic_data(n_paths, n_frames, n_features):
    """Return X (float32), y and the path of each row."""
    rng = np.random.default_rng(0)
    n_latent = 200
    strength = np.exp(-np.arange(n_latent) / 30)
    path_level = rng.normal(size=(n_paths, n_latent)).repeat(n_frames, axis=0)
    frame_level = rng.normal(size=(n_paths * n_frames, n_latent))
    latent = (path_level + 0.5 * frame_level) * strength
    mixing = rng.normal(size=(n_latent, n_features)) / np.sqrt(n_latent)
    X = (3 + latent @ mixing + 0.2 * (latent @ rng.permutation(mixing)) ** 2).clip(0.1)
    X **= rng.choice([1, 4 / 3, 5 / 3, 2], size=n_features)
    y = latent @ rng.normal(size=n_latent) + 0.05 * np.sin(3 * latent[:, 0])
    y += 0.01 * rng.normal(size=len(y))
    return X.astype(np.float32), y, np.arange(n_paths).repeat(n_frames)


class TextbookOLS:
    """Orthogonal least squares, every column orthogonalized at every step."""

    def __init__(self, n_features):
        self.n_features = n_features

    def fit(self, X, y):
        """Select and fit."""
        self.mean = X.mean(axis=0, dtype=np.float64)
        columns = X - self.mean
        size = np.linalg.norm(columns, axis=0)
        residual = y - y.mean()
        self.support = []
        for _ in range(self.n_features):
            norm = np.linalg.norm(columns, axis=0)
            allowed = norm > 1e-5 * size
            score = np.abs(residual @ columns) / np.where(allowed, norm, np.inf)
            best = np.argmax(score)
            q = columns[:, best] / norm[best]
            residual = residual - (q @ residual) * q
            columns -= np.outer(q, q @ columns)
            self.support.append(best)
        A = X[:, self.support] - self.mean[self.support]
        self.coef = np.linalg.lstsq(A, y - y.mean(), rcond=None)[0]
        self.intercept = y.mean()
        return self

    def predict(self, X):
        """Predict with the whole support."""
        return (X[:, self.support] - self.mean[self.support]) @ self.coef + self.intercept


def main():
    args = arguments(
        __doc__,
        quick={"paths": 100, "features": 400, "length": 30, "bags": 10},
        n_jobs=2,
        paths=370,
        features=3740,
        length=300,
        bags=100,
    )
    n_paths, n_features, length, n_bags = args.paths, args.features, args.length, args.bags
    n_test = n_paths // 5
    X, y, paths = synthetic_data(n_paths + n_test, 12, n_features)
    test = paths >= n_paths
    train = X[~test], y[~test]
    groups = {"groups": paths[~test]}
    single = {"validation_fraction": None, "random_state": 0}
    bagged = {"max_features": length, "random_state": 0}

    n_jobs = args.n_jobs
    omp = make_pipeline(StandardScaler(), OrthogonalMatchingPursuit(n_nonzero_coefs=length))
    parallel = {"n_jobs": n_jobs, **bagged}
    models = {  # model, threads
        "textbook OLS": (TextbookOLS(length), 1),
        "scikit-learn OMP": (omp, 1),
        "GreedyOLSRegressor, all candidates": (GreedyOLSRegressor(length, **single), 1),
        "GreedyOLSRegressor, sqrt candidates": (
            GreedyOLSRegressor(length, candidates="sqrt", **single),
            1,
        ),
        "BaggedOLSEnsemble(4, folds, all candidates)": (
            BaggedOLSEnsemble(4, resampling="folds", candidates="all", **parallel),
            n_jobs,
        ),
        f"BaggedOLSEnsemble({n_bags}), default patience": (
            BaggedOLSEnsemble(n_bags, **parallel),
            n_jobs,
        ),
        f"BaggedOLSEnsemble({n_bags}), patience=None": (
            BaggedOLSEnsemble(n_bags, patience=None, **parallel),
            n_jobs,
        ),
    }
    print(f"n = {len(train[0])} rows, d = {n_features} features, paths of up to {length} features;")
    print(f"{machine('scikit-learn', 'numpy')}\n")
    header = ["model", "threads", "time (s)", "models", "CPU time per model (s)", "features"]
    table = Table([*header, "test RMSE"])
    for name, (model, threads) in models.items():
        start, cpu_start = time.perf_counter(), time.process_time()
        model.fit(*train, **(groups if isinstance(model, BaggedOLSEnsemble) else {}))
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu_start
        members = getattr(model, "estimators_", [model])
        features = np.mean([getattr(member, "n_features_selected_", length) for member in members])
        rmse = np.sqrt(np.mean((model.predict(X[test]) - y[test]) ** 2))
        size = f"{features:.0f}"
        table.add(name, threads, seconds, len(members), cpu / len(members), size, f"{rmse:.4f}")
    print(f"\nStandard deviation of the test targets: {y[test].std():.4f}")


if __name__ == "__main__":
    main()
