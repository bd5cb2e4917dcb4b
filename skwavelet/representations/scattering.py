"""What the wavelet scattering representations share: parameters, resolution, paths."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import product
from math import floor, log, log2, sqrt
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from skwavelet._utils.validation import Interval, StrOptions
from skwavelet.representations.base import StructureTransformer
from skwavelet.representations.paths import ScatteringPaths
from skwavelet.structures.checks import Structure


class ScatteringTransformer(StructureTransformer):
    """Base of ``VoxelScattering`` and ``PointScattering``.

    Subclasses have the parameters that are constrained here.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "n": [Interval(Integral, 1, None, closed="left"), "array-like"],
        "max_l": [Interval(Integral, 0, None, closed="left")],
        "channels": [str, "array-like", dict],
        "elements": [None, "array-like"],
        "order": [Interval(Integral, 0, 2, closed="both")],
        "powers": ["array-like"],
        "beta": [None, Interval(Real, 0, None, closed="neither")],
        "n_scales": [None, Interval(Integral, 1, None, closed="left")],
        "scale_step": [Interval(Real, 0, None, closed="neither")],
        "min_scale_step": [Interval(Real, None, None, closed="neither")],
        "overlap": [Interval(Real, 0, 1, closed="neither")],
        "pairs": [StrOptions({"all", "increasing"})],
        "normalize": [None, StrOptions({"atoms", "lower_order"})],
        "smoothing": [Interval(Real, 0, 1, closed="neither")],
        "dtype": [StrOptions({"float32", "float64"})],
        "n_jobs": [None, Integral],
        "verbose": ["verbose"],
    }

    def _learn_scales(self, structures: list[Structure], distance: float) -> tuple[float, ...]:
        """Learn ``beta_`` from a distance between neighbours (Å), then ``n_scales_``."""
        if self.order == 0 and not np.isfinite(distance):
            distance = 1.0  # Isolated atoms. There are no maps: any width serves.
        self.beta_ = float(self.beta or learn_beta(distance, self.overlap))
        self.n_scales_ = self._learn_n_scales(structures)
        return tuple(self.scale_step * k for k in range(self.n_scales_))

    def _learn_n_scales(self, structures: list[Structure]) -> int:
        fitting = learn_n_scales(structures, self.beta_, self.scale_step)
        if self.n_scales is None:
            return fitting
        if self.n_scales > fitting and any(s.pbc.any() for s in structures):
            warnings.warn(
                f"n_scales={self.n_scales}, but only {fitting} fit the smallest cell of X: the "
                "wider wavelets describe the box rather than the structure and do not carry over "
                "to other cells.",
                UserWarning,
                stacklevel=5,
            )
        return self.n_scales

    def _paths(
        self, wavelets: tuple[tuple[int, int], ...], scales: tuple[float, ...]
    ) -> ScatteringPaths:
        """Return all paths of the parameters, see ``scattering_paths``."""
        return scattering_paths(
            self.channels_.shape[1],
            wavelets,
            scales,
            order=self.order,
            min_scale_step=self.min_scale_step,
            increasing=self.pairs == "increasing",
        )

    def _wavelets(self) -> tuple[tuple[int, int], ...]:
        return wavelet_orders(self.n, self.max_l)


def wavelet_orders(n: int | Sequence[int], max_l: int) -> tuple[tuple[int, int], ...]:
    """Return all (n, l) of some radial orders with l < n and l <= max_l."""
    orders = np.unique(np.asarray(n))
    if not np.issubdtype(orders.dtype, np.integer) or not len(orders) or orders[0] < 1:
        raise ValueError(f"n must be a positive integer or several, not {n!r}.")
    return tuple((int(order), l) for order in orders for l in range(min(order, max_l + 1)))


def learn_beta(min_distance: float, overlap: float) -> float:
    """Return the width (Å) at which Gaussians of nearest atoms overlap by ``overlap``.

    exp(-(Delta/2)^2 / (2 beta^2)) = overlap, with Delta the smallest interatomic distance (2.37).
    """
    if not np.isfinite(min_distance):
        raise ValueError(
            "No structure has two atoms to learn the wavelet width from; set beta (Å) by hand."
        )
    return min_distance / 2 / sqrt(2 * log(1 / overlap))


def learn_n_scales(structures: Sequence[Structure], beta: float, scale_step: float) -> int:
    """Return the number of scales whose wavelets fit the smallest structure.

    The two-sigma rule 2 beta 2^J = B_e gives J = floor(log2(B_e / (2 beta))), at least 0, with B_e
    half the smallest perpendicular height of the periodic cells, or half the largest extent of the
    atoms where nothing is periodic. A wider wavelet would see the box rather than the structure.
    """
    heights = [s.heights[s.pbc].min() for s in structures if s.pbc.any()]
    if heights:
        extent = min(heights) / 2
    else:
        extent = max(np.ptp(s.positions, axis=0).max() for s in structures) / 2
    largest = max(0, floor(log2(max(extent, 1e-9) / (2 * beta))))
    return floor(largest / scale_step) + 1


def scattering_paths(
    n_channels: int,
    wavelets: Sequence[tuple[int, int]],
    scales: Sequence[float],
    *,
    order: int,
    min_scale_step: float,
    increasing: bool,
) -> ScatteringPaths:
    """Return all paths of a feature set over all atoms, up to a scattering order.

    They are sorted by order, channel, wavelets (n, l) and scales. Those of second order have
    j2 - j1 >= min_scale_step and, if ``increasing``, (n2, l2) > (n1, l1).
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
    order_column, channel, *places_of = np.array(paths).T
    everywhere = np.full(len(paths), -1)
    return ScatteringPaths(order_column, channel, everywhere, *places_of)


def path_table(
    paths: ScatteringPaths,
    channels: Sequence[str],
    wavelets: Sequence[tuple[int, int]],
    scales: Sequence[float],
    powers: Sequence[float],
) -> pd.DataFrame:
    """Return the readable form of paths times powers, one row per feature."""
    rows = paths.take(np.repeat(np.arange(len(paths)), len(powers)))
    table = pd.DataFrame({"channel": np.asarray(channels, dtype=object)[rows.channel]})
    table["order"] = rows.order
    integer = all(float(j).is_integer() for j in scales)
    layers = ((rows.wavelet1, rows.scale1), (rows.wavelet2, rows.scale2))
    for layer, (wavelet, scale) in enumerate(layers, start=1):
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
