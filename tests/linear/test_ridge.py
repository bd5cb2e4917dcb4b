"""The ridge path: its equations, the choice of the penalty, scikit-learn's conventions."""

import pickle
import tracemalloc

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.linear_model import Ridge
from sklearn.utils.estimator_checks import parametrize_with_checks

from skwavelet import RidgePath
from skwavelet.linear._members import halves_of

HELD_OUT = "A weight of two and a repeated row are held out otherwise."


def expected_failures(estimator):
    if estimator.alphas is not None:
        return {}
    return {
        f"check_sample_weight_equivalence_on_{kind}_data": HELD_OUT for kind in ("dense", "sparse")
    }


@parametrize_with_checks(
    [RidgePath(), RidgePath([1e-3]), RidgePath([1e-3], fit_intercept=False)],
    expected_failed_checks=expected_failures,
)
def test_estimator_checks(estimator, check):
    check(estimator)


def problem(dtype=np.float64, n_samples=80, n_features=6):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_samples, n_features)) @ rng.normal(size=(n_features, n_features))
    X = X * 10.0 ** np.arange(-2, n_features - 2) + 5
    y = X @ rng.normal(size=n_features) / 100 + rng.normal(size=n_samples) + 3
    return X.astype(dtype), y, rng.uniform(0.5, 2, n_samples), rng.uniform(0.5, 2, n_features)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-8), (np.float32, 1e-3)])
def test_weights_are_those_of_ridge_on_columns_of_unit_size(dtype, tolerance):
    X, y, weight, factors = problem(dtype)
    model = RidgePath([0.3]).fit(X, y, sample_weight=weight, penalty_factors=factors)
    exact = X.astype(float)
    mean = np.average(exact, axis=0, weights=weight)
    scale = np.sqrt(weight @ (exact - mean) ** 2) * factors
    reference = Ridge(0.3).fit((exact - mean) / scale, y, sample_weight=weight)
    np.testing.assert_allclose(model.coef_, reference.coef_ / scale, rtol=tolerance)
    np.testing.assert_allclose(model.predict(X), reference.predict((exact - mean) / scale), 1e-4)
    assert model.alpha_ == 0.3
    assert model.path_.empty


def test_rows_without_intercept():
    """Minimize the stated function with a column of the intercept that is 0 in some rows."""
    X, y, weight, factors = problem()
    ones = (np.arange(len(y)) % 3 == 0).astype(float)
    model = RidgePath([0.1]).fit(
        X, y, sample_weight=weight, intercept_column=ones, penalty_factors=factors
    )
    mean = (weight * ones) @ X / (weight @ ones)
    squares = weight @ (X - ones[:, None] * mean) ** 2

    def loss(parameters):
        w, b = parameters[:-1] / np.sqrt(squares), parameters[-1]
        penalty = 0.1 * (factors**2 * squares) @ w**2
        return weight @ (y - X @ w - b * ones) ** 2 + penalty

    best = minimize(loss, np.zeros(X.shape[1] + 1), method="BFGS", options={"gtol": 1e-9})
    np.testing.assert_allclose(model.coef_, best.x[:-1] / np.sqrt(squares), rtol=1e-4)
    np.testing.assert_allclose(model.intercept_, best.x[-1], rtol=1e-4)


def test_penalty_is_chosen_by_the_error_of_groups_held_out():
    rng = np.random.default_rng(1)
    X, groups = rng.normal(size=(60, 40)), np.repeat(np.arange(12), 5)
    y = X[:, :3].sum(axis=1) + rng.normal(size=60)
    weight = rng.uniform(0.5, 2, 60)
    alphas = [1e-6, 1e-2, 1.0, 100.0]
    model = RidgePath(alphas, held_out=0.25).fit(X, y, groups=groups, sample_weight=weight)
    chosen = np.random.RandomState(0).permutation(12)[:3]
    held = np.isin(groups, chosen)
    for alpha, error in model.path_.itertuples(index=False):
        part = RidgePath([alpha]).fit(X[~held], y[~held], sample_weight=weight[~held])
        residuals = y[held] - part.predict(X[held])
        expected = np.sqrt(np.average(residuals**2, weights=weight[held]))
        np.testing.assert_allclose(error, expected, rtol=1e-9)
    assert model.alpha_ == model.path_.loc[model.path_["held_out_rmse"].idxmin(), "alpha"]
    assert model.alpha_ not in (alphas[0], alphas[-1])  # there is something to choose
    whole = RidgePath([model.alpha_]).fit(X, y, sample_weight=weight)
    np.testing.assert_allclose(model.coef_, whole.coef_, rtol=1e-10)


