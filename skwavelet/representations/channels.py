"""Density channels: what each of them weighs an atom by, for every element.

A channel c turns a structure into the density rho_c(u) = sum_k c(Z_k) delta(u - R_k), the
input of every representation here (section 2.2 of the dissertation).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from ase.data import atomic_numbers, chemical_symbols

NOBLE_GASES = (2, 10, 18, 36, 54, 86)

ChannelSpec = str | Sequence[str] | Mapping[str, Mapping[str, float] | Callable[[str], float]]


def valence_electrons(symbol: str) -> int:
    """Return the number of valence electrons of an element.

    Electrons outside the noble-gas core, without the filled f shell from group 3 on and
    without the filled d shell from group 13 on: 1 for Li, 4 for Si, 8 for Fe, 4 for Sn.

    Parameters
    ----------
    symbol : str
        Chemical symbol.

    Examples
    --------
    >>> [valence_electrons(s) for s in ("Li", "Si", "Fe", "Zn", "Sn", "Pb", "He")]
    [1, 4, 8, 12, 4, 4, 2]
    """
    number = atomic_numbers[symbol]
    core = max((z for z in NOBLE_GASES if z < number), default=0)
    outer = number - core
    if core >= 54 and outer > 16:  # a filled f shell, from Lu and Lr on
        outer -= 14
    if core >= 18 and outer > 12:  # a filled d shell, from Ga, In, Tl and Nh on
        outer -= 10
    return outer


NAMED_CHANNELS: dict[str, Callable[[str], float]] = {
    "valence": valence_electrons,
    "ionic": lambda symbol: atomic_numbers[symbol] - valence_electrons(symbol),
    "kinetic": lambda symbol: float(np.sqrt(atomic_numbers[symbol])),
    "number": lambda symbol: 1.0,
    "charge": lambda symbol: float(atomic_numbers[symbol]),
}


def channel_weights(channels: ChannelSpec, elements: Sequence[int]) -> pd.DataFrame:
    """Return the weight of every element in every channel.

    Parameters
    ----------
    channels : "auto", sequence of str, or mapping
        ``"auto"``: one channel per element (its atomic number Z, and 0 for the others), then
        ``valence`` (valence electrons), ``ionic`` (Z minus valence) and ``kinetic`` (sqrt Z).
        A sequence names channels: those three, ``number`` (1), ``charge`` (Z), ``elements``
        (one channel per element) or a chemical symbol. A mapping gives each channel
        ``{symbol: weight}`` (0 for elements left out) or a function of the chemical symbol.
    elements : sequence of int
        Atomic numbers that occur.

    Returns
    -------
    DataFrame of shape (n_elements, n_channels)
        Float weights; chemical symbols as index, channel names as columns.

    Raises
    ------
    ValueError
        If a channel is unknown, a weight is not finite, or a channel of a mapping weighs every
        element by zero. (Named channels may: ``ionic`` for hydrogen alone.)

    Examples
    --------
    >>> channel_weights("auto", [3, 14]).round(2)
         Li    Si  valence  ionic  kinetic
    Li  3.0   0.0      1.0    2.0     1.73
    Si  0.0  14.0      4.0   10.0     3.74
    """
    symbols = [chemical_symbols[z] for z in elements]
    if isinstance(channels, str):
        channels = ["elements", "valence", "ionic", "kinetic"] if channels == "auto" else [channels]
    table: dict[str, list[float]] = {}
    if isinstance(channels, Mapping):
        for name, weigh in channels.items():
            table[str(name)] = [_weight(name, weigh, symbol) for symbol in symbols]
    else:
        names = [name for spec in channels for name in (symbols if spec == "elements" else [spec])]
        for name in names:
            if name in NAMED_CHANNELS:
                table[name] = [float(NAMED_CHANNELS[name](symbol)) for symbol in symbols]
            elif name in atomic_numbers:
                table[name] = [atomic_numbers[name] * float(name == symbol) for symbol in symbols]
            else:
                raise ValueError(
                    f"Unknown channel {name!r}; use {', '.join(NAMED_CHANNELS)}, 'elements', a "
                    "chemical symbol, or a mapping {name: {symbol: weight}}."
                )
    if not table:
        raise ValueError("channels is empty; name at least one, or use channels='auto'.")
    weights = pd.DataFrame(table, index=symbols, dtype=np.float64)
    for name, column in weights.items():
        if not np.isfinite(column).all():
            raise ValueError(f"Channel {name!r} has a NaN or infinite weight; repair it.")
        if not column.any() and isinstance(channels, Mapping):
            raise ValueError(
                f"Channel {name!r} weighs every element of X ({', '.join(symbols)}) by zero; "
                "remove it or give it a weight."
            )
    return weights


def _weight(name: str, weigh: Mapping[str, float] | Callable[[str], float], symbol: str) -> float:
    try:
        return float(weigh(symbol) if callable(weigh) else weigh.get(symbol, 0.0))
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(
            f"Channel {name!r} gives no number for {symbol}; it must be {{symbol: weight}} or a "
            "function of the chemical symbol."
        ) from error
