"""Values of voxel features: brute force, closed forms, counts, normalizations, molecules."""

import warnings
from itertools import product
from math import gamma, pi

import numpy as np
import pytest
from ase import Atoms
from helpers.brute_force import first_order, integral, second_order
from helpers.small_structures import CELLS, cubic, molecule, triclinic

from skwavelet import VoxelScattering
from skwavelet.representations.voxel import transformer as transformer_module


def fitted(atoms, n=3, max_l=2, **parameters):
    """A transformer with its resolution set by hand, in double precision."""
    atoms = atoms if isinstance(atoms, list) else [atoms]
    parameters = {"beta": 0.5, "n_scales": 2, "spacing": 0.3, "dtype": "float64"} | parameters
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "n_scales=")
        return VoxelScattering(n, max_l, **parameters).fit(atoms)


def features(atoms, **parameters):
    return fitted(atoms, **parameters).transform([atoms])[0]


def relative(values, reference):
    return np.abs(values / reference - 1)


# -- against the definition ----------------------------------------------------------------------

CELL = np.array([[3.4, 0.3, -0.2], [0.5, 3.7, 0.4], [-0.6, 0.2, 4.6]])
POSITIONS = np.array([[0.3, 0.4, 0.2], [2.1, 0.9, 1.4], [0.8, 2.2, 2.9]])
WEIGHTS = (1, 1, -2)
SHAPE, BETA = (12, 12, 14), 0.8
FIRSTS = [(1, 0, 1), (3, 0, 0), (3, 1, 0), (3, 2, 1)]
SECONDS = [(1, 0, 0), (3, 0, 1), (3, 1, 0), (3, 2, 0)]


def by_definition(dtype):
    atoms = Atoms("Li2Si", positions=POSITIONS, cell=CELL, pbc=True)
    transformer = fitted(
        atoms,
        n=(1, 3),
        beta=BETA,
        spacing=0.34,
        oversampling=4,  # every map on the base grid, as in the brute force
        smoothing=1e-12,
        channels={"c": {"Li": 1, "Si": -2}},
        dtype=dtype,
    )
    (structure,) = transformer._check([atoms])
    assert transformer._evaluator.grid(structure).shapes == (SHAPE, SHAPE)
    return transformer.feature_table_, transformer.transform([atoms])[0]


def compare(table, features, first, seconds, tolerance):
    # Maps with l = 0 are sampled at half the spacing, those with l = 1 on the voxels and their
    # centres, all others on the voxels.
    corners = list(product((0, 0.5), repeat=3))
    corners = (corners, [corners[0], corners[-1]], corners[:1])[first[1]]
    sigmas = {
        shift: first_order(POSITIONS, WEIGHTS, CELL, SHAPE, *first[:2], BETA, first[2], shift)
        for shift in corners
    }
    maps = {(): np.stack(list(sigmas.values()))} | {
        path: second_order(sigmas, CELL, *path[:2], BETA, path[2]) for path in seconds
    }
    for path, values in maps.items():
        columns = {"n1": first[0], "l1": first[1], "j1": first[2], "order": 1}
        if path:
            columns |= {"n2": path[0], "l2": path[1], "j2": path[2], "order": 2}
        rows = table.loc[(table[list(columns)] == columns).all(axis=1)]
        assert len(rows) == 4
        expected = [integral(values, q, CELL) / 3 for q in rows["q"]]
        np.testing.assert_allclose(features[rows.index], expected, rtol=tolerance)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_features_by_definition(dtype):
    """Tails of the wavelets beyond eight widths and the grid's band are below 1e-9."""
    table, values = by_definition(dtype)
    tolerance = {"float64": 1e-8, "float32": 2e-5}[dtype]
    zeroth = table["order"] == 0
    expected = [sum(abs(c) ** q for c in WEIGHTS) / 3 for q in table.loc[zeroth, "q"]]
    np.testing.assert_allclose(values[zeroth], expected, rtol=tolerance)
    compare(table, values, FIRSTS[1], SECONDS[1:2], tolerance)
    compare(table, values, FIRSTS[2], SECONDS[3:], tolerance)
    if dtype == "float64":
        compare(table, values, FIRSTS[0], SECONDS[2:3], tolerance)


