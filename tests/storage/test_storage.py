"""Features on disk: the same as in memory, resumable, refusing what does not fit."""

import json
import os
import shutil
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import joblib
import numpy as np
import pytest
from ase.db import connect
from ase.io import write
from ase.io.trajectory import Trajectory
from helpers.check_helpers import error_of
from helpers.small_structures import Convertible, cubic, triclinic
from helpers.stores import rattled, same_files
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skwavelet import FeatureStore, PointScattering, VoxelScattering, featurize
from skwavelet.__main__ import main
from skwavelet._utils import fftw_plans as wisdom
from skwavelet._utils.files import lock_of, read_record, write_record
from skwavelet.representations.voxel import numpy_arrays

pytestmark = pytest.mark.filterwarnings("ignore:n_scales=")


@pytest.fixture(scope="module")
def voxel():
    return VoxelScattering(order=1, n_scales=1, spacing=0.4).fit(rattled(10))


@pytest.fixture(scope="module")
def point():
    return PointScattering(order=1).fit(rattled(10))


def with_bad(structures, *indices):
    for i in indices:
        structures[i].positions[1] = np.nan
    return structures


# -- what is stored ------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", [PointScattering, VoxelScattering])
def test_features_are_those_of_transform(kind, dtype, tmp_path):
    X = rattled(11)
    transformer = kind(order=1, n_scales=1, dtype=dtype).fit(X)
    store = featurize(transformer, X, tmp_path, chunk_size=4)
    expected = transformer.transform(X)
    assert store.dtype == expected.dtype == dtype
    assert store.shape == expected.shape
    # FFT plans may differ, and round differently.
    np.testing.assert_allclose(store[:], expected, rtol=1e-5 if dtype == "float32" else 1e-12)
    assert store.feature_names.tolist() == transformer.get_feature_names_out().tolist()
    assert store.complete
    assert store.errors == {}
    assert store.structure_index.tolist() == list(range(11))
    reopened = FeatureStore(str(tmp_path))
    assert reopened.fingerprint == store.fingerprint
    np.testing.assert_array_equal(reopened, store[:])
    again = reopened.load_transformer().transform(X)
    np.testing.assert_allclose(again, expected, rtol=1e-5)


def test_pipelines_can_be_stored(point, tmp_path):
    X = rattled(9)
    pipeline = make_pipeline(clone(point), StandardScaler()).fit(X)
    store = featurize(pipeline, X, tmp_path, chunk_size=4)
    np.testing.assert_array_equal(store[:], pipeline.transform(X))
    other = make_pipeline(clone(point), StandardScaler(with_mean=False)).fit(X)
    error_of(
        lambda: featurize(other, X, tmp_path),
        ValueError,
        r"other settings \(transformer.steps",
    )


def test_rows_and_columns(point, tmp_path):
    X = rattled(11)
    store = featurize(point, X, tmp_path, chunk_size=4)
    matrix = store[:]
    mask = np.arange(11) % 3 == 0
    for key in (3, -1, np.int64(5), slice(2, 9), slice(None, None, -2), slice(4, 4), [5, 1, 1, 9],
                mask, (slice(None), slice(1, 3)), (2, [0, 3]), (slice(2, 9), [5, 0]), (3, 4),
                (np.array([10, 0]), Ellipsis)):  # fmt: skip
        np.testing.assert_array_equal(store[key], matrix[key])
    assert len(store) == 11
    assert store.ndim == 2
    np.testing.assert_array_equal(np.asarray(store, dtype=np.float64), matrix)
    for key in (11, [0, 11], -12):
        with pytest.raises(IndexError):
            store[key]
    error_of(lambda: store[[1, 2], [3, 4]], TypeError, r"store\[rows\]\[:, columns\]")
    error_of(lambda: np.array(store, copy=False), ValueError, "always a copy")
    np.testing.assert_array_equal(store.get_feature_names_out(), point.get_feature_names_out())
    assert repr(store) == f"FeatureStore({str(tmp_path)!r}, shape={store.shape})"


# -- where structures come from ------------------------------------------------------------------


