"""Which maps a set of paths needs, arranged in steps of one scale and one matrix product."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from skwavelet.representations.paths import ScatteringPaths


@dataclass(frozen=True, eq=False)
class Step:
    """The moduli of several wavelets of one scale acting on several inputs.

    The products of all ``wavelets`` with the first ``n_inputs`` inputs are computed together;
    ``entries`` are those that are needed.

    Attributes
    ----------
    scale : int
        Place in the list of scales.
    wavelets : tuple of int
        Places in the list of wavelets.
    n_inputs : int
    entries : ndarray of shape (M,)
        Places of the needed moduli in the raveled (wavelets, inputs).
    paths : ndarray of shape (M,)
        Maps (paths whatever their centre), -1 for none.
    columns : ndarray of shape (M,)
        Where the modulus stands among the inputs of the second layer, -1 for nowhere.
    """

    scale: int
    wavelets: tuple[int, ...]
    n_inputs: int
    entries: np.ndarray
    paths: np.ndarray
    columns: np.ndarray

    @property
    def complete(self) -> bool:
        """Whether every product is needed, in order."""
        return len(self.entries) == len(self.wavelets) * self.n_inputs


@dataclass(frozen=True, eq=False)
class Plan:
    """Both layers.

    Attributes
    ----------
    first, second : tuple of Step
    inputs : ndarray of shape (n_inputs, 3)
        Channel, wavelet and scale of the first-order moduli that enter the second layer, by
        increasing scale.
    n_maps : int
        Paths whatever their centre, of order zero too.
    """

    first: tuple[Step, ...]
    second: tuple[Step, ...]
    inputs: np.ndarray
    n_maps: int


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
def make_plan(paths: ScatteringPaths) -> tuple[Plan, np.ndarray]:
    """Arrange paths into steps.

    Returns the plan and the map (a path whatever its centre) of every path.
    """
    columns = {name: column for name, column in paths.columns.items() if name != "center"}
    maps, places = np.unique(np.column_stack(list(columns.values())), axis=0, return_inverse=True)
    everywhere = np.full(len(maps), -1)
    named = dict(zip(columns, maps.T, strict=True))
    return _plan_maps(ScatteringPaths(center=everywhere, **named)), places


def _plan_maps(paths: ScatteringPaths) -> Plan:
    first, second = (np.flatnonzero(paths.order == order) for order in (1, 2))
    places = np.column_stack([paths.scale1, paths.wavelet1, paths.channel])
    inputs = np.unique(places[second], axis=0)
    column = {tuple(key): i for i, key in enumerate(inputs.tolist())}
    output = {tuple(places[i].tolist()): i for i in first}
    keys = np.array(sorted({*column, *output}), dtype=int).reshape(-1, 3)
    first_steps = [
        _step(
            scale,
            wavelets=here[:, 1],
            inputs=here[:, 2],
            paths=[output.get(tuple(key), -1) for key in here.tolist()],
            columns=[column.get(tuple(key), -1) for key in here.tolist()],
        )
        for scale in np.unique(keys[:, 0])
        for here in [keys[keys[:, 0] == scale]]
    ]
    second_steps = []
    for scale in np.unique(paths.scale2[second]):
        rows = second[paths.scale2[second] == scale]
        parents = [column[tuple(key)] for key in places[rows].tolist()]
        unused = np.full(len(rows), -1)
        second_steps.append(_step(scale, paths.wavelet2[rows], parents, rows, unused))
    return Plan(tuple(first_steps), tuple(second_steps), inputs[:, ::-1], len(paths))


def _step(scale, wavelets, inputs, paths, columns) -> Step:
    distinct, place = np.unique(wavelets, return_inverse=True)
    n_inputs = int(np.max(inputs)) + 1
    entries = place * n_inputs + np.asarray(inputs)
    order = np.argsort(entries)
    return Step(
        int(scale),
        tuple(distinct.tolist()),
        n_inputs,
        entries[order],
        np.asarray(paths)[order],
        np.asarray(columns)[order],
    )
