"""One run of a network within a pass: the tensors it computes with in place of its own, and its forward passes."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import fields, is_dataclass
from functools import cached_property
from typing import Any

import torch
from torch import nn

from trainless.errors import NetworkError
from trainless.passes.marks import mark_batched
from trainless.passes.observers import NORMALISATIONS, Rules, faster_pooling, products_in_bfloat16
from trainless.passes.signals import DRAWN_WEIGHTS, PassSpec
from trainless.passes.substitution import substituted
from trainless.passes.units import Masks
from trainless.passes.weights import Weight, WeightTracker, plain_weights
from trainless.seeding import derive_seed

__all__ = ["GIVES_MAPS", "Batch", "Clock", "Run", "Streams", "joined", "parts_of_output"]

GIVES_MAPS = "gives_maps"
"""The attribute by which a network tells that it gives maps on purpose, and no row of class scores."""

Batch = tuple[torch.Tensor, ...]  # what a network is called with: nearly always the images alone
Streams = Callable[[str], torch.Generator]


class Clock:
    """Measures the parts of a pass, each without those that run inside it.

    Example:
        >>> clock = Clock()
        >>> with clock("forward"), clock("kernel"):
        ...     time.sleep(0.01)
        >>> clock.parts["kernel"] > clock.parts["forward"]
        True
    """

    def __init__(self) -> None:
        self.parts: dict[Hashable, float] = {}
        self._running: list[Hashable] = []
        self._last = 0.0

    @contextmanager
    def __call__(self, part: Hashable) -> Iterator[None]:
        """Count the time within as that of a part."""
        self._begin(part)
        try:
            yield
        finally:
            self._end()

    def _begin(self, part: Hashable) -> None:
        self._count()
        self._running.append(part)

    def _end(self) -> None:
        self._count()
        self._running.pop()

    def _count(self) -> None:
        now = time.perf_counter()
        if self._running:
            part = self._running[-1]
            self.parts[part] = self.parts.get(part, 0.0) + now - self._last
        self._last = now

    def timed(self, part: Hashable, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function whose time counts as that of a part."""

        def call(*args: Any, **kwargs: Any) -> Any:
            self._begin(part)
            try:
                return function(*args, **kwargs)
            finally:
                self._end()

        return call


