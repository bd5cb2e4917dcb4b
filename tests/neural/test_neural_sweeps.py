"""Sweeps through the layers, written out, against torch's own derivatives and differences."""

import gc

import numpy as np
import pytest

pytest.importorskip("torch", reason="the networks need torch")

import torch
from ase import Atoms
from helpers.small_structures import molecule, triclinic

from skwavelet.neural.graph import build_graph, collate
from skwavelet.neural.layer_functions import through_layers
from skwavelet.neural.layer_sweeps import Sweeps
from skwavelet.neural.loss import Labels, LossWeights, loss_and_errors
from skwavelet.neural.networks import AngularModule, energy_gradients
from skwavelet.structures.checks import check_structures

CUTOFF, ELEMENTS = 3.2, (3, 8, 14)


def one_layer_after_the_other(layers, features, basis):
    """As `through_layers`, as a graph of torch."""
    moments = None
    for layer in layers:
        features, moments = layer(features, moments, basis)
    return features


def network(n_layers, n_radial=5, n_angular=4, width=5):
    torch.manual_seed(0)
    return AngularModule(
        3, width=width, n_layers=n_layers, n_radial=n_radial, n_angular=n_angular, cutoff=CUTOFF,
        start=0.5, basis="legendre", messages="both",
    ).double()  # fmt: skip


def cells_and_labels(kinds):
    """A cell, a molecule and an atom alone, with labels of some kinds, some of them missing."""
    structures = check_structures([triclinic(), molecule(), Atoms("Li")])
    batch = collate([build_graph(s, [CUTOFF], ELEMENTS) for s in structures], torch.float64)
    rng = torch.Generator().manual_seed(1)
    energies, forces, stress = (
        torch.randn(*shape, dtype=torch.float64, generator=rng) for shape in ((3,), (7, 3), (3, 6))
    )
    forces[2], stress[1:] = np.nan, np.nan
    labels = Labels(
        energies, forces if kinds.forces else None, stress if kinds.stress else None,
        torch.tensor([1.0, 2.0, 0.5]).double(),
    )  # fmt: skip
    return batch, labels


def loss_of(module, kinds):
    return loss_and_errors(module, *cells_and_labels(kinds), kinds, training=True)


KINDS = {
    "all": LossWeights(1.0, 0.3, 0.4),
    "energies": LossWeights(1.0),
    "forces": LossWeights(0.0, 0.3),
    "stresses": LossWeights(0.5, 0.0, 0.4),
}


