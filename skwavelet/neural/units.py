"""The units of a network: energies of the elements, and the size of forces."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

# Least mean (eV/Å, or eV) of forces, or of energies, that is a unit and no rounding.
_LEAST_UNIT = 1e-6


def learn_units(
    counts: np.ndarray,
    totals: np.ndarray,
    forces: Sequence[np.ndarray | None],
    weights: np.ndarray,
) -> tuple[np.ndarray, float]:
    """Return an energy (eV) of every element, and the unit (eV/Å) of what is left and of forces.

    Parameters
    ----------
    counts : ndarray of shape (n_structures, n_elements)
        Atoms of every element.
    totals : ndarray of shape (n_structures,)
        Energies of whole structures (eV).
    forces : sequence of array of shape (N, 3) or None
        eV/Å.
    weights : ndarray of shape (n_structures,)
        How often each structure counts.
    """
    # The mean energy per atom first: least squares of smallest norm spread the rest evenly over
    # elements that the compositions do not tell apart.
    mean = (weights @ totals) / (weights @ counts).sum()
    rest, root = totals - mean * counts.sum(axis=1), np.sqrt(weights)
    shifts = mean + np.linalg.lstsq(counts * root[:, None], rest * root)[0]
    pulled = [(f, w) for f, w in zip(forces, weights, strict=True) if f is not None]
    units = (
        _root_mean_square(pulled),
        _root_mean_square(zip(totals - counts @ shifts, weights, strict=True)),
    )
    # Where symmetry lets all forces vanish they are no unit.
    return shifts, next((unit for unit in units if unit > _LEAST_UNIT), 1.0)


def _root_mean_square(parts: Iterable[tuple[np.ndarray, float]]) -> float:
    """Return it of arrays that count as often as their weights say; 0 where there are none."""
    total = count = 0.0
    for values, weight in parts:
        total += weight * np.square(values).sum()
        count += weight * np.size(values)
    return float(np.sqrt(total / count)) if count else 0.0
