"""Energies, forces and stresses of models: derivatives, training on them, bad input."""

import pickle
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from ase import Atoms
from helpers.emt_data import copper_crystals, small_scattering
from helpers.small_structures import Convertible
from sklearn import config_context
from sklearn.base import clone
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.ensemble import RandomForestRegressor
from sklearn.feature_selection import VarianceThreshold
from sklearn.linear_model import (
    BayesianRidge,
    GammaRegressor,
    LinearRegression,
    OrthogonalMatchingPursuit,
    Ridge,
)
from sklearn.model_selection import GroupKFold, KFold, cross_validate
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import (
    MaxAbsScaler,
    MinMaxScaler,
    PolynomialFeatures,
    RobustScaler,
    StandardScaler,
)
from sklearn.random_projection import GaussianRandomProjection, SparseRandomProjection

from skwavelet import BaggedOLSEnsemble, EnergyForceRegressor, GreedyOLSRegressor
from skwavelet.potentials.energy_model import energy_model
from skwavelet.potentials.linear_chain import feature_chain
from skwavelet.potentials.rows import VOIGT_STRAINS, random_directions


@pytest.fixture(scope="module")
def copper():
    return copper_crystals()


@pytest.fixture(scope="module")
def alloy():
    return copper_crystals(symbols=("Cu", "Ag", "Au"), seed=1)


def fitted(data, regressor=None, features=None, **settings):
    model = EnergyForceRegressor(
        features or small_scattering(), regressor or Ridge(1e-3), **{"random_state": 0} | settings
    )
    return model.fit(data.structures, data.energies, forces=data.forces, stress=data.stress)


def rms(values):
    return np.sqrt(np.mean(np.square(values)))


def finite_difference(function, step=2e-5):
    """Fourth-order central difference."""
    f = [function(k * step) for k in (-2, -1, 1, 2)]
    return (f[0] - 8 * f[1] + 8 * f[2] - f[3]) / (12 * step)


def total_energy(model, atoms):
    return len(atoms) * model.predict([atoms])[0]


def displaced(atoms, atom, axis, by):
    moved = atoms.copy()
    moved.positions[atom, axis] += by
    return moved


def strained(atoms, strain):
    changed = atoms.copy()
    changed.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    return changed


# -- derivatives of predictions --------------------------------------------------------------

FEATURES = {
    "scattering": lambda: small_scattering(),
    "scaled": lambda: make_pipeline(small_scattering(), StandardScaler()),
    "pca": lambda: make_pipeline(small_scattering(), StandardScaler(), PCA(8, whiten=True)),
    "many scalers": lambda: make_pipeline(
        small_scattering(),
        VarianceThreshold(1e-9),
        RobustScaler(),
        MinMaxScaler(),
        MaxAbsScaler(),
        "passthrough",
        FeatureUnion([("all", StandardScaler()), ("few", TruncatedSVD(3, random_state=0))]),
    ),
    "union": lambda: FeatureUnion(
        [
            ("narrow", small_scattering()),
            ("wide", make_pipeline(small_scattering(beta=0.9), StandardScaler(with_std=False))),
            ("none", "drop"),
        ],
        transformer_weights={"wide": 0.3},
    ),
    "union in pipeline": lambda: make_pipeline(
        FeatureUnion([("a", small_scattering()), ("b", small_scattering(order=1, beta=0.8))]),
        StandardScaler(),
        make_pipeline(GaussianRandomProjection(20, random_state=0), MaxAbsScaler()),
    ),
    "sparse projection": lambda: make_pipeline(
        small_scattering(), SparseRandomProjection(20, random_state=0)
    ),
}


