"""Which maps a set of paths needs."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np

from skwavelet.representations.paths import ScatteringPaths


def resolve_centers(paths: ScatteringPaths, n_elements: int) -> ScatteringPaths:
    """Repeat paths beyond order zero for the atoms of every element 0, 1, ...

    Where there is one element only, they stay sums over all atoms.
    """
    if n_elements == 1:
        return paths
    repeats = np.where(paths.order > 0, n_elements, 1)
    centers = np.concatenate([np.arange(r) for r in repeats])
    repeated = paths.take(np.repeat(np.arange(len(paths)), repeats))
    return replace(repeated, center=np.where(repeated.order > 0, centers, -1))


@lru_cache(maxsize=32)
def distinct_maps(paths: ScatteringPaths) -> tuple[ScatteringPaths, np.ndarray]:
    """Return the paths whatever their centre, which are the maps, and the map of every path."""
    columns = {name: column for name, column in paths.columns.items() if name != "center"}
    maps, places = np.unique(np.column_stack(list(columns.values())), axis=0, return_inverse=True)
    everywhere = np.full(len(maps), -1)
    return ScatteringPaths(center=everywhere, **dict(zip(columns, maps.T, strict=True))), places
