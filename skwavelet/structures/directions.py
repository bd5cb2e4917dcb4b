"""Directions along which structures are differentiated, and their only check."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from skwavelet.structures.checks import Structure


@dataclass(frozen=True, eq=False)
class Directions:
    """Directions of one structure: displacements (D, N, 3) in Å, and strains (D, 3, 3)."""

    displacements: np.ndarray
    strains: np.ndarray

    def __len__(self) -> int:
        return len(self.strains)

    def __getitem__(self, part: slice) -> Directions:
        return Directions(self.displacements[part], self.strains[part])


def check_directions(
    structures: Sequence[Structure],
    displacements: Sequence[np.ndarray] | None,
    strains: Sequence[np.ndarray] | None,
) -> list[Directions]:
    """Return the directions of structures.

    Zeros stand for the kind that is not given. Raises ValueError if both are missing, a shape does
    not fit or a value is not finite.
    """
    return [
        _checked(s, _pick(displacements, s, "displacements", len(structures)),
                 _pick(strains, s, "strains", len(structures)))
        for s in structures
    ]  # fmt: skip


def _pick(
    arrays: Sequence[np.ndarray] | None, structure: Structure, name: str, expected: int
) -> np.ndarray | None:
    if arrays is None:
        return None
    count = len(arrays) if hasattr(arrays, "__len__") else 0
    if count != expected:
        raise ValueError(
            f"{name} has {count} entries for {expected} structures; pass one array each."
        )
    return arrays[structure.index]


def _checked(
    structure: Structure, displacements: np.ndarray | None, strains: np.ndarray | None
) -> Directions:
    given = displacements if displacements is not None else strains
    if given is None:
        raise ValueError("Pass displacements, strains or both.")
    shapes = {
        "displacements": (len(given), len(structure), 3),
        "strains": (len(given), 3, 3),
    }
    checked = []
    for (name, shape), array in zip(shapes.items(), (displacements, strains), strict=True):
        array = np.zeros(shape) if array is None else np.asarray(array, dtype=np.float64)
        if array.shape != shape or not np.isfinite(array).all():
            raise ValueError(
                f"{name} of structure {structure.index} must be finite and of shape "
                f"(n_directions, {shape[1]}, 3), the same n_directions for both kinds; "
                f"got shape {array.shape}."
            )
        if not len(array):
            raise ValueError(
                f"{name} of structure {structure.index} hold no direction; pass at least one."
            )
        checked.append(array)
    return Directions(*checked)
