import numpy as np
import pytest
from ase.data import atomic_numbers, chemical_symbols

from skwavelet.representations.channels import channel_weights, valence_electrons

VALENCE = {
    "H": 1, "He": 2, "Li": 1, "Be": 2, "B": 3, "C": 4, "N": 5, "O": 6, "F": 7, "Ne": 8,
    "Na": 1, "Mg": 2, "Al": 3, "Si": 4, "P": 5, "S": 6, "Cl": 7, "Ar": 8,
    "K": 1, "Ca": 2, "Sc": 3, "Ti": 4, "Cr": 6, "Fe": 8, "Ni": 10, "Cu": 11, "Zn": 12,
    "Ga": 3, "Ge": 4, "As": 5, "Br": 7, "Kr": 8,
    "Rb": 1, "Zr": 4, "Mo": 6, "Ag": 11, "Cd": 12, "In": 3, "Sn": 4, "I": 7, "Xe": 8,
    "Cs": 1, "Ba": 2, "La": 3, "Ce": 4, "Gd": 10, "Lu": 3, "Hf": 4, "W": 6, "Au": 11, "Hg": 12,
    "Tl": 3, "Pb": 4, "Bi": 5, "Rn": 8, "Ra": 2, "U": 6, "Lr": 3, "Og": 8,
}  # fmt: skip


@pytest.mark.parametrize("symbol", VALENCE)
def test_valence_electrons(symbol):
    assert valence_electrons(symbol) == VALENCE[symbol]


def test_every_element_has_weights():
    numbers = list(range(1, 119))
    weights = channel_weights("auto", numbers)
    assert weights.shape == (118, 118 + 3)
    assert weights.index.tolist() == [chemical_symbols[z] for z in numbers]
    assert np.isfinite(weights.to_numpy()).all()
    np.testing.assert_array_equal(np.diag(weights.iloc[:, :118]), numbers)
    np.testing.assert_allclose(weights["kinetic"] ** 2, numbers)
    np.testing.assert_array_equal(weights["valence"] + weights["ionic"], numbers)
    assert (weights["valence"] >= 1).all()
    assert (weights["ionic"] >= 0).all()


def test_five_channels_of_lithium_and_silicon():
    weights = channel_weights("auto", [3, 14])
    assert weights.columns.tolist() == ["Li", "Si", "valence", "ionic", "kinetic"]
    np.testing.assert_allclose(weights, [[3, 0, 1, 2, np.sqrt(3)], [0, 14, 4, 10, np.sqrt(14)]])


def test_channels_by_name():
    weights = channel_weights(["number", "charge", "Si", "elements"], [3, 14])
    assert weights.columns.tolist() == ["number", "charge", "Si", "Li"]
    np.testing.assert_array_equal(weights["number"], [1, 1])
    np.testing.assert_array_equal(weights["charge"], [3, 14])
    assert channel_weights("valence", [8]).to_numpy().tolist() == [[6.0]]


def test_channels_by_mapping_and_function():
    weights = channel_weights(
        {"mass": lambda s: atomic_numbers[s] * 2, "anion": {"O": -2.0, "Si": 0.5}}, [8, 13, 14]
    )
    np.testing.assert_array_equal(weights["mass"], [16, 26, 28])
    np.testing.assert_array_equal(weights["anion"], [-2, 0, 0.5])


@pytest.mark.parametrize(
    ("channels", "message"),
    [
        (["valance"], "Unknown channel 'valance'; use valence"),
        ("everything", "Unknown channel 'everything'"),
        ([], "channels is empty"),
        ({}, "channels is empty"),
        ({"a": {"Li": np.nan}}, "Channel 'a' has a NaN"),
        ({"a": {"O": 1}}, r"Channel 'a' weighs every element of X \(Li, Si\) by zero"),
        ({"a": 3}, "Channel 'a' gives no number for Li"),
        ({"a": lambda s: s}, "Channel 'a' gives no number for Li"),
        ({"a": lambda s: 1 + s}, "Channel 'a' gives no number for Li"),
        ([3], "Unknown channel 3"),
        ([None], "Unknown channel None"),
    ],
)
def test_unusable_channels(channels, message):
    with pytest.raises(ValueError, match=message) as caught:
        channel_weights(channels, [3, 14])
    assert "\n" not in str(caught.value)
