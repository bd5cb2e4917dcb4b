"""What point scattering and angular features know of angles, and what they do not."""

import numpy as np
import pytest
from ase import Atoms
from scipy.special import eval_legendre

from skwavelet import AngularFeatures, PointScattering
from skwavelet.representations.wavelets import wavelet


def point(**options):
    """Point scattering whose reach is far beyond the clusters here, so that no wavelet is cut."""
    defaults = {"order": 2, "beta": 1.2, "n_scales": 1, "tolerance": 1e-12, "reach": None}
    defaults |= {"channels": ["kinetic"], "smoothing": 1e-14, "dtype": "float64"}
    return PointScattering(**(defaults | options))


def cluster(seed, size=7):
    rng = np.random.default_rng(seed)
    return Atoms(rng.choice(["H", "B", "C"], size), rng.uniform(-1.5, 1.5, size=(size, 3)))


def cosines_and_distances(atoms, i):
    vectors = np.delete(atoms.positions - atoms.positions[i], i, axis=0)
    distances = np.linalg.norm(vectors, axis=1)
    units = vectors / distances[:, None]
    return units @ units.T, distances


def test_squared_modulus_is_a_sum_over_pairs_of_neighbors():
    """sigma^2 = (2l + 1) / 4 pi sum_jk q_j q_k P_l(cos), with q = c(Z) Q_nl(r)."""
    atoms = cluster(0)
    scattering = point(order=1, powers=(2,)).fit([atoms])
    features = scattering.transform_atoms([atoms])[0]
    table = scattering.feature_table_
    for i in range(len(atoms)):
        cosines, r = cosines_and_distances(atoms, i)
        weights = np.sqrt(np.delete(atoms.numbers, i))
        points = np.stack([np.zeros_like(r), np.zeros_like(r), r])
        for column, row in enumerate(table.itertuples(index=False)):
            if row.order == 0 or row.center != atoms.symbols[i]:
                continue
            # Along z only m = 0 is there: Q_nl(r) Y_l0 with Y_l0 = sqrt((2l + 1) / 4 pi).
            along_z = wavelet(points, row.n1, row.l1, scattering.beta_)[row.l1]
            q = weights * along_z / np.sqrt((2 * row.l1 + 1) / (4 * np.pi))
            pairs = q @ eval_legendre(row.l1, cosines) @ q
            expected = (2 * row.l1 + 1) / (4 * np.pi) * pairs
            assert features[i, column] == pytest.approx(expected, rel=1e-9), row


def bent(angle, r1=1.6, r2=1.9):
    """Two hydrogen atoms at an oxygen atom."""
    return Atoms("OHH", [[0, 0, 0], [0, 0, r1], [r2 * np.sin(angle), 0, r2 * np.cos(angle)]])


@pytest.mark.parametrize("degrees", [20.0, 77.0, 109.5, 145.0, 180.0])
def test_angle_of_three_atoms_is_recovered(degrees):
    angle, channel = np.radians(degrees), {"hydrogen": {"H": 1.0}}
    atoms, straight = bent(angle), bent(0.0)
    # sigma_l^2 ~ q1^2 + q2^2 + 2 q1 q2 P_l(cos); alone, a neighbour gives q^2.
    scattering = point(n=2, max_l=1, order=1, powers=(2,), channels=channel).fit([straight])
    single = [straight[[0, 1]], straight[[0, 2]]]
    column = list(scattering.get_feature_names_out()).index("hydrogen_atO_n2l1j0_q2")
    both, first, second = (scattering.transform_atoms([a])[0][0, column] for a in (atoms, *single))
    cosine = (both - first - second) / (2 * np.sqrt(first * second))
    assert cosine == pytest.approx(np.cos(angle), abs=1e-10)
    # Gaussians of the cosine: the logarithm of a ratio is linear in it. Degrees: P_1 / P_0.
    options = {"n_angular": 3, "reach": 4.0, "powers": (1,), "channels": channel}
    gaussian, legendre = (
        AngularFeatures(1, angles=angles, normalize=None, dtype="float64", **options).fit(
            [straight]
        )
        for angles in ("gaussian", "legendre")
    )
    (features,), at = gaussian.transform([atoms]), gaussian.feature_table_
    triplets = ((at["center"] == "O") & (at["order"] == 2)).fillna(False).to_numpy()
    low, _, high = features[triplets]  # at -1, 0 and 1, of width 1/2
    assert np.log(high / low) / 8 == pytest.approx(np.cos(angle), abs=1e-9)
    (features,), at = legendre.transform([atoms]), legendre.feature_table_
    triplets = ((at["center"] == "O") & (at["order"] == 2)).fillna(False).to_numpy()
    p0, p1, _ = features[triplets]
    assert p1 / p0 == pytest.approx(np.cos(angle), abs=1e-10)


