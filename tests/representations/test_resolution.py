import numpy as np
import pytest
from ase import Atoms
from helpers.small_structures import CELLS, cubic, molecule, triclinic
from hypothesis import given
from hypothesis import strategies as st

from skwavelet import VoxelScattering
from skwavelet.representations.scattering import learn_beta, learn_n_scales
from skwavelet.representations.voxel.arrays import half
from skwavelet.representations.voxel.grid import (
    add_embedded,
    fast_length,
    learn_spacing,
    make_grid,
    truncate,
)
from skwavelet.structures.checks import check_structures

WAVELETS = ((3, 0), (3, 1), (3, 2))


def box(side):
    return Atoms("Li2", positions=[[0, 0, 0], [0, 0, 1.5]], cell=side, pbc=True)


def test_beta():
    """Gaussians of two atoms 1.51 Å apart have fallen to a tenth half-way: 0.35 Å."""
    beta = learn_beta(1.51, 0.1)
    assert beta == pytest.approx(0.352, abs=1e-3)
    assert np.exp(-((1.51 / 2) ** 2) / (2 * beta**2)) == pytest.approx(0.1)
    with pytest.raises(ValueError, match=r"set beta \(Å\) by hand"):
        learn_beta(np.inf, 0.1)


@pytest.mark.parametrize("aliasing", [1e-2, 1e-4, 1e-8])
@pytest.mark.parametrize("wavelets", [WAVELETS, ((1, 0),), ((2, 0), (2, 1), (5, 4))])
def test_spacing(wavelets, aliasing):
    """At pi/s every wavelet has fallen to ``aliasing`` of its peak, and one just so."""
    beta, w = 0.4, np.linspace(0.01, 40, 200000)
    spacing = learn_spacing(wavelets, beta, aliasing)
    levels = []
    for n, l in wavelets:
        magnitude = w ** (2 * (n - 1) - l) * np.exp(-0.5 * (beta * w) ** 2)
        levels.append(np.interp(np.pi / spacing, w, magnitude) / magnitude.max())
    assert max(levels) == pytest.approx(aliasing, rel=1e-3)
    # All lengths scale with beta.
    assert learn_spacing(wavelets, 2 * beta, aliasing) == pytest.approx(2 * spacing)


@pytest.mark.parametrize(
    ("sides", "step", "expected"),
    [
        # B_e = side / 2 and J = floor(log2(B_e / (2 beta))), with 2 beta = 0.7 Å.
        ([11.0], 1.0, 3),
        ([11.3], 1.0, 4),
        ([11.3, 11.0], 1.0, 3),
        ([11.3], 0.5, 7),
        ([1.6], 1.0, 1),
        ([0.5], 1.0, 1),
    ],
)
def test_number_of_scales(sides, step, expected):
    structures = check_structures([box([side] * 3) for side in sides])
    assert learn_n_scales(structures, 0.35, step) == expected


def test_number_of_scales_of_odd_cells():
    # The smallest perpendicular height, not the shortest vector.
    sheared = Atoms("Li", cell=[[12, 0, 0], [11, 5, 0], [0, 0, 12]], pbc=True)
    assert learn_n_scales(check_structures([sheared]), 0.35, 1.0) == 2
    # Of a slab only the periods count; of molecules, the largest extent.
    slab = Atoms("Li", cell=[12, 12, 0], pbc=[True, True, False])
    assert learn_n_scales(check_structures([slab]), 0.35, 1.0) == 4
    molecules = [Atoms("Li2", positions=[[0, 0, 0], [0, d, 0]]) for d in (1.5, 5.7)]
    assert learn_n_scales(check_structures(molecules), 0.35, 1.0) == 3
    assert learn_n_scales(check_structures([Atoms("Li")]), 0.35, 1.0) == 1


def test_resolution_is_learned_once():
    """beta, scales and spacing stay what fit learned, whatever is transformed later."""
    transformer = VoxelScattering(order=1, aliasing=1e-2).fit([triclinic(), cubic()])
    assert transformer.min_distance_ < 2.5
    state = transformer.beta_, transformer.n_scales_, transformer.spacing_
    transformer.transform([cubic().repeat((3, 1, 1)), molecule()])
    assert (transformer.beta_, transformer.n_scales_, transformer.spacing_) == state
    by_hand = VoxelScattering(order=1, beta=state[0], n_scales=state[1], spacing=state[2])
    by_hand.fit([triclinic(), cubic()])
    np.testing.assert_array_equal(by_hand.transform([cubic()]), transformer.transform([cubic()]))


def test_too_many_scales_warn():
    with pytest.warns(UserWarning, match=r"n_scales=3, but only \d fit the smallest cell"):
        VoxelScattering(order=1, n_scales=3, spacing=0.4).fit([cubic()])


# -- grids ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", CELLS)
def test_bounding_cells(cell):
    (structure,) = check_structures([CELLS[cell]()])
    bounding, pbc = structure.box, structure.pbc
    np.testing.assert_array_equal(bounding[pbc], structure.cell[pbc])
    free = bounding[~pbc]
    np.testing.assert_allclose(free @ free.T, np.eye(len(free)), atol=1e-12)
    np.testing.assert_allclose(free @ bounding[pbc].T, 0, atol=1e-12)


