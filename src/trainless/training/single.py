"""Train one network, briefly and honestly."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from trainless.data import ImageDataset
from trainless.errors import InputError
from trainless.hardware import limited_threads
from trainless.initialization import initialize
from trainless.seeding import generator, preserve_rng_state
from trainless.training.results import TrainingResult, TrainingState
from trainless.types import Task

if TYPE_CHECKING:
    import torch

__all__ = ["LEARNING_RATE", "check_numbers", "train"]

# With one seed, after 2 and 8 epochs of 2,000 images of CIFAR-10, it was better than 0.01, and than SGD with Nesterov
# momentum at 0.03, 0.1 and 0.3.
LEARNING_RATE = 0.003
_VALID_BATCH = 256


def train(
    network: torch.nn.Module,
    train_set: ImageDataset,
    valid_set: ImageDataset,
    *,
    epochs: int,
    seed: int = 0,
    batch_size: int = 64,
    learning_rate: float = LEARNING_RATE,
    augment: bool = False,
    patience: int | None = None,
    threads: int = 1,
    resume: TrainingState | None = None,
    on_epoch: Callable[[TrainingState], None] | None = None,
) -> TrainingResult:
    """Train a network from weights drawn by the seed, and leave it with those of its best epoch, in eval mode.

    AdamW on the cross-entropy (Loshchilov and Hutter 2019), with a weight decay of 0.05. The learning rate rises for a
    fifth of all steps and falls to 0 along a cosine, so that a training of few epochs is a whole one and not the
    beginning of a longer one (Smith and Topin 2019, "Super-convergence").

    Args:
        network: maps images to one number for each class. Its convolutions, linear layers and normalisations are drawn
            anew, by `trainless.initialization.initialize`; other weights start as they are.
        train_set: images to learn from.
        valid_set: images to choose the best epoch by.
        epochs: most passes over the training images.
        seed: decides weights, order of the images, augmentation and dropout.
        batch_size: most images in a step, at least 2; the batches of an epoch differ by at most one image. Of a few
            hundred images 16 learn faster.
        learning_rate: the highest one.
        augment: mirror and shift the training images at random. For photographs: a mirrored 2 is no 2.
        patience: stop after this many epochs without a higher validation accuracy; None never stops.
        threads: threads that PyTorch may use for one operation; another number may change the last digits.
        resume: where an earlier call with the same arguments stood; the result is that of one call, but for seconds.
        on_epoch: called after each epoch with the state, from which the same call can go on.

    Raises:
        InputError: an argument cannot be used, or network and images do not fit together.

    Example:
        >>> from trainless.data import load_data, split
        >>> from trainless.search_spaces import search_space
        >>> space = search_space("nasbench201", channels=4, cells=1)
        >>> train_set, valid_set = split(load_data("digits"), 0.2)
        >>> network = space.build(space[100], train_set.task)
        >>> train(network, train_set, valid_set, epochs=2).valid_accuracy > 30
        True
    """
    import torch

    # Lightning takes seconds to import.
    from trainless.training.batches import Batches
    from trainless.training.course import Course, fit

    check_numbers(epochs=epochs, batch_size=batch_size, learning_rate=learning_rate, patience=patience)
    _check_sets(train_set, valid_set)
    with preserve_rng_state(), limited_threads(threads):
        _check_network(network, train_set.task)
        if resume is None:
            initialize(network, generator=generator(seed, "weights"))
        else:
            _restore(network, resume)
        network.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        state = fit(
            Course(
                network, Batches(train_set, batch_size), Batches(valid_set, _VALID_BATCH), epochs=epochs, seed=seed,
                learning_rate=learning_rate, augment=augment, patience=patience, resume=resume, on_epoch=on_epoch,
            )
        )  # fmt: skip
    network.to(memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
    network.load_state_dict(state.best_weights)
    accuracies = tuple(state.valid_accuracies)
    return TrainingResult(
        max(accuracies), state.epochs, state.best_epoch, state.seconds, tuple(state.train_losses), accuracies
    )


def check_numbers(*, epochs: int, batch_size: int, learning_rate: float, patience: int | None) -> None:
    """Refuse what no training can do, before any work is done.

    Raises:
        InputError: a number is not above 0, or a batch would have one image alone.

    Example:
        >>> check_numbers(epochs=0, batch_size=64, learning_rate=0.01, patience=None)
        Traceback (most recent call last):
            ...
        trainless.errors.InputError: epochs is 0, expected a finite number above 0.
    """
    numbers = {"epochs": epochs, "learning_rate": learning_rate, "patience": patience}
    for name, value in numbers.items():
        if value is not None and not 0 < value < math.inf:
            raise InputError(f"{name} is {value}, expected a finite number above 0.")
    if not 2 <= batch_size < math.inf:
        raise InputError(f"batch_size is {batch_size}, expected at least 2: batch normalisation compares images.")


def _restore(network: torch.nn.Module, state: TrainingState) -> None:
    try:
        network.load_state_dict(state.weights)
    except RuntimeError as error:
        raise InputError(
            f"The state to go on from is of another network than this {type(network).__name__} "
            f"({' '.join(str(error).split())}): give the network that it was taken of."
        ) from error


def _check_sets(train_set: ImageDataset, valid_set: ImageDataset) -> None:
    expected, given = (
        (each.task.input_shape, each.task.classes, each.mean, each.std) for each in (train_set, valid_set)
    )
    if expected != given:
        raise InputError(
            f"The images to validate with have shape, classes, mean and deviation {given}, but those to train on "
            f"{expected}: split one data set in two, or prepare both alike."
        )


def _check_network(network: torch.nn.Module, task: Task) -> None:
    """Refuse a network that does not map images of the task to one number for each class, or that cannot learn."""
    import torch

    images = torch.zeros(2, *task.input_shape)
    try:
        with torch.enable_grad():
            numbers = network.eval()(images)
        given, learns = str(tuple(numbers.shape)), numbers.requires_grad
    except Exception as error:
        given, learns = f"an error ({' '.join(str(error).split())})", True
    if given != str((2, task.classes)):
        raise InputError(
            f"The {type(network).__name__} makes of images of shape {tuple(images.shape)} {given}, expected "
            f"{(2, task.classes)}: give a network that is built for '{task.name}'."
        )
    if not learns:
        raise InputError(f"The {type(network).__name__} makes its output without any trainable weight: give it one.")
