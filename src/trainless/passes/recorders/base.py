"""The contract of a recorder: it measures one signal, and says what has to happen for that."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Literal, NamedTuple

import torch

from trainless.passes.objectives import Objective
from trainless.passes.observers import Rules
from trainless.passes.run import Run
from trainless.passes.signals import PassSpec

__all__ = ["Backward", "ForwardAgain", "Recorder"]


class Backward(NamedTuple):
    """A backward pass: from which objective, and with respect to what."""

    objective: Objective
    wrt: Literal["weights", "inputs"]


class ForwardAgain(Exception):  # noqa: N818
    """Raised after a forward pass by a recorder that has to see it once more."""


class Recorder(ABC):
    """Measures one signal in one pass.

    For each repeat of a pass, and each of its forward passes, the driver calls `begin`, runs the network within
    `watching`, calls `after_forward`, and `after_backward` once the backward pass that was asked for is done. When the
    graph is gone it calls `finish`, and at the end of the pass it takes `value`. A backward pass that several recorders
    ask for is run once. All methods but `value` do nothing unless overridden.

    Example:
        >>> class Outputs(Recorder):
        ...     name = "outputs"
        ...
        ...     def after_forward(self, run, output):
        ...         self.output = output.detach()
        ...
        ...     def value(self):
        ...         return self.output
    """

    name: ClassVar[str]
    """Of the attribute of `Signals` that holds the value."""

    inputs: ClassVar[frozenset[str]] = frozenset({"batch", "ones", "noise", "labelled_noise", "noise_pair"})
    """The kinds of `PassSpec.input` under which it can be measured."""

    needs_graph: ClassVar[bool] = False
    """Whether the forward pass has to be recorded although no backward pass is asked for."""

    goes_back: ClassVar[bool] = True
    """Whether it goes back through the recorded graph, or else only looks at how it hangs together."""

    reason: str = ""
    """Why there is no value, where `value` gives None."""

    @classmethod
    def refusal(cls, spec: PassSpec) -> str:
        """Why it cannot be measured under some conditions; empty if it can."""
        if spec.input in cls.inputs:
            return ""
        return f"is measured on {' or '.join(sorted(cls.inputs))}, not on '{spec.input}'"

    @classmethod
    def backward(cls, spec: PassSpec) -> Backward | None:
        """The backward pass that it needs."""
        return None

    def begin(self, run: Run) -> None:  # noqa: B027
        """Get ready for a forward pass."""

    def rules(self, run: Run) -> Rules:
        """Rules that are in force during the forward pass; see `Observer`."""
        return {}

    @contextmanager
    def watching(self, run: Run) -> Iterator[None]:
        """Surround the forward pass and its backward passes, as with hooks on modules that are taken off again."""
        yield

    def after_forward(self, run: Run, output: torch.Tensor) -> None:  # noqa: B027
        """Look at the output, while the graph is there."""

    def after_backward(self, run: Run, gradients: list[torch.Tensor]) -> None:  # noqa: B027
        """Take the gradients of the backward pass asked for: of `run.weights` or of `run.inputs`."""

    def finish(self, run: Run) -> None:  # noqa: B027
        """Do what is left to do with the network of one repeat."""

    @abstractmethod
    def value(self) -> Any:
        """The signal, or None, and then `reason` says why."""
