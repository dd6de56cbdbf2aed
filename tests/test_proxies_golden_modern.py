"""Modern proxies against scores by their authors' code, on fixed weights and images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from trainless.evaluation import score

pytestmark = [pytest.mark.data, pytest.mark.xdist_group("proxies_golden")]


@pytest.fixture(scope="session", params=["tiny", "nb201_light"])
def case(request: pytest.FixtureRequest, golden_networks: Any, golden: Path) -> tuple[torch.nn.Module, Any, Any]:
    """A golden network, its first 128 images and labels, and what public code gave it."""
    name = request.param
    network = golden_networks.build(name)
    network.load_state_dict(torch.load(golden / f"{name}.pt", weights_only=True))
    scores = json.loads((golden.parent / "golden-modern" / f"{name}.json").read_text())["scores"]
    return network, golden_networks.batch(128), scores


@pytest.mark.parametrize(("key", "images"), [("swap", 64), ("swap@16", 16)])
def test_swap(case: Any, key: str, images: int) -> None:
    network, batch, golden = case
    some = (tensor[:images] for tensor in batch)
    assert score(network, *some, proxies="swap")["swap"] == golden[key]["float32"]


# Few gradients that nearly agree carry a layer, so that single precision is 0.0013 off for public code too.
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [("float32", 3e-3), pytest.param("float64", 1e-6, marks=pytest.mark.slow)],
)
def test_zico(case: Any, dtype: str, tolerance: float) -> None:
    network, batch, golden = case
    found = score(network, *batch, proxies="zico", dtype=getattr(torch, dtype))["zico"]
    assert found == pytest.approx(golden["zico"][dtype], rel=tolerance)
