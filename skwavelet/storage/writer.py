"""``featurize``: from any iterable of structures to a store, resumable at any time."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import count, islice
from pathlib import Path
from typing import Any, NamedTuple, Self

import joblib
import numpy as np
from ase import Atoms
from filelock import Timeout
from sklearn.utils.validation import check_is_fitted
from tqdm.auto import tqdm

from skwavelet._utils.fftw_plans import check_plans, shared_plans
from skwavelet._utils.files import (
    DamagedFileError,
    atomic_file,
    digest,
    lock_of,
    remove_partials,
    write_atomically,
    write_record,
)
from skwavelet._utils.parallel import unordered_results
from skwavelet.storage.settings import first_difference, settings_of
from skwavelet.storage.sources import fingerprint, read_items
from skwavelet.storage.store import (
    FORMAT,
    FeatureStore,
    array_path,
    load_chunk,
    read_chunk_record,
    read_manifest,
    record_path,
)

CHUNK_SIZE = 64
# Names of what a store consists of, as regular expressions.
_OWN_FILES = r"manifest\.json|transformer\.joblib|plans\.json"
_CHUNK_FILES = r"\d{6,}\.(?:npy|json)"


def featurize(
    transformer: Any,
    structures: Iterable[Atoms] | str | os.PathLike[str],
    directory: str | os.PathLike[str],
    *,
    chunk_size: int | None = None,
    skip_errors: bool = False,
    n_jobs: int | None = None,
    verbose: bool = False,
) -> FeatureStore:
    """Compute features to disk; go on where an earlier call was interrupted.

    Structures are read one after another and never held all at once. Features are written in
    chunks, each of them as soon as it is computed. Called again with the same arguments after
    an interruption of any kind, it reads the structures, compares them with those of the chunks
    that are there, and computes the chunks that are missing, damaged or truncated. The features
    are then those of an uninterrupted run, byte for byte.

    Parameters
    ----------
    transformer : estimator
        A fitted representation such as `VoxelScattering`, or a fitted Pipeline or FeatureUnion
        that begins with such.
    structures : iterable of ase.Atoms, path, or ASE database
        A list or an iterator; the path of a file that ASE reads (extended XYZ, trajectory,
        database, ...); an open trajectory or database.
    directory : path
        Where the store is, or is to be.
    chunk_size : int, default=None
        Structures per chunk: what a kill loses, for every process, and one file pair. None is
        64, or what the store has.
    skip_errors : bool, default=False
        What to do with a structure that the transformer refuses: raise an error that names its
        index (False), or leave it out and record why in ``store.errors`` (True).
    n_jobs : int, default=None
        Processes, each with a chunk at a time; None is that of the transformer, or as many as a
        `joblib.parallel_config` context says.
    verbose : bool, default=False
        Show progress.

    Returns
    -------
    FeatureStore

    Raises
    ------
    TypeError, ValueError
        If the transformer is not fitted, a structure is unusable, the store was written with
        other settings or structures, or there are no structures.
    RuntimeError
        If another process is writing to the directory.
    OSError
        If the directory cannot be written to, or the disk is full. All chunks written so far
        remain.

    Notes
    -----
    Two stores of the same structures agree to rounding errors: FFT plans are chosen by timing
    them. They belong to the store (``plans.json``), so that every process and every resumed run
    uses the same ones. Copy that file into an empty directory before the first run and the second
    store has the bytes of the first, on a processor of the same kind.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from ase.build import bulk
    >>> from skwavelet import GreedyOLSRegressor, PointScattering, featurize
    >>> crystals = [bulk("Si", a=a) for a in np.linspace(5.2, 5.6, 20)]
    >>> transformer = PointScattering(order=1).fit(crystals)
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     store = featurize(transformer, crystals, directory, chunk_size=8)
    ...     model = GreedyOLSRegressor(2, random_state=0).fit(store, np.arange(20.0))
    >>> store.shape[0], len(model.support_)
    (20, 2)
    """
    check_is_fitted(transformer)
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    try:
        lock = lock_of(directory).acquire(timeout=0)
    except Timeout:
        raise RuntimeError(
            f"Another process is writing to {directory}: wait for it, or use another directory."
        ) from None
    with lock:
        writer = _Writer(directory, transformer, chunk_size)
        if n_jobs is None:
            n_jobs = getattr(transformer, "n_jobs", None)
        writer.run(structures, skip_errors, n_jobs, verbose)
        return FeatureStore(directory)


class _Task(NamedTuple):
    """One chunk to compute."""

    number: int
    first: int
    items: list[Atoms | Exception]
    structures: str


class _Result(NamedTuple):
    """Features of the structures of a chunk that have some, and errors by index of the others."""

    task: _Task
    features: np.ndarray
    errors: dict[int, Exception]


class _Writer:
    """The one process that writes to a store."""

    def __init__(self, directory: Path, transformer: Any, chunk_size: int | None):
        self.directory, self.transformer = directory, transformer
        self.names = [str(name) for name in transformer.get_feature_names_out()]
        if (directory / "manifest.json").exists():
            self.manifest = read_manifest(directory)
            self._compare(chunk_size)
            (directory / "chunks").mkdir(exist_ok=True)
            remove_partials(directory, _OWN_FILES)
            remove_partials(directory / "chunks", _CHUNK_FILES)
        else:
            self.manifest = self._new_manifest(chunk_size)
        self.chunk_size: int = self.manifest["chunk_size"]

    def _new_manifest(self, chunk_size: int | None) -> dict[str, Any]:
        chunk_size = CHUNK_SIZE if chunk_size is None else chunk_size
        if not (isinstance(chunk_size, int | np.integer) and chunk_size > 0):
            raise ValueError(f"chunk_size is {chunk_size!r}; pass a positive number of structures.")
        manifest = {
            "format": FORMAT,
            "settings": settings_of(self.transformer),
            "names": self.names,
            "chunk_size": int(chunk_size),
            "n_structures": None,
        }
        # Whatever is there without a manifest is somebody else's, but for plans given beforehand.
        for name in ("chunks", "transformer.joblib"):
            if os.path.lexists(self.directory / name):
                raise ValueError(
                    f"{self.directory} has {name} but no manifest.json: it is no feature store, "
                    "and what is there stays as it is; use another directory."
                )
        check_plans(self.directory / "plans.json")
        write_record(self.directory / "manifest.json", manifest)
        (self.directory / "chunks").mkdir()
        return manifest

    def _compare(self, chunk_size: int | None) -> None:
        found = first_difference(self.manifest["settings"], settings_of(self.transformer))
        if not found and chunk_size not in (None, self.manifest["chunk_size"]):
            found = f"chunk_size is {self.manifest['chunk_size']} there and {chunk_size} here"
        if found:
            raise ValueError(
                f"{self.directory} was written with other settings ({found}): use the same ones, "
                "or another directory."
            )

    def run(self, source: Any, skip_errors: bool, n_jobs: int | None, verbose: bool) -> None:
        """Compute and write whatever is missing."""
        if not (self.directory / "transformer.joblib").exists():
            with atomic_file(self.directory / "transformer.joblib") as file:
                joblib.dump(self.transformer, file)
        total = len(source) if hasattr(source, "__len__") and not isinstance(source, str) else None
        plans = self.directory / "plans.json"
        with (
            tqdm(total=total, unit="structure", disable=not verbose) as progress,
            _Reader(self._missing(source, skip_errors, progress)) as reader,
        ):
            work = (
                joblib.delayed(_compute)(self.transformer, task, skip_errors, plans)
                for task in reader
            )
            failures = []
            for result in unordered_results(work, n_jobs, batch_size=1):
                try:
                    self._write(result, skip_errors)
                except (OSError, TypeError, ValueError) as error:
                    # What is being computed already is not thrown away.
                    failures.append((result.task.number, error))
                    reader.stop()
                progress.update(len(result.task.items))
            if failures:
                raise min(failures, key=lambda failure: failure[0])[1]
        self._finish()

    def _missing(
        self, source: Any, skip_errors: bool, progress: tqdm
    ) -> Generator[_Task, None, None]:
        """Yield the chunks that are to be computed."""
        self._n_structures = 0
        with closing(read_items(source)) as structures:
            for number in count():
                items = list(islice(structures, self.chunk_size))
                if not items:
                    break
                first = self._n_structures
                self._n_structures += len(items)
                task = _Task(number, first, items, fingerprint(items))
                if self._is_stored(task, skip_errors):
                    progress.update(len(items))
                else:
                    yield task

    def _is_stored(self, task: _Task, skip_errors: bool) -> bool:
        try:
            record = read_chunk_record(self.directory, task.number)
            load_chunk(self.directory, record)
        except DamagedFileError:
            return False
        if record["structures"] != task.structures:
            raise ValueError(
                f"Structures {task.first} to {task.first + len(task.items) - 1} are not those that "
                f"{self.directory} was written with: use the same structures, or another directory."
            )
        # Without leave to skip them, left-out structures are tried again.
        return skip_errors or not record["errors"]

    def _write(self, result: _Result, skip_errors: bool) -> None:
        task, features, errors = result
        if errors and not skip_errors:
            raise next(iter(errors.values()))
        if features.shape[1] != len(self.names):
            raise ValueError(
                f"The transformer returned {features.shape[1]} features and has "
                f"{len(self.names)} names: fit it again."
            )
        data = io.BytesIO()
        np.lib.format.write_array(data, np.ascontiguousarray(features), allow_pickle=False)
        record = {
            "number": task.number,
            "n_structures": len(task.items),
            "structures": task.structures,
            "features": digest(data.getvalue()),
            "bytes": data.tell(),
            "dtype": features.dtype.str,
            "errors": {str(index): str(error) for index, error in errors.items()},
        }
        try:
            # The record last: a chunk without one does not count.
            write_atomically(array_path(self.directory, task.number), data.getvalue())
            write_record(record_path(self.directory, task.number), record)
        except OSError as error:
            raise OSError(
                error.errno,
                f"{error.strerror}: chunk {task.number} cannot be written. What is stored so far "
                "is kept; call featurize again once there is room.",
                str(self.directory),
            ) from error

    def _finish(self) -> None:
        if not self._n_structures:
            raise ValueError("structures holds no structures; pass at least one ase.Atoms.")
        n_chunks = -(-self._n_structures // self.chunk_size)
        further = record_path(self.directory, n_chunks).exists()
        if further or self.manifest["n_structures"] not in (None, self._n_structures):
            raise ValueError(
                f"{self.directory} was written with more structures than these "
                f"{self._n_structures}: use the same structures, or another directory."
            )
        manifest = self.manifest | {"n_structures": self._n_structures}
        if manifest != self.manifest:
            write_record(self.directory / "manifest.json", manifest)


class _Reader:
    """Iterate over what one thread of its own reads.

    joblib asks for tasks from several threads, but readers such as those of databases keep to
    the thread that opened them; and an error there would be lost.
    """

    def __init__(self, iterator: Generator[_Task, None, None]):
        self._iterator = iterator
        self._stopped = False
        self._error: BaseException | None = None
        self._thread = ThreadPoolExecutor(1)

    def stop(self) -> None:
        """Read no further."""
        self._stopped = True

    def __enter__(self) -> Self:
        return self

    def __iter__(self) -> Iterator[_Task]:
        while not self._stopped:
            try:
                item = self._thread.submit(next, self._iterator, None).result()
            except Exception as error:
                self._error = error
                return
            if item is None:
                return
            yield item

    def __exit__(self, kind: Any, *_: Any) -> None:
        # Files are closed by the thread that opened them.
        self._thread.submit(self._iterator.close).result()
        self._thread.shutdown()
        if kind is None and self._error is not None:
            raise self._error


# What a transformer raises on a structure that it cannot use.
_REFUSALS = (ArithmeticError, MemoryError, RuntimeError, TypeError, ValueError)


def _compute(transformer: Any, task: _Task, skip_errors: bool, plans: Path) -> _Result:
    """Compute the features of a chunk, one structure at a time where that fails."""
    rows: list[np.ndarray] = []
    errors: dict[int, Exception] = {}
    # One chunk, one process: what is inside is not spread any further.
    with joblib.parallel_config("sequential"), shared_plans(plans):
        try:
            if not any(isinstance(item, Exception) for item in task.items):
                return _Result(task, _finite_features(transformer, task.items), errors)
        except _REFUSALS:
            pass
        for index, item in enumerate(task.items, start=task.first):
            try:
                if isinstance(item, Exception):
                    raise item
                rows.append(_finite_features(transformer, [item]))
            except _REFUSALS as error:
                # Alone it was structure 0.
                message = re.sub("^Structure 0 ", f"Structure {index} ", str(error))
                errors[index] = (TypeError if isinstance(error, TypeError) else ValueError)(message)
                if not skip_errors:
                    break
    none = np.empty((0, len(transformer.get_feature_names_out())), np.float32)
    return _Result(task, np.concatenate(rows) if rows else none, errors)


def _finite_features(transformer: Any, items: list[Any]) -> np.ndarray:
    features = np.asarray(transformer.transform(items))
    if not np.isfinite(features).all():
        raise ValueError("Structure 0 has features that are not finite; repair or remove it.")
    return features
