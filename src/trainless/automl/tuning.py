"""Hyper-parameter tuning of the training, by Optuna with Hyperband within a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainless.data import ImageDataset
from trainless.hardware import is_out_of_memory
from trainless.seeding import derive_seed
from trainless.strategies.optuna import quiet
from trainless.training import Devices, Recipe, TrainingState, train
from trainless.training.train import nearly_as_good

if TYPE_CHECKING:
    import optuna
    import torch

__all__ = ["suggest_recipe", "tune"]


_RATES = {"adamw": (3e-4, 3e-2), "muon": (2e-3, 2e-1), "sgd": (1e-2, 1.0)}


def suggest_recipe(trial: optuna.Trial, first: Recipe) -> Recipe:
    """Sample the hyper-parameters of a training that short ones tell apart: those of the optimizer's steps.

    What hides or mixes images stays as it is: the shorter a training, the better it does without, so that trials of
    some epochs would take from one of a hundred what it needs. On 9,000 images of CIFAR-10 they once did, for 82.4 %
    after a hundred epochs 77.2.

    Args:
        trial: of an Optuna study.
        first: gives what is not sampled.

    Example:
        >>> import optuna
        >>> fixed = {"learning_rate": 0.01, "weight_decay": 0.1, "batch_size": 32}
        >>> suggest_recipe(optuna.trial.FixedTrial(fixed), Recipe(cutmix=1.0))  # doctest: +ELLIPSIS
        Recipe(optimizer='adamw', learning_rate=0.01, weight_decay=0.1, ... batch_size=32, ... cutmix=1.0, ...
    """
    return replace(
        first,
        learning_rate=trial.suggest_float("learning_rate", *_RATES[first.optimizer], log=True),
        weight_decay=trial.suggest_float("weight_decay", 1e-3, 0.3, log=True),
        batch_size=trial.suggest_categorical("batch_size", [16, 32, 64, 128]),
    )


def tune(
    build: Callable[[], torch.nn.Module],
    train_set: ImageDataset,
    valid_set: ImageDataset,
    *,
    first: Recipe,
    epochs: int,
    deadline: float,
    measure: str = "accuracy",
    seed: int = 0,
    threads: int = 1,
    devices: Devices | None = None,
    log_folder: Path | None = None,
    kept: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
    on_epoch: Callable[[Recipe, TrainingState], None] | None = None,
    **options: Any,
) -> tuple[Recipe, list[dict[str, Any]]]:
    """Tune the recipe of a training by TPE over short trainings, which Hyperband ends early where they lag.

    Args:
        build: makes the network.
        train_set: images to learn from.
        valid_set: images that the recipes are compared on.
        first: tried before all others; it is the result where none is better by more than one standard error.
        epochs: of one trial.
        deadline: value of `time.monotonic` after which no trial begins and no epoch shall end.
        measure: a name of `trainless.training.MEASURES`.
        seed: decides what is drawn.
        threads: threads of the training.
        devices: as for `train`.
        log_folder: where each trial has a folder of events for TensorBoard; None writes none.
        kept: a file of Optuna's journal, in which each trial is kept, so that the same call goes on; None keeps none.
        progress: called with the seconds used and those that there are.
        on_epoch: called after each epoch of a trial with its recipe and where its training stands.
        options: what else `train` is to be told.

    Returns:
        The recipe, and one row a trial: its hyper-parameters as ``recipe``, ``measure``, ``epochs`` and ``state``.
    """
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    # Short trainings end at no rate: a higher one would let low rates look good, that learn too little in all epochs.
    start, whole, first = time.monotonic(), first, replace(first, final_rate=0.0)
    with quiet():
        study = optuna.create_study(
            storage=None if kept is None else JournalStorage(JournalFileBackend(str(kept))),
            study_name="recipes",
            load_if_exists=True,
            direction="maximize",
            pruner=optuna.pruners.HyperbandPruner(min_resource=1, max_resource=epochs, reduction_factor=3),
        )
        # One that goes on is not to draw again what it had drawn.
        drawn = derive_seed(seed, "tuning", len(study.trials)) % 2**32
        study.sampler = optuna.samplers.TPESampler(seed=drawn, n_startup_trials=5)

        def told(trial: optuna.Trial, recipe: Recipe) -> Callable[[TrainingState], None]:
            def report(state: TrainingState) -> None:
                trial.report(state.valid_measures[-1], state.epochs)
                trial.set_user_attr("epochs", state.epochs)
                if on_epoch:
                    on_epoch(recipe, state)
                if progress:
                    progress(round(time.monotonic() - start), round(deadline - start))
                if trial.should_prune():
                    raise optuna.TrialPruned

            return report

        def attempt(trial: optuna.Trial) -> float:
            nonlocal devices
            is_first = not _tried(study)
            recipe = first if is_first else suggest_recipe(trial, first)
            trial.set_user_attr("recipe", asdict(recipe))
            try:
                result = train(
                    build(), train_set, valid_set, epochs=epochs, seed=seed, recipe=recipe, measure=measure,
                    deadline=deadline, threads=threads, on_epoch=told(trial, recipe), devices=devices,
                    log_folder=log_folder and log_folder / f"{trial.number:03}", **options,
                )  # fmt: skip
            except (RuntimeError, MemoryError) as error:
                # The first recipe can be had with a smaller batch; the others are told from each other by theirs.
                if is_first or not is_out_of_memory(error):
                    raise
                raise optuna.TrialPruned from error
            devices = replace(devices or Devices(), precision=result.precision)  # measured once
            if result.epochs < epochs or result.part < 1:  # cut short by the deadline: not comparable
                raise optuna.TrialPruned
            return result.worth

        while time.monotonic() < deadline:
            study.optimize(attempt, n_trials=1)
        tried = _tried(study)
    complete = [trial for trial in tried if trial.state == optuna.trial.TrialState.COMPLETE]
    best = max(complete, key=_value, default=None)
    # The best of some is the better for luck.
    if best is not None and nearly_as_good(_value(best), measure, len(valid_set)) > _value(tried[0]):
        first = Recipe(**best.user_attrs["recipe"])
    rows = [
        {"trial": number, "recipe": trial.user_attrs["recipe"], "measure": trial.value,
         "epochs": trial.user_attrs.get("epochs", 0), "state": trial.state.name.lower()}
        for number, trial in enumerate(tried)
    ]  # fmt: skip
    return replace(first, final_rate=whole.final_rate), rows


def _value(trial: optuna.trial.FrozenTrial) -> float:
    return float("-inf") if trial.value is None else trial.value


def _tried(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """The trials that came to an end: not those that were killed, or that memory did not suffice for."""
    from optuna.trial import TrialState

    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
