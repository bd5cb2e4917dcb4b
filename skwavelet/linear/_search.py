"""The search for the penalty of ridge regression, and for weights of kinds of rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np

# Weights are tried up to so many steps below and above those given.
STEPS = 6


def least(
    error: Callable[[tuple[int, ...]], float],
    start: tuple[int, ...],
    n_alphas: int,
    free: Sequence[int],
) -> tuple[int, ...]:
    """Return the place of the least error on a grid of alphas and of weights.

    A place is the number of an alpha, and the steps of all weights. All alphas are tried where no
    weights (axes of a place) are free. Otherwise the search goes along one axis after the other,
    from the middle of the alphas, as long as the error becomes less.
    """
    if not free:
        return min(((k, *start[1:]) for k in range(n_alphas)), key=error)
    limits = {0: range(n_alphas)} | dict.fromkeys(free, range(-STEPS, STEPS + 1))
    best = (n_alphas // 2, *start[1:])
    known = {best: error(best)}
    while known[best] == np.inf and best[0] + 1 < n_alphas:
        best = (best[0] + 1, *best[1:])
        known[best] = error(best)
    before = None
    while best != before:
        before = best
        for axis, step in product(limits, (-1, 1)):
            while True:
                other = (*best[:axis], best[axis] + step, *best[axis + 1 :])
                if other[axis] not in limits[axis]:
                    break
                if other not in known:
                    known[other] = error(other)
                if not known[other] < known[best]:
                    break
                best = other
    return best
