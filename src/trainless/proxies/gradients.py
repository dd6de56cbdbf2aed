"""Proxies of the loss's gradient on one labelled batch: from pruning at initialisation."""

from __future__ import annotations

import math

import torch

from trainless.passes import PassSpec, Signal, Signals
from trainless.proxies.base import Proxy, total

__all__ = [
    "GRADIENTS",
    "fisher",
    "fisher_per_channel",
    "grad_norm",
    "gradsign",
    "grasp",
    "ntk_condition",
    "ntk_condition_published",
    "plain",
    "snip",
    "zico",
]

_BATCH = PassSpec()
_IMAGES = PassSpec(batch_norm="images")
_ROUNDING = torch.finfo(torch.float64).eps
_GRADIENTS = frozenset({Signal.WEIGHTS, Signal.WEIGHT_GRADIENTS})
_SALIENCIES = frozenset({Signal.WEIGHTS, Signal.CHANNEL_SALIENCIES})


def grad_norm(signals: Signals) -> float:
    """Σ_l ‖∂L/∂W_l‖₂ over the weight layers.

    Example:
        >>> grad_norm(Signals(weight_gradients=[torch.tensor([3.0, 4.0])]))
        5.0
    """
    return total([gradient.double().norm() for gradient in signals.weight_gradients])


def plain(signals: Signals) -> float:
    """Σ θ ⊙ ∂L/∂θ with its sign; lower is better, for it correlates negatively with accuracy.

    Example:
        >>> plain(Signals(weights=[torch.tensor([2.0])], weight_gradients=[torch.tensor([-3.0])]))
        -6.0
    """
    pairs = zip(signals.weights, signals.weight_gradients, strict=True)
    return total([(weight.double() * gradient).sum() for weight, gradient in pairs])


def snip(signals: Signals) -> float:
    """Σ |θ ⊙ ∂L/∂θ|: how much the loss would change, to first order, if each weight were taken away.

    Example:
        >>> snip(Signals(weights=[torch.tensor([2.0])], weight_gradients=[torch.tensor([-3.0])]))
        6.0
    """
    pairs = zip(signals.weights, signals.weight_gradients, strict=True)
    return total([(weight * gradient).abs().sum().double() for weight, gradient in pairs])


