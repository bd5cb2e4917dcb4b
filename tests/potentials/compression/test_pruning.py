"""Pruned models, costs of features, models within a budget."""

import pickle

import numpy as np
import pytest
from ase.build import bulk
from helpers.emt_data import copper_crystals, small_scattering
from sklearn.base import clone
from sklearn.cross_decomposition import PLSRegression
from sklearn.decomposition import PCA
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import (
    BaggingRegressor,
    GradientBoostingRegressor,
    HistGradientBoostingRegressor,
    RandomForestRegressor,
    VotingRegressor,
)
from sklearn.exceptions import NotFittedError
from sklearn.feature_selection import SelectKBest, VarianceThreshold
from sklearn.frozen import FrozenEstimator
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Lasso, RANSACRegressor, Ridge
from sklearn.neighbors import KNeighborsRegressor
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, Normalizer, StandardScaler
from sklearn.svm import SVR
from sklearn.tree import DecisionTreeRegressor

from skwavelet import (
    BaggedOLSEnsemble,
    EnergyForceRegressor,
    FeatureCosts,
    GreedyOLSRegressor,
    PointScattering,
    VoxelScattering,
    fit_to_budget,
    prune,
)
from skwavelet.potentials.compression.budget import features_in_budget
from skwavelet.potentials.energy_model import energy_model


@pytest.fixture(scope="module")
def alloy():
    return copper_crystals(30, symbols=("Cu", "Au"), seed=2)


def greedy(size=6):
    return GreedyOLSRegressor(size, validation_fraction=None)


def bagged():
    return BaggedOLSEnsemble(4, max_features=6, random_state=0)


def relative_spread(X, y):
    return X.std(axis=0) / (np.abs(X).mean(axis=0) + 1e-9)


PIPELINES = {
    "greedy": lambda: make_pipeline(small_scattering(), greedy()),
    "bagged": lambda: make_pipeline(small_scattering(), bagged()),
    "lower order": lambda: make_pipeline(small_scattering(normalize="lower_order"), greedy()),
    "integrals": lambda: make_pipeline(small_scattering(normalize=None), greedy()),
    "scaled": lambda: make_pipeline(
        small_scattering(), VarianceThreshold(1e-9), StandardScaler(), MinMaxScaler(), greedy()
    ),
    "selected": lambda: make_pipeline(
        small_scattering(), SelectKBest(relative_spread, k=40), "passthrough", bagged()
    ),
    "lasso": lambda: make_pipeline(
        small_scattering(), StandardScaler(), Lasso(0.01, max_iter=10000, tol=1e-2)
    ),
    "union": lambda: make_pipeline(
        FeatureUnion(
            [
                ("a", small_scattering(order=1)),
                ("none", "drop"),
                ("b", make_pipeline(small_scattering(order=1, beta=0.9), MaxAbsScaler())),
            ]
        ),
        greedy(),
    ),
    "one part of a union": lambda: make_pipeline(
        FeatureUnion([("a", small_scattering(order=0)), ("b", small_scattering(order=1))]),
        greedy(1),
    ),
}


@pytest.mark.parametrize("name", PIPELINES)
def test_pruned_predictions_are_the_same(alloy, name):
    model = PIPELINES[name]().fit(alloy.structures, alloy.energies)
    pruned = prune(model)
    # Maps that are left out no longer share their box with others: rounding differs.
    np.testing.assert_allclose(
        pruned.predict(alloy.structures), model.predict(alloy.structures), rtol=1e-7
    )
    n_used = np.count_nonzero(model[-1].coef_)
    assert pruned[-1].n_features_in_ <= max(n_used, 24)
    assert pruned[:-1].transform(alloy.structures[:1]).shape == (1, pruned[-1].n_features_in_)
    again = prune(pickle.loads(pickle.dumps(pruned)))
    np.testing.assert_allclose(
        again.predict(alloy.structures), pruned.predict(alloy.structures), rtol=1e-9
    )


