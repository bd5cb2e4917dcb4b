"""Forces and stresses that are passed to ``fit``: one entry per structure, some of them missing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms

from skwavelet.structures.checks import Structure


def check_forces(forces: Sequence | None, X: Sequence[Atoms]) -> list[np.ndarray | None]:
    """Return one array (N, 3) per structure, or None where forces are missing.

    Missing are entries that are None or NaN throughout. Raises ValueError if the number of entries,
    a shape or a value is wrong.
    """
    return _check_labels(forces, [(len(atoms), 3) for atoms in X], "forces", "(n_atoms, 3)")


def check_stress(stress: Sequence | None, X: Sequence[Atoms]) -> list[np.ndarray | None]:
    """Return one array (6,) per structure, or None where the stress is missing."""
    checked = _check_labels(stress, [(6,)] * len(X), "stress", "(6,) in Voigt order")
    for index, (atoms, value) in enumerate(zip(X, checked, strict=True)):
        if value is not None and not atoms.pbc.all():
            raise ValueError(
                f"stress[{index}] is given, but structure {index} is not periodic in all "
                "directions and has no stress; pass None for it."
            )
    return checked


def check_stress_is_defined(structures: Sequence[Structure]) -> None:
    """Raise ``ValueError`` for the first structure that has no stress, as no volume is its own."""
    for structure in structures:
        if not structure.pbc.all():
            raise ValueError(
                f"Structure {structure.index} is not periodic in all directions and has no stress; "
                "leave it out."
            )


def _check_labels(
    labels: Any, shapes: Sequence[tuple[int, ...]], name: str, described: str
) -> list[np.ndarray | None]:
    if labels is None:
        return [None] * len(shapes)
    if not hasattr(labels, "__len__") or len(labels) != len(shapes):
        got = len(labels) if hasattr(labels, "__len__") else type(labels).__name__
        raise ValueError(
            f"{name} must hold one entry (an array or None) per structure, {len(shapes)} in all; "
            f"got {got}."
        )
    checked: list[np.ndarray | None] = []
    for index, (label, shape) in enumerate(zip(labels, shapes, strict=True)):
        if label is None:
            checked.append(None)
            continue
        label = np.asarray(label, dtype=np.float64)
        if label.shape != shape and not (label.size and np.isnan(label).all()):
            raise ValueError(
                f"{name}[{index}] must have shape {described}, here {shape}; got {label.shape}."
            )
        if np.isnan(label).all():
            checked.append(None)
            continue
        if not np.isfinite(label).all():
            raise ValueError(
                f"{name}[{index}] holds NaN or infinite values; repair them, or pass None if the "
                f"structure has no {name}."
            )
        checked.append(label)
    return checked
