"""Point scattering: the wavelets evaluated at the atoms only (chapter 5.1 of the dissertation).

``evaluator.py`` chooses the maps that features need; ``first_order.py`` and ``second_order.py``
compute their sums and derivatives by compiled kernels.
"""

from skwavelet.representations.point.transformer import PointScattering

__all__ = ["PointScattering"]