@pytest.mark.parametrize("name", FEATURES)
def test_forces_and_stress_are_derivatives_of_the_predicted_energy(copper, name):
    model = fitted(copper, features=FEATURES[name](), n_directions=3)
    atoms = copper.structures[0]
    (forces,), (stress,) = model.predict_forces([atoms]), model.predict_stress([atoms])
    for atom, axis in ((0, 0), (3, 2)):
        slope = finite_difference(
            lambda h, a=atom, x=axis: total_energy(model, displaced(atoms, a, x, h))
        )
        np.testing.assert_allclose(-slope, forces[atom, axis], rtol=1e-6, atol=1e-7)
    kept = model
    kept.features_ = keep_grids(model.features_, atoms)
    for component in (0, 4):
        slope = finite_difference(
            lambda h, c=component: total_energy(kept, strained(atoms, h * VOIGT_STRAINS[c]))
        )
        np.testing.assert_allclose(
            slope / atoms.get_volume(), stress[component], rtol=1e-6, atol=1e-8
        )


def keep_grids(features, atoms):
    if isinstance(features, Pipeline):
        features.steps[0] = ("first", keep_grids(features[0], atoms))
        return features
    if isinstance(features, FeatureUnion):
        features.transformer_list = [
            (name, part if part == "drop" else keep_grids(part, atoms))
            for name, part in features.transformer_list
        ]
        return features
    return features.keep_grid(atoms)


@pytest.mark.parametrize("name", ["many scalers", "union", "union in pipeline"])
def test_chain_has_the_values_and_derivatives_of_the_pipeline(copper, name):
    features = FEATURES[name]().fit(copper.structures)
    chain, X = feature_chain(features), copper.structures[:2]
    np.testing.assert_allclose(chain.values(X), features.transform(X), rtol=1e-9, atol=1e-9)
    rng = np.random.default_rng(0)
    directions = [rng.normal(size=(2, 4, 3)) for _ in X]
    strains = [rng.normal(size=(2, 3, 3)) for _ in X]
    cotangents = rng.normal(size=(2, chain.n_outputs))
    tangents = chain.jvp(X, directions, strains)
    for i, (value, gradient, strain) in enumerate(chain.value_and_vjp(X, cotangents)):
        np.testing.assert_allclose(value, features.transform(X)[i], rtol=1e-9, atol=1e-9)
        pulled = np.einsum("dij,ij->d", directions[i], gradient)
        pulled += np.einsum("dij,ij->d", strains[i], strain)
        np.testing.assert_allclose(tangents[i] @ cotangents[i], pulled, rtol=1e-8)


def test_pandas_output_changes_nothing(copper):
    plain = fitted(copper, features=FEATURES["scaled"](), n_directions=2)
    frames = fitted(
        copper,
        features=FEATURES["scaled"]().set_output(transform="pandas"),
        n_directions=2,
    )
    X = copper.structures[:2]
    np.testing.assert_allclose(frames.predict(X), plain.predict(X), rtol=1e-9)
    np.testing.assert_allclose(frames.predict_stress(X), plain.predict_stress(X), rtol=1e-8)


def test_forces_sum_to_zero_up_to_the_discretization(copper):
    net = []
    for spacing in (0.5, 0.2):
        features = small_scattering(spacing=spacing, smoothing=0.1)
        model = fitted(copper, features=features, n_directions=2)
        forces = model.predict_forces(copper.structures[:5])
        net.append(max(np.abs(f.sum(axis=0)).max() for f in forces) / rms(forces))
    # Measured: 0.03 and 0.002 (0.1 and 0.08 with the default smoothing: the modulus then has
    # edges that no grid resolves).
    assert net[1] < 5e-3
    assert net[1] < 0.2 * net[0]


def test_forces_rotate_with_the_structure(copper):
    model = fitted(copper, features=small_scattering(spacing=0.3), n_directions=3)
    atoms = copper.structures[0]
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    turned = Atoms(
        atoms.numbers,
        positions=atoms.positions @ rotation,
        cell=atoms.cell.array @ rotation,
        pbc=True,
    )
    expected, rotated = model.predict_forces([atoms, turned])
    np.testing.assert_allclose(rotated, expected @ rotation, atol=1e-4 * rms(expected))


