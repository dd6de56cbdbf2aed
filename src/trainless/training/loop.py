"""The training loop, in plain sight; Lightning Fabric places it on devices, in processes and in a precision."""

from __future__ import annotations

import copy
import logging
import math
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.strategies.ddp import DDPStrategy

from trainless.seeding import derive_seed
from trainless.training.averages import AveragedNetwork
from trainless.training.batches import Batches, alternately_mirrored
from trainless.training.devices import Devices
from trainless.training.distributed import Joined, agreed, backend_of, join, summed
from trainless.training.losses import smoothed_cross_entropy
from trainless.training.measures import Measure
from trainless.training.precision import faster_precision
from trainless.training.recipes import Recipe
from trainless.training.results import TrainingState

__all__ = ["Loop", "fit"]

_RECENT = 3  # epochs whose time says how long the next ones take
_KEPT = 0.95  # share of the time that is planned for: the last epoch, at the lowest rates, is not to be late
_GRACE = 0.25  # of an epoch, which it may be late before it is left
_PART = 0.25  # of an epoch, from which on it is worth its validation
_TELLING = 4  # steps of the first epoch that tell how long it takes, where nothing else does; the very first is slower
_WHOLE = 1 - 1e-9  # a schedule of so much is done


class Loop:
    """The training loop of a network, from the first epoch or a state to the last.

    Of several processes each is given all images, and computes its share of every batch.

    Args:
        network: what is trained, in train mode.
        train_images: what it learns from.
        valid_images: what it is measured on after each epoch.
        epochs: most epochs, those of `resume` included.
        seed: decides the order of the images, augmentation and dropout, for each epoch anew.
        recipe: how it learns.
        measure: what is to be high on the images that it is measured on.
        weights: of the classes in the loss; None weighs them alike.
        deadline: value of `time.monotonic` after which no epoch shall end; None never stops for it. With one, the
            schedule of the learning rate is laid anew before each epoch over as many as there is time for, of which
            the last may be a part of one.
        epoch_seconds: how long an epoch may take, as a guess before the first one tells; None lets its first steps do,
            where there are more than a few.
        patience: stop after this many epochs without a higher measure.
        until: stop after this many epochs of the schedule for all.
        resume: where an earlier training stood.
        on_epoch: called after each epoch, by the first process.
    """

    def __init__(
        self,
        network: torch.nn.Module,
        train_images: Batches,
        valid_images: Batches,
        *,
        epochs: int,
        seed: int,
        recipe: Recipe,
        measure: Measure,
        weights: torch.Tensor | None,
        deadline: float | None,
        epoch_seconds: float | None,
        patience: int | None,
        until: int | None,
        resume: TrainingState | None,
        on_epoch: Callable[[TrainingState], None] | None,
    ) -> None:
        self.network, self.train_images, self.valid_images = network, train_images, valid_images
        self.epochs, self.seed, self.recipe, self.measure = epochs, seed, recipe, measure
        self.weights, self.deadline, self.patience, self.on_epoch = weights, deadline, patience, on_epoch
        self.last = epochs if until is None else min(epochs, until)
        self.standing = resume or TrainingState({}, {}, {}, [], [], [], 0.0)
        self.averaged = AveragedNetwork(network, recipe.average) if recipe.average else None
        if self.averaged and self.standing.averaged_weights:
            self.averaged.network.load_state_dict(self.standing.averaged_weights)
        self.start = time.monotonic() - self.standing.seconds
        self.epoch_seconds = epoch_seconds
        self.precision = self.standing.precision
        self.begun = list[float]()  # when the epochs of this run began

    @property
    def done(self) -> int:
        """Number of epochs so far."""
        return self.standing.epochs

    @property
    def finished(self) -> bool:
        """Whether the schedule is done, the last epochs brought nothing, or the time does not suffice for another."""
        patience = self.epochs if self.patience is None else self.patience
        waited = self.done - self.standing.best_epoch if self.done else 0
        is_whole = self.done >= self.last or self.standing.progress > _WHOLE
        return self.done > 0 and (is_whole or waited >= patience or self._affordable() < _PART)

    def _affordable(self) -> float:
        """How many more epochs there is time for; infinite where nothing tells how long they take."""
        now, latest = time.monotonic(), self.begun[-_RECENT:]
        if latest:
            epoch_seconds = (now - latest[0]) / len(latest)
        else:
            epoch_seconds = self.standing.seconds / self.done if self.done else self.epoch_seconds or 0.0
        return math.inf if self.deadline is None or not epoch_seconds else (self.deadline - now) / epoch_seconds

    def _share_of_epoch(self, affordable: float) -> float:
        """Which share of the schedule all images are next, so that it is done with the last there is time for."""
        affordable = max(_PART, _KEPT * affordable)
        left = min(self.epochs - self.done, affordable)
        if left > 1 and left % 1 < _PART:
            left = int(left)
        return (1 - self.standing.progress) / left

    @property
    def _is_first(self) -> bool:
        """Whether no epoch of the schedule is done."""
        return not self.done

    def _reckon(self, number: int) -> None:
        """Lay the schedule over what there is time for by the first steps, where nothing told how long they take.

        Validation comes on top, which the next epochs reckon with.
        """
        if number == 0:
            self.first_step = time.monotonic()
        elif number == _TELLING:
            step = (time.monotonic() - self.first_step) / _TELLING
            left = ((self.deadline or math.inf) - self.begun[-1]) / (step * len(self.train_images))
            self.share = self._agreed(self._share_of_epoch(left))

    def _is_whole(self, number: int) -> bool:
        """Whether the schedule ends before a step of this epoch."""
        done: float = self.standing.progress + self.share * number / len(self.train_images)
        return done > _WHOLE

    def _is_over(self) -> bool:
        """Whether an epoch has to be left in its midst: the first one at the deadline, later ones soon after."""
        if self.deadline is None or self._is_shared:
            return False
        grace = _GRACE * self.standing.seconds / self.done if self.done else 0.0
        return self.learned > 0 and time.monotonic() > self.deadline + grace

    def run(self, fabric: Fabric) -> None:
        """Train epoch after epoch, on the devices of a fabric."""
        self.fabric = fabric
        # PyTorch has synchronised batch normalisation for GPUs alone.
        several_gpus = fabric.world_size > 1 and fabric.device.type == "cuda"
        with synchronised(self.network) if several_gpus else nullcontext():
            self.network.to(fabric.device)
            optimizer = self.recipe.make_optimizer(self.optimized)
            if self.done:
                optimizer.load_state_dict(copy.deepcopy(dict(self.standing.optimizer)))
            self.shared, self.optimizer = fabric.setup(self.network, optimizer)
            if self.averaged:
                self.averaged.to(fabric.device)
            is_finished = self.done >= self.epochs
            while not is_finished:
                self._begin_epoch()
                is_left = self._learn()
                is_finished = self._end_epoch(is_left) or self.done >= self.epochs

    def _begin_epoch(self) -> None:
        """Set the global random state, from which dropout draws, and all counts of the epoch."""
        process = [self.fabric.global_rank] if self.fabric.global_rank else []  # the first one draws as one alone
        torch.manual_seed(derive_seed(self.seed, "dropout", self.done, *process))
        self.share = self._agreed(self._share_of_epoch(self._affordable()))
        self.begun.append(time.monotonic())
        self.loss, self.learned, self.steps = 0.0, 0, 0

    def _learn(self) -> bool:
        """Take the steps of an epoch; tell whether it was left where the time or the schedule is over."""
        is_timed = self.deadline is not None and not math.isinf(self.deadline)
        is_reckoning = is_timed and self._is_first and self.epoch_seconds is None
        with torch.enable_grad():
            for number, (images, targets) in enumerate(self._ordered()):
                if self._is_over() or self._is_whole(number):
                    return True
                self._step(number, *self.fabric.to_device((images, targets)))
                if is_reckoning:
                    self._reckon(number)
        return False

    def _ordered(self) -> Batches:
        """The images to learn from in the order of this epoch."""
        images, seed = self.train_images, derive_seed(self.seed, "images", self.done)
        mirrored = alternately_mirrored(images.count, self.done, self.seed) if self.recipe.alternating else None
        return images.shuffled(seed, self.recipe, mirrored)

    def _step(self, number: int, images: torch.Tensor, targets: torch.Tensor) -> None:
        """Learn from a batch; targets are classes, or class probabilities."""
        steps = len(self.train_images) / self.share
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.rate_at(self.standing.progress * steps + number, steps)
        with self.fabric.autocast():
            loss = self._loss(images, targets)
        self.optimizer.zero_grad()
        self.fabric.backward(loss)
        self.optimizer.step()
        self.loss, self.learned = self.loss + float(loss.detach()) * len(targets), self.learned + len(targets)
        self.steps = number + 1
        if self.averaged:
            step = self.share / len(self.train_images)
            self.averaged.update(self.network, step, self.standing.progress + (number + 1) * step)

    def _loss(self, images: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The loss of this process: the mean over all processes, as of gradients, is that of the whole batch."""
        weights = None if self.weights is None else self.weights.to(images.device)
        own_images, own = self._share(images), self._share(targets)
        loss = self._loss_of(self.shared(own_images), own_images, own, weights)
        if not self._is_shared:
            return loss
        # What the mean was taken over: images, or the weights of their classes.
        count, whole = (
            float(len(labels) if weights is None or labels.is_floating_point() else weights[labels].sum())
            for labels in (own, targets)
        )
        return loss * (self.fabric.world_size * count / whole)

    def _loss_of(
        self, logits: torch.Tensor, images: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None
    ) -> torch.Tensor:
        """The mean loss of what this process has of a batch."""
        return smoothed_cross_entropy(logits, targets, weights, self.recipe.label_smoothing)

    def _share(self, batch: torch.Tensor) -> torch.Tensor:
        """What this process has of a batch."""
        return batch.tensor_split(self.fabric.world_size)[self.fabric.global_rank]

    def _validate(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute the logits of the images to validate with, in float32 whatever it is trained in, and their labels."""
        # The mean of what the processes know of the images that they met, for batch normalisation.
        for buffer in (*self.network.buffers(), *(self.averaged.buffers() if self.averaged else ())):
            if self._is_shared and buffer.is_floating_point():
                summed(buffer).div_(self.fabric.world_size)
        logits, labels = list[torch.Tensor](), list[torch.Tensor]()
        with evaluated(self.validated), torch.inference_mode():
            for batch in self.valid_images:
                images, own = self.fabric.to_device(batch)
                logits.append(self._logits(images))
                labels.append(own)
        return torch.cat(logits).cpu(), torch.cat(labels).cpu()

    def _logits(self, images: torch.Tensor) -> torch.Tensor:
        if not self._is_shared or len(images) < self.fabric.world_size:
            return self.validated(images)  # type: ignore[no-any-return]
        own = self.validated(self._share(images))
        whole = own.new_zeros(len(images), *own.shape[1:])
        self._share(whole).copy_(own)
        return summed(whole)

    def _end_epoch(self, is_left: bool) -> bool:
        """Validate, note where the training stands and hand it on; tell whether enough is done."""
        if is_left and not self._is_first and not self._is_whole(self.steps):
            return True  # left in its midst: the training stands where the last epoch ended
        self._note_epoch()
        before, (logits, labels) = self.standing, self._validate()
        accuracy = 100 * float((logits.argmax(1) == labels).double().mean())
        accuracy, measured = self._agreed((accuracy, self.measure(logits, labels)))
        weights = _copied(self.network.state_dict())
        averaged = _copied(self.averaged.network.state_dict()) if self.averaged else {}
        is_best = measured > max(before.valid_measures, default=-math.inf)
        self.standing = TrainingState(
            weights=weights,
            averaged_weights=averaged,
            best_weights=(averaged or weights) if is_best else before.best_weights,
            optimizer=_copied(self.optimizer.state_dict()),
            train_losses=[*before.train_losses, self._mean_loss()],
            valid_accuracies=[*before.valid_accuracies, accuracy],
            valid_measures=[*before.valid_measures, measured],
            seconds=time.monotonic() - self.start,
            progress=min(1.0, before.progress + self.share),
            precision=self.precision,
            part=self.steps / len(self.train_images),
        )
        if self.on_epoch and self.fabric.global_rank == 0:
            self.on_epoch(self.standing)
        return bool(self._agreed(self.finished))

    def _note_epoch(self) -> None:
        """Do what else belongs to an epoch that counts, before it is validated."""

    def _mean_loss(self) -> float:
        mean = self.loss / self.learned
        if not self._is_shared:
            return mean
        return (
            float(summed(torch.tensor(mean, dtype=torch.float64, device=self.fabric.device))) / self.fabric.world_size
        )

    @property
    def optimized(self) -> torch.nn.Module:
        """The part of the network that the recipe's optimizer learns."""
        return self.network

    @property
    def validated(self) -> torch.nn.Module:
        """The network whose weights are validated and kept."""
        return self.averaged or self.network

    @property
    def _is_shared(self) -> bool:
        """Whether there are several processes: one alone takes no part in a group that it may be in."""
        return self.fabric.world_size > 1

    def _agreed(self, value: Any) -> Any:
        return agreed(value) if self._is_shared else value


def _copied(value: Any) -> Any:
    """A state of tensors and plain containers, copied to the memory of the CPU."""
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {name: _copied(item) for name, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value


@contextmanager
def evaluated(network: torch.nn.Module) -> Iterator[None]:
    """Have a network in evaluation mode for a while; each of its modules is in the mode that it was in, afterwards."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


@contextmanager
def synchronised(network: torch.nn.Module) -> Iterator[None]:
    """Have batch normalisations take the statistics of all processes for a while; a network's own modules come back.

    Example:
        >>> network = torch.nn.Sequential(torch.nn.BatchNorm2d(2))
        >>> with synchronised(network):
        ...     type(network[0]).__name__
        'SyncBatchNorm'
        >>> type(network[0]).__name__
        'BatchNorm2d'
    """
    kind = torch.nn.modules.batchnorm._BatchNorm
    originals = {name: module for name, module in network.named_modules() if isinstance(module, kind)}
    torch.nn.SyncBatchNorm.convert_sync_batchnorm(network)
    try:
        yield
    finally:
        # Weights and statistics are the same tensors.
        for name, module in originals.items():
            network.set_submodule(name, module)


def fit(loop: Loop, devices: Devices) -> TrainingState:
    """Run a loop to its end; where it has several processes, each of them calls this."""
    is_finished = loop.finished
    if devices.processes > 1:
        join(devices)
        is_finished = agreed(is_finished)
    if not is_finished:
        loop.precision = _precision(loop, devices)
        with _quiet():
            fabric = Fabric(
                accelerator="cuda" if devices.accelerator == "gpu" else "cpu",
                devices=devices.devices,
                num_nodes=devices.nodes,
                strategy=_strategy(loop, devices),
                precision=loop.precision,  # type: ignore[arg-type]
                # One process alone stays alone, whatever cluster it may be on.
                plugins=[Joined() if devices.processes > 1 else LightningEnvironment()],
            )
        fabric.launch()
        loop.run(fabric)
    return loop.standing


def _precision(loop: Loop, devices: Devices) -> str:
    """What was asked for, or had been chosen, or is measured to be faster."""
    if devices.precision != "auto":
        return devices.precision
    known = loop.standing.precision if loop.done else ""
    found = known or faster_precision(loop.network, *next(iter(loop.train_images)), loop.recipe, devices)
    return agreed(found) if devices.processes > 1 else found


def _strategy(loop: Loop, devices: Devices) -> DDPStrategy | str:
    if devices.processes == 1:
        return "auto"
    # Each process has its own running statistics within an epoch: validation takes their mean.
    return DDPStrategy(
        find_unused_parameters=_has_idle_weights(loop),
        forward_sync_buffers=False,
        process_group_backend=backend_of(devices),
    )


def _has_idle_weights(loop: Loop) -> bool:
    """Whether there are weights that lead nowhere: the processes have to look for them then, which costs time."""
    images, _ = next(iter(loop.train_images))
    weights = [weight for weight in loop.network.parameters() if weight.requires_grad]
    with evaluated(loop.network), torch.enable_grad():
        total = loop.network(images[:2]).sum()
    return any(gradient is None for gradient in torch.autograd.grad(total, weights, allow_unused=True))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning from telling of precision and devices."""
    logger = logging.getLogger("lightning_fabric")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "GPU available but not used")
            yield
    finally:
        logger.setLevel(level)
