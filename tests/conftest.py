import os
from pathlib import Path

import pytest

from skwavelet.datasets import load_lisi


@pytest.fixture(scope="session")
def lisi():
    """The packaged Li-Si data, loaded once: copy what a test changes."""
    return load_lisi()


@pytest.fixture(scope="session")
def data_home():
    """The directory with the full data sets."""
    if "SKWAVELET_DATA" not in os.environ:
        pytest.skip("the environment variable SKWAVELET_DATA does not name the full data sets")
    return Path(os.environ["SKWAVELET_DATA"])
