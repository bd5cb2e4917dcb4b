"""Lattice constants, equations of state and elastic tensors against closed forms."""

import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS
from helpers.analytic_potentials import (
    Changed,
    Keating,
    Pairs,
    fcc_vectors,
    lattice_sum,
    pair_elastic_tensor,
)
from helpers.emt_data import copper_crystals
from scipy.optimize import brentq
from scipy.spatial.transform import Rotation
from sklearn.linear_model import Ridge

from skwavelet import EnergyForceRegressor, PointScattering, ScatteringCalculator
from skwavelet.properties import (
    bulk_modulus,
    cubic_constants,
    elastic_tensor,
    equation_of_state,
    lattice_constant,
    relaxed,
)

# Lennard-Jones argon (eV, Å), cut between shells of neighbours where none crosses.
EPSILON, SIGMA, CUTOFF = 0.0104, 3.4, 5.9


def phi(r):
    return 4 * EPSILON * ((SIGMA / r) ** 12 - (SIGMA / r) ** 6)


def slope(r):
    return 4 * EPSILON * (-12 * (SIGMA / r) ** 12 + 6 * (SIGMA / r) ** 6) / r


def curvature(r):
    return 4 * EPSILON * (156 * (SIGMA / r) ** 12 - 42 * (SIGMA / r) ** 6) / r**2


def third(r):
    return 4 * EPSILON * (-156 * 14 * (SIGMA / r) ** 12 + 42 * 8 * (SIGMA / r) ** 6) / r**3


ARGON = Pairs(phi, slope, CUTOFF)


def shell_radii(a):
    """Distances of neighbours on the fcc lattice, each as often as it occurs."""
    return np.linalg.norm(fcc_vectors(a, CUTOFF), axis=1)


@pytest.fixture(scope="module")
def argon():
    """Lattice constant where the lattice sum is least."""
    return brentq(lambda a: (slope(r := shell_radii(a)) * r).sum(), 5.0, 5.5, xtol=1e-12)


def test_lattice_constant_of_lennard_jones(argon):
    assert lattice_constant(bulk("Ar", a=5.4), ARGON) == pytest.approx(argon, rel=1e-5)
    cubic = relaxed(bulk("Ar", a=5.2, cubic=True), ARGON)
    np.testing.assert_allclose(cubic.cell.cellpar(), [argon] * 3 + [90] * 3, rtol=1e-5)
    assert cubic.get_potential_energy() / 4 == pytest.approx(
        lattice_sum(phi, argon, CUTOFF), rel=1e-9
    )


def test_equation_of_state_of_lennard_jones(argon):
    """V0, E0, B0 and B' from derivatives of the lattice sum with respect to the length."""
    found = equation_of_state(bulk("Ar", a=5.3), ARGON, max_strain=0.01)
    r = shell_radii(argon)
    # Scaling lengths by s, with E' = 0: V = V0 s³.
    second = (curvature(r) * r**2).sum() / 2
    cubed = (third(r) * r**3).sum() / 2
    volume = argon**3 / 4
    assert found.volume == pytest.approx(volume, rel=1e-5)
    assert found.energy == pytest.approx(lattice_sum(phi, argon, CUTOFF), rel=1e-6)
    assert found.bulk_modulus == pytest.approx(second / (9 * volume) / units.GPa, rel=2e-3)
    # B' = 1 - E'''/(3 E''), by the chain rule from s to V.
    assert found.bulk_modulus_derivative == pytest.approx(1 - cubed / (3 * second), rel=1e-2)
    # Over the default strains the curve of Birch and Murnaghan is not quite that of pairs.
    assert bulk_modulus(bulk("Ar", a=5.3), ARGON) == pytest.approx(found.bulk_modulus, rel=5e-3)


