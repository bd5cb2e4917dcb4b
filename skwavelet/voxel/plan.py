"""Which maps a set of features needs, in the order in which the cascade computes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd


@dataclass(frozen=True, eq=False)
class FirstNode:
    """First-order maps sigma(rho_c * psi) of one wavelet (n, l), for several channels.

    Attributes
    ----------
    wavelet : int
        Place of (n, l) in the list of wavelets.
    channels : ndarray of shape (C,)
        Channels that are needed, as features or as parents.
    paths : ndarray of shape (C,)
        Row of the table of paths, -1 where the map is only a parent.
    rows : slice
        Where these maps stand among the parents of the scale.
    """

    wavelet: int
    channels: np.ndarray
    paths: np.ndarray
    rows: slice


@dataclass(frozen=True, eq=False)
class SecondNode:
    """Second-order maps sigma(parent * psi) of one wavelet and scale, for several parents.

    Attributes
    ----------
    wavelet, scale : int
        Places of (n2, l2) and j2 in their lists.
    rows : ndarray of shape (B,)
        Parents.
    paths : ndarray of shape (B,)
        Rows of the table of paths.
    """

    wavelet: int
    scale: int
    rows: np.ndarray
    paths: np.ndarray

    @property
    def all_rows(self) -> bool:
        """Whether the parents are consecutive from the first on, so that no copy is needed."""
        return bool((self.rows == np.arange(len(self.rows))).all())


@dataclass(frozen=True, eq=False)
class ScaleNode:
    """Everything that follows from the first-order maps of one scale."""

    scale: int
    first: tuple[FirstNode, ...]
    second: tuple[SecondNode, ...]

    @property
    def n_parents(self) -> int:
        """Number of first-order maps."""
        return self.first[-1].rows.stop


def make_plan(paths: np.ndarray, channels: Sequence[int]) -> tuple[ScaleNode, ...]:
    """Arrange paths into the cascade's nodes.

    Parameters
    ----------
    paths : ndarray of shape (n_paths, 6)
        Columns order, channel, wavelet 1, scale 1, wavelet 2, scale 2 as places in their lists;
        -1 where the order has none.
    channels : sequence of int
        Channels to compute; the paths of others are left out.

    Returns
    -------
    tuple of ScaleNode
        One per first scale, in increasing order.
    """
    wanted = np.isin(paths[:, 1], channels)
    index = {tuple(path[1:4]): i for i, path in enumerate(paths) if path[0] == 1}
    scales = []
    for scale in np.unique(paths[wanted & (paths[:, 0] > 0), 3]):
        here = wanted & (paths[:, 0] > 0) & (paths[:, 3] == scale)
        first, parent_rows, start = [], {}, 0
        for wavelet in np.unique(paths[here, 2]):
            needed = np.unique(paths[here & (paths[:, 2] == wavelet), 1])
            outputs = [index.get((channel, wavelet, scale), -1) for channel in needed]
            rows = slice(start, start + len(needed))
            first.append(FirstNode(int(wavelet), needed, np.array(outputs), rows))
            parent_rows |= {(channel, wavelet): start + i for i, channel in enumerate(needed)}
            start = rows.stop
        children = np.flatnonzero(here & (paths[:, 0] == 2))
        second = []
        for wavelet, child_scale in np.unique(paths[children][:, 4:6], axis=0):
            chosen = children[(paths[children, 4:6] == (wavelet, child_scale)).all(axis=1)]
            rows = np.array([parent_rows[paths[i, 1], paths[i, 2]] for i in chosen])
            order = np.argsort(rows)
            second.append(SecondNode(int(wavelet), int(child_scale), rows[order], chosen[order]))
        scales.append(ScaleNode(int(scale), tuple(first), tuple(second)))
    return tuple(scales)


def scattering_paths(
    n_channels: int,
    wavelets: Sequence[tuple[int, int]],
    scales: Sequence[float],
    *,
    order: int,
    min_scale_step: float,
    increasing: bool,
) -> np.ndarray:
    """Return all paths of a feature set, in the form that ``make_plan`` takes.

    Parameters
    ----------
    n_channels : int
    wavelets : sequence of (n, l)
        In increasing order.
    scales : sequence of float
    order : {0, 1, 2}
        Highest scattering order.
    min_scale_step : float
        Second-order paths have j2 - j1 >= min_scale_step.
    increasing : bool
        Whether second-order paths have (n2, l2) > (n1, l1) only.

    Returns
    -------
    ndarray of shape (n_paths, 6)
        By order, then channel, then wavelets and scales.
    """
    channels, places = range(n_channels), (range(len(wavelets)), range(len(scales)))
    paths = [(0, c, -1, -1, -1, -1) for c in channels]
    if order >= 1:
        paths += [(1, c, w, j, -1, -1) for c, w, j in product(channels, *places)]
    if order == 2:
        paths += [
            (2, c, w1, j1, w2, j2)
            for c, w1, j1, w2, j2 in product(channels, *places, *places)
            if scales[j2] - scales[j1] >= min_scale_step - 1e-9 and (w2 > w1 or not increasing)
        ]
    return np.array(paths)


def path_table(
    paths: np.ndarray,
    channels: Sequence[str],
    wavelets: Sequence[tuple[int, int]],
    scales: Sequence[float],
    powers: Sequence[float],
) -> pd.DataFrame:
    """Return the readable form of paths times powers, one row per feature."""
    rows = np.repeat(paths, len(powers), axis=0)
    table = pd.DataFrame({"channel": np.asarray(channels, dtype=object)[rows[:, 1]]})
    table["order"] = rows[:, 0]
    integer = all(float(j).is_integer() for j in scales)
    for layer, (wavelet, scale) in enumerate((rows[:, 2:4].T, rows[:, 4:6].T), start=1):
        missing = wavelet < 0
        columns = {
            "n": np.array([n for n, _ in wavelets])[wavelet],
            "l": np.array([l for _, l in wavelets])[wavelet],
            "j": np.array(scales)[scale],
        }
        for name, values in columns.items():
            kind = "Int64" if integer or name != "j" else "Float64"
            table[f"{name}{layer}"] = pd.array(values, dtype=kind)
            table.loc[missing, f"{name}{layer}"] = pd.NA
    table["q"] = np.tile(np.array(powers), len(paths))
    return table
