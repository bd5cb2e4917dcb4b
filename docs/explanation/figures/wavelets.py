"""The wavelets beside the orbitals of hydrogen, in the plane y = 0 (after figure 2.1)."""

import matplotlib.pyplot as plt
import numpy as np
from scipy.special import eval_genlaguerre

from skwavelet.representations.wavelets import solid_harmonics, wavelet

PAIRS = [(1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2)]


def orbital(points, n, l):
    """Hydrogen orbitals (2l + 1, ...) for a Bohr radius of 1, up to a factor."""
    r = np.sqrt((points**2).sum(axis=0))
    radial = np.exp(-r / n) * eval_genlaguerre(n - l - 1, 2 * l + 1, 2 * r / n)
    return solid_harmonics(points, l) * radial


def plane(extent, size=201):
    x = np.linspace(-extent, extent, size)
    return np.stack(np.broadcast_arrays(x[None, :], 0.0, x[:, None]))


fig, axes = plt.subplots(2, len(PAIRS), figsize=(9, 3.2), layout="constrained")
for column, (n, l) in zip(axes.T, PAIRS, strict=True):
    for ax, values in zip(
        column,
        (wavelet(plane(4.5), n, l, beta=1.0), orbital(plane(4.5 * n**1.6), n, l)),
        strict=True,
    ):
        # The zonal one, m = 0, and signs that agree at the origin's positive side.
        values = values[l]
        values = values * np.sign(values[len(values) // 2 + 8, len(values) // 2])
        limit = np.abs(values).max()
        if not l:
            limit *= 0.5  # the peak at the origin would hide the shells
        ax.imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit, origin="lower")
        ax.set(xticks=[], yticks=[])
    column[0].set_title(f"n = {n}, l = {l}")
axes[0, 0].set_ylabel("wavelet")
axes[1, 0].set_ylabel("hydrogen")
