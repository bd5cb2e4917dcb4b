"""Compare ways to sum powers of the modulus: equal energies of equivalent cells, and the cost.

    python benchmarks/accuracy/voxel_quadrature.py

First-order voxel features of copper cells, written again in a few lines so that every degree l
can be summed in its own way: on the voxels, or on several grids that are shifted by parts of a
voxel (2: body-centred; 4: face-centred; 8, 27, 64: the spacing divided by 2, 3, 4; 16, 32: 8 and
its body or face centres). What `VoxelScattering` does is "8 2 1". Other ideas: maps whose
spectrum ends on a sphere, the same for all cells; moduli of Gaussian-smoothed maps, corrected
to fourth order, whose kinks are as wide as a part of the map's own size; and kinks patched by even
polynomials in the map that join with two derivatives and have the same integral across the kink,
as wide as a part of the map's size, or of what the map changes from voxel to voxel (three more
transforms for each).

Transforms are counted relative to one for each of the nine maps.

Cost: 2 min.
"""

import sys
from itertools import product
from pathlib import Path

import numpy as np
from scipy.fft import irfftn
from scipy.interpolate import CubicSpline
from scipy.special import gamma, hyp1f1

from skwavelet import VoxelScattering
from skwavelet.representations.voxel.grid import make_grid, orders, reciprocal_vectors
from skwavelet.representations.wavelets import wavelet_spectrum

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common.command import arguments
from common.equivalent_cells import HEADER, compare, copper
from common.table import table
from common.timing import machine

POWERS = (1, 4 / 3, 5 / 3, 2)
BODY, FACE = [(0, 0, 0), (0.5, 0.5, 0.5)], [(0, 0, 0), (0.5, 0.5, 0), (0.5, 0, 0.5), (0, 0.5, 0.5)]
FAR = 60.0


def divided(n, centring=((0, 0, 0),)):
    """Return shifts that divide the spacing by n, with more points in every small voxel."""
    return [tuple(np.add(t, c) / n) for t in np.ndindex(n, n, n) for c in centring]


SHIFTS = {1: divided(1), 2: BODY, 4: FACE, 8: divided(2), 27: divided(3), 64: divided(4)}
SHIFTS |= {16: divided(2, BODY), 32: divided(2, FACE)}
WAYS = [
    ((1, 1, 1), {}),
    ((1, 1, 1), {"sphere": True}),
    *(((n, 1, 1), {}) for n in (2, 4, 8, 16, 27, 64)),
    ((8, 2, 1), {}),
    ((8, 8, 1), {}),
    ((8, 8, 8), {}),
    ((64, 8, 8), {}),
    ((1, 1, 1), {"smoothing": 0.3}),
    ((1, 1, 1), {"smoothing": 0.8}),
    ((8, 2, 1), {"smoothing": 0.3}),
    ((8, 2, 1), {"smoothing": 0.8}),
    ((8, 1, 1), {"patch": 0.8}),
    ((8, 2, 1), {"patch": 0.8}),
    ((8, 1, 1), {"slope_patch": 0.5}),
    ((8, 2, 1), {"slope_patch": 0.5}),
    ((27, 8, 1), {}),
]


def smoothed(l, q):
    """Return E |f + xi|^q, corrected to fourth order, as a function of u = |f|^2.

    xi has 2l + 1 normal components of unit variance.
    """
    d, u = 2 * l + 1, np.linspace(0, FAR, 6001)
    factor = 2 ** (q / 2) * gamma((q + d) / 2) / gamma(d / 2)
    once, twice = (v ** (q / 2) * hyp1f1(-q / 2, d / 2, -u / v / 2) for v in (1, 2))
    return CubicSpline(u, factor * (2 * once - twice))


def patched(q, l, n_matched=3):
    """Return a polynomial in t = y^2 for |y|^q at |y| < 1, highest power first.

    At |y| = 1 it has the same value and derivatives, and over the ball of 2l + 1 dimensions the
    same integral.
    """
    d, count = 2 * l + 1, n_matched + 1
    powers = 2 * np.arange(count)
    rows, values = [], []
    for order in range(n_matched):
        rows.append([np.prod(p - np.arange(order)) for p in powers])
        values.append(np.prod(q - np.arange(order)))
    rows.append(1 / (powers + d))
    values.append(1 / (q + d))
    return np.linalg.solve(np.array(rows, dtype=float), values)[::-1]


