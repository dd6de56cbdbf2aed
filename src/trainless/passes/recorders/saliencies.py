"""Recorder of the channels' saliencies: how much the loss would change if an output channel of a weight went."""

from __future__ import annotations

from collections.abc import Callable

import torch

from trainless.passes.marks import Batched, batched
from trainless.passes.objectives import loss
from trainless.passes.recorders.base import Backward, ForwardAgain, Recorder
from trainless.passes.run import Run
from trainless.passes.signals import PassSpec
from trainless.passes.weights import Listener, Weight

__all__ = ["ChannelSaliencies"]


class ChannelSaliencies(Recorder):
    """Reduces activation times gradient of each weight's output as the backward pass reaches it."""

    name = "channel_saliencies"
    inputs = frozenset({"batch"})

    def __init__(self) -> None:
        self._copies = False
        self._sums: dict[int, dict[int, torch.Tensor]] = {}
        self._activations: list[tuple[torch.Tensor, int]] = []
        self._values: list[torch.Tensor] = []

    @classmethod
    def backward(cls, spec: PassSpec) -> Backward:
        """From the loss."""
        return Backward(loss, "weights")

    def begin(self, run: Run) -> None:
        """Forget what an earlier attempt left, and listen to the uses of weights."""
        self._sums, self._activations = {}, []
        run.tracker.listeners.append(self._listener(run))

    def _listener(self, run: Run) -> Listener:
        def on_use(weight: Weight, output: torch.Tensor, channels: tuple[int, ...]) -> Callable[[torch.Tensor], None]:
            biases: list[torch.Tensor] = []
            if not output.requires_grad:
                return biases.append
            # Not the output itself: a hook that holds its own tensor would keep the whole graph alive.
            activation = output.detach().clone() if self._copies else output.detach()
            self._activations.append((activation, activation._version))
            mark = batched(output)

            def on_gradient(gradient: torch.Tensor) -> None:
                if run.objective is loss:
                    with run.clock(ChannelSaliencies):
                        sums = _per_image(activation * gradient, mark, channels)
                        for bias in biases:
                            sums = sums + bias.detach().flatten() * _per_image(gradient, mark, channels)
                        self._add(id(weight), sums)

            output.register_hook(on_gradient)
            return biases.append

        return on_use

    def after_forward(self, run: Run, output: torch.Tensor) -> None:
        """Ask for another forward pass, with copies, where an in-place operation has overwritten an activation."""
        overwritten = any(activation._version != version for activation, version in self._activations)
        self._activations = []
        if overwritten and not self._copies:
            self._copies = True
            raise ForwardAgain

    def _add(self, key: int, sums: torch.Tensor) -> None:
        # A weight that is used twice has one mask for its channels: its sums add up before they are squared. Used both
        # ways, as tied embeddings are, it has one for those of each.
        own, channels = self._sums.setdefault(key, {}), sums.shape[1]
        own[channels] = own[channels] + sums if channels in own else sums

    def after_backward(self, run: Run, gradients: list[torch.Tensor]) -> None:
        """Square the sums; zeros for a weight that the loss does not depend on."""
        self._values = [
            torch.cat([self._saliency(weight) for weight in layer]) if len(layer) > 1 else self._saliency(layer[0])
            for layer in run.layers
        ]
        run.tracker.listeners.clear()

    def _saliency(self, weight: Weight) -> torch.Tensor:
        own = self._sums.get(id(weight), {})
        values = [0.5 * own[channels].double().square().mean(0) for channels in sorted(own)]
        return torch.cat(values) if values else weight.leaf.new_zeros(1)

    def value(self) -> list[torch.Tensor]:
        """One tensor a layer, of one value a channel."""
        return self._values


def _per_image(product: torch.Tensor, mark: Batched | None, channels: tuple[int, ...]) -> torch.Tensor:
    """Sum over all dimensions but those of images and channels: shape ``(images, channels)``."""
    first = mark.dim if mark else 0
    kept = {channel % product.dim() for channel in channels}
    rest = [dim for dim in range(product.dim()) if dim != first]
    if first:
        product = product.movedim(first, 0)
    positions = [number for number, dim in enumerate(rest, 1) if dim not in kept]
    if mark and len(product) != mark.images:
        product = product.unflatten(0, (mark.images, -1))
        positions = [1, *(number + 1 for number in positions)]
    sums = product.sum(positions) if positions else product
    return sums.flatten(1)
