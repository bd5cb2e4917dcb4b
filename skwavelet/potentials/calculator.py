"""``ScatteringCalculator``: fitted models as ASE calculators."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, ClassVar, cast

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes

from skwavelet.potentials.contract import EnergyModel
from skwavelet.potentials.energy_model import energy_model
from skwavelet.structures.checks import check_structures

# Relative change of a cell vector up to which the grid of the first structure is kept, ...
_KEPT_STRAIN = 0.05
# ... and growth (Å) of the atoms' extent in directions without periods.
_KEPT_GROWTH = 1.0
# What only ensembles have, and ASE does not know: `SinglePointCalculator` takes no such results.
_SPREAD = ("energy_std", "forces_std")


class ScatteringCalculator(Calculator):
    """ASE calculator of a fitted model of energies.

    Energies, forces and stresses are those of one function: forces and stresses are its exact
    derivatives. The grid that a structure is computed on depends in steps on its cell, so the
    calculator keeps the grid of the first structure while the atoms and periods stay the same
    and no cell vector has changed by more than 5 % (nor have atoms spread by more than 1 Å where
    nothing is periodic); then it takes that of the structure at hand, and the energy may make a
    step of the size of the discretization error. Use a new calculator for a new job if its
    results must not depend on the one before.

    Parameters
    ----------
    model : estimator
        A fitted `EnergyForceRegressor`; a fitted Pipeline of a representation, linear steps and
        a linear model; a fitted network of `skwavelet.neural`; or a search over the parameters
        of one of these.
    per_atom : bool, default=True
        Whether the model was fitted to energies per atom (eV/atom) rather than to total energies
        (eV). Networks know that they predict eV/atom, whatever is passed here.

    Attributes
    ----------
    results : dict
        ``energy`` and ``free_energy`` (total, eV), ``forces`` (N, 3) in eV/Å; where all
        directions are periodic, ``stress`` (6,) in eV/Å³ with ASE's sign and order. ``energies``
        (N,) of the atoms (eV), where they are asked for and the model is a sum over atoms.

    Raises
    ------
    TypeError
        If the model is not linear in the features, or a step has no known derivative.

    Notes
    -----
    Of ensembles, and of networks with ``n_members``, ``get_property("energy_std", atoms)`` is the
    standard deviation (eV) of the energy, and ``get_property("forces_std", atoms)`` that of the
    forces (N, 3) in eV/Å, up to 16 times as expensive as the forces (see
    `EnergyForceRegressor.predict_forces`).
    Both are calibrated by errors on groups that were left out. They are computed only if asked
    for, and are not in ``results``, which hold what ASE knows:
    ``SinglePointCalculator(atoms, **calc.results)``.

    Examples
    --------
    >>> import numpy as np
    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> from sklearn.linear_model import Ridge
    >>> from sklearn.pipeline import make_pipeline
    >>> from skwavelet import ScatteringCalculator, VoxelScattering, labels_of
    >>> structures = [bulk("Cu", a=a, cubic=True) for a in np.linspace(3.4, 3.8, 9)]
    >>> for atoms in structures:
    ...     atoms.calc = EMT()
    >>> features = VoxelScattering(n=[1], max_l=0, spacing=0.4, dtype="float64")
    >>> model = make_pipeline(features, Ridge(1e-8))
    >>> model = model.fit(structures, labels_of(structures).energies)
    >>> copper = bulk("Cu", cubic=True)
    >>> copper.calc = ScatteringCalculator(model)
    >>> copper.get_forces().shape, copper.get_stress().shape
    ((4, 3), (6,))
    """

    # ASE declares it for instances.
    implemented_properties: ClassVar[list[str]] = [  # type: ignore[misc]
        "energy",
        "energies",
        "free_energy",
        "forces",
        "stress",
        *_SPREAD,
    ]

    def __init__(self, model: Any, *, per_atom: bool = True):
        super().__init__()  # type: ignore[no-untyped-call]  # ASE's
        self.model = model
        self.per_atom = per_atom
        self._model = energy_model(model) if per_atom else energy_model(model).of_totals()
        self._kept: EnergyModel | None = None
        self._single: tuple[EnergyModel, EnergyModel] | None = None
        self._first: Atoms | None = None
        self._spread: dict[str, Any] = {}

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Compute properties of a structure into ``results``.

        Parameters
        ----------
        atoms : ase.Atoms
        properties : sequence of str
            What is asked for; energies alone are cheaper, and forces bring energy and stress.
        system_changes : sequence of str
            What has changed, as ASE tells.
        """
        super().calculate(  # type: ignore[no-untyped-call]  # ASE's
            atoms, properties, system_changes
        )
        atoms = cast(Atoms, self.atoms)
        if "stress" in properties and not atoms.pbc.all():
            raise PropertyNotImplementedError("Stress needs periods in all three directions.")
        if system_changes:
            self._spread = {}
        asked = set(properties)
        if not self._model.n_members and not asked.isdisjoint(_SPREAD):
            raise PropertyNotImplementedError("The model has no spread; use an ensemble.")
        model = self._follow(atoms)
        if asked.isdisjoint(_SPREAD):  # the members cost nothing where they are not asked for
            model = self._without_members(model)
        if asked.isdisjoint({"forces", "stress", "forces_std"}):
            values = model.values([atoms])[0]
        else:
            (sweep,) = model.forces_and_stress([atoms], with_spread="forces_std" in asked)
            values = sweep.values
            self.results["forces"] = sweep.forces
            if sweep.stress is not None:
                self.results["stress"] = sweep.stress
            if "forces_std" in asked:
                self._spread["forces_std"] = sweep.forces_std
        if "energies" in asked:
            self.results["energies"] = self._energies(atoms)
        energy = float(len(atoms) * values[0])
        self.results.update(energy=energy, free_energy=energy)
        if len(values) > 1:
            self._spread["energy_std"] = float(
                len(atoms) * model.energy_std([atoms], values[None])[0]
            )

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """Tell what has changed since the last calculation.

        Parameters
        ----------
        atoms : ase.Atoms
        tol : float, default=1e-15
            Ignored: numbers are compared as they are, which is quicker.

        Returns
        -------
        list of str
            ASE's names of changes that matter here; charges and magnetic moments do not.
        """
        if self.atoms is None:
            return list(all_changes)
        before, now = cast(Atoms, self.atoms), atoms
        same = {
            "positions": np.array_equal(before.positions, now.positions),
            "numbers": np.array_equal(before.numbers, now.numbers),
            "cell": np.array_equal(before.cell.array, now.cell.array),
            "pbc": np.array_equal(before.pbc, now.pbc),
        }
        return [name for name, equal in same.items() if not equal]

    def get_property(
        self, name: str, atoms: Atoms | None = None, allow_calculation: bool = True
    ) -> Any:
        """Return a property, computed if it is not known yet.

        Parameters
        ----------
        name : str
            One of ASE's, or ``"energy_std"`` or ``"forces_std"`` of an ensemble.
        atoms : ase.Atoms, default=None
            None: the structure that was computed last.
        allow_calculation : bool, default=True
            Whether to compute what is not known yet.

        Returns
        -------
        float or ndarray or None
            None for what is not known and must not be computed.
        """
        if name not in _SPREAD:
            return super().get_property(  # type: ignore[no-untyped-call]  # ASE's
                name, atoms, allow_calculation
            )
        known = self.atoms is not None and (atoms is None or not self.check_state(atoms))
        if not (known and name in self._spread):
            if not allow_calculation:
                return None
            self.calculate(self.atoms if atoms is None else atoms, [name])
        return copy.copy(self._spread[name])

    def _energies(self, atoms: Atoms) -> np.ndarray:
        try:
            return self._model.of_atoms().values(atoms)
        except TypeError as error:
            raise PropertyNotImplementedError(str(error)) from error

    def _without_members(self, model: EnergyModel) -> EnergyModel:
        """Return the model without its members, the same one as long as the model is the same.

        What it has prepared is most of the work of a step of dynamics.
        """
        if self._single is None or self._single[0] is not model:
            self._single = model, model.without_members()
        return self._single[1]

    def _follow(self, atoms: Atoms) -> EnergyModel:
        """Return the model on the grid of the first structure, or anew on that of ``atoms``."""
        if self._kept is None or self._first is None or _has_left(atoms, self._first):
            self._first = atoms.copy()
            self._kept = self._model.keep_grid(atoms)
        return self._kept


def _has_left(atoms: Atoms, first: Atoms) -> bool:
    """Whether ``atoms`` are another system than ``first``, or have outgrown its grid."""
    if not np.array_equal(atoms.numbers, first.numbers) or (atoms.pbc != first.pbc).any():
        return True
    periodic = bool(atoms.pbc.all())
    if periodic and np.array_equal(atoms.cell.array, first.cell.array):
        return False
    change = np.linalg.norm(atoms.cell.array - first.cell.array, axis=1)
    if (change > _KEPT_STRAIN * first.cell.lengths())[atoms.pbc].any():
        return True
    if periodic:
        return False
    return bool((_extents(atoms) - _extents(first) > _KEPT_GROWTH).any())


def _extents(atoms: Atoms) -> np.ndarray:
    """Return the extent (Å) of the atoms in each direction without periods."""
    (structure,) = check_structures([atoms])
    across = structure.positions @ structure.inverse_box
    return np.ptp(across, axis=0)[~structure.pbc]
