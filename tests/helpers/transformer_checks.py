"""Checks that every transformer of structures must pass.

scikit-learn's ``check_estimator`` feeds matrices; these are its checks for sequences of
``ase.Atoms``, one function ``check_*(transformer)`` each, where ``transformer`` is an unfitted
instance that is quick on ``small_set()``. A test module runs ``CHECKS`` over its transformers.
"""

import contextlib
import copy
import inspect
import io
import pickle
import re
import warnings

import joblib
import numpy as np
import pandas as pd
import pytest
import skops.io
from ase import Atoms
from helpers.bad_input_checks import BAD_INPUT_CHECKS
from helpers.check_helpers import changed, error_of, fitted, plain_parameters, small_set
from helpers.finite_differences import check_atom_derivatives, check_derivatives
from helpers.small_structures import Convertible, cubic, molecule, three_elements, triclinic
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import FunctionTransformer

import skwavelet._utils.versioning as versioning

RTOL = {"float32": 2e-5, "float64": 1e-12}


def assert_same(one, other, transformer):
    # Features of landmarks, of the size of 1, are differences of kernels.
    noise = 1e-10 if hasattr(transformer, "n_landmarks") else 1e-30
    np.testing.assert_allclose(one, other, rtol=RTOL[transformer.dtype], atol=noise)


# -- scikit-learn's protocol ---------------------------------------------------------------------


def check_constructor_only_stores(transformer):
    kind = type(transformer)
    signature = inspect.signature(kind.__init__).parameters
    parameters = transformer.get_params(deep=False)
    assert set(parameters) == set(signature) - {"self"}
    # The very objects, unchecked: validation belongs to fit, or clone breaks.
    values = {name: object() for name in parameters}
    instance = kind(**values)
    assert vars(instance) == values
    assert all(instance.get_params(deep=False)[name] is value for name, value in values.items())
    for name, parameter in signature.items():
        if name != "self":
            assert parameter.default is not inspect.Parameter.empty
            assert not isinstance(parameter.default, list | dict | set)


def check_every_parameter_is_validated(transformer):
    for name in transformer.get_params(deep=False):
        broken = clone(transformer).set_params(**{name: object()})
        with pytest.raises((ValueError, TypeError), match=rf"{name}|channel"):
            fitted(broken)


def check_clone(transformer):
    parameters = plain_parameters(transformer)
    copied = clone(fitted(transformer))
    assert plain_parameters(copied) == parameters
    assert not hasattr(copied, "n_features_out_")


def check_fit_sets_only_learned_attributes(transformer):
    before = copy.deepcopy(plain_parameters(transformer))
    instance = fitted(transformer)
    assert plain_parameters(instance) == before
    for name in vars(instance).keys() - transformer.get_params().keys():
        assert name.startswith("_") or name.endswith("_"), name
    # Energies are not looked at.
    with_y = clone(transformer)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "n_scales=")
        assert with_y.fit(small_set(), y=np.arange(5.0)) is with_y
    np.testing.assert_array_equal(with_y.transform(small_set()), instance.transform(small_set()))


def check_fit_is_idempotent(transformer):
    once = fitted(transformer)
    features = once.transform(small_set())
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "n_scales=")
        once.fit([molecule(), cubic()])
        once.fit(small_set())
        together = clone(transformer).fit_transform(small_set())
    np.testing.assert_array_equal(once.transform(small_set()), features)
    np.testing.assert_array_equal(together, features)


def check_unfitted(transformer):
    unfitted = clone(transformer)
    for call in (
        lambda: unfitted.transform([cubic()]),
        lambda: unfitted.jvp([cubic()], [np.zeros((1, 2, 3))]),
        lambda: unfitted.vjp([cubic()], np.zeros((1, 1))),
        lambda: unfitted.get_feature_names_out(),
        lambda: unfitted.restrict([0]),
        lambda: unfitted.keep_grid(cubic()),
    ):
        error_of(call, NotFittedError, "not fitted")


def check_feature_names(transformer):
    instance = fitted(transformer)
    names = instance.get_feature_names_out()
    features = instance.transform(small_set())
    assert features.shape == (5, len(names))
    assert len(names) == instance.n_features_out_ == len(instance.feature_table_)
    assert len(set(names)) == len(names)
    assert names.dtype == object
    assert all(re.fullmatch(r"[\w./^|()*+-]+", name) for name in names)
    assert instance.feature_table_["q"].notna().all()