def fisher(signals: Signals) -> float:
    """Σ_l Σ_c Δ_c × (weights per output channel), Δ_c = ½ mean over images of (Σ_pixels a ∂L/∂a)².

    Public code adds each channel's value to all weights of the channel before it sums, hence the factor; the sum over
    channels alone is the variant ``fisher:channel``.

    Example:
        >>> fisher(Signals(weights=[torch.ones(1, 4)], channel_saliencies=[torch.tensor([0.5])]))
        2.0
    """
    pairs = zip(signals.weights, signals.channel_saliencies, strict=True)
    return total([saliency.sum() * (weight.numel() // len(saliency)) for weight, saliency in pairs])


def fisher_per_channel(signals: Signals) -> float:
    """Σ_l Σ_c Δ_c: the `fisher` information of channels, each counted once.

    Example:
        >>> fisher_per_channel(Signals(channel_saliencies=[torch.tensor([0.5, 0.25])]))
        0.75
    """
    return total([saliency.sum() for saliency in signals.channel_saliencies])


def gradsign(signals: Signals) -> float:
    """Σ_w |Σ_i sign(∂L_i/∂w)|: for how many weights the images agree on the direction of a step.

    Example:
        >>> gradsign(Signals(gradient_signs=[torch.tensor([-3.0, 1.0]), torch.tensor([2.0])]))
        6.0
    """
    return total([signs.double().abs().sum() for signs in signals.gradient_signs])


def ntk_condition(signals: Signals) -> float:
    """λ_max / λ_min of K, K_ij = Σ_w ∂z_i/∂w ∂z_j/∂w, z_i the summed outputs for an image; lower is better.

    Infinite where K is singular to double precision.

    Example:
        >>> ntk_condition(Signals(tangent_kernel=torch.tensor([[2.0, 0.0], [0.0, 8.0]], dtype=torch.float64)))
        4.0
    """
    return _condition(signals.tangent_kernel)


def ntk_condition_published(signals: Signals) -> float:
    """`ntk_condition` as public code has it: images are normalised together, and gains count.

    Example:
        >>> kernel = torch.tensor([[2.0, 0.0], [0.0, 8.0]], dtype=torch.float64)
        >>> ntk_condition_published(Signals(coupled_tangent_kernel=kernel))
        4.0
    """
    return _condition(signals.coupled_tangent_kernel)


def _condition(kernel: torch.Tensor | None) -> float:
    if kernel is None or not bool(kernel.isfinite().all()):
        return math.nan
    values = torch.linalg.eigvalsh(kernel)
    least, most = float(values[0]), float(values[-1])
    return most / least if least > most * len(values) * _ROUNDING else math.inf


def grasp(signals: Signals) -> float:
    """Σ −θ ⊙ (H g): how the gradient's norm would change, to first order, if the weights were taken away.

    Example:
        >>> grasp(Signals(hessian_form=2.0))
        -2.0
    """
    return -signals.hessian_form


def zico(signals: Signals) -> float:
    """Σ_l log Σ_w mean |g_w| / std g_w, g_w the gradients of a weight on each half of the batch.

    Weights whose gradients are equal have no part in it, nor have layers without any other. With two gradients the
    ratio is (|g₁| + |g₂|) / |g₁ − g₂|: at least 1, and unbounded where both agree, so that few weights carry a layer.

    Example:
        >>> import math, torch
        >>> halves = [[torch.tensor([1.0, 2.0, 5.0])], [torch.tensor([3.0, -2.0, 5.0])]]
        >>> math.isclose(zico(Signals(part_gradients=halves)), math.log((1 + 3) / 2 + (2 + 2) / 4))
        True
    """
    sums = []
    for parts in zip(*signals.part_gradients, strict=True):
        doubles = [part.double() for part in parts]
        if not all(bool(part.isfinite().all()) for part in doubles):
            return math.nan
        mean = sum(doubles) / len(doubles)
        deviation = (sum((part - mean).square() for part in doubles) / len(doubles)).sqrt()
        ratio = sum(part.abs() for part in doubles) / len(doubles) / deviation
        sums.append(float(ratio[ratio.isfinite()].sum()))
    return sum(math.log(value) for value in sums if value > 0) if any(sums) else -math.inf


GRADIENTS = (
    Proxy(
        "grad_norm",
        grad_norm,
        _BATCH,
        _GRADIENTS,
        data_independent=False,
        paper="Abdelfattah et al., ICLR 2021",
        summary="sum over layers of the norm of the gradient",
        bfloat16=True,
    ),
    Proxy(
        "plain",
        plain,
        _BATCH,
        _GRADIENTS,
        data_independent=False,
        paper="Abdelfattah et al., ICLR 2021; Mozer & Smolensky, 1989",
        summary="sum of weight times gradient",
        higher_is_better=False,
    ),
    Proxy(
        "snip",
        snip,
        _BATCH,
        _GRADIENTS,
        data_independent=False,
        paper="Lee et al., ICLR 2019",
        summary="sum of the magnitude of weight times gradient",
        bfloat16=True,
    ),
    Proxy(
        "fisher",
        fisher,
        _BATCH,
        _SALIENCIES,
        data_independent=False,
        paper="Turner et al., BlockSwap, ICLR 2020",
        summary="Fisher information of the channels, each times its number of weights",
        bfloat16=True,
    ),
    Proxy(
        "fisher:channel",
        fisher_per_channel,
        _BATCH,
        frozenset({Signal.CHANNEL_SALIENCIES}),
        data_independent=False,
        paper="Turner et al., BlockSwap, ICLR 2020",
        summary="Fisher information of the channels, each counted once",
        bfloat16=True,
    ),
    Proxy(
        "zico",
        zico,
        PassSpec(input="halves"),
        frozenset({Signal.PART_GRADIENTS}),
        data_independent=False,
        paper="Li et al., ZiCo: Zero-shot NAS via Inverse Coefficient of Variation on Gradients, ICLR 2023",
        summary="how alike the gradients of both halves of the batch are, in logarithms and summed over layers",
        when_not_finite="no gradient differs between the halves of the batch, or one is not finite",
        version=2,
        bfloat16=True,
    ),
    Proxy(
        "gradsign",
        gradsign,
        _IMAGES,
        frozenset({Signal.GRADIENT_SIGNS}),
        data_independent=False,
        paper="Zhang and Jia, GradSign: Model Performance Inference with Theoretical Insights, ICLR 2022",
        summary="how many weights the images would move the same way",
    ),
    Proxy(
        "ntk_condition",
        ntk_condition,
        _IMAGES,
        frozenset({Signal.TANGENT_KERNEL}),
        data_independent=False,
        paper="Chen et al., TE-NAS, ICLR 2021",
        summary="condition number of the neural tangent kernel of the images",
        higher_is_better=False,
        when_not_finite="the kernel is singular: an image's gradient follows from those of the others",
    ),
    Proxy(
        "ntk_condition:published",
        ntk_condition_published,
        _BATCH,
        frozenset({Signal.COUPLED_TANGENT_KERNEL}),
        data_independent=False,
        paper="Chen et al., TE-NAS, ICLR 2021",
        summary="ntk_condition as public code has it: of images that are normalised together, gains included",
        higher_is_better=False,
        when_not_finite="the kernel is singular: an image's gradient follows from those of the others",
    ),
    Proxy(
        "grasp",
        grasp,
        _BATCH,
        frozenset({Signal.HESSIAN_FORM}),
        data_independent=False,
        paper="Wang et al., ICLR 2020; sign as in Abdelfattah et al., ICLR 2021",
        summary="change of the gradient flow when weights are taken away",
    ),
)
