"""What goes wrong on real machines: disks, permissions, limits, interrupted files, odd input."""

import errno
import itertools
import os
import pickle
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import joblib
import numpy as np
import psutil
import pytest
from ase import Atoms
from helpers.check_helpers import error_of
from helpers.small_structures import cubic
from helpers.stores import rattled
from hypothesis import given, settings
from hypothesis import strategies as st

from skwavelet import FeatureStore, PointScattering, VoxelScattering, featurize
from skwavelet._utils import files, memory
from skwavelet.structures.checks import check_structures

posix = pytest.mark.skipif(os.name != "posix", reason="limits and permissions are POSIX's")
pytestmark = pytest.mark.filterwarnings("ignore:n_scales=")


@pytest.fixture(scope="module")
def point():
    return PointScattering(order=1).fit(rattled(10))


@pytest.fixture(scope="module")
def voxel():
    return VoxelScattering(order=1, n_scales=1, spacing=0.4).fit(rattled(10))


# -- disks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_no_space_left(point, n_jobs, tmp_path, monkeypatch):
    """What was written stays, and the next call goes on."""
    X, written, fsync = rattled(12), [], os.fsync

    def full(handle):
        written.append(handle)
        if len(written) > 6:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", full)
    with (
        joblib.parallel_config("threading"),
        pytest.raises(OSError, match="No space left") as error,
    ):
        featurize(point, X, tmp_path, chunk_size=2, n_jobs=n_jobs)
    assert error.value.errno == errno.ENOSPC
    assert "call featurize again once there is room" in str(error.value)
    assert str(tmp_path) in str(error.value)
    monkeypatch.undo()
    assert 0 < FeatureStore(tmp_path).shape[0] < 12
    assert not list(tmp_path.rglob("*partial"))
    np.testing.assert_array_equal(featurize(point, X, tmp_path)[:], point.transform(X))


@posix
def test_a_small_disk(point, tmp_path):
    """The same on a real file system of 160 KiB, where one can be mounted."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", tmp_path], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("mounting a file system takes root")
    try:
        X = rattled(400)
        with pytest.raises(OSError, match="No space left"):
            featurize(point, X, tmp_path / "store", chunk_size=20)
        store = FeatureStore(tmp_path / "store")
        assert 0 < store.shape[0] < 400
        assert not store.complete
        subprocess.run(["mount", "-o", "remount,size=4m", tmp_path], check=True)
        np.testing.assert_array_equal(
            featurize(point, X, tmp_path / "store")[:], point.transform(X)
        )
    finally:
        subprocess.run(["umount", tmp_path], check=True)


@posix
def test_a_directory_that_cannot_be_written(point):
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o555)
        # Permissions do not hold root back.
        if root := os.geteuid() == 0:
            os.seteuid(65534)
        try:
            call = lambda: featurize(point, rattled(3), Path(directory) / "store")  # noqa: E731
            error_of(call, PermissionError, "Permission denied.*store")
        finally:
            if root:
                os.seteuid(0)
            os.chmod(directory, 0o755)


def test_files_are_whole_or_absent(tmp_path, monkeypatch):
    path = tmp_path / "file"
    files.write_atomically(path, b"before")

    def fail(*_):
        raise KeyboardInterrupt

    for name in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, fail)
            with pytest.raises(KeyboardInterrupt):
                files.write_atomically(path, b"after")
        assert path.read_bytes() == b"before"
        assert list(tmp_path.iterdir()) == [path]


# -- stored estimators ---------------------------------------------------------------------------


# What pickle raises, depending on what the file ends in.
BROKEN = (EOFError, pickle.UnpicklingError, struct.error)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_interrupted_pickles(point, voxel, share, tmp_path):
    """Half a file never becomes half an estimator."""
    for transformer in (point, voxel):
        whole = pickle.dumps(transformer)
        with pytest.raises(BROKEN):
            pickle.loads(whole[: int(share * len(whole))])
        joblib.dump(transformer, tmp_path / "t.joblib")
        whole = (tmp_path / "t.joblib").read_bytes()
        (tmp_path / "t.joblib").write_bytes(whole[: int(share * len(whole))])
        with pytest.raises((*BROKEN, ValueError, KeyError, IndexError)):
            joblib.load(tmp_path / "t.joblib")


# -- memory --------------------------------------------------------------------------------------

LIMITED = """
import resource, sys
sys.path.insert(0, {tests!r})
import psutil
from ase import Atoms
from helpers.small_structures import cubic
from skwavelet import AngularFeatures, VoxelScattering
voxel = VoxelScattering(order=1, n_scales=1).fit([cubic()])
angular = AngularFeatures(reach=200.0).fit([cubic()])
voxel.transform([cubic()])
limit = psutil.Process().memory_info().vms + 200 * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
large = cubic().repeat((10, 10, 10))
for transformer in (voxel, angular):
    try:
        transformer.transform([cubic(), large])
    except ValueError as error:
        print(error)
