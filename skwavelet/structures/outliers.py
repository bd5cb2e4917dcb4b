"""One structure with two atoms too close would set the resolution of all: it is named in ``fit``.

Below 0.45 of the sum of their covalent radii atoms are refused everywhere (``check_distances``).
Above, short distances may be meant: pairs on a curve, shocks, high pressure. What is refused here
is shorter than chemistry knows it *and* alone: at most two structures of a set have it, and a wide
gap, with little spread above, parts them from the distances of the same elements elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase.data import chemical_symbols, covalent_radii

from skwavelet.structures.checks import Structure, close_structures

# Part of the sum of covalent radii: no bond that is known is shorter (V2 has 0.58).
SHORT = 0.57
# Smaller sets have no distribution, and what more structures share is meant.
FEWEST, MOST = 4, 2
# By how much shorter than all others it must be, and how much more than those are spread.
GAP, SPREADS = math.log(1.3), 2.0
# How far distances count, in bond lengths: a curve of two atoms goes far.
FARTHEST = 3.0


@dataclass(frozen=True)
class _Pair:
    """The closest pair of atoms of a structure, as a part of the sum of their radii."""

    structure: Structure
    atoms: tuple[int, int]
    distance: float
    part: float

    @property
    def numbers(self) -> tuple[int, int]:
        a, b = sorted(int(self.structure.numbers[atom]) for atom in self.atoms)
        return a, b


def check_outliers(structures: Sequence[Structure], remedy: str) -> None:
    """Raise ``ValueError`` for a structure whose closest atoms are far closer than in the others.

    ``remedy`` says what to do if such a distance is meant.
    """
    if len(structures) < FEWEST:
        return
    pairs = [_closest(structure) for structure in close_structures(structures, SHORT)]
    suspects = sorted((pair for pair in pairs if pair is not None), key=lambda pair: pair.distance)
    for pair in suspects:
        alike = [other for other in suspects if other.numbers == pair.numbers]
        if len(alike) > MOST:
            continue
        named = {id(other.structure) for other in alike}
        others = [s for s in structures if id(s) not in named]
        reference = _stands_out(alike[-1], others)
        if reference is None:
            continue
        symbols = "-".join(chemical_symbols[z] for z in pair.numbers)
        known = f"{symbols} distances of the other structures are {reference:.3g} Å or more"
        raise ValueError(
            f"Structure {pair.structure.index} has atoms {pair.atoms[0]} and {pair.atoms[1]} only "
            f"{pair.distance:.3g} Å apart, while {known}: one pair would set the resolution of "
            f"all; remove or repair the structure, or {remedy}."
        )


def _closest(structure: Structure) -> _Pair | None:
    """Return the pair of atoms that is shortest for its elements, None if none is suspicious."""
    radii = covalent_radii[structure.numbers]
    i, j, distances = structure.neighbors(float(2 * SHORT * radii.max()), "ijd")
    parts = distances / (radii[i] + radii[j])
    if not len(parts) or parts.min() >= SHORT:
        return None
    place = int(parts.argmin())
    atoms = int(i[place]), int(j[place])
    return _Pair(structure, (min(atoms), max(atoms)), float(distances[place]), float(parts[place]))


def _stands_out(pair: _Pair, others: Sequence[Structure]) -> float | None:
    """Return the shortest distance of the same elements elsewhere, if a pair stands out from it.

    Where they are nowhere near each other it is the sum of their covalent radii.
    """
    bond = pair.distance / pair.part
    found = _distances(pair.numbers, others, FARTHEST * bond)
    if not len(found):
        return bond
    shortest = float(found.min())
    gap, spread = math.log(shortest / pair.distance), math.log(np.median(found) / shortest)
    return shortest if gap > max(GAP, SPREADS * spread) else None


def _distances(
    numbers: tuple[int, int], structures: Sequence[Structure], cutoff: float
) -> np.ndarray:
    """Return the shortest distance of two elements in every structure that has one, to a cutoff."""
    shortest = []
    for structure in structures:
        if not set(numbers) <= set(structure.elements):
            continue
        i, j, distances = structure.neighbors(float(cutoff), "ijd")
        ends = np.sort(structure.numbers[np.stack([i, j])], axis=0)
        these = distances[(ends[0] == numbers[0]) & (ends[1] == numbers[1])]
        if len(these):
            shortest.append(these.min())
    return np.array(shortest)
