"""How unusual the surroundings of a structure's atoms are, for models of any features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from ase import Atoms

from skwavelet.potentials.extrapolation import AtomExtrapolationScore
from skwavelet.representations.invariants import PointInvariants

# Surroundings more usual than this part of the training set's own count as that.
_LEAST = 0.1


@dataclass(frozen=True, eq=False)
class Surroundings:
    """Scores of the densities of the elements around atoms, among those of the training set.

    A strained cell has other densities around all of its atoms. In the hundreds of features of a
    model, among which a training set leaves most directions open, it is hardly further away than
    any other new structure.
    """

    score: AtomExtrapolationScore

    @classmethod
    def of(cls, X: Sequence[Atoms]) -> Self:
        """Return the surroundings that training structures have."""
        return cls(AtomExtrapolationScore(PointInvariants((6,), max_order=1, densities=())).fit(X))

    @property
    def interaction_range(self) -> float:
        """Distance (Å) beyond which atoms do not change the score of an atom."""
        return float(self.score.representation_.interaction_range)

    def logarithms(self, X: Sequence[Atoms]) -> list[np.ndarray]:
        """Return the logarithms (N,) of the scores of the atoms of each structure."""
        return [np.log(np.maximum(own, _LEAST)) for own in self.score.score_atoms(X)]

    def remoteness(self, X: Sequence[Atoms]) -> np.ndarray:
        """Return the geometric mean (n_structures,) over atoms of the scores, about 1 inside."""
        return np.exp([own.mean() for own in self.logarithms(X)])
