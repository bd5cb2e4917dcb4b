"""How far structures and atoms leave those of the training set."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from ase.build import bulk
from helpers.emt_data import copper_crystals, small_scattering
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline

from skwavelet import (
    AngularFeatures,
    AtomExtrapolationScore,
    BaggedOLSEnsemble,
    EnergyForceRegressor,
    ExtrapolationScore,
    PointScattering,
)
from skwavelet.potentials import extrapolation


@pytest.fixture(scope="module")
def copper():
    return copper_crystals(40, seed=3)


# -- structures ---------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 5])
@pytest.mark.parametrize("shape", [(200, 12), (30, 80)])
def test_score_is_the_regularized_mahalanobis_distance(shape, size):
    rng = np.random.default_rng(0)
    X = rng.normal(size=shape) @ rng.normal(size=(shape[1], shape[1])) + 3
    groups = np.arange(len(X)) // size
    new = np.vstack([X[:5], 5 * rng.normal(size=(5, shape[1]))])
    Z, z = ((rows - X.mean(axis=0)) / X.std(axis=0) for rows in (X, new))

    def squares(rows, training):
        mean = training.mean(axis=0)
        moved, rows = training - mean, rows - mean
        inverse = np.linalg.inv(moved.T @ moved + 0.01 * len(Z) * np.eye(shape[1]))
        return len(training) * np.einsum("ij,jk,ik->i", rows, inverse, rows)

    typical = [squares(Z[groups == one], Z[groups != one]) for one in np.unique(groups)]
    expected = np.sqrt(squares(z, Z) / np.mean(typical))
    score = ExtrapolationScore().fit(X, groups=None if size == 1 else groups)
    # Axes of less than a hundredth of the regularization are not told from none.
    np.testing.assert_allclose(score.score_samples(new), expected, rtol=0.01)


def test_new_groups_have_scores_of_one_whatever_the_number_of_features():
    rng = np.random.default_rng(1)
    mixing = rng.normal(size=(400, 400)) * 0.99 ** np.arange(400)

    def paths(n):
        centers = np.repeat(rng.normal(size=(n, 400)), 5, axis=0)
        return (centers + 0.1 * rng.normal(size=centers.shape)) @ mixing.T

    for n in (12, 300):  # fewer rows than features, and more
        score = ExtrapolationScore().fit(paths(n), groups=np.repeat(np.arange(n), 5))
        unseen = score.score_samples(paths(60))
        assert 0.8 < np.sqrt(np.mean(unseen**2)) < 1.25


def test_score_of_constant_features():
    X = np.ones((20, 3), dtype=np.float32)
    X[:, 0] = np.random.default_rng(0).normal(size=20)
    score = ExtrapolationScore().fit(X)
    inside, outside = score.score_samples([[0, 1, 1], [0, 1.01, 1]])
    assert inside < 1
    assert outside > 100


def test_strained_and_foreign_structures_stand_out(copper):
    model = EnergyForceRegressor(small_scattering(), Ridge(1e-3))
    model.fit(copper.structures, copper.energies)
    unseen = model.extrapolation_score(copper_crystals(20, seed=4).structures)
    assert np.median(unseen) < 1.5
    strained = [a.copy() for a in copper.structures[:5]]
    for atoms in strained:
        atoms.set_cell(1.15 * atoms.cell.array, scale_atoms=True)
    assert model.extrapolation_score(strained).min() > 1.5 * unseen.max()


def test_box_dependent_scale_lights_up(copper):
    """A wavelet wider than the training cells sees the box, not the structure."""
    with pytest.warns(UserWarning, match="wider wavelets describe the box"):
        pipeline = make_pipeline(small_scattering(n_scales=3), ExtrapolationScore()).fit(
            copper.structures
        )
    sane = make_pipeline(small_scattering(), ExtrapolationScore()).fit(copper.structures)
    larger = [atoms * (2, 2, 2) for atoms in copper_crystals(3, seed=5).structures]
    for atoms in larger:
        atoms.rattle(0.05, seed=0)
    assert pipeline.score_samples(larger).min() > 20
    assert sane.score_samples(larger).max() < 2


def test_expected_errors_grow_outside(copper):
    ensemble = BaggedOLSEnsemble(12, max_features=10, random_state=0)
    model = EnergyForceRegressor(small_scattering(), ensemble)
    model.fit(copper.structures, copper.energies)
    # Whether so few errors grow with remoteness, and how fast, is chance.
    calibrations = model._calibrations
    grown = replace(calibrations.energy, power=0.5)
    model._calibrations = calibrations._replace(energy=grown)
    strained = [a.copy() for a in copper.structures[:5]]
    for atoms in strained:
        atoms.set_cell(1.15 * atoms.cell.array, scale_atoms=True)
    X = [*copper_crystals(20, seed=4).structures, *strained]
    _, std = model.predict(X, return_std=True)
    score, expected = model.extrapolation_score(X), model.expected_error(X)
    calibration = model._calibrations.energy
    floor, power = calibration.floor, calibration.power
    assert floor > 0
    assert (score < 1).any()
    members = [m.predict(model.features_.transform(X)) for m in model.regressor_.estimators_]
    spread = calibration.factor * np.std(members, axis=0, ddof=1)
    inside = np.hypot(floor, spread) * model._surroundings.remoteness(X) ** power
    np.testing.assert_allclose(std, inside)
    outside = floor**2 * (np.maximum(score, 1) ** 2 - 1)
    np.testing.assert_allclose(expected, np.sqrt(inside**2 + outside))
    np.testing.assert_allclose(expected[score < 1], std[score < 1])
    assert (expected[-5:] > std[-5:]).all()
    with pytest.raises(TypeError, match="need an ensemble"):
        EnergyForceRegressor(small_scattering(), Ridge()).fit(
            copper.structures, copper.energies
        ).expected_error(X)


# -- atoms -----------------------------------------------------------------------------------


def alloys(n, seed, size=2):
    """Rattled crystals of two elements at random places."""
    rng = np.random.default_rng(seed)
    structures = []
    for _ in range(n):
        atoms = bulk("Cu", a=3.7, cubic=True) * size
        atoms.symbols = rng.choice(["Cu", "Au"], size=len(atoms))
        atoms.rattle(0.05, rng=rng)
        structures.append(atoms)
    return structures


def point(**changes):
    few = {"n": (1, 2), "max_l": 1, "powers": (2,), "n_scales": 1, "dtype": "float64"}
    return PointScattering(**few | changes)


@pytest.mark.parametrize(
    "representation",
    [point(), AngularFeatures(reach=3.5, powers=(2,), dtype="float64")],
    ids=["point", "angular"],
)
def test_scores_of_atoms_are_those_of_their_elements(representation):
    train, new = alloys(4, seed=0), alloys(2, seed=1)
    score = AtomExtrapolationScore(representation).fit(train)
    fitted = clone(representation).fit(train)
    symbols = np.concatenate([np.array(atoms.symbols) for atoms in train])
    rows = np.concatenate(fitted.transform_atoms(train))
    assert score.elements_ == ["Au", "Cu"]
    for atoms, found in zip(new, score.score_atoms(new), strict=True):
        assert found.shape == (len(atoms),)
        (values,) = fitted.transform_atoms([atoms])
        for symbol in ("Au", "Cu"):
            of_training = rows[symbols == symbol]
            # Features of the other element are zero throughout, and do not count.
            of_structures = ExtrapolationScore().fit(of_training)
            typical = np.sqrt(np.mean(of_structures.score_samples(of_training) ** 2))
            expected = of_structures.score_samples(values) / typical
            own = np.array(atoms.symbols) == symbol
            np.testing.assert_allclose(found[own], expected[own], rtol=1e-5)
    np.testing.assert_array_equal(
        score.score_samples(new), [found.max() for found in score.score_atoms(new)]
    )


def test_training_atoms_have_scores_of_one(monkeypatch):
    train = alloys(6, seed=0)
    score = AtomExtrapolationScore(point()).fit(train)
    for symbol in ("Au", "Cu"):
        squares = np.concatenate([
            found[np.array(atoms.symbols) == symbol] ** 2
            for found, atoms in zip(score.score_atoms(train), train, strict=True)
        ])  # fmt: skip
        assert squares.mean() == pytest.approx(1)
    monkeypatch.setattr(extrapolation, "_ATOMS", 50)  # an atom has many parts in memory
    again = AtomExtrapolationScore(point()).fit(train)
    for one, other in zip(score.score_atoms(train), again.score_atoms(train), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_one_strange_atom_lights_up():
    train = alloys(8, seed=0)
    frozen = FrozenEstimator(point(dtype="float32").fit(train))
    score = AtomExtrapolationScore(frozen).fit(train)
    (large,) = alloys(1, seed=2, size=8)
    (before,) = score.score_atoms([large])
    assert before.max() < 5
    strange = large.copy()
    strange.positions[1234] += [0.8, 0.5, 0.2]
    (after,) = score.score_atoms([strange])
    assert np.argmax(after) == 1234
    assert after.max() > 2 * before.max()
    near = strange.get_distances(1234, range(len(strange)), mic=True) < 12
    np.testing.assert_allclose(after[~near], before[~near], rtol=1e-3)
    assert score.score_samples([strange])[0] == after.max()
    # The features of the whole structure hardly change.
    whole = make_pipeline(frozen, ExtrapolationScore()).fit(train)
    calm, shaken = whole.score_samples([large]), whole.score_samples([strange])
    assert shaken[0] == pytest.approx(calm[0], rel=0.1)


def test_new_neighbours_light_up():
    """Features that were zero in training, where elements had not met, count."""
    train = [bulk(symbol, "fcc", a=3.9, cubic=True) * 2 for symbol in ("Cu", "Au") * 3]
    for seed, atoms in enumerate(train):
        atoms.rattle(0.05, seed=seed)
    score = AtomExtrapolationScore(point()).fit(train)
    mixed = train[0].copy()
    mixed.symbols[0] = "Au"
    assert score.score_samples([mixed])[0] > 100
    declared = AtomExtrapolationScore(point(elements=["Ag", "Cu", "Au"])).fit(train)
    mixed.symbols[0] = "Ag"
    assert np.isinf(declared.score_atoms([mixed])[0][0])


def test_atom_scores_are_estimators():
    train, new = alloys(3, seed=0), alloys(2, seed=1)
    score = AtomExtrapolationScore(point()).fit(train)
    loaded = pickle.loads(pickle.dumps(score))
    for one, other in zip(score.score_atoms(new), loaded.score_atoms(iter(new)), strict=True):
        np.testing.assert_array_equal(one, other)
    assert clone(score).get_params()["representation__max_l"] == 1
    with pytest.raises(TypeError, match="'representation' parameter"):
        AtomExtrapolationScore(small_scattering()).fit(new)
