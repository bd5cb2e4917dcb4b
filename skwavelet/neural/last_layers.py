"""Ensembles of last layers: what a network knows about how wrong it may be.

The energy is linear in what the last layer sees, and a linear model of few features is fitted
again and again in no time. Members are the network with other last layers: least squares with other
weights of the groups, a Bayesian bootstrap. Training whole networks takes as many times as long as
training one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from skwavelet.linear.calibration import fit_calibration, unbiased_std
from skwavelet.neural.graph import Batch, array_of, collate, portions
from skwavelet.neural.loss import Labelled
from skwavelet.neural.training import Trainer
from skwavelet.potentials.contract import UNCALIBRATED, Calibrations
from skwavelet.potentials.uncertainty import main_mixtures

# Random directions of all atoms along which the forces of a structure are used.
_N_DIRECTIONS = 4
# Penalties to choose from, relative to the sums of squares of what the last layer sees.
_PENALTIES = 10.0 ** np.arange(-8, 1)


@dataclass(frozen=True)
class LastLayers:
    """Members of a network.

    ``weights`` (n_last, n_members) are last layers, less that of the network, in the network's
    units; their mean is zero. For deviations and calibrations see
    `skwavelet.potentials.contract.EnergyModel`.
    """

    weights: np.ndarray
    deviations: np.ndarray | None
    calibrations: Calibrations = UNCALIBRATED


@dataclass(frozen=True)
class Rows:
    """Errors of a network, and what its last layer would change them by.

    Attributes
    ----------
    design : ndarray of shape (n_rows, n_last)
    errors : ndarray of shape (n_rows,)
        Labels less predictions: of energies per atom, and of forces along unit vectors of
        displacements of all atoms.
    weight : ndarray of shape (n_rows,)
        Those of the squared errors in the loss.
    of_forces : ndarray of bool of shape (n_rows,)
    structure : ndarray of int of shape (n_rows,)
    """

    design: np.ndarray
    errors: np.ndarray
    weight: np.ndarray
    of_forces: np.ndarray
    structure: np.ndarray


def last_gradients(
    module: nn.Module, batch: Batch, mixtures: Tensor
) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
    """Differentiate mixtures (S, B, n_last + 1) of what the last layer sees, and of what it gives.

    Returns the values (B, n_last + 1) and S pairs of gradients, with respect to the positions (N,
    3) and to a strain of each structure (B, 3, 3).
    """
    varied, leaves = batch.with_leaves()
    with torch.enable_grad():
        values = module.last_of_structures(varied)
        sweeps = [
            torch.autograd.grad(values, leaves, mixture, retain_graph=True, materialize_grads=True)
            for mixture in mixtures.to(values)
        ]
    gradients = [(-batch.forces_of(sweep), batch.strains_of(sweep)) for sweep in sweeps]
    return values.detach(), gradients


def last_slopes(module: nn.Module, batch: Batch, directions: Tensor) -> tuple[Tensor, Tensor]:
    """Differentiate all that `last_gradients` mixes along displacements (K, N, 3) of the atoms.

    Returns the values (B, n_last + 1) and their slopes (K, B, n_last + 1).
    """
    varied, leaves = batch.with_leaves()
    with torch.enable_grad():
        values = module.last_of_structures(varied)
        # Forward derivatives by two reverse ones: the first is linear in its cotangents.
        weights = torch.zeros_like(values, requires_grad=True)
        gradients = torch.autograd.grad(
            values, leaves, weights, create_graph=True, materialize_grads=True
        )
        rise = -batch.forces_of(gradients)
        slopes = torch.zeros(len(directions), *values.shape).to(values)
        for place, along in enumerate(directions):
            (slopes[place],) = torch.autograd.grad(
                (rise * along).sum(), weights, retain_graph=True, materialize_grads=True
            )
    return values.detach(), slopes


def last_rows(trainer: Trainer, data: Labelled, rng: np.random.Generator) -> Rows:
    """Return the rows of all energies, and of forces along random directions, after a training.

    The structures are those that were trained on, or held out.
    """
    module, kinds, batch_size = trainer.module, trainer.kinds, trainer.settings.batch_size
    n_directions = _N_DIRECTIONS if kinds.forces else 0
    like = next(module.parameters())
    parts: list[tuple[np.ndarray, ...]] = []
    for rows in portions([len(graph.species) for graph in data.graphs], batch_size):
        places = np.arange(len(data))[rows]
        part = data.take(places)
        batch = collate(part.graphs, like.dtype).to(like.device)
        sizes = batch.sizes.cpu().numpy()
        atom_of = np.repeat(np.arange(len(sizes)), sizes)
        directions = rng.normal(size=(n_directions, len(atom_of), 3))
        for along in directions:
            along /= np.sqrt(np.bincount(atom_of, (along**2).sum(axis=1)))[atom_of, None]
        values, slopes = last_slopes(module, batch, torch.from_numpy(directions).to(like))
        energies = array_of(values) / sizes[:, None]
        labels = part.energies / sizes
        weight = kinds.energy * part.weights
        parts.append((energies, labels, weight, np.zeros(len(places), dtype=bool), places))
        pulls = np.concatenate(part.forces)
        for along, slope in zip(directions, -array_of(slopes), strict=True):
            labels = np.bincount(atom_of, (pulls * along).sum(axis=1))
            known = np.isfinite(labels)
            # A direction stands for its share of all components.
            weight = kinds.forces * part.weights * 3 * sizes / n_directions
            new = (slope, labels, weight, np.ones(len(places), dtype=bool), places)
            parts.append(tuple(column[known] for column in new))
    outputs, labels, weight, of_forces, structure = map(np.concatenate, zip(*parts, strict=True))
    return Rows(outputs[:, :-1], labels - outputs[:, -1], weight, of_forces, structure)


def fit_last_layers(
    trainer: Trainer,
    groups: np.ndarray,
    held_out_groups: np.ndarray,
    n_members: int,
    rng: np.random.Generator,
) -> LastLayers:
    """Fit other last layers, with the penalty whose spread tells the errors held out best.

    The trainer has run, with structures held out. Groups are those of the structures that it
    trained on, and that it has held out; ``rng`` draws directions of forces, and how much each
    group counts for each member.
    """
    assert trainer.validation is not None  # checked where the structures are divided
    train, held_out = (
        last_rows(trainer, data, rng) for data in (trainer.train, trainer.validation)
    )
    of_row = np.unique(groups, return_inverse=True)[1][train.structure]
    counts = rng.exponential(size=(n_members, of_row.max() + 1))[:, of_row]
    squares = train.weight @ train.design**2
    scale = np.sqrt(np.where(squares > 0, squares, 1.0))
    design = train.design / scale
    sums = []
    for count in counts:
        weighted = design * (count * train.weight)[:, None]
        sums.append((weighted.T @ design, weighted.T @ train.errors))

    def members(penalty: float) -> np.ndarray:
        ridge = penalty * np.eye(len(scale))
        solved = np.column_stack([np.linalg.solve(gram + ridge, to) for gram, to in sums])
        return (solved - solved.mean(axis=1, keepdims=True)) / scale[:, None]

    def unlikeliness(weights: np.ndarray) -> float:
        spread = unbiased_std(held_out.design @ weights)
        total = 0.0
        for kind in np.unique(held_out.of_forces):
            own = held_out.of_forces == kind
            sizes = held_out.weight[own]
            std = fit_calibration(
                held_out.errors[own], spread[own], sizes, held_out_groups[held_out.structure[own]]
            )(spread[own])
            total += float(sizes @ np.log(np.maximum(std, 1e-300)) / sizes.sum())
        return total

    weights = min((members(penalty) for penalty in _PENALTIES), key=unlikeliness)
    return LastLayers(weights, main_mixtures(weights, [train.design[train.of_forces]]))
