import pickle

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from skwavelet import BaggedOLSEnsemble, GreedyOLSRegressor
from skwavelet._utils import versioning
from skwavelet.linear.design import build_design
from skwavelet.linear.greedy import Basis
from skwavelet.linear.path import greedy_path, prefix_weights

RESAMPLED = (
    "weight 2 is not the same as two rows: rows (groups) are held out or drawn at random, and"
    " two rows can be separated"
)


def expected_failures(estimator):
    if getattr(estimator, "validation_fraction", "bags") is None:
        return {}
    return {"check_sample_weight_equivalence_on_dense_data": RESAMPLED}


@parametrize_with_checks(
    [
        GreedyOLSRegressor(),
        # Five: a path as long as there are rows ends with ties that rounding decides.
        GreedyOLSRegressor(5, validation_fraction=None),
        GreedyOLSRegressor(5, validation_fraction=None, candidates="sqrt", fit_intercept=False),
        BaggedOLSEnsemble(n_estimators=5),
        BaggedOLSEnsemble(n_estimators=2, resampling="folds", candidates="all"),
    ],
    expected_failed_checks=expected_failures,
)
def test_estimator_checks(estimator, check):
    check(estimator)


def correlated(rng, n_samples=60, n_features=25, dtype=np.float64):
    """Features that are positive, correlated and of very different scales, and a target."""
    latent = rng.normal(size=(n_samples, 8))
    X = np.abs(latent @ rng.normal(size=(8, n_features)) + 2) ** 1.3
    X = X * 10 ** rng.uniform(-3, 3, size=n_features)
    y = latent @ rng.normal(size=8) + np.abs(latent[:, 0]) - 7 + 0.1 * rng.normal(size=n_samples)
    return X.astype(dtype), y


def textbook_path(X, y, n_steps, columns=None, weight=None):
    """Select features by refitting with every candidate at each step (no orthogonalization)."""
    weight = np.ones(len(y)) if weight is None else weight
    root = np.sqrt(weight)
    fixed = np.ones((len(y), 1)) if columns is None else columns
    support = []
    for _ in range(n_steps):
        errors = np.full(X.shape[1], np.inf)
        for j in set(range(X.shape[1])) - set(support):
            A = root[:, None] * np.hstack([fixed, X[:, [*support, j]]])
            A = A / np.linalg.norm(A, axis=0)
            b, *_ = np.linalg.lstsq(A, root * y, rcond=1e-12)
            errors[j] = np.sum((root * y - A @ b) ** 2)
        support.append(int(np.argmin(errors)))
    return support


def augmented_lstsq(X, y, intercept_column=None, weight=None):
    """Coefficients and intercept by numpy.linalg.lstsq on scaled columns."""
    c = np.ones(len(y)) if intercept_column is None else intercept_column
    root = np.ones(len(y)) if weight is None else np.sqrt(weight)
    A = np.column_stack([c, np.asarray(X, dtype=np.float64)])
    scale = np.linalg.norm(A, axis=0)
    b = np.linalg.lstsq(root[:, None] * A / scale, root * y, rcond=None)[0] / scale
    return b[1:], b[0]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("candidates", ["all", 25])
@pytest.mark.parametrize("seed", range(3))
def test_path_is_the_textbook_path(seed, candidates, dtype):
    X, y = correlated(np.random.default_rng(seed), dtype=dtype)
    model = GreedyOLSRegressor(10, candidates=candidates, validation_fraction=None).fit(X, y)
    assert model.support_.tolist() == textbook_path(X.astype(np.float64), y, 10)


