"""
A diffusion barrier
===================

A model trained on vibrating atoms predicts the barrier that none of them has crossed.

Copper with a vacancy, in effective medium theory (ASE's EMT, a toy potential that labels structures
in no time). The training structures come from short molecular dynamics; the barrier is that of a
neighbour hopping into the vacancy.
"""

import matplotlib.pyplot as plt
import numpy as np
from ase import units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.md.langevin import Langevin
from ase.mep import NEB
from ase.optimize import BFGS

from skwavelet import BaggedOLSEnsemble, EnergyForceRegressor, PointScattering, labels_of
from skwavelet.inspection import PathEnergyDisplay

crystal = bulk("Cu", a=3.61, cubic=True) * (2, 2, 2)
vacancy = crystal[1:]

# %%
# Training structures
# -------------------
#
# Ten runs of molecular dynamics at 900 K. Frames of one run are alike: the runs are the groups.

structures, runs = [], []
for run in range(10):
    rng = np.random.default_rng(run)
    atoms = vacancy.copy()
    atoms.rattle(0.1, rng=rng)
    atoms.calc = EMT()
    dynamics = Langevin(
        atoms,
        3 * units.fs,
        temperature_K=900,
        friction=0.02 / units.fs,
        fixcm=False,
        rng=rng,
    )
    for _ in dynamics.irun(96):
        if dynamics.nsteps % 8 == 0:
            structures.append(atoms.copy())
            structures[-1].calc = EMT()
            runs.append(run)
labels = labels_of(structures)

# %%
# The path
# --------
#
# A nudged elastic band in EMT itself, which is the reference.

images = [vacancy.copy() for _ in range(9)]
neighbor = np.argmin(np.linalg.norm(vacancy.positions - crystal.positions[1], axis=1))
images[-1].positions[neighbor] = crystal.positions[0]
for image in images:
    image.calc = EMT()
for end in (images[0], images[-1]):
    BFGS(end, logfile=None).run(fmax=0.02)
band = NEB(images, climb=True, method="improvedtangent")
band.interpolate(mic=True)
BFGS(band, logfile=None).run(fmax=0.05, steps=100)
reference = labels_of(images).energies
path = [image.copy() for image in images]

# %%
# A model of energies and forces
# ------------------------------

model = EnergyForceRegressor(
    PointScattering(), BaggedOLSEnsemble(20, max_features=80, random_state=0), random_state=0
)
model.fit(structures, labels.energies, forces=labels.forces, groups=runs)

# %%
# Energies along the path: absolute, with the spread of the ensemble; and relative to the start, for
# models cut to so many features. One feature tells most of this barrier: in effective medium theory
# the energy of an atom is little more than a function of the density that it is embedded in.

figure, (absolute, shifted) = plt.subplots(1, 2, figsize=(9.5, 4), layout="constrained")
display = PathEnergyDisplay.from_estimator(model, path, reference, ax=absolute)
barrier, spread = display.barriers["model"]
absolute.set_title(
    f"barrier {display.reference_barrier:.2f} eV, model {barrier:.2f} ± {spread:.2f} eV"
)
staged = PathEnergyDisplay.from_estimator(
    model, path, reference, n_features=(1, 5, 20, 80), shifted=True, ax=shifted
)
print({name: round(value, 3) for name, (value, _) in staged.barriers.items()})
