"""What the benchmarks of networks share."""

import sys
import time
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from sklearn.base import BaseEstimator

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
if not BENCHMARKS.exists():
    pytest.skip("the benchmarks are not in this copy", allow_module_level=True)
sys.path.insert(0, str(BENCHMARKS))

from common.cache import Cache  # noqa: E402
from common.networks import epochs_for, train_for  # noqa: E402

PER_ATOM = 1e-5  # CPU seconds of an epoch


class Slow(BaseEstimator):
    """Takes a time to set up, and a time for every atom and epoch."""

    def __init__(self, max_epochs=7, checkpoint_path=None):
        self.max_epochs, self.checkpoint_path = max_epochs, checkpoint_path

    def fit(self, X, y, forces=None):
        assert len(X) == len(y) == len(forces)
        end = time.process_time() + 0.02 + self.max_epochs * PER_ATOM * sum(map(len, X))
        while time.process_time() < end:
            pass
        return self


def test_epochs_fill_the_time_that_is_given(tmp_path):
    # A hundred of them are timed: of all sizes, of which only the atoms count.
    X = [Atoms(["H"] * n) for n in np.repeat([4, 6, 8], 200)]
    forces = [np.zeros((len(atoms), 3)) for atoms in X]
    network = Slow(checkpoint_path="old")
    epochs = epochs_for(network, X, np.zeros(600), minutes=0.02, forces=forces)
    assert epochs == pytest.approx(0.02 * 60 / (600 * 6 * PER_ATOM), rel=0.2)
    assert network.get_params() == {"max_epochs": 7, "checkpoint_path": "old"}
    cache = Cache(tmp_path)
    fitted = train_for(network, X, np.zeros(600), 0.002, cache, forces=forces)
    assert fitted.max_epochs == pytest.approx(0.1 * epochs, abs=1.1)
    assert fitted.checkpoint_path.parent == tmp_path
    again = train_for(Slow(), X, np.zeros(600), 0.002, cache, forces=forces)
    assert again.get_params() == fitted.get_params()
