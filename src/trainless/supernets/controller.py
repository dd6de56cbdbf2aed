"""ENAS: a recurrent controller draws the paths that shared weights learn, and learns by how accurate they are."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from trainless.data import ImageDataset, split
from trainless.errors import InputError
from trainless.search_spaces.base import SearchSpace
from trainless.seeding import derive_seed, generator, preserve_rng_state
from trainless.supernets.keeping import last_state
from trainless.supernets.paths import PathLoop, Paths, calibration_images, path_accuracy
from trainless.supernets.supernet import Supernet
from trainless.training import Recipe, TrainingState
from trainless.training.batches import Batches
from trainless.training.recipes import SHARED_RECIPE
from trainless.training.train import check_minutes
from trainless.types import Architecture

__all__ = ["Controller", "ControllerSearch", "search_by_controller"]

_HIDDEN = 64  # numbers of the controller's state
_TEMPERATURE, _BOUND = 5.0, 2.5  # of its logits, as ENAS has them
_RATE, _ENTROPY, _KEPT = 3.5e-3, 1e-4, 0.95  # of its steps: learning rate, what entropy counts, what the baseline keeps
_SHARE = 0.2  # of the images to learn from, by whose accuracy it learns
_DERIVED = 20  # paths drawn at the end, of which the most accurate is taken


class Controller(nn.Module):
    """A recurrent policy over the choices of a space: each option is drawn knowing those before.

    Source: Pham et al., Efficient Neural Architecture Search via Parameter Sharing, ICML 2018.

    Args:
        sizes: number of options of each choice.

    Example:
        >>> codes, probability, entropy = Controller([5, 3]).draw(torch.Generator().manual_seed(0))
        >>> len(codes), codes[1] < 3, probability.shape
        (2, True, torch.Size([]))
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        super().__init__()
        self.sizes = list(sizes)
        self.embedding = nn.Embedding(1 + sum(sizes), _HIDDEN)  # the first stands for no choice yet
        self.cell = nn.LSTMCell(_HIDDEN, _HIDDEN)
        self.heads = nn.ModuleList(nn.Linear(_HIDDEN, size) for size in sizes)

    def draw(self, stream: torch.Generator) -> tuple[list[int], torch.Tensor, torch.Tensor]:
        """Draw an option of each choice; give them, the logarithm of their probability and the sum of entropies."""
        state, number, start = None, torch.zeros(1, dtype=torch.long), 1
        codes, logarithms, entropies = list[int](), list[torch.Tensor](), list[torch.Tensor]()
        for size, head in zip(self.sizes, self.heads, strict=True):
            state = self.cell(self.embedding(number), state)
            logits = _BOUND * torch.tanh(head(state[0])[0] / _TEMPERATURE)
            logarithm = logits.log_softmax(0)
            code = int(torch.multinomial(logarithm.detach().exp(), 1, generator=stream))
            codes.append(code)
            logarithms.append(logarithm[code])
            entropies.append(-(logarithm.exp() * logarithm).sum())
            number, start = torch.tensor([start + code]), start + size
        return codes, torch.stack(logarithms).sum(), torch.stack(entropies).sum()


@dataclass(frozen=True, eq=False)
class ControllerSearch:
    """What a search by a controller came to.

    Args:
        found: paths that the controller drew at the end, the most accurate first.
        accuracies: of these on the validation images, in percent.
        rewards: mean accuracy of the paths that the controller drew in each epoch, in percent.
        draw: draws an architecture by the controller.
        state: of the training.
    """

    found: tuple[Architecture, ...]
    accuracies: tuple[float, ...]
    rewards: tuple[float, ...]
    draw: Callable[[torch.Generator], Architecture]
    state: TrainingState


