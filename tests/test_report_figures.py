"""The static figures: size, formats, text that stays text, and names that lie on nothing."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from test_report_page import make_study

from trainless.errors import UnknownNameError
from trainless.report import study_figures, sweep_figure
from trainless.report.study.labels import free_box
from trainless.study import Study

pytestmark = pytest.mark.slow

NAMES = ["ranking", "scatter", "top", "front", "agreement", "weights"]


@pytest.fixture(scope="module")
def study() -> Study:
    return make_study()


@pytest.fixture(scope="module")
def board(study: Study) -> pd.DataFrame:
    return study.leaderboard(resamples=10)


@pytest.fixture(autouse=True)
def _same_settings() -> Iterator[None]:
    before = settings()
    yield
    assert settings() == before


def settings() -> dict[str, object]:
    chosen = {name: matplotlib.rcParams[name] for name in matplotlib.rcParams if name != "backend"}
    return {**chosen, "backend": matplotlib.get_backend(auto_select=False)}  # asking for the setting would choose one


def texts(path: Path) -> set[str]:
    """The text of an SVG file, as a viewer finds it."""
    root = ElementTree.parse(path).getroot()
    return {"".join(each.itertext()).strip() for each in root.iter("{http://www.w3.org/2000/svg}text")}


class TestFiles:
    @pytest.mark.slow
    def test_every_figure_in_every_format(self, study: Study, board: pd.DataFrame, tmp_path: Path) -> None:
        files = study_figures(study, tmp_path / "new" / "folder", ("png", "svg", "pdf"), leaderboard=board)
        assert [file.name for file in files] == [f"{name}.{end}" for name in NAMES for end in ("png", "svg", "pdf")]
        for file in files:
            start = file.read_bytes()[:5]
            assert start in (b"\x89PNG\r", b"<?xml", b"%PDF-")
        for name in NAMES:
            with Image.open(tmp_path / "new" / "folder" / f"{name}.png") as image:
                assert image.width == round(3.4 * 300)
                assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)
                pixels = np.asarray(image.convert("RGB"), dtype=int)
            for half in np.array_split(pixels, 2, axis=1):
                assert ((half.max(axis=-1) - half.min(axis=-1)) > 60).mean() > 0.0005, f"half of {name} is blank"

    @pytest.mark.slow
    def test_the_same_study_gives_the_same_files(self, study: Study, board: pd.DataFrame, tmp_path: Path) -> None:
        first, second = (study_figures(study, tmp_path / name, ("svg",), leaderboard=board) for name in "ab")
        assert [file.read_bytes() for file in first] == [file.read_bytes() for file in second]

    def test_unknown_format(self, study: Study, tmp_path: Path) -> None:
        with pytest.raises(UnknownNameError, match="no format 'jpg'"):
            study_figures(study, tmp_path / "folder", ("jpg",))
        assert not (tmp_path / "folder").exists()
        with pytest.raises(UnknownNameError, match="no format 'gif'"):
            sweep_figure(study.sweep, tmp_path / "weights.gif")

    def test_sweep_by_itself(self, study: Study, tmp_path: Path) -> None:
        sweep_figure(study.sweep, tmp_path / "weights.SVG")
        assert {"β/α", "Kendall's τ", "α, weight of logsynflow", "best ratio"} <= texts(tmp_path / "weights.SVG")
        with pytest.raises(OSError, match="absent"):
            sweep_figure(study.sweep, tmp_path / "absent" / "weights.png")


class TestText:
    def test_stays_text_and_is_no_formula(self, study: Study, tmp_path: Path) -> None:
        odd = r"$\oops$ <b>_x_"
        named = replace(
            study,
            scores=study.scores.rename(columns={"nwot": odd}),
            kinds={**study.kinds, odd: "mix"},
            seconds=study.seconds.rename({"nwot": odd}),
            sweep=replace(study.sweep, pair=(odd, odd)),
        )
        study_figures(named, tmp_path, ("svg",), resamples=0)
        for name in NAMES:
            found = texts(tmp_path / f"{name}.svg")
            assert any(odd in text for text in found), name
            assert not any("mathdefault" in text for text in found)

    def test_axes_name_their_units(self, study: Study, board: pd.DataFrame, tmp_path: Path) -> None:
        study_figures(study, tmp_path, ("svg",), leaderboard=board)
        assert {"accuracy, %", "logsynflow", "mix"} <= texts(tmp_path / "scatter.svg")
        assert {"k (number trained)", "best accuracy, %", "chosen at random", "1", "10"} <= texts(tmp_path / "top.svg")
        front = texts(tmp_path / "front.svg")
        assert {"time for one architecture", "0", "10 ms", "logsynflow", "nwot", "flops", "mix"} <= front
        assert "loss" not in front  # its cost is unknown
        assert {"1.00", "Spearman's ρ"} <= texts(tmp_path / "agreement.svg")


class TestEdges:
    def test_without_costs_and_weights(self, study: Study, tmp_path: Path) -> None:
        bare = replace(study, seconds=study.seconds * math.nan, sweep=None)
        files = study_figures(bare, tmp_path, ("svg",), resamples=0)
        assert [file.stem for file in files] == ["ranking", "scatter", "top", "agreement"]

    def test_one_proxy_of_one_cost(self, study: Study, tmp_path: Path) -> None:
        one = replace(study, scores=study.scores[["mix"]], sweep=None)
        assert len(study_figures(one, tmp_path, ("png",), resamples=0)) == 5

    def test_no_order(self, study: Study, tmp_path: Path) -> None:
        flat = replace(study, scores=study.scores.assign(**dict.fromkeys(study.scores, 1.0)), sweep=None)
        assert len(study_figures(flat, tmp_path, ("png",), resamples=0)) == 4

    def test_many_proxies(self, study: Study, tmp_path: Path) -> None:
        draw = np.random.default_rng(0)
        many = {f"proxy {i}": study.accuracies + draw.normal(0, i + 1, 80) for i in range(12)}
        wide = replace(study, scores=pd.DataFrame(many), seconds=pd.Series(dict.fromkeys(many, 0.01)), sweep=None)
        study_figures(wide, tmp_path, ("png",), resamples=0)
        with Image.open(tmp_path / "agreement.png") as image:
            assert image.width == round(7.0 * 300)


class TestLabels:
    FRAME = np.array([0.0, 0.0, 200.0, 100.0])

    def test_covers_nothing_where_there_is_room(self) -> None:
        size = np.array([40.0, 8.0])
        points = [np.array([100.0, 50.0]), np.array([106.0, 50.0]), np.array([100.0, 56.0]), np.array([198.0, 98.0])]
        taken = [np.concatenate([point - 4, point + 4]) for point in points]
        for point in points:
            box = free_box(point, size, taken, self.FRAME)
            np.testing.assert_allclose(box[2:] - box[:2], size)
            for other in taken:
                apart = (box[:2] >= other[2:] - 1e-9) | (other[:2] >= box[2:] - 1e-9)
                assert apart.any(), "a name lies on another or on a point"
            assert (box[:2] >= self.FRAME[:2]).all()
            assert (box[2:] <= self.FRAME[2:]).all()
            taken.append(box)

    def test_is_near_where_nothing_else_is(self) -> None:
        point = np.array([100.0, 50.0])
        box = free_box(point, np.array([40.0, 8.0]), [np.concatenate([point - 4, point + 4])], self.FRAME)
        np.testing.assert_allclose(box, [106, 46, 146, 54])
