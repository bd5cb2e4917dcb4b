"""The checks of ``transformer_checks`` over all transformers, and model selection with them.

A new transformer is one line in ``TRANSFORMERS`` and one in ``CHANGES``.
"""

import re
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from ase import Atoms
from helpers.check_helpers import error_of, fitted, small_set
from helpers.small_structures import cubic, triclinic
from helpers.transformer_checks import CHECKS, check_set_params_then_refit, check_version_is_stored
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skwavelet import (
    AngularFeatures,
    AtomKernel,
    AtomPolynomial,
    BaggedOLSEnsemble,
    PointInvariants,
    PointScattering,
    RelaxationPathGroupKFold,
    VoxelScattering,
)
from skwavelet.structures.checks import check_structures

QUICK = {"beta": 0.5, "n_scales": 2}
TRANSFORMERS = {
    "voxel": VoxelScattering(2, 1, spacing=0.4, **QUICK),
    "voxel float64": VoxelScattering(
        2, 1, spacing=0.4, dtype="float64", normalize="lower_order", **QUICK
    ),
    "point": PointScattering(2, 1, order=2, centers="all", **QUICK),
    "point float64": PointScattering(
        2, 1, dtype="float64", normalize="lower_order", reach=None, **QUICK
    ),
    "angular": AngularFeatures(3, 4, reach=4.0),
    "angular float64": AngularFeatures(3, 4, reach=4.0, dtype="float64"),
    "invariants": PointInvariants((2, 2, 1), n=3, n_scales=2, reach=4.0),
    "invariants float64": PointInvariants(
        (2, 1, 1), n=3, n_scales=1, reach=3.5, normalize=None, dtype="float64"
    ),
    "products of invariants": AtomPolynomial(
        PointInvariants((2, 1), 2, n=2, n_scales=2, reach=4.0),
        center=True,
        max_order=3,
        max_products=5,
    ),
    "atom polynomial": AtomPolynomial(
        PointScattering(2, 1, channels="elements", powers=(1,), **QUICK)
    ),
    "atom polynomial float64": AtomPolynomial(
        AngularFeatures(2, 1, order=1, powers=(1,), reach=4.0, dtype="float64"),
        3,
        normalize=None,
        dtype="float64",
    ),
    "atom kernel": AtomKernel(
        PointScattering(2, 1, powers=(2,), **QUICK),
        90,
        kernel="polynomial",
        width=0.3,
        displacement=0.2,
        random_state=0,
        dtype="float32",
    ),
    "atom kernel float64": AtomKernel(
        AngularFeatures(2, 1, powers=(1,), reach=4.0, dtype="float64"),
        60,
        width=0.5,
        displacement=0.2,
        normalize=None,
        random_state=0,
    ),
}
"""Unfitted and quick on small_set()."""

# Another value for every parameter that shapes the features.
WAVELETS = {
    "n": (1, 2),
    "max_l": 0,
    "channels": ["number"],
    "elements": ["H", "Li", "O", "Si"],
    "order": 1,
    "powers": (1, 3),
    "beta": 0.6,
    "n_scales": 1,
    "scale_step": 0.5,
    "min_scale_step": 0,
    "pairs": "increasing",
    "normalize": None,
    "smoothing": 0.1,
    "dtype": "float64",
}
CHANGES = {
    "voxel": WAVELETS | {"spacing": 0.5, "oversampling": 3.0},
    "point": WAVELETS | {"scale_step": 1.0, "tolerance": 1e-2, "reach": 2.5, "centers": "elements"},
    "angular": {
        "n_radial": 2,
        "n_angular": 3,
        "angles": "legendre",
        "channels": "auto",
        "elements": ["H", "Li", "O", "Si"],
        "order": 1,
        "powers": (1, 3),
        "reach": 3.5,
        "normalize": None,
        "smoothing": 0.1,
        "dtype": "float64",
    },
    "invariants": {
        "n_components": (1, 1),
        "max_order": 2,
        "max_degree": 1.0,
        "densities": (2.5,),
        "n": 4,
        "n_scales": 1,
        "beta": 0.6,
        "reach": 3.5,
        "decay": 5,
        "elements": ["H", "Li", "O", "Si"],
        "normalize": None,
        "dtype": "float64",
    },
    "atom polynomial": {
        "representation": PointScattering(1, 0, **QUICK),
        "degree": 1,
        "center": True,
        "max_order": 1,
        "max_products": 2,
        "normalize": None,
        "dtype": "float64",
    },
    "atom kernel": {
        "representation": PointScattering(1, 0, **QUICK),
        "n_landmarks": 30,
        "kernel": "gaussian",
        "width": 1.0,
        "degree": 2,
        "displacement": 0.1,
        "normalize": None,
        "random_state": 1,
        "dtype": "float64",
    },
}
# What acts only where something is learned that is set by hand here, or does not act on features.
OTHERS = {"overlap", "aliasing", "landmarks", "device", "n_jobs", "verbose"}


