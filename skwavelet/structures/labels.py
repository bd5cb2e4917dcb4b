"""Labels that structures carry: energies, forces and stresses of the potential itself."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import (
    PropertyNotImplementedError,
    PropertyNotPresent,
    all_properties,
)
from ase.calculators.singlepoint import SinglePointCalculator
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import ArrayLike

from skwavelet._utils.validation import check_row_vector
from skwavelet.structures.checks import as_atoms, check_structures
from skwavelet.structures.label_names import names_virial, other_names, warn_of_other_names

__all__ = ["Labels", "labels_of", "total_energies"]

_GETTERS = {"energy": "get_potential_energy", "forces": "get_forces", "stress": "get_stress"}
# Components of a symmetric tensor may differ by so much of its largest one, from rounding.
_ASYMMETRY = 0.01


@dataclass(frozen=True, eq=False)
class Labels:
    """Labels of n structures, as `skwavelet.labels_of` returns them.

    Parameters
    ----------
    energies : ndarray of shape (n_structures,)
        Energies per atom, eV/atom.
    total_energies : ndarray of shape (n_structures,)
        Energies of the whole structures, eV.
    forces : list of n_structures ndarrays of shape (n_atoms, 3), or None
        eV/Å; an entry is None where a structure has no forces. None if none has.
    stress : list of n_structures ndarrays of shape (6,), or None
        eV/Å³ in ASE's sign and order (xx, yy, zz, yz, xz, xy); an entry is None where a structure
        has no stress. None if none has.

    Examples
    --------
    >>> from ase import Atoms
    >>> from ase.calculators.emt import EMT
    >>> from skwavelet import labels_of
    >>> labels = labels_of([Atoms("Cu2", [[0, 0, 0], [0, 0, 2.5]], calculator=EMT())])
    >>> bool(labels.total_energies[0] == 2 * labels.energies[0]), labels.stress is None
    (True, True)
    """

    energies: np.ndarray
    total_energies: np.ndarray
    forces: list[np.ndarray | None] | None
    stress: list[np.ndarray | None] | None


def labels_of(
    structures: Iterable[Atoms],
    *,
    energy_key: str | None = None,
    forces_key: str | None = None,
    stress_key: str | None = None,
    virial_key: str | None = None,
) -> Labels:
    """Return the energies, forces and stresses that structures carry.

    They are those of the potential itself, as calculated: what constraints (fixed atoms, tethers,
    external forces) do to them in ``atoms.get_forces()`` and its like is left out.

    Parameters
    ----------
    structures : sequence of :class:`ase.Atoms`
        Each with the calculator that ASE attaches to what it reads from a file, or with any other
        calculator, which then computes what it has not computed yet.
    energy_key : str, default=None
        Where the total energy (eV) stands in ``atoms.info``, such as ``"REF_energy"``, or, failing
        that, among the results of the calculator (``"free_energy"``). None takes the energy of the
        calculator, or its free energy if no structure has anything else.
    forces_key : str, default=None
        Where the forces (eV/Å) stand in ``atoms.arrays``. None takes those of the calculator.
    stress_key : str, default=None
        Where the stress stands in ``atoms.info``: eV/Å³ in ASE's sign (positive where the crystal
        is under tension), a matrix or six numbers xx, yy, zz, yz, xz, xy. None takes that of
        the calculator.
    virial_key : str, default=None
        Where the virial (eV) stands in ``atoms.info``, in the same forms, with the sign that
        stress = -virial / volume. It takes the place of the stress.

    Returns
    -------
    Labels
        With ``energies`` (eV/atom), ``total_energies`` (eV), ``forces`` (eV/Å) and ``stress``
        (eV/Å³). Only structures that are periodic in all directions have a stress.

    Raises
    ------
    TypeError
        If ``structures`` is no sequence of structures.
    ValueError
        If a structure has no energy, was changed after its labels were calculated, has labels of
        a wrong shape or that are not finite, or is broken; or if nothing has a name that is
        passed. The message names the structure's index.

    Warns
    -----
    UserWarning
        If a structure has no forces or stress where they are expected, but some under another
        name. Pass that name, or ignore the warning.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> from ase.constraints import FixAtoms
    >>> from skwavelet import labels_of
    >>> copper = bulk("Cu", cubic=True)
    >>> copper.rattle(0.1, seed=0)
    >>> copper.calc = EMT()
    >>> copper.set_constraint(FixAtoms([0]))
    >>> labels = labels_of([copper])
    >>> labels.energies.shape, labels.forces[0].shape, labels.stress[0].shape
    ((1,), (4, 3), (6,))
    >>> bool(labels.forces[0][0].any()), bool(copper.get_forces()[0].any())
    (True, False)
    """
    return read_labels(structures, energy_key, forces_key, stress_key, virial_key)


def read_labels(
    structures: Iterable[Atoms],
    energy_key: str | None,
    forces_key: str | None,
    stress_key: str | None,
    virial_key: str | None,
    *,
    whole: bool = True,
) -> Labels:
    """Return labels as `labels_of` does, of a whole set or of a part of one.

    In a part, forces and stresses may be missing under a name that is passed.
    """
    if stress_key is not None and virial_key is not None:
        raise ValueError("Pass stress_key or virial_key, not both.")
    if stress_key is not None and names_virial(stress_key):
        raise ValueError(
            f"stress_key={stress_key!r} names a virial; pass virial_key={stress_key!r} if "
            "stress = -virial / volume holds for it."
        )
    checked = as_atoms(structures)
    totals = total_energies(checked, energy_key=energy_key)
    forces = _collect(checked, "forces", forces_key, "arrays", whole)
    stress_name = "stress" if virial_key is None else "virial"
    stress = _collect(checked, stress_name, stress_key or virial_key, "info", whole)
    warn_of_other_names(checked, forces, "forces", ("forces_key",))
    warn_of_other_names(checked, stress, "stress", ("stress_key", "virial_key"))
    sizes = np.array([len(atoms) for atoms in checked])
    return Labels(totals / sizes, totals, forces, stress)


def total_energies(structures: Sequence[Atoms], *, energy_key: str | None = None) -> np.ndarray:
    """Return the energies that structures carry, without contributions of constraints.

    Parameters
    ----------
    structures : sequence of :class:`ase.Atoms`
        Each with a calculator: the one that ASE attaches to what it reads, or any other.
    energy_key : str, default=None
        Where the energy stands, as in `skwavelet.labels_of`, which returns the other labels too.

    Returns
    -------
    ndarray of shape (n_structures,)
        eV.

    Raises
    ------
    TypeError
        If ``structures`` is no sequence of structures.
    ValueError
        If a structure has no energy, was changed after it was calculated, or is broken; the
        message names its index.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from ase.calculators.singlepoint import SinglePointCalculator
    >>> from skwavelet import energies
    >>> atoms = bulk("Si")
    >>> atoms.calc = SinglePointCalculator(atoms, energy=-10.8)
    >>> energies.total_energies([atoms])
    array([-10.8])
    """
    structures = as_atoms(structures)
    check_structures(structures)
    if energy_key is not None:
        values = [
            _under_key(index, atoms, energy_key, "info") for index, atoms in enumerate(structures)
        ]
    else:
        values = [_of_calculator(index, atoms, "energy") for index, atoms in enumerate(structures)]
        if any(value is None for value in values):
            values = _with_free_energies(structures, values)
    for index, value in enumerate(values):
        if value is None:
            raise ValueError(_no_energy(index, structures[index], energy_key))
    return check_row_vector(
        [_number(index, value) for index, value in enumerate(values)], len(values), "energies"
    )


def _with_free_energies(structures: Sequence[Atoms], energies: list) -> list:
    """Take free energies where nothing else is there, but never beside other energies."""
    free: list = [None] * len(energies)
    for index, atoms in enumerate(structures):
        if energies[index] is None:
            free[index] = _of_calculator(index, atoms, "free_energy")
    if all(value is not None for value in free):
        return free
    first = next((index for index, value in enumerate(free) if value is not None), None)
    if first is not None and any(value is not None for value in energies):
        raise ValueError(
            f"Structure {first} has a free energy only, and others an energy, which are not the "
            "same; pass energy_key='free_energy' if all have one, or remove the structure."
        )
    return [e if e is not None else f for e, f in zip(energies, free, strict=True)]


def _no_energy(index: int, atoms: Atoms, energy_key: str | None) -> str:
    lacking = "no energy" if energy_key is None else f"no info[{energy_key!r}]"
    other = [key for key in other_names(atoms, "energy_key") if key != energy_key]
    if not other:
        return f"Structure {index} has {lacking}; add it to its file, or remove the structure."
    found = ", ".join(f"info[{key!r}]" for key in other)
    passed = ", ".join(
        f"{kind}={keys[0]!r}"
        for kind in ("energy_key", "forces_key")
        if (keys := other_names(atoms, kind))
    )
    return f"Structure {index} has {lacking}; found {found}: pass {passed} to labels_of."


def _number(index: int, value: ArrayLike) -> float:
    try:
        number = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        number = np.zeros(0)
    if number.size != 1:
        raise ValueError(
            f"Structure {index} has an energy that is not one number ({value!r:.60}); repair or "
            "remove it."
        )
    return float(number.reshape(()))


def _collect(
    structures: Sequence[Atoms], name: str, key: str | None, where: str, whole: bool
) -> list[np.ndarray | None] | None:
    """Return one checked array per structure, None where it is missing; None if all are.

    Nothing under a name that is passed is an error in a ``whole`` set.
    """
    found: list[np.ndarray | None] = []
    for index, atoms in enumerate(structures):
        if name != "forces" and not atoms.pbc.all():
            found.append(None)  # without a volume of its own, there is no stress
        elif key is None:
            found.append(_array(index, atoms, name, _of_calculator(index, atoms, name)))
        else:
            found.append(_array(index, atoms, name, _under_key(index, atoms, key, where)))
    if any(array is not None for array in found):
        return found
    if key is not None and whole:
        if name != "forces" and not any(atoms.pbc.all() for atoms in structures):
            raise ValueError(
                f"No structure is periodic in all directions, so none has a stress; leave {key!r} "
                "out."
            )
        others = {k: None for atoms in structures for k in other_names(atoms, f"{name}_key")}
        others.pop(key, None)
        hint = f"found {', '.join(map(repr, others))}" if others else "nothing is named alike"
        raise ValueError(f"No structure has {where}[{key!r}], its {name}; {hint}.")
    return None


def _array(index: int, atoms: Atoms, name: str, value: ArrayLike | None) -> np.ndarray | None:
    """Return forces (n_atoms, 3) or a stress (6,); None where all is NaN."""
    if value is None:
        return None
    try:
        array = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        array = np.full(0, np.nan)
    shapes = [(len(atoms), 3)] if name == "forces" else [(6,), (3, 3), (9,)]
    if array.shape not in shapes:
        raise ValueError(
            f"Structure {index} has {name} of shape {array.shape}, not {shapes[0]}; repair or "
            "remove them."
        )
    if np.isnan(array).all():
        return None
    if not np.isfinite(array).all():
        raise ValueError(
            f"Structure {index} has NaN or infinite {name}; repair them, or set all to NaN if it "
            "has none."
        )
    if name == "forces":
        return array
    if array.size == 9:
        array = array.reshape(3, 3)
        if np.abs(array - array.T).max() > _ASYMMETRY * np.abs(array).max():
            raise ValueError(f"Structure {index} has a {name} that is not symmetric; repair it.")
        array = full_3x3_to_voigt_6_stress(array)
    return array if name == "stress" else -array / atoms.get_volume()


def _under_key(index: int, atoms: Atoms, key: str, where: str) -> Any:
    """Return what stands under a key of info or arrays, or among the calculator's results."""
    value = getattr(atoms, where).get(key)
    if value is None and key in all_properties:
        return _of_calculator(index, atoms, key)
    return value


