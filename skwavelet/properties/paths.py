"""The way of least energy from one minimum to another."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.geometry import find_mic
from ase.mep import NEB
from ase.optimize import FIRE

from skwavelet.properties._shared import PropertyError, follow, relax, with_calculator
from skwavelet.properties.curves import barrier as highest_above_first

# Ends that move to within this of each other (Å, any atom) are one minimum.
_SAME = 0.05
# The elastic band is tightened to this force (eV/Å) before its highest image climbs.
_BEFORE_CLIMB = 0.2


class Barrier(NamedTuple):
    """Energy along a path between two minima; see `barrier`.

    Parameters
    ----------
    forward : float
        Highest energy above the first, eV.
    backward : float
        Highest energy above the last, eV.
    above_lowest : float
        Highest energy above the lowest of all images, eV.
    energies : ndarray of shape (n_images + 2,)
        Total energies along the path, eV.

    Examples
    --------
    >>> import numpy as np
    >>> from skwavelet.properties import Barrier
    >>> Barrier(0.5, 0.75, 0.75, np.array([-9.0, -8.5, -9.25])).forward
    0.5
    """

    forward: float
    backward: float
    above_lowest: float
    energies: np.ndarray


def barrier(
    initial: Atoms,
    final: Atoms,
    calculator: Any = None,
    *,
    n_images: int = 5,
    fmax: float = 0.02,
) -> Barrier:
    """Return the barrier between two minima, by a climbing-image nudged elastic band.

    Both ends are relaxed (at constant cell), images between them interpolated (IDPP), and the band
    is relaxed by `ase.mep.NEB`. `skwavelet.inspection.barrier` reads the barrier of energies that
    are known already.

    Parameters
    ----------
    initial, final : ase.Atoms
        Structures near the two minima, with their atoms in the same order. Their constraints hold.
    calculator : ASE calculator or fitted model, default=None
        None takes ``initial.calc``.
    n_images : int, default=5
        Number of images between the ends; an odd number suits a symmetric path.
    fmax : float, default=0.02
        Largest force at the end, eV/Å.

    Returns
    -------
    Barrier
        ``(forward, backward, above_lowest, energies)``, eV. The dissertation's barriers are
        ``above_lowest``.

    Raises
    ------
    ValueError
        If the ends differ in atoms, cell, periods or places of fixed atoms, ``n_images`` is less
        than 1, or there is no calculator.
    PropertyError
        If a relaxation fails, or both ends relax to the same minimum.

    References
    ----------
    .. [1] G. Henkelman, B. P. Uberuaga, H. Jónsson, J. Chem. Phys. 113, 9901 (2000).

    Examples
    --------
    An atom of gold hops on aluminium:

    >>> from ase.build import add_adsorbate, fcc100
    >>> from ase.calculators.emt import EMT
    >>> from ase.constraints import FixAtoms
    >>> from skwavelet.properties import barrier
    >>> initial = fcc100("Al", (2, 2, 3), vacuum=10.0)
    >>> add_adsorbate(initial, "Au", 1.7, "hollow")
    >>> initial.set_constraint(FixAtoms(mask=initial.get_tags() > 1))
    >>> final = initial.copy()
    >>> final.positions[-1, 0] += final.cell[0, 0] / 2
    >>> round(barrier(initial, final, EMT(), n_images=3).forward, 2)
    0.37
    """
    if n_images < 1:
        raise ValueError(f"n_images={n_images!r} must be at least 1.")
    first = with_calculator(initial, calculator, constraints=True)
    last = with_calculator(final, first.calc, constraints=True)
    if (
        not np.array_equal(first.numbers, last.numbers)
        or (first.pbc != last.pbc).any()
        or not np.allclose(first.cell.array, last.cell.array)
    ):
        raise ValueError(
            "initial and final must have the same atoms in the same order, the same cell and the "
            "same periods."
        )
    for end in (first, last):
        relax(end, cell=False, fmax=fmax)
    _, moved = find_mic(last.positions - first.positions, first.cell, first.pbc)
    if moved.max() < _SAME:
        raise PropertyError("Both ends relax to the same minimum: there is no path between them.")
    images = [first, *(first.copy() for _ in range(n_images)), last]
    for image in images[1:-1]:
        image.calc = first.calc
    for end in (first, last):
        # They do not move: one evaluation is enough.
        end.calc = SinglePointCalculator(
            end, energy=end.get_potential_energy(), forces=end.get_forces()
        )
    band = NEB(images, climb=False, method="improvedtangent", allow_shared_calculator=True)
    try:
        band.interpolate(method="idpp", mic=bool(first.pbc.any()))
    except RuntimeError as error:
        raise ValueError(
            "The constraints of initial and final do not allow a way from one to the other: atoms "
            "that are fixed must stand at the same places in both."
        ) from error

    def look() -> None:
        if not np.isfinite(np.asarray(band.energies, dtype=np.float64)).all():
            raise PropertyError("The search for the path came to energies that are not finite.")

    for climb, force in ((False, max(_BEFORE_CLIMB, fmax)), (True, fmax)):
        band.climb = climb
        follow(FIRE(band, logfile=None), band, force, "search for the path", look)
    energies = np.array([image.get_potential_energy() for image in images])
    return Barrier(
        highest_above_first(energies),
        highest_above_first(energies[::-1]),
        float(np.ptp(energies)),
        energies,
    )
