"""Large cells: non-uniform FFT of the density, maps by planes, threads, memory."""

import subprocess
import sys
import warnings

import numpy as np
import pytest
from ase import Atoms
from helpers.finite_differences import adjoint_error, check_derivatives, random_directions
from helpers.small_structures import CELLS, triclinic

from skwavelet import VoxelScattering
from skwavelet._utils.memory import available_memory
from skwavelet._utils.threads import LIMITS, n_threads
from skwavelet.representations.voxel import nufft, numpy_arrays, planes
from skwavelet.representations.voxel.arrays import half
from skwavelet.representations.voxel.density import SeparableDensity
from skwavelet.representations.voxel.numpy_arrays import NumpyArrays

SHAPE = (20, 24, 36)


def fitted(atoms, **parameters):
    parameters = {"beta": 0.5, "n_scales": 2, "spacing": 0.4, "dtype": "float64"} | parameters
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "n_scales=")
        return VoxelScattering(2, 1, smoothing=1e-4, **parameters).fit([atoms])


def densities(dtype, tolerance, n_atoms=300):
    """The same atoms by the separable sums, in double precision, and by non-uniform FFT."""
    fractional = np.random.default_rng(0).uniform(-1, 2, size=(n_atoms, 3))
    return (
        SeparableDensity(NumpyArrays(np.dtype("float64")), fractional, SHAPE),
        nufft.NonUniformDensity(NumpyArrays(np.dtype(dtype)), fractional, SHAPE, tolerance),
    )


def coefficients(density):
    values = density.arrays.empty(half(density.shape), spectra=True)
    density.write(values)
    return values


def close(values, expected, tolerance):
    """Errors of every value are small against the root mean square of all."""
    scale = np.sqrt((np.abs(expected) ** 2).mean())
    assert np.abs(values - expected).max() <= tolerance * scale


