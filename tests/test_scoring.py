"""Scoring many architectures: the same whatever the order, the company and the number of workers; resumable."""

from __future__ import annotations

import itertools
import math
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from test_search_spaces import Words

import trainless
from trainless import aggregation, scoring
from trainless.errors import ArchitectureError, InputError, UnknownNameError
from trainless.estimators import distinct_sample
from trainless.passes import PassSpec, Signal
from trainless.proxies import PROXIES, Proxy
from trainless.scoring import Scorer
from trainless.search import Search
from trainless.search_spaces.nasbench201 import NASBench201
from trainless.store import Store
from trainless.types import Architecture, Score, Task

SPACE = NASBench201(channels=4, cells=1)
NAMES = [name for name in PROXIES if name != "zen:repeated"]
CONV = "|nor_conv_3x3~0|+|none~0|none~1|+|skip_connect~0|nor_conv_1x1~1|none~2|"
# The same network as CONV, with a dead convolution and another way round through node 2.
SAME = "|nor_conv_1x1~0|+|nor_conv_3x3~0|none~1|+|skip_connect~0|none~1|nor_conv_1x1~2|"
POOL = "|avg_pool_3x3~0|+|skip_connect~0|nor_conv_3x3~1|+|none~0|skip_connect~1|nor_conv_1x1~2|"
DEAD = "|nor_conv_3x3~0|+|none~0|none~1|+|none~0|none~1|nor_conv_1x1~2|"
CELLS = [CONV, POOL, DEAD, SAME]


def scorer(**options: Any) -> Scorer:
    return Scorer(**{"space": SPACE, "proxies": NAMES, "data": "digits", "batch_size": 16, "workers": 0, **options})


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return scorer().score(CELLS)


def test_one_row_an_architecture_one_column_a_proxy(table: pd.DataFrame) -> None:
    assert list(table.index) == CELLS
    assert table.index.name == "architecture"
    assert list(table.columns) == NAMES
    assert set(table.dtypes) == {np.dtype(float)}


