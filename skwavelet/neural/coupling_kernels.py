"""Compiled products of moments, harmonics and filters of blocks of pairs, and their derivatives.

These are the products of `skwavelet.neural.couplings`, some three hundred for each pair and
channel. As loops over tables they would spend their time on everything but products. So each
function here is one loop over the numbers of rows, in which all products are written out: the text
of its body is made when it is compiled, for the number of degrees, which is the length of the tuple
``degrees``. Rows of all variables are one behind the other, (n * ROW,).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache

import numpy as np

from skwavelet._utils.compiled import compiled_as
from skwavelet.neural.couplings import Couplings

ROW = 128  # numbers in a row: of all channels of some pairs


@cache
def _written_out(n_degrees: int, dtype: str, inputs: str, sums: str, outputs: str) -> Callable:
    """Return a function of ``degrees``, ``inputs`` and ``outputs``.

    Numbers of the rows of a variable v are v0, v1, ..., gradients by them gv0, gv1, ..., and the
    changes of both dv0, dgv0 and so on. ``sums`` are those of products of two variables; the change
    of a product is that of both factors. There is a loop for each degree of moments, and all rows
    are in two arrays: of more, the compiler would not know whether they overlap, and go number by
    number. Gradients by y, to which all loops contribute, are added.
    """
    couplings = Couplings(n_degrees)

    def places(variables: str, degree: int) -> Iterator[tuple[str, str]]:
        first = 0
        for name in variables.split():
            for row in couplings.rows(degree, name[-1]):
                yield f"{name}{row}", f"[{(first + row) * ROW} + q]"
            first += couplings.n_rows[name[-1]]

    lines = ["def function(degrees, inputs, outputs):"]
    for degree in range(n_degrees):
        body = [f"{name} = inputs{place}" for name, place in places(inputs, degree)]
        for sum_of_products in sums.split(","):
            result, left, right = sum_of_products.split()
            terms = dict[int, list[str]]()
            variables = result[-1], left[-1], right[-1]
            for row, one, two, c in couplings.entries(degree, *variables):
                x, y = f"{left}{one}", f"{right}{two}"
                term = f"(d{x} * {y} + {x} * d{y})" if result.startswith("d") else f"({x} * {y})"
                terms.setdefault(row, []).append(term if c == 1 else f"F({c!r}) * {term}")
            body += [f"{result}{row} = {' + '.join(parts)}" for row, parts in terms.items()]
        body += [
            f"outputs{place} {'+=' if name.startswith('gy') else '='} {name}"
            for name, place in places(outputs, degree)
        ]
        lines += [f"    for q in range({ROW}):", *(f"        {line}" for line in body)]
    names: dict = {"F": np.dtype(dtype).type}
    exec("\n".join(lines), names)
    return names["function"]


_VALUES = "y h t", "x t h, b y x", "b"
_GRADIENTS = "y h t gb", "x t h, gy gb x, gx gb y, gt gx h, gh gx t", "gy gh gt"
_TANGENTS = "y h t dy dh dt", "x t h, dx t h, db y x", "db"
_SECOND = (
    "y h t dy dh dt gb dgb",
    "gx gb y, dgx gb y, gt gx h, dgt gx h, dgh gx t",
    "dgh gt dgt",
)


def couple(degrees, inputs, outputs):
    """Write b for y, h and t."""
    _written_out(len(degrees), inputs.dtype.name, *_VALUES)(degrees, inputs, outputs)


@compiled_as(couple)
def _couple(degrees, inputs, outputs):
    return _written_out(degrees.count, inputs.dtype.name, *_VALUES)


def couple_gradients(degrees, inputs, outputs):
    """Write the gradients by y, h and t, for y, h, t and the gradient by b."""
    _written_out(len(degrees), inputs.dtype.name, *_GRADIENTS)(degrees, inputs, outputs)


@compiled_as(couple_gradients)
def _couple_gradients(degrees, inputs, outputs):
    return _written_out(degrees.count, inputs.dtype.name, *_GRADIENTS)


def couple_tangents(degrees, inputs, outputs):
    """Write the change of b, for y, h, t and their changes."""
    _written_out(len(degrees), inputs.dtype.name, *_TANGENTS)(degrees, inputs, outputs)


@compiled_as(couple_tangents)
def _couple_tangents(degrees, inputs, outputs):
    return _written_out(degrees.count, inputs.dtype.name, *_TANGENTS)


def couple_second(degrees, inputs, outputs):
    """Write the change of the gradient by h, the gradient by t and its change.

    They are those for y, h, t and their changes, and the gradient by b and its change.
    """
    _written_out(len(degrees), inputs.dtype.name, *_SECOND)(degrees, inputs, outputs)


@compiled_as(couple_second)
def _couple_second(degrees, inputs, outputs):
    return _written_out(degrees.count, inputs.dtype.name, *_SECOND)
