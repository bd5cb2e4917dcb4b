"""Which maps a set of features needs, in the order in which the cascade computes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np


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

    def split(self, size: int) -> Iterator[ScaleNode]:
        """Yield the same work in pieces of at most ``size`` first-order maps of one wavelet."""
        if size >= self.n_parents:
            yield self
            return
        for node in self.first:
            for start in range(0, len(node.channels), size):
                part = slice(start, min(start + size, len(node.channels)))
                count, offset = part.stop - start, node.rows.start + start
                first = FirstNode(
                    node.wavelet, node.channels[part], node.paths[part], slice(0, count)
                )
                second = []
                for child in self.second:
                    mine = (child.rows >= offset) & (child.rows < offset + count)
                    if mine.any():
                        rows, paths = child.rows[mine] - offset, child.paths[mine]
                        second.append(SecondNode(child.wavelet, child.scale, rows, paths))
                yield ScaleNode(self.scale, (first,), tuple(second))


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
        first, start = [], 0
        parent_rows: dict[tuple[int, int], int] = {}
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
            parents = np.array([parent_rows[paths[i, 1], paths[i, 2]] for i in chosen])
            order = np.argsort(parents)
            second.append(SecondNode(int(wavelet), int(child_scale), parents[order], chosen[order]))
        scales.append(ScaleNode(int(scale), tuple(first), tuple(second)))
    return tuple(scales)