@pytest.mark.slow
@pytest.mark.parametrize("first", FIRSTS)
def test_all_pairs_by_definition(first):
    compare(*by_definition("float64"), first, SECONDS, 1e-8)


def test_multiresolution_is_a_truncation():
    """Maps on coarse grids are those on the base grid without the frequencies beyond."""
    atoms = cubic()
    fine = fitted(atoms, spacing=0.16, oversampling=100)
    coarse = fitted(atoms, spacing=0.16, oversampling=1)
    path = {"channel": "valence", "first": (3, 2, 1.0)}
    whole, part = (t.maps(atoms, **path) for t in (fine, coarse))
    step = whole.shape[1] // part.shape[1]
    assert step == 2
    # What is cut off is below 1e-4 of the wavelet's peak (the default of aliasing).
    scale = abs(whole).max()
    np.testing.assert_allclose(part, whole[:, ::step, ::step, ::step], atol=1e-3 * scale)


# -- closed forms --------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", ["triclinic", "cubic", "three_elements"])
def test_squares_by_parseval(cell):
    """For q = 2 the first order is (1/V) sum_G |S(G)|^2 |2^j G|^(4(n-1) - 2l) exp(-..)."""
    atoms = CELLS[cell]()
    transformer = fitted(atoms, n=(1, 2, 3), order=1, powers=(2,), spacing=0.2)
    values = transformer.transform([atoms])[0]
    table = transformer.feature_table_
    orders = np.stack(np.meshgrid(*[np.arange(-14, 15)] * 3, indexing="ij"), axis=-1)
    G = 2 * np.pi * orders.reshape(-1, 3) @ np.linalg.inv(atoms.cell.array).T
    phases = np.exp(-1j * G @ atoms.positions.T)
    for row in table[table["order"] == 1].itertuples():
        weights = transformer.channels_.loc[list(atoms.symbols), row.channel].to_numpy()
        w2 = (2.0**row.j1 * G) ** 2
        spectrum = w2.sum(axis=1) ** (2 * (row.n1 - 1) - row.l1) * np.exp(
            -(0.5**2) * w2.sum(axis=1)
        )
        expected = (abs(phases @ weights) ** 2 @ spectrum) / atoms.get_volume() / len(atoms)
        assert values[row.Index] == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("periodic", [True, False])
def test_a_single_atom(periodic):
    """Alone, q = 2 gives c^2 2^(-3j) int |psi|^2, a Gamma function."""
    atoms = Atoms("Si", positions=[[0.13, 0.2, 0.4]])
    if periodic:
        atoms.cell, atoms.pbc = [13.0] * 3, True
    transformer = fitted(atoms, n=(1, 2, 3), order=1, spacing=0.25, channels="charge")
    values, table = transformer.transform([atoms])[0], transformer.feature_table_
    for row in table[(table["order"] == 1) & (table["q"] == 2)].itertuples():
        p = 4 * (row.n1 - 1) - 2 * row.l1 + 2
        norm = 4 * pi / (2 * pi) ** 3 * gamma((p + 1) / 2) / (2 * 0.5 ** (p + 1))
        expected = 14**2 * norm * 2.0 ** (-3 * row.j1)
        # What images add falls as exp(-d^2/(4 beta^2)): d is 13 widths here, or the padding.
        assert values[row.Index] == pytest.approx(expected, rel=1e-5 if periodic else 2e-4)


