"""
Your own file in ten lines
==========================

From an extended XYZ file to cross-validated predictions.

Most codes and databases can write extended XYZ: one block per structure with its cell, energy and,
maybe, forces. This example writes such a file first, with ASE's toy potential EMT, and then treats
it as yours. A column ``path`` tells which structures belong together; without one, every structure
is its own group.
"""

import tempfile
from pathlib import Path

import numpy as np
from ase.build import molecule
from ase.calculators.emt import EMT
from ase.io import read, write
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline

from skwavelet import BaggedOLSEnsemble, PointScattering, labels_of
from skwavelet.inspection import ParityDisplay

file = Path(tempfile.mkdtemp()) / "mine.xyz"
for seed in range(60):
    atoms = molecule(["CH3CH2OH", "CH3OH", "C2H6"][seed % 3])
    atoms.rattle(0.08, seed=seed)
    atoms.info["path"] = f"run {seed // 6}"
    atoms.calc = EMT()
    atoms.get_forces()
    write(file, atoms, format="extxyz", append=seed > 0)

print(file.read_text()[:300], "...")

# %%
# Here are the ten lines. Energies in files are totals, models speak eV/atom. Structures of a path
# are alike, so that folds hold out whole paths.

structures = read(file, index=":")
energies = labels_of(structures).energies
paths = [atoms.info["path"] for atoms in structures]

model = make_pipeline(PointScattering(), BaggedOLSEnsemble(20, random_state=0))
fit = {"baggedolsensemble__groups": paths}
predicted = cross_val_predict(
    model, structures, energies, groups=paths, cv=GroupKFold(5), params=fit
)

# %%
# What cannot be used is named by its place in the file, with what to do about it.

wrong = structures[17].copy()
wrong.positions[3] = np.nan
try:
    model.fit([*structures[:17], wrong, *structures[18:]], energies, **fit)
except ValueError as error:
    print(error)

# %%
# Predictions of the runs that the model has not seen:

ParityDisplay.from_predictions(energies, predicted, name="unseen runs")
