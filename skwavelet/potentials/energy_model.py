"""What a fitted model of structures is to whoever uses it: energies per atom and derivatives.

Calculators, displays, rankings and everything else that works with fitted models asks for

    energy_model(model).values(X)            # eV/atom, and those of the members of an ensemble
    energy_model(model).value_and_vjp(X, cotangents)

and sees nothing else of them. ``energy_model`` is a `functools.singledispatch` function: another
kind of model subclasses `EnergyModel` and registers itself,

    @energy_model.register
    def _(model: MyModel) -> EnergyModel:
        return MyEnergyModel(model)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import singledispatch
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from ase import Atoms
from ase.stress import full_3x3_to_voigt_6_stress
from sklearn.base import is_regressor
from sklearn.compose import TransformedTargetRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from skwavelet.linear.calibration import SpreadCalibration, unbiased_std
from skwavelet.potentials.atom_energies import AtomEnergies, LinearAtomEnergies
from skwavelet.potentials.linear_chain import (
    BaseSearchCV,
    LinearChain,
    active_steps,
    all_coefficients,
    feature_chain,
    target_map,
    unwrapped,
)
from skwavelet.structures.checks import as_atoms

if TYPE_CHECKING:
    from functools import _SingleDispatchCallable


class Derivatives(NamedTuple):
    """Energies of one structure, and the derivatives of its total energy.

    Attributes
    ----------
    values : ndarray of shape (1 + n_members,)
        Energies, eV/atom.
    forces : ndarray of shape (N, 3)
        eV/Å.
    stress : ndarray of shape (6,) or None
        eV/Å³, ASE's sign and order; None where not all directions are periodic.
    forces_std, stress_std : like forces and stress
        Calibrated standard deviations; zero unless they were asked for.
    """

    values: np.ndarray
    forces: np.ndarray
    stress: np.ndarray | None
    forces_std: np.ndarray
    stress_std: np.ndarray | None


class Calibrations(NamedTuple):
    """From spreads to standard deviations: energies (eV/atom), forces (eV/Å), stresses (eV/Å³)."""

    energy: SpreadCalibration = SpreadCalibration()
    forces: SpreadCalibration = SpreadCalibration()
    stress: SpreadCalibration = SpreadCalibration()

    def scaled(self, unit: float) -> Calibrations:
        """Return those of energies that are multiplied by ``unit``."""
        return Calibrations(*(calibration.scaled(unit) for calibration in self))


UNCALIBRATED = Calibrations()


def calibrations_of(regressor: Any) -> Calibrations:
    """Return the calibrations of a linear model of energies.

    That of energies is learned from them. No floor is known of forces and stresses: their spread
    is multiplied by the ratio of the errors of energies to the spread of energies.
    """
    if not hasattr(regressor, "calibration_"):
        return UNCALIBRATED
    ratio = SpreadCalibration(factor=regressor._overall_ratio)
    return Calibrations(regressor.calibration_, ratio, ratio)


class EnergyModel(ABC):
    """Energies per atom (eV/atom) of structures, and their derivatives.

    Output 0 is the prediction. Outputs 1, 2, ... are those of the members of an ensemble, whose
    mean is the prediction.

    Attributes
    ----------
    n_members : int
        Number of members, 0 where the model is no ensemble.
    deviations : ndarray of shape (r, n_members) or None
        Mixtures of members of which the sum of squares is the variance of forces and stresses
        over the members; None for each member's own deviation, which is exact.
    calibrations : Calibrations
        From the standard deviations over the members to those that are returned.
    """

    n_members: int = 0
    deviations: np.ndarray | None = None
    calibrations: Calibrations = UNCALIBRATED

    @abstractmethod
    def values(self, X: Sequence[Atoms]) -> np.ndarray:
        """Return energies (n_structures, 1 + n_members), eV/atom, in float64."""

    @abstractmethod
    def value_and_vjp(
        self, X: Sequence[Atoms], cotangents: np.ndarray
    ) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Return energies and gradients of ``cotangents[i] @ energies(X[i])``.

        Parameters
        ----------
        X : sequence of ase.Atoms
        cotangents : ndarray of shape (n_structures, 1 + n_members)

        Returns
        -------
        list of (ndarray (1 + n_members,), ndarray (N, 3), ndarray (3, 3))
            Energies (eV/atom), gradient with respect to the positions (per Å) and to a
            homogeneous strain.
        """

    def energy_std(self, X: Sequence[Atoms], values: np.ndarray) -> np.ndarray:
        """Return calibrated standard deviations of energies.

        Parameters
        ----------
        X : sequence of ase.Atoms
        values : ndarray of shape (n_structures, 1 + n_members)
            What `values` makes of them.

        Returns
        -------
        ndarray of shape (n_structures,)
            eV/atom.
        """
        return self.calibrations.energy(unbiased_std(values[:, 1:]))

    def of_atoms(self) -> AtomEnergies:
        """Return the energies of the atoms, whose sum is the energy.

        Raises
        ------
        TypeError
            If the energy is no sum over atoms, or its terms are not known here; it says why.
        """
        raise TypeError(f"{type(self).__name__} does not say what the energies of atoms are.")

    def keep_grid(self, atoms: Atoms) -> EnergyModel:
        """Return the model with the discretization of one structure, where it has any."""
        return self

    def without_members(self) -> EnergyModel:
        """Return the model with its prediction as only output."""
        return self

    def of_totals(self) -> EnergyModel:
        """Return the model that it is if it was fitted to total energies, eV.

        Nothing changes where the kind of model settles what it predicts.
        """
        return self

    def forces_and_stress(
        self, X: Sequence[Atoms], *, with_spread: bool = False
    ) -> list[Derivatives]:
        """Differentiate total energies.

        Parameters
        ----------
        X : sequence of ase.Atoms
        with_spread : bool, default=False
            Whether to differentiate the deviations of the members too, a sweep for each.

        Returns
        -------
        list of Derivatives
        """
        X = as_atoms(X)
        cotangents = spread_cotangents(1 + self.n_members, with_spread, self.deviations)
        n_sweeps = len(cotangents)
        sizes = np.repeat([len(atoms) for atoms in X], n_sweeps)
        sweeps = self.value_and_vjp(
            [atoms for atoms in X for _ in cotangents],
            sizes[:, None] * np.tile(cotangents, (len(X), 1)),
        )
        results = []
        unbiased = np.sqrt(self.n_members / max(self.n_members - 1, 1))

        def std(deviations: np.ndarray, calibration: SpreadCalibration) -> np.ndarray:
            spread = unbiased * np.sqrt(np.square(deviations).sum(axis=0))
            return calibration(spread) if with_spread else spread

        for index, atoms in enumerate(X):
            values, gradients, strains = zip(
                *sweeps[index * n_sweeps : (index + 1) * n_sweeps], strict=True
            )
            stress = stress_std = None
            if atoms.pbc.all():
                stresses = full_3x3_to_voigt_6_stress(strains) / atoms.get_volume()
                stress, stress_std = stresses[0], std(stresses[1:], self.calibrations.stress)
            forces = -gradients[0]
            deviations = np.reshape(gradients[1:], (-1, *forces.shape))
            forces_std = std(deviations, self.calibrations.forces)
            results.append(Derivatives(values[0], forces, stress, forces_std, stress_std))
        return results