def search_by_controller(
    space: SearchSpace,
    train_set: ImageDataset,
    valid_set: ImageDataset,
    *,
    epochs: int = 50,
    steps: int = 50,
    seed: int = 0,
    recipe: Recipe = SHARED_RECIPE,
    minutes: float = math.inf,
    threads: int = 1,
    resume: TrainingState | None = None,
    on_epoch: Callable[[TrainingState], None] | None = None,
) -> ControllerSearch:
    """Train shared weights on paths that a controller draws, and the controller by REINFORCE, in turns.

    After each epoch of the weights the controller takes its steps, each by the accuracy of one path on one batch of
    images set aside, normalised by the batch as in training. Of the paths that it draws in the end the most accurate on
    the validation images comes first.

    Source: Pham et al., Efficient Neural Architecture Search via Parameter Sharing, ICML 2018.

    Args:
        space: whose architectures are put together of choices.
        train_set: images to learn from; a fifth of them is set aside.
        valid_set: images by which the last paths are told apart.
        epochs: most passes over the images.
        steps: of the controller after each epoch.
        seed: decides everything random.
        recipe: of the shared weights.
        minutes: most time, without that for the last paths; the schedule is laid over the epochs there is time for, so
            what is found depends on the machine.
        threads: as for `trainless.training.train`.
        resume: where an earlier call with the same arguments stood.
        on_epoch: called after each epoch with the state.

    Raises:
        InputError: the space has no choices, or an argument cannot be used.

    Example:
        >>> from trainless.data import load_data
        >>> from trainless.search_spaces import search_space
        >>> space, digits = search_space("nasbench201(channels=2, cells=1)"), load_data("digits")
        >>> train_set, valid_set = split(split(digits, 0.9)[0], 0.3)
        >>> found = search_by_controller(space, train_set, valid_set, epochs=1, steps=2)
        >>> found.found[0] in space, found.accuracies[0] == max(found.accuracies)
        (True, True)
    """
    if steps < 1:
        raise InputError(f"The controller has {steps} steps an epoch, expected at least 1.")
    check_minutes(minutes)
    learnt, choosing = split(train_set, _SHARE, derive_seed(seed, "controller"))
    calibration = calibration_images(learnt, seed)
    paths = _Controlled(Supernet(space, train_set.task, seed=seed), seed, calibration, choosing, recipe, epochs, steps)
    state = last_state(
        paths, learnt, valid_set, epochs=epochs, minutes=minutes, seed=seed, recipe=recipe, threads=threads,
        resume=resume, on_epoch=on_epoch, loop=_ControllerLoop,
    )  # fmt: skip
    paths.load_state_dict(state.weights)
    stream = generator(seed, "derived")
    drawn = list(dict.fromkeys(paths.draw(stream) for _ in range(_DERIVED)))
    accuracies = [path_accuracy(paths.supernet, path, calibration, valid_set) for path in drawn]
    order = np.argsort(accuracies, kind="stable")[::-1]
    return ControllerSearch(
        tuple(drawn[number] for number in order),
        tuple(accuracies[number] for number in order),
        tuple(paths.get_buffer("rewards")[: state.epochs].tolist()),
        paths.draw,
        state,
    )


class _Controlled(Paths):
    """Shared weights, whose paths a controller draws."""

    def __init__(
        self, supernet: Supernet, seed: int, calibration: list[torch.Tensor], choosing: ImageDataset, recipe: Recipe,
        epochs: int, steps: int,
    ) -> None:  # fmt: skip
        super().__init__(supernet, "uniform", seed, calibration)
        self.choosing, self.controller_steps = Batches(choosing, recipe.batch_size), steps
        with preserve_rng_state():
            torch.manual_seed(derive_seed(seed, "controller"))
            self.controller = Controller([len(options) for options in supernet.space.choices])
        self.adam = torch.optim.Adam(self.controller.parameters(), _RATE)
        self.register_buffer("baseline", torch.tensor(torch.nan))
        self.register_buffer("rewards", torch.zeros(epochs))

    def get_extra_state(self) -> dict[str, Any]:
        """The moments by which the controller learns."""
        return self.adam.state_dict()

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        """Go on with such moments."""
        self.adam.load_state_dict(copy.deepcopy(dict(state)))

    def made(self, codes: Sequence[int]) -> Architecture:
        """The architecture of such options."""
        space = self.supernet.space
        return space.nearest([options[code] for options, code in zip(space.choices, codes, strict=True)])

    def draw(self, stream: torch.Generator) -> Architecture:
        """Draw an architecture."""
        with torch.no_grad():
            return self.made(self.controller.draw(stream)[0])

    def drawn(self, epoch: int, step: int) -> list[Architecture]:
        """Draw the path of a step."""
        return [self.draw(generator(self.seed, "drawn", epoch, step))]


class _ControllerLoop(PathLoop):
    """Lets the controller learn after each epoch."""

    network: _Controlled

    @property
    def optimized(self) -> nn.Module:
        """The shared weights alone."""
        return self.network.supernet

    def _note_epoch(self) -> None:
        """Take the steps of the controller, by images set aside."""
        paths, baseline, rewards = self.network, self.network.get_buffer("baseline"), list[float]()
        stream = generator(self.seed, "controller", self.done)
        with torch.enable_grad():
            for images, labels in self._chosen():
                codes, logarithm, entropy = paths.controller.draw(stream)
                with torch.no_grad():
                    answers = self.shared(images, paths.made(codes)).argmax(1)
                reward = float((answers == labels).double().mean())
                # The first reward is the first baseline: nothing is known that it could be better than.
                baseline.fill_(reward if bool(baseline.isnan()) else _KEPT * float(baseline) + (1 - _KEPT) * reward)
                paths.adam.zero_grad()
                (-(reward - float(baseline)) * logarithm - _ENTROPY * entropy).backward()
                paths.adam.step()
                rewards.append(100 * reward)
        paths.get_buffer("rewards")[self.done] = float(np.mean(rewards))

    def _chosen(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """As many batches of the images set aside as the controller has steps."""
        left, turn = self.network.controller_steps, 0
        while left:
            for images, labels in self.network.choosing.shuffled(derive_seed(self.seed, "chosen", self.done, turn)):
                if not left:
                    return
                yield self.fabric.to_device((images, labels))
                left -= 1
            turn += 1
