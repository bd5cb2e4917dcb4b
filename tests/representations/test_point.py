"""PointScattering against explicit sums over images, and what is its own."""

from functools import cache

import numpy as np
import pandas as pd
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from helpers.neighbor_pairs import pairs_within
from helpers.point_cascade import reference_cascade
from helpers.small_structures import CELLS
from scipy.special import genlaguerre, sph_harm_y

from skwavelet import PointScattering
from skwavelet.structures.checks import check_structures
from skwavelet.structures.directions import Directions

ELEMENTS = [Atoms("LiSi", [[0, 0, 0], [0, 0, 2.4]]), Atoms("OSi", [[0, 0, 0], [0, 0, 1.6]])]


def reference_wavelet(vectors, n, l, j, beta, reach):
    """psi_nlm of scale j (2.6-2.9), with complex harmonics, times the switch; (2l + 1, E)."""
    r = np.linalg.norm(vectors, axis=1)
    u = r / 2**j
    prefactor = (
        2.0 ** (n - l - 1)
        * np.prod(np.arange(1, n - l))
        * np.sqrt(4 * np.pi / (2 * l + 1))
        / ((2 * np.pi) ** 1.5 * beta ** (2 * n + 1))
    )
    t = u**2 / (2 * beta**2)
    radial = prefactor * u**l * genlaguerre(n - l - 1, l + 0.5)(t) * np.exp(-t) / 8**j
    y = np.clip((r**2 / reach**2 - 0.5) / 0.5, 0, 1)
    radial *= 1 - 10 * y**3 + 15 * y**4 - 6 * y**5
    theta, phi = np.arccos(vectors[:, 2] / r), np.arctan2(vectors[:, 1], vectors[:, 0])
    return np.array([radial * sph_harm_y(l, m, theta, phi) for m in range(-l, l + 1)])


def reference_features(atoms, fitted):
    """Evaluate every row of the feature table from its definition; no smoothing, not divided."""
    pairs = pairs_within(atoms, max(fitted.reaches_))
    centers, others = (np.array([p[side] for p in pairs], dtype=int) for side in (0, 1))
    vectors = -np.array([p[2] for p in pairs]).reshape(-1, 3)  # R_i - R_k

    @cache
    def psi(n, l, j):
        reach = fitted.reaches_[round(j / fitted.scale_step)]
        return reference_wavelet(vectors, n, l, j, fitted.beta_, reach)

    def modulus(inputs, n, l, j):
        sums = np.zeros((len(atoms), 2 * l + 1), dtype=complex)
        np.add.at(sums, centers, (psi(n, l, j) * inputs[others]).T)
        return np.sqrt((np.abs(sums) ** 2).sum(axis=1))

    known, values = {}, []
    for row in fitted.feature_table_.itertuples(index=False):
        key = (row.channel, row.order, *(str(v) for v in row[-7:-1]))
        if key not in known:
            weights = fitted.channels_.loc[atoms.get_chemical_symbols(), row.channel].to_numpy()
            if row.order == 0:
                known[key] = np.abs(weights)
            else:
                known[key] = modulus(weights, row.n1, row.l1, row.j1)
            if row.order == 2:
                known[key] = modulus(known[key], row.n2, row.l2, row.j2)
        center = getattr(row, "center", pd.NA)
        members = np.array([pd.isna(center) or center == s for s in atoms.symbols])
        values.append((known[key][members] ** row.q).sum())
    return np.array(values)


def fitted(**options):
    defaults = {"n": (1, 2, 3), "max_l": 2, "order": 2, "beta": 0.7, "n_scales": 2, "reach": None}
    defaults |= {"scale_step": 1.0, "tolerance": 0.05, "smoothing": 1e-20, "normalize": None}
    options = defaults | {"dtype": "float64"} | options
    return PointScattering(**options).fit(ELEMENTS)


