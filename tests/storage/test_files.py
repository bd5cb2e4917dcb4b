"""Files of ours have the usual permissions, and files of others are left alone."""

import os
import stat
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from helpers.check_helpers import error_of
from helpers.linear_problems import ensemble, problem
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skwavelet import PointScattering, VoxelScattering, featurize
from skwavelet._utils import files

CRYSTALS = [bulk("Cu", a=3.5 + 0.02 * i) for i in range(3)]
OWN = {"manifest.json", "transformer.joblib", "plans.json", "chunks", ".skwavelet-lock"}


@pytest.fixture(scope="module")
def point():
    return PointScattering(order=0, beta=0.5).fit(CRYSTALS)


def contents(directory):
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


# -- permissions ---------------------------------------------------------------------------------


@pytest.mark.skipif(os.name != "posix", reason="permissions are those of POSIX")
@pytest.mark.parametrize("umask", [0o022, 0o002, 0o027, 0o077, 0o000])
def test_files_have_the_mode_that_the_umask_gives(umask, tmp_path):
    voxel = VoxelScattering(order=1, n_scales=1, beta=0.5, spacing=0.8).fit(CRYSTALS)
    X, y, groups = problem()
    before = os.umask(umask)
    try:
        featurize(voxel, CRYSTALS, tmp_path / "store", chunk_size=2)
        ensemble(tmp_path / "models").fit(X, y, groups)
        files.write_atomically(tmp_path / "file", b"data")
        with files.atomic_file(tmp_path / "other") as file:
            file.write(b"data")
    finally:
        os.umask(before)
    modes = {
        str(path.relative_to(tmp_path)): stat.S_IMODE(path.stat().st_mode)
        for path in tmp_path.rglob("*")
        if path.is_file() and not path.name.endswith("lock")
    }
    assert {"store/manifest.json", "store/transformer.joblib", "store/plans.json"} < set(modes)
    assert len(modes) == 3 + 4 + 6 + 2
    assert set(modes.values()) == {0o666 & ~umask}


# -- files of others -----------------------------------------------------------------------------

LOOKALIKES = [
    "downloads/thesis.pdf.partial",
    "thesis.pdf.partial",
    ".manifest.json.abcdefgh.partial",
    ".manifest.json.0123456789abcdef.partial",
    ".notes.0123456789abcdef.skwavelet-partial",
    "sub/.manifest.json.0123456789abcdef.skwavelet-partial",
    "chunks.partial",
    "lock",
    "plans.json.lock",
    "manifest.json.part",
    "chunk/000000.npy",
    "000000.npy",
    "000000.json",
    ".lock",
]
FOREIGN = st.one_of(
    st.sampled_from(LOOKALIKES),
    st.from_regex(
        r"\.?[a-z]{1,8}(\.(json|npy|joblib|lock|tmp|part|partial|pickle))?", fullmatch=True
    ),
    st.text(
        st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=20
    ),
).filter(lambda name: name not in {*OWN, ".", ".."})


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(names=st.lists(FOREIGN, min_size=1, max_size=6, unique=True), twice=st.booleans())
def test_a_directory_of_foreign_files_survives(names, twice, point, tmp_path_factory):
    directory = tmp_path_factory.mktemp("store")
    if twice:
        featurize(point, CRYSTALS, directory)
    for number, name in enumerate(names):
        path = directory / name
        try:
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"foreign %d" % number)
        except OSError:
            continue
    before = contents(directory)
    store = featurize(point, CRYSTALS, directory, chunk_size=None if twice else 2)
    np.testing.assert_array_equal(store[:], point.transform(CRYSTALS))
    after = contents(directory)
    assert {name: after.get(name) for name in before} == before


@pytest.mark.parametrize("name", sorted(OWN - {".skwavelet-lock"}))
@pytest.mark.parametrize("content", [b"", b"foreign", b"[1, 2]", b"{}"])
def test_foreign_files_of_our_names_are_refused_and_kept(name, content, point, tmp_path):
    (tmp_path / name).write_bytes(content)
    error_of(lambda: featurize(point, CRYSTALS, tmp_path), ValueError, "use another directory")
    assert (tmp_path / name).read_bytes() == content
    assert {path.name for path in tmp_path.iterdir()} <= {name, ".skwavelet-lock"}


@pytest.mark.parametrize("name", ["000000.npy", "000000.json", "notes.txt", "x.partial"])
def test_foreign_chunks_are_refused_and_kept(name, point, tmp_path):
    (tmp_path / "chunks").mkdir()
    (tmp_path / "chunks" / name).write_bytes(b"foreign")
    error_of(lambda: featurize(point, CRYSTALS, tmp_path), ValueError, "use another directory")
    assert contents(tmp_path / "chunks") == {name: b"foreign"}


@pytest.mark.parametrize("name", ["notes.json", "1.json", "a.npy", "x.partial", ".000000.npy.x"])
def test_foreign_files_among_chunks(name, point, tmp_path):
    featurize(point, CRYSTALS, tmp_path)
    (tmp_path / "chunks" / name).write_bytes(b"foreign")
    featurize(point, CRYSTALS, tmp_path)
    assert (tmp_path / "chunks" / name).read_bytes() == b"foreign"


def test_what_a_kill_left_is_removed(point, tmp_path):
    featurize(point, CRYSTALS, tmp_path)
    ours = [".manifest.json.{}.skwavelet-partial", "chunks/.000012.npy.{}.skwavelet-partial"]
    for name in ours:
        (tmp_path / name.format("0123456789abcdef")).write_bytes(b"half")
    link = tmp_path / "chunks" / ".000013.npy.0123456789abcdef.skwavelet-partial"
    link.symlink_to(tmp_path / "manifest.json")
    featurize(point, CRYSTALS, tmp_path)
    assert list(tmp_path.rglob("*partial")) == [link]


@pytest.mark.parametrize("name", ["00000.pickle.partial", "x.partial", "00000.pickle", "lock"])
def test_directories_of_checkpoints_keep_foreign_files(name, tmp_path):
    X, y, groups = problem()
    (tmp_path / name).write_bytes(b"foreign")
    for _ in range(2):
        ensemble(tmp_path).fit(X, y, groups)
    assert (tmp_path / name).read_bytes() == b"foreign"


@pytest.mark.parametrize("name", ["a", "x" * 250, "ü" * 120, "日" * 80])
def test_atomic_files_of_long_names(name, tmp_path):
    path = Path(tmp_path, name)
    for data in (b"one", b"two"):
        files.write_atomically(path, data)
        assert path.read_bytes() == data
    assert len(list(tmp_path.iterdir())) == 1
