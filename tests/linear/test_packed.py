"""Symmetric matrices in half the memory, beside full ones."""

import numpy as np
import pytest

from skwavelet.linear._packed import (
    add_products,
    diagonal,
    packed_zeros,
    places,
    solve_in_place,
)


@pytest.mark.parametrize("n", [1, 2, 3, 8, 9])
def test_packed_matrices_are_full_ones(n):
    rng = np.random.default_rng(n)
    rows, others, right = rng.normal(size=(2 * n, n)), rng.normal(size=(1, n)), rng.normal(size=n)
    packed = packed_zeros(n)
    add_products(packed, rows)
    add_products(packed, others, -0.01)
    full = rows.T @ rows - 0.01 * others.T @ others
    i, j = np.indices((n, n))
    np.testing.assert_allclose(packed[places(n, i, j)], full, rtol=1e-12, atol=1e-12)
    assert len(np.unique(places(n, i, j))) == len(packed) == n * (n + 1) // 2
    packed[diagonal(n)] += 0.5
    solution = solve_in_place(packed, right)
    np.testing.assert_allclose((full + 0.5 * np.eye(n)) @ solution, right, rtol=1e-9, atol=1e-9)


def test_what_is_not_positive_has_no_solution():
    packed = packed_zeros(3)
    add_products(packed, np.eye(3), -1.0)
    assert solve_in_place(packed, np.ones(3)) is None