def pair_distances(atoms):
    return np.sort(atoms.get_all_distances()[np.triu_indices(len(atoms), 1)])


def relative_difference(a, b):
    return np.abs(a - b).max() / np.abs(a).max()


def homometric_pairs():
    """Pairs of different clusters of one element with the same distances."""
    # Bloom's sets on a line.
    line = [[0, 1, 4, 10, 12, 17], [0, 1, 8, 11, 13, 17]]
    yield tuple(Atoms("H6", np.outer(0.45 * np.array(x), [0.6, 0, 0.8])) for x in line)
    # Patterson's sets on a ring of eight.
    yield tuple(
        Atoms("C4", [[1.7 * np.cos(a), 1.7 * np.sin(a), 0] for a in np.pi / 4 * np.array(x)])
        for x in ([0, 1, 3, 4], [0, 1, 2, 5])
    )


@pytest.mark.parametrize("number", [0, 1])
def test_structures_with_the_same_distances_are_told_apart(number):
    one, other = list(homometric_pairs())[number]
    np.testing.assert_allclose(pair_distances(one), pair_distances(other), atol=1e-12)
    # The histogram of distances cannot, and pair terms of power 1 are nothing else.
    histogram = AngularFeatures(order=1, powers=(1,), dtype="float64", reach=9.0).fit([one])
    assert relative_difference(*histogram.transform([one, other])) < 1e-12
    for transformer in (
        point(order=1),
        point(order=2),
        AngularFeatures(reach=9.0, powers=(1,), dtype="float64"),
        AngularFeatures(reach=9.0, powers=(1,), dtype="float64", angles="legendre"),
    ):
        assert relative_difference(*transformer.fit([one]).transform([one, other])) > 1e-3


def test_environments_with_the_same_triplets_are_not_told_apart_by_three_body_terms():
    """Patterson's sets around an atom: the same distances and angles, other environments.

    Three-body terms of the central atom cannot tell them apart, whatever their basis. The second
    order, which knows what the neighbours see, can.
    """
    pair = []
    for ring in ([0, 1, 3, 4], [0, 1, 2, 5]):
        angles = np.pi / 4 * np.array(ring)
        around = 1.7 * np.column_stack([np.cos(angles), np.sin(angles), 0 * angles])
        pair.append(Atoms("OH4", np.vstack([[0, 0, 0], around])))
    cosines = [np.sort(cosines_and_distances(atoms, 0)[0].ravel()) for atoms in pair]
    np.testing.assert_allclose(*cosines, atol=1e-12)

    scattering = point(channels=["H", "O"]).fit(pair)
    table = scattering.feature_table_
    first, second = (
        ((table["order"] == order) & (table["center"] == "O")).fillna(False).to_numpy()
        for order in (1, 2)
    )
    one, other = (features[0] for features in scattering.transform_atoms(pair))
    assert np.count_nonzero(one[first]) > 20
    assert relative_difference(one[first], other[first]) < 1e-12
    assert relative_difference(one[second], other[second]) > 1e-3
    for angles in ("gaussian", "legendre"):
        angular = AngularFeatures(reach=4.0, angles=angles, dtype="float64").fit(pair)
        at_center = (angular.feature_table_["center"] == "O").fillna(False).to_numpy()
        one, other = angular.transform(pair)[:, at_center]
        assert np.count_nonzero(one) > 100
        assert relative_difference(one, other) < 1e-11


def test_mirror_images_are_not_told_apart():
    atoms = cluster(3)
    mirrored = atoms.copy()
    mirrored.positions[:, 0] *= -1
    for transformer in (point(), AngularFeatures(reach=6.0, dtype="float64")):
        one, other = transformer.fit([atoms]).transform([atoms, mirrored])
        assert relative_difference(one, other) < 1e-12
