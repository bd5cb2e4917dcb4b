"""Derivatives of voxel features: one check over cells, orders, powers and normalizations."""

import warnings

import numpy as np
import pytest
from helpers.finite_differences import (
    adjoint_error,
    check_derivatives,
    derivative_errors,
    random_directions,
)
from helpers.small_structures import CELLS, molecule, random_rotation, rotated, triclinic

from skwavelet import VoxelScattering
from skwavelet.structures.directions import Directions


def fitted(atoms, n=2, max_l=1, **parameters):
    """Two scales on a coarse grid: derivatives are exact on any grid."""
    parameters = {"beta": 0.5, "n_scales": 2, "spacing": 0.4, "dtype": "float64"} | parameters
    # Sharper kinks than these would need smaller differences.
    parameters = {"smoothing": 1e-4} | parameters
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "n_scales=")
        return VoxelScattering(n, max_l, **parameters).fit([atoms])


# Central differences of sixth order with a step of 2e-5 Å leave errors of about 1e-8 here.
VARIANTS = {
    "default": {},
    "powers": {"powers": (0.7, 1.3, 3.0), "channels": ["number", "valence"]},
    "lower_order": {"normalize": "lower_order", "channels": ["elements"]},
    "sums": {"normalize": None, "pairs": "increasing", "min_scale_step": 0, "n": (1, 2)},
    "smooth": {"smoothing": 0.1, "oversampling": 2.0, "channels": {"mixed": {"Li": 1, "Si": -2}}},
    "first": {"order": 1, "n": 3, "max_l": 2},
    "zeroth": {"order": 0},
}


@pytest.mark.parametrize("cell", CELLS)
def test_derivatives_in_every_cell(cell):
    atoms = CELLS[cell]()
    check_derivatives(fitted(atoms), atoms)


@pytest.mark.parametrize("variant", [v for v in VARIANTS if v not in ("default", "zeroth")])
@pytest.mark.parametrize("cell", ["triclinic", "slab"])
def test_derivatives_of_every_kind_of_feature(cell, variant):
    atoms = CELLS[cell]()
    # A map nearly vanishes at a voxel of the slab: the error of differences falls as step^6.
    check_derivatives(fitted(atoms, **VARIANTS[variant]), atoms, step=1e-5)


def test_zero_order_features_are_constant():
    atoms = triclinic()
    transformer = fitted(atoms, order=0)
    (derivatives,) = transformer.jvp([atoms], *([d] for d in random_directions(atoms, 3)))
    assert not derivatives.any()
    ((gradient, strain),) = transformer.vjp([atoms], np.ones((1, derivatives.shape[1])))
    assert not gradient.any()
    assert not strain.any()


@pytest.mark.parametrize("cell", ["triclinic", "molecule"])
def test_float32_derivatives(cell):
    """Single precision against double: rounding of maps and sums, a few 1e-7 each."""
    atoms = CELLS[cell]()
    single, double = fitted(atoms, dtype="float32"), fitted(atoms)
    directions = [[d] for d in random_directions(atoms, 3)]
    (expected,) = double.jvp([atoms], *directions)
    (derivatives,) = single.jvp([atoms], *directions)
    assert derivatives.dtype == np.float32
    errors = np.linalg.norm(derivatives - expected, axis=1) / np.linalg.norm(expected, axis=1)
    assert errors.max() <= 5e-5
    assert adjoint_error(single, atoms) <= 1e-4


def test_the_check_can_fail():
    """A derivative that is wrong by a thousandth in one part does not pass."""
    atoms = triclinic()
    transformer = fitted(atoms, order=1)
    evaluator = transformer._evaluator

    class Wrong:
        def __getattr__(self, name):
            return getattr(evaluator, name)

        def jvp(self, structure, directions):
            wrong = Directions(directions.displacements, directions.strains * 1.001)
            return evaluator.jvp(structure, wrong)

    transformer.keep_grid = lambda atoms: transformer
    transformer._evaluator = Wrong()
    assert derivative_errors(transformer, atoms).max() > 1e-4
    assert adjoint_error(transformer, atoms) > 1e-5