@pytest.fixture(params=TRANSFORMERS)
def transformer(request):
    return clone(TRANSFORMERS[request.param])


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
def test_transformer(transformer, check):
    check(transformer)


def test_version_is_stored(transformer, monkeypatch):
    check_version_is_stored(transformer, monkeypatch)


@pytest.mark.parametrize("name", CHANGES)
def test_set_params_then_refit(name):
    transformer = clone(TRANSFORMERS[name])
    assert CHANGES[name].keys() == transformer.get_params(deep=False).keys() - OTHERS
    check_set_params_then_refit(transformer, CHANGES[name])


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_overflow_is_refused():
    X = small_set()
    transformer = fitted(PointScattering(2, 1, powers=(1, 400), **QUICK), X)
    error_of(
        lambda: transformer.transform(X), ValueError, r"Structure \d has features beyond float32"
    )


def test_learned_parameters_change_results():
    """overlap and aliasing act where beta and spacing are learned."""
    X = small_set()
    base = VoxelScattering(1, 0, order=1, n_scales=1, aliasing=1e-2)
    features = fitted(base, X).transform(X)
    for changes in ({"overlap": 0.2}, {"aliasing": 1e-1}):
        changed = fitted(clone(base).set_params(**changes), X).transform(X)
        assert not np.allclose(changed, features, rtol=1e-4)


# -- bad values of VoxelScattering ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n": 0}, "'n' parameter"),
        ({"n": (1, 2.5)}, "n must be a positive integer"),
        ({"n": ()}, "n must be a positive integer"),
        ({"n": (0, 1)}, "n must be a positive integer"),
        ({"max_l": -1}, "'max_l' parameter"),
        ({"order": 3}, "'order' parameter"),
        ({"powers": ()}, "powers must be positive"),
        ({"powers": (1, -1)}, "powers must be positive"),
        ({"powers": (1, np.nan)}, "powers must be positive"),
        ({"beta": 0.0}, "'beta' parameter"),
        ({"beta": "auto"}, "'beta' parameter"),
        ({"n_scales": 0}, "'n_scales' parameter"),
        ({"scale_step": 0}, "'scale_step' parameter"),
        ({"spacing": -1.0}, "'spacing' parameter"),
        ({"overlap": 1.0}, "'overlap' parameter"),
        ({"aliasing": 0}, "'aliasing' parameter"),
        ({"pairs": "some"}, "'pairs' parameter"),
        ({"oversampling": 0.5}, "'oversampling' parameter"),
        ({"normalize": "volume"}, "'normalize' parameter"),
        ({"dtype": "float16"}, "'dtype' parameter"),
        ({"n_jobs": 1.5}, "'n_jobs' parameter"),
        ({"channels": "valance"}, "Unknown channel 'valance'"),
        ({"channels": []}, "channels is empty"),
    ],
)
def test_bad_parameters(parameters, message):
    transformer = clone(TRANSFORMERS["voxel"]).set_params(**parameters)
    error_of(lambda: transformer.fit([cubic()]), ValueError, re.escape(message))


def test_memory_of_all_processes_counts(monkeypatch):
    transformer = fitted(TRANSFORMERS["voxel"], [cubic()])
    (structure,) = check_structures([cubic()])
    needed = transformer._evaluator.memory(structure)
    free = SimpleNamespace(available=1.5 * needed)
    monkeypatch.setattr("psutil.virtual_memory", lambda: free)
    assert len(transformer.transform([cubic()] * 4)) == 4
    transformer.set_params(n_jobs=2)
    assert len(transformer.transform([cubic()])) == 1
    pattern = r"Structure 0 needs .*, together with others in 2 processes .* use fewer processes"
    error_of(lambda: transformer.transform([cubic()] * 4), ValueError, pattern)
    free.available = 2.5 * needed
    assert len(transformer.transform([cubic()] * 4)) == 4


def test_one_lone_atom_teaches_no_width():
    lone = cubic()[:1]
    lone.pbc = False
    error_of(lambda: VoxelScattering().fit([lone]), ValueError, r"set beta \(Å\) by hand")


def test_grids_beyond_memory_are_refused(monkeypatch):
    transformer = fitted(VoxelScattering(spacing=0.002, order=1, **QUICK), [cubic()])
    message = r"Structure 1 needs a grid of \d+ x \d+ x \d+ voxels and about .* GiB are free; incr"
    small = Atoms("Li", cell=[1.5] * 3, pbc=True)
    for call in (
        lambda: transformer.transform([small, cubic()]),
        lambda: transformer.vjp([small, cubic()], np.zeros((2, transformer.n_features_out_))),
    ):
        error_of(call, ValueError, message)
    # What is free counts, not a fixed number.
    usual = fitted(TRANSFORMERS["voxel"], [cubic()])
    usual.transform([cubic()])

    class Scarce:
        available = 2**14

    monkeypatch.setattr("psutil.virtual_memory", Scarce)
    error_of(lambda: usual.transform([cubic()]), ValueError, "Structure 0 needs a grid of")


