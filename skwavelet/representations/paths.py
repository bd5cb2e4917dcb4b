"""Which sums a representation takes: one path each, in a table of named columns."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Self

import numpy as np


@dataclass(frozen=True, eq=False)
class Paths:
    """A table of paths, one per sum; every path times every power is a feature.

    Columns are integer arrays of shape (n_paths,), places in the lists of channels, elements (whose
    atoms, the centers, are summed over) and whatever a subclass adds; -1 where a path has none,
    which for the center is all atoms. Paths of order zero depend on the composition alone. Tables
    are equal if their columns are, so that plans are kept per table.
    """

    order: np.ndarray
    channel: np.ndarray
    center: np.ndarray

    def __len__(self) -> int:
        return len(self.order)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self._content == other._content

    def __hash__(self) -> int:
        return hash(self._content)

    def __getstate__(self) -> dict[str, Any]:
        return self.columns

    @property
    def columns(self) -> dict[str, np.ndarray]:
        """The columns by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @cached_property
    def _content(self) -> bytes:
        return b"".join(column.tobytes() for column in self.columns.values())

    @cached_property
    def lower(self) -> np.ndarray:
        """The path an order lower, of shape (n_paths,); -1 where there is none."""
        return np.full(len(self), -1)

    def take(self, rows: Any) -> Self:
        """Return some of the paths."""
        return type(self)(**{name: column[rows] for name, column in self.columns.items()})


@dataclass(frozen=True, eq=False)
class ScatteringPaths(Paths):
    """The paths of wavelet scattering: wavelet (n, l) and scale j of both layers."""

    wavelet1: np.ndarray
    scale1: np.ndarray
    wavelet2: np.ndarray
    scale2: np.ndarray

    @cached_property
    def lower(self) -> np.ndarray:
        """The path an order lower, of shape (n_paths,); -1 where there is none."""
        first = zip(self.channel, self.wavelet1, self.scale1, self.center, strict=True)
        keys = [
            (channel,) if order == 0 else (channel, *place)
            for order, (channel, *place) in zip(self.order, first, strict=True)
        ]
        below = [{}, *({keys[i]: i for i in np.flatnonzero(self.order == k)} for k in (0, 1))]
        return np.array(
            [
                below[order].get(key[:1] if order == 1 else key, -1)
                for order, key in zip(self.order, keys, strict=True)
            ]
        )
