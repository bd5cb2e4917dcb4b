"""Prediction intervals: jackknife+ after bootstrap, over whole groups."""

from __future__ import annotations

from dataclasses import dataclass, replace
from numbers import Real
from typing import Self

import numpy as np

from skwavelet.linear.calibration import SpreadCalibration

# Numbers in the largest temporary array.
_BLOCK = 2**21


@dataclass(frozen=True)
class OutOfBagIntervals:
    """What intervals need to know of the errors out of bag.

    For each training sample i there is the ensemble of the models that did not see its group, with
    mean m_i(x) and standard deviation s_i(x), calibrated, and the score
    r_i = |y_i - m_i(x_i)| / s_i(x_i). The interval reaches from a low quantile of the
    m_i(x) - r_i s_i(x) to a high quantile of the m_i(x) + r_i s_i(x). A sample of a group of n, of
    K groups, has the weight 1 / (n (K + 1)) in the quantiles; the weight that is missing to 1 is
    infinitely far away.

    ``left_out`` (n_patterns, n_models) has a row for each combination of models that are averaged,
    and ``pattern`` (n_samples,) the combination of each sample. The calibration makes standard
    deviations, but for a factor, of the spread of models.
    """

    left_out: np.ndarray
    pattern: np.ndarray
    score: np.ndarray
    weight: np.ndarray
    calibration: SpreadCalibration

    @classmethod
    def fit(
        cls,
        left_out: np.ndarray,
        errors: np.ndarray,
        spread: np.ndarray,
        groups: np.ndarray,
        calibration: SpreadCalibration,
        remoteness: np.ndarray | None = None,
    ) -> Self:
        """Learn from samples and the models that did not see them.

        ``left_out`` (n_samples, n_models) tells which models these are, the same for all of a
        group; errors (n_samples,) are those of their mean, spreads their standard deviations, and
        the calibration is that of these errors. No remoteness is 1 everywhere.
        """
        if remoteness is None:
            remoteness = np.ones(len(errors))
        count = left_out.sum(axis=1)
        scaled = (count > 1) & (spread > 0)
        use_spread = 2 * scaled.sum() >= len(count)
        # Whether a group is left out depends on the bags alone, so that leaving it out is fair.
        kept = scaled if use_spread else count > 0
        if not use_spread:
            calibration = replace(calibration, factor=0.0)
        if not calibration.floor:
            # The spread of few models is next to nothing by chance.
            typical = calibration.factor * np.sqrt(np.mean(np.square(spread[kept])))
            calibration = replace(calibration, floor=float(typical) or 1.0)
        patterns, pattern = np.unique(left_out[kept], axis=0, return_inverse=True)
        score = np.abs(errors[kept]) / calibration(spread[kept], remoteness[kept])
        _, code, size = np.unique(groups[kept], return_inverse=True, return_counts=True)
        weight = 1 / (size[code] * (len(size) + 1))
        return cls(patterns, pattern.ravel(), score, weight, calibration)

    def predict(
        self, members: np.ndarray, coverage: float, remoteness: np.ndarray | None = None
    ) -> np.ndarray:
        """Return intervals (n, 2) for the predictions (n, n_models) of all models.

        They are infinite where the coverage needs more groups than there are.
        """
        if remoteness is None:
            remoteness = np.ones(len(members))
        intervals = np.empty((len(members), 2))
        step = max(1, _BLOCK // max(1, len(self.score)))
        count = self.left_out.sum(axis=1)
        average = self.left_out.T / count
        for start in range(0, len(members), step):
            block = members[start : start + step]
            center = block.mean(axis=1, keepdims=True)
            deviations = block - center
            mean = deviations @ average
            variance = np.maximum(deviations**2 @ average - mean**2, 0)
            spread = np.sqrt(variance * count / np.maximum(count - 1, 1))
            rows = slice(start, start + step)
            scale = self.calibration(spread, remoteness[rows, None])
            reach = self.score * scale[:, self.pattern]
            mean = (center + mean)[:, self.pattern]
            intervals[rows, 0] = -weighted_quantile(reach - mean, self.weight, coverage)
            intervals[rows, 1] = weighted_quantile(mean + reach, self.weight, coverage)
        return intervals


def check_coverage(coverage: float) -> float:
    """Return the coverage that intervals are asked for; raise if it is not between 0.5 and 1."""
    if not (isinstance(coverage, Real) and 0.5 < coverage < 1):
        raise ValueError(f"coverage must be a number between 0.5 and 1; got {coverage!r}.")
    return float(coverage)


def weighted_quantile(values: np.ndarray, weight: np.ndarray, share: float) -> np.ndarray:
    """Return, for each row of values, the least up to which there is a share of the weight.

    What the sum of the weights (n_samples,) lacks of 1 is at infinity.
    """
    order = np.argsort(values, axis=1)
    reached = np.cumsum(weight[order], axis=1) >= share * (1 - 1e-9)
    first = np.argmax(reached, axis=1)
    found = np.take_along_axis(values, np.take_along_axis(order, first[:, None], 1), 1)[:, 0]
    return np.where(reached[:, -1], found, np.inf)
