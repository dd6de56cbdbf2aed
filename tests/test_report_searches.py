"""The page and the picture of a search: their numbers, what they escape, and that they load nothing."""

from __future__ import annotations

import json
import math
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_report_page import StudyPage, check_whole

from trainless.errors import InputError, UnknownNameError
from trainless.report import search_figure, search_page, shares_figure
from trainless.report.search.views import best_so_far, front, shown
from trainless.search.results import SearchResult
from trainless.search_spaces.base import Edge
from trainless.search_spaces.nasbench201 import NASBench201
from trainless.types import Task

SPACE, TASK = NASBench201(), Task("cifar10", 10)
ODD = "</script><b>&amp; x"
GRAPH = (Edge("input", "output", "skip_connect"),)


def make_search(seed: int = 0, count: int = 30, objectives: tuple[str, ...] = ("score",)) -> SearchResult:
    """Cells drawn at random with random scores, two of them not finite, and their true parameters and multiply-adds."""
    draw = np.random.default_rng(seed)
    cells = [SPACE[int(place)] for place in draw.choice(len(SPACE), count, replace=False)]
    scores = draw.normal(2, 0.5, count)
    scores[3], scores[5] = -np.inf, np.nan
    rows = pd.DataFrame(
        {
            "architecture": [str(cell) for cell in cells],
            "score": scores,
            "parameters": [SPACE.parameters(cell, TASK) for cell in cells],
            "flops": [SPACE.flops(cell, TASK) for cell in cells],
            "seconds": np.arange(count) / 10,
            "status": np.where(np.isfinite(scores), "ok", "not finite"),
            "reason": "",
            "nwot": scores * 100,
        },
        index=range(1, count + 1),
    )
    order = rows.sort_values("score", ascending=False)["architecture"]
    best = tuple(order[:3]) if len(objectives) > 1 else (str(order.iloc[0]),)
    return SearchResult(
        title="random, score nwot",
        space="nasbench201",
        best=best[0],
        objectives=objectives,
        evaluations=rows,
        front=best,
        rejected={"params": 7, "flops": 0},
        stopped="the budget of 30 evaluations is spent",
        protocol={"seed": str(seed)},
    )


def read(text: str) -> StudyPage:
    """Read a page, without the places where an architecture's string may be broken."""
    return StudyPage(text.replace('<wbr class="node">', ""))


