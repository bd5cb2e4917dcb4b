"""The networks as functions of structures: symmetries, derivatives, limits."""

import itertools

import numpy as np
import pytest

pytest.importorskip("torch", reason="the networks need torch")

import matplotlib.pyplot as plt
from ase import Atoms
from ase.build import bulk
from helpers.neural_checks import NETWORKS, cells, labels, untrained
from helpers.small_structures import CELLS, molecule, random_rotation, rotated, strained

from skwavelet import ScatteringCalculator
from skwavelet.inspection import (
    EnergyVolumeDisplay,
    ParityDisplay,
    PathEnergyDisplay,
    barrier,
)
from skwavelet.neural import AngularNetwork, graph, predictions
from skwavelet.properties.curves import fit_parabola

networks = pytest.mark.parametrize("name", NETWORKS)


@pytest.fixture(scope="module")
def fitted():
    """Every network, fitted once."""
    return {name: untrained(name) for name in NETWORKS}


@networks
@pytest.mark.parametrize("cell", CELLS)
def test_rigid_motions_turn_forces_and_leave_energies(fitted, name, cell):
    network, atoms = fitted[name], CELLS[cell]()
    energy, (forces,) = network.predict([atoms]), network.predict_forces([atoms])
    assert np.abs(forces).max() > 1e-6
    for rotation in (random_rotation(1), -random_rotation(2)):
        moved = rotated(atoms, rotation)
        moved.translate([0.3, -1.7, 2.9])
        np.testing.assert_allclose(network.predict([moved]), energy, rtol=1e-12, atol=1e-12)
        turned = network.predict_forces([moved])[0]
        np.testing.assert_allclose(turned, forces @ rotation.T, atol=1e-10)
    order = np.random.default_rng(0).permutation(len(atoms))
    np.testing.assert_allclose(network.predict([atoms[order]]), energy, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(network.predict_forces([atoms[order]])[0], forces[order], atol=1e-10)


@networks
def test_a_batch_gives_what_its_structures_give(name):
    # With this seed no energy is so close to zero that its rounding is that of larger terms.
    network, structures = untrained(name, random_state=1), [*cells(), Atoms("Li")]
    alone = np.concatenate([network.predict([atoms]) for atoms in structures])
    np.testing.assert_allclose(network.predict(structures), alone, rtol=1e-13)
    for atoms, forces in zip(structures, network.predict_forces(structures), strict=True):
        np.testing.assert_allclose(forces, network.predict_forces([atoms])[0], atol=1e-12)


@networks
def test_supercell_has_the_energy_per_atom_of_its_cell(fitted, name):
    atoms = CELLS["triclinic"]()
    energies = fitted[name].predict([atoms, atoms.repeat((2, 1, 3))])
    np.testing.assert_allclose(energies[1], energies[0], rtol=1e-12)


@networks
@pytest.mark.parametrize("cell", ["triclinic", "slab", "molecule"])
def test_forces_are_differences_of_energies(fitted, name, cell):
    network, atoms, step = fitted[name], CELLS[cell](), 1e-4
    (forces,) = network.predict_forces([atoms])
    for seed in range(2):
        direction = np.random.default_rng(seed).normal(size=forces.shape)
        moved = [atoms.copy() for _ in range(4)]
        for copy, factor in zip(moved, (-2, -1, 1, 2), strict=True):
            copy.positions += factor * step * direction
        energies = len(atoms) * network.predict(moved)
        slope = (energies[0] - 8 * energies[1] + 8 * energies[2] - energies[3]) / (12 * step)
        np.testing.assert_allclose((forces * direction).sum(), -slope, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(forces.sum(axis=0), 0, atol=1e-10)


@networks
def test_stress_is_a_difference_of_energies(fitted, name):
    network, atoms, step = fitted[name], CELLS["triclinic"](), 1e-5
    strain = np.random.default_rng(0).normal(size=(3, 3))
    strain += strain.T
    ends = network.predict([strained(atoms, factor * step * strain) for factor in (-1, 1)])
    voigt = strain[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]] * [1, 1, 1, 2, 2, 2]
    slope = len(atoms) * (ends[1] - ends[0]) / (2 * step) / atoms.get_volume()
    np.testing.assert_allclose(network.predict_stress([atoms])[0] @ voigt, slope, rtol=1e-6)
    with pytest.raises(ValueError, match="Structure 1 is not periodic in all directions"):
        network.predict_stress([atoms, molecule()])


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "pooled"])
def test_energy_and_forces_are_smooth_at_the_cutoff(fitted, name):
    """A third atom crosses 3.2 Å: steps would stand out of the smooth differences."""
    network = fitted[name]
    distances = 3.2 + np.linspace(-1e-3, 1e-3, 21)
    row = [Atoms("SiLi2", positions=[[0, 0, 0], [1.5, 0.4, 0], [0, 0, d]]) for d in distances]
    energies = network.predict(row)
    pulls = np.array([forces[2, 2] for forces in network.predict_forces(row)])
    assert np.ptp(energies) < 1e-5
    assert np.abs(np.diff(pulls)).max() < 2e-3
    # The force does change within the cutoff, or the above would say nothing.
    inside = Atoms("SiLi2", positions=[[0, 0, 0], [1.5, 0.4, 0], [0, 0, 2.5]])
    assert np.abs(network.predict_forces([inside])[0][2, 2]) > 1e-6


