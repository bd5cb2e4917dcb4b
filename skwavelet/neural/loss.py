"""Labels in batches, and the loss of a network's energies, forces and stresses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from skwavelet.neural.graph import Batch, Graph, collate
from skwavelet.neural.networks import energy_gradients


@dataclass(frozen=True, eq=False)
class Labels:
    """Labels of a batch as tensors, in units of the training set's spread.

    Attributes
    ----------
    energies : Tensor of shape (B,)
        Of whole structures, in float64.
    forces : Tensor of shape (N, 3) or None
        NaN where there are none; None where no structure has any.
    stress : Tensor of shape (B, 6) or None
        Likewise.
    weights : Tensor of shape (B,)
        Weight of each structure.
    """

    energies: Tensor
    forces: Tensor | None
    stress: Tensor | None
    weights: Tensor

    def weights_of_errors(self, batch: Batch) -> list[Tensor]:
        """Return the weights of the errors that `loss_and_errors` returns."""
        weights = [self.weights, self.weights.new_zeros(0), self.weights.new_zeros(0)]
        of_rows = self.weights[batch.structure], self.weights
        for kind, (labels, own) in enumerate(zip((self.forces, self.stress), of_rows, strict=True)):
            if labels is not None:
                weights[kind + 1] = own[:, None].expand_as(labels)[torch.isfinite(labels)]
        return weights


class LossWeights(NamedTuple):
    """What squared errors are multiplied by: of energies per atom, of components of the others."""

    energy: float = 1.0
    forces: float = 0.0
    stress: float = 0.0


@dataclass(frozen=True, eq=False)
class Labelled:
    """Structures with labels, in units of the training set's spread.

    Attributes
    ----------
    graphs : list of Graph
    energies : ndarray of shape (n_structures,)
        Of whole structures.
    forces : list of ndarray of shape (N, 3)
        NaN throughout where a structure has none.
    stress : ndarray of shape (n_structures, 6)
        NaN throughout where a structure has none.
    weights : ndarray of shape (n_structures,)
        How often each structure counts.
    """

    graphs: list[Graph]
    energies: np.ndarray
    forces: list[np.ndarray]
    stress: np.ndarray
    weights: np.ndarray

    def __len__(self) -> int:
        return len(self.graphs)

    def take(self, rows: np.ndarray) -> Labelled:
        """Return some of the structures."""
        return Labelled(
            [self.graphs[row] for row in rows],
            self.energies[rows],
            [self.forces[row] for row in rows],
            self.stress[rows],
            self.weights[rows],
        )

    def has_forces_above(self, size: float) -> bool:
        """Return whether any component of the forces is larger."""
        return any((np.abs(forces) > size).any() for forces in self.forces)

    def loss_weights(self, force_weight: float, stress_weight: float) -> LossWeights:
        """Return the weights with which the loss of all structures is one of means.

        With them, the mean over structures of what `loss_and_errors` adds up is

            mean (energy error)^2 + force_weight mean (force error)^2 + stress_weight mean
            (stress error)^2,

        means over structures and over the labelled components, each counted with the weight of
        its structure. They stay the same in every batch, which may hold few labels of a kind.
        """
        n_forces = sum(
            w * np.isfinite(f).sum() for w, f in zip(self.weights, self.forces, strict=True)
        )
        n_stress = self.weights @ np.isfinite(self.stress).sum(axis=1)
        return LossWeights(
            len(self) / self.weights.sum(),
            force_weight * len(self) / n_forces if n_forces else 0.0,
            stress_weight * len(self) / n_stress if n_stress else 0.0,
        )

    def batch(self, rows: np.ndarray, like: Tensor, kinds: LossWeights) -> tuple[Batch, Labels]:
        """Return structures and labels as tensors of the dtype and on the device of ``like``.

        Labels whose weight is 0 in ``kinds`` are left out.
        """
        part = self.take(rows)

        def tensor(values: np.ndarray) -> Tensor:
            return torch.from_numpy(values).to(like)

        labels = Labels(
            torch.from_numpy(part.energies).to(like.device),
            tensor(np.concatenate(part.forces)) if kinds.forces else None,
            tensor(part.stress) if kinds.stress else None,
            tensor(part.weights),
        )
        return collate(part.graphs, like.dtype).to(like.device), labels


def loss_and_errors(
    module: nn.Module, batch: Batch, labels: Labels, kinds: LossWeights, *, training: bool
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Return the loss, auxiliary losses, and the errors of energies per atom, forces and stresses.

    The loss is the mean over structures of their weight times

        kinds.energy (energy error per atom)^2 + kinds.forces |force errors|^2
        + kinds.stress |stress errors|^2,

    sums over components that are labelled. Errors of labels that there are none of are empty.
    """
    if labels.forces is None and labels.stress is None:
        with torch.set_grad_enabled(training):
            predicted, losses = module(batch)
        forces = strains = None
    else:
        predicted, forces, strains, losses = energy_gradients(
            module, batch, create_graph=training, strained=labels.stress is not None
        )
    error = (predicted - labels.energies) / batch.sizes
    squares = kinds.energy * error.square()
    errors = [error, error.new_zeros(0), error.new_zeros(0)]
    if labels.forces is not None and forces is not None:
        known = torch.isfinite(labels.forces)
        # Where there is no label the error is 0 and has no gradient, which NaN would have.
        off = torch.where(known, forces - labels.forces.nan_to_num(), 0.0)
        squares = squares + kinds.forces * batch.sums(off.square().sum(dim=1))
        errors[1] = off[known]
    if labels.stress is not None and strains is not None:
        known = torch.isfinite(labels.stress)
        off = torch.where(known, voigt(strains, batch.volumes) - labels.stress.nan_to_num(), 0.0)
        squares = squares + kinds.stress * off.square().sum(dim=1)
        errors[2] = off[known]
    return (labels.weights * squares).mean(), losses, errors


def voigt(strains: Tensor, volumes: Tensor) -> Tensor:
    """Return stresses (B, 6), in ASE's order, of derivatives by strain (B, 3, 3) and volumes."""
    flat = (0.5 * (strains + strains.mT)).flatten(1)
    return flat[:, [0, 4, 8, 5, 2, 1]] / volumes[:, None]
