"""Modern proxies against scores by their authors' code, on fixed weights and images."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from trainless.evaluation import score
from trainless.passes import plan_passes, run_passes
from trainless.proxies import proxy

pytestmark = [pytest.mark.data, pytest.mark.xdist_group("proxies_golden")]


@pytest.fixture(scope="session", params=["tiny", "nb201_light"])
def case(request: pytest.FixtureRequest, golden_networks: Any, golden: Path) -> tuple[torch.nn.Module, Any, Any]:
    """A golden network, its first 128 images and labels, and what public code gave it."""
    name = request.param
    network = golden_networks.build(name)
    network.load_state_dict(torch.load(golden / f"{name}.pt", weights_only=True))
    scores = json.loads((golden.parent / "golden-modern" / f"{name}.json").read_text())["scores"]
    return network, golden_networks.batch(128), scores


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("key", "images"), [("swap", 64), ("swap@16", 16)])
def test_swap(case: Any, key: str, images: int, dtype: str) -> None:
    network, batch, golden = case
    some = (tensor[:images] for tensor in batch)
    assert score(network, *some, proxies="swap", dtype=getattr(torch, dtype))["swap"] == golden[key][dtype]


# Few gradients that nearly agree carry a layer, so that single precision is 0.0013 off for public code too.
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [("float32", 3e-3), pytest.param("float64", 1e-6, marks=pytest.mark.slow)],
)
def test_zico(case: Any, dtype: str, tolerance: float) -> None:
    network, batch, golden = case
    found = score(network, *batch, proxies="zico", dtype=getattr(torch, dtype))["zico"]
    assert found == pytest.approx(golden["zico"][dtype], rel=tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-3), ("float64", 1e-6)])
def test_gradsign(case: Any, dtype: str, tolerance: float) -> None:
    network, (images, labels), golden = case
    found = score(network, images[:64], labels[:64], proxies="gradsign, params", dtype=getattr(torch, dtype))
    assert found["gradsign"] == pytest.approx(golden["gradsign"][dtype], rel=tolerance)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [("vkdnw:published", "vkdnw_single@given"), ("vkdnw_entropy:published", "vkdnw_entropy@given")],
)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-3), ("float64", 1e-6)])
def test_vkdnw(case: Any, ours: str, theirs: str, dtype: str, tolerance: float) -> None:
    network, (images, labels), golden = case
    found = score(network, images[:64], labels[:64], proxies=ours, dtype=getattr(torch, dtype))[ours]
    assert found == pytest.approx(golden[theirs][dtype], rel=tolerance)


def test_vkdnw_of_the_fisher_information(case: Any) -> None:
    network, (images, labels), golden = case
    found = score(network, images[:64], labels[:64], proxies="vkdnw_entropy")["vkdnw_entropy"]
    # The reference spreads a twentieth of the probabilities over the classes, which changes the third digit.
    expected = golden["own:vkdnw_entropy_true_fisher@given"]["restated_float64"]
    assert found == pytest.approx(expected, rel=3e-3)


BLOCKS = {
    "tiny": ("features.2", "features.6"),
    "nb201_light": tuple(f"features.{number}" for number in (1, *range(2, 19))),
}


def stream(name: str) -> torch.Generator:
    """Where public code is seeded with 0, and draws nothing else."""
    return torch.Generator().manual_seed(0)


@pytest.fixture
def measured(case: Any, golden_networks: Any) -> Any:
    """A function that computes a proxy with the random stream of public code."""
    network, (images, labels), _ = case
    name = "tiny" if len(list(network.parameters())) < 10 else "nb201_light"
    network.block_paths = BLOCKS[name]

    def compute(which: str, dtype: str) -> float:
        record = proxy(which)
        results = run_passes(
            network, images[:64], labels[:64], plan_passes([record]), dtype=getattr(torch, dtype), generators=stream
        )
        result = results[record.pass_spec]
        assert not result.failure, result.failure
        return record.compute(result.signals)[0]

    return compute


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-3), ("float64", 1e-6)])
@pytest.mark.parametrize(("ours", "theirs", "number"), [
    ("meco:published", "meco@first_image", 1), ("ntk_condition:published", "ntk_cond@16", 16),
])  # fmt: skip
def test_of_fewer_images(
    case: Any, ours: str, theirs: str, number: int, dtype: str, tolerance: float
) -> None:  # fmt: skip
    network, (images, labels), golden = case
    if number == 1:  # scoring wants two images, and a pass does not
        record = proxy(ours)
        (result,) = run_passes(
            network, images[:1], labels[:1], plan_passes([record]), dtype=getattr(torch, dtype)
        ).values()
        found = record.compute(result.signals)[0]
    else:
        found = score(network, images[:number], labels[:number], proxies=ours, dtype=getattr(torch, dtype))[ours]
    assert found == pytest.approx(golden[theirs][dtype], rel=tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-3), ("float64", 1e-6)])
def test_on_the_weights_and_images_that_public_code_draws(case: Any, dtype: str, tolerance: float) -> None:
    """Weights by fan in, then Gaussian images, then signs: all from one stream, as AZ-NAS and VKDNW have it."""
    network, (_, labels), golden = case
    drawn = copy.deepcopy(network)
    drawn.block_paths = BLOCKS["tiny" if len(list(network.parameters())) < 10 else "nb201_light"]
    drawing = torch.Generator().manual_seed(0)
    for module in drawn.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=drawing)
            if module.bias is not None:
                torch.nn.init.zeros_(module.bias)
        elif isinstance(module, torch.nn.BatchNorm2d) and module.affine:
            torch.nn.init.ones_(module.weight)
            torch.nn.init.zeros_(module.bias)
    images = torch.randn(64, 3, 32, 32, generator=drawing)
    names = {
        "az_trainability": "az_trainability:published", "az_expressivity": "az_expressivity",
        "az_progressivity": "az_progressivity", "vkdnw_entropy": "vkdnw_entropy:published",
        "vkdnw_single": "vkdnw:published",
    }  # fmt: skip
    for key, name in names.items():  # the first alone draws signs
        record = proxy(name)
        (result,) = run_passes(
            drawn, images, labels[:64], plan_passes([record]), dtype=getattr(torch, dtype),
            generators=lambda name: drawing,
        ).values()  # fmt: skip
        found = record.compute(result.signals)[0]
        assert found == pytest.approx(float(golden[f"{key}@seed0"][dtype]), rel=tolerance, abs=1e-9), key


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-3), ("float64", 1e-6)])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("az_expressivity", "az_expressivity@given"),
        ("az_progressivity", "az_progressivity@given"),
        ("az_trainability:published", "az_trainability@given"),
        ("meco:published", "meco"),
        ("meco_opt:published", "meco_opt@seed0"),
        ("near:published", "near@npseed0"),
        pytest.param("ntk_condition:published", "ntk_cond", marks=pytest.mark.slow),
    ],
)
def test_with_the_random_stream_of_public_code(
    case: Any, measured: Any, ours: str, theirs: str, dtype: str, tolerance: float
) -> None:
    golden = float(case[2][theirs][dtype])
    assert measured(ours, dtype) == pytest.approx(golden, rel=tolerance, abs=1e-9)
