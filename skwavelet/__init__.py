"""Wavelet scattering features of atomic structures and sparse models of their energy."""

__version__ = "0.1.0"