def test_restricted_transformers_have_the_same_derivatives():
    atoms = triclinic()
    for normalize in ("atoms", "lower_order"):
        whole = fitted(atoms, normalize=normalize)
        columns = np.random.default_rng(0).permutation(whole.n_features_out_)[:9]
        part = whole.restrict(columns)
        directions = [[d] for d in random_directions(atoms, 3)]
        np.testing.assert_allclose(
            part.jvp([atoms], *directions)[0],
            whole.jvp([atoms], *directions)[0][:, columns],
            rtol=1e-9,
            atol=1e-12,
        )
        assert adjoint_error(part, atoms) < 1e-10


def test_displacements_and_strains_add_up():
    atoms = triclinic()
    transformer = fitted(atoms)
    displacements, strains = np.ones((1, 3, 3)) * [[1], [-2], [0.5]], np.full((1, 3, 3), 0.2)
    (both,) = transformer.jvp([atoms], [displacements], [strains])
    (moves,) = transformer.jvp([atoms], [displacements])
    (strained,) = transformer.jvp([atoms], strains=[strains])
    np.testing.assert_allclose(both, moves + strained, rtol=1e-9, atol=1e-12)


def gradients(transformer, atoms):
    """Gradients of a random sum of the features, each relative to its value."""
    features = transformer.transform([atoms])
    cotangent = np.random.default_rng(5).normal(size=features.shape) / np.abs(features).clip(1e-9)
    return transformer.vjp([atoms], cotangent)[0]


def net_derivative(transformer, atoms):
    """Norm of the features' relative change along translations, per that of random motions."""
    rng = np.random.default_rng(0)
    moves = np.concatenate(
        [np.tile(np.eye(3)[:, None], (1, len(atoms), 1)), rng.normal(size=(3, len(atoms), 3))]
    )
    moves /= np.linalg.norm(moves, axis=(1, 2))[:, None, None]
    (derivatives,) = transformer.jvp([atoms], [moves])
    relative = derivatives / np.abs(transformer.transform([atoms]))
    return np.linalg.norm(relative[:3]) / np.linalg.norm(relative[3:])


def fine(atoms, **parameters):
    """A finer grid: what the continuous features obey holds to the stated tolerances."""
    return fitted(atoms, **({"spacing": 0.2, "oversampling": 4.0} | parameters))


@pytest.mark.parametrize("cell", ["triclinic", "molecule"])
def test_gradients_sum_to_zero(cell):
    """Translation moves atoms between voxels: invariance holds to the discretization.

    The kinks of the modulus at its zeros are what a grid resolves slowly (measured: 0.08 and
    0.04); with a smooth modulus nothing is left (5e-7 and 1e-8).
    """
    atoms = CELLS[cell]()
    order = 1 if cell == "molecule" else 2
    assert net_derivative(fine(atoms, order=order), atoms) <= 0.15
    assert net_derivative(fine(atoms, order=order, smoothing=0.9), atoms) <= 5e-6


def test_first_order_squares_have_no_net_gradient():
    """Sums of squares are exact on any grid that holds twice the band, so is their invariance."""
    atoms = triclinic()
    gradient, _ = gradients(fine(atoms, order=1, powers=(2,)), atoms)
    assert np.linalg.norm(gradient.sum(axis=0)) <= 1e-10 * np.linalg.norm(gradient)


def test_rotation_turns_gradients():
    """The grid turns with the cell: equivariant to rounding; strain gradients are tensors."""
    atoms, rotation = triclinic(), random_rotation(3)
    turned = rotated(atoms, rotation)
    transformer = fitted(atoms)
    (gradient, strain), (turned_gradient, turned_strain) = (
        gradients(transformer, a) for a in (atoms, turned)
    )
    scale = np.abs(gradient).max()
    np.testing.assert_allclose(turned_gradient, gradient @ rotation.T, atol=1e-8 * scale)
    scale = np.abs(strain).max()
    np.testing.assert_allclose(turned_strain, rotation @ strain @ rotation.T, atol=1e-8 * scale)
    # Features do not change under rotation: the strain gradient is symmetric.
    np.testing.assert_allclose(strain, strain.T, atol=1e-8 * scale)


def test_rotation_turns_gradients_of_molecules():
    """The box of a molecule stays: equivariant to the discretization of a smooth modulus."""
    atoms, rotation = molecule(), random_rotation(4)
    transformer = fine(atoms, order=1, smoothing=0.9)
    gradient, strain = gradients(transformer, atoms)
    turned_gradient, turned_strain = gradients(transformer, rotated(atoms, rotation))
    scale = np.linalg.norm(gradient)
    assert np.linalg.norm(turned_gradient - gradient @ rotation.T) <= 1e-4 * scale
    scale = np.linalg.norm(strain)
    assert np.linalg.norm(turned_strain - rotation @ strain @ rotation.T) <= 1e-4 * scale