def test_forces_repeat_in_a_supercell(copper):
    model = fitted(copper, n_directions=3)
    atoms = copper.structures[0]
    single, double = model.predict_forces([atoms, atoms * (2, 1, 1)])
    np.testing.assert_allclose(double, np.tile(single, (2, 1)), atol=1e-3 * rms(single))
    stress = model.predict_stress([atoms, atoms * (2, 1, 1)])
    np.testing.assert_allclose(stress[1], stress[0], atol=1e-3 * rms(stress[0]))


def test_single_precision(copper):
    double = fitted(copper, features=small_scattering(smoothing=0.01), n_directions=2)
    single = fitted(
        copper, features=small_scattering(smoothing=0.01, dtype="float32"), n_directions=2
    )
    single.regressor_ = double.regressor_
    X = copper.structures[:3]
    np.testing.assert_allclose(single.predict(X), double.predict(X), atol=1e-4)
    forces = double.predict_forces(X)
    np.testing.assert_allclose(single.predict_forces(X), forces, atol=1e-3 * rms(forces))
    stress = double.predict_stress(X)
    np.testing.assert_allclose(single.predict_stress(X), stress, atol=1e-3 * rms(stress))


def test_three_elements_at_once(alloy):
    model = fitted(alloy, n_directions="all")
    atoms = next(a for a in alloy.structures if len(set(a.numbers)) == 3)
    (forces,) = model.predict_forces([atoms])
    for atom in range(len(atoms)):
        slope = finite_difference(lambda h, a=atom: total_energy(model, displaced(atoms, a, 1, h)))
        np.testing.assert_allclose(-slope, forces[atom, 1], rtol=1e-6, atol=1e-7)


# -- training --------------------------------------------------------------------------------


def test_fit_equals_an_explicit_weighted_least_squares_problem(copper):
    model = fitted(
        copper,
        Ridge(1e-13, solver="svd"),  # LinearRegression leaves out directions of little variance
        small_scattering(order=1),
        n_directions="all",
        force_weight=0.3,
        stress_weight=5.0,
    )
    features = model.features_
    X, n, n_atoms = copper.structures, len(copper.structures), 4
    energy = np.column_stack([features.transform(X), np.ones(n)])
    blocks, targets = [energy / np.sqrt(n)], [copper.energies / np.sqrt(n)]
    moves = np.eye(12).reshape(12, 4, 3)
    for atoms, force, stress in zip(X, copper.forces, copper.stress, strict=True):
        (tangent,) = features.jvp([atoms], [moves])
        force_rows = np.column_stack([-n_atoms * tangent, np.zeros(12)])
        (tangent,) = features.jvp([atoms], strains=[VOIGT_STRAINS])
        stress_rows = np.column_stack([n_atoms / atoms.get_volume() * tangent, np.zeros(6)])
        for rows, label, weight in ((force_rows, force, 0.3), (stress_rows, stress, 5.0)):
            factor = np.sqrt(weight / (n * np.size(label)))
            blocks.append(factor * rows)
            targets.append(factor * np.ravel(label))
    design, target = np.concatenate(blocks), np.concatenate(targets)
    solution = np.linalg.lstsq(design, target, rcond=1e-12)[0]
    fit = np.append(model.regressor_.coef_, model.regressor_.intercept_)
    np.testing.assert_allclose(design @ fit, design @ solution, atol=1e-5 * rms(target))


@pytest.mark.parametrize("n_directions", [2, "all"])
def test_own_models_and_scikit_learn_treat_the_intercept_alike(copper, n_directions):
    """On few features both solve the same least-squares problem."""
    features = make_pipeline(small_scattering(), StandardScaler(), PCA(5, random_state=0))
    settings = {"features": features, "n_directions": n_directions}
    theirs = fitted(copper, LinearRegression(), **settings)
    ours = fitted(copper, GreedyOLSRegressor(5, validation_fraction=None), **settings)
    np.testing.assert_allclose(ours.regressor_.coef_, theirs.regressor_.coef_, rtol=1e-6)
    np.testing.assert_allclose(ours.regressor_.intercept_, theirs.regressor_.intercept_)
    assert theirs.regressor_.fit_intercept


