"""The ASE calculator, also at work: relaxation, cell relaxation, NEB, E(V), dynamics."""

import io

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import PropertyNotImplementedError
from ase.eos import EquationOfState
from ase.filters import FrechetCellFilter
from ase.io import Trajectory, read, write
from ase.md.verlet import VelocityVerlet
from ase.mep import NEB
from ase.optimize import BFGS, FIRE
from helpers.emt_data import copper_crystals, small_scattering
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skwavelet import BaggedOLSEnsemble, EnergyForceRegressor, ScatteringCalculator
from skwavelet.potentials.rows import VOIGT_STRAINS
from skwavelet.representations.base import StructureTransformer


@pytest.fixture(scope="module")
def copper():
    return copper_crystals(40, rattle=0.15, strain=0.02)


@pytest.fixture(scope="module")
def model(copper):
    """Good to 2 meV/atom and 30 meV/Å on such crystals, and smooth."""
    features = make_pipeline(small_scattering(spacing=0.4, smoothing=0.1), StandardScaler())
    model = EnergyForceRegressor(features, Ridge(1e-6), n_directions="all", stress_weight=10)
    return model.fit(copper.structures, copper.energies, forces=copper.forces, stress=copper.stress)


@pytest.fixture(scope="module")
def ensemble(copper):
    regressor = BaggedOLSEnsemble(5, max_features=15, random_state=0)
    pipeline = make_pipeline(small_scattering(), StandardScaler(), regressor)
    return pipeline.fit(copper.structures, copper.energies)


def crystal(model, *, rattle=0.0, seed=0, a=3.62, repeat=1):
    atoms = bulk("Cu", a=a, cubic=True) * (repeat, 1, 1)
    atoms.rattle(rattle, seed=seed)
    atoms.calc = ScatteringCalculator(model)
    return atoms


def test_results_are_those_of_the_model(copper, model):
    atoms = copper.structures[0].copy()
    atoms.calc = ScatteringCalculator(model)
    np.testing.assert_allclose(atoms.get_potential_energy(), 4 * model.predict([atoms])[0])
    np.testing.assert_allclose(atoms.get_forces(), model.predict_forces([atoms])[0])
    np.testing.assert_allclose(atoms.get_stress(), model.predict_stress([atoms])[0])
    np.testing.assert_allclose(
        atoms.get_potential_energy(force_consistent=True), atoms.get_potential_energy()
    )
    assert "energy_std" not in atoms.calc.results


def test_forces_and_stress_are_derivatives_of_the_energy(copper, ensemble):
    atoms = copper.structures[1].copy()
    atoms.calc = ScatteringCalculator(ensemble)
    forces, stress, step = atoms.get_forces(), atoms.get_stress(), 5e-6
    moved = [atoms.copy() for _ in range(4)]
    moved[0].positions[2, 1] += step
    moved[1].positions[2, 1] -= step
    for copy, sign in zip(moved[2:], (1, -1), strict=True):
        strain = np.eye(3) + sign * step * VOIGT_STRAINS[3]
        copy.set_cell(atoms.cell.array @ strain, scale_atoms=True)
    energies = []
    for copy in moved:
        copy.calc = atoms.calc
        energies.append(copy.get_potential_energy())
    slopes = np.array([energies[0] - energies[1], energies[2] - energies[3]]) / (2 * step)
    np.testing.assert_allclose(-slopes[0], forces[2, 1], rtol=1e-6)
    np.testing.assert_allclose(slopes[1] / atoms.get_volume(), stress[3], rtol=1e-6, atol=1e-8)


