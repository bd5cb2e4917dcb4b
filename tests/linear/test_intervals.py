"""Standard deviations calibrated by errors out of bag, and prediction intervals."""

import copy
import pickle

import numpy as np
import pytest
import skops.io
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, GroupKFold

from skwavelet import BaggedOLSEnsemble
from skwavelet.linear.calibration import SpreadCalibration, fit_calibration, mean_and_spread
from skwavelet.linear.intervals import OutOfBagIntervals, weighted_quantile


def grouped(n_groups, size, seed, *, shared=0.5, n_features=6):
    """Exchangeable groups: rows of a group share a part of their features and of their noise."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(n_groups), size)
    X = (
        rng.normal(size=(n_groups * size, n_features))
        + rng.normal(size=(n_groups, n_features))[groups]
    )
    noise = rng.standard_t(4, size=len(X)) + shared * rng.normal(size=n_groups)[groups]
    return X, X[:, 0] - 2 * X[:, 3] + 0.5 * noise, groups


def z2_of(model, y, weight=None):
    std = model.calibration_(model.oob_spread_)
    seen = np.isfinite(std)
    z2 = ((model.oob_prediction_ - y) / std)[seen] ** 2
    return np.average(z2, weights=None if weight is None else weight[seen])


# -- calibration -----------------------------------------------------------------------------


@pytest.mark.parametrize("n_groups", [3, 30])
@pytest.mark.parametrize("resampling", ["bootstrap", "folds"])
def test_errors_out_of_bag_are_as_large_as_predicted(n_groups, resampling):
    X, y, groups = grouped(n_groups, 10, seed=0)
    n_models = 3 if resampling == "folds" else 12
    model = BaggedOLSEnsemble(n_models, resampling=resampling, random_state=0)
    model.fit(X, y, groups)
    assert z2_of(model, y) == pytest.approx(1, rel=1e-9)
    weight = np.random.default_rng(1).integers(0, 3, size=len(y)).astype(float)
    model.fit(X, y, groups, sample_weight=weight)
    assert z2_of(model, y, weight) == pytest.approx(1, rel=1e-9)


def test_spread_out_of_bag(monkeypatch):
    X, y, groups = grouped(8, 5, seed=1)
    original, seen = BaggedOLSEnsemble._out_of_bag, []
    monkeypatch.setattr(
        BaggedOLSEnsemble, "_out_of_bag", lambda *args: seen.append(args[2]) or original(*args)
    )
    model = BaggedOLSEnsemble(6, random_state=2).fit(X, y, groups)
    (left_out,) = seen
    members = np.column_stack([member.predict(X) for member in model.estimators_])
    counts = left_out.sum(axis=1)
    assert {0, 1, 2} <= set(counts)
    for row, out in enumerate(left_out):
        mine = members[row, out] if counts[row] > 1 else members[row]
        expected = np.std(mine, ddof=1) if counts[row] else np.nan
        assert model.oob_spread_[row] == pytest.approx(expected, nan_ok=True)


def test_floor_and_factor_are_found():
    rng = np.random.default_rng(0)
    spread = rng.lognormal(sigma=0.8, size=40000)
    groups = np.arange(len(spread)) // 10
    for truth in (SpreadCalibration(1.5, 1.2), SpreadCalibration(0.3, 2.0)):
        errors = truth(spread) * rng.normal(size=len(spread))
        found = fit_calibration(errors, spread, np.ones(len(spread)), groups)
        assert (found.floor, found.factor) == pytest.approx((truth.floor, truth.factor), rel=0.05)


def test_no_pair_is_more_likely():
    rng = np.random.default_rng(3)
    spread = rng.lognormal(size=500)
    errors = np.hypot(1, 1.5 * spread) * rng.standard_t(5, size=500)
    weight = rng.uniform(0.5, 2, size=500)
    found = fit_calibration(errors, spread, weight, np.arange(500))

    def cost(calibration):
        variance = calibration(spread) ** 2
        return weight @ (np.log(variance) + errors**2 / variance)

    assert found.factor > 1
    for floor, factor in ((1.02, 1), (0.98, 1), (1, 1.02), (1, 0.98), (1.02, 0.98), (0.98, 1.02)):
        other = SpreadCalibration(floor * found.floor, factor * found.factor)
        assert cost(other) > cost(found)


@pytest.mark.parametrize("unit", [1e-30, 1.0, 1e30])
def test_errors_of_rounding_beside_large_ones(unit):
    # The floor is of the size of the errors where models agree, 1e-17 times the largest.
    errors = unit * np.array([-5.3e-18, 2.2e-2, 6.5e-2, 8.2e-18])
    spread = unit * np.array([0.0, 2.0, 2.0, 1e-6])
    found = fit_calibration(errors, spread, np.ones(4), np.arange(4))
    assert np.mean((errors / found(spread)) ** 2) == pytest.approx(1, rel=1e-9)


@pytest.mark.parametrize("power", [0.0, 0.5, 2.0])
def test_the_growth_of_errors_with_the_remoteness_is_found(power):
    rng = np.random.default_rng(2)
    truth = SpreadCalibration(1.5, 1.2, power)
    spread, remoteness = rng.lognormal(sigma=0.5, size=(2, 8000))
    errors = truth(spread, remoteness) * rng.normal(size=8000)
    weight, groups = rng.uniform(0.5, 2, size=8000), np.arange(8000) // 4
    found = fit_calibration(errors, spread, weight, groups, remoteness)
    assert found.power == power
    assert (found.floor, found.factor) == pytest.approx((1.5, 1.2), rel=0.1)
    z2 = (errors / found(spread, remoteness)) ** 2
    assert np.average(z2, weights=weight) == pytest.approx(1)
    # Two groups tell nothing about it.
    assert not fit_calibration(errors, spread, weight, groups % 2, remoteness).power


@pytest.mark.parametrize("share", [0.0, 0.1, 0.4])
def test_the_share_of_errors_in_what_is_predicted_is_found(share):
    rng = np.random.default_rng(4)
    truth = SpreadCalibration(0.1, 2.0, 0.0, share)
    spread, size = rng.lognormal([[-1], [1]], 0.8, size=(2, 20000))
    errors = truth(spread, size=size) * rng.normal(size=20000)
    weight, groups = rng.uniform(0.5, 2, size=20000), np.arange(20000) // 200
    found = fit_calibration(errors, spread, weight, groups, size=size)
    assert found.share == pytest.approx(share, rel=0.1)
    assert found.factor == pytest.approx(2, rel=0.1)
    z2 = (errors / found(spread, size=size)) ** 2
    assert np.average(z2, weights=weight) == pytest.approx(1)
    large = size > np.quantile(size, 0.9)
    assert np.average(z2[large], weights=weight[large]) == pytest.approx(1, abs=0.15)
    # Two groups tell nothing about it, even where both say the same.
    assert not fit_calibration(errors, spread, weight, groups % 2, size=size).share
    # With the remoteness, both are found.
    remoteness = rng.lognormal(sigma=0.5, size=20000)
    both = fit_calibration(errors * remoteness, spread, weight, groups, remoteness, size)
    assert both.power == 1
    assert both.share == pytest.approx(share, rel=0.1)
    z2 = (errors * remoteness / both(spread, remoteness, size)) ** 2
    assert np.average(z2, weights=weight) == pytest.approx(1)


def test_few_groups_tell_a_factor_only():
    rng = np.random.default_rng(0)
    spread = rng.lognormal(size=400)
    errors = 2 * rng.normal(size=400)
    few = fit_calibration(errors, spread, np.ones(400), np.arange(400) % 2)
    assert few.floor == 0
    assert few.factor == pytest.approx(np.sqrt(np.mean((errors / spread) ** 2)))
    many = fit_calibration(errors, spread, np.ones(400), np.arange(400))
    assert many.floor > 1


def test_standard_deviations_grow_outside():
    """Errors that do not depend on the spread leave it a factor of one."""
    rng = np.random.default_rng(0)
    spread = rng.lognormal(size=2000)
    groups = np.arange(2000)
    found = fit_calibration(3 * rng.normal(size=2000), spread, np.ones(2000), groups)
    assert found.factor == pytest.approx(1, rel=1e-3)
    assert found(1e3) == pytest.approx(1e3, rel=1e-3)
    # Nor does a floor make up for a spread that is too large.
    found = fit_calibration(0.1 * spread * rng.normal(size=2000), spread, np.ones(2000), groups)
    assert found.floor == pytest.approx(0, abs=1e-2)
    assert found.factor == pytest.approx(0.1, rel=0.1)


@pytest.mark.parametrize(
    ("errors", "spread", "expected"),
    [
        ([1.0, -3.0], [0.0, 0.0], (np.sqrt(5), 1)),  # one model, or models that agree
        ([np.nan, np.nan], [np.nan, np.nan], (0, 1)),
        ([0.0, 0.0], [0.0, 0.0], (0, 1)),
        ([0.0, 0.0], [1.0, 2.0], (0, 0)),
        ([2.0, 0.0, np.nan], [1.0, 0.0, np.nan], (0, 2)),
    ],
)
def test_calibration_of_nothing(errors, spread, expected):
    errors, spread = np.array(errors), np.array(spread)
    found = fit_calibration(errors, spread, np.ones(len(errors)), np.arange(len(errors)))
    assert (found.floor, found.factor) == pytest.approx(expected)


def test_errors_where_models_agree_are_the_floor():
    errors, spread = np.array([1.0, -1.0, 2.0, -2.0]), np.array([0.0, 0.0, 1.0, 1.0])
    found = fit_calibration(errors, spread, np.ones(4), np.arange(4))
    assert np.mean((errors / found(spread)) ** 2) == pytest.approx(1)
    assert found.floor > 0.5


def test_calibration_follows_units():
    rng = np.random.default_rng(0)
    spread = rng.lognormal(size=300)
    errors = np.hypot(2, spread) * rng.normal(size=300)
    one = fit_calibration(errors, spread, np.ones(300), np.arange(300))
    other = fit_calibration(1e-3 * errors, 1e-3 * spread, np.ones(300), np.arange(300))
    assert (other.floor, other.factor) == pytest.approx((1e-3 * one.floor, one.factor), rel=1e-3)
    share = fit_calibration(errors, spread, np.ones(300), np.arange(300), size=np.abs(errors))
    other = fit_calibration(
        1e-3 * errors, 1e-3 * spread, np.ones(300), np.arange(300), size=1e-3 * np.abs(errors)
    )
    assert share.share == pytest.approx(other.share, rel=1e-3)
    assert share.share > 0
    scaled = one.scaled(-1e-3)
    np.testing.assert_allclose(scaled(1e-3 * spread), 1e-3 * one(spread))


def test_one_model_has_the_error_out_of_bag():
    X, y, groups = grouped(10, 4, seed=0)
    model = BaggedOLSEnsemble(1, random_state=0).fit(X, y, groups)
    errors = (model.oob_prediction_ - y)[np.isfinite(model.oob_prediction_)]
    _, std = model.predict(X, return_std=True)
    np.testing.assert_allclose(std, np.sqrt(np.mean(errors**2)))


def test_rows_of_derivatives_do_not_count():
    """Rows without intercept have no part in the calibration of what is predicted."""
    X, y, groups = grouped(12, 6, seed=4)
    column = (np.arange(len(y)) % 3 > 0).astype(float)
    model = BaggedOLSEnsemble(10, random_state=0)
    model.fit(X, np.where(column == 0, 100 * y, y), groups, intercept_column=column)
    seen = np.isfinite(model.oob_prediction_) & (column != 0)
    std = model.calibration_(model.oob_spread_)
    z = (model.oob_prediction_ - y)[seen] / std[seen]
    assert np.mean(z**2) == pytest.approx(1, rel=1e-9)


# -- intervals -------------------------------------------------------------------------------


def test_weighted_quantile_is_the_conformal_one():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(5, 19))
    weight = np.full(19, 1 / 20)
    for share, rank in ((0.9, 18), (0.95, 19), (0.5, 10)):
        found = weighted_quantile(values, weight, share)
        np.testing.assert_array_equal(found, np.sort(values, axis=1)[:, rank - 1])
    assert np.isinf(weighted_quantile(values, weight, 0.96)).all()
    # A value twice is one of twice the weight.
    twice = np.repeat(values, 2, axis=1)
    np.testing.assert_array_equal(
        weighted_quantile(twice, np.full(38, 1 / 40), 0.9), weighted_quantile(values, weight, 0.9)
    )


@pytest.mark.parametrize("floor", [0.0, 0.7])
@pytest.mark.parametrize("scaled", [True, False])
def test_intervals_from_their_definition(scaled, floor):
    rng = np.random.default_rng(0)
    n_groups, n_models = 12, 9 if scaled else 1
    groups = np.repeat(np.arange(n_groups), rng.integers(1, 5, size=n_groups))
    left_out = (rng.uniform(size=(n_groups, n_models)) < 0.6)[groups]
    errors = rng.normal(size=len(groups))
    spread = np.where(left_out.sum(axis=1) > 0, rng.uniform(0.5, 2, size=len(groups)), np.nan)
    members = rng.normal(size=(4, n_models))
    inside, outside = rng.uniform(0.5, 2, size=len(groups)), np.array([0.5, 1, 2, 4])
    calibration = SpreadCalibration(floor, 1.3, 1.5)
    intervals = OutOfBagIntervals.fit(left_out, errors, spread, groups, calibration, inside)
    found = intervals.predict(members, 0.8, outside)
    count = left_out.sum(axis=1)
    kept = np.flatnonzero(count > 1 if scaled else count > 0)
    n_kept = len(np.unique(groups[kept]))
    # Where nothing is known of a floor, the typical spread is one.
    floor2 = floor**2 or 1.3**2 * np.mean(spread[kept] ** 2)
    for x, q, (low, high) in zip(members, outside, found, strict=True):
        ends, weights = [], []
        for i in kept:
            mine = x[left_out[i]]
            ratio = (q / inside[i]) ** 1.5
            if scaled:
                variances = 1.3**2 * np.array([np.var(mine, ddof=1), spread[i] ** 2]) + floor2
                ratio *= np.sqrt(variances[0] / variances[1])
            reach = abs(errors[i]) * ratio
            ends.append((mine.mean() - reach, mine.mean() + reach))
            weights.append(1 / ((n_kept + 1) * np.sum(groups[kept] == groups[i])))
        lows, highs = np.array(ends).T
        weights = np.array(weights)
        # The definition: the largest value with a share 0.8 of the weight at or above it.
        assert low == pytest.approx(max(v for v in lows if weights[lows >= v].sum() > 0.8 - 1e-9))
        assert high == pytest.approx(
            min(v for v in highs if weights[highs <= v].sum() > 0.8 - 1e-9)
        )


def check_coverage(hits, share, n_groups):
    """Check the share of covered samples, one new group for each row of ``hits``."""
    sigma = np.sqrt(share * (1 - share) / len(hits))  # no group varies more
    assert hits.mean() > 2 * share - 1  # what can be proved
    assert abs(hits.mean() - share) < 3 * sigma + 1 / (n_groups + 1)


@pytest.mark.parametrize("share", [0.6, 0.8, 0.9])
@pytest.mark.parametrize(("n_groups", "size"), [(12, 1), (12, 6), (40, 3)])
def test_coverage_of_exchangeable_groups(n_groups, size, share):
    """Over many training sets, a sample of a new group is covered as often as was asked for."""
    hits = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        X, y, groups = grouped(n_groups + 1, size, seed, n_features=4)
        train, counts = groups < n_groups, np.zeros((10, n_groups), dtype=int)
        for draw in counts:
            draw += np.bincount(rng.integers(n_groups, size=n_groups), minlength=n_groups)
        members = np.empty((len(y), 10))
        for column, draw in enumerate(counts):
            root = np.sqrt(draw[groups[train]])
            fitted = np.linalg.lstsq(root[:, None] * X[train], root * y[train], rcond=None)[0]
            members[:, column] = X @ fitted
        left_out = (counts == 0).T[groups[train]]
        mean, spread = mean_and_spread(members[train], left_out)
        told = mean - y[train], spread, groups[train]
        calibration = fit_calibration(told[0], spread, np.ones(train.sum()), groups[train])
        intervals = OutOfBagIntervals.fit(left_out, *told, calibration)
        low, high = intervals.predict(members[~train], share).T
        hits.append(np.mean((low <= y[~train]) & (y[~train] <= high)))
    check_coverage(np.array(hits), share, n_groups)


def test_coverage_of_ensembles():
    hits = []
    for seed in range(80):
        X, y, groups = grouped(16, 4, seed)
        train = groups < 15
        model = BaggedOLSEnsemble(6, max_features=3, candidates="all", random_state=seed)
        low, high = model.fit(X[train], y[train], groups[train]).predict_interval(X[~train], 0.8).T
        hits.append(np.mean((low <= y[~train]) & (y[~train] <= high)))
    check_coverage(np.array(hits), 0.8, 15)


def test_intervals_are_wider_where_models_disagree():
    X, y, groups = grouped(60, 4, seed=0)
    model = BaggedOLSEnsemble(20, max_features=4, random_state=0).fit(X, y, groups)
    near, far = np.diff(model.predict_interval(np.vstack([X[:1], 100 * X[:1]])), axis=1)[:, 0]
    assert far > 5 * near


def test_too_few_groups_for_an_interval():
    X, y, groups = grouped(5, 8, seed=0)
    model = BaggedOLSEnsemble(8, random_state=0).fit(X, y, groups)
    intervals = model.predict_interval(X, coverage=0.9)
    assert np.isinf(intervals).all()
    assert (intervals[:, 0] < intervals[:, 1]).all()
    assert np.isfinite(model.predict_interval(X, coverage=0.6)).all()


@pytest.mark.parametrize("coverage", [0.5, 0, 1, 1.2, -0.1, np.nan, "0.9", None])
def test_bad_coverage(coverage):
    X, y, groups = grouped(5, 8, seed=0)
    model = BaggedOLSEnsemble(4, random_state=0).fit(X, y, groups)
    with pytest.raises(ValueError, match=r"coverage must be a number between 0\.5 and 1; got"):
        model.predict_interval(X, coverage)


def test_large_blocks_are_cut(monkeypatch):
    X, y, groups = grouped(20, 5, seed=0)
    model = BaggedOLSEnsemble(6, random_state=0).fit(X, y, groups)
    whole = model.predict_interval(X)
    monkeypatch.setattr("skwavelet.linear.intervals._BLOCK", 700)
    np.testing.assert_array_equal(model.predict_interval(X), whole)


def test_float32_agrees():
    X, y, groups = grouped(30, 5, seed=0)
    X = X.astype(np.float32)
    single, double = (
        BaggedOLSEnsemble(6, random_state=0).fit(matrix, y, groups)
        for matrix in (X, X.astype(np.float64))
    )
    np.testing.assert_allclose(
        single.predict_interval(X), double.predict_interval(X.astype(float)), rtol=1e-5, atol=1e-5
    )


# -- scikit-learn ----------------------------------------------------------------------------


def by_skops(model):
    data = skops.io.dumps(model)
    return skops.io.loads(data, trusted=skops.io.get_untrusted_types(data=data))


@pytest.mark.parametrize(
    "store", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m)), by_skops]
)
def test_stored_models_keep_their_calibration(store):
    X, y, groups = grouped(30, 4, seed=0)
    model = BaggedOLSEnsemble(10, random_state=0).fit(X, y, groups)
    loaded = store(model)
    for given in (model, loaded):
        assert not hasattr(clone(given), "calibration_")
    np.testing.assert_array_equal(
        loaded.predict(X, return_std=True), model.predict(X, return_std=True)
    )
    np.testing.assert_array_equal(loaded.predict_interval(X), model.predict_interval(X))


def test_searched_models_are_calibrated():
    X, y, groups = grouped(12, 4, seed=0)
    search = GridSearchCV(
        BaggedOLSEnsemble(5, random_state=0), {"max_features": [1, 4]}, cv=GroupKFold(3)
    )
    search.fit(X, y, groups=groups)
    assert z2_of(search.best_estimator_, y) == pytest.approx(1)
