"""Learning on the fly, with effective medium theory as labeller."""

import threading

import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.md.verlet import VelocityVerlet
from ase.mep import NEB
from ase.optimize import BFGS
from sklearn.linear_model import Ridge

from skwavelet import ActiveLearner, BaggedOLSEnsemble, EnergyForceRegressor, PointScattering
from skwavelet.potentials.updating import build_rows


class Counting(EMT):
    """EMT that counts what it is asked for, and may be switched off."""

    def __init__(self, most=10**9):
        super().__init__()
        self.most, self.asked = most, 0

    def calculate(self, *arguments, **options):
        if self.asked == self.most:
            raise KeyboardInterrupt
        super().calculate(*arguments, **options)
        self.asked += 1


def potential(regressor=None, **changes):
    point = PointScattering((1, 2), 1, powers=(2,), n_scales=1, dtype="float64")
    if regressor is None:
        regressor = BaggedOLSEnsemble(6, max_features=12, random_state=0)
    return EnergyForceRegressor(point, regressor, random_state=0, **changes)


def alloys(n=8, rattle=0.03, seed=0):
    rng = np.random.default_rng(seed)
    structures = []
    for _ in range(n):
        atoms = bulk("Cu", a=3.8, cubic=True)
        atoms.symbols = rng.permutation(["Cu", "Cu", "Au", "Au"])
        atoms.rattle(rattle, rng=rng)
        structures.append(atoms)
    return structures


def hot(atoms, learner, steps, temperature=1500):
    """Run dynamics that always takes the same way."""
    atoms = atoms.copy()
    atoms.calc = learner.calculator()
    speeds = np.sqrt(units.kB * temperature / atoms.get_masses())[:, None]
    atoms.set_velocities(speeds * np.random.default_rng(0).normal(size=(len(atoms), 3)))
    VelocityVerlet(atoms, 2 * units.fs).run(steps)
    return atoms


def test_dynamics_learn_what_they_meet():
    labeller, start = Counting(), alloys()
    learner = ActiveLearner(potential(), labeller, threshold=0.03).fit(start)
    before = learner.model_
    end = hot(start[0], learner, 40)
    history = learner.history_
    assert labeller.asked == len(learner.structures_) == len(history) > 8
    assert history["std"][:8].isna().all()
    asked = history[8:]
    assert (asked["std"] > 0.03).all()
    assert asked["calculations"].sum() <= 41
    fits = asked["fit"].to_numpy(dtype=bool)
    assert fits.any()
    assert not fits.all()
    # What was predicted before a structure was learned, and what the labels are.
    last = learner.structures_[8]
    last.calc = EMT()
    error = before.predict([last])[0] - last.get_potential_energy() / 4
    assert asked["energy_error"].iloc[0] == pytest.approx(error)
    wrong = before.predict_forces([last])[0] - last.get_forces()
    assert asked["force_error"].iloc[0] == pytest.approx(np.sqrt(np.mean(wrong**2)))
    # The structure that the dynamics ended with was computed by the present model.
    np.testing.assert_allclose(end.get_forces(), learner.model_.predict_forces([end])[0], atol=1e-8)
    # A model that has learned along the way does not ask again, and is right.
    count = labeller.asked
    again = hot(start[0], learner, 10)
    assert labeller.asked <= count + 3
    again.calc = EMT()
    assert np.abs(learner.model_.predict_forces([again])[0] - again.get_forces()).max() < 0.5