def test_order_and_company_change_nothing(table: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(scorer().score(CELLS[::-1]).loc[CELLS], table, check_exact=True)
    alone = pd.concat([scorer().score([cell]) for cell in CELLS])
    pd.testing.assert_frame_equal(alone, table, check_exact=True)
    for name in ("nwot", "grasp", "zen", "l2_norm"):
        single = scorer(proxies=[name]).score(CELLS)
        pd.testing.assert_frame_equal(single, table[[name]], check_exact=True)


@pytest.mark.slow
def test_number_of_workers_changes_nothing(table: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(scorer(workers=2).score(CELLS), table, check_exact=True)


def test_number_of_threads_outside_changes_nothing(table: pd.DataFrame) -> None:
    torch.set_num_threads(2)
    try:
        pd.testing.assert_frame_equal(scorer().score([POOL]), table.loc[[POOL]], check_exact=True)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_seed_decides(table: pd.DataFrame) -> None:
    other = scorer(seed=1).score([POOL])
    assert other["params"].item() == table.loc[POOL, "params"]
    for name in ("snip", "zen", "l2_norm", "logsynflow", "jacov"):
        assert other[name].item() != table.loc[POOL, name]


def test_equal_networks_score_alike_but_for_what_is_counted_as_written(table: pd.DataFrame) -> None:
    as_written = {name for name in NAMES if PROXIES[name].as_written}
    assert as_written == {"params", "params:trainable", "flops", "skipped_layers", "l2_norm", "nwot:all"}
    rest = [name for name in NAMES if name not in as_written]
    np.testing.assert_array_equal(table.loc[CONV, rest].to_numpy(), table.loc[SAME, rest].to_numpy())
    dead_convolution = sum(c * c + 2 * c for c in (4, 8, 16))
    assert table.loc[SAME, "params"] - table.loc[CONV, "params"] == dead_convolution
    assert table.loc[SAME, "l2_norm"] > table.loc[CONV, "l2_norm"]


def test_equal_networks_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[str] = []
    original = SPACE.build
    monkeypatch.setattr(
        NASBench201, "build", lambda self, arch, task: built.append(str(arch)) or original(arch, task)
    )  # fmt: skip
    scorer(proxies=["nwot", "snip"]).score([CONV, SAME])
    assert len(built) == 1


def test_cell_without_a_path_has_no_score(table: pd.DataFrame) -> None:
    row = table.loc[DEAD]
    for name in ("synflow", "skipped_layers"):
        assert math.isfinite(row[name])
    assert row["nwot"] == -math.inf
    assert row["zen"] == -math.inf
    assert math.isnan(row["jacov"])
    for name in ("snip", "plain"):  # the classifier's bias is not a weight, and all its inputs are zeros
        assert row[name] == 0


def test_reasons_are_stored_with_what_is_not_finite(tmp_path: Path) -> None:
    one = scorer(store=tmp_path / "scores.db")
    one.score([DEAD])
    rows = one.store.rows().set_index("proxy")  # type: ignore[union-attr]
    assert rows.loc["nwot", "status"] == "not finite"
    assert "singular" in rows.loc["nwot", "reason"]
    assert (rows.loc[np.isfinite(rows["value"]), "status"] == "ok").all()
    assert (rows["seconds"] > 0).all()
    assert (rows["peak_memory"] > 10).all()


def test_what_is_stored_is_not_computed_again(
    table: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "scores.db"
    scorer(store=path, proxies=["nwot", "params"]).score(CELLS[:2])
    computed: list[tuple[str, frozenset[str]]] = []
    original = scoring.score_class

    def watched(protocol: Any, unit: Any) -> Any:
        computed.extend((str(architecture), names) for architecture, names in unit.members)
        return original(protocol, unit)

    monkeypatch.setattr(scoring, "score_class", watched)
    found = scorer(store=path, proxies=["nwot", "params", "snip"]).score(CELLS[:3])
    assert dict(computed) == {
        CELLS[0]: {"snip"}, CELLS[1]: {"snip"}, CELLS[2]: {"nwot", "params", "snip"},
    }  # fmt: skip
    pd.testing.assert_frame_equal(found, table.loc[CELLS[:3], ["nwot", "params", "snip"]], check_exact=True)
    # Another seed, batch or size of network is another run.
    assert len({scorer(store=path, **change).run for change in ({}, {"seed": 1}, {"batch_size": 20}, {"repeats": 2},
                {"dtype": "float64"}, {"initialization": "pytorch"}, {"space": "nasbench201"})}) == 7  # fmt: skip


class Fragile(NASBench201):
    """A space whose networks with pooling cannot be built."""

    def build(self, architecture: Architecture, task: Task) -> torch.nn.Module:
        if "avg_pool_3x3" in architecture.genotype:
            raise RuntimeError("pooling is out of order\nwith details")
        return super().build(architecture, task)


@pytest.mark.slow
def test_failure_is_recorded_and_the_rest_goes_on(tmp_path: Path, table: pd.DataFrame) -> None:
    names = ["params", "snip", "nwot"]
    one = scorer(space=Fragile(4, 1), proxies=names, store=tmp_path / "scores.db")
    found = one.score([POOL, CONV])
    assert math.isnan(found.loc[POOL, "snip"])
    assert found.loc[POOL, "params"] == table.loc[POOL, "params"]
    assert found.loc[CONV].tolist() == table.loc[CONV, names].tolist()
    reason = "RuntimeError: pooling is out of order"
    assert {(f.architecture, f.proxy, f.reason) for f in one.failures} == {(POOL, p, reason) for p in names[1:]}
    # It is tried again the next time, and the failed row is replaced.
    healed = scorer(proxies=names, store=tmp_path / "scores.db").score([POOL])
    assert healed.loc[POOL].tolist() == table.loc[POOL, names].tolist()
    with Store(tmp_path / "scores.db") as store:
        assert store.count() == 6


class Slow(NASBench201):
    """A space whose networks with pooling are never built."""

    def build(self, architecture: Architecture, task: Task) -> torch.nn.Module:
        if "avg_pool_3x3" in architecture.genotype:
            time.sleep(1e6)
        return super().build(architecture, task)


class Greedy(NASBench201):
    """A space whose networks with pooling take 4 GB to build."""

    def build(self, architecture: Architecture, task: Task) -> torch.nn.Module:
        if "avg_pool_3x3" in architecture.genotype:
            torch.ones(1 << 30)
        return super().build(architecture, task)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("space", "limits", "reason"),
    [
        (Slow(4, 1), {"timeout": 4.0}, "it took longer than the limit of 4 s"),
        pytest.param(
            Greedy(4, 1), {"memory_limit": 1 << 30}, "memory did not suffice",
            marks=pytest.mark.skipif(sys.platform != "linux", reason="memory is limited on Linux alone"),
        ),
    ],
)  # fmt: skip
def test_an_architecture_beyond_a_limit_fails_and_costs_no_other(
    space: NASBench201, limits: dict[str, Any], reason: str, table: pd.DataFrame, tmp_path: Path
) -> None:
    names, store = ["params", "snip", "nwot"], tmp_path / "scores.db"
    limited = scorer(space=space, proxies=names, store=store, **limits)
    found = limited.score([CONV, POOL, DEAD])
    assert found.loc[[CONV, DEAD]].equals(table.loc[[CONV, DEAD], names])
    assert {failure.reason for failure in limited.failures} == {reason}
    assert {failure.architecture for failure in limited.failures} == {POOL}
    # The limit is no part of the key: without it the rest is stored, and what failed is tried again.
    assert limited.run == scorer(proxies=names).run
    healed = scorer(proxies=names, store=store).score([CONV, POOL, DEAD])
    assert healed.equals(table.loc[[CONV, POOL, DEAD], names])


def faulty(signals: Any) -> float:
    raise KeyError("no such thing")


def test_a_proxy_that_raises_fails_alone(table: pd.DataFrame) -> None:
    own = Proxy("faulty", faulty, PassSpec(), frozenset({Signal.RELU_KERNEL}), data_independent=True, paper="none",
                summary="raises")  # fmt: skip
    one = scorer(proxies=[own, "nwot"])
    assert one.score([CONV, POOL])["nwot"].equals(table.loc[[CONV, POOL], "nwot"])
    assert [failure.reason for failure in one.failures] == ["KeyError: 'no such thing'"] * 2


def test_repeats_average_initialisations() -> None:
    values = [scorer(proxies=["l2_norm", "synflow:log"], repeats=n).score([POOL]).iloc[0] for n in (1, 2, 3)]
    assert values[0]["l2_norm"] != values[1]["l2_norm"] != values[2]["l2_norm"]
    assert values[1].to_numpy() == pytest.approx(values[0].to_numpy(), rel=0.2)


def test_double_precision_is_near_single(table: pd.DataFrame) -> None:
    names = ["snip", "grad_norm", "nwot", "zen", "fisher", "logsynflow"]
    exact = scorer(proxies=names, dtype="float64").score([POOL]).loc[POOL]
    assert exact.to_numpy() == pytest.approx(table.loc[POOL, names].to_numpy(float), rel=1e-3)
    assert (exact != table.loc[POOL, names]).any()


def outputs(signals: Any) -> float:
    return float(signals.classes)


@pytest.mark.slow
def test_own_proxy_in_worker_processes() -> None:
    own = Proxy("outputs", outputs, PassSpec(), frozenset({Signal.RELU_KERNEL}), data_independent=True, paper="none",
                summary="number of outputs")  # fmt: skip
    found = scorer(proxies=[own, "params"], workers=2).score(CELLS)
    assert found["outputs"].tolist() == [10.0] * 4


def test_progress_and_costs() -> None:
    seen: list[tuple[int, int]] = []
    one = scorer(proxies=["params", "snip"])
    one.score(CELLS, lambda done, total: seen.append((done, total)))
    assert seen == [(0, 4), (2, 4), (3, 4), (4, 4)]  # CONV and SAME are one network
    assert list(one.costs.index) == ["params", "snip"]
    assert one.costs["snip"] > one.costs["params"] > 0


def test_nothing_to_score_gives_an_empty_table() -> None:
    assert scorer(proxies=["params"]).score([]).shape == (0, 1)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"seed": -1}, InputError, "seed is -1"),
        ({"dtype": "float16"}, InputError, "dtype is 'float16', expected one of float32, float64"),
        ({"initialization": "zeros"}, InputError, "initialization is 'zeros'"),
        ({"workers": -2}, InputError, "workers is -2"),
        ({"repeats": 0}, InputError, "repeats is 0"),
        ({"device": "warp"}, InputError, "device 'warp' cannot be used"),
        ({"proxies": "nwott"}, UnknownNameError, "did you mean 'nwot'"),
        ({"proxies": []}, InputError, "No proxy is named"),
        ({"space": "nasbench210"}, UnknownNameError, "did you mean 'nasbench201'"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        scorer(**options)


def test_wrong_architecture_is_refused() -> None:
    with pytest.raises(ArchitectureError, match="'conv' is no operation"):
        scorer().score(["|conv~0|+|none~0|none~1|+|none~0|none~1|none~2|"])


@pytest.mark.slow
@pytest.mark.data
def test_memory_of_a_batch_of_64_stays_below_a_gibibyte_and_a_half(real_data: Path) -> None:
    heaviest = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|"
    store = Store("sqlite://")
    Scorer(proxies="all", data=real_data / "cifar-10-batches-bin", workers=1, store=store).score([heaviest])
    assert store.rows()["peak_memory"].max() < 1536


def test_a_session_scores_members_of_a_space_without_numbers(tmp_path: Path) -> None:
    space = Words()
    words = distinct_sample(space, 3, 0, "words")
    assert len({space.canonical(word) for word in words}) == 3
    options = {"proxies": ["params", "nwot"], "data": "digits", "batch_size": 8, "workers": 0}
    with Store(tmp_path / "scores.db") as store:
        with Scorer(space, store=store, **options).session() as score:  # type: ignore[arg-type]
            first = score(words)
        table = Scorer(space, store=store, **options).score(words)  # type: ignore[arg-type]
        with Scorer(space, store=store, **options).session() as score:  # type: ignore[arg-type]
            assert score(words) == first  # as they were stored, to the last field
    assert table["nwot"].tolist() == [scores["nwot"].value for scores in first]
    found = Search(
        space, "evolution", "log-rank(params, nwot)", "digits", budget="5s,12", batch_size=8, workers=0
    ).run()
    assert 0 < len(found.evaluations) <= 12


MIXED = [str(NASBench201()[index]) for index in range(5, 15_625, 2_500)]


class TestAggregations:
    def test_are_columns_made_of_their_parts(self, tmp_path: Path) -> None:
        mixed = scorer(proxies="params, hybrid, flops_nwot", store=tmp_path / "scores.db")
        table = mixed.score(MIXED)
        parts = scorer(proxies="logsynflow, nwot, flops").score(MIXED)
        assert list(table.columns) == ["params", "hybrid", "flops_nwot"]
        assert table["hybrid"].tolist() == aggregation.hybrid(parts["logsynflow"], parts["nwot"]).tolist()
        assert table["flops_nwot"].tolist() == (parts["flops"] * parts["nwot"]).tolist()
        with Store(tmp_path / "scores.db") as store:
            assert set(store.table().columns) == {"params", "logsynflow", "nwot", "flops"}
        assert mixed.costs["hybrid"] > mixed.costs["params"]

    def test_lower_is_better_turns_a_part(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(
            "trainless.scoring.NAMED_AGGREGATES", {"mine": lambda: aggregation.RankSum(["plain", "params"])}
        )
        monkeypatch.setattr("trainless.scoring.named_aggregate", lambda name: aggregation.RankSum(["plain", "params"]))
        table = scorer(proxies="mine, plain, params").score(MIXED)
        expected = (-table["plain"]).rank() / len(table) + table["params"].rank() / len(table)
        assert table["mine"].tolist() == pytest.approx(expected.tolist())

    @pytest.mark.parametrize("name", list(aggregation.NAMED_AGGREGATES))
    def test_every_name_gives_finite_scores(self, name: str) -> None:
        table = scorer(proxies=name).score(MIXED)
        assert list(table.columns) == [name]
        assert np.isfinite(table[name].to_numpy()).sum() >= len(MIXED) - 1

    def test_an_unknown_name(self) -> None:
        with pytest.raises(UnknownNameError, match="There is no proxy 'robusta'"):
            scorer(proxies="robusta")

    def test_one_network_alone_has_none(self) -> None:
        images = torch.randn(4, 1, 8, 8)
        with pytest.raises(InputError, match="'robust' joins the scores of several networks"):
            trainless.score(SPACE.build(SPACE[100], Task("digits", 10, 1, 8, 8)), images, proxies="robust")


class TestReference:
    def test_one_network_by_itself(self, tmp_path: Path) -> None:
        """By a stored reference sample a network has the score that it has among the sample, alone and with others."""
        sample = Scorer(SPACE, "robust, flops", batch_size=8, workers=0)
        among = sample.score(CELLS)["robust"]
        sample.fitted("robust").save(tmp_path / "reference.json")
        scorer = Scorer(SPACE, "robust", batch_size=8, workers=0, reference=tmp_path / "reference.json")
        assert scorer.score([POOL])["robust"].tolist() == [among[POOL]]
        assert scorer.score([DEAD, CONV])["robust"].tolist() == among[[DEAD, CONV]].tolist()

    def test_without_one_a_single_network_has_no_score(self) -> None:
        with pytest.warns(UserWarning, match="robust is relative to the architectures .* there is one: score more"):
            table = Scorer(SPACE, "robust, flops_nwot", batch_size=8, workers=0).score([POOL])
        assert math.isnan(table["robust"].iloc[0])
        assert table["flops_nwot"].iloc[0] > 0

    def test_refused(self) -> None:
        sample = Scorer(SPACE, "az_nas", batch_size=8, workers=0)
        with pytest.raises(InputError, match="Nothing was scored that 'az_nas' could refer to"):
            sample.fitted("az_nas")
        sample.score(CELLS)
        reference = sample.fitted("az_nas")
        with pytest.raises(InputError, match=r"The reference is one of log-rank\(.*\), which is none of robust"):
            Scorer(SPACE, "robust", batch_size=8, workers=0, reference=reference)
        with pytest.raises(InputError, match=r"The reference of az_nas is of nasbench201, .* seed 0, .* are scored as"):
            Scorer(SPACE, "az_nas", batch_size=8, seed=1, workers=0, reference=reference)
        with pytest.raises(UnknownNameError, match="There is no aggregation 'robust'"):
            sample.fitted("robust")


class TestWriting:
    """When finished scores are stored."""

    def stored(self, store: Store) -> int:
        return len(store.rows())

    def scores(self, number: int) -> list[Score]:
        return [Score(str(SPACE[number]), "params", 1.0, "ok", "", 0.1)]

    @pytest.mark.parametrize(("pause", "expected"), [(60.0, [1, 2, 3]), (0.01, [0, 0, 0])])
    def test_what_comes_seldom_is_stored_at_once(
        self, pause: float, expected: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clock = itertools.count(step=pause)
        with Store(tmp_path / "scores.db") as store:
            made = scorer(proxies=["params"], store=store)
            monkeypatch.setattr(scoring, "time", SimpleNamespace(monotonic=lambda: next(clock)))
            found = []
            with made._writing() as write:
                for number in range(3):
                    write(self.scores(number))
                    found.append(self.stored(store))
            assert found == expected
            assert self.stored(store) == 3

    def test_an_interrupt_while_it_is_written_loses_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with Store(tmp_path / "scores.db") as store:
            made, write_all, turns = scorer(proxies=["params"], store=store), store.write, iter([True, False])

            def interrupted(*written: Any) -> None:
                if next(turns):
                    raise KeyboardInterrupt
                write_all(*written)

            monkeypatch.setattr(store, "write", interrupted)
            monkeypatch.setattr(scoring, "_SELDOM", -1.0)
            with pytest.raises(KeyboardInterrupt), made._writing() as write:
                write(self.scores(0))
            assert self.stored(store) == 1
