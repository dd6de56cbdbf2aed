"""All proxies against scores by independent public implementations, on fixed weights and a fixed batch."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from trainless.evaluation import plan_passes, score
from trainless.passes import run_passes
from trainless.proxies import proxy

pytestmark = [pytest.mark.data, pytest.mark.xdist_group("proxies_golden")]

NETWORKS = ("tiny", "nb201_mixed", "nb201_light")
# Our name, the name in the golden files.
NASLIB = {
    "synflow": "synflow", "synflow:log": "ZeroCost.query(synflow)", "l2_norm": "l2_norm", "epe_nas": "epe_nas",
    "fisher": "fisher", "grad_norm": "grad_norm", "jacov": "jacov", "grasp": "grasp", "nwot": "nwot", "plain": "plain",
    "snip": "snip",
}  # fmt: skip
SAMSUNG = {"grad_norm": "grad_norm", "snip": "snip", "grasp": "grasp", "fisher": "fisher", "jacov": "jacob_cov",
           "plain": "plain", "synflow": "synflow"}  # fmt: skip


@pytest.fixture(scope="session", params=NETWORKS)
def case(request: pytest.FixtureRequest, golden_networks: Any, golden: Path) -> dict[str, Any]:
    """A golden network and its scores by public code."""
    name = request.param
    network = golden_networks.build(name)
    network.load_state_dict(torch.load(golden / f"{name}.pt", weights_only=True))
    images, labels = golden_networks.batch()
    return {
        "name": name,
        "network": network,
        "images": images,
        "labels": labels,
        "golden": json.loads((golden / f"{name}.json").read_text())["scores"],
    }


def scores_of(case: dict[str, Any], dtype: torch.dtype) -> dict[str, float]:
    names = [*NASLIB, "params", "flops", "logsynflow", "nwot:output", "nwot:all"]
    return score(case["network"], case["images"], case["labels"], proxies=names, dtype=dtype)


@pytest.fixture(scope="session")
def single(case: dict[str, Any]) -> dict[str, float]:
    """Our scores in single precision."""
    return scores_of(case, torch.float32)


@pytest.fixture(scope="session")
def double(case: dict[str, Any]) -> dict[str, float]:
    """Our scores in double precision: many times slower, so only slow tests ask for them."""
    return scores_of(case, torch.float64)


@pytest.fixture(params=["single", pytest.param("double", marks=pytest.mark.slow)])
def scores(case: dict[str, Any], request: pytest.FixtureRequest) -> dict[str, float]:
    return request.getfixturevalue(request.param)


def tolerance(golden: dict[str, Any], name: str) -> float:
    """The stated one for single precision: 1e-3, or five times what rounding does to the public code itself."""
    single, double = golden["naslib"][name], golden["naslib_on_float64"].get(name)
    return 1e-3 if double is None else max(1e-3, 5 * abs(single - double) / abs(double))


@pytest.mark.slow
@pytest.mark.parametrize(("ours", "theirs"), NASLIB.items())
def test_double_precision_agrees_with_naslib(
    case: dict[str, Any], double: dict[str, float], ours: str, theirs: str
) -> None:
    golden = case["golden"]
    expected = golden["naslib_on_float64"].get(theirs, golden["naslib"][theirs])
    assert double[ours] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("ours", "theirs"), NASLIB.items())
def test_single_precision_agrees_with_naslib(
    case: dict[str, Any], single: dict[str, float], ours: str, theirs: str
) -> None:
    golden = case["golden"]
    assert single[ours] == pytest.approx(golden["naslib"][theirs], rel=tolerance(golden, theirs))


@pytest.mark.parametrize(("ours", "theirs"), SAMSUNG.items())
def test_single_precision_agrees_with_zero_cost_nas(
    case: dict[str, Any], single: dict[str, float], ours: str, theirs: str
) -> None:
    golden = case["golden"]
    assert single[ours] == pytest.approx(golden["samsung"][theirs], rel=tolerance(golden, NASLIB[ours]))


def test_agrees_with_freerea(case: dict[str, Any], scores: dict[str, float]) -> None:
    freerea = case["golden"]["freerea"]
    assert scores["logsynflow"] == pytest.approx(freerea["logsynflow"], rel=1e-4)
    assert scores["synflow"] == pytest.approx(freerea["synflow"], rel=1e-4)
    assert scores["nwot:output"] == pytest.approx(freerea["naswot"], rel=1e-4)
    assert scores["nwot:all"] == pytest.approx(freerea["naswot"], rel=1e-4)
    assert scores["params"] == freerea["params"] * 1e6


def test_multiply_adds_of_the_mixed_network(case: dict[str, Any], single: dict[str, float]) -> None:
    # 86.43 M with convolutions and linear layers only; the light one by hand: stem 3·16·9·32², reductions, head.
    stem = 3 * 16 * 9 * 32**2
    reductions = (16 * 32 * 9 + 32 * 32 * 9 + 16 * 32) * 16**2 + (32 * 64 * 9 + 64 * 64 * 9 + 32 * 64) * 8**2
    tiny = 3 * 8 * 9 * 32**2 + 8 * 16 * 9 * 16**2 + 16 * 10
    expected = {"tiny": tiny, "nb201_mixed": 86_426_240, "nb201_light": stem + reductions + 640}
    assert single["flops"] == expected[case["name"]]


@pytest.mark.parametrize("seed", [0, 1])
def test_zen_with_running_variances_agrees_with_naslib(case: dict[str, Any], seed: int) -> None:
    chosen = proxy("zen:running")
    results = run_passes(
        case["network"], case["images"], None, plan_passes([chosen]),
        generators=lambda name: torch.Generator().manual_seed(seed),
    )  # fmt: skip
    signals = results[chosen.pass_spec].signals
    assert signals is not None
    assert chosen.compute(signals)[0] == pytest.approx(case["golden"]["naslib"][f"zen@seed{seed}"], rel=1e-4)


@pytest.mark.slow
def test_linear_regions_agree_with_te_nas(case: dict[str, Any]) -> None:
    import numpy as np

    from trainless.passes import Signals
    from trainless.passes.observers import Observer
    from trainless.passes.units import UnitObserver, packed
    from trainless.proxies.activations import linear_regions

    golden = case["golden"]["tenas_via_aznas"]
    for images, name in ((64, "linear_regions"), (40, "linear_regions(40 distinct of 64)")):
        batch = case["images"][torch.arange(64) % images]
        units = UnitObserver(packed)
        with torch.no_grad(), Observer(units.rules):
            output = case["network"](batch)
        patterns = np.concatenate(units.reaching(output), axis=1)
        assert linear_regions(Signals(relu_patterns=patterns)) == golden[name]


def test_scores_are_finite(scores: dict[str, float]) -> None:
    assert all(math.isfinite(value) for value in scores.values())
