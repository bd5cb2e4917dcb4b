"""What all properties share: copies with a calculator, checks, and a search for the minimum."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, cast

import numpy as np
from ase import Atoms
from ase.calculators.fd import FiniteDifferenceCalculator
from ase.filters import FrechetCellFilter
from ase.optimize import LBFGS

from skwavelet._utils.validation import one_line
from skwavelet.potentials.calculator import ScatteringCalculator
from skwavelet.structures.checks import check_structures, convert, perpendicular_heights

# Steps of an optimizer after which there is no hope: good starts need tens.
MAX_STEPS = 500
# A cell whose volume changes by more than this factor on its way is not the crystal it was.
MAX_VOLUME_RATIO = 1.6
# No crystal has an empty layer as wide as this (Å); slabs and molecules in boxes have.
VACUUM = 7.0
# Strain for stresses from energies: its square is what the differences leave out, relative to a
# change of the stress at strains of order one, and a larger strain rounds less.
_STRESS_STRAIN = 1e-3
# What calculators raise on structures that are nowhere near physics.
_FAILURES = (ValueError, ArithmeticError, RuntimeError)


class PropertyError(RuntimeError):
    """A potential does not have the property that was asked for.

    The structure collapses or flies apart, a relaxation does not converge, an energy is not
    finite, a curve has no minimum. The message is one line that says which. Wrong arguments are
    ``ValueError`` or ``TypeError`` instead.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from ase.calculators.lj import LennardJones
    >>> from skwavelet.properties import PropertyError, relaxed
    >>> repulsive = LennardJones(sigma=1.0, epsilon=-1.0, rc=5.0)
    >>> try:
    ...     relaxed(bulk("Cu"), repulsive)
    ... except PropertyError as error:
    ...     print("no crystal")
    no crystal
    """


def with_calculator(atoms: Atoms, calculator: Any, *, constraints: bool = False) -> Atoms:
    """Return a checked copy of a structure, with constraints or not, and a calculator.

    A fitted model becomes one; None takes that of the structure.
    """
    atoms = convert(atoms, 0)
    check_structures([atoms])
    if calculator is None:
        calculator = atoms.calc
    if calculator is None:
        raise ValueError("There is no calculator: pass one as calculator=, or set atoms.calc.")
    if not hasattr(calculator, "get_potential_energy"):
        calculator = ScatteringCalculator(calculator)
    copy: Atoms = atoms.copy()
    copy.calc = calculator
    if not constraints:
        copy.set_constraint()
    check_forces(copy)
    return copy


def crystal_with_calculator(atoms: Atoms, calculator: Any) -> Atoms:
    """Return a checked copy of a crystal with a calculator.

    Raises ``ValueError`` where there are directions without periods, or vacuum.
    """
    structure = check_structures([convert(atoms, 0)])[0]
    if not structure.pbc.all():
        raise ValueError(
            f"The structure is not periodic in all directions (pbc={structure.pbc.tolist()}): "
            "pass the cell of a crystal, with atoms.pbc = True."
        )
    places = np.sort(np.linalg.solve(structure.cell.T, structure.positions.T) % 1.0, axis=1)
    gaps = np.diff(places, axis=1, append=places[:, :1] + 1.0).max(axis=1)
    gaps *= perpendicular_heights(structure.cell)
    if gaps.max() > VACUUM:
        raise ValueError(
            f"The structure has {gaps.max():.3g} Å of vacuum along cell vector {gaps.argmax()}, "
            "so its volume means nothing: pass the cell of the crystal itself."
        )
    return with_calculator(atoms, calculator)


def check_forces(atoms: Atoms) -> None:
    """Raise an error of one line where energy or forces cannot be had, or are not finite."""
    try:
        numbers = [atoms.get_potential_energy(), atoms.get_forces(apply_constraint=False)]
    except NotImplementedError as error:
        raise ValueError(
            f"{type(atoms.calc).__name__} does not give energy and forces of this structure "
            f"({one_line(error)}); use a calculator that does."
        ) from error
    if not all(np.isfinite(number).all() for number in numbers):
        raise PropertyError("The potential gives an energy or forces that are not finite.")


def stress_of(atoms: Atoms) -> np.ndarray:
    """Return the stress (6,) in eV/Å³, from energies where the calculator has none."""
    try:
        return np.asarray(atoms.get_stress(apply_constraint=False))
    except NotImplementedError:
        return np.asarray(stress_by_differences(atoms.calc).get_stress(atoms))


def stress_by_differences(calculator: Any) -> FiniteDifferenceCalculator:
    """Return a calculator whose stresses are differences of energies."""
    return FiniteDifferenceCalculator(
        calculator, eps_disp=None, eps_strain=_STRESS_STRAIN, force_consistent=False
    )


def relax(atoms: Atoms, *, cell: bool, fmax: float) -> None:
    """Bring atoms, and the cell if wanted, to their minimum, in place.

    Raises `PropertyError` where there is none nearby.
    """
    calculator = atoms.calc
    if cell:
        try:
            atoms.get_stress()
        except NotImplementedError:
            atoms.calc = stress_by_differences(calculator)
    volume = atoms.cell.volume
    target: Any = FrechetCellFilter(atoms) if cell else atoms

    def look() -> None:
        if not np.isfinite(target.get_forces()).all():
            raise PropertyError("The relaxation came to forces or stresses that are not finite.")
        ratio = atoms.cell.volume / volume if cell else 1.0
        if not 1 / MAX_VOLUME_RATIO < ratio < MAX_VOLUME_RATIO:
            raise PropertyError(
                f"The relaxation changed the volume of the cell by a factor {ratio:.2g}: the "
                "potential has no such crystal near this cell."
            )

    follow(LBFGS(target, logfile=cast(Any, None)), target, fmax, "relaxation", look)
    atoms.calc = calculator


def follow(optimizer: Any, target: Any, fmax: float, what: str, look: Callable[[], None]) -> None:
    """Run an optimizer of ``target`` to its end, and call ``look`` at every step.

    Raises `PropertyError` where it does not converge, or comes to what the calculator refuses.
    """
    if not fmax > 0:
        raise ValueError(f"fmax={fmax!r} must be a positive force in eV/Å.")
    converged = False
    with as_property_error(what):
        for state in optimizer.irun(fmax=fmax, steps=MAX_STEPS):
            converged = bool(state)
            look()
        if not converged:
            largest = np.linalg.norm(target.get_forces(), axis=-1).max()
            raise PropertyError(
                f"The {what} did not converge to fmax={fmax:g} eV/Å in {MAX_STEPS} steps (the "
                f"largest force is {largest:.2g}): raise fmax, or start closer to the minimum."
            )


def energy_of(atoms: Atoms, relax_ions: bool, fmax: float) -> float:
    """Return the total energy (eV), after a relaxation of the atoms if wanted, in place."""
    if relax_ions:
        relax(atoms, cell=False, fmax=fmax)
    with as_property_error("search for the energy"):
        check_forces(atoms)
    return float(atoms.get_potential_energy())


@contextmanager
def as_property_error(what: str) -> Iterator[None]:
    """Say in one line what a calculator did not like on the way."""
    try:
        yield
    except PropertyError:
        raise
    except _FAILURES as error:
        raise PropertyError(
            f"The {what} came to a structure that the potential refuses: {one_line(error)}"
        ) from error


def repeat_to(atoms: Atoms, min_length: float) -> tuple[int, int, int]:
    """Return how often to repeat a cell for its heights to be ``min_length`` (Å) at least."""
    if not np.isfinite(min_length) or min_length < 0:
        raise ValueError(f"min_length={min_length!r} must be a length in Å.")
    heights = perpendicular_heights(atoms.cell.array)
    # A cell that misses the length by rounding is not doubled.
    a, b, c = np.maximum(np.ceil(min_length / heights - 1e-6).astype(int), 1).tolist()
    return a, b, c


def optional(name: str) -> ModuleType:
    """Import a package that only some properties need."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f'This needs {error.name}: pip install "skwavelet[properties]".'
        ) from error


def phonopy_cell(atoms: Atoms) -> Any:
    """Return a crystal as phonopy takes it."""
    return optional("phonopy.structure.atoms").PhonopyAtoms(
        numbers=atoms.numbers,
        masses=atoms.get_masses(),
        cell=atoms.cell.array,
        scaled_positions=atoms.get_scaled_positions(),
    )
