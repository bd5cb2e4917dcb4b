"""
An angular network for a molecule
=================================

Train a network on energies and forces of a molecule of nine atoms, look at its errors on unseen
structures, and run molecular dynamics with it.

The labels are those of effective medium theory (ASE's EMT), which is no good model of ethanol but
takes no time. With labels of density functional theory (``benchmarks/accuracy/rmd17_networks.py``)
nothing changes but the time it takes to reach useful errors.
"""

import matplotlib.pyplot as plt
import numpy as np
from ase import units
from ase.build import molecule
from ase.calculators.emt import EMT
from ase.md.langevin import Langevin
from ase.md.verlet import VelocityVerlet

from skwavelet import ScatteringCalculator, labels_of
from skwavelet.neural import AngularNetwork

# %%
# Frames of a trajectory at 500 K. Consecutive frames resemble each other: groups of frames, one
# for each of eight trajectories, make sure that the validation set is not part of the training
# trajectories.

structures, groups = [], []
for trajectory in range(9):
    atoms = molecule("CH3CH2OH")
    atoms.calc = EMT()
    rng = np.random.default_rng(trajectory)
    dynamics = Langevin(
        atoms, 0.5 * units.fs, temperature_K=500, friction=0.02, fixcm=False, rng=rng
    )
    dynamics.run(200)
    for _ in range(25):
        dynamics.run(10)
        structures.append(atoms.copy())
        structures[-1].calc = EMT()
        groups.append(trajectory)
labels = labels_of(structures)
energies, forces = labels.energies, labels.forces

# %%
# The network takes energies per atom (eV/atom) and forces (eV/Å). The last trajectory is kept for
# the test.

train = [i for i, group in enumerate(groups) if group < 8]
test = [i for i, group in enumerate(groups) if group == 8]
network = AngularNetwork(2, 32, learning_rate=0.01, max_epochs=30, random_state=0)
network.fit(
    [structures[i] for i in train],
    [energies[i] for i in train],
    forces=[forces[i] for i in train],
    groups=[groups[i] for i in train],
)
network.history_.tail(3)

# %%
predicted_energies = network.predict([structures[i] for i in test])
predicted_forces = np.array(network.predict_forces([structures[i] for i in test]))
true_energies = np.array([energies[i] for i in test])
true_forces = np.array([forces[i] for i in test])
print(f"energies: {1e3 * np.abs(predicted_energies - true_energies).mean():.2f} meV/atom")
print(f"forces: {1e3 * np.abs(predicted_forces - true_forces).mean():.1f} meV/Å")

# %%
# In ASE the network is a calculator like others. Without a thermostat, the total energy stays.

atoms = structures[test[-1]].copy()
atoms.calc = ScatteringCalculator(network)
totals = []
dynamics = VelocityVerlet(atoms, 0.5 * units.fs)
dynamics.attach(lambda: totals.append((atoms.get_potential_energy(), atoms.get_total_energy())))
dynamics.run(200)
potential, total = np.array(totals).T

fig, axes = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
axes[0].plot(network.history_["validation_force_mae"] * 1e3)
axes[0].set(xlabel="epoch", ylabel="validation force error (meV/Å)", yscale="log")
axes[1].plot(true_forces.ravel(), predicted_forces.ravel(), ".", ms=3)
axes[1].axline((0, 0), slope=1, color="0.6", zorder=0)
axes[1].set(xlabel="force (eV/Å)", ylabel="predicted (eV/Å)")
for values, label in ((potential, "potential energy"), (total, "total energy")):
    axes[2].plot(0.5 * np.arange(len(values)), 1e3 * (values - values[0]), label=label)
axes[2].set(xlabel="time (fs)", ylabel="energy since the start (meV)")
axes[2].margins(y=0.25)
axes[2].legend(loc="lower left")
plt.show()
