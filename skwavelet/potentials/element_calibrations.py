"""Calibrations of forces, which may differ between elements."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from skwavelet.linear.calibration import SpreadCalibration, fit_calibration, is_better


@dataclass(frozen=True)
class ElementCalibrations:
    """From spreads of forces to standard deviations, for some elements each and for all others."""

    common: SpreadCalibration
    of_elements: Mapping[int, SpreadCalibration] = field(default_factory=dict)

    def __call__(self, spread: np.ndarray, size: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """Return standard deviations for a spread (n, ...) of forces and their size, all in eV/Å.

        ``numbers`` (n,) are atomic numbers, 0 where there is none.
        """
        std = self.common(spread, size=size)
        for number, own in self.of_elements.items():
            rows = numbers == number
            std[rows] = own(spread[rows], size=size[rows])
        return std

    def scaled(self, unit: float) -> ElementCalibrations:
        """Return the calibrations of energies that are multiplied by ``unit``."""
        return ElementCalibrations(
            self.common.scaled(unit),
            {number: own.scaled(unit) for number, own in self.of_elements.items()},
        )

    @classmethod
    def fit(
        cls,
        errors: np.ndarray,
        spread: np.ndarray,
        weight: np.ndarray,
        groups: np.ndarray,
        size: np.ndarray,
        numbers: np.ndarray,
    ) -> Self:
        """Return the calibrations for which errors are as large as predicted: `fit_calibration`.

        Elements have calibrations of their own where these make the errors of most groups more
        likely. ``numbers`` (n,) are atomic numbers, 0 where there is none.
        """

        def fitted(rows: np.ndarray) -> SpreadCalibration:
            columns = errors[rows], spread[rows], weight[rows], groups[rows]
            return fit_calibration(*columns, size=size[rows])

        present = np.unique(numbers[numbers > 0]).tolist()
        common = cls(fitted(np.arange(len(errors))))
        if len(present) < 2:
            return common
        richer = cls(common.common, {number: fitted(numbers == number) for number in present})
        told = (weight > 0) & np.isfinite(errors) & (spread > 0) & (numbers > 0)
        one, other = (each(spread, size, numbers)[told] for each in (common, richer))
        n_more = 3 * (len(present) - 1)  # floor, factor and share
        better = is_better(errors[told], one, other, weight[told], groups[told], n_more)
        return richer if better else common
