"""What happens when atoms move: conservation of energy, stability, and structure."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from ase import Atoms, units
from ase.data import atomic_numbers
from ase.md.langevin import Langevin
from ase.md.md import MolecularDynamics
from ase.md.verlet import VelocityVerlet
from sklearn.utils import check_random_state

from skwavelet.properties._shared import PropertyError, as_property_error, with_calculator
from skwavelet.structures.checks import check_structures, smallest_distance

# Time constant of the thermostat: 0.01 per fs is 100 fs.
_FRICTION = 0.01 / units.fs
# Every so many steps of dynamics somebody looks whether the structure is intact.
_LOOK_EVERY = 20
# Kinetic temperatures fluctuate by sqrt(2/3N) of their mean: this many times that is no chance.
_MAX_DEVIATION = 10.0
# Pairs closer, and atoms farther from all others, than these parts of the least distance at the
# start mean collapse and evaporation.
_TOO_CLOSE, _TOO_FAR = 0.6, 2.0


class Stability(NamedTuple):
    """How a run of dynamics went; see `stability`.

    Parameters
    ----------
    intact : bool
        Whether the structure lasted to the end.
    time : float
        How long it lasted, ps.
    reason : str
        What ended it; empty if it is intact.
    temperature : float
        Mean kinetic temperature over the second half of that time, K.
    displacement : float
        Root mean square distance of the atoms from their places at the start, at the end, Å.

    Examples
    --------
    >>> from skwavelet.properties import Stability
    >>> Stability(True, 10.0, "", 301.0, 0.2).intact
    True
    """

    intact: bool
    time: float
    reason: str
    temperature: float
    displacement: float


def energy_drift(
    atoms: Atoms,
    calculator: Any = None,
    *,
    temperature: float = 300.0,
    duration: float = 2.0,
    timestep: float = 1.0,
    random_state: Any = None,
) -> float:
    """Return how fast the total energy drifts in dynamics that should conserve it.

    Velocity Verlet integrates Newton's equations. A potential whose forces are the derivative of a
    smooth energy has no drift; jumps of the energy, or forces that are no derivative, show.

    Parameters
    ----------
    atoms : ase.Atoms
        Where the run starts; repeat small cells.
    calculator : ASE calculator or fitted model, default=None
        None takes ``atoms.calc``.
    temperature : float, default=300.0
        K. Velocities are drawn at twice this: what starts at its minimum gives half of it to the
        potential energy.
    duration : float, default=2.0
        ps.
    timestep : float, default=1.0
        fs; a tenth of the shortest period of vibration or less (hydrogen: 0.5).
    random_state : int, RandomState instance or None, default=None
        Draws the velocities.

    Returns
    -------
    float
        meV/atom/ps: slope of a line fitted to the total energy against time.

    Raises
    ------
    ValueError
        If a number is not positive, or there is no calculator.
    PropertyError
        If the structure does not last so long.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> from skwavelet.properties import energy_drift
    >>> copper = bulk("Cu", cubic=True).repeat(2)
    >>> abs(energy_drift(copper, EMT(), duration=0.5, timestep=2.0, random_state=0)) < 0.5
    True
    """
    moving = _start(atoms, calculator, 2 * temperature, random_state)
    n_steps = _steps(duration, timestep)
    totals = []
    run = VelocityVerlet(moving, timestep=timestep * units.fs, logfile=None)
    with as_property_error("run"):
        for step, _ in enumerate(run.irun(n_steps)):
            totals.append(moving.get_total_energy())
            if not np.isfinite(totals[-1]):
                raise PropertyError(f"The energy is not finite after {step} steps of dynamics.")
    times = np.arange(len(totals)) * timestep * 1e-3
    return float(1e3 * np.polyfit(times, totals, 1)[0] / len(moving))


def stability(
    atoms: Atoms,
    calculator: Any = None,
    *,
    temperature: float = 300.0,
    duration: float = 10.0,
    timestep: float = 1.0,
    random_state: Any = None,
) -> Stability:
    """Run dynamics at a temperature, and say whether the structure stays intact.

    A Langevin thermostat (0.01 per fs) keeps the temperature. The run ends early, and the
    structure is not intact, where the calculator fails or returns what is not finite, where the
    kinetic temperature is ten standard deviations of its canonical fluctuation above the wanted
    one, where two atoms come closer than 0.6 of the least distance at the start, or where an atom
    has no other within twice that distance. A crystal that melts or a liquid that flows stays
    intact: ``displacement`` tells them.

    Parameters
    ----------
    atoms : ase.Atoms
        Where the run starts; repeat small cells.
    calculator : ASE calculator or fitted model, default=None
        None takes ``atoms.calc``.
    temperature : float, default=300.0
        K.
    duration : float, default=10.0
        ps.
    timestep : float, default=1.0
        fs; a tenth of the shortest period of vibration or less (hydrogen: 0.5).
    random_state : int, RandomState instance or None, default=None
        Draws velocities and random forces.

    Returns
    -------
    Stability
        ``(intact, time, reason, temperature, displacement)``; ps, K, Å.

    Raises
    ------
    ValueError
        If a number is not positive, there is a single atom, or there is no calculator.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> from skwavelet.properties import stability
    >>> copper = bulk("Cu", cubic=True).repeat(2)
    >>> run = stability(copper, EMT(), duration=0.2, timestep=2.0, random_state=0)
    >>> run.intact, run.time
    (True, 0.2)
    """
    moving = _start(atoms, calculator, temperature, random_state)
    n_steps = _steps(duration, timestep)
    start = moving.get_positions()
    if len(moving) < 2:
        raise ValueError("A single atom is always intact; repeat the cell.")
    closest = smallest_distance(check_structures([moving]))
    hottest = temperature * (1 + _MAX_DEVIATION * np.sqrt(2 / (3 * len(moving))))
    run = Langevin(
        moving,
        timestep=timestep * units.fs,
        temperature_K=temperature,
        friction=_FRICTION,
        fixcm=False,
        rng=check_random_state(random_state),
        logfile=None,
    )
    temperatures: list[float] = []
    reason = ""
    try:
        with as_property_error("run"):
            _watch(run, n_steps, hottest, closest, temperatures)
    except PropertyError as error:
        reason = str(error)
    second_half = temperatures[len(temperatures) // 2 :]
    moved = moving.positions - start
    moved -= np.average(moved, axis=0, weights=moving.get_masses())
    return Stability(
        not reason,
        round((len(temperatures) - 1) * timestep * 1e-3, 9),
        reason,
        float(np.mean(second_half)),
        float(np.sqrt(np.square(moved).sum(axis=1).mean())),
    )


def radial_distribution(
    structures: Any,
    *,
    r_max: float = 6.0,
    n_bins: int = 120,
    elements: tuple[str, str] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the radial distribution function, averaged over structures.

    g(r) is the density of atoms at a distance r from an atom, over the mean density.

    Parameters
    ----------
    structures : ase.Atoms or sequence of ase.Atoms
        Periodic structures, such as the frames of a run.
    r_max : float, default=6.0
        Largest distance, Å; periodic images count, so that cells may be smaller.
    n_bins : int, default=120
        Number of distances.
    elements : tuple of str, default=None
        Two symbols: the distribution of atoms of the second around those of the first. None takes
        all atoms.

    Returns
    -------
    r : ndarray of shape (n_bins,)
        Middles of the bins, Å.
    g : ndarray of shape (n_bins,)
        Without unit; 1 at large distances.

    Raises
    ------
    ValueError
        If a structure is not periodic, has none of these elements, or an argument cannot be.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from skwavelet.properties import radial_distribution
    >>> r, g = radial_distribution(bulk("Cu", a=3.6), r_max=4.0, n_bins=40)
    >>> [round(float(distance), 2) for distance in r[g > 0]]
    [2.55, 3.65]
    """
    if not r_max > 0 or n_bins < 1:
        raise ValueError(f"r_max={r_max!r} must be positive, and n_bins={n_bins!r} at least 1.")
    single = isinstance(structures, Atoms) or hasattr(structures, "to_ase_atoms")
    frames = check_structures([structures] if single else structures)
    edges = np.linspace(0, r_max, n_bins + 1)
    shells = 4 / 3 * np.pi * np.diff(edges**3)
    total = np.zeros(n_bins)
    for frame in frames:
        if not frame.pbc.all():
            raise ValueError(
                f"Structure {frame.index} is not periodic in all directions, so it has no mean "
                "density: set its cell and atoms.pbc = True."
            )
        wanted = [np.ones(len(frame), dtype=bool)] * 2
        if elements is not None:
            wanted = [frame.numbers == atomic_numbers.get(symbol, -1) for symbol in elements]
        n_around, n_other = (int(mask.sum()) for mask in wanted)
        if not (n_around and n_other):
            raise ValueError(f"Structure {frame.index} does not have the elements {elements}.")
        i, j, distances = frame.neighbors(r_max, "ijd")
        counts, _ = np.histogram(distances[wanted[0][i] & wanted[1][j]], edges)
        density = n_other / abs(np.linalg.det(frame.cell))
        total += counts / (n_around * density * shells)
    return (edges[1:] + edges[:-1]) / 2, total / len(frames)