def test_unknown_maps():
    transformer = fitted(TRANSFORMERS["voxel"], [cubic()])
    for options, message in (
        ({"channel": "O", "first": (2, 0, 0)}, "Unknown channel 'O'; use one of Li, Si"),
        ({"channel": "Li", "first": (3, 0, 0)}, r"No wavelet \(n, l, j\) = \(3, 0, 0\)"),
        ({"channel": "Li", "first": (2, 0, 0), "second": (2, 1, 4)}, r"No wavelet .* \(2, 1, 4\)"),
        ({"channel": "Li", "first": (2, 0)}, r"No wavelet .* \(2, 0\)"),
    ):
        error_of(lambda o=options: transformer.maps(cubic(), **o), ValueError, message)


# -- model selection -----------------------------------------------------------------------------


def searched(pipeline, grid, X, y, **options):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "n_scales=")
        search = GridSearchCV(pipeline, grid, error_score="raise", **options).fit(X, y)
    return search.cv_results_["mean_test_score"]


@pytest.fixture(scope="module")
def strained_cells():
    rng = np.random.default_rng(0)
    cells = []
    for scale in np.linspace(0.95, 1.05, 6):
        atoms = triclinic() if len(cells) % 2 else cubic()
        atoms.set_cell(atoms.cell.array * scale, scale_atoms=True)
        atoms.rattle(0.05, rng=rng)
        cells.append(atoms)
    return cells, rng.normal(size=6)


@pytest.mark.parametrize(
    "grid",
    [
        {"beta": [0.4, 0.5, 0.6]},
        {"order": [0, 1, 2]},
        {"powers": [(1,), (2,)]},
        {"channels": ["auto", "number"]},
        {"normalize": ["atoms", None]},
        {"n": [1, 2, (1, 2)]},
        {"spacing": [0.3, 0.6]},
    ],
    ids=lambda grid: next(iter(grid)),
)
def test_grid_search_changes_scores(grid, strained_cells):
    pipeline = make_pipeline(clone(TRANSFORMERS["voxel"]), StandardScaler(), Ridge())
    grid = {f"voxelscattering__{name}": values for name, values in grid.items()}
    scores = searched(pipeline, grid, *strained_cells, cv=KFold(3))
    assert np.isfinite(scores).all()
    assert len(set(scores.round(12))) == len(scores)


@pytest.fixture(scope="module")
def paths(lisi):
    """Five paths of each of two compositions, their frames but the last."""
    rows = np.flatnonzero(
        [
            path[:3] in ("c00", "c36") and step < 50
            for path, step in zip(lisi.paths, lisi.steps, strict=True)
        ]
    )
    structures = [lisi.structures[i] for i in rows]
    return structures, lisi.energies[rows], lisi.paths[rows]


def coarse():
    return VoxelScattering(2, 1, beta=0.7, n_scales=2, spacing=0.6, order=1)


def test_nested_cross_validation_with_groups(paths):
    """A pipeline with groups for the folds and for the bags is what one would do by hand."""
    X, y, groups = paths
    cv = RelaxationPathGroupKFold(3, random_state=0)
    ensemble = BaggedOLSEnsemble(n_estimators=5, max_features=20, random_state=0)
    scores = cross_val_score(
        make_pipeline(coarse(), ensemble),
        X,
        y,
        groups=groups,
        cv=cv,
        params={"baggedolsensemble__groups": groups},
    )
    expected = []
    for train, test in cv.split(X, y, groups):
        assert not set(groups[train]) & set(groups[test])
        transformer = coarse().fit([X[i] for i in train])
        features = transformer.transform([X[i] for i in train])
        model = clone(ensemble).fit(features, y[train], groups=groups[train])
        expected.append(model.score(transformer.transform([X[i] for i in test]), y[test]))
    np.testing.assert_allclose(scores, expected, rtol=1e-9)
    assert scores.min() > 0.5


def test_grid_search_of_the_whole_model(paths):
    X, y, groups = paths
    pipeline = make_pipeline(coarse(), BaggedOLSEnsemble(n_estimators=3, random_state=0))
    grid = {
        "voxelscattering__beta": [0.6, 0.8],
        "baggedolsensemble__max_features": [2, 10],
    }
    search = GridSearchCV(
        pipeline, grid, cv=RelaxationPathGroupKFold(3, random_state=0), error_score="raise"
    ).fit(X, y, groups=groups, baggedolsensemble__groups=groups)
    assert len(set(search.cv_results_["mean_test_score"].round(12))) == 4
    assert search.best_estimator_[0].beta_ == search.best_params_["voxelscattering__beta"]
    assert np.isfinite(search.predict(X)).all()
