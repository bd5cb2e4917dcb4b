"""PointInvariants against explicit sums over neighbours, and what is its own."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from helpers.neighbor_pairs import pairs_within
from helpers.small_structures import CELLS, random_rotation, rotated
from scipy.special import eval_legendre, sph_harm_y

from skwavelet import AtomPolynomial, EnergyForceRegressor, PointInvariants, prune
from skwavelet.representations.invariants.radials import PARTS, WaveletFamily
from skwavelet.representations.wavelets import wavelet
from skwavelet.structures.checks import check_structures

STRUCTURES = [CELLS[name]() for name in ("triclinic", "three_elements", "slab", "molecule")]


def fitted(**parameters):
    options = {"n_components": (2, 2, 2, 1), "n": 4, "n_scales": 2, "reach": 4.2}
    return PointInvariants(**options | {"dtype": "float64"} | parameters).fit(STRUCTURES)


def radial_values(evaluator, distances, center, kind):
    """Return R_kl (n_radials, n_distances) from the table, interpolated here."""
    table, reach = evaluator.moments.table[center, kind], evaluator.moments.reach
    place = distances / reach * PARTS
    row = place.astype(int)
    powers = (place - row) ** np.arange(3, -1, -1)[:, None]
    radial = np.einsum("npq,pn->qn", table[row], powers)
    return radial * distances ** evaluator.moments.degrees[:, None]


def neighbourhoods(atoms, evaluator):
    """Yield the unit vectors (n, 3) to the neighbours of every atom, and R (n_radials, n)."""
    pairs = pairs_within(atoms, evaluator.moments.reach)
    for atom in range(len(atoms)):
        own = [(k, vector) for i, k, vector in pairs if i == atom]
        vectors = np.array([vector for _, vector in own]).reshape(-1, 3)
        numbers = atoms.numbers[[k for k, _ in own]]
        distances = np.linalg.norm(vectors, axis=1)
        radial = np.zeros((len(evaluator.moments.degrees), len(own)))
        center = list(evaluator.elements).index(atoms.numbers[atom])
        for kind, z in enumerate(evaluator.elements):
            chosen = numbers == z
            radial[:, chosen] = radial_values(evaluator, distances[chosen], center, kind)
        yield vectors / distances[:, None], radial


def sphere(n=24):
    """Return points (n, 3) and weights of a quadrature on the sphere; weights add up to 4 pi."""
    cosines, weights = np.polynomial.legendre.leggauss(n)
    phi = 2 * np.pi * np.arange(2 * n + 1) / (2 * n + 1)
    theta = np.arccos(np.repeat(cosines, len(phi)))
    phi = np.tile(phi, n)
    points = np.stack([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)], 1)
    return points, np.repeat(weights, 2 * n + 1) * 2 * np.pi / (2 * n + 1)


def brute_force(atoms, evaluator):
    """Return the invariants (n_atoms, n_products) without spherical harmonics.

    By the addition theorem sum_m Y_lm(u) Y_lm(v) = (2l + 1) / 4 pi P_l(u.v): one moment is a sum
    of radial functions, two are a sum over pairs, and three are the integral over the sphere of
    the products of the functions sum_m A_klm Y_lm.
    """
    places = {}
    for row, l in enumerate(evaluator.moments.degrees):
        places[int(l), sum(key[0] == l for key in places)] = row
    points, weights = sphere()
    rows = []
    for units, radial in neighbourhoods(atoms, evaluator):

        def on_sphere(factor, units=units, radial=radial):
            l = factor[0]
            kernel = (2 * l + 1) / (4 * np.pi) * eval_legendre(l, points @ units.T)
            return kernel @ radial[places[factor]]

        values = []
        for row, factors in enumerate(evaluator.products.factors):
            l = factors[0][0]
            if len(factors) == 1:
                value = radial[places[factors[0]]].sum() / np.sqrt(4 * np.pi)
                is_root = row in evaluator.products.roots
                values.append(np.sqrt(value + 1e-3) - np.sqrt(1e-3) if is_root else value)
            elif len(factors) == 2:
                angles = eval_legendre(l, np.clip(units @ units.T, -1, 1))
                one, other = (radial[places[factor]] for factor in factors)
                total = one @ angles @ other * (2 * l + 1) / (4 * np.pi)
                values.append(total / np.sqrt(2 * l + 1))
            else:
                product = np.prod([on_sphere(factor) for factor in factors], axis=0)
                values.append(np.sqrt(4 * np.pi) * weights @ product)
        rows.append(values)
    return np.array(rows)


@pytest.mark.parametrize("name", CELLS)
def test_invariants_are_sums_over_pairs_and_integrals_over_the_sphere(name):
    atoms, invariants = CELLS[name](), fitted()
    evaluator = invariants._evaluator
    expected = brute_force(atoms, evaluator)
    kinds = np.searchsorted(evaluator.elements, atoms.numbers)
    expected = expected * evaluator.scales[kinds]
    features = invariants.transform_atoms([atoms])[0]
    table = invariants.feature_table_
    for row, symbol in enumerate(atoms.symbols):
        own = (table["center"] == symbol).fillna(False).to_numpy()
        np.testing.assert_allclose(features[row, own], expected[row], rtol=1e-9, atol=1e-9)
        zero = (table["order"] == 0).to_numpy()
        assert (features[row, ~own & ~zero] == 0).all()
    np.testing.assert_allclose(
        invariants.transform([atoms])[0], features.mean(axis=0), rtol=1e-12, atol=1e-13
    )


def exponential_sums(atoms, exponent, weights, reach):
    """Return the sums (n_atoms,) of w exp(-k r) f(r) over the neighbours, pair by pair."""
    sums = np.zeros(len(atoms))
    for i, j, vector in pairs_within(atoms, reach):
        r = np.linalg.norm(vector)
        x = max(0.0, 3 * r / reach - 2)
        sums[i] += (
            weights[atoms.symbols[j]]
            * np.exp(-exponent * r)
            * (1 - x**3 * (10 - 15 * x + 6 * x**2))
        )
    return sums


@pytest.mark.parametrize(
    ("density", "exponent", "heavy"), [(0, 1.5, None), (1, 3.0, None), (3, 3.0, 0), (6, 1.5, 2)]
)
def test_densities_are_sums_of_exponentials_with_a_mean_of_one(density, exponent, heavy):
    reach = 4.2
    invariants = fitted(densities=(1.5, 3.0))
    symbols = invariants.elements_
    weights = {
        symbol: 1.0 if heavy is None or symbols[heavy] == symbol else 0.3 for symbol in symbols
    }
    sums = [exponential_sums(atoms, exponent, weights, reach) for atoms in STRUCTURES]
    centers = np.concatenate([np.array(list(atoms.symbols)) for atoms in STRUCTURES])
    table = invariants.feature_table_
    features = np.concatenate(invariants.transform_atoms(STRUCTURES))
    seen = 0
    for symbol in symbols:
        rho = np.concatenate(sums)[centers == symbol]
        if not rho.any():
            continue
        expected = np.sqrt(rho / rho.mean() + 1e-3) - np.sqrt(1e-3)
        own = table["center"].eq(symbol) & table["density"].eq(density).fillna(False)
        for q, function in ((1, rho / rho.mean()), (0.5, expected)):
            found = features[centers == symbol, np.flatnonzero(own & (table["q"] == q))]
            deviation = function.std() if len(function) > 1 else np.sqrt(np.mean(function**2))
            np.testing.assert_allclose(found, function / deviation, rtol=1e-6)
        seen += 1
    assert seen >= 2


def test_roots_are_smooth_where_the_last_neighbour_goes():
    """The force of a dimer is continuous at the reach, and so is its slope."""
    invariants = fitted(densities=(1.0, 4.0))
    columns = np.flatnonzero(invariants.feature_table_["q"] == 0.5)
    r = 4.2 - np.array([0.0, 0.01, 0.02])
    symbols = STRUCTURES[0].get_chemical_symbols()[:1] * 2
    dimers = [Atoms(symbols, [[0, 0, 0], [0, 0, d]]) for d in r]
    values = invariants.transform(dimers)[:, columns]
    assert (values[0] == 0).all()
    # Zero with the third power, eight times as much from one step to two; a root as it is would be
    # zero with the power of 1.5.
    seen = values[1] != 0
    assert seen.any()
    np.testing.assert_allclose(values[2, seen] / values[1, seen], 8, rtol=0.05)


@pytest.mark.parametrize(("l", "decay"), [(0, 3), (1, 2), (3, 6)])
def test_wavelets_are_those_of_scattering_times_the_cutoff(l, decay):
    family = WaveletFamily(beta=0.5, n=5, n_scales=3, reach=5.0, decay=decay)
    functions = family.values(l)
    r = family.grid[1:]
    direction = np.array([0.3, -0.5, 0.7])
    direction /= np.linalg.norm(direction)
    theta, phi = np.arccos(direction[2]), np.arctan2(direction[1], direction[0])
    harmonics = np.array([sph_harm_y(l, m, theta, phi) for m in range(-l, l + 1)])
    size = np.sqrt((np.abs(harmonics) ** 2).sum())
    row = 0
    for scale in (1, 2, 4):
        for n in range(l + 1, 6):
            values = wavelet(np.outer(direction, r / scale), n, l, 0.5)
            expected = np.sqrt((values**2).sum(axis=0)) / size * (1 - (r / 5) ** 2) ** decay
            found = np.abs(functions[row, 1:]) * r**l
            # Up to a factor, which makes the maximum before the cutoff 1.
            factor = expected.max() / found.max()
            np.testing.assert_allclose(found * factor, expected, atol=1e-12 * expected.max())
            row += 1
    assert row == len(functions)


def test_moments_have_unit_variance_and_components_do_not_correlate():
    invariants = fitted(normalize=None, densities=())
    evaluator = invariants._evaluator
    layout = evaluator.moments.layout
    complete = np.zeros(len(layout.counts), dtype=bool)
    parts = [[] for _ in evaluator.elements]
    for structure in check_structures(STRUCTURES):
        for pairs, values in evaluator._blocks(structure, len(structure)):
            for kind, part in enumerate(parts):
                part.append(values[:, pairs.kinds == kind])
    for part in parts:  # the atoms of every element
        moments, start = np.concatenate(part, axis=1), 0
        for l, count in enumerate(layout.counts.tolist()):
            part = moments[start : start + (2 * l + 1) * count].reshape(2 * l + 1, count, -1)
            start += (2 * l + 1) * count
            if l == 0:
                part = part - part.mean(axis=2, keepdims=True)
            covariance = np.einsum("mkn,mjn->kj", part, part) / moments.shape[1]
            has = np.diag(covariance) > 0  # components that few atoms do not have are zero
            np.testing.assert_allclose(covariance, np.diag(has.astype(float)), atol=1e-6)
            complete[l] |= has.all()
    assert complete.all()
    assert ((invariants.kept_variance_ > 0) & (invariants.kept_variance_ <= 1)).all()


def test_features_of_training_atoms_have_unit_deviation():
    invariants = fitted()
    table, features = invariants.feature_table_, invariants.transform_atoms(STRUCTURES)
    symbols = np.concatenate([list(atoms.symbols) for atoms in STRUCTURES])
    features = np.concatenate(features)
    for symbol in invariants.elements_:
        own = ((table["center"] == symbol) & (table["order"] > 0)).fillna(False).to_numpy()
        part = features[symbols == symbol][:, own]
        if len(part) > 1:
            deviations = part.std(axis=0)
            assert (np.isclose(deviations, 1, rtol=1e-6) | (deviations < 1e-6)).all()


@pytest.mark.parametrize("max_order", [1, 2, 3])
def test_rotations_and_inversion_change_nothing(max_order):
    atoms, invariants = CELLS["triclinic"](), fitted(max_order=max_order)
    expected = invariants.transform([atoms])
    turned = rotated(atoms, random_rotation(np.random.default_rng(0)))
    inverted = atoms.copy()
    inverted.set_cell(-atoms.cell.array)
    inverted.set_positions(-atoms.positions)
    for other in (turned, inverted):
        np.testing.assert_allclose(invariants.transform([other]), expected, rtol=1e-9, atol=1e-11)
    assert invariants.feature_table_["order"].max() == max_order


def test_single_precision_is_close_to_double():
    single, double = (fitted(dtype=dtype).transform(STRUCTURES) for dtype in ("float32", "float64"))
    assert single.dtype == np.float32
    assert np.abs(single - double).max() < 2e-5 * np.abs(double).max()


def test_products_of_products_are_the_smoothest_of_low_order():
    inner = PointInvariants((2, 2), n=2, n_scales=2, reach=4.2)
    everything = AtomPolynomial(inner).fit(STRUCTURES).feature_table_
    some = AtomPolynomial(inner, max_order=3, max_products=4).fit(STRUCTURES).feature_table_
    products = everything[(everything["degree"] == 2) & (everything["factor_order"] <= 3)]
    for center, kept in some[some["degree"] == 2].groupby("center"):
        possible = products[products["center"] == center]
        assert len(kept) == min(4, len(possible))
        left = possible[~possible[["factor1", "factor2"]].apply(tuple, axis=1).isin(
            kept[["factor1", "factor2"]].apply(tuple, axis=1)
        )]  # fmt: skip
        roughness = [(part["radial"] + part["angular"]) for part in (kept, left)]
        assert left.empty or roughness[0].max() <= roughness[1].min()
    polynomial = AtomPolynomial(inner, max_order=3).fit(STRUCTURES)
    table = polynomial.feature_table_
    # Every moment more is penalized e^2 times as much, and every node or degree e^0.15 times.
    moments = np.log(polynomial.penalty_factors_) - 0.15 * (table["radial"] + table["angular"])
    density = table["density"].notna()
    np.testing.assert_allclose(
        moments[~density], 2.0 * table["factor_order"][~density] - 4, atol=1e-12
    )
    assert (polynomial.penalty_factors_[density] == 1).all()
    for name in ("factor2", "factor3"):  # densities are no factors
        assert not table[name].str.contains("density").any()
    assert (table["degree"][table["factor1"].str.contains("density")] == 1).all()
    assert density.sum() == table["factor1"].str.contains("density").sum() > 0


def test_default_potential_learns_forces_and_is_pruned():
    """Forces of a pair potential, a few structures, no arguments but data."""
    rng = np.random.default_rng(0)
    structures, energies, forces = [], [], []
    for _ in range(12):
        atoms = bulk("Cu", cubic=True)
        atoms.positions += rng.normal(scale=0.15, size=(4, 3))
        pairs = pairs_within(atoms, 4.0)
        energy, force = 0.0, np.zeros((4, 3))
        for i, k, vector in pairs:
            r = np.linalg.norm(vector)
            energy += 0.5 * np.exp(-r) * (4 - r) ** 3
            slope = -np.exp(-r) * (4 - r) ** 3 - 3 * np.exp(-r) * (4 - r) ** 2
            force[i] += 0.5 * slope * vector / r
            force[k] -= 0.5 * slope * vector / r
        structures.append(atoms)
        energies.append(energy / 4)
        forces.append(force)
    features = AtomPolynomial(PointInvariants((4, 3, 2), reach=4.0), max_order=3, max_products=40)
    model = EnergyForceRegressor(features, random_state=0)
    model.fit(structures[:9], energies[:9], forces=forces[:9])
    errors = np.array(model.predict_forces(structures[9:])) - forces[9:]
    assert np.abs(errors).max() < 0.05 * np.abs(forces).max()
    smaller = prune(model)
    np.testing.assert_allclose(
        smaller.predict(structures), model.predict(structures), rtol=1e-5, atol=1e-6
    )


def test_more_elements_have_more_radial_functions():
    def most(structures, **parameters):
        invariants = PointInvariants(max_order=2, **parameters).fit(structures)
        table = invariants.feature_table_.query("order == 2")
        return (table.groupby("l1")["k1"].max().to_numpy() + 1).tolist(), invariants

    def rattled(atoms):
        copies = [atoms.copy() for _ in range(6)]
        for seed, copy in enumerate(copies):
            copy.rattle(0.2, seed=seed)
        return copies

    one = rattled(bulk("Si", cubic=True))
    two = rattled(bulk("ZnS", "zincblende", a=5.4, cubic=True))
    three = rattled(STRUCTURES[1].repeat(2))
    assert most(one)[0] == most(two)[0] == [7, 6, 6, 5, 5, 4]
    counts, invariants = most(three)
    assert counts == [8, 7, 7, 6, 6, 5]
    assert most(three, n=3)[0] == [8, 7]  # wavelets have l < n
    # What the further functions are for: more of the variance of the moments is kept.
    named = PointInvariants((8, 7, 6, 6, 5, 5, 4), max_order=2).fit(three)
    assert (invariants.kept_variance_ >= named.kept_variance_).all()
    assert (invariants.kept_variance_ > named.kept_variance_ + 1e-3).any()


def test_steep_functions_tell_of_near_neighbours():
    structures = [STRUCTURES[1].repeat(2)]
    structures[0].rattle(0.2, seed=0)
    r = np.linspace(0.3, 6.0, 100, endpoint=False)
    far = []
    for decay in (2, 3, 6):
        evaluator = PointInvariants((3, 3), decay=decay).fit(structures)._evaluator
        radial = radial_values(evaluator, r, 0, 0)[:3]
        far.append(np.mean([np.average(r, weights=row**2) for row in radial]))
    assert far[0] > far[1] > far[2]


def test_parameters_out_of_range_are_refused():
    with pytest.raises(ValueError, match="n_components must hold positive integers"):
        fitted(n_components=(2, 0))
    with pytest.raises(ValueError, match="wavelets have l < n: set n=5 or more"):
        fitted(n_components=(1, 1, 1, 1, 1), n=4)
    for densities in ((0.0, 1.0), (1.0, np.nan), ((1.0,),)):
        with pytest.raises(ValueError, match="densities must hold positive exponents"):
            fitted(densities=densities)


def test_derivatives_of_products_agree_for_more_atoms_than_are_worked_on_together():
    products = fitted()._evaluator.products
    n_moments = products.places.max() + 1
    rng = np.random.default_rng(0)
    moments = np.abs(rng.normal(size=(n_moments, 70)))  # as densities are
    cotangents = rng.normal(size=(len(products), 70))
    pulled = products.vjp(moments, cotangents)
    polynomial = np.setdiff1d(np.arange(len(products)), products.roots)
    plain = products.take(polynomial)
    for atom in (0, 63, 64, 69):
        pushed = products.changes(moments, atom, np.eye(n_moments))
        np.testing.assert_allclose(pulled[:, atom], cotangents[:, atom] @ pushed, rtol=1e-12)
        # Products of three are odd beyond their slope: differences over h and 2 h remove cubes.
        # Derivatives of roots are checked with those of the transformer.
        direction = rng.normal(size=(n_moments, 1))
        one, two = (
            plain.values(moments[:, [atom]] + h * direction)
            - plain.values(moments[:, [atom]] - h * direction)
            for h in (0.5, 1.0)
        )
        slope = (8 * one - two) / 6
        expected = products.changes(moments, atom, direction)
        np.testing.assert_allclose(slope, expected[polynomial], rtol=1e-10, atol=1e-10)


def test_atoms_do_not_depend_on_how_many_others_fill_up_a_group():
    products = fitted()._evaluator.products
    rng = np.random.default_rng(0)
    moments = np.abs(rng.normal(size=(products.places.max() + 1, 70))).astype(np.float32)
    cotangents = rng.normal(size=(len(products), 70)).astype(np.float32)
    values, gradients = products.values(moments), products.vjp(moments, cotangents)
    for n_atoms in (1, 3, 4, 5, 64, 67):
        some = moments[:, :n_atoms].copy()
        of_some = products.values(some), products.vjp(some, cotangents[:, :n_atoms])
        assert [part.shape[1] for part in of_some] == [n_atoms, n_atoms]
        np.testing.assert_allclose(of_some[0], values[:, :n_atoms], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(of_some[1], gradients[:, :n_atoms], rtol=1e-5, atol=1e-5)
