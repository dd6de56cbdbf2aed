"""Run the passes that a set of proxies needs, each once, on copies of the weights.

This is the one place that touches a network's modes, hooks and random state, and it puts all of them back. Weights,
gradients and running statistics are never touched: the network runs on copies of them (`torch.func.functional_call`),
laid out channels-last, in the precision that was asked for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from trainless.errors import NetworkError
from trainless.jets import hessian_form
from trainless.observers import (
    FeatureObserver,
    Observer,
    ReluObserver,
    agreement,
    batch_norm_bypassed,
    packed,
    precise_batch_norm,
)
from trainless.seeding import derive_seed, preserve_rng_state
from trainless.signals import PassSpec, Signal, Signals

__all__ = ["PassResult", "run_passes", "weight_layers"]

NOISE_SCALE = 0.01  # of the second noise image in Zen's pair (Lin et al. 2021)


@dataclass(slots=True)
class PassResult:
    """What one pass gave: its signals, or the reason why there are none, and the seconds it took."""

    signals: Signals | None
    seconds: float
    failure: str = ""


def weight_layers(network: nn.Module) -> dict[str, nn.Module]:
    """Find the layers that proxies sum over: convolutions and linear layers, by name, in module order.

    Example:
        >>> list(weight_layers(nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8, 2))))
        ['0', '3']
    """
    layers: dict[str, nn.Module] = {}
    seen: set[int] = set()  # weights that two layers share count once
    for name, module in network.named_modules():
        if isinstance(module, nn.modules.conv._ConvNd | nn.Linear) and "weight" in module._parameters:
            if id(module.weight) not in seen:
                layers[name] = module
            seen.add(id(module.weight))
    return layers


def run_passes(
    network: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor | None,
    plan: Mapping[PassSpec, frozenset[Signal]],
    *,
    seed: int = 0,
    dtype: torch.dtype | None = None,
    generators: Callable[[str], torch.Generator] | None = None,
) -> dict[PassSpec, PassResult]:
    """Run each pass of a plan once on a network and measure the signals wanted of it.

    The network is left exactly as it was: weights, gradients, buffers, hooks, modes; so is the global random state.
    A pass that fails does not stop the others.

    Args:
        network: any module that maps images to one tensor of shape ``(images, classes)``.
        images: the batch, shape ``(images, channels, height, width)``; its device is where everything runs.
        labels: class of each image, shape ``(images,)``; may be None where no signal needs the loss.
        plan: for each pass the signals that are wanted.
        seed: everything random in a pass is drawn from streams that depend on it and the pass alone.
        dtype: precision of all passes but those that fix their own; None is the network's.
        generators: the source of a stream by its name, in place of the one derived from `seed`.

    Returns:
        For each pass its result; `failure` tells in one sentence why a pass gave nothing.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2))
        >>> spec = PassSpec(input="ones", weights="absolute", batch_norm="bypassed", float64=True)
        >>> result = run_passes(network, torch.zeros(2, 1, 4, 4), None, {spec: frozenset({Signal.WEIGHTS})})
        >>> [tuple(weight.shape) for weight in result[spec].signals.weights]
        [(2, 1, 3, 3), (2, 8)]
    """
    results = {}
    with preserve_rng_state(), _train_mode(network):
        for spec, wanted in plan.items():
            start = time.perf_counter()
            one = _Pass(network, images, labels, spec, wanted, seed, dtype, generators)
            try:
                signals, failure = one.run(), ""
            except NetworkError as error:
                signals, failure = None, str(error)
            except Exception as error:  # a network is foreign code: whatever it raises belongs to its record
                signals, failure = None, f"{type(error).__name__}: {_first_line(error)}"
            results[spec] = PassResult(signals, time.perf_counter() - start, failure)
    return results


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["no message"])[0][:300]


@contextmanager
def _train_mode(network: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in network.modules()]
    network.train()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


class _Pass:
    """One pass over one network: the tensors it runs on, and how each signal is measured."""

    def __init__(
        self, network: nn.Module, images: torch.Tensor, labels: torch.Tensor | None, spec: PassSpec,
        wanted: frozenset[Signal], seed: int, dtype: torch.dtype | None,
        generators: Callable[[str], torch.Generator] | None,
    ) -> None:  # fmt: skip
        if isinstance(network, torch.jit.ScriptModule):
            raise NetworkError("The network is a TorchScript module, which cannot be observed: give the Python module.")
        self.network, self.images, self.labels = network, images, labels
        self.spec, self.wanted, self.seed = spec, wanted, seed
        own = next((p.dtype for p in network.parameters() if p.is_floating_point()), images.dtype)
        self.dtype = torch.float64 if spec.float64 else dtype or own
        self.layers = weight_layers(network)
        self.generators = generators
        self.signals = Signals(labels=labels)

    def run(self) -> Signals:
        {
            "architecture": self._count,
            "none": self._look,
            "batch": self._run_batch,
            "ones": self._run_ones,
            "noise": self._run_noise,
            "noise_pair": self._run_noise_pair,
        }[self.spec.input]()
        return self.signals

    # What a pass runs on.

    def _tensors(self) -> dict[str, torch.Tensor]:
        """Copies of all parameters and buffers: on the batch's device, in this pass's precision, channels-last."""
        tensors = {}
        for name, tensor in (*self.network.named_parameters(), *self.network.named_buffers()):
            dtype = self.dtype if tensor.is_floating_point() else tensor.dtype
            layout = torch.channels_last if tensor.dim() == 4 else torch.preserve_format
            copy = tensor.detach().to(self.images.device, dtype, copy=True, memory_format=layout)
            tensors[name] = copy.abs_() if self.spec.weights == "absolute" and dtype == self.dtype else copy
        return tensors

    def _weights(self, tensors: Mapping[str, torch.Tensor]) -> list[torch.Tensor]:
        return [tensors[f"{name}.weight" if name else "weight"] for name in self.layers]

    def _forward(self, tensors: Mapping[str, torch.Tensor]) -> Callable[[Any], Any]:
        # The same stream for every forward pass, so that dropout draws the same mask again.
        def forward(x: Any) -> Any:
            torch.manual_seed(derive_seed(self.seed, "pass"))
            return functional_call(self.network, dict(tensors), (x,))

        return forward

    def _stream(self, name: str) -> torch.Generator:
        if self.generators is not None:
            return self.generators(name)
        return torch.Generator().manual_seed(derive_seed(self.seed, name))

    def _lay_out(self, images: torch.Tensor) -> torch.Tensor:
        images = images.to(self.images.device, self.dtype, copy=True)
        return images.contiguous(memory_format=torch.channels_last) if images.dim() == 4 else images

    def _checked(self, output: Any, images: int) -> torch.Tensor:
        if not isinstance(output, torch.Tensor):
            kind = type(output).__name__
            raise NetworkError(
                f"The network returns a {kind}, expected one tensor of shape (images, classes): "
                "wrap it in a module that returns the output to score."
            )
        if output.dim() != 2 or len(output) != images:
            raise NetworkError(
                f"The network returns shape {tuple(output.shape)}, expected ({images}, classes): "
                "wrap it in a module that returns one row of class scores for each image."
            )
        self.signals.classes = output.shape[1]
        return output

    # Without running it on values.

    def _count(self) -> None:
        if Signal.SKIP_SPANS in self.wanted:
            raise NetworkError("A network has no skip edges by itself: this needs an architecture of a search space.")
        if Signal.PARAMETERS in self.wanted:
            self.signals.parameters = sum(p.numel() for p in self.network.parameters() if p.requires_grad)
        if Signal.MULTIPLY_ADDS in self.wanted:
            self.signals.multiply_adds = self._multiply_adds()

    def _multiply_adds(self) -> int:
        """Count on the meta device, where no arithmetic is done; on real tensors where a network cannot go there."""
        shape = (2, *self.images.shape[1:])  # two images: batch normalisation refuses one value a channel
        tensors = self._tensors()
        try:
            return self._counted({name: t.to("meta") for name, t in tensors.items()}, torch.empty(shape, device="meta"))
        except (RuntimeError, NotImplementedError):
            return self._counted(tensors, torch.zeros(shape, device=self.images.device))

    def _counted(self, tensors: Mapping[str, torch.Tensor], images: torch.Tensor) -> int:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            self._forward(tensors)(images.to(self.dtype))
        return int(counter.get_total_flops()) // 2 // len(images)

    def _look(self) -> None:
        self.signals.weights = [layer.weight.detach() for layer in self.layers.values()]  # type: ignore[operator]

    # The labelled batch: one forward pass, a backward pass for each objective.

    def _run_batch(self, copy_activations: bool = False) -> None:
        tensors = self._tensors()
        weights = self._weights(tensors)
        needs_loss = self.wanted & {Signal.WEIGHT_GRADIENTS, Signal.CHANNEL_SALIENCIES, Signal.HESSIAN_FORM}
        for weight in weights:
            weight.requires_grad_()
        images = self._lay_out(self.images).requires_grad_(Signal.INPUT_JACOBIAN in self.wanted)
        saliencies = _ChannelSaliencies(self.layers, copy_activations)
        relus = ReluObserver(agreement) if Signal.RELU_KERNEL in self.wanted else None
        with ExitStack() as stack:
            if Signal.CHANNEL_SALIENCIES in self.wanted:
                stack.enter_context(saliencies)
            stack.enter_context(Observer(precise_batch_norm(), relus.rules if relus else {}))
            output = self._checked(self._forward(tensors)(images), len(images))
        if relus is not None:
            kept = relus.reaching(output, self.spec.dead_branches)
            self.signals.relu_kernel = sum(kept[1:], kept[0].clone()) if kept else None
            del relus, kept
        if Signal.INPUT_JACOBIAN in self.wanted:
            self.signals.input_jacobian = self._jacobian(output, images, keep_graph=bool(needs_loss))
        if needs_loss:
            self._backward_loss(output, weights, saliencies)
            if saliencies.overwritten:
                return self._run_batch(copy_activations=True)
        del output
        if Signal.HESSIAN_FORM in self.wanted:
            self.signals.hessian_form = self._hessian_form(tensors, images.detach(), weights)
        return None

    def _jacobian(self, output: torch.Tensor, images: torch.Tensor, keep_graph: bool) -> torch.Tensor:
        (jacobian,) = torch.autograd.grad(output.sum(), images, retain_graph=keep_graph, materialize_grads=True)
        return jacobian.contiguous().flatten(1)

    def _loss(self, output: torch.Tensor) -> torch.Tensor:
        labels = self.labels
        if labels is None:
            raise NetworkError("This proxy reads the loss: give the labels of the images.")
        if int(labels.max()) >= output.shape[1] or int(labels.min()) < 0:
            raise NetworkError(
                f"The labels run from {int(labels.min())} to {int(labels.max())}, the network has {output.shape[1]} "
                "outputs: give labels from 0 up to the number of outputs less one."
            )
        return F.cross_entropy(output, labels)

    def _backward_loss(self, output: torch.Tensor, weights: list[torch.Tensor], saliencies: _ChannelSaliencies) -> None:
        loss = self._loss(output)
        saliencies.recording = True
        self._take_gradients(loss, weights)
        self.signals.channel_saliencies = saliencies.values()

    def _take_gradients(self, objective: torch.Tensor, weights: list[torch.Tensor]) -> None:
        gradients = (
            torch.autograd.grad(objective, weights, allow_unused=True, materialize_grads=True) if weights else ()
        )
        self.signals.weights = [weight.detach() for weight in weights]
        self.signals.weight_gradients = list(gradients)

    def _hessian_form(
        self, tensors: Mapping[str, torch.Tensor], images: torch.Tensor, weights: list[torch.Tensor]
    ) -> float:
        assert self.labels is not None  # the loss was taken before
        gradients = self.signals.weight_gradients
        for weight in weights:
            weight.requires_grad_(False)
        try:
            return hessian_form(self._forward(tensors), images, self.labels, weights, gradients)
        except Exception:  # the network ran on tensors before, so whatever it raises now it owes to the jets
            return self._hessian_form_by_double_backward(tensors, images, weights)

    def _hessian_form_by_double_backward(
        self, tensors: Mapping[str, torch.Tensor], images: torch.Tensor, weights: list[torch.Tensor]
    ) -> float:
        for weight in weights:
            weight.requires_grad_()
        with Observer():
            loss = self._loss(self._forward(tensors)(images))
        first = torch.autograd.grad(loss, weights, create_graph=True, allow_unused=True, materialize_grads=True)
        inner = torch.stack([(g.detach() * g).sum() for g in first]).sum()
        second = torch.autograd.grad(inner, weights, allow_unused=True, materialize_grads=True)
        return float(torch.stack([(w.detach() * h).sum().double() for w, h in zip(weights, second, strict=True)]).sum())

    # Inputs that are not images.

    def _run_ones(self) -> None:
        tensors = self._tensors()
        weights = self._weights(tensors)
        for weight in weights:
            weight.requires_grad_()
        ones = torch.ones(1, *self.images.shape[1:], dtype=self.dtype, device=self.images.device)
        with Observer(batch_norm_bypassed()):
            output = self._checked(self._forward(tensors)(self._lay_out(ones)), 1)
        self._take_gradients(output.sum(), weights)

    def _noise(self, generator: torch.Generator) -> torch.Tensor:
        channels, height, width = self.images.shape[1:]
        size = self.spec.image_size
        shape = (self.spec.inputs or len(self.images), channels, size or height, size or width)
        return torch.randn(shape, generator=generator)

    def _run_noise(self) -> None:
        tensors = self._tensors()
        images = self._lay_out(self._noise(self._stream("noise"))).requires_grad_()
        relus = ReluObserver(packed)
        with Observer(precise_batch_norm(), relus.rules):
            output = self._checked(self._forward(tensors)(images), len(images))
        patterns = relus.reaching(output, self.spec.dead_branches)
        self.signals.relu_patterns = np.concatenate(patterns, axis=1) if patterns else None

    def _run_noise_pair(self) -> None:
        generator = self._stream("noise_pair")
        for _ in range(self.spec.repeats):
            tensors = self._drawn_weights(generator)
            first = self._noise(generator)
            second = first + NOISE_SCALE * self._noise(generator)
            observers = FeatureObserver(), FeatureObserver()
            maps = [
                self._features(tensors, images, seen) for images, seen in zip((first, second), observers, strict=True)
            ]
            change = (maps[0] - maps[1]).abs().flatten(1).double().sum(1).mean()
            self.signals.feature_changes.append(float(change))
            self.signals.normalisation_variances.append(_mean_variances(*observers))

    def _drawn_weights(self, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Convolutions and linear layers from N(0, 1), biases 0, normalisations 1 and 0, whatever the network has."""
        tensors = self._tensors()
        normalisations = nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm
        for prefix, module in self.network.named_modules():
            if not isinstance(module, (nn.modules.conv._ConvNd, nn.Linear, *normalisations)):
                continue
            weight, bias = (tensors.get(f"{prefix}.{name}" if prefix else name) for name in ("weight", "bias"))
            if weight is not None and isinstance(module, normalisations):
                weight.fill_(1)
            elif weight is not None:
                # Drawn in plain order and single precision, so that the layout and dtype of the pass change nothing.
                weight.copy_(torch.randn(weight.shape, generator=generator))
            if bias is not None:
                bias.zero_()
        return tensors

    @torch.no_grad()
    def _features(self, tensors: Mapping[str, torch.Tensor], images: torch.Tensor, observer: FeatureObserver) -> Any:
        with Observer(observer.rules):
            self._checked(self._forward(tensors)(self._lay_out(images)), len(images))
        if observer.features is None:
            raise NetworkError("The network has no global average pooling: Zen reads the feature map before it.")
        return observer.features