def test_selection_is_not_matching_pursuit():
    # Column 1 resembles column 0 and holds, beyond it, exactly what the residual needs:
    # only renormalization shows that.
    rng = np.random.default_rng(0)
    a, b, c = np.linalg.qr(rng.normal(size=(50, 3)))[0].T
    X = np.column_stack([a, a + 0.1 * b, c])
    y = 3 * a + b + 0.3 * c
    model = GreedyOLSRegressor(2, validation_fraction=None, fit_intercept=False).fit(X, y)
    assert set(model.support_) == {0, 1}
    residual = y - (y @ a) * a
    assert abs(X[:, 2] @ residual) > abs((X[:, 1] - (X[:, 1] @ a) * a) @ residual)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("validation_fraction", [None, 0.2])
def test_every_prefix_is_least_squares(dtype, validation_fraction):
    rng = np.random.default_rng(1)
    X, y = correlated(rng, dtype=dtype)
    X_new, _ = correlated(rng, dtype=dtype)
    model = GreedyOLSRegressor(
        15, validation_fraction=validation_fraction, random_state=0, candidates="sqrt"
    ).fit(X, y)
    stages = list(model.staged_predict(X_new))
    assert len(stages) == len(model.path_) == 15
    assert model.path_["n_features"].tolist() == list(range(1, 16))
    support = model._path_support
    for m, stage in enumerate(stages, start=1):
        coef, intercept = augmented_lstsq(X[:, support[:m]], y)
        expected = X_new[:, support[:m]].astype(np.float64) @ coef + intercept
        np.testing.assert_allclose(stage, expected, rtol=1e-8, atol=1e-8 * np.ptp(y))
    best = model.n_features_selected_
    np.testing.assert_array_equal(model.support_, support[:best])
    np.testing.assert_allclose(model.predict(X_new), stages[best - 1], rtol=1e-9, atol=1e-9)
    coef, intercept = augmented_lstsq(X[:, model.support_], y)
    np.testing.assert_allclose(model.coef_[model.support_], coef, rtol=1e-7)
    np.testing.assert_allclose(model.intercept_, intercept, rtol=1e-7)
    assert np.count_nonzero(model.coef_) == best


def test_training_error_is_that_of_the_fit():
    X, y = correlated(np.random.default_rng(2))
    model = GreedyOLSRegressor(12, validation_fraction=None).fit(X, y)
    rmse = [np.sqrt(np.mean((y - stage) ** 2)) for stage in model.staged_predict(X)]
    np.testing.assert_allclose(model.path_["train_rmse"], rmse, rtol=1e-9)
    assert model.path_["validation_rmse"].isna().all()
    assert model.n_features_selected_ == 12


@pytest.mark.parametrize("candidates", ["all", "sqrt"])
def test_validation_error_is_that_of_held_out_rows(candidates):
    rng = np.random.default_rng(3)
    X, y = correlated(rng, 80, 20)
    train, held_out = np.arange(80) < 55, np.arange(80) >= 55
    sample_weight = rng.uniform(0.5, 2, size=80)
    design = build_design(X, sample_weight, np.ones(80))
    path = greedy_path(
        design,
        y,
        sample_weight * train,
        max_features=12,
        n_candidates=None if candidates == "all" else 4,
        rng=rng,
        validation_weight=sample_weight * held_out,
    )
    for m in range(1, 13):
        chosen = path.support[:m]
        coef, b0 = augmented_lstsq(X[train][:, chosen], y[train], weight=sample_weight[train])
        error = (X[:, chosen] @ coef + b0 - y) ** 2
        for rows, measured in ((train, path.train_rmse), (held_out, path.validation_rmse)):
            expected = np.sqrt(np.average(error[rows], weights=sample_weight[rows]))
            np.testing.assert_allclose(measured[m - 1], expected, rtol=1e-8)
    assert path.n_best == np.argmin(path.validation_rmse) + 1
    if candidates == "all":
        expected = textbook_path(X[train], y[train], 12, weight=sample_weight[train])
        assert path.support.tolist() == expected


