"""Wavelets of one scale at vectors between atoms, switched off smoothly at their reach."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache
from itertools import pairwise
from math import ceil, log2

import numpy as np

from skwavelet.representations.wavelets import (
    SolidHarmonics,
    radial_coefficients,
    radial_polynomial,
)

# The switch acts on this fraction of the squared reach: beyond 0.71 of the reach.
SWITCH_START = 0.5


def natural_reach(wavelets: Sequence[tuple[int, int]], beta: float, tolerance: float) -> float:
    """Return the distance (Å) beyond which every |psi_nl| is below tolerance times its maximum."""
    r = np.linspace(0, 40 * beta, 40001)
    reaches = []
    for n, l in wavelets:
        size = np.abs(_profile(r, n, l, beta))
        reaches.append(r[np.flatnonzero(size >= tolerance * size.max())[-1]])
    return float(max(reaches))


def wavelet_maximum(n: int, l: int, beta: float) -> float:
    """Return the maximum of |Q_nl| over all distances."""
    return float(np.abs(_profile(np.linspace(0, 20 * beta, 2001), n, l, beta)).max())


def _profile(r: np.ndarray, n: int, l: int, beta: float) -> np.ndarray:
    """Return Q_nl at distances r (Å)."""
    return r**l * radial_polynomial(np.stack([np.zeros_like(r), np.zeros_like(r), r]), n, l, beta)


def scales_to_reach(reach: float, natural: float, scale_step: float) -> int:
    """Return the number of scales up to the first whose wavelets reach (Å) by themselves.

    ``natural`` is the reach of scale 0.
    """
    return 1 + max(0, ceil(log2(reach / natural) / scale_step))


class Filters:
    """The wavelets 2^(-3j) psi_nlm(u / 2^j) s(|u|^2) of one scale j.

    s is 1 up to half the squared reach and falls to 0 at the reach, twice continuously
    differentiable.

    Parameters
    ----------
    wavelets : sequence of (n, l)
    beta : float
        Width of the scale-0 wavelets (Å).
    scale : float
        The scale j.
    reach : float
        Largest distance (Å).
    """

    def __init__(self, wavelets, beta: float, scale: float, reach: float):
        self.wavelets = tuple(wavelets)
        self.dilation = 2.0**scale
        self.beta = beta
        self.squared_reach = (reach / self.dilation) ** 2
        ends = np.cumsum([0, *(2 * l + 1 for _, l in self.wavelets)]).tolist()
        self.rows = [slice(*pair) for pair in pairwise(ends)]
        self.n_rows = ends[-1]

    def at(self, vectors: np.ndarray) -> WaveletsAt:
        """Return the wavelets at ``vectors`` (3, E)."""
        x = vectors / vectors.dtype.type(self.dilation)
        return WaveletsAt(self, x, self._radial((x**2).sum(axis=0)))

    def _radial(self, square: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return Q_nl / r^l with the switch, and its derivative in the square of r, per wavelet."""
        cast = square.dtype.type
        half = cast(0.5 / self.beta**2)
        t = square * half
        switch, switch_derivative = _switch(square, self.squared_reach)
        envelope = np.exp(-t)
        switched = envelope * switch
        # d(exp(-t) s)/dt, s taken as a function of t.
        falling = envelope * (switch_derivative / half) - switched
        radial = []
        for n, l in self.wavelets:
            poly, derivative = _horner(_coefficients(n, l, self.beta, self.dilation), t)
            radial.append((poly * switched, (derivative * switched + poly * falling) * half))
        return radial


class WaveletsAt:
    """The wavelets of one scale at given vectors, and their derivatives.

    Parameters
    ----------
    filters : Filters
    x : ndarray of shape (3, E)
        Vectors divided by the dilation.
    radial : list of (ndarray of shape (E,), ndarray of shape (E,))
        For every wavelet Q_nl / r^l, and its derivative in the square of r.
    """

    def __init__(self, filters: Filters, x: np.ndarray, radial):
        self.filters, self.x, self.radial = filters, x, radial
        degrees = sorted({l for _, l in filters.wavelets})
        self._solid = SolidHarmonics(x, degrees[-1])
        self.harmonics = {l: self._solid.values(l) for l in degrees}

    def values(self) -> np.ndarray:
        """Return the wavelets (n_rows, E); all m of a wavelet in a row."""
        values = np.empty((self.filters.n_rows, self.x.shape[1]), dtype=self.x.dtype)
        for rows, l, height, _ in self._wavelets():
            np.multiply(self.harmonics[l], height, out=values[rows])
        return values

    def jvp(self, moves: np.ndarray) -> np.ndarray:
        """Return the derivatives (n_rows, E) of the values along ``moves`` (3, E)."""
        dx = moves / moves.dtype.type(self.filters.dilation)
        along = 2 * (self.x * dx).sum(axis=0)
        turned = {l: np.einsum("ame,ae->me", g, dx) for l, g in self._harmonic_gradients.items()}
        derivatives = np.empty((self.filters.n_rows, self.x.shape[1]), dtype=self.x.dtype)
        for rows, l, height, derivative in self._wavelets():
            np.multiply(self.harmonics[l], derivative * along, out=derivatives[rows])
            derivatives[rows] += turned[l] * height
        return derivatives

    def vjp(self, cotangent: np.ndarray) -> np.ndarray:
        """Return the gradient (3, E) in the vectors for a cotangent (n_rows, E) of the values."""
        by_degree = {l: np.zeros_like(value) for l, value in self.harmonics.items()}
        along = np.zeros_like(self.x[0])
        for rows, l, height, derivative in self._wavelets():
            by_degree[l] += height * cotangent[rows]
            along += derivative * np.einsum("me,me->e", self.harmonics[l], cotangent[rows])
        gradient = 2 * along * self.x
        for l, weights in by_degree.items():
            if l:
                gradient += np.einsum("ame,me->ae", self._harmonic_gradients[l], weights)
        return gradient / self.x.dtype.type(self.filters.dilation)

    def _wavelets(self):
        """Yield rows, degree, radial part and its derivative of every wavelet."""
        filters = self.filters
        for rows, (_, l), pair in zip(filters.rows, filters.wavelets, self.radial, strict=True):
            yield rows, l, *pair

    @cached_property
    def _harmonic_gradients(self) -> dict[int, np.ndarray]:
        return {l: self._solid.gradients(l) for l in self.harmonics}


def _switch(square: np.ndarray, end: float) -> tuple[np.ndarray, np.ndarray]:
    """Return 1 - (10 y^3 - 15 y^4 + 6 y^5) over the switch, and its derivative in ``square``."""
    cast = square.dtype.type
    start = SWITCH_START * end
    y = np.clip((square - cast(start)) / cast(end - start), cast(0), cast(1))
    value = 1 - y**3 * (10 - 15 * y + 6 * y**2)
    derivative = -30 * (y * (1 - y)) ** 2 / cast(end - start)
    return value, derivative


def _horner(coefficients: tuple[float, ...], t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a polynomial, highest power first, and its derivative."""
    value, derivative = np.full_like(t, coefficients[0]), np.zeros_like(t)
    for coefficient in coefficients[1:]:
        derivative = derivative * t + value
        value = value * t + t.dtype.type(coefficient)
    return value, derivative


@lru_cache(maxsize=1024)
def _coefficients(n: int, l: int, beta: float, dilation: float) -> tuple[float, ...]:
    """Return ``radial_coefficients`` times dilation^-3."""
    return tuple((radial_coefficients(n, l, beta) / dilation**3).tolist())
