import subprocess
import sys

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.eos import EquationOfState
from ase.units import GPa
from helpers.emt_data import copper_crystals, small_scattering
from sklearn.decomposition import PCA
from sklearn.linear_model import Lasso, Ridge
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import StandardScaler

from skwavelet import (
    BaggedOLSEnsemble,
    EnergyForceRegressor,
    GreedyOLSRegressor,
    calibrate_spread,
)
from skwavelet.inspection import (
    EnergyVolumeDisplay,
    LearningPathDisplay,
    ParityDisplay,
    PathEnergyDisplay,
    ReliabilityDisplay,
    SelectionDisplay,
    barrier,
    bulk_modulus,
)


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def copper():
    return copper_crystals(24, symbols=("Cu", "Ag"))


@pytest.fixture(scope="module")
def groups():
    return np.repeat(np.arange(8), 3)


@pytest.fixture(scope="module")
def ensemble(copper, groups):
    model = make_pipeline(
        small_scattering(), BaggedOLSEnsemble(5, max_features=8, patience=1, random_state=0)
    )
    return model.fit(copper.structures, copper.energies, baggedolsensemble__groups=groups)


@pytest.fixture(scope="module")
def potential(copper):
    regressor = BaggedOLSEnsemble(4, max_features=8, random_state=0)
    model = EnergyForceRegressor(small_scattering(), regressor, n_directions=2, random_state=0)
    return model.fit(copper.structures, copper.energies, forces=copper.forces)


def strained(strains, symbols="Cu4"):
    cells = [bulk("Cu", a=3.61 * (1 + strain), cubic=True) for strain in strains]
    for cell in cells:
        cell.symbols = symbols
    return cells


def drawn(line):
    return np.array(line.get_data())


# Physics


def test_barrier_of_a_known_curve():
    x = np.linspace(0, 1, 9)
    energies = -50 + 0.3 * np.sin(np.pi * x) ** 2 + 0.1 * x
    assert barrier(energies) == pytest.approx(0.3 + 0.05, rel=1e-12)
    assert barrier(energies[::-1]) == pytest.approx(0.3 - 0.05, rel=1e-12)
    assert barrier([1.0, 0.5]) == 0


@pytest.mark.parametrize("bad", [[1.0], [[1.0, 2.0]], [0.0, np.nan]])
def test_barrier_needs_a_path(bad):
    with pytest.raises(ValueError, match="at least two finite numbers"):
        barrier(bad)


@pytest.mark.parametrize("reference", [None, 100.0])
def test_bulk_modulus_of_a_quadratic_is_exact(reference):
    # V0 lies off the points: V0 d²E/dV² at the vertex of the parabola.
    vertex, stiffness = 101.3, 0.02
    volumes = np.linspace(92, 108, 9)
    energies = -300 + 0.5 * stiffness * (volumes - vertex) ** 2
    modulus = bulk_modulus(volumes, energies, reference_volume=reference)
    assert modulus == pytest.approx(vertex * stiffness / GPa, rel=1e-10)
    assert 1 / GPa == pytest.approx(160.21766208, rel=1e-6)  # GPa in 1 eV/Å³


def test_bulk_modulus_uses_the_points_within_the_strain():
    sides = 1 + np.array([-0.08, -0.04, -0.02, 0.0, 0.02, 0.04, 0.08])
    volumes = 100 * sides**3
    energies = (volumes - 100) ** 2 / 200
    outliers = energies.copy()
    outliers[[0, -1]] += 5
    # Exactly 4 % is within.
    assert bulk_modulus(volumes, outliers) == pytest.approx(1 / GPa, rel=1e-9)
    assert bulk_modulus(volumes, outliers, max_strain=0.08) > 1.1 / GPa
    # A quartic that vanishes at three points leaves their parabola as it is.
    product = np.prod([volumes - volumes[i] for i in (2, 3, 4)], axis=0)
    bent = energies + 1e-3 * product * (volumes - 90)
    assert bulk_modulus(volumes, bent, max_strain=0.02) == pytest.approx(1 / GPa, rel=1e-9)


