"""``FeatureStore``: a matrix of features on disk."""

from __future__ import annotations

import io
import json
import os
import re
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import joblib
import numpy as np

from skwavelet._utils.files import DamagedFileError, digest, read_record

FORMAT = 1


class FeatureStore:
    """Features that `featurize` wrote, as a matrix that stays on disk.

    It can be indexed by rows, also with a slice, a mask or a list of rows and then by columns,
    and turned into an array. `GreedyOLSRegressor` and `BaggedOLSEnsemble` fit from it and predict
    for it block by block; other estimators of scikit-learn read all of it into memory.

    Parameters
    ----------
    directory : path
        A directory that `featurize` wrote, or part of which it wrote.

    Attributes
    ----------
    directory : Path
    complete : bool
        Whether all structures have been dealt with. Only then is there a matrix.
    shape : (int, int)
        Rows and features. A row for every structure but those left out.
    dtype : dtype
        Of the features.
    feature_names : ndarray of str of shape (n_features,)
    settings : dict
        Class, parameters and fitted state of the transformer, and the version of skwavelet.
    n_structures : int
        Structures dealt with, those left out included.
    structure_index : ndarray of shape (n_rows,)
        Which structure every row belongs to: ``y[store.structure_index]`` are the labels of the
        rows.
    errors : dict of int to str
        Why structures were left out, by their index.
    fingerprint : str
        Checksum of settings and structures.

    Raises
    ------
    ValueError
        If the directory is no store, or one of a later format, or is damaged. Every chunk is
        compared with its checksum whenever it is read.

    See Also
    --------
    featurize : Write a store, go on writing it, and repair it.

    Notes
    -----
    A store is a directory of plain files: ``manifest.json`` (settings, names), and one pair
    ``chunks/000000.npy`` (a NumPy array) and ``chunks/000000.json`` (its checksum, that of its
    structures, and errors) for every ``chunk_size`` structures. ``transformer.joblib`` is the
    fitted transformer and ``plans.json`` the FFT plans.

    Examples
    --------
    >>> import tempfile
    >>> from ase.build import bulk
    >>> from skwavelet import FeatureStore, PointScattering, featurize
    >>> crystals = [bulk("Si", a=a) for a in (5.3, 5.4, 5.5)]
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     written = featurize(PointScattering(order=1).fit(crystals), crystals, directory)
    ...     store = FeatureStore(directory)
    ...     matrix = store[:]
    >>> matrix.shape == store.shape == (3, len(store.feature_names))
    True
    """

    ndim: ClassVar[int] = 2

    def __init__(self, directory: str | os.PathLike[str]):
        self.directory = Path(directory)
        if not (self.directory / "manifest.json").exists():
            raise ValueError(f"{self.directory} is no feature store: it has no manifest.json.")
        manifest = read_manifest(self.directory)
        self.settings: dict[str, Any] = manifest["settings"]
        self.feature_names = np.array(manifest["names"], dtype=object)
        self.chunk_size: int = manifest["chunk_size"]
        self.complete: bool = manifest["n_structures"] is not None
        if self.complete:
            n_chunks = -(-manifest["n_structures"] // self.chunk_size)
            numbers = list(range(n_chunks))
        else:
            names = [path.stem for path in (self.directory / "chunks").glob("*.json")]
            numbers = sorted(int(name) for name in names if re.fullmatch(r"\d{6,}", name))
        self._records = [self._record(number) for number in numbers]
        rows = [record["n_structures"] - len(record["errors"]) for record in self._records]
        dtypes = [record["dtype"] for record, n in zip(self._records, rows, strict=True) if n]
        self.dtype = np.dtype(dtypes[0] if dtypes else np.float32)
        self._starts = np.concatenate([[0], np.cumsum(rows, dtype=np.int64)])
        self.shape = (int(self._starts[-1]), len(self.feature_names))
        self.n_structures = sum(record["n_structures"] for record in self._records)
        self.errors = {
            int(index): message
            for record in self._records
            for index, message in record["errors"].items()
        }

    @cached_property
    def structure_index(self) -> np.ndarray:
        """Which structure every row belongs to."""
        ranges = [
            np.arange(record["n_structures"]) + record["number"] * self.chunk_size
            for record in self._records
        ]
        return np.setdiff1d(np.concatenate(ranges), list(self.errors), assume_unique=True)

    @property
    def fingerprint(self) -> str:
        """Checksum of settings and structures."""
        parts = [self.settings, [record["structures"] for record in self._records]]
        return digest(json.dumps(parts, sort_keys=True).encode())

    def get_feature_names_out(self) -> np.ndarray:
        """Return the names of the features.

        Returns
        -------
        ndarray of str of shape (n_features,)
        """
        return self.feature_names

    def load_transformer(self) -> Any:
        """Return the fitted transformer that computed the features.

        It is a pickle, which can run any code: load it only where you trust who wrote the store.

        Returns
        -------
        estimator
        """
        return joblib.load(self.directory / "transformer.joblib")

    def verify(self) -> list[int]:
        """Read everything and return the numbers of chunks that are damaged.

        Call `featurize` as before to have them computed again.

        Returns
        -------
        list of int
        """
        damaged = []
        for record in self._records:
            try:
                load_chunk(self.directory, record)
            except DamagedFileError:
                damaged.append(record["number"])
        return damaged

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        state = "" if self.complete else ", incomplete"
        return f"FeatureStore({str(self.directory)!r}, shape={self.shape}{state})"

    def __getitem__(self, key: Any) -> np.ndarray:
        rows, columns = key if isinstance(key, tuple) else (key, slice(None))
        if not isinstance(rows, slice | int | np.integer) and not (
            columns is Ellipsis or isinstance(columns, slice)
        ):
            raise TypeError("Rows and columns are both lists: use store[rows][:, columns].")
        if not self.complete:
            raise ValueError(
                f"{self.directory} is not complete: call featurize again with the same structures."
            )
        wanted = np.arange(len(self))[rows]
        index = np.atleast_1d(wanted)
        places = np.searchsorted(self._starts, index, side="right") - 1
        found = np.empty((len(index), self.shape[1]), self.dtype)[:, columns]
        for place in np.unique(places):
            here = places == place
            chunk = load_chunk(self.directory, self._records[place])
            found[here] = chunk[index[here] - self._starts[place]][:, columns]
        result: np.ndarray = found if wanted.ndim else found[0]
        return result

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("A FeatureStore is on disk: an array of it is always a copy.")
        return self[:].astype(dtype or self.dtype, copy=False)

    def _record(self, number: int) -> dict[str, Any]:
        try:
            record = read_chunk_record(self.directory, number)
            if array_path(self.directory, number).stat().st_size != record["bytes"]:
                raise DamagedFileError
        except (DamagedFileError, FileNotFoundError):
            raise DamagedFileError(
                f"Chunk {number} of {self.directory} is missing or damaged: call featurize again "
                "with the same structures, it computes only what is missing."
            ) from None
        return record


def read_manifest(directory: Path) -> dict[str, Any]:
    """Return the manifest of a store; raise ValueError if it is damaged, or of another format."""
    try:
        manifest = read_record(directory / "manifest.json")
    except DamagedFileError as error:
        raise DamagedFileError(
            f"{error}: delete {directory} and featurize again, or use another directory if it is "
            "no feature store."
        ) from None
    if manifest["format"] != FORMAT:
        raise ValueError(
            f"{directory} has format {manifest['format']}, this version of skwavelet reads "
            f"{FORMAT}: use the version that wrote it ({manifest['settings']['skwavelet']})."
        )
    return manifest


def array_path(directory: Path, number: int) -> Path:
    """Return the path of the features of a chunk."""
    return directory / "chunks" / f"{number:06d}.npy"


def record_path(directory: Path, number: int) -> Path:
    """Return the path of the record of a chunk."""
    return array_path(directory, number).with_suffix(".json")


def read_chunk_record(directory: Path, number: int) -> dict[str, Any]:
    """Return the record of a chunk; raise DamagedFileError if there is none or it is damaged."""
    record = read_record(record_path(directory, number))
    if record["number"] != number:
        raise DamagedFileError(f"The record of chunk {number} is that of {record['number']}.")
    return record


def load_chunk(directory: Path, record: dict[str, Any]) -> np.ndarray:
    """Return the features of a chunk; raise DamagedFileError if they are not what was written."""
    try:
        data = array_path(directory, record["number"]).read_bytes()
    except FileNotFoundError:
        data = b""
    if digest(data) != record["features"]:
        raise DamagedFileError(
            f"Chunk {record['number']} of {directory} is damaged: call featurize again with the "
            "same structures, it computes only what is missing."
        )
    array: np.ndarray = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    return array
