"""Dynamics beside that of labels: equipartition, and what counts of frames."""

import sys
from pathlib import Path

import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
if not BENCHMARKS.exists():
    pytest.skip("the benchmarks are not in this copy", allow_module_level=True)
sys.path[:0] = [str(BENCHMARKS), str(BENCHMARKS / "accuracy")]

import dynamics  # noqa: E402


class Springs(Calculator):
    """Every atom on a spring of its own (eV/Å²) at its place; the stress is 1 GPa of pressure."""

    implemented_properties = ("energy", "forces", "stress")

    def __init__(self, places, stiffness):
        super().__init__()
        self.places, self.stiffness = places, stiffness

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        moved = atoms.positions - self.places
        self.results = {
            "energy": 0.5 * self.stiffness * np.square(moved).sum(),
            "forces": -self.stiffness * moved,
            "stress": -units.GPa * np.array([1.0, 1, 1, 0, 0, 0]),
        }


@pytest.mark.filterwarnings("ignore:Use thermalize_momenta")
def test_springs_have_their_part_of_the_heat():
    crystal = bulk("Li", "bcc", a=3.4, cubic=True).repeat(3)
    frames, energies, pressures, heats, drift = dynamics.run(
        crystal, Springs(crystal.positions, 0.5), 300, 6.0
    )
    # 3/2 kT of potential energy for every atom, as of kinetic energy.
    above = np.mean(energies) / len(crystal)
    assert above == pytest.approx(1.5 * units.kB * 300, rel=0.1)
    assert np.mean(heats) == pytest.approx(300, rel=0.1)
    assert (len(frames), set(np.round(pressures, 9))) == (46, {1.0})
    assert abs(drift) < 1e-5


def test_frames_that_are_alike_cannot_be_told_apart():
    frame = bulk("Li", "bcc", a=3.4, cubic=True).repeat(2)
    assert dynamics.sampled([frame] * 6, 2) == pytest.approx(0.0, abs=1e-12)
    assert dynamics.closest([frame]) == pytest.approx(3.4 * 3**0.5 / 2)
    other = frame.copy()
    other.rattle(0.1, seed=0)
    # Half of the frames are one structure, half the other: one frame is half of the way away.
    apart = np.abs(dynamics.distribution([frame]) - dynamics.distribution([other])).mean()
    assert dynamics.sampled([frame, other] * 3, 1) == pytest.approx(apart / 2)