@pytest.mark.parametrize(("max_strain", "tolerance"), [(0.005, 0.01), (0.04, 0.1)])
def test_bulk_modulus_of_copper_agrees_with_an_equation_of_state(max_strain, tolerance):
    volumes, energies = [], []
    for side in np.linspace(3.59 * 0.96, 3.59 * 1.04, 33):
        atoms = bulk("Cu", a=side)
        atoms.calc = EMT()
        volumes.append(atoms.get_volume())
        energies.append(atoms.get_potential_energy())
    _, _, modulus = EquationOfState(volumes, energies, eos="birchmurnaghan").fit()
    found = bulk_modulus(volumes, energies, max_strain=max_strain)
    assert found == pytest.approx(modulus / GPa, rel=tolerance)


def test_bulk_modulus_says_what_is_wrong():
    volumes = np.linspace(95, 105, 5)
    with pytest.raises(ValueError, match="no minimum"):
        bulk_modulus(volumes, -((volumes - 100) ** 2))
    with pytest.raises(ValueError, match=r"2 different volumes.*raise max_strain"):
        bulk_modulus([100, 100, 101], [0.0, 0.0, 1.0])
    with pytest.raises(ValueError, match="one length"):
        bulk_modulus(volumes, volumes[1:])
    with pytest.raises(ValueError, match="finite"):
        bulk_modulus(volumes, np.full(5, np.nan))


# Displays


