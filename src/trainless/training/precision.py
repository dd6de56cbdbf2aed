"""Seconds of a step of training, and the precision in which a network takes fewer."""

from __future__ import annotations

import copy
import time

import torch

from trainless.training.convolutions import mended_convolutions
from trainless.training.devices import Devices
from trainless.training.recipes import Recipe

__all__ = ["faster_precision", "few_seconds", "step_seconds"]

_SECONDS = 1.0  # for all measurements of a network
_STEPS = 10
_FEW = 4  # images of a first step
_PRECISIONS = ("32-true", "bf16-mixed")


def faster_precision(
    network: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor, recipe: Recipe,
    devices: Devices | None = None, *, most: float = _SECONDS,
) -> str:  # fmt: skip
    """Measure in which precision a training step of a network is faster: ``"32-true"`` or ``"bf16-mixed"``.

    A copy is trained for about a second at most, in turns, by so many of the images that there is time for several
    steps. The shortest step of each counts; bfloat16 has to be faster.

    Args:
        network: in train mode, on the CPU.
        images: a batch, shape ``(images, channels, height, width)``.
        labels: their classes.
        recipe: has the optimizer.
        devices: where it is to train; None is the CPU.
        most: seconds after which no further step is begun; there are two of few images and two more at least.

    Example:
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        >>> found = faster_precision(network, torch.zeros(4, 1, 2, 2), torch.zeros(4, dtype=torch.long), Recipe())
        >>> found in ("32-true", "bf16-mixed")
        True
    """
    device = torch.device("cuda" if devices is not None and devices.accelerator == "gpu" else "cpu")
    trials = {precision: _Trial(network, recipe, precision, device) for precision in _PRECISIONS}
    start = time.perf_counter()
    for _ in range(2):  # the first steps take longer
        few = max(_timed(trial, images[:_FEW], labels[:_FEW]) for trial in trials.values())
    count = min(len(images), max(_FEW, int(_FEW * most / (_STEPS * few))))
    shortest = dict.fromkeys(trials, float("inf"))
    for number in range(_STEPS):
        for precision, trial in trials.items():
            seconds = _timed(trial, images[:count], labels[:count])
            if number:
                shortest[precision] = min(shortest[precision], seconds)
        if number and time.perf_counter() - start > most:
            break
    return min(_PRECISIONS, key=shortest.__getitem__)


def step_seconds(
    network: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor, recipe: Recipe, precision: str = "32-true",
    *, most: float = 0.5,
) -> float:  # fmt: skip
    """Measure the shortest training step of a copy of a network on the CPU, in seconds.

    Before it comes a step of few images, in which memory is allocated and threads begin.

    Args:
        network: in train mode.
        images: a batch, shape ``(images, channels, height, width)``.
        labels: their classes.
        recipe: has the optimizer.
        precision: ``"32-true"`` or ``"bf16-mixed"``.
        most: seconds after which no further step is begun; there is one at least, which does not count if there are
            more.

    Example:
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        >>> step_seconds(network, torch.zeros(4, 1, 2, 2), torch.zeros(4, dtype=torch.long), Recipe()) < 1
        True
    """
    trial, start, times = _Trial(network, recipe, precision, torch.device("cpu")), time.perf_counter(), list[float]()
    _timed(trial, images[:_FEW], labels[:_FEW])
    while not times or (len(times) <= _STEPS and time.perf_counter() - start < most):
        times.append(_timed(trial, images, labels))
    return min(times[1:] or times)


def few_seconds(network: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor, recipe: Recipe) -> float:
    """Measure one training step of a copy of a network with four images at most on the CPU, in seconds.

    It is the first of the copy, and so takes longer than others: where it takes long, all else does.

    Example:
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        >>> few_seconds(network, torch.zeros(9, 1, 2, 2), torch.zeros(9, dtype=torch.long), Recipe()) < 1
        True
    """
    return _timed(_Trial(network, recipe, "32-true", torch.device("cpu")), images[:_FEW], labels[:_FEW])


class _Trial:
    """A copy of a network that learns."""

    def __init__(self, network: torch.nn.Module, recipe: Recipe, precision: str, device: torch.device) -> None:
        self.network, self.device = copy.deepcopy(network).train().to(device), device
        self.optimizer = recipe.make_optimizer(self.network)
        self.is_mixed = precision == "bf16-mixed"

    def step(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        """Learn once from a batch."""
        autocast = torch.autocast(self.device.type, torch.bfloat16, enabled=self.is_mixed)
        with torch.enable_grad(), mended_convolutions(self.network), autocast:
            loss = torch.nn.functional.cross_entropy(self.network(images), labels)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def _timed(trial: _Trial, images: torch.Tensor, labels: torch.Tensor) -> float:
    images, labels = images.to(trial.device), labels.to(trial.device)
    start = time.perf_counter()
    trial.step(images, labels)
    return time.perf_counter() - start
