"""Energies of atoms: models whose energy is a sum over atoms that see their surroundings only."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from ase import Atoms

from skwavelet.potentials.linear_chain import LinearChain
from skwavelet.representations.atom_features import AtomFeaturesMixin


class AtomEnergies(ABC):
    """The energies of atoms, whose sum is the energy of a structure.

    The calculator asks for `values`, and `skwavelet.lammps` for everything.
    """

    @property
    @abstractmethod
    def interaction_range(self) -> float:
        """Distance (Å) beyond which atoms do not change the energy of an atom."""

    @property
    @abstractmethod
    def elements(self) -> tuple[str, ...]:
        """Chemical symbols that the model knows."""

    @abstractmethod
    def values(self, atoms: Atoms) -> np.ndarray:
        """Return the energies (N,) of all atoms (eV)."""

    @abstractmethod
    def virials(self, atoms: Atoms) -> np.ndarray:
        """Return the virials (N, 3, 3) of all atoms, minus the derivatives by strain (eV)."""

    @abstractmethod
    def partial_value_and_vjp(
        self, atoms: Atoms, n_atoms: int
    ) -> tuple[float, np.ndarray, np.ndarray]:
        """Return the energy (eV) of the first ``n_atoms`` of a structure, and its gradients.

        Others are their neighbours only. The gradients are with respect to the positions (N, 3) of
        all atoms, in eV/Å, and to a homogeneous strain (3, 3).
        """


class AtomSpread(ABC):
    """How far the members of an ensemble are apart, as sums over atoms.

    ``cotangents`` (r, 1 + n_members) are mixtures of the prediction and the members, of which the
    sum of squares is the variance of derivatives.
    """

    cotangents: np.ndarray

    @abstractmethod
    def partial(self, atoms: Atoms, n_atoms: int) -> tuple[np.ndarray, np.ndarray]:
        """Return what the members say of the first ``n_atoms``; others are their neighbours only.

        Energies (n_members,) in eV, and the gradients (N, r, 3) of the mixtures with respect to the
        positions of all atoms, eV/Å.
        """


@dataclass(frozen=True)
class LinearAtomEnergies(AtomEnergies):
    """The energies of atoms that a linear chain adds up.

    With features x(i) of every atom i, whose mean over the atoms the representations return, the
    energy per atom is the mean of e(i) = x(i) @ weights + offset, in eV. Each leaf is a
    representation with its weights (n_features,).
    """

    leaves: tuple[tuple[AtomFeaturesMixin, np.ndarray], ...]
    offset: float

    @classmethod
    def of(cls, chain: LinearChain) -> Self:
        """Return the energies of atoms behind the first output of a chain that gives eV/atom.

        Raises TypeError, and says why, if the energy is no sum over atoms.
        """
        first = chain.then(np.eye(chain.n_outputs, 1), np.zeros(1))
        leaves = []
        for leaf, matrix in first.for_energies:
            name = type(leaf).__name__
            if not isinstance(leaf, AtomFeaturesMixin):
                raise TypeError(
                    f"{name} is not local: its features are integrals over the whole structure, "
                    "not sums over atoms; use a representation at the atoms: PointScattering()."
                )
            if leaf.normalize != "atoms":
                raise TypeError(
                    f"{name}(normalize={leaf.normalize!r}) is not local: an energy per atom that "
                    "is linear in its features is no sum over atoms; use normalize='atoms'."
                )
            weights = matrix.toarray() if hasattr(matrix, "toarray") else matrix
            leaves.append((leaf, np.ravel(weights)))
        return cls(tuple(leaves), float(first.offset[0]))

    @property
    def interaction_range(self) -> float:
        """Distance (Å) beyond which atoms do not change the energy of an atom."""
        return max(leaf.interaction_range for leaf, _ in self.leaves)

    @property
    def elements(self) -> tuple[str, ...]:
        """Chemical symbols that all representations know."""
        known = [leaf.elements_ for leaf, _ in self.leaves]
        return tuple(symbol for symbol in known[0] if all(symbol in others for others in known))

    def values(self, atoms: Atoms) -> np.ndarray:
        """Return the energies (N,) of all atoms (eV)."""
        parts = [leaf.transform_atoms([atoms])[0] @ weights for leaf, weights in self.leaves]
        return np.asarray(self.offset + np.sum(parts, axis=0))

    def virials(self, atoms: Atoms) -> np.ndarray:
        """Return the virials (N, 3, 3) of all atoms, minus the derivatives by strain (eV)."""
        parts = [leaf.atom_strains([atoms], weights[None])[0] for leaf, weights in self.leaves]
        return np.asarray(-np.sum(parts, axis=0))

    def partial_value_and_vjp(
        self, atoms: Atoms, n_atoms: int
    ) -> tuple[float, np.ndarray, np.ndarray]:
        """Return the energy of the first atoms of a structure, and its gradients."""
        energy = n_atoms * self.offset
        gradient, strain = np.zeros((len(atoms), 3)), np.zeros((3, 3))
        for leaf, weights in self.leaves:
            ((sums, g, s),) = leaf.partial_value_and_vjp([atoms], weights[None], [n_atoms])
            energy += float(sums @ weights)
            gradient += g
            strain += s
        return energy, gradient, strain


@dataclass(frozen=True)
class LinearAtomSpread(AtomSpread):
    """How far the members of an ensemble of linear chains are apart.

    Each leaf is a representation with the weights (n_features, 1 + n_members) of prediction and
    members; ``offset`` (1 + n_members,) is the energy (eV) that every atom has.
    """

    leaves: tuple[tuple[AtomFeaturesMixin, Any], ...]
    offset: np.ndarray
    cotangents: np.ndarray

    def partial(self, atoms: Atoms, n_atoms: int) -> tuple[np.ndarray, np.ndarray]:
        """Return what the members say of the first atoms of a structure."""
        energies = n_atoms * self.offset
        gradients = np.zeros((len(atoms), len(self.cotangents), 3))
        for leaf, matrix in self.leaves:
            for place, cotangent in enumerate(self.cotangents):
                ((sums, gradient, _),) = leaf.partial_value_and_vjp(
                    [atoms], (matrix @ cotangent)[None], [n_atoms]
                )
                gradients[:, place] += gradient
            energies = energies + sums @ matrix
        return energies[1:], gradients
