"""The page and the picture of a replay: their numbers, what they escape, and that they load nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from test_report_page import check_whole
from test_report_searches import ODD, block, check_loads_nothing, read, text_of, texts

from trainless.errors import InputError, UnknownNameError
from trainless.report import replay_figure, replay_page
from trainless.report.replay.views import marks, panels, regret
from trainless.search.results import ReplayResult


def make_replay(
    strategies: Sequence[str] = ("random", "evolution"),
    scores: Sequence[str] = ("nwot", "hybrid"),
    datasets: Sequence[str] = ("cifar10", "cifar100"),
    **more: Any,
) -> ReplayResult:
    draw = np.random.default_rng(0)
    curves, rows = {}, []
    for dataset in datasets:
        for score in scores:
            for strategy in strategies:
                curve = np.sort(draw.uniform(80, 94, (6, 40)), axis=1)
                curves[strategy, score, dataset] = curve
                rows.append(
                    {"strategy": strategy, "score": score, "dataset": dataset, "seeds": 6, "budget": "40 evaluations",
                     "mean_test": curve[:, -1].mean(), "std_test": curve[:, -1].std(), "mean_evaluations": 40.0,
                     "microseconds": 30.0, **more}
                )  # fmt: skip
    return ReplayResult(rows, curves, dict.fromkeys(datasets, 94.5), {"table": "toy"})


class TestNumbers:
    def test_regret_is_that_of_the_mean(self) -> None:
        accuracies = np.random.default_rng(0).uniform(80, 90, (5, 7))
        accuracies[0, 0] = np.nan  # no choice yet
        curve = regret(accuracies, 94.0)
        assert curve.evaluations.tolist() == [1, 2, 3, 4, 5, 6, 7]
        for place in range(7):
            known = accuracies[:, place][np.isfinite(accuracies[:, place])]
            error = np.std(known, ddof=1) / math.sqrt(len(known))
            assert curve.mean[place] == pytest.approx(94 - np.mean(known))
            assert curve.low[place] == pytest.approx(94 - np.mean(known) - error)
            assert curve.high[place] == pytest.approx(94 - np.mean(known) + error)

    def test_regret_of_one_seed_and_of_none(self) -> None:
        curve = regret([[math.nan, 90.0]], 94.0)
        np.testing.assert_array_equal([curve.mean, curve.low, curve.high], [[math.nan, 4.0]] * 3)

    def test_long_curves_are_thinned(self) -> None:
        curve = regret(np.zeros((2, 5000)), 94.0)
        assert len(curve.mean) == 300
        assert (curve.evaluations[0], curve.evaluations[-1]) == (1, 5000)

    def test_marks(self) -> None:
        assert list(marks(0.04, 40).values()) == ["0.05", "0.1", "0.2", "0.5", "1", "2", "5", "10", "20"]
        assert list(marks(0.01, 50).values()) == ["0.01", "0.1", "1", "10"]


class TestReplayPage:
    def test_is_one_whole_document(self) -> None:
        page = read(replay_page(make_replay()))
        check_whole(page, "Replay of searches: cifar10, cifar100", tables=3)
        check_loads_nothing(page)
        assert page.text.count('role="tabpanel"') == 2

    def test_headline_names_the_best(self) -> None:
        result = make_replay(mean_test_runoff=94.2, std_test_runoff=0.1)
        rows = [row for row in result.rows if row["dataset"] == "cifar100"]
        best = max(rows, key=lambda row: row["mean_test"])
        text = replay_page(result)
        assert (
            f"cifar100: <strong>{best['strategy']}</strong> by the score <strong>{best['score']}</strong> finds the "
            "best architectures within 40 evaluations: a mean test accuracy of "
            f"<strong>{best['mean_test']:.2f} %</strong>, "
            f"{94.5 - best['mean_test']:.2f} points below the best of all (94.50 %)."
        ) in text
        assert "<strong>94.20 %</strong>, 0.30 points below the best of all" in text

    def test_lines_are_told_apart_in_all_panels(self) -> None:
        strategies = [f"strategy {place}" for place in range(10)]
        page = read(replay_page(make_replay(strategies)))
        styles = set()
        for name in ("curves-0-0", "curves-0-1", "curves-1-0", "curves-1-1"):
            lines = [trace for trace in block(page, name)["data"] if trace["name"]]
            assert [trace["name"] for trace in lines] == strategies
            assert [trace["meta"] for trace in lines] == [str(place) for place in range(10)]
            styles.add(tuple((trace["line"]["color"], trace["line"]["dash"]) for trace in lines))
        assert len(styles) == 1
        assert len(set(styles.pop())) == 10
        keys = [attributes for tag, attributes in page.elements if tag == "button" and "data-series" in attributes]
        assert [each["data-series"] for each in keys] == [str(place) for place in range(10)] * 2

    def test_panels_of_a_data_set_share_their_range(self) -> None:
        page = read(replay_page(make_replay()))
        ranges = [block(page, f"curves-0-{place}")["layout"]["yaxis"]["range"] for place in (0, 1)]
        assert ranges[0] == ranges[1]

    def test_curves(self) -> None:
        result = make_replay()
        line = next(each for each in block(read(replay_page(result)), "curves-1-0")["data"] if each["name"])
        curve = 94.5 - result.curves["random", "nwot", "cifar100"].mean(axis=0)
        np.testing.assert_allclose(line["y"], curve, atol=1e-4)

    def test_few_strategies_have_a_panel_each(self) -> None:
        by_strategy = panels(make_replay(["evolution"], ["nwot", "hybrid"]), "cifar10")
        assert [(part.title, list(part.lines)) for part in by_strategy] == [("strategy: evolution", ["nwot", "hybrid"])]
        by_score = panels(make_replay(), "cifar10")
        assert [part.title for part in by_score] == ["score: nwot", "score: hybrid"]

    def test_tables(self) -> None:
        result = make_replay(target=94.0, reached=0.25, evaluations_to_target=math.inf)
        page = read(replay_page(result))
        headings, names, cells = page.rows(0)
        assert headings == ["strategy", "score", "cifar10, %", "cifar100, %"]
        rows = pd.DataFrame(result.rows).pivot(index=["strategy", "score"], columns="dataset", values="mean_test")
        order = rows.mean(axis=1).sort_values(ascending=False).index
        assert list(zip(names, cells[::3], strict=True)) == list(order)
        assert cells[1::3] == [f"{value:.2f}" for value in rows.loc[order, "cifar10"]]
        headings, names, cells = page.rows(1)
        assert headings == ["strategy", "score", "mean test accuracy, %", "standard deviation", "mean regret, points",
                            "target, %", "seeds that reach it", "evaluations to it", "mean evaluations", "budget",
                            "seeds", "µs an evaluation"]  # fmt: skip
        best = rows["cifar10"].sort_values(ascending=False)
        assert cells[1::11] == [f"{value:.2f}" for value in best]
        assert cells[3::11] == [f"{94.5 - value:.2f}" for value in best]
        assert set(cells[5::11]) == {"25%"}
        assert set(cells[6::11]) == {"∞"}

    def test_one_data_set_without_run_off_and_target(self) -> None:
        page = read(replay_page(make_replay(datasets=["toy"])))
        check_whole(page, "Replay of searches: toy", tables=1)
        assert "After a run-off" not in page.text
        assert "Evaluations to the target" not in page.text

    def test_everything_is_escaped(self) -> None:
        result = make_replay([ODD, "random"], [ODD], [ODD, "toy"])
        page = read(replay_page(replace(result, protocol={ODD: ODD})))
        assert page.open == []
        assert "b" not in {tag for tag, _ in page.elements}
        assert text_of(page).count(ODD) > 10
        names = {trace["name"] for trace in block(page, "curves-0-0")["data"]}
        assert names == {"", "&lt;/script&gt;&lt;b&gt;&amp;amp; x", "random"}

    def test_refuses_what_has_nothing_to_show(self) -> None:
        with pytest.raises(InputError, match="no curves or no rows, expected at least one of each"):
            replay_page(ReplayResult([], {}, {}))
        with pytest.raises(InputError, match="no optimum of 'cifar100', expected one for each"):
            replay_page(replace(make_replay(), optima={"cifar10": 94.5}))


class TestReplayFigure:
    def test_shows_what_the_page_shows(self, tmp_path: Path) -> None:
        replay_figure(make_replay(), tmp_path / "replay.svg")
        expected = {"random", "evolution", "regret, points", "architectures evaluated"}
        expected |= {f"{name}, score: {score}" for name in ("cifar10", "cifar100") for score in ("nwot", "hybrid")}
        assert expected <= texts(tmp_path / "replay.svg")

    def test_many_panels_take_several_rows(self, tmp_path: Path) -> None:
        many = make_replay([f"strategy {place}" for place in range(7)], [f"$score {place}" for place in range(6)])
        replay_figure(many, tmp_path / "replay.svg")
        assert {f"cifar100, score: $score {place}" for place in range(6)} <= texts(tmp_path / "replay.svg")

    @pytest.mark.slow
    @pytest.mark.parametrize(("ending", "start"), [("png", b"\x89PNG"), ("SVG", b"<?xml"), ("pdf", b"%PDF")])
    def test_formats_and_determinism(self, tmp_path: Path, ending: str, start: bytes) -> None:
        for name in "ab":
            replay_figure(make_replay(datasets=["toy"]), tmp_path / f"{name}.{ending}")
        first, second = ((tmp_path / f"{name}.{ending}").read_bytes() for name in "ab")
        assert first == second
        assert first.startswith(start)

    def test_unknown_format(self, tmp_path: Path) -> None:
        with pytest.raises(UnknownNameError, match="no format 'gif'"):
            replay_figure(make_replay(), tmp_path / "replay.gif")
