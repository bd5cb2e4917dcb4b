"""The command line: ``python -m skwavelet featurize`` and ``python -m skwavelet inspect``."""

from __future__ import annotations

import argparse
import ast
import sys
from pathlib import Path
from typing import Any

import joblib

import skwavelet

REPRESENTATIONS = ("VoxelScattering", "PointScattering", "AngularFeatures")


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted: the same command goes on where it stopped", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m skwavelet", description=skwavelet.__doc__)
    commands = parser.add_subparsers(required=True)
    featurize = commands.add_parser(
        "featurize",
        help="compute features of structures to disk",
        description="Compute features of structures to disk. Run the same command again to go on "
        "after an interruption.",
    )
    featurize.set_defaults(run=_featurize)
    featurize.add_argument(
        "structures", help="file that ASE reads: extended XYZ, trajectory, database, ..."
    )
    featurize.add_argument("directory", help="where the features are, or are to be")
    featurize.add_argument(
        "--transformer",
        metavar="FILE",
        help="fitted transformer, written by joblib.dump (a pickle: it can run any code)",
    )
    featurize.add_argument(
        "--representation",
        choices=REPRESENTATIONS,
        default="VoxelScattering",
        help="what to fit, where no transformer is given (default: %(default)s)",
    )
    featurize.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        dest="parameters",
        help="a parameter of the representation, such as order=1; may be repeated",
    )
    featurize.add_argument(
        "--fit-on",
        metavar="FILE",
        help="structures to fit the representation on, all of them in memory (default: STRUCTURES)",
    )
    featurize.add_argument("--chunk-size", type=int, help="structures per file (default: 64)")
    featurize.add_argument(
        "--skip-errors", action="store_true", help="leave bad structures out and record why"
    )
    featurize.add_argument("--n-jobs", type=int, help="processes; -1 is one per core (default: 1)")
    featurize.add_argument("--quiet", action="store_true", help="show no progress")

    inspect = commands.add_parser("inspect", help="say what features a directory holds")
    inspect.set_defaults(run=_inspect)
    inspect.add_argument("directory")
    inspect.add_argument("--verify", action="store_true", help="read everything, find damage")
    return parser


def _featurize(options: argparse.Namespace) -> None:
    store = skwavelet.featurize(
        _transformer(options),
        options.structures,
        options.directory,
        chunk_size=options.chunk_size,
        skip_errors=options.skip_errors,
        n_jobs=options.n_jobs,
        verbose=not options.quiet,
    )
    _describe(store)


def _transformer(options: argparse.Namespace) -> Any:
    """Return the given transformer, or a representation fitted here."""
    if options.transformer:
        return joblib.load(options.transformer)
    parameters = dict(_parameter(text) for text in options.parameters)
    transformer = getattr(skwavelet, options.representation)(**parameters)
    from skwavelet.storage.sources import read_structures

    return transformer.fit(list(read_structures(options.fit_on or options.structures)))


def _parameter(text: str) -> tuple[str, Any]:
    name, separator, value = text.partition("=")
    if not separator:
        raise ValueError(f"--set {text}: write NAME=VALUE.")
    try:
        return name, ast.literal_eval(value)
    except (SyntaxError, ValueError):
        return name, value


def _inspect(options: argparse.Namespace) -> None:
    store = skwavelet.FeatureStore(options.directory)
    _describe(store)
    damaged = store.verify() if options.verify else []
    if damaged:
        raise ValueError(f"Damaged chunks: {', '.join(map(str, damaged))}; run featurize again.")


def _describe(store: skwavelet.FeatureStore) -> None:
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


if __name__ == "__main__":
    sys.exit(main())
