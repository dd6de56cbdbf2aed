"""Convolutions and linear maps in bfloat16: what they change, what they leave alone, and how they are asked for."""

from __future__ import annotations

import json
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F

import trainless
from trainless import cli
from trainless.errors import InputError
from trainless.estimators import distinct_sample
from trainless.metrics import spearman
from trainless.passes import PassSpec, Signal, run_passes
from trainless.passes.observers import Observer, average_pool2d, faster_pooling, products_in_bfloat16
from trainless.passes.units import agreement
from trainless.proxies import PROXIES, proxies
from trainless.ranking import average_ranks, finite_last
from trainless.scoring import Scorer
from trainless.search import Search
from trainless.search_spaces.nasbench201 import NASBench201
from trainless.store import Store

SPACE = NASBench201(channels=4, cells=1)
CELLS = [str(cell) for cell in distinct_sample(SPACE, 3, 0, "precision")]
ROUNDED = ["snip", "grad_norm", "fisher", "nwot", "swap", "meco", "az_expressivity", "ncd", "zen"]
EXACT = ["plain", "jacov", "epe_nas", "linear_regions", "grasp", "synflow", "l2_norm", "params"]
SMALL = ["--data", "digits", "--space", "nasbench201(channels=4, cells=1)", "--workers", "0", "--batch-size", "16"]


def scorer(precision: str, names: list[str], **options: Any) -> Scorer:
    return Scorer(SPACE, names, **{"batch_size": 16, "workers": 0, "precision": precision, **options})


@pytest.fixture(scope="module")
def tables() -> dict[str, pd.DataFrame]:
    return {name: scorer(name, ROUNDED + EXACT).score(CELLS) for name in ("float32", "bfloat16", "bfloat16-noise")}


def test_what_opted_out_is_what_it_was_and_the_rest_is_near(tables: dict[str, pd.DataFrame]) -> None:
    single, half, noise = tables.values()
    pd.testing.assert_frame_equal(half[EXACT], single[EXACT], check_exact=True)
    for name in ROUNDED:
        assert (half[name] != single[name]).any(), name
        assert half[name].to_numpy() == pytest.approx(single[name].to_numpy(), rel=0.15), name
    pd.testing.assert_frame_equal(noise.drop(columns="zen"), single.drop(columns="zen"), check_exact=True)
    pd.testing.assert_series_equal(noise["zen"], half["zen"], check_exact=True)


def test_company_changes_nothing(tables: dict[str, pd.DataFrame]) -> None:
    for name in ("snip", "nwot", "zen", "jacov"):
        alone = scorer("bfloat16", [name]).score(CELLS[::-1]).loc[CELLS]
        pd.testing.assert_frame_equal(alone, tables["bfloat16"][[name]], check_exact=True)


def test_networks_keep_their_order() -> None:
    some = distinct_sample(SPACE, 24, 1, "precision")
    names = ["snip", "fisher", "nwot", "zen"]
    single, half = (scorer(precision, names).score(some) for precision in ("float32", "bfloat16"))
    for name in names:
        ranks = (average_ranks(finite_last(table[name].to_numpy(float))) for table in (half, single))
        assert spearman(*ranks) > 0.95, name


def test_only_what_runs_in_single_precision_may_be_rounded() -> None:
    for proxy in PROXIES.values():
        rounded = proxy.in_precision("bfloat16")
        assert rounded.pass_spec.bfloat16 == proxy.bfloat16  # a pass that has no use for it would have raised
        assert proxy.in_precision("float32") is proxy
        assert replace(rounded, pass_spec=proxy.pass_spec) == proxy
    rounded_by_noise = {p.name for p in PROXIES.values() if p.in_precision("bfloat16-noise") is not p}
    assert rounded_by_noise == {"zen", "zen:running"}
    for wrong in (PassSpec, lambda **options: PassSpec(float64=True, **options)):
        with pytest.raises(InputError, match="has no use for bfloat16=True: leave it out"):
            wrong(**({"input": "none"} if wrong is PassSpec else {}), bfloat16=True)


