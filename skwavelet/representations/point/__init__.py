"""Point scattering: the wavelets evaluated at the atoms only (chapter 5.1 of the dissertation).

Filters between atoms, the plan of products, the cascade with its sweeps, and the features with
their derivatives, in this order.
"""

from skwavelet.representations.point.transformer import PointScattering

__all__ = ["PointScattering"]
