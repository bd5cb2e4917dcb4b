"""Maps moved from a small box to a large one: against closed forms, and the adjoint."""

import numpy as np
import pytest
from helpers.small_structures import CELLS

from skwavelet.representations.voxel.arrays import half
from skwavelet.representations.voxel.density import pair_weights
from skwavelet.representations.voxel.grid import make_grid, orders
from skwavelet.representations.voxel.numpy_arrays import NumpyArrays
from skwavelet.representations.voxel.transfer import Transfer
from skwavelet.structures.checks import check_structures

DTYPES = {"float64": 1e-9, "float32": 2e-5}
WIDTH = 0.8


def transfer_of(cell, dtype, spacings=(0.2, 0.32), paddings=(14.0, 23.0)):
    (structure,) = check_structures([CELLS[cell]()])
    grid = make_grid(structure, spacings, paddings)
    return structure, grid, Transfer(NumpyArrays(np.dtype(dtype)), grid, 0, 1)


def gaussians(positions, grid, level):
    """Half-spectrum coefficients of a sum of normalized Gaussians at positions."""
    h = np.meshgrid(*orders(grid.shapes[level]), indexing="ij")
    inverse = np.linalg.inv(grid.cells[level])
    G = 2 * np.pi * np.einsum("aijk,ba->bijk", np.array(h), inverse)
    phases = np.exp(-1j * np.einsum("nb,bijk->nijk", positions, G)).sum(axis=0)
    return phases * np.exp(-(WIDTH**2) * (G**2).sum(axis=0) / 2) / grid.volumes[level]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("cell", ["molecule", "slab", "wire"])
@pytest.mark.parametrize("shift", [0.0, 37.3])
def test_gaussians_in_both_boxes(cell, dtype, shift):
    """What vanishes at the edge of the small box has the coefficients of the large one."""
    structure, grid, transfer = transfer_of(cell, dtype)
    if shift:
        moved = CELLS[cell]()
        moved.translate([shift, -2 * shift, shift])
        (structure,) = check_structures([moved])
        grid = make_grid(structure, (0.2, 0.32), (14.0, 23.0))
        transfer = Transfer(NumpyArrays(np.dtype(dtype)), grid, 0, 1)
    small, large = (gaussians(structure.positions, grid, level) for level in (0, 1))
    moved = transfer.values(small[None, None].astype(np.result_type(dtype, np.complex64)))[0, 0]
    np.testing.assert_allclose(moved, large, atol=DTYPES[dtype] * abs(large).max())


@pytest.mark.parametrize("cell", ["molecule", "slab", "wire"])
def test_the_adjoint(cell):
    """Re <c, T X> = Re <T* c, X> over the full lattice, for spectra of real maps."""
    _, grid, transfer = transfer_of(cell, "float64", (0.4, 0.8), (3.0, 6.0))
    rng = np.random.default_rng(0)
    fine, coarse = grid.shapes
    X = np.fft.rfftn(rng.normal(size=(2, 3, *fine)), axes=(2, 3, 4), norm="forward")
    c = np.fft.rfftn(rng.normal(size=(2, 3, *coarse)), axes=(2, 3, 4), norm="forward")
    assert c.shape[2:] == half(coarse)
    there = (pair_weights(coarse, np.float64) * c * transfer.values(X)).sum().real
    here = (pair_weights(fine, np.float64) * transfer.vjp(c) * X).sum().real
    assert here == pytest.approx(there, rel=1e-10)
