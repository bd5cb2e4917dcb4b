"""How beta, the voxel size and the number of scales follow from the training structures."""

import matplotlib.pyplot as plt
import numpy as np

from skwavelet import VoxelScattering
from skwavelet.datasets import load_lisi
from skwavelet.representations.wavelets import spectrum_magnitude, spectrum_peak

lisi = load_lisi()
scattering = VoxelScattering().fit(lisi.structures)
beta, spacing, delta = scattering.beta_, scattering.spacing_, scattering.min_distance_

fig, (left, middle, right) = plt.subplots(1, 3, figsize=(9, 2.8), layout="constrained")
r = np.linspace(-1.2, 2.7, 400)
for center in (0, delta):
    left.plot(r, np.exp(-((r - center) ** 2) / (2 * beta**2)))
left.axhline(scattering.overlap, color="0.6", lw=0.8, ls=":")
left.set(title=f"β: nearest atoms, Δ = {delta:.2f} Å", xlabel="Å", ylabel="Gaussian")

w = np.linspace(0.01, 1.3 * np.pi / spacing, 400)
for l in range(3):
    peak = spectrum_peak(3, l, beta)[1]
    middle.semilogy(w, [spectrum_magnitude(x, 3, l, beta) / peak for x in w], label=f"l = {l}")
middle.axhline(scattering.aliasing, color="0.6", lw=0.8, ls=":")
middle.axvline(np.pi / spacing, color="k", lw=0.8)
middle.set(
    ylim=(1e-6, 2),
    xlabel="frequency, 1/Å",
    ylabel="spectrum / its peak",
    title=f"voxels: π/s, s = {spacing:.3f} Å",
)
middle.legend(fontsize=7)

half = min(atoms.cell.lengths().min() for atoms in lisi.structures) / 2
r = np.linspace(-1.6 * half, 1.6 * half, 400)
for j in range(scattering.n_scales_ + 1):
    width = beta * 2**j
    style = "-" if j < scattering.n_scales_ else ":"
    (line,) = right.plot(r, np.exp(-(r**2) / (2 * width**2)), ls=style, label=f"j = {j}")
    right.plot([-2 * width, 2 * width], [np.exp(-2)] * 2, "o", color=line.get_color(), ms=4)
right.axvspan(-half, half, color="0.93", zorder=0)
right.set(xlabel="Å", ylabel="Gaussian", title=f"scales: 2β·2ʲ ≤ {half:.1f} Å")
right.legend(fontsize=7, loc="upper right")