def of_two_kinds(n_groups=200):
    """Return rows of energies and of forces, of one model up to noise in other units each."""
    rng = np.random.default_rng(3)
    groups, kinds = np.repeat(np.arange(n_groups), 4), np.tile([0, 1, 1, 1], n_groups)
    X = rng.normal(size=(4 * n_groups, 20)) @ rng.normal(size=(20, 20))
    y = X @ rng.normal(size=20) + np.where(kinds, 1.0, 0.1) * rng.normal(size=len(groups))
    return X, y + 7 * (kinds == 0), groups, kinds, (kinds == 0).astype(float)


def test_weights_of_kinds_are_chosen_with_the_penalty():
    """Every entry of the path is a ridge regression of its own, and the best is taken."""
    X, y, groups, kinds, ones = of_two_kinds()
    model = RidgePath(held_out=0.2).fit(X, y, groups=groups, intercept_column=ones, kinds=kinds)
    held = np.isin(groups, np.random.RandomState(0).permutation(200)[:40])
    for row in model.path_.to_dict("records")[::3]:
        weight = np.where(kinds, row["weight_1"], row["weight_0"])
        part = RidgePath([row["alpha"]]).fit(
            X[~held], y[~held], sample_weight=weight[~held], intercept_column=ones[~held]
        )
        residuals = y[held] - X[held] @ part.coef_ - part.intercept_ * ones[held]
        errors = [np.sqrt(np.mean(residuals[kinds[held] == k] ** 2)) for k in (0, 1)]
        np.testing.assert_allclose([row["rmse_0"], row["rmse_1"]], errors, rtol=1e-6)
        np.testing.assert_allclose(row["held_out_rmse"], np.sqrt(np.prod(errors)), rtol=1e-6)
    best = model.path_.loc[model.path_["held_out_rmse"].idxmin()]
    assert (model.alpha_, *model.kind_weights_) == (best["alpha"], 1, best["weight_1"])
    assert model.kind_weights_[1] < 0.1  # noise of kind 1 is ten times that of kind 0
    whole = RidgePath([model.alpha_]).fit(
        X, y, sample_weight=model.kind_weights_[kinds], intercept_column=ones
    )
    np.testing.assert_allclose(model.coef_, whole.coef_, rtol=1e-6)
    np.testing.assert_allclose(model.intercept_, whole.intercept_, rtol=1e-6)


def test_weights_do_not_depend_on_the_units_of_a_kind():
    X, y, groups, kinds, ones = of_two_kinds()
    first = RidgePath().fit(X, y, groups=groups, intercept_column=ones, kinds=kinds)
    unit = np.where(kinds, 0.1, 1.0)
    other = RidgePath().fit(
        X * unit[:, None], y * unit, groups=groups, intercept_column=ones, kinds=kinds
    )
    # The least errors are equal but for where the searches along a flat valley end.
    least, scaled = first.path_["held_out_rmse"].min(), other.path_["held_out_rmse"].min()
    np.testing.assert_allclose(scaled * np.sqrt(10), least, rtol=0.01)


def test_kinds_that_are_not_held_out_keep_their_weight():
    X, y, groups, kinds, ones = of_two_kinds()
    alone = np.where(groups == 0, 2, kinds)  # one group, which may be on one side only
    model = RidgePath().fit(X, y, groups=groups, intercept_column=ones, kinds=alone)
    assert model.kind_weights_[2] == 1
    same = RidgePath().fit(X, y, groups=groups, intercept_column=ones, kinds=np.zeros(len(y)))
    np.testing.assert_array_equal(
        same.coef_, RidgePath().fit(X, y, groups=groups, intercept_column=ones).coef_
    )


def test_a_large_mean_takes_no_digits_of_small_changes():
    """Where features vary by a millionth of themselves."""
    X, y, weight, _ = problem()
    small = 1e-5 * (X - X.mean(axis=0)) / X.std(axis=0)
    model, same = (RidgePath([1e-3]).fit(Z, y, sample_weight=weight) for Z in (small, small + 3))
    np.testing.assert_allclose(same.coef_, model.coef_, rtol=1e-8)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-10), (np.float32, 1e-10)])
