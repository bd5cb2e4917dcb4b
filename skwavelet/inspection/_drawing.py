"""What all displays do on matplotlib's axes, imported when the first is drawn."""

from __future__ import annotations

from typing import Any

import numpy as np


class Display:
    """Base of the displays: finds the axes to draw on."""

    ax_: Any
    figure_: Any

    def _take_axes(self, ax: Any) -> Any:
        """Set ``ax_`` and ``figure_``, making new ones where there are none."""
        try:
            from matplotlib import pyplot as plt
        except ImportError as error:
            raise ImportError('Figures need matplotlib: pip install "skwavelet[plot]".') from error
        if ax is None:
            _, ax = plt.subplots(layout="constrained")
        self.ax_, self.figure_ = ax, ax.figure
        return ax


def in_small_units(unit: str) -> tuple[float, str]:
    """Return what to multiply errors by for display, and their unit: meV for eV."""
    return (1000.0, f"m{unit}") if unit.startswith("eV") else (1.0, unit)


def draw_band(ax: Any, x: np.ndarray, curves: np.ndarray, **kwargs: Any) -> Any:
    """Draw the mean of curves (n_curves, n_points), and a band of one standard deviation."""
    mean = curves.mean(axis=0)
    (line,) = ax.plot(x, mean, **kwargs)
    if len(curves) > 1:
        std = curves.std(axis=0)
        ax.fill_between(x, mean - std, mean + std, color=line.get_color(), alpha=0.2, lw=0)
    return line


def as_curves(values: Any, n_points: int, name: str) -> np.ndarray:
    """Return one curve (n_points,) or several (n_curves, n_points) as a finite 2-D array."""
    curves = np.atleast_2d(np.asarray(values, dtype=np.float64))
    if curves.ndim != 2 or curves.shape[1] != n_points or not len(curves):
        raise ValueError(
            f"{name} must have shape ({n_points},), or (n_models, {n_points}) for an ensemble; "
            f"got {np.shape(values)}."
        )
    if not np.isfinite(curves).all():
        raise ValueError(f"{name} must be finite.")
    return curves