# -- non-uniform FFT -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "tolerance", "error"),
    [("float64", 1e-6, 3e-5), ("float64", 1e-9, 3e-8), ("float64", 1e-12, 3e-11),
     ("float32", 1e-9, 2e-6)],
)  # fmt: skip
@pytest.mark.parametrize("windows", [1, 4])
def test_nonuniform_densities(dtype, tolerance, error, windows, monkeypatch):
    """Coefficients, tangents and gradients are those of the separable sums, to the tolerance.

    The largest error of thousands of values is up to thirty times the rms that is asked for.
    """
    pytest.importorskip("finufft", reason="needs the extra 'large'")
    monkeypatch.setattr(nufft, "WINDOW", SHAPE[0] * SHAPE[1] * (19 // windows))
    direct, fast = densities(dtype, tolerance)
    assert len(fast._windows) in (windows, windows + 1)
    assert coefficients(fast).dtype == np.result_type(dtype, np.complex64)
    close(coefficients(fast), coefficients(direct), error)
    rng = np.random.default_rng(1)
    directions = rng.normal(size=(2, 300, 3))
    close(fast.jvp(directions), direct.jvp(directions), error)
    cotangent = rng.normal(size=half(SHAPE)) + 1j * rng.normal(size=half(SHAPE))
    close(fast.vjp(fast.arrays.asarray(cotangent)), direct.vjp(cotangent), error)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_features_by_nonuniform_fft(dtype, monkeypatch):
    """Features and gradients with and without: far below the discretization's 1e-4."""
    pytest.importorskip("finufft", reason="needs the extra 'large'")
    atoms = CELLS["slab"]()
    transformer = fitted(atoms, dtype=dtype)
    cotangents = 1 / np.abs(transformer.transform([atoms])).clip(1e-3)

    def results():
        return transformer.value_and_vjp([atoms], cotangents)[0]

    direct = results()
    monkeypatch.setattr(nufft, "CROSSOVER", 1)
    tolerance = {"float32": 1e-4, "float64": 1e-6}[dtype]
    changed = False
    for value, expected in zip(results(), direct, strict=True):
        scale = np.abs(expected).max()
        np.testing.assert_allclose(value, expected, rtol=tolerance, atol=tolerance * scale)
        changed |= bool((value != expected).any())
    assert changed


@pytest.mark.parametrize("cell", ["triclinic", "slab"])
def test_derivatives_by_nonuniform_fft(cell, monkeypatch):
    """The adjoint is exact whatever the tolerance, differences see what it leaves."""
    pytest.importorskip("finufft", reason="needs the extra 'large'")
    monkeypatch.setattr(nufft, "CROSSOVER", 1)
    atoms = CELLS[cell]()
    check_derivatives(fitted(atoms), atoms, tolerance=1e-5)
    assert adjoint_error(fitted(atoms, aliasing=0.05), atoms) <= 1e-10


def test_few_atoms_take_the_separable_sums():
    assert not nufft.is_faster(50)


def test_without_finufft(monkeypatch):
    """The extra is optional: many atoms then take the separable sums, too."""
    monkeypatch.setattr(nufft, "_installed", lambda: False)
    assert not nufft.is_faster(10**6)


# -- maps by planes ------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", ["triclinic", "molecule"])
@pytest.mark.parametrize("variant", ["default", "first", "one channel"])
def test_planes_give_the_same(cell, variant, monkeypatch):
    """Features, tangents, gradients and maps by planes, with threads: equal to rounding."""
    atoms = CELLS[cell]()
    parameters = {"default": {}, "first": {"order": 1}, "one channel": {"channels": ["valence"]}}
    transformer = fitted(atoms, **parameters[variant]).set_params(n_jobs=2)
    directions = [[d] for d in random_directions(atoms, 3)]
    cotangents = np.random.default_rng(0).normal(size=(1, transformer.n_features_out_))

    def results():
        return (
            transformer.transform([atoms])[0],
            *transformer.value_and_vjp([atoms], cotangents)[0],
            *transformer.jvp([atoms], *directions),
            transformer.maps(atoms, channel="valence", first=(2, 1, 0)),
            transformer.maps(atoms, channel="valence", first=(2, 1, 0), second=(2, 0, 1)),
        )

    together = results()
    monkeypatch.setattr(planes, "STREAM_VOXELS", 0)
    monkeypatch.setattr("skwavelet.representations.voxel.planes.GROUP_BYTES", 0)
    monkeypatch.setattr("skwavelet.representations.voxel.planes.COLUMNS", 5)
    for streamed, expected in zip(results(), together, strict=True):
        np.testing.assert_allclose(streamed, expected, rtol=1e-9, atol=1e-12 * abs(expected).max())


def test_one_structure_uses_threads(monkeypatch):
    """n_jobs=2: two threads for one structure, one thread in each process for several."""
    for name in LIMITS:
        monkeypatch.delenv(name, raising=False)
    atoms = triclinic()
    seen = []
    features = type(fitted(atoms)._evaluator).all_values

    def spy(self, structures):
        seen.append(n_threads())
        return features(self, structures)

    monkeypatch.setattr("skwavelet.representations.voxel.evaluator.VoxelEvaluator.all_values", spy)
    transformer = fitted(atoms)
    transformer.transform([atoms])
    transformer.set_params(n_jobs=2).transform([atoms])
    assert seen == [1, 2]
    assert n_threads() == 1


def test_large_buffers_are_released(monkeypatch):
    monkeypatch.setattr(numpy_arrays, "RELEASE_BYTES", 0)
    atoms = triclinic()
    fitted(atoms).transform([atoms])
    assert not numpy_arrays._local.buffers
    assert not numpy_arrays._local.workspaces


# -- memory --------------------------------------------------------------------------------------


def test_available_memory():
    assert 2**20 < available_memory() < 2**50


def test_a_cell_beyond_memory_is_refused():
    atoms = triclinic()
    huge = Atoms("Li2Si", positions=atoms.positions, cell=np.eye(3) * 4000, pbc=True)
    transformer = fitted(atoms, order=1)
    with pytest.raises(ValueError, match=r"Structure 1 needs a grid of .* GiB, but .* are free"):
        transformer.transform([atoms, huge])


CEILING = """
import resource, sys
import numpy as np
from ase.build import bulk
from skwavelet import VoxelScattering

atoms = bulk("Si", cubic=True)
scattering = VoxelScattering(n_scales=1).fit([atoms])
limit = resource.getrlimit(resource.RLIMIT_AS)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + int(float(sys.argv[1]) * 2**30), limit[1]))
large = atoms.repeat(int(sys.argv[2]))
try:
    features = scattering.transform([large])
except ValueError as error:
    print("refused:", error)
else:
    print("computed", np.isfinite(features).all())
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits of the address space are Linux's")
@pytest.mark.parametrize("gib", [0.2, 0.5, 1.0, 1.5, 2.0, 3.0])
def test_memory_ceiling(gib):
    """Under ``ulimit -v`` a structure is computed or refused with a reason, never a crash."""
    run = subprocess.run(
        [sys.executable, "-c", CEILING, str(gib), "9"],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    first = run.stdout.split()[0]
    assert first == "computed" or "are free; increase spacing" in run.stdout
    assert (first == "refused:") == (gib < 1.2)
