"""The space of convolutional networks: names and canonical forms, counts by hand, networks by definition, export."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from trainless import score
from trainless.data import load_data, split
from trainless.errors import ArchitectureError, InputError
from trainless.export import FORMATS, load_plain, plain_code, write_onnx, write_plain, write_torchscript
from trainless.initialization import derive_from_data, initialize
from trainless.operations import Whitening
from trainless.search_spaces.convnet import ConvNet
from trainless.search_spaces.convnet_stages import REDUCTIONS, WIDTHS
from trainless.testing import ProductSpaceContract
from trainless.training import TrainingState, train
from trainless.types import Architecture, Task

SPACE, SMALL = ConvNet(), ConvNet(unit=1)
CIFAR10 = Task("cifar10", 10)
COLOUR = Task("colour", 4, 3, 16, 16)
MIXED = "whiten64-k3w48d4.pool.res.gelu-s5w64d3.stride-k5w40d2.endpool.silu-s3w80d1.pool-max8"


def drawn(count: int, space: ConvNet = SPACE, seed: int = 0) -> list[Architecture]:
    rng = np.random.default_rng(seed)
    return [space.sample(rng) for _ in range(count)]


def built(text: str, task: Task = COLOUR, space: ConvNet = SMALL, seed: int = 0) -> nn.Module:
    network = space.build(space.parse(text), task)
    initialize(network, generator=torch.Generator().manual_seed(seed))
    return network


def images(task: Task = COLOUR, count: int = 6) -> torch.Tensor:
    return torch.randn(count, *task.input_shape, generator=torch.Generator().manual_seed(1))


class TestContract(ProductSpaceContract):
    space = SMALL
    draws = 4
    tasks = (COLOUR, Task("odd", classes=2, channels=1, height=13, width=9))


class TestStrings:
    def test_there_are_more_than_a_hundred_million(self) -> None:
        stage = 5 * 16 * 4 * 4 * 2 * 3
        assert SPACE.size == (3 * 7) * stage**3 * (stage * 5 // 4) * (2 * 4) > 10**8

    def test_what_is_usual_is_not_said(self) -> None:
        read = SPACE.parse(MIXED)
        assert str(read) == MIXED
        assert read.genotype[:8] == ("whiten", 64, "k3", 48, 4, "pool", "res", "gelu")
        assert read.genotype[-8:] == ("s3", 80, 1, "pool", "plain", "relu", "max", 8)

    def test_an_absent_stage_is_not_written(self) -> None:
        read = SPACE.parse(SPACE.named["resnet9"])
        assert str(SPACE.make(read.genotype)) == SPACE.named["resnet9"]
        assert [stage.channels for stage in SPACE.stages(read)] == [48, 64, 80]

    @pytest.mark.parametrize("name", SPACE.named)
    def test_names_are_read(self, name: str) -> None:
        read = SPACE.parse(f" {name} ")
        assert str(read) == SPACE.named[name]
        assert SPACE.canonical(read) == read

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("resnet", "it has 0 stages, not 3 or 4"),
            ("conv8-k3w16d1-k3w16d1-avg1", "it has 2 stages, not 3 or 4"),
            ("conv9-k3w16d1-k3w16d1-k3w16d1-avg1", "its stem is written 'conv9'"),
            ("conv8-k3w16d1-k3w16d1-k3w16d1-avg3", "its head is written 'avg3'"),
            ("conv8-k3w16d1-k3w17d1-k3w16d1-avg1", "its stage 2 is written 'k3w17d1'"),
            ("conv8-k3w16d1-k3w16d0-k3w16d1-avg1", "its stage 2 is written 'k3w16d0'"),
            ("conv8-k3w16d1-k3w16d1-k3w16d1.res.pool-avg1", "its stage 3 is written 'k3w16d1.res.pool'"),
            ("conv8-k3w16d1-k3w16d1-k3w16d1.whole-avg1", "its stage 3 is written 'k3w16d1.whole'"),
        ],
    )
    def test_what_is_none_is_refused_with_its_part(self, text: str, problem: str) -> None:
        with pytest.raises(ArchitectureError) as caught:
            SPACE.parse(text)
        assert str(caught.value).startswith(f"'{text}' is no architecture of convnet: {problem}, expected a form like")
        assert "resnet9" in str(caught.value)

    def test_a_unit_below_1_is_refused(self) -> None:
        with pytest.raises(InputError, match="The unit is 0"):
            ConvNet(unit=0)


class TestCanonical:
    @pytest.mark.parametrize(
        ("text", "canonical"),
        [
            ("conv8-k3w16d1.endpool.res-k3w16d2-k1w16d1-avg1", "conv8-k3w16d1.pool-k3w16d2-k1w16d1-avg1"),
            ("conv8-k3w16d1-k3w16d2-k1w16d2.endpool.res-max8", "conv8-k3w16d1-k3w16d2-k1w16d2.res-max8"),
            ("conv8-k3w16d1-k3w16d2-k1w16d2-k5w32d0.pool.res.silu-avg1", "conv8-k3w16d1-k3w16d2-k1w16d2-avg1"),
            ("conv8-k3w16d1-k3w16d2-k1w16d3.endpool-s3w16d0-max1", "conv8-k3w16d1-k3w16d2-k1w16d3-max1"),
        ],
    )
    def test_equal_networks_compute_the_same(self, text: str, canonical: str) -> None:
        assert str(SMALL.canonical(SMALL.parse(text))) == canonical
        first, second = built(text), built(canonical, seed=1)
        second.load_state_dict(first.state_dict())
        torch.testing.assert_close(first(images()), second(images()))

    @pytest.mark.parametrize("text", [MIXED, *SPACE.named])
    def test_others_are_different(self, text: str) -> None:
        classes = {SMALL.canonical(other) for other in SMALL.neighbors(SMALL.parse(text))}
        described = {SMALL.blueprint(other, COLOUR).nodes for other in classes}
        assert len(described) == len(classes) > 80


class TestSampling:
    def test_proposals_are_of_all_sizes(self) -> None:
        rng = np.random.default_rng(0)
        counts = np.array([SPACE.parameters(SPACE.propose(rng), CIFAR10) for _ in range(300)])
        assert np.mean(counts <= 300_000) > 0.7
        assert np.mean(counts <= 50_000) > 0.2
        assert np.mean(counts > 300_000) > 0.1
        seen = {stage.channels for _ in range(200) for stage in SPACE.stages(SPACE.propose(rng))}
        assert seen == set(WIDTHS)

    def test_what_is_drawn_within_limits_is_within_them(self) -> None:
        rng = np.random.default_rng(0)
        for limit in (20_000, 50_000, 300_000):
            found = SPACE.sample_within(rng, lambda network: SPACE.parameters(network, CIFAR10) <= limit)  # noqa: B023
            assert found is not None
            assert SPACE.parameters(found, CIFAR10) <= limit
        assert SPACE.sample_within(rng, lambda network: False, draws=5) is None

    def test_every_reduction_is_drawn(self) -> None:
        stages = [stage for architecture in drawn(50) for stage in SPACE.stages(architecture)]
        assert {stage.reduction for stage in stages} == set(REDUCTIONS)


def norm(channels: int) -> int:
    return 2 * channels


class TestCounts:
    """Parameters and multiply-adds for CIFAR-10, layer by layer; a map of 32 x 32 has 1,024 pixels."""

    def test_resnet9(self) -> None:
        parameters = (
            27 * 27 + 27 * 64 + norm(64)
            + 9 * 64 * 48 + norm(48) + 2 * (9 * 48 * 48 + norm(48))
            + 9 * 48 * 64 + norm(64)
            + 9 * 64 * 80 + norm(80) + 2 * (9 * 80 * 80 + norm(80))
            + 81 * 10
        )  # fmt: skip
        multiply_adds = (
            1024 * (27 * 27 + 27 * 64 + 9 * 64 * 48) + 256 * (2 * 9 * 48 * 48 + 9 * 48 * 64)
            + 64 * 9 * 64 * 80 + 16 * 2 * 9 * 80 * 80 + 80 * 10
        )  # fmt: skip
        assert self.counts("resnet9") == (parameters, multiply_adds)
        assert parameters - 27 * 27 == 261_610  # those that learn

    def test_strided_resnet(self) -> None:
        parameters = (
            27 * 32 + norm(32) + 9 * 32 * 48 + norm(48) + 9 * 48 * 72 + norm(72)
            + 9 * 72 * 96 + norm(96) + 2 * (9 * 96 * 96 + norm(96)) + 97 * 10
        )  # fmt: skip
        multiply_adds = 256 * (27 * 32 + 9 * 32 * 48) + 64 * 9 * 48 * 72 + 16 * 9 * (72 * 96 + 2 * 96 * 96) + 96 * 10
        assert self.counts("strided-resnet") == (parameters, multiply_adds)
        assert parameters == 275_738

    def test_vgg(self) -> None:
        parameters = (
            27 * 32 + norm(32) + 9 * 32 * 32 + norm(32)
            + 9 * (32 * 64 + 64 * 64) + 2 * norm(64)
            + 9 * (64 * 96 + 96 * 96) + 2 * norm(96)
            + 9 * (96 * 128 + 128 * 128) + 2 * norm(128)
            + 129 * 10
        )  # fmt: skip
        multiply_adds = (
            1024 * (27 * 32 + 9 * 32 * 32) + 256 * 9 * (32 * 64 + 64 * 64) + 64 * 9 * (64 * 96 + 96 * 96)
            + 16 * 9 * (96 * 128 + 128 * 128) + 128 * 10
        )  # fmt: skip
        assert self.counts("vgg") == (parameters, multiply_adds)

    def test_mobilenet(self) -> None:
        def separable(inputs: int, outputs: int) -> int:
            return 9 * inputs + norm(inputs) + inputs * outputs + norm(outputs)

        parameters = (
            27 * 32 + norm(32) + separable(32, 64) + separable(64, 128) + separable(128, 128)
            + separable(128, 192) + separable(192, 192) + separable(192, 256) + 3 * separable(256, 256) + 257 * 10
        )  # fmt: skip
        multiply_adds = (
            1024 * (27 * 32 + 9 * 32 + 32 * 64)
            + 256 * (9 * 64 + 64 * 128 + 9 * 128 + 128 * 128)
            + 64 * (9 * 128 + 128 * 192 + 9 * 192 + 192 * 192)
            + 16 * (9 * 192 + 192 * 256 + 3 * (9 * 256 + 256 * 256))
            + 256 * 10
        )  # fmt: skip
        assert self.counts("mobilenet") == (parameters, multiply_adds)

    @staticmethod
    def counts(name: str) -> tuple[int, int]:
        network = SPACE.parse(name)
        return SPACE.parameters(network, CIFAR10), SPACE.flops(network, CIFAR10)


def reference(network: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """The network of `MIXED` written out by functions, with the weights of a built one in their order."""
    weights = iter(network.parameters())
    relu, silu, gelu = nn.functional.relu, nn.functional.silu, nn.functional.gelu

    def normalised(x: torch.Tensor) -> torch.Tensor:
        mean, variance = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), keepdim=True, unbiased=False)
        scale, shift = next(weights), next(weights)
        return (x - mean) / (variance + 1e-5).sqrt() * scale[:, None, None] + shift[:, None, None]

    def convolved(x: torch.Tensor, stride: int = 1, groups: int = 1) -> torch.Tensor:
        weight = next(weights)
        return nn.functional.conv2d(x, weight, None, stride, weight.shape[2] // 2, groups=groups)

    def separable(x: torch.Tensor, stride: int = 1) -> torch.Tensor:
        return relu(normalised(convolved(relu(normalised(convolved(x, stride, groups=x.shape[1]))))))

    x = gelu(normalised(convolved(convolved(x))))
    x = gelu(normalised(nn.functional.max_pool2d(convolved(x), 2)))
    x = x + gelu(normalised(convolved(gelu(normalised(convolved(x))))))
    x = x + gelu(normalised(convolved(x)))
    x = separable(separable(separable(x, 2)))
    x = silu(normalised(convolved(silu(normalised(convolved(x))))))
    x = nn.functional.max_pool2d(x, 2)
    x = relu(normalised(convolved(x, groups=x.shape[1])))
    x = relu(normalised(nn.functional.max_pool2d(convolved(x), 2)))
    return (x.amax((2, 3)) @ next(weights).t() + next(weights)) / 8


class TestNetworks:
    def test_they_are_their_definition(self) -> None:
        network = built(MIXED).double()
        x = images().double()
        torch.testing.assert_close(network(x), reference(network, x))

    def test_the_stem_does_not_learn(self) -> None:
        network = built("resnet9")
        frozen = {name for name, weight in network.named_parameters() if not weight.requires_grad}
        assert frozen == {"features.0.0.convolution.weight"}

    def test_widths_are_in_units(self) -> None:
        assert [size.unit for size in SPACE.sizes] == [8, 4, 2]
        assert [stage.channels for stage in ConvNet(unit=2).stages(SPACE.parse("resnet9"))] == [12, 16, 20]

    @pytest.mark.parametrize("task", [Task("pixel", 2, 1, 1, 1), Task("strip", 2, 1, 1, 9)], ids=lambda task: task.name)
    def test_tiny_images_are_enough_to_evaluate(self, task: Task) -> None:
        for text in (MIXED, *SPACE.named):
            with torch.no_grad():
                assert built(text, task).eval()(images(task, 1)).shape == (1, 2)

    def test_blocks_are_captioned(self) -> None:
        lines = SPACE.draw(SPACE.parse(MIXED)).splitlines()
        assert lines[1] == "stage 1 4 convs 3×3, 48 channels, max pool, residual, GELU"
        assert lines[4] == "stage 4 1 separable conv 3×3, 80 channels, max pool"
        assert SPACE.skip_spans(SPACE.parse(MIXED)) == (1, 1)


class TestProxies:
    @pytest.mark.parametrize("text", [MIXED, "resnet9", "mobilenet"])
    def test_all_are_finite(self, text: str) -> None:
        network, architecture = built(text), SMALL.parse(text)
        scores = score(network, images(count=12), torch.arange(12) % 4)
        assert {name: value for name, value in scores.items() if not math.isfinite(value)} == {}
        assert scores["params"] == SMALL.parameters(architecture, COLOUR)
        assert scores["flops"] == SMALL.flops(architecture, COLOUR)
        frozen = 27 * 27 if "whiten" in str(architecture) else 0
        learning = score(network, images(count=12), torch.arange(12) % 4, proxies=["params:trainable"])
        assert learning["params:trainable"] == scores["params"] - frozen

    def test_zen_reads_the_map_before_a_global_maximum_as_before_a_mean(self) -> None:
        text = SPACE.named["resnet9"]
        first, second = (
            score(built(head), images(), proxies=["zen"])["zen"] for head in (text, text.replace("max8", "avg1"))
        )
        assert first == second


class TestTraining:
    def test_the_stem_is_derived_from_the_training_images_and_stays_so(self) -> None:
        _, some = split(load_data("digits"), 0.2)
        train_set, valid_set = split(some, 0.3)
        expected = Whitening(1)
        derive_from_data(expected, train_set)

        def trained(**options: Any) -> tuple[nn.Module, list[TrainingState]]:
            states: list[TrainingState] = []
            network = SMALL.build(SMALL.parse("resnet9"), train_set.task)
            train(network, train_set, valid_set, epochs=2, on_epoch=states.append, prefer_last=True, **options)
            return network, states

        whole, states = trained()
        assert torch.equal(whole.features[0][0].convolution.weight, expected.convolution.weight)
        resumed, _ = trained(resume=states[0])
        for name, value in whole.state_dict().items():
            assert torch.equal(value, resumed.state_dict()[name]), name


class TestExport:
    MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)

    def written(self, folder: Path) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
        network = built(MIXED)
        for _ in range(3):
            network(images(count=32))  # running statistics
        network.eval()
        write_plain(plain_code(network, COLOUR.input_shape, "abcd", self.MEAN, self.STD), folder)
        raw = torch.rand(70, *COLOUR.input_shape, generator=torch.Generator().manual_seed(2))
        with torch.no_grad():
            mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (self.MEAN, self.STD))
            return load_plain(folder), raw, network((raw - mean) / std)

    def test_plain_code_computes_the_same(self, tmp_path: Path) -> None:
        plain, raw, expected = self.written(tmp_path)
        with torch.no_grad():
            torch.testing.assert_close(plain(raw), expected)
        assert expected.std() > 0.01
        assert "trainless" not in (tmp_path / "network.py").read_text()

    @pytest.mark.filterwarnings("ignore:.*torch.jit.load:DeprecationWarning")
    def test_torchscript_computes_the_same(self, tmp_path: Path) -> None:
        plain, raw, _ = self.written(tmp_path)
        assert write_torchscript(plain, raw, tmp_path / FORMATS["torchscript"]) < 1e-5

    @pytest.mark.slow
    def test_onnx_computes_the_same(self, tmp_path: Path) -> None:
        plain, raw, _ = self.written(tmp_path)
        assert write_onnx(plain, raw, tmp_path / FORMATS["onnx"]) < 1e-4
