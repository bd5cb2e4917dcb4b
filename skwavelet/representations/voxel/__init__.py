"""Voxel scattering of periodic structures and molecules (chapter 2 of the dissertation).

Resolution and grid of a structure, its density in frequency, the cascade of wavelet transforms
and moduli, and the features with their derivatives, in this order.
"""

from skwavelet.representations.voxel.transformer import VoxelScattering

__all__ = ["VoxelScattering"]
