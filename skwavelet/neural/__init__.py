"""Learned networks of structures, in torch: scattering and angular networks, pooling.

Install with ``pip install "skwavelet[neural]"``. This is the one part of the library that needs
torch, and ``import skwavelet`` does not import it.
"""

from skwavelet.neural import energies as energies
from skwavelet.neural.angular import AngularNetwork
from skwavelet.neural.point import PointScatteringNetwork

__all__ = ["AngularNetwork", "PointScatteringNetwork"]
