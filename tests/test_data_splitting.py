"""Splits: every class on both sides by largest remainder, by brute force over all ways to share the images out."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainless.data import ImageDataset, load_data, split
from trainless.errors import DataError
from trainless.types import Task


def make_dataset(counts: list[int]) -> ImageDataset:
    """Images of one pixel whose value is the number of the image, classes mixed."""
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    images = np.arange(len(labels), dtype=np.uint8).reshape(-1, 1, 1, 1)
    names = tuple(f"class {number}" for number in range(len(counts)))
    return ImageDataset(Task("toy", len(counts), 1, 1, 1), images, labels, names, (0.25,), (0.5,))


def numbers(dataset: ImageDataset) -> list[int]:
    return dataset.images.ravel().tolist()


def best_shares(counts: list[int], fraction: Fraction) -> list[tuple[int, ...]]:
    """All ways to share out that are allowed, come nearest to the total, and then nearest to each class's quota."""
    allowed = [range(1, count) if count > 1 else range(1) for count in counts]
    quotas, total = [count * fraction for count in counts], round(float(sum(counts) * fraction))
    ways = list(itertools.product(*allowed))
    miss = min(abs(sum(way) - total) for way in ways)
    ways = [way for way in ways if abs(sum(way) - total) == miss]
    distance = {way: sum((share - quota) ** 2 for share, quota in zip(way, quotas, strict=True)) for way in ways}
    return [way for way in ways if distance[way] == min(distance.values())]


@given(
    counts=st.lists(st.integers(0, 7), min_size=2, max_size=4).filter(lambda counts: sum(c > 1 for c in counts) > 1),
    eighths=st.integers(1, 7),
    seed=st.integers(0, 3),
)
def test_shares_are_the_best_of_all_ways(counts: list[int], eighths: int, seed: int) -> None:
    # Eighths are exact in binary, so that remainders tie where they should.
    dataset = make_dataset(counts)
    rest, part = split(dataset, eighths / 8, seed)
    shares = tuple(np.bincount(part.labels, minlength=len(counts)).tolist())
    assert shares in best_shares(counts, Fraction(eighths, 8))
    assert sorted(numbers(rest) + numbers(part)) == list(range(sum(counts)))


def test_keeps_everything_else() -> None:
    dataset = make_dataset([9, 5, 1])
    for part in split(dataset, 0.3):
        assert (part.task, part.class_names, part.mean, part.std) == (
            dataset.task, dataset.class_names, dataset.mean, dataset.std,
        )  # fmt: skip
        assert numbers(part) == sorted(numbers(part))
        assert all(part.labels == dataset.labels[numbers(part)])


def test_the_seed_alone_decides() -> None:
    digits = load_data("digits")
    first = split(digits, 0.2, 0)[1].images
    np.random.seed(5)
    assert np.array_equal(first, split(digits, 0.2, 0)[1].images)
    assert not np.array_equal(first, split(digits, 0.2, 1)[1].images)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.2, float("nan")])
def test_refuses_fractions(fraction: float) -> None:
    with pytest.raises(DataError, match=f"The fraction is {fraction}, expected a number between 0 and 1"):
        split(make_dataset([4, 4]), fraction)


def test_refuses_what_leaves_one_class() -> None:
    with pytest.raises(DataError, match="'toy' has fewer than 2 classes with 2 images or more"):
        split(make_dataset([9, 1]), 0.5)
