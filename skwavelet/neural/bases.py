"""Radial and angular basis functions, the cutoff, and wavelets as polynomials, in torch."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from skwavelet.representations.wavelets import radial_coefficients, solid_harmonics

# Added to squared lengths (Å^2): pooled atoms may fall on one another.
_TINY = 1e-12


def shifted_softplus(x: Tensor) -> Tensor:
    """Return ln(1 + e^x) - ln 2, which is 0 at 0."""
    return nn.functional.softplus(x) - math.log(2)


def lengths(vectors: Tensor) -> Tensor:
    """Return the lengths of vectors (..., 3), with a derivative even at 0."""
    return (vectors.square().sum(dim=-1) + _TINY).sqrt()


def cosine_cutoff(distances: Tensor, cutoff: float) -> Tensor:
    """Return (1 + cos(pi r / cutoff)) / 2, and 0 beyond the cutoff."""
    inside = distances < cutoff
    # Clamped, so that places far away do not carry large phases.
    phase = (math.pi / cutoff) * distances.clamp(max=cutoff)
    return 0.5 * (torch.cos(phase) + 1) * inside


def cutoff_slope(distances: Tensor, cutoff: float) -> Tensor:
    """Return the derivative of `cosine_cutoff`."""
    rate = math.pi / cutoff
    return -0.5 * rate * torch.sin(rate * distances.clamp(max=cutoff))


class GaussianBasis(nn.Module):
    """Gaussians at equal distances from a low centre to a high one.

    ``overlap`` is their standard deviation in units of these distances.
    """

    centers: Tensor

    def __init__(self, size: int, low: float, high: float, overlap: float = 0.5):
        super().__init__()
        self.register_buffer("centers", torch.linspace(low, high, size, dtype=torch.float64))
        self.width = overlap * (high - low) / max(size - 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the Gaussians (..., size) at x (...)."""
        return torch.exp(-0.5 * ((x[..., None] - self.centers) / self.width) ** 2)


class RadialBasis(GaussianBasis):
    """Gaussians of the logarithm of distances, one standard deviation apart.

    They are narrow for bonds and wide further out, and vanish with all derivatives at 0, where
    directions are not defined. On ethanol they left 0.6 of the force error of Gaussians of the
    distance itself. The centres of the first and the last, ``start`` and ``cutoff`` (Å), are
    positive.
    """

    def __init__(self, size: int, start: float, cutoff: float):
        super().__init__(size, math.log(start), math.log(cutoff), overlap=1.0)

    def forward(self, distances: Tensor) -> Tensor:
        """Return the Gaussians (..., size) at distances (...)."""
        return super().forward(torch.log(distances))

    def slopes(self, distances: Tensor, values: Tensor) -> Tensor:
        """Return the derivatives (..., size) of the Gaussians whose values are given."""
        off = (torch.log(distances)[..., None] - self.centers) / self.width**2
        return -off * values / distances[..., None]