@pytest.mark.parametrize("name", CELLS)
def test_features_are_the_sums_over_images(name):
    atoms, scattering = CELLS[name](), fitted()
    expected = reference_features(atoms, scattering)
    assert (expected[scattering.feature_table_["order"] == 2] > 0).any()
    np.testing.assert_allclose(
        scattering.transform([atoms])[0], expected, rtol=1e-7, atol=1e-9 * expected.max()
    )


@pytest.mark.parametrize(
    "options",
    [
        {"n": 4, "max_l": 3, "channels": ["number"], "powers": (0.5, 1.5, 3)},
        {"channels": {"charge": {"Li": 1, "Si": -2, "O": -0.5}}, "order": 1},
        {"pairs": "increasing", "scale_step": 0.5, "n_scales": 3, "min_scale_step": 0.5},
        {"reach": 4.0, "channels": ["kinetic"], "centers": "all"},
    ],
    ids=["powers", "negative weights", "half octaves", "reach, all centers"],
)
def test_options_mean_what_they_say(options):
    atoms, scattering = CELLS["three_elements"](), fitted(**options)
    expected = reference_features(atoms, scattering)
    np.testing.assert_allclose(
        scattering.transform([atoms])[0], expected, rtol=1e-7, atol=1e-9 * expected.max()
    )
    table = scattering.feature_table_
    second = table[table["order"] == 2]
    if options.get("pairs") == "increasing":
        assert len(second) > 0
        assert (second["j2"] - second["j1"] >= 0.5).all()
        assert ((second["n2"] > second["n1"]) | (second["l2"] > second["l1"])).all()
    if "order" in options:
        assert len(second) == 0


@pytest.mark.parametrize("name", ["bulk", "molecule"])
def test_one_and_two_atom_cells_smaller_than_the_reach(name):
    atoms = {"bulk": bulk("Si"), "molecule": bulk("Li", cubic=False)}[name]
    scattering = fitted(channels=["number"])
    assert max(scattering.reaches_) > 1.2 * atoms.cell.lengths().max()
    expected = reference_features(atoms, scattering)
    np.testing.assert_allclose(
        scattering.transform([atoms])[0], expected, rtol=1e-7, atol=1e-9 * expected.max()
    )


def test_single_precision_is_close_to_double():
    atoms = CELLS["three_elements"]()
    single, double = (fitted(dtype=d, smoothing=1e-4) for d in ("float32", "float64"))
    features = single.transform([atoms])
    assert features.dtype == np.float32
    expected = double.transform([atoms])
    np.testing.assert_allclose(features, expected, rtol=3e-4, atol=1e-6 * expected.max())


def test_lower_order_normalization_divides_by_the_sum_one_order_lower():
    atoms = CELLS["triclinic"]()
    plain, ratio = fitted(), fitted(normalize="lower_order")
    table = plain.feature_table_.fillna({"center": "-"}).fillna(-1)
    rows = [tuple(row) for row in table.itertuples(index=False)]
    sums = dict(zip(rows, plain.transform([atoms])[0], strict=True))
    expected = []
    for row in rows:
        channel, center, order, *path, q = row
        if order == 0:
            below = len(atoms)
        elif order == 1:
            below = sums[channel, "-", 0, *[-1] * 6, q]
        else:
            below = sums[channel, center, 1, *path[:3], *[-1] * 3, q]
        expected.append(sums[row] / below if below > 0 else 0.0)
    np.testing.assert_allclose(ratio.transform([atoms])[0], expected, rtol=1e-9, atol=1e-12)
    assert (plain.transform([atoms])[0][plain.feature_table_["channel"] == "O"] == 0).all()


