"""
Folds of paths against folds of frames
======================================

Why a test on randomly chosen frames flatters a model.

Neighbouring frames of a relaxation are nearly the same structure. Where some are in the training
set and some in the test set, a model is asked for what it has been told. This compares the error of
one and the same model on folds of random frames, on folds of whole paths, and on whole compositions
left out, which is harder again.

Labels: the pretrained potential CHGNet v0.3.0, not density functional theory.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import GroupKFold, KFold, cross_validate

from skwavelet import BaggedOLSEnsemble, PointScattering, RelaxationPathGroupKFold
from skwavelet.datasets import load_lisi
from skwavelet.inspection import LearningPathDisplay

lisi = load_lisi()
few = np.flatnonzero(np.isin(lisi.compositions, np.unique(lisi.compositions)[::3]))
structures = [lisi.structures[i] for i in few]
energies, paths = lisi.energies[few], lisi.paths[few]

# %%
# What the representation learns depends on the geometry only, so that one transform serves all
# folds.

features = PointScattering(n_jobs=2).fit_transform(structures)
ensemble = BaggedOLSEnsemble(15, max_features=150, n_jobs=2, random_state=0)

folds = {
    "random frames": KFold(5, shuffle=True, random_state=0).split(features),
    "whole paths": RelaxationPathGroupKFold(5, random_state=0).split(structures, groups=paths),
    "whole compositions": GroupKFold(5).split(features, groups=lisi.compositions[few]),
}

# %%
# A model that is tested on frames is usually validated on frames, too: no groups there. Otherwise
# the ensemble draws and holds out whole paths.

errors, fitted = {}, {}
for name, splits in folds.items():
    splits = list(splits)
    result = cross_validate(
        ensemble,
        features,
        energies,
        cv=splits,
        params=None if name == "random frames" else {"groups": paths},
        scoring="neg_root_mean_squared_error",
        return_estimator=True,
    )
    errors[name] = -1000 * result["test_score"]
    fitted[name] = (result["estimator"][0], splits[0][1])
    print(f"{name:20s} {errors[name].mean():5.2f} ± {errors[name].std():4.2f} meV/atom")

# %%
# To the right, the test error of one fold against the number of features of every model.

figure, (bars, learning) = plt.subplots(1, 2, figsize=(9.5, 4), layout="constrained")
bars.bar(list(errors), [e.mean() for e in errors.values()], color=["C0", "C1", "C2"])
bars.plot(list(errors), list(errors.values()), "k.", ms=4)
bars.tick_params(axis="x", labelsize=9)
bars.set(ylabel="RMSE (meV/atom)", title="five folds of ... (labels: CHGNet)")
for name, (model, test) in fitted.items():
    staged = model.staged_predict(features[test])
    LearningPathDisplay.from_predictions(energies[test], staged, name=name, ax=learning)
