"""The commands of potentials: ``skwavelet fit``, ``evaluate``, ``predict`` and ``info``."""

from __future__ import annotations

import argparse
import json
import os
import sys
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io.extxyz import write_extxyz

from skwavelet._utils.files import write_atomically
from skwavelet.potentials.command_tools import (
    check_writable,
    keys_of,
    predict_labels,
    print_errors,
)
from skwavelet.potentials.evaluation import error_table, pairs_of
from skwavelet.potentials.fit_command import config_defaults, fit
from skwavelet.potentials.linear_chain import feature_chain
from skwavelet.potentials.recipes import RECIPES
from skwavelet.potentials.regressor import choice_text
from skwavelet.storage.labelled import LabelledFile
from skwavelet.storage.models import load_model, record_of
from skwavelet.storage.sources import read_structures
from skwavelet.structures.labels import Labels

__all__ = ["config_defaults", "evaluate", "fit", "info", "pairs_of", "predict"]

# -- evaluate and predict ------------------------------------------------------------------------


def evaluate(options: argparse.Namespace) -> tuple[Labels, Labels]:
    """Compare predictions with the labels of structures, and return both."""
    for path in (options.json, options.figure):
        if path:
            check_writable(Path(path), options)
    model = load_model(options.model)
    data = LabelledFile(options.structures, keys_of(options), None, sys.maxsize)
    structures, reference, _ = data.take(np.arange(len(data.sizes)))
    predicted = predict_labels(model, structures, options, derivatives=reference.forces is not None)
    table = error_table(reference, predicted)
    print_errors(f"{options.structures}, {len(structures)} structures", table)
    if options.json:
        errors = {"model": options.model, "structures": options.structures}
        content = errors | {"errors": table.to_dict("index")}
        write_atomically(Path(options.json), json.dumps(content, indent=2).encode())
    return reference, predicted


def predict(options: argparse.Namespace) -> None:
    """Predict energies, forces and stresses of structures, into an extended XYZ file."""
    output = Path(options.output)
    check_writable(output, options)
    model = load_model(options.model)
    structures = _read(options.structures)
    predicted = predict_labels(model, structures, options)
    text = StringIO()
    for index, atoms in enumerate(structures):
        results = {"energy": predicted.total_energies[index]}
        for name in ("forces", "stress"):
            values = getattr(predicted, name)
            if values is not None and values[index] is not None:
                results[name] = values[index]
            # Labels of old, which would be written beside the predictions.
            atoms.arrays.pop(name, None)
            atoms.info.pop(name, None)
        atoms.info.pop("energy", None)
        atoms.calc = SinglePointCalculator(atoms, **results)
        write_extxyz(text, [atoms])
    write_atomically(output, text.getvalue().encode())
    print(f"wrote {output}: {len(structures)} structures")


# -- info ----------------------------------------------------------------------------------------


def info(options: argparse.Namespace) -> None:
    """Say what a model is, or which models there are."""
    if options.model == "models":
        for name, (text, _) in RECIPES.items():
            print(f"{name:18}{text}")
        return
    model, record = load_model(options.model), record_of(options.model)
    print(f"{options.model}: {type(model).__name__}, {os.path.getsize(options.model) / 1e6:.1f} MB")
    if hasattr(model, "features_"):
        for leaf in feature_chain(model.features_).leaves:
            elements = ", ".join(leaf.elements_)
            print(f"{leaf}: {leaf.n_features_out_} features of {elements}")
        print(f"{model.regressor_}")
    if not record:
        return
    command, count = record["command"], record["structures"]
    print(f"written by skwavelet {record['skwavelet']} as model {command['model']}")
    print(
        f"fitted to {count['training']} structures of {command['train']} "
        f"(sha256 {record['train_sha256'][:12]}), validated on {count['validation']}"
    )
    print(choice_text(record["chosen"]))
    for part, errors in record["errors"].items():
        print_errors(part, pd.DataFrame.from_dict(errors, orient="index"))


# -- files ---------------------------------------------------------------------------------------


def _read(path: str) -> list[Atoms]:
    structures = list(read_structures(path))
    if not structures:
        raise ValueError(f"{path} holds no structures.")
    return structures
