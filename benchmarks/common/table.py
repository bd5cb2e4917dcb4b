"""The one writer of tables: Markdown as rows come in, and CSV."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np


def line(cells: Iterable[object]) -> str:
    """Return a line of a Markdown table."""
    return "| " + " | ".join(map(str, cells)) + " |"


@dataclass
class Table:
    """A table that is printed line by line, so that an interrupted run has shown what it has.

    Cells are words, numbers, or pairs (mean, standard deviation). Numbers that are not whole are
    rounded to ``digits``, those from 100 on to none; NaN is "-".

    Parameters
    ----------
    *header : str
        Columns; none if `add` is given dicts.
    digits : int
    quiet : bool
        Do not print.
    """

    header: Sequence[str] = ()
    digits: int = 2
    quiet: bool = False
    rows: list[Sequence[object]] = field(default_factory=list)

    def __post_init__(self):
        if self.header:
            self._print(self.markdown())

    def _print(self, text):
        if not self.quiet:
            print(text, flush=True)

    def add(self, *cells: object) -> None:
        """Add a row and print it; one dict is a row by column names."""
        if len(cells) == 1 and isinstance(cells[0], dict):
            if not self.header:
                self.header = list(cells[0])
                self._print(self.markdown())
            cells = [cells[0][name] for name in self.header]
        if len(cells) != len(self.header):
            raise ValueError(f"{len(cells)} cells for {len(self.header)} columns: {cells}")
        self.rows.append(cells)
        self._print(line(map(self.text, cells)))

    def text(self, cell: object) -> str:
        """Return what a cell shows."""
        if isinstance(cell, str):
            return cell
        if isinstance(cell, bool | int | np.integer):
            return f"{cell:,}"
        parts = cell if isinstance(cell, tuple) else (cell,)
        if np.isnan(parts[0]):
            return "-"
        return " ± ".join(f"{p:.0f}" if abs(p) >= 100 else f"{p:.{self.digits}f}" for p in parts)

    def markdown(self) -> str:
        """Return the whole table."""
        lines = [self.header, ["---"] * len(self.header)]
        return "\n".join(map(line, [*lines, *(map(self.text, row) for row in self.rows)]))

    def write_csv(self, file: Path) -> None:
        """Write the numbers, standard deviations in columns of their own."""
        flat = []
        for row in self.rows:
            cells = {}
            for name, cell in zip(self.header, row, strict=True):
                pair = cell if isinstance(cell, tuple) else (cell,)
                cells |= dict(zip((name, f"{name} (std)"), map(_plain, pair), strict=False))
            flat.append(cells)
        with open(file, "w", newline="", encoding="utf-8") as target:
            header = list(dict.fromkeys(name for cells in flat for name in cells))
            writer = csv.DictWriter(target, header, lineterminator="\n")
            writer.writeheader()
            writer.writerows(flat)


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a Markdown table of finished cells."""
    return "\n".join(map(line, [header, ["---"] * len(header), *rows]))


def _plain(cell):
    if isinstance(cell, str | int | np.integer):
        return cell
    return "" if np.isnan(cell) else f"{cell:.6g}"
