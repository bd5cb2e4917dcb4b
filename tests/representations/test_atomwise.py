"""Functions of the features of every atom: their formulas, derivatives, and work with models."""

import copy
from dataclasses import replace
from itertools import combinations_with_replacement
from types import SimpleNamespace

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
    AtomKernel,
    AtomPolynomial,
    EnergyForceRegressor,
    FeatureScaler,
    GreedyOLSRegressor,
    PointInvariants,
    PointScattering,
    ScatteringCalculator,
    VoxelScattering,
    prune,
)
from skwavelet.potentials.energy_model import energy_model
from skwavelet.representations.atomwise.evaluator import AtomwiseEvaluator
from skwavelet.representations.atomwise.kernels import GaussianKernel
from skwavelet.representations.atomwise.landmarks import choose, shares
from skwavelet.representations.atomwise.polynomial_kernels import ATOMS
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
    "gaussian kernel": AtomKernel(SMALL, 30, width=1.0, displacement=0.2, random_state=0),
    "polynomial kernel": AtomKernel(
        AngularFeatures(2, 2, powers=(1,), channels=["number"], reach=4.2, dtype="float64"),
        30,
        kernel="polynomial",
        width=0.5,
        landmarks="leverage",
        displacement=0.2,
        normalize=None,
        random_state=0,
    ),
}
PRODUCTS = ["products", "products of three"]
KERNELS = ["gaussian kernel", "polynomial kernel"]


def fitted(kind, **parameters):
    return clone(KINDS[kind]).set_params(**parameters).fit(STRUCTURES)


def without_noise(transformer, atoms):
    """Leave out features that are zero but for the rounding of sums that cancel."""
    features = np.abs(transformer.transform([atoms])[0])
    return transformer.restrict(np.flatnonzero(features > 1e-10 * features.max()))


@pytest.mark.parametrize("kind", KINDS)
def test_preparation_computes_the_features_of_an_atom(kind, monkeypatch):
    ran = []  # numbers of atoms
    group_sums = AtomwiseEvaluator.group_sums

    def record(self, structure, groups):
        ran.append(len(structure))
        return group_sums(self, structure, groups)

    monkeypatch.setattr(AtomwiseEvaluator, "group_sums", record)
    fitted(kind)._evaluator.prepare("values")
    assert ran[-1] == 1


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


@pytest.mark.parametrize("kind", PRODUCTS)
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


def textbook_kernel(transformer, y, z):
    """k of standardized features, one pair after the other."""
    width = transformer.width * np.sqrt(y.shape[1])
    if transformer.kernel == "gaussian":
        return np.array([[np.exp(-((a - b) ** 2).sum() / 2 / width**2) for b in z] for a in y])
    return np.array([[(1 + (a * b).sum() / width**2) ** transformer.degree for b in z] for a in y])


def dense_kernels(transformer, structures):
    """Kernels among all atoms of one element (0 otherwise), and whose atoms they are."""
    x = np.concatenate(
        clone(transformer.representation).fit(structures).transform_atoms(structures)
    )
    symbols = np.concatenate([atoms.symbols for atoms in structures])
    kernels = np.zeros((len(x), len(x)))
    for symbol in set(symbols):
        rows = np.flatnonzero(symbols == symbol)
        part = x[rows]
        varying = part.std(axis=0) > 1e-9
        y = (part[:, varying] - part[:, varying].mean(axis=0)) / part[:, varying].std(axis=0)
        if not varying.any():
            y = np.zeros((len(rows), 1))
        kernels[np.ix_(rows, rows)] = textbook_kernel(transformer, y, y)
    return kernels, np.repeat(np.arange(len(structures)), [len(atoms) for atoms in structures])


def several():
    rng = np.random.default_rng(0)
    structures = []
    for atoms in STRUCTURES * 3:
        atoms = atoms.copy()
        atoms.positions += rng.normal(scale=0.1, size=atoms.positions.shape)
        structures.append(atoms)
    return structures


@pytest.mark.parametrize("kind", KERNELS)
def test_products_of_features_are_kernels(kind):
    """With every atom a landmark nothing is left out, whatever the order of the landmarks."""
    structures = several()
    transformer = clone(KINDS[kind]).set_params(n_landmarks=1000, displacement=0).fit(structures)
    kernels, _ = dense_kernels(transformer, structures)
    features = np.concatenate(transformer.transform_atoms(structures))
    assert features.shape == (len(kernels), len(kernels))
    np.testing.assert_allclose(features @ features.T, kernels, rtol=1e-7, atol=1e-7 * kernels.max())