def test_updates_are_those_of_all_rows(monkeypatch):
    """Between fits, models have the weights of least squares on all rows that they have drawn."""
    start, more = alloys(6), alloys(3, rattle=0.2, seed=5)
    labels = [], [], []
    for atoms in (*start, *more):
        atoms.calc = EMT()
        labels[0].append(atoms.get_potential_energy() / 4)
        labels[1].append(atoms.get_forces())
        labels[2].append(atoms.get_stress())
    model = potential(n_directions=3, force_weight=0.01)
    model.fit(start, *(column[:6] for column in labels))
    factors, kept = model._row_factors.copy(), []
    monkeypatch.setattr(
        "skwavelet.potentials.updating.build_rows",
        lambda *a, **more: kept.append(build_rows(*a, **more)) or kept[-1],
    )
    before = [m._path_factor for m in model.regressor_.estimators_]
    targets = [m._path_projection for m in model.regressor_.estimators_]
    seen = []
    ours = type(model.regressor_).update

    def spy(self, design, y, **arguments):
        seen.append((design, y, arguments))
        return ours(self, design, y, **arguments)

    monkeypatch.setattr(type(model.regressor_), "update", spy)
    assert model.update(more, *(column[6:] for column in labels)) is model
    ((design, y, arguments),), (rows,) = seen, kept
    np.testing.assert_array_equal(design, rows.design)
    np.testing.assert_allclose(arguments["sample_weight"], factors[rows.kind])
    np.testing.assert_array_equal(arguments["groups"], rows.structure)
    np.testing.assert_array_equal(arguments["intercept_column"], rows.kind == 0)
    assert len(rows.targets) == 3 * (1 + 3 + 3)
    assert model.n_rows_ == 9 * 7
    rng = np.random.default_rng([*model.regressor_._entropy, 1])
    for member, factor, projection in zip(
        model.regressor_.estimators_, before, targets, strict=True
    ):
        drawn = factors[rows.kind] * rng.poisson(1.0, size=3)[rows.structure]
        column = arguments["intercept_column"].astype(float)
        matrix = (design[:, member._path_support] - np.outer(column, member._path_center)) / (
            member._path_scale
        )
        matrix = np.column_stack([column, matrix])
        left = factor.T @ factor + matrix.T @ (drawn[:, None] * matrix)
        right = factor.T @ projection + matrix.T @ (drawn * y)
        solved = np.linalg.solve(left, right)
        np.testing.assert_allclose(
            member.coef_[member.support_], solved[1:] / member._path_scale, rtol=1e-6
        )
    with pytest.raises(TypeError, match="Ridge cannot be updated"):
        potential(Ridge()).fit(start, labels[0][:6]).update(more, labels[0][6:])


def test_interrupted_learners_go_on(tmp_path):
    start = alloys()
    whole = ActiveLearner(potential(), EMT(), threshold=0.01).fit(start)
    end = hot(start[0], whole, 25)
    n_labels = len(whole.structures_)
    assert n_labels > 10
    # Killed while it labels: at first, and again.
    for most in (3, 7):
        learner = ActiveLearner(
            potential(), Counting(most), threshold=0.01, directory=tmp_path / "labels"
        )
        with pytest.raises(KeyboardInterrupt):
            hot(start[0], learner.fit(start), 25)
    assert len(list((tmp_path / "labels").iterdir())) == 10
    labeller = Counting()
    resumed = ActiveLearner(potential(), labeller, threshold=0.01, directory=tmp_path / "labels")
    resumed.fit(start)
    assert labeller.asked == 0
    assert len(resumed.structures_) == 10
    same = resumed.history_.drop(columns="calculations")
    expected = whole.history_.drop(columns="calculations")[:10]
    np.testing.assert_allclose(
        same.to_numpy(dtype=float), expected.to_numpy(dtype=float), rtol=1e-9, equal_nan=True
    )
    assert np.isfinite(end.get_potential_energy())


def test_directories_of_other_structures_are_refused(tmp_path):
    ActiveLearner(potential(), EMT(), threshold=0.1, directory=tmp_path).fit(alloys())
    other = ActiveLearner(potential(), EMT(), threshold=0.1, directory=tmp_path)
    with pytest.raises(ValueError, match=f"Structure 0 is not the one that {tmp_path} began with"):
        other.fit(alloys(seed=1))


