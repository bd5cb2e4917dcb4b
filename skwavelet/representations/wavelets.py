r"""The solid harmonic wavelets, in space and in frequency.

.. math::

    \psi_{nlm}(u) &= Q_{nl}(|u|)\, Y_{lm}(u/|u|), \\
    \hat\psi_{nlm}(\omega) &= (-i)^l \sqrt{4\pi/(2l+1)}\, |\omega|^{2(n-1)-l}
        e^{-\beta^2|\omega|^2/2}\, Y_{lm}(\omega/|\omega|),

with n >= 1 and 0 <= l < n (2.6-2.19 of the dissertation), here with *real* spherical harmonics:
a unitary change of basis that leaves the modulus over m as it is and makes every map real.
``|w|^l Y_lm`` is a polynomial, the solid harmonic, so both forms are a polynomial times a Gaussian
and smooth at the origin.
"""

from __future__ import annotations

from math import factorial, pi, sqrt

import numpy as np
from scipy.special import eval_genlaguerre, genlaguerre


def solid_harmonics(points: np.ndarray, l: int) -> np.ndarray:
    """Return the real solid harmonics r^l Y_lm of one degree.

    Parameters
    ----------
    points : ndarray of shape (3, ...)
        Cartesian coordinates, component first.
    l : int
        Degree.

    Returns
    -------
    ndarray of shape (2l + 1, ...)
        In the order m = -l ... l, orthonormal on the sphere, without Condon-Shortley phase.

    Examples
    --------
    >>> import numpy as np
    >>> solid_harmonics(np.array([[0.0], [0.0], [2.0]]), 1).ravel().round(3)
    array([0.   , 0.977, 0.   ])
    """
    return SolidHarmonics(points, l).values(l)


def solid_harmonic_gradients(points: np.ndarray, l: int) -> np.ndarray:
    """Return the gradients (3, 2l + 1, ...) of ``solid_harmonics(points, l)``."""
    return SolidHarmonics(points, l).gradients(l)


class SolidHarmonics:
    """Solid harmonics of degrees up to ``max_l`` at points (3, ...), from shared tables."""

    def __init__(self, points: np.ndarray, max_l: int):
        self.points = points
        self._vertical = _legendre(points, max_l)
        self._cosines, self._sines = _azimuth(points, max_l)

    def values(self, l: int) -> np.ndarray:
        """Return r^l Y_lm, of shape (2l + 1, ...), see ``solid_harmonics``."""
        points = self.points
        values = np.empty((2 * l + 1, *points.shape[1:]), dtype=points.dtype)
        for m in range(l + 1):
            scaled = self._vertical[l][m] * points.dtype.type(solid_harmonic_norm(l, m))
            np.multiply(scaled, self._cosines[m], out=values[l + m])
            if m:
                np.multiply(scaled, self._sines[m], out=values[l - m])
        return values

    def gradients(self, l: int) -> np.ndarray:
        """Return the gradients (3, 2l + 1, ...) of ``values(l)``."""
        x, y, _ = points = self.points
        vertical, cosines, sines = self._vertical, self._cosines, self._sines
        zero = np.zeros_like(x)

        def lower(m: int) -> np.ndarray:
            return vertical[l - 1][m] if l and m <= l - 1 else zero

        gradients = np.zeros((3, 2 * l + 1, *x.shape), dtype=points.dtype)
        for m in range(l + 1):
            norm = points.dtype.type(solid_harmonic_norm(l, m))
            # d/dx Pi_l^m = -x Pi_{l-1}^{m+1}, likewise y; d/dz Pi_l^m = (l + m) Pi_{l-1}^m.
            fall, rise = norm * lower(m + 1), norm * (l + m) * lower(m)
            derivative = m * norm * vertical[l][m]
            parts = [(l + m, cosines[m], cosines, sines, -1)]
            if m:
                parts.append((l - m, sines[m], sines, cosines, 1))
            for row, azimuth, same, other, sign in parts:
                gradients[0, row] = -x * fall * azimuth
                gradients[1, row] = -y * fall * azimuth
                gradients[2, row] = rise * azimuth
                if m:
                    gradients[0, row] += derivative * same[m - 1]
                    gradients[1, row] += sign * derivative * other[m - 1]
        return gradients


def solid_harmonic_norm(l: int, m: int) -> float:
    """Return what makes r^(l-m) d^m P_l/du^m times Re or Im (x + iy)^m orthonormal, u = z/r."""
    return sqrt((2 if m else 1) * (2 * l + 1) / (4 * pi) * factorial(l - m) / factorial(l + m))