def test_whole_groups_are_held_out():
    rng = np.random.default_rng(4)
    X, y = correlated(rng, 60, 10)
    groups = np.repeat(list("abcdefghij"), 6)
    # A group that contradicts the others by 1000 shows which side it was on.
    offset = np.where(groups == "c", 1000.0, 0.0)
    seen = set()
    for seed in range(20):
        model = GreedyOLSRegressor(1, random_state=seed).fit(X, y + offset, groups=groups)
        squares = 60 * np.var(y + offset)
        n_train = 48
        train2 = model.path_["train_rmse"][0] ** 2 * n_train
        validation2 = model.path_["validation_rmse"][0] ** 2 * (60 - n_train)
        seen.add(bool(train2 < 0.01 * squares))
        # All six rows of the group are on one side.
        if train2 < 0.01 * squares:
            assert validation2 > 5 * 1000**2
        else:
            assert train2 > 0.5 * 6 * 1000**2
    assert seen == {True, False}


def test_patience_ends_the_path():
    rng = np.random.default_rng(5)
    X, y = rng.normal(size=(200, 60)), rng.normal(size=200)
    y += 3 * X[:, :3].sum(axis=1)
    full = GreedyOLSRegressor(random_state=0).fit(X, y)
    short = GreedyOLSRegressor(random_state=0, patience=4).fit(X, y)
    errors = full.path_["validation_rmse"].to_numpy()
    n = len(short.path_)
    np.testing.assert_array_equal(short.path_["validation_rmse"], errors[:n])
    assert n == np.argmin(errors[:n]) + 1 + 4 < len(errors)
    for m in range(4, n - 1):
        assert errors[: m + 1].argmin() > m - 4


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("candidates", ["all", 3])
def test_dependent_columns_are_never_chosen(candidates, dtype):
    rng = np.random.default_rng(6)
    base = rng.normal(size=(50, 4)) + 5
    X = np.column_stack([base, base, base @ rng.normal(size=(4, 5)), np.full(50, 0.1)])
    X = X.astype(dtype)
    y = rng.normal(size=50)
    model = GreedyOLSRegressor(candidates=candidates, validation_fraction=None, random_state=0)
    model.fit(X, y)
    assert model.n_features_selected_ == 4
    centred = X[:, model.support_].astype(np.float64)
    centred -= centred.mean(axis=0)
    assert np.linalg.matrix_rank(centred, tol=1e-3) == 4
    coef, intercept = augmented_lstsq(base.astype(dtype), y)
    np.testing.assert_allclose(
        model.predict(X),
        base.astype(dtype) @ coef + intercept,
        atol=1e-10 if dtype is np.float64 else 1e-5,
    )


def test_more_features_than_rows():
    rng = np.random.default_rng(7)
    X, y = rng.normal(size=(12, 40)), rng.normal(size=12)
    model = GreedyOLSRegressor(validation_fraction=None).fit(X, y)
    assert model.n_features_selected_ == 11
    np.testing.assert_allclose(model.predict(X), y, atol=1e-10)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("candidates", ["all", "sqrt"])
def test_nearly_dependent_columns_are_told_apart(candidates, seed):
    # What remains of these columns is 2e-8 of them: norms kept by subtraction are useless.
    rng = np.random.default_rng(seed)
    base, extra = rng.normal(size=(80, 3)), rng.normal(size=(80, 6))
    X = np.hstack([base, base[:, [0, 1, 2, 0, 1, 2]] + 2e-8 * extra])
    y = base @ [3.0, 2.0, 1.0] + 0.1 * extra @ [1.0, -2, 3, -4, 5, -6]
    model = GreedyOLSRegressor(9, candidates=candidates, validation_fraction=None, random_state=1)
    model.fit(X, y)
    assert model.n_features_selected_ == 9
    np.testing.assert_allclose(model.predict(X), y, atol=1e-6)
    model.set_params(tol=1e-6).fit(X, y)
    assert model.n_features_selected_ == 3