def test_total_energies(copper):
    pipeline = make_pipeline(small_scattering(order=1, normalize=None), Ridge(1e-3))
    pipeline.fit(copper.structures, 4 * copper.energies)
    atoms = copper.structures[0].copy()
    atoms.calc = ScatteringCalculator(pipeline, per_atom=False)
    np.testing.assert_allclose(atoms.get_potential_energy(), pipeline.predict([atoms])[0])
    # Forces first: the energy then comes from the same sweep.
    swept, step = atoms.copy(), 1e-5
    swept.calc = ScatteringCalculator(pipeline, per_atom=False)
    forces = swept.get_forces()
    np.testing.assert_allclose(swept.get_potential_energy(), atoms.get_potential_energy())
    energies = []
    for sign in (1, -1):
        atoms.positions[1, 0] = swept.positions[1, 0] + sign * step
        energies.append(atoms.get_potential_energy())
    np.testing.assert_allclose(-np.diff(energies[::-1])[0] / (2 * step), forces[1, 0], rtol=1e-5)


def test_spread_of_an_ensemble(copper, ensemble):
    atoms = copper.structures[0].copy()
    atoms.calc = ScatteringCalculator(ensemble)
    _, std = ensemble[-1].predict(ensemble[:-1].transform([atoms]), return_std=True)
    np.testing.assert_allclose(atoms.calc.get_property("energy_std", atoms), 4 * std[0])
    atoms.get_forces()
    assert "forces_std" not in atoms.calc.results
    forces_std = atoms.calc.get_property("forces_std", atoms)
    members = []
    for member in ensemble[-1].estimators_:
        pipeline = make_pipeline(*(step for _, step in ensemble.steps[:-1]), member)
        copy = atoms.copy()
        copy.calc = ScatteringCalculator(pipeline)
        members.append(copy.get_forces())
    # Trained on energies alone: the ratio of their errors to their spread is all that is known.
    ratio = ensemble[-1]._overall_ratio
    variance = np.var(members, axis=0, ddof=1).mean(axis=1, keepdims=True)  # over directions
    expected = np.broadcast_to(ratio * np.sqrt(variance), forces_std.shape)
    np.testing.assert_allclose(forces_std, expected, rtol=1e-8)


def test_no_spread_without_an_ensemble(model):
    atoms = crystal(model)
    for name in ("energy_std", "forces_std"):
        with pytest.raises(PropertyNotImplementedError, match="has no spread"):
            atoms.calc.get_property(name, atoms)


def test_caching(model, monkeypatch):
    atoms, calls = crystal(model, rattle=0.1), []
    calculate = ScatteringCalculator.calculate
    monkeypatch.setattr(
        ScatteringCalculator,
        "calculate",
        lambda self, *args: (calls.append(args[1]), calculate(self, *args))[1],
    )
    atoms.get_forces()
    atoms.get_potential_energy()
    atoms.get_stress()
    assert len(calls) == 1
    atoms.positions[0, 0] += 0.01
    atoms.get_potential_energy()
    assert "forces" not in atoms.calc.results
    atoms.get_forces()
    assert len(calls) == 3
    for name, value in {
        "positions": atoms.positions + 1e-12,
        "numbers": np.full(len(atoms), 28),
        "cell": 1.01 * atoms.cell,
        "pbc": False,
    }.items():
        other = atoms.copy()
        setattr(other, name, value)
        assert atoms.calc.check_state(other) == [name]
    other = atoms.copy()
    other.set_initial_charges(np.ones(len(atoms)))  # which the model does not know
    assert atoms.calc.check_state(other) == []


def test_molecules_have_no_stress(copper):
    molecules = [Atoms("Cu2", [[0, 0, 0], [d, 0, 0]]) for d in np.linspace(2.1, 2.9, 9)]
    pipeline = make_pipeline(small_scattering(order=1), Ridge(1e-6))
    pipeline.fit(molecules, (np.linspace(2.1, 2.9, 9) - 2.5) ** 2)
    atoms = molecules[1]
    atoms.calc = ScatteringCalculator(pipeline)
    assert atoms.get_forces()[0, 0] < 0
    assert "stress" not in atoms.calc.results
    with pytest.raises(PropertyNotImplementedError):
        atoms.get_stress()
    first = atoms.calc._first
    atoms.positions[1, 0] += 0.5
    atoms.get_forces()
    assert atoms.calc._first is first
    atoms.positions[1, 0] += 1.0
    atoms.get_forces()
    assert atoms.calc._first is not first


