"""First- and second-order maps of a Li-Si structure in one plane (after figures 2.2, 2.3)."""

import matplotlib.pyplot as plt
import numpy as np

from skwavelet import VoxelScattering
from skwavelet.datasets import load_lisi

lisi = load_lisi(steps=[55])
atoms = lisi.structures[int(np.flatnonzero(lisi.compositions == "LiSi")[0])]
scattering = VoxelScattering(oversampling=4).fit(lisi.structures)


def modulus(**path):
    maps = scattering.maps(atoms, channel="Si", **path)
    return np.sqrt((maps**2).sum(axis=0))


first, second = (3, 1, 0), (3, 2, 1)
panels = {
    "density ⋆ Gaussian": np.abs(
        VoxelScattering(n=1, max_l=0, beta=0.35)
        .fit(lisi.structures)
        .maps(atoms, channel="Si", first=(1, 0, 0))[0]
    ),
    "σ, l = 0, j = 0": modulus(first=(3, 0, 0)),
    "σ, l = 1, j = 0": modulus(first=first),
    "σ, l = 2, j = 0": modulus(first=(3, 2, 0)),
    "σ, l = 1, j = 1": modulus(first=(3, 1, 1)),
    "σ, l = 1, j = 2": modulus(first=(3, 1, 2)),
    "σσ, l = 1 → 0, j = 0 → 1": modulus(first=first, second=(3, 0, 1)),
    "σσ, l = 1 → 2, j = 0 → 1": modulus(first=first, second=second),
}
lengths = atoms.cell.lengths()
fig, axes = plt.subplots(2, 4, figsize=(9, 4.8), layout="constrained")
for ax, (title, values) in zip(axes.flat, panels.items(), strict=True):
    plane = values[:, :, values.shape[2] // 2].T
    box = [0, lengths[0], 0, lengths[1]]
    ax.imshow(plane, origin="lower", extent=box, cmap="magma", interpolation="bilinear")
    ax.set(title=title, xticks=[], yticks=[])
axes[0, 0].plot([0.5, 3.5], [0.5, 0.5], "w", lw=2)
axes[0, 0].annotate("3 Å", (2, 0.7), color="w", ha="center")
