"""Sums of powers against the powers themselves, and their derivatives against differences."""

import numpy as np
import pytest

from skwavelet.representations.voxel.numpy_arrays import NumpyArrays
from skwavelet.representations.voxel.powers import Power, PowerSums, power

POWERS = (1, 4 / 3, 5 / 3, 2, 0.7, 3)
SHAPE = (2, 3, 4, 5, 6)


def positive(seed=0, shape=SHAPE):
    return np.random.default_rng(seed).uniform(0.1, 4.0, shape)


@pytest.mark.parametrize("q", POWERS)
def test_every_power_is_that_power(q):
    """The fast ways and the general one are u^(q/2) and q/2 u^(q/2 - 1)."""
    u = positive()
    sums = PowerSums([q], NumpyArrays(np.dtype("float64")))
    np.testing.assert_allclose(sums.values(u)[..., 0], (u ** (q / 2)).sum((2, 3, 4)), rtol=1e-12)
    (derivative,) = sums.derivatives(u)
    np.testing.assert_allclose(derivative, q / 2 * u ** (q / 2 - 1), rtol=1e-12)
    assert (type(power(q)) is Power) == (q in (0.7, 3))


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-6)])
def test_single_precision_is_summed_in_double(dtype, tolerance):
    u = positive(1).astype(dtype)
    values = PowerSums(POWERS, NumpyArrays(np.dtype(dtype))).values(u)
    assert values.dtype == np.float64
    expected = np.stack([(u.astype(float) ** (q / 2)).sum((2, 3, 4)) for q in POWERS], axis=-1)
    np.testing.assert_allclose(values, expected, rtol=tolerance)


def test_derivatives_by_differences():
    u, du = positive(2), np.random.default_rng(3).normal(size=SHAPE)
    sums = PowerSums(POWERS, NumpyArrays(np.dtype("float64")))
    step = 1e-5
    expected = (sums.values(u + step * du) - sums.values(u - step * du)) / (2 * step)
    along = sums.jvp(sums.derivatives(u), du)
    np.testing.assert_allclose(along, expected, rtol=1e-6, atol=1e-7)
    weights = np.random.default_rng(4).normal(size=(*SHAPE[:2], len(POWERS)))
    there = (weights * along).sum()
    assert (sums.vjp(u, weights) * du).sum() == pytest.approx(there, rel=1e-12)
