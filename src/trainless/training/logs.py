"""TensorBoard logs of a training."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

from trainless.markdown import table_of_texts
from trainless.training.recipes import Recipe
from trainless.training.results import TrainingState

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

__all__ = ["logged"]


@contextmanager
def logged(
    folder: str | os.PathLike[str] | None, recipe: Recipe, epochs: int, steps: int, measure: str,
    resume: TrainingState | None = None, on_epoch: Callable[[TrainingState], None] | None = None,
) -> Iterator[Callable[[TrainingState], None]]:  # fmt: skip
    """Give what is to be called after each epoch: it writes events of it, and then calls what else is to be called.

    Scalars by epoch are ``loss/train``, ``accuracy/valid``, ``<measure>/valid`` and ``learning_rate``, that of the last
    step. The recipe is there as hyper-parameters with the best measure, and as text.

    Args:
        folder: where to, made with the first epoch; None writes nothing. What an earlier training wrote there of these
            epochs or later ones is not shown any more, so that one that is resumed has each epoch once.
        recipe: how the network is trained.
        epochs: of the whole training.
        steps: of an epoch.
        measure: what decides the best epoch.
        resume: where an earlier training stood.
        on_epoch: called after the events are written.

    Example:
        >>> with logged(None, Recipe(), 2, 10, "accuracy") as told:
        ...     told(TrainingState({}, {}, {}, [2.0], [20.0], [20.0], 1.0))
    """
    writer: SummaryWriter | None = None
    best = max(resume.valid_measures, default=None) if resume else None

    def told(state: TrainingState) -> None:
        nonlocal writer, best
        if folder is not None:
            writer = writer or _writer(folder, recipe, state.epochs)
            whole = epochs * steps
            rate = recipe.rate_at(max(0.0, state.progress * whole - 1), whole)
            _write(writer, state, measure, rate)
            best = max(state.valid_measures)
        if on_epoch:
            on_epoch(state)

    try:
        yield told
    finally:
        if writer is not None:
            if best is not None:
                _write_parameters(writer, recipe, measure, best)
            writer.close()


def _writer(folder: str | os.PathLike[str], recipe: Recipe, epoch: int) -> SummaryWriter:
    # TensorBoard takes a third of a second to import.
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(os.fspath(folder), purge_step=epoch)
    writer.add_text("recipe", table_of_texts(("what", "value"), asdict(recipe).items()), epoch)
    return writer


def _write(writer: SummaryWriter, state: TrainingState, measure: str, rate: float) -> None:
    values = {
        "loss/train": state.train_losses[-1],
        "accuracy/valid": state.valid_accuracies[-1],
        f"{measure}/valid": state.valid_measures[-1],
        "learning_rate": rate,
    }
    for name, value in values.items():
        writer.add_scalar(name, value, state.epochs)
    writer.flush()  # what was done shall be seen, and outlive a process that is killed


def _write_parameters(writer: SummaryWriter, recipe: Recipe, measure: str, best: float) -> None:
    from torch.utils.tensorboard.summary import hparams

    # Not add_hparams: it would start a run of its own beside this one.
    for summary in hparams(asdict(recipe), {f"best/{measure}": best}):
        writer.file_writer.add_summary(summary)  # type: ignore[attr-defined]
    writer.add_scalar(f"best/{measure}", best)
