"""Linear models of a matrix on disk: the same as in memory; ensembles that go on after a kill."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from helpers.check_helpers import error_of
from helpers.linear_problems import N, P, ensemble, problem
from sklearn.base import clone

from skwavelet import BaggedOLSEnsemble, GreedyOLSRegressor
from skwavelet.linear import _blocks
from skwavelet.linear._blocks import _Rows, blockwise_data, is_on_disk
from skwavelet.linear.design import build_design


class Slices:
    """What any matrix on disk has to offer, with a count of the rows that are read."""

    def __init__(self, matrix):
        self._matrix, self.shape, self.dtype = matrix, matrix.shape, matrix.dtype
        self.longest = self.n_read = 0

    def __getitem__(self, rows):
        assert isinstance(rows, slice)
        part = self._matrix[rows]
        self.longest, self.n_read = max(self.longest, len(part)), self.n_read + len(part)
        return part


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(_blocks, "_BLOCK", 17 * P)


MODELS = {
    "all": GreedyOLSRegressor(20, random_state=0),
    "sampled": GreedyOLSRegressor(20, candidates=6, random_state=1, patience=10),
    "whole path": GreedyOLSRegressor(20, validation_fraction=None),
    "origin": GreedyOLSRegressor(20, fit_intercept=False, random_state=0),
    "bagged": BaggedOLSEnsemble(4, max_features=20, random_state=0),
    "folds": BaggedOLSEnsemble(4, resampling="folds", candidates="all", random_state=0),
}
OPTIONS = {
    "plain": {},
    "weights": {"sample_weight": np.random.default_rng(1).uniform(0, 2, N).round(1)},
    "derivatives": {
        "sample_weight": np.random.default_rng(2).uniform(0.1, 2, N),
        "intercept_column": np.where(np.arange(N) % 8 < 3, 1.0, 0.0),
    },
    # The first block has no intercept at all.
    "late intercept": {"intercept_column": np.where(np.arange(N) < 100, 0.0, 1.0)},
}


def paths(model):
    return [m._path_support.tolist() for m in getattr(model, "estimators_", [model])]


CASES = [
    (name, options)
    for name in MODELS
    for options in OPTIONS
    if name != "origin" or "intercept_column" not in OPTIONS[options]
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "options"), CASES)
def test_same_as_in_memory(name, options, dtype):
    X, y, groups = problem(dtype)
    options = {"groups": groups, **OPTIONS[options]}
    memory = clone(MODELS[name]).fit(X, y, **options)
    slices = Slices(X)
    disk = clone(MODELS[name]).fit(slices, y, **options)
    assert slices.longest <= 17
    assert paths(disk) == paths(memory)
    assert disk.n_features_in_ == P
    tolerance = {"rtol": 1e-7, "atol": 1e-7 * np.abs(y).max()}
    np.testing.assert_allclose(disk.predict(X), memory.predict(X), **tolerance)
    for one, other in zip(
        getattr(disk, "estimators_", [disk]), getattr(memory, "estimators_", [memory]), strict=True
    ):
        np.testing.assert_array_equal(one.support_, other.support_)
        np.testing.assert_allclose(one.path_, other.path_, rtol=1e-8)
    for a, b in zip(disk.staged_predict(slices), memory.staged_predict(X), strict=True):
        np.testing.assert_allclose(a, b, **tolerance)
    np.testing.assert_allclose(disk.predict(slices), memory.predict(X), **tolerance)
    if hasattr(memory, "oob_prediction_"):
        np.testing.assert_allclose(disk.oob_prediction_, memory.oob_prediction_, **tolerance)
        np.testing.assert_allclose(
            disk.feature_importances_, memory.feature_importances_, rtol=1e-7, atol=1e-12
        )


def test_memory_maps(tmp_path):
    X, y, groups = problem()
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    assert is_on_disk(mapped)
    assert not is_on_disk(mapped[[1, 2]])
    assert not is_on_disk(X)
    memory = GreedyOLSRegressor(10, random_state=0).fit(X, y, groups)
    disk = GreedyOLSRegressor(10, random_state=0).fit(mapped, y, groups)
    assert paths(disk) == paths(memory)


def test_moments_are_those_of_the_whole():
    X, _, _ = problem()
    rng = np.random.default_rng(3)
    weight = rng.uniform(size=N)
    for c in (None, np.ones(N), np.where(rng.uniform(size=N) < 0.3, 1.0, 0.0)):
        whole = build_design(X, weight, c)
        data = blockwise_data(X, None, weight, None, c)
        for name in ("center", "scale"):
            np.testing.assert_allclose(getattr(data, name), getattr(whole, name), rtol=1e-10)
        columns = np.vstack([block for _, block in data.blocks()]).T
        np.testing.assert_allclose(columns, whole.columns, atol=1e-8)


def test_reduced_rows_have_the_same_inner_products():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(100, 7)) * 10.0 ** np.arange(-3, 4)
    for n in (3, 7, 14, 100):
        reduced = _Rows(7, n)
        for start in range(0, n, 9):
            reduced.add(rows[start : min(start + 9, n)])
        factor = reduced.reduced()
        assert len(factor) == min(n, 7)
        size = np.linalg.norm(rows[:n], axis=0)
        np.testing.assert_allclose(
            factor.T @ factor / np.outer(size, size),
            rows[:n].T @ rows[:n] / np.outer(size, size),
            atol=1e-14,
        )


def test_rows_are_read_once_per_model():
    X, y, groups = problem()
    slices = Slices(X)
    BaggedOLSEnsemble(3, max_features=5, random_state=0).fit(slices, y, groups)
    # To centre, for each model, and for predictions out of bag.
    assert slices.n_read == (1 + 3 + 1) * N


def test_bad_matrices():
    X, y, _ = problem()
    for make in MODELS.values():
        fit = lambda X, y=y, make=make: clone(make).fit(Slices(X), y)  # noqa: E731
        broken = X.copy()
        broken[123, 4] = np.inf
        error_of(lambda fit=fit, broken=broken: fit(broken), ValueError, "infinity in row 123")
        error_of(lambda fit=fit: fit(X.astype(int)), ValueError, "X has dtype int")
        error_of(lambda fit=fit: fit(X[:99]), ValueError, "X has 99 rows and y has 400")
        error_of(lambda fit=fit: fit(X, np.full(N, np.nan)), ValueError, r"y\[0\] is nan")
    model = GreedyOLSRegressor(3, random_state=0).fit(X, y)
    error_of(lambda: model.predict(Slices(X[:, 1:])), ValueError, "X has 29 features, but")


# -- checkpoints ---------------------------------------------------------------------------------


@pytest.fixture
def fits(monkeypatch):
    """Numbers of the models that were fitted."""
    numbers, fit = [], BaggedOLSEnsemble.fit.__globals__["BagFitter"].fit
    monkeypatch.setattr(
        BaggedOLSEnsemble.fit.__globals__["BagFitter"],
        "fit",
        lambda self, data, i, seed: numbers.append(i) or fit(self, data, i, seed),
    )
    return numbers


@pytest.mark.parametrize("on_disk", [False, True])
def test_checkpoints_are_used(on_disk, tmp_path, fits):
    X, y, groups = problem()
    given = Slices(X) if on_disk else X
    plain = ensemble(None).fit(given, y, groups)
    fits.clear()
    first = ensemble(tmp_path, n_estimators=4).fit(given, y, groups)
    assert fits == [0, 1, 2, 3]
    files = sorted(tmp_path.glob("*/*"))
    files[1].write_bytes(files[1].read_bytes()[:-3])
    files[2].write_bytes(b"")
    second = ensemble(str(tmp_path), n_jobs=2).fit(given, y, groups)
    # Damaged ones again, and those that are new.
    assert sorted(fits[4:]) == [1, 2, 4, 5]
    np.testing.assert_array_equal(second.coef_, plain.coef_)
    np.testing.assert_array_equal(second.oob_prediction_, plain.oob_prediction_)
    np.testing.assert_array_equal(first.estimators_[3].coef_, second.estimators_[3].coef_)


def test_checkpoints_of_something_else_are_not_used(tmp_path, fits):
    X, y, groups = problem()
    ensemble(tmp_path).fit(X, y, groups)
    other = X.copy()
    other[7, 3] *= 1 + 1e-12
    for model, arguments in (
        (ensemble(tmp_path, random_state=1), (X, y, groups)),
        (ensemble(tmp_path, max_features=7), (X, y, groups)),
        (ensemble(tmp_path, patience=3), (X, y, groups)),
        (ensemble(tmp_path, candidates="all"), (X, y, groups)),
        (ensemble(tmp_path, resampling="folds"), (X, y, groups)),
        (ensemble(tmp_path), (other, y, groups)),
        (ensemble(tmp_path), (X, y + 1e-9, groups)),
        (ensemble(tmp_path), (X, y, groups // 2)),
        (ensemble(tmp_path), (X, y, groups, np.full(N, 2.0))),
        (ensemble(tmp_path), (X, y, groups, None, np.full(N, 2.0))),
    ):
        fits.clear()
        model.fit(*arguments)
        assert sorted(fits) == list(range(6))
    for state in (None, np.random.RandomState(0)):
        error_of(
            lambda state=state: ensemble(tmp_path, random_state=state).fit(X, y, groups),
            ValueError,
            "checkpoint needs random_state to be an int",
        )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_in_another_order_are_other_data(dtype, tmp_path, fits):
    """Means and sizes of columns of integers are the same to the last bit."""
    _, y, groups = problem()
    X = np.random.default_rng(0).integers(0, 9, (N, P)).astype(dtype)
    X[[5, 90], 3] = [1, 2]
    shuffled, swapped = X.copy(), X.copy()
    shuffled[[5, 90]] = X[[90, 5]]
    swapped[[5, 90], 3] = X[[90, 5], 3]
    ensemble(tmp_path).fit(Slices(X), y, groups)
    for other in (shuffled, swapped, X.astype("float32" if dtype == "float64" else "float64")):
        fits.clear()
        found = ensemble(tmp_path).fit(Slices(other), y, groups)
        assert sorted(fits) == list(range(6))
        np.testing.assert_array_equal(
            found.coef_, ensemble(None).fit(Slices(other), y, groups).coef_
        )
    fits.clear()
    ensemble(tmp_path).fit(Slices(X), y, groups)
    assert fits == []


@pytest.mark.parametrize("model", [GreedyOLSRegressor(3), BaggedOLSEnsemble(2, random_state=0)])
def test_names_are_those_of_the_last_fit(model, tmp_path):
    X, y, _ = problem()
    model = clone(model).fit(pd.DataFrame(X, columns=[f"x{i}" for i in range(P)]), y)
    assert len(model.feature_names_in_) == P
    model.fit(Slices(X[:, :20]), y)
    assert model.n_features_in_ == 20
    assert not hasattr(model, "feature_names_in_")
    assert model.predict(X[:, :20]).shape == (N,)
    for member in getattr(model, "estimators_", []):
        assert not hasattr(member, "feature_names_in_")


KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from helpers.linear_problems import ensemble, problem
from skwavelet.linear import _checkpoint
write, count = _checkpoint.write_atomically, [0]
def counting(*arguments):
    write(*arguments)
    count[0] += 1
    if count[0] == 2:
        os.kill(os.getpid(), signal.SIGKILL)
_checkpoint.write_atomically = counting
ensemble({directory!r}).fit(*problem())
"""


@pytest.mark.skipif(os.name != "posix", reason="processes are killed by POSIX signals")
def test_killed_fits_go_on(tmp_path, fits):
    script = KILLED.format(tests=str(Path(__file__).parents[1]), directory=str(tmp_path))
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.returncode == -signal.SIGKILL, result.stderr
    resumed = ensemble(tmp_path).fit(*problem())
    assert fits == [2, 3, 4, 5]
    np.testing.assert_array_equal(resumed.coef_, ensemble(None).fit(*problem()).coef_)


# -- backends ------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["sequential", "threading", "loky", "multiprocessing"])
def test_ensembles_do_not_depend_on_the_backend(backend):
    X, y, groups = problem()
    expected = ensemble(None).fit(X, y, groups)
    with joblib.parallel_config(backend, n_jobs=2):
        found = ensemble(None).fit(X, y, groups)
    np.testing.assert_array_equal(found.coef_, expected.coef_)
    np.testing.assert_array_equal(found.oob_prediction_, expected.oob_prediction_)