@pytest.mark.parametrize("kind", KERNELS)
def test_some_landmarks_project_the_kernel(kind):
    """k(x, Z) K^-1 k(Z, x') of the textbook, with Z the landmarks that were chosen."""
    structures = several()
    whole = clone(KINDS[kind]).set_params(n_landmarks=1000, displacement=0).fit(structures)
    part = clone(whole).set_params(n_landmarks=15).fit(structures)
    assert part.n_landmarks_ == part.n_features_out_ == 15
    kernels, _ = dense_kernels(whole, structures)
    features = np.concatenate(part.transform_atoms(structures))
    own = np.square(features).sum(axis=1)
    landmarks = np.flatnonzero(np.isclose(own, kernels.diagonal(), rtol=1e-7))
    assert len(landmarks) == 15
    among, to_all = kernels[np.ix_(landmarks, landmarks)], kernels[landmarks]
    expected = to_all.T @ np.linalg.solve(among, to_all)
    np.testing.assert_allclose(features @ features.T, expected, atol=1e-6 * kernels.max())


@pytest.mark.parametrize("kind", KERNELS)
def test_ridge_is_kernel_ridge_of_sums_over_atoms(kind):
    structures, alpha = several(), 1e-3
    energies = np.random.default_rng(0).normal(size=len(structures))
    transformer = clone(KINDS[kind]).set_params(n_landmarks=1000, displacement=0, normalize=None)
    model = make_pipeline(transformer, Ridge(alpha, fit_intercept=False))
    model.fit(structures[:9], energies[:9])
    # The features were learned from the first nine: so is the kernel, of atoms they contain.
    again = clone(transformer).fit(structures[:9])
    kernels, of = dense_kernels(again, structures[:9])
    sums = np.array([[kernels[np.ix_(of == i, of == j)].sum() for j in range(9)] for i in range(9)])
    expected = sums @ np.linalg.solve(sums + alpha * np.eye(9), energies[:9])
    np.testing.assert_allclose(model.predict(structures[:9]), expected, rtol=1e-6, atol=1e-7)


def test_landmarks_are_shared_out_in_proportion():
    assert shares(np.array([10, 30, 60]), 10).tolist() == [1, 3, 6]
    assert shares(np.array([1, 999]), 10).tolist() == [1, 10]
    assert shares(np.array([5, 0, 5]), 7).tolist() == [4, 0, 3]
    assert shares(np.array([5, 3]), 100).tolist() == [5, 3]


@pytest.mark.parametrize("method", ["random", "farthest", "leverage"])
def test_rare_atoms_become_landmarks(method):
    """Of two clusters, a large and a small one: the methods differ in how they share them out."""
    rng = np.random.default_rng(0)
    y = np.concatenate([rng.normal(size=(490, 3)), 20 + 3 * rng.normal(size=(10, 3))])
    kernel = GaussianKernel(2.0)
    chosen = choose(y, 40, method, kernel, np.random.default_rng(1))
    assert len(set(chosen)) == 40
    n_rare = (chosen >= 490).sum()
    assert (n_rare <= 3) if method == "random" else (n_rare >= 5)
    # The farthest from the mean, the farthest from both, ...
    if method == "farthest":
        distances = np.linalg.norm(y, axis=1)
        assert chosen[0] == np.argmax(distances)
        assert chosen[1] == np.argmax(
            np.minimum(distances, np.linalg.norm(y - y[chosen[0]], axis=1))
        )


def test_landmarks_are_chosen_as_asked():
    structures = several()
    found = [
        AtomKernel(SMALL, 10, landmarks=method, random_state=0)
        .fit(structures)
        .transform(structures)
        for method in ("random", "farthest", "leverage")
    ]
    assert len({features.tobytes() for features in found}) == 3