@pytest.mark.parametrize("cell", CELLS)
def test_grids(cell):
    (structure,) = check_structures([CELLS[cell]()])
    spacings, padding = (0.2, 0.4, 0.8), 5.0
    grid = make_grid(structure, spacings, padding)
    lengths = np.linalg.norm(grid.cell, axis=1)
    np.testing.assert_array_equal(grid.cell[structure.pbc], structure.cell[structure.pbc])
    assert (lengths / grid.shapes[0] <= 0.2 + 1e-9).all()
    for fine, coarse in zip(grid.shapes, grid.shapes[1:], strict=False):
        assert (np.array(coarse) <= fine).all()
    assert all(fast_length(length) == length for shape in grid.shapes for length in shape)
    # Vacuum between the atoms and their images across directions that are not periodic.
    fractions = structure.positions @ np.linalg.inv(grid.cell)
    vacuum = (1 - np.ptp(fractions, axis=0)) * lengths
    assert (vacuum[~structure.pbc] >= padding - 1e-9).all()
    assert grid.volume == pytest.approx(abs(np.linalg.det(grid.cell)))


@pytest.mark.parametrize("points", [1, 4, 5, 13, 44.2, 97, 130])
def test_fast_lengths(points):
    length = fast_length(points)
    assert length >= points
    assert length <= max(8, 1.25 * points + 1)
    rest = length
    for factor in (2, 3, 5, 7):
        while rest % factor == 0:
            rest //= factor
    assert rest == 1


@given(st.floats(8, 500))
def test_twice_the_period_has_twice_the_points(points):
    assert fast_length(2 * points) == 2 * fast_length(points)


@given(
    matrix=st.sampled_from(
        [
            ((1, 0, 0), (1, 1, 0), (0, 0, 1)),
            ((1, 2, 0), (0, 1, -1), (0, 0, 1)),
            ((0, 1, 0), (1, 3, 1), (0, 1, 1)),
        ]
    ),
    cell=st.sampled_from(["cubic", "triclinic", "three_elements"]),
)
def test_cells_of_one_lattice_have_the_same_voxels(matrix, cell):
    """Skewed cells: another basis of the lattice, the same points of the grid."""
    atoms = CELLS[cell]()
    other = atoms.copy()
    other.set_cell(np.array(matrix) @ atoms.cell.array)
    grids = [make_grid(s, (0.3, 0.5), 0.0) for s in check_structures([atoms, other])]
    for level in range(2):
        voxels = [g.cell / np.array(g.shapes[level])[:, None] for g in grids]
        change = voxels[1] @ np.linalg.inv(voxels[0])
        np.testing.assert_allclose(change, change.round(), atol=1e-9)
        assert abs(np.linalg.det(change)) == pytest.approx(1)


def test_kept_layouts():
    """Another cell on the voxels of the first: its basis and its numbers of points."""
    atoms = triclinic()
    atoms.set_cell(np.array([[1, 0, 0], [1, 1, 0], [0, 0, 1]]) @ atoms.cell.array)
    (structure,) = check_structures([atoms])
    grid = make_grid(structure, (0.3,), 0.0)
    assert grid.layout.basis != ((1, 0, 0), (0, 1, 0), (0, 0, 1))
    strained = atoms.copy()
    strained.set_cell(1.3 * atoms.cell.array)
    (structure,) = check_structures([strained])
    kept = make_grid(structure, (0.3,), 0.0, grid.layout)
    assert kept.layout == grid.layout
    np.testing.assert_allclose(kept.cell, 1.3 * grid.cell)


def truncated(spectra, fine, coarse):
    kept = np.empty((*spectra.shape[:-3], *half(coarse)), dtype=spectra.dtype)
    truncate(spectra, fine, coarse, kept)
    return kept


@pytest.mark.parametrize(
    ("fine", "coarse"),
    [((8, 9, 12), (4, 5, 6)), ((8, 8, 8), (8, 6, 7)), ((9, 10, 11), (5, 4, 5)), ((6, 6, 6),) * 2],
)
def test_truncation_keeps_low_frequencies(fine, coarse):
    """A map without high frequencies keeps its values at the points of the coarse grid."""
    rng = np.random.default_rng(0)
    orders = [(-1, 0, 1)] * 3
    coefficients = {h: rng.normal() + 1j * rng.normal() for h in np.ndindex(3, 3, 3)}

    def sample(shape):
        points = np.meshgrid(*[np.arange(k) / k for k in shape], indexing="ij")
        total = np.zeros(shape)
        for place, value in coefficients.items():
            h = [orders[a][p] for a, p in enumerate(place)]
            phase = 2 * np.pi * sum(order * x for order, x in zip(h, points, strict=True))
            total += (value * np.exp(1j * phase)).real
        return total

    spectra = np.fft.rfftn(sample(fine)) / np.prod(fine)
    result = np.fft.irfftn(truncated(spectra, fine, coarse), s=coarse, axes=(0, 1, 2))
    np.testing.assert_allclose(result * np.prod(coarse), sample(coarse), atol=1e-12)


def test_embedding_is_the_adjoint_of_truncation():
    fine, coarse = (8, 9, 12), (4, 6, 8)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 8, 9, 7)), rng.normal(size=(2, 4, 6, 5))
    embedded = np.zeros_like(x)
    add_embedded(embedded, y, fine, coarse)
    assert (truncated(x, fine, coarse) * y).sum() == pytest.approx((x * embedded).sum())
