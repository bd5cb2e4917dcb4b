"""Where structures come from: lists, iterators, files and databases, read one by one."""

from __future__ import annotations

import os
import pickle
import struct
from collections.abc import Generator, Iterable, Iterator
from typing import Any

import numpy as np
from ase import Atoms
from ase.io import iread
from ase.io.formats import UnknownFileTypeError, filetype, ioformats, open_with_compression

from skwavelet._utils.files import digest
from skwavelet._utils.validation import one_line
from skwavelet.storage.xyz import DamagedXYZError, read_frames
from skwavelet.structures.checks import convert

Source = Iterable[Atoms] | str | os.PathLike[str]


def read_structures(source: Source) -> Generator[Atoms, None, None]:
    """Yield the structures of a source, without holding all of them.

    Parameters
    ----------
    source : iterable of ase.Atoms, path, or ASE database
        A list or an iterator; the path of a file that ASE reads (extended XYZ, trajectory,
        database, ...); an open trajectory or database.

    Raises
    ------
    TypeError
        If the source is a single structure or not iterable, or holds something else.
    ValueError
        If a file cannot be read, or a structure cannot be converted; the message names it.
    """
    for item in read_items(source):
        if isinstance(item, Exception):
            raise item
        yield item


def read_items(source: Source) -> Generator[Atoms | Exception, None, None]:
    """Yield copies of structures, or what makes a structure unusable though others follow.

    The copies hold plain data only, as `plain_copy` says; see `read_structures`.
    """
    for index, item in enumerate(_items(source)):
        if isinstance(item, Exception):
            yield item
            continue
        try:
            item = convert(item, index)
        except ValueError as error:
            yield error
            continue
        if isinstance(item, Atoms):
            yield plain_copy(item)
        else:
            yield TypeError(
                f"Structure {index} is {type(item).__name__}; convert it to ase.Atoms first."
            )


def read_labelled(source: Source) -> Generator[Atoms, None, None]:
    """Yield the structures of a source as they are, with the labels that they carry.

    See `read_structures`.
    """
    for index, item in enumerate(_items(source)):
        if isinstance(item, Exception):
            raise item
        yield convert(item, index)


def plain_copy(atoms: Atoms) -> Atoms:
    """Return a copy that any process can be sent, and that stays as it is.

    Calculators, constraints and subclasses are left behind, and so are entries of ``info`` and
    ``arrays`` that cannot be pickled. Nothing of these says what the structure is.
    """
    copy = Atoms(cell=atoms.cell, pbc=atoms.pbc, celldisp=atoms.get_celldisp())
    copy.arrays = {name: np.array(a) for name, a in atoms.arrays.items() if _can_be_sent(a)}
    copy.info = {name: value for name, value in atoms.info.items() if _can_be_sent(value)}
    return copy


def _can_be_sent(value: Any) -> bool:
    if isinstance(value, bool | int | float | str) or (
        isinstance(value, np.ndarray) and not value.dtype.hasobject
    ):
        return True
    try:
        pickle.dumps(value)
    # There is no telling what a class raises.
    except Exception:
        return False
    return True


def _items(source: Any) -> Iterator[Any]:
    if isinstance(source, Atoms) or hasattr(source, "to_ase_atoms"):
        raise TypeError("structures is a single structure; pass a list of structures: [atoms].")
    if isinstance(source, str | os.PathLike):
        yield from _read_file(os.fsdecode(source))
    elif hasattr(source, "select") and hasattr(source, "get_atoms"):
        yield from (row.toatoms() for row in source.select())
    elif isinstance(source, Iterable) and getattr(source, "ndim", 1) == 1:
        yield from source
    else:
        raise TypeError(
            f"structures is {type(source).__name__}; pass an iterable of ase.Atoms, the path of a "
            "file that ASE reads, or an ASE database."
        )


def _read_file(given: str) -> Iterator[Atoms | Exception]:
    if not os.path.exists(given):
        raise FileNotFoundError(f"There is no file {given} to read structures from.")
    # ASE takes "-", and names that begin like addresses of databases, for something else.
    path = os.path.abspath(given)
    count = 0
    try:
        kind = _format(path)
        if kind in ("extxyz", "xyz"):
            with open_with_compression(path, "r") as file:
                yield from read_frames(file, given)
            return
        for atoms in iread(path, ":", format=kind, do_not_split_by_at_sign=True):
            yield atoms
            count += 1
    except DamagedXYZError:
        raise
    # The readers of ASE raise errors of all kinds on files that are damaged.
    except Exception as error:
        # Some of them read everything before the first structure comes out.
        which = f"Structure {count} of {given}" if count else given
        raise ValueError(f"{which} cannot be read ({one_line(error)}); repair the file.") from error


def _format(path: str) -> str:
    """Return the format that ASE reads a file in, whatever stands behind an @ in its name."""
    try:
        found = filetype(path)
        if found in ioformats:
            return found
    except UnknownFileTypeError:
        pass
    with open_with_compression(path, "rb") as file:
        if file.readline(100).strip().isdigit():
            return "extxyz"
    return filetype(path.rpartition("@")[0] or path, read=False)


def fingerprint(items: Iterable[Atoms | Exception]) -> str:
    """Return a checksum of elements, positions, cells and periodicity of structures."""
    return digest(b"".join(_structure_bytes(item) for item in items))


def _structure_bytes(item: Atoms | Exception) -> bytes:
    if isinstance(item, Exception):
        return str(item).encode()
    return b"".join(
        [
            struct.pack("<q", len(item)),
            np.asarray(item.numbers, dtype="<i8").tobytes(),
            np.asarray(item.positions, dtype="<f8").tobytes(),
            np.asarray(item.cell.array, dtype="<f8").tobytes(),
            np.asarray(item.pbc, dtype=bool).tobytes(),
        ]
    )