def test_rows_in_parts_are_rows_at_once(dtype, tolerance):
    rng = np.random.default_rng(3)
    X = (rng.normal(size=(400, 12)) * 10.0 ** np.linspace(-1, 1, 12)).astype(dtype)
    y = X @ rng.normal(size=12) + rng.normal(size=400)
    groups, weight = np.repeat(np.arange(80), 5), rng.uniform(0.5, 2, 400)
    ones, factors = (np.arange(400) % 5 == 0).astype(float), rng.uniform(0.5, 2, 12)
    names = ("groups", "sample_weight", "intercept_column")
    columns = dict(zip(names, (groups, weight, ones), strict=True))
    parts = np.split(np.arange(400), [110, 115, 300])
    taken = [{name: column[part] for name, column in columns.items()} for part in parts]
    model = RidgePath([1e-8, 1e-3, 1e-1], updatable=True)
    model.fit(X[parts[0]], y[parts[0]], **taken[0], penalty_factors=factors)
    whole = RidgePath([model.alpha_]).fit(X, y, **columns, penalty_factors=factors)
    assert abs(model.coef_ / whole.coef_ - 1).max() > 1e-4  # there is something to learn
    for part, some in zip(parts[1:], taken[1:], strict=True):
        model.update(X[part], y[part], **some)
    np.testing.assert_allclose(model.coef_, whole.coef_, rtol=tolerance)
    np.testing.assert_allclose(model.intercept_, whole.intercept_, rtol=tolerance)
    # Errors have been told of all groups, which are as many in every block.
    assert len(model._told[0]) == 80
    seen = model._told[4].sum(axis=0)
    assert 20 < seen.min() < seen.max() < 60
    # A copy that is pickled goes on; one that keeps nothing does not.
    again = pickle.loads(pickle.dumps(model)).update(X[:5], y[:5])
    assert abs(again.coef_ - model.coef_).max() > 0
    assert not hasattr(RidgePath().fit(X, y), "update")
    assert not hasattr(RidgePath().fit(X, y), "_blocks")


