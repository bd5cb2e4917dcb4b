"""The command line: ``skwavelet COMMAND``, or ``python -m skwavelet COMMAND``."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Any

import skwavelet
from skwavelet._utils.validation import one_line

_MODEL = "model written by `skwavelet fit`"
_FILE = "file that ASE reads: extended XYZ, trajectory, database, ..."


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit status.

    0: done; 1: an error, told in one line; 2: the command line was wrong; 130: interrupted; 141:
    nobody reads the output any more.
    """
    options = _parser().parse_args(arguments)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default", UserWarning)
            warnings.showwarning = _show_warning  # type: ignore[assignment]
            if getattr(options, "config", None):
                from skwavelet.potentials.commands import config_defaults

                # What stands in the command line itself comes first.
                options = _parser(config_defaults(options.config)).parse_args(arguments)
            options.run(options)
            sys.stdout.flush()
    except BrokenPipeError:
        # Who reads the output, such as `head`, has enough; the exit is not to tell of it either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (ImportError, MemoryError, OSError, RuntimeError, TypeError, ValueError) as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"interrupted: {options.interrupted}", file=sys.stderr)
        return 130
    return 0


def _show_warning(message: Any, *_: Any) -> None:
    print(f"warning: {one_line(message)}", file=sys.stderr)


def _parser(fit_defaults: dict[str, Any] | None = None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="skwavelet", description=skwavelet.__doc__)
    parser.add_argument("--version", action="version", version=f"%(prog)s {skwavelet.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_fit(commands, fit_defaults or {})
    _add_evaluate(commands)
    _add_predict(commands)
    _add_info(commands)
    _add_featurize(commands)
    _add_inspect(commands)
    return parser


def _command(
    commands: Any, name: str, run: Callable[[argparse.Namespace], None], interrupted: str, text: str
) -> argparse.ArgumentParser:
    """Add a command; ``interrupted`` says what is there after Ctrl-C."""
    summary = text.partition(". ")[0].rstrip(".")
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=summary[0].lower() + summary[1:], description=text
    )
    parser.set_defaults(run=run, interrupted=interrupted)
    return parser


def _run(wing: str, name: str) -> Callable[[argparse.Namespace], None]:
    """Return a command of the commands of a wing, which are imported when it runs."""

    def run(options: argparse.Namespace) -> None:
        getattr(import_module(f"skwavelet.{wing}.commands"), name)(options)

    return run


# -- potentials ----------------------------------------------------------------------------------


def _add_fit(commands: Any, defaults: dict[str, Any]) -> None:
    parser = _command(
        commands,
        "fit",
        _run("potentials", "fit"),
        "no model was written",
        "Fit a potential to labelled structures. Beside the model OUTPUT.skops, OUTPUT.json says "
        "how it was made: `skwavelet fit --config OUTPUT.json` makes it again.",
    )
    parser.add_argument("train", nargs="?", help=f"structures with their labels: {_FILE}")
    parser.add_argument(
        "--model", default="point", help="which model; `skwavelet info models` lists them"
    )
    parser.add_argument(
        "--valid",
        metavar="SHARE|FILE",
        help="hold out this share of the groups, or take this file, and report its errors",
    )
    parser.add_argument(
        "--groups",
        metavar="KEY",
        help="where in the comment line (atoms.info) stands which structures belong together, "
        "such as path: groups are held out as a whole (default: every structure is its own)",
    )
    _add_parameters(parser, "the model, such as regressor__alpha=1e-4")
    _add_keys(parser)
    parser.add_argument("--seed", type=int, default=0, help="of everything random (default: 0)")
    parser.add_argument(
        "--atoms-in-memory",
        type=int,
        default=20_000,
        metavar="N",
        help="learn from sets of more atoms a part at a time (default: %(default)s)",
    )
    parser.add_argument(
        "-o", "--output", default="model.skops", help="the model's file (default: %(default)s)"
    )
    parser.add_argument("--config", metavar="FILE", help="repeat the fit that wrote this file")
    _add_overwrite(parser)
    _add_quiet(parser)
    parser.set_defaults(**defaults)


