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

    Attributes
    ----------
    left_out : ndarray of shape (n_patterns, n_models)
        Models that are averaged, one row for each combination of models that occurs.
    pattern : ndarray of shape (n_samples,)
        The combination of each sample.
    score, weight : ndarray of shape (n_samples,)
    calibration : SpreadCalibration
        What makes standard deviations, but for a factor, of the spread of models.
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

        Parameters
        ----------
        left_out : ndarray of shape (n_samples, n_models)
            Which models did not see a sample, the same for all of a group.
        errors, spread : ndarray of shape (n_samples,)
            Of these models: the error of their mean, and their standard deviation.
        groups : ndarray of shape (n_samples,)
        calibration : SpreadCalibration
            That of these errors.
        remoteness : ndarray of shape (n_samples,), optional
            None is 1 everywhere.
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
        """Return intervals, infinite where coverage needs more groups than there are.

        Parameters
        ----------
        members : ndarray of shape (n, n_models)
            Predictions of all models.
        coverage : float
        remoteness : ndarray of shape (n,), optional

        Returns
        -------
        ndarray of shape (n, 2)
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
    """Return the coverage that intervals are asked for.

    Raises
    ------
    ValueError
        If it is not between 0.5 and 1.
    """
    if not (isinstance(coverage, Real) and 0.5 < coverage < 1):
        raise ValueError(f"coverage must be a number between 0.5 and 1; got {coverage!r}.")
    return float(coverage)


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
