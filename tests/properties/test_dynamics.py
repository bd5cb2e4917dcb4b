"""Conservation of energy, stability, and radial distributions."""

import re

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.geometry.rdf import get_rdf
from helpers.analytic_potentials import Changed, springs

from skwavelet.properties import energy_drift, radial_distribution, stability

LENGTH = 2.5
SPRINGS = springs(10.0, LENGTH, 0.3)


def crystal(n=3):
    return bulk("Cu", a=LENGTH * np.sqrt(2)).repeat(n)


def rub(calculator):
    """Add a force that is no derivative: it turns every atom about the z axis of its place."""
    places = crystal().positions
    x, y, _ = (calculator.atoms.positions - places).T
    calculator.results["forces"] += 0.3 * np.stack([-y, x, 0 * x], axis=1)


# -- energy drift --------------------------------------------------------------------------------


def test_a_harmonic_crystal_conserves_its_energy():
    assert abs(energy_drift(crystal(), SPRINGS, duration=1.0, random_state=0)) < 0.05


def test_forces_that_are_no_derivative_show():
    drift = energy_drift(crystal(), Changed(SPRINGS, spoil=rub), duration=1.0, random_state=0)
    assert drift > 2


def test_drift_is_a_slope_per_atom_and_time():
    """An energy that falls by 1 meV per step and cell, whatever the atoms do."""

    class Leaking(Changed):
        def calculate(self, *args, **kwargs):
            super().calculate(*args, **kwargs)
            self.results["energy"] -= 1e-3 * self.calls

    atoms = crystal()
    found = energy_drift(atoms, Leaking(SPRINGS), duration=0.2, timestep=2.0, random_state=0)
    assert found == pytest.approx(-500 / len(atoms), rel=0.02)


def test_runs_repeat():
    runs = [energy_drift(crystal(), SPRINGS, duration=0.05, random_state=1) for _ in range(2)]
    assert runs[0] == runs[1]


# -- stability -----------------------------------------------------------------------------------


def test_a_harmonic_crystal_stays():
    """The mean temperature is the one asked for, and atoms stay near their places."""
    atoms = crystal()
    run = stability(atoms, SPRINGS, temperature=300, duration=2.0, timestep=2.0, random_state=0)
    assert run.intact
    assert run.reason == ""
    assert run.time == 2.0
    # 81 degrees of freedom for about five times the thermostat's 100 fs.
    assert run.temperature == pytest.approx(300, rel=0.2)
    assert 0.02 < run.displacement < 0.5


def explode(calculator):
    calculator.results["forces"] *= -1


def no_number(calculator):
    calculator.results["forces"][0] = np.nan


def refuse(calculator):
    raise ValueError("two atoms\nare too close")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (explode, "temperature rose|came as close|left all others"),
        (no_number, "not finite"),
        (refuse, "refuses: two atoms are too close"),
    ],
)
def test_failures_are_told_not_raised(spoil, reason):
    spoiled = Changed(SPRINGS, spoil=spoil, after=30)
    run = stability(crystal(), spoiled, duration=1.0, timestep=2.0, random_state=0)
    assert not run.intact
    assert re.search(reason, run.reason)
    assert "\n" not in run.reason
    assert 0.05 < run.time < 1.0
    assert np.isfinite(run.displacement)
    assert np.isfinite(run.temperature)


def test_atoms_that_leave_or_fall_together_are_told():
    far = Atoms("Cu4", [[0, 0, 0], [2.5, 0, 0], [0, 2.5, 0], [0, 0, 2.5]])

    def with_force(force):
        """All atoms are held, but a force acts on the first."""

        def spoil(calculator):
            calculator.results["forces"] = 10 * (far.positions - calculator.atoms.positions)
            calculator.results["forces"][0] = force

        return Changed(SPRINGS, spoil=spoil)

    settings = {"duration": 3.0, "timestep": 2.0, "random_state": 0}
    assert "Atom 0 left all others" in stability(far, with_force([-0.05] * 3), **settings).reason
    assert "came as close as" in stability(far, with_force([0.1, 0, 0]), **settings).reason


# -- radial distribution -------------------------------------------------------------------------


def test_shells_of_fcc_hold_12_6_and_24_atoms():
    a = 3.6
    r, g = radial_distribution(bulk("Cu", a=a), r_max=5.0, n_bins=250)
    shells = 4 * np.pi / 3 * ((r + 0.01) ** 3 - (r - 0.01) ** 3) * 4 / a**3 * g
    assert r[0] == pytest.approx(0.01)
    found = np.flatnonzero(g)
    np.testing.assert_allclose(shells[found], [12, 6, 24], rtol=1e-9)
    np.testing.assert_allclose(r[found], a * np.sqrt([0.5, 1, 1.5]), atol=0.01)


def test_random_atoms_have_one():
    rng = np.random.default_rng(0)
    frames = [
        Atoms("Ar60", rng.uniform(0, 12, (60, 3)), cell=[12, 12, 12], pbc=True) for _ in range(20)
    ]
    _, g = radial_distribution(frames, r_max=8.0, n_bins=8)
    np.testing.assert_allclose(g[3:], 1, atol=0.1)


def test_partial_distributions_agree_with_ase():
    rng = np.random.default_rng(1)
    atoms = Atoms("Li20Si30", rng.uniform(0, 14, (50, 3)), cell=[14, 14, 14], pbc=True)
    for elements in (None, ("Li", "Si"), ("Si", "Si")):
        numbers = None if elements is None else [{"Li": 3, "Si": 14}[e] for e in elements]
        expected = get_rdf(atoms, 6.0, 30, elements=numbers)[0]
        _, found = radial_distribution(atoms, r_max=6.0, n_bins=30, elements=elements)
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_what_dynamics_and_distributions_refuse():
    atoms = crystal()
    for wrong in ({"temperature": -1}, {"duration": 0.0}, {"timestep": np.nan}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            energy_drift(atoms, SPRINGS, **wrong)
        with pytest.raises(ValueError, match=next(iter(wrong))):
            stability(atoms, SPRINGS, **wrong)
    with pytest.raises(ValueError, match="single atom"):
        stability(bulk("Cu"), EMT())
    with pytest.raises(ValueError, match="Structure 1 is not periodic"):
        radial_distribution([atoms, Atoms("Cu2", [[0, 0, 0], [0, 0, 2.5]])])
    with pytest.raises(ValueError, match="Structure 0 does not have the elements"):
        radial_distribution(atoms, elements=("Cu", "Xx"))
    with pytest.raises(ValueError, match="r_max=0"):
        radial_distribution(atoms, r_max=0)
