"""Gradient-based architecture search: preferences for options are learnt by the loss on images set aside."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pandas as pd
import torch
from torch.nn.functional import cross_entropy

from trainless.data import ImageDataset, split
from trainless.errors import InputError, UnknownNameError
from trainless.search_spaces import search_space
from trainless.search_spaces.base import SearchSpace
from trainless.seeding import derive_seed, generator
from trainless.supernets.curvature import dominant_eigenvalue, gradients, second_order_gradient
from trainless.supernets.keeping import last_state
from trainless.supernets.methods import METHODS, Method, Stage
from trainless.supernets.mixed import MixedNetwork
from trainless.training import Recipe, TrainingState
from trainless.training.batches import Batches
from trainless.training.loop import Loop
from trainless.training.train import check_minutes
from trainless.types import Architecture

__all__ = ["GradientSearch", "search_by_gradients"]

_RECIPE = Recipe(optimizer="sgd", learning_rate=0.025, weight_decay=3e-4, schedule="cosine")
_SHARE = 0.5  # of the images, by which preferences are learnt
_DECAY, _BETAS = 1e-3, (0.5, 0.999)  # of the preferences, as all these papers have them
_WINDOW, _RISE = 5, 0.75  # epochs over which eigenvalues are compared, and the ratio below which they rise too fast
_ALMOST = 1e-9  # what shares of epochs add up to may be too little by
_DEPTHS = {"cells": 1, "layers": 3}  # options that say how deep networks of a space are, and the least of each


@dataclass(frozen=True, eq=False)
class GradientSearch:
    """What a gradient-based search came to.

    Args:
        architecture: what the last preferences lead to, or where the search was stopped, those before the rise.
        shares: softmax of the preferences after each epoch, one row an epoch, one number an option.
        found: what they led to after each epoch.
        skips: number of skip connections of these, by which a collapse shows.
        state: of the training.
        eigenvalues: dominant ones of the Hessian of the loss on images set aside with respect to the preferences, after
            each epoch; none where they were not asked for.
        is_stopped: whether their rise ended the search.
        labels: for each option the name of its choice, and its own.
    """

    architecture: Architecture
    shares: tuple[tuple[float, ...], ...]
    found: tuple[Architecture, ...]
    skips: tuple[int, ...]
    state: TrainingState
    eigenvalues: tuple[float, ...] = ()
    is_stopped: bool = False
    labels: tuple[tuple[str, str], ...] = ()

    def table(self) -> pd.DataFrame:
        """Give the shares with names: one row an epoch, one column an option, named by its choice and itself."""
        columns = pd.MultiIndex.from_tuples(self.labels)
        return pd.DataFrame(self.shares, columns=columns, index=range(1, len(self.shares) + 1))

    def by_epoch(self) -> pd.DataFrame:
        """Give ``skips``, ``eigenvalue`` where these were asked for, and ``architecture``: one row an epoch from 1."""
        columns: dict[str, Sequence[object]] = {"skips": self.skips}
        if self.eigenvalues:
            columns["eigenvalue"] = self.eigenvalues
        return pd.DataFrame(
            {**columns, "architecture": list(map(str, self.found))}, index=range(1, len(self.found) + 1)
        )


def search_by_gradients(
    space: SearchSpace,
    train_set: ImageDataset,
    valid_set: ImageDataset,
    *,
    method: str = "darts",
    epochs: int = 50,
    seed: int = 0,
    recipe: Recipe = _RECIPE,
    preference_rate: float | None = None,
    drop_path: float = 0.0,
    has_eigenvalues: bool = False,
    early_stop: bool = False,
    minutes: float = math.inf,
    threads: int = 1,
    resume: TrainingState | None = None,
    on_epoch: Callable[[TrainingState], None] | None = None,
) -> GradientSearch:
    """Learn the weights of a mixed network and the preferences for its options, in turns.

    Half of the training images teach the weights, the other half the preferences, batch by batch.

    Args:
        space: whose operations can be mixed.
        train_set: images to learn from.
        valid_set: images on which the mixed network is measured after each epoch.
        method: a name of `METHODS`.
        epochs: most passes over the images that teach the weights, those of all stages together.
        seed: decides everything random.
        recipe: of the weights.
        preference_rate: learning rate of the preferences; None takes the method's.
        drop_path: probability by which an operation is left out for an image; skip connections have a stage's.
        has_eigenvalues: whether the dominant eigenvalue of the Hessian is computed after each epoch, on one batch.
        early_stop: whether the search ends where the mean eigenvalue of five epochs is more than a third above that
            of the five before, and takes what the preferences led to then. Source: Zela et al., Understanding and
            Robustifying Differentiable Architecture Search, ICLR 2020.
        minutes: most time, of which each stage has the same part; the schedule is laid over the epochs there is time
            for. How many these are, and so what is found, depends on the machine.
        threads: as for `trainless.training.train`.
        resume: where an earlier call with the same arguments stood.
        on_epoch: called after each epoch with the state.

    Raises:
        UnknownNameError: there is no such method.
        InputError: the operations of the space cannot be mixed, an argument cannot be used, or the time is over before
            preferences are learnt.

    Example:
        >>> from trainless.data import load_data
        >>> from trainless.search_spaces import search_space
        >>> space, digits = search_space("nasbench201(channels=2, cells=1)"), load_data("digits")
        >>> train_set, valid_set = split(split(digits, 0.9)[0], 0.3)
        >>> found = search_by_gradients(space, train_set, valid_set, method="gdas", epochs=1)
        >>> found.architecture in space, len(found.shares), len(found.shares[0])
        (True, 1, 30)
    """
    if method not in METHODS:
        raise UnknownNameError("gradient-based method", method, METHODS)
    chosen = METHODS[method]
    if preference_rate is not None:
        chosen = replace(chosen, rate=preference_rate)
    _check(chosen, method, epochs, drop_path, minutes)
    learnt, choosing = split(train_set, _SHARE, derive_seed(seed, "preferences"))
    images, state = Batches(choosing, recipe.batch_size), resume
    # The epoch that each stage began with; what a state stands in is the last of them.
    begins: list[int] = [begin for begin in state.weights["begins"].tolist() if begin >= 0] if state else []
    for number, stage in enumerate(chosen.stages[max(0, len(begins) - 1) :], max(1, len(begins))):
        is_begun, share = number == len(begins), number / len(chosen.stages)
        if not is_begun:
            begins.append(state.epochs if state else 0)
        mixed = _mixed(_of_depth(space, stage.depth), chosen, stage, is_begun, state, train_set, seed)
        mixed.drop_path = drop_path
        watches = has_eigenvalues or early_stop
        searched = _Searched(mixed, chosen, stage, images, recipe, begins, epochs, watches, early_stop)
        start = state if state is None or is_begun else searched.after(state)
        state = last_state(
            searched, learnt, valid_set, epochs=round(epochs * share), minutes=minutes * share, seed=seed,
            recipe=recipe, threads=threads, resume=start, on_epoch=on_epoch, loop=_PreferenceLoop,
        )  # fmt: skip
        searched.load_state_dict(state.weights)
        if not int(searched.get_buffer("preferred")):
            raise InputError(
                f"The {minutes:g} minutes of {method} are over before preferences are learnt, after {state.epochs} "
                f"epochs in {number} of {len(chosen.stages)} stages: give more, or fewer images."
            )
        if searched.has_collapsed(state):
            break
    assert state is not None
    return searched.result(space, state)


def _check(method: Method, name: str, epochs: int, drop_path: float, minutes: float) -> None:
    check_minutes(minutes)
    if not method.rate > 0:
        raise InputError(f"The learning rate of the preferences is {method.rate}, expected one above 0.")
    if not 0 <= drop_path < 1:
        raise InputError(f"Operations are left out with probability {drop_path}, expected one from 0 to below 1.")
    # In each stage there is an epoch in which preferences are learnt.
    least = len(method.stages) * math.ceil(1 / (1 - method.waits))
    if epochs < least:
        raise InputError(
            f"epochs is {epochs}, expected at least {least} for {name}: with fewer a stage of it ends before "
            "preferences are learnt."
        )


def _of_depth(space: SearchSpace, share: float) -> SearchSpace:
    """The space with networks of a share of the cells, if there is an option for that."""
    depth = next((name for name in _DEPTHS if name in space.options), None)
    if depth is None or share == 1:
        return space
    whole = space.options[depth]
    return search_space(
        space.name, **{**space.options, depth: min(whole, max(_DEPTHS[depth], math.ceil(share * whole)))}
    )


def _mixed(
    space: SearchSpace, method: Method, stage: Stage, is_begun: bool, state: TrainingState | None, images: ImageDataset,
    seed: int,
) -> MixedNetwork:  # fmt: skip
    """The mixed network of a stage, with the options that an earlier one left."""
    kept: Sequence[int] | None = None
    if state is not None and is_begun:
        kept = state.weights["kept"].nonzero().flatten().tolist()
    elif state is not None:
        shares = state.weights["trace"][state.epochs - 1]
        kept = _strongest(shares, space.relaxation(images.task).numbers, stage.options)
    return MixedNetwork(
        space, images.task, seed=seed, kept=kept, partial=stage.partial, weighs_edges=method.weighs_edges
    )


def _strongest(shares: torch.Tensor, choices: Sequence[range], part: float) -> list[int]:
    """The options that weigh most, a part of those of each choice."""
    kept: list[int] = []
    for own in choices:
        order = shares[own.start : own.stop].argsort(descending=True, stable=True)
        kept += [own[rank] for rank in order[: math.ceil(part * len(own))].tolist()]
    return kept


class _Searched(torch.nn.Module):
    """A mixed network, how its preferences are learnt, and what they came to after each epoch."""

    def __init__(
        self, mixed: MixedNetwork, method: Method, stage: Stage, images: Batches, recipe: Recipe,
        begins: Sequence[int], epochs: int, has_eigenvalues: bool, early_stop: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        self.mixed, self.method, self.stage, self.images, self.recipe = mixed, method, stage, images, recipe
        self.begin = begins[-1]
        self.has_eigenvalues, self.early_stop = has_eigenvalues, early_stop
        self.adam = torch.optim.Adam(mixed.learnt, method.rate, betas=_BETAS, weight_decay=_DECAY)
        self.register_buffer("trace", torch.zeros(epochs, len(mixed.preferences)))
        self.register_buffer("eigenvalues", torch.zeros(epochs, dtype=torch.float64))
        self.register_buffer("begins", torch.tensor([*begins, *[-1] * (len(method.stages) - len(begins))]))
        self.register_buffer("preferred", torch.tensor(0))  # steps of the preferences in this stage
        self.register_buffer("kept", torch.tensor([number in mixed.kept for number in range(len(mixed.preferences))]))

    def forward(self, images: torch.Tensor, shares: torch.Tensor | None = None) -> torch.Tensor:
        """Compute the logits of the mixture."""
        logits: torch.Tensor = self.mixed(images, shares)
        return logits

    def get_extra_state(self) -> dict[str, Any]:
        """The moments by which preferences are learnt."""
        return self.adam.state_dict()

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        """Go on with such moments."""
        self.adam.load_state_dict(copy.deepcopy(dict(state)))

    def after(self, state: TrainingState) -> TrainingState:
        """The state from which this stage begins, after that at the end of another."""
        for name in ("trace", "eigenvalues"):
            self.get_buffer(name).copy_(state.weights[name])
        # A copy: what the network learns is not to change the state that it began with.
        weights = copy.deepcopy(self.state_dict())
        return replace(
            state, weights=weights, best_weights=weights, progress=0.0,
            optimizer=self.recipe.make_optimizer(self.mixed.network).state_dict(),
        )  # fmt: skip

    def has_collapsed(self, state: TrainingState) -> bool:
        """Whether eigenvalues have risen too fast, where that ends a search."""
        if not self.early_stop or state.epochs - self.begin < 2 * _WINDOW:
            return False
        earlier, latest = state.weights["eigenvalues"][: state.epochs].abs()[-2 * _WINDOW :].split(_WINDOW)
        return bool(earlier.mean() < _RISE * latest.mean())

    def result(self, space: SearchSpace, state: TrainingState) -> GradientSearch:
        """What came of it."""
        shares, is_stopped = state.weights["trace"][: state.epochs], self.has_collapsed(state)
        found = tuple(self._decoded(row) for row in shares)
        eigenvalues = state.weights["eigenvalues"][: state.epochs].tolist() if self.has_eigenvalues else ()
        return GradientSearch(
            found[-1 - _WINDOW * is_stopped],
            tuple(map(tuple, shares.tolist())),
            found,
            tuple(len(space.skip_spans(architecture)) for architecture in found),
            state,
            tuple(eigenvalues),
            is_stopped,
            self.mixed.labels(),
        )

    def _decoded(self, shares: torch.Tensor) -> Architecture:
        """The architecture that shares lead to, with as many skip connections as a method allows in a cell."""
        relaxation, shares = self.mixed.relaxation, shares.clone()
        while True:
            found = relaxation.decode([own.tolist() for own in self.mixed.by_choice(shares)])
            chosen = self.mixed.only(found) > 0
            most = self.method.most_skips
            weakest = [
                min(present, key=lambda number: float(shares[number]))
                for skips in self.mixed.skips()
                if most is not None and len(present := [number for number in skips if chosen[number]]) > most
            ]
            if not weakest:
                return found
            shares[weakest] = 0.0


class _PreferenceLoop(Loop):
    """Learns the preferences before each step of the weights."""

    network: _Searched

    @property
    def optimized(self) -> torch.nn.Module:
        """The weights alone."""
        return self.network.mixed.network

    @property
    def finished(self) -> bool:
        """Whether all epochs are done, or eigenvalues rose."""
        return super().finished or self.network.has_collapsed(self.standing)

    @property
    def _is_first(self) -> bool:
        """Whether no epoch of the stage is done."""
        return not self.standing.progress

    def _begin_epoch(self) -> None:
        super()._begin_epoch()
        searched = self.network
        self.chosen = self._choosing()
        self.stream = generator(self.seed, "shares", self.done)
        searched.mixed.drop_skips = searched.stage.drop_skips * 0.1**self.standing.progress

    def _choosing(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Batches of the images by which preferences are learnt, again and again."""
        turn = 0
        while True:
            yield from self.network.images.shuffled(derive_seed(self.seed, "choosing", self.done, turn), self.recipe)
            turn += 1

    @property
    def _progress(self) -> float:
        done: float = self.standing.progress + self.share * self.steps / len(self.train_images)
        return min(1.0, done)

    def _step(self, number: int, images: torch.Tensor, targets: torch.Tensor) -> None:
        # With a time an epoch may be a large part of the stage; without, preferences wait for whole epochs.
        part = self.standing.progress if self.deadline is None else self._progress
        if part + _ALMOST >= self.network.method.waits:
            self._prefer(images, targets)
        super()._step(number, images, targets)

    def _prefer(self, images: torch.Tensor, targets: torch.Tensor) -> None:
        """Take a step of the preferences, before the weights take theirs from these images."""
        mixed, adam = self.network.mixed, self.network.adam
        choosing = partial(self._mixed_loss, *self.fabric.to_device(next(self.chosen)))
        if self.network.method.order == 2:
            learning, rate = partial(self._mixed_loss, images, targets), self.optimizer.param_groups[0]["lr"]
            found: Sequence[torch.Tensor] = second_order_gradient(learning, choosing, mixed.weights, mixed.learnt, rate)
        else:
            found = gradients(choosing, mixed.learnt)
        for parameter, gradient in zip(mixed.learnt, found, strict=True):
            parameter.grad = gradient
        adam.step()
        adam.zero_grad()
        self.network.get_buffer("preferred").add_(1)

    def _shares(self) -> torch.Tensor:
        return self.network.method.weigh(self.network.mixed, self._progress, self.stream)

    def _loss(self, images: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        logits = self.shared(images, self._shares().detach())
        return self._loss_of(logits, images, targets, self.weights)

    def _mixed_loss(self, images: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The loss of a batch that preferences have a gradient of, with what the method adds to it."""
        with self.fabric.autocast():
            return cross_entropy(self.shared(images, self._shares()), targets) + self.network.method.penalty(
                self.network.mixed
            )

    def _note_epoch(self) -> None:
        searched = self.network
        searched.get_buffer("trace")[self.done] = searched.mixed.shares().detach()
        if searched.has_eigenvalues:
            images, targets = self.fabric.to_device(next(iter(searched.images)))
            with torch.enable_grad():
                loss = cross_entropy(self.shared(images, searched.mixed.shares()), targets)
                value = dominant_eigenvalue(loss, searched.mixed.preferences)
            searched.get_buffer("eigenvalues")[self.done] = value
