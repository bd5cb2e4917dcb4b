"""Machine code of kernels: kept between processes, and compiled anew when a kernel changes."""

import numba
import pytest

from skwavelet._utils import compiled as module
from skwavelet._utils.compiled import compiled
from skwavelet.structures.neighbor_kernels import find_images


@pytest.mark.skipif(numba.config.DISABLE_JIT, reason="nothing is compiled")
def test_kernels_are_kept_under_the_time_of_the_newest_of_them():
    assert find_images._cache._cache_file._source_stamp == module._newest()
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