def test_pruned_model_knows_only_its_features(alloy):
    model = PIPELINES["bagged"]().fit(alloy.structures, alloy.energies)
    table = model[0].feature_table_.copy()
    pruned = prune(model)
    kept = np.any([m.coef_ for m in model[-1].estimators_], axis=0)
    names = model[0].get_feature_names_out()
    np.testing.assert_array_equal(pruned[0].get_feature_names_out(), names[kept])
    assert len(pruned[0].feature_table_) == pruned[0].n_features_out_ == kept.sum()
    X = alloy.structures
    np.testing.assert_allclose(
        pruned[0].transform(X), model[0].transform(X)[:, kept], rtol=1e-9, atol=1e-12
    )
    mean, std = pruned[-1].predict(pruned[0].transform(X), return_std=True)
    expected = model[-1].predict(model[0].transform(X), return_std=True)
    np.testing.assert_allclose((mean, std), expected, rtol=1e-7)
    staged = list(pruned[-1].staged_predict(pruned[0].transform(X)))
    for ours, theirs in zip(staged, model[-1].staged_predict(model[0].transform(X)), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-8)
    # The original is untouched, and a clone is a model of all features.
    assert model[0].feature_table_.equals(table)
    refitted = clone(pruned).fit(X, alloy.energies)
    np.testing.assert_allclose(refitted.predict(X), model.predict(X), rtol=1e-9)


def test_pruned_gradients_are_the_same(alloy):
    model = EnergyForceRegressor(
        make_pipeline(small_scattering(normalize="lower_order"), StandardScaler()),
        bagged(),
        n_directions=2,
        random_state=0,
    )
    model.fit(alloy.structures, alloy.energies, forces=alloy.forces)
    pruned, X = prune(model), alloy.structures[:2]
    assert pruned.features_[0].n_features_out_ < model.features_[0].n_features_out_ / 2
    np.testing.assert_allclose(pruned.predict(X), model.predict(X), rtol=1e-9)
    np.testing.assert_allclose(pruned.predict_forces(X), model.predict_forces(X), rtol=1e-7)
    np.testing.assert_allclose(
        pruned.predict_stress(X, return_std=True), model.predict_stress(X, return_std=True),
        rtol=1e-6,
    )  # fmt: skip
    np.testing.assert_allclose(
        pruned.extrapolation_score(X), model.extrapolation_score(X), rtol=1e-7
    )
    tangents = pruned.features_[0].jvp(X, [np.ones((1, 4, 3))] * 2)
    assert tangents[0].shape == (1, pruned.features_[0].n_features_out_)


def test_a_model_without_weights_keeps_one_feature(alloy):
    model = make_pipeline(small_scattering(order=1), Lasso(1e6)).fit(
        alloy.structures, alloy.energies
    )
    pruned = prune(model)
    assert pruned[0].n_features_out_ == 1
    np.testing.assert_allclose(
        pruned.predict(alloy.structures[:2]), model.predict(alloy.structures[:2])
    )


def test_projections_keep_every_feature(alloy):
    model = make_pipeline(small_scattering(order=1), StandardScaler(), PCA(6), greedy(2))
    model.fit(alloy.structures, alloy.energies)
    pruned = prune(model)
    np.testing.assert_allclose(
        pruned.predict(alloy.structures), model.predict(alloy.structures), rtol=1e-9
    )
    assert pruned[2].components_.shape[0] == 2


