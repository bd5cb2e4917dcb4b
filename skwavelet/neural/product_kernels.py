"""Sums of products, and their derivatives, as the text of compiled loops.

What a pair of atoms adds to moments is made of some three hundred products for every channel. As
loops over tables they would spend their time on everything but products. So they are written out:
the text of a function is made from a table when it is compiled, and the rule of products makes the
text of its derivatives. Their number of channels is part of the text, as loops as short as that are
slow, unless the compiler knows their length.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np

from skwavelet._utils.compiled import compiled_as

# Numbers that processors multiply at once, at most.
LANES = 16

Variable = tuple[str, int]  # the letter, and the number of the row


def lanes(n_channels: int) -> tuple[int, ...]:
    """Return a tuple as long as channels / `LANES`, rounded up."""
    return tuple(range(math.ceil(n_channels / LANES)))


class Product(NamedTuple):
    """A term of a sum: factor * one * two is added to the result."""

    result: Variable
    one: Variable
    two: Variable
    factor: float = 1.0


class Table(NamedTuple):
    """Numbers of rows of variables and of their channels, and products.

    Each group of products becomes one loop over the channels.
    """

    n_rows: dict[str, int]
    n_channels: int
    groups: list[list[Product]]


def written_out(
    table: Callable[..., Table], variables: str, results: str, shared: str = ""
) -> Callable:
    """Return a function that adds sums of products to rows, for compiled functions and others.

    For a variable v, gv is the gradient by it, and dv and dgv are the changes of both, so that
    sums of products, gradients, changes and changes of gradients are all written like this.

    Parameters
    ----------
    table : callable
        What the products are, for one or more numbers.
    variables, results : str
        What is known, and what is added to, in their order.
    shared : str
        What is known and the same for all channels.

    Returns
    -------
    callable
        Of ``shape``, a tuple of tuples whose lengths are the numbers, a tuple of the shared
        variables (n,), the rows (n * n_channels,) of all other variables, one behind the other, and
        those of the results.
    """

    def function(shape: tuple, same: tuple, rows: np.ndarray, to: np.ndarray) -> None:
        sizes = tuple(len(part) for part in shape)
        _text(table, sizes, rows.dtype.name, variables, results, shared)(shape, same, rows, to)

    @compiled_as(function)
    def _(shape, same, rows, to):
        sizes = tuple(part.count for part in shape.types)
        return _text(table, sizes, rows.dtype.name, variables, results, shared)

    return function


@cache
def _text(
    table: Callable[..., Table],
    sizes: tuple[int, ...],
    dtype: str,
    variables: str,
    results: str,
    shared: str,
) -> Callable:
    """Return the function of `written_out`.

    All rows are in two arrays: of more, the compiler would not know whether they overlap, and go
    number by number.
    """
    n_rows, n_channels, groups = table(*sizes)

    def places(variables: str) -> dict[str, int]:
        names = [f"{kind}{row}" for kind in variables.split() for row in range(n_rows[kind[-1]])]
        return {name: place * n_channels for place, name in enumerate(names)}

    known = {
        f"{kind}{row}": f"same[{place}][{row}]"
        for place, kind in enumerate(shared.split())
        for row in range(n_rows[kind[-1]])
    }
    lines = ["def function(shape, same, rows, to):"]
    lines += [f"    {name} = {value}" for name, value in known.items()]
    inputs, outputs = places(variables), places(results)
    for products in groups:
        body = _Body(products, inputs, set(known))
        for kind in results.split():
            for row in range(n_rows[kind[-1]]):
                if body.terms(kind, row):
                    name = body.name((kind, row))
                    body.lines.append(f"to[{outputs[name]} + q] += {name}")
        lines += [f"    for q in range({n_channels}):", *(f"        {line}" for line in body.lines)]
    names: dict = {"F": np.dtype(dtype).type}
    exec("\n".join(lines), names)
    return names["function"]


class _Body:
    """Lines that compute numbers of a channel, and those that they need, one after the other."""

    def __init__(self, products: list[Product], inputs: dict[str, int], known: set[str]):
        self.products, self.inputs, self.known = products, inputs, known
        self.lines: list[str] = []

    def name(self, variable: Variable) -> str:
        """Return the name of a number, after lines that compute it."""
        kind, row = variable
        name = f"{kind}{row}"
        if name not in self.known:
            value = (
                f"rows[{self.inputs[name]} + q]" if name in self.inputs else self._sum(kind, row)
            )
            self.lines.append(f"{name} = {value}")
            self.known.add(name)
        return name

    def terms(self, kind: str, row: int) -> list[tuple[float, Variable, Variable]]:
        """Return the factors of the products whose sum a number is."""
        if kind.startswith("d"):
            return [
                (factor, *pair)
                for factor, (one, i), (two, j) in self.terms(kind[1:], row)
                for pair in (((f"d{one}", i), (two, j)), ((one, i), (f"d{two}", j)))
            ]
        if kind.startswith("g"):
            return [
                (factor, (f"g{result}", i), other)
                for (result, i), one, two, factor in self.products
                for own, other in ((one, two), (two, one))
                if own == (kind[1:], row)
            ]
        return [
            (factor, one, two)
            for result, one, two, factor in self.products
            if result == (kind, row)
        ]

    def _sum(self, kind: str, row: int) -> str:
        parts = []
        for factor, one, two in self.terms(kind, row):
            # The compiler takes products of factors and shared variables out of the loop.
            times = "" if factor == 1 else f"F({factor!r}) * "
            parts.append(f"({times}{self.name(two)}) * {self.name(one)}")
        return " + ".join(parts)