def test_basis_stays_orthonormal():
    rng = np.random.default_rng(8)
    # Ten rows are carried along: they hold what the same combinations are there.
    basis = Basis(50, 12, 60)
    direction = rng.normal(size=60)
    columns = direction + 1e-9 * rng.normal(size=(12, 60))
    for column in columns:
        vector = basis.residual(column)
        basis.append(vector / np.linalg.norm(vector[:50]))
    np.testing.assert_allclose(basis.inner @ basis.inner.T, np.eye(12), atol=1e-13)
    # A combination is taken off where it is carried along, too.
    combined = basis.vectors.T @ rng.normal(size=12)
    np.testing.assert_allclose(basis.residual(combined), 0, atol=1e-12)


def test_row_weights_are_repeated_rows():
    rng = np.random.default_rng(9)
    X, y = correlated(rng)
    counts = rng.integers(0, 4, size=len(y))
    weighted = GreedyOLSRegressor(5, validation_fraction=None).fit(X, y, sample_weight=counts)
    repeated = GreedyOLSRegressor(5, validation_fraction=None).fit(
        X.repeat(counts, axis=0), y.repeat(counts)
    )
    np.testing.assert_array_equal(weighted.support_, repeated.support_)
    np.testing.assert_allclose(weighted.coef_, repeated.coef_, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(
        weighted.path_["train_rmse"], repeated.path_["train_rmse"], rtol=1e-9
    )


@pytest.mark.parametrize("candidates", ["all", "sqrt"])
def test_rows_without_intercept(candidates):
    rng = np.random.default_rng(10)
    X, y = correlated(rng, 80, 12)
    c = np.r_[np.ones(40), np.zeros(30), np.full(10, 0.5)]
    y = y * np.where(c == 0, 0.3, 1) + 100 * c
    weight = rng.uniform(0.1, 3, size=80)
    model = GreedyOLSRegressor(6, candidates=candidates, validation_fraction=None, random_state=0)
    model.fit(X, y, sample_weight=weight, intercept_column=c)
    coef, intercept = augmented_lstsq(X[:, model.support_], y, c, weight)
    np.testing.assert_allclose(model.coef_[model.support_], coef, rtol=1e-7)
    np.testing.assert_allclose(model.intercept_, intercept, rtol=1e-9)
    np.testing.assert_allclose(model.predict(X[:3]), X[:3] @ model.coef_ + intercept, rtol=1e-9)
    if candidates == "all":
        expected = textbook_path(X, y, 6, columns=c[:, None], weight=weight)
        assert model.support_.tolist() == expected


def test_no_intercept():
    rng = np.random.default_rng(11)
    X, y = correlated(rng)
    model = GreedyOLSRegressor(5, fit_intercept=False, validation_fraction=None).fit(X, y)
    assert model.support_.tolist() == textbook_path(X, y, 5, columns=np.zeros((len(y), 0)))
    assert model.intercept_ == 0.0
    coef = np.linalg.lstsq(X[:, model.support_], y, rcond=None)[0]
    np.testing.assert_allclose(model.coef_[model.support_], coef, rtol=1e-6)
    assert len(list(model.staged_predict(X))) == 5


@pytest.mark.parametrize(
    ("candidates", "per_step"), [("sqrt", 6), (7, 7), (0.25, 9), (1000, 35), (0.001, 1)]
)
def test_candidates_per_step(candidates, per_step, monkeypatch):
    drawn = []

    class Spy:
        def __init__(self, rng):
            self.rng = rng

        def choice(self, pool, size, **kwargs):
            picked = self.rng.choice(pool, size, **kwargs)
            assert len(set(picked)) == size
            assert set(picked) <= set(pool)
            drawn.append((len(pool), size))
            return picked

        def permutation(self, n):
            return self.rng.permutation(n)

    original = np.random.default_rng
    rng = original(12)
    monkeypatch.setattr(np.random, "default_rng", lambda seed: Spy(original(seed)))
    X, y = rng.normal(size=(50, 35)), rng.normal(size=50)
    GreedyOLSRegressor(5, candidates=candidates, validation_fraction=None).fit(X, y)
    if per_step == 35:
        assert drawn == []
    else:
        # The pool shrinks by the column that was chosen, and by no other.
        assert drawn == [(35 - step, per_step) for step in range(5)]


def test_all_candidates_is_all_of_them_drawn():
    X, y = correlated(np.random.default_rng(13), 100, 40)
    paths = [
        GreedyOLSRegressor(25, candidates=candidates, random_state=0).fit(X, y).path_
        for candidates in ("all", 1.0)
    ]
    pd.testing.assert_frame_equal(*paths, rtol=1e-9)


@pytest.mark.parametrize("value", [0.0, 0.1, -1e6])
@pytest.mark.parametrize("make", [GreedyOLSRegressor, BaggedOLSEnsemble])
def test_constant_target_returns_the_intercept(make, value):
    X = np.random.default_rng(14).normal(size=(30, 5))
    model = make(random_state=0).fit(X, np.full(30, value))
    assert not model.coef_.any()
    np.testing.assert_allclose(model.intercept_, value, rtol=1e-12)
    np.testing.assert_allclose(model.predict(X), value, rtol=1e-12)
    assert list(model.staged_predict(X)) == []


def test_zero_target_without_intercept():
    X = np.random.default_rng(14).normal(size=(30, 5))
    model = GreedyOLSRegressor(fit_intercept=False).fit(X, np.zeros(30))
    assert not model.coef_.any()
    assert model.n_features_selected_ == len(model.path_) == 0


def test_offsets_do_not_cost_accuracy():
    rng = np.random.default_rng(15)
    X, y = rng.normal(size=(60, 8)), rng.normal(size=60)
    plain = GreedyOLSRegressor(5, validation_fraction=None).fit(X, y)
    shifted = GreedyOLSRegressor(5, validation_fraction=None).fit(X + 1e6, y - 1e6)
    np.testing.assert_array_equal(plain.support_, shifted.support_)
    np.testing.assert_allclose(shifted.coef_, plain.coef_, rtol=1e-7, atol=1e-9)


def test_prefix_weights_solve_each_prefix():
    X, y = correlated(np.random.default_rng(16), 40, 6)
    weight = np.r_[np.zeros(5), np.ones(35)]
    design = build_design(X, weight, np.ones(40))
    weights = prefix_weights(design, y, weight, np.array([3, 0, 5]))
    for k in range(1, 5):
        A = design.matrix(np.array([3, 0, 5]))[5:, :k]
        expected = np.linalg.lstsq(A, y[5:], rcond=None)[0]
        np.testing.assert_allclose(weights.solve(k), expected, rtol=1e-9)


BAD = [
    ({"max_features": 0}, "max_features"),
    ({"max_features": 2.5}, "max_features"),
    ({"candidates": "some"}, "candidates"),
    ({"candidates": 0}, "candidates"),
    ({"candidates": 1.5}, "candidates"),
    ({"patience": 0}, "patience"),
    ({"random_state": "a"}, "random_state"),
]


@pytest.mark.parametrize(
    ("make", "parameters", "name"),
    [(make, *bad) for make in (GreedyOLSRegressor, BaggedOLSEnsemble) for bad in BAD]
    + [
        (GreedyOLSRegressor, {"validation_fraction": 1.0}, "validation_fraction"),
        (GreedyOLSRegressor, {"tol": -1.0}, "tol"),
        (BaggedOLSEnsemble, {"n_estimators": 0}, "n_estimators"),
        (BaggedOLSEnsemble, {"resampling": "jackknife"}, "resampling"),
    ],
)
def test_bad_parameters(make, parameters, name):
    X, y = np.eye(5), np.arange(5.0)
    with pytest.raises(ValueError, match=f"'{name}' parameter of {make.__name__}") as error:
        make(**parameters).fit(X, y)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"y": np.arange(9.0)}, "inconsistent numbers of samples"),
        ({"y": np.r_[np.arange(9.0), np.nan]}, r"y\[9\] is nan; repair or remove sample 9"),
        ({"groups": np.arange(9)}, r"groups must hold one label per sample, shape \(10,\)"),
        ({"groups": [None, *range(9)]}, r"groups\[0\] is missing"),
        ({"groups": np.zeros(10)}, "All rows are in one group"),
        ({"sample_weight": np.ones(9)}, "sample_weight must hold one number per sample"),
        ({"sample_weight": np.r_[np.ones(9), -1]}, r"sample_weight\[9\] is negative"),
        ({"sample_weight": np.r_[np.ones(9), np.inf]}, r"sample_weight\[9\] is inf"),
        ({"sample_weight": np.zeros(10)}, "sample_weight is zero for every sample"),
        (
            {"intercept_column": np.zeros(10)},
            "intercept_column is zero for every sample of nonzero",
        ),
        (
            {"intercept_column": np.eye(10)[0], "sample_weight": 1 - np.eye(10)[0]},
            "intercept_column is zero for every sample of nonzero sample_weight",
        ),
        (
            {"sample_weight": np.eye(10)[0], "groups": np.arange(10) // 5},
            "no row of nonzero weight|rows of nonzero sample_weight",
        ),
    ],
)
@pytest.mark.parametrize("make", [GreedyOLSRegressor, BaggedOLSEnsemble])
def test_bad_arrays(make, arguments, message):
    rng = np.random.default_rng(17)
    arguments = {"X": rng.normal(size=(10, 3)), "y": rng.normal(size=10), **arguments}
    with pytest.raises(ValueError, match=message) as error:
        make(random_state=0).fit(**arguments)
    assert "\n" not in str(error.value)


