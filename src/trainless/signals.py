"""What can be measured on an untrained network, and under which conditions it is measured.

A proxy names the `Signal` values it reads and the `PassSpec` under which they hold. `trainless.passes` measures them,
once for all proxies that agree on the conditions, and hands them over as one `Signals` record.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    import torch

__all__ = ["PassSpec", "Signal", "Signals"]


class Signal(Enum):
    """One thing that can be measured on a network; the value tells it in words.

    Example:
        >>> Signal.WEIGHT_GRADIENTS.value
        'gradients of the objective with respect to the weights'
    """

    PARAMETERS = "number of trainable parameters"
    MULTIPLY_ADDS = "multiply-adds of convolutions and linear layers for one image"
    SKIP_SPANS = "spans of the skip edges of a cell"
    WEIGHTS = "weights of convolutions and linear layers"
    WEIGHT_GRADIENTS = "gradients of the objective with respect to the weights"
    CHANNEL_SALIENCIES = "squared inner products of activations and their gradients, per output channel"
    INPUT_JACOBIAN = "gradients of each image's summed outputs with respect to the image"
    HESSIAN_FORM = "the Hessian of the loss between the weights and their gradients"
    RELU_KERNEL = "number of ReLU units on which two images agree"
    RELU_PATTERNS = "on-off patterns of the ReLU units"
    FEATURE_CHANGES = "change of the last feature map under a small change of the input"
    NORMALISATION_VARIANCES = "mean variance of the input of each batch normalisation"


@dataclass(frozen=True, slots=True)
class PassSpec:
    """The conditions of a pass: proxies whose conditions are equal share one pass.

    The objective is not part of it, because several backward passes can share one forward pass: each `Signal`
    implies its own (the loss on the batch, the summed outputs elsewhere).

    Args:
        input: what goes in. ``"batch"`` is the labelled images, ``"ones"`` one image of ones, ``"noise"`` Gaussian
            images, ``"noise_pair"`` Gaussian images and the same slightly changed, ``"none"`` nothing runs,
            ``"architecture"`` means that not even weights are needed.
        weights: ``"as_is"``, ``"absolute"`` values, or ``"normal"`` for a new draw from N(0, 1).
        batch_norm: ``"train"`` normalises by the batch, ``"bypassed"`` makes batch normalisation the identity.
        float64: compute in double precision whatever the network has.
        inputs: number of noise images; 0 means as many as the batch has.
        image_size: rows and columns of a noise image in pixels; 0 means those of the batch.
        repeats: how often the pass is repeated with new draws.
        dead_branches: whether branches that never reach the output count; an architecture is then scored as it is
            written and not as the network that it amounts to.
        thin: whether an architecture is built with one colour channel and as few channels and cells as its space
            allows; a bare network is taken as it is.

    Example:
        >>> PassSpec(input="ones", weights="absolute") == PassSpec(input="ones", weights="absolute")
        True
    """

    input: Literal["architecture", "none", "batch", "ones", "noise", "noise_pair"] = "batch"
    weights: Literal["as_is", "absolute", "normal"] = "as_is"
    batch_norm: Literal["train", "bypassed"] = "train"
    float64: bool = False
    inputs: int = 0
    image_size: int = 0
    repeats: int = 1
    dead_branches: bool = False
    thin: bool = False


@dataclass(slots=True)
class Signals:
    """The measurements of one pass; what was not asked for stays empty.

    Attributes:
        classes: number of outputs of the network.
        labels: class of each image, shape ``(images,)``.
        parameters: number of trainable parameters.
        multiply_adds: multiply-adds of convolutions and linear layers for one image.
        skip_spans: target node minus source node of each skip edge.
        weights: one tensor a weight layer.
        weight_gradients: gradients of the objective, shaped as `weights`.
        channel_saliencies: for each weight layer ½ · mean over images of (Σ activation · gradient)², per channel.
        input_jacobian: shape ``(images, values of an image)``.
        hessian_form: θᵀ H g, with the Hessian H and the gradient g of the loss at the weights θ.
        relu_kernel: shape ``(images, images)``, or None where no ReLU was seen.
        relu_patterns: shape ``(images, bytes)``, one bit a unit, or None where no ReLU was seen.
        feature_changes: for each repeat, the mean over images of Σ |F(z) − F(z + 0.01 z')|.
        normalisation_variances: for each repeat and batch normalisation, the mean over channels of the variance of
            its input: (of the batch, as the running variance after both forward passes would have it).
    """

    classes: int = 0
    labels: torch.Tensor | None = None
    parameters: int = 0
    multiply_adds: int = 0
    skip_spans: tuple[int, ...] = ()
    weights: list[torch.Tensor] = field(default_factory=list)
    weight_gradients: list[torch.Tensor] = field(default_factory=list)
    channel_saliencies: list[torch.Tensor] = field(default_factory=list)
    input_jacobian: torch.Tensor | None = None
    hessian_form: float = float("nan")
    relu_kernel: torch.Tensor | None = None
    relu_patterns: np.ndarray | None = None
    feature_changes: list[float] = field(default_factory=list)
    normalisation_variances: list[list[tuple[float, float]]] = field(default_factory=list)
