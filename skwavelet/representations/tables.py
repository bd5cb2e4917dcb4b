"""Feature tables: the names of their rows, and their form in stored models."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd


def feature_names(table: pd.DataFrame) -> list[str]:
    """Return one readable name per row of a feature table, such as ``Si_n3l1j0_n3l2j1_q4/3``.

    Paths (n1, l1, j1), (n2, l2, j2) and powers appear where a row has them.
    """
    names = table["channel"].astype(str)
    for layer in "12":
        if f"n{layer}" not in table:
            continue
        present = table[f"n{layer}"].notna()
        part: Any = "_"
        for symbol in "nlj":
            values = table[f"{symbol}{layer}"]
            part = part + symbol + values.map(lambda v: f"{v:g}" if pd.notna(v) else "")
        names = names + part.where(present, "")
    powers = {q: str(Fraction(q).limit_denominator(24)) for q in table["q"].unique()}
    return (names + "_q" + table["q"].map(powers)).tolist()


def penalty_factors(table: pd.DataFrame) -> np.ndarray:
    """Return factors of the penalty of features: energies are smooth, and mostly of few bodies.

    With its order, the number of moments in a feature, and the sum of their radial places k and
    degrees l, they are exp(0.15 (radial + angular) + 2 (order - 2)), and 1 for densities and their
    roots. The numbers were chosen in folds of the training sets of silicon and lithium.
    """
    order = table["factor_order" if "factor_order" in table else "order"].to_numpy(float)
    roughness = (table["radial"] + table["angular"]).to_numpy(float)
    factors = np.exp(0.15 * roughness + 2 * (order - 2))
    if "density" in table:  # they are few, and energies need much of them
        factors[table["density"].notna()] = 1.0
    return factors


def plain_table(table: pd.DataFrame) -> dict[str, Any]:
    """Return a table as lists and strings; skops cannot store a DataFrame."""
    plain = isinstance(table.index, pd.RangeIndex)
    return {
        "index": None if plain else table.index.tolist(),
        "index_name": table.index.name,
        "dtypes": {name: str(column.dtype) for name, column in table.items()},
        "values": {
            name: column.astype(object).where(column.notna(), None).tolist()
            for name, column in table.items()
        },
    }


def rebuilt_table(
    values: dict[str, list], dtypes: dict[str, str], index: list | None, index_name: str | None
) -> pd.DataFrame:
    """Return the table of the parts that `plain_table` took it apart to."""
    columns = {name: pd.array(column, dtype=dtypes[name]) for name, column in values.items()}
    if index is not None:
        index = pd.Index(index, name=index_name)
    return pd.DataFrame(columns, index=index)


class PlainTablesMixin:
    """Store the tables of an estimator as plain columns, which skops can write."""

    def __getstate__(self) -> dict[str, Any]:
        state: Any = super().__getstate__()  # scikit-learn's, a dictionary
        tables = {k: plain_table(v) for k, v in state.items() if isinstance(v, pd.DataFrame)}
        return {k: v for k, v in state.items() if k not in tables} | {"_tables": tables}

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        tables = state.pop("_tables", {})
        state |= {name: rebuilt_table(**parts) for name, parts in tables.items()}
        super().__setstate__(state)  # type: ignore[misc]  # scikit-learn's