@pytest.mark.parametrize("kinds", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize(
    ("n_layers", "n_radial", "n_angular", "width"),
    [(1, 5, 4, 5), (2, 7, 4, 40), (3, 10, 4, 5), (2, 5, 1, 8), (2, 5, 2, 8), (2, 5, 5, 8)],
)
def test_sweeps_are_the_derivatives_by_torch(
    monkeypatch, n_layers, n_radial, n_angular, width, kinds
):
    """The loss of a network, its forces and stresses, and the gradients of all weights.

    Of the second width, rows of kernels are longer than the shortest, and end with zeros.
    """
    module = network(n_layers, n_radial, n_angular, width)
    results = []
    for function in (through_layers, one_layer_after_the_other):
        monkeypatch.setattr("skwavelet.neural.networks.through_layers", function)
        module.zero_grad()
        loss, _, errors = loss_of(module, kinds)
        loss.backward()
        # What the last bias and bounds of the loss do not depend on has no gradient, or 0.
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in module.parameters()]
        results.append([loss, *errors, *gradients])
    assert sum(bool(x.abs().max() > 0) for x in results[0] if x.numel()) > 10
    for one, two in zip(*results, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("kinds", KINDS.values(), ids=KINDS)
def test_the_gradient_of_the_loss_is_its_slope_along_any_change_of_the_weights(kinds):
    module = network(3)
    loss_of(module, kinds)[0].backward()
    parameters = [p for p in module.parameters() if p.grad is not None]
    torch.manual_seed(1)
    changes = [torch.randn_like(p) for p in parameters]
    slope = sum((p.grad * change).sum() for p, change in zip(parameters, changes, strict=True))
    ends, step = [], 1e-6
    for sign in (1, -2):
        with torch.no_grad():
            torch._foreach_add_(parameters, changes, alpha=sign * step)
        ends.append(loss_of(module, kinds)[0].item())
    np.testing.assert_allclose(slope.item(), (ends[0] - ends[1]) / (2 * step), rtol=1e-7)


def test_gradients_by_vectors_without_a_graph_come_with_those_by_weights():
    """One sweep for both, as nothing has asked for forces before."""
    module, (batch, _) = network(2, n_angular=3), cells_and_labels(KINDS["energies"])
    vectors = batch.pairs[0].vectors.requires_grad_()
    energy = module(batch)[0].sum()
    weight = module.levels[0][1].radial.weight
    by_vectors, by_weight = torch.autograd.grad(energy, [vectors, weight])
    step = 1e-6 * torch.randn_like(vectors)
    ends = [module(batch.with_vectors([vectors + s * step]))[0].sum() for s in (-1, 1)]
    torch.testing.assert_close(
        (by_vectors * step).sum(), (ends[1] - ends[0]) / 2, rtol=1e-6, atol=0
    )
    with torch.no_grad():
        change = 1e-6 * torch.randn_like(weight)
        weight += change
        ahead = module(batch)[0].sum()
        weight -= 2 * change
        behind = module(batch)[0].sum()
    torch.testing.assert_close((by_weight * change).sum(), (ahead - behind) / 2, rtol=1e-6, atol=0)


def test_changes_of_energies_are_those_of_a_step_of_the_atoms():
    """What standard deviations and virials ask for: changes by a gradient's own cotangents."""
    module, (batch, _) = network(3), cells_and_labels(KINDS["energies"])
    vectors = batch.pairs[0].vectors.requires_grad_()
    energies = module.of_atoms(batch)
    weights = torch.zeros_like(energies, requires_grad=True)
    (gradient,) = torch.autograd.grad(energies, vectors, weights, create_graph=True)
    for seed in (0, 1):  # one gradient serves many directions
        torch.manual_seed(seed)
        step = torch.randn_like(vectors)
        (slopes,) = torch.autograd.grad((gradient * step).sum(), weights, retain_graph=True)
        ends = [
            module.of_atoms(batch.with_vectors([(vectors + s * step).detach()]))
            for s in (-1e-6, 1e-6)
        ]
        torch.testing.assert_close(slopes, (ends[1] - ends[0]) / 2e-6, rtol=1e-6, atol=1e-8)


def test_only_the_last_gradient_can_be_part_of_a_loss():
    """Others would need what the last one has overwritten, and say so."""
    module, (batch, _) = network(1), cells_and_labels(KINDS["energies"])
    vectors = batch.pairs[0].vectors.requires_grad_()
    energies = module(batch)[0]
    first, second = (
        torch.autograd.grad(energies[k], vectors, create_graph=True)[0] for k in (0, 1)
    )
    with pytest.raises(RuntimeError, match="Only the last gradient"):
        first.square().sum().backward(retain_graph=True)
    second.square().sum().backward()
    assert module.levels[0][0].radial.weight.grad.abs().max() > 0


def test_what_sweeps_keep_is_gone_after_a_step():
    """Without the collector of garbage: steps would wait for it with all their memory."""
    module, kinds = network(2), KINDS["all"]
    gc.collect()
    gc.disable()
    try:
        loss, *_ = loss_of(module, kinds)
        loss.backward()
        del loss, _
        batch, _ = cells_and_labels(kinds)
        energy_gradients(module, batch)
        assert not any(type(one) is Sweeps for one in gc.get_objects())
    finally:
        gc.enable()
