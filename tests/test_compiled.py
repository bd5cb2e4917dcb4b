"""Machine code of kernels: kept between processes, and compiled anew when a kernel changes."""

import os
import subprocess
import sys
from subprocess import PIPE

import numba
import pytest

from skwavelet._utils import compiled as module
from skwavelet._utils.compiled import compiled
from skwavelet.structures.neighbor_kernels import make_images


@pytest.mark.skipif(numba.config.DISABLE_JIT, reason="nothing is compiled")
def test_kernels_are_kept_under_the_time_of_the_newest_of_them():
    assert make_images._cache._cache_file._source_stamp == module._newest()
    newest, size = module._newest()
    assert newest > 0
    assert size > 10_000


@pytest.mark.skipif(numba.config.DISABLE_JIT, reason="nothing is compiled")
def test_without_a_directory_kernels_are_compiled_in_every_process(monkeypatch):
    made = numba.njit

    def refuse(*args, cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return made(*args, **options)

    monkeypatch.setattr(module.numba, "njit", refuse)
    double = compiled(lambda x: 2 * x)
    assert double(3) == 6


SCRIPT = """
import sys
import numpy as np
from ase.build import bulk
from skwavelet import PointInvariants, PointScattering

atoms = bulk("Cu", cubic=True)
atoms.rattle(0.1, seed=0)
for unfitted in (PointScattering(order=1), PointInvariants()):
    transformer = unfitted.fit([atoms])
    features = transformer.transform([atoms])
    for _, gradient, strain in transformer.value_and_vjp([atoms], np.ones_like(features)):
        sys.stdout.buffer.write(features.tobytes() + gradient.tobytes() + strain.tobytes())
"""


@pytest.mark.slow
@pytest.mark.skipif(numba.config.DISABLE_JIT, reason="nothing is compiled")
def test_kernels_from_disk_give_the_bits_of_those_just_compiled(tmp_path):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    compiled_anew, from_disk = (
        subprocess.run([sys.executable, "-c", SCRIPT], env=environment, stdout=PIPE, check=True)
        for _ in range(2)
    )
    assert compiled_anew.stdout
    assert compiled_anew.stdout == from_disk.stdout
