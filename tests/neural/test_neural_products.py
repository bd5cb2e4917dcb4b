"""Sums of products that are written out, and their derivatives."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="the networks need torch")

import torch

from skwavelet._utils.compiled import compiled
from skwavelet.neural import invariant_kernels, moment_kernels
from skwavelet.neural.couplings import Couplings
from skwavelet.neural.product_kernels import LANES, Product, Table, written_out

SHARED = "y"


def small(n):
    """Two groups: squares, and products of products with factors, of which two are the same."""
    three = Product(("c", 0), ("b", 0), ("a", 1), -0.5)
    return Table(
        {"a": n, "y": 2, "c": 2},
        3,
        [
            [Product(("c", 1), ("a", 0), ("a", 0)), Product(("c", 1), ("a", 1), ("y", 1), 3.0)],
            [Product(("b", 0), ("a", 0), ("a", 1)), three, three],
        ],
    )


TABLES = {
    "small": (small, (2,), "a", "c"),
    "of features": (moment_kernels._table, (4, 1, 2), "h t", "b"),
    "of moments": (moment_kernels._table, (3, 3, 1), "h t", "b"),
    "of one atom": (invariant_kernels._table, (4, 1), "p l", "z"),
}


def sums(table, values, result):
    """Return the rows of a result, from products one by one."""
    found = dict[tuple[str, int], object]()
    for product in (product for group in table.groups for product in group):
        one, two = (
            values[kind][row] if kind in values else found[kind, row]
            for kind, row in (product.one, product.two)
        )
        found[product.result] = found.get(product.result, 0) + product.factor * one * two
    nothing = torch.zeros(table.n_channels, dtype=torch.float64)
    return torch.stack([found.get((result, k), nothing) for k in range(table.n_rows[result])])


@pytest.mark.parametrize("name", TABLES)
def test_sums_of_products_and_their_derivatives_are_those_of_torch(name):
    """Values, gradients, changes, and changes of gradients; results are added to what was there."""
    of, sizes, variables, result = TABLES[name]
    table, known = of(*sizes), variables.split()
    shape = tuple(tuple(range(size)) for size in sizes)
    same = [SHARED] if SHARED in table.n_rows else []
    torch.manual_seed(0)

    def draw(kind, n_channels=table.n_channels):
        return torch.randn(table.n_rows[kind], n_channels, dtype=torch.float64)

    values = tuple(draw(kind) for kind in known) + tuple(draw(kind, 1) for kind in same)
    changes = tuple(draw(kind) for kind in known) + tuple(draw(kind, 1) for kind in same)
    seed, d_seed = draw(result), draw(result)

    def made(*values):
        return sums(table, dict(zip(known + same, values, strict=True)), result)

    def gradients(seed, *values):
        return torch.autograd.functional.vjp(made, values, seed, create_graph=True)[1]

    expected = {
        "": (made(*values),),
        "d": (torch.autograd.functional.jvp(made, values, changes)[1],),
        "g": gradients(seed, *values),
        "dg": torch.autograd.functional.jvp(gradients, (seed, *values), (d_seed, *changes))[1],
    }
    moved = {"d" + kind: change for kind, change in zip(known + same, changes, strict=True)}
    all_of = dict(zip(known + same, values, strict=True)) | moved
    all_of |= {"g" + result: seed, "dg" + result: d_seed}
    for sweep, right in expected.items():
        kinds = known + ["d" + kind for kind in known if "d" in sweep]
        kinds += ["g" + result] * ("g" in sweep) + ["dg" + result] * (sweep == "dg")
        shared = same + ["d" + kind for kind in same if "d" in sweep]
        # Gradients by shared variables come as rows that are to be summed.
        results = [sweep + kind for kind in known + same] if "g" in sweep else [sweep + result]
        function = written_out(of, " ".join(kinds), " ".join(results), " ".join(shared))
        rows = torch.cat([all_of[kind] for kind in kinds]).numpy().ravel()
        to = np.ones(sum(table.n_rows[kind[-1]] for kind in results) * table.n_channels)
        function(shape, tuple(all_of[k][:, 0].numpy() for k in shared), rows, to)
        parts = np.split(
            to.reshape(-1, table.n_channels) - 1, np.cumsum([len(part) for part in right])[:-1]
        )
        for part, one in zip(parts, (one.detach() for one in right), strict=True):
            part = part.sum(axis=1, keepdims=True) if one.shape[1] == 1 else part
            np.testing.assert_allclose(part, one, rtol=1e-11, atol=1e-11)


def test_compiled_sums_are_those_of_the_text():
    couple = moment_kernels.couple

    @compiled
    def call(shape, y, rows, to):
        couple(shape, (y,), rows, to)

    table, rng = Couplings(3, 3).table(LANES), np.random.default_rng(0)
    y = rng.normal(size=table.n_rows["y"])
    rows = rng.normal(size=(table.n_rows["h"] + table.n_rows["t"]) * LANES)
    shape = (0, 1, 2), (0, 1, 2), (0,)
    made = np.zeros((2, table.n_rows["b"] * LANES))
    call(shape, y, rows, made[0])
    couple(shape, (y,), rows, made[1])
    assert np.count_nonzero(made[1]) > 100
    np.testing.assert_allclose(made[0], made[1], rtol=1e-12, atol=1e-12)