class SolidHarmonics(nn.Module):
    """The solid harmonics r^l Y_lm of the degrees 0 ... max_l, as polynomials."""

    rows: Tensor
    matrix: Tensor
    gradients: Tensor

    def __init__(self, max_l: int):
        super().__init__()
        self.max_l = max_l
        exponents = [_monomials(l) for l in range(max_l + 1)]
        matrices = [torch.from_numpy(_harmonic_matrix(one)) for one in exponents]
        gradients = np.zeros(((max_l + 1) ** 2, 3, (max_l + 1) ** 2))
        for l in range(1, max_l + 1):
            mixed = _slope_matrix(l).reshape(2 * l - 1, 3, 2 * l + 1)
            gradients[(l - 1) ** 2 : l**2, :, l**2 : (l + 1) ** 2] = mixed
        # Where the factors x^a, y^b and z^c of every monomial stand among all powers.
        rows = torch.from_numpy(3 * np.concatenate(exponents) + np.arange(3))
        self.register_buffer("rows", rows, persistent=False)
        self.register_buffer("matrix", torch.block_diag(*matrices), persistent=False)
        self.register_buffer("gradients", torch.from_numpy(gradients), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the harmonics (..., M) of all degrees, one after the other, at (..., 3)."""
        powers = [torch.ones_like(x).reshape(-1, 3).T, *[x.reshape(-1, 3).T] * self.max_l]
        for k in range(2, self.max_l + 1):
            powers[k] = powers[k - 1] * powers[1]
        table = torch.cat(powers)
        one, two, three = (table.index_select(0, rows) for rows in self.rows.unbind(1))
        return ((one * two * three).T @ self.matrix).reshape(*x.shape[:-1], self.matrix.shape[1])

    def slopes(self, harmonics: Tensor) -> Tensor:
        """Return the gradients (..., 3, M) of harmonics: those of a degree less, mixed."""
        size = self.matrix.shape[1]
        return (harmonics @ self.gradients.flatten(1)).unflatten(-1, (3, size))


class SolidWavelets(nn.Module):
    """The wavelets psi_nlm of several scales at vectors, as polynomials times Gaussians.

    ``beta`` is the width of the narrowest scale (Å); those of scale j are dilated by 2^j. Each
    wavelet is multiplied by its gain.
    """

    def __init__(
        self,
        wavelets: Sequence[tuple[int, int]],
        beta: float,
        scales: Sequence[float],
        gains: np.ndarray,
    ):
        super().__init__()
        self.wavelets, self.beta = tuple(wavelets), float(beta)
        self.harmonics = SolidHarmonics(max(l for _, l in self.wavelets))
        self.register_buffer("dilations", 2.0 ** torch.tensor(scales, dtype=torch.float64))
        self.register_buffer("gains", torch.from_numpy(np.asarray(gains, dtype=np.float64)))
        # Output (wavelet, scale) that each of the maps psi_nlm belongs to.
        counts = np.repeat([2 * l + 1 for _, l in self.wavelets], len(scales))
        self.n_outputs = len(counts)
        self.register_buffer("output_of", torch.from_numpy(np.repeat(range(len(counts)), counts)))

    def forward(self, vectors: Tensor) -> Tensor:
        """Return psi (..., n_maps) at vectors (..., 3), the 2l + 1 maps of an output together."""
        x = vectors[..., None, :] / self.dilations[:, None]  # (..., scales, 3)
        t = x.square().sum(dim=-1) / (2 * self.beta**2)
        envelope, harmonics = torch.exp(-t), self.harmonics(x)
        maps = []
        for (n, l), gain in zip(self.wavelets, self.gains, strict=True):
            radial = torch.zeros_like(t)
            for coefficient in radial_coefficients(n, l, self.beta).tolist():
                radial = radial * t + coefficient
            radial = radial * envelope * gain
            own = harmonics[..., l * l : (l + 1) ** 2]
            maps.append((own * radial[..., None]).flatten(-2))
        return torch.cat(maps, dim=-1)


def _monomials(l: int) -> np.ndarray:
    """Return the exponents (M, 3) of all monomials of degree l."""
    return np.array([(a, b, l - a - b) for a in range(l + 1) for b in range(l - a + 1)])


def _harmonic_matrix(exponents: np.ndarray) -> np.ndarray:
    """Return the coefficients (M, 2l + 1) of the solid harmonics in all monomials of degree l.

    Solved for at points, so that the harmonics are those of the rest of the library.
    """
    l = int(exponents[0].sum())
    points = np.random.default_rng(0).normal(size=(3, 4 * len(exponents)))
    monomials = np.prod(points[:, None] ** exponents.T[:, :, None], axis=0)
    return np.linalg.lstsq(monomials.T, solid_harmonics(points, l).T, rcond=None)[0]


def _slope_matrix(l: int) -> np.ndarray:
    """Return the coefficients (2l - 1, 3 (2l + 1)) of gradients in harmonics of degree l - 1."""
    exponents = _monomials(l)
    matrix = _harmonic_matrix(exponents)
    points = np.random.default_rng(1).normal(size=(3, 8 * l))
    gradients = []
    for axis in range(3):
        lowered = exponents.copy()
        lowered[:, axis] = np.maximum(lowered[:, axis] - 1, 0)
        monomials = exponents[:, axis] * np.prod(points.T[:, None] ** lowered, axis=2)
        gradients.append(monomials @ matrix)
    return np.linalg.lstsq(
        solid_harmonics(points, l - 1).T, np.concatenate(gradients, axis=1), rcond=None
    )[0]
