"""Functions of the features of every atom: their formulas, derivatives, and work with models."""

from itertools import combinations_with_replacement

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from helpers.finite_differences import check_atom_derivatives, check_derivatives
from helpers.small_structures import CELLS, random_rotation, rotated
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import FeatureUnion, make_pipeline

from skwavelet import (
    AngularFeatures,
    AtomPolynomial,
    EnergyForceRegressor,
    FeatureScaler,
    GreedyOLSRegressor,
    PointScattering,
    ScatteringCalculator,
    VoxelScattering,
    prune,
)
from skwavelet.structures.checks import check_structures

STRUCTURES = [CELLS[name]() for name in ("triclinic", "three_elements", "slab", "molecule")]
SMALL = PointScattering(
    (1, 2), 1, channels="elements", powers=(1,), n_scales=2, beta=0.6, dtype="float64"
)
KINDS = {
    "products": AtomPolynomial(SMALL, dtype="float64"),
    "products of three": AtomPolynomial(
        AngularFeatures(2, 1, order=1, channels=["number"], reach=4.2, dtype="float64"),
        3,
        normalize=None,
        dtype="float64",
    ),
}


def fitted(kind, **parameters):
    return clone(KINDS[kind]).set_params(**parameters).fit(STRUCTURES)


def without_noise(transformer, atoms):
    """Leave out features that are zero but for the rounding of sums that cancel."""
    features = np.abs(transformer.transform([atoms])[0])
    return transformer.restrict(np.flatnonzero(features > 1e-10 * features.max()))


# -- what they are -------------------------------------------------------------------------------


@pytest.mark.parametrize("normalize", ["atoms", None])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_products_of_one_feature_are_the_representation(normalize, dtype):
    inner = PointScattering(2, 1, n_scales=2, beta=0.6, normalize=normalize, dtype=dtype)
    expected = clone(inner).fit(STRUCTURES)
    same = AtomPolynomial(inner, 1, normalize=normalize, dtype=dtype).fit(STRUCTURES)
    assert same.get_feature_names_out().tolist() == expected.get_feature_names_out().tolist()
    # Sums of the same terms, in another order.
    tolerance = {"rtol": 1e-6 if dtype == "float32" else 1e-13, "atol": 1e-20}
    np.testing.assert_allclose(
        same.transform(STRUCTURES), expected.transform(STRUCTURES), **tolerance
    )
    for one, other in zip(
        same.transform_atoms(STRUCTURES), expected.transform_atoms(STRUCTURES), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    cotangents = np.random.default_rng(0).normal(size=(4, expected.n_features_out_))
    pairs = zip(
        same.value_and_vjp(STRUCTURES, cotangents),
        expected.value_and_vjp(STRUCTURES, cotangents),
        strict=True,
    )
    for one, other in pairs:
        for a, b in zip(one, other, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4 if dtype == "float32" else 1e-9, atol=1e-6)


@pytest.mark.parametrize("kind", ["products", "products of three"])
def test_products_by_their_definition(kind):
    transformer = fitted(kind)
    inner = clone(transformer.representation).fit(STRUCTURES)
    table, names = inner.feature_table_, inner.get_feature_names_out()
    x = inner.transform_atoms(STRUCTURES)
    every = np.concatenate(x)
    size = np.sqrt((every**2).sum(axis=0) / np.maximum((every != 0).sum(axis=0), 1))
    size[size == 0] = 1
    expected = {name: [v[:, a].sum() for v in x] for a, name in enumerate(names)}
    for degree in range(2, transformer.degree + 1):
        for factors in combinations_with_replacement(range(len(names)), degree):
            part = table.iloc[list(factors)]
            if (part["order"] == 0).any() or part["center"].nunique() > 1:
                continue
            scale = size[list(factors)].prod() ** (1 / degree - 1)
            sums = [scale * v[:, list(factors)].prod(axis=1).sum() for v in x]
            expected["*".join(names[list(factors)])] = sums
    found = list(transformer.get_feature_names_out())
    assert len(found) == len(expected)
    features = transformer.transform(STRUCTURES)
    if transformer.normalize == "atoms":
        features *= np.array([[len(atoms)] for atoms in STRUCTURES])
    in_order = [expected[feature] for feature in found]
    np.testing.assert_allclose(features.T, in_order, rtol=1e-11, atol=1e-20)


def test_products_of_different_centres_vanish():
    """What is left out is zero for every atom."""
    inner = clone(SMALL).fit(STRUCTURES)
    centers = inner.feature_table_["center"].fillna("").to_numpy()
    a, b = (np.flatnonzero(centers == element) for element in ("Li", "Si"))
    for x in inner.transform_atoms(STRUCTURES):
        assert not (x[:, a, None] * x[:, None, b]).any()


def test_the_table_describes_the_factors():
    transformer = fitted("products of three")
    row, last = (
        transformer.feature_table_.iloc[-1],
        transformer.representation_.feature_table_.iloc[-1],
    )
    factor = transformer.representation_.get_feature_names_out()[-1]
    assert transformer.get_feature_names_out()[-1] == "*".join([factor] * 3)
    assert [row[f"factor{k}"] for k in (1, 2, 3)] == [factor] * 3
    assert (row["degree"], row["q"], row["order"]) == (3, 3 * last["q"], last["order"])
    assert (row["channel"], row["center"]) == (last["channel"], last["center"])


def test_representations_without_atoms_are_refused():
    for wrong in (VoxelScattering(), Ridge(), FeatureScaler()):
        with pytest.raises(ValueError, match="The 'representation' parameter of AtomPolynomial"):
            AtomPolynomial(wrong).fit(STRUCTURES)


# -- invariances and derivatives -----------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CELLS)
def test_invariances(kind, name):
    atoms, transformer = CELLS[name](), fitted(kind, normalize="atoms")
    shifted = atoms.copy()
    shifted.positions += [0.7, -12.3, 5.1]
    order = np.random.default_rng(0).permutation(len(atoms))
    others = [shifted, atoms[order], rotated(atoms, random_rotation(3))]
    others += [rotated(atoms, np.diag([1.0, -1.0, 1.0])), atoms * (1 + atoms.pbc)]
    expected = transformer.transform([atoms])
    scale = np.abs(expected).max()
    for features in transformer.transform(others):
        np.testing.assert_allclose(features, expected[0], rtol=1e-8, atol=1e-11 * scale)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CELLS)
