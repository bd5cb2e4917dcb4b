"""What it costs to take an atom out of a crystal, or to cut it."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms, units
from ase.build import surface

from skwavelet.properties._shared import (
    crystal_with_calculator,
    energy_of,
    relax,
    repeat_to,
)
from skwavelet.structures.checks import perpendicular_heights

# Fractional coordinates of a relaxed crystal are those of its layers within this. An atom that is
# taken to the other side of the slab would roughen both faces.
_PLACE = 1e-5


def vacancy_formation_energy(
    atoms: Atoms,
    calculator: Any = None,
    *,
    site: int = 0,
    min_length: float = 10.0,
    relax_ions: bool = True,
    fmax: float = 1e-3,
) -> float:
    """Return the formation energy of a vacancy in a crystal of one element.

    E(N - 1 atoms) - (N - 1)/N E(N atoms), at the volume of the relaxed crystal.

    Parameters
    ----------
    atoms : ase.Atoms
        A crystal of one element near its minimum; its smallest cell will do.
    calculator : ASE calculator or fitted model, default=None
        None takes ``atoms.calc``.
    site : int, default=0
        Which atom of ``atoms`` is taken out.
    min_length : float, default=10.0
        The relaxed cell is repeated until its heights are at least this (Å), which is the least
        distance between a vacancy and its images. Energies converge with it.
    relax_ions : bool, default=True
        Whether the atoms around the vacancy relax.
    fmax : float, default=1e-3
        Largest force at the end of the relaxations, eV/Å.

    Returns
    -------
    float
        eV.

    Raises
    ------
    ValueError
        If the crystal has several elements, no atom ``site`` or one atom in all, is no crystal,
        or there is no calculator.
    PropertyError
        If a relaxation fails.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> from skwavelet.properties import vacancy_formation_energy
    >>> round(vacancy_formation_energy(bulk("Cu"), EMT(), min_length=7.0), 2)
    1.23
    """
    crystal = crystal_with_calculator(atoms, calculator)
    elements = sorted(set(crystal.symbols))
    if len(elements) > 1:
        raise ValueError(
            f"The crystal has several elements ({', '.join(elements)}), so its vacancies depend on "
            "chemical potentials: subtract energies yourself, of structures from relaxed(...)."
        )
    if not 0 <= site < len(crystal):
        raise ValueError(f"site={site!r} is no atom of a structure with {len(crystal)} atoms.")
    relax(crystal, cell=True, fmax=fmax)
    per_atom = crystal.get_potential_energy() / len(crystal)
    supercell = crystal.repeat(repeat_to(crystal, min_length))
    if len(supercell) == 1:
        raise ValueError(f"min_length={min_length:g} Å leaves a single atom: raise it.")
    supercell.calc = crystal.calc
    del supercell[site]
    return float(energy_of(supercell, relax_ions, fmax) - len(supercell) * per_atom)


def surface_energy(
    atoms: Atoms,
    calculator: Any = None,
    *,
    miller: tuple[int, int, int] = (1, 1, 1),
    thickness: float = 15.0,
    vacuum: float = 10.0,
    relax_ions: bool = True,
    fmax: float = 1e-3,
) -> float:
    """Return the energy of a surface per area.

    (E(slab) - N E(crystal)/atom) / 2A, the mean of the two faces of a slab of the relaxed crystal.

    Parameters
    ----------
    atoms : ase.Atoms
        A crystal near its minimum, in the cell that ``miller`` refers to: the conventional one for
        the usual indices.
    calculator : ASE calculator or fitted model, default=None
        None takes ``atoms.calc``.
    miller : tuple of int, default=(1, 1, 1)
        Miller indices of the surface, as `ase.build.surface` takes them. Where planes are cut in
        several ways, this is the cut that it makes.
    thickness : float, default=15.0
        Least thickness of the slab, Å.
    vacuum : float, default=10.0
        Empty space between a slab and its image, Å: more than the cutoff of the potential.
    relax_ions : bool, default=True
        Whether the atoms of the slab relax (in the cell of the crystal, without reconstruction).
    fmax : float, default=1e-3
        Largest force at the end of the relaxations, eV/Å.

    Returns
    -------
    float
        J/m² (1 eV/Å² is 16.02 J/m²).

    Raises
    ------
    ValueError
        If the structure is no crystal, there is no calculator, or an argument cannot be.
    PropertyError
        If a relaxation fails.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> from skwavelet.properties import surface_energy
    >>> round(surface_energy(bulk("Cu", cubic=True), EMT(), thickness=8.0), 2)
    1.04
    """
    if len(miller) != 3 or not any(miller):
        raise ValueError(f"miller={miller!r} must be three integers that are not all zero.")
    if not (thickness > 0 and vacuum > 0):
        raise ValueError(f"thickness={thickness!r} and vacuum={vacuum!r} must be positive, in Å.")
    crystal = crystal_with_calculator(atoms, calculator)
    relax(crystal, cell=True, fmax=fmax)
    per_atom = crystal.get_potential_energy() / len(crystal)
    layer = surface(crystal, miller, 1, periodic=True)
    n_layers = int(np.ceil(thickness / perpendicular_heights(layer.cell.array)[2] - 1e-6))
    # Not periodic: it would wrap atoms at zero to the other face by rounding.
    slab = surface(crystal, miller, n_layers, vacuum=vacuum / 2, tol=_PLACE)
    slab.pbc = True
    slab.calc = crystal.calc
    area = np.linalg.norm(np.cross(slab.cell[0], slab.cell[1]))
    excess = energy_of(slab, relax_ions, fmax) - len(slab) * per_atom
    return float(excess / (2 * area) * units.m**2 / units.J)