def sources(X, directory):
    write(directory / "x.extxyz", X)
    write(directory / "x.traj", X)
    with connect(directory / "x.db", append=False) as db:
        for atoms in X:
            db.write(atoms)
    trajectory = Trajectory(directory / "x.traj")
    yield from (X, tuple(X), iter(X), (atoms for atoms in X), trajectory)
    trajectory.close()
    yield from (directory / "x.extxyz", str(directory / "x.traj"), directory / "x.db")
    yield connect(directory / "x.db")
    yield (row.toatoms() for row in connect(directory / "x.db").select())


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_sources(point, n_jobs, tmp_path):
    X = rattled(9)
    expected = point.transform(X)
    for i, source in enumerate(sources(X, tmp_path)):
        # Tasks are taken from the source by threads in any case, and processes take seconds.
        with joblib.parallel_config("threading"):
            store = featurize(point, source, tmp_path / f"store{i}", chunk_size=2, n_jobs=n_jobs)
        # Text files have eight decimals.
        np.testing.assert_allclose(store[:], expected, rtol=1e-4, atol=1e-6)


def test_streams_are_not_held(point, tmp_path):
    """No more structures are alive at a time than a few chunks."""
    alive, most = set(), 0

    def stream():
        nonlocal most
        for i, atoms in enumerate(rattled(2) * 100):
            alive.add(i)
            copy = atoms.copy()
            copy.info["release"] = Release(alive, i)
            del atoms
            most = max(most, len(alive))
            yield copy
            del copy

    featurize(point, stream(), tmp_path, chunk_size=5)
    assert most <= 15


class Release:
    """Tells when it, and with it the structure that holds it, is gone."""

    def __init__(self, alive, number):
        self.alive, self.number = alive, number

    def __deepcopy__(self, memo):
        return None

    def __del__(self):
        self.alive.discard(self.number)


def test_bad_sources(point, tmp_path):
    error_of(lambda: featurize(point, cubic(), tmp_path / "a"), TypeError, "single structure")
    error_of(lambda: featurize(point, 3, tmp_path / "b"), TypeError, "structures is int")
    error_of(lambda: featurize(point, [], tmp_path / "c"), ValueError, "holds no structures")
    missing = str(tmp_path / "nothing.xyz")
    error_of(lambda: featurize(point, missing, tmp_path / "d"), FileNotFoundError, "no file")
    # A file that ends in the middle of the fourth structure.
    write(tmp_path / "x.extxyz", rattled(4))
    text = (tmp_path / "x.extxyz").read_text()
    (tmp_path / "x.extxyz").write_text(text[: int(len(text) * 0.9)])
    call = lambda: featurize(point, tmp_path / "x.extxyz", tmp_path / "e", chunk_size=1)  # noqa: E731
    error_of(call, ValueError, r"Structure \d of .*x.extxyz cannot be read")


def test_an_iterator_that_fails_keeps_what_came_before(point, tmp_path):
    def stream():
        yield from rattled(7)
        raise OSError("the network is down")

    for n_jobs in (None, 2):
        with joblib.parallel_config("threading"), pytest.raises(OSError, match="network"):
            featurize(point, stream(), tmp_path / str(n_jobs), chunk_size=2, n_jobs=n_jobs)
        store = FeatureStore(tmp_path / str(n_jobs))
        assert not store.complete
        assert store.shape[0] == 6
        error_of(lambda store=store: store[:], ValueError, "not complete: call featurize again")
        assert "incomplete" in repr(store)


# -- bad structures ------------------------------------------------------------------------------


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_bad_structures(point, n_jobs, tmp_path):
    X = with_bad(rattled(11), 5, 9)
    call = lambda **options: featurize(point, X, tmp_path, chunk_size=4, n_jobs=n_jobs, **options)  # noqa: E731
    error_of(call, ValueError, r"^Structure [59] has NaN or infinite positions \(atom 1\)")
    store = call(skip_errors=True)
    kept = [i for i in range(11) if i not in (5, 9)]
    assert store.structure_index.tolist() == kept
    assert store.n_structures == 11
    assert store.errors == {
        i: f"Structure {i} has NaN or infinite positions (atom 1); repair or remove it."
        for i in (5, 9)
    }
    np.testing.assert_array_equal(store[:], point.transform([X[i] for i in kept]))
    # Asked again, and without leave, it does not go on.
    error_of(call, ValueError, "Structure 5 has NaN")
    assert call(skip_errors=True).fingerprint == store.fingerprint


