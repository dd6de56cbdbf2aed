"""Derived seeds against their definition; global random state is put back."""

from __future__ import annotations

import hashlib
import random
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainless.seeding import derive_seed, generator, preserve_rng_state

names = st.text(st.characters(exclude_characters="\x1f", exclude_categories=["Cs"]), max_size=8)


class TestDeriveSeed:
    def test_is_the_head_of_a_digest(self) -> None:
        digest = hashlib.sha256(b"7\x1fweights\x1f3").hexdigest()
        assert derive_seed(7, "weights", 3) == int(digest[:16], 16) // 2

    def test_is_the_same_in_another_process(self) -> None:
        code = "from trainless.seeding import derive_seed; print(derive_seed(1, 'batch'))"
        # Python's own hash of text differs between processes unless it is fixed.
        output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        assert int(output) == derive_seed(1, "batch")

    @given(st.integers(), st.lists(names, max_size=4))
    def test_fits_63_bits(self, seed: int, purpose: list[str]) -> None:
        assert 0 <= derive_seed(seed, *purpose) < 2**63

    @given(st.lists(names, max_size=4), st.lists(names, max_size=4))
    def test_differs_for_different_purposes(self, one: list[str], other: list[str]) -> None:
        assert (derive_seed(0, *one) == derive_seed(0, *other)) == (one == other)

    def test_names_do_not_run_together(self) -> None:
        assert len({derive_seed(0, "ab", "c"), derive_seed(0, "a", "bc"), derive_seed(0, "abc")}) == 3

    def test_differs_for_neighbouring_seeds(self) -> None:
        assert len({derive_seed(seed, "weights") for seed in range(-500, 500)}) == 1000


class TestGenerator:
    def test_streams_of_the_same_purpose_are_equal(self) -> None:
        assert torch.equal(
            torch.rand(5, generator=generator(3, "noise")), torch.rand(5, generator=generator(3, "noise"))
        )

    @pytest.mark.parametrize("other", [(4, "noise"), (3, "signs"), (3, "noise", 1)])
    def test_streams_of_different_purposes_differ(self, other: tuple[int, str]) -> None:
        one = torch.rand(5, generator=generator(3, "noise"))
        assert not torch.equal(one, torch.rand(5, generator=generator(*other)))

    def test_does_not_depend_on_the_global_state_nor_change_it(self) -> None:
        torch.manual_seed(1)
        one = torch.rand(5, generator=generator(3, "noise"))
        after = torch.rand(1)
        torch.manual_seed(1)
        assert torch.equal(after, torch.rand(1))
        torch.manual_seed(2)
        assert torch.equal(one, torch.rand(5, generator=generator(3, "noise")))


def draw() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(()))


def seed_all(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def draw_and_fail() -> None:
    draw()
    raise RuntimeError("inside")


class TestPreserveRngState:
    def test_puts_all_three_back(self) -> None:
        seed_all(0)
        expected = draw()
        seed_all(0)
        with preserve_rng_state():
            seed_all(99)
            draw()
        assert draw() == expected

    def test_puts_them_back_after_an_error(self) -> None:
        seed_all(0)
        expected = draw()
        seed_all(0)
        with pytest.raises(RuntimeError, match="inside"), preserve_rng_state():
            draw_and_fail()
        assert draw() == expected

    def test_nests(self) -> None:
        seed_all(0)
        first, second = draw(), draw()
        seed_all(0)
        with preserve_rng_state():
            assert draw() == first
            with preserve_rng_state():
                draw()
            assert draw() == second
        assert draw() == first
