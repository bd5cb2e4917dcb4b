"""The crystal of least energy."""

from __future__ import annotations

from typing import Any

from ase import Atoms

from skwavelet.properties._shared import (
    crystal_with_calculator,
    relax,
    with_calculator,
)

# Bravais lattices with one lattice constant and right angles between conventional axes.
_CUBIC = ("CUB", "FCC", "BCC")


def relaxed(
    atoms: Atoms, calculator: Any = None, *, cell: bool = True, fmax: float = 1e-4
) -> Atoms:
    """Return a structure at the minimum of its energy.

    Parameters
    ----------
    atoms : ase.Atoms
        A start near the minimum; it stays as it is.
    calculator : ASE calculator or fitted model, default=None
        None takes ``atoms.calc``.
    cell : bool, default=True
        Whether the cell is relaxed too (at zero pressure), rather than the atoms alone.
    fmax : float, default=1e-4
        Largest force on an atom at the end, eV/Å; forces on the cell are measured as
        `ase.filters.FrechetCellFilter` does.

    Returns
    -------
    ase.Atoms
        A new structure, with the calculator and without constraints.

    Raises
    ------
    ValueError
        If there is no calculator, or it gives no forces; if a cell that is to be relaxed has a
        direction without period, or vacuum.
    PropertyError
        If the structure collapses, flies apart, or does not converge in 500 steps.

    Notes
    -----
    The optimizer is `ase.optimize.LBFGS`. A calculator without stress has its
    stresses from energies at strains of ±1e-3.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> from skwavelet.properties import relaxed
    >>> copper = relaxed(bulk("Cu", a=3.5), EMT())
    >>> round(float(copper.cell.volume), 2)
    11.57
    """
    found = (crystal_with_calculator if cell else with_calculator)(atoms, calculator)
    relax(found, cell=cell, fmax=fmax)
    return found


def lattice_constant(atoms: Atoms, calculator: Any = None, *, fmax: float = 1e-4) -> float:
    """Return the lattice constant of a cubic crystal.

    Parameters
    ----------
    atoms : ase.Atoms
        Primitive or conventional cell of a cubic crystal, as `ase.build.bulk` makes it. (A cell
        that is repeated twice in each direction has twice the lattice constant.)
    calculator : ASE calculator or fitted model, default=None
        None takes ``atoms.calc``.
    fmax : float, default=1e-4
        Largest force at the end of the relaxation, eV/Å.

    Returns
    -------
    float
        Å.

    Raises
    ------
    ValueError
        If the cell is not cubic, before or after the relaxation (then ``relaxed(...).cell`` has
        its lengths and angles), or there is no calculator.
    PropertyError
        If the relaxation fails.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> from skwavelet.properties import lattice_constant
    >>> round(lattice_constant(bulk("Cu", a=3.5), EMT()), 2)
    3.59
    """
    start = crystal_with_calculator(atoms, calculator)
    _cubic_constant(start, "")
    relax(start, cell=True, fmax=fmax)
    return _cubic_constant(start, " after the relaxation")


def _cubic_constant(atoms: Atoms, when: str) -> float:
    lattice = atoms.cell.get_bravais_lattice(eps=1e-3)
    if lattice.name not in _CUBIC:
        raise ValueError(
            f"The cell is not cubic{when} but {lattice.longname}: take lengths and angles of "
            "relaxed(...).cell."
        )
    return float(lattice.a)
