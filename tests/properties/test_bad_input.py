"""Errors of one line where there is no property, never NaN; and nothing of the caller's changes."""

import sys

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from helpers.analytic_potentials import Changed, DoubleWell, Keating, Pairs, springs
from sklearn.linear_model import Ridge

from skwavelet import properties
from skwavelet.properties import PropertyError

LENGTH = 2.5
A = LENGTH * np.sqrt(2)
SPRINGS = springs(10.0, LENGTH, 0.3)
OF_CRYSTALS = {
    "relaxed": {},
    "lattice_constant": {},
    "equation_of_state": {},
    "bulk_modulus": {},
    "elastic_tensor": {},
    "vacancy_formation_energy": {"min_length": 7.0},
    "surface_energy": {"thickness": 6.0},
    "phonon_frequencies": {"min_length": 7.0},
}
OF_ALL = OF_CRYSTALS | {
    "energy_drift": {"duration": 0.01},
    "stability": {"duration": 0.01},
    "normal_mode_frequencies": {},
}
of_crystals = pytest.mark.parametrize("name", OF_CRYSTALS)
of_all = pytest.mark.parametrize("name", OF_ALL)


def call(name, atoms, calculator=None):
    if name == "phonon_frequencies":
        pytest.importorskip("phonopy")
    return getattr(properties, name)(atoms, calculator, **OF_ALL[name])


def crystal(a=A):
    return bulk("Cu", a=a, cubic=True)


def subject(name):
    return molecule("H2O") if name == "normal_mode_frequencies" else crystal()


def error_of(name, atoms, calculator=None, kind=PropertyError):
    with pytest.raises(kind) as caught:
        call(name, atoms, calculator)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 250
    return message


# -- nothing changes -----------------------------------------------------------------------------


@of_all
def test_structures_of_the_caller_stay_as_they_are(name):
    atoms = subject(name)
    atoms.positions[0] += 0.01
    atoms.set_constraint(FixAtoms([1]))
    atoms.set_momenta(np.full((len(atoms), 3), 0.1))
    atoms.calc = calculator = EMT()
    copy = atoms.copy()
    call(name, atoms)
    assert atoms.calc is calculator
    assert len(atoms.constraints) == 1
    assert atoms == copy
    np.testing.assert_array_equal(atoms.get_momenta(), copy.get_momenta())


def test_ends_of_paths_stay_as_they_are():
    left, right = Atoms("H", [[-1.1, 0.1, 0]]), Atoms("H", [[0.9, 0, 0]])
    before = left.copy(), right.copy()
    properties.barrier(left, right, DoubleWell())
    assert (left, right) == before
    assert left.calc is right.calc is None


def test_constraints_do_not_hold_the_copies():
    """A held atom would leave the crystal strained, and halve its response."""
    atoms = bulk("Si", a=5.43)
    atoms.set_constraint(FixAtoms([0, 1]))
    found = properties.elastic_tensor(atoms, Keating(3.0, 0.9, 5.43))
    free = properties.elastic_tensor(bulk("Si", a=5.43), Keating(3.0, 0.9, 5.43))
    np.testing.assert_allclose(found, free)


# -- calculators ---------------------------------------------------------------------------------


@of_all
def test_without_calculator(name):
    message = error_of(name, subject(name), kind=ValueError)
    assert "pass one as calculator=" in message


@of_all
def test_without_forces(name):
    calculator = Changed(EMT(), without=["forces", "stress"])
    message = error_of(name, subject(name), calculator, kind=ValueError)
    assert "Changed does not give energy and forces" in message


def test_results_of_one_structure_are_no_calculator():
    atoms = crystal()
    atoms.calc = SinglePointCalculator(atoms, energy=0.0)
    assert "SinglePointCalculator does not give" in error_of(
        "elastic_tensor", atoms, kind=ValueError
    )


def test_what_is_neither_calculator_nor_model():
    with pytest.raises(TypeError, match="put its features and it into one"):
        properties.elastic_tensor(crystal(), Ridge())


@of_crystals
def test_without_stress(name):
    """Stresses come from energies then."""
    found = call(name, crystal(), Changed(SPRINGS, without=["stress"]))
    expected = call(name, crystal(), SPRINGS)
    if name == "relaxed":
        found, expected = found.positions, expected.positions
    if name == "phonon_frequencies":
        found, expected = (np.concatenate(list(part.values())) for part in (found, expected))
    np.testing.assert_allclose(found, expected, rtol=5e-3, atol=1e-3 * np.abs(expected).max())


# -- structures ----------------------------------------------------------------------------------


@of_crystals
def test_molecules_and_vacuum_are_refused(name):
    assert "not periodic in all directions" in error_of(name, molecule("H2O"), EMT(), ValueError)
    slab = fcc111("Cu", (2, 2, 3), vacuum=6.0)
    assert "atoms.pbc = True" in error_of(name, slab, EMT(), ValueError)
    slab.pbc = True
    assert "vacuum along cell vector 2" in error_of(name, slab, EMT(), ValueError)
    box = molecule("H2O", cell=[10, 10, 10], pbc=True)
    assert "vacuum along cell vector" in error_of(name, box, EMT(), ValueError)


def test_vacuum_is_found_across_the_boundary_and_in_sheared_cells():
    """The gap counts, not where the cell begins, nor the length of a slanted vector."""
    slab = fcc111("Cu", (1, 1, 3), vacuum=6.0)
    slab.pbc = True
    for shift in (0.0, 6.0, 9.0):
        moved = slab.copy()
        moved.positions[:, 2] += shift
        assert "12 Å of vacuum" in error_of("relaxed", moved, EMT(), ValueError)
    slanted = bulk("Cu", cubic=True)
    slanted.set_cell([[1, 0, 0], [0, 1, 0], [2, 1, 1]] @ slanted.cell.array)
    assert properties.lattice_constant(bulk("Cu"), EMT()) == pytest.approx(
        np.cbrt(properties.relaxed(slanted, EMT()).get_volume()), rel=1e-4
    )


