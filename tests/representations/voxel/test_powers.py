"""Sums of powers against the powers themselves, and their derivatives against differences."""

import numba
import numpy as np
import pytest
from helpers.small_structures import CELLS

from skwavelet import VoxelScattering
from skwavelet.representations.voxel.map_kernels import fold, pull, push
from skwavelet.representations.voxel.numpy_arrays import NumpyArrays
from skwavelet.representations.voxel.numpy_chunk import MapPowers, make_exponents
from skwavelet.representations.voxel.powers import Power, PowerSums, power
from skwavelet.representations.voxel.spectrum_kernels import (
    gather,
    multiply,
    pack,
    pack_conjugates,
    unpack,
    unpack_maps,
)

POWERS = (1, 4 / 3, 5 / 3, 2, 0.7, 3)
SHAPE = (2, 3, 4, 5, 6)


def positive(seed=0, shape=SHAPE):
    return np.random.default_rng(seed).uniform(0.1, 4.0, shape)


def generic(powers):
    """The sums for any array namespace, here NumPy's."""
    return PowerSums(powers, NumpyArrays(np.dtype("float64")))


@pytest.mark.parametrize("q", POWERS)
def test_every_power_is_that_power(q):
    """The fast ways and the general one are u^(q/2) and q/2 u^(q/2 - 1)."""
    u = positive()
    sums = generic([q])
    np.testing.assert_allclose(sums.values(u)[..., 0], (u ** (q / 2)).sum((2, 3, 4)), rtol=1e-12)
    derivative = sums.vjp(u, np.ones((*SHAPE[:2], 1)))
    np.testing.assert_allclose(derivative, q / 2 * u ** (q / 2 - 1), rtol=1e-12)
    assert (type(power(q)) is Power) == (q in (0.7, 3))


def test_derivatives_by_differences():
    u, du = positive(2), np.random.default_rng(3).normal(size=SHAPE)
    sums = generic(POWERS)
    step = 1e-5
    expected = (sums.values(u + step * du) - sums.values(u - step * du)) / (2 * step)
    along = sums.jvp(u, du)
    np.testing.assert_allclose(along, expected, rtol=1e-6, atol=1e-7)
    weights = np.random.default_rng(4).normal(size=(*SHAPE[:2], len(POWERS)))
    there = (weights * along).sum()
    assert (sums.vjp(u, weights) * du).sum() == pytest.approx(there, rel=1e-12)


# -- compiled ------------------------------------------------------------------------------------

DTYPES = pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-6)])
MIX = np.array([[1.0, 0.5], [-0.3, 2.0], [0.0, 1.5]])
FLOORS = np.array([0.3, 0.1, 0.2])


def compiled(dtype, mix, powers=POWERS):
    """The powers of maps (2, 3, voxels), and the maps; more voxels than one block."""
    maps = np.random.default_rng(5).normal(size=(2, 3, 2500)).astype(dtype)
    floors = FLOORS if mix else FLOORS[:2]
    weights = MIX.astype(dtype) if mix else None
    return MapPowers(weights, floors, powers, np.dtype(dtype)), maps


def squares(maps, mix):
    mixed = np.tensordot(MIX, maps, axes=1) if mix else maps
    floors = FLOORS if mix else FLOORS[:2]
    return (mixed.astype(float) ** 2).sum(axis=1) + floors[:, None] ** 2


@DTYPES
@pytest.mark.parametrize("mix", [False, True])
@pytest.mark.parametrize("powers", [POWERS, (1, 2), (4 / 3,)])
def test_compiled_sums(dtype, tolerance, mix, powers):
    """Roots, sums and moduli of mixed maps; sums of single precision are in double."""
    powers_of, maps = compiled(dtype, mix, powers)
    u = squares(maps, mix)
    moduli = np.empty(u.shape, dtype)
    sums = powers_of.values(maps, moduli)
    assert sums.dtype == np.float64
    expected = np.stack([(u ** (q / 2)).sum(axis=-1) for q in powers], axis=-1)
    np.testing.assert_allclose(sums, expected, rtol=tolerance)
    np.testing.assert_allclose(moduli, np.sqrt(u), rtol=tolerance)