def test_the_key_of_what_is_stored_changes_with_it_alone(tmp_path: Path) -> None:
    runs = {name: scorer(name, ["nwot"]).run for name in ("float32", "bfloat16", "bfloat16-noise")}
    fidelity = "channels=4,cells=1,classes=10,batch=16,initialization=kaiming_normal_fan_out,dtype=float32,repeats=1"
    assert runs["float32"].fidelity == fidelity  # as it was before there was another
    assert runs["bfloat16"].fidelity == f"{fidelity},precision=bfloat16"
    assert runs["bfloat16-noise"].fidelity == f"{fidelity},precision=bfloat16-noise"
    store = Store(tmp_path / "scores.db")
    for precision in ("float32", "bfloat16"):
        scorer(precision, ["nwot"], store=store).score(CELLS)
    assert set(store.runs()) == {runs["float32"], runs["bfloat16"]}
    kept, new = store.rows(runs["bfloat16"]), scorer("bfloat16", ["nwot"]).score(CELLS)
    assert kept.set_index("architecture")["value"][CELLS].tolist() == new["nwot"].tolist()


def test_auto_measures_says_what_it_took_and_goes_on_with_what_is_stored(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="^Precision: (float32|bfloat16).* with these proxies here.$") as said:
        taken = scorer("auto", ["snip", "zen"])
    assert str(said[0].message).startswith(f"Precision: {taken.protocol.precision},")
    with pytest.warns(UserWarning, match="^Precision: float32, for none of these proxies may"):
        assert scorer("auto", ["params", "jacov"]).protocol.precision == "float32"
    for precision in ("bfloat16", "float32"):
        store = Store(tmp_path / f"{precision}.db")
        first = scorer(precision, ["snip"], store=store).score(CELLS)
        with pytest.warns(UserWarning, match=f"^Precision: {precision}, in which the store holds scores of this run.$"):
            again = scorer("auto", ["snip"], store=store)
        pd.testing.assert_frame_equal(again.score(CELLS), first, check_exact=True)
        assert len(store.runs()) == 1


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"precision": "half"}, "The precision is 'half', expected one of float32, bfloat16, bfloat16-noise, auto."),
        ({"precision": "bfloat16", "dtype": "float64"}, "The precision is 'bfloat16' and the dtype float64, expected"),
        ({"precision": "auto", "dtype": "float64"}, "The precision is 'auto' and the dtype float64, expected"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, str], sentence: str) -> None:
    with pytest.raises(InputError) as refused:
        scorer(**{"names": ["nwot"], **options})  # type: ignore[arg-type]
    assert str(refused.value).startswith(sentence)


def test_one_network_is_scored_so_too() -> None:
    network = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 3)
    )
    images, labels = torch.randn(8, 1, 8, 8), torch.arange(8) % 3
    single, half = (
        trainless.score(network, images, labels, proxies="snip, jacov", precision=precision)
        for precision in ("float32", "bfloat16")
    )
    assert half["jacov"] == single["jacov"]
    assert half["snip"] != single["snip"]
    assert half["snip"] == pytest.approx(single["snip"], rel=0.05)
    with pytest.raises(InputError, match="dtype float64"):
        trainless.score(network.double(), images.double(), labels, proxies="snip", precision="bfloat16")
    with pytest.raises(InputError, match="'auto', expected one of"):
        trainless.score(network.float(), images, labels, proxies="snip", precision="auto")


def test_a_search_is_known_by_it() -> None:
    found = [
        Search(SPACE, "random", "zen", budget=3, workers=0, batch_size=16, precision=precision).run()
        for precision in ("float32", "bfloat16")
    ]
    assert [result.protocol["estimates"] for result in found] == [
        "no training", "no training, convolutions and linear maps in bfloat16",
    ]  # fmt: skip
    assert found[0].evaluations["score"].tolist() != found[1].evaluations["score"].tolist()
    with pytest.raises(InputError, match=r"the score 'early-stopping.*' an estimator that has none"):
        Search(SPACE, "random", "early-stopping", precision="bfloat16")


def test_the_command_line_says_what_it_took(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["trainless", *arguments])
        with warnings.catch_warnings():
            warnings.simplefilter("default")  # as outside of tests
            with pytest.raises(SystemExit) as stop:
                cli.main()
        return (int(stop.value.code or 0), *capsys.readouterr())

    common = ("score", *SMALL, "--proxies", "snip,jacov,zen", "--sample", "2", "--json")
    code, out, _ = run(*common, "--precision", "bfloat16")
    assert code == 0
    assert json.loads(out)["protocol"]["convolutions and linear maps in bfloat16"] == "snip, zen"
    code, out, said = run(*common, "--precision", "auto")
    assert code == 0
    assert "Note: Precision: bfloat16, in which the store holds scores of this run." in said
    assert json.loads(out)["protocol"]["convolutions and linear maps in bfloat16"] == "snip, zen"
    code, _, said = run(*common, "--precision", "fp16")
    assert (code, said.count("\n")) == (2, 1)
    assert said.startswith("trainless: The precision is 'fp16', expected one of")
    code, _, said = run("suite", "--data", "digits", "--precision", "fp16")
    assert (code, said.count("\n")) == (2, 1)


