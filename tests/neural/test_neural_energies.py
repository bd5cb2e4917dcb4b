"""Energies of atoms, whose sum is what a network predicts."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="the networks need torch")

from ase import Atoms
from helpers.neural_checks import NETWORKS, cells, untrained
from helpers.small_structures import CELLS, strained

from skwavelet import ScatteringCalculator
from skwavelet.potentials.energy_model import energy_model

LOCAL = [name for name in NETWORKS if name != "point"]


@pytest.fixture(scope="module")
def fitted():
    return {name: untrained(name) for name in NETWORKS}


@pytest.mark.parametrize("name", LOCAL)
def test_they_add_up(fitted, name):
    calculator = ScatteringCalculator(fitted[name])
    for atoms in cells():
        energies = calculator.get_property("energies", atoms)
        total = calculator.get_potential_energy(atoms)
        np.testing.assert_allclose(energies.sum(), total, rtol=1e-11)
        assert energies.shape == (len(atoms),)


@pytest.mark.parametrize("name", LOCAL)
def test_a_part_has_the_energy_and_the_derivatives_of_its_atoms(fitted, name):
    energies, atoms, step = energy_model(fitted[name]).of_atoms(), CELLS["triclinic"](), 1e-5
    value, gradient, slope = energies.partial_value_and_vjp(atoms, 2)
    np.testing.assert_allclose(value, energies.values(atoms)[:2].sum(), rtol=1e-12)
    rng = np.random.default_rng(0)
    direction, tensor = rng.normal(size=gradient.shape), rng.normal(size=(3, 3))
    ends = []
    for sign in (-1, 1):
        moved = atoms.copy()
        moved.positions += sign * step * direction
        bent = strained(atoms, sign * step * tensor)
        ends.append([energies.values(part) for part in (moved, bent)])
    by_move, by_strain = (np.array(ends[1]) - ends[0]) / (2 * step)
    np.testing.assert_allclose(
        (gradient * direction).sum(), by_move[:2].sum(), rtol=1e-6, atol=1e-8
    )
    np.testing.assert_allclose((slope * tensor).sum(), by_strain[:2].sum(), rtol=1e-6, atol=1e-8)
    virials = energies.virials(atoms)
    np.testing.assert_allclose(
        -(virials * tensor).sum(axis=(1, 2)), by_strain, rtol=1e-6, atol=1e-9
    )


@pytest.mark.parametrize("name", ["legendre", "pairs", "gaussian", "linear point"])
def test_atoms_beyond_the_range_do_not_matter_and_those_within_do(fitted, name):
    """A chain of atoms that hand the news on from layer to layer."""
    energies = energy_model(fitted[name]).of_atoms()
    n_links = fitted[name].n_layers
    assert energies.interaction_range == n_links * 3.2
    for link, matters in ((2.9, True), (3.25, False)):
        chain = Atoms("LiSiLi"[: 2 * (n_links + 1)], [[link * k, 0, 0] for k in range(n_links + 1)])
        moved = chain.copy()
        moved.positions[-1, 0] += 0.1
        change = energies.values(moved)[0] - energies.values(chain)[0]
        assert (change != 0) == matters


def test_elements_and_single_precision(fitted):
    assert energy_model(fitted["legendre"]).of_atoms().elements == ("Li", "O", "Si")
    network, atoms = untrained("legendre", dtype="float32"), CELLS["triclinic"]()
    energies = energy_model(network).of_atoms()
    np.testing.assert_allclose(energies.values(atoms).mean(), network.predict([atoms]), rtol=1e-5)
    value, gradient, _ = energies.partial_value_and_vjp(atoms, 3)
    np.testing.assert_allclose(value, 3 * network.predict([atoms]), rtol=1e-5)
    np.testing.assert_allclose(-gradient, network.predict_forces([atoms])[0], atol=1e-4)


def test_networks_that_are_no_sum_over_atoms_say_so(fitted):
    with pytest.raises(TypeError, match=r"PointScatteringNetwork is no sum over atoms: .*linear"):
        energy_model(fitted["point"]).of_atoms()
