"""Where structures come from: lists, iterators, files and databases, read one by one."""

from __future__ import annotations

import os
import struct
from collections.abc import Generator, Iterable, Iterator
from typing import Any

import numpy as np
from ase import Atoms
from ase.io import iread

from skwavelet._utils.files import digest


def read_structures(
    source: Iterable[Atoms] | str | os.PathLike[str],
) -> Generator[Any, None, None]:
    """Yield the structures of a source, without holding all of them.

    Parameters
    ----------
    source : iterable of ase.Atoms, path, or ASE database
        A list or an iterator; the path of a file that ASE reads (extended XYZ, trajectory,
        database, ...); an open trajectory or database.

    Raises
    ------
    TypeError
        If the source is a single structure or not iterable.
    ValueError
        If a file cannot be read; the message names the structure at which reading ended.
    """
    if isinstance(source, Atoms) or hasattr(source, "to_ase_atoms"):
        raise TypeError("structures is a single structure; pass a list of structures: [atoms].")
    if isinstance(source, str | os.PathLike):
        yield from _read_file(os.fspath(source))
    elif hasattr(source, "select") and hasattr(source, "get_atoms"):
        yield from (row.toatoms() for row in source.select())
    elif isinstance(source, Iterable) and getattr(source, "ndim", 1) == 1:
        yield from source
    else:
        raise TypeError(
            f"structures is {type(source).__name__}; pass an iterable of ase.Atoms, the path of a "
            "file that ASE reads, or an ASE database."
        )


def _read_file(path: str) -> Iterator[Atoms]:
    if not os.path.exists(path):
        raise FileNotFoundError(f"There is no file {path} to read structures from.")
    count = 0
    try:
        for atoms in iread(path, ":"):
            yield atoms
            count += 1
    # The readers of ASE raise errors of all kinds on files that are damaged.
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(
            f"Structure {count} of {path} cannot be read ({reason}); repair the file."
        ) from error


def fingerprint(structures: Iterable[Any]) -> str:
    """Return a checksum of elements, positions, cells and periodicity of structures."""
    return digest(b"".join(_structure_bytes(item) for item in structures))


def _structure_bytes(item: Any) -> bytes:
    if not isinstance(item, Atoms):
        if not hasattr(item, "to_ase_atoms"):
            # Refused later on, where the message is made.
            return type(item).__name__.encode()
        item = item.to_ase_atoms()
    return b"".join(
        [
            struct.pack("<q", len(item)),
            np.asarray(item.numbers, dtype="<i8").tobytes(),
            np.asarray(item.positions, dtype="<f8").tobytes(),
            np.asarray(item.cell.array, dtype="<f8").tobytes(),
            np.asarray(item.pbc, dtype=bool).tobytes(),
        ]
    )
