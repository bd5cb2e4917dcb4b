"""Labels are those of the potential itself, whatever structures went through."""

import threading
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator, SinglePointDFTCalculator
from ase.constraints import (
    ExternalForce,
    FixAtoms,
    FixBondLength,
    FixBondLengths,
    FixCartesian,
    FixCartesianParametricRelations,
    FixCom,
    FixConstraint,
    FixedLine,
    FixedMode,
    FixedPlane,
    FixInternals,
    FixLinearTriatomic,
    FixScaled,
    FixScaledParametricRelations,
    FixSubsetCom,
    FixSymmetry,
    Hookean,
    MirrorForce,
    MirrorTorque,
)
from ase.io import read, write
from numpy.testing import assert_allclose, assert_array_equal

from skwavelet import labels_of
from skwavelet.energies import total_energies

ENERGY = -1.25
FORCES = np.random.default_rng(0).normal(size=(4, 3))
STRESS = np.array([0.01, 0.02, -0.03, 0.004, 0.005, 0.006])


def copper(**labels):
    """A cell of four atoms, off their places, with stored labels."""
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.1, seed=0)
    labels = labels or {"energy": ENERGY, "forces": FORCES, "stress": STRESS}
    atoms.calc = SinglePointCalculator(atoms, **labels)
    return atoms


# -- constraints -----------------------------------------------------------------------------------

EYE = np.eye(3)
CONSTRAINTS = {
    "Hookean": lambda a: Hookean(0, 1, k=10.0, rt=0.5),
    "Hookean to a point": lambda a: Hookean(0, (9.0, 9.0, 9.0), k=10.0, rt=0.5),
    "Hookean to a plane": lambda a: Hookean(0, (0.0, 0.0, 1.0, 5.0), k=10.0),
    "ExternalForce": lambda a: ExternalForce(0, 1, 2.0),
    "FixAtoms": lambda a: FixAtoms([0, 1]),
    "FixBondLength": lambda a: FixBondLength(0, 1),
    "FixBondLengths": lambda a: FixBondLengths([[0, 1], [2, 3]]),
    "FixCartesian": lambda a: FixCartesian(2, (True, False, True)),
    "FixScaled": lambda a: FixScaled([1], (True, True, False)),
    "FixCom": lambda a: FixCom(),
    "FixSubsetCom": lambda a: FixSubsetCom([0, 1]),
    "FixedLine": lambda a: FixedLine([0], (1, 0, 0)),
    "FixedPlane": lambda a: FixedPlane([0], (1, 0, 0)),
    "FixedMode": lambda a: FixedMode(np.ones(12)),
    "FixInternals": lambda a: FixInternals(bonds=[[2.6, [0, 1]]]),
    "FixLinearTriatomic": lambda a: FixLinearTriatomic([(0, 1, 2)]),
    "FixSymmetry": lambda a: FixSymmetry(bulk("Cu", cubic=True)),
    "FixScaledParametricRelations": lambda a: FixScaledParametricRelations(
        [0], np.ones((3, 1)), np.zeros(3)
    ),
    "FixCartesianParametricRelations": lambda a: FixCartesianParametricRelations(
        [0, 1, 2], np.ones((9, 1)), np.zeros(9), use_cell=True
    ),
    "MirrorForce": lambda a: MirrorForce(0, 1),
    "MirrorTorque": lambda a: MirrorTorque(0, 1, 2, 3),
}


def assert_untouched_labels(atoms):
    labels = labels_of([atoms])
    assert_array_equal(labels.total_energies, [ENERGY])
    assert_array_equal(labels.energies, [ENERGY / 4])
    assert_allclose(labels.forces[0], FORCES, rtol=0, atol=1e-8)
    assert_allclose(labels.stress[0], STRESS, rtol=0, atol=1e-10)
    assert_array_equal(total_energies([atoms]), [ENERGY])


