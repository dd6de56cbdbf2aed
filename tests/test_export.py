"""Exported networks give the same numbers, and need nothing of trainless."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from trainless.errors import InputError
from trainless.export import FORMATS, load_plain, plain_code, write_onnx, write_plain, write_torchscript
from trainless.search_spaces import search_space
from trainless.types import Task

SPACE = search_space("nasbench201", channels=4, cells=1)
TASK = Task("toy", 3, height=12, width=10)
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
CELLS = [SPACE.make([name] * 6) for name in ("none", "skip_connect")] + [
    SPACE.make(["nor_conv_3x3", "none", "skip_connect", "avg_pool_3x3", "nor_conv_1x1", "avg_pool_3x3"])
]


def trained(network: nn.Module) -> nn.Module:
    """Give it weights and statistics as a training would leave."""
    stream = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for value in (*network.parameters(), *network.buffers()):
            if value.ndim > 1:  # weights
                value.copy_(torch.randn(value.shape, generator=stream) / value[0].numel() ** 0.5)
            elif value.is_floating_point():
                value.copy_(0.2 + 0.6 * torch.rand(value.shape, generator=stream))
    return network.eval()


def images(count: int = 5) -> torch.Tensor:
    return torch.rand(count, *TASK.input_shape, generator=torch.Generator().manual_seed(1))


def normalised(values: torch.Tensor) -> torch.Tensor:
    return (values - torch.tensor(MEAN).view(-1, 1, 1)) / torch.tensor(STD).view(-1, 1, 1)


@pytest.fixture(params=CELLS, ids=["none", "skip", "mixed"])
def written(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[nn.Module, Path]:
    network = trained(SPACE.build(request.param, TASK))
    write_plain(plain_code(network, TASK.input_shape, ("a", "b", 'c"\\'), MEAN, STD, 'of "my"\\photos'), tmp_path)
    return network, tmp_path


def test_plain_code_computes_the_same(written: tuple[nn.Module, Path]) -> None:
    network, folder = written
    with torch.no_grad():
        assert torch.equal(load_plain(folder)(images()), network(normalised(images())))


def test_plain_code_runs_where_trainless_is_not(written: tuple[nn.Module, Path]) -> None:
    network, folder = written
    script = (
        "import sys; sys.modules['trainless'] = None\n"  # importing it would fail
        "import torch; from network import CLASSES, load\n"
        f"values = torch.linspace(0, 1, 360).view(1, *{TASK.input_shape})\n"
        "print(CLASSES[2], *load()(values).flatten().tolist())"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=True)
    name, *numbers = done.stdout.split()
    with torch.no_grad():
        expected = network(normalised(torch.linspace(0, 1, 360).view(1, *TASK.input_shape)))
    assert name == 'c"\\'
    assert np.allclose([float(each) for each in numbers], expected.flatten(), atol=1e-5)


@pytest.mark.filterwarnings("ignore:.*torch.jit.load:DeprecationWarning")
def test_torchscript_computes_the_same_for_any_number_of_images(written: tuple[nn.Module, Path]) -> None:
    network, folder = written
    assert write_torchscript(load_plain(folder), images(70), folder / FORMATS["torchscript"]) < 1e-5
    again = torch.jit.load(folder / FORMATS["torchscript"])
    with torch.no_grad():
        assert torch.allclose(again(images(1)), network(normalised(images(1))), atol=1e-5)


def test_onnx_computes_the_same_for_any_number_of_images(tmp_path: Path) -> None:
    import onnxruntime

    network = trained(SPACE.build(CELLS[2], TASK))
    write_plain(plain_code(network, TASK.input_shape, ("a", "b", "c"), MEAN, STD), tmp_path)
    assert write_onnx(load_plain(tmp_path), images(70), tmp_path / FORMATS["onnx"]) < 1e-4
    session = onnxruntime.InferenceSession(tmp_path / FORMATS["onnx"])
    for count in (1, 3):
        (found,) = session.run(["scores"], {"images": images(count).numpy()})
        with torch.no_grad():
            assert np.allclose(found, network(normalised(images(count))), atol=1e-4)


def test_layers_keep_what_is_not_their_default() -> None:
    layers = [
        nn.Conv2d(3, 6, 3, stride=2, padding=1, dilation=2, groups=3), nn.BatchNorm2d(6, eps=1e-3, momentum=0.2),
        nn.AvgPool2d(2, ceil_mode=True, count_include_pad=False), nn.Hardswish(), nn.Dropout(0.25), nn.ReLU6(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3, bias=False),
    ]  # fmt: skip
    source = plain_code(nn.Sequential(*layers), TASK.input_shape, "abc", MEAN, STD).source
    for line in [
        "nn.Conv2d(3, 6, (3, 3), stride=(2, 2), padding=(1, 1), dilation=(2, 2), groups=3)",
        "nn.BatchNorm2d(6, eps=0.001, momentum=0.2)",
        "nn.AvgPool2d(2, stride=2, ceil_mode=True, count_include_pad=False)",
        "nn.Hardswish()", "nn.Dropout(p=0.25)", "nn.ReLU6()", "nn.AdaptiveAvgPool2d(1)", "nn.Flatten()",
        "nn.Linear(6, 3, bias=False)",
    ]:  # fmt: skip
        assert line in source


class Looking(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if x.sum() > 0 else -x


class Twisted(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return twisted(x)


@torch.fx.wrap
def twisted(x: torch.Tensor) -> torch.Tensor:
    return x.flip(1)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (Looking(), "Looking cannot be written as plain code"),
        (Twisted(), "'twisted' cannot be written as plain code"),
    ],
)
def test_refuses_what_is_not_plain(network: nn.Module, message: str) -> None:
    with pytest.raises(InputError, match=message):
        plain_code(network, TASK.input_shape, "abc", MEAN, STD)


def test_refuses_files_that_are_not_there_or_not_whole(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"There is no network\.py"):
        load_plain(tmp_path)
    write_plain(plain_code(SPACE.build(CELLS[0], TASK), TASK.input_shape, "abc", MEAN, STD), tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(InputError, match="cannot be loaded"):
        load_plain(tmp_path)
