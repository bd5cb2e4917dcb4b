"""AngularFeatures against explicit sums over triplets, and what is its own."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from ase import Atoms
from ase.build import bulk
from helpers.angular_blocks import gaussians, reference_sums
from helpers.neighbor_pairs import pairs_within
from helpers.small_structures import CELLS
from scipy.special import eval_legendre

from skwavelet import AngularFeatures
from skwavelet.structures.checks import check_structures
from skwavelet.structures.directions import Directions

# The smallest distance, where the radial Gaussians begin, is 1.6 Å.
ELEMENTS = [Atoms("LiSi", [[0, 0, 0], [0, 0, 2.4]]), Atoms("OSi", [[0, 0, 0], [0, 0, 1.6]])]


def cutoff(r, reach):
    return 0.5 * (1 + np.cos(np.pi * r / reach))


def reference_features(atoms, fitted):
    """Evaluate every row of the feature table from its definition; no smoothing, not divided."""
    R, A, reach = fitted.n_radial, fitted.n_angular, fitted.reach
    spacing = (reach - 1.6) / R
    radial_centers = 1.6 + spacing * np.arange(R)
    cosines = np.linspace(-1, 1, A) if A > 1 else np.zeros(1)
    width = 1 / (A - 1) if A > 1 else 1.0
    symbols, channels = atoms.get_chemical_symbols(), list(fitted.channels_)
    weights = fitted.channels_.to_dict()
    pairs = dict.fromkeys(product(range(len(atoms)), channels, range(R)), 0.0)
    triplets = {}
    neighbors = {i: [] for i in range(len(atoms))}
    for i, k, vector in pairs_within(atoms, reach):
        neighbors[i].append((k, vector, np.linalg.norm(vector)))

    def radial(r):
        gaussians = np.exp(-((r - radial_centers) ** 2) / (2 * (spacing / 2) ** 2))
        return gaussians * cutoff(r, reach)

    def angular(cosine):
        if fitted.angles == "legendre":
            return eval_legendre(np.arange(A), cosine)
        return np.exp(-((cosine - cosines) ** 2) / (2 * width**2))

    for i, hood in neighbors.items():
        blocks = {(c, p): np.zeros((R, A)) for c, p in product(channels, channels)}
        for place, (k, to_k, r_k) in enumerate(hood):
            for c in channels:
                for g, value in enumerate(weights[c][symbols[k]] * radial(r_k)):
                    pairs[i, c, g] += value
            for other, (j, to_j, r_j) in enumerate(hood):
                if place == other:
                    continue
                cosine = np.clip(to_k @ to_j / (r_k * r_j), -1, 1)
                term = np.outer(radial(r_k), angular(cosine)) * cutoff(r_j, reach)
                for c, p in blocks:
                    blocks[c, p] += weights[c][symbols[k]] * weights[p][symbols[j]] * term
        for (c, p), block in blocks.items():
            triplets |= {(i, c, p, g, a): block[g, a] for g, a in np.ndindex(R, A)}

    def power(value, q):
        return value * abs(value) ** (q - 1) if value else 0.0

    values = []
    for row in fitted.feature_table_.itertuples(index=False):
        if row.order == 0:
            values.append(sum(abs(weights[row.channel][s]) ** row.q for s in symbols))
            continue
        centers = [i for i, s in enumerate(symbols) if s == row.center]
        g = int(np.argmin(abs(radial_centers - row.r)))
        if row.order == 1:
            values.append(sum(power(pairs[i, row.channel, g], row.q) for i in centers))
        else:
            a = row.l if fitted.angles == "legendre" else int(np.argmin(abs(cosines - row.cos)))
            keys = [(i, row.channel, row.partner, g, a) for i in centers]
            values.append(sum(power(triplets[key], row.q) for key in keys))
    return np.array(values)


def fitted(**options):
    defaults = {"n_radial": 3, "n_angular": 4, "reach": 4.2, "smoothing": 1e-14}
    options = defaults | {"dtype": "float64", "normalize": None} | options
    return AngularFeatures(**options).fit(ELEMENTS)


@pytest.mark.parametrize("angles", ["gaussian", "legendre"])
@pytest.mark.parametrize("name", CELLS)
def test_features_are_the_sums_over_triplets(name, angles):
    atoms, features = CELLS[name](), fitted(angles=angles)
    expected = reference_features(atoms, features)
    assert np.count_nonzero(expected[features.feature_table_["order"] == 2]) > 100
    np.testing.assert_allclose(
        features.transform([atoms])[0], expected, rtol=1e-9, atol=1e-10 * expected.max()
    )


@pytest.mark.parametrize(
    "options",
    [
        {"channels": ["number"], "powers": (1.5, 3), "n_angular": 1},
        {"channels": {"charge": {"Li": 1, "Si": -2, "O": -0.5}}, "n_radial": 1},
        {"order": 1, "channels": "auto"},
        {"reach": 6.0, "channels": ["kinetic"], "n_angular": 9, "angles": "legendre"},
    ],
    ids=["powers", "negative weights", "pairs only", "many degrees"],
)
def test_options_mean_what_they_say(options):
    atoms, features = CELLS["three_elements"](), fitted(**options)
    expected = reference_features(atoms, features)
    np.testing.assert_allclose(
        features.transform([atoms])[0], expected, rtol=1e-9, atol=1e-10 * expected.max()
    )
    assert features.feature_table_["order"].max() == options.get("order", 2)


@pytest.mark.parametrize("atoms", [bulk("Si"), bulk("Li")], ids=["two atoms", "one atom"])
def test_cells_smaller_than_the_reach(atoms):
    features = fitted(channels=["number"], reach=5.0)
    assert features.reach > 1.2 * atoms.cell.lengths().max()
    expected = reference_features(atoms, features)
    np.testing.assert_allclose(
        features.transform([atoms])[0], expected, rtol=1e-9, atol=1e-10 * expected.max()
    )


def test_single_precision_is_close_to_double():
    atoms = CELLS["three_elements"]()
    for angles in ("gaussian", "legendre"):
        single, double = (
            fitted(dtype=d, smoothing=1e-4, angles=angles) for d in ("float32", "float64")
        )
        features, expected = single.transform([atoms]), double.transform([atoms])
        assert features.dtype == np.float32
        np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-6 * expected.max())


@pytest.mark.parametrize("angles", ["gaussian", "legendre"])
def test_number_of_features_follows_the_formula(angles):
    features = fitted(n_radial=5, n_angular=6, channels="auto", powers=(1, 2), angles=angles)
    E, C, R, A, Q = 3, 6, 5, 6, 2
    assert features.n_features_out_ == Q * (C + E * C * R + E * C**2 * R * A)
    names = features.get_feature_names_out()
    assert len(set(names)) == len(names) == features.n_features_out_
    table = features.feature_table_
    assert (table.loc[table["order"] == 0, ["center", "r", "partner"]].isna()).all(axis=None)
    assert pd.api.types.is_float_dtype(table["r"])


def test_default_number_of_features_is_the_documented_one():
    features = AngularFeatures().fit([Atoms("LiSi", [[0, 0, 0], [0, 0, 2.4]])])
    assert features.n_features_out_ == 3368


def test_radial_gaussians_meet_at_one_standard_deviation():
    basis = fitted()._evaluator.radial
    half_way = (basis.centers[0] + basis.centers[1]) / 2
    values, _ = gaussians(basis, np.array([half_way]))
    np.testing.assert_allclose(values[:2, 0], np.exp(-0.5))
    assert basis.centers[0] == pytest.approx(1.6)
    assert basis.centers[-1] + 2 * basis.width == pytest.approx(4.2)


def test_parameters_out_of_range_are_refused():
    for options, message in (
        ({"n_radial": 0}, "n_radial"),
        ({"n_angular": 0}, "n_angular"),
        ({"angles": "fourier"}, "angles"),
        ({"powers": (0,)}, "powers must be positive"),
        ({"reach": 1.5}, "not beyond the smallest distance"),
        ({"normalize": "lower_order"}, "normalize"),
    ):
        with pytest.raises(ValueError, match=message):
            AngularFeatures(**options).fit(ELEMENTS)


def test_too_many_neighbors_are_refused_before_they_fill_the_memory():
    features = AngularFeatures(reach=3000.0, order=1).fit(ELEMENTS)
    with pytest.raises(ValueError, match=r"Structure 0 has about .* smaller reach"):
        features.transform([bulk("Si")])


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 3e-4)])
@pytest.mark.parametrize("angles", ["gaussian", "legendre"])
@pytest.mark.parametrize("options", [{}, {"channels": "auto", "powers": (0.8, 5 / 3)}])
@pytest.mark.parametrize("name", ["three_elements", "slab"])
def test_kernels_compute_the_sums_of_plain_numpy(name, options, angles, dtype, tolerance):
    """Single precision is compared with double."""
    options = {"smoothing": 1e-4, "angles": angles, "n_angular": 7, **options}
    evaluator, double = (fitted(dtype=d, **options)._evaluator for d in (dtype, "float64"))
    atoms = CELLS[name]()
    (structure,) = check_structures([atoms])
    groups, rng = double._groups(structure), np.random.default_rng(0)
    moves, strains = rng.normal(size=(17, len(atoms), 3)), rng.normal(size=(17, 3, 3))
    weights = rng.normal(size=(groups.count, double.n_terms, len(double.powers)))
    expected = reference_sums(double, structure, groups, moves, strains, weights)
    sums, gradient, strain = evaluator.group_sums_vjp(structure, groups, weights)
    again, derivatives = evaluator.group_sums_jvp(structure, groups, Directions(moves, strains))
    np.testing.assert_allclose(again, sums, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(evaluator.group_sums(structure, groups), sums, rtol=1e-6)
    results = sums, derivatives, gradient, strain
    for one, other in zip(results, expected, strict=True):
        assert np.abs(one - other).max() <= tolerance * np.abs(other).max()


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 3e-4)])
@pytest.mark.parametrize("n_angular", [13, 14, 41])
def test_narrow_gaussians_start_from_several_anchors(n_angular, dtype, tolerance):
    options = {"smoothing": 1e-4, "n_angular": n_angular, "channels": ["number"]}
    evaluator, double = (fitted(dtype=d, **options)._evaluator for d in (dtype, "float64"))
    (ladder,) = evaluator._sums._gaussians
    assert len(ladder.anchors) == (1 if n_angular == 13 else -(-n_angular // 5))
    (structure,) = check_structures([CELLS["slab"]()])
    groups, rng = double._groups(structure), np.random.default_rng(0)
    weights = rng.normal(size=(groups.count, double.n_terms, len(double.powers)))
    none = np.empty((0, len(structure), 3)), np.empty((0, 3, 3))
    sums, _, gradient, strain = reference_sums(double, structure, groups, *none, weights)
    results = evaluator.group_sums_vjp(structure, groups, weights)
    for one, other in zip(results, (sums, gradient, strain), strict=True):
        assert np.abs(one - other).max() <= tolerance * np.abs(other).max()


def test_memory_does_not_grow_with_the_pairs():
    (structure,) = check_structures([bulk("Si", cubic=True).repeat(20)])
    small, large = (fitted(reach=reach)._evaluator.memory(structure) for reach in (3.0, 9.0))
    assert large < 2 * small  # pairs are 27 times as many
