"""Everything parallel goes through joblib: its backends, a Dask cluster, a worker that dies."""

import os
import signal
import threading
import time

import joblib
import numpy as np
import psutil
import pytest
from helpers.small_structures import cubic, triclinic
from helpers.stores import rattled, same_files

from skwavelet import BaggedOLSEnsemble, PointScattering, VoxelScattering, featurize

distributed = pytest.importorskip(
    "distributed", reason="needs dask: pip install 'dask[distributed]'"
)

# Clusters of distributed warn about ports and slow start-up, and leave sockets to be collected.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore:.*:UserWarning:distributed"),
    pytest.mark.filterwarnings("ignore:.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:n_scales="),
]


@pytest.fixture(scope="module")
def cluster():
    """Two worker processes, restarted when they die."""
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def voxel():
    return VoxelScattering(order=1, n_scales=1, spacing=0.4).fit([triclinic(), cubic()])


def test_transform(cluster, voxel):
    X = rattled(20)
    expected = voxel.transform(X)
    with joblib.parallel_config("dask"):
        found = voxel.transform(X)
        gradients = voxel.vjp(X[:3], np.ones((3, voxel.n_features_out_)))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert [g.shape for g, _ in gradients] == [(len(atoms), 3) for atoms in X[:3]]


def test_ensemble(cluster):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 60))
    y = X[:, :5].sum(axis=1) + 0.1 * rng.normal(size=300)
    model = BaggedOLSEnsemble(8, max_features=20, random_state=0)
    expected = model.fit(X, y).coef_
    with joblib.parallel_config("dask"):
        np.testing.assert_array_equal(model.fit(X, y).coef_, expected)


def test_store(cluster, voxel, tmp_path):
    """A store that a cluster wrote, in what order ever, is that of one process."""
    X = rattled(21)
    with joblib.parallel_config("dask"):
        featurize(voxel, iter(X), tmp_path / "dask", chunk_size=2)
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone" / "plans.json").write_bytes((tmp_path / "dask/plans.json").read_bytes())
    featurize(voxel, X, tmp_path / "alone", chunk_size=2)
    same_files(tmp_path / "dask", tmp_path / "alone")


class Deadly(PointScattering):
    """Kills the worker that first meets a structure with the path of a file, and the file."""

    def transform(self, X):
        for atoms in X:
            marker = atoms.info.get("deadly", "")
            if os.path.exists(marker):
                os.remove(marker)
                os.kill(os.getpid(), signal.SIGKILL)
        return super().transform(X)


@pytest.mark.skipif(os.name != "posix", reason="processes are killed by POSIX signals")
def test_a_worker_that_dies(cluster, tmp_path):
    """Its chunk is computed by another one."""
    X = rattled(16)
    transformer = Deadly(order=1).fit(X)
    expected = transformer.transform(X)
    marker = tmp_path / "marker"
    marker.touch()
    X[6].info["deadly"] = str(marker)
    with joblib.parallel_config("dask"):
        store = featurize(transformer, X, tmp_path / "store", chunk_size=2)
    assert not marker.exists()
    np.testing.assert_array_equal(store[:], expected)


@pytest.mark.skipif(os.name != "posix", reason="processes are killed by POSIX signals")
def test_an_ensemble_outlives_a_worker(cluster, tmp_path):
    """Killed from outside, while both workers have the matrix."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 100))
    y = X[:, :5].sum(axis=1) + 0.1 * rng.normal(size=400)
    model = BaggedOLSEnsemble(30, max_features=60, patience=None, random_state=0)
    expected = model.fit(X, y).coef_
    model.set_params(checkpoint=tmp_path)
    pids = list(cluster.run(os.getpid).values())

    def kill_one():
        while len(list(tmp_path.glob("*/*.pickle"))) < 5:
            time.sleep(0.01)
        os.kill(pids[0], signal.SIGKILL)

    killer = threading.Thread(target=kill_one)
    killer.start()
    with joblib.parallel_config("dask"):
        found = model.fit(X, y).coef_
    killer.join()
    np.testing.assert_array_equal(found, expected)
    assert not psutil.pid_exists(pids[0]) or psutil.Process(pids[0]).status() == "zombie"
