"""Fitted models as files that are data, not programs."""

from __future__ import annotations

import json
import os
import re
import zipfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

from skwavelet._utils.files import write_atomically
from skwavelet._utils.validation import one_line

# Classes of this package are dictionaries of arrays and parameters; skops knows scikit-learn's.
_TRUSTED = re.compile(r"skwavelet(\.\w+)*\.[A-Z]\w*|numpy\.dtype")
# Where the archive says how the model was made, beside what skops keeps there.
_RECORD = "skwavelet.json"


def save_model(
    model: Any, path: str | os.PathLike[str], *, record: Mapping[str, Any] | None = None
) -> None:
    """Write a fitted model to a file that `load_model` reads.

    The file has the format of `skops <https://skops.readthedocs.io>`_. It is whole or not there,
    and takes the place of one of the same name.

    Parameters
    ----------
    model : estimator
        A fitted estimator of skwavelet or scikit-learn, or a Pipeline of such.
    path : str or path
        Usually ending in ``.skops``.
    record : mapping, default=None
        What else to keep about the model, such as its data and its errors: anything that JSON
        can hold. ``skwavelet info`` shows it.

    Raises
    ------
    OSError
        If the file cannot be written.
    TypeError
        If the model contains something that only a program could store, such as a function.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from ase.build import bulk
    >>> from skwavelet import PointScattering, load_model, save_model
    >>> features = PointScattering(n=[1, 2], max_l=1, n_scales=2).fit([bulk("Cu")])
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     save_model(features, Path(directory) / "copper.skops")
    ...     loaded = load_model(Path(directory) / "copper.skops")
    >>> bool((loaded.transform([bulk("Cu")]) == features.transform([bulk("Cu")])).all())
    True
    """
    import skops.io  # which loads torch where it is installed

    data = skops.io.dumps(model)
    strange = _strange_types(data)
    if strange:
        raise TypeError(
            f"The model contains {', '.join(strange)}, which no file of data can hold; use "
            "channels and steps that are named, or joblib.dump for a file that only you load."
        )
    if record is not None:
        archive = BytesIO(data)
        with zipfile.ZipFile(archive, "a") as members:
            members.writestr(_RECORD, json.dumps(record, indent=2))
        data = archive.getvalue()
    write_atomically(Path(path), data)


def load_model(path: str | os.PathLike[str]) -> Any:
    """Read a model that `save_model` wrote.

    Loading runs nothing that the author of the file put there: it builds objects of skwavelet,
    NumPy and scikit-learn, and refuses everything else. A pickle (``joblib.dump``) is a program,
    and is refused whoever wrote it.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    estimator

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is a pickle, is damaged, contains types that are not trusted, or was written by a
        version of skwavelet with other classes.

    Warns
    -----
    VersionMismatchWarning
        If another version of skwavelet wrote it.

    Examples
    --------
    >>> import pickle
    >>> import tempfile
    >>> from pathlib import Path
    >>> from skwavelet import PointScattering, load_model
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     file = Path(directory) / "model.pkl"
    ...     _ = file.write_bytes(pickle.dumps(PointScattering()))
    ...     try:
    ...         load_model(file)
    ...     except ValueError as error:
    ...         print(str(error).partition(";")[0].partition("model.pkl ")[2])
    is a pickle
    """
    import skops.io

    path = Path(path)
    data = path.read_bytes()
    if not zipfile.is_zipfile(BytesIO(data)):
        raise ValueError(
            f"{path} is {_kind(data)}; pass a file of skwavelet fit or save_model (a pickle can "
            "run any code when it is loaded: if it is your own, joblib.load it and save_model it)."
        )
    try:
        strange = _strange_types(data)
    # Of damaged archives and of their contents: skops promises no kind of error.
    except Exception as error:
        raise ValueError(f"{path} is damaged ({one_line(error)}); copy or fit it again.") from error
    if strange:
        raise ValueError(
            f"{path} contains {', '.join(strange)}, which skwavelet does not know, so that loading "
            "it could run code of its author; if you trust that, load it with skops.io.load."
        )
    try:
        return skops.io.loads(data, trusted=skops.io.get_untrusted_types(data=data))
    except Exception as error:
        raise ValueError(
            f"{path} cannot be loaded ({one_line(error)}): it is damaged, or another version of "
            "skwavelet or scikit-learn wrote it; fit it again."
        ) from error


def record_of(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what `save_model` was told about a model; empty where it was told nothing."""
    with zipfile.ZipFile(path) as members:
        if _RECORD not in members.namelist():
            return {}
        record: dict[str, Any] = json.loads(members.read(_RECORD))
        return record


def _strange_types(data: bytes) -> list[str]:
    import skops.io

    types = skops.io.get_untrusted_types(data=data)
    return [name for name in types if not _TRUSTED.fullmatch(name)]


def _kind(data: bytes) -> str:
    """Return what a file that is no archive of skops looks like."""
    if not data:
        return "empty"
    # Pickles since protocol 2 begin so; joblib compresses with zlib, gzip, bz2, lzma or lz4.
    starts = (b"\x80", b"x", b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x04\x22")
    return "a pickle" if data.startswith(starts) else "no model"
