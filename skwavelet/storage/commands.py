"""The commands of features on disk: ``skwavelet featurize`` and ``skwavelet inspect``."""

from __future__ import annotations

import argparse
import ast
import zipfile
from pathlib import Path
from typing import Any

import joblib

import skwavelet
from skwavelet.storage import writer
from skwavelet.storage.models import load_model
from skwavelet.storage.sources import read_structures
from skwavelet.storage.store import FeatureStore


def featurize(options: argparse.Namespace) -> None:
    """Compute features of structures to disk."""
    store = writer.featurize(
        _transformer(options),
        options.structures,
        options.directory,
        chunk_size=options.chunk_size,
        skip_errors=options.skip_errors,
        n_jobs=options.n_jobs,
        verbose=not options.quiet,
    )
    _describe(store)


def inspect(options: argparse.Namespace) -> None:
    """Say what features a directory holds."""
    store = FeatureStore(options.directory)
    _describe(store)
    damaged = store.verify() if options.verify else []
    if damaged:
        raise ValueError(f"Damaged chunks: {', '.join(map(str, damaged))}; run featurize again.")


def parsed_parameters(assignments: list[str]) -> dict[str, Any]:
    """Return parameters from texts NAME=VALUE; what is no Python literal is a string."""
    parameters: dict[str, Any] = {}
    for text in assignments:
        name, separator, value = text.partition("=")
        if not separator:
            raise ValueError(f"--set {text}: write NAME=VALUE.")
        try:
            parameters[name] = ast.literal_eval(value)
        except (SyntaxError, ValueError):
            parameters[name] = value
    return parameters


def _transformer(options: argparse.Namespace) -> Any:
    """Return the given transformer, or a representation fitted here."""
    if options.transformer:
        if zipfile.is_zipfile(options.transformer):
            return load_model(options.transformer)
        return joblib.load(options.transformer)
    parameters = parsed_parameters(options.parameters)
    transformer = getattr(skwavelet, options.representation)(**parameters)
    return transformer.fit(list(read_structures(options.fit_on or options.structures)))


def _describe(store: FeatureStore) -> None:
    rows, columns = store.shape
    state = "complete" if store.complete else "incomplete"
    size = sum(path.stat().st_size for path in Path(store.directory).rglob("*"))
    print(f"{store.directory}: {state}, {size / 2**20:.1f} MiB")
    print(f"{rows} rows x {columns} features, {store.dtype}")
    print(f"{store.n_structures} structures, {len(store.errors)} left out")
    for message in store.errors.values():
        print(f"  {message}")
    print(f"transformer: {store.settings['transformer']['class']}")
    print(f"fingerprint: {store.fingerprint}")
