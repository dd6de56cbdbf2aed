"""Gradient-based architecture search: preferences for options are learnt by the loss on images set aside."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch.distributions import Dirichlet, kl_divergence
from torch.nn.functional import cross_entropy, elu, log_softmax, one_hot

from trainless.data import ImageDataset, split
from trainless.errors import InputError, UnknownNameError
from trainless.search_spaces.base import SearchSpace
from trainless.seeding import derive_seed, generator
from trainless.supernets.keeping import last_state
from trainless.supernets.mixed import MixedNetwork
from trainless.training import Recipe, TrainingState
from trainless.training.batches import Batches
from trainless.training.loop import Loop
from trainless.types import Architecture

__all__ = ["METHODS", "GradientSearch", "search_by_gradients", "second_order_gradient"]

METHODS = ("darts", "darts-2", "gdas", "drnas")
"""DARTS of the first and second order (Liu et al., ICLR 2019), GDAS (Dong and Yang, CVPR 2019), DrNAS (Chen et al.,
ICLR 2021)."""

_RECIPE = Recipe(optimizer="sgd", learning_rate=0.025, weight_decay=3e-4, schedule="cosine")
_SHARE = 0.5  # of the images, by which preferences are learnt
_RATE, _DECAY, _BETAS = 3e-4, 1e-3, (0.5, 0.999)  # of the preferences, as all these papers have them
_HOT, _COLD = 10.0, 0.1  # first and last temperature of GDAS
_CONCENTRATION = 1e-3  # what DrNAS's distance from the even distribution counts in the loss
_STEP = 0.01  # of the difference by which the second order is found, over the norm of the gradient


@dataclass(frozen=True, eq=False)
class GradientSearch:
    """What a gradient-based search came to.

    Args:
        architecture: what the last preferences lead to.
        shares: softmax of the preferences after each epoch, one row an epoch, one number an option.
        found: what they led to after each epoch.
        skips: number of skip connections of these, by which a collapse shows.
        state: of the training.
    """

    architecture: Architecture
    shares: tuple[tuple[float, ...], ...]
    found: tuple[Architecture, ...]
    skips: tuple[int, ...]
    state: TrainingState


def search_by_gradients(
    space: SearchSpace,
    train_set: ImageDataset,
    valid_set: ImageDataset,
    *,
    method: str = "darts",
    epochs: int = 50,
    seed: int = 0,
    recipe: Recipe = _RECIPE,
    preference_rate: float = _RATE,
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
        method: one of `METHODS`.
        epochs: passes over the images that teach the weights.
        seed: decides everything random.
        recipe: of the weights.
        preference_rate: learning rate of the preferences.
        threads: as for `trainless.training.train`.
        resume: where an earlier call with the same arguments stood.
        on_epoch: called after each epoch with the state.

    Raises:
        UnknownNameError: there is no such method.
        InputError: the operations of the space cannot be mixed, or an argument cannot be used.

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
    if not preference_rate > 0:
        raise InputError(f"The learning rate of the preferences is {preference_rate}, expected one above 0.")
    learnt, choosing = split(train_set, _SHARE, derive_seed(seed, "preferences"))
    network = MixedNetwork(space, train_set.task, seed=seed)
    network.register_buffer("trace", torch.zeros(epochs, len(network.preferences)))
    for name in ("first_moment", "second_moment"):
        network.register_buffer(name, torch.zeros_like(network.preferences))
    search = _Search(method, preference_rate, Batches(choosing, recipe.batch_size), recipe)

    class PreferenceLoop(_PreferenceLoop):
        settings = search

    state = last_state(
        network, learnt, valid_set, epochs=epochs, seed=seed, recipe=recipe, threads=threads, resume=resume,
        on_epoch=on_epoch, loop=PreferenceLoop,
    )  # fmt: skip
    shares = state.weights["trace"][: state.epochs]
    found = tuple(network.relaxation.decode([own.tolist() for own in network.by_choice(row)]) for row in shares)
    return GradientSearch(
        found[-1],
        tuple(map(tuple, shares.tolist())),
        found,
        tuple(len(space.skip_spans(cell)) for cell in found),
        state,
    )


@dataclass(frozen=True, eq=False)
class _Search:
    """How preferences are learnt.

    Args:
        method: one of `METHODS`.
        rate: their learning rate.
        images: by which they are learnt.
        recipe: how these images are augmented.
    """

    method: str
    rate: float
    images: Batches
    recipe: Recipe

    def shares(self, network: MixedNetwork, progress: float, stream: torch.Generator) -> torch.Tensor:
        """The shares of the options in one forward pass."""
        if self.method == "gdas":
            temperature = _HOT + (_COLD - _HOT) * progress
            return torch.cat([_sampled(own, temperature, stream) for own in network.by_choice(network.preferences)])
        if self.method == "drnas":
            return torch.cat([_drawn(own, stream) for own in network.by_choice(network.preferences)])
        return network.shares()

    def penalty(self, network: MixedNetwork) -> torch.Tensor | float:
        """What is added to the loss of the preferences."""
        if self.method != "drnas":
            return 0.0
        distances = [
            kl_divergence(Dirichlet(elu(own) + 1), Dirichlet(torch.ones_like(own)))
            for own in network.by_choice(network.preferences)
        ]
        return _CONCENTRATION * torch.stack(distances).sum()


def _sampled(preferences: torch.Tensor, temperature: float, stream: torch.Generator) -> torch.Tensor:
    """One option is 1, drawn by the Gumbel trick; the gradient is that of the softmax that it was drawn from."""
    noise = -torch.empty_like(preferences).exponential_(generator=stream).log()
    soft = ((log_softmax(preferences, 0) + noise) / temperature).softmax(0)
    hard = one_hot(soft.argmax(), len(soft)).to(soft.dtype)
    return hard - soft.detach() + soft


def _drawn(preferences: torch.Tensor, stream: torch.Generator) -> torch.Tensor:
    """Shares drawn from the Dirichlet distribution that preferences are the concentration of."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**62, (), generator=stream)))
        drawn: torch.Tensor = Dirichlet(elu(preferences) + 1).rsample()
    return drawn