def test_crystals_have_no_normal_modes():
    message = error_of("normal_mode_frequencies", crystal(), EMT(), ValueError)
    assert "phonon_frequencies" in message
    message = error_of("normal_mode_frequencies", Atoms("Cu"), EMT(), ValueError)
    assert "single atom" in message


@of_all
def test_what_is_no_structure(name):
    if name != "normal_mode_frequencies":
        error_of(name, [crystal()], EMT(), TypeError)
    broken = subject(name)
    broken.positions[1] = np.nan
    assert "atom 1" in error_of(name, broken, EMT(), ValueError)


# -- potentials without that property ------------------------------------------------------------


@of_all
def test_collapse_and_nonsense_are_errors_of_one_line(name):
    """What attracts at every distance has no crystal; what is not finite is no number."""
    attractive = LennardJones(sigma=2.0, epsilon=-1.0, rc=6.0)
    if name in OF_CRYSTALS:
        error_of(name, crystal(), attractive)

    def no_energy(calculator):
        calculator.results["energy"] = np.nan

    error_of(name, subject(name), Changed(EMT(), spoil=no_energy))


@of_crystals
def test_what_the_potential_refuses_on_the_way(name):
    def refuse(calculator):
        raise ValueError("atoms 0 and 1\n are too close")

    message = error_of(name, crystal(3.4), Changed(EMT(), spoil=refuse, after=2))
    assert "refuses: atoms 0 and 1 are too close" in message


@of_crystals
def test_no_convergence(name, monkeypatch):
    monkeypatch.setattr(properties._shared, "MAX_STEPS", 1)
    assert "did not converge to fmax=" in error_of(name, crystal(3.4), SPRINGS)


def test_stress_that_is_not_finite():
    def no_stress(calculator):
        if calculator.calls > 5:
            calculator.results["stress"][3] = np.nan

    spoiled = Changed(SPRINGS, spoil=no_stress)
    assert "not finite" in error_of("elastic_tensor", crystal(), spoiled)


def test_what_becomes_no_number_on_the_way():
    """The optimizers and the dynamics stop where energy or forces are lost."""

    def no_number(calculator):
        calculator.results["energy"] = np.nan
        calculator.results["forces"][:] = np.nan

    message = error_of("relaxed", crystal(3.4), Changed(SPRINGS, spoil=no_number, after=2))
    assert "forces or stresses that are not finite" in message
    message = error_of("energy_drift", crystal(), Changed(SPRINGS, spoil=no_number, after=3))
    assert "not finite after 3 steps" in message
    ends = Atoms("H", [[-1.1, 0.1, 0]]), Atoms("H", [[0.9, 0, 0]])
    with pytest.raises(PropertyError, match="energies that are not finite"):
        # Two relaxations come first.
        properties.barrier(*ends, Changed(DoubleWell(), spoil=no_number, after=25))


def test_a_crystal_at_a_maximum_has_no_equation_of_state():
    """Springs that push: the lattice is stationary, and its energy falls either way."""
    pushing = Pairs(
        lambda r: -5.0 * (r - LENGTH) ** 2, lambda r: -10.0 * (r - LENGTH), 1.3 * LENGTH
    )
    message = error_of("equation_of_state", crystal(), pushing)
    assert "no minimum" in message.lower()


def test_wrong_arguments():
    wrong = {
        "equation_of_state": [{"max_strain": 0.5}, {"n_volumes": 3}],
        "elastic_tensor": [{"strain": 0.0}],
        "vacancy_formation_energy": [{"site": 7}, {"min_length": np.nan}],
        "surface_energy": [{"miller": (0, 0, 0)}, {"thickness": 0.0}, {"vacuum": -1.0}],
        "relaxed": [{"fmax": 0.0}],
    }
    for name, cases in wrong.items():
        for case in cases:
            with pytest.raises(ValueError, match=next(iter(case))):
                getattr(properties, name)(crystal(), SPRINGS, **case)
    with pytest.raises(ValueError, match="several elements"):
        properties.vacancy_formation_energy(bulk("NiAl", "cesiumchloride", a=2.9), EMT())
    with pytest.raises(ValueError, match="single atom: raise it"):
        properties.vacancy_formation_energy(bulk("Cu"), SPRINGS, min_length=0.0)
    with pytest.raises(ValueError, match="The cell is not cubic but"):
        properties.lattice_constant(bulk("Cu", "hcp", a=2.6, c=4.2), EMT())
    with pytest.raises(ValueError, match="6 x 6"):
        properties.cubic_constants(np.zeros((3, 3)))


def test_phonons_need_points_of_three_numbers():
    pytest.importorskip("phonopy")
    with pytest.raises(ValueError, match="Point 'X'"):
        properties.phonon_frequencies(crystal(), SPRINGS, {"X": [0.5, 0.5]})


def test_without_phonopy(monkeypatch):
    monkeypatch.setitem(sys.modules, "phonopy", None)
    with pytest.raises(ModuleNotFoundError, match=r"skwavelet\[properties\]"):
        properties.phonon_frequencies(crystal(), SPRINGS)
    with pytest.raises(ModuleNotFoundError, match=r"needs phonopy"):
        properties.elastic_tensor(crystal(), SPRINGS, symmetrize=True)