@pytest.mark.parametrize("stress", [True, False])
def test_elastic_tensor_of_lennard_jones(argon, stress):
    """Born's lattice sum; at zero pressure Cauchy's relation C12 = C44 holds."""
    calculator = ARGON if stress else Changed(ARGON, without=["stress"])
    expected = pair_elastic_tensor(slope, curvature, argon, CUTOFF)
    found = elastic_tensor(bulk("Ar", a=5.3), calculator, strain=1e-3, fmax=1e-6)
    np.testing.assert_allclose(found, expected, atol=2e-4 * expected.max())
    c11, c12, c44 = cubic_constants(found)
    assert c12 == pytest.approx(c44, rel=1e-3)
    modulus = equation_of_state(bulk("Ar", a=5.3), calculator, max_strain=0.01).bulk_modulus
    assert (c11 + 2 * c12) / 3 == pytest.approx(modulus, rel=2e-3)


def test_default_strain_costs_less_than_a_thousandth(argon):
    expected = pair_elastic_tensor(slope, curvature, argon, CUTOFF)
    found = elastic_tensor(bulk("Ar", a=5.3), ARGON)
    np.testing.assert_allclose(found, expected, atol=2e-3 * expected.max())


@pytest.mark.parametrize("relax_ions", [True, False])
def test_elastic_tensor_of_keating_diamond(relax_ions):
    """Only the shear moves the sublattices: relaxed atoms take C44 from (α+β)/4 to αβ/(α+β)."""
    model = Keating(3.0, 0.9, 5.43)
    c11, c12, relaxed_c44, clamped_c44 = model.constants()
    found = elastic_tensor(bulk("Si"), model, relax_ions=relax_ions, strain=1e-3, fmax=1e-6)
    expected = (c11, c12, relaxed_c44 if relax_ions else clamped_c44)
    np.testing.assert_allclose(cubic_constants(found), expected, rtol=1e-4)
    assert relaxed_c44 < 0.8 * clamped_c44


@pytest.mark.parametrize("element", ["Cu", "Al", "Au"])
def test_elastic_tensor_of_effective_medium_theory(element):
    """Second differences of ASE's own energies, where atoms stand at their places by symmetry."""
    found = elastic_tensor(bulk(element, cubic=True), EMT(), strain=2e-3)
    atoms = bulk(element)
    atoms.calc = EMT()
    BFGS(FrechetCellFilter(atoms), logfile=None).run(fmax=1e-6)
    cell, volume, step = atoms.cell.array.copy(), atoms.get_volume(), 2e-3

    def energy(strain):
        atoms.set_cell(cell @ (np.eye(3) + strain), scale_atoms=True)
        return atoms.get_potential_energy()

    def curvature_along(strain):
        ends = energy(step * strain) + energy(-step * strain) - 2 * energy(0 * strain)
        return ends / step**2 / volume / units.GPa

    one, two = np.zeros((2, 3, 3))
    one[0, 0], two[1, 1] = 1, 1
    shear = np.zeros((3, 3))
    shear[0, 1] = shear[1, 0] = 0.5
    c11 = curvature_along(one)
    c12 = (curvature_along(one + two) - 2 * c11) / 2
    expected = (c11, c12, curvature_along(shear))
    np.testing.assert_allclose(cubic_constants(found), expected, rtol=2e-3)


@pytest.mark.parametrize(
    ("element", "published"),
    [("Cu", (171.65, 114.82, 89.00, 133.99)), ("Ag", (124.45, 86.27, 53.44, 99.27))],
)
def test_effective_medium_theory_agrees_with_another_implementation(element, published):
    """Values in the tests of Asap (ElasticConstants.py), from strains of 1 %; GPa."""
    found = cubic_constants(elastic_tensor(bulk(element), EMT()))
    modulus = bulk_modulus(bulk(element), EMT())
    np.testing.assert_allclose((*found, modulus), published, rtol=0.02)


