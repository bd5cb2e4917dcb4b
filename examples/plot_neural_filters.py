"""
The filters that an angular network learns
==========================================

A network with the filters of distance and angle is trained on silicon, and its filters are drawn.

Figure 6.1 of X. Brumwell, *Wavelet scattering and graph representations for atomic structures*.
Energies and forces are those of Tersoff's potential (in ASE), whose three-body term prefers
tetrahedral angles.
"""

import matplotlib.pyplot as plt
import numpy as np
from ase.build import bulk
from ase.calculators.tersoff import Tersoff, TersoffParameters

from skwavelet import labels_of
from skwavelet.neural import AngularNetwork

SILICON = {
    ("Si", "Si", "Si"): TersoffParameters(
        A=1830.8, B=471.18, lambda1=2.4799, lambda2=1.7322, lambda3=0.0, beta=1.1e-6,
        gamma=1.0, m=3.0, n=0.78734, c=1.0039e5, d=16.217, h=-0.59825, R=2.85, D=0.15,
    )
}  # fmt: skip

# %%
# Cells of eight atoms, stretched or compressed, with the atoms displaced.

rng = np.random.default_rng(0)
structures = []
for _ in range(100):
    atoms = bulk("Si", a=5.43 * rng.uniform(0.96, 1.04), cubic=True)
    atoms.rattle(0.15, rng=rng)
    atoms.calc = Tersoff(SILICON)
    structures.append(atoms)
labels = labels_of(structures)
energies, forces = labels.energies, labels.forces

# %%
# ``basis="gaussian"`` is the one with filters of a distance and an angle: ten Gaussians of each,
# combined through two dense layers.

network = AngularNetwork(
    1, 16, basis="gaussian", cutoff=3.0, learning_rate=0.02, max_epochs=100, random_state=0
)
network.fit(structures, energies, forces=forces)
last = network.history_.iloc[-1]
print(f"validation: {1e3 * last['validation_energy_mae']:.1f} meV/atom, ", end="")
print(f"{1e3 * last['validation_force_mae']:.0f} meV/Å, ", end="")
print(f"mean absolute force {1e3 * np.abs(forces).mean():.0f} meV/Å")

# %%
# The six filters that vary most. Atom i is at the centre, neighbour j on the axis to the right,
# and the colour at a place tells the filter's value for a neighbour k there, red above and blue
# below zero, each filter on its own scale. The ring is where neighbours are: 1.8 Å to the cutoff.

angle, distance = np.linspace(0, 2 * np.pi, 181), np.linspace(1.8, 3.0, 60)
filters = network.filters(distance, np.cos(angle))
strongest = np.argsort(filters.std(axis=(0, 1)))[::-1][:6]
fig, axes = plt.subplots(
    2, 3, figsize=(8, 5.5), subplot_kw={"projection": "polar"}, layout="constrained"
)
for ax, channel in zip(axes.flat, strongest, strict=True):
    values = filters[:, :, channel]
    size = np.abs(values).max()
    ax.pcolormesh(angle, distance, values, cmap="RdBu_r", vmin=-size, vmax=size, shading="gouraud")
    ax.set(title=f"channel {channel}", rmin=0, xticks=np.radians(range(0, 360, 60)))
    ax.set(yticks=[])
    ax.annotate("1.8 to\n3.0 Å", (0, 0), ha="center", va="center")
    ax.grid(False)
plt.show()
