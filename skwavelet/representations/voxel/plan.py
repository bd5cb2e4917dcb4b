"""Which maps a set of features needs, in the order in which the cascade computes them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from skwavelet.representations.paths import ScatteringPaths


@dataclass(frozen=True, eq=False)
class FirstNode:
    """First-order maps sigma(rho_c * psi) of one wavelet (n, l), for several channels.

    ``channels`` (C,) are those that are needed, as features or as parents; ``paths`` (C,) their
    rows of the table of paths, -1 where a map is only a parent; ``rows`` where these maps stand
    among the parents of the scale.
    """

    wavelet: int
    channels: np.ndarray
    paths: np.ndarray
    rows: slice


@dataclass(frozen=True, eq=False)
class SecondNode:
    """Second-order maps sigma(parent * psi) of one wavelet and scale, for several parents.

    The parents are ``rows`` (B,), and ``paths`` (B,) their rows of the table of paths.
    """

    wavelet: int
    scale: int
    rows: np.ndarray
    paths: np.ndarray

    @cached_property
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


@lru_cache(maxsize=32)
def make_plan(paths: ScatteringPaths, channels: tuple[int, ...]) -> tuple[ScaleNode, ...]:
    """Arrange paths of some channels into nodes, one per first scale, in increasing order."""
    wanted = np.isin(paths.channel, channels) & (paths.order > 0)
    firsts = zip(paths.channel, paths.wavelet1, paths.scale1, strict=True)
    index = {key: i for i, key in enumerate(firsts) if paths.order[i] == 1}
    scales = []
    for scale in np.unique(paths.scale1[wanted]):
        here = wanted & (paths.scale1 == scale)
        first, start = [], 0
        parent_rows: dict[tuple[int, int], int] = {}
        for wavelet in np.unique(paths.wavelet1[here]):
            needed = np.unique(paths.channel[here & (paths.wavelet1 == wavelet)])
            outputs = [index.get((channel, wavelet, scale), -1) for channel in needed]
            rows = slice(start, start + len(needed))
            first.append(FirstNode(int(wavelet), needed, np.array(outputs), rows))
            parent_rows |= {(channel, wavelet): start + i for i, channel in enumerate(needed)}
            start = rows.stop
        children = np.flatnonzero(here & (paths.order == 2))
        seconds = np.column_stack([paths.wavelet2, paths.scale2])[children]
        second = []
        for wavelet, child_scale in np.unique(seconds, axis=0):
            chosen = children[(seconds == (wavelet, child_scale)).all(axis=1)]
            parents = np.array([parent_rows[paths.channel[i], paths.wavelet1[i]] for i in chosen])
            order = np.argsort(parents)
            second.append(SecondNode(int(wavelet), int(child_scale), parents[order], chosen[order]))
        scales.append(ScaleNode(int(scale), tuple(first), tuple(second)))
    return tuple(scales)
