"""Small labelled molecules and untrained networks for the tests of the networks."""

import numpy as np
import torch
from ase.build import molecule
from ase.calculators.emt import EMT
from helpers.small_structures import CELLS

from skwavelet.neural import AngularNetwork, PointScatteringNetwork
from skwavelet.neural.held_out import split
from skwavelet.structures.checks import check_structures

# Threads wait for each other at every one of these small arrays: for minutes, on a busy machine.
torch.set_num_threads(1)

# Every kind of network, small and in double precision.
NETWORKS = {
    "legendre": lambda **p: AngularNetwork(2, 6, n_radial=5, cutoff=3.2, **quick(p)),
    "gaussian": lambda **p: AngularNetwork(
        2, 6, basis="gaussian", n_radial=5, n_angular=4, cutoff=3.2, **quick(p)
    ),
    "literal": lambda **p: AngularNetwork(
        1, 6, basis="literal", n_radial=8, n_angular=4, cutoff=3.2, **quick(p)
    ),
    "pooled": lambda **p: AngularNetwork(
        1, 6, pooling=1, n_radial=5, n_angular=3, cutoff=3.2, **quick(p)
    ),
    "pairs": lambda **p: AngularNetwork(2, 6, n_angular=0, n_radial=5, cutoff=3.2, **quick(p)),
    "point": lambda **p: PointScatteringNetwork(2, 3, n=[1, 2], max_l=1, reach=3.2, **quick(p)),
    "linear point": lambda **p: PointScatteringNetwork(
        1, 3, n=3, powers=(1, 1.5, 2), head="linear", reach=3.2, **quick(p)
    ),
}


def quick(changes):
    return {"max_epochs": 1, "dtype": "float64", "random_state": 0, "batch_size": 3} | changes


def cells():
    """One structure of each kind of cell, each element in the first."""
    return [CELLS[name]() for name in ("three_elements", "triclinic", "slab", "wire", "molecule")]


def labels(structures, seed=0):
    """Energies and forces that are no function of anything."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=len(structures)), [rng.normal(size=(len(s), 3)) for s in structures]


def untrained(name, structures=None, **changes):
    """A network after a single epoch on random labels."""
    structures = cells() if structures is None else structures
    energies, forces = labels(structures)
    network = NETWORKS[name](validation_fraction=None, **changes)
    return network.fit(structures, energies, forces=forces)


def waters(n, *, rattle=0.08, seed=0, name="H2O"):
    """Rattled molecules with energies (eV/atom) and forces of effective medium theory."""
    structures = []
    rng = np.random.default_rng(seed)
    for _ in range(n):
        atoms = molecule(name)
        atoms.rattle(rattle, rng=rng)
        structures.append(atoms)
    energies, forces = [], []
    for atoms in structures:
        labelled = atoms.copy()
        labelled.calc = EMT()
        energies.append(labelled.get_potential_energy() / len(atoms))
        forces.append(labelled.get_forces())
    return structures, np.array(energies), forces


def weights(network):
    """All numbers of a fitted network."""
    return torch.cat([value.ravel() for value in network.module_.state_dict().values()]).numpy()


def split_as_fit_does(network, X, groups):
    """The rows that a network with ``random_state=0`` trains on, and those that it holds out."""
    seed = int(np.random.RandomState(0).randint(2**31))
    fraction, seen = network.validation_fraction, np.zeros(len(X), bool)
    return split(X, check_structures(X), groups, fraction, seed, seen)
