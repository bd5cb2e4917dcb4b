"""Fitted models of an ensemble on disk, so that an interrupted fit goes on."""

import os
import pickle
from pathlib import Path
from typing import Any

import joblib

from skwavelet import __version__
from skwavelet._utils.files import digest, write_atomically


class Checkpoint:
    """Results of the parts of one computation, by number, in a directory; None keeps nothing.

    ``inputs`` are all that the results depend on: results of other inputs are not found.
    """

    def __init__(self, directory: str | os.PathLike[str] | None, *inputs: Any):
        self._directory: Path | None = None
        if directory is not None:
            self._directory = Path(directory) / joblib.hash((__version__, inputs))
            self._directory.mkdir(parents=True, exist_ok=True)

    def load(self, number: int) -> Any:
        """Return a result; None if there is none, or its file is damaged."""
        if self._directory is None:
            return None
        path = _path(self._directory, number)
        stored = path.read_bytes() if path.exists() else b""
        checksum, data = stored[:64], stored[64:]
        # This finds damage, not malice: whoever can write the file can write its checksum too.
        return pickle.loads(data) if checksum == digest(data).encode() else None

    def save(self, number: int, result: Any) -> None:
        """Keep a result."""
        if self._directory is not None:
            data = pickle.dumps(result)
            write_atomically(_path(self._directory, number), digest(data).encode() + data)


def _path(directory: Path, number: int) -> Path:
    return directory / f"{number:05d}.pickle"