def test_results_can_be_written(tmp_path, model):
    atoms = crystal(model, rattle=0.1)
    atoms.get_forces()
    write(tmp_path / "cu.extxyz", atoms)
    np.testing.assert_allclose(
        read(tmp_path / "cu.extxyz").get_forces(), atoms.get_forces(), atol=1e-7
    )
    with Trajectory(tmp_path / "cu.traj", "w", atoms) as trajectory:
        trajectory.write()
    stored = read(tmp_path / "cu.traj")
    np.testing.assert_allclose(stored.get_potential_energy(), atoms.get_potential_energy())


def test_models_without_derivative_are_refused(copper):
    forest = make_pipeline(small_scattering(order=1), RandomForestRegressor(2))
    forest.fit(copper.structures, copper.energies)
    with pytest.raises(TypeError, match="RandomForestRegressor is no linear model"):
        ScatteringCalculator(forest)


# -- the grid --------------------------------------------------------------------------------


def test_grid_is_kept_for_small_changes_of_the_cell(model):
    atoms = crystal(model)
    atoms.get_potential_energy()
    calc = atoms.calc
    kept = calc._kept.chain.leaves[0]._evaluator.layout
    assert kept is not None
    for factor, is_kept in ((1.04, True), (0.96, True), (1.06, False)):
        first = calc._first
        strained = bulk("Cu", a=3.62 * factor, cubic=True)
        strained.calc = calc
        strained.get_potential_energy()
        assert (calc._first is first) == is_kept
    other = bulk("Cu", a=3.62 * 1.06, cubic=True) * (2, 1, 1)
    other.calc, first = calc, calc._first
    other.get_potential_energy()
    assert calc._first is not first


def test_energy_is_smooth_along_the_cell(copper):
    """Second differences tell steps of the grid from curvature."""
    # The grid of this spacing has 8 points up to 3.6 Å, and more beyond.
    features = small_scattering(spacing=0.45, smoothing=0.1)
    model = EnergyForceRegressor(make_pipeline(features, StandardScaler()), Ridge(1e-4))
    model.fit(copper.structures[:20], copper.energies[:20], stress=copper.stress[:20])
    scales = np.linspace(0.98, 1.01, 16)
    curves = []
    for keep in (True, False):
        calc = ScatteringCalculator(model)
        energies = []
        for scale in scales:
            atoms = copper.structures[0].copy()
            atoms.set_cell(scale * 3.62 * np.eye(3), scale_atoms=True)
            atoms.calc = calc if keep else ScatteringCalculator(model)
            energies.append(atoms.get_potential_energy())
        curves.append(np.diff(energies, 2))
    jumps = [np.abs(np.diff(curve)).max() for curve in curves]
    assert jumps[0] < 1e-4
    assert jumps[1] > 10 * jumps[0]


def test_atom_crossing_the_cell_boundary(model):
    atoms = crystal(model, rattle=0.1)
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    shifted = atoms.copy()
    shifted.positions[1] += atoms.cell[0] - 2 * atoms.cell[2]
    shifted.calc = atoms.calc
    np.testing.assert_allclose(shifted.get_potential_energy(), energy, rtol=1e-10)
    np.testing.assert_allclose(shifted.get_forces(), forces, atol=1e-8)
    # Continuous on the way.
    steps = np.linspace(-1e-3, 1e-3, 5)
    moved = []
    for step in steps:
        atoms.positions[0, 0] = step
        moved.append(atoms.get_potential_energy())
    np.testing.assert_allclose(np.diff(moved, 2), 0, atol=1e-5)


# -- jobs ------------------------------------------------------------------------------------


