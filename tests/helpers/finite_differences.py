"""One check of derivatives for every transformer of structures.

``check_derivatives(transformer, atoms)`` compares ``jvp`` with differences of ``transform``, and
``vjp`` with ``jvp``; ``check_atom_derivatives`` does so for the features of every atom.
"""

import numpy as np
from helpers.small_structures import strained

from skwavelet.structures.checks import check_structures
from skwavelet.structures.directions import Directions


def moved(atoms, displacement, strain):
    """Displace the atoms, then strain everything."""
    atoms = atoms.copy()
    atoms.positions = atoms.positions + displacement
    return strained(atoms, strain)


def directional_differences(transformer, atoms, displacement, strain, step, method="transform"):
    """Derivative of the features along a direction, by differences of sixth order.

    The error of seven points falls as step^6, so that a step large against rounding suffices.
    ``method`` is what gives the features: ``transform_atoms`` for those of every atom.
    """
    weights = {1: 3 / 4, 2: -3 / 20, 3: 1 / 60}
    ahead = [moved(atoms, k * step * displacement, k * step * strain) for k in weights]
    behind = [moved(atoms, -k * step * displacement, -k * step * strain) for k in weights]
    plus, minus = (np.asarray(getattr(transformer, method)(X), float) for X in (ahead, behind))
    return np.tensordot(list(weights.values()), plus - minus, axes=1) / step


def random_directions(atoms, n_directions, seed=0):
    """Return displacements (D, N, 3) and strains (D, 3, 3): one kind alone, then both."""
    rng = np.random.default_rng(seed)
    displacements = rng.normal(size=(n_directions, len(atoms), 3))
    strains = 0.3 * rng.normal(size=(n_directions, 3, 3))
    displacements[1::3] = 0
    strains[0::3] = 0
    return displacements, strains


def derivative_errors(transformer, atoms, *, step=2e-5, n_directions=3, seed=0):
    """Return the relative error in norm of ``jvp`` along every direction."""
    transformer = transformer.keep_grid(atoms)
    displacements, strains = random_directions(atoms, n_directions, seed)
    (derivatives,) = transformer.jvp([atoms], [displacements], [strains])
    errors = []
    for derivative, displacement, strain in zip(derivatives, displacements, strains, strict=True):
        expected = directional_differences(transformer, atoms, displacement, strain, step)
        errors.append(np.linalg.norm(derivative - expected) / np.linalg.norm(expected))
    return np.array(errors)


def adjoint_error(transformer, atoms, *, n_directions=3, seed=0):
    """Return the relative difference of <vjp(c), v> and <c, jvp(v)>.

    Also checks that the features beside the gradients are those of ``transform``.
    """
    displacements, strains = random_directions(atoms, n_directions, seed)
    (derivatives,) = transformer.jvp([atoms], [displacements], [strains])
    rng = np.random.default_rng(seed + 1)
    # Every feature gets a share of the sum, unless it is constant but for rounding.
    scale = np.linalg.norm(derivatives, axis=0)
    features = transformer.transform([atoms])[0]
    constant = scale <= max(1e-6, 1e3 * np.finfo(features.dtype).eps) * np.abs(features)
    cotangent = rng.normal(size=len(scale)) * ~constant / np.where(constant, 1, scale)
    (pair,) = transformer.vjp([atoms], cotangent[None])
    gradient, strain_gradient = pair
    assert gradient.shape == (len(atoms), 3)
    assert strain_gradient.shape == (3, 3)
    (triple,) = transformer.value_and_vjp([atoms], cotangent[None])
    np.testing.assert_allclose(triple[0], transformer.transform([atoms])[0], rtol=1e-6)
    forward = derivatives.astype(float) @ cotangent
    reverse = np.einsum("nia,ia->n", displacements, gradient)
    reverse += np.einsum("nab,ab->n", strains, strain_gradient)
    return np.abs(forward - reverse).max() / np.abs(forward).max()


def check_derivatives(transformer, atoms, *, tolerance=1e-6, adjoint_tolerance=1e-10, **options):
    """Assert that ``jvp`` and ``vjp`` are the derivatives of ``transform``."""
    errors = derivative_errors(transformer, atoms, **options)
    assert errors.max() <= tolerance, errors
    error = adjoint_error(transformer, atoms)
    assert error <= adjoint_tolerance, error


def check_atom_derivatives(
    transformer, atoms, *, step=1e-4, tolerance=1e-6, adjoint_tolerance=1e-10, n_directions=3
):
    """Assert that the evaluator's derivatives of every atom are those of ``transform_atoms``."""
    evaluator, (structure,) = transformer._evaluator, check_structures([atoms])
    (expected,) = transformer.transform_atoms([atoms])
    displacements, strains = random_directions(atoms, n_directions)
    derivatives = evaluator.atom_jvp(structure, Directions(displacements, strains))
    assert derivatives.shape == (n_directions, *expected.shape)
    assert derivatives.dtype == expected.dtype == np.dtype(transformer.dtype)
    for derivative, *direction in zip(derivatives, displacements, strains, strict=True):
        difference = directional_differences(
            transformer, atoms, *direction, step, method="transform_atoms"
        )
        error = np.linalg.norm(derivative - difference)
        assert error <= tolerance * np.linalg.norm(difference), error
    check_atom_jacobian(evaluator, structure, displacements, strains, derivatives)
    cotangents = np.random.default_rng(1).normal(size=expected.shape)
    values, gradient, strain_gradient = evaluator.atom_vjp(structure, cotangents)
    np.testing.assert_array_equal(values, expected)
    forward = np.tensordot(derivatives.astype(float), cotangents, axes=2)
    reverse = np.tensordot(displacements, gradient, axes=2)
    reverse += np.tensordot(strains, strain_gradient, axes=2)
    assert np.abs(forward - reverse).max() <= adjoint_tolerance * np.abs(forward).max()


def check_atom_jacobian(evaluator, structure, displacements, strains, derivatives):
    """Assert that the sparse derivatives of every atom are those of ``atom_jvp``."""
    jacobian = evaluator.atom_jacobian(structure)
    expected = evaluator.atom_values(structure)
    np.testing.assert_allclose(jacobian.features, expected, rtol=1e-12)
    assert jacobian.values.dtype == jacobian.strain.dtype == expected.dtype
    pairs = list(zip(jacobian.centers.tolist(), jacobian.atoms.tolist(), strict=True))
    assert len(set(pairs)) == len(pairs) == len(jacobian.values)
    assert {(i, i) for i in range(len(structure))} <= set(pairs)
    assert (np.diff(jacobian.centers) >= 0).all()
    found = np.zeros_like(derivatives)
    for atom, directions, values in jacobian.along(Directions(displacements, strains)):
        found[directions, atom] = values
    assert np.linalg.norm(found - derivatives) <= 1e-12 * np.linalg.norm(derivatives)
