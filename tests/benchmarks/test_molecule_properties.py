"""The reference of ethanol agrees with itself."""

import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from skwavelet.properties import normal_mode_frequencies

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
if not BENCHMARKS.exists():
    pytest.skip("the benchmarks are not in this copy", allow_module_level=True)
sys.path.insert(0, str(BENCHMARKS))

from common.data import ETHANOL  # noqa: E402


class Harmonic(Calculator):
    """A quadratic energy about a minimum."""

    implemented_properties = ("energy", "forces")

    def __init__(self, reference):
        super().__init__()
        self.positions, self.hessian = reference["positions"], reference["hessian"]

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        moved = (atoms.positions - self.positions).ravel()
        pulled = self.hessian @ moved
        self.results = {"energy": 0.5 * moved @ pulled, "forces": -pulled.reshape(-1, 3)}


@pytest.fixture(scope="module")
def reference():
    with np.load(ETHANOL) as archive:
        return dict(archive)


def test_frequencies_of_the_reference_are_those_of_its_hessian(reference):
    # Two programs: PySCF's analysis of the modes, and ours of a potential with this Hessian.
    atoms = Atoms(reference["numbers"], reference["positions"])
    found = normal_mode_frequencies(atoms, Harmonic(reference))
    assert found == pytest.approx(reference["frequencies"], abs=0.5)


def test_nothing_but_a_group_is_turned(reference):
    # Positions of the carbon atoms, of the oxygen and of what does not belong to the group stay,
    # and so do the lengths of all bonds of the atoms that turn.
    start = reference["positions"]
    for group, turning, holder in (("hydroxyl", [3], 2), ("methyl", [6, 7, 8], 0)):
        fixed = np.setdiff1d(np.arange(len(start)), turning)
        for positions in reference[f"{group}_positions"]:
            assert positions[fixed] == pytest.approx(start[fixed], abs=1e-9)
            lengths = [
                np.linalg.norm(where[turning] - where[holder], axis=1)
                for where in (positions, start)
            ]
            assert lengths[0] == pytest.approx(lengths[1], abs=1e-9)
        assert reference[f"{group}_energy"][0] == pytest.approx(0.0, abs=1e-4)
        assert (reference[f"{group}_energy"][1:] > 0).all()