def test_zeroth_order():
    atoms = triclinic()
    transformer = fitted(atoms, order=0, channels={"c": {"Li": -3, "Si": 14}}, normalize=None)
    np.testing.assert_allclose(
        transformer.transform([atoms])[0],
        [2 * 3**q + 14**q for q in transformer.feature_table_["q"]],
        rtol=1e-12,
    )


# -- counts, tables, names -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "count"),
    [
        ({"n_scales": 5}, 3740),
        ({"n_scales": 5, "min_scale_step": 0}, 3020),
        ({"n_scales": 5, "order": 1}, 320),
        ({"n_scales": 3}, 1640),
        ({"n_scales": 3, "order": 0}, 20),
        (
            {
                "n": (1, 2, 3, 4, 5),
                "max_l": 4,
                "n_scales": 6,
                "scale_step": 0.5,
                "min_scale_step": 0,
                "pairs": "increasing",
            },
            45920,
        ),
    ],
)
def test_feature_counts_of_the_dissertation(parameters, count):
    transformer = fitted(cubic(), **({"n": 3, "max_l": 2} | parameters))
    assert transformer.n_features_out_ == count == len(transformer.feature_table_)
    names = transformer.get_feature_names_out()
    assert len(set(names)) == count


def test_learned_resolution_of_lithium_silicon(lisi):
    transformer = VoxelScattering().fit(lisi.structures)
    assert transformer.n_features_out_ == 1640
    assert transformer.n_scales_ == 3
    assert transformer.min_distance_ == pytest.approx(1.513, abs=1e-3)
    assert transformer.beta_ == pytest.approx(0.3525, abs=1e-4)
    assert transformer.channels_.columns.tolist() == ["Li", "Si", "valence", "ionic", "kinetic"]


def test_feature_table():
    transformer = fitted(cubic(), n=(1, 2), max_l=1, n_scales=3, scale_step=0.5, powers=(1, 5 / 3))
    table = transformer.feature_table_
    assert table.columns.tolist() == [
        "channel", "order", "n1", "l1", "j1", "n2", "l2", "j2", "q",
    ]  # fmt: skip
    assert not table.duplicated().any()
    assert set(table["j1"].dropna()) == {0.0, 0.5, 1.0}
    assert table.loc[table["order"] == 0, ["n1", "n2"]].isna().all(axis=None)
    assert table.loc[table["order"] == 1, "n2"].isna().all()
    assert table["order"].value_counts().to_dict() == {0: 10, 1: 90, 2: 810}
    names = transformer.get_feature_names_out()
    assert {"Li_q1", "valence_n1l0j0.5_q5/3", "Si_n2l1j0_n1l0j1_q1"} <= set(names)


def test_pairs_and_scale_steps_select():
    atoms = cubic()
    whole = fitted(atoms, n=(1, 2), max_l=1)
    values = dict(zip(whole.get_feature_names_out(), whole.transform([atoms])[0], strict=True))
    part = fitted(atoms, n=(1, 2), max_l=1, pairs="increasing", min_scale_step=1)
    second = part.feature_table_[part.feature_table_["order"] == 2]
    assert len(second) == 5 * 3 * 1 * 4
    assert (second["j2"] > second["j1"]).all()
    pairs = second[["n1", "l1", "n2", "l2"]].apply(tuple, axis=1)
    assert all((n2, l2) > (n1, l1) for n1, l1, n2, l2 in pairs)
    np.testing.assert_allclose(
        part.transform([atoms])[0],
        [values[name] for name in part.get_feature_names_out()],
        rtol=1e-10,
    )


def test_orders_nest():
    atoms = triclinic()
    both = features(atoms)
    first = features(atoms, order=1)
    zeroth = features(atoms, order=0)
    np.testing.assert_allclose(both[: len(first)], first, rtol=1e-12)
    np.testing.assert_allclose(first[: len(zeroth)], zeroth, rtol=1e-12)


