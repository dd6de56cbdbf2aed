"""The loss: PyTorch's where that is right, and no answer for a rare class that smoothing made of common ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy, one_hot

from trainless.data import ImageDataset
from trainless.search_spaces import search_space
from trainless.training import fit_recipe, train
from trainless.training.losses import smoothed_cross_entropy
from trainless.types import Task

LOGITS = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2, 3, 0, 0])
WEIGHTS = torch.tensor([0.5, 1.0, 2.0, 4.0])


@pytest.mark.parametrize(("weights", "smoothing"), [(None, 0.0), (None, 0.1), (WEIGHTS, 0.0)])
@pytest.mark.parametrize("is_soft", [False, True])
def test_it_is_that_of_pytorch(weights: torch.Tensor | None, smoothing: float, is_soft: bool) -> None:
    targets = one_hot(LABELS, 4).float() if is_soft else LABELS
    expected = cross_entropy(LOGITS, targets, weights, label_smoothing=smoothing)
    assert torch.equal(smoothed_cross_entropy(LOGITS, targets, weights, smoothing), expected)


def test_an_image_weighs_what_its_class_does_for_all_of_its_target() -> None:
    losses = torch.stack([smoothed_cross_entropy(LOGITS[i : i + 1], LABELS[i : i + 1], None, 0.1) for i in range(6)])
    own = WEIGHTS[LABELS]
    found = smoothed_cross_entropy(LOGITS, LABELS, WEIGHTS, 0.1)
    torch.testing.assert_close(found, (own * losses).sum() / own.sum())
    soft = smoothed_cross_entropy(LOGITS, one_hot(LABELS, 4).float(), WEIGHTS, 0.1)
    torch.testing.assert_close(soft, (own * losses).mean())


def test_certain_images_of_a_common_class_are_best_answered_by_it() -> None:
    weights = torch.tensor([0.51, 25.0])  # of 50 images to one
    logits = torch.zeros(1, 2, requires_grad=True)
    for _ in range(400):
        (gradient,) = torch.autograd.grad(smoothed_cross_entropy(logits, torch.tensor([0]), weights, 0.1), logits)
        logits = (logits - gradient).detach().requires_grad_()
    torch.testing.assert_close(logits.softmax(1), torch.tensor([[0.95, 0.05]]), atol=1e-3, rtol=0)


@pytest.mark.slow
def test_a_class_of_one_in_forty_is_learnt_without_the_others_being_lost() -> None:
    def pictures(counts: tuple[int, int], seed: int) -> ImageDataset:
        rng, labels = np.random.default_rng(seed), np.repeat([0, 1], counts)
        images = rng.integers(0, 60, (len(labels), 3, 16, 16), dtype=np.uint8)
        images[labels == 0, 0, :8] += 120
        images[labels == 1, 2, 8:] += 120
        return ImageDataset(Task("two", 2, 3, 16, 16), images, labels, ("common", "rare"), (0.3,) * 3, (0.3,) * 3)

    space = search_space("nasbench201(channels=4, cells=1)")
    train_set = pictures((160, 4), 0)
    network = space.build(space.make(["nor_conv_3x3"] * 6), train_set.task)
    recipe = fit_recipe(len(train_set), photographs=True, epochs=10, balanced=True)
    result = train(network, train_set, pictures((40, 10), 1), epochs=10, recipe=recipe)
    assert result.valid_accuracy > 95
