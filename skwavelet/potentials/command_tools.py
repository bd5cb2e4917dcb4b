"""What the commands of potentials share."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from ase import Atoms
from tqdm.auto import tqdm

from skwavelet.potentials.energy_model import energy_model
from skwavelet.potentials.evaluation import predicted_labels
from skwavelet.structures.checks import check_structures
from skwavelet.structures.labels import Labels

KEYS = ("energy_key", "forces_key", "stress_key", "virial_key")


def keys_of(options: argparse.Namespace) -> dict[str, str | None]:
    """Return the names of labels."""
    return {key: getattr(options, key) for key in KEYS}


def check_writable(path: Path, options: argparse.Namespace) -> None:
    """Raise before a long computation what would be raised behind it."""
    if path.exists() and not options.overwrite:
        raise FileExistsError(f"{path} is there; pass another name, or --overwrite to replace it.")
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a directory; pass the name of a file.")
    if not path.absolute().parent.is_dir():
        raise FileNotFoundError(f"There is no directory {path.parent}; make it first.")
    effective = os.access in os.supports_effective_ids
    if not os.access(path.absolute().parent, os.W_OK, effective_ids=effective):
        raise PermissionError(f"{path.parent} is not yours to write; pass another place.")


def predict_labels(
    model: Any, structures: Sequence[Atoms], options: argparse.Namespace, derivatives: bool = True
) -> Labels:
    """Predict labels of structures with a bar on the screen."""
    # Whatever is wrong with a structure, its number is that of the whole file.
    check_structures(structures)
    bar: Iterable[Atoms] = tqdm(
        structures, desc="predict", unit="structure", disable=options.quiet, file=sys.stderr
    )
    return predicted_labels(energy_model(model), bar, derivatives=derivatives)


def print_errors(title: str, table: pd.DataFrame) -> None:
    """Print a table of errors."""
    print(f"{title}:")
    print(f"  {'':8}{'MAE':>10}{'RMSE':>10}")
    for quantity, row in table.iterrows():
        mae, rmse, unit = 1e3 * row["MAE"], 1e3 * row["RMSE"], f"m{row['unit']}"
        print(f"  {quantity:8}{mae:10.4g}{rmse:10.4g}  {unit}")
