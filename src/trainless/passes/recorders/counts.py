"""Recorders of what is counted and not computed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch.utils.flop_counter import FlopCounterMode

from trainless.errors import NetworkError
from trainless.passes.graph import reached_nodes
from trainless.passes.recorders.base import Recorder
from trainless.passes.run import Run

__all__ = ["MultiplyAdds", "ParameterTensors", "Parameters", "SkipSpans", "TrainableLayers", "TrainableParameters"]


class Count(Recorder):
    """What a network has without anything being computed."""

    inputs = frozenset({"architecture"})
    count = 0

    def value(self) -> int:
        """The count."""
        return self.count


class Parameters(Count):
    """Counts all parameters, each once."""

    name = "parameters"
    inputs = frozenset({"architecture", "batch"})

    def finish(self, run: Run) -> None:
        """Count them."""
        self.count = sum(parameter.numel() for parameter in run.network.parameters())


class TrainableParameters(Count):
    """Counts the parameters that learn, each once."""

    name = "trainable_parameters"

    def finish(self, run: Run) -> None:
        """Count them."""
        self.count = sum(parameter.numel() for parameter in run.network.parameters() if parameter.requires_grad)


class ParameterTensors(Count):
    """Counts the tensors that parameters come in, each once."""

    name = "parameter_tensors"
    inputs = frozenset({"none"})

    def finish(self, run: Run) -> None:
        """Count them."""
        self.count = sum(1 for _ in run.network.parameters())


class TrainableLayers(Count):
    """Counts the weight layers that learn and that the output depends on, each once."""

    name = "trainable_layers"
    inputs = frozenset({"none"})

    def finish(self, run: Run) -> None:
        """Find them."""
        tracker, output = run.follow(run.tensors, [run.lay_out(tensor[:2]) for tensor in run.images])
        tracker.refuse_unseen(run.checked(output, len(run.images[0][:2])))
        reached = {id(node.variable) for node in reached_nodes(output) if hasattr(node, "variable")}
        learning = {name for name, tensor in run.originals.items() if tensor.requires_grad}
        self.count = sum(
            any(id(weight.leaf) in reached and weight.names & learning for weight in layer)
            for layer in tracker.layers()
        )


class MultiplyAdds(Count):
    """Counts the multiply-adds of convolutions and matrix products for one image."""

    name = "multiply_adds"
    images: ClassVar[int] = 2  # batch normalisation refuses one value a channel

    def finish(self, run: Run) -> None:
        """Count on the meta device, where no arithmetic is done; on real tensors where a network cannot go there."""
        shapes = [(self.images, *tensor.shape[1:]) for tensor in run.images]
        dtypes = [run.dtype if tensor.is_floating_point() else tensor.dtype for tensor in run.images]
        tensors = {
            name: torch.empty_like(t, device="meta", dtype=run.dtype if t.is_floating_point() else t.dtype)
            for name, t in run.originals.items()
        }
        try:
            inputs = [torch.empty(shape, device="meta", dtype=d) for shape, d in zip(shapes, dtypes, strict=True)]
            self.count = self._counted(run, tensors, inputs)
        except (RuntimeError, NotImplementedError):
            device = run.images[0].device
            inputs = [torch.zeros(shape, device=device, dtype=d) for shape, d in zip(shapes, dtypes, strict=True)]
            self.count = self._counted(run, run.tensors, inputs)

    def _counted(self, run: Run, tensors: Mapping[str, torch.Tensor], inputs: list[torch.Tensor]) -> int:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            run.follow(tensors, inputs)
        return int(counter.get_total_flops()) // 2 // self.images


class SkipSpans(Recorder):
    """Refuses: a network has no skip edges by itself, and search spaces tell them in closed form."""

    name = "skip_spans"
    inputs = frozenset({"architecture"})

    def finish(self, run: Run) -> None:
        """Refuse."""
        raise NetworkError("A network has no skip edges by itself: this needs an architecture of a search space.")

    def value(self) -> None:
        """Nothing."""
