"""Labels under other names: how they are recognized, for messages alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from warnings import warn

import numpy as np
from ase import Atoms

# Words in their names.
NAMED_ALIKE = {
    "energy_key": ("energy", "etot", "e_tot", "toten"),
    "forces_key": ("force",),
    "stress_key": ("stress",),
    "virial_key": ("virial",),
}


def names_virial(key: str) -> bool:
    """Return whether a key is the name of a virial."""
    return "virial" in key.lower() and "stress" not in key.lower()


def other_names(atoms: Atoms, kind: str) -> list[str]:
    """Return keys that look like labels of a kind."""
    if kind == "forces_key":
        named: Iterator[tuple[Any, Any]] = (
            (key, value) for key, value in atoms.arrays.items() if value.shape == (len(atoms), 3)
        )
    else:
        sizes = (1,) if kind == "energy_key" else (6, 9)
        named = (
            (key, value)
            for key, value in atoms.info.items()
            if isinstance(value, int | float | np.ndarray | np.generic | list | tuple)
            and np.size(value) in sizes
        )
    alike = NAMED_ALIKE[kind]
    return [
        key
        for key, _ in named
        if isinstance(key, str)
        and any(word in key.lower() for word in alike)
        and "per_atom" not in key.lower()
    ]


def warn_of_other_names(
    structures: Sequence[Atoms], labels: list | None, name: str, kinds: Sequence[str]
) -> None:
    """Warn if a structure has no label of a name, but something that is named alike."""
    for index, atoms in enumerate(structures):
        if labels is not None and labels[index] is not None:
            continue
        if name == "stress" and not atoms.pbc.all():
            continue
        for kind in kinds:
            if keys := other_names(atoms, kind):
                where = "arrays" if name == "forces" else "info"
                warn(
                    f"Structure {index} has no {name}, but {where}[{keys[0]!r}]; pass "
                    f"{kind}={keys[0]!r} to use it.",
                    stacklevel=4,
                )
                return
