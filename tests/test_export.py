"""Exported networks give the same numbers, and need nothing of trainless."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from trainless.data import load_data
from trainless.errors import InputError, TrainlessError
from trainless.export import (
    FORMATS,
    formats,
    load_plain,
    plain_code,
    read_weights,
    take_weights,
    write_onnx,
    write_plain,
    write_torchscript,
    write_weights,
)
from trainless.search_spaces import search_space
from trainless.search_spaces.base import SearchSpace
from trainless.types import Architecture, Task

SPACE = search_space("nasbench201", channels=4, cells=1)
MOBILE = search_space("mobile", width=4, depth=2)
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


ALONE = """
import sys

class Refuse:
    def find_spec(self, name, *_):
        if name.partition(".")[0] == "trainless":
            raise ImportError("trainless is not to be had here")

sys.meta_path.insert(0, Refuse())
sys.path.insert(0, ".")
import numpy, torch
from network import CLASSES, load
network = load()
with torch.no_grad():
    numpy.save("scores.npy", network(torch.tensor(numpy.load("images.npy"))).numpy())
try:
    import trainless
except ImportError as error:
    print(CLASSES[2], any(name.partition(".")[0] == "trainless" for name in sys.modules), error)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("space", "architecture"),
    [(SPACE, CELLS[2]), (MOBILE, MOBILE.make([3, 2, 2, 100, "se"] * 5))],
    ids=["nasbench201", "mobile"],
)
def test_the_files_run_where_trainless_is_not(space: SearchSpace, architecture: Architecture, tmp_path: Path) -> None:
    digits = load_data("digits")
    network = trained(space.build(architecture, digits.task))
    names = ("a", "b", 'c"\\', *"defghij")
    write_plain(plain_code(network, digits.task.input_shape, names, digits.mean, digits.std), tmp_path)
    images = digits.images[:500].astype(np.float32) / 255
    np.save(tmp_path / "images.npy", images)
    done = subprocess.run(
        [sys.executable, "-I", "-c", ALONE], cwd=tmp_path, capture_output=True, text=True, check=True
    )  # fmt: skip
    assert done.stdout == 'c"\\ False trainless is not to be had here\n'
    with torch.no_grad():
        expected = network((torch.tensor(images) - digits.mean[0]) / digits.std[0]).numpy()
    found = np.load(tmp_path / "scores.npy")
    assert found.shape == (500, 10)
    assert np.abs(expected).max() > 0.1
    assert np.allclose(found, expected, atol=1e-5)


@pytest.mark.filterwarnings("ignore:.*torch.jit.load:DeprecationWarning")
def test_torchscript_computes_the_same_for_any_number_of_images(written: tuple[nn.Module, Path]) -> None:
    network, folder = written
    assert write_torchscript(load_plain(folder), images(70), folder / FORMATS["torchscript"]) < 1e-5
    again = torch.jit.load(folder / FORMATS["torchscript"])
    with torch.no_grad():
        assert torch.allclose(again(images(1)), network(normalised(images(1))), atol=1e-5)


@pytest.mark.slow
def test_onnx_computes_the_same_for_any_number_of_images(tmp_path: Path) -> None:
    import onnxruntime

    network = trained(SPACE.build(CELLS[2], TASK))
    write_plain(plain_code(network, TASK.input_shape, ("a", "b", "c"), MEAN, STD), tmp_path)
    assert write_onnx(load_plain(tmp_path), images(500), tmp_path / FORMATS["onnx"]) < 1e-4
    session = onnxruntime.InferenceSession(tmp_path / FORMATS["onnx"])
    for count in (1, 3):
        (found,) = session.run(["logits"], {"images": images(count).numpy()})
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
    with pytest.raises(InputError, match=r"The weights '.+' cannot be read"):
        load_plain(tmp_path)


class Sure(nn.Module):
    """Gives the same numbers for all images, as written or as changed."""

    def __init__(self, numbers: list[float]) -> None:
        super().__init__()
        self.numbers = nn.Parameter(torch.tensor(numbers))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.numbers * torch.ones(len(x), 1)


@pytest.mark.parametrize(
    ("network", "other", "tells"),
    [
        ([1.0, 2.0], [1.0, 2.1], True),
        ([1.0, 2.0], [1.0, 2.00001], False),
        ([1.0, 2.0], [1.0, float("nan")], True),
        ([float("nan"), 2.0], [float("nan"), 2.0], True),
        ([1.0, 20_000.0], [1.0, 20_001.0], False),  # within the rounding of float32 sums of such numbers
    ],
)
def test_numbers_that_differ_are_told(network: list[float], other: list[float], tells: bool) -> None:
    def compare() -> float:
        return formats._compared(Sure(network), images(70), lambda batch: Sure(other)(batch).numpy(), Path("m.onnx"))

    if tells:
        with pytest.raises(TrainlessError, match=r"m\.onnx would give numbers that differ"):
            compare()
    else:
        assert compare() == pytest.approx(abs(network[1] - other[1]), rel=0.05)


@pytest.mark.filterwarnings("ignore:.*torch.jit.:DeprecationWarning")
def test_a_file_that_gives_other_numbers_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.jit, "load", lambda _: Sure([0.0, 9.0]))
    (tmp_path / "model.pt").write_text("of an earlier fit")
    with pytest.raises(TrainlessError, match="so it is not written"):
        write_torchscript(nn.Sequential(nn.Flatten(), nn.Linear(360, 2)), images(3), tmp_path / "model.pt")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["of an earlier fit"]