def test_constraints_of_ase_are_all_here():
    """A constraint that a new version of ASE brings has to join the list above."""

    def subclasses(kind):
        for sub in kind.__subclasses__():
            yield sub.__name__
            yield from subclasses(sub)

    abstract = {"IndexedConstraint", "FixParametricRelations"}
    ours = {name.split()[0] for name in CONSTRAINTS}
    # FixBondLength is a function.
    assert set(subclasses(FixConstraint)) - abstract == ours - {"FixBondLength"}


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_constraints_do_not_reach_labels(name):
    atoms = copper()
    atoms.set_constraint(CONSTRAINTS[name](atoms))
    assert_untouched_labels(atoms)
    assert_untouched_labels(deepcopy(atoms))


RESTORED = [
    (name, suffix)
    for suffix in ("traj", "json", "db", "xyz")
    for name in ("Hookean", "ExternalForce", "FixCom", "FixAtoms", "FixCartesian")
    if suffix != "xyz" or name in {"FixAtoms", "FixCartesian"}  # what its columns can hold
]


@pytest.mark.parametrize(("name", "suffix"), RESTORED)
def test_constraints_that_files_restore(name, suffix, tmp_path):
    atoms = copper()
    atoms.set_constraint(CONSTRAINTS[name](atoms))
    write(tmp_path / f"a.{suffix}", atoms)
    restored = read(tmp_path / f"a.{suffix}")
    assert restored.constraints
    assert_untouched_labels(restored)


def test_constraints_of_a_vasp_run():
    file = Path(__file__).parents[2] / "docs/howto/data/vasprun.xml"
    if not file.exists():
        file = next((Path(__file__).parents[2] / "docs/howto").rglob("vasprun.xml"))
    atoms = read(file)
    raw = atoms.calc.results
    atoms.set_constraint([FixAtoms([0]), Hookean(0, (9.0, 9.0, 9.0), k=1.0, rt=0.1)])
    labels = labels_of([atoms])
    assert labels.total_energies == [raw["energy"]]
    assert_array_equal(labels.forces[0], raw["forces"])
    assert labels_of([atoms], energy_key="free_energy").total_energies == [raw["free_energy"]]


@pytest.mark.parametrize("constraint", ["Hookean", "ExternalForce", "FixAtoms", "FixCom"])
def test_constraints_and_live_calculators(constraint):
    free = bulk("Cu", cubic=True)
    free.rattle(0.1, seed=3)
    held = free.copy()
    held.set_constraint(CONSTRAINTS[constraint](held))
    held.calc, free.calc = EMT(), EMT()
    labels = labels_of([held])
    assert_array_equal(labels.total_energies, [free.get_potential_energy()])
    assert_array_equal(labels.forces[0], free.get_forces())
    assert_array_equal(labels.stress[0], free.get_stress())


# -- stale labels ----------------------------------------------------------------------------------


def add_atom(atoms):
    atoms += Atoms("Cu", [[1.0, 1.0, 1.0]])


def scale_cell(atoms):
    atoms.set_cell(atoms.cell * 1.01, scale_atoms=True)


def move_out_and_wrap(atoms):
    atoms.positions[0] -= 0.5
    atoms.calc = SinglePointCalculator(atoms, energy=ENERGY)
    atoms.wrap()


