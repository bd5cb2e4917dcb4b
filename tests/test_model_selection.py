from collections import Counter

import numpy as np
import pandas as pd
import pytest
from ase import Atoms
from helpers.small_structures import Convertible
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import config_context
from sklearn.model_selection import GridSearchCV, cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skwavelet import BaggedOLSEnsemble, GreedyOLSRegressor, RelaxationPathGroupKFold
from skwavelet.model_selection import assign_folds

FORMULAS = ("LiSi", "Li2Si", "Li3Si2")


def relaxation_paths(n_paths=10, n_frames=3, repeat=False):
    """Frames of n_paths paths of each of three compositions (three in a double cell), shuffled."""
    structures = [
        Atoms(formula + formula * (repeat and path < 3), info={"path": f"{formula}-{path}"})
        for formula in FORMULAS
        for path in range(n_paths)
        for _ in range(n_frames)
    ]
    order = np.random.default_rng(0).permutation(len(structures))
    return [structures[i] for i in order]


def paths(structures, rows=None):
    rows = range(len(structures)) if rows is None else rows
    return [structures[i].info["path"] for i in rows]


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("repeat", [False, True])
def test_two_paths_of_each_composition_per_fold(shuffle, repeat):
    structures = relaxation_paths(repeat=repeat)
    cv = RelaxationPathGroupKFold(5, shuffle=shuffle, random_state=0)
    tested = []
    for train, test in cv.split(structures):
        assert set(train) | set(test) == set(range(len(structures)))
        assert not set(paths(structures, train)) & set(paths(structures, test))
        counts = Counter(path.split("-")[0] for path in set(paths(structures, test)))
        assert counts == dict.fromkeys(FORMULAS, 2)
        tested.extend(test)
    assert sorted(tested) == list(range(len(structures)))
    assert cv.get_n_splits() == 5


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 20), min_size=6, max_size=40),
    n_folds=st.integers(2, 6),
    n_classes=st.integers(1, 5),
    seed=st.integers(0, 10),
)
def test_folds_are_balanced(sizes, n_folds, n_classes, seed):
    sizes = np.array(sizes)
    rng = np.random.default_rng(seed)
    classes = rng.integers(n_classes, size=len(sizes))
    folds = assign_folds(sizes, n_folds, rng, classes)
    table = np.zeros((n_folds, n_classes), dtype=int)
    np.add.at(table, (folds, classes), 1)
    assert (np.ptp(table, axis=0) <= 1).all()
    assert (table.sum(axis=1) > 0).all()
    # Without classes no fold is larger than another by more than a group.
    rows = np.bincount(assign_folds(sizes, n_folds, rng), weights=sizes, minlength=n_folds)
    assert np.ptp(rows) <= sizes.max()
    assert (rows > 0).all()
    # Equal groups: totals differ by at most one group too.
    folds = assign_folds(np.ones(len(sizes), dtype=int), n_folds, rng, classes)
    assert np.ptp(np.bincount(folds, minlength=n_folds)) <= 1


def splits(cv, X, groups=None):
    return [test.tolist() for _, test in cv.split(X, groups=groups)]


def test_random_state():
    structures = relaxation_paths()
    fixed = RelaxationPathGroupKFold(random_state=0)
    assert splits(fixed, structures) == splits(fixed, structures)
    other = RelaxationPathGroupKFold(random_state=1)
    assert splits(fixed, structures) != splits(other, structures)
    ordered = RelaxationPathGroupKFold(shuffle=False)
    assert splits(ordered, structures) == splits(ordered, structures)


def test_where_groups_come_from():
    structures = relaxation_paths()
    cv = RelaxationPathGroupKFold(random_state=0)
    expected = splits(cv, structures)
    assert splits(cv, structures, groups=paths(structures)) == expected
    assert splits(cv, pd.Series(structures)) == expected
    column = np.empty(len(structures), dtype=object)
    column[:] = structures
    assert splits(cv, column) == expected

    renamed = [Atoms(a.symbols, info={"run": a.info["path"]}) for a in structures]
    keyed = RelaxationPathGroupKFold(random_state=0, group_key="run")
    assert splits(keyed, renamed) == expected
    # groups= has precedence over info.
    coarse = [atoms.info["path"][-1] for atoms in structures]
    for test in splits(cv, structures, groups=coarse):
        inside = {coarse[i] for i in test}
        assert sum(label in inside for label in coarse) == len(test)


def test_structures_of_other_packages():
    structures = relaxation_paths()
    cv = RelaxationPathGroupKFold(random_state=0)
    assert splits(cv, [Convertible(atoms) for atoms in structures]) == splits(cv, structures)


@pytest.mark.parametrize("kind", [np.asarray, pd.DataFrame, list])
def test_plain_group_folds_without_structures(kind):
    groups = np.repeat(np.arange(9), [9, 8, 7, 6, 5, 4, 3, 2, 1])
    X = kind(np.zeros((45, 2)).tolist())
    tests = splits(RelaxationPathGroupKFold(3, random_state=0), X, groups)
    assert sorted(len(test) for test in tests) == [14, 15, 16]
    assert sum(len(set(groups[test])) for test in tests) == 9


