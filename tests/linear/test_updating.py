"""More rows for fitted ensembles."""

import pickle

import numpy as np
import pytest

from skwavelet import BaggedOLSEnsemble
from skwavelet.linear import _regressor


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(160, 25)) * rng.uniform(0.01, 100, size=25) + 5
    y = X @ rng.normal(size=25) / 50 + rng.normal(size=160)
    return X, y, np.repeat(np.arange(32), 5)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_updates_equal_refits(data, monkeypatch, dtype):
    X, y, groups = data
    X = X.astype(dtype)
    column = (np.arange(160) % 4 > 0).astype(float)  # some rows are derivatives
    weight = np.random.default_rng(1).uniform(0.5, 2, size=160)
    first, rest = np.arange(100), np.split(np.arange(100, 160), [7, 30, 31])
    seen = []
    original = _regressor.prefix_weights

    def spy(design, y, weight, support):
        seen.append([(first, weight)])
        return original(design, y, weight, support)

    monkeypatch.setattr(_regressor, "prefix_weights", spy)
    model = BaggedOLSEnsemble(6, max_features=12, random_state=0)
    model.fit(X[first], y[first], groups[first], weight[first], column[first])
    add = _regressor.GreedyOLSRegressor._add_rows
    place = {id(member): number for number, member in enumerate(model.estimators_)}
    at = {tuple(row): number for number, row in enumerate(X.astype(float))}

    def add_spy(self, rows, targets, drawn, ones):
        seen[place[id(self)]].append((np.array([at[tuple(row)] for row in rows]), drawn))
        add(self, rows, targets, drawn, ones)

    monkeypatch.setattr(_regressor.GreedyOLSRegressor, "_add_rows", add_spy)
    for part in rest:
        updated = model.update(X[part], y[part], groups[part], weight[part], column[part])
        assert updated is model
    assert model.n_updates_ == 4
    counts = []
    for member, parts in zip(model.estimators_, seen, strict=True):
        rows = np.concatenate([part for part, _ in parts])
        drawn = np.concatenate([part for _, part in parts])
        # Whole groups, a whole number of times.
        times = drawn[100:] / weight[rows[100:]]
        np.testing.assert_allclose(times, times.round())
        counts += [float(times[groups[rows[100:]] == g].mean()) for g in range(20, 32)
                   if g in groups[rows[100:]]]  # fmt: skip
        matrix = np.column_stack([column[rows], X[rows][:, member.support_].astype(float)])
        root = np.sqrt(drawn)
        expected = np.linalg.lstsq(root[:, None] * matrix, root * y[rows], rcond=None)[0]
        np.testing.assert_allclose(member.coef_[member.support_], expected[1:], rtol=1e-10)
        assert member.intercept_ == pytest.approx(expected[0], rel=1e-10)
        *_, last = member.staged_predict(X)
        np.testing.assert_allclose(last, member.predict(X), rtol=1e-9)
    assert {1.0, 2.0} <= set(counts)
    np.testing.assert_allclose(model.coef_, np.mean([m.coef_ for m in model.estimators_], axis=0))


def test_updates_are_repeatable(data):
    X, y, groups = data
    models = []
    for _ in range(2):
        model = BaggedOLSEnsemble(5, random_state=0).fit(X[:100], y[:100], groups[:100])
        model.update(X[100:120], y[100:120], groups[100:120])
        model = pickle.loads(pickle.dumps(model))
        models.append(model.update(X[120:], y[120:]))
    np.testing.assert_array_equal(models[0].coef_, models[1].coef_)
    assert models[0].n_updates_ == 2
    again = models[0].fit(X, y, groups)
    assert again.n_updates_ == 0


def test_updates_learn(data):
    X, _, groups = data
    rng = np.random.default_rng(3)
    far = X + 50
    truth = X @ rng.normal(size=25)
    model = BaggedOLSEnsemble(10, random_state=0)
    model.fit(X[:60], truth[:60] + rng.normal(size=60), groups[:60])
    shifted = truth + 100
    before = np.abs(model.predict(far[100:]) - shifted[100:]).mean()
    model.update(far[60:100], shifted[60:100], groups[60:100])
    assert np.abs(model.predict(far[100:]) - shifted[100:]).mean() < 0.5 * before


def test_bad_updates(data):
    X, y, groups = data
    model = BaggedOLSEnsemble(3, random_state=0)
    with pytest.raises(ValueError, match="not fitted"):
        model.update(X, y)
    model.fit(X, y, groups)
    for arguments, message in [
        ((X[:, :3], y), "features"),
        ((X, y[:5]), "inconsistent numbers of samples"),
        ((np.full_like(X, np.nan), y), "NaN"),
        ((X, y, groups[:4]), "groups"),
        ((X, y, None, -np.ones(160)), "sample_weight"),
        ((X, y, None, None, np.ones(3)), "intercept_column"),
    ]:
        with pytest.raises(ValueError, match=message):
            model.update(*arguments)
    assert model.n_updates_ == 0
