"""The cascade on torch tensors: the same features and derivatives as with NumPy."""

import pickle
import sys
import warnings

import numpy as np
import pytest
from helpers.finite_differences import check_derivatives, random_directions
from helpers.small_structures import CELLS, triclinic

from skwavelet import VoxelScattering

torch = pytest.importorskip("torch", reason="needs the extra 'torch'")
pytest.importorskip("array_api_compat", reason="needs the extra 'torch'")

VARIANTS = {
    "default": {},
    "powers": {"powers": (0.7, 1, 3.0), "channels": ["number", "valence"]},
    "lower_order": {"normalize": "lower_order", "channels": ["elements"]},
    "increasing": {"normalize": None, "pairs": "increasing", "min_scale_step": 0, "n": (1, 2)},
    "first": {"order": 1},
    "zeroth": {"order": 0},
}
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def fitted(atoms, n=2, **parameters):
    parameters = {"beta": 0.5, "n_scales": 2, "spacing": 0.4, "dtype": "float64"} | parameters
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "n_scales=")
        return VoxelScattering(n, 1, smoothing=1e-4, **parameters).fit(atoms)


def moved(atoms, count):
    """Structures of one cell."""
    rng = np.random.default_rng(0)
    result = [atoms.copy() for _ in range(count)]
    for a in result[1:]:
        a.positions = a.positions + 0.1 * rng.normal(size=a.positions.shape)
    return result


def everything(transformer, structures):
    """Features, tangents and gradients of structures, with random directions and cotangents."""
    pairs = [random_directions(a, 3, seed=i) for i, a in enumerate(structures)]
    shape = len(structures), transformer.n_features_out_
    cotangents = np.random.default_rng(0).normal(size=shape)
    return [
        transformer.transform(structures),
        *transformer.jvp(structures, *zip(*pairs, strict=True)),
        *(part for parts in transformer.value_and_vjp(structures, cotangents) for part in parts),
    ]


def compare(transformer, structures, device, tolerance):
    expected = everything(transformer.set_params(device=None), structures)
    for value, reference in zip(
        everything(transformer.set_params(device=device), structures), expected, strict=True
    ):
        assert value.dtype == reference.dtype
        scale = tolerance * np.abs(reference).max()
        np.testing.assert_allclose(value, reference, rtol=tolerance, atol=scale)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("cell", CELLS)
def test_torch_is_numpy(cell, device):
    structures = moved(CELLS[cell](), 3)
    compare(fitted(structures), structures, device, 1e-9)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_torch_is_numpy_for_every_kind_of_feature(variant, device):
    structures = moved(triclinic(), 2)
    compare(fitted(structures, **VARIANTS[variant]), structures, device, 1e-9)


@pytest.mark.parametrize("device", DEVICES)
def test_single_precision(device):
    """Both round to 6e-8; what the tangents and gradients add up differs by more."""
    structures = moved(triclinic(), 3)
    compare(fitted(structures, dtype="float32"), structures, device, 2e-4)


@pytest.mark.parametrize("device", DEVICES)
def test_derivatives(device):
    atoms = triclinic()
    check_derivatives(fitted([atoms], device=device), atoms)


@pytest.mark.parametrize("device", DEVICES)
def test_structures_of_one_cell_go_together(device, monkeypatch):
    """Batches and single structures give the same, in the order of X."""
    structures = [a for pair in zip(moved(triclinic(), 3), moved(CELLS["cubic"](), 3),
                                    strict=True) for a in pair]  # fmt: skip
    transformer = fitted(structures, device=device)
    sizes = []
    all_values = type(transformer._evaluator).all_values

    def spy(self, structures):
        sizes.append(len(structures))
        return all_values(self, structures)

    monkeypatch.setattr(type(transformer._evaluator), "all_values", spy)
    together = transformer.transform(structures)
    assert sizes == [3, 3]
    alone = np.concatenate([transformer.transform([a]) for a in structures])
    np.testing.assert_allclose(together, alone, rtol=1e-10)


def test_different_numbers_of_directions():
    structures = moved(triclinic(), 3)
    transformer = fitted(structures)
    displacements = [random_directions(a, d)[0] for a, d in zip(structures, (2, 1, 2), strict=True)]
    expected = transformer.jvp(structures, displacements)
    for value, reference in zip(
        transformer.set_params(device="cpu").jvp(structures, displacements), expected, strict=True
    ):
        np.testing.assert_allclose(value, reference, rtol=1e-8, atol=1e-9 * abs(reference).max())


def test_maps_restriction_and_kept_grids():
    atoms = triclinic()
    transformer = fitted([atoms], device="cpu")
    plain = fitted([atoms])
    for second in (None, (2, 0, 1)):
        path = {"channel": "valence", "first": (2, 1, 0), "second": second}
        maps = plain.maps(atoms, **path)
        tolerance = {"rtol": 1e-9, "atol": 1e-12 * abs(maps).max()}
        np.testing.assert_allclose(transformer.maps(atoms, **path), maps, **tolerance)
    columns = [5, 100, 7]
    for part in (transformer.restrict(columns), transformer.keep_grid(atoms).restrict(columns)):
        assert part.device == "cpu"
        np.testing.assert_allclose(
            part.transform([atoms]), plain.transform([atoms])[:, columns], rtol=1e-9
        )


def test_fitted_state_knows_no_device():
    """A transformer fitted with one device is loaded and used with another, or none."""
    atoms = triclinic()
    transformer = fitted([atoms], device="cpu")
    features = transformer.transform([atoms])
    loaded = pickle.loads(pickle.dumps(transformer)).set_params(device=None)
    np.testing.assert_allclose(loaded.transform([atoms]), features, rtol=1e-9)
    auto = loaded.set_params(device="auto").transform([atoms])
    np.testing.assert_allclose(auto, features, rtol=1e-9)


def test_devices_that_are_not_there():
    atoms = triclinic()
    for device in ("cuda:99", "toaster"):
        transformer = fitted([atoms], device=device)
        with pytest.raises(ValueError, match=f"torch cannot use device='{device}'"):
            transformer.transform([atoms])


def test_without_torch(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setitem(sys.modules, "array_api_compat", None)
    atoms = triclinic()
    with pytest.raises(ValueError, match="needs torch and array-api-compat: pip install"):
        fitted([atoms], device="cpu").transform([atoms])
