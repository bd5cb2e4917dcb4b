"""Files that are whole or absent, and that tell when they were damaged."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock

_PARTIAL = ".skwavelet-partial"


class DamagedFileError(ValueError):
    """A stored file is missing, truncated or not what was written."""


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file so that whatever happens, its name stands for all of the data or nothing.

    It has the permissions that the umask gives. A killed process may leave a hidden file beside
    it, which `remove_partials` knows.
    """
    # A file name has at most 255 bytes, and a character of it up to four.
    partial = path.with_name(f".{path.name[:50]}.{secrets.token_hex(8)}{_PARTIAL}")
    with open(partial, "xb") as file:
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            # Windows replaces closed files only.
            file.close()
            os.replace(partial, path)
        except BaseException:
            file.close()
            partial.unlink()
            raise


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file by `atomic_file`."""
    with atomic_file(path) as file:
        file.write(data)


def remove_partials(directory: Path, names: str) -> None:
    """Remove what killed writers of files left in a directory, and nothing else.

    ``names`` is a regular expression of the names, of at most 50 characters, of these files.
    """
    pattern = re.compile(rf"\.(?:{names})\.[0-9a-f]{{16}}{re.escape(_PARTIAL)}")
    for left in directory.iterdir():
        if pattern.fullmatch(left.name) and left.is_file() and not left.is_symlink():
            left.unlink()


def lock_of(path: Path) -> FileLock:
    """Return the lock of a file or directory: a hidden file inside, or beside it.

    Taking a lock empties its file, so the name must be nobody else's.
    """
    if path.is_dir():
        return FileLock(path / ".skwavelet-lock")
    return FileLock(path.with_name(f".{path.name[:50]}.skwavelet-lock"))


def digest(data: bytes) -> str:
    """Return the SHA-256 of data in hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def write_record(path: Path, content: dict[str, Any]) -> None:
    """Write JSON with its checksum."""
    text = json.dumps(content, sort_keys=True)
    write_atomically(path, f'{{"content": {text}, "sha256": "{digest(text.encode())}"}}'.encode())


def read_record(path: Path) -> dict[str, Any]:
    """Read what `write_record` wrote; raise DamagedFileError if the file is not that."""
    try:
        stored = json.loads(path.read_bytes())
        content: dict[str, Any] = stored["content"]
        intact = stored["sha256"] == digest(json.dumps(content, sort_keys=True).encode())
    except (ValueError, KeyError, TypeError, RecursionError, FileNotFoundError):
        intact = False
    if not intact:
        raise DamagedFileError(f"{path} is missing or damaged")
    return content