CHANGES = {
    "positions": lambda a: a.set_positions(a.positions + 0.1),
    "wrap": move_out_and_wrap,
    "rattle": lambda a: a.rattle(0.01),
    "pbc": lambda a: a.set_pbc([True, True, False]),
    "cell": lambda a: a.set_cell(a.cell * 1.01),
    "scaled cell": scale_cell,
    "deletion": lambda a: a.__delitem__(0),
    "addition": add_atom,
    "element": lambda a: a.symbols.__setitem__(0, "Ag"),
    "charges": lambda a: a.set_initial_charges([1, 0, 0, 0]),
    "order": lambda a: a.set_positions(a.positions[::-1]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_structures_are_named_with_the_stored_value(change):
    good, bad = copper(), copper()
    CHANGES[change](bad)
    message = r"Structure 1 was changed \(.*\) after its energy \(-1.25\) was calculated; call"
    for function in (labels_of, total_energies):
        with pytest.raises(ValueError, match=message):
            function([good, bad])
    # The remedy that the message names.
    bad.calc = SinglePointCalculator(bad, energy=ENERGY)
    assert total_energies([bad]) == [ENERGY]


def test_forces_of_another_geometry_are_refused_too():
    atoms = copper(forces=FORCES)
    atoms.info["E"] = -3.0
    atoms.rattle(0.1)
    with pytest.raises(ValueError, match=r"Structure 0 was changed \(positions\) after its forces"):
        labels_of([atoms], energy_key="E")


def test_results_that_belong_to_no_structure():
    atoms = bulk("Cu")
    atoms.calc = Calculator()
    atoms.calc.results["energy"] = -3.0
    with pytest.raises(ValueError, match=r"after its energy \(-3.0\) was calculated"):
        labels_of([atoms])


# -- other names -----------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["REF_energy", "energy", "dft_energy", "Energy", "Etot", "TOTEN"])
@pytest.mark.parametrize("value", [-4.0, -4, np.float32(-4.0), np.array(-4.0), np.array([-4.0])])
def test_energies_of_other_names(key, value):
    atoms = bulk("Cu", cubic=True)
    atoms.info[key] = value
    message = rf"Structure 0 has no energy; found info\['{key}'\]: pass energy_key='{key}' to lab"
    with pytest.raises(ValueError, match=message):
        labels_of([atoms])
    assert labels_of([atoms], energy_key=key).energies == [-1.0]
    assert total_energies([atoms], energy_key=key) == [-4.0]


@pytest.mark.parametrize("key", ["REF_forces", "force", "dft_forces", "forces"])
def test_forces_of_other_names(key):
    atoms = copper(energy=ENERGY)
    atoms.arrays[key] = FORCES
    with pytest.warns(UserWarning, match=rf"0 has no forces, but arrays\['{key}'\]; pass forces_"):
        assert labels_of([atoms]).forces is None
    assert_array_equal(labels_of([atoms], forces_key=key).forces[0], FORCES)
    atoms.calc = None
    atoms.info["REF_energy"] = -1.0
    with pytest.raises(
        ValueError, match=f"pass energy_key='REF_energy', forces_key='{key}' to labels_of"
    ):
        labels_of([atoms])


FULL = STRESS[[[0, 5, 4], [5, 1, 3], [4, 3, 2]]]


@pytest.mark.parametrize("value", [STRESS, FULL, FULL.ravel(), STRESS.tolist()])
def test_stress_and_virial_of_other_names(value):
    atoms = copper(energy=ENERGY)
    atoms.info["REF_stress"] = value
    with pytest.warns(UserWarning, match="pass stress_key='REF_stress'"):
        assert labels_of([atoms]).stress is None
    assert_allclose(labels_of([atoms], stress_key="REF_stress").stress[0], STRESS, rtol=1e-15)
    del atoms.info["REF_stress"]
    atoms.info["virials"] = -np.array(value) * atoms.get_volume()
    with pytest.warns(UserWarning, match="pass virial_key='virials'"):
        assert labels_of([atoms]).stress is None
    assert_allclose(labels_of([atoms], virial_key="virials").stress[0], STRESS, rtol=1e-14)
    with pytest.raises(ValueError, match="stress_key='virials' names a virial; pass virial_key="):
        labels_of([atoms], stress_key="virials")
    with pytest.raises(ValueError, match="not both"):
        labels_of([atoms], stress_key="stress", virial_key="virials")


def test_virial_sign_is_that_of_the_energy():
    """The virial is -dE/d(strain), the stress dE/d(strain) / volume, here by differences."""
    atoms = bulk("Cu", a=3.5, cubic=True)
    atoms.rattle(0.05, seed=0)

    def energy(strain):
        moved = atoms.copy()
        moved.set_cell(atoms.cell @ (np.eye(3) + strain), scale_atoms=True)
        moved.calc = EMT()
        return moved.get_potential_energy()

    derivative = np.zeros((3, 3))
    for a in range(3):
        for b in range(3):
            strain = np.zeros((3, 3))
            strain[a, b] = strain[b, a] = 1e-5
            derivative[a, b] = (energy(strain) - energy(-strain)) / 2e-5 / (1 if a == b else 2)
    atoms.info.update(E=energy(np.zeros((3, 3))), virial=-derivative)
    found = labels_of([atoms], energy_key="E", virial_key="virial").stress[0]
    atoms.calc = EMT()
    assert_allclose(found, atoms.get_stress(), rtol=0, atol=1e-7)


def test_keys_through_extended_xyz(tmp_path):
    structures = [copper(energy=ENERGY) for _ in range(2)]
    for i, atoms in enumerate(structures):
        atoms.calc = None
        atoms.info.update(REF_energy=-4.0 - i, REF_stress=FULL, virial=FULL)
        atoms.arrays["REF_forces"] = FORCES
    write(tmp_path / "a.xyz", structures)
    labels = labels_of(
        read(tmp_path / "a.xyz", ":"),
        energy_key="REF_energy",
        forces_key="REF_forces",
        stress_key="REF_stress",
    )
    assert_array_equal(labels.energies, [-1.0, -1.25])
    assert_allclose(labels.forces, [FORCES] * 2, atol=1e-7)
    assert_allclose(labels.stress, [STRESS] * 2, atol=1e-7)


def test_names_that_nothing_has():
    atoms = copper()
    atoms.info["REF_energy"] = -1.0
    atoms.arrays["REF_forces"] = FORCES
    with pytest.raises(ValueError, match=r"no info\['ref_energy'\]; found info\['REF_energy'\]"):
        labels_of([atoms], energy_key="ref_energy")
    with pytest.raises(ValueError, match=r"No structure has arrays\['f'\].*; found 'REF_forces'"):
        labels_of([atoms], forces_key="f")
    with pytest.raises(ValueError, match=r"info\['s'\], its stress; nothing is named alike"):
        labels_of([atoms], stress_key="s")
    with pytest.raises(ValueError, match="No structure is periodic in all directions"):
        labels_of([molecule_with(energy=1.0)], stress_key="s")
    with pytest.raises(ValueError, match=r"Structure 1 has no info\['REF_energy'\]; add it"):
        labels_of([atoms, copper()], energy_key="REF_energy")


def molecule_with(**labels):
    atoms = molecule("H2O")
    atoms.calc = SinglePointCalculator(atoms, **labels)
    return atoms


# -- free energies, gaps, broken labels ------------------------------------------------------------


def test_free_energy_where_nothing_else_is():
    assert labels_of([copper(free_energy=-8.0)]).energies == [-2.0]
    both = copper(energy=-4.0, free_energy=-8.0)
    assert labels_of([both]).energies == [-1.0]
    assert labels_of([both], energy_key="free_energy").energies == [-2.0]
    with pytest.raises(ValueError, match="Structure 1 has a free energy only, and others an energ"):
        labels_of([both, copper(free_energy=-8.0)])
    mixed = [both, copper(free_energy=-8.0)]
    assert_array_equal(labels_of(mixed, energy_key="free_energy").energies, [-2.0, -2.0])
    with pytest.raises(ValueError, match="Structure 1 has no energy"):
        labels_of([copper(free_energy=-8.0), copper(forces=FORCES)])


def test_labels_of_some_structures_only():
    with_nan = copper(energy=ENERGY, forces=np.full((4, 3), np.nan), stress=np.full(6, np.nan))
    labels = labels_of([copper(energy=ENERGY), copper(), with_nan, molecule_with(energy=0.0)])
    assert [force is None for force in labels.forces] == [True, False, True, True]
    assert [stress is None for stress in labels.stress] == [True, False, True, True]
    none = labels_of([copper(energy=ENERGY), with_nan])
    assert none.forces is None
    assert none.stress is None


def test_stress_needs_three_periods():
    slab = copper()
    slab.pbc = [True, True, False]
    slab.calc = SinglePointCalculator(slab, energy=ENERGY, stress=STRESS)
    assert labels_of([slab]).stress is None


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"energy": np.nan}, r"energies\[1\] is nan"),
        ({"energy": -np.inf}, r"energies\[1\] is -inf"),
        ({"energy": np.zeros(4)}, "Structure 1 has an energy that is not one number"),
        ({"energy": "low"}, "Structure 1 has an energy that is not one number"),
        ({"forces": np.zeros((3, 3))}, r"Structure 1 has forces of shape \(3, 3\), not \(4, 3\)"),
        ({"forces": np.zeros(12)}, r"Structure 1 has forces of shape \(12,\), not \(4, 3\)"),
        ({"forces": np.array([[np.nan, 0, 0]] * 4)}, "Structure 1 has NaN or infinite forces"),
        ({"stress": np.zeros(5)}, r"Structure 1 has stress of shape \(5,\), not \(6,\)"),
        ({"stress": [np.inf, 0, 0, 0, 0, 0]}, "Structure 1 has NaN or infinite stress"),
        ({"stress": np.triu(np.ones((3, 3)))}, "Structure 1 has a stress that is not symmetric"),
    ],
)
def test_broken_labels(labels, message):
    with pytest.raises(ValueError, match=message):
        labels_of([copper(), copper(**({"energy": ENERGY} | labels))])