def test_resolution_is_learned_from_distances_and_cells():
    structures = [bulk("Si", a=a, cubic=True) for a in (5.2, 5.6)]
    scattering = PointScattering((2, 3), tolerance=0.01, reach=None).fit(structures)
    nearest = np.sqrt(3) / 4 * 5.2
    assert np.exp(-(nearest**2) / (2 * scattering.beta_**2)) == pytest.approx(0.1)
    assert scattering.n_scales_ == 1 + np.floor(np.log2(5.2 / 2 / (2 * scattering.beta_)))
    # At the first reach no wavelet is larger than the tolerance, just before it one is.
    r = np.linspace(1e-3, 20, 20001)
    vectors = np.column_stack([0.6 * r, 0 * r, 0.8 * r])
    sizes = []
    for n, l in ((2, 0), (2, 1), (3, 0), (3, 1), (3, 2)):
        psi = reference_wavelet(vectors, n, l, 0, scattering.beta_, np.inf)
        size = np.sqrt((np.abs(psi) ** 2).sum(axis=0))
        sizes.append(size / size.max())
    end = r[np.flatnonzero(np.max(sizes, axis=0) > 0.01)[-1]]
    assert scattering.reaches_[0] == pytest.approx(end, abs=2e-3)
    np.testing.assert_allclose(
        scattering.reaches_, scattering.reaches_[0] * 2.0 ** np.arange(scattering.n_scales_)
    )


