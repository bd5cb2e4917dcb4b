"""
From maps to features
=====================

Look at the wavelets and maps behind one number, and compute that number from them.

A feature of ``VoxelScattering`` is an integral: the density of a channel, convolved with a wavelet,
squared and summed over m, to a power, over the cell. ``maps`` returns the convolutions before that.
They turn with the structure; what is integrated does not.
"""

import matplotlib.pyplot as plt
import numpy as np
from ase.build import bulk

from skwavelet import VoxelScattering
from skwavelet.representations.wavelets import wavelet

atoms = bulk("SiC", "zincblende", a=4.36, cubic=True) * (2, 2, 2)
atoms.rattle(0.05, seed=0)
# Full resolution: every map on the finest grid, good to look at.
scattering = VoxelScattering(channels=["Si", "C"], oversampling=8).fit([atoms])
print(f"beta = {scattering.beta_:.2f} Å, voxels of {scattering.spacing_:.2f} Å")

# %%
# One number
# ----------
#
# The first-order feature of silicon with n = 3, l = 2, j = 1 and q = 2, from its 2 l + 1 = 5 maps.

first, second = (3, 2, 1), (3, 1, 1)
maps = scattering.maps(atoms, channel="Si", first=first)
modulus = np.sqrt(np.square(maps).sum(axis=0))
voxel = atoms.get_volume() / modulus.size
by_hand = np.sum(modulus**2) * voxel / len(atoms)
name = "Si_n3l2j1_q2"
column = scattering.get_feature_names_out().tolist().index(name)
feature = scattering.transform([atoms])[0, column]
print(f"{name}: {feature:.6g}, from the maps {by_hand:.6g}")

# %%
# Turned by 90°, the structure has other maps and the same feature, to rounding in single precision.

turned = atoms.copy()  # in the same cubic cell
turned.positions = atoms.positions @ [[0, 1, 0], [-1, 0, 0], [0, 0, 1]]
print(f"turned: {scattering.transform([turned])[0, column]:.6g}")

# %%
# In a plane
# ----------
#
# Left, the wavelets of both layers, of which one m is drawn. In the middle, one of the five first
# maps, and the maps of the second layer, made from the modulus to its right by the lower wavelet.
# The modulus turns with the structure. Circles mark silicon atoms close to the plane.

extent = 8 * scattering.beta_
x = np.linspace(-extent, extent, 121)
plane = np.stack(np.broadcast_arrays(x, 0.0, x[:, None]))  # x and z
length = atoms.cell.lengths()[0]


def layer_wavelet(n, l, j):
    """Return the dilated wavelet, m = 0, in the plane y = 0."""
    return 2.0 ** (-3 * j) * wavelet(plane / 2**j, n, l, scattering.beta_)[l]


def total(maps):
    """Return the modulus in the plane z = 0."""
    return np.sqrt(np.square(maps[:, :, :, 0]).sum(axis=0)).T


panels = [
    (f"wavelet (n, l, j) = {first}", layer_wavelet(*first), None),
    ("first map, m = 0", maps[2, :, :, 0].T, atoms),
    ("first modulus", total(maps), atoms),
    (f"wavelet {second}", layer_wavelet(*second), None),
    (
        "second modulus",
        total(scattering.maps(atoms, channel="Si", first=first, second=second)),
        atoms,
    ),
    (
        "first modulus, turned",
        total(scattering.maps(turned, channel="Si", first=first)),
        turned,
    ),
]
figure, axes = plt.subplots(2, 3, figsize=(10.5, 6), layout="constrained")
for ax, (title, values, structure) in zip(axes.flat, panels, strict=True):
    signed = values.min() < 0
    limit = np.abs(values).max()
    size = [-extent, extent] * 2 if structure is None else [0, length] * 2
    image = ax.imshow(
        values,
        origin="lower",
        extent=size,
        cmap="RdBu_r" if signed else "magma",
        vmin=-limit if signed else 0,
        vmax=limit,
    )
    if structure is not None:
        positions = structure.get_positions(wrap=True)[structure.numbers == 14]
        height = np.abs((positions[:, 2] + length / 2) % length - length / 2)
        ax.plot(*positions[height < 0.5, :2].T, "o", mfc="none", mec="0.5")
    figure.colorbar(image, ax=ax, shrink=0.8)
    ax.set(title=title, xlabel="Å", ylabel="Å")