def test_derivatives_of_some_features_are_those_among_all(alloy):
    X = alloy.structures[:2]
    whole = PointScattering(order=1, dtype="float64").fit(X)
    columns = [whole.n_features_out_ - 1, 0, whole.n_features_out_ // 2, 0]
    part = whole.restrict(columns)
    moves = [np.random.default_rng(i).normal(size=(2, len(X[i]), 3)) for i in range(2)]
    for some, all_of_them in zip(part.jvp(X, moves), whole.jvp(X, moves), strict=True):
        np.testing.assert_allclose(some, all_of_them[:, columns], rtol=1e-10, atol=1e-12)
        assert some[:, [0, 2]].all()
    cotangents = np.random.default_rng(2).normal(size=(2, 4))
    padded = np.zeros((2, whole.n_features_out_))
    np.add.at(padded.T, columns, cotangents.T)
    for some, all_of_them in zip(part.vjp(X, cotangents), whole.vjp(X, padded), strict=True):
        np.testing.assert_allclose(some[0], all_of_them[0], rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(some[1], all_of_them[1], rtol=1e-8, atol=1e-10)


def test_models_of_several_targets_are_refused(alloy):
    X, y = alloy.structures, alloy.energies
    model = make_pipeline(small_scattering(order=1), Ridge()).fit(X, np.column_stack([y, y]))
    with pytest.raises(TypeError, match="Ridge has 2 targets; fit one, the energy"):
        energy_model(model)


def test_what_cannot_be_pruned_is_named(alloy):
    X, y = alloy.structures, alloy.energies
    with pytest.raises(TypeError, match="Normalizer cannot be cut"):
        prune(make_pipeline(small_scattering(order=1), Normalizer(), greedy()).fit(X, y))
    with pytest.raises(TypeError, match="PLSRegression predicts with more"):
        prune(make_pipeline(small_scattering(order=1), PLSRegression()).fit(X, y))
    with pytest.raises(TypeError, match="has no model after its features"):
        prune(make_pipeline(Ridge()))
    with pytest.raises(TypeError, match="neither a Pipeline"):
        prune(Ridge())
    inner = FeatureUnion([("a", StandardScaler()), ("b", MinMaxScaler())])
    with pytest.raises(TypeError, match="only where its parts take structures"):
        prune(make_pipeline(small_scattering(order=1), inner, greedy()).fit(X, y))


# -- costs and budgets -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def priced():
    """Features of a larger cell, whose maps cost enough to be timed."""
    atoms = bulk("Cu", cubic=True) * 3
    scattering = VoxelScattering(n=[1, 2], max_l=1, spacing=0.3).fit([atoms])
    return scattering, FeatureCosts(scattering, atoms)


def test_costs_count_transforms(priced):
    scattering, costs = priced
    table = scattering.feature_table_
    first = np.flatnonzero((table["order"] == 1) & (table["l1"] == 1) & (table["j1"] == 0))
    # One element, three filters, on the finest grid; four powers are one map.
    assert costs.transforms(first[:1]).tolist()[0] == 3
    assert costs.transforms(first[:4]).sum() == 3
    second = np.flatnonzero(
        (table["order"] == 2) & (table["l1"] == 1) & (table["j1"] == 0)
        & (table["l2"] == 1) & (table["j2"] == 0)
    )  # fmt: skip
    # The parent's three, its spectrum, and three more.
    assert costs.transforms(second[:1]).sum() == 7


def test_costs_add_up(priced):
    scattering, costs = priced
    every = np.arange(scattering.n_features_out_)
    columns, total = [], costs.predict([])
    for column in np.random.default_rng(0).permutation(every)[:60]:
        total += costs.marginal(columns)[column]
        columns.append(column)
    np.testing.assert_allclose(costs.predict(columns), total)
    assert costs.predict(columns) < costs.predict(every)
    assert (costs.marginal(every) == 0).all()
    assert all(price >= 0 for price in costs.prices_.values())
    mask = np.isin(every, columns)
    assert costs.predict(mask) == costs.predict(np.flatnonzero(mask)) < costs.predict(~mask | mask)


def test_costs_predict_times(priced):
    _, costs = priced
    ratio = costs.measured_["predicted"] / costs.measured_["measured"]
    # A shared machine is no stopwatch.
    assert 0.4 < ratio.median() < 2.5


def test_budget_of_features_is_the_greedy_path():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 20)) @ rng.normal(size=(20, 20))
    y = rng.normal(size=60)
    path = GreedyOLSRegressor(8, validation_fraction=None).fit(X, y).support_
    np.testing.assert_array_equal(features_in_budget(X, y, None, 8), path)


def test_budget_of_time_prefers_what_is_cheap(priced):
    scattering, costs = priced
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50, scattering.n_features_out_))
    budget = (costs.predict([]) + costs.predict(np.arange(X.shape[1]))) / 3
    chosen = features_in_budget(X, X @ rng.normal(size=X.shape[1]), costs, budget)
    assert costs.predict(chosen) <= budget
    assert len(set(chosen)) == len(chosen)
    # All powers of the maps that are computed.
    assert (costs.marginal(chosen)[np.setdiff1d(np.arange(X.shape[1]), chosen)] > 0).all()