def check_output(transformer):
    X = small_set()
    instance = fitted(transformer)
    features = instance.transform(X)
    assert isinstance(features, np.ndarray)
    assert features.dtype == np.dtype(transformer.dtype)
    assert np.isfinite(features).all()
    assert (features[:, (features != 0).any(axis=0)] != 0).any()
    instance.set_output(transform="pandas")
    frame = instance.transform(X)
    assert isinstance(frame, pd.DataFrame)
    assert frame.columns.tolist() == instance.get_feature_names_out().tolist()
    np.testing.assert_array_equal(frame, features)
    labelled = instance.transform(as_series(X, "abcde"))
    assert labelled.index.tolist() == list("abcde")
    assert labelled.columns.equals(frame.columns)
    instance.set_output(transform="default")
    assert isinstance(instance.transform(X), np.ndarray)


def check_tags(transformer):
    tags = transformer.__sklearn_tags__()
    assert not tags.input_tags.two_d_array
    assert not hasattr(fitted(transformer), "n_features_in_")


# -- stored and loaded ---------------------------------------------------------------------------


def loaded_by_pickle(instance):
    return pickle.loads(pickle.dumps(instance))


def loaded_by_joblib(instance):
    file = io.BytesIO()
    joblib.dump(instance, file)
    file.seek(0)
    return joblib.load(file)


def loaded_by_skops(instance):
    data = skops.io.dumps(instance)
    return skops.io.loads(data, trusted=skops.io.get_untrusted_types(data=data))


def check_stored_transformers(transformer):
    instance = fitted(transformer)
    features = instance.transform(small_set())
    cotangents = np.ones((5, instance.n_features_out_))
    for load in (loaded_by_pickle, loaded_by_joblib, loaded_by_skops, copy.deepcopy):
        loaded = load(instance)
        np.testing.assert_array_equal(loaded.transform(small_set()), features)
        pd.testing.assert_frame_equal(loaded.feature_table_, instance.feature_table_)
        pd.testing.assert_frame_equal(loaded.channels_, instance.channels_)
        np.testing.assert_array_equal(
            loaded.vjp(small_set(), cotangents)[0][0], instance.vjp(small_set(), cotangents)[0][0]
        )
        load(clone(transformer))


def check_version_is_stored(transformer, monkeypatch):
    stored = pickle.dumps(fitted(transformer))
    monkeypatch.setattr(versioning, "__version__", "99.0")
    with pytest.warns(versioning.VersionMismatchWarning, match=r"is read by 99\.0: refit"):
        pickle.loads(stored)


def check_plans_are_not_stored(transformer):
    """Buffers, FFT plans and filters belong to the process, not to the estimator."""
    instance = fitted(transformer)
    before = len(pickle.dumps(instance))
    instance.transform(small_set())
    # Small tables may be kept; one map of these structures alone has 4096 voxels or more.
    assert len(pickle.dumps(instance)) <= before + 4096


# -- one structure at a time ---------------------------------------------------------------------


def as_series(X, index):
    column = np.empty(len(X), dtype=object)
    column[:] = X
    return pd.Series(column, index=list(index))


def check_kinds_of_input(transformer):
    X = small_set()
    instance = fitted(transformer)
    features = instance.transform(X)
    for given in (
        tuple(X),
        as_series(X, "vwxyz"),
        as_series(X, "vwxyz").to_numpy(),
        [Convertible(atoms) for atoms in X],
    ):
        np.testing.assert_array_equal(instance.transform(given), features)
        np.testing.assert_array_equal(fitted(transformer, given).transform(X), features)


def check_structures_do_not_depend_on_each_other(transformer):
    X = small_set()
    instance = fitted(transformer)
    features = instance.transform(X)
    for i, atoms in enumerate(X):
        assert_same(instance.transform([atoms]), features[[i]], transformer)
    order = [3, 0, 4, 2, 1]
    assert_same(instance.transform([X[i] for i in order]), features[order], transformer)
    np.testing.assert_array_equal(features[2], features[4])
    # Nor does what is learned depend on their order.
    assert_same(fitted(transformer, X[::-1]).transform(X), features, transformer)


