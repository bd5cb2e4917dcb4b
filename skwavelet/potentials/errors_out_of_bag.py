"""Errors of potentials on structures that members have not seen, and what is learned from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
from ase import Atoms

from skwavelet.linear.calibration import (
    SpreadCalibration,
    fit_calibration,
    overall_ratio,
    unbiased_std,
)
from skwavelet.linear.intervals import OutOfBagIntervals
from skwavelet.potentials.contract import (
    Calibrations,
    Derivatives,
    EnergyModel,
    calibrations_of,
    over_directions,
)
from skwavelet.potentials.element_calibrations import ElementCalibrations
from skwavelet.potentials.rows import ENERGY, FORCE, STRESS, Rows
from skwavelet.potentials.surroundings import Surroundings

# Errors out of bag that are remembered when a model is updated again and again.
_MOST_ERRORS = 2**19


@dataclass(frozen=True)
class ErrorRecord:
    """Errors out of bag, from which the calibrations and intervals of a potential are made.

    Attributes
    ----------
    errors, spread : ndarray of shape (n,)
        Of energies (eV/atom), components of forces (eV/Å) and stresses (eV/Å³), by models that
        have not seen them.
    weight : ndarray of shape (n,)
        Those of the structures.
    kind : ndarray of shape (n,)
        ``ENERGY``, ``FORCE`` or ``STRESS``.
    groups : ndarray of shape (n,)
        Numbers of groups.
    remoteness : ndarray of shape (n,)
        Of the structures.
    size : ndarray of shape (n,)
        Of forces as they are predicted, eV/Å.
    numbers : ndarray of shape (n,)
        Atomic numbers of components of forces, 0 of all else.
    pattern : ndarray of shape (n,)
        Rows of ``left_out``.
    left_out : ndarray of bool of shape (n_patterns, n_members)
        Which members have not seen a group.
    """

    errors: np.ndarray
    spread: np.ndarray
    weight: np.ndarray
    kind: np.ndarray
    groups: np.ndarray
    remoteness: np.ndarray
    size: np.ndarray
    numbers: np.ndarray
    pattern: np.ndarray
    left_out: np.ndarray

    @classmethod
    def of(
        cls,
        regressor: Any,
        rows: Rows,
        X: Sequence[Atoms],
        groups: np.ndarray,
        surroundings: Surroundings | None,
    ) -> Self:
        """Return the errors on rows that a linear model was fitted to, or updated with.

        ``groups`` (n_structures,) are those of the structures; the surroundings, of the training
        set, are None where the model has no errors out of bag.
        """
        nothing, none = np.zeros(0), np.zeros(0, dtype=int)
        if surroundings is None:
            return cls(
                nothing, nothing, nothing, none, none, nothing, nothing, none, none,
                np.zeros((0, 0), dtype=bool),
            )  # fmt: skip
        told = np.flatnonzero((rows.kind <= STRESS) & np.isfinite(regressor.oob_spread_))
        kind, structure = rows.kind[told], rows.structure[told]
        # Directions are orthonormal but for a factor that makes up for those not drawn.
        sizes = np.array([len(atoms) for atoms in X])
        components = np.column_stack([np.ones_like(sizes), 3 * sizes, np.full_like(sizes, 6)])
        drawn = np.zeros(components.shape, dtype=int)
        np.add.at(drawn, (structure, kind), 1)
        n_components, n_drawn = components[structure, kind], drawn[structure, kind]
        length = np.sqrt(n_components / n_drawn)
        spread = regressor.oob_spread_[told] / length
        # Along a random direction of all atoms, the force is as large as those of all atoms.
        predicted = regressor.oob_prediction_[told] / length
        size, numbers = np.zeros(len(told)), np.zeros(len(told), dtype=int)
        forces = kind == FORCE
        squares = np.bincount(structure[forces], predicted[forces] ** 2, len(X))
        size[forces] = np.sqrt(squares / np.maximum(drawn[:, FORCE], 1))[structure[forces]]
        whole = forces & (n_drawn == n_components)  # one component after the other
        for values, of in ((spread, spread), (size, predicted)):
            values[whole] = over_directions(of[whole].reshape(-1, 3)).ravel()
        of_atoms = [X[i].numbers for i in np.unique(structure[whole])]
        numbers[whole] = np.repeat(np.concatenate([*of_atoms, none]), 3)
        return cls(
            predicted - rows.targets[told] / length,
            spread,
            rows.structure_weight[structure],
            kind,
            groups[structure],
            surroundings.remoteness(X)[structure],
            size,
            numbers,
            regressor._left_out[1][told],
            regressor._left_out[0],
        )

    def __add__(self, other: ErrorRecord) -> ErrorRecord:
        """Return the errors of both, whose groups are not the same; a part where they are many."""
        theirs = replace(
            other,
            groups=other.groups + self.groups.max(initial=-1) + 1,
            pattern=other.pattern + len(self.left_out),
        )
        both = {
            field.name: np.concatenate([getattr(record, field.name) for record in (self, theirs)])
            for field in fields(self)
        }
        left_out, kinds = both.pop("left_out"), both["kind"]
        if len(kinds) > _MOST_ERRORS:
            # As many of each kind, or energies would drown in components of forces.
            rank = np.random.default_rng(len(kinds)).permutation(len(kinds))
            for kind in np.unique(kinds):
                own = np.flatnonzero(kinds == kind)
                rank[own[np.argsort(rank[own])]] = np.arange(len(own))
            kept = np.sort(np.argsort(rank, kind="stable")[: _MOST_ERRORS // 2])
            both = {name: values[kept] for name, values in both.items()}
        return ErrorRecord(**both, left_out=left_out)

    def calibrations(self, regressor: Any) -> Calibrations:
        """Return the calibrations of the spread of energies, forces and stresses.

        Where there are no errors of a kind, they are those of `calibrations_of`.
        """
        found = calibrations_of(regressor)
        told = (self.errors, self.spread, self.weight, self.groups)
        energy, forces, stress = (self.kind == kind for kind in (ENERGY, FORCE, STRESS))
        if energy.any():
            errors, spread, weight, groups = (part[energy] for part in told)
            own = fit_calibration(errors, spread, weight, groups, self.remoteness[energy])
            found = found._replace(energy=own)
        if forces.any():
            columns = (part[forces] for part in (*told, self.size, self.numbers))
            found = found._replace(forces=ElementCalibrations.fit(*columns))
        if stress.any():
            found = found._replace(stress=fit_calibration(*(part[stress] for part in told)))
        return found

    def intervals(self, calibration: SpreadCalibration) -> OutOfBagIntervals | None:
        """Return what intervals of energies need to know; None where there are no errors."""
        own = (self.kind == ENERGY) & (self.weight > 0)
        if not own.any():
            return None
        return OutOfBagIntervals.fit(
            self.left_out[self.pattern[own]],
            self.errors[own],
            self.spread[own],
            self.groups[own],
            calibration,
            self.remoteness[own],
        )


def calibrated_on(
    model: EnergyModel,
    X: Sequence[Atoms],
    energies: np.ndarray,
    forces: Sequence[np.ndarray | None],
    stress: Sequence[np.ndarray | None],
    weight: np.ndarray,
    groups: np.ndarray,
) -> tuple[Calibrations, OutOfBagIntervals]:
    """Return calibrations, by which errors on structures held out are as predicted, and intervals.

    The model has members and no calibrations, and was not trained on these structures. Labels are
    in eV/atom, eV/Å and eV/Å³, None where there is no force or stress.
    """
    values = model.values(X)
    errors, spread = values[:, 0] - energies, unbiased_std(values[:, 1:])
    ratio = SpreadCalibration(factor=overall_ratio(errors, spread, weight))
    energy = fit_calibration(errors, spread, weight, groups)
    calibrations = Calibrations(energy, ElementCalibrations(ratio), ratio)
    labelled = [i for i, _ in enumerate(X) if forces[i] is not None or stress[i] is not None]
    results: list[Derivatives] = []
    if labelled:
        results = model.forces_and_stress([X[i] for i in labelled], with_spread=True)
    for name, labels in (("forces", forces), ("stress", stress)):
        told = [(i, r) for i, r in zip(labelled, results, strict=True) if labels[i] is not None]
        if told:
            wrong = [np.ravel(getattr(r, name) - labels[i]) for i, r in told]
            std = [np.ravel(getattr(r, f"{name}_std")) for _, r in told]
            of = np.repeat([i for i, _ in told], [len(w) for w in wrong])
            columns = np.concatenate(wrong), np.concatenate(std), weight[of], groups[of]
            if name == "stress":
                calibrations = calibrations._replace(stress=fit_calibration(*columns))
            else:
                size = np.concatenate([over_directions(r.forces).ravel() for _, r in told])
                numbers = np.concatenate([np.repeat(X[i].numbers, 3) for i, _ in told])
                own = ElementCalibrations.fit(*columns, size, numbers)
                calibrations = calibrations._replace(forces=own)
    unseen = np.ones((len(X), model.n_members), dtype=bool)
    intervals = OutOfBagIntervals.fit(unseen, errors, spread, groups, energy)
    return calibrations, intervals
