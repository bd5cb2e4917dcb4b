"""
Training on forces
==================

What forces add to energies: a learning curve.

An energy is one number per structure, the forces are three per atom. ``EnergyForceRegressor`` uses
them along a few random directions of all atoms at once, an unbiased sketch of the force equations
at a fraction of their cost.

One composition of amorphous lithium-silicon, LiSi: four relaxation paths to train on and a fifth to
test. Labels: the pretrained potential CHGNet v0.3.0, not density functional theory.
"""

import matplotlib.pyplot as plt
import numpy as np

from skwavelet import BaggedOLSEnsemble, EnergyForceRegressor, PointScattering
from skwavelet.datasets import load_lisi
from skwavelet.inspection import ParityDisplay

lisi = load_lisi()
here = np.flatnonzero(lisi.compositions == "LiSi")
order = list(dict.fromkeys(lisi.paths[here]))
test = here[lisi.paths[here] == order[-1]]


def of(rows):
    """Return structures, energies, forces and paths of some rows of the data."""
    structures, forces = ([values[i] for i in rows] for values in (lisi.structures, lisi.forces))
    return structures, lisi.energies[rows], forces, lisi.paths[rows]


def force_error(model):
    """Return the RMSE of forces on the unseen path, meV/Å."""
    predicted = np.concatenate(model.predict_forces(unseen))
    return 1000 * np.sqrt(np.mean((predicted - np.concatenate(unseen_forces)) ** 2))


unseen, _, unseen_forces, _ = of(test)

# %%
# Two to four paths, with and without their forces.

n_paths = (2, 3, 4)
errors = {"energies": [], "energies and forces": []}
for n in n_paths:
    structures, energies, forces, paths = of(here[np.isin(lisi.paths[here], order[:n])])
    for name, labels in {"energies": None, "energies and forces": forces}.items():
        model = EnergyForceRegressor(
            PointScattering(),
            BaggedOLSEnsemble(10, max_features=100, n_jobs=2, random_state=0),
            n_directions=16,
            random_state=0,
        )
        model.fit(structures, energies, forces=labels, groups=paths)
        errors[name].append(force_error(model))
        print(f"{n} paths, {name}: {model.n_rows_} rows, {errors[name][-1]:.0f} meV/Å")

# %%
# The last model, trained on the energies and forces of four paths:

figure, (curve, parity) = plt.subplots(1, 2, figsize=(9.5, 4.2), layout="constrained")
for name, values in errors.items():
    curve.plot(n_paths, values, marker="o", label=name)
size = 1000 * np.sqrt(np.mean(np.concatenate(unseen_forces) ** 2))
curve.axhline(size, color="k", ls=":", label="the forces themselves, rms")
curve.set(
    xlabel="paths of five frames to train on",
    ylabel="force RMSE (meV/Å)",
    xticks=n_paths,
    ylim=(0, None),
    title="labels: CHGNet v0.3.0",
)
curve.legend()
ParityDisplay.from_estimator(
    model, unseen, unseen_forces, quantity="forces", name="unseen path", ax=parity
)
