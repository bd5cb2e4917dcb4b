"""Predictions of labels beside those that structures carry, as a table of errors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from ase import Atoms

from skwavelet.potentials.contract import EnergyModel
from skwavelet.structures.labels import Labels
from skwavelet.structures.numbering import numbered

UNITS = {"energy": "eV/atom", "forces": "eV/Å", "stress": "eV/Å³"}


def predicted_labels(model: EnergyModel, X: Iterable[Atoms], *, derivatives: bool = True) -> Labels:
    """Predict what `skwavelet.labels_of` reads, one structure after the other."""
    model = model.without_members()
    energies, sizes = [], []
    forces: list[np.ndarray | None] = []
    stress: list[np.ndarray | None] = []
    for index, atoms in enumerate(X):
        sizes.append(len(atoms))
        with numbered(index):
            if not derivatives:
                energies.append(model.values([atoms])[0, 0])
                continue
            (result,) = model.forces_and_stress([atoms])
        energies.append(result.values[0])
        forces.append(result.forces)
        stress.append(result.stress)
    per_atom = np.array(energies)
    return Labels(
        per_atom,
        per_atom * np.array(sizes),
        forces if derivatives else None,
        stress if any(tensor is not None for tensor in stress) else None,
    )


def error_table(reference: Labels, predicted: Labels) -> pd.DataFrame:
    """Compare labels of the same structures.

    Rows ``energy``, and ``forces`` and ``stress`` where both have some; columns ``MAE`` and
    ``RMSE`` over all numbers, in units of ``unit``, and how many ``numbers`` there are.
    """
    rows = {}
    for quantity, unit in UNITS.items():
        true, found = pairs_of(reference, predicted, quantity)
        if len(true):
            errors = found - true
            rows[quantity] = {
                "MAE": float(np.abs(errors).mean()),
                "RMSE": float(np.sqrt(np.square(errors).mean())),
                "unit": unit,
                "numbers": len(errors),
            }
    return pd.DataFrame.from_dict(rows, orient="index")


def pooled_errors(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return the `error_table` of structures from those of their parts."""
    rows = {}
    for quantity, unit in UNITS.items():
        parts = [table.loc[quantity] for table in tables if quantity in table.index]
        if parts:
            counts = np.array([part["numbers"] for part in parts])
            mae, rmse = (
                np.array([part[name] for part in parts], dtype=float) for name in ("MAE", "RMSE")
            )
            rows[quantity] = {
                "MAE": float(counts @ mae / counts.sum()),
                "RMSE": float(np.sqrt(counts @ rmse**2 / counts.sum())),
                "unit": unit,
                "numbers": int(counts.sum()),
            }
    return pd.DataFrame.from_dict(rows, orient="index")


def pairs_of(reference: Labels, predicted: Labels, quantity: str) -> tuple[np.ndarray, np.ndarray]:
    """Return all numbers of a quantity that both have: reference and prediction, flat."""
    if quantity == "energy":
        return reference.energies, predicted.energies
    true: Sequence[Any] = getattr(reference, quantity) or []
    found: Sequence[Any] = getattr(predicted, quantity) or []
    both = [
        (np.ravel(a), np.ravel(b))
        for a, b in zip(true, found, strict=False)
        if a is not None and b is not None
    ]
    if not both:
        return np.empty(0), np.empty(0)
    return np.concatenate([a for a, _ in both]), np.concatenate([b for _, b in both])