def test_without_intercept(copper):
    model = fitted(copper, Ridge(1e-3, fit_intercept=False), n_directions=2)
    assert model.regressor_.intercept_ == 0
    ours = fitted(copper, GreedyOLSRegressor(20, fit_intercept=False, random_state=0))
    assert ours.regressor_.intercept_ == 0


def test_forces_help_where_energies_are_few(copper):
    few, unseen = copper_crystals(6, seed=5), copper_crystals(10, seed=6)
    errors = []
    for forces in (None, few.forces):
        model = EnergyForceRegressor(small_scattering(), Ridge(1e-8), random_state=0)
        model.fit(few.structures, few.energies, forces=forces)
        errors.append(
            (
                rms(model.predict(unseen.structures) - unseen.energies),
                rms(np.array(model.predict_forces(unseen.structures)) - unseen.forces),
            )
        )
    assert errors[1][0] < 0.5 * errors[0][0]
    assert errors[1][1] < 0.5 * errors[0][1]


def test_random_directions_are_unbiased():
    rng = np.random.default_rng(0)
    residual = rng.normal(size=9)
    sums = [
        np.square(random_directions(9, 3, np.random.default_rng(seed)) @ residual).sum()
        for seed in range(4000)
    ]
    np.testing.assert_allclose(np.mean(sums), residual @ residual, rtol=0.03)
    for n_directions in (9, 20, "all"):
        np.testing.assert_array_equal(random_directions(9, n_directions, rng), np.eye(9))


def test_rows_are_repeatable_and_counted(copper):
    first, second = (fitted(copper, n_directions=2, random_state=3) for _ in range(2))
    np.testing.assert_array_equal(first.regressor_.coef_, second.regressor_.coef_)
    assert first.n_rows_ == 24 * (1 + 2 + 2)
    other = fitted(copper, n_directions=2, random_state=4)
    assert not np.array_equal(first.regressor_.coef_, other.regressor_.coef_)


@pytest.mark.parametrize("missing", [None, np.full((4, 3), np.nan)])
def test_only_some_structures_have_forces(copper, missing):
    labelled = [f if i % 3 == 0 else missing for i, f in enumerate(copper.forces)]
    model = EnergyForceRegressor(small_scattering(), Ridge(1e-6), n_directions="all")
    model.fit(copper.structures, copper.energies, forces=labelled)
    assert model.n_rows_ == 24 + 8 * 12
    reordered = EnergyForceRegressor(small_scattering(), Ridge(1e-6), n_directions="all")
    order = np.argsort(np.arange(24) % 3, kind="stable")
    reordered.fit(
        [copper.structures[i] for i in order],
        copper.energies[order],
        forces=[labelled[i] for i in order],
    )
    X = copper.structures[:3]
    np.testing.assert_allclose(reordered.predict(X), model.predict(X), rtol=1e-5)


def test_some_stresses(copper):
    stress = copper.stress.copy()
    stress[3:] = np.nan
    model = EnergyForceRegressor(small_scattering(), Ridge(1e-6), n_directions="all")
    model.fit(copper.structures, copper.energies, stress=stress)
    assert model.n_rows_ == 24 + 3 * 6


class GroupRecorder(Ridge):
    """Remembers the groups of its rows."""

    def fit(self, X, y, sample_weight=None, groups=None):
        self.groups_ = groups
        return super().fit(X, y, sample_weight)