@pytest.mark.parametrize("distance", [1.6, 3.2, 6.4])
def test_a_pooled_network_is_smooth_where_pairs_of_atoms_and_of_nodes_end(fitted, distance):
    """Atoms are given away up to 1.6 Å, and messages reach 3.2 Å, between nodes 6.4 Å."""
    distances = distance + np.linspace(-1e-3, 1e-3, 21)
    row = [Atoms("SiLi2", positions=[[0, 0, 0], [1.4, 0.4, 0], [0, 0, d]]) for d in distances]
    energies = 3 * fitted["pooled"].predict(row)
    pulls = np.array([forces[2, 2] for forces in fitted["pooled"].predict_forces(row)])
    # The slope of a force has a step there, of which a difference sees a part.
    np.testing.assert_allclose(np.gradient(energies, distances)[1:-1], -pulls[1:-1], atol=5e-5)
    assert np.abs(np.diff(pulls)).max() < 2e-3


@pytest.mark.parametrize(
    ("messages", "reaches"), [("both", True), ("neighbor", True), ("center", False)]
)
@pytest.mark.parametrize("replaced", [1, 2])
def test_whether_the_element_of_a_neighbour_reaches_the_centre(messages, reaches, replaced):
    """One layer, the feature of atom 0: in the literal (6.13) it is blind to its neighbours."""
    structures = [Atoms("OLiSi", positions=[[0, 0, 0], [1.6, 0, 0], [0.3, 1.7, 0]]) for _ in "ab"]
    structures[1].numbers[replaced] = 8
    network = AngularNetwork(
        1, 6, basis="gaussian", messages=messages, max_epochs=1, validation_fraction=None,
        dtype="float64", random_state=0,
    ).fit(structures, [0.0, 1.0])  # fmt: skip
    features = []
    hook = network.module_.levels[0][0].register_forward_hook(
        lambda module, inputs, output: features.append(output[0][0].numpy())
    )
    for atoms in structures:
        network.predict([atoms])
    hook.remove()
    change = np.abs(features[1] - features[0]).max()
    assert change > 1e-6 if reaches else change < 1e-14


@networks
def test_an_isolated_atom_feels_nothing(fitted, name):
    (forces,) = fitted[name].predict_forces([Atoms("Li")])
    np.testing.assert_array_equal(forces, np.zeros((1, 3)))
    far = Atoms("Li2", positions=[[0, 0, 0], [0, 0, 30]])
    alone, pair = fitted[name].predict([Atoms("Li"), far])
    np.testing.assert_allclose(pair, alone, rtol=1e-13)


@networks
def test_training_on_lone_atoms_alone(name):
    structures = [Atoms("Li"), Atoms("Si"), Atoms("Li")]
    kwargs = {"beta": 0.5} if "point" in name else {}  # nothing to learn it from
    network = NETWORKS[name](validation_fraction=None, max_epochs=200, learning_rate=0.02, **kwargs)
    energies = network.fit(structures, [1.0, 2.0, 1.0]).predict(structures)
    np.testing.assert_allclose(energies, [1.0, 2.0, 1.0], atol=0.02)


@networks
def test_an_unseen_element_is_named(fitted, name):
    with pytest.raises(ValueError, match=r"Structure 1 contains Na, .* every element\.$"):
        fitted[name].predict([Atoms("Li"), Atoms("Na")])


@networks
def test_single_precision_agrees(name):
    double, single = (untrained(name, dtype=dtype) for dtype in ("float64", "float32"))
    structures = cells()
    single.module_.load_state_dict(double.module_.state_dict())
    single.shifts_, single.scale_ = double.shifts_, double.scale_
    np.testing.assert_allclose(
        single.predict(structures), double.predict(structures), rtol=1e-4, atol=1e-4
    )
    for one, two in zip(
        single.predict_forces(structures), double.predict_forces(structures), strict=True
    ):
        np.testing.assert_allclose(one, two, rtol=1e-2, atol=2e-4)


@networks
def test_large_structures_go_alone(fitted, name, monkeypatch):
    """Or their pairs would not fit into memory: at most six atoms, or one structure, together."""
    structures = cells()
    expected = fitted[name].predict(structures)
    sizes, collate = [], predictions.collate

    def counted(graphs, dtype):
        sizes.append([len(part.species) for part in graphs])
        return collate(graphs, dtype)

    monkeypatch.setattr(predictions, "collate", counted)
    monkeypatch.setattr(graph, "_MOST_ATOMS", 6)
    np.testing.assert_allclose(fitted[name].predict(structures), expected, rtol=1e-12)
    assert [size for part in sizes for size in part] == [len(atoms) for atoms in structures]
    assert all(sum(part) <= 6 or len(part) == 1 for part in sizes)
    for one, two in itertools.pairwise(sizes):
        assert len(one) == 3 or sum(one) + two[0] > 6  # none is emptier than it must be


