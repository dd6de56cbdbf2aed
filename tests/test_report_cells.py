"""The graph of an architecture, and its picture: nodes from left to right, no edge upon another, all text escaped."""

from __future__ import annotations

import itertools
import xml.etree.ElementTree as ElementTree
from graphlib import CycleError
from pathlib import Path

import networkx
import numpy as np
import pytest

from trainless.errors import UnknownNameError
from trainless.report import cell_figure
from trainless.report.common.cells import cell_plot, operation_label
from trainless.report.common.colours import GREY
from trainless.report.common.graphs import Cell, lay_out
from trainless.search_spaces.base import Edge
from trainless.search_spaces.nasbench201 import NASBench201
from trainless.testing import SearchSpaceContract
from trainless.types import Architecture

SPACE = NASBench201()
ODD = "$a_b <i>&"
DEAD = "|nor_conv_3x3~0|+|avg_pool_3x3~0|skip_connect~1|+|skip_connect~0|nor_conv_1x1~1|none~2|"


def graph_of(text: str) -> tuple[Edge, ...]:
    return SPACE.graph(SPACE.parse(text))


class TestGraph:
    def test_dead_edges_are_marked(self) -> None:
        assert graph_of(DEAD) == (
            Edge("input", "1", "nor_conv_3x3", True),
            Edge("input", "2", "avg_pool_3x3", False),
            Edge("1", "2", "skip_connect", False),
            Edge("input", "output", "skip_connect", True),
            Edge("1", "output", "nor_conv_1x1", True),
        )

    def test_a_cell_of_nothing_has_no_edges(self) -> None:
        assert graph_of("|none~0|+|none~0|none~1|+|none~0|none~1|none~2|") == ()

    def test_live_edges_are_those_on_a_path(self) -> None:
        for architecture in (SPACE[index] for index in range(0, len(SPACE), 97)):
            edges = SPACE.graph(architecture)
            graph = networkx.DiGraph((edge.source, edge.target) for edge in edges)
            graph.add_nodes_from(("input", "output"))
            on_a_path = set()
            for path in networkx.all_simple_paths(graph, "input", "output"):
                on_a_path.update(itertools.pairwise(path))
            assert {(edge.source, edge.target) for edge in edges if edge.live} == on_a_path

    def test_the_contract_finds_wrong_marks(self) -> None:
        class AllLive(NASBench201):
            def graph(self, architecture: Architecture) -> tuple[Edge, ...]:
                return tuple(edge._replace(live=True) for edge in super().graph(architecture))

        class Contract(SearchSpaceContract):
            space = AllLive()
            draws = 50

        with pytest.raises(AssertionError, match="has Edge"):
            Contract().test_graph_runs_from_input_to_output()


def least_gap(cell: Cell) -> float:
    """The least vertical distance of two edges in the middle of what they share, measured anew."""
    gaps = [9.0]
    for one, other in itertools.combinations(cell.curves, 2):
        low = max(one.points[0, 0], other.points[0, 0])
        high = min(one.points[-1, 0], other.points[-1, 0])
        if low < high:
            x = low + (high - low) * np.array([0.35, 0.5, 0.65])
            gaps.append(float(np.abs(np.interp(x, *one.points.T) - np.interp(x, *other.points.T)).min()))
    return min(gaps)


class TestLayout:
    def test_diamond(self) -> None:
        cell = lay_out([Edge("input", "a", ""), Edge("input", "b", ""), Edge("a", "output", ""),
                        Edge("b", "output", "")])  # fmt: skip
        assert cell.nodes == {"input": (0, 0), "a": (1, 0.5), "b": (1, -0.5), "output": (2, 0)}
        assert [curve.bow for curve in cell.curves] == [0, 0, 0, 0]

    def test_layers_are_longest_paths_and_the_output_is_last(self) -> None:
        edges = [Edge("input", "a", ""), Edge("a", "b", ""), Edge("input", "b", ""), Edge("a", "output", ""),
                 Edge("lost", "b", "", False)]  # fmt: skip
        cell = lay_out(edges)
        assert {node: x for node, (x, _) in cell.nodes.items()} == {"input": 0, "a": 1, "lost": 1, "b": 2, "output": 3}

    def test_without_edges(self) -> None:
        assert lay_out([]).nodes == {"input": (0, 0), "output": (1, 0)}

    def test_cycle(self) -> None:
        with pytest.raises(CycleError):
            lay_out([Edge("a", "b", ""), Edge("b", "a", "")])

    def test_parallel_edges_part(self) -> None:
        cell = lay_out([Edge("input", "output", name) for name in "abc"])
        assert len({curve.bow for curve in cell.curves}) == 3
        assert least_gap(cell) > 0.25

    def test_no_edge_lies_on_another_or_on_a_node(self) -> None:
        for architecture in (SPACE[index] for index in range(0, len(SPACE), 101)):
            cell = lay_out(SPACE.graph(architecture))
            assert least_gap(cell) > 0.2, architecture
            for curve in cell.curves:
                assert (np.diff(curve.points[:, 0]) > 0).all()
                assert tuple(curve.points[0]) == cell.nodes[curve.edge.source]
                assert tuple(curve.points[-1]) == cell.nodes[curve.edge.target]
                for node, place in cell.nodes.items():
                    if node not in (curve.edge.source, curve.edge.target):
                        assert np.hypot(*(curve.points - place).T).min() > 0.2, f"{curve.edge} meets {node}"

    def test_more_nodes(self) -> None:
        names = ["input", *"12345", "output"]
        edges = [Edge(a, b, "conv") for a, b in itertools.combinations(names, 2)]
        cell = lay_out(edges)
        assert [cell.nodes[name][0] for name in names] == list(range(7))
        assert [curve.edge for curve in cell.curves] == edges


