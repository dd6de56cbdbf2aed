"""Recorders that see a network as public code does: by hooks on its modules, each as often as it is called."""

from __future__ import annotations

import math
import random
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from trainless.passes.recorders.base import Recorder
from trainless.passes.run import Run

__all__ = ["ModuleCorrelations", "ModuleRanks", "SampledModuleCorrelations"]

_SAMPLED = 8  # channels


class ModuleOutputs(Recorder):
    """Reduces what modules give, as they give it."""

    inputs = frozenset({"batch", "noise"})

    def __init__(self) -> None:
        self._values: list[float] = []

    def begin(self, run: Run) -> None:
        """Forget an earlier forward pass."""
        self._values = []

    @contextmanager
    def watching(self, run: Run) -> Iterator[None]:
        """Hook the modules for the time of the passes."""
        take = self.taker(run)
        with ExitStack() as stack:
            for module in filter(self.is_seen, run.network.modules()):
                stack.callback(module.register_forward_hook(self._hook(run, take)).remove)
            yield

    def _hook(self, run: Run, take: Callable[[nn.Module, torch.Tensor], None]) -> Callable[..., None]:
        def on_output(module: nn.Module, inputs: Any, output: Any) -> None:
            if isinstance(output, torch.Tensor) and not run.tracker.recomputes:
                with run.clock(type(self)), torch.no_grad(), torch._C.DisableTorchFunction():
                    take(module, output.detach())

        return on_output

    def is_seen(self, module: nn.Module) -> bool:
        """Whether a module is looked at."""
        return True

    @abstractmethod
    def taker(self, run: Run) -> Callable[[nn.Module, torch.Tensor], None]:
        """What reduces an output, in one forward pass."""

    def value(self) -> list[float]:
        """One number an output."""
        return self._values


class ModuleCorrelations(ModuleOutputs):
    """Takes the least eigenvalue of the correlation of the channels of the first image, of every module."""

    name = "module_correlations"

    def taker(self, run: Run) -> Callable[[nn.Module, torch.Tensor], None]:
        """All channels."""

        def take(module: nn.Module, output: torch.Tensor) -> None:
            channels = output[0].reshape(len(output[0]), -1)
            self._values.append(_least_eigenvalue(channels))

        return take


class SampledModuleCorrelations(ModuleOutputs):
    """Takes the same of eight channels drawn at random, times the eighth of the number of channels."""

    name = "sampled_module_correlations"

    def taker(self, run: Run) -> Callable[[nn.Module, torch.Tensor], None]:
        """Eight channels, or all where there are fewer."""
        drawing = random.Random(run.streams("channels").initial_seed())

        def take(module: nn.Module, output: torch.Tensor) -> None:
            channels = output[0].reshape(len(output[0]), -1)
            drawn = drawing.sample(range(len(channels)), min(_SAMPLED, len(channels)))
            self._values.append(_least_eigenvalue(channels[drawn]) * len(channels) / len(drawn))

        return take


def _least_eigenvalue(rows: torch.Tensor) -> float:
    if rows.shape[1] < 2:
        return 0.0
    correlation = torch.corrcoef(rows).double().reshape(len(rows), -1).nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
    return float(np.linalg.eigvalsh(correlation.cpu().numpy())[0])


class ModuleRanks(ModuleOutputs):
    """Takes the effective rank of a square block of what each layer and activation function gives."""

    name = "module_ranks"

    def is_seen(self, module: nn.Module) -> bool:
        """What has a weight, and activation functions."""
        return hasattr(module, "weight") or type(module).__module__ == "torch.nn.modules.activation"

    def taker(self, run: Run) -> Callable[[nn.Module, torch.Tensor], None]:
        """As many rows as channels, from a place that is drawn."""
        drawing = np.random.RandomState(run.streams("rows").initial_seed() % 2**32)
        gathered: dict[nn.Module, list[torch.Tensor] | None] = {}

        def take(module: nn.Module, output: torch.Tensor) -> None:
            known = gathered.setdefault(module, [])
            if known is None:
                return
            known.append(output.transpose(1, 3).flatten(0, 2) if output.dim() == 4 else output.flatten(0, -2))
            rows, width = torch.cat(known), output.shape[-1]
            size = rows.shape[1]
            if len(rows) < size:
                return
            gathered[module] = None
            columns = len(rows) // width - 1
            start = int(drawing.randint(0, columns)) * width if columns > 0 else 0
            self._values.append(_effective_rank(rows[start : start + size]))

        return take


def _effective_rank(rows: torch.Tensor) -> float:
    values = torch.linalg.svdvals(rows)
    shares = values / values.sum()
    rank = float(torch.exp(-torch.special.xlogy(shares, shares).sum()))
    return rank if math.isfinite(rank) else 0.0