def test_rows_of_a_structure_share_its_group(copper):
    paths = np.repeat(["a", "b", "c"], 8)
    model = EnergyForceRegressor(small_scattering(order=1), GroupRecorder(1e-3), n_directions=2)
    model.fit(copper.structures, copper.energies, forces=copper.forces, groups=paths)
    groups = model.regressor_.groups_
    np.testing.assert_array_equal(groups[:24], np.repeat([0, 1, 2], 8))
    np.testing.assert_array_equal(groups[24:], np.repeat([0, 1, 2], 16))
    model.fit(copper.structures, copper.energies, forces=copper.forces)
    np.testing.assert_array_equal(model.regressor_.groups_[24:], np.repeat(np.arange(24), 2))


def test_no_bag_sees_part_of_a_path(copper):
    paths = np.repeat(np.arange(6), 4)
    ensemble = BaggedOLSEnsemble(4, max_features=10, random_state=0)
    model = EnergyForceRegressor(small_scattering(order=1), ensemble, n_directions=2)
    model.fit(copper.structures, copper.energies, forces=copper.forces, groups=paths)
    rows = np.concatenate([paths, np.repeat(paths, 2)])
    seen = np.isnan(model.regressor_.oob_prediction_)
    for path in range(6):
        assert len(set(seen[rows == path])) == 1


# -- spread ----------------------------------------------------------------------------------


def test_spread_of_forces_and_stress_matches_the_members(copper):
    ensemble = BaggedOLSEnsemble(6, max_features=15, random_state=0)
    atoms = copper.structures[:2]
    trained = fitted(copper, ensemble, small_scattering(order=1), n_directions=3)
    energies_only = EnergyForceRegressor(small_scattering(order=1), ensemble)
    energies_only.fit(copper.structures, copper.energies)
    for model, tolerance in ((trained, 0.15), (energies_only, 1e-6)):
        forces, forces_std = model.predict_forces(atoms, return_std=True)
        stress, stress_std = model.predict_stress(atoms, return_std=True)
        member_forces, member_stress = [], []
        average = model.regressor_
        for member in average.estimators_:
            model.regressor_ = member
            member_forces.append(model.predict_forces(atoms))
            member_stress.append(model.predict_stress(atoms))
        model.regressor_ = average
        np.testing.assert_allclose(np.mean(member_forces, axis=0), forces, atol=1e-8)
        np.testing.assert_allclose(np.mean(member_stress, axis=0), stress, atol=1e-8)
        calibrations = model._calibrations
        # The same in all directions.
        of_atoms = np.sqrt(np.var(member_forces, axis=0, ddof=1).mean(axis=-1, keepdims=True))
        size = np.sqrt(np.mean(np.square(forces), axis=-1, keepdims=True))
        expected = [
            np.repeat(calibrations.forces(own, pulls, one.numbers), 3, axis=-1)
            for own, pulls, one in zip(of_atoms, size, atoms, strict=True)
        ]
        np.testing.assert_allclose(forces_std, expected, atol=tolerance * np.max(expected))
        np.testing.assert_allclose(rms(forces_std), rms(expected), rtol=tolerance)
        expected = calibrations.stress(np.std(member_stress, axis=0, ddof=1))
        np.testing.assert_allclose(stress_std, expected, atol=2 * tolerance * expected.max())
    mean, std = trained.predict(atoms, return_std=True)
    np.testing.assert_allclose(mean, trained.predict(atoms))
    assert (std > 0).all()


# -- scikit-learn ----------------------------------------------------------------------------


def test_clone_set_params_pickle_and_score(copper):
    model = fitted(copper, features=FEATURES["scaled"](), n_directions=2)
    again = pickle.loads(pickle.dumps(model))
    X = copper.structures[:3]
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    np.testing.assert_array_equal(again.predict_stress(X), model.predict_stress(X))
    copy = clone(model).set_params(regressor__alpha=1.0, features__voxelscattering__order=1)
    assert not hasattr(copy, "features_")
    assert model.features.steps[0][1].order == 2
    assert model.score(copper.structures, copper.energies) > 0.9
    # What was passed in stays unfitted.
    assert not hasattr(model.regressor, "coef_")
    assert not hasattr(model.features[0], "feature_table_")