@pytest.mark.slow
def test_what_pytorch_cannot_export_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise torch.onnx.OnnxExporterError("No decompositions\nfor that")

    monkeypatch.setattr(torch.onnx, "export", fail)
    with pytest.raises(TrainlessError, match=r"fails \(No decompositions for that\): choose another format\."):
        write_onnx(nn.Flatten(), images(3), tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


class Named(nn.Module):
    """Layers whose names are one when flat, or that of the normalisation; and a method with a named argument."""

    def __init__(self, *names: str) -> None:
        super().__init__()
        for name in names:
            parent, _, child = name.rpartition(".")
            if parent:
                self.add_module(parent, nn.Module())
            (getattr(self, parent) if parent else self).add_module(child, nn.Hardswish())
        self.names = names

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for name in self.names:
            x = self.get_submodule(name)(x)
        return x.mean(dim=3, keepdim=True).flatten(1, end_dim=2)


@pytest.mark.parametrize("names", [("a.b", "a_b"), ("mean",), ("x", "std")])
def test_refuses_layers_of_one_name(names: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match=f"'{names[-1]}' would both be"):
        plain_code(Named(*names), TASK.input_shape, "abc", MEAN, STD)


def test_named_arguments_of_methods_are_kept(tmp_path: Path) -> None:
    network = Named("a.b", "c")
    write_plain(plain_code(network, TASK.input_shape, "abc", MEAN, STD), tmp_path)
    assert torch.equal(load_plain(tmp_path)(images()), network(normalised(images())))


@pytest.mark.parametrize(
    "space",
    ["darts(channels=4, layers=3, none=1)", "transnas_micro(channels=4)", "autoformer(unit=2)",
     "nasbench_asr(width=1)", "nasbench_nlp(width=1)",
     "chain(unit=2)", "mlp(unit=2)", "hierarchical(channels=4)"],
)  # fmt: skip
def test_networks_of_spaces_as_plain_code(space: str) -> None:
    chosen, task = search_space(space), Task("toy", 3, 3, 16, 16)
    given = torch.rand(2, 3, 16, 16)
    for seed in range(3):
        network = chosen.build(chosen.sample(np.random.default_rng(seed)), task).eval()
        code = plain_code(network, task.input_shape, ("a", "b", "c"), (0.0,) * 3, (1.0,) * 3)
        names: dict[str, Any] = {}
        exec(code.source, names)
        copy = names["Network"]()
        copy.load_state_dict(code.weights)
        torch.testing.assert_close(copy.eval()(given), network(given))


@pytest.mark.parametrize("space", ["nasbench201(channels=4, cells=1)", "convnet(unit=2)", "mobile(width=4, depth=2)"])
def test_a_network_takes_the_weights_of_its_plain_code(space: str) -> None:
    rng, made = np.random.default_rng(0), search_space(space)
    architecture = made.canonical(made.sample(rng))
    network, other = trained(made.build(architecture, TASK)), made.build(architecture, TASK).eval()
    take_weights(other, plain_code(network, TASK.input_shape, "abc", MEAN, STD).weights)
    with torch.no_grad():
        assert torch.equal(other(images()), network(images()))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda weights: {}, "of another network"),
        (lambda weights: {**weights, "further.weight": torch.zeros(1)}, "it has no further.weight"),
        (lambda weights: {**weights, "_1.bias": torch.zeros(3)}, "of another network"),
        (lambda weights: {**weights, "_1.bias": torch.full((2,), torch.nan)}, "not finite"),
    ],
)
def test_weights_of_another_network_are_refused(change: Any, told: str) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    with pytest.raises(InputError, match=told):
        take_weights(network, change(plain_code(network, (1, 2, 2), "ab", (0.5,), (0.5,)).weights))


class TestWeights:
    WEIGHTS: ClassVar = {"bias": torch.arange(3.0), "count": torch.tensor(7), "kernel": torch.ones(2, 1, 3, 3)}

    def test_the_same_weights_are_the_same_bytes(self, tmp_path: Path) -> None:
        facts = {"run": "a", "facts": "{}", "architecture": "3-1-5"}
        contents = set()
        for number in range(8):
            write_weights(tmp_path / f"{number}.safetensors", self.WEIGHTS, facts)
            contents.add((tmp_path / f"{number}.safetensors").read_bytes())
        assert len(contents) == 1
        found, weights = read_weights(tmp_path / "0.safetensors")
        assert found == facts
        assert {name: value.tolist() for name, value in weights.items()} == {
            name: value.tolist() for name, value in self.WEIGHTS.items()
        }

    def test_a_flipped_bit_is_found(self, tmp_path: Path) -> None:
        path = tmp_path / "a.safetensors"
        write_weights(path, self.WEIGHTS, {})
        whole = path.read_bytes()
        for position in (-1, -40, -72):
            path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[len(whole) + position + 1 :])
            with pytest.raises(InputError, match=r"cannot be read \(they are others than were written\)"):
                read_weights(path)

    def test_weights_of_others_have_no_checksum_and_have_to_be_finite(self, tmp_path: Path) -> None:
        path = tmp_path / "a.safetensors"
        save_file(self.WEIGHTS, path)
        assert set(read_weights(path)[1]) == set(self.WEIGHTS)
        save_file({"bias": torch.tensor([1.0, torch.nan])}, path)
        with pytest.raises(InputError, match="bias is not finite"):
            read_weights(path)
