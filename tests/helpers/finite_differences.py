"""One check of derivatives for every transformer of structures.

``check_derivatives(transformer, atoms)`` compares ``jvp`` with differences of ``transform``, and
``vjp`` with ``jvp``.
"""

import numpy as np
from helpers.small_structures import strained


def moved(atoms, displacement, strain):
    """Displace the atoms, then strain everything."""
    atoms = atoms.copy()
    atoms.positions = atoms.positions + displacement
    return strained(atoms, strain)


def directional_differences(transformer, atoms, displacement, strain, step):
    """Derivative of the features along a direction, by differences of sixth order.

    The error of seven points falls as step^6, so that a step large against rounding suffices.
    """
    weights = {1: 3 / 4, 2: -3 / 20, 3: 1 / 60}
    ahead = [moved(atoms, k * step * displacement, k * step * strain) for k in weights]
    behind = [moved(atoms, -k * step * displacement, -k * step * strain) for k in weights]
    plus = transformer.transform(ahead).astype(float)
    minus = transformer.transform(behind).astype(float)
    return np.array(list(weights.values())) @ (plus - minus) / step


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
