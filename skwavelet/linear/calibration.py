"""Standard deviations from the spread of an ensemble, calibrated by errors out of bag."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import brentq, minimize_scalar

# A floor must raise the likelihood of the errors by so much (nats, each group counted once).
_EVIDENCE = 2.0
# ... or, where groups have many errors of different sizes, by so many standard errors over groups.
_AGREEMENT = 3.0
# Powers of the remoteness to choose from, and shares of the size relative to the factor.
_POWERS, _SHARES = (0.5, 1.0, 1.5, 2.0), (0.0125, 0.025, 0.05, 0.1, 0.2)


@dataclass(frozen=True)
class SpreadCalibration:
    """From the spread s of an ensemble to standard deviations.

    These are sqrt(floor² + (factor s)² + (share p)²) q^power. The models of an ensemble share their
    training set and their features. What is wrong with all of them alike does not show in their
    spread: the floor stands for it, a share of the size p of what is predicted, such as a force,
    and for its growth outside of the training set the remoteness q, where these are known.

    Attributes
    ----------
    floor : float
        Standard deviation where all models agree.
    factor : float
        What the spread is multiplied by where models disagree a lot.
    power : float
        How fast errors grow with the remoteness, which is about 1 in the training set.
    share : float
        Standard deviation of the error that is common to all models, relative to the size.
    """

    floor: float = 0.0
    factor: float = 1.0
    power: float = 0.0
    share: float = 0.0

    def __call__(
        self,
        spread: np.ndarray,
        remoteness: np.ndarray | float = 1.0,
        size: np.ndarray | float = 0.0,
    ) -> np.ndarray:
        """Return standard deviations, of the shape and in the units of ``spread`` and ``size``."""
        inside = np.hypot(self.floor, self.factor * np.asarray(spread))
        inside = np.hypot(inside, self.share * np.asarray(size))
        return inside * np.asarray(remoteness) ** self.power

    def scaled(self, unit: float) -> SpreadCalibration:
        """Return the calibration of predictions that are multiplied by ``unit``."""
        return replace(self, floor=abs(unit) * self.floor)


def fit_calibration(
    errors: np.ndarray,
    spread: np.ndarray,
    weight: np.ndarray,
    groups: np.ndarray,
    remoteness: np.ndarray | None = None,
    size: np.ndarray | None = None,
) -> SpreadCalibration:
    """Return the sharpest calibration for which errors are as large as predicted.

    Of all pairs of a floor and a factor with mean (error / std)² = 1, this is the one of least
    mean log(std), which is the most likely one for Gaussian errors. The factor is at least 1, or
    the root mean square of error / spread if that is less, so that standard deviations grow
    outside of the training set. Where the groups are too few to tell a floor, it is 0, and
    the factor is that root mean square. The power of the remoteness and the share of the size are
    found likewise, and are 0 where the groups do not tell that errors grow with them.

    All arrays have the shape (n_samples,). Errors and spreads, in the same units, are those of
    models that have not seen the sample, NaN where there are none. ``weight`` is that of the
    squares. Errors of one group may be alike. ``remoteness`` is positive, ``size`` that of what is
    predicted.
    """
    best = _of_spread(errors, spread, weight, groups)
    told = (weight > 0) & np.isfinite(errors) & ((errors != 0) | (spread > 0))
    if not (told & (errors != 0)).any():
        return best
    if remoteness is not None:
        count = len(np.unique(groups[told])) * weight / weight[told].sum()

        def unlikeliness(one: SpreadCalibration) -> float:
            return float(count[told] @ np.log(one(spread[told], remoteness[told])))

        least = unlikeliness(best) - _EVIDENCE
        for power in _POWERS:
            unit = remoteness**power
            one = replace(_of_spread(errors / unit, spread, weight, groups), power=power)
            if unlikeliness(one) < least:
                best, least = one, unlikeliness(one)
    if size is not None:
        unit = (np.ones(len(errors)) if remoteness is None else remoteness) ** best.power
        told &= spread > 0

        def std_of(one: SpreadCalibration) -> np.ndarray:
            return unit[told] * one(spread[told], size=size[told])

        def with_share(ratio: float) -> SpreadCalibration:
            one = _of_spread(errors / unit, np.hypot(spread, ratio * size), weight, groups)
            return replace(one, share=ratio * one.factor)

        one = min(map(with_share, _SHARES), key=lambda one: weight[told] @ np.log(std_of(one)))
        stds = std_of(replace(best, power=0.0)), std_of(one)
        if is_better(errors[told], *stds, weight[told], groups[told]):
            best = replace(one, power=best.power)
    return best


def is_better(
    errors: np.ndarray,
    std: np.ndarray,
    other_std: np.ndarray,
    weight: np.ndarray,
    groups: np.ndarray,
    n_parameters: int = 1,
) -> bool:
    """Return whether errors tell that standard deviations of more parameters are better.

    The gain in likelihood must be large even if all errors of a group are one, or the gains of the
    groups must add up to three standard errors, which less than ten groups cannot reach.
    """
    gain = np.log(std / other_std) + ((errors / std) ** 2 - (errors / other_std) ** 2) / 2
    of_groups = np.bincount(np.unique(groups, return_inverse=True)[1].ravel(), weight * gain)
    total = float(of_groups.sum())
    once = total * len(of_groups) / weight.sum()
    return once > n_parameters * _EVIDENCE or total > _AGREEMENT * float(np.linalg.norm(of_groups))


def _of_spread(
    errors: np.ndarray, spread: np.ndarray, weight: np.ndarray, groups: np.ndarray
) -> SpreadCalibration:
    """Return the sharpest calibration that knows the spread alone."""
    told = (weight > 0) & np.isfinite(errors) & ((errors != 0) | (spread > 0))
    if not told.any():
        return SpreadCalibration()
    e2, s2, w = errors[told] ** 2, spread[told] ** 2, weight[told] / weight[told].sum()
    if not s2.any():
        return SpreadCalibration(float(np.sqrt(w @ e2)))

    overall = (w @ e2) / (w @ s2)
    with np.errstate(divide="ignore"):
        ratio2 = w @ (e2 / s2)  # infinite where models agree on what is wrong

    def floor2(factor2: float) -> float:
        """Square of the floor with mean (error / std)² = 1."""
        if factor2 > (1 - 1e-12) * ratio2:  # but for rounding
            return 0.0

        # In logarithms, as errors of rounding beside large ones span many decades.
        def excess(log_a2: float) -> float:
            return float(np.log(w @ (e2 / (np.exp(log_a2) + factor2 * s2))))

        top = float(np.log(e2.max()))
        return 0.0 if excess(top - 230) <= 0 else float(np.exp(brentq(excess, top - 230, top + 1)))

    def sharpness(log_factor2: float) -> float:
        factor2 = np.exp(log_factor2)
        return float(w @ np.log(floor2(factor2) + factor2 * s2))

    if not overall:
        return SpreadCalibration(0.0, 0.0)
    most = min(ratio2, 100 * overall)
    least = min(most, 1.0)
    best = most
    if least < most:
        found = minimize_scalar(sharpness, bounds=np.log([least, most]), method="bounded")
        best = np.exp(min((found.x, np.log(least), np.log(most)), key=sharpness))
    n_groups = len(np.unique(groups[told]))
    gain = 0.5 * n_groups * (sharpness(np.log(most)) - sharpness(np.log(best)))
    if gain < _EVIDENCE:
        best = most
    return SpreadCalibration(float(np.sqrt(floor2(best))), float(np.sqrt(best)))


def overall_ratio(errors: np.ndarray, spread: np.ndarray, weight: np.ndarray) -> float:
    """Return the root mean square error over that of the spread; 1 where nothing tells it."""
    told = (weight > 0) & np.isfinite(errors)
    squares = [weight[told] @ np.square(values[told]) for values in (errors, spread)]
    return float(np.sqrt(squares[0] / squares[1])) if told.any() and squares[1] else 1.0


def unbiased_std(members: np.ndarray) -> np.ndarray:
    """Return the standard deviation (n,) over members (n, n_members), of which one has none."""
    n_members = members.shape[1]
    return members.std(axis=1, ddof=1) if n_members > 1 else np.zeros(len(members))


def mean_and_spread(predictions: np.ndarray, of: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and unbiased standard deviation, row by row, of some of the predictions."""
    count = of.sum(axis=1)
    total = np.where(of, predictions, 0.0).sum(axis=1)
    mean = np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)
    squares = np.where(of, (predictions - mean[:, None]) ** 2, 0.0).sum(axis=1)
    return mean, np.where(count > 0, np.sqrt(squares / np.maximum(count - 1, 1)), np.nan)
