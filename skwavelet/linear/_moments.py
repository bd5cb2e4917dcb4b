"""Sums of products of rows, from which ridge regression is solved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.linalg.blas import dsyr, dsyrk

from skwavelet._utils.memory import available_memory

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
        # gram is a lower triangle; scalars are (y 1, 1 1).
        self.gram, self.with_y, self.with_ones, self.scalars = gram, with_y, with_ones, scalars

    @classmethod
    def of(cls, data: Data, chosen: np.ndarray) -> Moments:
        """Return the sums over some rows.

        Raises
        ------
        ValueError
            If they overflow.
        """
        n_features = data.rows.shape[1]
        gram = np.zeros((n_features, n_features), order="F")
        with_y, with_ones, scalars = np.zeros(n_features), np.zeros(n_features), np.zeros(2)
        with np.errstate(over="ignore", invalid="ignore"):
            for start in range(0, len(chosen), ROWS):
                part = chosen[start : start + ROWS]
                root = np.sqrt(data.weight[part])
                rows = data.block(part) * root[:, None]
                y, ones = root * data.targets[part], root * data.ones[part]
                gram = dsyrk(1.0, rows.T, beta=1.0, c=gram, lower=1, overwrite_c=1)
                with_y += rows.T @ y
                with_ones += rows.T @ ones
                scalars += y @ ones, ones @ ones
        if not all(np.isfinite(sums).all() for sums in (gram, with_y, with_ones, scalars)):
            raise ValueError("Squares of X or y overflow; scale them down.")
        return cls(gram, with_y, with_ones, scalars)

    @classmethod
    def sum(cls, parts: Sequence[Moments], weights: np.ndarray | None = None) -> Moments:
        """Return the sum of several, weighted or not."""
        weights = np.ones(len(parts)) if weights is None else weights
        sums = [
            np.zeros_like(getattr(parts[0], name))
            for name in ("gram", "with_y", "with_ones", "scalars")
        ]
        for part, weight in zip(parts, weights, strict=True):
            for total, own in zip(
                sums, (part.gram, part.with_y, part.with_ones, part.scalars), strict=True
            ):
                total += weight * own
        return cls(*sums)

    def solve(
        self, alpha: float, factors: np.ndarray, origin: np.ndarray
    ) -> tuple[np.ndarray, float] | None:
        """Return weights and intercept; None where the matrix is not positive in rounding."""
        y_ones, ones_ones = self.scalars
        mean = self.with_ones / ones_ones if ones_ones else np.zeros_like(self.with_ones)
        level = y_ones / ones_ones if ones_ones else 0.0
        squares = np.diag(self.gram) - mean * self.with_ones
        # Columns that do not vary have no weight.
        varies = squares > 1e-12 * np.maximum(np.diag(self.gram) + ones_ones * origin**2, TINY)
        scale = np.where(varies, 1 / np.sqrt(np.where(varies, squares, 1)), 0) / factors
        # Lower triangles in the order that LAPACK has, so that nothing is copied.
        matrix = self.gram.copy(order="F")
        if ones_ones:
            dsyr(-1 / ones_ones, self.with_ones, a=matrix, lower=1, overwrite_a=1)
        matrix *= scale
        matrix *= scale[:, None]
        matrix[np.diag_indices_from(matrix)] += np.where(varies, alpha, 1)
        try:
            factored = cho_factor(matrix, lower=True, overwrite_a=True, check_finite=False)
        except LinAlgError:
            return None
        coef = scale * cho_solve(factored, scale * (self.with_y - mean * y_ones))
        return coef, float(level - mean @ coef)


def check_memory(n_features: int, n_matrices: int) -> None:
    """Raise ValueError if Gram matrices, and what is solved with them, do not fit into memory."""
    # Besides those of blocks and kinds, sums, what is solved, and copies.
    need, free = 8.0 * n_features**2 * (n_matrices + 5), available_memory()
    if need > free:
        raise ValueError(
            f"Products of {n_features} features need about {need / 2**30:.3g} GiB but "
            f"{free / 2**30:.3g} GiB are free; use fewer features, or members=False."
        )
