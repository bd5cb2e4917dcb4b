"""
Relaxing and running dynamics
=============================

A fitted model as an ASE calculator: relax a structure, then run molecular dynamics with it.

``ScatteringCalculator`` gives ASE the energy of a fitted model, and forces and stress that are the
exact derivatives of that energy, so that optimizers converge and dynamics conserve energy. The
structures are rattled copper-gold crystals, labelled by effective medium theory (ASE's EMT).
"""

import matplotlib.pyplot as plt
import numpy as np
from ase import units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS

from skwavelet import (
    BaggedOLSEnsemble,
    EnergyForceRegressor,
    PointScattering,
    ScatteringCalculator,
    labels_of,
    prune,
)

rng = np.random.default_rng(0)


def alloy(rattle):
    """Return a random alloy with displaced atoms, with EMT attached."""
    atoms = bulk("Cu", a=3.83, cubic=True) * (2, 2, 1)
    atoms.symbols = rng.permutation(["Cu", "Au"] * 8)
    atoms.rattle(rattle, rng=rng)
    atoms.calc = EMT()
    return atoms


# %%
# The model
# ---------
#
# `~skwavelet.prune` leaves out what the model does not use, with the same predictions.

training = [alloy(rattle) for rattle in np.linspace(0.02, 0.3, 100)]
model = EnergyForceRegressor(
    PointScattering(smoothing=0.01),
    BaggedOLSEnsemble(10, max_features=60, random_state=0),
    random_state=0,
)
labels = labels_of(training)
model.fit(training, labels.energies, forces=labels.forces)
model = prune(model)
print(f"{model.features_.n_features_out_} features are in use")

# %%
# Relaxation
# ----------
#
# At every step, EMT tells what the energy really is.

atoms = alloy(0.2)
reference = atoms.calc
atoms.calc = ScatteringCalculator(model)
relaxation = []
optimizer = BFGS(atoms, logfile=None)
for _ in optimizer.irun(fmax=0.01, steps=60):
    relaxation.append(
        [
            atoms.get_potential_energy(),
            atoms.calc.get_property("energy_std", atoms),
            reference.get_potential_energy(atoms),
        ]
    )
print(f"largest force after {optimizer.nsteps} steps: {np.abs(atoms.get_forces()).max():.3f} eV/Å")

# %%
# Molecular dynamics
# ------------------
#
# Half a picosecond from 600 K, without thermostat: kinetic and potential energy are exchanged,
# their sum stays.

momenta = rng.normal(size=(len(atoms), 3)) * np.sqrt(600 * units.kB * atoms.get_masses()[:, None])
atoms.set_momenta(momenta - momenta.mean(axis=0))
dynamics = VelocityVerlet(atoms, timestep=2.5 * units.fs)
energies = np.array(
    [[atoms.get_potential_energy(), atoms.get_kinetic_energy()] for _ in dynamics.irun(200)]
)
total = energies.sum(axis=1)
print(f"the total energy varies by {1000 * total.std() / len(atoms):.3f} meV/atom")

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 4), layout="constrained")
energy, std, true = np.array(relaxation).T / len(atoms)
left.errorbar(np.arange(len(energy)), energy, std, marker=".", capsize=2, label="model")
left.plot(true, "ko", mfc="none", ms=8, label="EMT at the same positions")
left.set(xlabel="step of the relaxation", ylabel="energy (eV/atom)")
left.legend()
time = 2.5e-3 * np.arange(len(energies))
for name, curve in {"potential": energies[:, 0], "kinetic": energies[:, 1], "total": total}.items():
    right.plot(time, (curve - curve[0]) / len(atoms), label=name)
right.set(xlabel="time (ps)", ylabel="change of energy (eV/atom)")
right.margins(y=0.15)
right.legend(loc="upper center", ncols=3)
