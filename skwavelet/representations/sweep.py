"""Sweeps over the atoms of a structure, block by block, shared among threads.

A block's work writes to parts of sums and gradients, which are added in the order of the blocks.
These depend on the structure alone, so that results do not depend on the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np

from skwavelet._utils.threads import in_turn
from skwavelet.representations.pair_kernels import add_at
from skwavelet.structures.cell_list import PairBlock, PairFinder

Result = TypeVar("Result")


def sweep(
    finder: PairFinder, n_centers: int, work: Callable[[PairBlock], Result]
) -> Iterator[Result]:
    """Yield what ``work`` returns for the pairs of every block of the first atoms, in order."""

    def of_part(part: PairBlock | slice) -> list[Result]:
        return [work(pairs) for pairs in finder.blocks_of(part)]

    for results in in_turn(of_part, finder.parts(n_centers)):
        yield from results


class Pulls(NamedTuple):
    """Gradients of the terms of some atoms, which depend on the atoms ``around`` (n_around,).

    They are in the positions (n_around, 3) of these and in the strain: (3, 3) of all terms
    together, or (n_atoms, 3, 3) of every atom's apart.
    """

    around: np.ndarray
    positions: np.ndarray
    strain: np.ndarray


@dataclass(frozen=True, eq=False)
class Gradient:
    """Gradients in the positions (N, 3) of all atoms, and in a strain.

    The latter are (3, 3), or (N, 3, 3) for the terms of every atom apart. Both are added to.
    """

    positions: np.ndarray
    strain: np.ndarray

    def part(self, pairs: PairBlock) -> Pulls:
        """Return room for the gradients of the terms of some atoms."""
        apart = self.strain.ndim == 3
        strain = self.strain[pairs.atoms] if apart else np.zeros((3, 3))
        return Pulls(pairs.around, np.zeros((len(pairs.around), 3)), strain)

    def add(self, pulls: Pulls) -> None:
        """Add the gradients of the terms of some atoms."""
        add_at(pulls.around, pulls.positions, self.positions)
        if self.strain.ndim == 2:
            self.strain[:] += pulls.strain