def patched_powers(u, width, l):
    """Return the means of the powers of one map whose kinks are patched where u < width."""
    t, v = np.minimum(u / width, 1), np.maximum(u, width)
    means = [(v ** (q / 2) * np.polyval(patched(q, l), t)).mean() for q in POWERS[:3]]
    return [*means, u.mean()]


def powers_of(u, l, smoothing, tables):
    """Return the means of the powers of one map."""
    means = []
    for q in POWERS:
        if not smoothing or q == 2 or l == 2:
            means.append((u ** (q / 2)).mean())
            continue
        width = smoothing**2 * u.mean() / (2 * l + 1)
        t = u / width
        values = np.where(t < FAR, tables[l, q](np.minimum(t, FAR)), t ** (q / 2))
        means.append(width ** (q / 2) * values.mean())
    return means


def features(
    structure, fitted, numbers, tables, sphere=False, smoothing=0.0, patch=0.0, slope_patch=0.0
):
    """Return first-order features (9, powers) of one element with ``numbers`` of grids by l."""
    grid = make_grid(structure, (fitted.spacing_,), 0.0)
    (shape,), cell = grid.shapes, grid.cell
    fractions, h = structure.positions @ np.linalg.inv(cell), orders(shape)
    phases = [np.exp(-2j * np.pi * np.outer(f, k)) for f, k in zip(fractions.T, h, strict=True)]
    density = np.einsum("ka,kb,kc->abc", *phases, optimize=True) / grid.volume
    for axis, length in enumerate(shape):
        if length % 2 == 0:
            np.moveaxis(density, axis, 0)[length // 2] = 0
    G = reciprocal_vectors(shape, cell, np.dtype(float), slice(0, shape[0]))
    if sphere:
        density[(G**2).sum(axis=0) >= (np.pi / fitted.spacing_) ** 2] = 0
    rows = []
    for l, number in enumerate(numbers):
        psi = (-1j) ** l * wavelet_spectrum(G, 3, l, fitted.beta_)
        means = []
        for shift in SHIFTS[number]:
            a, b, c = (2 * np.pi * s / n * k for s, n, k in zip(shift, shape, h, strict=True))
            moved = density * np.exp(1j * (a[:, None, None] + b[:, None] + c))
            maps = irfftn(psi * moved, s=shape, axes=(1, 2, 3), norm="forward")
            u = (maps**2).sum(axis=0)
            if l == 2 or not (patch or slope_patch):
                means.append(powers_of(u, l, smoothing, tables))
            elif patch:
                means.append(patched_powers(u, patch**2 * u.mean() / (2 * l + 1), l))
            else:
                width = 0
                for component in slope_patch * fitted.spacing_ * G:
                    spectra = 1j * component * psi * moved
                    slopes = irfftn(spectra, s=shape, axes=(1, 2, 3), norm="forward")
                    width = width + (slopes**2).sum(axis=0)
                means.append(patched_powers(u, width, l))
        rows.append(np.mean(means, axis=0) * grid.volume / len(structure))
    return np.ravel(rows)


def main():
    arguments(__doc__)
    cells = copper()
    fitted = VoxelScattering(order=1).fit(cells[0])
    tables = {(l, q): smoothed(l, q) for l, q in product((0, 1), POWERS[:3])}
    rows = []
    for numbers, options in WAYS:

        def transform(structures, numbers=numbers, options=options):
            checked = fitted._check(structures)
            return np.array([features(s, fitted, numbers, tables, **options) for s in checked])

        name = " ".join(map(str, numbers)) + "".join(f", {k}={v}" for k, v in options.items())
        # Slopes along three directions, of maps with l = 0 and 1.
        times = (4, 4, 1) if "slope_patch" in options else (1, 1, 1)
        transforms = np.dot(np.multiply(numbers, times), (1, 3, 5)) / 9
        rows.append([name, *compare(transform, *cells), f"{transforms:.1f}"])
    print(machine("numpy"))
    print("\nEquivalent cells of copper, energies per atom, rms difference, meV/atom\n")
    print(table(["grids for l = 0, 1, 2", *HEADER, "transforms"], rows))


if __name__ == "__main__":
    main()