voxel.transform([cubic()])
"""


@posix
def test_a_ceiling_on_memory_is_respected():
    """A clear refusal under ulimit -v, and work within the limit goes on."""
    script = LIMITED.format(tests=str(Path(__file__).parent))
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    grid, pairs = result.stdout.splitlines()
    assert grid.startswith("Structure 1 needs a grid of")
    assert "0.2 GiB are free" in grid
    assert pairs.startswith("Structure 1 has about")


def test_limits_of_groups(tmp_path, monkeypatch):
    """The tightest group counts; cached files give way."""
    job = tmp_path / "job" / "step"
    job.mkdir(parents=True)
    for directory, limit, used, cached in (
        (tmp_path / "job", "1000", 700, 100),
        (job, "max", 700, 100),
    ):
        (directory / "memory.max").write_text(f"{limit}\n")
        (directory / "memory.current").write_text(f"{used}\n")
        (directory / "memory.stat").write_text(f"anon 3\ninactive_file {cached}\n")
    monkeypatch.setattr(memory, "GROUPS", tmp_path / "cgroup")
    (tmp_path / "cgroup").write_text("4:memory:/x\n0::/job/step\n")
    assert memory._below_group_limit(tmp_path) == 400
    (tmp_path / "cgroup").unlink()
    assert memory._below_group_limit(tmp_path) == np.inf


# -- load ----------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["point", "voxel"])
def test_ten_thousand_structures(kind, request, tmp_path):
    transformer = request.getfixturevalue(kind)
    process = psutil.Process()
    some = rattled(50)
    featurize(transformer, some, tmp_path / "warm")
    before, files = process.memory_info().rss, process.num_fds()
    store = featurize(transformer, (some[i % 50] for i in range(10_000)), tmp_path / "store")
    assert process.num_fds() == files
    # Features of all structures would be 32 MB or more.
    assert process.memory_info().rss < before + 20e6
    rows = transformer.transform(some)
    np.testing.assert_allclose(store[::997], rows[np.arange(0, 10_000, 997) % 50], rtol=1e-5)


# -- backends and what they leave ----------------------------------------------------------------


@pytest.mark.parametrize("backend", ["sequential", "threading", "loky", "multiprocessing"])
def test_every_backend_of_joblib(backend, point, voxel, tmp_path):
    X = rattled(9)
    expected = voxel.transform(X)
    with joblib.parallel_config(backend, n_jobs=2):
        np.testing.assert_allclose(voxel.transform(X), expected, rtol=1e-5)
        assert len(voxel.vjp(X, np.ones(expected.shape))) == 9
        store = featurize(point, iter(X), tmp_path, chunk_size=2)
    np.testing.assert_array_equal(store[:], point.transform(X))


def is_tracker(process):
    try:
        return "resource_tracker" in " ".join(process.cmdline()) or process.status() == "zombie"
    except psutil.NoSuchProcess:
        return True


@posix
def test_nothing_is_left_behind(point, voxel, tmp_path):
    """No processes, open files, shared memory or threads."""
    from joblib.externals.loky import get_reusable_executor

    X = rattled(9)
    process = psutil.Process()

    def use(directory):
        for n_jobs in (None, 2):
            featurize(point, X, directory / str(n_jobs), chunk_size=2, n_jobs=n_jobs)
        voxel.set_params(n_jobs=2).transform(X)
        voxel.set_params(n_jobs=None)
        get_reusable_executor().shutdown(wait=True, kill_workers=True)

    def held():
        # joblib's folders, empty or not, go when this process ends.
        shared = Path("/dev/shm")
        return (
            process.num_fds(),
            process.num_threads(),
            # Trackers of resources stay: they clean up after this process itself.
            len([c for c in process.children(recursive=True) if not is_tracker(c)]),
            len(list(shared.glob(f"joblib*_{os.getpid()}_*/*"))) if shared.exists() else 0,
        )

    use(tmp_path / "first")
    before = held()
    use(tmp_path / "second")
    # Processes take a moment to be gone.
    deadline = time.monotonic() + 30
    while any(now > then for now, then in zip(held(), before, strict=True)):
        assert time.monotonic() < deadline, (held(), before)
        time.sleep(0.1)


# -- the door ------------------------------------------------------------------------------------

FLOATS = st.one_of(
    st.floats(-20, 20, width=32),
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([0.0, 1e-300, 1e300, 1e-12, 3.8]),
)


@st.composite
def odd_structures(draw, values=FLOATS, numbers=None):
    n = draw(st.integers(0, 4))
    numbers = st.integers(-3, 130) if numbers is None else numbers
    atoms = Atoms(numbers=[1] * n, positions=np.zeros((n, 3)))
    kind = draw(st.sampled_from(["int8", "int32", "uint8", "int64"]))
    drawn = np.array(draw(st.lists(numbers, min_size=n, max_size=n)), dtype=np.int64)
    atoms.arrays["numbers"] = drawn.astype(kind)
    flat = draw(st.lists(values, min_size=3 * n, max_size=3 * n))
    order = draw(st.sampled_from(["C", "F"]))
    precision = draw(st.sampled_from(["float64", "float32"]))
    with np.errstate(over="ignore"):
        atoms.arrays["positions"] = np.array(flat).reshape(n, 3).astype(precision, order=order)
    atoms.cell[:] = np.array(draw(st.lists(values, min_size=9, max_size=9))).reshape(3, 3)
    atoms.pbc = draw(st.tuples(*[st.booleans()] * 3))
    return atoms


@settings(max_examples=300, deadline=None)
@given(st.lists(odd_structures(), min_size=1, max_size=3))
def test_the_door_lets_only_sound_structures_in(X):
    try:
        structures = check_structures(X)
    except (TypeError, ValueError) as error:
        assert str(error).startswith("Structure ")  # noqa: PT017
        assert "\n" not in str(error)  # noqa: PT017
        return
    for structure in structures:
        assert structure.positions.dtype == structure.cell.dtype == np.float64
        assert np.isfinite(structure.positions).all()
        assert np.isfinite(structure.cell).all()
        assert len(structure) > 0
        assert all(1 <= z <= 118 for z in structure.elements)


@pytest.mark.parametrize("pbc", [[0, 0, 0], [1, 0, 0], [1, 0, 1], [1, 1, 0], [1, 1, 1]])
@pytest.mark.parametrize("far", [[0, 0, 1e5], [1e5, 1e5, 0], [1e5, 1e5, 1e5], [3e3, 2e3, 0]])
def test_neighbors_of_wide_thin_structures(far, pbc):
    """Far atoms and wide thin cells end neither in a crash nor in lost pairs."""
    near = [[0, 0, 0], [1.5, 0, 0]]
    cell = np.diag(np.maximum(far, 3.0) * 1.5)
    atoms = Atoms("Li4", [*near, *(np.array(near) + far)], cell=cell, pbc=np.array(pbc, bool))
    (structure,) = check_structures([atoms])
    i, j, distances = structure.neighbors(2.0, "ijd")
    expected = {(0, 1), (1, 0), (2, 3), (3, 2)}
    assert expected <= set(zip(i.tolist(), j.tolist(), strict=True))
    assert (distances <= 2.0).all()
    np.testing.assert_allclose(distances, 1.5)


@pytest.mark.parametrize("cutoff", [1.15, 60.2])
@pytest.mark.parametrize(
    ("cell", "pbc"),
    [
        ([[0.0, 0.0, -0.72], [5.7, 0.0, 0.0], [1.25, 0.0, 60.0]], [False, False, True]),
        ([[0.0, 60.0, 0.0], [0.0, 0.0, 0.0], [0.0, 3.8, 60.0]], [True, False, True]),
    ],
)
def test_cell_vectors_without_a_period_carry_no_meaning(cell, pbc, cutoff):
    """They may be zero or in a plane with periods; the shorter cutoff takes the slower search."""
    positions = np.array([[0.0, 0.0, 0.0], [0.9, 0.5, 0.0], [150.0, 200.0, 0.0]])
    if pbc[0]:
        positions[2] = [1000.0, 2.0, 3.0]
    (structure,) = check_structures([Atoms("H3", positions, cell=cell, pbc=pbc)])
    steps = [[-1, 0, 1] if periodic else [0] for periodic in pbc]
    images = np.array(list(itertools.product(*steps))) @ np.array(cell)
    images = images[:, None, None]
    distances = np.linalg.norm(positions[:, None] - positions + images, axis=-1)
    expected = distances[(distances < cutoff) & (distances > 0)]
    found = structure.neighbors(cutoff, "d")[0]
    np.testing.assert_allclose(np.sort(found), np.sort(expected), rtol=1e-12)


def test_cells_whose_faces_nearly_touch_are_refused():
    """Their vectors are long and span a volume, but a search would go through 1e11 images."""
    cell = [[3.8, 0.1, 60.0], [-7.293646812438965, 0.1, 60.0], [60.0, 1e-7, 0.99]]
    atoms = Atoms(
        "Li3", [[3.8, 0.01, 0.1], [0.0, 0.0, 0.1], [-4.5, 0.0, 60.0]], cell=cell, pbc=True
    )
    (structure,) = check_structures([atoms])
    with pytest.raises(ValueError, match=r"Structure 0 has a cell with faces 3.0e-04 Å apart; .*"):
        structure.neighbors(1.0)
    # Long vectors that span a usual volume are searched.
    found = []
    for shear in (500.0, 500.0 - 131 * 3.8):
        atoms = Atoms("Li", cell=[[3.8, 0, 0], [0, 3.8, 0], [0, shear, 3.0]], pbc=True)
        (structure,) = check_structures([atoms])
        found.append(np.sort(structure.neighbors(5.0, "d")[0]))
    np.testing.assert_allclose(*found, rtol=1e-9)


SMALL = st.one_of(st.floats(-9, 9, width=32), st.sampled_from([0.0, 3.8, 0.1, 60.0]))


@pytest.mark.parametrize("kind", ["point", "voxel"])
def test_odd_structures_have_finite_features_or_a_clear_error(kind, request):
    transformer = request.getfixturevalue(kind)

    # Grids around atoms far apart take a second each.
    @settings(max_examples=40 if kind == "point" else 15, deadline=None)
    @given(odd_structures(SMALL, st.sampled_from([3, 14])))
    def check(atoms):
        try:
            features = transformer.transform([cubic(), atoms])
        except ValueError as error:
            assert str(error).startswith("Structure 1 ")  # noqa: PT017
            assert "\n" not in str(error)  # noqa: PT017
        else:
            assert np.isfinite(features).all()

    check()