@pytest.mark.parametrize(("n_groups", "n_members"), [(2, 2), (3, 6), (4, 6), (5, 20), (40, 20)])
def test_members_are_models_of_half_of_the_groups(n_groups, n_members):
    X, y, weight, factors = problem()
    groups = np.arange(80) % n_groups
    ones = (np.arange(80) // n_groups % 2).astype(float)
    columns = {"sample_weight": weight, "intercept_column": ones}
    model = RidgePath([0.1]).fit(X, y, groups=groups, penalty_factors=factors, **columns)
    assert len(model.estimators_) == n_members
    members = np.array([[*member.coef_, member.intercept_] for member in model.estimators_])
    expected = [*model.coef_, model.intercept_]
    np.testing.assert_allclose(members.mean(axis=0), expected, rtol=1e-6)
    left_out = np.zeros((80, n_members), dtype=bool)
    left_out[ones != 0] = model._told[4]
    for group in range(n_groups):  # known from the rows of energies
        left_out[groups == group] = left_out[(groups == group) & (ones != 0)][0]
    models = []
    for column in left_out.T:
        own = {name: values[~column] for name, values in columns.items()}
        one = RidgePath([0.1], members=False)
        models.append(one.fit(X[~column], y[~column], penalty_factors=factors, **own))
        share = 1 - column.mean()
        assert 0.2 < share < 0.8
    found = np.array([[*one.coef_, one.intercept_] for one in models])
    spread = np.abs(found - found.mean(axis=0)).max(axis=0)
    difference = members - members.mean(axis=0) - found + found.mean(axis=0)
    assert (np.abs(difference).max(axis=0) < 1e-6 * spread).all()
    predicted = X @ found[:, :-1].T + np.outer(ones, found[:, -1])
    for row in range(80):
        unseen = predicted[row, left_out[row]]
        np.testing.assert_allclose(model.oob_prediction_[row], unseen.mean(), rtol=1e-6)
        alone = predicted[row] if len(unseen) == 1 else unseen
        np.testing.assert_allclose(model.oob_spread_[row], alone.std(ddof=1), rtol=1e-6)


@pytest.mark.parametrize("n_blocks", [1, 2, 5, 6])
def test_halves_of_blocks_come_with_the_other_half(n_blocks):
    halves = halves_of(n_blocks)
    assert len(set(halves)) == len(halves) == {1: 0, 2: 2}.get(n_blocks, 20)
    for one, other in zip(halves[::2], halves[1::2], strict=True):
        assert sorted((*one, *other)) == list(range(n_blocks))
        assert abs(len(one) - len(other)) <= 1


def test_standard_deviations_are_calibrated_on_new_groups():
    """Groups share an error that members, which see rows one by one, know nothing of."""
    rng = np.random.default_rng(5)
    w = rng.normal(size=8)

    def draw(n_groups):
        X = rng.normal(size=(4 * n_groups, 8))
        shared = np.repeat(rng.normal(size=n_groups), 4)
        return X, X @ w + shared + 0.3 * rng.normal(size=len(X)), np.repeat(np.arange(n_groups), 4)

    X, y, groups = draw(300)
    model = RidgePath().fit(X, y, groups=groups)
    X, y, _ = draw(1000)
    predicted, std = model.predict(X, return_std=True)
    assert 0.85 < np.sqrt(np.mean(((predicted - y) / std) ** 2)) < 1.15
    for coverage in (0.6, 0.9):
        low, high = model.predict_interval(X, coverage).T
        assert abs(np.mean((low < y) & (y < high)) - coverage) < 0.06
    # Without members nothing is told; one group has nothing to learn it from.
    with pytest.raises(TypeError, match="members=True"):
        RidgePath(members=False).fit(X, y).predict(X, return_std=True)
    one = RidgePath([1e-3]).fit(X, y, groups=np.zeros(len(y)))
    with pytest.raises(TypeError, match="several groups"):
        one.predict_interval(X[:2])


def test_columns_that_do_not_vary_have_no_weight_and_equal_ones_share_it():
    X, y, *_ = problem()
    X = np.column_stack([X, X[:, 0], np.full(len(y), 7.0), np.zeros(len(y))])
    model = RidgePath([1e-6]).fit(X, y)
    assert (model.coef_[-2:] == 0).all()
    np.testing.assert_allclose(model.coef_[0], model.coef_[6], rtol=1e-6)
    # A penalty below the rounding errors of the Gram matrix is raised until there is a solution.
    assert 1e-30 < RidgePath([1e-30]).fit(X, y).alpha_ < 1e-12


def test_bad_arguments():
    X, y, *_ = problem()
    with pytest.raises(ValueError, match="One group cannot be held out"):
        RidgePath().fit(X, y, groups=np.zeros(len(y)))
    with pytest.raises(ValueError, match="must be positive"):
        RidgePath([0.0]).fit(X, y)
    with pytest.raises(ValueError, match="must be positive"):
        RidgePath().fit(X, y, penalty_factors=np.zeros(X.shape[1]))
    with pytest.raises(ValueError, match="kinds must be whole numbers"):
        RidgePath().fit(X, y, kinds=np.full(len(y), 0.5))
    with pytest.raises(ValueError, match="penalty_factors must hold one number per sample"):
        RidgePath().fit(X, y, penalty_factors=[1.0])
    with pytest.raises(ValueError, match=r"^Squares of X or y overflow; scale them down\.$"):
        RidgePath().fit(X * 1e160, y)


def of_many_features(n_features=800):
    rng = np.random.default_rng(4)
    X = rng.normal(size=(120, n_features)).astype(np.float32)
    return X, X[:, 0].astype(float), np.arange(120) // 3, np.arange(120) % 3


@pytest.mark.parametrize(("members", "n_matrices"), [(True, 8), (False, 4)])
def test_memory_is_asked_for_before_it_is_taken(monkeypatch, members, n_matrices):
    """A fit takes what it asks for: symmetric matrices and, for a moment, a few rows."""
    X, y, groups, kinds = of_many_features()
    model = RidgePath([1e-3, 1e-2], members=members)
    model.fit(X, y, groups=groups, kinds=kinds)  # what is imported and compiled counts to nobody
    tracemalloc.start()
    model.fit(X, y, groups=groups, kinds=kinds)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    need = n_matrices * 4 * X.shape[1] * (X.shape[1] + 1) + 3 * 8 * X.size
    assert 0.8 * need < peak < need
    monkeypatch.setattr("skwavelet.linear._moments.available_memory", lambda: need)
    model.fit(X, y, groups=groups, kinds=kinds)
    monkeypatch.setattr("skwavelet.linear._moments.available_memory", lambda: 0.99 * need)
    with pytest.raises(ValueError, match=r"800 features need .* members=False"):
        model.fit(X, y, groups=groups, kinds=kinds)