def test_intercept_column_needs_an_intercept():
    with pytest.raises(ValueError, match="intercept_column needs fit_intercept=True"):
        GreedyOLSRegressor(fit_intercept=False).fit(
            np.eye(5), np.arange(5.0), intercept_column=np.ones(5)
        )


def test_one_group_is_fine_without_validation():
    X, y = correlated(np.random.default_rng(18))
    model = GreedyOLSRegressor(3, validation_fraction=None).fit(X, y, groups=np.zeros(len(y)))
    assert model.n_features_selected_ == 3


@pytest.mark.parametrize("method", ["predict", "staged_predict"])
@pytest.mark.parametrize("make", [GreedyOLSRegressor, BaggedOLSEnsemble])
def test_unfitted(make, method):
    with pytest.raises(NotFittedError):
        list(getattr(make(), method)(np.eye(3)))


@pytest.fixture(params=[GreedyOLSRegressor, BaggedOLSEnsemble], ids=lambda make: make.__name__)
def small_model(request):
    parameters = {"max_features": 6, "random_state": 0}
    if request.param is BaggedOLSEnsemble:
        parameters["n_estimators"] = 4
    return request.param(**parameters)


def test_groups_reach_a_pipeline_three_ways(small_model):
    """As fit argument, by step__groups in cross_val_score, and by metadata routing."""
    rng = np.random.default_rng(19)
    X, y = correlated(rng, 90, 10)
    groups = np.repeat(np.arange(15), 6)
    cv = GroupKFold(3)
    step = type(small_model).__name__.lower()

    direct, without = [], []
    for train, test in cv.split(X, y, groups):
        scaler = StandardScaler().fit(X[train])
        inputs = scaler.transform(X[train]), y[train]
        fitted = clone(small_model).fit(*inputs, groups=groups[train])
        direct.append(fitted.score(scaler.transform(X[test]), y[test]))
        fitted = clone(small_model).fit(*inputs)
        without.append(fitted.score(scaler.transform(X[test]), y[test]))
    assert not np.allclose(direct, without)

    pipeline = make_pipeline(StandardScaler(), small_model)
    by_step = cross_val_score(
        pipeline, X, y, groups=groups, cv=cv, params={f"{step}__groups": groups}
    )
    np.testing.assert_allclose(by_step, direct, rtol=1e-9)

    with config_context(enable_metadata_routing=True):
        pipeline = make_pipeline(StandardScaler(), clone(small_model).set_fit_request(groups=True))
        routed = cross_val_score(pipeline, X, y, cv=cv, params={"groups": groups})
    np.testing.assert_allclose(routed, direct, rtol=1e-9)


