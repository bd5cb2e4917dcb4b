"""Pooling where it matters: atoms that act on each other beyond the cutoff."""

import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="the networks need torch")

from ase import Atoms

from skwavelet.neural import AngularNetwork
from skwavelet.neural.graph import build_graph
from skwavelet.structures.checks import check_structures

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks" / "accuracy"))


@pytest.fixture(scope="module")
def chains():
    import pooling_chain

    return pooling_chain


@pytest.mark.slow
def test_pooling_learns_a_long_range_term_of_alkanes(chains):
    """Screened charges, a cutoff of 3 Å and one layer: errors of unseen molecules."""
    train, test = chains.data(100, 8, 0), chains.data(50, 8, 1)
    plain, pooled = (
        chains.measurement(
            AngularNetwork(1, 32, cutoff=3.0, pooling=pooling, max_epochs=40, random_state=0),
            train,
            test,
        )()
        for pooling in (None, 1)
    )
    # Of energies and of forces: 0.79 and 0.78 when it was written.
    assert pooled[0] < 0.9 * plain[0]
    assert pooled[1] < 0.9 * plain[1]


@pytest.mark.slow
def test_pooling_sees_a_torsion_that_one_layer_at_the_atoms_does_not():
    """Of A-B-C-D with bonds of 1.5 Å and a cutoff of 2 Å, so that A and D are no neighbours."""
    bond, angle = 1.5, np.radians(110)
    radius, height = bond * np.sin(angle), bond / 2 - bond * np.cos(angle)

    def chain(turn):
        last = [radius * np.cos(turn), radius * np.sin(turn), height]
        middle = [[0, 0, -bond / 2], [0, 0, bond / 2]]
        return Atoms("FCNO", [[radius, 0, -height], *middle, last])

    def energy(turn):
        return 0.2 * (1 + np.cos(turn)) + 0.1 * (1 - np.cos(2 * turn))

    train = np.random.default_rng(0).uniform(-np.pi, np.pi, 80)
    grid = np.linspace(-np.pi, np.pi, 37)
    errors = []
    for pooling in (None, 1):
        network = AngularNetwork(
            1, 12, cutoff=2.0, pooling=pooling, learning_rate=0.02, max_epochs=150, random_state=0
        ).fit([chain(turn) for turn in train], energy(train) / 4)
        off = 4 * network.predict([chain(turn) for turn in grid]) - energy(grid)
        errors.append(np.abs(off).mean())
    assert errors[0] > 0.1
    assert errors[1] < 0.005


def test_labels_of_chains_are_derivatives(chains):
    atoms = chains.alkane(6, np.random.default_rng(0))
    _, forces = chains.coulomb(atoms)
    assert np.abs(forces.sum(axis=0)).max() < 1e-12
    direction, ends = np.random.default_rng(1).normal(size=forces.shape), []
    for step in (-1e-5, 1e-5):
        moved = atoms.copy()
        moved.positions += step * direction
        ends.append(len(atoms) * chains.coulomb(moved)[0])
    slope = (ends[1] - ends[0]) / 2e-5
    np.testing.assert_allclose(-(forces * direction).sum(), slope, rtol=1e-7)
    distances = np.linalg.norm(np.diff(atoms.positions[:6], axis=0), axis=1)
    np.testing.assert_allclose(distances, chains.CC)


def test_pairs_grow_with_the_length_of_a_chain(chains):
    """Of all levels: pooling costs as much per atom, however long the chain is."""
    rng = np.random.default_rng(0)
    network = AngularNetwork(1, 4, cutoff=3.0, pooling=2, max_epochs=1, random_state=0)
    network.fit(*chains.data(4, 6, 0))
    counts = []
    for length in (40, 80):
        (structure,) = check_structures([chains.alkane(length, rng, spread=0.1)])
        graph = build_graph(structure, network._reaches(), structure.elements)
        counts.append([len(pairs.centers) / len(structure) for pairs in graph.pairs])
    np.testing.assert_allclose(counts[0], counts[1], rtol=0.35)