class Run:
    """A network with copies of its weights under the conditions of a pass.

    Args:
        network: the module; it runs on copies while the run is `active`.
        images: the batch that the pass was given, one tensor for each of the network's inputs.
        labels: class of each image, or None.
        spec: the conditions.
        dtype: precision; None is the network's own.
        seed: seed of all that is random in the network.
        streams: random generators by name.
        clock: what measures the parts.

    Attributes:
        originals: the network's parameters and buffers by name.
        inputs: what the present forward pass was given.
        objective: the objective whose backward pass runs at present.
        masks: what sets a share of the units to 0 in the present forward pass, or None.
        layers: the weight layers that a forward pass used, each with the weights that make it up.
        classes: number of outputs, after a forward pass.
        products: rules for convolutions and linear maps.
    """

    def __init__(
        self, network: nn.Module, images: Batch, labels: torch.Tensor | None, spec: PassSpec,
        dtype: torch.dtype | None, seed: int, streams: Streams, clock: Clock,
    ) -> None:  # fmt: skip
        self.network, self.images, self.labels, self.spec = network, images, labels, spec
        self.seed, self.streams, self.clock = seed, streams, clock
        own = next((p.dtype for p in network.parameters() if p.is_floating_point()), images[0].dtype)
        self.dtype = torch.float64 if spec.float64 else dtype or own
        self.inputs: Batch = ()
        self.objective: object = None
        self.masks: Masks | None = None
        self.layers: list[list[Weight]] = []
        self.classes = 0
        self.products: Rules = products_in_bfloat16() if spec.bfloat16 else {}
        self.originals = {**dict(network.named_parameters()), **dict(network.named_buffers())}

    @cached_property
    def tensors(self) -> dict[str, torch.Tensor]:
        """Copies of all parameters and buffers: on the batch's device, in this pass's precision, channels-last."""
        copies = {}
        for name, tensor in self.originals.items():
            dtype = self.dtype if tensor.is_floating_point() else tensor.dtype
            layout = torch.channels_last if tensor.dim() == 4 else torch.preserve_format
            copy = tensor.detach().to(self.images[0].device, dtype, copy=True, memory_format=layout)
            # A matrix or more that the output depends on, but not by way of a weight, is found by its gradient.
            wide = isinstance(tensor, nn.Parameter) and sum(size > 1 for size in tensor.shape) > 1
            copies[name] = copy.requires_grad_(wide and dtype.is_floating_point)
        return copies

    @cached_property
    def tracker(self) -> WeightTracker:
        """What finds the weights."""
        absolute = self.spec.weights == "absolute"
        draw = self._drawn() if self.spec.weights in DRAWN_WEIGHTS else None
        rules = NORMALISATIONS[self.spec.batch_norm](), faster_pooling(), self.products
        return WeightTracker(self.tensors, self.originals, *rules, like=self._like(), draw=draw, absolute=absolute)

    def _like(self, device: torch.device | None = None) -> torch.Tensor:
        return torch.empty(0, dtype=self.dtype, device=device or self.images[0].device)

    def _drawn(self) -> Callable[[Hashable, torch.Tensor], torch.Tensor]:
        """Draw all weights anew in the order in which they are registered."""
        generator = self.streams(self.spec.input)

        def draw(value: torch.Tensor, channels: int = 0) -> torch.Tensor:
            # Drawn in plain order and single precision, so that the layout and dtype of the pass change nothing.
            drawn = torch.empty(value.shape, dtype=torch.float32)
            if self.spec.weights == "normal":
                return drawn.normal_(generator=generator)
            bound = ((channels or len(value)) / value.numel()) ** 0.5
            return drawn.uniform_(-bound, bound, generator=generator)

        values = {weight.key: draw(weight.leaf, weight.channels) for layer in self.trace() for weight in layer}

        def drawn(key: Hashable, value: torch.Tensor) -> torch.Tensor:
            if key not in values:  # it takes another way than it did when it was traced
                values[key] = draw(value)
            return value.clone().copy_(values[key])

        return drawn

    # Running it.

    @contextmanager
    def active(self) -> Iterator[None]:
        """Have the network compute with the copies, in forward passes and in what is recomputed in backward ones."""
        _ = self.tracker  # it may have to run the network by itself
        with self._substituted(self.tensors):
            yield

    def _substituted(self, tensors: Mapping[str, torch.Tensor]) -> AbstractContextManager[None]:
        by_id = {id(original): tensors[name] for name, original in self.originals.items()}
        return substituted(self.network, by_id, self.spec.mode == "train")

    def forward(self, *inputs: Any) -> Any:
        """Run the network on what stands for images, the first dimension of each counting them."""
        return self._call(self.tracker, inputs)

    def _call(self, tracker: WeightTracker, inputs: Sequence[torch.Tensor]) -> Any:
        tracker.without_graph = tracker.saves_otherwise = False
        # The same stream for every forward pass, so that dropout draws the same mask again.
        torch.manual_seed(derive_seed(self.seed, "pass"))
        for tensor in inputs:
            mark_batched(tensor, 0, len(tensor))
        with tracker:
            return self.network(*inputs)

    def trace(self) -> list[list[Weight]]:
        """Find the weight layers by a forward pass of two images, which draws nothing and leaves nothing."""
        plain = plain_weights(self.network)
        if plain is not None:
            return [[weight] for weight in plain]
        with self.clock("trace"):
            tracker, output = self.follow(self.tensors, [self.lay_out(tensor[:2]) for tensor in self.images])
            if isinstance(output, torch.Tensor):
                tracker.refuse_unseen(output)
            return tracker.layers()

    def follow(self, tensors: Mapping[str, torch.Tensor], inputs: Sequence[torch.Tensor]) -> tuple[WeightTracker, Any]:
        """Run the network once on any tensors in the place of its own, and tell what was seen and what came out."""
        tracker = WeightTracker(tensors, self.originals, like=self._like(inputs[0].device))
        with self._substituted(tensors):
            return tracker, self._call(tracker, inputs)

    @property
    def weights(self) -> list[Weight]:
        """The weights that were seen, layer by layer."""
        return [weight for layer in self.layers for weight in layer]

    def stream(self) -> torch.Generator:
        """The random generator of this pass's inputs; weights are drawn from it before them."""
        _ = self.tracker
        return self.streams(self.spec.input)

    def lay_out(self, tensor: torch.Tensor) -> torch.Tensor:
        """A copy of an input on the batch's device, in this pass's precision, images channels-last."""
        dtype = self.dtype if tensor.is_floating_point() else tensor.dtype
        tensor = tensor.to(self.images[0].device, dtype, copy=True)
        return tensor.contiguous(memory_format=torch.channels_last) if tensor.dim() == 4 else tensor

    def checked(self, output: Any, images: int) -> torch.Tensor:
        """The output, if it is one row of class scores for each image, or maps where the network is there for them."""
        if not isinstance(output, torch.Tensor):
            parts = parts_of_output(output)
            advice = f"name the class scores, as in output={parts[0]!r}" if parts else "return the class scores"
            found = f"; it has {', '.join(map(repr, parts))}" if parts else ""
            raise NetworkError(
                f"The network returns a {type(output).__name__}, expected one tensor of shape (images, classes): "
                f"{advice}{found}."
            )
        gives_maps = getattr(self.network, GIVES_MAPS, False)
        if output.dim() != (4 if gives_maps else 2) or len(output) != images:
            raise NetworkError(
                f"The network returns shape {tuple(output.shape)}, expected ({images}, classes): "
                "wrap it in a module that returns one row of class scores for each image."
            )
        self.classes = output.shape[1]
        return output

    def gradients(
        self, value: torch.Tensor, inputs: Sequence[torch.Tensor], keep_graph: bool, again: bool = False
    ) -> list[torch.Tensor]:
        """Gradients of one number, zeros where it does not depend on an input; to be differentiated again, or not."""
        if not inputs:
            return []
        with self.tracker.recomputing():  # what is computed once more sees the same tensors
            if not self.tracker.without_graph:
                found = torch.autograd.grad(
                    value, inputs, retain_graph=keep_graph, create_graph=again, allow_unused=True,
                    materialize_grads=True,
                )  # fmt: skip
                return list(found)
            if again:
                raise NetworkError(
                    "The network recomputes activations in a way that has no second derivatives: give its checkpoints "
                    "use_reentrant=False."
                )
            # Reentrant checkpoints, which run without a graph at first, know no other way.
            for tensor in inputs:
                tensor.grad = None
            torch.autograd.backward(value, retain_graph=keep_graph)
            gradients = [tensor.grad for tensor in inputs]
            for tensor in inputs:
                tensor.grad = None
        return [torch.zeros_like(t) if grad is None else grad for t, grad in zip(inputs, gradients, strict=True)]


def parts_of_output(returned: Any) -> list[Any]:
    """What the parts of a dictionary, a data class or a sequence are asked for by.

    Example:
        >>> parts_of_output({"logits": 1, "features": 2}), parts_of_output((1, 2)), parts_of_output(3)
        (['logits', 'features'], [0, 1], [])
    """
    if isinstance(returned, Mapping):
        return list(returned)
    if is_dataclass(returned):
        return [field.name for field in fields(returned)]
    return list(getattr(returned, "_fields", range(len(returned)))) if isinstance(returned, tuple | list) else []


def joined(tensors: list[torch.Tensor]) -> torch.Tensor:
    """The tensors of one layer as one.

    Example:
        >>> joined([torch.zeros(2, 3), torch.zeros(1, 3)]).shape
        torch.Size([3, 3])
    """
    if len(tensors) == 1:
        return tensors[0]
    if len({tensor.shape[1:] for tensor in tensors}) == 1:
        return torch.cat(tensors)
    return torch.cat([tensor.flatten() for tensor in tensors])
