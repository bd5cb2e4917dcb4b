import joblib
import numpy as np
import pytest

from skwavelet import BaggedOLSEnsemble
from skwavelet.linear import _bags


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    latent = rng.normal(size=(120, 6))
    X = np.abs(latent @ rng.normal(size=(6, 30)) + 1) * rng.uniform(0.1, 10, size=30)
    y = latent @ rng.normal(size=6) + 0.1 * rng.normal(size=120) + 20
    groups = rng.permutation(np.repeat([f"path {i}" for i in range(12)], 10))
    return X, y, groups


@pytest.fixture
def bags(monkeypatch):
    """Row weights and validation weights of every bag, as the greedy path received them."""
    seen = []
    original = _bags.greedy_path

    def spy(design, y, weight, **kwargs):
        seen.append((weight, kwargs["validation_weight"]))
        return original(design, y, weight, **kwargs)

    monkeypatch.setattr(_bags, "greedy_path", spy)
    return seen


def member_from_scratch(X, y, weight, support):
    """Weights on the given support by numpy.linalg.lstsq."""
    A = np.column_stack([np.ones(len(y)), X[:, support]])
    root = np.sqrt(weight)
    b = np.linalg.lstsq(root[:, None] * A, root * y, rcond=None)[0]
    return A @ b


@pytest.mark.parametrize("resampling", ["bootstrap", "folds"])
def test_out_of_bag_bookkeeping(data, bags, resampling):
    X, y, groups = data
    n_estimators = 5
    model = BaggedOLSEnsemble(n_estimators, resampling=resampling, random_state=1)
    model.fit(X, y, groups=groups)
    assert len(bags) == len(model.estimators_) == n_estimators
    predictions = np.full((n_estimators, len(y)), np.nan)
    for i, ((weight, validation_weight), member) in enumerate(
        zip(bags, model.estimators_, strict=True)
    ):
        per_group = {g: set(weight[groups == g]) for g in set(groups)}
        assert all(len(values) == 1 for values in per_group.values())
        counts = np.array([values.pop() for values in per_group.values()])
        if resampling == "bootstrap":
            assert counts.sum() == 12
        else:
            assert set(counts) == {0, 1}
        out = weight == 0
        assert out.any()
        np.testing.assert_array_equal(validation_weight, out)

        fitted = member_from_scratch(X, y, weight, member.support_)
        np.testing.assert_allclose(member.predict(X), fitted, rtol=1e-8)
        predictions[i, out] = fitted[out]
        best = member.path_["validation_rmse"][member.n_features_selected_ - 1]
        assert best == member.path_["validation_rmse"].min()
        np.testing.assert_allclose(best, np.sqrt(np.mean((y - fitted)[out] ** 2)), rtol=1e-7)

    never = np.isnan(predictions).all(axis=0)
    np.testing.assert_array_equal(np.isnan(model.oob_prediction_), never)
    expected = np.nanmean(predictions[:, ~never], axis=0)
    np.testing.assert_allclose(model.oob_prediction_[~never], expected, rtol=1e-8)
    if resampling == "folds":
        assert (np.isfinite(predictions).sum(axis=0) == 1).all()


def test_rows_in_every_bag_have_no_prediction(data):
    X, y, groups = data
    model = BaggedOLSEnsemble(1, random_state=0).fit(X, y, groups=groups)
    missing = np.isnan(model.oob_prediction_)
    assert 0 < missing.sum() < len(y)
    assert {missing[groups == g].mean() for g in set(groups)} == {0.0, 1.0}


def test_the_average_is_one_linear_model(data):
    X, y, groups = data
    model = BaggedOLSEnsemble(6, random_state=0).fit(X, y, groups=groups)
    np.testing.assert_allclose(model.coef_, np.mean([m.coef_ for m in model.estimators_], axis=0))
    np.testing.assert_allclose(model.intercept_, np.mean([m.intercept_ for m in model.estimators_]))
    members = np.array([m.predict(X) for m in model.estimators_])
    mean, std = model.predict(X, return_std=True)
    np.testing.assert_allclose(mean, members.mean(axis=0), rtol=1e-10)
    expected = model.calibration_(members.std(axis=0, ddof=1))
    np.testing.assert_allclose(std, expected, rtol=1e-8)
    np.testing.assert_array_equal(mean, model.predict(X))
    np.testing.assert_allclose(mean, X @ model.coef_ + model.intercept_, rtol=1e-12)