def test_structures_without_labels():
    for atoms in (bulk("Cu"), molecule("H2O"), copper(forces=FORCES)):
        with pytest.raises(ValueError, match="Structure 1 has no energy; add it to its file"):
            labels_of([copper(), atoms])
    with pytest.raises(TypeError, match="pass a list"):
        labels_of(copper())
    broken = copper()
    broken.positions[0] = np.nan
    with pytest.raises(ValueError, match="Structure 0 has NaN or infinite positions"):
        labels_of([broken])


# -- live calculators ------------------------------------------------------------------------------


def test_live_calculators_compute_or_have_computed():
    structures = [bulk("Cu", a=a, cubic=True) for a in (3.5, 3.6, 3.7)]
    shared = EMT()
    for i, atoms in enumerate(structures):
        atoms.rattle(0.1, seed=i)
        atoms.set_constraint(FixAtoms([0]))
        atoms.info["path"] = i
        atoms.calc = shared
    before = [(a.copy(), a.calc, dict(a.info), list(a.arrays)) for a in structures]
    labels = labels_of(structures)
    for i, (atoms, (copied, calc, info, arrays)) in enumerate(zip(structures, before, strict=True)):
        assert atoms == copied
        assert atoms.calc is calc
        assert (atoms.info, list(atoms.arrays)) == (info, arrays)
        assert len(atoms.constraints) == 1
        alone = atoms.copy()
        alone.set_constraint()
        alone.calc = EMT()
        assert labels.total_energies[i] == alone.get_potential_energy()
        assert_array_equal(labels.forces[i], alone.get_forces())
        assert_array_equal(labels.stress[i], alone.get_stress())


