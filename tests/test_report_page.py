"""The page of a study and of several: what it shows, what it escapes, and that it loads nothing."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau, rankdata, spearmanr
from test_report import Page

from trainless.aggregation import Sweep, sweep
from trainless.errors import InputError, UnknownNameError
from trainless.report import CAPTIONS, several_studies_page, study_page
from trainless.report.common.formats import seconds
from trainless.report.common.pages import environment
from trainless.report.common.scales import needs_logarithm
from trainless.report.study.views import make_views, random_curve, ratio_curve, thinned
from trainless.study import Study

PROTOCOL = {"table": "toy", "split": "test"}
KINDS = {"logsynflow": "data-independent", "nwot": "data-dependent", "flops": "data-independent", "loss": "odd",
         "mix": "mix"}  # fmt: skip


def make_study(count: int = 80, seed: int = 0, title: str = "toy, cifar10, test") -> Study:
    """Related scores of different size, some of them not finite, one of them better when lower."""
    draw = np.random.default_rng(seed)
    index = pd.Index([f"|nor_conv_3x3~0|+|cell {i}~0|none~1|" for i in range(count)], name="architecture")
    accuracies = pd.Series(np.sort(draw.uniform(50, 95, count)).round(2), index=index)
    worth = (accuracies - 50) / 45
    scores = pd.DataFrame(
        {
            "logsynflow": 100 * worth + draw.gamma(2, 20, count),
            "nwot": 600 + 80 * worth + draw.normal(0, 20, count),
            "flops": 10.0 ** (6 + 9 * worth + draw.normal(0, 1, count)),
            "loss": 3 - worth + draw.normal(0, 0.5, count),
            "mix": worth + draw.normal(0, 0.1, count),
        },
        index=index,
    )
    scores.iloc[1, 1], scores.iloc[2, 3], scores.iloc[3, 0] = -np.inf, np.nan, np.inf
    return Study(
        title=title,
        scores=scores,
        accuracies=accuracies,
        kinds=KINDS,
        lower_is_better=frozenset({"loss"}),
        parameters=pd.Series(draw.integers(1e5, 1e6, count), index=index),
        seconds=pd.Series({"logsynflow": 0.02, "nwot": 0.05, "flops": 0.0, "loss": math.nan, "mix": 0.07}),
        memory=pd.Series(dtype=float),
        protocol=PROTOCOL,
        sweep=sweep(scores["logsynflow"], scores["nwot"], accuracies, alphas=[0, 0.5, 1, 2], betas=[0, 0.5, 1, 1.5]),
    )


class StudyPage(Page):
    """A page with the data of its figures, by the name of the element that holds them."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.blocks: dict[str, str] = {}
        super().__init__(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "wbr":
            self.elements.append((tag, {}))
        else:
            super().handle_starttag(tag, attrs)

    def handle_data(self, data: str) -> None:
        super().handle_data(data)
        name, attributes = self.elements[-1] if self.elements else ("", {})
        if name == "script" and attributes.get("type") == "application/json":
            self.blocks.setdefault(str(attributes["id"]), data)

    def data(self, name: str) -> dict[str, Any]:
        return json.loads(self.blocks[f"study-{name}-data"])

    def rows(self, table: int = 0) -> tuple[list[str], list[str], list[str]]:
        """The headings, the names of the rows and all other cells of a table, intervals left out."""
        body = self.text.split('<table class="sortable">')[table + 1].split("</table>")[0]
        texts = Page(body.replace("<wbr>", "")).texts
        return texts["button"], texts["th"], texts["td"]


@pytest.fixture(scope="module")
def study() -> Study:
    return make_study()


@pytest.fixture(scope="module")
def leaderboard(study: Study) -> pd.DataFrame:
    return study.leaderboard(resamples=20)


@pytest.fixture(scope="module")
def page(study: Study, leaderboard: pd.DataFrame) -> StudyPage:
    return StudyPage(study_page(study, leaderboard=leaderboard))


def last_place(scores: pd.Series) -> np.ndarray:
    values = scores.to_numpy(dtype=float)
    return np.where(np.isfinite(values), values, -1e300)


def check_whole(page: StudyPage, title: str, tables: int) -> None:
    assert page.open == []
    tags = [tag for tag, _ in page.elements]
    assert (tags.count("html"), tags.count("h1"), tags.count("table")) == (1, 1, tables)
    assert page.texts["h1"] == page.texts["title"] == [title]
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for name in ("aria-labelledby", "aria-controls", "data-figure", "data-scatter", "data-controls", "data-note"):
        assert {attributes[name] for _, attributes in page.elements if name in attributes} <= set(ids)


class TestDocument:
    def test_is_whole(self, page: StudyPage, study: Study) -> None:
        check_whole(page, study.title, tables=1)

    def test_loads_nothing(self, page: StudyPage) -> None:
        addresses = [
            value for _, attributes in page.elements for name, value in attributes.items()
            if name in {"src", "href", "srcset", "data", "action", "poster"}
        ]  # fmt: skip
        assert addresses == ["data:,"]
        assert not any("url(" in text or "@import" in text for text in page.texts["style"])
        policy = next(a["content"] for _, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
        assert policy is not None
        assert policy.startswith("default-src 'none';")
        assert "http" not in policy
        # Plotly.js would run code out of text for some kinds of traces, which the policy forbids.
        assert "unsafe-eval" not in policy
        assert not any('gl"' in block for block in page.blocks.values())

    def test_follows_the_readers_colours_on_a_phone_too(self, page: StudyPage) -> None:
        assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in page.elements
        assert "prefers-color-scheme: dark" in page.texts["style"][0]
        assert "prefers-color-scheme: dark" in page.texts["script"][-1]

    def test_shows_the_protocol(self, page: StudyPage) -> None:
        assert dict(zip(page.texts["dt"], page.texts["dd"], strict=True)) == PROTOCOL


class TestContent:
    def test_headline(self, study: Study, page: StudyPage) -> None:
        taus = {name: kendalltau(last_place(study.oriented[name]), study.accuracies).statistic for name in study.scores}
        best = max(taus, key=lambda name: taus[name])
        chosen = {name: study.accuracies.iloc[last_place(study.oriented[name]).argmax()] for name in study.scores}
        strong = page.texts["strong"]
        assert strong[:3] == [best, f"{taus[best]:.3f}", f"{chosen[best]:.2f} %"]
        if max(chosen.values()) > chosen[best]:
            assert chosen[strong[3]] == max(chosen.values())

    def test_leaderboard(self, study: Study, page: StudyPage, leaderboard: pd.DataFrame) -> None:
        heads, names, cells = page.rows()
        assert heads[:3] == ["proxy", "Kendall's\N{NO-BREAK SPACE}τ", "Spearman's\N{NO-BREAK SPACE}ρ"]
        assert names == list(leaderboard.index)
        rows = np.array(cells).reshape(5, -1)
        for name, row in zip(leaderboard.index, rows, strict=True):
            values = last_place(study.oriented[name])
            assert float(row[0]) == pytest.approx(kendalltau(values, study.accuracies).statistic, abs=5e-4)
            assert float(row[1]) == pytest.approx(spearmanr(values, study.accuracies).statistic, abs=5e-4)
            chosen = study.accuracies.iloc[values.argmax()]
            assert float(row[2]) == pytest.approx(chosen, abs=5e-3)
            assert float(row[3]) == pytest.approx(study.accuracies.max() - chosen, abs=5e-3)
            assert row[5] == KINDS[name]
        assert {row[6] for row in rows} == {"0.0200", "0.0500", "0", "–", "0.0700"}
        assert len(page.texts["small"]) == 9 * 5

    def test_sorts_by_the_numbers_themselves(self, page: StudyPage, leaderboard: pd.DataFrame) -> None:
        values = [float(str(a["data-value"])) for _, a in page.elements if "data-value" in a]
        assert set(leaderboard["kendall"]) <= set(values)
        orders = [a["data-first"] for tag, a in page.elements if tag == "th" and "data-first" in a]
        assert orders[:4] == ["ascending", "descending", "descending", "descending"]
        assert orders[4] == "ascending"  # the regret

    def test_ranking(self, page: StudyPage, leaderboard: pd.DataFrame) -> None:
        for trace in page.data("ranking")["data"]:
            rows = leaderboard.loc[trace["y"]]
            np.testing.assert_allclose(trace["x"], rows["kendall"], atol=1e-6)
            low = np.array(trace["x"]) - trace["error_x"]["arrayminus"]
            np.testing.assert_allclose(low, rows["kendall_low"], atol=2e-6)
        kinds = {trace["name"]: trace["y"] for trace in page.data("ranking")["data"]}
        assert kinds["unknown"] == ["loss"]

    def test_scatter(self, page: StudyPage, study: Study, leaderboard: pd.DataFrame) -> None:
        data = page.data("scatter")
        assert [name.replace("<br>", "") for name in data["names"]] == list(study.scores.index)
        assert data["parameters"] == list(study.parameters)
        assert data["accuracies"][data["optimum"]] == study.accuracies.max()
        assert [column["label"] for column in data["columns"]] == list(leaderboard.index)
        columns = {column["label"]: column for column in data["columns"]}
        assert [name for name in columns if columns[name]["reversed"]] == ["loss"]
        assert [name for name in columns if columns[name]["logarithmic"]] == ["flops"]
        for name, column in columns.items():
            values = last_place(study.oriented[name])
            np.testing.assert_allclose(column["ranks"], 100 * (rankdata(values) - 0.5) / 80, atol=5e-3)
            assert column["first"] == values.argmax()
            finite = np.isfinite(study.scores[name])
            shown = [value for value in column["values"] if value is not None]
            np.testing.assert_allclose(shown, study.scores[name][finite], rtol=1e-4)
        assert columns["nwot"]["values"][1] is None
        assert columns["nwot"]["note"].startswith("1 architecture with a score that is not finite")
        assert columns["mix"]["note"] == ""
        options = [a["value"] for tag, a in page.elements if tag == "option"]
        assert options[:5] == ["0", "1", "2", "3", "4"]
        assert page.texts["option"][:5] == list(leaderboard.index)

    def test_agreement(self, page: StudyPage, study: Study) -> None:
        (trace,) = page.data("agreement")["data"]
        row, column = trace["y"].index("nwot"), trace["x"].index("loss")
        expected = spearmanr(last_place(study.scores["nwot"]), last_place(-study.scores["loss"])).statistic
        assert trace["z"][row][column] == pytest.approx(expected, abs=1e-6)

    def test_top(self, page: StudyPage, study: Study) -> None:
        traces = {trace["name"]: trace for trace in page.data("top")["data"]}
        assert set(traces) == {*study.scores.columns, "chosen at random"}
        for name in study.scores:
            order = np.argsort(-last_place(study.oriented[name]), kind="stable")
            best = [study.accuracies.iloc[order[:k]].max() for k in traces[name]["x"]]
            np.testing.assert_allclose(traces[name]["y"], best)
        assert traces["mix"]["x"][0] == 1
        assert traces["mix"]["x"][-1] == 80

    def test_front(self, page: StudyPage) -> None:
        traces = {trace["name"]: trace for trace in page.data("front")["data"]}
        free = traces["data-independent"]
        # What costs nothing has no place on a logarithmic axis: it stands at a quarter of the lowest cost.
        assert sorted(free["x"]) == [0.005, 0.02]
        axis = page.data("front")["layout"]["xaxis"]
        assert dict(zip(axis["tickvals"], axis["ticktext"], strict=True))[0.005] == "0"
        assert any("their time is unknown: loss" in text for text in page.texts["p"])

    def test_weights(self, page: StudyPage, study: Study) -> None:
        assert study.sweep is not None
        heat, best, published, star = page.data("weights")["data"]
        z = np.array(heat["z"], dtype=float)
        assert math.isnan(z[0, 0])
        np.testing.assert_allclose(z[1:], study.sweep.kendall.T[1:], atol=1e-6)
        alpha, beta, _ = study.sweep.best()
        assert best["y"][1] * alpha == pytest.approx(best["x"][1] * beta)
        assert max(best["x"][1] / 2, best["y"][1] / 1.5) == 1
        assert published["y"][1] == pytest.approx(3 * published["x"][1])
        assert (star["x"], star["y"]) == ([0.5], [1.5])
        line = page.data("ratio")["data"][0]
        assert line["x"] == [0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0]
        at = dict(zip(line["x"], line["y"], strict=True))
        assert at[3.0] == pytest.approx(study.sweep.at(0.5, 1.5), abs=1e-6)

    def test_captions(self, study: Study, leaderboard: pd.DataFrame) -> None:
        text = study_page(study, leaderboard=leaderboard, captions={"top": "Mine: <k> is {k}."})
        assert "Mine: &lt;k&gt; is 10." in text
        assert set(CAPTIONS) == {"leaderboard", "ranking", "scatter", "agreement", "top", "front", "weights"}
        with pytest.raises(UnknownNameError, match="did you mean 'top'"):
            study_page(study, leaderboard=leaderboard, captions={"tops": ""})


class TestEscaping:
    ATTACK = "</script><script>alert(1)</script><!--<b>&amp;$x$(%{x}"

    def test_text_stays_text(self, study: Study) -> None:
        names = {"nwot": self.ATTACK}
        index = study.scores.index.to_series().replace({study.scores.index[5]: self.ATTACK})
        attacked = replace(
            study,
            title=self.ATTACK,
            scores=study.scores.rename(columns=names).set_axis(index),
            accuracies=study.accuracies.set_axis(index),
            kinds={**KINDS, self.ATTACK: self.ATTACK},
            parameters=None,
            seconds=study.seconds.rename(names),
            protocol={self.ATTACK: self.ATTACK},
            sweep=replace(study.sweep, pair=(self.ATTACK, self.ATTACK)),
        )
        clean, page = (StudyPage(study_page(each, resamples=0)) for each in (study, attacked))
        tags = [[tag for tag, _ in each.elements] for each in (clean, page)]
        assert tags[1].count("script") == tags[0].count("script")
        assert tags[1].count("b") == 0
        for tag in ("title", "h1", "dt", "dd", "strong"):
            assert self.ATTACK in page.texts[tag] or tag == "strong"
        assert any(self.ATTACK in text for text in page.texts["option"])
        for name, block in page.blocks.items():
            assert "<" not in block, name
        # Plotly.js reads tags in names and labels: there they are escaped once more.
        labels = [column["label"] for column in page.data("scatter")["columns"]]
        assert not any("<" in label for label in labels)
        assert sum("&lt;script&gt;" in label for label in labels) == 1
        assert "<b>" not in page.data("scatter")["names"][5]
        for figure in ("ranking", "agreement", "top", "front"):
            for trace in page.data(figure)["data"]:
                texts = [trace.get("name", ""), *map(str, trace.get("y", [])), *trace.get("text", [])]
                assert not any("<b>" in text or "<script" in text for text in texts)
                assert "alert" not in trace["hovertemplate" if "hovertemplate" in trace else "hoverinfo"]

    @given(st.text(max_size=20))
    def test_data_gives_back_what_went_in(self, text: str) -> None:
        template = environment().from_string('{% import "common/parts.html.j2" as parts %}{{ parts.data("x", value) }}')
        block = template.render(value={"a": [text, 1.5, math.inf], text: None})
        inside = block.removeprefix('<script type="application/json" id="x">').removesuffix("</script>")
        assert "<" not in inside
        assert json.loads(inside) == ({"a": [text, 1.5, None], text: None} if text != "a" else {"a": None})


class TestEdges:
    """Small and odd studies give a page all the same; pytest turns warnings into errors."""

    def test_two_architectures(self) -> None:
        study = replace(make_study(4), sweep=None)
        few = replace(study, scores=study.scores.iloc[:2], accuracies=study.accuracies.iloc[:2])
        page = StudyPage(study_page(few, resamples=0, k=1))
        assert len(page.data("scatter")["names"]) == 2
        assert "study-weights-data" not in page.blocks
        assert page.texts.get("small", []) == []

    def test_no_order_and_no_cost(self) -> None:
        study = make_study()
        scores = study.scores.assign(**dict.fromkeys(study.scores.columns, 1.0))
        unknown = replace(study, scores=scores, seconds=study.seconds * math.nan, parameters=None, sweep=None)
        page = StudyPage(study_page(unknown, resamples=0))
        assert page.texts["p"][0] == "No proxy gives the 80 architectures an order."
        assert any("No proxy's time is known." in text for text in page.texts["p"])
        assert page.data("scatter")["parameters"] is None

    def test_one_proxy(self) -> None:
        study = make_study()
        page = StudyPage(study_page(replace(study, scores=study.scores[["mix"]]), resamples=0))
        assert len(page.data("ranking")["data"]) == 1

    def test_leaderboard_of_another_study(self, study: Study, leaderboard: pd.DataFrame) -> None:
        with pytest.raises(InputError, match=r"lacks kind, nwot: give what"):
            study_page(study, leaderboard=leaderboard.drop(index="nwot", columns="kind"))

    def test_infinite_best_ratio_and_uneven_grid(self, study: Study) -> None:
        weights = Sweep(("a", "b"), np.array([0.0, 1.0]), np.array([0.0, 2.0]), np.diag([np.nan, 0.1]), np.eye(2))
        weights.kendall[0, 1] = 0.9
        page = StudyPage(study_page(replace(study, sweep=weights), resamples=0))
        best = page.data("weights")["data"][1]
        assert (best["x"], best["y"], best["name"]) == ([0, 0.0], [0, 2.0], "best: β/α = ∞")


class TestThinning:
    def test_keeps_what_matters(self) -> None:
        study = replace(make_study(5000), sweep=None)
        views = make_views(study, None, resamples=0, k=10)
        places = thinned(views)
        truth = study.accuracies.to_numpy()
        assert set(np.argsort(-truth)[:100]) <= set(places)
        assert all(last_place(study.oriented[name]).argmax() in places for name in study.scores)
        assert 3000 <= len(places) <= 3105
        assert list(places) == sorted(set(places)) == list(thinned(views))
        page = StudyPage(study_page(study, resamples=0))
        assert any(f"Of 5,000 architectures {len(places):,} are drawn" in text for text in page.texts["p"])
        column = page.data("scatter")["columns"][0]
        name = column["label"]
        ranks = 100 * (rankdata(last_place(study.oriented[name])) - 0.5) / 5000
        np.testing.assert_allclose(column["ranks"], ranks[places], atol=5e-3)
        assert places[column["first"]] == last_place(study.oriented[name]).argmax()

    def test_highlights_the_best_of_each_kind(self) -> None:
        views = make_views(make_study(), None, resamples=0, k=10)
        board = views.leaderboard
        for kind in ("data-independent", "data-dependent", "mix"):
            assert board.index[board["kind"] == kind][0] in views.highlighted(4)
        assert board["regret"].idxmin() in views.highlighted(4)
        assert len(views.highlighted(4)) == 4


class TestNumbers:
    @given(st.lists(st.floats(0, 100), min_size=1, max_size=7))
    def test_random_curve_is_the_mean_over_all_choices(self, accuracies: list[float]) -> None:
        ks = range(1, len(accuracies) + 1)
        expected = [np.mean([max(chosen) for chosen in itertools.combinations(accuracies, k)]) for k in ks]
        np.testing.assert_allclose(random_curve(accuracies, list(ks)), expected, rtol=1e-9, atol=1e-9)

    def test_ratio_curve_keeps_the_best(self) -> None:
        study = make_study(60)
        grid = np.arange(0, 30.5, 0.5)
        first, second = study.scores["logsynflow"], study.scores["nwot"]
        weights = sweep(first, second, study.accuracies, alphas=grid, betas=grid)
        table, alone = ratio_curve(weights)
        assert 300 < len(table) <= 601
        assert table["ratio"].is_monotonic_increasing
        inner = weights.kendall[1:, 1:]
        assert table["kendall"].max() == inner.max()
        assert alone == {"logsynflow": weights.kendall[1:, 0].max(), "nwot": weights.kendall[0, 1:].max()}

    @pytest.mark.parametrize(
        ("values", "answer"),
        [([], False), ([np.nan, -np.inf], False), ([1.0, 2.0, 3.0], False), ([0.0, 1.0, 1e9], False),
         ([1.0, 1e5, 1e9, np.inf], True)],
    )  # fmt: skip
    def test_logarithmic_axes(self, values: list[float], answer: bool) -> None:
        assert needs_logarithm(np.array(values)) is answer

    @given(st.integers(-6, 3))
    def test_powers_of_ten_have_round_names(self, power: int) -> None:
        text, unit = seconds(10.0**power).split()
        assert float(text.replace(",", "")) * {"s": 1, "ms": 1e-3, "µs": 1e-6}[unit] == pytest.approx(10.0**power)


@pytest.fixture(scope="module")
def several() -> StudyPage:
    studies = [make_study(), make_study(seed=1, title="toy, cifar100, test")]
    table = pd.DataFrame({"note": ["<i>", None], "value": [0.25, math.nan]})
    tables = [("A & b", table, "n<")]
    text = several_studies_page(studies, "Two <studies>", "<p>As <em>given</em>.</p>", tables, resamples=0)
    return StudyPage(text)


class TestSeveral:
    def test_is_whole(self, several: StudyPage) -> None:
        check_whole(several, "Two <studies>", tables=4)

    def test_holds_plotly_once(self, several: StudyPage) -> None:
        assert sum(len(text) > 1_000_000 for text in several.texts["script"]) == 1

    def test_tabs_name_what_differs(self, several: StudyPage) -> None:
        tabs = [a for tag, a in several.elements if a.get("role") == "tab"]
        panels = [a for tag, a in several.elements if a.get("role") == "tabpanel"]
        assert [a["aria-controls"] for a in tabs] == [a["id"] for a in panels]
        assert [text for text in several.texts["button"] if text.startswith("cifar")] == ["cifar10", "cifar100"]
        assert "toy, cifar100, test" in several.texts["h2"]

    def test_overview(self, several: StudyPage) -> None:
        heads, names, cells = several.rows(0)
        assert heads == ["proxy", "τ, cifar10", "τ, cifar100", "regret, cifar10", "regret, cifar100"]
        rows = dict(zip(names, np.array(cells).reshape(5, 4), strict=True))
        study = make_study(seed=1)
        tau = kendalltau(last_place(-study.scores["loss"]), study.accuracies).statistic
        assert float(rows["loss"][1]) == pytest.approx(tau, abs=5e-4)

    def test_further_tables(self, several: StudyPage) -> None:
        heads, names, cells = several.rows(1)
        # The index only numbers the rows, so the first column names them.
        assert (heads, names) == (["note", "value"], ["<i>", "–"])
        assert cells == ["0.25", "–"]
        assert "A & b" in several.texts["h2"]
        assert "n<" in several.texts["p"]
        assert several.texts["em"] == ["given"]

    @pytest.mark.parametrize(("count", "boards"), [(0, None), (2, None), (1, [])])
    def test_refused(self, count: int, boards: Any) -> None:
        with pytest.raises(InputError, match="expected"):
            several_studies_page([make_study(12)] * count, "title", leaderboards=boards)


@pytest.mark.slow
@pytest.mark.data
def test_all_of_nasbench201_fits_a_page(real_data: Path) -> None:
    table = pd.read_csv(real_data / "tables" / "nasbench201.csv.gz").set_index("architecture")
    folder = real_data / "nats-tss-freerea" / "cifar10"
    columns = {
        name: pd.read_csv(folder / f"{name}.csv")[name].to_numpy() for name in ("logsynflow", "naswot", "synflow")
    }
    scores = pd.DataFrame(columns, index=table.index).rename(columns={"naswot": "nwot"})
    weights = Sweep(
        ("logsynflow", "nwot"), np.arange(201) / 2, np.arange(201) / 2, *np.random.default_rng(0).random((2, 201, 201))
    )
    study = Study("all", scores, table["cifar10.test"], KINDS, frozenset(), None, pd.Series(dtype=float),
                  pd.Series(dtype=float), {}, weights)  # fmt: skip
    page = StudyPage(study_page(study, resamples=0))
    assert len(page.text.encode()) < 12e6
    assert len(page.data("scatter")["names"]) <= 3103
    columns = {column["label"]: column for column in page.data("scatter")["columns"]}
    assert columns["synflow"]["logarithmic"]
    assert "201 architectures" in columns["nwot"]["note"]
