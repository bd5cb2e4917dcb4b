"""A rule for each kind of a network's weights, as one optimizer.

Dense layers of the angular network move by SOAP, which is Adam along the main directions of the
gradients. Other matrices move by Muon, by as much in all directions: above all those that mix
channels of moments, as what begins small in a product has small gradients. Everything else moves by
Adam.

With Muon for dense layers as well, errors of forces of long trainings were 1.4 times as large, as
it moves along directions where gradients are chance by as much as along others. With SOAP for all
matrices they were larger, too, and with Adam for all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from skwavelet.neural.layers import DegreeLinear, Dense

_ADAM_DECAYS = (0.9, 0.999)
_MUON_DECAY = 0.95
# Coefficients of the iteration and number of its steps (K. Jordan, 2024).
_QUINTIC, _STEPS = (3.4445, -4.7750, 2.0315), 5
# Of means, of squares, and of the products of gradients that directions are taken from.
_SOAP_DECAY = 0.99
# Of the learning rate: means of so many gradients are small.
_SOAP_SHARE = 2.0
# Steps after which these directions are found anew.
_REFRESH = 10
# Added to divisors.
_EPSILON = 1e-8


class NetworkOptimizer(torch.optim.Optimizer):
    """Descend by SOAP, Muon and Adam, each for the weights that it is for.

    SOAP is that of N. Vyas et al. (2024), along directions of the shorter side of a matrix, or of
    both sides if it is square.

    Parameters
    ----------
    module : nn.Module
        SOAP is for the weights of its layers of kind `Dense`, Muon for those of its other layers
        with matrices; both for those with more than one input and output.
    lr : float
        Largest change of a weight per step by Adam, about. Changes by SOAP are up to twice as
        large, those by Muon of root mean square 0.2 lr at full momentum.
    """

    def __init__(self, module: nn.Module, lr: float):
        layers = [
            layer
            for layer in module.modules()
            if isinstance(layer, nn.Linear | DegreeLinear) and min(layer.weight.shape[-2:]) > 1
        ]
        dense = [layer.weight for layer in layers if isinstance(layer, Dense)]
        mixing = [layer.weight for layer in layers if not isinstance(layer, Dense)]
        chosen = {id(matrix) for matrix in dense + mixing}
        others = [parameter for parameter in module.parameters() if id(parameter) not in chosen]
        super().__init__([{"params": part} for part in (dense, mixing, others)], {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Callable | None = None) -> None:
        """Update all parameters that have a gradient."""
        rules = self._step_dense, self._step_mixing, self._step_others
        for rule, group in zip(rules, self.param_groups, strict=True):
            known = [parameter for parameter in group["params"] if parameter.grad is not None]
            if known:
                rule(known, group["lr"])

    def _step_dense(self, members: Sequence[Tensor], lr: float) -> None:
        for matrix in members:
            state, gradient = self.state[matrix], matrix.grad
            products = _products(gradient)
            if not state:
                state["step"] = 0
                state["mean"], state["square"] = (torch.zeros_like(matrix) for _ in range(2))
                state["products"] = {side: torch.zeros_like(x) for side, x in products.items()}
                state["directions"] = {
                    side: torch.eye(len(x)).to(x) for side, x in products.items()
                }
            state["step"] += 1
            directions, whole = state["directions"], 1 - _SOAP_DECAY ** state["step"]
            state["mean"].lerp_(gradient, 1 - _SOAP_DECAY)
            state["square"].lerp_(_along(gradient, directions).square_(), 1 - _SOAP_DECAY)
            sizes = (state["square"] / whole).sqrt_().add_(_EPSILON)
            change = _along(state["mean"] / whole, directions).div_(sizes)
            back = {side: x.mT for side, x in directions.items()}
            matrix.add_(_along(change, back), alpha=-_SOAP_SHARE * lr)
            anew = state["step"] < _REFRESH or state["step"] % _REFRESH == 0
            for side, product in products.items():
                state["products"][side].lerp_(product, 1 - _SOAP_DECAY)
                if anew:  # by a step of orthogonal iteration
                    moved = state["products"][side] @ directions[side]
                    directions[side] = torch.linalg.qr(moved)[0]

    def _step_mixing(self, members: Sequence[Tensor], lr: float) -> None:
        by_size: dict[int, list[Tensor]] = {}
        for matrix in members:
            by_size.setdefault(min(matrix.shape[-2:]), []).append(matrix)
        for together in by_size.values():
            self._step_stacks(together, lr)

    def _step_stacks(self, members: Sequence[Tensor], lr: float) -> None:
        """Step matrices and stacks of them, of one smaller size, together."""
        for stack in members:
            if not self.state[stack]:
                self.state[stack]["momentum"] = torch.zeros_like(stack)
        gradients = [stack.grad for stack in members]
        momenta = [self.state[stack]["momentum"] for stack in members]
        torch._foreach_lerp_(momenta, gradients, 1 - _MUON_DECAY)
        ahead = torch._foreach_lerp(gradients, momenta, _MUON_DECAY)
        changes = orthogonalized([_wide(one) for one in ahead])
        for stack, change in zip(members, changes, strict=True):
            change = change if stack.shape[-2] <= stack.shape[-1] else change.mT
            step = 0.2 * max(stack.shape[-2:]) ** 0.5 * lr
            stack.add_(change.reshape(stack.shape), alpha=-step)

    def _step_others(self, members: Sequence[Tensor], lr: float) -> None:
        first, second = _ADAM_DECAYS
        for parameter in members:
            state = self.state[parameter]
            if not state:
                state["step"] = 0
                state["mean"], state["square"] = (torch.zeros_like(parameter) for _ in range(2))
            state["step"] += 1
        states = [self.state[parameter] for parameter in members]
        gradients = [parameter.grad for parameter in members]
        means, squares = ([state[name] for state in states] for name in ("mean", "square"))
        torch._foreach_lerp_(means, gradients, 1 - first)
        torch._foreach_lerp_(squares, torch._foreach_mul(gradients, gradients), 1 - second)
        changes = torch._foreach_div(means, [1 - first ** state["step"] for state in states])
        sizes = torch._foreach_div(squares, [1 - second ** state["step"] for state in states])
        torch._foreach_sqrt_(sizes)
        torch._foreach_add_(sizes, _EPSILON)
        torch._foreach_addcdiv_(list(members), changes, sizes, value=-lr)


def _products(matrix: Tensor) -> dict[int, Tensor]:
    """Return the scalar products of rows (0) and of columns (1), whichever are fewer."""
    sides = {0: matrix, 1: matrix.mT}
    return {side: x @ x.mT for side, x in sides.items() if len(x) == min(matrix.shape)}


def _along(matrix: Tensor, directions: dict[int, Tensor]) -> Tensor:
    """Return a matrix along directions (n, n) of its rows, columns or both."""
    for side, columns in directions.items():
        matrix = matrix @ columns if side else columns.mT @ matrix
    return matrix


def _wide(matrices: Tensor) -> Tensor:
    """Return a matrix or a stack of them as a stack (B, m, n), m at most n."""
    stack = matrices if matrices.dim() == 3 else matrices[None]
    return stack if stack.shape[1] <= stack.shape[2] else stack.mT


def orthogonalized(stacks: Sequence[Tensor]) -> list[Tensor]:
    """Return stacks of wide matrices (B, m, n), of one m, with singular values moved to about 1.

    Every step multiplies from the left, by a polynomial of the Gram matrix (m, m): the product of
    these is found first, of all stacks together, and the wide matrix is multiplied by it once.
    """
    stacks = [x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7) for x in stacks]
    gram = torch.cat([x @ x.mT for x in stacks])
    whole = torch.empty(0)
    a, b, c = _QUINTIC
    for step in range(_STEPS):
        factor = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        factor.diagonal(dim1=1, dim2=2).add_(a)
        whole = factor @ whole if step else factor
        if step + 1 < _STEPS:
            gram = factor @ gram @ factor
    parts = whole.split([len(x) for x in stacks])
    return [part @ x for part, x in zip(parts, stacks, strict=True)]