def test_matplotlib_is_imported_only_when_drawing():
    code = (
        "import sys\n"
        "from skwavelet.inspection import ParityDisplay, bulk_modulus\n"
        "display = ParityDisplay([1.0], [2.0])\n"
        "bulk_modulus([9, 10, 11], [1, 0, 1], max_strain=0.1)\n"
        "assert 'matplotlib' not in sys.modules\n"
        "display.plot()\n"
        "assert 'matplotlib' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_missing_matplotlib_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match="pip install"):
        ParityDisplay([1.0], [2.0]).plot()


def test_parity(ensemble, potential, copper):
    _, ax = plt.subplots()
    display = ParityDisplay.from_estimator(
        ensemble, copper.structures, copper.energies, ax=ax, name="copper"
    )
    assert display.ax_ is ax
    assert display.figure_ is ax.figure
    predicted = ensemble.predict(copper.structures)
    np.testing.assert_array_equal(drawn(display.points_), [copper.energies, predicted])
    error = predicted - copper.energies
    assert display.rmse == pytest.approx(np.sqrt(np.mean(error**2)))
    assert display.mae == pytest.approx(np.mean(np.abs(error)))
    assert f"copper: RMSE {1000 * display.rmse:.3g}" in ax.get_legend().texts[0].get_text()

    forces = ParityDisplay.from_estimator(
        potential, copper.structures, copper.forces, quantity="forces"
    )
    expected = np.concatenate(potential.predict_forces(copper.structures)).ravel()
    np.testing.assert_array_equal(drawn(forces.points_)[1], expected)
    assert forces.ax_ is not ax
    assert forces.ax_.get_xlabel() == "reference forces (eV/Å)"

    other = ParityDisplay.from_predictions(
        [90.0, 110.0], [95.0, 105.0], std=[5.0, 5.0], quantity="bulk modulus", unit="GPa"
    )
    assert "RMSE 5, MAE 5 GPa" in other.ax_.get_legend().texts[0].get_text()
    (bars,) = other.ax_.collections
    np.testing.assert_allclose([s[:, 1] for s in bars.get_segments()], [[90, 100], [100, 110]])


def test_parity_says_what_is_wrong(ensemble, copper):
    with pytest.raises(TypeError, match="no predict_forces"):
        ParityDisplay.from_estimator(ensemble, copper.structures, None, quantity="forces")
    with pytest.raises(ValueError, match="quantity='charge' must be one of"):
        ParityDisplay.from_estimator(ensemble, copper.structures, None, quantity="charge")
    with pytest.raises(ValueError, match="y_pred has 1 numbers for 2"):
        ParityDisplay([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="finite"):
        ParityDisplay([1.0], [np.nan])


def test_learning_path_of_an_ensemble(ensemble, copper):
    display = LearningPathDisplay.from_estimator(ensemble, copper.structures, copper.energies)
    regressor = ensemble[-1]
    staged = ensemble[-1].staged_predict(ensemble[0].transform(copper.structures))
    errors = [1000 * np.sqrt(np.mean((y - copper.energies) ** 2)) for y in staged]
    m, test = drawn(display.lines_["test"])
    np.testing.assert_array_equal(m, np.arange(1, len(errors) + 1))
    np.testing.assert_allclose(test, errors, rtol=1e-12)
    for name, column in [("training", "train_rmse"), ("validation", "validation_rmse")]:
        lengths = {len(model.path_) for model in regressor.estimators_}
        assert len(lengths) > 1  # paths that end early are continued
        length = max(lengths)
        curves = [
            [model.path_[column].iloc[min(m, len(model.path_) - 1)] for m in range(length)]
            for model in regressor.estimators_
        ]
        np.testing.assert_allclose(
            drawn(display.lines_[name])[1], 1000 * np.mean(curves, axis=0), rtol=1e-12
        )
    chosen = [model.n_features_selected_ for model in regressor.estimators_]
    mark = display.ax_.lines[-1]
    assert mark.get_xdata()[0] == np.mean(chosen)
    bare = LearningPathDisplay.from_estimator(regressor)
    assert set(bare.lines_) == {"training", "validation"}


def test_learning_path_of_a_potential_is_that_of_its_regressor(potential):
    one = LearningPathDisplay.from_estimator(potential)
    other = LearningPathDisplay.from_estimator(potential.regressor_)
    for name in ("training", "validation"):
        np.testing.assert_array_equal(drawn(one.lines_[name]), drawn(other.lines_[name]))


def test_learning_path_needs_structures_and_energies(ensemble, copper):
    with pytest.raises(ValueError, match="Pass both X and y, or neither"):
        LearningPathDisplay.from_estimator(ensemble, copper.structures)


def test_weight_norms_are_those_of_standardized_features():
    rng = np.random.default_rng(0)
    X = rng.normal(loc=3, size=(60, 8)) * np.logspace(-2, 2, 8)
    y = X @ (rng.normal(size=8) / np.logspace(-2, 2, 8)) + rng.normal(size=60)
    model = GreedyOLSRegressor(6, validation_fraction=None).fit(X, y)
    display = LearningPathDisplay.from_estimator(model, quantity="weights")
    _, norms = drawn(display.lines_["weights"])
    for m in range(1, 7):
        columns = X[:, model.support_[:m]]
        expected = Ridge(1e-12).fit(columns, y).coef_ * columns.std(axis=0)
        assert norms[m - 1] == pytest.approx(1000 * np.linalg.norm(expected), rel=1e-8)
    assert set(display.errors) == {"training"}  # nothing was held out


def test_learning_path_from_predictions_and_its_errors(copper):
    y = copper.energies
    display = LearningPathDisplay.from_predictions(y, [y + 0.02, y - 0.01], name="fold 1")
    np.testing.assert_allclose(drawn(display.lines_["fold 1"]), [[1, 2], [20, 10]], rtol=1e-9)
    with pytest.raises(ValueError, match="no norms of weights"):
        display.plot(quantity="weights")
    with pytest.raises(ValueError, match="must be 'error' or 'weights'"):
        display.plot(quantity="features")
    with pytest.raises(TypeError, match="Ridge has no path"):
        LearningPathDisplay.from_estimator(Ridge().fit([[0.0], [1.0]], [0.0, 1.0]))


def test_selection_counts_the_models_of_an_ensemble(ensemble):
    display = SelectionDisplay.from_estimator(ensemble)
    table = ensemble[0].feature_table_
    supports = [model.support_ for model in ensemble[-1].estimators_]
    picked = table.iloc[np.concatenate(supports)]
    expected = picked["channel"].value_counts(normalize=True)
    bars = {
        tick.get_text(): bar.get_height()
        for tick, bar in zip(display.ax_.get_xticklabels(), display.ax_.patches, strict=True)
    }
    assert list(bars) == table["channel"].unique().tolist()
    for channel, height in bars.items():
        assert height == pytest.approx(100 * expected.get(channel, 0))
    available = drawn(display.ax_.lines[0])[1]
    share = 100 * table["channel"].value_counts(normalize=True)[list(bars)]
    np.testing.assert_allclose(available, share)


def test_selection_of_pairs_is_a_map(ensemble):
    display = SelectionDisplay.from_estimator(ensemble, by="wavelets")
    table = display.table
    image = display.ax_.images[0].get_array()
    first = [tick.get_text() for tick in display.ax_.get_yticklabels()]
    second = [tick.get_text() for tick in display.ax_.get_xticklabels()]
    assert first == second == ["(1, 0)", "(2, 0)", "(2, 1)", "none"]
    here = table.eval("n1 == 2 and l1 == 0 and n2 == 2 and l2 == 1").fillna(False)
    share = 100 * table["selections"][here].sum() / table["selections"].sum()
    assert image[1, 2] == pytest.approx(share)
    zero_order = 100 * table["selections"][table["order"] == 0].sum() / table["selections"].sum()
    assert image[3, 3] == pytest.approx(zero_order)
    assert np.ma.getmaskarray(np.ma.masked_invalid(image))[3, 0]  # no second layer alone
    assert np.nansum(image) == pytest.approx(100)
    scales = display.shares("scales")
    assert scales["available"].sum() == pytest.approx(1)
    assert ("0", "none") in scales.index


def test_selection_through_scalers_selectors_unions_and_sparse_models(copper):
    union = make_union(small_scattering(order=1), small_scattering(channels=["valence"]))
    model = make_pipeline(union, StandardScaler(), Lasso(1e-3, max_iter=100_000))
    model.fit(copper.structures, copper.energies)
    display = SelectionDisplay.from_estimator(model, by="order")
    coef = model[-1].coef_
    tables = [part.feature_table_ for _, part in union.transformer_list]
    both = pd.concat(tables, ignore_index=True)
    share = both["order"][coef != 0].value_counts(normalize=True)
    np.testing.assert_allclose(
        display.shares("order")["selected"], share.reindex([0, 1, 2], fill_value=0)
    )
    assert display.table["representation"].unique().tolist() == ["VoxelScattering"]
    alone = SelectionDisplay.from_estimator(model[-1], both, by="order")
    pd.testing.assert_frame_equal(alone.shares("order"), display.shares("order"))

    mixed = make_pipeline(small_scattering(), PCA(3), Ridge())
    mixed.fit(copper.structures, copper.energies)
    with pytest.raises(ValueError, match="mix features"):
        SelectionDisplay.from_estimator(mixed)
    with pytest.raises(ValueError, match="Pass feature_table"):
        SelectionDisplay.from_estimator(model[-1])
    with pytest.raises(ValueError, match="rows for"):
        SelectionDisplay.from_estimator(model[-1], both[1:])
    with pytest.raises(ValueError, match="by='colour' must be one of scales, wavelets, channel"):
        display.plot(by="colour")


@pytest.mark.parametrize("kind", ["ensemble", "potential"])
def test_path_energy_of_a_model(kind, copper, request):
    model = request.getfixturevalue(kind)
    images, energies = copper.structures[:6], copper.energies[:6]
    display = PathEnergyDisplay.from_estimator(model, images, energies)
    predicted = 4 * model.predict(images)
    np.testing.assert_allclose(drawn(display.lines_["model"])[1], predicted, rtol=1e-9)
    np.testing.assert_allclose(drawn(display.lines_["reference"])[1], 4 * energies, rtol=1e-12)
    std = 4 * model.predict(images, return_std=True)[1]
    band = display.ax_.collections[0].get_paths()[0].vertices
    drawn_std = []
    for image, mean in enumerate(predicted):
        ends = band[band[:, 0] == image, 1]
        assert ends.min() + ends.max() == pytest.approx(2 * mean)
        drawn_std.append(np.ptp(ends) / 2)
    np.testing.assert_allclose(np.linalg.norm(drawn_std), np.linalg.norm(std))
    value, spread = display.barriers["model"]
    assert value == pytest.approx(predicted.max() - predicted[0])
    each = [barrier(curve) for curve in display.predictions["model"]]
    assert spread == pytest.approx(np.std(each))
    assert display.reference_barrier == pytest.approx(4 * (energies.max() - energies[0]))


def test_path_energy_by_number_of_features_and_shifted(ensemble, copper):
    images = copper.structures[:5]
    display = PathEnergyDisplay.from_estimator(
        ensemble, images, n_features=(1, 3, 1000), shifted=True
    )
    staged = list(ensemble[-1].staged_predict(ensemble[0].transform(images)))
    for name, stage in [("M = 1", 0), ("M = 3", 2), ("M = 1000", -1)]:
        curve = 4 * (staged[stage] - staged[stage][0])
        np.testing.assert_allclose(drawn(display.lines_[name])[1], curve, atol=1e-9)
    assert "reference" not in display.lines_
    assert display.reference_barrier is None
    with pytest.raises(ValueError, match="must hold positive integers"):
        PathEnergyDisplay.from_estimator(ensemble, images, n_features=(0, 1))
    with pytest.raises(ValueError, match=r"one number of atoms; got \[4, 8\]"):
        PathEnergyDisplay.from_estimator(ensemble, [images[0], images[1] * (2, 1, 1)])
    with pytest.raises(ValueError, match=r"model must have shape \(3,\)"):
        PathEnergyDisplay.from_predictions([0.0, 1.0, 2.0], [0.0, 1.0], n_atoms=1)


def test_path_energy_says_what_is_wrong():
    with pytest.raises(ValueError, match="Nothing to draw: pass predictions or energies"):
        PathEnergyDisplay({})
    with pytest.raises(ValueError, match="must be finite"):
        PathEnergyDisplay.from_predictions(None, [1.0, np.inf, 2.0], n_atoms=2)


def test_every_shifted_model_starts_at_zero():
    members = [[1.0, 2.0, 1.5], [3.0, 6.0, 3.5]]
    display = PathEnergyDisplay.from_predictions(None, members, n_atoms=2, shifted=True)
    np.testing.assert_allclose(drawn(display.lines_["model"])[1], [0, 4, 1])
    band = display.ax_.collections[0].get_paths()[0].vertices
    for image, ends in enumerate([(0, 0), (2, 6), (1, 1)]):
        here = band[band[:, 0] == image, 1]
        np.testing.assert_allclose([here.min(), here.max()], ends, atol=1e-12)


def test_energy_volume_of_a_model(ensemble):
    strains = np.array([0.06, -0.06, -0.03, 0.0, 0.03])
    cells = strained(strains)
    with pytest.MonkeyPatch.context() as patch:
        kept = []
        scattering = type(ensemble[0])
        original = scattering.keep_grid
        patch.setattr(scattering, "keep_grid", lambda self, a: kept.append(a) or original(self, a))
        display = EnergyVolumeDisplay.from_estimator(ensemble, cells, max_strain=0.2)
    assert kept == [cells[0]]  # the largest
    volumes, energies = drawn(display.lines_["model"])
    order = np.argsort(strains)
    np.testing.assert_allclose(volumes, [cells[i].get_volume() for i in order])
    frozen = ensemble[0].keep_grid(cells[0])
    expected = 4 * ensemble[-1].predict(frozen.transform([cells[i] for i in order]))
    np.testing.assert_allclose(energies, expected, rtol=1e-9)
    members = [
        4 * (frozen.transform([cells[i] for i in order]) @ m.coef_ + m.intercept_)
        for m in ensemble[-1].estimators_
    ]
    least = volumes[np.argmin(expected)]
    curves = [np.polyfit(volumes, member, 2) for member in members]
    # V0 d²E/dV² of c + b V + a V² is -b.
    moduli = [-b / GPa for _, b, _ in curves]
    assert least == pytest.approx(display._fits["model"].reference)
    assert display.bulk_modulus == pytest.approx(np.mean(moduli), rel=1e-6)
    _, std = ensemble[-1].predict(frozen.transform(cells), return_std=True)
    stretch = np.sqrt(np.mean(std**2) / np.mean(np.var(members, axis=0) / 4**2))
    assert display.bulk_modulus_std == pytest.approx(stretch * np.std(moduli), rel=1e-6)
    assert display.reference_bulk_modulus is None


def test_energy_volume_of_known_curves():
    volumes = np.array([105.0, 95.0, 100.0, 110.0, 90.0, 130.0])  # in any order, one too far
    true = -2 + (volumes - 101) ** 2 / (200 * 4)
    members = np.stack([true + 0.5, true + (volumes - 100) / 40])
    display = EnergyVolumeDisplay.from_predictions(volumes, true, members, n_atoms=4, shifted=True)
    assert display.reference_bulk_modulus == pytest.approx(1.01 / GPa)
    # A slope s adds -s to V0 d²E/dV² of a parabola.
    assert display.bulk_modulus == pytest.approx((1.01 - 0.05) / GPa)
    assert display.bulk_modulus_std == pytest.approx(0.05 / GPa)
    assert "K = 162 GPa" in display.ax_.get_legend().texts[0].get_text()
    x, y = drawn(display.lines_["reference fit"])
    assert (x.min(), x.max()) == (90, 110)
    lowest = (100 - 101) ** 2 / 200
    np.testing.assert_allclose(y, (x - 101) ** 2 / 200 - lowest, atol=1e-9)
    with pytest.raises(ValueError, match="predictions must have shape"):
        EnergyVolumeDisplay(volumes, members[:, 1:])


def test_model_and_reference_are_fitted_to_the_same_volumes():
    volumes = np.linspace(80, 120, 41)
    reference = (volumes - 100) ** 2
    model = (volumes - 108) ** 2 + 0.05 * np.abs(volumes - 100) ** 3
    display = EnergyVolumeDisplay(volumes, model, reference)
    expected = bulk_modulus(volumes, model, reference_volume=100)
    assert display.bulk_modulus == pytest.approx(expected, rel=1e-12)
    assert bulk_modulus(volumes, model) != pytest.approx(expected, rel=0.05)


def test_reliability(ensemble, copper):
    predicted, std = ensemble.predict(copper.structures, return_std=True)
    factor, table = calibrate_spread(predicted - copper.energies, std, 4)
    display = ReliabilityDisplay.from_estimator(
        ensemble, copper.structures, copper.energies, n_bins=4
    )
    np.testing.assert_allclose(
        drawn(display.line_), 1000 * table[["std", "rmse"]].to_numpy().T, rtol=1e-12
    )
    assert display.factor == factor
    forces = ReliabilityDisplay.from_predictions(
        copper.energies, predicted, std, n_bins=2, unit="eV/Å", name="forces"
    )
    assert forces.ax_.get_xlabel().endswith("(meV/Å)")
    with pytest.raises(ValueError, match="y_true has shape"):
        ReliabilityDisplay.from_predictions([1.0], [1.0, 2.0], [1.0, 1.0])