def test_grid_search_changes_the_results(small_model):
    X, y = correlated(np.random.default_rng(20), 90, 10)
    grid = GridSearchCV(small_model, {"max_features": [1, 6]}, cv=3).fit(X, y)
    low, high = grid.cv_results_["mean_test_score"]
    assert high > low + 0.01
    assert grid.best_params_ == {"max_features": 6}


def test_feature_names(small_model):
    X, y = correlated(np.random.default_rng(21), 60, 5)
    frame = pd.DataFrame(X, columns=list("abcde"))
    model = small_model.fit(frame, y)
    assert model.feature_names_in_.tolist() == list("abcde")
    unnamed = clone(model).fit(X, y)
    np.testing.assert_allclose(model.predict(frame), unnamed.predict(X), rtol=1e-12)
    assert len(list(model.staged_predict(frame))) >= 1
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(frame[list("edcba")])


@pytest.mark.parametrize("store", ["pickle", "skops"])
def test_stored_models_predict_the_same(small_model, store):
    X, y = correlated(np.random.default_rng(22))
    model = small_model.fit(X, y)
    if store == "pickle":
        stored = pickle.dumps(model)
        loaded = pickle.loads(stored)
    else:
        stored = skops.io.dumps(model)
        loaded = skops.io.loads(stored, trusted=skops.io.get_untrusted_types(data=stored))
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    np.testing.assert_array_equal(list(loaded.staged_predict(X)), list(model.staged_predict(X)))
    assert not hasattr(loaded, "_skwavelet_version")


