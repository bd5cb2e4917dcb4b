"""What rows and a fit to them are said to take, beside the peak of what they take."""

import tracemalloc

import numpy as np
import pytest
from ase import Atoms
from helpers.check_helpers import error_of
from sklearn.linear_model import Lasso, Ridge

from skwavelet import BaggedOLSEnsemble, GreedyOLSRegressor, RidgePath
from skwavelet.linear import _moments
from skwavelet.potentials import rows as rows_module
from skwavelet.potentials.row_fits import copies_of_rows, fit_rows

N_STRUCTURES, N_ATOMS, N_FEATURES = 100, 40, 150
N_ROWS = N_STRUCTURES * (1 + 3 * N_ATOMS)


class RandomChain:
    """A chain whose derivatives cost nothing, so that rows are all there is in memory."""

    leaves = ()

    def __init__(self):
        self.rng = np.random.default_rng(0)

    def jvp(self, X, displacements, strains):
        shapes = [(len(moves), N_FEATURES) for moves in displacements]
        return [self.rng.standard_normal(shape, dtype=np.float32) for shape in shapes]


def fitted(regressor):
    rng = np.random.default_rng(1)
    X = [Atoms("Cu" * N_ATOMS, rng.uniform(0, 9, (N_ATOMS, 3))) for _ in range(N_STRUCTURES)]
    features = rng.standard_normal((N_STRUCTURES, N_FEATURES), dtype=np.float32)
    forces = list(rng.normal(size=(N_STRUCTURES, N_ATOMS, 3)))
    rows = rows_module.build_rows(
        RandomChain(), X, rng.normal(size=N_STRUCTURES), features, forces, [None] * N_STRUCTURES,
        "all", rng, np.ones(N_STRUCTURES), n_copies=copies_of_rows(regressor),
    )  # fmt: skip
    assert len(rows) == N_ROWS
    return fit_rows(regressor, rows, np.arange(N_STRUCTURES), 0.01, 1.0)


@pytest.mark.parametrize(
    "regressor",
    [
        RidgePath([1e-6], members=False),
        GreedyOLSRegressor(max_features=3),
        BaggedOLSEnsemble(2, max_features=3),
        Lasso(1.0),
        Ridge(),
    ],
    ids=lambda regressor: type(regressor).__name__,
)
def test_the_estimate_is_what_a_fit_takes(regressor, monkeypatch):
    # Little besides: derivatives on their way to the rows, and rows that Gram matrices grow by.
    monkeypatch.setattr(rows_module, "LARGE", 2**21)
    monkeypatch.setattr(_moments, "ROWS", 256)
    fitted(regressor)  # compiles
    tracemalloc.start()
    try:
        fitted(regressor)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    one_copy = 8 * N_ROWS * N_FEATURES
    estimate = one_copy * (0.5 + copies_of_rows(regressor))
    # Numbers of rows, weights and the like are not counted, which is less than a third of a copy.
    assert -0.05 * one_copy < peak - estimate < one_copy / 3
    monkeypatch.setattr(rows_module, "available_memory", lambda: estimate)
    fitted(regressor)
    monkeypatch.setattr(rows_module, "available_memory", lambda: estimate - 1)
    error_of(lambda: fitted(regressor), ValueError, "lower n_directions")
