"""The commands of potentials: ``skwavelet fit``, ``evaluate``, ``predict`` and ``info``."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import warnings
from collections.abc import Iterable, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io.extxyz import write_extxyz
from sklearn.model_selection import GroupShuffleSplit
from tqdm.auto import tqdm

from skwavelet import __version__
from skwavelet._utils.files import write_atomically
from skwavelet._utils.validation import check_groups, one_line
from skwavelet.potentials.energy_model import energy_model
from skwavelet.potentials.evaluation import error_table, pairs_of, predicted_labels
from skwavelet.potentials.linear_chain import feature_chain
from skwavelet.potentials.recipes import RECIPES, recipe, show_progress
from skwavelet.storage.commands import parsed_parameters
from skwavelet.storage.models import load_model, record_of, save_model
from skwavelet.storage.sources import read_labelled, read_structures
from skwavelet.structures.checks import check_distances, check_structures
from skwavelet.structures.labels import Labels, labels_of

__all__ = ["config_defaults", "evaluate", "fit", "info", "pairs_of", "predict"]

_KEYS = ("energy_key", "forces_key", "stress_key", "virial_key")
# What `fit --config` repeats: everything that changes the model.
_CONFIG = ("train", "model", "valid", "groups", "parameters", "seed", "output", *_KEYS)


# -- fit -----------------------------------------------------------------------------------------


def fit(options: argparse.Namespace) -> None:
    """Fit a potential to labelled structures."""
    if options.train is None:
        raise ValueError("Say which structures to fit: skwavelet fit train.xyz")
    output = Path(options.output)
    config = output.with_suffix(".json")
    if config == output:
        raise ValueError(f"{output} is the name of the config file; pass OUTPUT.skops.")
    _check_writable(output, options)
    _check_writable(config, options)
    model = recipe(options.model, random_state=options.seed)
    model.set_params(**parsed_parameters(options.parameters))
    structures, labels = _labelled(options.train, options)
    groups = _groups(structures, options)
    train, valid, held = _split(structures, labels, groups, options)
    chosen = [structures[i] for i in train]
    taken = _take(labels, train)
    print(f"{options.train}: {len(structures)} structures, fitted to {len(train)}")
    show_progress(model, not options.quiet)
    model.fit(
        chosen,
        taken.energies,
        forces=taken.forces,
        stress=taken.stress,
        groups=None if groups is None else [groups[i] for i in train],
    )
    show_progress(model, False)
    show_progress(model.features_, False)
    errors = {"training": error_table(taken, _predict(model, chosen, options))}
    if valid:
        errors["validation"] = error_table(held, _predict(model, valid, options))
    settings = {name: getattr(options, name) for name in _CONFIG}
    record = {
        "skwavelet": __version__,
        "command": settings,
        "train_sha256": _sha256(options.train),
        "structures": {"training": len(train), "validation": len(valid)},
        "errors": {part: table.to_dict("index") for part, table in errors.items()},
    }
    save_model(model, output, record=record)
    write_atomically(config, json.dumps(record, indent=2).encode())
    for part, table in errors.items():
        _print_errors(part, table)
    print(f"wrote {output} and {config}")


def config_defaults(path: str) -> dict[str, Any]:
    """Return the options of the fit that wrote a file.

    Raises
    ------
    ValueError
        If it is no such file.
    """
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


def _groups(structures: Sequence[Atoms], options: argparse.Namespace) -> list[Any] | None:
    if not options.groups:
        return None
    for index, atoms in enumerate(structures):
        if options.groups not in atoms.info:
            raise ValueError(
                f"Structure {index} of {options.train} has no info[{options.groups!r}] to group "
                f"it by; there is {', '.join(map(repr, atoms.info)) or 'nothing'}."
            )
    return [atoms.info[options.groups] for atoms in structures]


def _split(
    structures: Sequence[Atoms],
    labels: Labels,
    groups: Sequence[Any] | None,
    options: argparse.Namespace,
) -> tuple[np.ndarray, list[Atoms], Any]:
    """Return the rows to train on, and the structures to validate on with their labels."""
    everything = np.arange(len(structures))
    if options.valid is None:
        return everything, [], None
    try:
        share = float(options.valid)
    except ValueError:
        valid, held = _labelled(options.valid, options)
        return everything, valid, held
    codes = check_groups(groups, len(structures))
    n_groups = codes.max() + 1
    if not 0 < share < 1 or n_groups < 2:
        raise ValueError(
            f"--valid {options.valid} of {n_groups} group(s) cannot be held out; pass a share "
            "between 0 and 1 of at least two, or a file."
        )
    splitter = GroupShuffleSplit(1, test_size=share, random_state=options.seed)
    ((train, rows),) = splitter.split(codes, groups=codes)
    return train, [structures[i] for i in rows], _take(labels, rows)


def _sha256(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# -- evaluate and predict ------------------------------------------------------------------------


def evaluate(options: argparse.Namespace) -> tuple[Labels, Labels]:
    """Compare predictions with the labels of structures, and return both."""
    for path in (options.json, options.figure):
        if path:
            _check_writable(Path(path), options)
    model = load_model(options.model)
    structures, reference = _labelled(options.structures, options)
    predicted = _predict(model, structures, options, derivatives=reference.forces is not None)
    table = error_table(reference, predicted)
    _print_errors(f"{options.structures}, {len(structures)} structures", table)
    if options.json:
        errors = {"model": options.model, "structures": options.structures}
        content = errors | {"errors": table.to_dict("index")}
        write_atomically(Path(options.json), json.dumps(content, indent=2).encode())
    return reference, predicted


def predict(options: argparse.Namespace) -> None:
    """Predict energies, forces and stresses of structures, into an extended XYZ file."""
    output = Path(options.output)
    _check_writable(output, options)
    model = load_model(options.model)
    structures = _read(options.structures)
    predicted = _predict(model, structures, options)
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


def _predict(
    model: Any, structures: Sequence[Atoms], options: argparse.Namespace, derivatives: bool = True
) -> Labels:
    # Whatever is wrong with a structure, its number is that of the whole file.
    check_structures(structures)
    bar: Iterable[Atoms] = tqdm(
        structures, desc="predict", unit="structure", disable=options.quiet, file=sys.stderr
    )
    return predicted_labels(energy_model(model), bar, derivatives=derivatives)


def _print_errors(title: str, table: pd.DataFrame) -> None:
    print(f"{title}:")
    print(f"  {'':8}{'MAE':>10}{'RMSE':>10}")
    for quantity, row in table.iterrows():
        mae, rmse, unit = 1e3 * row["MAE"], 1e3 * row["RMSE"], f"m{row['unit']}"
        print(f"  {quantity:8}{mae:10.4g}{rmse:10.4g}  {unit}")


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
    for part, errors in record["errors"].items():
        _print_errors(part, pd.DataFrame.from_dict(errors, orient="index"))


# -- files ---------------------------------------------------------------------------------------


def _check_writable(path: Path, options: argparse.Namespace) -> None:
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


def _read(path: str) -> list[Atoms]:
    structures = list(read_structures(path))
    if not structures:
        raise ValueError(f"{path} holds no structures.")
    return structures


def _labelled(path: str, options: argparse.Namespace) -> tuple[list[Atoms], Labels]:
    structures = list(read_labelled(path))
    if not structures:
        raise ValueError(f"{path} holds no structures.")
    check_distances(check_structures(structures))  # by their numbers in the file
    return structures, labels_of(structures, **{key: getattr(options, key) for key in _KEYS})


def _take(labels: Labels, rows: np.ndarray) -> Labels:
    """Return the labels of some structures."""
    forces, stress = (
        None if values is None else [values[i] for i in rows]
        for values in (labels.forces, labels.stress)
    )
    return Labels(labels.energies[rows], labels.total_energies[rows], forces, stress)