def test_a_model_says_which_version_wrote_it(small_model, monkeypatch):
    X, y = correlated(np.random.default_rng(23))
    stored = pickle.dumps(small_model.fit(X, y))
    monkeypatch.setattr(versioning, "__version__", "99.0")
    with pytest.warns(versioning.VersionMismatchWarning, match=r"0\.1\.0 and is read by 99\.0"):
        pickle.loads(stored)


def test_repeatable_for_a_seed(small_model):
    X, y = correlated(np.random.default_rng(24))
    one, same = clone(small_model).fit(X, y), clone(small_model).fit(X, y)
    np.testing.assert_array_equal(one.coef_, same.coef_)
    other = clone(small_model).set_params(random_state=1).fit(X, y)
    assert not np.array_equal(one.coef_, other.coef_)


def test_inputs_are_not_changed(small_model):
    X, y = correlated(np.random.default_rng(25))
    weight, c = np.ones(len(y)), np.ones(len(y))
    before = X.copy(), y.copy()
    small_model.fit(X, y, sample_weight=weight, intercept_column=c).predict(X)
    np.testing.assert_array_equal(X, before[0])
    np.testing.assert_array_equal(y, before[1])
    assert (weight == 1).all()
    assert (c == 1).all()


def test_float32_agrees_with_float64(small_model):
    X, y = correlated(np.random.default_rng(26), dtype=np.float32)
    single, double = clone(small_model).fit(X, y), clone(small_model).fit(X.astype(float), y)
    np.testing.assert_array_equal(single.coef_, double.coef_)
    assert single.predict(X).dtype == np.float64
    np.testing.assert_allclose(single.predict(X), double.predict(X.astype(float)), rtol=1e-12)
