"""The plain way: every proxy by itself, on a fresh copy of the network, with its own passes, in PyTorch's defaults.

This is the baseline of `speed.py`, written as the papers' formulas read: nothing is shared, nothing is made slow.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

__all__ = ["PLAIN"]

Batch = tuple[torch.Tensor, torch.Tensor]


def _weights(network: nn.Module) -> list[torch.Tensor]:
    return [m.weight for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]


def params(network: nn.Module, batch: Batch) -> float:
    return sum(p.numel() for p in network.parameters())


def flops(network: nn.Module, batch: Batch) -> float:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(batch[0][:2])
    return counter.get_total_flops() / 4


def l2_norm(network: nn.Module, batch: Batch) -> float:
    return sum(float(w.detach().norm()) for w in _weights(network))


def _flow(network: nn.Module, batch: Batch) -> list[tuple[torch.Tensor, torch.Tensor]]:
    network = network.double()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.forward = lambda x: x
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.abs_()
    network(torch.ones(1, *batch[0].shape[1:], dtype=torch.float64, device=batch[0].device)).sum().backward()
    return [(w.detach(), w.grad) for w in _weights(network) if w.grad is not None]


def synflow(network: nn.Module, batch: Batch) -> float:
    return sum(float((w * g).abs().sum()) for w, g in _flow(network, batch))


def logsynflow(network: nn.Module, batch: Batch) -> float:
    return sum(float((w * (g + 1).log()).abs().sum()) for w, g in _flow(network, batch))


def zen(network: nn.Module, batch: Batch) -> float:
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.weight.normal_()
        noise = torch.randn(2, *batch[0].shape, device=batch[0].device)
        first = network.features(noise[0])
        second = network.features(noise[0] + 0.01 * noise[1])
        change = (first - second).abs().sum((1, 2, 3)).mean().log()
        norms = [m.running_var.mean().sqrt().log() for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    return float(change + sum(norms))


def _backward(network: nn.Module, batch: Batch) -> list[tuple[torch.Tensor, torch.Tensor]]:
    F.cross_entropy(network(batch[0]), batch[1]).backward()
    return [(w.detach(), w.grad) for w in _weights(network) if w.grad is not None]


def grad_norm(network: nn.Module, batch: Batch) -> float:
    return sum(float(g.norm()) for _, g in _backward(network, batch))


def plain(network: nn.Module, batch: Batch) -> float:
    return sum(float((w * g).sum()) for w, g in _backward(network, batch))


def snip(network: nn.Module, batch: Batch) -> float:
    return sum(float((w * g).abs().sum()) for w, g in _backward(network, batch))


def fisher(network: nn.Module, batch: Batch) -> float:
    total = 0.0

    def watch(layer: nn.Module, _: Any, output: torch.Tensor) -> None:
        activation = output.detach()

        def on_gradient(gradient: torch.Tensor) -> None:
            nonlocal total
            product = activation * gradient
            sums = product.sum((2, 3)) if product.dim() == 4 else product
            total += float(sums.square().mean(0).sum() / 2) * layer.weight[0].numel()

        output.register_hook(on_gradient)

    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(watch)
    F.cross_entropy(network(batch[0]), batch[1]).backward()
    return total


def grasp(network: nn.Module, batch: Batch) -> float:
    weights = _weights(network)
    loss = F.cross_entropy(network(batch[0]), batch[1])
    first = torch.autograd.grad(loss, weights, create_graph=True, allow_unused=True)
    sum((g.detach() * g).sum() for g in first if g is not None).backward()
    return -sum(float((w.detach() * w.grad).sum()) for w in weights if w.grad is not None)


def _jacobian(network: nn.Module, batch: Batch) -> np.ndarray:
    images = batch[0].clone().requires_grad_()
    network(images).sum().backward()
    return images.grad.flatten(1).cpu().numpy()


def jacov(network: nn.Module, batch: Batch) -> float:
    jacobian = _jacobian(network, batch)
    if (jacobian.std(1) == 0).any():  # an image that the output does not depend on correlates with nothing
        return float("nan")
    eigenvalues = np.linalg.eigvalsh(np.corrcoef(jacobian)).clip(0) + 1e-5
    return -float(np.sum(np.log(eigenvalues) + 1 / eigenvalues))


def epe_nas(network: nn.Module, batch: Batch) -> float:
    jacobian, labels = _jacobian(network, batch), batch[1].cpu().numpy()
    classes = [jacobian[labels == label] for label in np.unique(labels)]
    with np.errstate(invalid="ignore"):
        return sum(abs(np.log(np.abs(np.corrcoef(rows)) + 1e-5).sum()) for rows in classes if len(rows) > 1)


def nwot(network: nn.Module, batch: Batch) -> float:
    kernel = np.zeros((len(batch[0]), len(batch[0])))

    def watch(_: nn.Module, inputs: tuple[torch.Tensor], __: Any) -> None:
        codes = (inputs[0].flatten(1) > 0).float()
        kernel[:] += (codes @ codes.t() + (1 - codes) @ (1 - codes).t()).cpu().numpy()

    for module in network.modules():
        if isinstance(module, nn.ReLU):
            module.register_forward_hook(watch)
    with torch.no_grad():
        network(batch[0])
    return float(np.linalg.slogdet(kernel)[1])


def _on_a_copy(formula: Callable[[nn.Module, Batch], float]) -> Callable[[nn.Module, Batch], float]:
    return lambda network, batch: formula(copy.deepcopy(network), batch)


PLAIN: dict[str, Callable[[nn.Module, Batch], float]] = {
    formula.__name__: _on_a_copy(formula)
    for formula in (
        params, flops, l2_norm, synflow, logsynflow, zen, grad_norm, plain, snip, fisher, grasp, jacov, epe_nas, nwot,
    )
}  # fmt: skip
