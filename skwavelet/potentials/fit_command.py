"""The command ``skwavelet fit``, and the file that repeats it."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.model_selection import GroupShuffleSplit
from tqdm.auto import tqdm

from skwavelet import __version__
from skwavelet._utils.files import write_atomically
from skwavelet._utils.validation import one_line
from skwavelet.potentials.command_tools import (
    KEYS,
    check_writable,
    keys_of,
    predict_labels,
    print_errors,
)
from skwavelet.potentials.evaluation import error_table, pooled_errors
from skwavelet.potentials.recipes import recipe, show_progress
from skwavelet.potentials.regressor import EnergyForceRegressor, choice_of, choice_text
from skwavelet.storage.commands import parsed_parameters
from skwavelet.storage.labelled import LabelledFile
from skwavelet.storage.models import save_model

# What `fit --config` repeats: everything that changes the model.
_CONFIG = (
    "train", "model", "valid", "groups", "parameters", "seed", "atoms_in_memory", "output", *KEYS
)  # fmt: skip


def fit(options: argparse.Namespace) -> None:
    """Fit a potential to labelled structures."""
    if options.train is None:
        raise ValueError("Say which structures to fit: skwavelet fit train.xyz")
    if options.atoms_in_memory < 1:
        raise ValueError("--atoms-in-memory must be a number of atoms.")
    output = Path(options.output)
    config = output.with_suffix(".json")
    if config == output:
        raise ValueError(f"{output} is the name of the config file; pass OUTPUT.skops.")
    check_writable(output, options)
    check_writable(config, options)
    model = recipe(options.model, random_state=options.seed)
    model.set_params(**parsed_parameters(options.parameters))
    data = _file(options.train, options)
    train, valid_data, valid = _split(data, options)
    first = data.first_rows(train, options.seed) if data.in_parts else train
    part_of = f", a part at a time, the first of {len(first)}" if len(first) < len(train) else ""
    print(
        f"{options.train}: {len(data.sizes)} structures, fitted to {len(train)}{part_of}",
        flush=True,
    )
    _learn(model, data, first, np.setdiff1d(train, first), options)
    chosen = choice_of(model)
    print(choice_text(chosen), flush=True)
    errors = {"training": _errors(model, data, first, options)}
    if len(valid):
        errors["validation"] = _errors(model, valid_data, valid, options)
    settings = {name: getattr(options, name) for name in _CONFIG}
    record = {
        "skwavelet": __version__,
        "command": settings,
        "train_sha256": _sha256(options.train),
        "structures": {"training": len(train), "validation": len(valid)},
        "chosen": chosen,
        "errors": {part: table.to_dict("index") for part, table in errors.items()},
    }
    save_model(model, output, record=record)
    write_atomically(config, json.dumps(record, indent=2).encode())
    for part, table in errors.items():
        print_errors(f"{part}{part_of if part == 'training' else ''}", table)
    print(f"wrote {output} and {config}")


def config_defaults(path: str) -> dict[str, Any]:
    """Return the options of the fit that wrote a file; raise ValueError if it is no such file."""
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
        settings = record["command"]
        defaults = {name: settings[name] for name in _CONFIG}
        expected = record["train_sha256"]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} is no file that skwavelet fit wrote ({one_line(error)}); pass the .json file "
            "beside a model."
        ) from error
    train = defaults["train"]
    if os.path.exists(train) and _sha256(train) != expected:
        warnings.warn(
            f"{train} has changed since {path} was written, the model will not be the same.",
            UserWarning,
            stacklevel=2,
        )
    return defaults


def _file(path: str, options: argparse.Namespace, *, grouped: bool = True) -> LabelledFile:
    group_key = options.groups if grouped else None
    return LabelledFile(path, keys_of(options), group_key, options.atoms_in_memory)


def _split(
    data: LabelledFile, options: argparse.Namespace
) -> tuple[np.ndarray, LabelledFile, np.ndarray]:
    """Return which structures to train on, and which of which file to validate on."""
    everything, nobody = np.arange(len(data.sizes)), np.zeros(0, dtype=int)
    if options.valid is None:
        return everything, data, nobody
    try:
        share = float(options.valid)
    except ValueError:
        held = _file(options.valid, options, grouped=False)
        rows = np.arange(len(held.sizes))
        _check_elements(data, everything, held, rows)
        return everything, held, rows
    n_groups = data.groups.max() + 1
    if not 0 < share < 1 or n_groups < 2:
        raise ValueError(
            f"--valid {options.valid} of {n_groups} group(s) cannot be held out; pass a share "
            "between 0 and 1 of at least two, or a file."
        )
    splitter = GroupShuffleSplit(1, test_size=share, random_state=options.seed)
    ((train, rows),) = splitter.split(everything, groups=data.groups)
    _check_elements(data, train, data, rows)
    return train, data, rows


def _check_elements(
    data: LabelledFile, train: np.ndarray, held: LabelledFile, valid: np.ndarray
) -> None:
    """Raise before a long computation what predictions would raise behind it."""
    unknown = held.elements(valid) - data.elements(train)
    if unknown:
        raise ValueError(
            f"Structures to validate on contain {', '.join(sorted(unknown))}, and none to fit; "
            "hold out others, with another --seed or a file."
        )


def _learn(
    model: EnergyForceRegressor,
    data: LabelledFile,
    first: np.ndarray,
    others: np.ndarray,
    options: argparse.Namespace,
) -> None:
    """Fit a model to the first structures, and let it learn from the others."""
    updatable = model.get_params().get("regressor__updatable")
    if len(others) and updatable is not None:
        model.set_params(regressor__updatable=True)
    show_progress(model, not options.quiet)
    part = data.take(first)
    labels = part.labels
    model.fit(part.structures, labels.energies, labels.forces, labels.stress, part.groups)
    show_progress(model, False)
    show_progress(model.features_, False)
    del part, labels
    with tqdm(
        total=len(first) + len(others), initial=len(first), desc="learn", unit="structure",
        disable=options.quiet or not len(others), file=sys.stderr,
    ) as bar:  # fmt: skip
        for part in data.parts(others):
            labels = part.labels
            model.update(
                part.structures, labels.energies, labels.forces, labels.stress, part.groups
            )
            bar.update(len(part.structures))
    if len(others) and updatable is False:
        model.regressor_._end_updates()
        model.set_params(regressor__updatable=False)


def _errors(
    model: EnergyForceRegressor,
    data: LabelledFile,
    rows: np.ndarray,
    options: argparse.Namespace,
) -> pd.DataFrame:
    return pooled_errors(
        [
            error_table(part.labels, predict_labels(model, part.structures, options))
            for part in data.parts(rows)
        ]
    )


def _sha256(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
