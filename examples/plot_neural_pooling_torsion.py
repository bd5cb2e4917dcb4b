"""
Pooling atoms: what it knows of a torsion angle
===============================================

A chain of four atoms A-B-C-D is pooled to three nodes. The angle between the nodes is a function of
the torsion angle of the chain, so that three-body terms at the nodes see what those at the atoms
do not.

Figure 6.2 of X. Brumwell, *Wavelet scattering and graph representations for atomic structures*.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch
from ase import Atoms

from skwavelet.neural import AngularNetwork
from skwavelet.neural.graph import build_graph, collate
from skwavelet.neural.pooling import Nodes, pool
from skwavelet.structures.checks import check_structures

BOND, ANGLE = 1.5, np.radians(110)


def chain(torsion, symbols="FCNO"):
    """Return four atoms with fixed bonds and bond angles (Å), and a torsion angle (rad)."""
    radius, height = BOND * np.sin(np.pi - ANGLE), BOND * np.cos(np.pi - ANGLE) + BOND / 2
    first = [radius, 0, -height]
    last = [radius * np.cos(torsion), radius * np.sin(torsion), height]
    return Atoms(symbols, [first, [0, 0, -BOND / 2], [0, 0, BOND / 2], last])


# %%
# The pooled angle
# ----------------
#
# Atom B is given to C, so that the node of C comes to lie at the midpoint of their bond; A, C and D
# keep themselves. Positions are averaged with *normalized* shares: without the normalization,
# :math:`S^T R` does not move along with the molecule.


def pooled_angle(atoms):
    """Return the angle (rad) at the middle one of three nodes."""
    (structure,) = check_structures([atoms])
    batch = collate([build_graph(structure, [5.0], structure.elements)], torch.float64)
    pairs, zeros = batch.pairs[0], torch.zeros(4, 3, dtype=torch.float64)
    nodes = Nodes(zeros, torch.arange(4), zeros, torch.ones(4, dtype=torch.float64))
    given = ((pairs.centers == 1) & (pairs.neighbors == 2)).double()
    left = pool(nodes, pairs, torch.tensor([1, 0, 1, 1], dtype=torch.float64), given)
    positions = atoms.positions[left.sites] + left.shifts.numpy()
    one, two = positions[[0, 2]] - positions[1]
    return np.arccos(one @ two / np.linalg.norm(one) / np.linalg.norm(two))


torsions = np.radians(np.arange(-180, 181, 5))
angles = np.array([pooled_angle(chain(torsion)) for torsion in torsions])

# %%
# In closed form, with a the distance of A from the axis of the bond B-C and h its height above the
# midpoint, :math:`\cos\theta = (a^2 \cos\phi - h^2) / (a^2 + h^2)`. So the pooled angle
# :math:`\theta` tells the torsion angle :math:`\phi` up to its sign, for a given skeleton. It is
# not equal to it, though: they agree at 180° only, and :math:`\theta` never falls below
# :math:`2 \arctan(h / a)`.

a, h = BOND * np.sin(ANGLE), BOND / 2 - BOND * np.cos(ANGLE)
closed = np.arccos((a**2 * np.cos(torsions) - h**2) / (a**2 + h**2))
print(f"largest difference from the closed form: {np.abs(angles - closed).max():.1e} rad")
print(f"pooled angle at a torsion of 0: {np.degrees(angles[36]):.1f}°")

# %%
# Learning a torsional energy
# ---------------------------
#
# With a cutoff of 2 Å an atom sees its bonds alone. One layer of three-body terms at the atoms
# knows bonds and bond angles, which do not change here: its energy is constant. With pooling, where
# the shares are learned, too, it is not. A second layer at the atoms does the same: the first
# hands it the moments of B's surroundings and of C's, which are turned to each other.

rng = np.random.default_rng(0)


def energy(torsion):
    """Return a torsional energy, eV."""
    return 0.2 * (1 + np.cos(torsion)) + 0.1 * (1 - np.cos(2 * torsion))


train = rng.uniform(-np.pi, np.pi, 80)
grid = np.linspace(-np.pi, np.pi, 73)
curves = {}
for label, n_layers, pooling in (
    ("one layer at the atoms", 1, None),
    ("one at the atoms, one at the nodes", 1, 1),
    ("two layers at the atoms", 2, None),
):
    network = AngularNetwork(
        n_layers, 12, cutoff=2.0, pooling=pooling, learning_rate=0.02, max_epochs=150,
        random_state=0,
    )  # fmt: skip
    network.fit([chain(torsion) for torsion in train], energy(train) / 4)  # eV/atom
    curves[label] = 4 * network.predict([chain(torsion) for torsion in grid])
    error = np.abs(curves[label] - energy(grid)).mean()
    print(f"{label}: mean absolute error {1e3 * error:.1f} meV")

# %%
fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
left.plot(np.degrees(torsions), np.degrees(angles), label="pooled angle")
left.plot(np.degrees(torsions), np.abs(np.degrees(torsions)), "k:", label="torsion angle itself")
left.set(xlabel="torsion angle (°)", ylabel="angle (°)")
left.legend()
right.plot(np.degrees(grid), energy(grid), "0.7", lw=5, label="energy")
for (label, values), style in zip(curves.items(), ("-", "--", ":"), strict=True):
    right.plot(np.degrees(grid), values, style, lw=2.5, label=label)
right.set(xlabel="torsion angle (°)", ylabel="energy (eV)")
right.legend(loc="lower center")
plt.show()
