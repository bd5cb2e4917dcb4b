"""Sums of products of rows, from which ridge regression is solved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg.blas import daxpy

from skwavelet._utils.memory import available_memory
from skwavelet.linear._packed import (
    add_products,
    diagonal,
    packed_zeros,
    places,
    solve_in_place,
)

# Rows that are turned to double precision at a time.
ROWS = 2048
TINY = np.finfo(float).tiny


@dataclass(frozen=True, eq=False)
class Data:
    """Rows, their targets, weights and what the intercept is multiplied by.

    Models are of features less their mean, ``origin``, so that squares do not cancel.
    """

    rows: np.ndarray
    targets: np.ndarray
    weight: np.ndarray
    ones: np.ndarray
    origin: np.ndarray

    @classmethod
    def of(
        cls, rows: np.ndarray, targets: np.ndarray, weight: np.ndarray, ones: np.ndarray
    ) -> Data:
        """Return data with their mean, that of rows with an intercept."""
        with_ones = np.flatnonzero(weight * ones)
        total = np.zeros(rows.shape[1])
        for start in range(0, len(with_ones), ROWS):
            part = with_ones[start : start + ROWS]
            total += (weight[part] * ones[part]) @ rows[part].astype(np.float64)
        return cls(rows, targets, weight, ones, total / max(weight @ ones**2, TINY))

    def block(self, part: np.ndarray) -> np.ndarray:
        """Return some rows in double precision, of features less their mean."""
        rows = self.rows[part].astype(np.float64)
        rows -= np.multiply.outer(self.ones[part], self.origin)
        return rows

    def check_squares(self) -> None:
        """Raise ValueError if the sums of squares overflow, and products with them."""
        total = np.zeros(self.rows.shape[1] + 1)
        with np.errstate(over="ignore", invalid="ignore"):
            for start in range(0, len(self.rows), ROWS):
                part = np.arange(start, min(start + ROWS, len(self.rows)))
                total[:-1] += self.weight[part] @ np.square(self.block(part))
                total[-1] += self.weight[part] @ np.square(self.targets[part])
        if not np.isfinite(total).all():
            raise ValueError("Squares of X or y overflow; scale them down.")

    def rms_error(self, chosen: np.ndarray, coef: np.ndarray, intercept: float) -> float:
        """Return the root of the weighted mean squared error of a model in some rows."""
        squares = 0.0
        for start in range(0, len(chosen), ROWS):
            part = chosen[start : start + ROWS]
            error = self.block(part) @ coef + intercept * self.ones[part] - self.targets[part]
            squares += self.weight[part] @ error**2
        total = self.weight[chosen].sum()
        return float(np.sqrt(squares / total)) if total else 0.0


class Moments:
    """Weighted sums of products of features, targets and the intercept's column."""

    def __init__(
        self, gram: np.ndarray, with_y: np.ndarray, with_ones: np.ndarray, scalars: np.ndarray
    ):
        # gram is packed, see `_packed`; scalars are (y 1, 1 1).
        self.gram, self.with_y, self.with_ones, self.scalars = gram, with_y, with_ones, scalars

    @classmethod
    def zeros(cls, n_features: int) -> Moments:
        """Return the sums over no rows."""
        return cls(
            packed_zeros(n_features), np.zeros(n_features), np.zeros(n_features), np.zeros(2)
        )

    @classmethod
    def of(cls, data: Data, chosen: np.ndarray) -> Moments:
        """Return the sums over some rows."""
        sums = cls.zeros(data.rows.shape[1])
        sums.add_rows(data, chosen)
        return sums

    @classmethod
    def sum(cls, parts: Sequence[Moments], weights: np.ndarray | None = None) -> Moments:
        """Return the sum of several, weighted or not."""
        total = cls.zeros(len(parts[0].with_y))
        weights = np.ones(len(parts)) if weights is None else weights
        for part, weight in zip(parts, weights, strict=True):
            for whole, own in zip(total._arrays, part._arrays, strict=True):
                daxpy(own, whole, a=weight)
        return total

    def add_rows(self, data: Data, chosen: np.ndarray) -> None:
        """Add the sums over some rows."""
        for start in range(0, len(chosen), ROWS):
            part = chosen[start : start + ROWS]
            root = np.sqrt(data.weight[part])
            rows = data.block(part)
            rows *= root[:, None]
            y, ones = root * data.targets[part], root * data.ones[part]
            add_products(self.gram, rows)
            self.with_y += rows.T @ y
            self.with_ones += rows.T @ ones
            self.scalars += y @ ones, ones @ ones

    def scale(self, weight: float) -> None:
        """Multiply the weights of all rows."""
        for sums in self._arrays:
            sums *= weight

    def solve(
        self, alpha: float, factors: np.ndarray, origin: np.ndarray
    ) -> tuple[np.ndarray, float] | None:
        """Return weights and intercept; None where the matrix is not positive in rounding.

        The sums are lost: there is no memory but theirs to solve in.
        """
        matrix, n_features = self.gram, len(origin)
        y_ones, ones_ones = self.scalars
        mean = self.with_ones / ones_ones if ones_ones else np.zeros_like(self.with_ones)
        level = y_ones / ones_ones if ones_ones else 0.0
        of_diagonal = diagonal(n_features)
        squares = matrix[of_diagonal] - mean * self.with_ones
        # Columns that do not vary have no weight.
        varies = squares > 1e-12 * np.maximum(matrix[of_diagonal] + ones_ones * origin**2, TINY)
        if ones_ones:
            add_products(matrix, self.with_ones[None], -1 / ones_ones)
        for column in np.flatnonzero(~varies):
            matrix[places(n_features, np.arange(n_features), np.array(column))] = 0.0
        matrix[of_diagonal] += np.where(varies, alpha * factors**2 * squares, 1.0)
        coef = solve_in_place(matrix, np.where(varies, self.with_y - mean * y_ones, 0.0))
        return None if coef is None else (coef, float(level - mean @ coef))

    @property
    def _arrays(self) -> tuple[np.ndarray, ...]:
        return self.gram, self.with_y, self.with_ones, self.scalars


def check_memory(n_features: int, n_rows: int, n_matrices: int) -> None:
    """Raise ValueError if Gram matrices, and rows added to them, do not fit into memory."""
    # Rows are taken, turned to double precision, and lack their mean.
    need = 8.0 * n_features * (n_matrices * (n_features + 1) / 2 + 3 * min(n_rows, ROWS))
    free = available_memory()
    if need > free:
        raise ValueError(
            f"Products of {n_features} features need about {need / 2**30:.3g} GiB but "
            f"{free / 2**30:.3g} GiB are free; use fewer features, or members=False."
        )
