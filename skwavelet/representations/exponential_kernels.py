"""Compiled exponentials: with those of libraries, loops would not be vectorized."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from skwavelet._utils.compiled import compiled_part

# exp(-t) is computed up to this t, where it is the smallest normal number of single precision.
LAST_EXPONENT = 87


class Exponential(NamedTuple):
    """What exponentials of one precision are made of, see `exponential`.

    Attributes
    ----------
    logarithms : ndarray of shape (3,)
        1 / ln 2, and ln 2 as a sum of two: the first of so few digits that its products with whole
        numbers are exact.
    series : ndarray of shape (4 n + 3,)
        A polynomial for the exponential from -ln(2) / 2 to ln(2) / 2, highest power first.
    fields : ndarray of int of shape (2,)
        Offset of the exponent in a float's bits, and number of bits below it; integers have the
        size of the floats.
    """

    logarithms: np.ndarray
    series: np.ndarray
    fields: np.ndarray


def exponential(dtype: str) -> Exponential:
    """Return the tables for float32 or float64, of exponentials exact to a few last digits."""
    bits = np.finfo(dtype).nmant
    degree, size = (10, "int64") if dtype == "float64" else (6, "int32")
    domain = [-np.log(2) / 2, np.log(2) / 2]
    interpolant = np.polynomial.Chebyshev.interpolate(np.exp, degree, domain)
    series = interpolant.convert(kind=np.polynomial.Polynomial, domain=[-1, 1]).coef
    high = np.round(np.log(2) * 2 ** (bits - 11)) / 2 ** (bits - 11)
    low = float(np.log(np.longdouble(2)) - high)
    return Exponential(
        np.array([1 / np.log(2), high, low], dtype),
        series[::-1].astype(dtype),
        np.array([1 - np.finfo(dtype).minexp, bits], size),
    )


@compiled_part
def fill_exponentials(t, n, tables, rest, bits, values):
    """Write exp(-t) = 2^-w exp(w ln 2 - t) of the first n numbers, from 0 to ``LAST_EXPONENT``.

    Loops are short and many, because only innermost loops are vectorized, and because ln 2 would be
    put together again within one. ``rest``, like t, and ``bits``, of the dtype of
    ``tables.fields``, are scratch.
    """
    cast, whole = t.dtype.type, bits.dtype.type
    half, per_unit = cast(0.5), tables.logarithms[0]
    high, low = tables.logarithms[1], tables.logarithms[2]
    series = tables.series
    leading, second, third = series[0], series[1], series[2]
    offset, below = tables.fields[0], tables.fields[1]
    powers = bits.view(t.dtype)
    for k in range(n):
        units = np.floor(t[k] * per_unit + half)
        rest[k] = units * high - t[k]
        bits[k] = whole(units)
    for k in range(n):
        x = rest[k] + cast(bits[k]) * low
        rest[k] = x
        values[k] = (leading * x + second) * x + third
    for quarter in range(len(series) // 4):
        p = 4 * quarter
        a, b, c, d = series[p + 3], series[p + 4], series[p + 5], series[p + 6]
        for k in range(n):
            x = rest[k]
            values[k] = (((values[k] * x + a) * x + b) * x + c) * x + d
    for k in range(n):
        bits[k] = (offset - bits[k]) << below
    for k in range(n):
        values[k] *= powers[k]
