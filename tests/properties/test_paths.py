"""Barriers against closed forms."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import add_adsorbate, fcc100
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms, FixCartesian
from ase.optimize import BFGS
from helpers.analytic_potentials import DoubleWell

from skwavelet.properties import PropertyError, barrier


@pytest.mark.parametrize("tilt", [0.0, 0.2, -0.2])
def test_double_well(tilt):
    """The path bends out of the axis at the start, and the climbing image finds the saddle."""
    well = DoubleWell(0.5, tilt)
    left, saddle, right = well.extremes()
    found = barrier(Atoms("H", [[-1.1, 0.2, 0.0]]), Atoms("H", [[0.9, 0.0, -0.3]]), well, fmax=1e-3)
    assert found.forward == pytest.approx(saddle - left, abs=1e-5)
    assert found.backward == pytest.approx(saddle - right, abs=1e-5)
    assert found.above_lowest == pytest.approx(saddle - min(left, right), abs=1e-5)
    assert found.energies.shape == (7,)
    np.testing.assert_allclose(found.energies[[0, -1]], [left, right], atol=1e-5)


def hop():
    """Gold on aluminium, as in ASE's tutorial; the layers below are held."""
    initial = fcc100("Al", (2, 2, 3), vacuum=8.0)
    add_adsorbate(initial, "Au", 1.7, "hollow")
    initial.set_constraint(FixAtoms(mask=initial.get_tags() > 1))
    final = initial.copy()
    final.positions[-1, 0] += final.cell[0, 0] / 2
    return initial, final


def test_hop_of_an_atom_on_a_surface():
    """By symmetry the saddle is the bridge: a relaxation with the atom held there in x finds it."""
    initial, final = hop()
    found = barrier(initial, final, EMT(), n_images=3, fmax=0.01)
    assert found.forward == pytest.approx(found.backward, abs=2e-3)
    ends = []
    for x in (0.0, initial.cell[0, 0] / 4):
        atoms = initial.copy()
        atoms.positions[-1, 0] += x
        atoms.calc = EMT()
        atoms.constraints.append(FixCartesian(len(atoms) - 1, (True, False, False)))
        BFGS(atoms, logfile=None).run(fmax=0.005)
        ends.append(atoms.get_potential_energy())
    assert found.forward == pytest.approx(ends[1] - ends[0], abs=3e-3)


def test_ends_must_differ_and_match():
    well = DoubleWell()
    left, right = Atoms("H", [[-1.1, 0, 0]]), Atoms("H", [[0.9, 0, 0]])
    with pytest.raises(PropertyError, match="same minimum"):
        barrier(left, Atoms("H", [[-0.8, 0, 0]]), well)
    with pytest.raises(ValueError, match="same atoms in the same order"):
        barrier(left, Atoms("He", right.positions), well)
    with pytest.raises(ValueError, match="same periods"):
        barrier(left, Atoms("H", right.positions, cell=[9, 9, 9], pbc=True), well)
    with pytest.raises(ValueError, match="n_images=0"):
        barrier(left, right, well, n_images=0)
    fixed = [Atoms("HH", [*end.positions, (0, 5, x)]) for end, x in ((left, 0.0), (right, 0.1))]
    for end in fixed:
        end.set_constraint(FixAtoms([1]))
    with pytest.raises(ValueError, match="atoms that are fixed must stand at the same places"):
        barrier(*fixed, well)
