"""How a crystal resists compression and strain."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from ase import Atoms, units
from ase.eos import EquationOfState as FittedCurve
from ase.stress import full_3x3_to_voigt_6_stress, voigt_6_to_full_3x3_strain
from numpy.typing import ArrayLike

from skwavelet.properties._shared import (
    PropertyError,
    as_property_error,
    crystal_with_calculator,
    optional,
    phonopy_cell,
    relax,
    stress_of,
)

# Entries of an elastic tensor that symmetry makes equal or zero differ by less than this part of
# the largest where the tensor is that of a cubic crystal.
_CUBIC_TOLERANCE = 0.02
# Components in Voigt's order, and where component (i, j) stands in it.
_PAIRS = [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]
_VOIGT = np.array([[0, 5, 4], [5, 1, 3], [4, 3, 2]])


class EquationOfState(NamedTuple):
    """Energy of a crystal against its volume, in four numbers; see `equation_of_state`.

    Parameters
    ----------
    volume : float
        V0, where the energy is least, Å³/atom.
    energy : float
        E0 there, eV/atom.
    bulk_modulus : float
        B0 = V d²E/dV² at V0, GPa.
    bulk_modulus_derivative : float
        B' = dB/dp at V0, without unit.

    Examples
    --------
    >>> from skwavelet.properties import EquationOfState
    >>> EquationOfState(11.6, -3.5, 140.0, 5.0).bulk_modulus
    140.0
    """

    volume: float
    energy: float
    bulk_modulus: float
    bulk_modulus_derivative: float


class CubicConstants(NamedTuple):
    """The three elastic constants of a cubic crystal, GPa; see `cubic_constants`.

    Parameters
    ----------
    c11, c12, c44 : float
        GPa.

    Examples
    --------
    >>> from skwavelet.properties import CubicConstants
    >>> CubicConstants(166.0, 64.0, 80.0).c44
    80.0
    """

    c11: float
    c12: float
    c44: float


def equation_of_state(
    atoms: Atoms,
    calculator: Any = None,
    *,
    max_strain: float = 0.02,
    n_volumes: int = 9,
    fmax: float = 1e-4,
) -> EquationOfState:
    """Return volume, energy, bulk modulus and its derivative of a crystal.

    The cell is relaxed, then its lengths are strained all alike, the atoms are relaxed in each of
    the cells, and Birch and Murnaghan's third-order curve is fitted by `ase.eos`.

    Parameters
    ----------
    atoms : ase.Atoms
        A crystal near its minimum.
    calculator : ASE calculator or fitted model, default=None
        None takes ``atoms.calc``.
    max_strain : float, default=0.02
        Largest relative change of the lengths, either way.
    n_volumes : int, default=9
        Number of volumes, at least 5.
    fmax : float, default=1e-4
        Largest force at the end of the relaxations, eV/Å.

    Returns
    -------
    EquationOfState
        ``(volume, energy, bulk_modulus, bulk_modulus_derivative)`` in Å³/atom, eV/atom, GPa, and
        without unit.

    Raises
    ------
    ValueError
        If the structure is no crystal, there is no calculator, or ``max_strain`` or ``n_volumes``
        cannot be.
    PropertyError
        If a relaxation fails, or the energy has no minimum among these volumes.

    Notes
    -----
    The cell keeps its shape. Where a crystal is not cubic, its bulk modulus under pressure is
    smaller: one over the sum of the upper left 3 x 3 entries of the inverse of `elastic_tensor`.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> from skwavelet.properties import equation_of_state
    >>> curve = equation_of_state(bulk("Cu"), EMT())
    >>> round(curve.volume, 2), round(curve.bulk_modulus)
    (11.57, 134)
    """
    if not 0 < max_strain < 0.3 or n_volumes < 5:
        raise ValueError(
            f"max_strain={max_strain!r} must be between 0 and 0.3, and n_volumes={n_volumes!r} at "
            "least 5."
        )
    crystal = crystal_with_calculator(atoms, calculator)
    relax(crystal, cell=True, fmax=fmax)
    cells = crystal.copy()
    cells.calc = crystal.calc
    volumes, energies = [], []
    for strain in np.linspace(-max_strain, max_strain, n_volumes):
        cells.set_cell((1 + strain) * crystal.cell.array, scale_atoms=True)
        with as_property_error("equation of state"):
            relax(cells, cell=False, fmax=fmax)
            volumes.append(cells.cell.volume / len(cells))
            energies.append(cells.get_potential_energy() / len(cells))
    curve = FittedCurve(volumes, energies, eos="birchmurnaghan")
    # It complains in several ways about a curve without minimum.
    with as_property_error("equation of state"):
        curve.fit(warn=False)
    energy, modulus, derivative, volume = map(float, curve.eos_parameters)
    found = EquationOfState(volume, energy, modulus / units.GPa, derivative)
    if not min(volumes) < found.volume < max(volumes) or not found.bulk_modulus > 0:
        raise PropertyError(
            f"The energies have no minimum within a strain of {max_strain:g} of the relaxed cell: "
            "no equation of state."
        )
    return found


def bulk_modulus(atoms: Atoms, calculator: Any = None, *, fmax: float = 1e-4) -> float:
    """Return the bulk modulus of a crystal: that of its `equation_of_state`.

    `skwavelet.inspection.bulk_modulus` fits energies that are known already.

    Parameters
    ----------
    atoms : ase.Atoms
        A crystal near its minimum.
    calculator : ASE calculator or fitted model, default=None
        None takes ``atoms.calc``.
    fmax : float, default=1e-4
        Largest force at the end of the relaxations, eV/Å.

    Returns
    -------
    float
        GPa.

    Raises
    ------
    ValueError
        If the structure is no crystal, or there is no calculator.
    PropertyError
        If a relaxation fails, or the energy has no minimum near the relaxed volume.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> from skwavelet.properties import bulk_modulus
    >>> round(bulk_modulus(bulk("Cu"), EMT()))
    134
    """
    return equation_of_state(atoms, calculator, fmax=fmax).bulk_modulus


def elastic_tensor(
    atoms: Atoms,
    calculator: Any = None,
    *,
    relax_ions: bool = True,
    strain: float = 0.005,
    symmetrize: bool = False,
    fmax: float = 1e-4,
) -> np.ndarray:
    """Return the elastic constants of a crystal at zero pressure.

    The cell is relaxed, then strained along each of Voigt's six components, in both directions;
    the tensor is the difference of the stresses.

    Parameters
    ----------
    atoms : ase.Atoms
        A crystal near its minimum.
    calculator : ASE calculator or fitted model, default=None
        None takes ``atoms.calc``. One without stress has its stresses from energies.
    relax_ions : bool, default=True
        Whether atoms move to their minimum in every strained cell, as in an experiment. With
        False they follow the strain ("clamped ions").
    strain : float, default=0.005
        Size of the strains; shears are in engineering units, twice the component of the tensor.
    symmetrize : bool, default=False
        Whether to average over the symmetry of the crystal, which needs phonopy
        (``pip install "skwavelet[properties]"``).
    fmax : float, default=1e-4
        Largest force at the end of the relaxations, eV/Å.

    Returns
    -------
    ndarray of shape (6, 6)
        GPa, symmetric, in Voigt's order xx, yy, zz, yz, xz, xy of the axes in which ``atoms`` is
        given.

    Raises
    ------
    ValueError
        If the structure is no crystal, there is no calculator, or ``strain`` cannot be.
    PropertyError
        If a relaxation fails.

    Notes
    -----
    C_ij = dσ_i/dη_j at zero stress, by central differences, which leave out terms of second order
    in the strain. A crystal is stable where all eigenvalues are positive (Born).

    References
    ----------
    .. [1] J. F. Nye, Physical Properties of Crystals, Oxford University Press, 1985, chapter 8.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> from skwavelet.properties import cubic_constants, elastic_tensor
    >>> tensor = elastic_tensor(bulk("Cu"), EMT())
    >>> [round(constant) for constant in cubic_constants(tensor)]
    [173, 115, 90]
    """
    if not 0 < strain < 0.1:
        raise ValueError(f"strain={strain!r} must be between 0 and 0.1.")
    crystal = crystal_with_calculator(atoms, calculator)
    relax(crystal, cell=True, fmax=fmax)
    strained = crystal.copy()
    strained.calc = crystal.calc
    columns = []
    for component in range(6):
        stresses = []
        for sign in (1, -1):
            eta = np.zeros(6)
            eta[component] = sign * strain
            # With ones on the diagonal: what it returns deforms, it is not the strain alone.
            deformation = voigt_6_to_full_3x3_strain(eta)
            strained.set_cell(crystal.cell.array @ deformation, scale_atoms=False)
            strained.set_scaled_positions(crystal.get_scaled_positions(wrap=False))
            with as_property_error("strained crystal"):
                if relax_ions:
                    relax(strained, cell=False, fmax=fmax)
                stresses.append(stress_of(strained))
        columns.append((stresses[0] - stresses[1]) / (2 * strain * units.GPa))
    tensor = np.array(columns)
    if not np.isfinite(tensor).all():
        raise PropertyError("The stresses of strained cells are not finite: no elastic tensor.")
    tensor = (tensor + tensor.T) / 2
    return _average(tensor, crystal) if symmetrize else tensor


def cubic_constants(tensor: ArrayLike) -> CubicConstants:
    """Return C11, C12 and C44 of a cubic crystal whose axes are the Cartesian ones.

    Parameters
    ----------
    tensor : array-like of shape (6, 6)
        Elastic constants, such as `elastic_tensor` returns.

    Returns
    -------
    CubicConstants
        ``(c11, c12, c44)``, each the mean of its three entries, in the unit of ``tensor``.

    Raises
    ------
    ValueError
        If entries that a cubic crystal has equal or zero in these axes differ by more than 2 % of
        the largest.

    Examples
    --------
    >>> import numpy as np
    >>> from skwavelet.properties import cubic_constants
    >>> tensor = np.diag([166.0, 166, 166, 80, 80, 80])
    >>> tensor[:3, :3] += 64 * (1 - np.eye(3))
    >>> cubic_constants(tensor)
    CubicConstants(c11=166.0, c12=64.0, c44=80.0)
    """
    tensor = np.asarray(tensor, dtype=np.float64)
    if tensor.shape != (6, 6) or not np.isfinite(tensor).all():
        raise ValueError(f"tensor must be 6 x 6 finite numbers; got shape {tensor.shape}.")
    diagonal = np.diag(tensor)
    c12 = (tensor[0, 1] + tensor[1, 2] + tensor[0, 2]) / 3
    found = CubicConstants(float(diagonal[:3].mean()), float(c12), float(diagonal[3:].mean()))
    ideal = np.diag([found.c11 - found.c12] * 3 + [found.c44] * 3)
    ideal[:3, :3] += found.c12
    if np.abs(tensor - ideal).max() > _CUBIC_TOLERANCE * np.abs(tensor).max():
        raise ValueError(
            "The tensor is not that of a cubic crystal along the Cartesian axes: turn the crystal, "
            "or take the entries of the tensor."
        )
    return found


def _average(tensor: np.ndarray, crystal: Atoms) -> np.ndarray:
    """Average a tensor (6, 6) over the rotations of a crystal."""
    optional("phonopy")
    from phonopy.structure.symmetry import Symmetry

    rotations = Symmetry(phonopy_cell(crystal), symprec=1e-3).pointgroup_operations
    cell = crystal.cell.array
    full = tensor[_VOIGT[:, :, None, None], _VOIGT]
    turned = np.zeros_like(full)
    for rotation in rotations:
        # Of column vectors of fractional coordinates, to Cartesian ones.
        R = cell.T @ rotation @ np.linalg.inv(cell.T)
        turned += np.einsum("ai,bj,ck,dl,ijkl->abcd", R, R, R, R, full, optimize=True)
    turned /= len(rotations)
    return np.array([full_3x3_to_voigt_6_stress(turned[i, j]) for i, j in _PAIRS])
