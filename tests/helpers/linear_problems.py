"""A badly conditioned linear problem with groups, and an ensemble for it."""

import numpy as np

from skwavelet import BaggedOLSEnsemble

N, P = 400, 30


def problem(dtype="float64", seed=0):
    """Columns of different sizes, nearly dependent ones, copies and constants among them."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(N, P)) * 10.0 ** rng.uniform(-3, 3, P) + rng.normal(size=P) * 100
    X[:, 5] = X[:, 4] + 1e-3 * X[:, 6]
    X[:, 8] = X[:, 7]
    X[:, 9] = 3.0
    y = (X - X.mean(axis=0)) / X.std(axis=0).clip(1e-9) @ rng.normal(size=P)
    return X.astype(dtype), y + rng.normal(size=N), np.arange(N) // 8


def ensemble(directory, **changes):
    return BaggedOLSEnsemble(6, max_features=8, random_state=0, checkpoint=directory).set_params(
        **changes
    )
