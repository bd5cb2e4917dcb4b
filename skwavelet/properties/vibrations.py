"""Frequencies of crystals and of molecules."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from numpy.typing import ArrayLike

from skwavelet.properties._shared import (
    as_property_error,
    crystal_with_calculator,
    optional,
    phonopy_cell,
    relax,
    repeat_to,
    with_calculator,
)

# Angular frequency of a mass-weighted Hessian (eV/Å²/u) in 1/cm.
_PER_CM = np.sqrt(units._e / units._amu) * 1e10 / (2 * np.pi * units._c * 100)


def phonon_frequencies(
    atoms: Atoms,
    calculator: Any = None,
    points: Mapping[str, ArrayLike] | None = None,
    *,
    min_length: float = 10.0,
    displacement: float = 0.01,
    fmax: float = 1e-4,
) -> dict[str, np.ndarray]:
    """Return the frequencies of phonons at points of the Brillouin zone.

    The cell is relaxed, and phonopy displaces atoms of a supercell. It is an extra:
    ``pip install "skwavelet[properties]"``.

    Parameters
    ----------
    atoms : ase.Atoms
        A crystal near its minimum, in its *primitive* cell: a larger one folds other points onto
        the one that is asked for.
    calculator : ASE calculator or fitted model, default=None
        None takes ``atoms.calc``.
    points : mapping of str to array-like of shape (3,), default=None
        Points by name, in fractions of the reciprocal cell vectors of ``atoms``. None takes the
        high-symmetry points of its Bravais lattice, named as in ``atoms.cell.bandpath()``: Γ is
        "G".
    min_length : float, default=10.0
        The cell is repeated until its heights are at least this (Å). Points that fit the supercell
        are exact for forces that reach half of it.
    displacement : float, default=0.01
        How far atoms are displaced, Å.
    fmax : float, default=1e-4
        Largest force at the end of the relaxation, eV/Å.

    Returns
    -------
    dict of str to ndarray of shape (3 * n_atoms,)
        THz (not angular), increasing; imaginary ones, where the crystal is not stable, are
        negative.

    Raises
    ------
    ModuleNotFoundError
        If phonopy is not installed.
    ValueError
        If the structure is no crystal, there is no calculator, or a point has not three
        components.
    PropertyError
        If the relaxation fails, or the potential refuses a displaced structure.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> from skwavelet.properties import phonon_frequencies
    >>> found = phonon_frequencies(bulk("Cu"), EMT(), {"X": [0.5, 0.5, 0.0]})
    >>> found["X"].round(1)
    array([5.5, 5.5, 8.1])
    """
    phonopy = optional("phonopy")
    crystal = crystal_with_calculator(atoms, calculator)
    if points is None:
        points = crystal.cell.bandpath(npoints=0).special_points
    chosen = {name: np.asarray(point, dtype=np.float64) for name, point in points.items()}
    for name, point in chosen.items():
        if point.shape != (3,) or not np.isfinite(point).all():
            raise ValueError(f"Point {name!r} must be three numbers, in reciprocal cell vectors.")
    relax(crystal, cell=True, fmax=fmax)
    phonons = phonopy.Phonopy(
        phonopy_cell(crystal),
        supercell_matrix=np.diag(repeat_to(crystal, min_length)),
        primitive_matrix=np.eye(3),
        log_level=0,
    )
    phonons.generate_displacements(distance=displacement)
    forces = []
    for displaced in phonons.supercells_with_displacements:
        supercell = Atoms(
            numbers=displaced.numbers,
            cell=displaced.cell,
            scaled_positions=displaced.scaled_positions,
            pbc=True,
            calculator=crystal.calc,
        )
        with as_property_error("displaced crystal"):
            forces.append(supercell.get_forces())
    phonons.forces = forces
    phonons.produce_force_constants()
    phonons.run_qpoints(list(chosen.values()))
    frequencies = phonons.qpoints.frequencies
    return {name: np.sort(row) for name, row in zip(chosen, frequencies, strict=True)}


def normal_mode_frequencies(
    atoms: Atoms,
    calculator: Any = None,
    *,
    displacement: float = 0.01,
    fmax: float = 1e-4,
) -> np.ndarray:
    """Return the frequencies of the normal modes of a molecule.

    The molecule is relaxed, `ase.vibrations` displaces each of its atoms, and translations and
    rotations are taken out of the Hessian.

    Parameters
    ----------
    atoms : ase.Atoms
        A molecule near its minimum, without periods.
    calculator : ASE calculator or fitted model, default=None
        None takes ``atoms.calc``.
    displacement : float, default=0.01
        How far atoms are displaced, Å.
    fmax : float, default=1e-4
        Largest force at the end of the relaxation, eV/Å.

    Returns
    -------
    ndarray of shape (3 * n_atoms - 6,)
        1/cm, increasing; one more where the molecule is linear. Imaginary ones, where it is not at
        a minimum, are negative.

    Raises
    ------
    ValueError
        If there are periods, a single atom, or no calculator.
    PropertyError
        If the relaxation fails, or the potential refuses a displaced structure.

    Examples
    --------
    >>> from ase.build import molecule
    >>> from ase.calculators.emt import EMT
    >>> from skwavelet.properties import normal_mode_frequencies
    >>> normal_mode_frequencies(molecule("H2O"), EMT()).shape
    (3,)
    """
    if atoms.pbc.any():
        raise ValueError(
            "The structure has periods: set atoms.pbc = False for a molecule, or take "
            "phonon_frequencies for a crystal."
        )
    found = with_calculator(atoms, calculator)
    if len(found) < 2:
        raise ValueError("A single atom has no normal modes; pass a molecule.")
    relax(found, cell=False, fmax=fmax)
    hessian = _hessian(found, displacement)
    weights = np.repeat(found.get_masses() ** -0.5, 3)
    weighted = weights[:, None] * hessian * weights
    inner = _vibrations(found)
    squares = np.linalg.eigvalsh(inner.T @ weighted @ inner)
    return np.sign(squares) * np.sqrt(np.abs(squares)) * _PER_CM


def _hessian(atoms: Atoms, displacement: float) -> np.ndarray:
    """Return second derivatives (3N, 3N) of the energy, eV/Å²."""
    # Imported here: it brings matplotlib.
    from ase.vibrations import Vibrations

    with tempfile.TemporaryDirectory() as folder, as_property_error("displaced molecule"):
        vibrations = Vibrations(atoms, name=str(Path(folder, "modes")), delta=displacement)
        vibrations.run()
        return np.asarray(vibrations.get_vibrations().get_hessian_2d())


def _vibrations(atoms: Atoms) -> np.ndarray:
    """Return an orthonormal basis (3N, n) of mass-weighted motions that are not rigid."""
    roots = np.sqrt(atoms.get_masses())[:, None]
    centred = atoms.positions - atoms.get_center_of_mass()
    moves = [np.broadcast_to(axis, centred.shape) for axis in np.eye(3)]
    turns = [np.cross(axis, centred) for axis in np.eye(3)]
    rigid = np.array([(roots * motion).ravel() for motion in (*moves, *turns)])
    _, sizes, rows = np.linalg.svd(rigid)
    # A linear molecule does not turn about its axis.
    return np.asarray(rows[int((sizes > 1e-4 * sizes[0]).sum()) :].T)
