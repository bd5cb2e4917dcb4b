"""The rules of steps: SOAP, Muon and Adam."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="the networks need torch")

import torch

from skwavelet.neural.layers import DegreeLinear, Dense
from skwavelet.neural.optimizer import NetworkOptimizer, orthogonalized


def test_orthogonalized_matrices_have_singular_values_near_one():
    x = torch.randn(3, 8, 20, dtype=torch.float64, generator=torch.manual_seed(0))
    stacks = [x, x[:1, :, :9]]
    for stack, result in zip(stacks, orthogonalized(stacks), strict=True):
        values = torch.linalg.svdvals(result)
        assert values.min() > 0.5
        assert values.max() < 1.3
        left, _, right = torch.linalg.svd(stack, full_matrices=False)
        expected = left @ right
        cosine = (result * expected).sum() / (result.norm() * expected.norm())
        assert cosine > 0.97


def soap(gradients, lr):
    """Return the sum of changes by SOAP (Vyas et al. 2024, algorithm 3), one side if not square."""
    n_rows, n_columns = gradients[0].shape
    left, right = np.eye(n_rows), np.eye(n_columns)
    rows, columns = np.zeros((n_rows, n_rows)), np.zeros((n_columns, n_columns))
    mean, square, total = 0.0, 0.0, 0.0
    for step, gradient in enumerate(gradients, start=1):
        mean = 0.99 * mean + 0.01 * gradient
        square = 0.99 * square + 0.01 * (left.T @ gradient @ right) ** 2
        share = 1 - 0.99**step
        total = total - 2 * lr * left @ (
            (left.T @ mean @ right / share) / (np.sqrt(square / share) + 1e-8)
        ) @ right.T  # fmt: skip
        rows = 0.99 * rows + 0.01 * gradient @ gradient.T
        columns = 0.99 * columns + 0.01 * gradient.T @ gradient
        if step < 10 or step % 10 == 0:
            if n_rows <= n_columns:
                left = np.linalg.qr(rows @ left)[0]
            if n_columns <= n_rows:
                right = np.linalg.qr(columns @ right)[0]
    return total


def muon(gradients, lr):
    """Return the sum of changes by Muon of a matrix or a stack, with Nesterov's momentum."""
    shape = gradients[0].shape
    gradients = [gradient.reshape(-1, *shape[-2:]) for gradient in gradients]
    momentum, total = torch.zeros_like(gradients[0]), 0.0
    flat = gradients[0].shape[1] <= gradients[0].shape[2]
    for gradient in gradients:
        momentum = 0.95 * momentum + 0.05 * gradient
        ahead = 0.05 * gradient + 0.95 * momentum
        change = orthogonalized([ahead if flat else ahead.mT])[0]
        total = total - 0.2 * max(ahead.shape[1:]) ** 0.5 * lr * (change if flat else change.mT)
    return total.reshape(shape)


def test_optimizer_has_a_rule_for_each_kind_of_weights():
    torch.manual_seed(0)
    degrees = torch.tensor([0, 1, 1, 1])
    dense = [Dense(*sizes) for sizes in [(4, 6), (6, 4), (5, 5), (4, 1)]]
    mixing = [DegreeLinear(degrees, 4, 6), torch.nn.Linear(6, 3), DegreeLinear(degrees, 6, 3)]
    layers = torch.nn.ModuleList([*dense, *mixing, torch.nn.Embedding(3, 4)]).double()
    before = [p.detach().clone() for p in layers.parameters()]
    given = [[torch.randn_like(p) for p in layers.parameters()] for _ in range(23)]
    matrices = [dense[0].weight, dense[1].weight, dense[2].weight]
    stacks = [one.weight for one in mixing]
    chosen = {id(one) for one in matrices + stacks}
    copies = [p.detach().clone().requires_grad_() for p in layers.parameters()]
    optimizer, adam = NetworkOptimizer(layers, lr=0.1), torch.optim.Adam(copies, lr=0.1)
    for gradients in given:
        for parameter, copy, gradient in zip(layers.parameters(), copies, gradients, strict=True):
            parameter.grad = copy.grad = gradient.clone()
        optimizer.step()
        adam.step()
    for place, (parameter, copy) in enumerate(zip(layers.parameters(), copies, strict=True)):
        own = [gradients[place] for gradients in given]
        if id(parameter) not in chosen:
            expected = copy
        elif any(parameter is one for one in stacks):
            expected = before[place] + muon(own, 0.1)
        else:
            expected = before[place] + torch.from_numpy(soap([g.numpy() for g in own], 0.1))
        torch.testing.assert_close(parameter.detach(), expected.detach(), rtol=1e-9, atol=1e-9)


def test_dense_matrices_move_along_all_directions_of_a_constant_gradient_alike():
    """Adam's step is that of the sign, of singular values here: what is left are directions."""
    layer = Dense(4, 4, bias=False).double()
    left, right = (
        torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64, generator=seeded))[0]
        for seeded in (torch.manual_seed(1), torch.manual_seed(2))
    )
    layer.weight.grad = left @ torch.diag(torch.tensor([8.0, 4, 2, 1]).double()) @ right
    optimizer = NetworkOptimizer(layer, lr=0.01)
    for _ in range(300):
        before = layer.weight.detach().clone()
        optimizer.step()
    torch.testing.assert_close(
        layer.weight.detach(), before - 0.02 * left @ right, rtol=0, atol=1e-5
    )
