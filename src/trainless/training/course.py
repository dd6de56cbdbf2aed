"""The course of one training, by Lightning, with all switched off that writes, prints or decides by itself."""

from __future__ import annotations

import copy
import logging
import math
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import lightning as L
import torch
from lightning.pytorch.plugins.environments import LightningEnvironment  # type: ignore[attr-defined]

from trainless.seeding import derive_seed
from trainless.training.batches import Batches
from trainless.training.results import TrainingState

__all__ = ["Course", "fit", "learning_rate_at"]

_WEIGHT_DECAY = 0.05
_WARM_UP = 0.2  # share of all steps in which the learning rate rises


def learning_rate_at(step: int, steps: int, highest: float) -> float:
    """Compute the learning rate of a step: a straight rise in the first fifth of all steps, then a cosine to 0.

    Args:
        step: counted from 0.
        steps: number of all steps.
        highest: the learning rate at the end of the rise.

    Example:
        >>> [round(learning_rate_at(step, 10, 1.0), 3) for step in (0, 1, 2, 6, 9)]
        [0.5, 1.0, 1.0, 0.5, 0.038]
    """
    rise = _WARM_UP * steps
    if step + 1 <= rise:
        return highest * (step + 1) / rise
    return highest * (1 + math.cos(math.pi * (step - rise) / (steps - rise))) / 2


class Course(L.LightningModule):
    """One training from its first epoch to its last, or from the state that an earlier one left.

    Args:
        network: what is trained, in train mode.
        train_images: what it learns from.
        valid_images: what it is measured on after each epoch.
        epochs: most epochs, those of `resume` included.
        seed: decides the order of the images, augmentation and dropout, for each epoch anew.
        learning_rate: the highest one.
        augment: mirror and shift the images to learn from.
        patience: stop after this many epochs without a higher accuracy.
        resume: where an earlier training stood.
        on_epoch: called after each epoch.
    """

    def __init__(
        self,
        network: torch.nn.Module,
        train_images: Batches,
        valid_images: Batches,
        *,
        epochs: int,
        seed: int,
        learning_rate: float,
        augment: bool,
        patience: int | None,
        resume: TrainingState | None,
        on_epoch: Callable[[TrainingState], None] | None,
    ) -> None:
        super().__init__()
        self.network, self.train_images, self.valid_images = network, train_images, valid_images
        self.epochs, self.seed, self.highest_rate = epochs, seed, learning_rate
        self.augment, self.patience, self.on_epoch = augment, patience, on_epoch
        self.standing = resume or TrainingState({}, {}, {}, [], [], 0.0)
        self.start = time.monotonic() - self.standing.seconds
        self.handler = signal.getsignal(signal.SIGTERM)

    @property
    def done(self) -> int:
        """Number of epochs so far."""
        return self.standing.epochs

    @property
    def finished(self) -> bool:
        """Whether all epochs are done, or the last ones brought nothing."""
        patience = self.epochs if self.patience is None else self.patience
        return self.done > 0 and (self.done >= self.epochs or self.done - self.standing.best_epoch >= patience)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Make the optimizer, with the moments that it had where the training goes on."""
        self.optimizer = torch.optim.AdamW(self.network.parameters(), self.highest_rate, weight_decay=_WEIGHT_DECAY)
        if self.done:
            self.optimizer.load_state_dict(copy.deepcopy(dict(self.standing.optimizer)))
        return self.optimizer

    def train_dataloader(self) -> Batches:
        """Give the images to learn from in the order of this epoch."""
        return self.train_images.shuffled(derive_seed(self.seed, "images", self.done), self.augment)

    def val_dataloader(self) -> Batches:
        """Give the images to validate with."""
        return self.valid_images

    def on_train_start(self) -> None:
        """Take SIGTERM back from Lightning, which would go on for a while and then exit as if all were well."""
        _give_back(signal.SIGTERM, self.handler)

    def on_train_epoch_start(self) -> None:
        """Set the global random state, from which dropout draws, and all counts of the epoch."""
        torch.manual_seed(derive_seed(self.seed, "dropout", self.done))
        self.loss, self.learned, self.right, self.judged = 0.0, 0, 0, 0

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], number: int) -> torch.Tensor:
        """Compute the mean cross-entropy of a batch of logits, shape ``(images, classes)``."""
        step, steps = (len(self.train_images) * epochs for epochs in (self.done, self.epochs))
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate_at(step + number, steps, self.highest_rate)
        images, labels = batch
        loss = torch.nn.functional.cross_entropy(self.network(images), labels)
        self.loss, self.learned = self.loss + float(loss.detach()) * len(labels), self.learned + len(labels)
        return loss

    def validation_step(self, batch: tuple[torch.Tensor, torch.Tensor], _: int) -> None:
        """Count the images whose class has the highest number."""
        images, labels = batch
        self.right += int((self.network(images).argmax(1) == labels).sum())
        self.judged += len(labels)

    def on_train_epoch_end(self) -> None:
        """Note where the training stands, hand it on, and stop where enough is done; validation came before."""
        before, accuracy = self.standing, 100 * self.right / self.judged
        weights = {name: value.detach().clone() for name, value in self.network.state_dict().items()}
        is_best = accuracy > max(before.valid_accuracies, default=-math.inf)
        self.standing = TrainingState(
            weights=weights,
            best_weights=weights if is_best else before.best_weights,
            optimizer=copy.deepcopy(self.optimizer.state_dict()),
            train_losses=[*before.train_losses, self.loss / self.learned],
            valid_accuracies=[*before.valid_accuracies, accuracy],
            seconds=time.monotonic() - self.start,
        )
        if self.on_epoch:
            self.on_epoch(self.standing)
        self.trainer.should_stop = self.finished


def fit(course: Course) -> TrainingState:
    """Run a course to its end."""
    if not course.finished:
        with _quiet(), _interruptible():
            L.Trainer(
                accelerator="cpu",
                devices=1,
                plugins=[LightningEnvironment()],  # one process, whatever cluster it may be on
                max_epochs=course.epochs - course.done,
                reload_dataloaders_every_n_epochs=1,
                num_sanity_val_steps=0,
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
            ).fit(course)
    return course.standing


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning from telling about devices and tips, and PyTorch from warning of what Lightning uses."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning)
            warnings.filterwarnings("ignore", "GPU available but not used")
            yield
    finally:
        logger.setLevel(level)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let an interrupt from the keyboard through: Lightning makes it an exit and ignores all that come after it."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as left:
        if isinstance(left.__context__, KeyboardInterrupt):
            raise left.__context__ from None
        raise
    finally:
        _give_back(signal.SIGINT, handler)


def _give_back(number: signal.Signals, handler: Any) -> None:
    """Let a signal be handled as before; only the main thread may, and a handler that is not of Python cannot be."""
    if handler is not None and threading.current_thread() is threading.main_thread():
        signal.signal(number, handler)