def test_same_atoms_are_one_landmark():
    """A crystal has one atom, whatever its cell; the other landmarks come from copies."""
    crystals = [bulk("Si", cubic=True, a=a) * (n, 1, 1) for a in (5.4, 5.5) for n in (1, 2)]
    inner = PointScattering((1, 2), 1, powers=(2,), centers="all", dtype="float64")
    own = AtomKernel(inner, 20, displacement=0, width=1.0).fit(crystals)
    assert own.n_landmarks_ == 2
    assert AtomKernel(inner, 20, random_state=0, width=1.0).fit(crystals).n_landmarks_ > 10


def test_copies_supply_landmarks_that_the_structures_lack():
    structures = several()
    n_atoms = sum(map(len, structures))
    own = AtomKernel(SMALL, n_atoms + 50, displacement=0, random_state=0).fit(structures)
    assert own.n_landmarks_ == n_atoms
    more = clone(own).set_params(displacement=0.1).fit(structures)
    assert more.n_landmarks_ == n_atoms + 50
    again = clone(more).fit(structures)
    np.testing.assert_array_equal(again.transform(structures), more.transform(structures))


def test_elements_without_atoms_have_no_landmarks():
    pair = [CELLS["cubic"](), CELLS["triclinic"]()]
    inner = clone(SMALL).set_params(elements=["Li", "O", "Si"])
    transformer = AtomKernel(inner, 5, displacement=0, random_state=0).fit(pair)
    assert set(transformer.feature_table_["center"]) == {"Li", "Si"}
    atoms = CELLS["three_elements"]()
    (values,) = transformer.transform_atoms([atoms])
    oxygen = np.array(atoms.symbols) == "O"
    assert not values[oxygen].any()
    assert values[~oxygen].any(axis=1).all()


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


@pytest.mark.parametrize("representation", [SMALL, PointInvariants((3, 2), dtype="float64")])
@pytest.mark.parametrize("degree", [2, 3])
def test_gradients_of_all_atoms_are_the_sum_of_those_of_each(representation, degree):
    """Of more atoms of each element than are worked on together, and of the first of them."""
    atoms = CELLS["three_elements"]()
    many = atoms * (5, 4, 3)
    many.rattle(0.05, seed=1)
    polynomial = AtomPolynomial(representation, degree, center=True, dtype="float64").fit([atoms])
    evaluator, (structure,) = polynomial._evaluator, check_structures([many])
    assert min(np.bincount(evaluator.kinds(structure))) > ATOMS
    cotangent = np.random.default_rng(2).normal(size=polynomial.n_features_out_)
    for n_atoms in (len(many), len(many) - 7):
        together = evaluator.partial_vjp(structure, cotangent, n_atoms)
        each = evaluator.atom_vjp(structure, np.tile(cotangent, (n_atoms, 1)))
        for one, other in zip(together, (each[0].sum(axis=0), *each[1:]), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-10 * abs(other).max())


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
def test_memory_of_derivatives_counts(kind, monkeypatch):
    """What a crystal's derivatives take is known before, to a factor of two."""
    atoms, transformer = bulk("Si", cubic=True) * (2, 2, 2), fitted(kind)
    (structure,) = check_structures([atoms])
    evaluator = transformer._evaluator
    jacobian = evaluator.inner.atom_jacobian(structure)
    taken = jacobian.values.size * 8 + 3 * len(atoms) * evaluator.n_functions * 8
    needed = evaluator.memory(structure, "jvp") - evaluator.memory(structure, "values")
    assert 0.9 * taken <= needed <= 2 * taken + evaluator.inner.memory(structure, "jvp")
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=taken / 2))
    monkeypatch.setattr("skwavelet.representations.evaluator.NEGLIGIBLE_BYTES", 0)
    with pytest.raises(ValueError, match=r"Structure 0 .* GiB are free"):
        transformer.jvp([atoms], [np.zeros((1, len(atoms), 3))])


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
    single, evaluator = copy.copy(double), double._evaluator
    single.dtype = "float32"
    single._evaluator = replace(
        evaluator, dtype="float32", inner=replace(evaluator.inner, dtype="float32")
    )
    cotangents = np.random.default_rng(0).normal(size=(4, double.n_features_out_))
    expected, found = (t.transform(STRUCTURES) for t in (double, single))
    assert found.dtype == np.float32
    assert np.linalg.norm(found - expected) <= 1e-5 * np.linalg.norm(expected)
    for one, other in zip(
        single.vjp(STRUCTURES, cotangents), double.vjp(STRUCTURES, cotangents), strict=True
    ):
        for a, b in zip(one, other, strict=True):
            # Features of landmarks are differences of kernels, of random weights here.
            tolerance = 1e-3 if "kernel" in kind else 1e-4
            assert np.linalg.norm(a - b) <= tolerance * np.linalg.norm(b)
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


