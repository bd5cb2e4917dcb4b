"""Packed transforms against NumPy's real ones, and adjoints against sums over all numbers."""

import numpy as np
import pytest

from skwavelet.representations.voxel.arrays import half
from skwavelet.representations.voxel.grid import clear_nyquist
from skwavelet.representations.voxel.numpy_arrays import NumpyArrays
from skwavelet.representations.voxel.packing import (
    pack_filters,
    parts,
    unpack_filter_cotangents,
)
from skwavelet.representations.voxel.sampling import Sampling
from skwavelet.representations.voxel.shifts import HALVES
from skwavelet.representations.voxel.spectrum_kernels import gather, multiply

# The last is large enough for plans that are measured.
SHAPES = [(6, 4, 8), (5, 6, 4), (4, 6, 5), (3, 3, 6), (20, 20, 24)]
ARRAYS = NumpyArrays(np.dtype("float64"))
AXES = (-3, -2, -1)


def maps_of(spectra, shape):
    return np.fft.irfftn(spectra, shape, axes=AXES, norm="forward")


def spectra_of(shape, count=3, seed=0):
    """Half spectra (1, count, half grid) of real maps."""
    maps = np.random.default_rng(seed).normal(size=(1, count, *shape))
    return np.fft.rfftn(maps, axes=AXES)


def filters_of(shape, odd, count=2):
    """Half spectra of real filters, which are odd or even over the lattice."""
    maps = np.random.default_rng(1).normal(size=(count, *shape))
    values = np.fft.rfftn(maps, axes=AXES)
    values = np.ascontiguousarray(values.imag if odd else values.real)
    clear_nyquist(values, shape, slice(0, shape[0]))
    return values


