"""Data sets of atomic structures with energies, forces and stresses."""

from skwavelet.datasets.lisi import LISI_STEPS, load_lisi, load_lisi_task

__all__ = ["LISI_STEPS", "load_lisi", "load_lisi_task"]
