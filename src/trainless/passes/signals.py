"""What can be measured on an untrained network, and under which conditions it is measured.

A proxy names the `Signal` values it reads and the `PassSpec` under which they hold. The passes measure them once for
all proxies that agree on the conditions, and hand them over as one `Signals` record.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from trainless.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import torch

__all__ = ["DRAWN_WEIGHTS", "OutputJacobian", "PassSpec", "Signal", "Signals"]


class Signal(Enum):
    """One thing that can be measured on a network; the value tells it in words.

    The names are those of the attributes of `Signals`. What is measured otherwise is a
    `trainless.passes.Recorder` of one's own, which stands wherever a `Signal` does.

    Example:
        >>> Signal.WEIGHT_GRADIENTS.value
        'gradients of the objective with respect to the weights'
    """

    PARAMETERS = "number of parameters"
    TRAINABLE_PARAMETERS = "number of parameters that learn"
    MULTIPLY_ADDS = "multiply-adds of convolutions and matrix products for one image"
    SKIP_SPANS = "spans of the skip edges of a cell"
    WEIGHTS = "weights of convolutions, linear maps and matrix products"
    WEIGHT_GRADIENTS = "gradients of the objective with respect to the weights"
    CHANNEL_SALIENCIES = "squared inner products of activations and their gradients, per output channel"
    INPUT_JACOBIAN = "gradients of each image's summed outputs with respect to the image"
    HESSIAN_FORM = "the Hessian of the loss between the weights and their gradients"
    RELU_KERNEL = "number of activation units on which two images agree"
    RELU_PATTERNS = "on-off patterns of the activation units"
    DISTINCT_PATTERNS = "number of distinct patterns of the images that turn a unit on"
    PART_GRADIENTS = "gradients of the loss with respect to the weights, of each part of the batch"
    TANGENT_KERNEL = "inner products of the gradients of any two images' summed outputs"
    GRADIENT_SIGNS = "sums of the signs of the gradients of each image's loss"
    OUTPUT_JACOBIAN = "gradients of each image's outputs with respect to the first element of each parameter tensor"
    COUPLED_TANGENT_KERNEL = "tangent kernel of the images, gains included, that are normalised together"
    PARAMETER_TENSORS = "number of parameter tensors"
    TRAINABLE_LAYERS = "number of weight layers that learn"
    LAYER_COVARIANCES = "covariances of the channels that each weight gives"
    FIRST_IMAGE_CORRELATIONS = "correlations of the channels that each weight gives for the first image"
    MODULE_CORRELATIONS = "least eigenvalue of the correlation of the first image's channels, for each module"
    SAMPLED_MODULE_CORRELATIONS = "the same of eight channels of each module"
    MODULE_RANKS = "effective rank of a square block of what each module gives"
    FEATURE_SPECTRA = "eigenvalues of the covariance of the channels between two blocks"
    BLOCK_GAINS = "largest singular value of what each block does to random gradients"
    FEATURE_CHANGES = "change of the last feature map under a small change of the input"
    NORMALISATION_VARIANCES = "mean variance of the input of each batch normalisation"


DRAWN_WEIGHTS = ("normal", "uniform")
_NOISE = ("noise", "labelled_noise", "noise_pair")


@dataclass(frozen=True, slots=True)
class PassSpec:
    """The conditions of a pass: proxies whose conditions are equal share one pass.

    The objective is not part of it, because several backward passes can share one forward pass: each signal
    implies its own (the loss on the batch, the summed outputs elsewhere).

    Args:
        input: what goes in. ``"batch"`` is the labelled images, ``"halves"`` first one half of them and then the other,
            without an image that is left over, ``"ones"`` one image of ones, ``"noise"`` Gaussian images,
            ``"labelled_noise"`` the same with random labels, ``"noise_pair"`` Gaussian images and the same slightly
            changed, ``"none"`` means that only the weights are needed, ``"architecture"`` that not even these are.
        weights: ``"as_is"``, ``"absolute"`` values, ``"normal"`` for a new draw from N(0, 1), or ``"uniform"`` for one
            from U(-1/√n, 1/√n), n being the numbers that one output is made of, as PyTorch's own layers have them.
        batch_norm: ``"train"`` normalises by the batch, ``"images"`` each image by itself, as a batch of one is,
            ``"layer"`` each image over all its channels, as layer normalisation does, and
            ``"bypassed"`` makes batch normalisation the identity.
        mode: ``"train"`` or ``"eval"``, the mode of all modules.
        float64: compute in double precision whatever the network has.
        bfloat16: compute convolutions and linear maps of numbers rounded to bfloat16, forward and backward; all else
            stays in the precision of the pass.
        inputs: number of noise images; 0 means as many as the batch has.
        image_size: rows and columns of a noise image in pixels; 0 means those of the batch.
        repeats: how often the pass is repeated with new draws.
        masked: share of the numbers that activation functions give which are made 0, drawn anew for each image.
        dead_branches: whether branches that never reach the output count; an architecture is then scored as it is
            written and not as the network that it amounts to.
        thin: whether an architecture is built with one colour channel and as few channels and cells as its space
            allows; a bare network is taken as it is.

    Raises:
        InputError: a field would have no effect beside the others, or its value is unknown.

    Example:
        >>> PassSpec(input="ones", weights="absolute") == PassSpec(input="ones", weights="absolute")
        True
        >>> PassSpec(input="batch", image_size=3)
        Traceback (most recent call last):
            ...
        trainless.errors.InputError: A pass over 'batch' has no use for image_size=3: leave it out, or draw noise.
    """

    input: Literal["architecture", "none", "batch", "halves", "ones", "noise", "labelled_noise", "noise_pair"] = "batch"
    weights: Literal["as_is", "absolute", "normal", "uniform"] = "as_is"
    batch_norm: Literal["train", "images", "layer", "bypassed"] = "train"
    mode: Literal["train", "eval"] = "train"
    float64: bool = False
    bfloat16: bool = False
    inputs: int = 0
    image_size: int = 0
    repeats: int = 1
    masked: float = 0.0
    dead_branches: bool = False
    thin: bool = False

    def __post_init__(self) -> None:
        useless = set()
        if self.input not in _NOISE:
            useless |= {"inputs", "image_size"}
            if self.weights not in DRAWN_WEIGHTS:
                useless.add("repeats")
        if self.input in ("architecture", "none"):  # nothing runs
            useless |= {"weights", "batch_norm", "mode", "float64", "bfloat16", "repeats", "masked"}
        if self.float64:
            useless.add("bfloat16")
        for name, default in ((spec_field.name, spec_field.default) for spec_field in fields(self)):
            if name in useless and getattr(self, name) != default:
                raise InputError(
                    f"A pass over '{self.input}'{' in float64' if self.float64 else ''} has no use for "
                    f"{name}={getattr(self, name)!r}: leave it out{'' if name == 'bfloat16' else ', or draw noise'}."
                )
        for name, least in (("inputs", 0), ("image_size", 0), ("repeats", 1)):
            if getattr(self, name) < least:
                raise InputError(f"A pass has {name}={getattr(self, name)}, expected {least} or more.")
        if not 0 <= self.masked < 1:
            raise InputError(f"A pass has masked={self.masked}, expected a share of at least 0 and below 1.")


class OutputJacobian(NamedTuple):
    """Gradients of each image's outputs with respect to the first element of some parameter tensors.

    Args:
        values: shape ``(images, classes, tensors)``.
        outputs: shape ``(images, classes)``.
        tensors: number of all parameter tensors.
    """

    values: torch.Tensor
    outputs: torch.Tensor
    tensors: int


class Signals:
    """The measurements of one pass; what was not asked for, or cannot be had, stays empty.

    Args:
        measured: values by the names below; recorders of one's own add theirs under names of their own.

    Attributes:
        reasons: for a signal that this network does not have, by its name, why.
        classes: number of outputs of the network.
        labels: class of each image, shape ``(images,)``.
        parameters: number of parameters.
        trainable_parameters: number of those that learn.
        multiply_adds: multiply-adds of convolutions and matrix products for one image.
        skip_spans: target node minus source node of each skip edge.
        weights: one tensor a weight layer.
        weight_gradients: gradients of the objective, shaped as `weights`.
        channel_saliencies: for each weight layer ½ · mean over images of (Σ activation · gradient)², per channel.
        input_jacobian: shape ``(images, values of an image)``.
        hessian_form: θᵀ H g, with the Hessian H and the gradient g of the loss at the weights θ.
        relu_kernel: shape ``(images, images)``, or None where no activation unit was seen.
        relu_patterns: shape ``(images, bytes)``, one bit a unit, or None where no activation unit was seen.
        distinct_patterns: a number, or None where no activation unit was seen.
        tangent_kernel: shape ``(images, images)``, in double precision.
        gradient_signs: for each weight one number for each of its numbers, from minus to plus the number of images.
        output_jacobian: an `OutputJacobian`.
        coupled_tangent_kernel: shape ``(images, images)``, in double precision.
        parameter_tensors: a number.
        trainable_layers: a number.
        layer_covariances: for each weight a matrix ``(channels, channels)`` in double precision.
        first_image_correlations: the same.
        module_correlations: a number for each call of a module.
        sampled_module_correlations: the same.
        module_ranks: a number for each layer or activation function.
        feature_spectra: for each feature map one number a channel, not negative; NaN where the map is not finite.
        block_gains: one number a block; infinite for one that gives what goes into it.
        part_gradients: for each half of the batch gradients as `weight_gradients`.
        feature_changes: for each repeat, the mean over images of Σ |F(z) − F(z + 0.01 z')|.
        normalisation_variances: for each repeat and batch normalisation, the mean over channels of the variance of
            its input: (of the batch, as the running variance after both forward passes would have it).

    Example:
        >>> Signals(parameters=3).parameters, Signals().relu_kernel
        (3, None)
    """

    classes: int = 0
    labels: torch.Tensor | None = None
    parameters: int = 0
    trainable_parameters: int = 0
    multiply_adds: int = 0
    skip_spans: tuple[int, ...] = ()
    weights: Sequence[torch.Tensor] = ()
    weight_gradients: Sequence[torch.Tensor] = ()
    channel_saliencies: Sequence[torch.Tensor] = ()
    input_jacobian: torch.Tensor | None = None
    hessian_form: float = float("nan")
    relu_kernel: torch.Tensor | None = None
    relu_patterns: np.ndarray | None = None
    distinct_patterns: int | None = None
    part_gradients: Sequence[Sequence[torch.Tensor]] = ()
    tangent_kernel: torch.Tensor | None = None
    gradient_signs: Sequence[torch.Tensor] = ()
    output_jacobian: OutputJacobian | None = None
    coupled_tangent_kernel: torch.Tensor | None = None
    parameter_tensors: int = 0
    trainable_layers: int = 0
    layer_covariances: Sequence[torch.Tensor] = ()
    first_image_correlations: Sequence[torch.Tensor] = ()
    module_correlations: Sequence[float] = ()
    sampled_module_correlations: Sequence[float] = ()
    module_ranks: Sequence[float] = ()
    feature_spectra: Sequence[torch.Tensor] = ()
    block_gains: Sequence[float] = ()
    feature_changes: Sequence[float] = ()
    normalisation_variances: Sequence[list[tuple[float, float]]] = ()

    def __init__(self, **measured: Any) -> None:
        self.reasons: dict[str, str] = {}
        self.__dict__.update(measured)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"'{name}' was not measured: name its recorder among the proxy's signals.")
