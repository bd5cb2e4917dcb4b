"""The sums of order zero, what sums are divided by, and the derivatives of the quotient."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np


def lower_paths(paths: np.ndarray) -> np.ndarray:
    """Return for every scattering path the one an order lower, -1 for those of order zero.

    Parameters
    ----------
    paths : ndarray of shape (n_paths, 6) or more columns
        See ``scattering_paths``. Further columns tell apart what is summed over; the paths of
        order zero have them -1.
    """
    keys = {tuple(path): i for i, path in enumerate(paths.tolist())}
    lower = []
    for order, channel, wavelet, scale, _, _, *rest in paths.tolist():
        below = (order - 1, channel, wavelet, scale, -1, -1, *rest)
        if order < 2:
            below = (order - 1, channel, -1, -1, -1, -1, *(-1 for _ in rest))
        lower.append(keys.get(below, -1))
    return np.array(lower)


def zero_order(
    numbers: np.ndarray,
    elements: tuple[int, ...],
    weights: np.ndarray,
    channels: np.ndarray,
    powers: tuple[float, ...],
) -> np.ndarray:
    """Return sum_k |c(Z_k)|^q, of shape (n_paths, n_powers).

    Parameters
    ----------
    numbers : ndarray of shape (n_atoms,)
        Atomic numbers.
    elements : tuple of int
        Atomic numbers of the rows of ``weights``, in increasing order.
    weights : ndarray of shape (n_elements, n_channels)
    channels : ndarray of shape (n_paths,)
        Channel c of every path of order zero, -1 for the other paths, whose sums are 0.
    powers : tuple of float
        Exponents q.
    """
    counts = np.bincount(np.searchsorted(elements, numbers), minlength=len(elements))
    sums = np.einsum("e,ecq->cq", counts, np.abs(weights)[:, :, None] ** np.array(powers))
    return np.where(channels[:, None] >= 0, sums[channels], 0.0)


def restrict(evaluator: Any, columns: np.ndarray) -> Any:
    """Return a copy of an evaluator that computes only some of its features.

    Parameters
    ----------
    evaluator : dataclass
        With fields ``normalize``, ``paths``, ``powers`` and ``columns`` (path and power of every
        feature).
    columns : ndarray of int
        Features to keep.
    """
    path, power = (places[columns] for places in evaluator.columns)
    lower = Normalization(evaluator.normalize, evaluator.paths, evaluator.columns).lower
    needed = np.unique(path)
    # Twice: the second order needs the first, and that the zeroth.
    for _ in range(2):
        needed = np.union1d(needed, lower[needed][lower[needed] >= 0])
    powers = np.unique(power)
    return replace(
        evaluator,
        paths=evaluator.paths[needed],
        columns=(np.searchsorted(needed, path), np.searchsorted(powers, power)),
        powers=tuple(evaluator.powers[k] for k in powers),
    )


@dataclass(frozen=True, eq=False)
class Normalization:
    """From sums over a structure, one per path and power, to its features.

    Attributes
    ----------
    mode : {"atoms", "lower_order"} or None
        Divide by the number of atoms, by the sum of one order lower (of the number of atoms for
        order zero; 0 where that is 0), or by nothing.
    paths : ndarray of shape (n_paths, 6) or more columns
        See ``lower_paths``.
    columns : tuple of (ndarray, ndarray)
        Path and power of every feature.
    """

    mode: str | None
    paths: np.ndarray
    columns: tuple[np.ndarray, np.ndarray]

    @cached_property
    def lower(self) -> np.ndarray:
        """The path that each path is divided by, of shape (n_paths,); -1 for none."""
        ratios = self.mode == "lower_order"
        return lower_paths(self.paths) if ratios else np.full(len(self.paths), -1)

    def features(self, sums: np.ndarray, n_atoms: int) -> np.ndarray:
        """Return the features (n_features,) of sums (n_paths, n_powers)."""
        return (sums * self._scale(sums, n_atoms))[self.columns]

    def tangents(self, sums: np.ndarray, derivatives: np.ndarray, n_atoms: int) -> np.ndarray:
        """Return the derivatives (D, n_features) for those (D, n_paths, n_powers) of the sums."""
        scale = self._scale(sums, n_atoms)
        if self.mode == "lower_order":
            below = np.where(self.lower[:, None] >= 0, derivatives[:, self.lower], 0.0)
            derivatives = derivatives - sums * scale * below
        return (derivatives * scale)[:, self.columns[0], self.columns[1]]

    def cotangents(self, cotangent: np.ndarray, sums: np.ndarray, n_atoms: int) -> np.ndarray:
        """Return the gradient (n_paths, n_powers) in the sums of ``cotangent @ features``."""
        weights = np.zeros_like(sums)
        np.add.at(weights, self.columns, cotangent)
        scale = self._scale(sums, n_atoms)
        weights *= scale
        if self.mode == "lower_order":
            has = self.lower >= 0
            back = np.zeros_like(weights)
            np.add.at(back, self.lower[has], (weights * sums * scale)[has])
            weights -= back
        return weights

    def _scale(self, sums: np.ndarray, n_atoms: int) -> np.ndarray | float:
        if self.mode is None:
            return 1.0
        if self.mode == "atoms":
            return 1.0 / n_atoms
        below = np.where(self.lower[:, None] >= 0, sums[self.lower], n_atoms)
        return np.divide(1.0, below, out=np.zeros_like(below, dtype=float), where=below > 0)