def test_relaxations_and_paths_learn():
    start = alloys()
    learner = ActiveLearner(potential(), EMT(), threshold=0.05).fit(start)
    atoms = alloys(1, rattle=0.15, seed=7)[0]
    atoms.calc = learner.calculator()
    BFGS(atoms, logfile=None).run(fmax=0.3, steps=8)
    count = len(learner.structures_)
    assert count > 8
    images = [start[0].copy() for _ in range(4)]
    images[-1].positions[0] += 0.4
    for image in images:
        image.calc = learner.calculator()
    band = NEB(images, method="improvedtangent")
    band.interpolate()
    BFGS(band, logfile=None).run(fmax=1.0, steps=2)
    assert len(learner.structures_) > count


def test_threads_learn_one_at_a_time():
    start = alloys()
    labeller = Counting()
    learner = ActiveLearner(potential(), labeller, threshold=0.05).fit(start)
    shaken = alloys(4, rattle=0.2, seed=3)
    for atoms in shaken:
        atoms.calc = learner.calculator()
    threads = [threading.Thread(target=atoms.get_forces) for atoms in shaken]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 8 < len(learner.structures_) == labeller.asked <= 12
    present = hot(start[1], learner, 1)
    np.testing.assert_allclose(
        present.get_forces(), learner.model_.predict_forces([present])[0], atol=1e-8
    )


def test_spread_is_looked_at_now_and_then():
    start = alloys()
    learner = ActiveLearner(potential(), EMT(), threshold=1e-6, every=5, growth=100).fit(start)
    hot(start[0], learner, 40)
    asked = learner.history_[8:]
    assert len(asked) > 1
    assert set(asked["calculations"] % 5) == {0}
    assert not asked["fit"].any()


def test_labels_that_do_not_help_are_not_asked_for_again():
    """What a model cannot learn is not asked for at every step."""
    start = alloys()
    learner = ActiveLearner(potential(), EMT(), threshold=1e-6).fit(start)
    hot(start[0], learner, 20)
    std = learner.history_["std"][8:].to_numpy()
    assert 1 <= len(std) < 10


class WithoutStress(Calculator):
    implemented_properties = ["energy", "forces"]

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        super().calculate(atoms, properties, system_changes)
        inner = atoms.copy()
        inner.calc = LennardJones(sigma=2.3, epsilon=0.2, rc=6)
        self.results = {"energy": inner.get_potential_energy(), "forces": inner.get_forces()}


def test_labellers_without_stress():
    learner = ActiveLearner(potential(), WithoutStress(), threshold=0.1).fit(alloys())
    assert learner.model_.n_rows_ == 8 * (1 + 3 * 4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"threshold": 0}, "threshold must be greater than 0"),
        ({"threshold": 0.1, "growth": -1}, "growth must be greater than 0"),
        ({"threshold": 0.1, "every": 0}, "every must be a whole number"),
        ({"threshold": 0.1, "every": 1.5}, "every must be a whole number"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        ActiveLearner(potential(), EMT(), **settings)


def test_models_that_cannot_be_updated():
    with pytest.raises(TypeError, match="Ridge cannot be updated"):
        ActiveLearner(potential(Ridge()), EMT(), threshold=0.1).fit(alloys())
    # Before anything is labelled, where that can be told.
    with pytest.raises(TypeError, match=r"Ridge cannot be updated: use EnergyForceRegressor\(\)"):
        ActiveLearner(Ridge(), None, threshold=0.1).fit(alloys())


def test_what_another_thread_has_learned_meanwhile_is_not_asked_for():
    start = alloys()
    labeller = Counting()
    learner = ActiveLearner(potential(), labeller, threshold=0.2).fit(start)
    (shaken,) = alloys(1, rattle=0.2, seed=3)
    own, others = learner.calculator(), learner.calculator()
    lock = learner._lock

    class Late:
        """A lock that another thread had, and has used, just before."""

        def __enter__(self):
            learner._lock = lock
            others.get_forces(shaken)

        def __exit__(self, *error):
            pass

    learner._lock = Late()
    forces = own.get_forces(shaken)
    assert labeller.asked == 9
    np.testing.assert_allclose(forces, learner.model_.predict_forces([shaken])[0], atol=1e-8)