@pytest.mark.parametrize("name", ["legendre", "pooled", "linear point"])
def test_large_cells_have_the_energy_and_stress_of_small_ones(name):
    """In single precision, where sums of many atoms lose digits: 4,394 atoms."""
    cell = bulk("Si", cubic=False)
    cell.rattle(0.05, seed=0)
    network = untrained(name, [cell, cells()[0]], dtype="float32")
    large = cell.repeat(13)
    energies, stresses = network.predict([cell, large]), network.predict_stress([cell, large])
    np.testing.assert_allclose(energies[1], energies[0], rtol=1e-6)
    np.testing.assert_allclose(stresses[1], stresses[0], atol=3e-6 * np.abs(stresses[0]).max())


@networks
def test_calculator_gives_what_the_network_predicts(fitted, name):
    network, atoms = fitted[name], CELLS["triclinic"]()
    for per_atom in (True, False):  # a network knows that it predicts eV/atom
        atoms.calc = ScatteringCalculator(network, per_atom=per_atom)
        energy = len(atoms) * network.predict([atoms])[0]
        np.testing.assert_allclose(atoms.get_potential_energy(), energy)
        np.testing.assert_allclose(atoms.get_forces(), network.predict_forces([atoms])[0])
        np.testing.assert_allclose(atoms.get_stress(), network.predict_stress([atoms])[0])


def test_physics_of_a_network_is_that_of_its_calculator(fitted):
    """N = 8: energies are multiplied by the number of atoms once."""
    network = fitted["legendre"]
    X = [bulk("Si", a=a, cubic=True) for a in (4.6, 4.7, 4.8, 4.9)]
    energies = []
    for atoms in X:
        atoms.calc = ScatteringCalculator(network)
        energies.append(atoms.get_potential_energy())
    volumes = np.array([atoms.get_volume() for atoms in X])
    parabola = fit_parabola(volumes, np.array(energies), 0.04, volumes[1])
    display = EnergyVolumeDisplay.from_estimator(network, X, reference_volume=volumes[1])
    np.testing.assert_allclose(display.bulk_modulus, parabola.bulk_modulus, rtol=1e-9)
    path = PathEnergyDisplay.from_estimator(network, X, network.predict(X))
    np.testing.assert_allclose(path.barriers["model"][0], barrier(energies), atol=1e-12)
    np.testing.assert_allclose(path.reference_barrier, barrier(energies), atol=1e-12)
    parity = ParityDisplay.from_estimator(network, X, np.array(energies) / 8 + 0.25)
    np.testing.assert_allclose(parity.mae, 0.25)
    plt.close("all")


def test_atoms_at_one_place_are_named():
    structures = [molecule(), molecule()]
    structures[1].positions[1] = structures[1].positions[0]
    with pytest.raises(ValueError, match=r"Structure 1 has atoms \d and \d at the same place"):
        NETWORKS["legendre"]().fit(structures, *labels(structures)[:1])


@pytest.mark.parametrize("angles", [0, 3])
def test_angles_are_seen_if_asked_for(angles):
    """A bent and a straight molecule of equal distances to the centre."""
    turn = np.radians(150)
    bent = Atoms("OLi2", positions=[[0, 0, 0], [2, 0, 0], [2 * np.cos(turn), 2 * np.sin(turn), 0]])
    straight = Atoms("OLi2", positions=[[0, 0, 0], [2, 0, 0], [-2, 0, 0]])
    for basis in ("legendre", "gaussian"):
        network = AngularNetwork(
            2, 6, basis=basis, n_angular=angles, cutoff=3.0, max_epochs=1,
            validation_fraction=None, dtype="float64", random_state=0,
        ).fit([bent, straight], [0.0, 1.0])  # fmt: skip
        first, second = network.predict([bent, straight])
        assert (abs(first - second) > 1e-9) == (angles > 0)


@pytest.mark.parametrize("n_layers", [1, 2])
def test_moments_tell_a_second_layer_of_torsion_angles(n_layers):
    """With bonds alone within the cutoff; up to the sign, which a reflection changes."""

    def chain(torsion):
        ends = [[1.4, 0, -0.5], [1.4 * np.cos(torsion), 1.4 * np.sin(torsion), 1.5]]
        return Atoms("CNOF", [ends[0], [0, 0, 0], [0, 0, 1], ends[1]])

    X = [chain(torsion) for torsion in (0.4, -0.4, 1.2)]
    network = AngularNetwork(
        n_layers, 6, cutoff=2.0, max_epochs=1, validation_fraction=None, random_state=0,
        dtype="float64",
    ).fit(X, [0.0, 0.0, 1.0])  # fmt: skip
    one, mirrored, other = network.predict(X)
    assert one == pytest.approx(mirrored, rel=0, abs=1e-12)
    assert (abs(one - other) > 1e-9) == (n_layers > 1)
