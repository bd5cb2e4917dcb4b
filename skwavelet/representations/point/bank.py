"""The wavelets of point scattering."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, eq=False)
class Bank:
    """The wavelets and their scales; reaches (Å), one per scale, are where they end."""

    wavelets: tuple[tuple[int, int], ...]
    scales: tuple[float, ...]
    beta: float
    reaches: tuple[float, ...]
