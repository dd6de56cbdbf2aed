"""The page and the picture of the quickstart, on made-up tables of the true shape."""

from __future__ import annotations

import json
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from trainless.aggregation import hybrid
from trainless.errors import InputError
from trainless.ranking import ranking as rank
from trainless.report import quickstart_figure, quickstart_page

pytestmark = pytest.mark.slow

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
SECONDS = {
    "params": 0.0, "flops": 0.0, "l2_norm": 0.0004, "synflow": 0.021, "logsynflow": 0.024, "zen": 0.11, "snip": 0.02,
    "grad_norm": 0.02, "plain": 0.02, "fisher": 0.024, "grasp": 1.31, "jacov": 0.05, "epe_nas": 0.06, "nwot": 0.08,
}  # fmt: skip
DATA_INDEPENDENT = {"params", "flops", "l2_norm", "synflow", "logsynflow", "zen"}


class Tables(NamedTuple):
    ranking: pd.DataFrame
    scores: pd.DataFrame
    costs: pd.DataFrame


def make_tables(count: int = 60) -> Tables:
    """Tables like those of a scored sample: related scores of different size, some of them not finite."""
    draw = np.random.default_rng(0)
    cells = [[str(draw.choice(OPERATIONS)) for _ in range(6)] for _ in range(count)]
    names = ["|{}~0|+|{}~0|{}~1|+|{}~0|{}~1|{}~2|".format(*cell) for cell in cells]
    worth = np.array([sum(OPERATIONS.index(each) for each in cell) for cell in cells]) / 12
    columns = {name: np.exp(worth + draw.normal(0, 0.5, count)) * 10.0**place for place, name in enumerate(SECONDS)}
    scores = pd.DataFrame(columns, index=pd.Index(names, name="architecture"))
    scores["logsynflow"] = 150 * worth + draw.gamma(2, 30, count)
    scores["nwot"] = 600 + 80 * worth + draw.normal(0, 15, count)
    scores["grasp"] = draw.normal(0, 5, count)
    if count > 10:
        scores.iloc[3, scores.columns.get_loc("logsynflow")] = -np.inf
        scores.iloc[4, scores.columns.get_loc("nwot")] = np.nan
        scores.iloc[5, scores.columns.get_loc("jacov")] = np.inf
    value = pd.Series(hybrid(scores["logsynflow"], scores["nwot"]), index=scores.index)
    table = pd.DataFrame({"rank": rank(value), "hybrid": value, **scores[["logsynflow", "nwot"]]})
    table["parameters"] = draw.integers(70_000, 1_500_000, count)
    table["flops"] = draw.integers(8_000_000, 230_000_000, count)
    kinds = ["data-independent" if name in DATA_INDEPENDENT else "data-dependent" for name in SECONDS]
    costs = pd.DataFrame({"seconds": SECONDS.values(), "kind": kinds}, index=pd.Index(SECONDS, name="proxy"))
    return Tables(table.sort_values("rank", kind="stable"), scores, costs)


PROTOCOL = {"space": "nasbench201 (channels=16, cells=5)", "data": "digits, batch of 64", "seed": "0"}
TITLE = "60 NAS-Bench-201 cells on digits, ranked by the Hybrid proxy"