@pytest.mark.parametrize("kind", KERNELS)
def test_features_of_some_elements_need_their_landmarks_only(kind):
    whole = fitted(kind)
    expected, names = whole.transform(STRUCTURES), whole.get_feature_names_out()
    rng = np.random.default_rng(0)
    silicon = np.flatnonzero(whole.feature_table_["center"] == "Si")
    rounding = 1e-12 * np.abs(expected).max()
    for columns in (rng.permutation(len(names))[:12], rng.permutation(silicon)[:3]):
        part = whole.restrict(columns)
        np.testing.assert_allclose(
            part.transform(STRUCTURES), expected[:, columns], rtol=1e-9, atol=rounding
        )
        assert part.get_feature_names_out().tolist() == names[columns].tolist()
        # Some features are differences of kernels 10^5 times as large as their derivatives, so
        # that of 16 digits 10 or 11 are left.
        check_derivatives(part, STRUCTURES[0], step=1e-4, adjoint_tolerance=1e-9)
    assert part._evaluator.n_functions == len(silicon)
    # All of them in another order are no triangle any more.
    turned = whole.restrict(np.arange(len(names))[::-1])
    np.testing.assert_allclose(turned.transform(STRUCTURES), expected[:, ::-1], atol=1e-9)


@pytest.mark.parametrize("kind", KERNELS)
def test_kernels_are_combined_beforehand(kind):
    whole = fitted(kind)
    part = whole.restrict(np.random.default_rng(1).permutation(whole.n_features_out_)[:20])
    for transformer in (whole, part):
        matrix = np.random.default_rng(0).normal(size=(transformer.n_features_out_, 2))
        few, other = transformer.combined(matrix)
        assert few.n_features_out_ == len(other) == 2 * len(few.elements_)
        expected = transformer.transform(STRUCTURES) @ matrix
        np.testing.assert_allclose(few.transform(STRUCTURES) @ other, expected, rtol=1e-8)
        assert few.set_output(transform="pandas").transform(STRUCTURES).shape == (4, len(other))
        cotangents = np.random.default_rng(2).normal(size=(4, 2))
        pairs = zip(
            few.vjp(STRUCTURES, cotangents @ other.T),
            transformer.vjp(STRUCTURES, cotangents @ matrix.T),
            strict=True,
        )
        for one, expected in pairs:
            for a, b in zip(one, expected, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-8 * np.abs(b).max())
    same, unchanged = whole.combined(np.eye(whole.n_features_out_))
    assert same is whole
    assert unchanged.shape == (whole.n_features_out_,) * 2


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


def test_kernels_learn_what_is_not_linear_and_drive_a_calculator(embedded):
    structures, energies, forces = embedded
    errors = {}
    for name, features in {
        "linear": AtomPolynomial(MODEL, 1, dtype="float64"),
        "kernel": AtomKernel(MODEL, 100, random_state=0),
    }.items():
        model = EnergyForceRegressor(features, Ridge(1e-12), n_directions="all", random_state=0)
        model.fit(structures[:7], energies[:7], forces=forces[:7])
        difference = np.array(model.predict_forces(structures[7:])) - forces[7:]
        errors[name] = np.abs(difference).max() / np.abs(forces[7:]).max()
    assert errors["kernel"] < 0.02 < errors["linear"], errors
    # Forces are the derivatives of the energies, at the default width too.
    atoms = structures[7].copy()
    atoms.calc = ScatteringCalculator(prune(model))
    assert energy_model(model).chain.for_energies[0][0].n_features_out_ == 1
    force, step, energy = atoms.get_forces()[3, 1], 1e-3, []
    for sign in (1, -1):
        atoms.positions[3, 1] += sign * step
        energy.append(atoms.get_potential_energy())
        atoms.positions[3, 1] -= sign * step
    assert force == pytest.approx((energy[1] - energy[0]) / (2 * step), rel=1e-4)