@pytest.mark.parametrize("mix", [False, True])
@pytest.mark.parametrize("powers", [POWERS, (1, 2)])
def test_compiled_derivatives(mix, powers):
    """Along maps by differences; against maps by the chain of both."""
    powers_of, maps = compiled("float64", mix, powers)
    moved = np.random.default_rng(6).normal(size=maps.shape)
    step = 1e-5
    there, here = (np.empty((len(FLOORS) if mix else 2, maps.shape[2])) for _ in range(2))
    expected = powers_of.values(maps + step * moved, there)
    expected = (expected - powers_of.values(maps - step * moved, here)) / (2 * step)
    moduli = np.empty_like(here)
    along = powers_of.jvp(maps, moved, moduli)
    np.testing.assert_allclose(along, expected, rtol=1e-6, atol=1e-5)
    np.testing.assert_allclose(moduli, (there - here) / (2 * step), rtol=1e-5, atol=1e-7)
    rng = np.random.default_rng(7)
    weights, of_moduli = rng.normal(size=along.shape), rng.normal(size=moduli.shape)
    expected = (weights * along).sum() + (of_moduli * moduli).sum()
    pulled = maps.copy()
    sums = powers_of.vjp(pulled, weights, of_moduli)
    np.testing.assert_allclose(sums, powers_of.values(maps, None), rtol=1e-14)
    assert (pulled * moved).sum() == pytest.approx(expected, rel=1e-11)


@DTYPES
def test_compiled_powers_of_squares(dtype, tolerance):
    """Planes come squared: the same sums, in place."""
    powers_of, _ = compiled(dtype, mix=False)
    u = positive(8, (2, 1, 2500)).astype(dtype)
    raised = u[:, 0].astype(float) + FLOORS[:2, None] ** 2
    weights = np.random.default_rng(9).normal(size=(2, len(POWERS)))
    slopes = u.copy()
    powers_of.vjp(slopes, weights, None, squared=True)
    expected = sum(
        weights[:, k, None] * q / 2 * raised ** (q / 2 - 1) for k, q in enumerate(POWERS)
    )
    np.testing.assert_allclose(slopes[:, 0], expected, rtol=100 * tolerance, atol=tolerance)
    sums = powers_of.values(u, u[:, 0], squared=True)
    expected = np.stack([(raised ** (q / 2)).sum(axis=-1) for q in POWERS], axis=-1)
    np.testing.assert_allclose(sums, expected, rtol=tolerance)
    np.testing.assert_allclose(u[:, 0], np.sqrt(raised), rtol=tolerance)


@DTYPES
def test_roots_of_all_sizes(dtype, tolerance):
    """Thirty orders of magnitude: to rounding, without overflow."""
    u = 10.0 ** np.linspace(-30, 30, 4000)
    powers_of = MapPowers(None, np.zeros(1), (4 / 3,), np.dtype(dtype))
    for part in np.split(u.astype(dtype), 4000):
        (found,) = powers_of.values(part.reshape(1, 1, 1), None, squared=True)
        assert found[0] == pytest.approx(float(part[0]) ** (2 / 3), rel=tolerance)


def test_exponents_are_told_apart():
    exponents = make_exponents(POWERS, np.dtype("float32"))
    assert exponents.sixths.tolist() == [3, 4, 5, 6, 0, 0]
    assert exponents.cubic
    assert not make_exponents((1, 2, 0.7), np.dtype("float32")).cubic


@pytest.mark.skipif(numba.config.DISABLE_JIT, reason="nothing is compiled")
@pytest.mark.filterwarnings("ignore:n_scales=")
@pytest.mark.parametrize("cell", ["cubic", "molecule"])
def test_kernels_are_compiled_before_they_are_needed(cell):
    """Types and layouts of what `prepare` computes are those of real structures."""
    atoms = CELLS[cell]()
    transformer = VoxelScattering(2, 1, beta=0.5, n_scales=1, spacing=0.4).fit([atoms])
    kernels = (multiply, gather, fold, push, pull, pack, unpack, pack_conjugates, unpack_maps)
    for method in ("values", "jvp", "vjp"):
        transformer._evaluator.prepare(method)
    made = [set(kernel.signatures) for kernel in kernels]
    transformer.value_and_vjp([atoms], np.ones((1, transformer.n_features_out_)))
    transformer.jvp([atoms], [np.ones((2, len(atoms), 3))], [np.ones((2, 3, 3))])
    assert [set(kernel.signatures) for kernel in kernels] == made
