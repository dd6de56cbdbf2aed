"""The heads of TransNAS-Bench-101's tasks: published parameters, what networks give, and what scores they have."""

from __future__ import annotations

import math

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from trainless.data import ImageDataset, load_data
from trainless.errors import InputError
from trainless.evaluation import score
from trainless.search_spaces import SearchSpace, search_space
from trainless.training import train
from trainless.types import Task

HEADS = ("classification", "jigsaw", "segmentation", "generation")
PUBLISHED_TASKS = (
    Task("class_scene", 63, height=256, width=256),
    Task("jigsaw", 1000, height=192, width=192),
    Task("segmentsemantic", 17, height=256, width=256),
    Task("autoencoder", 1, height=256, width=256),
)
MICRO, MACRO = "64-41414-1_02_333", "64-1242-basic"
SMALL = [
    ("transnas_micro(channels=4)", MICRO),
    ("transnas_macro(channels=4)", MACRO),
    ("transnas_macro", "64-1114-basic"),
]
TOY = Task("toy", 5, height=32, width=24)


def space_of(spec: str, head: str) -> SearchSpace:
    return search_space(spec, head=head)


@pytest.mark.parametrize(
    ("text", "parameters"),
    [
        ("64-41414-1_00_210", (910_687, 5_487_368, 11_902_545, 23_750_227)),
        ("64-41414-1_00_223", (9_440_607, 14_017_288, 20_432_465, 32_280_147)),
        ("64-41414-3_33_333", (41_443_935, 46_020_616, 52_435_793, 64_283_475)),
        ("64-41414-0_00_000", (51_807, 4_628_488, 11_043_665, 22_891_347)),
        ("64-1242-basic", (11_218_783, 15_795_464, 22_210_641, 34_058_323)),
        ("64-2124-basic", (11_661_663, 16_238_344, 22_653_521, 34_501_203)),
        ("64-123414-basic", (14_187_615, 18_764_296, 25_179_473, 37_027_155)),
    ],
)
def test_published_parameters(text: str, parameters: tuple[int, ...]) -> None:
    name = "transnas_macro" if text.endswith("basic") else "transnas_micro"
    for head, task, expected in zip(HEADS, PUBLISHED_TASKS, parameters, strict=True):
        space = space_of(name, head)
        assert space.parameters(space.parse(text), task) == expected


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize(("spec", "text"), SMALL)
def test_counts_are_those_of_the_network(spec: str, text: str, head: str) -> None:
    space = space_of(spec, head)
    architecture = space.parse(text)
    with torch.device("meta"):
        network, image = space.build(architecture, TOY), torch.empty(1, *TOY.input_shape)
    with FlopCounterMode(display=False) as counter:
        network.eval()(image)
    assert space.parameters(architecture, TOY) == sum(parameter.numel() for parameter in network.parameters())
    assert space.flops(architecture, TOY) == counter.get_total_flops() // 2


@pytest.mark.parametrize(("halvings", "text"), [(3, "64-1124-basic"), (4, "64-1144-basic"), (6, "64-3344-basic")])
@pytest.mark.parametrize(("head", "maps"), [("segmentation", 5), ("generation", 3)])
def test_a_decoder_gives_maps_of_the_size_of_the_images(head: str, maps: int, halvings: int, text: str) -> None:
    space, task = space_of("transnas_macro(channels=4)", head), Task("toy", 5, height=64, width=128)
    architecture = space.parse(text)
    encoder = space.blueprint(architecture, task).modules["head.0"][0]
    assert encoder.size == (64 >> halvings, 128 >> halvings)
    maps_given = space.build(architecture, task)(torch.randn(2, 3, 64, 128))
    assert maps_given.shape == (2, maps, 64, 128)
    assert head != "generation" or float(maps_given.detach().abs().max()) <= 1


def test_a_puzzle_is_what_the_encoder_makes_of_each_tile() -> None:
    space, task = space_of("transnas_macro(channels=4)", "jigsaw"), Task("toy", 5, height=49, width=50)
    network = space.build(space.parse(MACRO), task).eval()
    images = torch.randn(2, 3, 49, 50)
    features = [
        network.features(images[:, :, 16 * row : 16 * row + 16, 16 * column : 16 * column + 16])
        for row in range(3)
        for column in range(3)
    ]
    expected = network.head(torch.cat(features, 1).mean((2, 3)))
    torch.testing.assert_close(network(images), expected)


LABELLED = {
    "grad_norm", "plain", "snip", "fisher", "grasp", "zico", "gradsign", "vkdnw", "vkdnw_entropy", "intrain",
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("head", HEADS[1:])
@pytest.mark.parametrize(("spec", "text"), SMALL[:2])
def test_every_score_is_finite_or_has_a_reason(spec: str, text: str, head: str) -> None:
    space, batch = space_of(spec, head), resized_digits().batch(8)
    network = space.build(space.parse(text), batch.task)
    scores = score(network, batch.images, batch.labels, proxies="all")
    assert {name for name, value in scores.items() if not math.isfinite(value)} == set(scores.reasons)
    refused = {name for name, reason in scores.reasons.items() if "one row of logits an image" in reason}
    assert refused == (LABELLED & set(scores) if head in ("segmentation", "generation") else set())
    names = ("synflow", "nwot", "near", "jacov", "swap", "az_expressivity", "az_trainability")
    assert all(math.isfinite(scores[name]) for name in names), scores.reasons


def resized_digits() -> ImageDataset:
    return load_data("digits", image_size=96)


def test_maps_are_not_trained() -> None:
    space, images = space_of("transnas_macro(channels=4)", "segmentation"), resized_digits()
    network = space.build(space.parse(MACRO), images.task)
    with pytest.raises(InputError, match=r"makes of images of shape .* expected \(2, 10\)"):
        train(network, images, images, epochs=1)


@pytest.mark.parametrize("name", ["transnas_macro", "transnas_micro"])
def test_a_head_is_an_option_in_words(name: str) -> None:
    space = search_space(f"{name}(head=jigsaw)")
    assert search_space(space.spec) == space != search_space(name)
    assert {size.options["head"] for size in (*space.sizes, space.resized(0.25), space.thin())} == {"jigsaw"}
    assert space.resized(0.25).options["channels"] == 16
    with pytest.raises(InputError, match="The head is 'puzzle', expected one of classification, jigsaw, segmentation"):
        search_space(f"{name}(head=puzzle)")