class _PreferenceLoop(Loop):
    """Learns the preferences before each step of the weights."""

    settings: _Search
    network: MixedNetwork

    @property
    def optimized(self) -> torch.nn.Module:
        """The weights alone."""
        return self.network.network

    def _begin_epoch(self) -> None:
        super()._begin_epoch()
        self.chosen = self._choosing()
        self.stream = generator(self.seed, "shares", self.done)

    def _choosing(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Batches of the images by which preferences are learnt, again and again."""
        turn = 0
        while True:
            yield from self.settings.images.shuffled(derive_seed(self.seed, "choosing", self.done, turn), self.recipe)
            turn += 1

    @property
    def _progress(self) -> float:
        done: float = self.standing.progress + self.share * self.steps / len(self.train_images)
        return min(1.0, done)

    def _step(self, number: int, images: torch.Tensor, targets: torch.Tensor) -> None:
        choosing, preferences = (
            partial(self._mixed_loss, *self.fabric.to_device(next(self.chosen))),
            self.network.preferences,
        )
        if self.settings.method == "darts-2":
            learning = partial(self._mixed_loss, images, targets)
            rate = self.optimizer.param_groups[0]["lr"]
            gradient = second_order_gradient(learning, choosing, self.network.weights, preferences, rate)
        else:
            (gradient,) = _gradients(choosing, [preferences])
        self._prefer(gradient)
        super()._step(number, images, targets)

    def _loss(self, images: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        shares = self.settings.shares(self.network, self._progress, self.stream)
        logits = self.shared(images, shares.detach())
        return cross_entropy(logits, targets, self.weights, label_smoothing=self.recipe.label_smoothing)

    def _mixed_loss(self, images: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The loss of a batch that preferences have a gradient of, with what the method adds to it."""
        with self.fabric.autocast():
            logits = self.shared(images, self.settings.shares(self.network, self._progress, self.stream))
            return cross_entropy(logits, targets) + self.settings.penalty(self.network)

    def _prefer(self, gradient: torch.Tensor) -> None:
        """A step of Adam, whose moments are a part of the network, so that a training that goes on has them."""
        network, count = self.network, self.done * len(self.train_images) + self.steps + 1
        gradient = gradient + _DECAY * network.preferences.detach()
        first, second = network.get_buffer("first_moment"), network.get_buffer("second_moment")
        first.lerp_(gradient, 1 - _BETAS[0])
        second.lerp_(gradient.square(), 1 - _BETAS[1])
        mean, square = first / (1 - _BETAS[0] ** count), second / (1 - _BETAS[1] ** count)
        with torch.no_grad():
            network.preferences.sub_(self.settings.rate * mean / (square.sqrt() + 1e-8))

    def _end_epoch(self, is_left: bool) -> bool:
        self.network.get_buffer("trace")[self.done] = self.network.shares().detach()
        return super()._end_epoch(is_left)


def second_order_gradient(
    learning: Callable[[], torch.Tensor], choosing: Callable[[], torch.Tensor], weights: Sequence[torch.Tensor],
    preferences: torch.Tensor, rate: float,
) -> torch.Tensor:  # fmt: skip
    """Compute the gradient of a loss with respect to preferences after the step that weights are about to take.

    With w' = w - r ∇L(w, a), it is ∇_a V(w', a) - r ∇²_aw L(w, a) ∇_w' V(w', a), whose second term is found by a
    difference of gradients at two points beside w.

    Source: Liu et al., DARTS: Differentiable Architecture Search, ICLR 2019, equations 7 and 8.

    Args:
        learning: computes the loss L by which weights are learnt.
        choosing: computes the loss V by which preferences are.
        weights: w; changed while it works, and as they were afterwards.
        preferences: a.
        rate: r, the learning rate of the weights.

    Example:
        >>> weight, preference = torch.tensor(1.0, requires_grad=True), torch.tensor(2.0, requires_grad=True)
        >>> found = second_order_gradient(
        ...     lambda: weight * preference**2, lambda: weight**2, [weight], preference, rate=0.1)
        >>> round(float(found), 3)  # w' = 1 - 0.1 * 4 = 0.6, and of w'(a)**2 the derivative is 2 * 0.6 * (-0.1 * 2 * 2)
        -0.48
    """
    before = [weight.detach().clone() for weight in weights]

    def move(direction: Sequence[torch.Tensor], by: float) -> None:
        with torch.no_grad():
            for weight, start, own in zip(weights, before, direction, strict=True):
                weight.copy_(start + by * own)

    move(_gradients(learning, weights), -rate)
    direct, *onward = _gradients(choosing, [preferences, *weights])
    size = _STEP / max(float(torch.cat([own.flatten() for own in onward]).norm()), 1e-12)
    move(onward, size)
    (above,) = _gradients(learning, [preferences])
    move(onward, -size)
    (below,) = _gradients(learning, [preferences])
    move(onward, 0.0)
    gradient: torch.Tensor = direct - rate * (above - below) / (2 * size)
    return gradient


def _gradients(loss: Callable[[], torch.Tensor], wrt: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    return torch.autograd.grad(loss(), list(wrt), allow_unused=True, materialize_grads=True)
