from collections import Counter, deque
from datetime import date
from decimal import Decimal

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
from skwavelet._utils.validation import check_groups
from skwavelet.structures.folds import assign_folds

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


# -- containers of groups --------------------------------------------------------------------------

LABELS = st.one_of(
    st.integers(-3, 3),
    st.text("ab1n", max_size=2),
    st.sampled_from(["nan", "None", "1", b"1", 1.5, Decimal("1.5"), ("a", 1), ("a", "1")]),
    st.dates(date(2020, 1, 1), date(2020, 1, 3)),
)
MISSING = [
    None,
    np.nan,
    float("nan"),
    np.float32("nan"),
    complex("nan"),
    Decimal("nan"),
    pd.NA,
    pd.NaT,
    np.datetime64("NaT"),
    np.ma.masked,
    ("a", None),
    (1, (2, float("nan"))),
    frozenset([pd.NA]),
]


def object_array(labels):
    column = np.empty(len(labels), dtype=object)
    column[:] = labels
    return column


CONTAINERS = {
    "list": list,
    "tuple": tuple,
    "object array": object_array,
    "Series": lambda labels: pd.Series(labels, dtype=object),
    "Index": lambda labels: pd.Index(object_array(labels), tupleize_cols=False),
    "deque": deque,
    "dict values": lambda labels: dict(enumerate(labels)).values(),
    "masked array": lambda labels: np.ma.array(object_array(labels), mask=False),
}
OF_STRINGS = {
    "array": np.array,
    "Series": pd.Series,
    "Series of strings": lambda labels: pd.Series(labels, dtype="string"),
    "Categorical": lambda labels: pd.Categorical(labels, categories=sorted(set(labels))),
    "masked array": np.ma.array,
    "MultiIndex": lambda labels: pd.MultiIndex.from_arrays([labels, labels]),
}


def brute_force_codes(labels):
    """Compare each label with all that came before."""
    first = [next(j for j, other in enumerate(labels) if other == label) for label in labels]
    return [sorted(set(first)).index(j) for j in first]


@settings(max_examples=60, deadline=None)
@given(labels=st.lists(LABELS, min_size=1, max_size=12))
def test_groups_do_not_depend_on_their_container(labels):
    expected = brute_force_codes(labels)
    for kind, container in CONTAINERS.items():
        assert check_groups(container(labels), len(labels)).tolist() == expected, kind


@settings(max_examples=30, deadline=None)
@given(labels=st.lists(st.sampled_from(["nan", "None", "", "a", "B"]), min_size=1, max_size=12))
def test_groups_of_strings(labels):
    expected = brute_force_codes(labels)
    for kind, container in OF_STRINGS.items():
        assert check_groups(container(labels), len(labels)).tolist() == expected, kind


@pytest.mark.parametrize("dtype", ["i1", "u8", "f4", "f8", "?", "M8[ns]", "M8[D]", "m8[s]", "c16"])
def test_groups_of_every_type(dtype):
    labels = np.array([1, 0, 1, 1, 0]).astype(dtype)
    for container in (np.asarray, list, pd.Series, np.ma.array):
        assert check_groups(container(labels), 5).tolist() == [0, 1, 0, 0, 1]


@pytest.mark.parametrize("missing", MISSING, ids=repr)
@pytest.mark.parametrize("others", [["a", "b", "a"], [1, 2.5, 1], [1, "1", ("1", 1)]], ids=str)
def test_missing_groups_are_named(missing, others):
    labels = [others[0], missing, *others[1:]]
    for kind, container in CONTAINERS.items():
        if missing is np.ma.masked and kind in {"Series", "Index"}:
            continue
        with pytest.raises(ValueError, match=r"groups\[1\] is missing; give every sample a label"):
            check_groups(container(labels), 4)


@pytest.mark.parametrize(
    "groups",
    [
        np.array([0.0, np.nan, 1.0]),
        np.ma.array(["a", "b", "c"], mask=[0, 1, 0]),
        np.ma.array([0, 1, 2], mask=[0, 1, 0]),
        np.array(["2020-01-01", "NaT", "2020-01-02"], "M8[D]"),
        pd.Series(["a", None, "b"]),
        pd.Series(["a", pd.NA, "b"], dtype="string"),
        pd.array([1, None, 2], dtype="Int64"),
        pd.Categorical(["a", None, "b"]),
        pd.DatetimeIndex(["2020-01-01", None, "2020-01-02"]),
        pd.MultiIndex.from_tuples([("a", 1), ("a", np.nan), ("b", 1)]),
    ],
    ids=lambda groups: type(groups).__name__,
)
def test_missing_groups_of_containers_that_mark_them(groups):
    with pytest.raises(ValueError, match=r"groups\[1\] is missing"):
        check_groups(groups, 3)


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ([["a", 1], ["b", 2]], r"groups\[0\] is list, which is no label; use strings, numbers"),
        ([{"a"}, {"b"}], r"groups\[0\] is set, which is no label"),
        ([np.array("a"), np.array("b")], r"groups\[0\] is ndarray, which is no label"),
        (np.array([["a"], ["b"]]), r"shape \(2,\); got shape \(2, 1\)"),
        (pd.DataFrame({"path": ["a", "b"]}), r"got shape \(2, 1\)"),
        ("ab", r"got shape \(\)"),
        ({"a": 0, "b": 1}, r"got shape \(\)"),
        ({"a", "b"}, r"got shape \(\)"),
        (7, r"got shape \(\)"),
        (iter("ab"), r"got shape \(\)"),
    ],
)
def test_what_is_no_groups(groups, message):
    with pytest.raises(ValueError, match=message):
        check_groups(groups, 2)


def test_groups_as_tensors():
    torch = pytest.importorskip("torch")
    assert check_groups(torch.tensor([5, 7, 5]), 3).tolist() == [0, 1, 0]
    with pytest.raises(ValueError, match=r"groups\[0\] is Tensor, which is no label"):
        check_groups(list(torch.tensor([5, 7])), 2)


def test_folds_and_bags_do_not_depend_on_the_container(regression):
    structures, y, _ = regression
    X = numbers_of_atoms(structures)
    names = paths(structures)
    codes = check_groups(names, len(names)).tolist()
    tuples = [tuple(name.split("-")) for name in names]
    mixed = [str(code) if code % 2 else code // 2 for code in codes]
    cv = RelaxationPathGroupKFold(3, random_state=0)
    folds = splits(cv, structures)
    weights = BaggedOLSEnsemble(3, random_state=0).fit(X, y, groups=names).coef_
    for groups in (codes, tuples, mixed, np.array(names), pd.Series(tuples), object_array(mixed)):
        assert splits(cv, structures, groups) == folds
        again = BaggedOLSEnsemble(3, random_state=0).fit(X, y, groups=groups)
        np.testing.assert_array_equal(again.coef_, weights)


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA, pd.NaT, ("c", None)], ids=repr)
def test_missing_groups_in_info(missing):
    structures = relaxation_paths(n_paths=1)
    structures[4].info["path"] = missing
    with pytest.raises(ValueError, match=r"Structure 4 has no info\['path'\]: set it .* groups"):
        splits(RelaxationPathGroupKFold(2), structures)


def test_tuples_as_groups_in_info():
    structures = relaxation_paths()
    cv = RelaxationPathGroupKFold(5, random_state=0)
    expected = splits(cv, structures)
    for atoms in structures:
        atoms.info["path"] = tuple(atoms.info["path"].split("-"))
    assert splits(cv, structures) == expected
