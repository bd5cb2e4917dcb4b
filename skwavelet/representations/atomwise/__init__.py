"""Nonlinear functions of the features of every atom, before they are summed.

Functions on plain arrays of the features that another representation computes; what depends on
positions and strain is left to that.
"""

from skwavelet.representations.atomwise.kernel import AtomKernel
from skwavelet.representations.atomwise.polynomial import AtomPolynomial

__all__ = ["AtomKernel", "AtomPolynomial"]
