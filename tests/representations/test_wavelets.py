import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import sph_harm_y, spherical_jn

from skwavelet._utils.compiled import compiled
from skwavelet.representations.exponential_kernels import (
    LAST_EXPONENT,
    exponential,
    fill_exponentials,
)
from skwavelet.representations.wavelets import (
    solid_harmonic_gradients,
    solid_harmonics,
    spectrum_magnitude,
    spectrum_peak,
    wavelet,
    wavelet_spectrum,
    wavelet_spectrum_gradient,
)

BETA = 0.7
PAIRS = [(n, l) for n in range(1, 5) for l in range(n)]


@pytest.fixture
def points():
    return np.random.default_rng(0).normal(size=(3, 40))


def real_harmonics(points, l):
    """Real combinations of SciPy's complex harmonics, its Condon-Shortley phase removed."""
    x, y, z = points
    r = np.sqrt(x**2 + y**2 + z**2)
    theta, phi = np.arccos(z / r), np.arctan2(y, x)
    rows = []
    for m in range(-l, l + 1):
        complex_value = (-1) ** m * sph_harm_y(l, abs(m), theta, phi)
        if m == 0:
            rows.append(complex_value.real)
        else:
            part = complex_value.real if m > 0 else complex_value.imag
            rows.append(np.sqrt(2) * part)
    return r**l * np.array(rows)


@pytest.mark.parametrize("l", range(7))
def test_solid_harmonics_are_scipys(points, l):
    expected = real_harmonics(points, l)
    # Rounding of polynomials of degree l in numbers up to about 3.
    np.testing.assert_allclose(
        solid_harmonics(points, l), expected, rtol=1e-12, atol=1e-12 * abs(expected).max()
    )
    single = solid_harmonics(points.astype(np.float32), l)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, expected, atol=3e-6 * abs(expected).max())


def central_differences(function, points, step=1e-5):
    columns = []
    for axis in range(3):
        shift = np.zeros((3, 1))
        shift[axis] = step
        columns.append((function(points + shift) - function(points - shift)) / (2 * step))
    return np.stack(columns)


@pytest.mark.parametrize("l", range(6))
def test_gradients_of_solid_harmonics(points, l):
    expected = central_differences(lambda p: solid_harmonics(p, l), points)
    np.testing.assert_allclose(
        solid_harmonic_gradients(points, l), expected, atol=1e-8 * max(1, abs(expected).max())
    )


@pytest.mark.parametrize(("n", "l"), PAIRS)
def test_gradients_of_spectra(points, n, l):
    expected = central_differences(lambda p: wavelet_spectrum(p, n, l, BETA), points)
    result = wavelet_spectrum_gradient(points, n, l, BETA)
    np.testing.assert_allclose(result, expected, atol=1e-8 * max(1, abs(expected).max()))
    # Smooth at the origin, where a formula in angles would divide by zero.
    origin = np.zeros((3, 1))
    np.testing.assert_allclose(
        wavelet_spectrum_gradient(origin, n, l, BETA),
        central_differences(lambda p: wavelet_spectrum(p, n, l, BETA), origin),
        atol=1e-8,
    )


@pytest.mark.parametrize(("n", "l"), PAIRS)
def test_space_and_frequency_are_a_fourier_pair(n, l):
    """The discrete transform of the samples in space is the formula in frequency."""
    side, size = 14.0, 64  # both tails end 10 widths out, below 1e-15
    axis = np.fft.fftfreq(size, 1 / side)
    space = np.array(np.meshgrid(axis, axis, axis, indexing="ij"))
    w = 2 * np.pi * np.fft.fftfreq(size, side / size)
    frequency = np.array(np.meshgrid(w, w, w, indexing="ij"))
    transformed = np.fft.fftn(wavelet(space, n, l, BETA), axes=(1, 2, 3)) * (side / size) ** 3
    expected = (-1j) ** l * wavelet_spectrum(frequency, n, l, BETA)
    # The unpaired frequencies -size/2 are zero to this accuracy anyway.
    np.testing.assert_allclose(transformed, expected, atol=1e-11 * abs(expected).max())


@pytest.mark.parametrize(("n", "l"), PAIRS)
def test_radial_transform(points, n, l):
    """The same pair along one ray, by quadrature: psi^ = 4 pi (-i)^l Y int Q j_l r^2 dr."""
    direction = points[:, :1] / np.linalg.norm(points[:, :1])
    harmonic = solid_harmonics(direction, l)
    row = abs(harmonic).argmax()

    def radial(r):
        return wavelet(direction * r, n, l, BETA)[row, 0] / harmonic[row, 0]

    for w in (0.3, 1.7, 4.0):
        integral = quad(lambda r, w=w: radial(r) * spherical_jn(l, w * r) * r**2, 1e-12, 9)[0]
        expected = wavelet_spectrum(direction * w, n, l, BETA)[row, 0] / harmonic[row, 0]
        assert 4 * np.pi * integral == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("n", "l"), PAIRS)
def test_only_the_gaussian_has_a_mean(n, l):
    mean = wavelet_spectrum(np.zeros((3, 1)), n, l, BETA)
    if (n, l) == (1, 0):
        assert mean == pytest.approx(1)
    else:
        assert (mean == 0).all()


@pytest.mark.parametrize(("n", "l"), PAIRS)
def test_peak_of_the_spectrum(n, l):
    position, value = spectrum_peak(n, l, BETA)
    grid = np.linspace(0, 12, 40001)
    values = np.array([spectrum_magnitude(w, n, l, BETA) for w in grid])
    assert value == pytest.approx(values.max(), rel=1e-6)
    assert position == pytest.approx(grid[values.argmax()], abs=3e-4)
    # The magnitude is that of the wavelet: its square summed over m is constant on a sphere.
    direction = np.array([[0.48], [-0.6], [0.64]])
    total = np.sqrt((wavelet_spectrum(direction * 2.0, n, l, BETA) ** 2).sum())
    assert spectrum_magnitude(2.0, n, l, BETA) == pytest.approx(total)


@pytest.mark.parametrize("j", [0.5, 1, 2])
def test_dilated_wavelets_have_dilated_spectra(points, j):
    """2^(-3j) psi(2^-j u) has the spectrum psi^(2^j w): also that of a wavelet 2^j as wide."""
    for n, l in PAIRS:
        # Wider by 2^j and dilated differ by the unit of w^(2(n-1)-l) only.
        factor = 2.0 ** (j * (2 * (n - 1) - l))
        np.testing.assert_allclose(
            wavelet_spectrum(points * 2**j, n, l, BETA),
            factor * wavelet_spectrum(points, n, l, BETA * 2**j),
            rtol=1e-10,
            atol=1e-14,
        )
        np.testing.assert_allclose(
            2.0 ** (-3 * j) * wavelet(points / 2**j, n, l, BETA),
            factor * wavelet(points, n, l, BETA * 2**j),
            rtol=1e-10,
            atol=1e-14,
        )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_compiled_exponentials_are_those_of_the_library(dtype):
    @compiled
    def fill(t, tables, rest, bits, values):
        fill_exponentials(t, len(t), tables, rest, bits, values)

    t, tables = np.linspace(0, LAST_EXPONENT, 10_007, dtype=dtype), exponential(dtype)
    values, rest, bits = (np.empty(len(t), d) for d in (dtype, dtype, tables.fields.dtype))
    fill(t, tables, rest, bits, values)
    expected = np.exp(-t.astype(np.float64))
    np.testing.assert_allclose(values, expected, rtol=8 * np.finfo(dtype).eps)