def test_cross_validation_passes_forces_and_groups(copper):
    model = EnergyForceRegressor(
        small_scattering(order=1), GreedyOLSRegressor(8, random_state=0), n_directions=2
    )
    scores = cross_validate(
        model,
        copper.structures,
        copper.energies,
        cv=3,
        params={"forces": copper.forces, "groups": np.repeat(np.arange(6), 4)},
        error_score="raise",
    )
    assert np.isfinite(scores["test_score"]).all()


def test_metadata_routing_passes_forces_and_groups(copper):
    with config_context(enable_metadata_routing=True):
        regressor = GreedyOLSRegressor(8, random_state=0)
        model = EnergyForceRegressor(small_scattering(order=1), regressor, n_directions=2)
        model.set_fit_request(forces=True, groups=True)
        scores = cross_validate(
            model,
            copper.structures,
            copper.energies,
            cv=GroupKFold(3),
            params={"forces": copper.forces, "groups": np.repeat(np.arange(6), 4)},
            error_score="raise",
        )
    assert np.isfinite(scores["test_score"]).all()


@pytest.mark.parametrize("container", [tuple, pd.Series, "array"])
def test_containers_of_structures(copper, container):
    model = fitted(copper, features=small_scattering(order=1), n_directions=1)
    X = copper.structures[:3]
    if container == "array":
        held = np.empty(3, dtype=object)
        held[:] = X
    else:
        held = container(X)
    np.testing.assert_array_equal(model.predict(held), model.predict(X))
    np.testing.assert_array_equal(model.predict_forces(held), model.predict_forces(X))
    np.testing.assert_array_equal(model.extrapolation_score(held), model.extrapolation_score(X))


# -- bad input -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"forces": [np.zeros((4, 3))] * 23}, "one entry .* per structure, 24 in all; got 23"),
        ({"forces": 3.0}, "one entry"),
        ({"forces": [np.zeros((4, 3))] * 7 + [np.zeros((3, 3))] * 17}, r"forces\[7\] .*\(4, 3\)"),
        (
            {"forces": [np.zeros((4, 3))] * 23 + [np.array([[np.nan, 0, 0]] * 4)]},
            r"forces\[23\] holds NaN",
        ),
        ({"stress": [np.zeros((3, 3))] * 24}, r"stress\[0\] must have shape \(6,\)"),
        ({"groups": [0, 1]}, "one label per sample"),
    ],
)
def test_bad_labels(copper, labels, message):
    model = EnergyForceRegressor(small_scattering(order=1), Ridge())
    with pytest.raises(ValueError, match=message):
        model.fit(copper.structures, copper.energies, **labels)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.zeros(3), r"y must hold one number per sample, shape \(24,\); got shape \(3,\)"),
        (np.zeros((24, 1)), r"got shape \(24, 1\)"),
        (np.where(np.arange(24) == 5, np.nan, 0.0), r"y\[5\] is nan"),
    ],
)
def test_bad_energies(copper, y, message):
    with pytest.raises(ValueError, match=message):
        EnergyForceRegressor(small_scattering(order=1), Ridge()).fit(copper.structures, y)


def test_structures_of_other_packages(copper):
    data = replace(copper, structures=[Convertible(atoms) for atoms in copper.structures])
    model, expected = (fitted(d, features=small_scattering(order=1)) for d in (data, copper))
    X, converted = copper.structures[:2], data.structures[:2]
    np.testing.assert_array_equal(model.predict(converted), expected.predict(X))
    np.testing.assert_array_equal(model.predict_forces(converted), expected.predict_forces(X))
    np.testing.assert_array_equal(model.predict_stress(converted), expected.predict_stress(X))


