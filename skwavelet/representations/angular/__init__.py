"""Angular features: explicit two- and three-body terms (chapter 6.1 of the dissertation).

Radial functions and angular bases between atoms, the sums over neighbours, and the features with
their derivatives, in this order.
"""

from skwavelet.representations.angular.transformer import AngularFeatures

__all__ = ["AngularFeatures"]
