"""Fitted networks as energy models: what the calculator, displays and LAMMPS ask for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms
from sklearn.utils.validation import check_is_fitted

from skwavelet.neural.graph import array_of
from skwavelet.neural.last_layers import LastLayers
from skwavelet.neural.regressor import NetworkRegressor
from skwavelet.potentials.atom_energies import AtomEnergies, AtomSpread
from skwavelet.potentials.contract import EnergyModel, spread_cotangents
from skwavelet.potentials.energy_model import energy_model


class NetworkEnergyModel(EnergyModel):
    """Energies per atom of a fitted network, and their derivatives; members are outputs, too."""

    def __init__(self, network: NetworkRegressor, members: LastLayers | None = None):
        self.network, self.members = network, members
        if members is not None:
            self.n_members = members.weights.shape[1]
            self.deviations, self.calibrations = members.deviations, members.calibrations

    def values(self, X: Sequence[Atoms]) -> np.ndarray:
        """Return the energies (n_structures, 1 + n_members), eV/atom."""
        if self.members is None:
            return np.reshape(self.network.predict(X), (-1, 1))
        energies, seen = self.network._last(X)
        return self._outputs(energies, seen @ self.members.weights)

    def value_and_vjp(
        self, X: Sequence[Atoms], cotangents: np.ndarray
    ) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Return energies, and gradients in positions and strain of mixtures of them."""
        weights = cotangents / np.array([[len(atoms)] for atoms in X])
        if self.members is None:
            return [
                (np.array([energy]), weight * gradient, weight * strain)
                for (energy, gradient, strain), (weight,) in zip(
                    self.network._derivatives(X), weights, strict=True
                )
            ]
        # One structure after the other, with all that is asked of it: sweeps share its values.
        starts = [i for i, atoms in enumerate(X) if i == 0 or atoms is not X[i - 1]]
        counts = np.diff([*starts, len(X)])
        mixed = np.column_stack([weights[:, 1:] @ self.members.weights.T, weights.sum(axis=1)])
        mixtures = np.zeros((len(starts), counts.max(initial=0), mixed.shape[1]))
        for own, start, count in zip(mixtures, starts, counts, strict=True):
            own[:count] = mixed[start : start + count]
        results = []
        sweeps = self.network._last_derivatives([X[start] for start in starts], mixtures)
        for (energy, seen, gradients, strains), count in zip(sweeps, counts, strict=True):
            values = self._outputs(np.array([energy]), (seen @ self.members.weights)[None])[0]
            results += [(values, gradients[i], strains[i]) for i in range(count)]
        return results

    def without_members(self) -> EnergyModel:
        """Return the model with its prediction as only output."""
        return self if self.members is None else NetworkEnergyModel(self.network)

    def _outputs(self, energies: np.ndarray, deviations: np.ndarray) -> np.ndarray:
        return np.column_stack([energies, energies[:, None] + deviations])

    def spread_of_atoms(self) -> AtomSpread:
        """Return how far the members are apart, as sums over atoms."""
        if self.members is None:
            return super().spread_of_atoms()
        self.of_atoms()  # raises where the energy is no sum over atoms
        cotangents = spread_cotangents(1 + self.n_members, True, self.deviations)[1:]
        return NetworkAtomSpread(self.network, self.members, cotangents)

    def of_atoms(self) -> AtomEnergies:
        """Return the energies of the atoms."""
        reason = self.network._why_not_local()
        if reason:
            raise TypeError(f"The energy of {type(self.network).__name__} is no sum over {reason}")
        return NetworkAtomEnergies(self.network)


class NetworkAtomEnergies(AtomEnergies):
    """Energies of the atoms that a fitted network adds up, which has a readout of every atom."""

    def __init__(self, network: NetworkRegressor):
        self.network = network

    @property
    def interaction_range(self) -> float:
        """Distance (Å) beyond which atoms do not change the energy of an atom."""
        return self.network._interaction_range()

    @property
    def elements(self) -> tuple[str, ...]:
        """Chemical symbols that the network knows."""
        return tuple(self.network.elements_)

    def values(self, atoms: Atoms) -> np.ndarray:
        """Return the energies (N,) of all atoms (eV)."""
        batch, shifts = self.network._batch_of(atoms)
        with torch.no_grad():
            energies = self.network.module_.of_atoms(batch)
        return shifts + self.network.scale_ * array_of(energies)

    def virials(self, atoms: Atoms) -> np.ndarray:
        """Return the virials (N, 3, 3) of all atoms, minus the derivatives by strain (eV)."""
        batch, _ = self.network._batch_of(atoms)
        varied, leaves = batch.with_leaves()
        energies = self.network.module_.of_atoms(varied)
        # Forward derivatives by two reverse ones: the first is linear in its cotangents.
        weights = torch.zeros_like(energies, requires_grad=True)
        gradients = torch.autograd.grad(
            energies, leaves, weights, create_graph=True, materialize_grads=True
        )
        slopes = [
            torch.autograd.grad(one, weights, retain_graph=True, materialize_grads=True)[0]
            for one in batch.strains_of(gradients).flatten()
        ]
        return -self.network.scale_ * array_of(torch.stack(slopes, dim=1)).reshape(-1, 3, 3)

    def partial_value_and_vjp(
        self, atoms: Atoms, n_atoms: int
    ) -> tuple[float, np.ndarray, np.ndarray]:
        """Return the energy of the first atoms of a structure, and its gradients."""
        batch, shifts = self.network._batch_of(atoms)
        varied, leaves = batch.with_leaves()
        energies = self.network.module_.of_atoms(varied)[:n_atoms]
        gradients = torch.autograd.grad(energies.sum(), leaves, materialize_grads=True)
        scale = self.network.scale_
        energy = shifts[:n_atoms].sum() + scale * array_of(energies).sum()
        forces, strains = batch.forces_of(gradients), batch.strains_of(gradients)
        return float(energy), -scale * array_of(forces), scale * array_of(strains[0])


@dataclass(frozen=True)
class NetworkAtomSpread(AtomSpread):
    """How far the members of a network are apart, which has a readout of every atom."""

    network: NetworkRegressor
    members: LastLayers
    cotangents: np.ndarray

    def partial(self, atoms: Atoms, n_atoms: int) -> tuple[np.ndarray, np.ndarray]:
        """Return what the members say of the first atoms of a structure."""
        network, weights = self.network, self.members.weights
        batch, shifts = network._batch_of(atoms)
        varied, leaves = batch.with_leaves()
        values = network.module_.last_of_atoms(varied)[:n_atoms].double().sum(dim=0)
        mixtures = np.column_stack(
            [self.cotangents[:, 1:] @ weights.T, self.cotangents.sum(axis=1)]
        )
        sweeps = [
            torch.autograd.grad(values, leaves, mixture, retain_graph=True, materialize_grads=True)
            for mixture in torch.from_numpy(mixtures).to(values)
        ]
        gradients = [-network.scale_ * array_of(batch.forces_of(sweep)) for sweep in sweeps]
        *seen, number = network.scale_ * array_of(values)
        return shifts[:n_atoms].sum() + number + seen @ weights, np.stack(gradients, axis=1)


@energy_model.register
def _(model: NetworkRegressor) -> EnergyModel:
    check_is_fitted(model)
    return NetworkEnergyModel(model, model._last_layers)
