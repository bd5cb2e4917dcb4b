"""The door: sequences of ``ase.Atoms`` come in, checked records of plain arrays go on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod, sqrt
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols, covalent_radii
from ase.geometry import complete_cell
from ase.neighborlist import primitive_neighbor_list

from skwavelet._utils.validation import one_line
from skwavelet.structures.boxes import bounding_cell

# A search for neighbours goes through no more images of the cell.
IMAGES = 1e6
# Two atoms closer than this (Å) stand at the same place.
COINCIDENT = 1e-2
# Atoms are at least this part of the sum of their covalent radii apart. The shortest bonds of all
# molecules are 0.58 (V2) to 0.6 (Cr2, amorphous lithium) of it; a cell that is strained by -9 % or
# rattled by heat does not bring them here, while what two programs or a wrong unit put on top of
# each other is closer.
CLOSEST = 0.45
# Molecules of up to this many atoms are looked at many at a time.
SMALL = 64
# Beyond this (Å) there are no structures, only errors, and no precision either.
FARTHEST = 1e8


@dataclass(frozen=True, eq=False)
class Structure:
    """One checked structure: nothing behind the door has to look at it twice.

    Attributes
    ----------
    index : int
        Place in the sequence it came from, for messages.
    numbers : ndarray of shape (N,)
        Atomic numbers.
    positions : ndarray of shape (N, 3)
        Cartesian positions (Å).
    cell : ndarray of shape (3, 3)
        Cell vectors as rows (Å); rows of non-periodic directions carry no meaning.
    pbc : ndarray of shape (3,)
        Whether each cell vector is a period.
    """

    index: int
    numbers: np.ndarray
    positions: np.ndarray
    cell: np.ndarray
    pbc: np.ndarray

    def __len__(self) -> int:
        return len(self.numbers)

    @cached_property
    def elements(self) -> tuple[int, ...]:
        """Atomic numbers that occur, in increasing order."""
        return tuple(np.unique(self.numbers).tolist())

    @cached_property
    def box(self) -> np.ndarray:
        """The cell (3, 3) with unit vectors across the periods in place of non-periodic ones."""
        return bounding_cell(self.cell, self.pbc)

    @cached_property
    def inverse_box(self) -> np.ndarray:
        """What positions are multiplied by for coordinates along the vectors of the box."""
        return np.linalg.inv(self.box)

    @cached_property
    def heights(self) -> np.ndarray:
        """Distances (3,) between opposite faces of the box (Å)."""
        return _heights(self.inverse_box)

    def neighbors(self, cutoff: float, quantities: str = "ijD") -> list[np.ndarray]:
        """Return all ordered pairs closer than ``cutoff`` (Å), periodic images included.

        ``quantities`` are vesin's: indices ``i`` and ``j``, vectors ``D`` (from i to j), distances
        ``d``, periodic shifts ``S``. Raises ValueError if the faces of the cell are so close that
        the search would not end.
        """
        heights = self.heights[self.pbc]
        if (1 + 2 * cutoff / heights).prod() > IMAGES:
            raise ValueError(
                f"Structure {self.index} has a cell with faces {heights.min():.1e} Å apart; "
                "describe it by shorter vectors (ase.geometry.minkowski_reduce), or repair it."
            )
        # vesin imports torch where it is installed: only those who need neighbours wait for it.
        from vesin import NeighborList

        if not _divisible(self, cutoff):
            # Slower, and without that weakness. Every row enters there, periodic or not.
            cell = complete_cell(np.where(self.pbc[:, None], self.cell, 0.0))
            found = primitive_neighbor_list(quantities, self.pbc, cell, self.positions, cutoff)
            return list(found) if len(quantities) > 1 else [found]
        finder = NeighborList(cutoff=cutoff, full_list=True, n_threads=1)
        return finder.compute(self.positions, self.cell, self.pbc, quantities)


def as_atoms(X: Iterable[Atoms]) -> list[Atoms]:
    """Return structures as a list of ``ase.Atoms``, each still to be checked.

    Raises TypeError if ``X`` is a single structure or no sequence.
    """
    if isinstance(X, Atoms) or hasattr(X, "to_ase_atoms"):
        raise TypeError("X is a single structure; pass a list of structures: [atoms].")
    if isinstance(X, str | bytes) or not isinstance(X, Iterable) or getattr(X, "ndim", 1) != 1:
        raise TypeError(
            f"X must be a sequence of ase.Atoms, not {_describe(X)}; pass a list of structures."
        )
    structures = [convert(item, index) for index, item in enumerate(X)]
    if not structures and isinstance(X, Iterator):
        raise ValueError("X is an iterator without any structure left; pass a list.")
    return structures


def convert(item: Any, index: int) -> Any:
    """Return a structure as ``ase.Atoms`` where it says how, such as pymatgen's; else itself.

    Raises ValueError if the conversion fails, whatever it raises.
    """
    try:
        return item.to_ase_atoms() if hasattr(item, "to_ase_atoms") else item
    # Other packages raise errors of all kinds on what they cannot convert.
    except Exception as error:
        raise ValueError(
            f"Structure {index} cannot be converted to ase.Atoms ({one_line(error)}); repair or "
            "remove it."
        ) from error


def check_structures(X: Iterable[Atoms]) -> list[Structure]:
    """Turn a sequence of structures into checked records.

    Lists, tuples, one-dimensional object arrays and pandas Series are sequences; structures are
    ``ase.Atoms`` or have ``to_ase_atoms()``, such as pymatgen's.

    Raises
    ------
    TypeError
        If ``X`` is a single structure, a numeric array or holds something else.
    ValueError
        If ``X`` is empty, or a structure has no atoms, unknown elements, positions or a
        cell that are not finite, or a periodic direction without extent.
    """
    structures = [_check_structure(index, item) for index, item in enumerate(as_atoms(X))]
    if not structures:
        raise ValueError("X holds no structures (0 samples); pass at least one ase.Atoms.")
    return structures


def _describe(X: object) -> str:
    shape = getattr(X, "shape", None)
    return type(X).__name__ + (f" of shape {shape}" if shape is not None else "")


def _check_structure(index: int, item: Any) -> Structure:
    if not isinstance(item, Atoms):
        raise TypeError(f"Structure {index} is {_describe(item)}; convert it to ase.Atoms first.")
    numbers = np.array(item.numbers, dtype=np.int64)
    positions = np.array(item.positions, dtype=np.float64)
    cell = np.array(item.cell.array, dtype=np.float64)
    pbc = np.array(item.pbc, dtype=bool)
    if len(numbers) == 0:
        raise ValueError(f"Structure {index} has no atoms; remove it from X.")
    unknown = numbers[(numbers < 1) | (numbers >= len(chemical_symbols))]
    if len(unknown):
        raise ValueError(
            f"Structure {index} has atomic number {unknown[0]}, which is no chemical element; "
            "replace or remove such atoms."
        )
    if not np.isfinite(positions).all():
        atom = int(np.flatnonzero(~np.isfinite(positions).all(axis=1))[0])
        raise ValueError(
            f"Structure {index} has NaN or infinite positions (atom {atom}); repair or remove it."
        )
    if not np.isfinite(cell).all():
        raise ValueError(f"Structure {index} has a NaN or infinite cell; repair or remove it.")
    if max(np.abs(positions).max(), np.abs(cell).max()) > FARTHEST:
        raise ValueError(
            f"Structure {index} has positions or a cell beyond {FARTHEST:.0e} Å; repair or remove "
            "it."
        )
    if pbc.any() and _is_flat(cell[pbc]):
        raise ValueError(
            f"Structure {index} is periodic (pbc={pbc.tolist()}) but its cell has no volume; "
            "set atoms.cell, or atoms.pbc = False for a molecule."
        )
    return Structure(index, numbers, positions, cell, pbc)


def _is_flat(periods: np.ndarray) -> bool:
    """Whether periods (n, 3) are too short, or span no length, area or volume."""
    metric = periods @ periods.T
    lengths = np.sqrt(metric.diagonal()).tolist()
    # The volume that the periods span, relative to that of a box of the same lengths.
    spanned = sqrt(max(np.linalg.det(metric), 0.0))
    return min(lengths) < COINCIDENT or spanned < 1e-6 * prod(lengths)


def _divisible(structure: Structure, cutoff: float) -> bool:
    """Whether vesin can divide a structure into boxes as wide as a cutoff.

    It makes at most 1e5 boxes, in proportion to the lengths, and crashes where rounding leaves
    none along a short one: a wide thin layer, or a stray atom.
    """
    periodic = structure.pbc
    lengths = np.ptp(structure.positions, axis=0)
    shortest = lengths.min()
    if periodic.all():
        lengths = structure.heights
        shortest = lengths.min()
    elif periodic.any():
        # The other directions stand in some way to these.
        lengths = np.full(3, np.linalg.norm(lengths))
        lengths[periodic] = np.linalg.norm(structure.cell[periodic], axis=1)
        shortest = 0.0
    n_boxes = np.maximum(lengths / cutoff, 1.0).prod()
    most = 1e5
    return bool(n_boxes <= most or max(shortest / cutoff, 1.0) * np.cbrt(most / n_boxes) >= 3.0)


def check_elements(
    structures: Sequence[Structure], known: Sequence[int], declared: bool | None = False
) -> None:
    """Raise ``ValueError`` for the first structure with an element that is not known.

    ``declared`` says whether the user named the elements or ``fit`` has seen them; None, that there
    is no way to name them.
    """
    others = "" if declared is None else ", or declare them by elements="
    for structure in structures:
        unseen = [chemical_symbols[z] for z in structure.elements if z not in known]
        if unseen:
            names = ", ".join(chemical_symbols[z] for z in known)
            raise ValueError(
                f"Structure {structure.index} contains {', '.join(unseen)}, "
                + (
                    f"not among elements ({names}); add it there."
                    if declared
                    else f"not seen in fit (elements {names}); fit on structures that contain "
                    f"every element{others}."
                )
            )


def check_symbols(elements: Iterable[str]) -> list[int]:
    """Return the atomic numbers of chemical symbols, in increasing order.

    Raises ValueError if there is none, or one is no symbol of an element.
    """
    names = list(elements)
    known = {name for name in names if isinstance(name, str) and atomic_numbers.get(name, 0) > 0}
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise ValueError(
            f"elements must be chemical symbols such as ['Li', 'Si'], not {unknown or names}."
        )
    return sorted(atomic_numbers[name] for name in known)


def check_distances(structures: Sequence[Structure]) -> None:
    """Raise ``ValueError`` for the first structure with atoms closer than chemistry allows."""
    for structure in close_structures(structures, CLOSEST):
        cutoff = 2 * CLOSEST * covalent_radii[list(structure.elements)].max()
        check_pairs(structure, *structure.neighbors(float(cutoff), "ijd"))


def close_structures(structures: Sequence[Structure], limit: float) -> list[Structure]:
    """Return the structures that may have atoms closer than ``limit`` times their bond length.

    In order; only small molecules are left out, whose pairs are faster to look at than to search.
    """
    by_size: dict[int, list[Structure]] = {}
    searched = []
    for structure in structures:
        if structure.pbc.any() or len(structure) > SMALL:
            searched.append(structure)
        elif len(structure) > 1:
            by_size.setdefault(len(structure), []).append(structure)
    # A search for neighbours takes longer than all pairs of many small molecules at once.
    for size, molecules in by_size.items():
        step = max(1, 2**15 // size**2)
        for start in range(0, len(molecules), step):
            some = molecules[start : start + step]
            searched += [some[place] for place in _suspicious(some, limit)]
    return sorted(searched, key=lambda structure: structure.index)


def _suspicious(molecules: Sequence[Structure], limit: float) -> np.ndarray:
    """Return the places of molecules of one size with atoms about too close."""
    positions = np.stack([structure.positions for structure in molecules], axis=-1)
    radii = covalent_radii[np.stack([structure.numbers for structure in molecules], axis=-1)]
    i, j = np.triu_indices(len(positions), 1)
    squares = np.square(positions[i] - positions[j]).sum(axis=1)
    bounds = np.square((1 + 1e-6) * limit * (radii[i] + radii[j]))
    return np.flatnonzero((squares < bounds).any(axis=0))


def check_pairs(structure: Structure, i: np.ndarray, j: np.ndarray, distances: np.ndarray) -> None:
    """Raise ``ValueError`` if one of the pairs of atoms i and j is closer than chemistry allows."""
    if not len(distances):
        return
    widest = covalent_radii[list(structure.elements)].max()
    if distances.min() >= 2 * CLOSEST * widest:
        return
    radii = covalent_radii[structure.numbers]
    ratios = distances / (radii[i] + radii[j])
    pair = int(ratios.argmin())
    if ratios[pair] >= CLOSEST:
        return
    atoms = f"Structure {structure.index} has atoms {i[pair]} and {j[pair]}"
    if distances[pair] < COINCIDENT:
        raise ValueError(
            f"{atoms} at the same place (closer than {COINCIDENT} Å); remove the duplicate."
        )
    symbols = "-".join(chemical_symbols[structure.numbers[atom]] for atom in (i[pair], j[pair]))
    raise ValueError(
        f"{atoms} only {distances[pair]:.3g} Å apart, while {symbols} bonds are about "
        f"{distances[pair] / ratios[pair]:.3g} Å; remove the structure, or repair its positions "
        "or its cell (units are Å)."
    )


def smallest_distance(structures: Sequence[Structure]) -> float:
    """Return the smallest interatomic distance (Å) of a set, periodic images included.

    Infinite where no structure has two atoms. Raises ``ValueError`` where two atoms of one
    structure are closer than chemistry allows.
    """
    check_distances(structures)
    smallest = np.inf
    for structure in structures:
        periodic = structure.pbc.any()
        if len(structure) == 1 and not periodic:
            continue
        # Only pairs closer than the best so far matter, which keeps the lists short.
        cutoff = smallest if np.isfinite(smallest) else 2.0
        distances = structure.neighbors(cutoff, "d")[0]
        while not len(distances) and not np.isfinite(smallest):
            cutoff *= 2
            distances = structure.neighbors(cutoff, "d")[0]
        if len(distances):
            smallest = min(smallest, float(distances.min()))
    return smallest


def perpendicular_heights(cell: np.ndarray) -> np.ndarray:
    """Return the distances (3,) between opposite faces of a cell with row vectors (3, 3)."""
    return _heights(np.linalg.inv(cell))


def _heights(inverse: np.ndarray) -> np.ndarray:
    return 1.0 / np.linalg.norm(inverse, axis=0)
