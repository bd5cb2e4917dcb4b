"""Which structure a message is about, where a sequence is passed on a part at a time."""

from __future__ import annotations

import re
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any


@contextmanager
def numbered(start: int) -> Generator[None, None, None]:
    """Have errors and warnings name structures of a part by their numbers in the file."""

    def renamed(message: Any) -> str:
        return re.sub(
            r"(?i)(?<=\bstructure )\d+", lambda number: str(int(number[0]) + start), str(message)
        )

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield
        except ValueError as error:
            raise ValueError(renamed(error)) from error
    for warning in caught:
        warnings.warn(renamed(warning.message), warning.category, stacklevel=3)