def test_a_single_structure_is_refused(copper):
    atoms, model = copper.structures[0], fitted(copper, features=small_scattering(order=1))
    for method in (model.predict, model.predict_forces, model.predict_stress):
        with pytest.raises(TypeError, match="single structure"):
            method(atoms)
    with pytest.raises(TypeError, match="single structure"):
        model.fit(atoms, [0.0])


def test_stress_of_a_molecule_has_no_meaning(copper):
    molecules = [Atoms("Cu2", [[0, 0, 0], [d, 0, 0]]) for d in (2.2, 2.4, 2.6)]
    model = EnergyForceRegressor(small_scattering(order=1), Ridge())
    with pytest.raises(ValueError, match=r"stress\[0\] is given"):
        model.fit(molecules, [0, 1, 2], stress=np.zeros((3, 6)))
    model.fit(molecules, [0, 1, 2])
    assert model.predict_forces(molecules)[0].shape == (2, 3)
    with pytest.raises(ValueError, match="Structure 0 is not periodic"):
        model.predict_stress(molecules)


@pytest.mark.parametrize(
    ("features", "regressor", "message"),
    [
        (make_pipeline(small_scattering(order=1), PolynomialFeatures(1)), Ridge(), "Polynomial"),
        (make_pipeline(small_scattering(order=1), MinMaxScaler(clip=True)), Ridge(), "clip=False"),
        (StandardScaler(), Ridge(), "StandardScaler has no derivatives"),
        (small_scattering(order=1), OrthogonalMatchingPursuit(), "takes no sample_weight"),
        (small_scattering(order=1), RandomForestRegressor(2), "no parameter fit_intercept"),
    ],
)
def test_what_has_no_derivative_is_named(copper, features, regressor, message):
    model = EnergyForceRegressor(features, regressor)
    with pytest.raises((TypeError, ValueError), match=message):
        model.fit(copper.structures, copper.energies, forces=copper.forces)


def test_pipelines_without_linear_model_are_named(copper):
    X, y = copper.structures, copper.energies
    forest = make_pipeline(small_scattering(order=1), RandomForestRegressor(2)).fit(X, y)
    with pytest.raises(TypeError, match="RandomForestRegressor is no linear model"):
        energy_model(forest)
    logarithmic = make_pipeline(small_scattering(order=1), StandardScaler(), GammaRegressor())
    with pytest.raises(TypeError, match="does not predict a linear function"):
        energy_model(logarithmic.fit(X, y + 10))
    with pytest.raises(TypeError, match="neither a Pipeline"):
        energy_model(Ridge())
    with pytest.raises(TypeError, match="has no model"):
        energy_model(make_pipeline(small_scattering(order=1)).fit(X))


def test_spread_needs_an_ensemble(copper):
    model = fitted(copper, BayesianRidge(), small_scattering(order=1), n_directions=1)
    for method in (model.predict, model.predict_forces, model.predict_stress):
        with pytest.raises(TypeError, match="Standard deviations and intervals need an ensemble"):
            method(copper.structures[:1], return_std=True)


def test_rows_beyond_memory_are_refused(copper, monkeypatch):
    monkeypatch.setattr("skwavelet.potentials.rows.available_memory", lambda: 2**16)
    with pytest.raises(ValueError, match=r"rows of \d+ features need .* lower n_directions"):
        fitted(copper, features=small_scattering(order=1))


# -- weights of structures -------------------------------------------------------------------


def weighted_fit(data, rows, weight=None, *, regressor=None, **changes):
    model = EnergyForceRegressor(
        small_scattering(order=1, beta=0.6), regressor or Ridge(1e-4), n_directions="all", **changes
    )
    forces = [None if row % 3 == 1 else data.forces[row] for row in rows]
    return model.fit(
        [data.structures[row] for row in rows], data.energies[rows], forces=forces,
        stress=data.stress[rows], sample_weight=weight,
    )  # fmt: skip