def test_bad_items_and_nothing_but_bad(point, tmp_path):
    X = [cubic(), "water", triclinic()]
    error_of(lambda: featurize(point, X, tmp_path / "a"), TypeError, "^Structure 1 is str")
    store = featurize(point, with_bad(rattled(3), 0, 1, 2), tmp_path / "b", skip_errors=True)
    assert store.shape == (0, point.n_features_out_)
    assert len(store.errors) == 3


class Broken(PointScattering):
    def transform(self, X):
        return super().transform(X) * np.nan


def test_features_that_are_not_finite(tmp_path):
    broken = Broken(order=1).fit(rattled(4))
    error_of(
        lambda: featurize(broken, rattled(4), tmp_path), ValueError, "Structure 0 .* not finite"
    )


# -- resuming ------------------------------------------------------------------------------------


def test_a_complete_store_is_left_alone(voxel, tmp_path, monkeypatch):
    X = rattled(9)
    featurize(voxel, X, tmp_path, chunk_size=4)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")}
    monkeypatch.setattr(VoxelScattering, "transform", None)
    featurize(voxel, X, tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")} == before


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_damage_is_found_and_repaired(voxel, n_jobs, tmp_path):
    X = rattled(13)
    whole, hurt = tmp_path / "whole", tmp_path / "hurt"
    featurize(voxel, X, whole, chunk_size=3)
    damages = {
        "truncated": lambda p: p.write_bytes(p.read_bytes()[:-5]),
        "flipped": lambda p: p.write_bytes(p.read_bytes()[:-1] + b"\x07"),
        "emptied": lambda p: p.write_bytes(b""),
        "removed": lambda p: p.unlink(),
        "replaced": lambda p: shutil.copy(p.with_stem("000004"), p),
    }
    for name in ("000001.npy", "000002.json"):
        for damage in damages.values():
            shutil.rmtree(hurt, ignore_errors=True)
            shutil.copytree(whole, hurt)
            damage(hurt / "chunks" / name)
            # Never a wrong number: the store is refused, or the chunk when it is read.
            error_of(lambda: FeatureStore(hurt)[:], ValueError, r"Chunk \d .*call featurize again")
            featurize(voxel, X, hurt, n_jobs=n_jobs)
            same_files(hurt, whole)
            assert FeatureStore(hurt).verify() == []
    path = hurt / "chunks" / "000003.npy"
    damages["flipped"](path)
    assert FeatureStore(hurt).verify() == [3]


def test_damaged_manifests(point, tmp_path):
    featurize(point, rattled(3), tmp_path)
    path = tmp_path / "manifest.json"
    whole = path.read_text()
    for text in (whole[:-9], "", "[]", whole.replace("PointScattering", "VoxelScattering", 1)):
        path.write_text(text)
        error_of(lambda: FeatureStore(tmp_path), ValueError, "damaged: delete")
        error_of(lambda: featurize(point, rattled(3), tmp_path), ValueError, "damaged: delete")
    path.write_text(whole)
    write_record(path, read_record(path) | {"format": 2})
    error_of(lambda: FeatureStore(tmp_path), ValueError, "has format 2.*use the version that wrote")
    path.unlink()
    error_of(lambda: FeatureStore(tmp_path), ValueError, "is no feature store")
    error_of(lambda: featurize(point, rattled(3), tmp_path), ValueError, "chunks but no manifest")


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_fuzzed_files_never_give_wrong_numbers(fuzzed_store, data):
    directory, matrix, contents = fuzzed_store
    path = data.draw(st.sampled_from(sorted(contents)))
    whole = contents[path]
    start = data.draw(st.integers(0, len(whole) - 1))
    new = data.draw(st.binary(max_size=20))
    cut = data.draw(st.integers(0, 40))
    path.write_bytes(whole[:start] + new + whole[start + cut :])
    try:
        found = FeatureStore(directory)[:]
    except ValueError as error:
        assert "\n" not in str(error)  # noqa: PT017
    else:
        np.testing.assert_array_equal(found, matrix)
    finally:
        path.write_bytes(whole)


@pytest.fixture(scope="module")
def fuzzed_store(point, tmp_path_factory):
    directory = tmp_path_factory.mktemp("fuzzed")
    store = featurize(point, rattled(5), directory, chunk_size=2)
    paths = [directory / "manifest.json", *directory.glob("chunks/*")]
    return directory, store[:], {path: path.read_bytes() for path in paths}


def forget_plans():
    """Make this process plan its FFTs as a new one would."""
    numpy_arrays._local.__dict__.pop("workspaces", None)
    wisdom._owner = None


@pytest.fixture
def plans_of_machine(monkeypatch, tmp_path):
    """A machine without plans; ``forget_plans`` looks for its directory anew."""

    def directory(where):
        monkeypatch.setattr(wisdom, "kept_in", lambda: where)
        wisdom._machines_file.cache_clear()

    directory(tmp_path)
    yield directory
    wisdom._machines_file.cache_clear()


def transforms(path=None):
    """Bytes of FFTs of several shapes, planned as by a new process."""
    forget_plans()
    rng = np.random.default_rng(0)
    found = []
    with nullcontext() if path is None else wisdom.shared_plans(path):
        for shape in ((30, 32, 30), (36, 36, 40), (45, 45, 48), (24, 24, 24), (30, 30, 30)):
            work = numpy_arrays.NumpyArrays(np.dtype("float32")).workspace(3, shape)
            work.maps[...] = rng.normal(size=work.maps.shape)
            spectra = work.forward().copy()
            found += [spectra.tobytes(), work.inverse().tobytes()]
    return found


def test_plans_are_shared(tmp_path, plans_of_machine):
    """Measured anew, some of these plans would differ, and round differently."""
    plans_of_machine(None)
    found = transforms(tmp_path / "plans.json")
    assert transforms(tmp_path / "plans.json") == found
    transforms(tmp_path / "other.json")
    assert transforms(tmp_path / "plans.json") == found


def test_plans_of_the_machine(tmp_path, plans_of_machine):
    """They are kept, read by every process, and what new stores begin with."""
    found = transforms()
    (path,) = tmp_path.glob("fft-plans-*.json")
    kept = path.read_bytes()
    wisdom.check_plans(path)
    assert transforms() == found
    assert transforms(tmp_path / "plans.json") == found
    assert path.read_bytes() == kept
    path.write_text("[")
    transforms()
    wisdom.check_plans(path)
    # Plans that a process knows are not looked up again, such as those of released buffers.
    path.unlink()
    numpy_arrays._local.workspaces.clear()
    numpy_arrays.NumpyArrays(np.dtype("float32")).workspace(3, (30, 32, 30))
    assert not path.exists()


def test_no_place_for_plans(tmp_path, plans_of_machine):
    """What cannot be kept is planned by every process."""
    (tmp_path / "file").write_text("mine")
    plans_of_machine(tmp_path / "file")
    assert wisdom._machines_file() is None
    transforms()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_unreachable_plans(voxel, tmp_path):
    """A worker that does not see the directory has plans of its own."""
    forget_plans()
    with wisdom.shared_plans(tmp_path / "nowhere" / "plans.json"):
        found = voxel.transform(rattled(2))
    np.testing.assert_allclose(found, voxel.transform(rattled(2)), rtol=1e-5)
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("text", ["", "[", '["a", "b", "c"]', "3", "[1, 2, 3]", '["", ""]'])
def test_damaged_plans_are_made_again(text, voxel, tmp_path):
    X = rattled(4)
    before = featurize(voxel, X, tmp_path, chunk_size=2)[:]
    (tmp_path / "chunks" / "000001.json").unlink()
    (tmp_path / "plans.json").write_text(text)
    forget_plans()
    np.testing.assert_allclose(featurize(voxel, X, tmp_path)[:], before, rtol=1e-5)
    assert len(json.loads((tmp_path / "plans.json").read_text())) == 3


# -- refusals ------------------------------------------------------------------------------------


def test_other_settings_are_refused(voxel, tmp_path):
    X = rattled(5)
    featurize(voxel, X, tmp_path, chunk_size=2)
    fit = lambda **changes: clone(voxel).set_params(**changes).fit(rattled(10))  # noqa: E731
    for transformer, pattern in (
        (fit(overlap=0.2), "transformer.overlap is 0.1 there and 0.2 here"),
        (fit(dtype="float64"), 'transformer.dtype is "float32" there and "float64" here'),
        (voxel.restrict([1, 2]), "transformer.fitted"),
        (voxel.keep_grid(cubic()), r"transformer.fitted._evaluator.layout is null there"),
        (PointScattering(order=1).fit(X), "transformer"),
    ):
        error_of(
            lambda transformer=transformer: featurize(transformer, X, tmp_path),
            ValueError,
            rf"was written with other settings \({pattern}.*\): use the same ones",
        )
    error_of(
        lambda: featurize(voxel, X, tmp_path, chunk_size=3), ValueError, "chunk_size is 2 there"
    )
    # What does not touch the features may change.
    featurize(fit(n_jobs=1, verbose=0), X, tmp_path)


def one(symbol):
    return 1.0


def two(symbol):
    return 2.0


def test_functions_are_settings_and_structures_may_be_of_other_packages(tmp_path):
    X = rattled(3)
    transformer = PointScattering(order=1, channels={"own": one}).fit(X)
    store = featurize(transformer, [Convertible(atoms) for atoms in X], tmp_path)
    np.testing.assert_array_equal(store[:], transformer.transform(X))
    featurize(transformer, X, tmp_path)  # the same structures, so that nothing is refused
    other = PointScattering(order=1, channels={"own": two}).fit(X)
    error_of(
        lambda: featurize(other, X, tmp_path),
        ValueError,
        r"transformer.channels.own is .*test_storage.one. there and .*test_storage.two. here",
    )


def test_settings_do_not_depend_on_use(voxel, tmp_path):
    """Nor on the process: a transformer that was used, stored and loaded is the same one."""
    X = rattled(5)
    fresh = clone(voxel).fit(rattled(10))
    featurize(fresh, X, tmp_path)
    fresh.transform(X)
    fresh.vjp(X[:1], np.ones((1, fresh.n_features_out_)))
    joblib.dump(fresh, tmp_path / "used.joblib")
    featurize(joblib.load(tmp_path / "used.joblib"), X, tmp_path)


def test_other_structures_are_refused(point, tmp_path):
    X = rattled(7)
    featurize(point, X, tmp_path, chunk_size=3)
    moved = [atoms.copy() for atoms in X]
    moved[4].positions[0, 0] += 1e-9
    cell = [atoms.copy() for atoms in X]
    cell[6].cell[0, 0] += 1e-9
    for other, pattern in (
        (moved, "Structures 3 to 5 are not those"),
        (cell, "Structures 6 to 6 are not those"),
        (X + rattled(1, 50), "Structures 6 to 7 are not those"),
        (X[:6], "was written with more structures than these 6"),
        (X[:2], "Structures 0 to 1 are not those"),
    ):
        error_of(
            lambda other=other: featurize(point, other, tmp_path),
            ValueError,
            f"{pattern}.*use the same structures, or another directory",
        )


def test_bad_arguments(point, tmp_path):
    for size in (0, -1, 1.5):
        error_of(
            lambda size=size: featurize(point, rattled(2), tmp_path, chunk_size=size),
            ValueError,
            "chunk_size is .* pass a positive number",
        )
    with pytest.raises(ValueError, match="not fitted"):
        featurize(PointScattering(), rattled(2), tmp_path)


def test_one_process_at_a_time(point, tmp_path):
    featurize(point, rattled(3), tmp_path)
    with lock_of(tmp_path):
        error_of(
            lambda: featurize(point, rattled(3), tmp_path), RuntimeError, "Another process is wri"
        )
    featurize(point, rattled(3), tmp_path)


# -- the command line ----------------------------------------------------------------------------


def test_command_line(tmp_path, capsys):
    X = rattled(5)
    write(tmp_path / "x.extxyz", X)
    store = str(tmp_path / "store")
    command = ["featurize", str(tmp_path / "x.extxyz"), store, "--quiet", "--chunk-size=2"]
    options = ["--representation=PointScattering", "--set", "order=1", "--set", "normalize=None"]
    assert main(command + options) == 0
    shown = capsys.readouterr().out
    assert "5 structures, 0 left out" in shown
    assert "complete" in shown
    assert main(command + options) == 0
    assert main([*command, "--representation=PointScattering"]) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert "other settings" in captured.err
    assert main(["inspect", store, "--verify"]) == 0
    chunk = tmp_path / "store" / "chunks" / "000001.npy"
    chunk.write_bytes(bytes(len(chunk.read_bytes())))  # as long as before
    assert main(["inspect", store, "--verify"]) == 1
    assert "Damaged chunks: 1; run featurize again" in capsys.readouterr().err
    chunk.write_bytes(b"x" * 10)
    assert main(["inspect", store]) == 1
    assert "Chunk 1" in capsys.readouterr().err
    joblib.dump(FeatureStore.load_transformer(type("S", (), {"directory": tmp_path / "store"})),
                tmp_path / "t.joblib")  # fmt: skip
    assert main([*command, "--transformer", str(tmp_path / "t.joblib")]) == 0
    X[3].positions[0] = np.nan
    write(tmp_path / "x.traj", X)
    bad = ["featurize", str(tmp_path / "x.traj"), str(tmp_path / "bad"), "--quiet",
           "--transformer", str(tmp_path / "t.joblib")]  # fmt: skip
    assert main(bad) == 1
    assert "Structure 3 has NaN" in capsys.readouterr().err
    assert main([*bad, "--skip-errors"]) == 0
    assert "1 left out" in capsys.readouterr().out
    assert main(["featurize", str(tmp_path / "x.traj"), store, "--set", "nonsense"]) == 1
    assert "write NAME=VALUE" in capsys.readouterr().err


def test_command_line_takes_names_and_can_be_interrupted(tmp_path, capsys, monkeypatch):
    write(tmp_path / "x.traj", rattled(3))
    command = ["featurize", str(tmp_path / "x.traj"), str(tmp_path / "store"), "--quiet",
               "--representation=PointScattering", "--set", "order=1"]  # fmt: skip
    assert main([*command, "--set", "normalize=lower_order"]) == 0
    assert FeatureStore(tmp_path / "store").load_transformer().normalize == "lower_order"

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(PointScattering, "fit", interrupt)
    assert main(command) == 130
    assert "goes on where it stopped" in capsys.readouterr().err


# -- kills ---------------------------------------------------------------------------------------

KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from helpers.stores import rattled
import skwavelet
count, replace = [0], os.replace
def counting(*names):
    # Before or after the rename, as the parity of the number of the kill has it.
    if count[0] == {at} // 2 and {at} % 2 == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    replace(*names)
    if count[0] == {at} // 2:
        os.kill(os.getpid(), signal.SIGKILL)
    count[0] += 1
os.replace = counting
import joblib
skwavelet.featurize(joblib.load({transformer!r}), rattled(9), {store!r}, chunk_size=2)
"""


@pytest.mark.skipif(os.name != "posix", reason="processes are killed by POSIX signals")
def test_killed_runs_go_on(voxel, tmp_path):
    """Killed around every rename in turn, a store ends with the bytes of an uninterrupted run."""
    store, transformer = tmp_path / "store", tmp_path / "transformer.joblib"
    joblib.dump(voxel, transformer)
    for at in (0, 3, 5, 8):
        script = KILLED.format(
            at=at,
            tests=str(Path(__file__).parents[1]),
            transformer=str(transformer),
            store=str(store),
        )
        result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
        assert result.returncode == -9, result.stderr
    resumed = featurize(voxel, rattled(9), store, chunk_size=2)
    assert not list(store.rglob("*partial"))
    # The uninterrupted run has the FFT plans of the other one, and nothing else of it.
    reference = tmp_path / "reference"
    (reference).mkdir()
    shutil.copy(store / "plans.json", reference)
    featurize(voxel, rattled(9), reference, chunk_size=2, n_jobs=2)
    same_files(store, reference)
    assert json.loads((store / "plans.json").read_text())
    assert resumed.shape[0] == 9
