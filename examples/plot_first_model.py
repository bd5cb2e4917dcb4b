"""
A first model
=============

Predict energies of relaxation paths that the model has never seen.

A model is a pipeline of a representation, which turns structures into features, and of a linear
model of few of these features. Both follow scikit-learn, so that cross-validation works as usual.

The data come with the package: relaxations of amorphous lithium-silicon. **Their labels are those
of the pretrained potential CHGNet v0.3.0, not of density functional theory.** Six of the 37
compositions are enough here.
"""

import numpy as np
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline

from skwavelet import BaggedOLSEnsemble, PointScattering, RelaxationPathGroupKFold
from skwavelet.datasets import load_lisi
from skwavelet.inspection import ParityDisplay

lisi = load_lisi()
few = np.flatnonzero(np.isin(lisi.compositions, np.unique(lisi.compositions)[::7]))
structures = [lisi.structures[i] for i in few]  # ase.Atoms
energies = lisi.energies[few]  # eV/atom
paths = lisi.paths[few]  # the relaxation that a structure is a frame of
print(f"{len(structures)} structures of {len(np.unique(paths))} paths")

# %%
# The representation
# ------------------
#
# ``PointScattering`` takes a fraction of the time of ``VoxelScattering``, the more accurate
# representation; they are interchangeable. The linear model averages many small ones, each of which
# chooses its number of features on paths that it was not trained on: that is what ``groups`` are
# for.

model = make_pipeline(
    PointScattering(n_jobs=2), BaggedOLSEnsemble(30, max_features=200, n_jobs=2, random_state=0)
)
model

# %%
# Predictions for unseen paths
# ----------------------------
#
# Frames of one path resemble each other. The folds therefore hold out whole paths, and each
# composition is spread over all folds.

predicted = cross_val_predict(
    model,
    structures,
    energies,
    groups=paths,
    cv=RelaxationPathGroupKFold(5, random_state=0),
    params={"baggedolsensemble__groups": paths},
)

# %%
# The error stands in the legend, beside a spread of the energies of hundreds of meV/atom. Most of
# that spread is due to the composition; what counts is the scatter about the line at one of the
# six.

for composition in dict.fromkeys(lisi.compositions[few]):
    here = lisi.compositions[few] == composition
    rmse = 1000 * np.sqrt(np.mean((predicted - energies)[here] ** 2))
    print(f"{composition:9s} {1000 * energies[here].std():5.1f} meV/atom, RMSE {rmse:4.1f}")

ParityDisplay.from_predictions(energies, predicted, name="unseen paths (CHGNet labels)")
