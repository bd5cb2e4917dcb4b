"""Files that are whole or absent, and that tell when they were damaged."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

PARTIAL = ".partial"


class DamagedFileError(ValueError):
    """A stored file is missing, truncated or not what was written."""


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that whatever happens, its name stands for all of the data or nothing.

    A killed process may leave a file that ends in ``.partial``.
    """
    handle, partial = tempfile.mkstemp(PARTIAL, f".{path.name}.", path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        os.unlink(partial)
        raise


def digest(data: bytes) -> str:
    """Return the SHA-256 of data in hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def write_record(path: Path, content: dict[str, Any]) -> None:
    """Write JSON with its checksum."""
    text = json.dumps(content, sort_keys=True)
    write_atomically(path, f'{{"content": {text}, "sha256": "{digest(text.encode())}"}}'.encode())


def read_record(path: Path) -> dict[str, Any]:
    """Read what `write_record` wrote.

    Raises
    ------
    DamagedFileError
        If the file is not what was written.
    """
    try:
        stored = json.loads(path.read_bytes())
        content: dict[str, Any] = stored["content"]
        intact = stored["sha256"] == digest(json.dumps(content, sort_keys=True).encode())
    except (ValueError, KeyError, TypeError, RecursionError, FileNotFoundError):
        intact = False
    if not intact:
        raise DamagedFileError(f"{path} is missing or damaged")
    return content