def shifted(spectra, shape, shift):
    """Coefficients of maps at points that are moved by halves of a voxel, one by one."""
    rows = [np.fft.fftfreq(n, 1 / n) for n in shape]
    rows[2] = np.arange(shape[2] // 2 + 1)
    angle = sum(
        np.pi * a / n * h
        for a, n, h in zip(shift.halves, shape, np.meshgrid(*rows, indexing="ij"), strict=True)
    )
    return spectra * np.exp(1j * angle)


def weights(shape):
    """How often a frequency of the half spectrum is in the whole one."""
    found = np.full(half(shape), 2.0)
    found[..., 0] = 1
    if shape[2] % 2 == 0:
        found[..., -1] = 1
    return found


def partners(shape):
    """One where a frequency has a partner, else zero."""
    clear = np.ones(half(shape))
    clear_nyquist(clear, shape, slice(0, shape[0]))
    return clear


def flat(values):
    return values.reshape(*values.shape[:-3], -1)


@pytest.mark.parametrize("odd", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_products_with_filters_become_maps(shape, odd):
    spectra, psi = spectra_of(shape), filters_of(shape, odd)
    work = ARRAYS.workspace(6, shape)
    products = work.spectra.reshape(3, 2, -1)
    packed = ARRAYS.pack(spectra, shape)
    multiply(flat(packed[0]), flat(pack_filters(psi, shape, odd=odd)), odd, products)
    found = work.inverse().reshape(3, 2, *shape)
    expected = maps_of((-1j if odd else 1) * spectra[0][:, None] * psi, shape)
    np.testing.assert_allclose(found, expected, atol=1e-12 * np.abs(expected).max())


@pytest.mark.parametrize("odd", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_cotangents_of_products(shape, odd):
    """Of sum(cotangent * maps), from which both gradients are known in closed form."""
    spectra, psi = spectra_of(shape), filters_of(shape, odd)
    pulled = np.random.default_rng(2).normal(size=(3, 2, *shape))
    work = ARRAYS.workspace(6, shape)
    work.maps[...] = pulled.reshape(6, *shape)
    packed, filters = ARRAYS.pack(spectra, shape), pack_filters(psi, shape, odd=odd)
    cotangent, of_filters = np.empty_like(packed), np.empty_like(filters)
    transforms = work.forward().reshape(3, 2, -1)
    gather(transforms, flat(packed[0]), flat(filters), odd, flat(cotangent[0]), flat(of_filters))
    phase = -1j if odd else 1
    back = phase * np.fft.rfftn(pulled, axes=AXES).conj()
    expected = (psi * back).sum(axis=1)
    clear = partners(shape)
    found = clear * ARRAYS.unpack(cotangent, shape)[0]
    np.testing.assert_allclose(found, clear * expected, atol=1e-12 * np.abs(expected).max())
    of_psi = (spectra[0][:, None] * back).real.sum(axis=0)
    found = unpack_filter_cotangents(of_filters, shape, odd=odd)
    # Frequencies of one plane are there twice, and only what their filters share counts.
    moved = filters_of(shape, odd, count=4)[2:]
    expected, found = ((weights(shape) * moved * x).sum() for x in (of_psi, found))
    assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_adjoint_of_packing(shape):
    """The sum over the whole lattice of a half spectrum is that over the parts."""
    spectra = spectra_of(shape)
    packed = ARRAYS.pack(spectra, shape)
    rng = np.random.default_rng(3)
    cotangent = rng.normal(size=packed.shape) + 1j * rng.normal(size=packed.shape)
    assert packed.shape[2:] == parts(shape)
    found = ARRAYS.unpack(cotangent, shape)
    if shape[2] % 2:
        np.testing.assert_array_equal(found, cotangent[:, :, 0])
        return
    whole = (weights(shape) * found * spectra).sum().real
    assert whole == pytest.approx((cotangent * packed).sum().real, rel=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_transforms_of_rows(shape):
    rng = np.random.default_rng(4)
    maps = rng.normal(size=(1, 2, *shape))
    expected = np.fft.rfftn(maps, axes=AXES)
    scale, out = np.abs(expected).max(), np.empty((1, 2, *half(shape)), complex)
    factors = np.fft.rfftn(rng.normal(size=shape)).real
    # Not those of a real map, of which the real part is taken.
    back = rng.normal(size=out.shape) + 1j * rng.normal(size=out.shape)
    found = np.empty(maps.shape)
    for given, factor in (((), 1.0), ((factors,), factors)):
        ARRAYS.forward_rows(maps, out, *given)
        np.testing.assert_allclose(out, factor * expected, atol=1e-13 * scale)
        ARRAYS.inverse_rows(back, found, *given)
        np.testing.assert_allclose(found, maps_of((factor * back).conj(), shape), atol=1e-12)


@pytest.mark.parametrize("shift", [*HALVES, HALVES[1].back, HALVES[3].back])
@pytest.mark.parametrize("shape", SHAPES)
def test_means_of_neighbours(shape, shift):
    maps = np.random.default_rng(5).normal(size=(1, 2, *shape))
    expected = maps
    for axis, step in zip(AXES, shift.halves, strict=True):
        expected = (expected + np.roll(expected, step, axis)) / 2 if step else expected
    out = np.empty_like(maps)
    ARRAYS.average(maps, shift, 0.3, out)
    np.testing.assert_allclose(out, 0.3 * expected, atol=1e-14)
    ARRAYS.average(maps, shift, 0.2, out, add=True)
    np.testing.assert_allclose(out, 0.5 * expected, atol=1e-14)


@pytest.mark.parametrize("degree", [0, 1, 2])
@pytest.mark.parametrize("shape", SHAPES)
def test_coefficients_of_maps_on_shifted_grids(shape, degree):
    """Those of a map that the grids resolve are exact."""
    spectra = spectra_of(shape) * partners(shape)
    sampling, found = Sampling(ARRAYS, shape, degree), np.empty_like(spectra)
    assert len(sampling.shifts) == (8, 2, 1)[degree]
    for shift in sampling.shifts:
        sampling.add(maps_of(shifted(spectra, shape, shift), shape), shift, found, "means")
    np.testing.assert_allclose(found, spectra, atol=1e-12 * np.abs(spectra).max())


@pytest.mark.parametrize("degree", [0, 1])
def test_aliases_on_shifted_grids(degree):
    """Of a wave beyond the band, tan^2(t / 4) of what is left on a single grid."""
    shape = (8, 16, 12)
    points = np.meshgrid(*(np.arange(n) / n for n in shape), indexing="ij")
    sampling, found = Sampling(ARRAYS, shape, degree), np.empty((1, 1, *half(shape)), complex)
    for shift in sampling.shifts:
        moved = points[1] + shift.halves[1] / 2 / shape[1]
        # On a grid of 16 points the frequency 14 is -2.
        wave = np.cos(2 * np.pi * 14 * moved)
        sampling.add(wave[None, None], shift, found, "means")
    angle = 2 * np.pi * 2 / shape[1]
    assert found[0, 0, 0, 2, 0] == pytest.approx(0.5 * np.tan(angle / 4) ** 2, abs=1e-14)


@pytest.mark.parametrize("degree", [0, 1, 2])
@pytest.mark.parametrize("shape", SHAPES)
def test_adjoint_of_sampling(shape, degree):
    sampling, rng = Sampling(ARRAYS, shape, degree), np.random.default_rng(6)
    coefficients = np.empty((1, 2, *half(shape)), complex)
    cotangent = spectra_of(shape, count=2)
    means, expected = sampling.means(cotangent), 0.0
    for shift in sampling.shifts:
        maps = rng.normal(size=(1, 2, *shape))
        sampling.add(maps, shift, coefficients, "means")
        expected += (maps * sampling.maps(means, shift)).sum()
    found = (weights(shape) * cotangent * coefficients).sum().real
    assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("shift", [HALVES[1], HALVES[4]])
@pytest.mark.parametrize("shape", SHAPES)
def test_packed_spectra_of_shifted_maps(shape, shift):
    spectra = spectra_of(shape)
    spectra *= partners(shape)
    packed = ARRAYS.pack(spectra, shape)
    found = ARRAYS.shifted(packed, shape, shift, np.empty_like(packed))
    expected = ARRAYS.pack(shifted(spectra, shape, shift), shape)
    np.testing.assert_allclose(found, expected, atol=1e-13 * np.abs(expected).max())
    found = ARRAYS.shifted(spectra, shape, shift, np.empty_like(spectra))
    np.testing.assert_allclose(found, shifted(spectra, shape, shift), rtol=1e-12)
