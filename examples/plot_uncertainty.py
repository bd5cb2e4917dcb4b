"""
Uncertainty and active learning
===============================

Does the spread of an ensemble tell the size of its errors, and does it tell what to label next?

Labels: the pretrained potential CHGNet v0.3.0, not density functional theory.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.pipeline import make_pipeline

from skwavelet import (
    BaggedOLSEnsemble,
    PointScattering,
    RelaxationPathGroupKFold,
    rank_structures,
)
from skwavelet.datasets import load_lisi
from skwavelet.inspection import ReliabilityDisplay

lisi = load_lisi()
few = np.flatnonzero(np.isin(lisi.compositions, np.unique(lisi.compositions)[::5]))
structures = [lisi.structures[i] for i in few]
energies, paths = lisi.energies[few], lisi.paths[few]

# %%
# Reliability
# -----------
#
# On whole paths that were held out. Standard deviations have been calibrated by errors out of bag,
# so that rms(error / std), which the display states, is near 1. Where errors grow with the standard
# deviation, it tells good predictions from bad ones.

scattering = PointScattering(n_jobs=2).fit(structures)
features = scattering.transform(structures)
ensemble = BaggedOLSEnsemble(30, max_features=150, n_jobs=2, random_state=0)
predicted, std = np.zeros((2, len(energies)))
for train, test in RelaxationPathGroupKFold(5, random_state=0).split(structures, groups=paths):
    ensemble.fit(features[train], energies[train], groups=paths[train])
    predicted[test], std[test] = ensemble.predict(features[test], return_std=True)

ReliabilityDisplay.from_predictions(energies, predicted, std, n_bins=8)

# %%
# What to label next
# ------------------
#
# A pool of structures without labels. Every round labels twenty of them: those that
# `~skwavelet.rank_structures` puts first, about which the models disagree most, or random ones. The
# error is that on all structures of the held-out paths. Here ranking helps while labels are few,
# and no longer once most of the pool is labelled. Three starts are not many;
# ``benchmarks/accuracy/active_learning.py`` has more.

train, test = next(RelaxationPathGroupKFold(5, random_state=0).split(structures, groups=paths))
ensemble = BaggedOLSEnsemble(15, max_features=60, n_jobs=2, random_state=0)
sizes = range(30, 111, 20)


def learn(strategy, seed):
    """Return the errors (meV/atom) as labels are added, from a random start."""
    rng = np.random.default_rng(seed)
    labelled = rng.choice(train, sizes[0], replace=False)
    errors = []
    for _ in sizes:
        ensemble.fit(features[labelled], energies[labelled])
        error = ensemble.predict(features[test]) - energies[test]
        errors.append(1000 * np.sqrt(np.mean(error**2)))
        pool = rng.permutation(np.setdiff1d(train, labelled))
        if strategy == "ranked":
            model = make_pipeline(scattering, ensemble)
            pool = pool[rank_structures(model, [structures[i] for i in pool])]
        labelled = np.append(labelled, pool[:20])
    return errors


figure, learning = plt.subplots()
for strategy in ("ranked", "random"):
    curves = [learn(strategy, seed) for seed in range(3)]
    learning.plot(sizes, np.mean(curves, axis=0), marker="o", label=strategy)
    print(strategy, np.round(curves, 1).tolist())
learning.set(
    xlabel="labelled structures",
    ylabel="RMSE on unseen paths (meV/atom)",
    ylim=(0, None),
    title="labels: CHGNet v0.3.0",
)
learning.legend()
