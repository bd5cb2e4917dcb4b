"""
Reading the selected features
=============================

Which channels, powers, scales and wavelets a sparse model uses.

A linear model of a few features can be read. ``SelectionDisplay`` counts what the models of an
ensemble have selected, beside what they could select from: a channel that is selected no more often
than chance would have it says little.

Labels: the pretrained potential CHGNet v0.3.0, not density functional theory.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.pipeline import make_pipeline

from skwavelet import BaggedOLSEnsemble, VoxelScattering
from skwavelet.datasets import load_lisi
from skwavelet.inspection import SelectionDisplay

lisi = load_lisi(steps=[0, 55])  # the first and the last frame of every path
few = np.flatnonzero(np.isin(lisi.compositions, np.unique(lisi.compositions)[::4]))
structures = [lisi.structures[i] for i in few]

model = make_pipeline(
    VoxelScattering(n_jobs=2),
    BaggedOLSEnsemble(100, max_features=40, n_jobs=2, random_state=0),
)
model.fit(structures, lisi.energies[few], baggedolsensemble__groups=lisi.paths[few])

# %%
# Every column of the features has a row in ``feature_table_``, and the ensemble tells how much each
# contributes. These contribute most:

scattering, ensemble = model
table = scattering.feature_table_.assign(importance=ensemble.feature_importances_)
table.nlargest(8, "importance")

# %%
# The shares as numbers, by order of scattering:

display = SelectionDisplay.from_estimator(model)
plt.close(display.figure_)
display.shares("order").round(3)

# %%
# And as figures. In the maps below, the share among all features stands in brackets. Each step of a
# model of the ensemble compares a small random part of the features only, so that selections are
# spread widely; what stands out does so in spite of that.

figure, axes = plt.subplots(2, 2, figsize=(9.5, 8), layout="constrained")
for ax, by in zip(axes.flat, ["channel", "q", "scales", "wavelets"], strict=True):
    display.plot(ax, by=by)
