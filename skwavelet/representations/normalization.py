"""What sums are divided by, and the derivatives of the quotient."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from skwavelet.representations.paths import Paths


@dataclass(frozen=True, eq=False)
class Normalization:
    """From sums over a structure, one per path and power, to its features.

    By mode these are divided by the number of atoms ("atoms"), by the sum of one order lower (of
    the number of atoms for order zero; 0 where that is 0; "lower_order"), or by nothing (None). The
    columns are path and power of every feature.
    """

    mode: str | None
    paths: Paths
    columns: tuple[np.ndarray, np.ndarray]

    @cached_property
    def lower(self) -> np.ndarray:
        """The path that each path is divided by, of shape (n_paths,); -1 for none."""
        ratios = self.mode == "lower_order"
        return self.paths.lower if ratios else np.full(len(self.paths), -1)

    @cached_property
    def _each_once(self) -> bool:
        """Whether no two features are the same, so that nothing is to be added up."""
        places = np.stack(self.columns)
        return np.unique(places, axis=1).shape == places.shape

    @cached_property
    def _n_powers(self) -> int:
        """Number of powers of every sum where the features are all sums in their order, else 0."""
        path, power = self.columns
        n_powers = int(power.max(initial=-1)) + 1
        places = np.arange(len(self.paths) * n_powers)
        return n_powers if np.array_equal(path * n_powers + power, places) else 0

    def values(self, sums: np.ndarray, n_atoms: int) -> np.ndarray:
        """Return the features (n_features,) of sums (n_paths, n_powers)."""
        scaled = sums * self._scale(sums, n_atoms)
        return scaled.ravel() if self._n_powers == sums.shape[1] else scaled[self.columns]

    def jvp(self, sums: np.ndarray, derivatives: np.ndarray, n_atoms: int) -> np.ndarray:
        """Return the derivatives (D, n_features) for those (D, n_paths, n_powers) of the sums."""
        scale = self._scale(sums, n_atoms)
        if self.mode == "lower_order":
            below = np.where(self.lower[:, None] >= 0, derivatives[:, self.lower], 0.0)
            derivatives = derivatives - sums * scale * below
        return (derivatives * scale)[:, self.columns[0], self.columns[1]]

    def vjp(self, cotangent: np.ndarray, sums: np.ndarray, n_atoms: int) -> np.ndarray:
        """Return the gradient (n_paths, n_powers) in the sums of ``cotangent @ features``."""
        if self._n_powers == sums.shape[1]:
            weights = cotangent.reshape(sums.shape)
        else:
            weights = np.zeros_like(sums)
            if self._each_once:
                weights[self.columns] = cotangent
            else:
                np.add.at(weights, self.columns, cotangent)
        scale = self._scale(sums, n_atoms)
        weights = weights * scale
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
