"""
How far can I trust this?
=========================

A potential of copper-gold alloys knows crystals at small strains. What does it say about its own
errors elsewhere, and is it right?

Labels: effective medium theory, which costs nothing, so that every claim can be checked.
"""

import matplotlib.pyplot as plt
import numpy as np
from ase.build import bulk
from ase.calculators.emt import EMT

from skwavelet import (
    AtomExtrapolationScore,
    BaggedOLSEnsemble,
    EnergyForceRegressor,
    PointScattering,
    labels_of,
)


def alloys(strains, rattle, seed):
    """Return crystals of 32 atoms, strained and rattled (Å), with their labels."""
    rng = np.random.default_rng(seed)
    structures = []
    for strain in strains:
        atoms = bulk("Cu", a=3.85, cubic=True) * 2
        atoms.symbols = rng.permutation(["Cu", "Au"] * 16)
        atoms.set_cell((1 + strain) * atoms.cell, scale_atoms=True)
        atoms.rattle(rattle, rng=rng)
        atoms.calc = EMT()
        structures.append(atoms)
    return structures, labels_of(structures)


rng = np.random.default_rng(0)
structures, labels = alloys(rng.uniform(-0.03, 0.03, size=60), 0.08, seed=1)
point = PointScattering((1, 2), 2, n_scales=2)
model = EnergyForceRegressor(
    point, BaggedOLSEnsemble(20, max_features=60, random_state=0), random_state=0
)
model.fit(structures, labels.energies, labels.forces, labels.stress)

# %%
# Inside and outside of the training set
# --------------------------------------
#
# Crystals under strains that the training set has (grey), and far beyond. The standard deviation
# grows where the models disagree; the expected error also counts how far the features leave those
# of the training set. Intervals hold what they promise for structures like those of the training
# set. Elsewhere they are wider, as standard deviations are, and nothing is promised.

strains = np.linspace(-0.08, 0.12, 81)
new, truth = alloys(strains, 0.08, seed=2)
energies, std = model.predict(new, return_std=True)
low, high = model.predict_interval(new, coverage=0.9).T
expected = model.expected_error(new)
inside = np.abs(strains) < 0.03
covered = (low < truth.energies) & (truth.energies < high)
print(f"in the 90 % interval: {covered[inside].mean():.0%} inside, {covered[~inside].mean():.0%}")

figure, axes = plt.subplots()
axes.axvspan(-3, 3, color="0.9")
axes.semilogy(100 * strains, 1e3 * np.abs(energies - truth.energies), ".", label="error")
axes.semilogy(100 * strains, 1e3 * std, label="standard deviation")
axes.semilogy(100 * strains, 1e3 * expected, label="expected error")
axes.set(xlabel="strain (%)", ylabel="energy (meV/atom)")
axes.legend()

# %%
# One strange atom
# ----------------
#
# A crystal of 864 atoms, one of which sits between the others. The features of the crystal are
# averages, and hardly change. Those of the atom and of its neighbours do.

large = bulk("Cu", a=3.85, cubic=True) * 6
large.symbols = np.random.default_rng(3).permutation(["Cu", "Au"] * 432)
large.rattle(0.08, seed=3)
strange = large.copy()
strange.positions[500] += [0.9, 0.6, 0.3]
print("crystal as a whole:", model.extrapolation_score([large, strange]).round(2))

score = AtomExtrapolationScore(point).fit(structures)
before, after = score.score_atoms([large, strange])

figure, axes = plt.subplots()
axes.plot(before, ".", color="0.7", label="as it was")
axes.plot(after, ".", markersize=3, label="with a displaced atom")
axes.annotate("the displaced atom", (500, after[500]), (550, after[500]))
axes.set(xlabel="atom", ylabel="extrapolation score", yscale="log")
axes.legend()