def test_orientation_and_symmetry():
    """The tensor turns with the crystal, and the average over symmetry leaves it alone."""
    pytest.importorskip("phonopy")
    model = Keating(3.0, 0.9, 5.43)
    straight = elastic_tensor(bulk("Si"), model)
    turn = Rotation.from_rotvec([0.3, -0.5, 0.2]).as_matrix()
    turned = bulk("Si")
    turned.set_cell(turned.cell.array @ turn.T, scale_atoms=True)
    found = elastic_tensor(turned, model)
    with pytest.raises(ValueError, match="not that of a cubic crystal"):
        cubic_constants(found)
    pairs = [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]
    full = np.empty((3, 3, 3, 3))
    for a, (i, j) in enumerate(pairs):
        for b, (k, l) in enumerate(pairs):
            full[i, j, k, l] = full[j, i, k, l] = full[i, j, l, k] = full[j, i, l, k] = straight[
                a, b
            ]
    full = np.einsum("ai,bj,ck,dl,ijkl->abcd", turn, turn, turn, turn, full)
    expected = np.array([[full[i, j, k, l] for k, l in pairs] for i, j in pairs])
    np.testing.assert_allclose(found, expected, atol=1e-3 * expected.max())
    averaged = elastic_tensor(turned, model, symmetrize=True)
    np.testing.assert_allclose(averaged, expected, atol=1e-3 * expected.max())


def test_average_over_symmetry_removes_what_breaks_it():
    """A stress of 5 % along x alone makes the tensor orthorhombic; its average is cubic again."""
    pytest.importorskip("phonopy")

    def spoil(calculator):
        calculator.results["stress"][0] *= 1.05

    spoiled = Changed(Keating(3.0, 0.9, 5.43), spoil=spoil)
    plain = elastic_tensor(bulk("Si"), spoiled)
    averaged = elastic_tensor(bulk("Si"), spoiled, symmetrize=True)
    assert np.ptp(np.diag(plain)[:3]) > 0.02 * plain.max()
    np.testing.assert_allclose(np.ptp(np.diag(averaged)[:3]), 0, atol=1e-9 * plain.max())
    np.testing.assert_allclose(np.diag(averaged)[:3].mean(), np.diag(plain)[:3].mean(), rtol=1e-9)


@pytest.fixture(scope="module", params=["float64", "float32"])
def model(request):
    data = copper_crystals(16, rattle=0.05)
    features = PointScattering([1, 2], 2, n_scales=2, smoothing=0.05, dtype=request.param)
    model = EnergyForceRegressor(features, Ridge(1e-8), n_directions=4, random_state=0)
    return model.fit(data.structures, data.energies, forces=data.forces, stress=data.stress)


def test_fitted_models_are_calculators(model):
    """A model itself will do, and its stresses are those of its energies."""
    single = model.features.dtype == "float32"
    found = elastic_tensor(bulk("Cu"), model, fmax=1e-3)
    crystal = relaxed(bulk("Cu"), ScatteringCalculator(model), fmax=1e-3)
    cell, volume, step = crystal.cell.array.copy(), crystal.get_volume(), 0.01
    shear = np.zeros((3, 3))
    shear[0, 1] = shear[1, 0] = step / 2

    def energy(sign):
        crystal.set_cell(cell @ (np.eye(3) + sign * shear), scale_atoms=True)
        return crystal.get_potential_energy()

    curvature = (energy(1) + energy(-1) - 2 * energy(0)) / step**2 / volume / units.GPa
    assert found[5, 5] == pytest.approx(curvature, rel=0.02 if single else 2e-3)


def test_born_criterion_tells_a_crystal_that_is_not_stable():
    """Simple cubic with springs to nearest neighbours alone resists no shear."""
    k, a = 2.0, 2.5
    found = elastic_tensor(
        bulk("Po", "sc", a=a), Pairs(lambda r: k / 2 * (r - a) ** 2, lambda r: k * (r - a), 3.0)
    )
    expected = np.diag([k / a / units.GPa] * 3 + [0.0] * 3)
    np.testing.assert_allclose(found, expected, atol=1e-3 * expected.max())
    assert np.linalg.eigvalsh(found)[0] < 1e-3 * expected.max()
