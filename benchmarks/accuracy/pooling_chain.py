r"""What pooling brings where atoms act on each other beyond the cutoff, and what it costs.

    python benchmarks/accuracy/pooling_chain.py --cache DIR

Alkanes C10H22 with random torsion angles. Their energy is made for the purpose: charges of 0.1 e on
the hydrogens, and on the carbons what makes the molecule neutral, screened over 8 Å, and which act
on each other beyond 3 Å only, in full beyond 5 Å; there is no other term. A network with a cutoff
of 3 Å sees its bonds and next neighbours, with pooling of twice and four times the reach as well,
and with more layers at the atoms as far as messages go. Errors are those of unseen molecules. Then
the time of a prediction of energies and forces per atom, for chains of growing length.

Cost: 10 min; needs torch.
"""

import sys
from functools import partial
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.units import Bohr, Hartree
from sklearn.base import clone

from skwavelet.neural import AngularNetwork

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common.command import arguments
from common.networks import measurement
from common.table import Table
from common.timing import alternate, machine

CC, CH, ANGLE = 1.53, 1.09, np.radians(112)
CHARGE, SCREENING, BEYOND = 0.1, 8.0, (3.0, 5.0)
NETWORKS = {
    "1 layer": {"n_layers": 1},
    "1 layer, pooled once": {"n_layers": 1, "pooling": 1},
    "1 layer, pooled twice": {"n_layers": 1, "pooling": 2},
    "3 layers": {"n_layers": 3},
}


def backbone(torsions):
    """Return carbon atoms with given torsion angles (rad) at fixed bonds and angles."""
    places = [np.zeros(3), np.array([CC, 0, 0])]
    places.append(places[1] + CC * np.array([-np.cos(ANGLE), np.sin(ANGLE), 0]))
    for torsion in torsions:
        a, b, c = places[-3:]
        along = (c - b) / CC
        normal = np.cross(b - a, along)
        normal /= np.linalg.norm(normal)
        side = np.cross(normal, along)
        step = -np.cos(ANGLE) * along
        step += np.sin(ANGLE) * (np.cos(torsion) * side + np.sin(torsion) * normal)
        places.append(c + CC * step)
    return np.array(places)


def alkane(n_carbons, rng, spread=np.pi):
    """Return an alkane without overlaps, its torsion angles within ``spread`` of 180°."""
    while True:
        carbons = backbone(np.pi + rng.uniform(-spread, spread, n_carbons - 3))
        hydrogens = []
        for i in range(n_carbons):
            # Ends are given a neighbour that mirrors the one they have.
            left = carbons[i - 1] if i else 2 * carbons[0] - carbons[1] + [0, 0.6, 0.9]
            right = carbons[i + 1] if i < n_carbons - 1 else 2 * carbons[i] - carbons[i - 1] + 0.7
            one, two = carbons[i] - left, carbons[i] - right
            out = one / np.linalg.norm(one) + two / np.linalg.norm(two)
            out /= np.linalg.norm(out)
            across = np.cross(one, two)
            across /= np.linalg.norm(across)
            for sign in (-1, 1):
                hydrogens.append(carbons[i] + CH * (0.58 * out + sign * 0.81 * across))
            if i in (0, n_carbons - 1):
                away = two if i == 0 else one
                hydrogens.append(carbons[i] + CH * away / np.linalg.norm(away) * 1.0)
        atoms = Atoms(f"C{n_carbons}H{len(hydrogens)}", np.concatenate([carbons, hydrogens]))
        distances = atoms.get_all_distances() + 9 * np.eye(len(atoms))
        if distances.min() > 1.0:
            return atoms


def coulomb(atoms):
    """Return the energy (eV/atom) and forces (eV/Å) of screened charges."""
    hydrogens = atoms.numbers == 1
    charges = np.where(hydrogens, CHARGE, -CHARGE * hydrogens.sum() / (~hydrogens).sum())
    vectors = atoms.positions[:, None] - atoms.positions
    distances = np.linalg.norm(vectors, axis=-1) + np.eye(len(atoms))
    pairs = Hartree * Bohr * np.outer(charges, charges) * np.exp(-distances / SCREENING)
    low, high = BEYOND
    t = np.clip((distances - low) / (high - low), 0, 1)
    onset, rise = t * t * (3 - 2 * t), 6 * t * (1 - t) / (high - low)
    pairs = pairs / distances
    slopes = pairs * (onset * (1 / distances + 1 / SCREENING) - rise)
    pairs = pairs * onset
    forces = (slopes[:, :, None] * vectors / distances[:, :, None]).sum(axis=1)
    return 0.5 * pairs.sum() / len(atoms), forces


def data(n, n_carbons, seed):
    """Return molecules with energies and forces."""
    rng = np.random.default_rng(seed)
    X = [alkane(n_carbons, rng) for _ in range(n)]
    y, forces = zip(*map(coulomb, X), strict=True)
    return X, np.array(y), list(forces)


def main():
    args = arguments(
        __doc__,
        cache=True,
        quick={"epochs": 1, "train": 20, "test": 10, "lengths": (10, 20)},
        epochs=60,
        train=200,
        test=100,
        lengths=(20, 80, 320),
    )
    torch.set_num_threads(1)
    print(machine("torch"))
    train, test = data(args.train, 10, 0), data(args.test, 10, 1)
    networks = {
        title: AngularNetwork(
            width=32, cutoff=3.0, max_epochs=args.epochs, device="cpu", random_state=0, **options
        )
        for title, options in NETWORKS.items()
    }
    table = Table(["network", "energy meV", "force meV/Å", "CPU s"], digits=1)
    for title, network in networks.items():
        settings = (network, train, test)
        energy, force, seconds = args.cache.get("pooling", measurement(*settings), *settings)
        table.add(title, energy, force, f"{seconds:.0f}")
    print()
    table = Table(["carbon atoms", *(f"{title}, µs/atom" for title in networks)], digits=0)
    fitted = {
        title: clone(network).set_params(max_epochs=1).fit(*(part[:10] for part in train))
        for title, network in networks.items()
    }
    rng = np.random.default_rng(0)
    for length in args.lengths:
        atoms = alkane(length, rng, spread=0.2)
        calls = {title: partial(model.predict_forces, [atoms]) for title, model in fitted.items()}
        times = alternate(calls, 5).values()
        table.add(length, *(1e6 * taken.best_cpu / len(atoms) for taken in times))


if __name__ == "__main__":
    main()