def test_normalizations():
    atoms = triclinic()
    transformer = fitted(atoms)
    table = transformer.feature_table_.fillna(-1)
    sums, means, ratios = (
        features(atoms, normalize=normalize) for normalize in (None, "atoms", "lower_order")
    )
    np.testing.assert_allclose(sums, 3 * means, rtol=1e-12)
    rows = {tuple(row): value for row, value in zip(table.to_numpy(), sums, strict=True)}
    for row, total, ratio in zip(table.to_numpy(), sums, ratios, strict=True):
        channel, order, *first = row[:5]
        below = {
            0: None,
            1: (channel, 0, -1, -1, -1, -1, -1, -1, row[-1]),
            2: (channel, 1, *first, -1, -1, -1, row[-1]),
        }[order]
        assert ratio == pytest.approx(total / (rows[below] if below else 3), rel=1e-10)


def test_ratios_of_absent_elements_are_zero():
    transformer = fitted([triclinic(), Atoms("Si", cell=[4, 4, 4], pbc=True)])
    transformer = transformer.set_params(normalize="lower_order")
    with pytest.warns(UserWarning, match="n_scales=2"):
        transformer.fit([triclinic(), Atoms("Si", cell=[4, 4, 4], pbc=True)])
    values = transformer.transform([Atoms("Si", cell=[4, 4, 4], pbc=True)])[0]
    lithium = transformer.feature_table_["channel"] == "Li"
    assert not values[lithium].any()
    assert (values[~lithium] > 0).all()
    assert np.isfinite(values).all()


# -- channels ------------------------------------------------------------------------------------


def test_maps_are_linear_in_channels():
    atoms = triclinic()
    channels = {
        "a": {"Li": 1.0, "Si": 0.5},
        "b": {"Li": -2.0, "Si": 3.0},
        "2a - b": {"Li": 4.0, "Si": -2.0},
    }
    transformer = fitted(atoms, channels=channels)
    for first in [(3, 0, 0), (3, 1, 1), (3, 2, 0)]:
        a, b, both = (transformer.maps(atoms, channel=c, first=first) for c in channels)
        assert a.shape[0] == 2 * first[1] + 1
        np.testing.assert_allclose(both, 2 * a - b, atol=1e-12 * abs(both).max())


@pytest.mark.parametrize("factor", [3.0, -0.5])
def test_weights_scale_features(factor):
    """A channel c times a has |a|^q times the features: the modulus floors scale with it."""
    atoms = triclinic()
    one = features(atoms, channels={"c": {"Li": 1.0, "Si": -2.0}})
    scaled = fitted(atoms, channels={"c": {"Li": factor, "Si": -2 * factor}})
    q = scaled.feature_table_["q"].to_numpy()
    np.testing.assert_allclose(scaled.transform([atoms])[0], one * abs(factor) ** q, rtol=1e-8)


def test_channels_do_not_see_each_other():
    atoms = triclinic()
    both = fitted(atoms, channels=["valence", "Si"])
    for channel in ("valence", "Si"):
        alone = features(atoms, channels=[channel])
        rows = (both.feature_table_["channel"] == channel).to_numpy()
        np.testing.assert_allclose(both.transform([atoms])[0, rows], alone, rtol=1e-10)


def test_maps_give_the_features():
    atoms = triclinic()
    transformer = fitted(atoms, smoothing=1e-10, channels=["valence"], normalize=None)
    values = dict(
        zip(transformer.get_feature_names_out(), transformer.transform([atoms])[0], strict=True)
    )
    for second in (None, (3, 1, 1)):
        maps = transformer.maps(atoms, channel="valence", first=(3, 2, 0), second=second)
        sigma = np.sqrt((maps**2).sum(axis=0))
        name = "valence_n3l2j0" + ("" if second is None else "_n3l1j1")
        total = sigma.mean() * atoms.get_volume()
        assert total == pytest.approx(values[f"{name}_q1"], rel=1e-8)