def _evaluate(options: argparse.Namespace) -> None:
    from skwavelet.potentials.commands import evaluate, pairs_of

    reference, predicted = evaluate(options)
    if not options.figure:
        return
    import matplotlib.pyplot as plt

    from skwavelet.inspection import ParityDisplay
    from skwavelet.potentials.evaluation import UNITS

    drawn = [(q, pairs_of(reference, predicted, q)) for q in UNITS]
    drawn = [(quantity, pairs) for quantity, pairs in drawn if len(pairs[0])]
    figure, axes = plt.subplots(1, len(drawn), figsize=(4.5 * len(drawn), 4.2), squeeze=False)
    for ax, (quantity, pairs) in zip(axes[0], drawn, strict=True):
        ParityDisplay.from_predictions(*pairs, quantity=quantity, unit=UNITS[quantity], ax=ax)
    figure.tight_layout()
    figure.savefig(options.figure)


def _add_evaluate(commands: Any) -> None:
    parser = _command(
        commands,
        "evaluate",
        _evaluate,
        "nothing was written",
        "Compare predictions with the labels of structures. Prints mean absolute and root mean "
        "square errors.",
    )
    parser.add_argument("model", help=_MODEL)
    parser.add_argument("structures", help=f"structures with their labels: {_FILE}")
    _add_keys(parser)
    parser.add_argument("--json", metavar="FILE", help="write the errors, in eV and Å, as JSON")
    parser.add_argument("--figure", metavar="FILE", help="draw predictions against labels")
    _add_overwrite(parser)
    _add_quiet(parser)


def _add_predict(commands: Any) -> None:
    parser = _command(
        commands,
        "predict",
        _run("potentials", "predict"),
        "nothing was written",
        "Predict energies, forces and stresses of structures. Labels that the structures carry "
        "are left out.",
    )
    parser.add_argument("model", help=_MODEL)
    parser.add_argument("structures", help=_FILE)
    parser.add_argument(
        "-o", "--output", required=True, help="extended XYZ file with the predictions"
    )
    _add_overwrite(parser)
    _add_quiet(parser)


def _add_info(commands: Any) -> None:
    parser = _command(
        commands,
        "info",
        _run("potentials", "info"),
        "nothing was written",
        "Say what a model is. `skwavelet info models` lists the models that fit offers.",
    )
    parser.add_argument("model", help=f"{_MODEL}, or the word models")


def _add_parameters(parser: argparse.ArgumentParser, whose: str) -> None:
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        dest="parameters",
        help=f"a parameter of {whose}; may be repeated",
    )


def _add_keys(parser: argparse.ArgumentParser) -> None:
    keys = parser.add_argument_group("labels under other names, as labels_of takes them")
    for kind in ("energy", "forces", "stress", "virial"):
        keys.add_argument(f"--{kind}-key", metavar="KEY")


def _add_overwrite(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there")


def _add_quiet(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quiet", action="store_true", help="show no progress")


# -- features on disk ----------------------------------------------------------------------------


def _add_featurize(commands: Any) -> None:
    parser = _command(
        commands,
        "featurize",
        _run("storage", "featurize"),
        "the same command goes on where it stopped",
        "Compute features of structures to disk. Run the same command again to go on after an "
        "interruption.",
    )
    parser.add_argument("structures", help=_FILE)
    parser.add_argument("directory", help="where the features are, or are to be")
    parser.add_argument(
        "--transformer",
        metavar="FILE",
        help="fitted transformer, written by save_model, or by joblib.dump (a pickle: it can run "
        "any code)",
    )
    parser.add_argument(
        "--representation",
        choices=("VoxelScattering", "PointScattering", "AngularFeatures"),
        default="VoxelScattering",
        help="what to fit, where no transformer is given (default: %(default)s)",
    )
    _add_parameters(parser, "the representation, such as order=1")
    parser.add_argument(
        "--fit-on",
        metavar="FILE",
        help="structures to fit the representation on, all of them in memory (default: STRUCTURES)",
    )
    parser.add_argument("--chunk-size", type=int, help="structures per file (default: 64)")
    parser.add_argument(
        "--skip-errors", action="store_true", help="leave bad structures out and record why"
    )
    parser.add_argument("--n-jobs", type=int, help="processes; -1 is one per core (default: 1)")
    _add_quiet(parser)


def _add_inspect(commands: Any) -> None:
    parser = _command(
        commands,
        "inspect",
        _run("storage", "inspect"),
        "nothing was written",
        "Say what features a directory holds.",
    )
    parser.add_argument("directory")
    parser.add_argument("--verify", action="store_true", help="read everything, find damage")


if __name__ == "__main__":
    sys.exit(main())
