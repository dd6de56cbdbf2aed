"""Reduced evaluations."""

from __future__ import annotations

from dataclasses import replace

import pytest

from trainless.data import load_data
from trainless.errors import InputError
from trainless.search import Fidelity, default_fidelities, parse_fidelity
from trainless.search_spaces import search_space


def test_reduces_network_images_and_batch() -> None:
    reduced = parse_fidelity("c=0.5, r=0.5, s=0.25")
    digits = load_data("digits", image_size=12)
    assert reduced.of_space(search_space("nasbench201")).options == {"channels": 8, "cells": 2}
    assert reduced.of_data(digits).task.input_shape == (1, 6, 6)
    assert reduced.of_batch(64) == 16
    assert Fidelity(batch=0.01).of_batch(64) == 2  # one image has no statistics
    whole = Fidelity()
    assert whole.of_data(digits) is digits
    assert whole.of_batch(1) == 1


def test_proportions_stay() -> None:
    digits = load_data("digits", image_size=12)
    wide = replace(digits, images=digits.images[:, :, :6], task=replace(digits.task, height=6))
    assert Fidelity(resolution=0.5).of_data(wide).task.input_shape == (1, 3, 6)


def test_halves_from_rung_to_rung() -> None:
    assert default_fidelities(1) == ()
    assert [each.network for each in default_fidelities(4)] == [0.125, 0.25, 0.5]


@pytest.mark.parametrize("text", ["c=2", "c=0", "s=", "x=0.5", "0.5", ""])
def test_refusals(text: str) -> None:
    with pytest.raises(InputError, match="fidelity is"):
        parse_fidelity(text)
