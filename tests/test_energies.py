import doctest

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write
from numpy.testing import assert_allclose, assert_array_equal

from skwavelet import energies
from skwavelet.energies import (
    energy_per_atom,
    formation_energy_per_atom,
    reference_energies,
    total_energies,
)


def test_energy_per_atom_times_atoms_is_the_total():
    structures = [Atoms("Si2"), Atoms("Li3Si"), Atoms("H")]
    assert_array_equal(energy_per_atom([-10, -8, 3], structures), [-5, -2, 3])


def labelled(*values):
    """Return atoms of copper far apart, with these energies; None for no such label."""
    structures = [Atoms("Cu2", [[0, 0, 0], [0, 0, 5 + i]]) for i in range(len(values))]
    for atoms, value in zip(structures, values, strict=True):
        labels = {"forces": np.zeros((2, 3))} if value is None else {"energy": value}
        atoms.calc = SinglePointCalculator(atoms, **labels)
    return structures


def test_total_energies_are_those_of_the_file(tmp_path):
    write(tmp_path / "a.xyz", labelled(-3.5, 7.25))
    assert_array_equal(total_energies(read(tmp_path / "a.xyz", ":")), [-3.5, 7.25])


def test_total_energies_of_a_calculator():
    atoms = Atoms("Cu2", [[0, 0, 0], [0, 0, 2.5]], calculator=EMT())
    assert_array_equal(total_energies([atoms]), [atoms.get_potential_energy()])


def test_structures_without_energy_are_named():
    with pytest.raises(ValueError, match="Structure 1 has no energy; add it"):
        total_energies(labelled(1.0, None))
    with pytest.raises(ValueError, match="Structure 0 has no energy; add it"):
        total_energies([Atoms("Cu")])
    with pytest.raises(ValueError, match=r"energies\[1\] is nan"):
        total_energies(labelled(1.0, np.nan))
    broken = labelled(1.0, 2.0)
    broken[1].positions[0] = np.nan  # ASE then says that there is no energy
    with pytest.raises(ValueError, match="Structure 1 has NaN or infinite positions"):
        total_energies(broken)
    with pytest.raises(TypeError, match="pass a list"):
        total_energies(labelled(1.0)[0])


def test_formation_energy_closed_form():
    structures = [Atoms("Li2"), Atoms("LiSi3"), Atoms("Li3Si"), Atoms("LiOSi2")]
    total = np.array([-4.0, -20.0, -13.0, -17.0])
    mu = {"Li": -2.0, "Si": -5.0, "O": -4.0, "Fe": 99.0}
    expected = [
        (-4 + 2 * 2) / 2,
        (-20 + 2 + 3 * 5) / 4,
        (-13 + 3 * 2 + 5) / 4,
        (-17 + 2 + 4 + 2 * 5) / 4,
    ]
    formation = formation_energy_per_atom(energy_per_atom(total, structures), structures, mu)
    assert_allclose(formation, expected, rtol=1e-14)


def test_pure_end_members_are_the_references():
    structures = [Atoms("Li2"), Atoms("Li4"), Atoms("LiSi"), Atoms("Si"), Atoms("Si8")]
    per_atom = [-1.9, -2.0, -3.7, -5.0, -4.8]
    assert reference_energies(per_atom, structures) == {"Li": -2.0, "Si": -5.0}
    assert_allclose(
        formation_energy_per_atom(per_atom, structures), [0.1, 0.0, -0.2, 0.0, 0.2], atol=1e-14
    )


def test_compound_end_members_span_the_line():
    # Of the two Li-richest cells the lower one counts; the middle lies 0.3 above the line.
    structures = [Atoms("Li3Si"), Atoms("Li6Si2"), Atoms("LiSi3"), Atoms("LiSi")]
    per_atom = [-2.5, -3.0, -4.0, -3.2]
    assert_allclose(
        formation_energy_per_atom(per_atom, structures), [0.5, 0, 0, 0.3], rtol=0, atol=1e-14
    )


def test_energies_of_free_atoms_have_no_formation_energy(lisi):
    mu = {"Li": -1.25, "Si": -4.75}
    total = [
        sum(mu[symbol] for symbol in atoms.get_chemical_symbols()) for atoms in lisi.structures
    ]
    per_atom = energy_per_atom(total, lisi.structures)
    assert_allclose(formation_energy_per_atom(per_atom, lisi.structures, mu), 0, atol=1e-12)
    found = reference_energies(per_atom, lisi.structures)
    assert_allclose([found["Li"], found["Si"]], [-1.25, -4.75], rtol=1e-10)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([-1.0, -2.0], [Atoms("Li")]), r"energies must hold .* shape \(1,\); got shape \(2,\)"),
        (([[-1.0]], [Atoms("Li")]), r"energies must hold .*got shape \(1, 1\)"),
        (([-1.0, np.nan], [Atoms("Li"), Atoms("Si")]), r"energies\[1\] is nan"),
        (([-1.0, -2.0], [Atoms("Li"), Atoms()]), "Structure 1 has no atoms"),
        (([], []), "no structures"),
    ],
)
@pytest.mark.parametrize(
    "function", [energy_per_atom, formation_energy_per_atom, reference_energies]
)
def test_bad_input(function, arguments, message):
    with pytest.raises(ValueError, match=message):
        function(*arguments)


@pytest.mark.parametrize(
    "function", [energy_per_atom, formation_energy_per_atom, reference_energies]
)
def test_one_structure_needs_a_list(function):
    with pytest.raises(TypeError, match="pass a list"):
        function([-1.0], Atoms("Li"))


def test_missing_reference_names_structure_and_element():
    with pytest.raises(ValueError, match="Structure 1 has Si"):
        formation_energy_per_atom([-2.0, -3.0], [Atoms("Li"), Atoms("LiSi")], {"Li": -2.0})


def test_one_composition_has_no_references():
    with pytest.raises(ValueError, match="do not determine"):
        reference_energies([-3.0, -3.1], [Atoms("LiSi"), Atoms("Li2Si2")])


def test_docstring_examples_run():
    results = doctest.testmod(energies)
    assert results.attempted > 0
    assert results.failed == 0