def _mean_variances(first: FeatureObserver, second: FeatureObserver) -> list[tuple[float, float]]:
    """Mean over channels of the first batch's variance, and of the running one after both batches, from 1."""
    means = []
    for one, two in zip(first.variances, second.variances, strict=True):
        running = torch.ones_like(one[0])
        for variance, count, momentum in (one, two):
            running = (1 - momentum) * running + momentum * variance * count / max(count - 1, 1)
        means.append((float(one[0].mean()), float(running.mean())))
    return means


class _ChannelSaliencies:
    """Hooks that reduce activation times gradient of each weight layer as the backward pass reaches it."""

    def __init__(self, layers: Mapping[str, nn.Module], copy_activations: bool) -> None:
        self.layers = layers
        self.copy_activations = copy_activations
        self.recording = False
        self.overwritten = False
        self._sums: dict[str, torch.Tensor] = {}
        self._handles: list[torch.utils.hooks.RemovableHandle] = []

    def __enter__(self) -> None:
        for name, layer in self.layers.items():
            self._handles.append(layer.register_forward_hook(self._watch(name, isinstance(layer, nn.Linear))))

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _watch(self, name: str, channels_last: bool) -> Callable[[nn.Module, Any, torch.Tensor], None]:
        def hook(_: nn.Module, __: Any, output: torch.Tensor) -> None:
            if not output.requires_grad:
                return
            # Not the output itself: a hook that holds its own tensor would keep the whole graph alive.
            activation = output.detach().clone() if self.copy_activations else output.detach()
            version = activation._version

            def on_gradient(gradient: torch.Tensor) -> None:
                if not self.recording:
                    return
                if activation._version != version:
                    self.overwritten = True  # by an in-place operation: the pass is run again with copies
                    return
                self._add(name, _saliency(activation, gradient, channels_last))

            output.register_hook(on_gradient)

        return hook

    def _add(self, name: str, saliency: torch.Tensor) -> None:
        self._sums[name] = self._sums[name] + saliency if name in self._sums else saliency

    def values(self) -> list[torch.Tensor]:
        """Per layer, in module order; zeros for a layer that the loss does not depend on."""
        return [self._sums.get(name, layer.weight.new_zeros(1)) for name, layer in self.layers.items()]  # type: ignore[operator]


def _saliency(activation: torch.Tensor, gradient: torch.Tensor, channels_last: bool) -> torch.Tensor:
    product = activation * gradient
    dims = range(1, product.dim() - 1) if channels_last else range(2, product.dim())
    per_image = product.sum(tuple(dims)) if len(dims) else product
    return 0.5 * per_image.double().square().mean(0)
