"""Names that look like markup or code are shown as they are, on pages and in figures, and never run."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from browser import CHROMIUM, Browser, wait_for
from test_report import PROTOCOL, Tables, make_tables
from test_report_fits import CONFUSION, make_audit, make_fitted, make_test
from test_report_page import StudyPage, make_study
from test_report_replays import make_replay
from test_report_searches import text_of

from trainless.report import (
    fit_figure,
    fit_page,
    quickstart_page,
    replay_figure,
    replay_page,
    study_figures,
    study_page,
)
from trainless.study import Study

pytestmark = pytest.mark.slow

HOSTILE = (
    'deer,"big"',
    "<script>window.ran = 1</script>",
    "</script><img src=x onerror='window.ran = 1'>",
    "100 % & {{ 7 * 7 }} %{x} $a_b$ &quot;é&quot;",
)
UNICODE = "猫 <b>\u2028\N{RIGHT-TO-LEFT OVERRIDE}&amp;lt;"


def shown_by_plotly(text: str) -> str:
    """What plotly.js makes of a label: it knows a few tags, and each entity is read once."""
    assert not re.search(r"</?[a-z!]", text), f"plotly.js would read a tag in {text}"
    entities = {"amp": "&", "lt": "<", "gt": ">", "nbsp": "\xa0", "times": "×", "plusmn": "±", "deg": "°", "mu": "μ"}
    return re.sub(r"&([a-z]+);", lambda found: entities.get(found[1], found[0]), text)


def data_of(page: StudyPage, name: str) -> dict[str, Any]:
    return json.loads(page.blocks[name])


def svg_texts(path: Path) -> set[str]:
    root = ElementTree.parse(path).getroot()
    return {"".join(text.itertext()).strip() for text in root.iter("{http://www.w3.org/2000/svg}text")}


def read_whole(text: str, clean: str) -> StudyPage:
    """Read a page, and check that it has the elements that it has with harmless names."""
    page = StudyPage(text)
    assert page.open == []
    assert [tag for tag, _ in page.elements if tag != "wbr"] == [
        tag for tag, _ in StudyPage(clean).elements if tag != "wbr"
    ]
    for block in page.blocks.values():
        assert not set("<>&'") & set(block), "a script element holds what HTML might read"
    return page


def hostile_study() -> Study:
    study = make_study()
    names = dict(zip(study.scores.columns, HOSTILE, strict=False))
    assert study.sweep is not None
    return replace(
        study,
        title=HOSTILE[1],
        scores=study.scores.rename(columns=names),
        kinds={names.get(name, name): kind for name, kind in study.kinds.items()},
        lower_is_better=frozenset(names.get(name, name) for name in study.lower_is_better),
        seconds=study.seconds.rename(names),
        sweep=replace(study.sweep, pair=HOSTILE[:2]),
    )


class TestFit:
    @pytest.mark.parametrize("last", [HOSTILE[3], UNICODE])
    def test_classes_read_as_they_are(self, last: str, tmp_path: Path) -> None:
        names = (*HOSTILE[:3], last)
        fitted = replace(make_fitted(), test=make_test(CONFUSION, names), audit=make_audit(names))
        page = read_whole(fit_page(fitted), fit_page(make_fitted()))
        confusion = data_of(page, "confusion-data")["data"][0]
        assert tuple(map(shown_by_plotly, confusion["x"])) == tuple(map(shown_by_plotly, confusion["y"])) == names
        assert {shown_by_plotly(name) for name in data_of(page, "recall-data")["data"][0]["y"]} == set(names[:3])
        assert all(name in text_of(page) for name in names)
        fit_figure(fitted, tmp_path / "fit.svg")
        expected = {name if len(name) <= 14 else f"{name[:13]}…" for name in (HOSTILE[0], HOSTILE[1], HOSTILE[2])}
        assert expected <= svg_texts(tmp_path / "fit.svg")


class TestStudy:
    def test_proxies_read_as_they_are(self, tmp_path: Path) -> None:
        study = hostile_study()
        page = read_whole(study_page(study, resamples=0), study_page(make_study(), resamples=0))
        assert page.texts["title"] == page.texts["h1"] == [HOSTILE[1]]
        assert set(HOSTILE) <= set(page.texts["option"])
        ranking = [
            shown_by_plotly(name) for trace in data_of(page, "study-ranking-data")["data"] for name in trace["y"]
        ]
        curves = [shown_by_plotly(trace["name"]) for trace in data_of(page, "study-top-data")["data"]]
        columns = [shown_by_plotly(column["label"]) for column in data_of(page, "study-scatter-data")["columns"]]
        for shown in (ranking, curves, columns):
            assert set(HOSTILE) <= set(shown)
        study_figures(study, tmp_path, ("svg",), resamples=0)
        for figure in ("ranking", "top", "agreement"):
            assert set(HOSTILE) <= svg_texts(tmp_path / f"{figure}.svg"), figure

    def test_the_quickstart_too(self) -> None:
        tables = make_tables()
        names = dict(zip(tables.scores.columns, HOSTILE, strict=False))
        hostile = Tables(tables.ranking, tables.scores.rename(columns=names), tables.costs.rename(index=names))
        page = read_whole(
            quickstart_page(*hostile, PROTOCOL, HOSTILE[1]), quickstart_page(*tables, PROTOCOL, "harmless")
        )
        correlation = data_of(page, "correlation-data")["data"][0]
        bars = [name for trace in data_of(page, "costs-data")["data"] for name in trace["y"]]
        for shown in (correlation["x"], bars):
            assert set(HOSTILE) <= set(map(shown_by_plotly, shown))


class TestReplay:
    def test_strategies_and_data_sets_read_as_they_are(self, tmp_path: Path) -> None:
        hostile = make_replay(HOSTILE[:2], HOSTILE[2:], ["a", HOSTILE[1]])
        page = read_whole(replay_page(hostile), replay_page(make_replay()))
        traces = data_of(page, "curves-0-0-data")["data"]
        assert [shown_by_plotly(trace["name"]) for trace in traces if trace["name"]] == list(HOSTILE[:2])
        assert HOSTILE[1] in page.texts["h2"]
        replay_figure(hostile, tmp_path / "replay.svg")
        assert {*HOSTILE[:2], f"a, score: {HOSTILE[2]}"} <= svg_texts(tmp_path / "replay.svg")


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")
def test_a_browser_runs_none_of_it(tmp_path: Path) -> None:
    fitted = replace(make_fitted(), test=make_test(CONFUSION, HOSTILE), audit=make_audit(HOSTILE))
    (tmp_path / "fit.html").write_text(fit_page(fitted), encoding="utf-8")
    with Browser(tmp_path / "browser", tmp_path) as browser:
        browser.open((tmp_path / "fit.html").as_uri())
        marks = "[...document.querySelectorAll('#confusion .ytick text')].map(mark => mark.textContent)"
        wait_for(lambda: len(browser.run(marks)) == len(HOSTILE), "the confusion matrix to be drawn")
        assert sorted(browser.run(marks)) == sorted(HOSTILE)
        assert browser.run("window.ran === undefined && document.images.length") == 0
        assert browser.problems == []
        assert {address.partition(":")[0] for address in browser.requests} <= {"file", "data", "blob"}
