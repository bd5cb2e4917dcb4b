"""Voxel scattering by its definition, in space and with complex harmonics: slow and independent.

Wavelets of (2.6)-(2.9) of the dissertation summed over periodic images, and the second
convolution as a double sum over voxels. Nothing of skwavelet is used.
"""

from math import factorial, pi, sqrt

import numpy as np
from scipy.special import eval_genlaguerre, sph_harm_y


def psi(points, n, l, m, beta, j):
    """psi_nlm at scale j, at points (..., 3)."""
    points = points / 2.0**j
    r = np.linalg.norm(points, axis=-1)
    theta = np.arccos(np.divide(points[..., 2], r, out=np.ones_like(r), where=r > 0).clip(-1, 1))
    phi = np.arctan2(points[..., 1], points[..., 0])
    k = (
        2.0 ** (n - l - 1) * factorial(n - l - 1) * sqrt(4 * pi / (2 * l + 1))
        / ((2 * pi) ** 1.5 * beta ** (2 * n + 1))
    )  # fmt: skip
    x = r**2 / (2 * beta**2)
    radial = k * r**l * eval_genlaguerre(n - l - 1, l + 0.5, x) * np.exp(-x)
    return 2.0 ** (-3 * j) * radial * sph_harm_y(l, m, theta, phi)


def grid_points(cell, shape):
    axes = [np.arange(length) / length for length in shape]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1) @ cell


def periodic_psi(points, cell, n, l, m, beta, j):
    """Sum of psi over the lattice translations within eight widths, at points (..., 3)."""
    reach = 8 * beta * 2.0**j
    heights = 1 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    farthest = np.linalg.norm(points, axis=-1).max()
    most = np.ceil((reach + farthest) / heights).astype(int)
    total = np.zeros(points.shape[:-1], dtype=complex)
    for shift in np.ndindex(*(2 * most + 1)):
        moved = points - (np.array(shift) - most) @ cell
        near = np.linalg.norm(moved, axis=-1) < reach
        if near.any():
            total[near] += psi(moved[near], n, l, m, beta, j)
    return total


def first_order(positions, weights, cell, shape, n, l, beta, j, shift=(0, 0, 0)):
    """sigma(rho * psi), with rho a sum of weighted delta functions, on the grid.

    Or on the grid shifted by a part of a voxel along each axis.
    """
    points = grid_points(cell, shape) + np.divide(shift, shape) @ cell
    squares = 0
    for m in range(-l, l + 1):
        f = sum(
            c * periodic_psi(points - R, cell, n, l, m, beta, j)
            for R, c in zip(positions, weights, strict=True)
        )
        squares = squares + abs(f) ** 2
    return np.sqrt(squares)


def on_voxels(sigmas):
    """Values on the voxels of a map that is sampled on shifted grids, by shift.

    Means of the points next to each voxel, with every plane wave as large as it was before.
    """
    shape = next(iter(sigmas.values())).shape
    frequencies = np.meshgrid(*(np.fft.fftfreq(k) for k in shape), indexing="ij")
    total, gains = np.zeros(shape), np.zeros(shape)
    for shift, sigma in sigmas.items():
        gain = 1
        for axis, (part, frequency) in enumerate(zip(shift, frequencies, strict=True)):
            if part:
                sigma = (sigma + np.roll(sigma, 1, axis)) / 2
                gain = gain * np.cos(2 * np.pi * frequency * part)
        total, gains = total + sigma, gains + gain
    return np.fft.ifftn(np.fft.fftn(total) / gains).real


def second_order(sigmas, cell, n, l, beta, j):
    """sigma(sigma * psi) on the grid, by a double sum over voxels.

    ``sigmas`` are the values of one sigma on shifted grids, by shift.
    """
    first = on_voxels(sigmas)
    shape = first.shape
    voxel = abs(np.linalg.det(cell)) / np.prod(shape)
    differences = [(np.arange(k)[:, None] - np.arange(k)) % k for k in shape]
    squares = 0
    for m in range(-l, l + 1):
        f = np.zeros(shape, dtype=complex)
        kernel = periodic_psi(grid_points(cell, shape), cell, n, l, m, beta, j)
        for row in range(shape[0]):
            block = kernel[differences[0][row]]  # all v0, then all differences of the others
            block = block[:, differences[1]][..., differences[2]]  # v0, u1, v1, u2, v2
            f[row] = voxel * np.einsum("abcde,ace->bd", block, first, optimize=True)
        squares = squares + abs(f) ** 2
    return np.sqrt(squares)


def integral(sigma, q, cell):
    """Left Riemann sum of sigma^q over the cell."""
    return (sigma**q).mean() * abs(np.linalg.det(cell))