@pytest.mark.parametrize("kind", ["pipeline", "potential"])
def test_refit_within_a_budget(alloy, kind):
    X, y = alloy.structures, alloy.energies
    if kind == "pipeline":
        model = make_pipeline(small_scattering(), StandardScaler(), bagged()).fit(X, y)
        groups = {"baggedolsensemble__groups": np.repeat(np.arange(10), 3)}
        scattering = model[0]

        def used(fitted):
            return fitted[0].n_features_out_
    else:
        model = EnergyForceRegressor(small_scattering(), bagged(), n_directions=2).fit(X, y)
        groups = {"forces": alloy.forces, "groups": np.repeat(np.arange(10), 3)}
        scattering = model.features_

        def used(fitted):
            return fitted.features_.n_features_out_

    small = fit_to_budget(model, X, y, n_features=7, **groups)
    assert used(small) <= 7
    assert small.score(X, y) > 0.5
    costs = FeatureCosts(scattering, X[0])
    budget = (costs.predict([]) + costs.predict(np.arange(scattering.n_features_out_))) / 2
    cheap = fit_to_budget(model, X, y, milliseconds=budget, costs=costs, **groups)
    assert used(cheap) < scattering.n_features_out_
    # Fitted again, it keeps its features.
    again = clone(cheap).fit(X, y, **groups)
    assert isinstance(again[0] if kind == "pipeline" else again.features_, FrozenEstimator)
    assert np.isfinite(again.predict(X)).all()


def test_bad_budgets(alloy):
    X, y = alloy.structures, alloy.energies
    model = make_pipeline(small_scattering(order=1), greedy()).fit(X, y)
    with pytest.raises(ValueError, match="Pass one budget"):
        fit_to_budget(model, X, y)
    with pytest.raises(ValueError, match="milliseconds needs costs"):
        fit_to_budget(model, X, y, milliseconds=1.0)
    with pytest.raises(ValueError, match="No feature fits"):
        fit_to_budget(model, X, y, n_features=0)
    union = FeatureUnion([("a", small_scattering(order=1))])
    with pytest.raises(TypeError, match="costs of FeatureUnion"):
        fit_to_budget(make_pipeline(union, greedy()).fit(X, y), X, y, n_features=2)
    with pytest.raises(TypeError, match="neither a Pipeline"):
        fit_to_budget(Ridge(), X, y, n_features=2)
    costs = FeatureCosts(model[0].restrict(range(20)), X[0])
    with pytest.raises(ValueError, match="costs are those of 20 features"):
        fit_to_budget(model, X, y, milliseconds=1.0, costs=costs)


def test_costs_of_what_is_no_voxel_representation(alloy):
    with pytest.raises(TypeError, match="costs of PointScattering are not known"):
        FeatureCosts(PointScattering(), alloy.structures[0])
    with pytest.raises(NotFittedError):
        FeatureCosts(VoxelScattering(), alloy.structures[0])


NOT_LINEAR = [
    VotingRegressor([("ridge", Ridge())]), RandomForestRegressor(2), BaggingRegressor(Ridge(), 2),
    GradientBoostingRegressor(n_estimators=2), HistGradientBoostingRegressor(max_iter=2), SVR(),
    SVR(kernel="linear"), KNeighborsRegressor(2), KernelRidge(), DummyRegressor(),
    DecisionTreeRegressor(), GaussianProcessRegressor(), RANSACRegressor(Ridge(), min_samples=3),
    MLPRegressor(hidden_layer_sizes=(2,), max_iter=1000, tol=1.0), PLSRegression(1),
]  # fmt: skip


@pytest.mark.parametrize("regressor", NOT_LINEAR, ids=lambda r: type(r).__name__)
def test_final_models_that_cannot_be_cut_are_refused_with_advice(regressor):
    crystals = copper_crystals(10)
    model = make_pipeline(small_scattering(order=1), regressor)
    model.fit(crystals.structures, crystals.energies - crystals.energies.min() + 1)
    with pytest.raises(
        TypeError, match=r"use one that does|use BaggedOLSEnsemble|end the pipeline"
    ):
        prune(model)