def block(page: StudyPage, name: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(page.blocks[f"{name}-data"])
    return data


def check_loads_nothing(page: StudyPage) -> None:
    addresses = [
        value for _, attributes in page.elements for name, value in attributes.items()
        if name in {"src", "href", "srcset", "data", "action", "poster"}
    ]  # fmt: skip
    assert addresses == ["data:,"]


def text_of(page: StudyPage) -> str:
    """The text of the page that is not a script's."""
    return " ".join(" ".join(parts) for tag, parts in page.texts.items() if tag not in {"script", "style"})


def texts(path: Path) -> set[str]:
    root = ElementTree.parse(path).getroot()
    return {"".join(each.itertext()).strip() for each in root.iter("{http://www.w3.org/2000/svg}text")}


@pytest.fixture(scope="module")
def page() -> StudyPage:
    others = [make_search(seed) for seed in (1, 2)]
    return read(search_page(make_search(), SPACE.graph(SPACE.parse(make_search().best)), others=others))


class TestNumbers:
    @given(st.lists(st.floats(), min_size=1, max_size=20))
    def test_best_so_far(self, scores: list[float]) -> None:
        expected = []
        for place in range(len(scores)):
            finite = [score for score in scores[: place + 1] if math.isfinite(score)]
            expected.append(max(finite) if finite else math.nan)
        np.testing.assert_array_equal(best_so_far(scores), expected)

    @pytest.mark.parametrize("seed", range(3))
    def test_front_is_what_nothing_beats(self, seed: int) -> None:
        result = make_search(seed)
        table = front(result, "params")
        rows = result.evaluations[np.isfinite(result.evaluations["score"])]
        expected = {
            place
            for place, row in rows.iterrows()
            if not any(
                other["score"] >= row["score"] and other["parameters"] <= row["parameters"]
                and (other["score"] > row["score"] or other["parameters"] < row["parameters"])
                for _, other in rows.iterrows()
            )
        }  # fmt: skip
        assert set(table.index[table["on_front"]]) == expected
        assert table["cost"].is_monotonic_increasing

    def test_the_lowest_scores_are_left_out_and_counted(self) -> None:
        rows = make_search(count=100).evaluations.assign(score=np.arange(100.0))
        result = replace(make_search(), evaluations=rows)
        low, high, is_logarithmic, below = shown(result)
        # Of 0 to 99 the 5 % quantile, taken low, is 4; a twentieth of 95 is left as room.
        assert (low, high) == pytest.approx((4 - 4.75, 99 + 4.75))
        assert (is_logarithmic, below) == (False, 0)
        outlier = replace(result, evaluations=rows.assign(score=[-1e6, *range(1, 100)]))
        assert shown(outlier)[3] == 1

    def test_scores_of_many_sizes_are_shown_by_their_logarithm(self) -> None:
        rows = make_search(count=100).evaluations.assign(score=10.0 ** np.linspace(0, 20, 100))
        page = read(search_page(replace(make_search(), evaluations=rows), GRAPH))
        assert block(page, "curve")["layout"]["yaxis"]["type"] == "log"


class TestSearchPage:
    def test_is_one_whole_document(self, page: StudyPage) -> None:
        check_whole(page, "random, score nwot", tables=2)
        check_loads_nothing(page)

    def test_headline(self, page: StudyPage) -> None:
        result = make_search()
        row = result.evaluations.set_index("architecture").loc[result.best]
        text = page.text
        assert f"Found: <code>{result.best}</code>: score <strong>{row['score']:#,.5g}</strong>, " in text
        assert f"{row['parameters'] / (1e6 if row['parameters'] >= 1e6 else 1e3):.1f} " in text
        assert "30 architectures were evaluated (2 without a finite score); 7 broke a limit and were not." in text
        assert "The search ended: the budget of 30 evaluations is spent." in text

    def test_curves(self, page: StudyPage) -> None:
        traces = {trace["name"]: trace for trace in block(page, "curve")["data"]}
        curves = np.array([best_so_far(make_search(seed).evaluations["score"]) for seed in range(3)])
        np.testing.assert_allclose(traces["this search"]["y"], curves[0], atol=1e-6)
        np.testing.assert_allclose(traces["mean of 3 searches"]["y"], curves.mean(axis=0), atol=1e-6)
        band = traces["lowest to highest"]["y"]
        assert (min(band), max(band)) == pytest.approx((curves[:, 0].min(), curves.max()), abs=1e-6)
        points = traces["evaluated"]
        assert points["x"] == list(range(1, 31))
        assert [place for place, value in enumerate(points["y"]) if value is None] == [3, 5]
        assert points["text"][0].startswith("<b>score ")

    def test_a_search_that_ended_early_keeps_its_last(self) -> None:
        short = replace(make_search(1), evaluations=make_search(1).evaluations.head(4))
        traces = block(read(search_page(make_search(), GRAPH, others=[short])), "curve")["data"]
        mean = next(trace for trace in traces if trace["name"] == "mean of 2 searches")["y"]
        curves = [best_so_far(each.evaluations["score"])[-1] for each in (make_search(), short)]
        assert mean[-1] == pytest.approx(np.mean(curves), abs=1e-6)

    def test_fronts_by_cost(self, page: StudyPage) -> None:
        assert {name for name in page.blocks if name.startswith("front")} == {"front-params-data", "front-flops-data"}
        for cost in ("params", "flops"):
            edge = block(page, f"front-{cost}")["data"][1]
            table = front(make_search(), cost)
            assert edge["x"] == table["cost"][table["on_front"]].tolist()

    def test_the_chosen_objective_comes_first(self) -> None:
        page = read(search_page(make_search(objectives=("score", "flops")), GRAPH))
        assert page.text.index('<option value="flops">') < page.text.index('<option value="params">')
        assert "It is one of 3 that no other beats in all of score, flops." in page.text
        check_whole(page, "random, score nwot", tables=3)
        headings, ranks, _ = page.rows(0)
        assert headings[0] == "rank by score"
        assert ranks == ["1", "2", "3"]
        rings = next(each for each in block(page, "front-flops")["data"] if each["name"] == "front of the search")
        assert len(rings["x"]) == 3

    def test_the_best_scored(self, page: StudyPage) -> None:
        headings, ranks, cells = page.rows(0)
        assert headings == [
            "rank", "score", "parameters", "multiply-adds", "evaluation", "architecture", "nwot"]  # fmt: skip
        assert ranks == [str(rank) for rank in range(1, 21)]
        rows = make_search().evaluations
        order = rows[np.isfinite(rows["score"])].sort_values("score", ascending=False)
        assert [int(cell) for cell in cells[3::6][:20]] == list(order.index[:20])
        assert [int(cell.replace(",", "")) for cell in cells[1::6][:20]] == order["parameters"].tolist()[:20]

    def test_limits(self, page: StudyPage) -> None:
        headings, names, cells = page.rows(1)
        assert headings == ["proposed", "architectures", "share of all"]
        assert names == ["evaluated", "rejected: params", "rejected: flops"]
        assert cells == ["30", "81.1%", "7", "18.9%", "0", "0.0%"]

    def test_run_off(self) -> None:
        rows = make_search().evaluations
        trained = pd.DataFrame({"architecture": rows["architecture"].iloc[:2].tolist(), "score_rank": [2, 1],
                                "epochs": [8, 4], "valid_accuracy": [71.25, 70.0], "seconds": [9.5, 4.0]})  # fmt: skip
        result = replace(make_search(), run_off=trained, best=str(trained["architecture"].iloc[0]))
        page = read(search_page(result, GRAPH))
        assert "the best validation accuracy, <strong>71.25 %</strong>; by its score it is number 2." in page.text
        headings, places, cells = page.rows(1)
        assert headings[:2] == ["place", "validation accuracy, %"]
        assert places == ["1", "2"]
        assert cells[:4] == ["71.25", "2", "8", "9.5"]

    def test_a_run_off_that_failed(self) -> None:
        best = make_search().best
        trained = pd.DataFrame({"architecture": [best], "score_rank": [1], "epochs": [8], "valid_accuracy": [math.nan],
                                "seconds": [0.1], "reason": ["no memory"]})  # fmt: skip
        page = read(search_page(replace(make_search(), run_off=trained), GRAPH))
        assert "None of the 1 that were to be trained could be, so the score alone decides." in page.text
        headings, _, cells = page.rows(1)
        assert (headings[-1], cells[-1]) == ("why it failed", "no memory")

    def test_everything_is_escaped(self) -> None:
        result = make_search(objectives=("score", "params"))
        rows = result.evaluations.rename(columns={"nwot": ODD})
        rows["architecture"] = [f"{ODD}{place}" for place in rows.index]
        names = tuple(rows["architecture"][:2])
        result = replace(result, title=ODD, best=names[0], front=names, evaluations=rows, rejected={ODD: 3},
                         stopped=ODD, protocol={ODD: ODD})  # fmt: skip
        page = read(search_page(result, (Edge("input", ODD, ODD), Edge(ODD, "output", ODD))))
        assert page.open == []
        assert "b" not in page.texts
        assert "b" not in {tag for tag, _ in page.elements}
        assert text_of(page).count(ODD) > 10
        for name in page.blocks:
            json.loads(page.blocks[name])

    def test_dead_edges_are_explained(self) -> None:
        dead = (*GRAPH, Edge("input", "1", "skip_connect", False))
        assert "Grey and dashed" in search_page(make_search(), dead)
        assert "Grey and dashed" not in search_page(make_search(), GRAPH)
        assert "nothing reaches the output" in search_page(make_search(), ())

    def test_without_costs_limits_and_protocol(self) -> None:
        rows = make_search().evaluations[["architecture", "score"]]
        result = replace(make_search(), evaluations=rows, rejected={}, protocol={})
        page = read(search_page(result, GRAPH))
        check_whole(page, "random, score nwot", tables=1)
        assert "no limit kept any out" in page.text
        assert set(page.blocks) == {"cell-data", "curve-data"}

    def test_without_any_finite_score(self) -> None:
        rows = make_search().evaluations.assign(score=-math.inf)
        page = search_page(replace(make_search(), evaluations=rows), GRAPH, others=[make_search(1)])
        assert "score <strong>−∞</strong>" in page
        assert "(30 without a finite score)" in page

    def test_nothing_evaluated(self) -> None:
        empty = replace(make_search(), evaluations=make_search().evaluations.head(0))
        with pytest.raises(InputError, match="'random, score nwot' evaluated no architecture, expected at least one"):
            search_page(empty, GRAPH)
        with pytest.raises(InputError, match="evaluated no architecture"):
            search_page(make_search(), GRAPH, others=[empty])


class TestSearchFigure:
    def test_shows_what_the_page_shows(self, tmp_path: Path) -> None:
        result = make_search()
        search_figure(result, GRAPH, tmp_path / "search.svg", others=[make_search(1)])
        expected = {"architectures evaluated", "score", "parameters", "front", "found", "this search",
                    "mean and range of 2 searches", result.best, "input", "output", "skip"}  # fmt: skip
        assert expected <= texts(tmp_path / "search.svg")

    @pytest.mark.slow
    @pytest.mark.parametrize(("ending", "start"), [("png", b"\x89PNG"), ("SVG", b"<?xml"), ("pdf", b"%PDF")])
    def test_formats_and_determinism(self, tmp_path: Path, ending: str, start: bytes) -> None:
        for name in "ab":
            search_figure(make_search(), GRAPH, tmp_path / f"{name}.{ending}")
        first, second = ((tmp_path / f"{name}.{ending}").read_bytes() for name in "ab")
        assert first == second
        assert first.startswith(start)

    def test_without_costs_and_of_many_sizes(self, tmp_path: Path) -> None:
        rows = make_search().evaluations[["architecture"]].assign(score=10.0 ** np.linspace(0, 20, 30))
        search_figure(replace(make_search(), evaluations=rows), GRAPH, tmp_path / "search.svg")
        assert "parameters" not in texts(tmp_path / "search.svg")

    def test_without_any_finite_score(self, tmp_path: Path) -> None:
        rows = make_search().evaluations.assign(score=math.nan)
        search_figure(replace(make_search(), evaluations=rows), GRAPH, tmp_path / "a.png", others=[make_search()])
        assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")

    def test_unknown_format(self, tmp_path: Path) -> None:
        with pytest.raises(UnknownNameError, match="no format 'gif'"):
            search_figure(make_search(), GRAPH, tmp_path / "search.gif")


def test_shares_of_options_have_a_panel_a_choice(tmp_path: Path) -> None:
    columns = pd.MultiIndex.from_tuples([(choice, option) for choice in ("a to b", ODD) for option in ("conv", ODD)])
    shares = pd.DataFrame(np.full((3, 4), [0.25, 0.75, 0.5, 0.5]), columns=columns, index=[1, 2, 3])
    by_epoch = pd.DataFrame(
        {"skips": [1, 2, 4], "eigenvalue": [0.25, 0.5, 1.5], "architecture": ["a", "b", ODD]}, [1, 2, 3]
    )
    result = replace(make_search(), shares=shares, by_epoch=by_epoch)
    page = read(search_page(result, GRAPH))
    assert page.rows(0) == (
        ["epoch", "skip connections", "eigenvalue", "architecture"], ["1", "2", "3"],
        ["1", "0.25", "a", "2", "0.5", "b", "4", "1.5", ODD],
    )  # fmt: skip
    plot = block(page, "shares")
    assert [trace["y"] for trace in plot["data"]] == [[0.25] * 3, [0.75] * 3, [0.5] * 3, [0.5] * 3]
    assert [trace["yaxis"] for trace in plot["data"]] == ["y", "y", "y2", "y2"]
    assert plot["data"][0]["line"]["color"] == plot["data"][2]["line"]["color"]
    assert "What the mixture learnt" in text_of(page)
    assert "What the mixture learnt" not in text_of(read(search_page(make_search(), GRAPH)))
    shares_figure(shares, tmp_path / "shares.svg")
    assert {"a to b", ODD, "conv", "epoch"} <= texts(tmp_path / "shares.svg")
