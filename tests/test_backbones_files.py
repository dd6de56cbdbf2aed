"""Checkpoints of ResNet and MobileNet that users name, against the same networks written here."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from trainless.automl import Plan, fit
from trainless.backbones import Architecture, Backbone, backbones, known, read_weights
from trainless.backbones.mobile import mobile
from trainless.backbones.resnet import resnet
from trainless.backbones.weights import shapes_of
from trainless.data import load_splits
from trainless.errors import DataError
from trainless.search import Limits
from trainless.search_spaces.pretrained import Pretrained
from trainless.types import Task


class ResidualBlock(nn.Module):
    """He et al. 2016: two 3 x 3 convolutions, or three that narrow, convolve and widen by 4."""

    def __init__(self, inputs: int, width: int, stride: int, is_bottleneck: bool, groups: int = 1) -> None:
        super().__init__()
        outputs = 4 * width if is_bottleneck else width
        inside = width * (2 if groups > 1 else 1)
        if is_bottleneck:
            self.conv1 = nn.Conv2d(inputs, inside, 1, bias=False)
            self.conv2 = nn.Conv2d(inside, inside, 3, stride, 1, groups=groups, bias=False)
            self.conv3 = nn.Conv2d(inside, outputs, 1, bias=False)
        else:
            self.conv1 = nn.Conv2d(inputs, inside, 3, stride, 1, bias=False)
            self.conv2 = nn.Conv2d(inside, outputs, 3, 1, 1, bias=False)
        self.count = 3 if is_bottleneck else 2
        for number in range(1, self.count + 1):
            setattr(self, f"bn{number}", nn.BatchNorm2d(getattr(self, f"conv{number}").out_channels))
        self.downsample = (
            nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
            if stride > 1 or inputs != outputs
            else nn.Identity()
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x
        for number in range(1, self.count + 1):
            y = getattr(self, f"bn{number}")(getattr(self, f"conv{number}")(y))
            y = y.relu() if number < self.count else y
        return (y + self.downsample(x)).relu()


class ResNet(nn.Module):
    def __init__(
        self, repeats: tuple[int, ...], is_bottleneck: bool, width: int = 64, groups: int = 1, classes: int = 1000
    ) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width)
        inputs, self.stages = width, len(repeats)
        for stage, count in enumerate(repeats):
            blocks = []
            for number in range(count):
                wide = width * 2**stage
                blocks.append(ResidualBlock(inputs, wide, 2 if stage and not number else 1, is_bottleneck, groups))
                inputs = 4 * wide if is_bottleneck else wide
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nn.functional.max_pool2d(self.bn1(self.conv1(x)).relu(), 3, 2, 1)
        for stage in range(self.stages):
            x = getattr(self, f"layer{stage + 1}")(x)
        return self.fc(x.mean((2, 3)))


def rounded(channels: float) -> int:
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest + 8 * (nearest < 0.9 * channels)


# Sandler et al. 2018, table 2: expansion, channels, repeats, stride.
V2 = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


class TorchvisionV2Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion

        def unit(channels: int, kernel: int, step: int, groups: int) -> nn.Sequential:
            convolution = nn.Conv2d(channels, hidden, kernel, step, kernel // 2, groups=groups, bias=False)
            return nn.Sequential(convolution, nn.BatchNorm2d(hidden), nn.ReLU6())

        wide = [unit(inputs, 1, 1, 1)] if expansion > 1 else []
        self.conv = nn.Sequential(
            *wide, unit(hidden, 3, stride, hidden), nn.Conv2d(hidden, outputs, 1, bias=False), nn.BatchNorm2d(outputs)
        )
        self.is_added = stride == 1 and inputs == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv(x) if self.is_added else self.conv(x)


class TorchvisionV2(nn.Module):
    def __init__(self, width: float = 1.0, classes: int = 1000) -> None:
        super().__init__()
        channels = rounded(32 * width)
        stem = nn.Sequential(nn.Conv2d(3, channels, 3, 2, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU6())
        layers: list[nn.Module] = [stem]
        for expansion, wanted, repeats, stride in V2:
            for number in range(repeats):
                outputs = rounded(wanted * width)
                layers.append(TorchvisionV2Block(channels, outputs, stride if number == 0 else 1, expansion))
                channels = outputs
        last = int(1280 * max(1.0, width))
        layers.append(nn.Sequential(nn.Conv2d(channels, last, 1, bias=False), nn.BatchNorm2d(last), nn.ReLU6()))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(last, classes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(x).mean((2, 3)))


class Gate(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_reduce = nn.Conv2d(channels, rounded(channels / 4), 1)
        self.conv_expand = nn.Conv2d(rounded(channels / 4), channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        factor = self.conv_expand(self.conv_reduce(x.mean((2, 3), keepdim=True)).relu())
        return x * ((factor + 3).clamp(0, 6) / 6)


class TimmBlock(nn.Module):
    def __init__(
        self, inputs: int, hidden: int, outputs: int, kernel: int, stride: int, activation: nn.Module, is_gated: bool,
        is_separable: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        depthwise = nn.Conv2d(hidden, hidden, kernel, stride, kernel // 2, groups=hidden, bias=False)
        narrow = nn.Conv2d(hidden, outputs, 1, bias=False)
        if is_separable:
            self.conv_dw, self.bn1 = depthwise, nn.BatchNorm2d(hidden)
            self.conv_pw, self.bn2 = narrow, nn.BatchNorm2d(outputs)
        else:
            self.conv_pw, self.bn1 = nn.Conv2d(inputs, hidden, 1, bias=False), nn.BatchNorm2d(hidden)
            self.conv_dw, self.bn2 = depthwise, nn.BatchNorm2d(hidden)
            self.conv_pwl, self.bn3 = narrow, nn.BatchNorm2d(outputs)
        self.se = Gate(hidden) if is_gated else nn.Identity()
        self.activation, self.is_separable = activation, is_separable
        self.is_added = stride == 1 and inputs == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.is_separable:
            y = self.bn2(self.conv_pw(self.se(self.activation(self.bn1(self.conv_dw(x))))))
        else:
            y = self.activation(self.bn2(self.conv_dw(self.activation(self.bn1(self.conv_pw(x))))))
            y = self.bn3(self.conv_pwl(self.se(y)))
        return x + y if self.is_added else y


class Timm(nn.Module):
    """MobileNetV2 or V3 as timm names it; a row a block: stage, kernel, hidden, outputs, gate, activation, stride."""

    def __init__(self, stem: int, rows: list[tuple], activation: nn.Module, wide: int, last: int, classes: int) -> None:
        super().__init__()
        self.conv_stem, self.bn1 = nn.Conv2d(3, stem, 3, 2, 1, bias=False), nn.BatchNorm2d(stem)
        stages: list[list[nn.Module]] = []
        inputs = stem
        for stage, kernel, hidden, outputs, is_gated, inner, stride in rows:
            if stage == len(stages):
                stages.append([])
            separable = stage == 0
            stages[stage].append(TimmBlock(inputs, hidden, outputs, kernel, stride, inner, is_gated, separable))
            inputs = outputs
        if wide:
            self.cn = nn.Module()
            self.cn.conv, self.cn.bn1 = nn.Conv2d(inputs, wide, 1, bias=False), nn.BatchNorm2d(wide)
            stages.append([self.cn])
            del self.cn
            inputs = wide
        self.blocks = nn.Sequential(*(nn.Sequential(*stage) for stage in stages))
        self.conv_head = nn.Conv2d(inputs, last, 1, bias=wide > 0)
        if not wide:
            self.bn2 = nn.BatchNorm2d(last)
        self.classifier, self.activation, self.wide = nn.Linear(last, classes), activation, wide

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.activation(self.bn1(self.conv_stem(x)))
        for stage in self.blocks[:-1] if self.wide else self.blocks:
            x = stage(x)
        if self.wide:
            last = self.blocks[-1][0]
            x = self.activation(last.bn1(last.conv(x))).mean((2, 3), keepdim=True)
            return self.classifier(self.activation(self.conv_head(x)).flatten(1))
        return self.classifier(self.activation(self.bn2(self.conv_head(x))).mean((2, 3)))


def timm_v2(width: float = 1.0, classes: int = 1000, deepened: tuple[int, ...] = ()) -> Timm:
    rows, inputs = [], rounded(32 * width) if not deepened else 32
    for stage, (expansion, wanted, repeats, stride) in enumerate(V2):
        for number in range(deepened[stage] if deepened else repeats):
            outputs = rounded(wanted * width)
            rows.append((stage, 3, inputs * expansion, outputs, False, nn.ReLU6(), 1 if number else stride))
            inputs = outputs
    return Timm(rows[0][2], rows, nn.ReLU6(), 0, rounded(1280 * max(1.0, width)) if not deepened else 1280, classes)


# Howard et al. 2019, tables 2 and 1: kernel, hidden, outputs, gate, hard swish, stride.
SMALL = (
    (3, 16, 16, 1, 0, 2), (3, 72, 24, 0, 0, 2), (3, 88, 24, 0, 0, 1), (5, 96, 40, 1, 1, 2), (5, 240, 40, 1, 1, 1),
    (5, 240, 40, 1, 1, 1), (5, 120, 48, 1, 1, 1), (5, 144, 48, 1, 1, 1), (5, 288, 96, 1, 1, 2), (5, 576, 96, 1, 1, 1),
    (5, 576, 96, 1, 1, 1),
)  # fmt: skip
LARGE = (
    (3, 16, 16, 0, 0, 1), (3, 64, 24, 0, 0, 2), (3, 72, 24, 0, 0, 1), (5, 72, 40, 1, 0, 2), (5, 120, 40, 1, 0, 1),
    (5, 120, 40, 1, 0, 1), (3, 240, 80, 0, 1, 2), (3, 200, 80, 0, 1, 1), (3, 184, 80, 0, 1, 1), (3, 184, 80, 0, 1, 1),
    (3, 480, 112, 1, 1, 1), (3, 672, 112, 1, 1, 1), (5, 672, 160, 1, 1, 2), (5, 960, 160, 1, 1, 1),
    (5, 960, 160, 1, 1, 1),
)  # fmt: skip
STAGES = {SMALL: (1, 2, 3, 2, 3), LARGE: (1, 2, 3, 4, 2, 3)}


def timm_v3(table: tuple = SMALL, width: float = 1.0, classes: int = 1000) -> Timm:
    stages = [stage for stage, repeats in enumerate(STAGES[table]) for _ in range(repeats)]
    rows = [
        (stage, kernel, rounded(hidden * width), rounded(outputs * width), bool(gated),
         nn.Hardswish() if hard else nn.ReLU(), stride)
        for stage, (kernel, hidden, outputs, gated, hard, stride) in zip(stages, table, strict=True)
    ]  # fmt: skip
    wide = rounded((576 if table is SMALL else 960) * width)
    return Timm(rows[0][2], rows, nn.Hardswish(), wide, 1024 if table is SMALL else 1280, classes)


# The figures that timm and torchvision publish, two of them to the ten thousand.
PUBLISHED: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "resnet18": (lambda: ResNet((2, 2, 2, 2), is_bottleneck=False), 11_689_512),
    "resnet34": (lambda: ResNet((3, 4, 6, 3), is_bottleneck=False), 21_797_672),
    "resnet26": (lambda: ResNet((2, 2, 2, 2), is_bottleneck=True), 15_995_176),
    "resnet50": (lambda: ResNet((3, 4, 6, 3), is_bottleneck=True), 25_557_032),
    "resnext50_32x4d": (lambda: ResNet((3, 4, 6, 3), is_bottleneck=True, groups=32), 25_028_904),
    "mobilenetv2_050": (lambda: timm_v2(0.5), 1_968_680),
    "mobilenetv2_100": (timm_v2, 3_504_872),
    "mobilenetv2_110d": (lambda: timm_v2(1.1, deepened=(1, 3, 4, 5, 4, 4, 1)), 4_520_000),
    "mobilenetv2_140": (lambda: timm_v2(1.4), 6_110_000),
    "mobilenet_v2": (TorchvisionV2, 3_504_872),
    "mobilenetv3_small_100": (timm_v3, 2_542_856),
    "mobilenetv3_large_100": (lambda: timm_v3(LARGE), 5_483_032),
}

# Small ones whose tensors are drawn.
DRAWN: dict[str, Callable[[], nn.Module]] = {
    "resnet14": lambda: ResNet((2, 1, 1, 2), is_bottleneck=False, width=8, classes=7),
    "resnet14, bottlenecks": lambda: ResNet((1, 1, 2), is_bottleneck=True, width=8, classes=7),
    "resnet14, grouped": lambda: ResNet((1, 1, 2), is_bottleneck=True, width=8, groups=4, classes=7),
    "mobilenetv2": lambda: timm_v2(0.25, classes=7),
    "mobilenetv2 of torchvision": lambda: TorchvisionV2(0.25, classes=7),
    "mobilenetv3_small": lambda: timm_v3(SMALL, 0.25, classes=7),
    "mobilenetv3_large": lambda: timm_v3(LARGE, 0.25, classes=7),
}


def drawn(make: Callable[[], nn.Module]) -> nn.Module:
    """A network with weights, statistics and biases that all matter."""
    torch.manual_seed(0)
    network = make().eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
            nn.init.normal_(module.running_mean, std=0.3)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return network


def saved(network: nn.Module, file: Path) -> str:
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, file)
    return str(file)


def whole(file: str, pixels: int = 64, channels: int = 3) -> nn.Module:
    """The network of a file, uncut, with its own classifier."""
    space = Pretrained(file)
    (backbone,) = space.backbones
    architecture = space.cut_after(backbone, backbone.cuts, pixels)
    classifier = read_weights(backbone)[-1]
    task = Task("any", len(classifier["weight"]), channels, pixels, pixels)
    network = space.build(architecture, task)
    space.start(network, architecture)
    network.head.load_state_dict(classifier)
    return network.eval()


def recognised(network: nn.Module) -> tuple[str, Architecture]:
    shapes = shapes_of(network.state_dict())
    read = mobile(shapes) or resnet(shapes)
    assert read is not None
    return read


class TestArchitectures:
    @pytest.mark.parametrize("name", PUBLISHED)
    def test_parameters_are_the_published_ones(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        make, parameters = PUBLISHED[name]
        published = pytest.approx(parameters, abs=5000 if parameters % 10_000 == 0 else 0)
        with torch.device("meta"):
            network = make()
        assert sum(value.numel() for value in network.parameters()) == published
        family, architecture = recognised(network)
        assert name.replace("next", "net").replace("et_v", "etv").startswith(family)
        backbone = Backbone(family, architecture, (0.5,) * 3, (0.5,) * 3, False, "here", "none")
        monkeypatch.setitem(known.BACKBONES, family, backbone)
        space = Pretrained(family)
        assert space.parameters(space.cut_after(backbone, backbone.cuts, 224), Task("imagenet", 1000)) == published

    @pytest.mark.parametrize("name", DRAWN)
    def test_outputs_are_those_of_the_network(self, name: str, tmp_path: Path) -> None:
        network = drawn(DRAWN[name])
        file = saved(network, tmp_path / "mobilenetv3_x.safetensors")
        images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
        with torch.inference_mode():
            expected = network(images)
            assert float(expected.std()) > 0.01
            torch.testing.assert_close(whole(file)(images), expected, rtol=1e-5, atol=1e-5)
        assert backbones(file)[0].name == name.split(",")[0].split(" ")[0]

    def test_one_of_tensorflow_pads_behind_first(self, tmp_path: Path) -> None:
        file = saved(drawn(DRAWN["mobilenetv3_small"]), tmp_path / "tf_mobilenetv3_small_100.safetensors")
        network = whole(file)
        assert backbones(file)[0].mean == (0.5, 0.5, 0.5)
        assert {layer.eps for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)} == {1e-3}
        strided = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d) and layer.stride == (2, 2)]
        assert {layer.padding for layer in strided} == {(0, 0)}

    @pytest.mark.parametrize("name", ["resnet14", "mobilenetv3_small"])
    def test_it_can_be_cut_after_each_block(self, name: str, tmp_path: Path) -> None:
        network = drawn(DRAWN[name])
        file = saved(network, tmp_path / "mobilenetv3_x.safetensors")
        space = Pretrained(file)
        (backbone,) = space.backbones
        images = torch.randn(2, 3, 32, 32)
        for depth in range(1, backbone.cuts + 1):
            architecture = space.cut_after(backbone, depth, 32)
            task = Task("photos", 3, 3, 32, 32)
            made = space.build(architecture, task)
            assert sum(value.numel() for value in made.parameters()) == space.parameters(architecture, task)
            assert made(images).shape == (2, 3)
            assert made.head.in_features == space.cut(architecture).features


class TestFiles:
    @pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
    def test_half_precision_becomes_single(self, precision: torch.dtype, tmp_path: Path) -> None:
        network = drawn(DRAWN["resnet14"]).to(precision)
        file = tmp_path / "half.pth"
        torch.save({"state_dict": {f"module.{name}": value for name, value in network.state_dict().items()}}, file)
        read = whole(str(file), 32)
        assert {value.dtype for value in read.parameters()} == {torch.float32}
        assert torch.equal(read.features[0][0][0].weight, network.conv1.weight.float())

    def test_grey_images_are_colour_images_of_equal_channels(self, tmp_path: Path) -> None:
        file = saved(drawn(DRAWN["resnet14"]), tmp_path / "model.safetensors")
        grey = torch.randn(2, 1, 32, 32)
        with torch.inference_mode():
            torch.testing.assert_close(
                whole(file, 32, channels=1)(grey), whole(file, 32)(grey.expand(2, 3, 32, 32)), rtol=1e-4, atol=1e-4
            )

    def test_images_are_normalised_as_those_of_imagenet_unless_a_config_says_else(self, tmp_path: Path) -> None:
        file = saved(drawn(DRAWN["mobilenetv2"]), tmp_path / "model.safetensors")
        (backbone,) = backbones(file)
        assert backbone.facts()["normalisation of the weights"].startswith(
            "mean 0.485, 0.456, 0.406, deviation 0.229, "
        )
        (tmp_path / "config.json").write_text(json.dumps({"pretrained_cfg": {"mean": [0, 0, 0], "std": [1, 1, 1]}}))
        assert backbones(file)[0].mean == (0.0, 0.0, 0.0)

    def test_how_it_is_padded_has_to_be_said(self, tmp_path: Path) -> None:
        file = saved(drawn(DRAWN["mobilenetv3_small"]), tmp_path / "model.safetensors")
        with pytest.raises(DataError, match=r"not how it is padded: name the file tf_mobilenetv3_small if"):
            backbones(file)

    def test_a_resnet_that_is_smoothed_is_refused_by_its_name(self, tmp_path: Path) -> None:
        file = saved(drawn(DRAWN["resnet14"]), tmp_path / "resnetblur18.safetensors")
        with pytest.raises(DataError, match="holds no EfficientNet-Lite, MobileNetV2, MobileNetV3 or ResNet"):
            backbones(file)

    @pytest.mark.parametrize(
        ("name", "changed"),
        [
            ("resnet14", {"layer1.0.se.fc1.weight": torch.zeros(2, 8, 1, 1)}),  # gated
            ("resnet14", {"conv1.weight": torch.zeros(8)}),
            ("resnet14", {"conv1.weight": torch.zeros(0, 3, 7, 7)}),
            ("resnet14", {"conv1.weight": torch.tensor(1.0)}),
            ("resnet14", {"conv1.weight": torch.zeros(8, 4, 7, 7)}),
            ("mobilenetv2", {"blocks.1.0.conv_dw.weight": torch.zeros(48, 1, 5, 5)}),  # kernels of no family
            ("mobilenetv2", {"blocks.1.0.conv_dw.weight": torch.zeros(48)}),
            ("mobilenetv2", {"conv_stem.weight": torch.tensor(1.0)}),
            ("mobilenetv3_small", {"blocks.0.0.se.conv_reduce.weight": None}),
        ],
    )
    def test_others_are_refused(self, name: str, changed: dict[str, torch.Tensor | None], tmp_path: Path) -> None:
        state = {**drawn(DRAWN[name]).state_dict(), **changed}
        file = tmp_path / "mobilenetv3_small.pth"
        torch.save({key: value for key, value in state.items() if value is not None}, file)
        with pytest.raises(DataError, match=r"holds no EfficientNet-Lite, .* first '\S+'\): give a whole checkpoint"):
            backbones(str(file))

    def test_what_lacks_a_bias_is_refused(self, tmp_path: Path) -> None:
        state = drawn(DRAWN["mobilenetv3_small"]).state_dict()
        del state["conv_head.bias"]
        file = tmp_path / "mobilenetv3_rw.safetensors"
        save_file(state, file)
        with pytest.raises(DataError, match=r"of 'conv_head', expected weight .*, bias \(1024,\): give a whole"):
            backbones(str(file))


@pytest.mark.slow
def test_a_fit_starts_from_a_file(tmp_path: Path) -> None:
    file = saved(drawn(DRAWN["resnet14"]), tmp_path / "model.safetensors")
    splits = load_splits("digits", fractions=(0.1, 0.1, 0.8))
    fitted = fit(splits, Plan(epochs=1, limits=Limits(flops=4e5), space="pretrained", backbone=file, workers=1))
    assert fitted.architecture.startswith("resnet14-")
    assert fitted.test.accuracy > 0.5
