"""Members of a ridge regression: the same penalty, each on some blocks of the groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from sklearn.linear_model import LinearRegression

from skwavelet.linear._moments import ROWS, Data, Moments
from skwavelet.linear.calibration import mean_and_spread


@dataclass(frozen=True, eq=False)
class Members:
    """Linear models of features less their mean.

    Column by column, ``coefs`` (n_features, n_members), their intercepts ``levels`` (n_members,),
    and which blocks they have ``seen`` in their fits (n_blocks, n_members).
    """

    coefs: np.ndarray
    levels: np.ndarray
    seen: np.ndarray

    @classmethod
    def of(
        cls,
        blocks: Sequence[Moments],
        halves: Sequence[tuple[int, ...]],
        alpha: float,
        factors: np.ndarray,
        origin: np.ndarray,
    ) -> Members:
        """Fit a member to each half of the blocks."""
        n_blocks = len(blocks)
        found, seen = [], []
        for half in halves:
            solution = Moments.sum([blocks[i] for i in half]).solve(alpha, factors, origin)
            if solution is not None:
                found.append(solution)
                seen.append([number in half for number in range(n_blocks)])
        return cls(
            np.reshape([coef for coef, _ in found], (-1, len(factors))).T,
            np.array([level for _, level in found]),
            np.reshape(seen, (-1, n_blocks)).astype(bool).T,
        )

    def models(
        self, coef: np.ndarray, intercept: float, origin: np.ndarray
    ) -> list[LinearRegression]:
        """Return the members as models of the features, all shifted alike to a certain mean."""
        levels = self.levels - origin @ self.coefs
        models = [LinearRegression() for _ in levels]
        for model, own, level in zip(models, self.coefs.T, levels, strict=True):
            model.coef_ = coef + own - self.coefs.mean(axis=1)
            model.intercept_ = float(intercept + level - levels.mean())
            model.n_features_in_ = len(own)
        return models

    def of_others(self, data: Data, left_out: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and spread (n_samples,) of what members say of rows that they have not seen.

        ``left_out`` (n_samples, n_members) tells which these are. NaN where all have seen a row.
        """
        n_samples = len(left_out)
        mean, spread = np.full((2, n_samples), np.nan)
        for start in range(0, n_samples if len(self.levels) else 0, ROWS):
            part = np.arange(start, min(start + ROWS, n_samples))
            predictions = data.block(part) @ self.coefs + np.outer(data.ones[part], self.levels)
            mean[part], spread[part] = mean_and_spread(predictions, left_out[part])
            # One member has no spread: the best there is then is that of all.
            one = part[left_out[part].sum(axis=1) == 1]
            spread[one] = predictions[one - start].std(axis=1, ddof=1)
        return mean, spread


def drawn_blocks(
    n_groups: int, held_out: float, n_others: int, random: np.random.RandomState
) -> np.ndarray:
    """Return the block of every group: 0 of a part that is held out, 1, 2, ... of the others."""
    order, block = random.permutation(n_groups), np.zeros(n_groups, dtype=int)
    if n_groups > 1:
        count = int(np.clip(round(held_out * n_groups), 1, n_groups - 1))
        block[order[count:]] = 1 + np.arange(n_groups - count) % min(n_others, n_groups - count)
    return block


def halves_of(n_blocks: int) -> list[tuple[int, ...]]:
    """Return all halves of blocks, each followed by the other half.

    Every block is in half of them, so that half of them can judge it.
    """
    halves = [
        half
        for half in combinations(range(n_blocks), n_blocks // 2)
        if half and (n_blocks % 2 or 0 in half)  # else it is the other half of one
    ]
    pairs = [(half, tuple(set(range(n_blocks)) - set(half))) for half in halves]
    return [half for pair in pairs for half in pair]
