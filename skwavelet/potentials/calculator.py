"""``ScatteringCalculator``: fitted models as ASE calculators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, cast

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes

from skwavelet.potentials.linear_chain import LinearChain, model_chain
from skwavelet.potentials.rows import to_voigt
from skwavelet.potentials.uncertainty import spread_cotangents
from skwavelet.structures.boxes import bounding_cell
from skwavelet.structures.checks import check_structures

# Relative change of a cell vector up to which the grid of the first structure is kept, ...
_KEPT_STRAIN = 0.05
# ... and growth (Å) of the atoms' extent in directions without periods.
_KEPT_GROWTH = 1.0


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
        A fitted `EnergyForceRegressor`, a fitted Pipeline of a representation, linear steps and
        a linear model, or a fitted network of `skwavelet.neural`.
    per_atom : bool, default=True
        Whether the model predicts energies per atom (eV/atom) rather than total energies (eV).
        Networks predict totals, whatever is passed here.

    Attributes
    ----------
    results : dict
        ``energy`` and ``free_energy`` (total, eV), ``forces`` (N, 3) in eV/Å; where all
        directions are periodic, ``stress`` (6,) in eV/Å³ with ASE's sign and order; where the
        linear model is an ensemble, ``energy_std`` (eV), the standard deviation over its
        models, and, if asked for by ``get_property("forces_std", atoms)``, ``forces_std`` (N, 3)
        in eV/Å (tens of times as expensive as forces, see
        `EnergyForceRegressor.predict_forces`).

    Raises
    ------
    TypeError
        If the model is not linear in the features, or a step has no known derivative.

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
        "free_energy",
        "forces",
        "stress",
        "energy_std",
        "forces_std",
    ]

    def __init__(self, model: Any, *, per_atom: bool = True):
        super().__init__()  # type: ignore[no-untyped-call]  # ASE's
        self.model = model
        self.per_atom = per_atom
        self._chain = model_chain(model)
        self._kept: LinearChain | None = None
        self._first: Atoms | None = None

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
        ensemble = self._chain.n_outputs > 1
        if not ensemble and {"energy_std", "forces_std"} & set(properties):
            raise PropertyNotImplementedError("The model has no spread; use an ensemble.")
        chain = self._follow(atoms)
        total = not self.per_atom or getattr(chain, "extensive", False)
        size = 1 if total else len(atoms)
        if {"forces", "stress", "forces_std"} & set(properties):
            spread = "forces_std" in properties
            cotangents = size * spread_cotangents(
                chain.n_outputs, spread, getattr(self.model, "_deviations", None)
            )
            sweeps = chain.value_and_vjp([atoms] * len(cotangents), cotangents)
            values, gradient, strain = sweeps[0]
            self.results["forces"] = -gradient
            if atoms.pbc.all():
                self.results["stress"] = to_voigt(strain, atoms.get_volume())
            if spread:
                squares = [np.square(deviation) for _, deviation, _ in sweeps[1:]]
                self.results["forces_std"] = np.sqrt(np.sum(squares, axis=0))
        else:
            values = chain.values([atoms])[0]
        energy = float(size * values[0])
        self.results.update(energy=energy, free_energy=energy)
        if ensemble:
            self.results["energy_std"] = float(size * values[1:].std())

    def _follow(self, atoms: Atoms) -> LinearChain:
        """Return the chain on the grid of the first structure, or anew on that of ``atoms``."""
        if self._kept is None or self._first is None or _has_left(atoms, self._first):
            self._first = atoms.copy()
            self._kept = self._chain.map_leaves(lambda leaf: leaf.keep_grid(atoms))
        return self._kept


def _has_left(atoms: Atoms, first: Atoms) -> bool:
    """Whether ``atoms`` are another system than ``first``, or have outgrown its grid."""
    if not np.array_equal(atoms.numbers, first.numbers) or (atoms.pbc != first.pbc).any():
        return True
    change = np.linalg.norm(atoms.cell.array - first.cell.array, axis=1)
    if (change > _KEPT_STRAIN * first.cell.lengths())[atoms.pbc].any():
        return True
    return bool((_extents(atoms) - _extents(first) > _KEPT_GROWTH).any())


def _extents(atoms: Atoms) -> np.ndarray:
    """Return the extent (Å) of the atoms in each direction without periods."""
    (structure,) = check_structures([atoms])
    across = structure.positions @ np.linalg.inv(bounding_cell(structure))
    return np.ptp(across, axis=0)[~structure.pbc]