def test_results_are_copies():
    atoms = copper()
    labels = labels_of([atoms])
    labels.forces[0] += 1
    labels.stress[0] += 1
    assert_untouched_labels(atoms)


def test_live_calculators_that_fail():
    atoms = bulk("Si")
    atoms.calc = EMT()
    with pytest.raises(ValueError, match=r"calculator of structure 0 \(EMT\) fails to compute"):
        labels_of([atoms])


def test_live_calculators_that_know_energies_alone():
    class EnergyOnly(Calculator):
        implemented_properties = ("energy",)

        def __init__(self):
            super().__init__()
            self.lock = threading.Lock()  # cannot be copied

        def calculate(self, atoms, properties, system_changes):
            self.results = {"energy": -2.0 * len(atoms)}

    atoms = bulk("Cu", cubic=True)
    atoms.calc = EnergyOnly()
    labels = labels_of([atoms])
    assert labels.energies == [-2.0]
    assert labels.forces is None
    assert labels.stress is None


def test_calculators_of_electronic_structure():
    atoms = bulk("Cu", cubic=True)
    atoms.calc = SinglePointDFTCalculator(atoms, energy=ENERGY, forces=FORCES, efermi=1.0)
    assert labels_of([atoms]).energies == [ENERGY / 4]


def test_documentation_reads_labels_nowhere_else():
    """Constraints and changed atoms would make wrong labels of what pages and examples show."""
    root = Path(__file__).parents[2]
    pages = [root / "README.md", *root.glob("docs/**/*.md"), *root.glob("examples/*.py")]
    package = root / "skwavelet"
    # Properties are computed by calculators: there are no labels.
    pages += [page for page in package.glob("**/*.py") if page.parent != package / "properties"]
    getters = ("get_forces() for", "get_stress() for", "get_potential_energy() / len(")
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert not [getter for getter in getters if getter in text], page
