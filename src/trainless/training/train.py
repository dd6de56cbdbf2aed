"""Training of one network, with early stopping, deadlines and resumption."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from trainless.data import ImageDataset
from trainless.errors import InputError
from trainless.hardware import limited_threads
from trainless.initialization import derive_from_data, initialize
from trainless.seeding import generator, preserve_rng_state
from trainless.training.devices import Devices
from trainless.training.measures import measure_named
from trainless.training.recipes import Recipe
from trainless.training.results import TrainingResult, TrainingState
from trainless.types import Task

if TYPE_CHECKING:
    import torch

    from trainless.training.loop import Loop

__all__ = ["check_minutes", "check_numbers", "check_shares", "finished", "nearly_as_good", "train"]

_VALID_BATCH = 256


def train(
    network: torch.nn.Module,
    train_set: ImageDataset,
    valid_set: ImageDataset,
    *,
    epochs: int,
    seed: int = 0,
    recipe: Recipe | None = None,
    measure: str = "accuracy",
    patience: int | None = None,
    deadline: float | None = None,
    epoch_seconds: float | None = None,
    until: int | None = None,
    threads: int = 1,
    resume: TrainingState | None = None,
    on_epoch: Callable[[TrainingState], None] | None = None,
    prefer_last: bool = False,
    keep_weights: bool = False,
    adapt_statistics: bool = False,
    devices: Devices | None = None,
    log_folder: str | os.PathLike[str] | None = None,
    loop: Callable[..., Loop] | None = None,
) -> TrainingResult:
    """Train a network from weights drawn by the seed, and leave it with those of its best epoch, in eval mode.

    Args:
        network: maps images to one number for each class. Its convolutions, linear layers and normalisations are drawn
            anew, by `trainless.initialization.initialize`, but those that are frozen; a whitening layer takes its
            weights from the training images; other weights start as they are.
        train_set: images to learn from.
        valid_set: images to choose the best epoch by.
        epochs: most passes over the training images.
        seed: decides weights, order of the images, augmentation and dropout.
        recipe: optimizer, schedule and augmentation; None is `Recipe()`.
        measure: what decides the best epoch, a name of `trainless.training.MEASURES`.
        patience: stop after this many epochs without a higher measure; None never stops.
        deadline: value of `time.monotonic` after which no epoch shall end. Before each epoch the schedule of the
            learning rate is laid over what there is still time for, at most `epochs` in all, so it is done in time;
            the last epoch may be of fewer images, and so may be the first and only one.
        epoch_seconds: how long an epoch may take, as a guess before the first one tells; None lets its first steps do,
            where there are more than a few.
        until: leave after this many epochs, those with which a training of all `epochs` begins; None runs all.
        threads: threads that PyTorch may use for one operation, of each process; another number may change the last
            digits.
        resume: where an earlier call with the same arguments stood; the result is that of one call, but for seconds.
        on_epoch: called after each epoch with the state, from which the same call can go on.
        prefer_last: leave the weights of the last epoch, unless the best is better by more than one standard error: the
            schedule ends with the last, and among many epochs one is the best by luck.
        keep_weights: start from the weights that the network has, in place of drawn ones, and keep the statistics of
            its batch normalisations: those of small batches would undo what was learnt before.
        adapt_statistics: let these statistics change all the same, as layers need that are new in the network.
        devices: where it trains; None is one process of the CPU in float32. Of several processes on one machine this
            one starts the others, and ends them where `on_epoch` raises. Where torchrun or SLURM started this one, each
            process makes the same call and gets the same result, and the first alone calls `on_epoch` and writes logs;
            what `on_epoch` raises has to end that process then.
        log_folder: where events for TensorBoard are written; None writes none.
        loop: what a step and a validation are; None is `trainless.training.loop.Loop`.

    Raises:
        InputError: an argument cannot be used, or network and images do not fit together.
        ScoringError: a process that this one started died.

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
    from trainless.training import loop as loops
    from trainless.training.batches import Batches, batch_count
    from trainless.training.convolutions import mended_convolutions
    from trainless.training.distributed import is_launched
    from trainless.training.logs import logged
    from trainless.training.processes import train_in_processes

    check_numbers(epochs=epochs, patience=patience)
    check_numbers(epochs=epochs if until is None else until, patience=None)
    chosen, measured = recipe or Recipe(), measure_named(measure, train_set.task.classes)
    weights = _class_weights(train_set) if chosen.balanced else None
    _check_sets(train_set, valid_set)
    resolved, steps = (devices or Devices()).resolved(), batch_count(len(train_set), chosen.batch_size)
    check_shares(resolved, len(train_set), chosen.batch_size)
    with preserve_rng_state(), limited_threads(threads):
        _check_network(network, train_set.task)
        if resume is not None:
            _restore(network, resume)
        elif not keep_weights:
            initialize(network, generator=generator(seed, "weights"))
            derive_from_data(network, train_set)
        with logged(log_folder, chosen, epochs, steps, measure, resume, on_epoch) as told:
            if resolved.nodes == 1 < resolved.devices and not is_launched():
                state = train_in_processes(
                    train, network, resolved,
                    {
                        "train_set": train_set, "valid_set": valid_set, "epochs": epochs, "seed": seed,
                        "recipe": chosen, "measure": measure, "patience": patience, "deadline": deadline,
                        "epoch_seconds": epoch_seconds, "threads": threads, "until": until,
                        "keep_weights": keep_weights, "adapt_statistics": adapt_statistics, "loop": loop,
                    },
                    resume, told,
                )  # fmt: skip
            else:
                network.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
                if keep_weights and not adapt_statistics:
                    _freeze_statistics(network)
                made = (loop or loops.Loop)(
                    network, Batches(train_set, chosen.batch_size), Batches(valid_set, _VALID_BATCH), epochs=epochs,
                    seed=seed, recipe=chosen, measure=measured, weights=weights,
                    deadline=deadline, epoch_seconds=epoch_seconds, patience=patience, until=until, resume=resume,
                    on_epoch=told,
                )  # fmt: skip
                with mended_convolutions(network):
                    state = loops.fit(made, resolved)
    return finished(network, state, measure, images=len(valid_set) if prefer_last else None)


