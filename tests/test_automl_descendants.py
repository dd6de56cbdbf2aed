"""Networks that another one can grow or shrink to: related, within the limits, different, the same by the seed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainless.automl.descendants import larger_networks, smaller_networks
from trainless.morphism import can_morph
from trainless.search_spaces import search_space
from trainless.search_spaces.base import SearchSpace
from trainless.search_spaces.blueprint import Blueprint
from trainless.types import Architecture, Task

pytestmark = pytest.mark.slow

TASK = Task("toy", 10, channels=1, height=8, width=8)
SPACES = [search_space(text) for text in ("nats_size(unit=2)", "convnet(unit=1)", "nasbench201(channels=2, cells=1)")]


def costs(space: SearchSpace, architecture: Architecture) -> tuple[int, int]:
    network = space.canonical(architecture)
    return space.parameters(network, TASK), space.flops(network, TASK)


@pytest.mark.parametrize(
    ("propose", "shares", "are_related", "is_changed"),
    [
        (larger_networks, (1.2, 3.0), can_morph, lambda parameters, flops: max(parameters, flops) > 1),
        (smaller_networks, (0.3, 0.9), lambda before, after: can_morph(after, before), lambda _, flops: flops <= 1),
    ],
    ids=["larger", "smaller"],
)
@settings(max_examples=4, deadline=None)
@given(space=st.sampled_from(SPACES), seed=st.integers(0, 99), fraction=st.floats(0, 1))
def test_networks_are_within_the_limits_different_and_related(
    propose: Callable[..., list[Architecture]], shares: tuple[float, float],
    are_related: Callable[[Blueprint, Blueprint], bool], is_changed: Callable[[float, float], bool],
    space: SearchSpace, seed: int, fraction: float,
) -> None:  # fmt: skip
    start = space.sample(np.random.default_rng(seed))
    before, (parameters, flops) = space.blueprint(space.canonical(start), TASK), costs(space, start)
    share = shares[0] + fraction * (shares[1] - shares[0])

    def is_within(architecture: Architecture) -> bool:
        return costs(space, architecture)[0] <= share * parameters

    found = propose(space, start, before, TASK, is_within, seed=seed)
    assert len({space.canonical(network) for network in found}) == len(found)
    for network in found:
        assert is_within(network)
        assert are_related(before, space.blueprint(network, TASK))
        assert is_changed(costs(space, network)[0] / parameters, costs(space, network)[1] / flops)


def test_what_is_clearly_larger_is_preferred_to_what_is_hardly() -> None:
    space = SPACES[0]
    start = space.parse("16:16:16:16:16")
    before, (parameters, flops) = space.blueprint(start, TASK), costs(space, start)

    def ratios(most: float) -> list[float]:
        found = larger_networks(space, start, before, TASK, lambda network: costs(space, network)[0] <= most)
        return [max(costs(space, network)[0] / parameters, costs(space, network)[1] / flops) for network in found]

    found = ratios(4 * parameters)
    assert min(found) >= 1.25
    assert found == ratios(4 * parameters)  # by the seed
    assert ratios(parameters) == []


@pytest.mark.parametrize("size", ["channels=4, cells=1", "channels=8, cells=1"])  # the second is many times as large
def test_a_space_of_one_width_grows_in_a_larger_size(size: str) -> None:
    small, large = search_space("nasbench201(channels=2, cells=1)"), search_space(f"nasbench201({size})")
    cell = small.make(["nor_conv_3x3"] * 6)
    before = small.blueprint(cell, TASK)
    assert larger_networks(small, cell, before, TASK, lambda _: True) == []
    assert large.canonical(cell) in larger_networks(large, cell, before, TASK, lambda _: True)


@pytest.mark.parametrize("propose", [larger_networks, smaller_networks])
def test_no_walk_goes_on_after_the_time(propose: object) -> None:
    space = SPACES[1]
    start = space.parse("vgg")
    found = propose(space, start, space.blueprint(start, TASK), TASK, lambda _: True, end=0.0)  # type: ignore[operator]
    whole = propose(space, start, space.blueprint(start, TASK), TASK, lambda _: True)  # type: ignore[operator]
    assert len(found) < len(whole)
