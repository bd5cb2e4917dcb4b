"""Vacancies and surfaces against numbers of broken bonds."""

import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.optimize import BFGS
from helpers.analytic_potentials import Pairs, lattice_sum, springs

from skwavelet.properties import (
    lattice_constant,
    relaxed,
    surface_energy,
    vacancy_formation_energy,
)

DEPTH, LENGTH = 0.3, 2.5
A = LENGTH * np.sqrt(2)
BONDED = springs(2.0, LENGTH, DEPTH)


@pytest.mark.parametrize("min_length", [7.0, 10.0])
def test_unrelaxed_vacancy_of_a_pair_potential(min_length):
    """It costs the energy of cohesion: a lattice loses the atom's bonds, and gains them back."""
    found = vacancy_formation_energy(
        bulk("Cu", a=A + 0.02), BONDED, min_length=min_length, relax_ions=False, fmax=1e-5
    )
    assert found == pytest.approx(6 * DEPTH, rel=1e-6)


def test_longer_pairs_count_too():
    """Morse's potential to the fourth shell: minus its sum over the lattice, per atom."""
    depth, width, length, cutoff = 0.4, 1.4, 2.8, 5.9

    def phi(r):
        decay = np.exp(-width * (r - length))
        return depth * (decay**2 - 2 * decay)

    def slope(r):
        decay = np.exp(-width * (r - length))
        return -2 * depth * width * (decay**2 - decay)

    morse = Pairs(phi, slope, cutoff)

    a = lattice_constant(bulk("Cu", a=3.9), morse, fmax=1e-5)
    found = vacancy_formation_energy(
        bulk("Cu", a=3.9), morse, min_length=8.0, relax_ions=False, fmax=1e-5
    )
    assert found == pytest.approx(-lattice_sum(phi, a, cutoff), rel=1e-6)


def test_relaxed_vacancy_is_that_of_a_relaxation_by_hand():
    found = vacancy_formation_energy(bulk("Cu", a=3.58), EMT(), min_length=7.0)
    # The cell of least energy, and the same supercell; atom 0 is anywhere.
    perfect = relaxed(bulk("Cu"), EMT()).repeat(4)
    perfect.calc = EMT()
    energy = perfect.get_potential_energy() * (len(perfect) - 1) / len(perfect)
    del perfect[7]
    perfect.calc = EMT()
    before = perfect.get_potential_energy() - energy
    BFGS(perfect, logfile=None).run(fmax=1e-3)
    assert found == pytest.approx(perfect.get_potential_energy() - energy, abs=1e-4)
    assert found < before - 0.01
    assert vacancy_formation_energy(
        bulk("Cu"), EMT(), min_length=7.0, relax_ions=False
    ) == pytest.approx(before, abs=1e-3)


@pytest.mark.parametrize(
    ("miller", "broken", "area"),
    [((1, 1, 1), 3, np.sqrt(3) / 4), ((1, 0, 0), 4, 1 / 2), ((1, 1, 0), 6, 1 / np.sqrt(2))],
)
@pytest.mark.parametrize("thickness", [6.0, 13.0])
def test_surface_of_a_pair_potential(miller, broken, area, thickness):
    """Broken bonds per atom of the surface, half of each bond's depth, over the atom's area.

    An atom of (110) has lost five bonds, and the one below it one.
    """
    found = surface_energy(
        bulk("Cu", a=A - 0.02, cubic=True),
        BONDED,
        miller=miller,
        thickness=thickness,
        vacuum=6.0,
        fmax=1e-5,
    )
    expected = broken * DEPTH / 2 / (area * A**2) * units.m**2 / units.J
    assert found == pytest.approx(expected, rel=1e-5)


def test_surfaces_relax():
    settings = {"miller": (1, 1, 0), "thickness": 8.0}
    copper = bulk("Cu", cubic=True)
    stiff = surface_energy(copper, EMT(), relax_ions=False, **settings)
    assert surface_energy(copper, EMT(), **settings) < stiff - 1e-3
    # Wider slabs and wider vacuum change little: it is a property of the surface.
    wider = surface_energy(copper, EMT(), relax_ions=False, miller=(1, 1, 0), thickness=14.0)
    assert wider == pytest.approx(stiff, rel=1e-3)