def test_derivatives(kind, name):
    atoms = CELLS[name]()
    transformer = without_noise(fitted(kind), atoms)
    check_derivatives(transformer, atoms, step=1e-4)
    check_atom_derivatives(transformer, atoms)


@pytest.mark.parametrize("kind", KINDS)
def test_all_directions_at_once_are_those_taken_alone(kind):
    """Many directions go by way of the derivatives of every atom, few do not."""
    atoms, transformer = CELLS["triclinic"](), fitted(kind)
    moves = np.concatenate([np.eye(9).reshape(9, 3, 3), np.zeros((9, 3, 3))])
    strains = np.concatenate([np.zeros((9, 3, 3)), np.eye(9).reshape(9, 3, 3)])
    (together,) = transformer.jvp([atoms], [moves], [strains])
    alone = [
        transformer.jvp([atoms], [m[None]], [s[None]])[0][0]
        for m, s in zip(moves, strains, strict=True)
    ]
    np.testing.assert_allclose(together, alone, rtol=1e-10, atol=1e-13 * np.abs(together).max())


@pytest.mark.parametrize("kind", KINDS)
def test_blocks_of_atoms_change_nothing(kind, monkeypatch):
    atoms, transformer = CELLS["triclinic"]() * (2, 1, 1), fitted(kind)
    cotangent = np.random.default_rng(0).normal(size=(1, transformer.n_features_out_))
    whole = transformer.value_and_vjp([atoms], cotangent)[0]
    monkeypatch.setattr("skwavelet.representations.atomwise.evaluator.TERM_BYTES", 1)
    for part, expected in zip(transformer.value_and_vjp([atoms], cotangent)[0], whole, strict=True):
        np.testing.assert_allclose(part, expected, rtol=1e-9, atol=1e-12 * np.abs(expected).max())


@pytest.mark.parametrize("kind", KINDS)
def test_single_precision(kind):
    """Of the features of the atoms and of the sums."""
    double = fitted(kind)
    single = fitted(kind, dtype="float32", representation__dtype="float32")
    cotangents = np.random.default_rng(0).normal(size=(4, double.n_features_out_))
    expected, found = (t.transform(STRUCTURES) for t in (double, single))
    assert found.dtype == np.float32
    assert np.linalg.norm(found - expected) <= 1e-5 * np.linalg.norm(expected)
    for one, other in zip(
        single.vjp(STRUCTURES, cotangents), double.vjp(STRUCTURES, cotangents), strict=True
    ):
        for a, b in zip(one, other, strict=True):
            assert np.linalg.norm(a - b) <= 1e-4 * np.linalg.norm(b)
    # Energies are computed in double precision throughout.
    precise = single.in_double().transform(STRUCTURES)
    assert precise.dtype == np.float64
    assert np.linalg.norm(precise - expected) <= 1e-6 * np.linalg.norm(expected)