class Page(HTMLParser):
    """What a browser would make of a page: its elements with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in {"meta", "link", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        if self.open and data.strip():
            self.texts.setdefault(self.open[-1], []).append(data)

    def figures(self) -> dict[str, list[dict]]:
        """The traces of each figure, by the name of the element that it is drawn in."""
        named = [attributes for tag, attributes in self.elements if tag == "script"]
        texts = dict(zip([attributes.get("id") for attributes in named], self.texts["script"], strict=True))
        drawn = [attributes for _, attributes in self.elements if "data-figure" in attributes]
        return {str(place["id"]): json.loads(texts[place["data-figure"]])["data"] for place in drawn}


@pytest.fixture(scope="module")
def tables() -> Tables:
    return make_tables()


@pytest.fixture(scope="module")
def page(tables: Tables) -> Page:
    return Page(quickstart_page(*tables, PROTOCOL, TITLE))


@pytest.fixture
def _same_backend() -> Iterator[None]:
    before = matplotlib.get_backend(auto_select=False)
    yield
    assert matplotlib.get_backend(auto_select=False) == before


class TestPage:
    def test_is_one_whole_document(self, page: Page) -> None:
        assert page.open == []
        tags = [tag for tag, _ in page.elements]
        assert tags.count("html") == tags.count("h1") == tags.count("table") == 1
        assert page.texts["h1"] == page.texts["title"] == [TITLE]

    def test_loads_nothing(self, page: Page) -> None:
        addresses = [
            value for _, attributes in page.elements for name, value in attributes.items()
            if name in {"src", "href", "srcset", "data", "action", "poster"}
        ]  # fmt: skip
        assert addresses == ["data:,"]
        assert not any("url(" in text or "@import" in text for text in page.texts["style"])
        policies = [a["content"] for _, a in page.elements if a.get("http-equiv") == "Content-Security-Policy"]
        assert policies[0].startswith("default-src 'none';")
        assert "http" not in policies[0]

    def test_holds_plotly_once(self, page: Page) -> None:
        assert sum(len(text) > 1_000_000 for text in page.texts["script"]) == 1

    def test_fits_a_phone_and_both_colour_schemes(self, page: Page) -> None:
        assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in page.elements
        assert "prefers-color-scheme: dark" in page.texts["style"][0]
        assert "prefers-color-scheme: dark" in page.texts["script"][-1]

    def test_ids_are_unique(self, page: Page) -> None:
        ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
        assert len(ids) == len(set(ids))
        labels = {attributes["aria-labelledby"] for _, attributes in page.elements if "aria-labelledby" in attributes}
        assert labels <= set(ids)

    def test_shows_the_protocol(self, page: Page) -> None:
        assert dict(zip(page.texts["dt"], page.texts["dd"], strict=True)) == PROTOCOL

    def test_ranks_every_architecture(self, page: Page, tables: Tables) -> None:
        assert page.texts["code"] == [tables.ranking.index[0], *tables.ranking.index]
        rows = np.array(page.texts["td"]).reshape(60, 6)
        assert list(rows[:, 0]) == [str(place) for place in range(1, 61)]
        parameters = [int(text.replace(",", "")) for text in rows[:, 4]]
        assert parameters == list(tables.ranking["parameters"])

    def test_shows_what_is_not_finite(self, page: Page) -> None:
        rows = np.array(page.texts["td"]).reshape(60, 6)
        assert set(rows[-2:, 1]) == {"−∞", "NaN"}
        assert not any(text in {"nan", "inf", "-inf"} for text in page.texts["td"])
        assert any("2 with a score that is not finite are ranked last" in text for text in page.texts["p"])

    def test_scatter(self, page: Page, tables: Tables) -> None:
        (trace,) = page.figures()["scatter"]
        finite = tables.ranking[np.isfinite(tables.ranking["hybrid"])]
        assert len(trace["x"]) == len(trace["y"]) == 58
        np.testing.assert_allclose(trace["x"], finite["logsynflow"] / finite["logsynflow"].max())
        np.testing.assert_allclose(trace["y"], finite["nwot"] / finite["nwot"].max())
        assert trace["marker"]["color"] == list(finite["hybrid"])
        best = finite.iloc[0]
        assert f"{best['parameters']:,.0f} parameters" in trace["text"][0]
        assert trace["text"][0].replace("<br>", "").find(str(finite.index[0])) > 0

    def test_correlation(self, page: Page, tables: Tables) -> None:
        (trace,) = page.figures()["correlation"]
        assert trace["x"] == trace["y"] == list(SECONDS)
        row, column = list(SECONDS).index("nwot"), list(SECONDS).index("jacov")
        # Spearman's ρ is Pearson's correlation of the ranks, here of the 58 cells where both are finite.
        pair = tables.scores[["nwot", "jacov"]].to_numpy()
        ranks = pair[np.isfinite(pair).all(axis=1)].argsort(axis=0).argsort(axis=0)
        assert trace["z"][row][column] == pytest.approx(np.corrcoef(ranks.T)[0, 1])

    def test_costs(self, page: Page) -> None:
        traces = {trace["name"]: trace for trace in page.figures()["costs"]}
        assert set(traces["data-independent"]["y"]) == DATA_INDEPENDENT
        dependent = dict(zip(traces["data-dependent"]["y"], traces["data-dependent"]["x"], strict=True))
        assert dependent["grasp"] == pytest.approx(1310)
        assert len(dependent) == len(SECONDS) - len(DATA_INDEPENDENT)

    def test_long_rankings_are_cut(self) -> None:
        long = Page(quickstart_page(*make_tables(600), PROTOCOL, TITLE))
        assert len(long.texts["code"]) == 1 + 500
        assert any("The best 500 of 600 are shown" in text for text in long.texts["p"])


class TestEscaping:
    ATTACK = "</script><script>alert(1)</script><b>&amp;"

    def test_text_stays_text(self, tables: Tables) -> None:
        ranking = tables.ranking.rename(index={tables.ranking.index[0]: self.ATTACK})
        scores = tables.scores.rename(columns={"zen": self.ATTACK})
        costs = tables.costs.rename(index={"zen": self.ATTACK}).assign(kind=self.ATTACK)
        clean = Page(quickstart_page(*tables, PROTOCOL, TITLE))
        page = Page(quickstart_page(ranking, scores, costs, {self.ATTACK: self.ATTACK}, self.ATTACK))
        assert [tag for tag, _ in page.elements].count("script") == [tag for tag, _ in clean.elements].count("script")
        assert [tag for tag, _ in page.elements].count("b") == 0
        for tag in ("title", "h1", "dt", "dd", "code"):
            assert page.texts[tag][0] == self.ATTACK

    def test_figures_show_markup_as_text(self, tables: Tables) -> None:
        scores = tables.scores.rename(columns={"zen": "<b>zen</b>"})
        page = Page(quickstart_page(tables.ranking, scores, tables.costs, PROTOCOL, TITLE))
        assert "&lt;b&gt;zen&lt;/b&gt;" in page.figures()["correlation"][0]["x"]


@pytest.mark.usefixtures("_same_backend")
class TestPicture:
    def test_size_and_content(self, tables: Tables, tmp_path: Path) -> None:
        path = tmp_path / "picture.partial"
        quickstart_figure(*tables, path)
        with Image.open(path) as image:
            assert image.format == "PNG"
            assert image.size == (int(15.5 * 150), int(9.5 * 150))
            assert image.info["dpi"] == pytest.approx((150, 150), abs=0.1)
            pixels = np.asarray(image.convert("RGB"), dtype=int)
        height, width, _ = pixels.shape
        for rows in (slice(0, height // 2), slice(height // 2, height)):
            for columns in (slice(0, width // 2), slice(width // 2, width)):
                quarter = pixels[rows, columns]
                coloured = (quarter.max(axis=-1) - quarter.min(axis=-1)) > 60
                assert coloured.mean() > 0.005, "a quarter of the picture is blank"

    def test_names_with_dollar_signs_are_no_formulas(self, tables: Tables, tmp_path: Path) -> None:
        scores, costs = (
            tables.scores.rename(columns={"zen": r"$\oops$"}),
            tables.costs.rename(index={"zen": r"$\oops$"}),
        )
        quickstart_figure(tables.ranking, scores, costs, tmp_path / "picture.png")
        assert (tmp_path / "picture.png").stat().st_size > 10_000

    def test_unwritable_path(self, tables: Tables, tmp_path: Path) -> None:
        with pytest.raises(OSError, match="absent"):
            quickstart_figure(*tables, tmp_path / "absent" / "picture.png")


class TestEdges:
    """Small and odd tables give a page and a picture all the same; pytest turns warnings into errors."""

    def both(self, tables: Tables, folder: Path) -> Page:
        quickstart_figure(*tables, folder / "picture.png")
        return Page(quickstart_page(*tables, PROTOCOL, TITLE))

    @pytest.mark.parametrize("count", [1, 2])
    def test_few_architectures(self, count: int, tmp_path: Path) -> None:
        page = self.both(make_tables(count), tmp_path)
        assert len(page.figures()["scatter"][0]["x"]) == count
        assert {value for row in page.figures()["correlation"][0]["z"] for value in row} == {None}

    def test_proxies_without_finite_or_different_scores(self, tables: Tables, tmp_path: Path) -> None:
        scores = tables.scores.assign(zen=-np.inf, jacov=np.nan, snip=1.0)
        table = self.both(tables._replace(scores=scores), tmp_path).figures()["correlation"][0]
        for name in ("zen", "jacov"):
            assert set(table["z"][table["y"].index(name)]) == {None}

    def test_unknown_costs_are_left_out(self, tables: Tables, tmp_path: Path) -> None:
        costs = tables.costs.copy()
        costs.loc["zen", "seconds"] = np.nan
        traces = self.both(tables._replace(costs=costs), tmp_path).figures()["costs"]
        assert sorted(name for trace in traces for name in trace["y"]) == sorted(set(SECONDS) - {"zen"})
        self.both(tables._replace(costs=costs.assign(seconds=np.nan)), tmp_path)

    @pytest.mark.parametrize(
        ("table", "change", "message"),
        [
            ("ranking", lambda frame: frame.drop(columns=["flops", "rank"]), "'ranking' lacks rank, flops"),
            ("costs", lambda frame: frame.drop(columns="kind"), "'costs' lacks kind"),
            ("scores", lambda frame: frame.iloc[:0], "'scores' is empty"),
            ("ranking", lambda frame: frame.assign(nwot=-1.0), "largest finite score"),
        ],
    )
    def test_bad_tables(self, tables: Tables, tmp_path: Path, table: str, change, message: str) -> None:
        changed = tables._replace(**{table: change(getattr(tables, table))})
        with pytest.raises(InputError, match=message):
            quickstart_page(*changed, PROTOCOL, TITLE)
        with pytest.raises(InputError, match=message):
            quickstart_figure(*changed, tmp_path / "picture.png")
        assert not (tmp_path / "picture.png").exists()
