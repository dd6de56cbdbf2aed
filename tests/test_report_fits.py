"""The page and the picture of a fit: their numbers, what they escape, and that they load nothing."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from test_report_page import StudyPage, check_whole
from test_report_searches import GRAPH, ODD, block, check_loads_nothing, make_search, read, text_of, texts

from trainless.automl import Fitted, TestResult
from trainless.automl.comparison import Comparison, Rival
from trainless.automl.finalists import Finalist
from trainless.data.audits import Audit, Copy
from trainless.data.sizes import ImageSize
from trainless.errors import InputError, UnknownNameError
from trainless.export import PlainCode
from trainless.report import fit_figure, fit_page
from trainless.report.fit.views import class_table, confusion_shares, stage_table
from trainless.search import Limits
from trainless.training import Recipe, TrainingResult

NAMES = ("cat", "dog", "owl", "yak")
# Nothing is known of the yak; half of the dogs are taken for cats.
CONFUSION = np.array([[9, 1, 0, 0], [2, 4, 2, 0], [0, 0, 5, 0], [0, 0, 0, 0]])


def make_test(confusion: np.ndarray = CONFUSION, names: tuple[str, ...] = NAMES) -> TestResult:
    measures = {"accuracy": 78.26, "balanced-accuracy": 80.0, "macro-f1": 79.0, "log-loss": 0.7125}
    right = int(confusion.trace())
    interval = binomtest(right, int(confusion.sum())).proportion_ci(0.95, "wilson")
    return TestResult(right / confusion.sum(), interval.low, interval.high, measures, confusion, names)


def make_comparison(measure: str = "accuracy") -> Comparison:
    """The network of a fit beside two classifiers that it beats, whatever the measure."""
    value, commonest, linear = (0.7125, 1.25, 1.0) if measure == "log-loss" else (78.26, 43.48, 60.87)
    rivals = Rival("guessing the commonest class", commonest, 9.0, 5.0, 12.0), Rival("a line", linear, 5.0, 2.0, 8.0)
    return Comparison(measure, value, value - 0.05, value + 0.05, 23, rivals)


def make_audit(names: tuple[str, ...] = NAMES) -> Audit:
    counts = dict.fromkeys(("train", "valid", "test"), (20,) * len(names))
    leak = Copy("test", "test 3", "train", "train 5", True, False)
    return Audit("pets", (3, 16, 16), names, counts, (), (ImageSize(16, 16, 240),), (), (), (), (leak,), {})


def make_fitted() -> Fitted:
    """A fit of pets, most of it written down by hand."""
    search, recipe = make_search(), Recipe(batch_size=32)
    trials = [
        {"trial": 0, "recipe": asdict(recipe), "measure": 70.125, "epochs": 9, "state": "complete"},
        {"trial": 1, "recipe": asdict(Recipe(batch_size=16, learning_rate=0.01)), "measure": None, "epochs": 1,
         "state": "pruned"},
    ]  # fmt: skip
    training = TrainingResult(80.0, 3, 2, 9.0, (1.5, 1.0, 0.75), (60.0, 80.0, 75.0))
    return Fitted(
        title="pets: a network", space="nasbench201, cells=1", architecture=search.best, graph=GRAPH,
        network=torch.nn.Identity(), code=PlainCode("", {}), test=make_test(), comparison=make_comparison(),
        training=training, recipe=recipe, trials=trials, search=search, audit=make_audit(),
        costs={"params": 12_345, "flops": 2_500_000, "latency": 1.2345, "memory": 0.5},
        limits=Limits(parameters=20_000, latency=1),
        seconds={"search": 1.0, "training": 3.0}, notes=("Beware of the yak.",),
        protocol={"limits": "params at most 20,000", "search": "random by nwot", "seed": "7"},
    )  # fmt: skip


def with_classes(count: int) -> Fitted:
    """A fit of many classes; of class k of 100 images 100 - k are found and the others taken for the next class."""
    names = tuple(f"class {number}" for number in range(count))
    confusion = np.zeros((count, count), dtype=int)
    for number in range(count):
        confusion[number, number] = 100 - number
        confusion[number, (number + 1) % count] = number
    return replace(make_fitted(), test=make_test(confusion, names), audit=make_audit(names))


@pytest.fixture(scope="module")
def page() -> StudyPage:
    return read(fit_page(make_fitted()))


class TestViews:
    def test_shares(self) -> None:
        np.testing.assert_array_equal(
            confusion_shares(CONFUSION),
            [[0.9, 0.1, 0, 0], [0.25, 0.5, 0.25, 0], [0, 0, 1, 0], [math.nan] * 4],
        )

    def test_classes_the_worst_first(self) -> None:
        table = class_table(make_test())
        assert table["class"].tolist() == ["dog", "cat", "owl", "yak"]
        assert table["images"].tolist() == [8, 10, 5, 0]
        assert table["taken_for"].tolist() == ["cat", "dog", "", ""]
        assert table["mistaken"].tolist() == [2, 1, 0, 0]
        # Wilson's interval written out: (p + z²/2n ± z sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n).
        z, n, p = 1.959963984540054, 8, 0.5
        middle, half = p + z * z / 2 / n, z * math.sqrt(p * (1 - p) / n + z * z / 4 / n / n)
        ends = (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)
        assert table.loc[1, ["found_low", "found_high"]].tolist() == pytest.approx(ends)
        assert table.loc[3, ["found", "found_low", "found_high"]].isna().all()

    def test_stages(self) -> None:
        table = stage_table(make_fitted())
        assert table.index.tolist() == ["search", "training", "all"]
        assert table.to_numpy().tolist() == [[1.0, 0.25], [3.0, 0.75], [4.0, 1.0]]


class TestFitPage:
    def test_is_one_whole_document(self, page: StudyPage) -> None:
        check_whole(page, "A network for pets", tables=4)  # recipes, candidates, limits, stages
        check_loads_nothing(page)

    def test_the_order(self, page: StudyPage) -> None:
        assert page.texts["h2"] == [
            "What one should know", "The architecture found", "Training", "What is taken for what",
            "How well each class is found", "Recipes that were tried", "The search", "Best so far", "Score and cost",
            "The 20 best-scored", "Limits", "The data", "Time by stage", "Protocol",
        ]  # fmt: skip

    def test_headline(self, page: StudyPage) -> None:
        interval = binomtest(18, 23).proportion_ci(0.95, "wilson")
        for text in (
            "recognises <strong>78.26 %</strong> of 23 test images",
            f"(95 % interval {100 * interval.low:.2f} to {100 * interval.high:.2f} %)",
            "On the same images guessing the commonest class comes to 43.48 %; a line comes to 60.87 %.",
            "<strong>12.3 k parameters</strong>, 2.5 M multiply-adds, 1.23 ms latency",
            "and 0.5 MiB memory for one image on one thread",
            "Limits: params 12,345 of at most 20,000; latency 1.23 of at most 1 ms (above it when measured anew).",
            f"It is <code>{make_search().best}</code> of nasbench201, cells=1.",
            "<li>Beware of the yak.</li>",
        ):
            assert text in page.text

    def test_the_measure_that_decided_is_told(self) -> None:
        text = fit_page(replace(make_fitted(), comparison=make_comparison("log-loss"), limits=Limits()))
        assert (
            "The log loss of the network, by which it was chosen on other images, is <strong>0.7125 nats</strong> on "
            "23 test images (95 % interval 0.6625 to 0.7625 nats), by which no choice was made. It recognises 78.26 %"
        ) in text
        assert "the best by log loss is clearly better." in text
        assert "No limit was set." in text
        assert "a line comes to 1.0000 nats." in text
        trials = read(text).rows(0)[2]
        assert trials[0] == "−70.1250"  # what was maximised, turned

    def test_warnings_stand_before_all_else(self, page: StudyPage) -> None:
        broken = "Warning: The network breaks a limit: latency 1.23 of at most 1 ms (above it when measured anew)."
        assert page.text.count('class="warning"') == page.text.count(broken) == 1
        beaten = Rival("a <coin>", 80.0, -1.74, -9.0, 5.0)
        training = TrainingResult(80.0, 2, 2, 9.0)
        fitted = replace(make_fitted(), comparison=replace(make_comparison(), rivals=(beaten,)), training=training)
        text = fit_page(fitted)
        first, second = (
            text.index(f'<p class="warning">Warning: {sentence}')
            for sentence in (
                "The network is no better than a &lt;coin&gt;: accuracy 78.26 % beside 80.00 % on 23 test images",
                "The network was trained for 2 epoch(s), too few to learn from",
            )
        )
        assert first < second < text.index('<p class="lead">')

    def test_training(self, page: StudyPage) -> None:
        loss = block(page, "loss")["data"][0]
        assert (loss["x"], loss["y"]) == ([1, 2, 3], [1.5, 1.0, 0.75])
        line, best = block(page, "accuracy")["data"]
        assert (line["x"], line["y"]) == ([1, 2, 3], [60.0, 80.0, 75.0])
        assert (best["x"], best["y"]) == ([2], [80.0])

    def test_confusion(self, page: StudyPage) -> None:
        trace = block(page, "confusion")["data"][0]
        assert trace["x"] == trace["y"] == list(NAMES)
        assert trace["customdata"] == CONFUSION.tolist()
        assert trace["z"][1:] == [[0.25, 0.5, 0.25, 0.0], [0.0, 0.0, 1.0, 0.0], [None] * 4]
        assert trace["text"][0] == ["9", "1", "", ""]

    def test_recall(self, page: StudyPage) -> None:
        trace = block(page, "recall")["data"][0]
        assert (trace["y"], trace["x"]) == (["dog", "cat", "owl"], [0.5, 0.9, 1.0])

    def test_many_classes_become_tables(self) -> None:
        page = read(fit_page(with_classes(31)))
        assert not {"confusion-data", "recall-data"} & set(page.blocks)
        headings, worst, cells = page.rows(0)
        assert headings == ["class", "found", "test images", "most often taken for", "images so taken"]
        assert worst == [f"class {number}" for number in range(30, 10, -1)]
        assert cells[1:4] == ["100", "class 0", "30"]
        assert cells[0].startswith("70.0%")
        headings, names, _ = page.rows(1)
        assert headings == ["class", "found", "test images"]
        assert names == [f"class {number}" for number in range(30, -1, -1)]
        assert {"confusion-data", "recall-data"} <= set(read(fit_page(with_classes(30))).blocks)

    def test_recipes(self, page: StudyPage) -> None:
        headings, trials, cells = page.rows(0)
        assert headings == ["trial", "validation accuracy, %", "epochs", "trained", "learning rate", "batch size"]
        assert trials == ["1", "2"]
        assert cells == ["70.12", "9", "to the end", "0.0030", "32", "–", "1", "stopped early", "0.0100", "16"]
        assert "The same in all: optimizer adamw, weight decay 0.05, schedule one-cycle, mirror False," in page.text

    def test_finalists(self) -> None:
        first = Finalist("|none~0|", 12.5, 4_321, 1_000_000, 1.0, 1.25, 1.5, False)
        second = Finalist("|skip_connect~0|", 12.0, 3_210, 900_000, 0.75, 0.5, 0.625, True, 0.8125)
        page = read(fit_page(replace(make_fitted(), finalists=(first, second))))
        assert page.texts["h2"].index("Finalists") == page.texts["h2"].index("The search") - 1
        headings, ranks, cells = page.rows(1)
        assert headings == [
            "turn", "trained", "score", "parameters", "multiply-adds", "predicted latency, ms", "measured, ms",
            "upper quartile, ms", "validation accuracy, %", "architecture",
        ]  # fmt: skip
        assert ranks == ["1", "2"]
        assert cells[:9] == ["–", "12.500", "4,321", "1,000,000", "1", "1.25", "1.5", "–", "|none~0|"]
        assert cells[9:] == [
            "yes", "12.000", "3,210", "900,000", "0.75", "0.5", "0.625", "81.25", "|skip_connect~0|"
        ]  # fmt: skip

    def test_finalists_where_the_latency_is_not_limited(self) -> None:
        first = Finalist("|none~0|", 12.5, 4_321, 1_000_000, None, 1.25, 1.5, True, 0.75)
        made = make_fitted()
        page = read(fit_page(replace(made, finalists=(first,), limits=Limits())))
        assert "The first was trained; the others were not" in page.text
        assert "predicted latency, ms" not in page.rows(1)[0]
        assert page.rows(1)[2] == ["yes", "12.500", "4,321", "1,000,000", "1.25", "1.5", "75.00", "|none~0|"]
        limited = read(fit_page(replace(made, finalists=(first,), limits=Limits(latency=2))))
        assert "The first whose upper quartile keeps the limit on the latency" in limited.text

    def test_without_recipes_epochs_notes_and_protocol(self) -> None:
        training = TrainingResult(80.0, 3, 2, 9.0)
        fitted = replace(make_fitted(), trials=[], notes=(), protocol={}, training=training, seconds={})
        page = read(fit_page(fitted))
        check_whole(page, "A network for pets", tables=3)
        left_out = {"What one should know", "Training", "Recipes that were tried", "Protocol"}
        assert not left_out & set(page.texts["h2"])

    def test_pretrained_weights_are_named(self, page: StudyPage) -> None:
        weights = {"pretrained weights": "Lite0 of ImageNet", "licence of the weights": "Apache-2.0"}
        text = read(fit_page(replace(make_fitted(), weights=weights))).text
        assert "It starts from pretrained weights: Lite0 of ImageNet; licence: Apache-2.0." in text
        assert "Epoch 0 stands for the pretrained weights" in text
        assert "pretrained" not in page.text

    def test_the_data(self, page: StudyPage) -> None:
        found = dict(zip(page.texts["dt"], page.texts["dd"], strict=True))
        assert found["images"] == "240: train 80, valid 80, test 80 (valid, test split off at random)"
        assert found["seed"] == "7"
        assert "1 image(s) are in two parts, 1 of them in test" in page.text
        calm = replace(make_audit(), leaks=())
        assert "Nothing in the data calls for attention." in fit_page(replace(make_fitted(), audit=calm))

    def test_everything_is_escaped(self) -> None:
        names = (ODD, *NAMES[1:])
        fitted = replace(
            make_fitted(), space=ODD, architecture=ODD, test=make_test(names=names), notes=(ODD,),
            audit=replace(make_audit(names), name=ODD), protocol={ODD: ODD, "limits": ODD, "search": ODD},
            seconds={ODD: 1.0},
            trials=[{"trial": 0, "recipe": {"optimizer": ODD}, "measure": 1.0, "epochs": 1, "state": ODD}],
        )  # fmt: skip
        for each in (fitted, replace(fitted, test=replace(with_classes(31).test, class_names=(ODD,) * 31))):
            page = read(fit_page(each))
            assert page.open == []
            assert "b" not in {tag for tag, _ in page.elements}
            assert text_of(page).count(ODD) > 10
            for name in page.blocks:
                json.loads(page.blocks[name])

    def test_nothing_evaluated(self) -> None:
        empty = replace(make_search(), evaluations=make_search().evaluations.head(0))
        with pytest.raises(InputError, match="evaluated no architecture"):
            fit_page(replace(make_fitted(), search=empty))


class TestFitFigure:
    def test_what_stands_in_it(self, tmp_path: Path) -> None:
        fit_figure(make_fitted(), tmp_path / "fit.svg")
        shown = texts(tmp_path / "fit.svg")
        assert {"epoch", "validation accuracy, %", "guessed", "true", *NAMES, "9", "parameters", "found"} <= shown

    def test_many_classes_and_no_costs(self, tmp_path: Path) -> None:
        bare = replace(make_search(), evaluations=make_search().evaluations[["architecture", "score"]])
        fit_figure(replace(with_classes(31), search=bare), tmp_path / "fit.svg")
        shown = texts(tmp_path / "fit.svg")
        assert "class 3" not in shown
        assert "parameters" not in shown

    def test_names_of_any_script(self, tmp_path: Path) -> None:
        fit_figure(replace(make_fitted(), test=make_test(names=("猫 $\\frac{", *NAMES[1:]))), tmp_path / "fit.png")
        assert (tmp_path / "fit.png").stat().st_size > 1000

    def test_the_same_figure_is_the_same_file(self, tmp_path: Path) -> None:
        for name in ("one.png", "two.png"):
            fit_figure(make_fitted(), tmp_path / name)
        assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()

    def test_a_format_that_cannot_be_written(self, tmp_path: Path) -> None:
        with pytest.raises(UnknownNameError, match="'xyz'"):
            fit_figure(make_fitted(), tmp_path / "fit.xyz")