def test_products_are_those_of_rounded_numbers() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, 3, 6, 6, generator=generator).requires_grad_()
    weight = torch.randn(4, 3, 3, 3, generator=generator).requires_grad_()
    with Observer(products_in_bfloat16()):
        found = F.conv2d(images, weight, padding=1)
        loss = found.square().sum()
    rounded = (tensor.detach().bfloat16().double() for tensor in (images, weight))
    expected = F.conv2d(*rounded, padding=1)
    assert found.dtype == torch.float32
    assert torch.allclose(found.double(), expected, rtol=2**-8, atol=1e-6)
    assert not torch.allclose(found, F.conv2d(images, weight, padding=1), rtol=1e-4)
    for gradient in torch.autograd.grad(loss, [images, weight]):
        assert gradient.dtype == torch.float32


def test_only_products_are_rounded() -> None:
    network = torch.nn.Sequential(torch.nn.BatchNorm2d(1), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(4, 2))
    images = torch.randn(8, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    specs = [PassSpec(), PassSpec(bfloat16=True)]
    wanted = frozenset({Signal.RELU_KERNEL, Signal.WEIGHT_GRADIENTS})
    results = run_passes(network, images, torch.arange(8) % 2, dict.fromkeys(specs, wanted))
    single, half = (results[spec].signals for spec in specs)
    assert single is not None
    assert half is not None
    assert torch.equal(single.relu_kernel, half.relu_kernel)  # type: ignore[arg-type]
    assert half.weight_gradients[0].dtype == torch.float32
    assert not torch.equal(single.weight_gradients[0], half.weight_gradients[0])


@pytest.mark.parametrize("counts", [True, False])
@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 1, 1), (3, 2, 1), ((3, 5), 1, (0, 2)), (2, 1, 0)])
def test_pooling_is_that_of_pytorch(kernel: Any, stride: int, padding: Any, counts: bool) -> None:
    images = torch.randn(2, 3, 7, 8, generator=torch.Generator().manual_seed(0))
    images = images.contiguous(memory_format=torch.channels_last).requires_grad_()
    expected = F.avg_pool2d(images, kernel, stride, padding, count_include_pad=counts)
    with Observer(faster_pooling()):
        found = F.avg_pool2d(images, kernel, stride, padding, count_include_pad=counts)
    assert "Convolution" in found.grad_fn.next_functions[0][0].name()  # type: ignore[union-attr]
    assert torch.allclose(found, expected, atol=1e-6)
    first, second = (torch.autograd.grad(pooled.square().sum(), images)[0] for pooled in (found, expected))
    assert torch.allclose(first, second, atol=1e-5)


@pytest.mark.parametrize("options", [{"ceil_mode": True}, {"divisor_override": 2}, {"stride": 3}])
def test_pooling_that_a_convolution_does_not_do_is_left_to_pytorch(options: dict[str, Any]) -> None:
    images = torch.randn(2, 3, 8, 8).contiguous(memory_format=torch.channels_last)
    found = average_pool2d(images, **{"kernel_size": 3, "stride": 2, **options})
    assert torch.equal(found, F.avg_pool2d(images, **{"kernel_size": 3, "stride": 2, **options}))


@pytest.mark.parametrize("units", [1, 63, 64, 65, 64 * 256 * 2 + 5])
@pytest.mark.parametrize("images", [1, 8, 19])
def test_codes_agree_where_both_are_on_or_off(images: int, units: int) -> None:
    inputs = torch.from_numpy(np.random.default_rng(units).standard_normal((images, units)))
    inputs[0, 0] = torch.nan  # which is not above zero
    on = (inputs > 0).double()
    expected = on @ on.t() + (1 - on) @ (1 - on).t()
    assert torch.equal(agreement(inputs), expected)
    assert torch.equal(agreement(inputs.bfloat16()), expected)


def test_names_stand_for_the_same_proxies() -> None:
    assert {proxy.name for proxy in proxies(ROUNDED) if proxy.bfloat16} == set(ROUNDED)
    assert not any(proxy.bfloat16 for proxy in proxies(EXACT))