@pytest.mark.parametrize("kind", KINDS)
def test_features_and_slopes_are_continuous_as_an_atom_enters_the_reach(kind):
    transformer = fitted(kind)
    inner = transformer.representation_
    reach = inner.reaches_[-1] if hasattr(inner, "reaches_") else inner.reach
    direction = np.array([0.6, 0.0, 0.8])

    def features_and_slope(r):
        atoms = Atoms("LiSiSi", [[0, 0, 0], [1.1, 1.5, -1.2], r * direction])
        move = np.zeros((1, 3, 3))
        move[0, 2] = direction
        return transformer.transform([atoms])[0], transformer.jvp([atoms], [move])[0][0]

    outside, slope_outside = features_and_slope(reach + 1e-9)
    scale = np.abs(features_and_slope(0.6 * reach)[1]).max()
    assert np.abs(slope_outside).max() < 1e-9 * scale
    near = [features_and_slope(reach - distance) for distance in (4e-3, 2e-3, 1e-3)]
    rises = [np.abs(features - outside).max() for features, _ in near]
    slopes = [np.abs(slope).max() for _, slope in near]
    assert min(rises) > 0
    # Values fall at least quadratically, slopes at least linearly.
    assert (np.diff(np.log(rises)) < np.log(0.3)).all()
    assert (np.diff(np.log(slopes)) < np.log(0.6)).all()


# -- parts ---------------------------------------------------------------------------------------


def test_some_products_need_their_factors_only():
    whole = fitted("products")
    expected = whole.transform(STRUCTURES)
    columns = np.array([expected.shape[1] - 2, 0, 7, 60])
    part = whole.restrict(columns)
    np.testing.assert_allclose(part.transform(STRUCTURES), expected[:, columns], rtol=1e-12)
    assert part.get_feature_names_out().tolist() == whole.get_feature_names_out()[columns].tolist()
    factors = {f for name in part.get_feature_names_out() for f in name.split("*")}
    assert set(part.representation_.get_feature_names_out()) == factors
    (structure,) = check_structures(STRUCTURES[:1])
    assert part._evaluator.inner.atom_values(structure).shape == (3, len(factors))
    assert whole.representation_.n_features_out_ > len(factors)


# -- models --------------------------------------------------------------------------------------


def crystals(seed=0):
    """Rattled silicon with the energy of pairs and of a product: squares of sums over pairs."""
    rng = np.random.default_rng(seed)
    structures = []
    for a in np.linspace(5.2, 5.7, 10):
        atoms = bulk("Si", cubic=True, a=a)
        atoms.positions += rng.normal(scale=0.15, size=(8, 3))
        structures.append(atoms)
    return structures


MODEL = AngularFeatures(3, 1, order=1, channels=["number"], powers=(1,), dtype="float64")


@pytest.fixture(scope="module")
def embedded():
    """Crystals whose energy is a square of pair sums: no linear function of those."""
    structures = crystals()
    pairs = clone(MODEL).fit(structures)
    size = np.concatenate(pairs.transform_atoms(structures)).mean(axis=0)
    truth = AtomPolynomial(MODEL, dtype="float64").fit(structures)
    place = (
        truth.get_feature_names_out()
        .tolist()
        .index("*".join(pairs.get_feature_names_out()[[1, 2]]))
    )
    weights = np.zeros((10, truth.n_features_out_))
    weights[:, place] = 0.1 / (size[1] * size[2])
    triples = truth.value_and_vjp(structures, weights)
    energies = np.array([value @ w for (value, _, _), w in zip(triples, weights, strict=True)])
    return structures, energies, [-8 * gradient for _, gradient, _ in triples]


def test_greedy_models_find_the_product_and_are_pruned_to_it(embedded):
    structures, energies, forces = embedded
    linear, products = (
        EnergyForceRegressor(
            make_pipeline(AtomPolynomial(MODEL, degree, dtype="float64"), FeatureScaler()),
            GreedyOLSRegressor(4, validation_fraction=None),
            n_directions="all",
            random_state=0,
        ).fit(structures[:6], energies[:6], forces=forces[:6])
        for degree in (1, 2)
    )
    unseen, expected = structures[6:], np.array(forces[6:])
    assert np.abs(products.predict_forces(unseen) - expected).max() < 1e-6 * np.abs(expected).max()
    assert np.abs(linear.predict_forces(unseen) - expected).max() > 1e-2 * np.abs(expected).max()
    small = prune(products)
    assert small.features_[0].n_features_out_ <= 4
    np.testing.assert_allclose(small.predict(unseen), products.predict(unseen), rtol=1e-9)
    atoms = unseen[0].copy()
    atoms.calc = ScatteringCalculator(small)
    np.testing.assert_allclose(atoms.get_forces(), expected[0], atol=1e-6 * np.abs(expected).max())


def test_unions_and_searches_over_inner_parameters(embedded):
    structures, energies, _ = embedded
    union = FeatureUnion([("pairs", MODEL), ("products", AtomPolynomial(MODEL, dtype="float64"))])
    model = make_pipeline(union, FeatureScaler(), Ridge(1e-8))
    grid = {
        "featureunion__products__representation__n_radial": [2, 3],
        "featureunion__products__degree": [1, 2],
    }
    search = GridSearchCV(model, grid, cv=3, error_score="raise").fit(structures, energies)
    assert search.best_params_ == {
        "featureunion__products__representation__n_radial": 3,
        "featureunion__products__degree": 2,
    }
    atoms = structures[0].copy()
    atoms.calc = ScatteringCalculator(search)
    assert atoms.get_potential_energy() == pytest.approx(8 * energies[0], rel=1e-3)
