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

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import singledispatch
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from ase import Atoms
from sklearn.base import is_regressor
from sklearn.compose import TransformedTargetRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from skwavelet.potentials.atom_energies import (
    AtomEnergies,
    AtomSpread,
    LinearAtomEnergies,
    LinearAtomSpread,
)
from skwavelet.potentials.contract import (
    UNCALIBRATED,
    Calibrations,
    EnergyModel,
    calibrations_of,
    spread_cotangents,
)
from skwavelet.potentials.estimators import BaseSearchCV, active_steps, unwrapped
from skwavelet.potentials.linear_chain import LinearChain, feature_chain
from skwavelet.potentials.linear_models import all_coefficients, target_map
from skwavelet.potentials.surroundings import Surroundings

if TYPE_CHECKING:
    from functools import _SingleDispatchCallable


@dataclass(frozen=True)
class LinearEnergyModel(EnergyModel):
    """Energies per atom that are affine in the features of representations.

    The outputs of the chain are the energies of the prediction and of the members, in eV/atom or
    (``totals``) in eV, to which the calibrations belong. The surroundings tell the remoteness; None
    is 1 everywhere.
    """

    chain: LinearChain
    deviations: np.ndarray | None = None
    calibrations: Calibrations = UNCALIBRATED
    totals: bool = False
    surroundings: Surroundings | None = None

    @classmethod
    def of(
        cls,
        features: Any,
        regressor: Any,
        deviations: np.ndarray | None = None,
        calibrations: Calibrations | None = None,
        surroundings: Surroundings | None = None,
    ) -> Self:
        """Return the model of fitted features and a fitted linear model.

        Raises TypeError if a step is not linear, or its derivative is not known.
        """
        coefs, intercepts = all_coefficients(regressor)
        if calibrations is None:
            calibrations = calibrations_of(regressor)
        chain = feature_chain(features).then(coefs, intercepts)
        return cls(chain, deviations, calibrations, surroundings=surroundings)

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

    def remoteness(self, X: Sequence[Atoms]) -> np.ndarray:
        """Return how far structures are from the training set."""
        known = self._known_surroundings()
        return super().remoteness(X) if known is None else known.remoteness(X)

    @property
    def remoteness_range(self) -> float:  # type: ignore[override]
        """Distance (Å) beyond which atoms do not change the part of an atom in the remoteness."""
        known = self._known_surroundings()
        return 0.0 if known is None else known.interaction_range

    def log_remoteness(self, atoms: Atoms, n_atoms: int) -> float:
        """Return the parts of the first atoms in N times the logarithm of the remoteness."""
        known = self._known_surroundings()
        return 0.0 if known is None else float(known.logarithms([atoms])[0][:n_atoms].sum())

    def _known_surroundings(self) -> Surroundings | None:
        """Return what tells the remoteness, where standard deviations depend on it."""
        return self.surroundings if self.calibrations.energy.power else None

    def of_atoms(self) -> AtomEnergies:
        """Return the energies of the atoms."""
        if self.totals:
            raise TypeError("A model of total energies has no energies of atoms: fit eV/atom.")
        return LinearAtomEnergies.of(self.chain)

    def spread_of_atoms(self) -> AtomSpread:
        """Return how far the members are apart, as sums over atoms."""
        if not self.n_members:
            return super().spread_of_atoms()
        self.of_atoms()  # raises where the energy is no sum over atoms
        cotangents = spread_cotangents(1 + self.n_members, True, self.deviations)[1:]
        return LinearAtomSpread(self.chain.for_energies, self.chain.offset, cotangents)

    def _units(self, X: Sequence[Atoms]) -> np.ndarray:
        """Return what the outputs of the chain are to be divided by."""
        return np.array([len(atoms) if self.totals else 1.0 for atoms in X])

    def keep_grid(self, atoms: Atoms) -> LinearEnergyModel:
        """Return the model with every representation on the grid of one structure."""
        return replace(self, chain=self.chain.map_leaves(lambda leaf: leaf.keep_grid(atoms)))

    def with_jobs(self, n_jobs: int | None) -> LinearEnergyModel:
        """Return the model with so many threads for a large structure."""
        chain = self.chain.map_leaves(lambda leaf: copy(leaf).set_params(n_jobs=n_jobs))
        return replace(self, chain=chain)

    def without_members(self) -> LinearEnergyModel:
        """Return the model with its prediction as only output."""
        first = self.chain.then(np.eye(self.chain.n_outputs, 1), np.zeros(1))
        return replace(self, chain=first, deviations=None)

    def of_totals(self) -> LinearEnergyModel:
        """Return the model whose chain gives total energies, eV."""
        return replace(self, totals=True)


def _energy_model(model: Any) -> EnergyModel:
    """Return the energy model of a fitted model of structures.

    It takes a Pipeline of representations, linear steps and a linear model that was fitted to
    eV/atom; an `EnergyForceRegressor`; a network of `skwavelet.neural`; a search over parameters
    (its best estimator), a FrozenEstimator, or a TransformedTargetRegressor with a linear
    transformer of one of these. Register further kinds with ``energy_model.register``.

    Raises TypeError if a step has no known derivative, or the model is not linear; NotFittedError
    if it is not fitted.
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

    Raises TypeError if it is neither a Pipeline of both nor an ``EnergyForceRegressor``, nor a
    search or a FrozenEstimator of one.
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