@pytest.mark.parametrize("scale_step", [0.25, 0.5, 1.0])
def test_scales_go_on_until_one_spans_the_reach(scale_step):
    structures = [bulk("Si", a=5.2)]  # cells do not matter
    alone = PointScattering(reach=None, n_scales=1).fit(structures)
    for reach in (1.0, 5.0, 6.0, 9.0):
        scattering = PointScattering(reach=reach, scale_step=scale_step).fit(structures)
        natural = alone.reaches_[0] * 2.0 ** (scale_step * np.arange(scattering.n_scales_))
        assert natural[-1] >= reach
        assert (natural[:-1] < reach).all()
        np.testing.assert_allclose(scattering.reaches_, np.minimum(natural, reach))
    assert PointScattering(n_scales=4).fit(structures).n_scales_ == 4


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("centers", ["elements", "all"])
@pytest.mark.parametrize("pairs", ["all", "increasing"])
def test_number_of_features_follows_the_formula(order, centers, pairs):
    options = {"n_scales": 3, "powers": (1, 2), "channels": "auto", "pairs": pairs}
    scattering = fitted(order=order, centers=centers, **options)
    Q, C, E, W, J, P = 2, 6, 3 if centers == "elements" else 1, 6, 3, 8
    terms = [1, E * W * J, E * (W**2 if pairs == "all" else W * (W - 1) // 2) * P]
    assert scattering.n_features_out_ == Q * C * sum(terms[: order + 1])


def test_default_number_of_features_is_the_documented_one(lisi):
    assert PointScattering().fit(lisi.structures).n_features_out_ == 1220


def test_parameters_out_of_range_are_refused():
    structures = [bulk("Si", cubic=True)]
    for options, message in (
        ({"n": 0}, "n"),
        ({"n": (1.5, 2)}, "positive integer"),
        ({"powers": (1, -1)}, "powers must be positive"),
        ({"powers": ()}, "powers must be positive"),
        ({"tolerance": 0}, "tolerance"),
        ({"reach": -1.0}, "reach"),
        ({"order": 3}, "order"),
        ({"normalize": "volume"}, "normalize"),
    ):
        with pytest.raises(ValueError, match=message):
            PointScattering(**options).fit(structures)
    with pytest.raises(ValueError, match="set beta"):
        PointScattering().fit([Atoms("Li")])


def test_scales_wider_than_the_cells_are_warned_of():
    structures = [bulk("Si", cubic=True)]
    with pytest.warns(UserWarning, match="describe the box"):
        PointScattering(n_scales=4, max_l=0, reach=None).fit(structures)


def test_too_many_neighbors_are_refused_before_they_fill_the_memory():
    scattering = PointScattering(beta=1000.0, reach=None).fit([molecule("H2O")])
    with pytest.raises(ValueError, match=r"Structure 0 has about .* smaller reach"):
        scattering.transform([bulk("O", "fcc", a=3.0)])


OPTIONS = {
    "first order": {"order": 1, "n": range(1, 7), "n_scales": 3},
    "all centers": {"order": 1, "centers": "all"},
    "high degrees": {"order": 1, "powers": (2,), "max_l": 5, "n": range(1, 7)},
    "second order": {},
    "second order, increasing": {"pairs": "increasing", "n_scales": 3, "min_scale_step": 0},
    "second order, other powers": {"powers": (0.7, 3), "channels": "auto", "centers": "all"},
}


@pytest.mark.parametrize(
    ("dtype", "tolerance", "kept"),
    [
        ("float64", 1e-12, slice(None)),
        ("float64", 1e-12, slice(5, None, 7)),
        ("float64", 1e-12, slice(9, None, 101)),
        ("float32", 1e-5, slice(None)),
        ("float32", 1e-5, slice(5, None, 7)),
    ],
)
@pytest.mark.parametrize("options", OPTIONS)
def test_kernels_compute_the_cascade_of_plain_numpy(dtype, tolerance, kept, options):
    if dtype == "float32" and "second" in options:
        tolerance = 1e-4  # rounding errors of the first order are amplified where maps vanish
    scattering = fitted(**{"smoothing": 1e-4, "dtype": dtype, **OPTIONS[options]})
    columns = np.arange(scattering.n_features_out_)[kept]
    evaluator = scattering.restrict(columns)._evaluator
    atoms = CELLS["three_elements"]().repeat((2, 1, 1))
    (structure,) = check_structures([atoms])
    groups = evaluator._groups(structure)
    cascade = reference_cascade(evaluator, structure, groups)

    def assert_close(compiled, expected):
        error = np.abs(np.asarray(compiled, float) - expected).max()
        assert error <= tolerance * np.abs(expected).max()

    sums = cascade.sums()
    assert_close(evaluator.group_sums(structure, groups), sums)
    rng = np.random.default_rng(0)
    weights = rng.normal(size=sums.shape)
    compiled = evaluator.group_sums_vjp(structure, groups, weights)
    for one, other in zip(compiled, cascade.vjp(weights), strict=True):
        assert_close(one, other)
    for n_directions in (2, 3 * len(atoms)):  # one by one, and from all rows
        moves = rng.normal(size=(n_directions, len(atoms), 3))
        strains = rng.normal(size=(n_directions, 3, 3))
        for strain in (strains, 0 * strains):
            compiled = evaluator.group_sums_jvp(structure, groups, Directions(moves, strain))
            for one, other in zip(compiled, cascade.jvp(moves, strain), strict=True):
                assert_close(one, other)


def test_kernels_are_compiled_before_processes_start(monkeypatch):
    prepared = []
    monkeypatch.setattr(
        "skwavelet.representations.point.evaluator.PointEvaluator.prepare",
        lambda self, method: prepared.append(method),
    )
    structures = [CELLS["cubic"]()] * 4
    scattering = fitted(order=1, n_jobs=2)
    scattering.transform(structures)
    scattering.jvp(structures, [np.zeros((1, 2, 3))] * 4)
    assert prepared == ["values", "jvp"]
    scattering.set_params(n_jobs=None).transform(structures)
    assert len(prepared) == 2


@pytest.mark.parametrize("method", ["values", "atom_values", "jvp", "vjp"])
def test_preparation_runs_the_method(method):
    fitted(order=1)._evaluator.prepare(method)


@pytest.mark.parametrize("order", [1, 2])
def test_memory_does_not_grow_with_the_pairs(order):
    (structure,) = check_structures([bulk("Si", cubic=True).repeat(20)])
    needed = [fitted(order=order, reach=reach)._evaluator.memory(structure) for reach in (3.0, 9.0)]
    assert needed[1] < 2 * needed[0]  # pairs are 27 times as many
