"""Second derivatives of losses by preferences: the gradient through a step, and the curvature that tells a collapse."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, eigsh

__all__ = ["dominant_eigenvalue", "gradients", "second_order_gradient"]

_STEP = 0.01  # of the difference by which the second order is found, over the norm of the gradient
_TOLERANCE = 1e-3  # of an eigenvalue, relative to it


def second_order_gradient(
    learning: Callable[[], torch.Tensor], choosing: Callable[[], torch.Tensor], weights: Sequence[torch.Tensor],
    preferences: Sequence[torch.Tensor], rate: float,
) -> list[torch.Tensor]:  # fmt: skip
    """Compute the gradient of a loss with respect to preferences after the step that weights are about to take.

    With w' = w - r ∇L(w, a), it is ∇_a V(w', a) - r ∇²_aw L(w, a) ∇_w' V(w', a), whose second term is found by a
    difference of gradients at two points beside w.

    Source: Liu et al., DARTS: Differentiable Architecture Search, ICLR 2019, equations 7 and 8.

    Args:
        learning: computes the loss L by which weights are learnt.
        choosing: computes the loss V by which preferences are.
        weights: w; changed while it works, and as they were afterwards.
        preferences: a.
        rate: r, the learning rate of the weights.

    Example:
        >>> weight, preference = torch.tensor(1.0, requires_grad=True), torch.tensor(2.0, requires_grad=True)
        >>> found = second_order_gradient(
        ...     lambda: weight * preference**2, lambda: weight**2, [weight], [preference], rate=0.1)
        >>> round(float(found[0]), 3)  # w' = 1 - 0.1 * 4 = 0.6; its square changes by 2 * 0.6 * (-0.1 * 2 * 2)
        -0.48
    """
    before = [weight.detach().clone() for weight in weights]

    def move(direction: Sequence[torch.Tensor], by: float) -> None:
        with torch.no_grad():
            for weight, start, own in zip(weights, before, direction, strict=True):
                weight.copy_(start + by * own)

    move(gradients(learning, weights), -rate)
    found = gradients(choosing, [*preferences, *weights])
    direct, onward = found[: len(preferences)], found[len(preferences) :]
    size = _STEP / max(float(torch.cat([own.flatten() for own in onward]).norm()), 1e-12)
    move(onward, size)
    above = gradients(learning, preferences)
    move(onward, -size)
    below = gradients(learning, preferences)
    move(onward, 0.0)
    return [
        own - rate * (high - low) / (2 * size) for own, high, low in zip(direct, above, below, strict=True)
    ]  # fmt: skip


def gradients(loss: Callable[[], torch.Tensor], wrt: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    """Compute the gradients of a loss, 0 for what it does not depend on."""
    return torch.autograd.grad(loss(), list(wrt), allow_unused=True, materialize_grads=True)


def dominant_eigenvalue(loss: torch.Tensor, wrt: torch.Tensor) -> float:
    """Compute the eigenvalue of the largest magnitude of a loss's Hessian, by Lanczos with Hessian-vector products.

    Where that of the validation loss with respect to preferences rises, the network that these lead to loses what the
    mixture had.

    Source: Zela et al., Understanding and Robustifying Differentiable Architecture Search, ICLR 2020.

    Args:
        loss: a number that was computed from `wrt`.
        wrt: a vector.

    Example:
        >>> point = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
        >>> round(dominant_eigenvalue((point**2 * torch.tensor([1.0, -4.0, 2.0])).sum(), point), 3)
        -8.0
    """
    (gradient,) = torch.autograd.grad(loss, wrt, create_graph=True)

    def product(vector: np.ndarray) -> np.ndarray:
        direction = torch.from_numpy(vector.ravel()).to(wrt)
        (found,) = torch.autograd.grad(gradient, wrt, direction, retain_graph=True)
        return found.double().cpu().numpy()

    operator = LinearOperator((len(wrt), len(wrt)), matvec=product, dtype=np.float64)
    # A start of its own: by default it is drawn by a generator that nobody seeds.
    start = np.random.default_rng(0).standard_normal(len(wrt))
    (found,) = eigsh(operator, k=1, which="LM", return_eigenvectors=False, tol=_TOLERANCE, v0=start)
    return float(found)
