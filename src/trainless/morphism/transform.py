"""Networks that become larger ones without another function, and smaller ones that keep what matters most."""

from __future__ import annotations

import itertools

import torch
from torch import nn

from trainless.errors import InputError
from trainless.morphism.channels import Group
from trainless.morphism.elements import Built
from trainless.morphism.layers import Map, Normalisation
from trainless.morphism.plans import Plan
from trainless.search_spaces.blueprint import Blueprint
from trainless.seeding import derive_seed, preserve_rng_state

__all__ = ["built_like", "built_of", "can_morph", "morph", "shrink"]


def morph(network: nn.Module, before: Blueprint, after: Blueprint, *, seed: int = 0) -> nn.Module:
    """Compute a network of another blueprint that has the function of a network, and can learn more.

    Evaluated, both give the same. Wider layers have the channels that there were, and new ones, drawn as in any new
    network, that all which was there reads with weights of 0: so no two are alike, and their weights learn from the
    first step on. Kernels grow by zeros around them. What is inserted hands on what it reads, and a new branch ends in
    gains of 0.

    Source: Chen et al., Net2Net: Accelerating Learning via Knowledge Transfer, ICLR 2016; Wei et al., Network Morphism,
    ICML 2016.

    Args:
        network: of the blueprint `before`; it is left as it is.
        before: what it is made of.
        after: what is wanted.
        seed: decides the new weights.

    Returns:
        A plain network of the blueprint `after`, with the mode, type and device of `network`.

    Raises:
        InputError: the network is none of `before`, or the function cannot be kept; the message names the module.

    Example:
        >>> from trainless.search_spaces import search_space
        >>> from trainless.types import Task
        >>> space, task = search_space("chain"), Task("toy", 10, height=8, width=8)
        >>> before, after = (space.blueprint(space.parse(text), task) for text in ("k3w16", "k5w24-k3w32"))
        >>> network, images = before.build().eval(), torch.randn(4, 3, 8, 8)
        >>> morphed = morph(network, before, after)
        >>> bool((morphed(images) - network(images)).abs().max() < 1e-5)
        True
    """
    plan, new = Plan(exact=True), built_like(network, after, seed)
    plan.network(built_of(network, before).elements, new.elements)
    with torch.no_grad():
        for step in plan.steps:
            step.grow()
    return new.network.train(network.training)


def can_morph(before: Blueprint, after: Blueprint) -> bool:
    """Tell whether `morph` takes networks of a blueprint to another, without any weights.

    Example:
        >>> from trainless.search_spaces import search_space
        >>> from trainless.types import Task
        >>> space, task = search_space("chain"), Task("toy", 10)
        >>> before, after = (space.blueprint(space.parse(text), task) for text in ("k3w16", "k5w24-k3w32"))
        >>> can_morph(before, after), can_morph(after, before)
        (True, False)
    """
    with torch.device("meta"):
        built = [Built.of(blueprint) for blueprint in (before, after)]
    try:
        Plan(exact=True).network(*(network.elements for network in built))
    except InputError:
        return False
    return True


def shrink(network: nn.Module, before: Blueprint, after: Blueprint, *, seed: int = 0) -> nn.Module:
    """Compute a network of a smaller blueprint from the channels and layers of a network that matter most.

    A channel matters by the product of three numbers: the gains of its normalisations, and the norms of the weights
    into it and out of it, each as a share of its layer's, added over all layers that make or read it. Values that are
    added up keep the same channels. Kernels keep their middle. Of layers that are alike the first are kept, since later
    ones refine what these give.

    Source: Li et al., Pruning Filters for Efficient ConvNets, ICLR 2017; Liu et al., Learning Efficient Convolutional
    Networks through Network Slimming, ICCV 2017.

    Args:
        network: of the blueprint `before`; it is left as it is.
        before: what it is made of.
        after: what is wanted: none of its layers is larger.
        seed: decides weights that `network` has none for.

    Returns:
        A plain network of the blueprint `after`, with the mode, type and device of `network`; its function is another.

    Raises:
        InputError: the network is none of `before`, or `after` has what `before` has not; the message names the module.

    Example:
        >>> from trainless.search_spaces import search_space
        >>> from trainless.types import Task
        >>> space, task = search_space("chain"), Task("toy", 10, height=8, width=8)
        >>> before, after = (space.blueprint(space.parse(text), task) for text in ("k5w24-k3w32", "k3w16"))
        >>> shrink(before.build(), before, after).get_submodule("features.0")[0][0]
        Conv2d(3, 16, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), bias=False)
    """
    plan, new = Plan(exact=False), built_like(network, after, seed)
    plan.network(new.elements, built_of(network, before).elements)
    with torch.no_grad():
        for step in plan.steps:
            step.weigh()
        for group in _groups(plan):
            group.choose()
        for step in plan.steps:
            step.cut()
    return new.network.train(network.training)


def _groups(plan: Plan) -> set[Group]:
    values = itertools.chain.from_iterable(
        (step.reads, step.gives) if isinstance(step, Map) else (step.reads,)
        for step in plan.steps
        if isinstance(step, Map | Normalisation)
    )
    return {group.root for value in values for group in value.groups}


def built_like(network: nn.Module, blueprint: Blueprint, seed: int) -> Built:
    """A new network of a blueprint, of the type and on the device of another."""
    with preserve_rng_state():
        torch.manual_seed(derive_seed(seed, "morphism"))
        built = Built.of(blueprint)
    first = next(network.parameters())
    built.network.to(first.device, first.dtype)
    return built


def built_of(network: nn.Module, blueprint: Blueprint) -> Built:
    """The modules of the nodes of a network."""
    with torch.device("meta"):
        built = Built.of(blueprint)
    shapes = [{name: tensor.shape for name, tensor in state.items()}
              for state in (network.state_dict(), built.network.state_dict())]  # fmt: skip
    if shapes[0] != shapes[1]:
        raise InputError("The network has other weights than its blueprint says: give the blueprint it was built by.")
    return built.within(network)
