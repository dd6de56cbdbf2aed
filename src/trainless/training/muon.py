"""Muon for the convolutions of a network, AdamW for all else, as one optimizer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.adamw import adamw

__all__ = ["Muon", "orthogonalized"]

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # Jordan's: steepest at zero, so that three steps are nearly enough
_STEPS = 3
_MOMENTUM = 0.9
_OTHERS = 0.25  # learning rate of AdamW, as a share of that of Muon
_LEAST = 1e-7  # a norm below counts as this, so that zeros stay zeros


class Muon(torch.optim.Optimizer):
    """Steps of orthogonal matrices for convolutions, and AdamW at a quarter of the rate for all other weights.

    A convolution is a matrix of output channels by all else. Its momentum (Nesterov, 0.9) is replaced by the nearest
    matrix with orthogonal rows or columns, nearly, so that it learns in all directions alike. Where it has no bias, so
    that a normalisation follows, its norm is held at the square root of its output channels: only the direction of
    weights counts there, and the learning rate alone says how fast it turns. Where normalisations keep the statistics
    that they have, no norm is held. Grouped convolutions are many small matrices, and are left to AdamW with linear
    layers, gains and biases.

    Source: Jordan et al., Muon: An optimizer for hidden layers in neural networks, 2024; the norm as in Jordan, 94% on
    CIFAR-10 in 3.29 Seconds on a Single GPU, 2024, and its code of 2025.

    Args:
        network: whose trainable weights it steps, in the mode that it is trained in.
        learning_rate: of the convolutions.
        weight_decay: of all that AdamW steps, and of convolutions with a bias.

    Example:
        >>> network = nn.Conv2d(2, 4, 3, bias=False)
        >>> network(torch.ones(1, 2, 3, 3)).sum().backward()
        >>> Muon(network, learning_rate=0.0).step()
        >>> round(float(network.weight.detach().norm()), 4)
        2.0
    """

    def __init__(self, network: nn.Module, learning_rate: float, weight_decay: float = 0.0) -> None:
        convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d) and module.groups == 1]
        is_kept = any(isinstance(module, _BatchNorm) and not module.training for module in network.modules())
        # One weight of several layers is stepped once, freely where it is free in one of them.
        kinds = {module.weight: module.bias is None and not is_kept for module in convolutions}
        weights = [weight for weight in network.parameters() if weight.requires_grad]
        groups: list[dict[str, Any]] = [
            {"kind": "normed", "params": [weight for weight in weights if kinds.get(weight) is True]},
            {"kind": "matrix", "params": [weight for weight in weights if kinds.get(weight) is False]},
            {"kind": "other", "params": [weight for weight in weights if weight not in kinds], "share": _OTHERS},
        ]
        defaults = {"lr": learning_rate, "weight_decay": weight_decay, "share": 1.0}
        super().__init__([group for group in groups if group["params"]], defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Step all weights that have a gradient; the learning rate of a group is ``lr`` times its ``share``."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            rate = group["lr"] * group["share"]
            if group["kind"] == "other":
                self._step_others(weights, rate, group["weight_decay"])
                continue
            for weight in weights:
                if group["kind"] == "normed":
                    weight.mul_(len(weight) ** 0.5 / weight.norm().clamp(min=_LEAST))
                else:
                    weight.mul_(1 - rate * group["weight_decay"])
            self._step_matrices(weights, rate)
        return loss

    def _step_matrices(self, weights: Sequence[torch.Tensor], rate: float) -> None:
        # Those of one shape go together: a cell has dozens of small ones, whose calls would cost more than the sums.
        alike = defaultdict[tuple[int, int], list[torch.Tensor]](list)
        for weight in weights:
            alike[len(weight), weight[0].numel()].append(weight)
        for (rows, columns), members in alike.items():
            updates = orthogonalized(torch.stack([self._momentum(weight).flatten(1) for weight in members]))
            for weight, update in zip(members, updates, strict=True):
                weight.sub_(update.view(weight.shape), alpha=rate * max(1.0, rows / columns) ** 0.5)

    def _momentum(self, weight: torch.Tensor) -> torch.Tensor:
        assert weight.grad is not None
        state = self.state[weight]
        if not state:
            state["momentum"] = torch.zeros_like(weight)
        state["momentum"].lerp_(weight.grad, 1 - _MOMENTUM)
        return weight.grad.lerp(state["momentum"], _MOMENTUM)

    def _step_others(self, weights: list[torch.Tensor], rate: float, weight_decay: float) -> None:
        states = [self.state[weight] for weight in weights]
        for weight, state in zip(weights, states, strict=True):
            if not state:
                state |= {"step": torch.tensor(0.0), "mean": torch.zeros_like(weight)}
                state["square"] = torch.zeros_like(weight)
        mean, square, step = ([state[name] for state in states] for name in ("mean", "square", "step"))
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        adamw(
            weights, gradients, mean, square, [], step, amsgrad=False, beta1=0.9, beta2=0.999, lr=rate,
            weight_decay=weight_decay, eps=1e-8, maximize=False,
        )  # fmt: skip


def orthogonalized(matrices: torch.Tensor, steps: int = _STEPS) -> torch.Tensor:
    """Bring the singular values of matrices near 1, by Newton-Schulz iterations of fifth order.

    `torch.optim.Muon` does the same one by one and in bfloat16, which takes 15 times as long on a CPU that has no
    instructions for it. Here all is computed in single precision, and on the small side of the matrices: each iteration
    X → (a + b XXᵀ + c (XXᵀ)²) X multiplies by a polynomial of XXᵀ, and these commute.

    Args:
        matrices: shape ``(..., rows, columns)``.
        steps: iterations; three bring what is at least 0.02 of the Frobenius norm between 0.68 and 1.21.

    Example:
        >>> values = torch.linalg.svdvals(orthogonalized(torch.tensor([[3.0, 0, 0], [0, 0.1, 0]])))
        >>> bool(((values > 0.68) & (values < 1.21)).all())
        True
    """
    if matrices.shape[-2] > matrices.shape[-1]:
        return orthogonalized(matrices.mT, steps).mT
    first, third, fifth = _COEFFICIENTS
    matrices = matrices / matrices.norm(dim=(-2, -1), keepdim=True).clamp(min=_LEAST)
    gram = matrices @ matrices.mT
    identity = torch.eye(gram.shape[-1]).to(gram)
    product = identity
    for _ in range(steps):
        polynomial = first * identity + third * gram + fifth * (gram @ gram)
        product, gram = polynomial @ product, polynomial @ gram @ polynomial
    return product @ matrices