def _azimuth(points: np.ndarray, l: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return the real and imaginary parts of (x + iy)^m for m = 0 ... l."""
    x, y, _ = points
    cosines, sines = [np.ones_like(x)], [np.zeros_like(x)]
    for _ in range(l):
        cosines.append(x * cosines[-1] - y * sines[-1])
        sines.append(x * sines[-1] + y * cosines[-2])
    return cosines, sines


def _legendre(points: np.ndarray, l: int) -> list[list[np.ndarray]]:
    """Return Pi_k^m = r^(k-m) d^m P_k / du^m at u = z/r, polynomials in z and r^2, m <= k <= l."""
    z, r2 = points[2], (points**2).sum(axis=0)
    table = [[np.ones_like(z)]]
    for k in range(1, l + 1):
        row = [
            ((2 * k - 1) * z * table[k - 1][m] - (k + m - 1) * r2 * table[k - 2][m]) / (k - m)
            for m in range(k - 1)
        ]
        row.append((2 * k - 1) * z * table[k - 1][k - 1])
        row.append((2 * k - 1) * table[k - 1][k - 1])
        table.append(row)
    return table


def wavelet_spectrum(points: np.ndarray, n: int, l: int, beta: float) -> np.ndarray:
    """Evaluate the Fourier transforms of the wavelets of one (n, l), without the phase (-i)^l.

    Parameters
    ----------
    points : ndarray of shape (3, ...)
        Angular frequencies (1/Å), component first.
    n, l : int
        Radial order and degree, 0 <= l < n.
    beta : float
        Width (Å).

    Returns
    -------
    ndarray of shape (2l + 1, ...)
        Real values in the dtype of ``points``.
    """
    return solid_harmonics(points, l) * _radial_spectrum(points, n, l, beta)[0]


def wavelet_spectrum_gradient(points: np.ndarray, n: int, l: int, beta: float) -> np.ndarray:
    """Return the gradients (3, 2l + 1, ...) of ``wavelet_spectrum`` with respect to ``points``."""
    radial, slope = _radial_spectrum(points, n, l, beta)
    # The radial part depends on w^2, whose gradient is 2 w.
    return solid_harmonic_gradients(points, l) * radial + (
        (2 * slope * points)[:, None] * solid_harmonics(points, l)
    )


def _radial_spectrum(
    points: np.ndarray, n: int, l: int, beta: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return sqrt(4 pi / (2l+1)) t^(n-1-l) exp(-beta^2 t / 2) and its derivative in t = |w|^2."""
    cast = points.dtype.type
    t = (points**2).sum(axis=0)
    gauss = np.exp(cast(-0.5 * beta**2) * t) * cast(sqrt(4 * pi / (2 * l + 1)))
    power = n - 1 - l
    radial = gauss * t**power
    slope = cast(-0.5 * beta**2) * radial
    if power:
        slope = slope + power * gauss * t ** (power - 1)
    return radial, slope


def wavelet(points: np.ndarray, n: int, l: int, beta: float) -> np.ndarray:
    """Evaluate the wavelets psi_nlm of one (n, l) in space, (2.6)-(2.9).

    Parameters
    ----------
    points : ndarray of shape (3, ...)
        Positions (Å), component first. A wavelet of scale j is ``2**(-3 * j)`` times this
        at ``points / 2**j``.
    n, l : int
        Radial order and degree, 0 <= l < n.
    beta : float
        Width (Å).

    Returns
    -------
    ndarray of shape (2l + 1, ...)
    """
    return solid_harmonics(points, l) * radial_polynomial(points, n, l, beta)


def radial_polynomial(points: np.ndarray, n: int, l: int, beta: float) -> np.ndarray:
    """Return Q_nl(r) / r^l, a polynomial in r^2 times a Gaussian, at ``points`` (3, ...)."""
    k = n - l - 1
    prefactor = (
        2.0**k * factorial(k) * sqrt(4 * pi / (2 * l + 1)) / ((2 * pi) ** 1.5 * beta ** (2 * n + 1))
    )
    t = (points**2).sum(axis=0) / (2 * beta**2)
    return prefactor * eval_genlaguerre(k, l + 0.5, t) * np.exp(-t)


def radial_coefficients(n: int, l: int, beta: float) -> np.ndarray:
    """Return the coefficients of the polynomial in Q_nl / r^l, in t = r^2 / 2 beta^2.

    Highest power first; the Gaussian is exp(-t).
    """
    laguerre = genlaguerre(n - l - 1, l + 0.5)
    return laguerre.coef * radial_polynomial(np.zeros((3, 1)), n, l, beta)[0] / laguerre(0.0)


def wavelet_size(n: int, l: int, beta: float) -> float:
    """Return the size of psi_nl near its maximum: Q_nl / r^l at the origin times beta^l."""
    return float(abs(radial_polynomial(np.zeros((3, 1)), n, l, beta)[0]) * beta**l)


def spectrum_peak(n: int, l: int, beta: float) -> tuple[float, float]:
    """Return where |psi^_nl| is largest (1/Å) and its value there, without the angular factor."""
    power = 2 * (n - 1) - l
    position = sqrt(power) / beta
    return position, spectrum_magnitude(position, n, l, beta)


def spectrum_magnitude(w: float, n: int, l: int, beta: float) -> float:
    """Return |w|^(2(n-1)-l) exp(-beta^2 w^2 / 2), the size of psi^_nl at frequency ``w`` (1/Å)."""
    return float(w ** (2 * (n - 1) - l) * np.exp(-0.5 * (beta * w) ** 2))
