"""Rotation invariants of products of wavelet moments at the atoms."""

from skwavelet.representations.invariants.transformer import PointInvariants

__all__ = ["PointInvariants"]