def test_relaxation(model):
    atoms = crystal(model, rattle=0.1)
    start = atoms.get_potential_energy()
    assert BFGS(atoms, logfile=None).run(fmax=0.01, steps=60)
    assert atoms.get_potential_energy() < start
    positions = atoms.get_scaled_positions(wrap=False)
    ideal = bulk("Cu", cubic=True).get_scaled_positions()
    shift = positions - ideal
    np.testing.assert_allclose(shift - shift.mean(axis=0), 0, atol=0.02)


def test_cell_relaxation(model):
    atoms = crystal(model, rattle=0.05)
    atoms.set_cell(atoms.cell.array @ np.diag([1.03, 0.98, 1.01]), scale_atoms=True)
    assert BFGS(FrechetCellFilter(atoms), logfile=None).run(fmax=0.01, steps=80)
    # Effective medium theory has 3.59 Å.
    np.testing.assert_allclose(atoms.cell.lengths(), 3.59, atol=0.05)
    np.testing.assert_allclose(atoms.get_stress(), 0, atol=1e-3)


def test_bulk_modulus(model):
    calc = ScatteringCalculator(model)
    volumes, energies = [], []
    for a in 3.59 * np.linspace(0.98, 1.02, 9):
        atoms = bulk("Cu", a=a, cubic=True)
        atoms.calc = calc
        volumes.append(atoms.get_volume())
        energies.append(atoms.get_potential_energy())
    _, _, modulus = EquationOfState(volumes, energies).fit()
    # Effective medium theory: 134 GPa.
    assert 100 < modulus / units.GPa < 170


def test_nudged_elastic_band(model):
    """Two atoms change places half way and back: the band stays a band and converges."""
    first = crystal(model)
    last = first.copy()
    last.positions[0] += [0.25, 0.0, 0.0]
    last.calc = ScatteringCalculator(model)
    images = [first] + [first.copy() for _ in range(2)] + [last]
    neb = NEB(images, method="improvedtangent")
    neb.interpolate()
    for image in images[1:-1]:
        image.calc = ScatteringCalculator(model)
    assert FIRE(neb, logfile=io.StringIO()).run(fmax=0.1, steps=60)
    energies = [image.get_potential_energy() for image in images]
    assert np.all(np.diff(energies) > 0)


@pytest.mark.parametrize("kind", ["model", "ensemble"])
def test_steps_of_dynamics_prepare_nothing_again(kind, request, monkeypatch):
    """Copies of a representation cost more than its forces in a small cell."""
    copies = []
    prepare = StructureTransformer.in_double
    monkeypatch.setattr(
        StructureTransformer, "in_double", lambda self: copies.append(self) or prepare(self)
    )
    atoms = crystal(request.getfixturevalue(kind))
    for seed in range(3):
        atoms.rattle(0.01, seed=seed)
        atoms.get_forces()
    assert len(copies) == 1


def run_dynamics(model, femtoseconds, timestep):
    atoms = crystal(model)
    momenta = np.random.default_rng(0).normal(size=(4, 3))
    momenta *= np.sqrt(units.kB * 300 * atoms.get_masses())[:, None]
    atoms.set_momenta(momenta - momenta.mean(axis=0))
    totals = []
    dynamics = VelocityVerlet(atoms, timestep * units.fs)
    dynamics.attach(lambda: totals.append(atoms.get_total_energy()))
    dynamics.run(round(femtoseconds / timestep))
    return np.array(totals)


def test_dynamics_conserves_energy(model):
    drifts = [np.ptp(run_dynamics(model, 48, timestep)) for timestep in (4, 2)]
    assert drifts[1] < 2e-3
    np.testing.assert_allclose(drifts[0] / drifts[1], 4, rtol=0.3)


@pytest.mark.slow
def test_energy_drift_over_a_picosecond_falls_with_the_square_of_the_time_step(model):
    drifts = [np.ptp(run_dynamics(model, 1000, timestep)) for timestep in (4, 2)]
    assert drifts[1] < 5e-3
    np.testing.assert_allclose(drifts[0] / drifts[1], 4, rtol=0.3)
