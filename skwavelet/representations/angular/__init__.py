"""Angular features: explicit two- and three-body terms (chapter 6.1 of the dissertation).

``radial.py`` has functions of distances and powers, ``sums.py`` what compiled kernels make of them.
"""

from skwavelet.representations.angular.transformer import AngularFeatures

__all__ = ["AngularFeatures"]
