"""Least squares on a matrix that stays on disk.

A greedy path needs inner products of columns over the training rows and errors on the held-out
rows. Both are the same for the triangular factors of the two sets of rows as for the rows
themselves, so each set is reduced to at most as many rows as there are columns, by QR
factorizations of one block after another. A Gram matrix would take half the work, but squares
the condition number: nearly dependent columns, of which there are many, would be told apart with
half the digits.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg
from scipy.sparse import issparse

from skwavelet.linear.design import Design, Problem, scale_of

# Numbers in a block.
_BLOCK = 2**22


def is_on_disk(X: Any) -> bool:
    """Whether to read X in slices of rows: a FeatureStore, a memory map, an HDF5 dataset, ..."""
    if isinstance(X, np.memmap):
        # Copies of parts of a memory map are of this class too; they have no file.
        return X.ndim == 2 and X.filename is not None
    return (
        not isinstance(X, np.ndarray)
        and not issparse(X)
        and all(hasattr(X, name) for name in ("shape", "dtype", "__getitem__"))
        and len(X.shape) == 2
    )


def row_blocks(X: Any) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield (rows, array of these rows)."""
    step = max(1, _BLOCK // max(1, X.shape[1]))
    for start in range(0, X.shape[0], step):
        rows = slice(start, min(start + step, X.shape[0]))
        yield rows, np.asarray(X[rows])


@dataclass(frozen=True)
class BlockwiseData:
    """Checked input of a fit whose design matrix stays on disk; see `TrainingData`."""

    X: Any
    y: np.ndarray
    weight: np.ndarray
    groups: np.ndarray
    intercept_column: np.ndarray | None
    center: np.ndarray
    scale: np.ndarray
    rounding: np.ndarray
    constant: np.ndarray

    def fingerprint(self) -> str:
        """Checksum of the bytes of the matrix, one pass over it."""
        found = hashlib.blake2b(f"{self.X.shape} {self.X.dtype.str}".encode())
        for _, block in row_blocks(self.X):
            found.update(np.ascontiguousarray(block).data)
        return found.hexdigest()

    def blocks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield (rows, centred and scaled columns) of the matrix."""
        c = self.intercept_column
        for rows, block in row_blocks(self.X):
            block = block.astype(np.float64)
            if c is not None:
                block -= np.outer(c[rows], self.center)
            block /= self.scale
            block[:, self.constant] = 0.0
            yield rows, block

    def problem(self, weight: np.ndarray, validation_weight: np.ndarray | None = None) -> Problem:
        """Reduce training and validation rows, one pass over the matrix."""
        c, n_features = self.intercept_column, self.X.shape[1]
        first = 0 if c is None else 1
        sets = [weight] if validation_weight is None else [weight, validation_weight]
        factors = [_Rows(first + n_features + 1, int(np.count_nonzero(w))) for w in sets]
        for rows, block in self.blocks():
            parts = [block, self.y[rows, None]]
            if c is not None:
                parts.insert(0, c[rows, None])
            block = np.hstack(parts)
            for w, factor in zip(sets, factors, strict=True):
                used = w[rows] > 0
                factor.add(np.sqrt(w[rows][used, None]) * block[used])
        reduced = [factor.reduced() for factor in factors]
        # Each reduced row stands for an equal part of the weight of its set.
        shares = [
            np.full(len(rows), w.sum() / len(rows)) for rows, w in zip(reduced, sets, strict=True)
        ]
        stacked = np.vstack(reduced) / np.sqrt(np.concatenate(shares))[:, None]
        design = Design(
            np.ascontiguousarray(stacked[:, first:-1].T),
            self.center,
            self.scale,
            self.rounding,
            stacked[:, 0] if first else None,
        )
        n_training = len(shares[0])
        weights = np.concatenate([shares[0], np.zeros(len(stacked) - n_training)])
        held_out = None
        if validation_weight is not None:
            held_out = np.concatenate([np.zeros(n_training), shares[1]])
        return Problem(design, np.ascontiguousarray(stacked[:, -1]), weights, held_out)


def blockwise_data(
    X: Any,
    y: np.ndarray,
    weight: np.ndarray,
    groups: np.ndarray,
    intercept_column: np.ndarray | None,
) -> BlockwiseData:
    """Learn how to centre and scale X, in one pass; raise ValueError for a row not finite."""
    n_features = X.shape[1]
    mean, size2, spread2 = (np.zeros(n_features) for _ in range(3))
    total = 0.0
    for rows, block in row_blocks(X):
        if not np.isfinite(block).all():
            row = rows.start + np.flatnonzero(~np.isfinite(block).all(axis=1))[0]
            raise ValueError(f"X holds NaN or infinity in row {row}; repair or remove it.")
        block = block.astype(np.float64)
        w = weight[rows]
        size2 += w @ np.square(block)
        here, part = np.zeros(n_features), 0.0
        if intercept_column is not None:
            c = intercept_column[rows]
            part = w @ c**2
            if part > 0:
                here = (w * c) @ block / part
                block -= np.outer(c, here)
        spread2 += w @ np.square(block)
        # Means of two parts and sums of squares about them (Chan, Golub and LeVeque).
        if part > 0:
            spread2 += (here - mean) ** 2 * (total * part / (total + part))
            mean += (here - mean) * (part / (total + part))
            total += part
    size, spread = np.sqrt(size2 / weight.sum()), np.sqrt(spread2 / weight.sum())
    scale, rounding, constant = scale_of(size, spread, X.dtype)
    return BlockwiseData(X, y, weight, groups, intercept_column, mean, scale, rounding, constant)


class _Rows:
    """Rows that are reduced by QR whenever there are twice as many as columns."""

    def __init__(self, n_columns: int, n_rows: int):
        self._n_columns = n_columns
        self._rows = np.empty((min(2 * n_columns, n_rows), n_columns), order="F")
        self._filled = 0

    def add(self, rows: np.ndarray) -> None:
        """Take further rows."""
        while len(rows):
            if self._filled == len(self._rows):
                self._reduce()
            part = rows[: len(self._rows) - self._filled]
            self._rows[self._filled : self._filled + len(part)] = part
            self._filled += len(part)
            rows = rows[len(part) :]

    def _reduce(self) -> None:
        _, factor = scipy.linalg.qr(
            self._rows[: self._filled], mode="raw", overwrite_a=True, check_finite=False
        )
        self._filled = len(factor)
        self._rows[: self._filled] = factor

    def reduced(self) -> np.ndarray:
        """Return as many rows as there are columns, or all if they are fewer."""
        if self._filled > self._n_columns:
            self._reduce()
        return self._rows[: self._filled]