def test_staged_predictions_average_the_members(data):
    X, y, groups = data
    model = BaggedOLSEnsemble(6, random_state=0).fit(X, y, groups=groups)
    members = [list(m.staged_predict(X)) for m in model.estimators_]
    lengths = [m.n_features_selected_ for m in model.estimators_]
    assert [len(stages) for stages in members] == lengths
    assert len(set(lengths)) > 1
    stages = list(model.staged_predict(X))
    assert len(stages) == max(lengths)
    for m, stage in enumerate(stages):
        expected = np.mean([s[min(m, len(s) - 1)] for s in members], axis=0)
        np.testing.assert_allclose(stage, expected, rtol=1e-10)
    np.testing.assert_allclose(stages[-1], model.predict(X), rtol=1e-9)


def test_kept_paths_go_on_beyond_the_best_size(data, bags):
    X, y, groups = data
    usual = BaggedOLSEnsemble(4, max_features=20, random_state=0).fit(X, y, groups=groups)
    bags.clear()
    whole = BaggedOLSEnsemble(4, max_features=20, patience=None, keep_path=True, random_state=0)
    whole.fit(X, y, groups=groups)
    np.testing.assert_allclose(whole.predict(X), usual.predict(X), rtol=1e-10)
    assert min(model.n_features_selected_ for model in whole.estimators_) < 15
    members = [list(model.staged_predict(X)) for model in whole.estimators_]
    for model, stages, (weight, _) in zip(whole.estimators_, members, bags, strict=True):
        assert len(stages) == len(model.path_) == 20
        for m, stage in enumerate(stages, start=1):
            expected = member_from_scratch(X, y, weight, model._path_support[:m])
            np.testing.assert_allclose(stage, expected, rtol=1e-8)
    np.testing.assert_allclose(list(whole.staged_predict(X)), np.mean(members, axis=0), rtol=1e-10)


@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_result_does_not_depend_on_n_jobs(data, backend):
    X, y, groups = data
    serial = BaggedOLSEnsemble(6, random_state=3).fit(X, y, groups=groups)
    with joblib.parallel_config(backend):
        parallel = BaggedOLSEnsemble(6, random_state=3, n_jobs=2).fit(X, y, groups=groups)
    np.testing.assert_array_equal(parallel.coef_, serial.coef_)
    np.testing.assert_array_equal(parallel.oob_prediction_, serial.oob_prediction_)


def test_more_models_begin_with_the_same(data):
    X, y, groups = data
    few = BaggedOLSEnsemble(2, random_state=3).fit(X, y, groups=groups)
    many = BaggedOLSEnsemble(4, random_state=3).fit(X, y, groups=groups)
    for one, same in zip(few.estimators_, many.estimators_, strict=False):
        np.testing.assert_array_equal(one.coef_, same.coef_)
    assert not np.array_equal(many.estimators_[2].coef_, many.estimators_[0].coef_)


def test_rows_are_their_own_groups_by_default(data, bags):
    X, y, _ = data
    BaggedOLSEnsemble(2, random_state=0).fit(X, y)
    BaggedOLSEnsemble(2, random_state=0).fit(X, y, groups=np.arange(len(y))[::-1])
    for i in range(2):
        assert len(set(bags[i][0])) > 2
        assert 0.2 < np.mean(bags[i][0] == 0) < 0.5
    # Numbering is by order of appearance: labels themselves don't matter.
    np.testing.assert_array_equal(bags[0][0], bags[2][0])


def test_bags_are_redrawn_until_some_group_is_out(data, bags):
    X, y, _ = data
    BaggedOLSEnsemble(30, random_state=0).fit(X, y, groups=np.arange(len(y)) % 2)
    assert all(set(weight) == {0, 2} for weight, _ in bags)


