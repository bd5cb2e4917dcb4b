"""Frequencies against closed forms."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from helpers.analytic_potentials import Pairs, fcc_vectors, pair_frequencies, springs

from skwavelet.properties import (
    lattice_constant,
    normal_mode_frequencies,
    phonon_frequencies,
)

K = 3.0
# sqrt(eV/Å²/u) in THz (angular), and in 1/cm.
THZ = np.sqrt(units._e / units._amu) * 1e10 / (2 * np.pi) * 1e-12
CM = np.sqrt(units._e / units._amu) * 1e10 / (2 * np.pi * units._c * 100)


# -- phonons -------------------------------------------------------------------------------------


@pytest.fixture(scope="module", autouse=True)
def phonopy():
    return pytest.importorskip("phonopy")


def test_chain_of_two_masses():
    """Γ: 0 and sqrt(2k (1/m + 1/M)); at the edge of the zone sqrt(2k/m) and sqrt(2k/M)."""
    length = 2.0
    chain = Atoms("LiSi", [[0, 0, 0], [0, 0, length]], cell=[5, 5, 2 * length], pbc=True)
    light, heavy = chain.get_masses()
    points = {"edge": [0, 0, 0.5], "centre": [0, 0, 0]}
    found = phonon_frequencies(chain, springs(K, length), points, min_length=8.0)
    assert list(found) == ["edge", "centre"]
    # Springs hold nothing back sideways but for what a step of 0.01 Å stretches them.
    np.testing.assert_allclose(found["edge"][:4], 0, atol=0.03)
    expected = np.sqrt([2 * K / heavy, 2 * K / light]) * THZ
    np.testing.assert_allclose(found["edge"][4:], expected, rtol=1e-5)
    optical = np.sqrt(2 * K * (1 / light + 1 / heavy)) * THZ
    np.testing.assert_allclose(found["centre"][:5], 0, atol=0.03)
    assert found["centre"][5] == pytest.approx(optical, rel=1e-5)


def test_springs_on_fcc_at_x_and_l():
    """Springs between nearest neighbours: M ω² is 4k twice and 8k at X; 2k twice and 8k at L."""
    length = 2.5
    copper = bulk("Cu", a=length * np.sqrt(2))
    found = phonon_frequencies(copper, springs(K, length))
    mass = copper.get_masses()[0]
    for point, factors in {"X": [4, 4, 8], "L": [2, 2, 8], "G": [0, 0, 0]}.items():
        expected = np.sqrt(K * np.array(factors) / mass) * THZ
        np.testing.assert_allclose(found[point], expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    ("point", "cartesian"), [("X", (0, 0, 1)), ("L", (0.5, 0.5, 0.5)), ("W", (0.5, 0, 1))]
)
def test_lennard_jones_on_fcc(point, cartesian):
    """The lattice sum of the dynamical matrix, over a cutoff within half of the supercell."""
    epsilon, sigma, cutoff = 0.0104, 3.4, 4.9
    calculator = LennardJones(epsilon=epsilon, sigma=sigma, rc=cutoff, smooth=False)

    def slope(r):
        return 4 * epsilon * (-12 * (sigma / r) ** 12 + 6 * (sigma / r) ** 6) / r

    def curvature(r):
        return 4 * epsilon * (156 * (sigma / r) ** 12 - 42 * (sigma / r) ** 6) / r**2

    argon = bulk("Ar", a=5.4)
    found = phonon_frequencies(argon, calculator, min_length=4 * 5.4 / np.sqrt(3) * 0.99)
    a = lattice_constant(argon, calculator)
    assert len(fcc_vectors(a, cutoff)) == 12
    mass = argon.get_masses()[0]
    expected = pair_frequencies(slope, curvature, a, cutoff, cartesian, mass)
    np.testing.assert_allclose(found[point], expected, rtol=2e-3)


def test_what_is_not_stable_has_negative_frequencies():
    """Square well upside down: springs that push keep no lattice, yet the lattice is stationary."""
    length = 2.5
    pushing = Pairs(lambda r: -K / 2 * (r - length) ** 2, lambda r: -K * (r - length), 1.3 * length)
    copper = bulk("Cu", a=length * np.sqrt(2))
    found = phonon_frequencies(copper, pushing, {"X": [0.5, 0.5, 0.0]})
    expected = -np.sqrt(K * np.array([8, 4, 4]) / copper.get_masses()[0]) * THZ
    np.testing.assert_allclose(found["X"], expected, rtol=1e-4)


# -- molecules -----------------------------------------------------------------------------------


def test_diatomic_molecule():
    molecule = Atoms("CO", [[0, 0, 0], [0, 0.5, 1.0]])
    found = normal_mode_frequencies(molecule, springs(40.0, 1.2))
    carbon, oxygen = molecule.get_masses()
    expected = np.sqrt(40.0 * (1 / carbon + 1 / oxygen)) * CM
    np.testing.assert_allclose(found, [expected], rtol=1e-4)


def test_linear_molecule_has_one_more():
    """Springs do not bend: two zeros, and the stretches in and out of phase."""
    molecule = Atoms("OCO", [[-1.2, 0, 0], [0, 0, 0], [1.2, 0, 0]])
    found = normal_mode_frequencies(molecule, springs(50.0, 1.2))
    oxygen, carbon = molecule.get_masses()[:2]
    stretches = np.sqrt([50.0 / oxygen, 50.0 * (1 / oxygen + 2 / carbon)]) * CM
    # Stretching by a sideways step of 0.01 Å: the differences see a trace of it.
    np.testing.assert_allclose(found[:2], 0, atol=0.02 * stretches[0])
    np.testing.assert_allclose(found[2:], stretches, rtol=1e-4)


def test_triangle():
    """Three springs: M ω² is 3k for breathing, and 3k/2 twice."""
    angles = 2 * np.pi * np.arange(3) / 3
    corners = np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=1) / np.sqrt(3)
    molecule = Atoms("N3", 1.5 * corners)
    found = normal_mode_frequencies(molecule, springs(30.0, 1.5))
    expected = np.sqrt(30.0 * np.array([1.5, 1.5, 3.0]) / molecule.get_masses()[0]) * CM
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_frequencies_of_a_molecule_do_not_depend_on_its_place():
    molecule = Atoms("H2O", [[0, 0.8, -0.5], [0, -0.8, -0.5], [0, 0, 0.1]])
    found = normal_mode_frequencies(molecule, EMT(), fmax=1e-6)
    molecule.rotate(50, (1, 2, 3))
    molecule.translate([4, 5, 6])
    assert found.shape == (3,)
    assert (found > 100).all()
    again = normal_mode_frequencies(molecule, EMT(), fmax=1e-6)
    np.testing.assert_allclose(again, found, atol=3.0)