def check_input_is_not_changed(transformer):
    X = small_set()
    for atoms in X:
        atoms.info["path"] = "p"
        atoms.positions += 20  # far outside the cell, and to stay there
    copies = [atoms.copy() for atoms in X]
    instance = fitted(transformer, X)
    cotangents = np.ones((len(X), instance.n_features_out_))
    displacements = [np.ones((1, len(atoms), 3)) for atoms in X]
    instance.transform(X)
    instance.jvp(X, displacements)
    instance.vjp(X, cotangents)
    assert copies == X
    assert all(a.info == b.info for a, b in zip(X, copies, strict=True))
    assert (cotangents == 1).all()
    assert all((d == 1).all() for d in displacements)


def check_declared_elements(transformer):
    """A fold without an element transforms it, where it is declared, and nothing else changes."""
    X = small_set()
    declared = changed(transformer, elements=["Si", "O", "Li", "O"])
    part = fitted(declared, [cubic(), triclinic()])
    assert part.elements_ == ["Li", "O", "Si"]
    whole = fitted(declared, X)
    assert np.isfinite(part.transform(X)).all()
    if "landmark" not in part.feature_table_:  # an element without atoms has no landmarks
        columns = ["channel", "order", "q"]  # distances are learned and need not be the same
        pd.testing.assert_frame_equal(part.feature_table_[columns], whole.feature_table_[columns])
        assert part.transform(X)[1, (part.feature_table_["channel"] == "O").to_numpy()].any()
    same = fitted(clone(transformer), X)
    assert (same.get_feature_names_out() == whole.get_feature_names_out()).all()
    assert_same(whole.transform(X), same.transform(X), transformer)
    declared = changed(transformer, elements=("Li", "Si"))
    error_of(lambda: declared.fit(X), ValueError, r"Structure 1 contains O, not among elements")
    for wrong in (["Li", "Xx"], ["X"], [3, 14], [], ["li"]):
        declared = changed(transformer, elements=wrong)
        error_of(
            lambda d=declared: d.fit(X), ValueError, "elements must be chemical symbols such as"
        )


def check_iterators(transformer):
    X, instance = small_set(), clone(transformer)
    features = fitted(transformer).transform(X)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "n_scales=")
        assert_same(clone(transformer).fit_transform(iter(X)), features, transformer)
        assert_same(instance.fit(iter(X)).transform(atoms for atoms in X), features, transformer)
    used = iter(X)
    list(used)
    error_of(lambda: instance.transform(used), ValueError, "X is an iterator without any structure")


def check_isolated_atoms(transformer):
    """Reference atoms are structures like others, and order zero needs nothing else."""
    lone = Atoms("Si")
    invariants = any(name.endswith("max_degree") for name in transformer.get_params())
    learned = {} if invariants else {"beta": None}  # theirs is not learned
    alone = changed(transformer, order=0, **learned)
    features = fitted(alone, [lone]).transform([lone])
    assert np.isfinite(features).all()
    assert features.any()
    instance = fitted(transformer, [lone, *small_set()])
    features, table = instance.transform([lone, cubic()]), instance.feature_table_
    beyond = (table["order"] > 0).to_numpy()
    assert np.isfinite(features).all()
    assert features[1, beyond].any()
    # A map of space sees the atom itself, as do landmarks; other atoms do not.
    sees_itself = not hasattr(transformer, "transform_atoms") or "landmark" in table
    assert features[0, beyond].any() == sees_itself


def check_single_atoms(transformer):
    """One atom in a cell, and a structure that lacks elements seen in fit."""
    instance = fitted(transformer)
    features = instance.transform([Atoms("Si", cell=[3.8] * 3, pbc=True)])
    assert np.isfinite(features).all()
    table = instance.feature_table_
    assert not features[0, (table["channel"] == "Li").to_numpy()].any()


# -- processes and progress ----------------------------------------------------------------------


def check_n_jobs(transformer):
    X = small_set()
    instance = fitted(transformer)
    together = copy.copy(instance).set_params(n_jobs=2)
    np.testing.assert_array_equal(together.transform(X), instance.transform(X))
    cotangents = np.random.default_rng(0).normal(size=(5, instance.n_features_out_))
    for one, two in zip(
        instance.value_and_vjp(X, cotangents), together.value_and_vjp(X, cotangents), strict=True
    ):
        for a, b in zip(one, two, strict=True):
            np.testing.assert_array_equal(a, b)


def check_progress(transformer):
    instance = fitted(transformer)
    for verbose, expected in ((False, ""), (True, type(transformer).__name__)):
        written = io.StringIO()
        with contextlib.redirect_stderr(written):
            instance.set_params(verbose=verbose).transform(small_set())
        assert (expected in written.getvalue()) if expected else not written.getvalue()
        assert ("5/5" in written.getvalue()) == bool(verbose)


