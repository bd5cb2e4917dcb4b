"""Prediction intervals: jackknife+ after bootstrap, over whole groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

# Numbers in the largest temporary array.
_BLOCK = 2**21


@dataclass(frozen=True)
class OutOfBagIntervals:
    """What intervals need to know of the errors out of bag.

    For each training sample i there is the ensemble of the models that did not see its group, with
    mean m_i(x) and scale s_i(x), and the score r_i = |y_i - m_i(x_i)| / s_i(x_i). The interval
    reaches from a low quantile of the m_i(x) - r_i s_i(x) to a high quantile of the
    m_i(x) + r_i s_i(x). A sample of a group of n, of K groups, has the weight 1 / (n (K + 1)) in
    the quantiles; the weight that is missing to 1 is infinitely far away.

    The scale squared is the variance over the models plus its mean over the training set; where
    models out of bag are too few, it is 1.

    Attributes
    ----------
    left_out : ndarray of shape (n_patterns, n_models)
        Models that are averaged, one row for each combination of models that occurs.
    pattern : ndarray of shape (n_samples,)
        The combination of each sample.
    score, weight : ndarray of shape (n_samples,)
    typical_variance : float or None
        Mean variance over the models out of bag; None for a scale of 1.
    """

    left_out: np.ndarray
    pattern: np.ndarray
    score: np.ndarray
    weight: np.ndarray
    typical_variance: float | None

    @classmethod
    def fit(
        cls,
        left_out: np.ndarray,
        errors: np.ndarray,
        spread: np.ndarray,
        groups: np.ndarray,
    ) -> Self:
        """Learn from samples and the models that did not see them.

        Parameters
        ----------
        left_out : ndarray of shape (n_samples, n_models)
            Which models did not see a sample, the same for all of a group.
        errors, spread : ndarray of shape (n_samples,)
            Of these models: the error of their mean, and their standard deviation.
        groups : ndarray of shape (n_samples,)
        """
        count = left_out.sum(axis=1)
        scaled = (count > 1) & (spread > 0)
        use_scale = 2 * scaled.sum() >= len(count)
        # Whether a group is left out depends on the bags alone, so that leaving it out is fair.
        kept = scaled if use_scale else count > 0
        patterns, pattern = np.unique(left_out[kept], axis=0, return_inverse=True)
        variance = spread[kept] ** 2
        typical = float(variance.mean()) if use_scale else None
        score = np.abs(errors[kept])
        if typical is not None:
            score = score / np.sqrt(variance + typical)
        _, code, size = np.unique(groups[kept], return_inverse=True, return_counts=True)
        weight = 1 / (size[code] * (len(size) + 1))
        return cls(patterns, pattern.ravel(), score, weight, typical)

    def predict(self, members: np.ndarray, coverage: float) -> np.ndarray:
        """Return intervals (n, 2) from the predictions (n, n_models) of all models.

        Infinite where coverage needs more groups than there are.
        """
        intervals = np.empty((len(members), 2))
        step = max(1, _BLOCK // max(1, len(self.score)))
        count = self.left_out.sum(axis=1)
        average = self.left_out.T / count
        for start in range(0, len(members), step):
            block = members[start : start + step]
            center = block.mean(axis=1, keepdims=True)
            deviations = block - center
            mean = deviations @ average
            reach = self.score[None]
            if self.typical_variance is not None:
                variance = np.maximum(deviations**2 @ average - mean**2, 0) * count / (count - 1)
                scale = np.sqrt(variance + self.typical_variance)
                reach = reach * scale[:, self.pattern]
            mean = (center + mean)[:, self.pattern]
            rows = slice(start, start + step)
            intervals[rows, 0] = -weighted_quantile(reach - mean, self.weight, coverage)
            intervals[rows, 1] = weighted_quantile(mean + reach, self.weight, coverage)
        return intervals


def weighted_quantile(values: np.ndarray, weight: np.ndarray, share: float) -> np.ndarray:
    """Return, for each row, the least value up to which there is a share of the weight.

    Parameters
    ----------
    values : ndarray of shape (n, n_samples)
    weight : ndarray of shape (n_samples,)
        Their sum may be less than 1: what is missing is at infinity.
    share : float
    """
    order = np.argsort(values, axis=1)
    reached = np.cumsum(weight[order], axis=1) >= share * (1 - 1e-9)
    first = np.argmax(reached, axis=1)
    found = np.take_along_axis(values, np.take_along_axis(order, first[:, None], 1), 1)[:, 0]
    return np.where(reached[:, -1], found, np.inf)