def spread_cotangents(
    n_outputs: int, with_spread: bool, deviations: np.ndarray | None = None
) -> np.ndarray:
    """Return what to differentiate for a prediction and for its spread.

    Parameters
    ----------
    n_outputs : int
        Outputs of an `EnergyModel`: the prediction, and those of the members.
    with_spread : bool
    deviations : ndarray of shape (r, n_members), optional
        See `EnergyModel`.

    Returns
    -------
    ndarray of shape (1, n_outputs) or (1 + r, n_outputs)
        The prediction, and deviations of which the sum of squares is the variance.
    """
    prediction = np.zeros((1, n_outputs))
    prediction[0, 0] = 1
    if not with_spread:
        return prediction
    if deviations is None:
        deviations = np.eye(n_outputs - 1) / np.sqrt(n_outputs - 1)
    # Members are compared with their mean, output 0.
    against = -deviations.sum(axis=1, keepdims=True)
    return np.vstack([prediction, np.hstack([against, deviations])])


@dataclass(frozen=True)
class LinearEnergyModel(EnergyModel):
    """Energies per atom that are affine in the features of representations.

    Attributes
    ----------
    chain : LinearChain
        From structures to the energies of the prediction and of the members, eV/atom.
    deviations : ndarray or None
        See `EnergyModel`.
    calibrations : Calibrations
        Those of the outputs of the chain.
    totals : bool
        Whether the outputs of the chain are total energies, eV.
    """

    chain: LinearChain
    deviations: np.ndarray | None = None
    calibrations: Calibrations = UNCALIBRATED
    totals: bool = False

    @classmethod
    def of(
        cls,
        features: Any,
        regressor: Any,
        deviations: np.ndarray | None = None,
        calibrations: Calibrations | None = None,
    ) -> Self:
        """Return the model of fitted features and a fitted linear model.

        Raises
        ------
        TypeError
            If a step is not linear, or its derivative is not known.
        """
        coefs, intercepts = all_coefficients(regressor)
        if calibrations is None:
            calibrations = calibrations_of(regressor)
        chain = feature_chain(features).then(coefs, intercepts)
        return cls(chain, deviations, calibrations)

    @property
    def n_members(self) -> int:  # type: ignore[override]
        """Number of members."""
        return self.chain.n_outputs - 1

    def values(self, X: Sequence[Atoms]) -> np.ndarray:
        """Return energies, eV/atom."""
        return self.chain.values(X) / self._units(X)[:, None]

    def value_and_vjp(
        self, X: Sequence[Atoms], cotangents: np.ndarray
    ) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Return energies and gradients."""
        units = self._units(X)
        return [
            (values / unit, gradient, strain)
            for unit, (values, gradient, strain) in zip(
                units, self.chain.value_and_vjp(X, cotangents / units[:, None]), strict=True
            )
        ]

    def energy_std(self, X: Sequence[Atoms], values: np.ndarray) -> np.ndarray:
        """Return calibrated standard deviations, eV/atom."""
        units = self._units(X)
        return super().energy_std(X, values * units[:, None]) / units

    def of_atoms(self) -> AtomEnergies:
        """Return the energies of the atoms."""
        if self.totals:
            raise TypeError("A model of total energies has no energies of atoms: fit eV/atom.")
        return LinearAtomEnergies.of(self.chain)

    def _units(self, X: Sequence[Atoms]) -> np.ndarray:
        """Return what the outputs of the chain are to be divided by."""
        return np.array([len(atoms) if self.totals else 1.0 for atoms in X])

    def keep_grid(self, atoms: Atoms) -> LinearEnergyModel:
        """Return the model with every representation on the grid of one structure."""
        return replace(self, chain=self.chain.map_leaves(lambda leaf: leaf.keep_grid(atoms)))

    def without_members(self) -> LinearEnergyModel:
        """Return the model with its prediction as only output."""
        first = self.chain.then(np.eye(self.chain.n_outputs, 1), np.zeros(1))
        return replace(self, chain=first, deviations=None)

    def of_totals(self) -> LinearEnergyModel:
        """Return the model whose chain gives total energies, eV."""
        return replace(self, totals=True)


def _energy_model(model: Any) -> EnergyModel:
    """Return the energy model of a fitted model of structures.

    Parameters
    ----------
    model : estimator
        A fitted Pipeline of representations, linear steps and a linear model that was fitted to
        eV/atom; an `EnergyForceRegressor`; a network of `skwavelet.neural`; a search over
        parameters (its best estimator), a FrozenEstimator, or a TransformedTargetRegressor with a
        linear transformer of one of these. Register further kinds with
        ``energy_model.register``.

    Returns
    -------
    EnergyModel

    Raises
    ------
    TypeError
        If a step has no known derivative, or the model is not linear.
    NotFittedError
        If it is not fitted.
    """
    return LinearEnergyModel.of(*split_model(model))


# Annotated, as mypy meets the modules of the package in a circle and infers no decorated types.
energy_model: _SingleDispatchCallable[EnergyModel] = singledispatch(_energy_model)


@energy_model.register
def _(model: EnergyModel) -> EnergyModel:
    return model


@energy_model.register(BaseSearchCV)
@energy_model.register(FrozenEstimator)
def _(model: Any) -> EnergyModel:
    return energy_model(unwrapped(model))


@energy_model.register
def _(model: Pipeline) -> EnergyModel:
    steps = active_steps(model)
    if len(steps) == 1 and is_regressor(steps[0]):  # one that takes structures
        return energy_model(steps[0])
    return LinearEnergyModel.of(*split_model(model))


@energy_model.register
def _(model: TransformedTargetRegressor) -> EnergyModel:
    check_is_fitted(model)
    inner = energy_model(model.regressor_)
    if not isinstance(inner, LinearEnergyModel):
        raise TypeError(
            f"The targets of {type(model.regressor_).__name__} cannot be transformed here: fit "
            "it to eV/atom."
        )
    factor, shift = target_map(model)
    n_outputs = inner.chain.n_outputs
    return replace(
        inner,
        chain=inner.chain.then(factor * np.eye(n_outputs), np.full(n_outputs, shift)),
        calibrations=inner.calibrations.scaled(factor),
    )


def _split_model(model: Any) -> tuple[Any, Any]:
    """Return (features, regressor) of a fitted linear model of structures.

    Raises
    ------
    TypeError
        If it is neither a Pipeline of both nor an ``EnergyForceRegressor``, nor a search or a
        FrozenEstimator of one.
    """
    raise TypeError(
        f"{type(model).__name__} is neither a Pipeline of features and a linear model nor an "
        "EnergyForceRegressor; put its features and it into one."
    )


split_model: _SingleDispatchCallable[tuple[Any, Any]] = singledispatch(_split_model)


@split_model.register(BaseSearchCV)
@split_model.register(FrozenEstimator)
def _(model: Any) -> tuple[Any, Any]:
    return split_model(unwrapped(model))


@split_model.register
def _(model: Pipeline) -> tuple[Any, Any]:
    if len(model.steps) < 2:
        raise TypeError("The pipeline has no model after its features: add a linear model.")
    check_is_fitted(model)
    return model[:-1], unwrapped(model.steps[-1][1])