@pytest.mark.parametrize(
    "regressor", [Ridge(1e-4), GreedyOLSRegressor(8, validation_fraction=None)], ids=repr
)
def test_weights_count_structures(copper, regressor):
    """Weight 2 is that structure twice, weight 0 without it, in energies, forces and stress."""
    rows = np.arange(10)
    weight = np.array([2, 1, 0, 1, 2, 1, 0, 1, 3, 1])
    repeated = np.repeat(rows, weight)
    one = weighted_fit(copper, rows, weight, regressor=regressor)
    other = weighted_fit(copper, repeated, regressor=regressor)
    # Weights of columns that are multiples of each other are not determined, predictions are.
    X = copper.structures
    np.testing.assert_allclose(one.predict(X), other.predict(X), rtol=1e-7)
    for pulls, others in zip(one.predict_forces(X), other.predict_forces(X), strict=True):
        np.testing.assert_allclose(pulls, others, atol=1e-5)
    plain = weighted_fit(copper, rows, regressor=regressor)
    ones = weighted_fit(copper, rows, np.ones(10), regressor=regressor)
    np.testing.assert_array_equal(plain.predict(copper.structures), ones.predict(copper.structures))
    assert np.abs(plain.predict(X) - one.predict(X)).max() > 1e-4


def test_weights_are_routed_to_folds(copper):
    X, y = copper.structures[:12], copper.energies[:12]
    weight = np.arange(12.0)
    with config_context(enable_metadata_routing=True):
        model = EnergyForceRegressor(small_scattering(order=1), Ridge(), random_state=0)
        model.set_fit_request(sample_weight=True, forces=True)
        model.set_score_request(sample_weight=True)
        params = {"sample_weight": weight, "forces": copper.forces[:12]}
        result = cross_validate(model, X, y, cv=KFold(3), params=params, return_estimator=True)
    train, _ = next(KFold(3).split(X))
    expected = clone(result["estimator"][0]).fit(
        [X[row] for row in train], y[train], forces=[copper.forces[row] for row in train],
        sample_weight=weight[train],
    )  # fmt: skip
    np.testing.assert_array_equal(expected.predict(X), result["estimator"][0].predict(X))


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.ones(3), "one number per sample"),
        (-np.ones(24), r"sample_weight\[0\] is negative"),
        (np.zeros(24), "zero for every sample"),
    ],
)
def test_bad_weights(copper, weight, message):
    model = EnergyForceRegressor(small_scattering(order=1), Ridge())
    with pytest.raises(ValueError, match=message):
        model.fit(copper.structures, copper.energies, sample_weight=weight)


def test_folds_without_any_forces_are_fitted_on_energies(copper):
    X, y = copper.structures, copper.energies
    forces = [None] * 12 + copper.forces[12:]
    model = EnergyForceRegressor(small_scattering(order=1), Ridge(), random_state=0)
    scores = cross_validate(model, X, y, cv=KFold(2), params={"forces": forces})
    assert np.isfinite(scores["test_score"]).all()
    alone = clone(model).fit(X[:12], y[:12])
    missing = clone(model).fit(X[:12], y[:12], forces=[None] * 12, stress=[np.full(6, np.nan)] * 12)
    np.testing.assert_array_equal(alone.predict(X), missing.predict(X))


def test_no_structures_and_misplaced_scalers_are_named(copper):
    model = EnergyForceRegressor(small_scattering(order=1), Ridge())
    model.fit(copper.structures, copper.energies)
    for predict in (model.predict, model.predict_forces, model.predict_stress):
        with pytest.raises(ValueError, match="X holds no structures"):
            predict([])
    scaled = EnergyForceRegressor(small_scattering(), make_pipeline(StandardScaler(), Ridge()))
    with pytest.raises(TypeError, match="put scalers and the like with the features"):
        scaled.fit(copper.structures, copper.energies)
