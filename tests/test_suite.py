"""The suite: which benchmarks it finds, what it says of them, that it goes on, and the command with its files."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import Command
from scipy.stats import spearmanr

from trainless.aggregation import NAMED_AGGREGATES
from trainless.errors import InputError, TableError, UnknownNameError
from trainless.metrics import seed_agreement
from trainless.proxies import PROXIES
from trainless.scoring import Scorer
from trainless.suite import Suite, find_benchmarks, proxy_from_file, run_suite, suite_images
from trainless.tables import read_table

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
TABLE = f"{EXAMPLES / 'my_table.csv'}@nasbench201(channels=4, cells=1)"
QUICK = Suite("params, nwot, flops_nwot, robust", seeds=2, sample=6, resamples=20, workers=0)


@pytest.fixture(autouse=True)
def _no_data_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRAINLESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("TRAINLESS_DATA", raising=False)


@pytest.fixture
def benchmarks() -> list[object]:
    return find_benchmarks([], [TABLE])


class TestBenchmarks:
    def test_a_table_of_ones_own_with_its_space(self) -> None:
        (found,) = find_benchmarks([], [TABLE])
        assert found.space.spec == "nasbench201(channels=4, cells=1)"
        assert found.datasets == ("cifar10",)
        assert found.split("cifar10") == "test"
        assert len(found.sample(4)) == 4
        assert found.sample(4) == found.sample(6)[:4]

    def test_a_table_that_is_named_twice_counts_once(self) -> None:
        assert len(find_benchmarks([], [TABLE, TABLE])) == 1

    def test_networks_that_are_equal_are_drawn_once(self, tmp_path: Path) -> None:
        equal = ["|none~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|",
                 "|none~0|+|none~0|none~1|+|skip_connect~0|none~1|skip_connect~2|"]  # fmt: skip
        path = tmp_path / "twice.csv"
        pd.DataFrame({"cifar10.test": [80.0, 80.0]}, index=pd.Index(equal, name="architecture")).to_csv(path)
        (found,) = find_benchmarks([], [path])
        assert len(found.sample(10)) == 1
        assert len(found.sample(None)) == 2

    @pytest.mark.data
    def test_those_that_are_here(self, real_data: Path) -> None:
        found = {benchmark.table.name: benchmark for benchmark in find_benchmarks(folder=real_data)}
        assert set(found) == {"nasbench201", "nasbench101", "nasbench301-suite-zero", "transnas-macro"}
        assert found["nasbench201"].split("cifar10") == "test"
        assert found["nasbench201"].repeated("cifar10") == "test_seed888"
        assert len(found["transnas-macro"].datasets) == 7
        assert len(found["nasbench301-suite-zero"].sample(5)) == 5

    def test_what_is_not_here(self) -> None:
        with pytest.raises(InputError, match="No table of true accuracies is here"):
            find_benchmarks()
        with pytest.raises(TableError, match="No table of nasbench201 is here: `trainless tables get NAME`"):
            find_benchmarks("nasbench201")
        with pytest.raises(UnknownNameError, match="There is no search space 'nasbench2001'"):
            find_benchmarks("nasbench2001")


class TestImages:
    @pytest.mark.data
    def test_each_data_set_has_its_own(self, real_data: Path) -> None:
        names = {name: suite_images(name, real_data).task for name in ("cifar10", "cifar100", "ImageNet16-120")}
        assert [(task.name, task.classes) for task in names.values()] == [
            ("cifar10", 10), ("cifar100", 100), ("ImageNet16-120", 120)
        ]  # fmt: skip
        assert suite_images("jigsaw", real_data).task.name == "cifar10"


class TestSuite:
    def test_all_are_proxies_and_aggregations(self) -> None:
        columns = Suite().columns
        assert {"nwot", "zico", "az_trainability", "gradsign", "ntk_condition", "vkdnw", *NAMED_AGGREGATES} <= set(
            columns
        )
        assert set(columns) <= {*PROXIES, *NAMED_AGGREGATES}

    @pytest.mark.parametrize(("option", "value"), [("sample", 1), ("seeds", 0), ("batch_size", 1)])
    def test_numbers_out_of_range(self, option: str, value: int) -> None:
        with pytest.raises(InputError, match=f"The {option.replace('_', ' ')} is {value}, expected at least"):
            Suite(**{option: value})

    def test_rows_are_what_scores_and_accuracies_give(self, benchmarks: list, tmp_path: Path) -> None:
        result = run_suite(QUICK, benchmarks, tmp_path / "scores.db")
        rows = result.rows.set_index("proxy")
        assert list(rows.index) == ["params", "nwot", "flops_nwot", "robust"]
        accuracies = read_table(EXAMPLES / "my_table.csv").accuracies("cifar10", "test")
        tables = [
            Scorer(benchmarks[0].space, ["nwot", "flops"], "digits", seed=seed, workers=0).score(list(accuracies.index))
            for seed in range(2)
        ]
        expected = [spearmanr(table["nwot"], accuracies).statistic for table in tables]
        assert rows.loc["nwot", "spearman"] == pytest.approx(np.mean(expected))
        products = [table["nwot"] * table["flops"] for table in tables]
        expected = [spearmanr(product, accuracies).statistic for product in products]
        assert rows.loc["flops_nwot", "spearman"] == pytest.approx(np.mean(expected))
        assert rows.loc["nwot", "noise"] == pytest.approx(spearmanr(tables[0]["nwot"], tables[1]["nwot"]).statistic)
        assert rows.loc["params", "noise"] == 1
        assert rows["networks"].tolist() == [6] * 4
        assert (rows["low"] <= rows["high"]).all()
        assert list(result.heat.columns) == ["my_table, cifar10"]
        assert result.summary["mean_spearman"].equals(result.heat["my_table, cifar10"].rename("mean_spearman"))

    def test_resamples_and_initialisations_that_cannot_be(self) -> None:
        with pytest.raises(InputError, match="resamples is -1, expected a whole number of 0 or more"):
            Suite(resamples=-1)
        with pytest.raises(UnknownNameError, match="There is no initialization 'kaiming'"):
            Suite(initialization="kaiming")

    def test_tables_of_one_name(self, tmp_path: Path) -> None:
        larger = TABLE.replace("channels=4", "channels=8")
        result = run_suite(
            replace(QUICK, proxies="params", seeds=1), find_benchmarks([], [TABLE, larger]), tmp_path / "s"
        )
        assert list(result.heat.columns) == [
            f"my_table (nasbench201(channels={channels}, cells=1)), cifar10" for channels in (4, 8)
        ]
        assert (
            "my_table (nasbench201(channels=8, cells=1)), cifar10: test of 6 networks, scored on digits 1 x 8 x 8"
            in (result.protocol["accuracies"])
        )
        (tmp_path / "copy").mkdir()
        shutil.copy(EXAMPLES / "my_table.csv", tmp_path / "copy")
        copied = TABLE.replace(str(EXAMPLES), str(tmp_path / "copy"))
        with pytest.raises(InputError, match=r"2 tables are called 'my_table .*': give their files names of their own"):
            find_benchmarks([], [TABLE, copied])

    def test_a_table_with_gaps(self, tmp_path: Path) -> None:
        whole = pd.read_csv(EXAMPLES / "my_table.csv").set_index("architecture")["cifar10.test"]
        gaps = pd.DataFrame({"cifar10.test": whole.where(np.arange(len(whole)) < 4),
                             "other.test": whole.where(np.arange(len(whole)) >= 4)})  # fmt: skip
        gaps.to_csv(tmp_path / "gaps.csv")
        found = find_benchmarks([], [TABLE.replace(str(EXAMPLES / "my_table.csv"), str(tmp_path / "gaps.csv"))])
        quick = replace(QUICK, proxies="params", seeds=1)
        with pytest.raises(
            TableError, match="No architecture of the table 'gaps' has accuracies of all of cifar10, other"
        ):
            run_suite(quick, found, tmp_path / "scores.db")
        result = run_suite(replace(quick, datasets=["cifar10"]), found, tmp_path / "scores.db")
        assert result.rows["networks"].tolist() == [4]

    def test_the_noise_of_scores_that_are_not_finite(self) -> None:
        first, second = pd.Series([1.0, 2.0, -np.inf, np.nan]), pd.Series([5.0, 7.0, np.nan, -np.inf])
        assert seed_agreement([first, second]) == pytest.approx(1)
        assert seed_agreement([first, -second]) == pytest.approx(
            spearmanr([3, 4, 1.5, 1.5], [4, 3, 1.5, 1.5]).statistic
        )
        assert math.isnan(seed_agreement([first]))

    def test_some_data_sets(self, tmp_path: Path) -> None:
        table = pd.read_csv(TABLE.partition("@")[0])
        table["other.test"] = table["cifar10.test"][::-1].to_numpy()
        table.to_csv(tmp_path / "two.csv", index=False)
        found = find_benchmarks([], [f"{tmp_path / 'two.csv'}@nasbench201(channels=4, cells=1)"])
        both, one = (
            run_suite(replace(QUICK, datasets=named), found, tmp_path / "scores.db").rows for named in (None, ["other"])
        )
        assert set(both["dataset"]) == {"cifar10", "other"}
        pd.testing.assert_frame_equal(one, both[both["dataset"] == "other"].reset_index(drop=True))
        with pytest.raises(InputError, match="No benchmark here has the data set 'mnist', expected cifar10, other"):
            run_suite(replace(QUICK, datasets=["mnist"]), found, tmp_path / "scores.db")

    def test_goes_on_where_it_was_interrupted(self, benchmarks: list, tmp_path: Path) -> None:
        def stop(what: str, done: int, total: int) -> None:
            if done >= 3:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run_suite(QUICK, benchmarks, tmp_path / "scores.db", stop)
        first: list[int] = []
        again = run_suite(QUICK, benchmarks, tmp_path / "scores.db", lambda what, done, total: first.append(done))
        assert first[0] >= 3
        whole = run_suite(QUICK, benchmarks, tmp_path / "other.db")
        pd.testing.assert_frame_equal(
            again.rows.drop(columns="seconds"), whole.rows.drop(columns="seconds"), check_exact=True
        )


class TestOwnProxy:
    def test_from_a_file(self) -> None:
        assert proxy_from_file(f"{EXAMPLES / 'my_proxy.py'}:MY_PROXY").name == "evenness"

    @pytest.mark.parametrize(
        ("text", "place", "told"),
        [
            (None, "nowhere.py:MINE", "There is no file 'nowhere.py'"),
            ("x = 1", "one_of_mine.py", "There is no file 'one_of_mine.py'"),
            ("x = 1", "one_of_mine.py:x", "'x' in 'one_of_mine.py' is of type int, expected a trainless.proxies.Proxy"),
            ("raise OSError('no')", "broken_of_mine.py:x", "cannot be imported \\(OSError: no\\): mend it"),
            (
                "from dataclasses import replace\nfrom trainless.proxies import PROXIES\nx = PROXIES['nwot']",
                "own_nwot.py:x",
                "The proxy in 'own_nwot.py' is called 'nwot', as one of trainless is",
            ),
            ("x = 1", "json.py:x", "has the name of another module, 'json': rename the file"),
        ],
    )
    def test_refused(
        self, text: str | None, place: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("sys.path", ["", *__import__("sys").path])
        if text is not None:
            Path(place.partition(":")[0]).write_text(text)
        with pytest.raises(InputError, match=told):
            proxy_from_file(place)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    for name in ("my_proxy.py", "my_table.csv"):
        shutil.copy(EXAMPLES / name, tmp_path)
    return Command(monkeypatch, capsys)


COMMAND = ("suite", "--data", "digits", "--table", "my_table.csv@nasbench201(channels=4, cells=1)", "--spaces", "",
           "--proxies", "params,hybrid", "--proxy", "my_proxy.py:MY_PROXY", "--sample", 6, "--seeds", 2, "--resamples",
           20, "--workers", 0)  # fmt: skip


class TestCommand:
    def test_prints_rows_and_writes_files(self, run: Command) -> None:
        rows = run.document(*COMMAND)
        assert [row["proxy"] for row in rows] == ["params", "hybrid", "evenness"]
        assert {"benchmark", "dataset", "proxy", "spearman", "kendall", "low", "high", "best_of_top10", "regret",
                "seconds", "networks", "seeds"} <= set(rows[0])  # fmt: skip
        assert {row["kind"] for row in rows} == {"data-independent", "mix", "data-dependent"}
        written = pd.read_csv("suite/results.csv")
        assert written["spearman"].tolist() == pytest.approx([row["spearman"] for row in rows])
        assert len(pd.read_parquet("suite/results.parquet")) == 3
        protocol = json.loads(Path("suite/protocol.json").read_text(encoding="utf-8"))
        assert protocol["accuracies"] == "my_table, cifar10: test of 6 networks, scored on digits 1 x 8 x 8"
        assert "evenness" in Path("suite/results.tex").read_text()
        assert "| evenness |" in Path("suite/results.md").read_text()
        page = Path("suite/suite.html").read_text(encoding="utf-8")
        assert "evenness" in page
        assert "my_table, cifar10" in page

    def test_once_more_computes_nothing_again(self, run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
        before = run.document(*COMMAND)
        monkeypatch.setattr("trainless.scoring.score_class", lambda *_: pytest.fail("scored again"))
        assert json.dumps(run.document(*COMMAND)) == json.dumps(before)

    @pytest.mark.parametrize(
        ("more", "told"),
        [
            (("--sample", 1), "The sample is 1, expected at least 2"),
            (("--proxies", "nwott"), "There is no proxy 'nwott': did you mean 'nwot'?"),
            (("--spaces", "mars"), "There is no search space 'mars'"),
            (("--table", "none.csv"), "There is no file 'none.csv'"),
            (("--proxy", "none.py:X"), "There is no file 'none.py'"),
        ],
    )
    def test_refuses(self, run: Command, more: tuple[object, ...], told: str) -> None:
        assert told in run.refusal(*COMMAND, *more)