def _start(atoms: Atoms, calculator: Any, temperature: float, random_state: Any) -> Atoms:
    """Return a copy of a structure with Maxwell's velocities, at rest as a whole."""
    if not 0 < temperature < np.inf:
        raise ValueError(f"temperature={temperature!r} must be positive, in K.")
    moving = with_calculator(atoms, calculator)
    masses = moving.get_masses()[:, None]
    velocities = check_random_state(random_state).standard_normal((len(moving), 3))
    velocities *= np.sqrt(units.kB * temperature / masses)
    velocities -= (masses * velocities).sum(axis=0) / masses.sum()
    moving.set_velocities(velocities)
    return moving


def _steps(duration: float, timestep: float) -> int:
    """Return the number of steps (fs) in a duration (ps)."""
    if not (duration > 0 and timestep > 0) or duration * 1e3 < 2 * timestep:
        raise ValueError(
            f"duration={duration!r} ps must be at least two steps of timestep={timestep!r} fs."
        )
    return round(duration * 1e3 / timestep)


def _watch(
    run: MolecularDynamics,
    n_steps: int,
    hottest: float,
    closest: float,
    temperatures: list[float],
) -> None:
    """Run dynamics and collect temperatures; raise `PropertyError` where it fails."""
    for step, _ in enumerate(run.irun(n_steps)):
        now = run.atoms.get_temperature()
        if not np.isfinite(now):
            raise PropertyError("The forces are not finite.")
        temperatures.append(float(now))
        if now > hottest:
            raise PropertyError(f"The temperature rose to {now:.0f} K.")
        if step % _LOOK_EVERY == 0 or step == n_steps:
            _check_distances(run.atoms, closest)


def _check_distances(atoms: Atoms, closest: float) -> None:
    (structure,) = check_structures([atoms])
    i, j, distances = structure.neighbors(_TOO_FAR * closest, "ijd")
    if len(distances) and distances.min() < _TOO_CLOSE * closest:
        pair = distances.argmin()
        raise PropertyError(
            f"Atoms {i[pair]} and {j[pair]} came as close as {distances[pair]:.2f} Å, from "
            f"{closest:.2f} Å at the start."
        )
    alone = np.setdiff1d(np.arange(len(atoms)), i)
    if len(alone):
        raise PropertyError(f"Atom {alone[0]} left all others by {_TOO_FAR * closest:.2f} Å.")