@pytest.mark.parametrize("n_splits", [1, 0, 2.5, "5"])
def test_bad_number_of_folds(n_splits):
    with pytest.raises(ValueError, match="n_splits must be an integer of at least 2"):
        RelaxationPathGroupKFold(n_splits)


def test_bad_groups():
    structures = relaxation_paths(n_paths=1)
    with pytest.raises(ValueError, match="n_splits=5 folds need at least as many groups; got 3"):
        splits(RelaxationPathGroupKFold(5), structures)
    with pytest.raises(ValueError, match=r"one label per sample, shape \(9,\); got shape \(8,\)"):
        splits(RelaxationPathGroupKFold(2), structures, groups=range(8))
    with pytest.raises(ValueError, match="Pass groups: X does not hold structures"):
        splits(RelaxationPathGroupKFold(2), np.zeros((9, 2)))
    del structures[4].info["path"]
    with pytest.raises(ValueError, match=r"Structure 4 has no info\['path'\]: set it .* groups"):
        splits(RelaxationPathGroupKFold(2), structures)


def test_repr():
    shown = repr(RelaxationPathGroupKFold(3, random_state=1))
    assert " ".join(shown.split()) == (
        "RelaxationPathGroupKFold(group_key='path', n_splits=3, random_state=1, shuffle=True)"
    )


def numbers_of_atoms(structures):
    return np.array([[atoms.numbers.sum(), len(atoms), atoms.info["x"]] for atoms in structures])


@pytest.fixture
def regression():
    """Structures with one hidden number each, and a target that depends on it."""
    structures = relaxation_paths(5)
    rng = np.random.default_rng(1)
    for atoms in structures:
        atoms.info["x"] = rng.normal()
    features = numbers_of_atoms(structures)
    y = features @ [0.1, -1, 2] + 0.1 * rng.normal(size=len(structures))
    return structures, y, np.array(paths(structures))


def test_cross_validation_of_a_pipeline_of_structures(regression):
    structures, y, groups = regression
    model = make_pipeline(
        FunctionTransformer(numbers_of_atoms), BaggedOLSEnsemble(3, random_state=0)
    )
    cv = RelaxationPathGroupKFold(5, random_state=0)
    params = {"baggedolsensemble__groups": groups}
    result = cross_validate(
        model, structures, y, groups=groups, cv=cv, params=params, return_indices=True
    )
    assert (result["test_score"] > 0.9).all()
    tests = [test.tolist() for test in result["indices"]["test"]]
    assert tests == splits(cv, structures)
    # From info alone the folds are the same.
    from_info = cross_val_score(model, structures, y, cv=cv, params=params)
    np.testing.assert_array_equal(from_info, result["test_score"])


def test_nested_cross_validation(regression):
    structures, y, groups = regression
    model = make_pipeline(FunctionTransformer(numbers_of_atoms), GreedyOLSRegressor(random_state=0))
    inner = RelaxationPathGroupKFold(3, random_state=0)
    outer = RelaxationPathGroupKFold(5, random_state=0)
    parameters = {"greedyolsregressor__max_features": [1, 3]}
    search = GridSearchCV(model, parameters, cv=inner)
    params = {"groups": groups, "greedyolsregressor__groups": groups}
    result = cross_validate(
        search, structures, y, groups=groups, cv=outer, params=params, return_estimator=True
    )
    assert (result["test_score"] > 0.9).all()
    for fitted in result["estimator"]:
        low, high = fitted.cv_results_["mean_test_score"]
        assert high > low
        assert fitted.best_params_ == {"greedyolsregressor__max_features": 3}


def test_metadata_routing(regression):
    structures, y, groups = regression
    X = numbers_of_atoms(structures)
    cv = RelaxationPathGroupKFold(5, random_state=0)
    model = GreedyOLSRegressor(random_state=0)
    expected = cross_val_score(model, X, y, groups=groups, cv=cv, params={"groups": groups})
    with config_context(enable_metadata_routing=True):
        requested = GreedyOLSRegressor(random_state=0).set_fit_request(groups=True)
        routed = cross_val_score(requested, X, y, cv=cv, params={"groups": groups})
        np.testing.assert_array_equal(routed, expected)
        # The splitter's own name for them.
        renamed = RelaxationPathGroupKFold(5, random_state=0).set_split_request(groups="paths")
        params = {"groups": groups, "paths": groups}
        again = cross_val_score(requested, X, y, cv=renamed, params=params)
        np.testing.assert_array_equal(again, expected)
        # Groups of structures need not be passed at all.
        pipeline = make_pipeline(FunctionTransformer(numbers_of_atoms), GreedyOLSRegressor())
        assert len(cross_val_score(pipeline, structures, y, cv=cv)) == 5


def test_grid_search_over_groups_from_info(regression):
    structures, y, _ = regression
    model = make_pipeline(
        FunctionTransformer(numbers_of_atoms), GreedyOLSRegressor(validation_fraction=None)
    )
    parameters = {"greedyolsregressor__max_features": [1, 2, 3]}
    grid = GridSearchCV(model, parameters, cv=RelaxationPathGroupKFold(5, random_state=0))
    grid.fit(structures, y)
    assert len(set(grid.cv_results_["mean_test_score"])) > 1