def test_smoothing_vanishes():
    """What the floor of the modulus takes from the features is proportional to it."""
    atoms = cubic()
    exact = features(atoms, smoothing=1e-9)
    little, more = (relative(features(atoms, smoothing=s), exact) for s in (1e-6, 1e-5))
    assert little.max() <= 5e-4
    assert np.median(little) <= 2e-6
    large = more > 1e-5
    assert (little[large] <= 0.2 * more[large]).all()


# -- molecules and slabs -------------------------------------------------------------------------


@pytest.mark.parametrize("cell", ["molecule", "slab", "wire"])
def test_vacuum_padding(cell, monkeypatch):
    """Wider vacuum changes the first order by less than 1e-3, the median of the second by 2e-3."""
    atoms = CELLS[cell]()
    parameters = {"n": (3,), "max_l": 1, "spacing": 0.3, "oversampling": 2, "channels": "valence"}
    transformer = fitted(atoms, **parameters)
    values = transformer.transform([atoms])[0]
    monkeypatch.setattr(transformer_module, "PADDING_WIDTHS", (16.0,) * 3)
    deviation = relative(values, features(atoms, **parameters))
    second = transformer.feature_table_["order"] == 2
    assert deviation[~second].max() <= 1e-3
    assert np.median(deviation[second]) <= 2e-3


def in_one_box(transformer, atoms):
    """The structure in the widest of its boxes, given as a periodic cell."""
    (structure,) = transformer._check([atoms])
    boxed = atoms.copy()
    boxed.cell, boxed.pbc = transformer._evaluator.grid(structure).cells[-1], True
    return boxed


@pytest.mark.parametrize("cell", ["molecule", "slab", "wire"])
def test_vacuum_equals_a_large_periodic_box(cell):
    """The same box, given as a periodic cell, is the same computation."""
    atoms = CELLS[cell]()
    transformer = fitted(atoms, n_scales=1)
    np.testing.assert_allclose(
        transformer.transform([in_one_box(transformer, atoms)]),
        transformer.transform([atoms]),
        rtol=1e-9,
    )


@pytest.mark.parametrize("cell", ["molecule", "slab", "wire"])
def test_a_box_per_scale_is_one_large_box(cell):
    """Each scale in a box of its own width, and maps moved between them: what all see in one box.

    To what the vacuum of a scale cuts off, and the discretization.
    """
    atoms = CELLS[cell]()
    transformer = fitted(
        atoms, n=3, max_l=1, beta=0.4, n_scales=3, spacing=0.2, oversampling=2, channels="valence"
    )
    (structure,) = transformer._check([atoms])
    grid = transformer._evaluator.grid(structure)
    volumes = np.array(grid.volumes)
    assert (volumes[1:] > 1.3 * volumes[:-1]).all()
    one = in_one_box(transformer, atoms)
    deviation = relative(*transformer.transform([atoms, one]).astype(float))
    table = transformer.feature_table_
    first = (table["order"] == 1).to_numpy()
    assert deviation[first].max() <= 2e-3
    assert np.median(deviation[~first]) <= 1e-3
    assert deviation[~first].max() <= 3e-2


def test_distant_molecules_add_up():
    """Apart by the vacuum of a molecule, two are the sum of both; grids differ (first order)."""
    one, two = molecule(), Atoms("LiSi", positions=[[0, 0, 0], [1.1, 1.2, 1.3]])
    both = one.copy()
    moved = two.copy()
    moved.translate([14, 0, 0])
    both.extend(moved)
    transformer = fitted(
        [one, two], n=2, max_l=1, order=1, normalize=None, beta=0.4, spacing=0.15, oversampling=4
    )
    one, two, both = transformer.transform([one, two, both])
    np.testing.assert_allclose(both, one + two, rtol=2e-3)
    squares = transformer.feature_table_["q"] == 2
    np.testing.assert_allclose(both[squares], (one + two)[squares], rtol=1e-5)