class TestPlot:
    def test_dead_edges_are_grey_and_dashed(self) -> None:
        traces = cell_plot(graph_of(DEAD))["data"]
        lines = [trace for trace in traces if trace["mode"] == "lines+markers"]
        assert [trace["line"]["dash"] for trace in lines] == ["solid", "dash", "dash", "solid", "solid"]
        assert [trace["line"]["color"] == GREY for trace in lines] == [False, True, True, False, False]
        names = [trace["text"][0] for trace in traces if trace["mode"] == "text"]
        assert names == ["3×3 conv", "3×3 avg pool", "skip", "skip", "1×1 conv"]
        assert traces[-1]["text"] == ["input", "1", "2", "output"]
        assert [colour == GREY for colour in traces[-1]["marker"]["color"]] == [False, False, True, False]

    def test_an_operation_has_one_colour_in_all_pictures(self) -> None:
        colours = set()
        for text in (DEAD, "|none~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|"):
            for trace in cell_plot(graph_of(text))["data"]:
                if trace["mode"] == "lines+markers" and trace["x"][0] == 0 and trace["line"]["dash"] == "solid":
                    colours.add((trace["x"][-1] == trace["x"][0] + 1, trace["line"]["color"]))
        assert len({colour for _, colour in colours}) == 2  # 3×3 conv and skip

    def test_text_is_escaped(self) -> None:
        traces = cell_plot([Edge("input", ODD, ODD), Edge(ODD, "output", "")])["data"]
        shown = str([[trace.get(name) for name in ("text", "hovertext")] for trace in traces])
        assert "<i>" not in shown
        assert "&lt;i&gt;&amp;" in shown

    def test_names_of_operations(self) -> None:
        assert [operation_label(name) for name in ("nor_conv_1x1", "avg_pool_3x3", "mlp_mixer")] == [
            "1×1 conv", "3×3 avg pool", "mlp mixer"]  # fmt: skip

    def test_what_follows_a_comma_has_a_line_and_room_of_its_own(self) -> None:
        low, high = lay_out([Edge("input", "output", "a"), Edge("input", "output", "b")]).bounds
        edges = [Edge("input", "output", "a"), Edge("input", "output", "b, c, <")]
        assert lay_out(edges).bounds == pytest.approx((low, high + 2 * 0.17))
        (name,) = (trace["text"][0] for trace in cell_plot(edges)["data"] if trace["mode"] == "text"
                   and "b" in trace["text"][0])  # fmt: skip
        assert name == "b<br>c<br>&lt;"


class TestFigure:
    def test_text_stays_text(self, tmp_path: Path) -> None:
        cell_figure([Edge("input", "$x_1$", ODD), Edge("$x_1$", "output", "skip_connect")], tmp_path / "cell.svg")
        root = ElementTree.parse(tmp_path / "cell.svg").getroot()
        texts = {"".join(each.itertext()).strip() for each in root.iter("{http://www.w3.org/2000/svg}text")}
        assert texts == {"input", "$x_1$", "output", ODD.replace("_", " "), "skip"}

    @pytest.mark.parametrize(("ending", "start"), [("PNG", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
    def test_formats_and_determinism(self, tmp_path: Path, ending: str, start: bytes) -> None:
        for name in "ab":
            cell_figure(graph_of(DEAD), tmp_path / f"{name}.{ending}")
        first, second = ((tmp_path / f"{name}.{ending}").read_bytes() for name in "ab")
        assert first == second
        assert first.startswith(start)

    def test_of_nothing(self, tmp_path: Path) -> None:
        cell_figure((), tmp_path / "cell.png")
        assert (tmp_path / "cell.png").read_bytes().startswith(b"\x89PNG")

    def test_unknown_format(self, tmp_path: Path) -> None:
        with pytest.raises(UnknownNameError, match="no format 'jpg'"):
            cell_figure((), tmp_path / "cell.jpg")