def test_supercells_repeat_gradients():
    """With a tiled grid per-atom features are the same, and gradients are halved by the count."""
    atoms = triclinic()
    tiled = atoms.repeat((2, 1, 1))
    # Grids of 12 points and of 24 along the doubled vector, at every scale.
    transformer = fitted(atoms, n_scales=1, spacing=np.linalg.norm(atoms.cell[0]) / 12)
    shapes = [transformer._evaluator.grid(s).shapes for s in transformer._check([atoms, tiled])]
    assert shapes[1][0] == (2 * shapes[0][0][0], *shapes[0][0][1:])
    np.testing.assert_allclose(
        transformer.transform([tiled]), transformer.transform([atoms]), rtol=1e-9, atol=1e-12
    )
    cotangent = np.random.default_rng(5).normal(size=(1, transformer.n_features_out_))
    ((gradient, strain),) = transformer.vjp([atoms], cotangent)
    ((tiled_gradient, tiled_strain),) = transformer.vjp([tiled], cotangent)
    scale = np.abs(gradient).max()
    np.testing.assert_allclose(
        2 * tiled_gradient.reshape(2, -1, 3), [gradient, gradient], atol=1e-8 * scale
    )
    np.testing.assert_allclose(tiled_strain, strain, atol=1e-8 * np.abs(strain).max())


def test_unused_cell_vectors_do_not_matter():
    """Rows of the cell along directions that are not periodic carry no meaning."""
    atoms = molecule()
    boxed = atoms.copy()
    boxed.cell = [[9, 1, 0], [0, 3, 0], [2, 0, 7]]
    transformer = fitted(atoms, order=1)
    np.testing.assert_array_equal(transformer.transform([boxed]), transformer.transform([atoms]))
    np.testing.assert_array_equal(
        gradients(transformer, boxed)[1], gradients(transformer, atoms)[1]
    )


def test_vjp_is_linear_in_cotangents():
    atoms = triclinic()
    transformer = fitted(atoms)
    one, two = np.random.default_rng(1).normal(size=(2, 1, transformer.n_features_out_))
    pairs = [transformer.vjp([atoms], c)[0] for c in (one, two, 2 * one - two)]
    for first, second, combined in zip(*pairs, strict=True):
        np.testing.assert_allclose(combined, 2 * first - second, atol=1e-9 * np.abs(combined).max())


def test_several_structures_come_back_in_order():
    atoms = [triclinic(), triclinic().repeat((2, 1, 1)), molecule()]
    transformer = fitted(atoms[0], order=1)
    displacements = [np.full((2, len(a), 3), 0.1) * np.arange(len(a))[:, None] for a in atoms]
    cotangents = np.random.default_rng(0).normal(size=(3, transformer.n_features_out_))
    together = transformer.jvp(atoms, displacements)
    pairs = transformer.vjp(atoms, cotangents)
    for i, a in enumerate(atoms):
        np.testing.assert_array_equal(together[i], transformer.jvp([a], [displacements[i]])[0])
        np.testing.assert_array_equal(pairs[i][0], transformer.vjp([a], cotangents[[i]])[0][0])


def test_streamed_maps_give_the_same(monkeypatch):
    """Maps that are recomputed one by one, where memory asks for it: equal to rounding."""
    atoms = triclinic()
    transformer = fitted(atoms)
    directions = [[d] for d in random_directions(atoms, 3)]
    cotangents = np.random.default_rng(0).normal(size=(1, transformer.n_features_out_))

    def results():
        features, gradient, strain = transformer.value_and_vjp([atoms], cotangents)[0]
        return (
            transformer.transform([atoms])[0],
            features,
            gradient,
            strain,
            *transformer.jvp([atoms], *directions),
        )

    together = results()
    monkeypatch.setattr("skwavelet.representations.voxel.planes.STREAM_VOXELS", 0)
    monkeypatch.setattr("skwavelet.representations.voxel.planes.GROUP_BYTES", 0)
    for streamed, expected in zip(results(), together, strict=True):
        np.testing.assert_allclose(streamed, expected, rtol=1e-9, atol=1e-12 * abs(expected).max())