def test_weights_and_intercept_column_reach_every_bag(data, bags):
    X, y, groups = data
    rng = np.random.default_rng(5)
    sample_weight = rng.uniform(0.5, 2, size=len(y))
    c = np.tile([1.0, 0.0], len(y) // 2)
    target = y - 20 + 100 * c
    model = BaggedOLSEnsemble(4, max_features=8, random_state=0)
    model.fit(X, target, groups=groups, sample_weight=sample_weight, intercept_column=c)
    out_sum = np.zeros(len(y))
    out_count = np.zeros(len(y))
    for (weight, validation_weight), member in zip(bags, model.estimators_, strict=True):
        ratio = weight / sample_weight
        np.testing.assert_allclose(ratio, ratio.round(), atol=1e-12)
        np.testing.assert_array_equal(validation_weight, np.where(weight == 0, sample_weight, 0))
        A = np.column_stack([c, X[:, member.support_]])
        root = np.sqrt(weight)
        b = np.linalg.lstsq(root[:, None] * A, root * target, rcond=None)[0]
        np.testing.assert_allclose(member.coef_[member.support_], b[1:], rtol=1e-7)
        np.testing.assert_allclose(member.intercept_, b[0], rtol=1e-8)
        rmse = np.sqrt(np.average((A @ b - target) ** 2, weights=validation_weight))
        np.testing.assert_allclose(member.path_["validation_rmse"].min(), rmse, rtol=1e-7)
        out_sum[weight == 0] += (A @ b)[weight == 0]
        out_count[weight == 0] += 1
    seen = out_count > 0
    np.testing.assert_allclose(
        model.oob_prediction_[seen], out_sum[seen] / out_count[seen], rtol=1e-7
    )


def test_patience_reaches_every_bag(data):
    X, y, groups = data
    model = BaggedOLSEnsemble(5, patience=2, random_state=0).fit(X, y, groups=groups)
    for member in model.estimators_:
        assert len(member.path_) in (member.n_features_selected_ + 2, X.shape[1])
    assert max(len(member.path_) for member in model.estimators_) < X.shape[1]


def test_importances(data):
    X, y, groups = data
    model = BaggedOLSEnsemble(5, random_state=0).fit(X, y, groups=groups)
    size = np.mean([np.abs(m.coef_) for m in model.estimators_], axis=0) * X.std(axis=0)
    np.testing.assert_allclose(model.feature_importances_, size / size.sum(), rtol=1e-9)


def test_the_informative_features_matter_most():
    rng = np.random.default_rng(1)
    X = rng.normal(size=(150, 20))
    y = 2 * X[:, 3] + X[:, 11] + 0.1 * rng.normal(size=150)
    model = BaggedOLSEnsemble(20, random_state=0).fit(X, y)
    assert np.argsort(model.feature_importances_)[::-1][:2].tolist() == [3, 11]
    assert model.feature_importances_[[3, 11]].sum() > 0.8
    np.testing.assert_allclose(model.coef_[[3, 11]], [2, 1], atol=0.05)


@pytest.mark.parametrize(
    ("parameters", "groups", "message"),
    [
        ({}, np.zeros(120), "All rows are in one group, none would be out of bag"),
        (
            {"resampling": "folds", "n_estimators": 5},
            np.arange(120) % 4,
            "at most the number of groups, 4; got 5",
        ),
        ({"resampling": "folds", "n_estimators": 1}, None, "at least 2 .* got 1"),
    ],
)
def test_too_few_groups(data, parameters, groups, message):
    X, y, _ = data
    with pytest.raises(ValueError, match=message):
        BaggedOLSEnsemble(**parameters).fit(X, y, groups=groups)


def test_progress_bar(data, capsys):
    X, y, groups = data
    BaggedOLSEnsemble(3, verbose=1, random_state=0).fit(X, y, groups=groups)
    shown = capsys.readouterr().err
    assert "BaggedOLSEnsemble" in shown
    assert "3/3" in shown
    BaggedOLSEnsemble(3, random_state=0).fit(X, y, groups=groups)
    assert capsys.readouterr().err == ""
