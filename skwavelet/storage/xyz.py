"""Extended XYZ, frame by frame: none is lost, and a damaged one is the one that is named.

ASE's reader takes a blank line for the end of the file, and looks for the beginnings of all frames
before it reads the first, so that it cannot say which of them is damaged.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from io import StringIO
from typing import IO, NamedTuple

from ase import Atoms
from ase.io.extxyz import read_xyz

from skwavelet._utils.validation import one_line


class DamagedXYZError(ValueError):
    """A file in which the frames that follow cannot be told apart."""


class _Frame(NamedTuple):
    """Lines of one frame: the number of atoms, the comment, the atoms, perhaps cell vectors."""

    lines: list[str]
    n_atoms: int
    next_line: str

    @property
    def ends_here(self) -> bool:
        """Whether it has the lines it says: atoms with one number of columns, then a new frame."""
        columns = {len(line.split()) for line in self.lines[2 : 2 + self.n_atoms]}
        following = self.next_line.strip()
        return len(columns) <= 1 and (not following or following.isdecimal())


def read_frames(file: IO[str], path: str) -> Iterator[Atoms | ValueError]:
    """Yield the structures of a file, or the error of a frame that is damaged in itself.

    Messages call the file ``path``. Raises DamagedXYZError where a frame has more or fewer lines
    than it says, so that what follows is guesswork.
    """
    for index, frame in enumerate(_frames(file, path)):
        try:
            yield next(read_xyz(StringIO("".join(frame.lines)), 0))
        # ASE raises errors of all kinds on what it cannot read.
        except Exception as error:
            message = (
                f"Structure {index} of {path} cannot be read ({one_line(error)}); repair the file."
            )
            if not frame.ends_here:
                raise DamagedXYZError(message) from error
            yield ValueError(message)


def _frames(file: IO[str], path: str) -> Iterator[_Frame]:
    number, index, blank = 0, 0, 0
    line = file.readline()
    while line:
        number += 1
        if not line.strip():
            blank, line = number, file.readline()
            continue
        if blank and index:
            warnings.warn(
                f"Line {blank} of {path} is blank between structures; other programs may lose "
                f"those from structure {index} on.",
                UserWarning,
                stacklevel=2,
            )
        blank = 0
        n_atoms = int(line) if line.strip().isdecimal() else None
        if n_atoms is None:
            raise DamagedXYZError(
                f"Line {number} of {path} cannot be read (it should be a number of atoms, not "
                f"{line.strip()[:40]!r}); repair the file."
            )
        lines = [line, *(file.readline() for _ in range(1 + n_atoms))]
        if not lines[-1]:
            raise DamagedXYZError(
                f"Structure {index} of {path} cannot be read (the file ends before its {n_atoms} "
                "atoms); repair the file."
            )
        line = file.readline()
        while line.lstrip().startswith("VEC"):
            lines.append(line)
            line = file.readline()
        yield _Frame(lines, n_atoms, line)
        number += len(lines) - 1
        index += 1
