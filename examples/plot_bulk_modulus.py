"""
A bulk modulus
==============

Energy against volume of a crystal that the model has not seen, and what the spread of the ensemble
says about its bulk modulus.

Copper, gold and their alloys in effective medium theory (ASE's EMT). The training structures are
rattled cells near equilibrium; the test is an ordered alloy under hydrostatic strain.
"""

import matplotlib.pyplot as plt
import numpy as np
from ase.build import bulk
from ase.calculators.emt import EMT

from skwavelet import BaggedOLSEnsemble, EnergyForceRegressor, VoxelScattering, labels_of
from skwavelet.inspection import EnergyVolumeDisplay

rng = np.random.default_rng(0)


# %%
# Training structures
# -------------------
#
# Random alloys in cubic cells of four atoms, each stretched or compressed at random.

structures = []
for _ in range(120):
    atoms = bulk("Cu", a=3.6, cubic=True)
    atoms.symbols = rng.choice(["Cu", "Au"], len(atoms))
    side = 3.61 + 0.45 * np.mean(atoms.numbers == 79) + rng.normal(scale=0.1)
    atoms.set_cell(np.full(3, side), scale_atoms=True)
    atoms.rattle(0.1, rng=rng)
    atoms.calc = EMT()
    structures.append(atoms)
labels = labels_of(structures)

# %%
# Two models
# ----------
#
# From energies alone, a model must infer how energy changes with volume from structures of
# different volumes. Stresses tell it directly. ``smoothing`` rounds the kinks of the modulus and
# suits derivatives.


def fit(**others):
    """Train on energies and on what else is given."""
    model = EnergyForceRegressor(
        VoxelScattering(order=1, smoothing=0.05, n_jobs=2),
        BaggedOLSEnsemble(30, max_features=60, n_jobs=2, random_state=0),
        random_state=0,
    )
    return model.fit(structures, labels.energies, **others)


models = {
    "energies": fit(),
    "energies, forces, stresses": fit(forces=labels.forces, stress=labels.stress),
}

# %%
# Energy against volume
# ---------------------
#
# CuAu in layers, from -9 % to 9 % strain of its lengths. The parabola is fitted within 4 %, and the
# bulk modulus is K = V0 d²E/dV². The displays keep one grid for all volumes.

alloy = bulk("Cu", a=3.86, cubic=True)
alloy.symbols = ["Cu", "Au", "Au", "Cu"]
strains = np.linspace(-0.09, 0.09, 19)
cells = [alloy.copy() for _ in strains]
for cell, strain in zip(cells, strains, strict=True):
    cell.set_cell(alloy.cell * (1 + strain), scale_atoms=True)
for cell in cells:
    cell.calc = EMT()
reference = labels_of(cells).energies

figure, axes = plt.subplots(1, 2, figsize=(9.5, 4), sharey=True, layout="constrained")
for ax, (name, model) in zip(axes, models.items(), strict=True):
    EnergyVolumeDisplay.from_estimator(model, cells, reference, shifted=True, ax=ax)
    ax.set_title(name)