# -- among other estimators ----------------------------------------------------------------------


def check_pipelines(transformer):
    X = small_set()
    features = fitted(transformer).transform(X)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "n_scales=")
        pipeline = make_pipeline(clone(transformer), FunctionTransformer(np.arctan, validate=True))
        np.testing.assert_allclose(
            pipeline.fit_transform(X),
            np.arctan(features),
            rtol=1e-6,
        )
        union = FeatureUnion([("a", clone(transformer)), ("b", clone(transformer))])
        np.testing.assert_array_equal(union.fit_transform(X), np.hstack([features, features]))
        assert len(set(union.get_feature_names_out())) == 2 * features.shape[1]
        piped = make_pipeline(clone(transformer)).set_output(transform="pandas").fit(X)
        assert piped.transform(X).shape == features.shape


def check_set_params_then_refit(transformer, changes):
    """Every parameter that shapes the features changes them after a refit, and only then."""
    X = small_set()
    instance = fitted(transformer)
    features = instance.transform(X)
    for name, value in changes.items():
        changed = clone(transformer).set_params(**{name: value})
        result = fitted(changed).transform(X)
        assert result.shape != features.shape or not np.array_equal(result, features), name
        assert (
            fitted(changed.set_params(**{name: getattr(transformer, name)})).transform(X).shape
            == features.shape
        ), name


# -- parts and derivatives -----------------------------------------------------------------------


def check_restrict(transformer):
    X = small_set()
    instance = fitted(transformer)
    features = instance.transform(X)
    columns = np.random.default_rng(0).permutation(features.shape[1])[:7]
    for chosen in (columns, columns[:1], [0, features.shape[1] - 1]):
        part = instance.restrict(chosen)
        assert_same(part.transform(X), features[:, chosen], transformer)
        names = instance.get_feature_names_out()[chosen]
        assert part.get_feature_names_out().tolist() == names.tolist()
        assert part.n_features_out_ == len(chosen)
    assert instance.n_features_out_ == features.shape[1]
    np.testing.assert_array_equal(instance.transform(X), features)
    again = part.restrict([1])
    assert_same(again.transform(X), features[:, [-1]], transformer)
    mask = np.arange(features.shape[1]) % 5 == 2
    assert_same(instance.restrict(mask).transform(X), features[:, mask], transformer)
    assert_same(instance.restrict([-1]).transform(X), features[:, [-1]], transformer)
    for chosen in ([], ~np.ones(features.shape[1], dtype=bool)):
        error_of(lambda c=chosen: instance.restrict(c), ValueError, "chooses no feature")
    error_of(lambda: instance.restrict([features.shape[1]]), IndexError, "out of bounds")


def check_derivatives_of_features(transformer):
    precise = changed(transformer, dtype="float64", smoothing=1e-4)
    for atoms in (triclinic(), three_elements()):
        check_derivatives(fitted(precise), atoms, n_directions=2)


def check_derivatives_of_atoms(transformer):
    precise = changed(transformer, dtype="float64", smoothing=1e-4)
    if not hasattr(precise, "transform_atoms"):
        return
    whole = fitted(precise)
    part = whole.restrict(np.random.default_rng(0).permutation(whole.n_features_out_)[:9])
    twice = whole.restrict([3, min(40, whole.n_features_out_ - 1), 3])
    for instance in (whole, part, twice):
        check_atom_derivatives(instance, three_elements(), n_directions=2)


def check_values_beside_gradients(transformer):
    X = small_set()
    instance = fitted(transformer)
    features = instance.transform(X)
    cotangents = np.random.default_rng(0).normal(size=features.shape)
    both = instance.value_and_vjp(X, cotangents)
    for (value, *pair), gradients, row in zip(
        both, instance.vjp(X, cotangents), features, strict=True
    ):
        np.testing.assert_allclose(value, row, rtol=1e-5)
        for one, other in zip(pair, gradients, strict=True):
            np.testing.assert_array_equal(one, other)
            assert one.dtype == np.float64


_NEED_MORE = {"check_set_params_then_refit", "check_version_is_stored"}
_TOOLS = {"check_derivatives", "check_atom_derivatives"}
CHECKS = [
    check
    for name, check in list(globals().items())
    if name.startswith("check_") and name not in _NEED_MORE | _TOOLS
] + BAD_INPUT_CHECKS
