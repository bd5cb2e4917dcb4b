"""
A potential from 60 labels
==========================

Labels are expensive. What do sixty of them buy, and how much of it does the potential know itself?

The labels are those of effective medium theory, which costs nothing, so that everything that the
potential says can be compared with the truth. Read "density functional theory" for it.
"""

import matplotlib.pyplot as plt
import numpy as np
from ase.build import bulk
from ase.calculators.emt import EMT

from skwavelet import (
    AtomPolynomial,
    EnergyForceRegressor,
    PointInvariants,
    ScatteringCalculator,
    labels_of,
)
from skwavelet.properties import elastic_tensor


def crystals(n, seed):
    """Return cells of 8 copper atoms, strained and rattled, with their labels."""
    rng = np.random.default_rng(seed)
    structures = []
    for _ in range(n):
        atoms = bulk("Cu", cubic=True) * (2, 1, 1)
        strain = rng.normal(scale=0.02, size=(3, 3))
        atoms.set_cell(atoms.cell @ (np.eye(3) + strain + strain.T), scale_atoms=True)
        atoms.rattle(rng.uniform(0.02, 0.2), rng=rng)
        atoms.calc = EMT()
        structures.append(atoms)
    return structures, labels_of(structures)


structures, labels = crystals(60, seed=0)

# %%
# Fit
# ---
#
# Each label brings one energy, 24 components of forces and six of the stress. The features are
# those that ``EnergyForceRegressor()`` takes, but 300 products instead of 2,000, so that this page
# is made in seconds. The penalty, and the weights of forces and stresses, are those that predict
# structures best that were held out.

features = AtomPolynomial(PointInvariants(), center=True, max_order=4, max_products=300)
model = EnergyForceRegressor(features, random_state=0)
model.fit(structures, labels.energies, labels.forces, labels.stress)
print(f"{model.n_rows_} numbers in {len(structures)} labels")

# %%
# Is it right, and does it know?
# ------------------------------
#
# On structures that it has not seen, beside what it says of its own errors.

new, truth = crystals(40, seed=1)
energies, std = model.predict(new, return_std=True)
error = energies - truth.energies
forces, forces_std = model.predict_forces(new, return_std=True)
force_error = np.concatenate(forces) - np.concatenate(truth.forces)
print(f"energies: {1e3 * np.abs(error).mean():.2f} meV/atom")
print(f"forces: {1e3 * np.abs(force_error).mean():.1f} meV/Å")
ratio = np.sqrt(np.mean((force_error / np.concatenate(forces_std)) ** 2))
print(f"errors of forces over their standard deviations: {ratio:.2f} (1 is right)")

figure, axes = plt.subplots()
axes.errorbar(truth.energies, 1e3 * error, 1e3 * std, fmt=".")
axes.axhline(0, color="0.7")
axes.set(xlabel="energy (eV/atom)", ylabel="error, with its standard deviation (meV/atom)")

# %%
# What nobody has labelled
# ------------------------
#
# Elastic constants need second derivatives of the energy, in a crystal that is none of the 60.

copper, constants = bulk("Cu", cubic=True), {}
for name, calculator in {"labels": EMT(), "potential": ScatteringCalculator(model)}.items():
    tensor = elastic_tensor(copper, calculator)
    constants[name] = [tensor[0, 0], tensor[0, 1], tensor[3, 3]]
    print(name, np.round(constants[name]), "GPa")

figure, axes = plt.subplots()
for shift, (name, values) in zip((-0.2, 0.2), constants.items(), strict=True):
    axes.bar(np.arange(3) + shift, values, width=0.4, label=name)
axes.set_xticks(range(3), ["C11", "C12", "C44"])
axes.set_ylabel("elastic constant (GPa)")
axes.legend()