def finished(
    network: torch.nn.Module, state: TrainingState, measure: str = "accuracy", *, images: int | None = None
) -> TrainingResult:
    """Give a network the weights of the best epoch of a training, in eval mode, and say what this came to.

    Args:
        network: of the training.
        state: where the training stands.
        measure: what decided.
        images: number of images that it was measured on; None takes the best epoch whatever it is better by, a number
            prefers the last one, as for `train`.
    """
    import torch

    network.to(device="cpu", memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
    accuracies, best, weights = tuple(state.valid_accuracies), state.best_epoch, state.best_weights
    if images and state.valid_measures[-1] >= nearly_as_good(max(state.valid_measures), measure, images):
        best, weights = state.epochs, state.validated_weights
    network.load_state_dict(weights)
    return TrainingResult(
        accuracies[best - 1], state.epochs, best, state.seconds, tuple(state.train_losses), accuracies,
        None if measure == "accuracy" else state.valid_measures[best - 1], precision=state.precision,
        part=state.part,
    )  # fmt: skip


def nearly_as_good(worth: float, measure: str, images: int) -> float:
    """Compute what is one standard error below a measure on so many images; of a log-loss, the same value.

    Args:
        worth: the measure, higher is better: a percentage, but for the log-loss.
        measure: its name.
        images: that it was measured on.

    Example:
        >>> round(nearly_as_good(80.0, "accuracy", 200), 1)
        77.1
    """
    if measure == "log-loss":
        return worth
    share = (worth / 100 * images + 2) / (images + 4)  # "plus four", for all right of a few proves little
    return worth - 100 * math.sqrt(share * (1 - share) / images)


def _class_weights(train_set: ImageDataset) -> torch.Tensor:
    """The inverse of the number of images of each class, so that the mean weight of an image is 1; 0 for no image."""
    import torch

    counts = torch.bincount(torch.tensor(train_set.labels), minlength=train_set.task.classes)
    present = int((counts > 0).sum())
    return torch.where(counts > 0, len(train_set) / (present * counts.clamp(min=1)), 0.0)


def check_numbers(*, epochs: int, patience: int | None) -> None:
    """Refuse what no training can do, before any work is done.

    Raises:
        InputError: a number is not above 0.

    Example:
        >>> check_numbers(epochs=0, patience=None)
        Traceback (most recent call last):
            ...
        trainless.errors.InputError: epochs is 0, expected a finite number above 0.
    """
    numbers = {"epochs": epochs, "patience": patience}
    for name, value in numbers.items():
        if value is not None and not 0 < value < math.inf:
            raise InputError(f"{name} is {value}, expected a finite number above 0.")


def check_minutes(minutes: float) -> None:
    """Refuse a time in which nothing can be learnt.

    Raises:
        InputError: it is not above 0.

    Example:
        >>> check_minutes(math.inf)
    """
    if not minutes > 0:
        raise InputError(f"minutes is {minutes:g}, expected a number above 0, or inf for as long as it takes.")


def _freeze_statistics(network: torch.nn.Module) -> None:
    """Let batch normalisations use the statistics that they have, and not change them."""
    import torch

    for module in network.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.eval()


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
        (part.task.input_shape, part.task.classes, part.mean, part.std) for part in (train_set, valid_set)
    )
    if expected != given:
        raise InputError(
            f"The images to validate with have shape, classes, mean and deviation {given}, but those to train on "
            f"{expected}: split one data set in two, or prepare both alike."
        )


def check_shares(devices: Devices, images: int, batch_size: int) -> None:
    """Refuse to share a batch among so many processes that one has a single image, which batch normalisation needs.

    Raises:
        InputError: a process would have less than two images.

    Example:
        >>> check_shares(Devices(), 100, 64)
    """
    from trainless.training.batches import batch_count

    least = images // batch_count(images, batch_size)
    if devices.processes > 1 and least < 2 * devices.processes:
        raise InputError(
            f"Batches of {least} images give {devices.processes} processes less than 2 each: take fewer devices or a "
            "larger batch."
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