def _of_calculator(index: int, atoms: Atoms, name: str) -> Any:
    """Return a property from a structure's calculator, or None if it has no such property."""
    calc = atoms.calc
    if calc is None:
        return None
    stored = getattr(calc, "results", {}).get(name)
    if isinstance(calc, SinglePointCalculator):
        if stored is not None and (changes := calc.check_state(atoms)):
            raise ValueError(_changed(index, name, stored, changes))
        return stored
    try:
        if hasattr(calc, "get_property"):
            return calc.get_property(name, atoms)
        return getattr(calc, _GETTERS[name])(atoms) if name in _GETTERS else None
    except (PropertyNotImplementedError, PropertyNotPresent):
        if stored is None:
            return None
        changes = calc.check_state(atoms)
        raise ValueError(_changed(index, name, stored, changes)) from None
    except Exception as error:
        raise ValueError(
            f"The calculator of structure {index} ({type(calc).__name__}) fails to compute its "
            f"{name} ({error}); repair it, or remove the structure."
        ) from error


def _changed(index: int, name: str, stored: Any, changes: Iterable[str]) -> str:
    value = f" ({stored})" if np.size(stored) == 1 else ""
    return (
        f"Structure {index} was changed ({', '.join(sorted(changes))}) after its {name}{value} was "
        "calculated; call labels_of before changes such as wrap(), read the structure again, or "
        f"attach what still holds with SinglePointCalculator(atoms, {name}=...)."
    )
