"""The public forms: FreeREA's cache, NASLib's keys, NAS-Bench-Suite-Zero, NAS-Bench-101's graphs, HW-NAS-Bench."""

from __future__ import annotations

import json
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from trainless.errors import TableError, UnknownNameError
from trainless.proxies import PROXIES
from trainless.search_spaces import search_space
from trainless.search_spaces.darts import V1, V2
from trainless.search_spaces.nasbench101_cells import Graph, cell_hash
from trainless.tables import PUBLISHED, benchmark_table, files, published_scores
from trainless.tables.darts import read_genotypes
from trainless.tables.nasbench101 import cell_from_key
from trainless.tables.nasbench101_files import read_nasbench101, read_validation
from trainless.tables.nasbench201 import cell_string, read_hardware, read_single_seed, with_architectures
from trainless.tables.nasbench_macro import read_nasbench_macro
from trainless.tables.published import TRANSNAS_TASKS

# Python's own parser fails on them with a RecursionError, a MemoryError, or a ValueError of 5,000 digits.
HOSTILE = [
    pytest.param("-" * 5000 + "1", id="signs"),
    pytest.param("[" * 5000, id="brackets"),
    pytest.param(f"({'9' * 5000})", id="digits"),
    pytest.param(f"({'1, ' * 5000}1)", id="numbers"),
]


class TestNASBench201Strings:
    def test_operation_codes(self) -> None:
        # edges 0→1, 0→2, 0→3, 1→2, 1→3, 2→3
        expected = "|skip_connect~0|+|none~0|nor_conv_1x1~1|+|nor_conv_3x3~0|avg_pool_3x3~1|skip_connect~2|"
        assert cell_string("(0, 1, 2, 3, 4, 0)") == expected

    @pytest.mark.parametrize(
        "codes", ["(0, 1, 2)", "(0, 1, 2, 3, 4, 5)", "(0, 1, 2, 3, 4, -1)", "open('x')", "", "7", *HOSTILE]
    )
    def test_what_is_no_cell(self, codes: str) -> None:
        with pytest.raises(TableError, match="is no cell in NASLib's form") as caught:
            cell_string(codes)
        assert len(str(caught.value)) < 300

    def test_by_index(self) -> None:
        frame = with_architectures(pd.DataFrame({"index": [15624, 0], "accuracy": [1.0, 2.0]}), Path("x.csv"))
        space = search_space("nasbench201")
        assert frame["accuracy"].to_dict() == {str(space[15624]): 1.0, str(space[0]): 2.0}

    @pytest.mark.parametrize(
        ("frame", "sentence"),
        [
            (pd.DataFrame({"index": [15625], "x": [1.0]}), "has the index 15625, expected 0 to 15624"),
            (pd.DataFrame({"index": [-1], "x": [1.0]}), "has the index -1"),
            (pd.DataFrame({"index": ["a"], "x": [1.0]}), "has the index a"),
            (pd.DataFrame({"index": [3, 3], "x": [1.0, 2.0]}), "more than once"),
            (pd.DataFrame({"cell": [3], "x": [1.0]}), "expected 'net' or 'index' among them"),
        ],
    )
    def test_wrong_rows(self, frame: pd.DataFrame, sentence: str) -> None:
        with pytest.raises(TableError, match=sentence):
            with_architectures(frame, Path("x.csv"))

    def test_files_of_another_form(self, tmp_path: Path) -> None:
        (tmp_path / "x.csv").write_text('net,other\n"(0, 1, 2, 3, 4, 0)",1\n')
        with pytest.raises(TableError, match="no column 'val_accs' of numbers"):
            read_single_seed(tmp_path / "x.csv")
        with pytest.raises(TableError, match="no columns that end in _latency or _energy"):
            read_hardware(tmp_path / "x.csv")
        (tmp_path / "x.csv").write_text("index,fpga_latency\n0,1.5\n1,fast\n")
        with pytest.raises(TableError, match="no column 'fpga_latency' of numbers"):
            read_hardware(tmp_path / "x.csv")


def _key(matrix: np.ndarray, operations: list[int]) -> str:
    """NASLib's key of a cell of up to 7 vertices, padded."""
    padded = np.zeros((7, 7), int)
    inner = len(matrix) - 1
    places = [*range(inner), 6]
    padded[np.ix_(places, places)] = matrix
    return str((*padded.ravel().tolist(), 0, *operations, *[2] * (6 - len(operations) - 1), 1))


def _hash(vertices: int, edges: int, code: int) -> str:
    return cell_hash(Graph(edges, tuple(code // 3**position % 3 for position in range(vertices - 2))))


class TestNASBench101:
    # input → conv3x3 → output, input → maxpool → output, and an edge between the two
    MATRIX = np.array([[0, 1, 1, 0], [0, 0, 1, 1], [0, 0, 0, 1], [0, 0, 0, 0]])

    def test_key(self) -> None:
        assert cell_from_key(_key(self.MATRIX, [4, 2])) == "conv3x3(0)+maxpool3x3(0,1)+output(1,2)"

    def test_vertices_off_every_path_are_left_out(self) -> None:
        matrix = np.zeros((7, 7), int)
        matrix[0, 3] = matrix[3, 6] = 1  # the only path
        matrix[0, 1] = matrix[2, 6] = 1  # a dead end, and a vertex without input
        assert cell_from_key(str((*matrix.ravel().tolist(), 0, 2, 2, 3, 4, 4, 1))) == "conv1x1(0)+output(1)"

    def test_isomorphic_cells_have_one_string(self) -> None:
        generator = np.random.default_rng(0)
        for _ in range(30):
            matrix = np.triu(generator.random((6, 6)) < 0.6, 1).astype(int)
            matrix[0, 1], matrix[4, 5] = 1, 1
            operations = generator.integers(2, 5, 4).tolist()
            strings = set()
            for order in permutations(range(1, 5)):
                place = [0, *order, 5]
                moved = matrix[np.ix_(place, place)]
                if not np.tril(moved).any():
                    strings.add(cell_from_key(_key(moved, [operations[vertex - 1] for vertex in order])))
            assert len(strings) == 1

    def test_different_cells_have_different_strings(self) -> None:
        other = self.MATRIX.copy()
        other[0, 2] = 0
        texts = {
            cell_from_key(_key(matrix, ops)) for matrix in (self.MATRIX, other) for ops in ([4, 2], [2, 4], [4, 4])
        }
        assert len(texts) == 6

    @pytest.mark.parametrize(
        "key",
        [
            "(1, 2)",
            str(tuple([0] * 49 + [0, 2, 2, 2, 2, 2, 1])),
            str((0, 2, *[0] * 11, 1, *[0] * 35, 0, 2, 2, 2, 2, 2, 1)),
            "[",
            str(tuple([1] * 56)),
            "7",
            *HOSTILE,
        ],
    )
    def test_what_is_no_cell(self, key: str) -> None:
        with pytest.raises(TableError, match="is no cell in NASLib's form") as caught:
            cell_from_key(key)
        assert len(str(caught.value)) < 300

    def test_hash_is_the_same_for_isomorphic_cells(self) -> None:
        # input to both, both to output: conv3x3 and pooling in either order
        assert cell_hash(Graph(0b110011, (0, 2))) == cell_hash(Graph(0b110011, (2, 0)))
        assert cell_hash(Graph(0b110011, (0, 2))) != cell_hash(Graph(0b110011, (1, 2)))

    @pytest.mark.parametrize(
        ("content", "sentence"),
        [
            ({"vertices": [2]}, "is no table of NAS-Bench-101's graphs"),
            ({"vertices": [9]}, "graphs that are no cells"),
            ({"edge_bits": [2]}, "edges of vertices that are not there"),
            ({"edge_bits": [-1]}, "edges of vertices that are not there"),
            ({"op_code": [1, 2]}, "of different lengths"),
            ({"op_code": [-1]}, "graphs that are no cells"),
            ({"op_code": [1]}, "graphs that are no cells"),
            ({"vertices": [2.5]}, "not whole numbers"),
            ({"edge_bits": [1.0]}, "not whole numbers"),
            ({"params": [7.0]}, "not whole numbers"),
            ({"params": [-7]}, "negative numbers of parameters"),
            ({"params": ["many"]}, "not whole numbers"),
            ({"params": [None]}, "damaged, or holds more than numbers"),
            ({"test_accuracy": [1]}, "accuracies are not numbers between 0 and 1"),
            ({"test_accuracy": [90.5]}, "accuracies are not numbers between 0 and 1"),
            ({"test_accuracy": [float("nan")]}, "accuracies are not numbers between 0 and 1"),
            # 0→1→2→3, but for one edge each
            ({"vertices": [4], "edge_bits": [0b100100]}, "on no path from input to output"),
            ({"vertices": [4], "edge_bits": [0b100001]}, "on no path from input to output"),
            ({"vertices": [4], "edge_bits": [0b000101]}, "on no path from input to output"),
            ({"vertices": [3], "edge_bits": [0b011]}, "on no path from input to output"),  # 1 leads nowhere
            ({"edge_bits": [0]}, "on no path from input to output"),
        ],
    )
    def test_wrong_graphs(self, tmp_path: Path, content: dict[str, list[Any]], sentence: str) -> None:
        arrays = {"vertices": [2], "edge_bits": [1], "op_code": [0], "test_accuracy": [0.9], "params": [7], **content}
        if len(content) == 1 and content.get("vertices") == [2]:
            arrays = {"vertices": [2]}
        np.savez(tmp_path / "x.npz", **{name: np.array(values) for name, values in arrays.items()})
        with pytest.raises(TableError, match=sentence) as caught:
            read_nasbench101(tmp_path / "x.npz")
        assert "pickle" not in str(caught.value)

    @pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04" + bytes(50), b"array", None])
    def test_what_is_no_archive(self, tmp_path: Path, content: bytes | None) -> None:
        if content is not None:
            (tmp_path / "x.npz").write_bytes(content)
        if content == b"array":
            with (tmp_path / "x.npz").open("wb") as file:
                np.save(file, np.arange(3))
        with pytest.raises(TableError, match="is no table of NAS-Bench-101's graphs") as caught:
            read_nasbench101(tmp_path / "x.npz")
        assert "pickle" not in str(caught.value)

    def test_validation(self, tmp_path: Path) -> None:
        counts = {"vertices": [3, 2], "edge_bits": [0b101, 1], "op_code": [2, 0], "params": [7, 5]}
        arrays = {name: np.array(values) for name, values in {**counts, "test_accuracy": [0.5, 0.25]}.items()}
        np.savez(tmp_path / "x.npz", **arrays)
        columns = {f"{epochs}_final_validation_accuracy": [epochs / 200] for epochs in (4, 12, 36, 108)}
        content = {"key": [cell_hash(Graph(0b101, (2,)))], "final_training_time": [60], **columns}
        (tmp_path / "x.json").write_text(json.dumps(content))
        frame = read_validation(tmp_path / "x.npz", tmp_path / "x.json").frame
        assert frame.loc["maxpool3x3(0)+output(1)"].to_dict() == {
            "cifar10.test": 50.0, "cifar10.parameters": 7, "cifar10.valid_epoch4": 2.0, "cifar10.valid_epoch12": 6.0,
            "cifar10.valid_epoch36": 18.0, "cifar10.valid_epoch108": 54.0, "cifar10.train_seconds": 60.0,
        }  # fmt: skip
        assert len(frame) == 1

    @pytest.mark.parametrize(
        "changed",
        [{"4_final_validation_accuracy": 0.5}, {"4_final_validation_accuracy": ["high"]}, {"key": []}, {"key": None},
         {"final_training_time": [1, 2]}, {"final_training_time": [10**400]}, {"final_training_time": {"a": 1}}],
    )  # fmt: skip
    def test_wrong_validation(self, tmp_path: Path, changed: dict[str, Any]) -> None:
        columns = {f"{epochs}_final_validation_accuracy": [0.5] for epochs in (4, 12, 36, 108)}
        content = {"key": ["a"], "final_training_time": [60], **columns, **changed}
        (tmp_path / "x.json").write_text(json.dumps(content))
        with pytest.raises(TableError, match="is no list of NAS-Bench-101's validation accuracies"):
            read_validation(tmp_path / "x.npz", tmp_path / "x.json")

    @pytest.mark.slow
    @pytest.mark.data
    def test_all_cells_and_their_scores_join(self, real_data: Path) -> None:
        table = benchmark_table("nasbench101", real_data)
        assert len(table.frame) == 423_624  # and the table refuses strings that are there twice
        assert table.optimum("cifar10", "test")[1] == pytest.approx(94.32, abs=0.01)  # the benchmark's best mean
        scores = published_scores("suite-zero.nasbench101.cifar10", real_data)
        assert scores.accuracies is not None
        assert scores.split == "valid_single_seed"
        joined = table.accuracies("cifar10", "test").reindex(scores.accuracies.index)
        assert joined.notna().all()
        assert np.corrcoef(joined, scores.accuracies)[0, 1] > 0.95
        parameters = table.cost("cifar10", "parameters").reindex(scores.scores.index)
        assert np.corrcoef(parameters, scores.scores["params"])[0, 1] > 0.9999

    @pytest.mark.data
    def test_hashes_are_the_published_ones(self, real_data: Path) -> None:
        published = json.loads((real_data / "nasbench101" / "data-20k.json").read_text())
        parameters = dict(zip(published["key"], published["trainable_parameters"], strict=True))
        graphs = np.load(real_data / "nasbench101" / "nb101_test_accuracy_params.npz")
        columns = [graphs[name][::200].tolist() for name in ("vertices", "edge_bits", "op_code", "params")]
        found = [
            parameters[key] == pytest.approx(params, rel=1e-6)  # the graphs' were once rounded to float32
            for *cell, params in zip(*columns, strict=True)
            if (key := _hash(*cell)) in parameters
        ]
        assert len(found) > 50
        assert all(found)


class TestPublishedScores:
    def test_unknown_name(self) -> None:
        with pytest.raises(UnknownNameError, match=r"did you mean 'freerea\.cifar10'"):
            published_scores("freerea.cifar")

    @pytest.mark.parametrize(
        "content",
        [
            "[]",
            "{}",
            '{"cifar10": {}}',
            '{"cifar10": 3}',
            '{"cifar10": {"[[]]": 3}}',
            '{"cifar10": {"[[]]": {"nwot": 1}}}',
            '{"cifar10": {"[[]]": {"nwot": {"time": 1}, "val_accuracy": 90}}}',
            '{"cifar10": {"[[]]": {"nwot": {"score": 1, "time": "long"}, "val_accuracy": 90}}}',
            '{"cifar10": {"[[]]": {"nwot": {"score": {}}, "val_accuracy": 90}}}',
            '{"cifar10": {"[[]]": {"nwot": "x", "val_accuracy": 90}}}',
            '{"cifar10": {"[[]]": {"nwot": null, "val_accuracy": 90}}}',
            '{"cifar10": {"[[]]": {"nwot": true, "val_accuracy": 90}}}',
            '{"cifar10": {"[[]]": {"nwot": 1, "val_accuracy": "high"}}}',
            pytest.param(f'{{"cifar10": {{"[[]]": {{"nwot": 1{"0" * 400}, "val_accuracy": 9}}}}}}', id="400 digits"),
        ],
    )
    def test_what_is_no_file_of_suite_zero(self, tmp_path: Path, content: str) -> None:
        path = tmp_path / "nas-bench-suite-zero" / "zc_nasbench301.json"
        path.parent.mkdir()
        path.write_text(content)
        with pytest.raises(TableError, match="is no file of NAS-Bench-Suite-Zero's scores"):
            published_scores("suite-zero.nasbench301.cifar10", tmp_path)

    @pytest.mark.parametrize("key", ["(1, 2)", "(1, 2, 4, 2, 0, 5)", "(1, 2, 4, 2, 0, 0", "f()", *HOSTILE])
    def test_what_is_no_network_of_transnas(self, tmp_path: Path, key: str) -> None:
        path = tmp_path / "transnas-macro" / "zc_transbench101_macro.json"
        path.parent.mkdir()
        path.write_text(json.dumps({"jigsaw": {key: {"val_accuracy": 90.0}}}))
        with pytest.raises(TableError, match="is no network of TransNAS macro") as caught:
            published_scores("suite-zero.transnas-macro.jigsaw", tmp_path)
        assert len(str(caught.value)) < 300

    def test_sentinels_are_ranked_last_and_are_not_missing(self, tmp_path: Path) -> None:
        path = tmp_path / "nas-bench-suite-zero" / "zc_nasbench301.json"
        path.parent.mkdir()
        a, b, c = V1, V2, V1.replace("(0, 3)", "(0, 4)", 1)
        entries = {
            a: {"synflow": {"score": 41.5, "time": 0.5}, "jacov": {"score": -1e8, "time": 0.1}, "params": 0.5,
                    "epe_nas": -1e8, "val_accuracy": 93.0},
            b: {"synflow": 44.5, "jacov": -32.0, "params": 0.25, "epe_nas": -1e8, "val_accuracy": 94.0},
            c: {"synflow": 44.5, "params": -1e8, "val_accuracy": 95.0},
        }  # fmt: skip
        path.write_text(json.dumps({"cifar10": entries}))
        found = published_scores("suite-zero.nasbench301.cifar10", tmp_path)
        assert list(found.scores.columns) == ["synflow:log", "jacov", "params"]  # epe_nas was never finite
        np.testing.assert_array_equal(found.scores["jacov"], [-np.inf, -32.0, np.nan])
        assert found.scores["params"].tolist() == [500_000, 250_000, -np.inf]
        assert found.seconds.loc[a, "synflow:log"] == 0.5
        assert np.isnan(found.seconds.loc[b, "synflow:log"])
        assert found.accuracies is not None
        assert found.accuracies.to_dict() == {a: 93.0, b: 94.0, c: 95.0}

    def test_naslib(self, tmp_path: Path) -> None:
        path = tmp_path / "nb201-published-proxies" / "cifar10.csv"
        path.parent.mkdir()
        rows = '"(0, 1, 2, 3, 4, 0)",x,-100000000.0,0.5,\n"(0, 0, 0, 0, 0, 0)",y,700.5,0.25,3\n'
        path.write_text(f"net,net_str,nwot,params,zen\n{rows}")
        found = published_scores("naslib.cifar10", tmp_path)
        assert found.scores["nwot"].tolist() == [-np.inf, 700.5]
        assert found.scores["params"].tolist() == [500_000, 250_000]
        np.testing.assert_array_equal(found.scores["zen:running"], [np.nan, 3.0])
        path.write_text(f"net,net_str,nwot,params,zen\n{rows.replace('700.5', '7OO.5')}")
        with pytest.raises(TableError, match="no column 'nwot' of numbers"):
            published_scores("naslib.cifar10", tmp_path)

    def test_freerea(self, tmp_path: Path) -> None:
        folder = _freerea(tmp_path, nregions="index,nregions,time=[s]\n0,,1.5\n1,,2.5\n")
        found = published_scores("freerea.ImageNet16-120", tmp_path)
        assert list(found.scores.columns) == ["logsynflow", "nwot", "params", "synflow"]
        assert found.scores["nwot"].tolist() == [-np.inf, 7.0]
        assert found.seconds["nwot"].tolist() == [1.5, 2.5]
        assert folder.is_dir()

    @pytest.mark.parametrize(
        ("content", "column"),
        [
            ("index,nregions,time=[s]\n0,4.5,1.5\n1,4.5x,2.5\n", "nregions"),
            ("index,nregions,time=[s]\n0,4.5,1.5\n1,4.5,soon\n", r"time=\[s\]"),
            ("index,regions,time=[s]\n0,4.5,1.5\n1,4.5,2.5\n", "nregions"),
        ],
    )
    def test_a_damaged_value_is_not_a_missing_one(self, tmp_path: Path, content: str, column: str) -> None:
        _freerea(tmp_path, nregions=content)
        with pytest.raises(TableError, match=f"no column '{column}' of numbers"):
            published_scores("freerea.ImageNet16-120", tmp_path)

    @pytest.mark.data
    @pytest.mark.parametrize("name", PUBLISHED)
    def test_every_set_under_our_own_names(self, real_data: Path, name: str) -> None:
        found = published_scores(name, real_data)
        assert set(found.scores.columns) <= set(PROXIES)
        assert found.scores.index.is_unique
        assert found.seconds.shape == found.scores.shape
        assert 1e4 < found.scores["params"].median() < 1e9
        assert found.accuracies is None or found.accuracies.index.equals(found.scores.index)
        if found.space == "nasbench201":
            space = search_space("nasbench201")
            assert all(str(space.parse(architecture)) == architecture for architecture in found.scores.index[:50])

    @pytest.mark.data
    def test_parameters_are_those_of_our_own_networks(self, real_data: Path) -> None:
        from trainless.types import Task

        space, task = search_space("nasbench201"), Task("cifar10", classes=10, channels=3)
        for name in ("freerea.cifar10", "naslib.cifar10", "suite-zero.nasbench201.cifar10"):
            published = published_scores(name, real_data).scores["params"]
            for architecture in published.index[::2000]:
                network = space.build(space.parse(architecture), task)
                assert sum(weight.numel() for weight in network.parameters()) == published[architecture]

    @pytest.mark.data
    def test_infinities_are_kept(self, real_data: Path) -> None:
        nwot = published_scores("freerea.cifar10", real_data).scores["nwot"]
        assert (nwot == -np.inf).sum() == 201


def _freerea(folder: Path, **changed: str) -> Path:
    """FreeREA's cache of two cells on ImageNet16-120."""
    own = folder / "nats-tss-freerea" / "ImageNet16-120"
    own.mkdir(parents=True)
    for name in ("logsynflow", "naswot", "nregions", "params", "synflow"):
        content = f"index,{name},time=[s]\n0,-inf,1.5\n1,7.0,2.5\n"
        (own / f"{name}.csv").write_text(changed.get(name, content))
    return own


class TestJSON:
    def test_as_it_is_written(self, tmp_path: Path) -> None:
        (tmp_path / "x.json").write_text('{"é": [1, -Infinity]}', encoding="utf-8")
        assert files.read_json(tmp_path / "x.json") == {"é": [1, -float("inf")]}

    @pytest.mark.parametrize(
        "content", [None, b"", b"{", b'"\xff"', pytest.param(b"[" * 200_000, id="deep"),
                    pytest.param(b"9" * 5000, id="digits"), pytest.param(b" " * 1000 + b"1", id="long")]
    )  # fmt: skip
    def test_damaged_and_hostile(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None) -> None:
        if content is not None:
            (tmp_path / "x.json").write_bytes(content)
        if content and content.startswith(b" "):
            monkeypatch.setattr(files, "_LIMIT", 1000)
        with pytest.raises(TableError, match=r"cannot be read as JSON \(.+\): fetch the public file again\.$"):
            files.read_json(tmp_path / "x.json")

    @pytest.mark.parametrize(
        ("content", "sentence"),
        [
            ([["64-1-basic", 1.0], ["64-1-basic", 2.0]], "has the architecture '64-1-basic' more than once"),
            ([["64-1-basic", "high"]], "is no list of networks and their scores"),
            ([["64-1-basic"]], "is no list of networks and their scores"),
            ([3], "is no list of networks and their scores"),
            (3, "is no list of networks and their scores"),
        ],
    )
    def test_scores_of_transnas(self, tmp_path: Path, content: object, sentence: str) -> None:
        (tmp_path / "transnas-macro").mkdir()
        for task in TRANSNAS_TASKS:
            good = [["64-1-basic", 1.0], ["64-12-basic", 2.0]]
            written = content if task == "jigsaw" else good
            (tmp_path / "transnas-macro" / f"accuracy_{task}.json").write_text(json.dumps(written))
        with pytest.raises(TableError, match=sentence):
            benchmark_table("transnas-macro", tmp_path)


@pytest.mark.data
class TestRealTables:
    def test_joined_and_raw_files_agree(self, real_data: Path, tmp_path: Path) -> None:
        for name in ("nats-tss-freerea", "nb201-test-seed888", "hw-nas-bench", "transnas-macro"):
            (tmp_path / name).symlink_to((real_data / name).resolve())
        joined, raw = benchmark_table("nasbench201", real_data), benchmark_table("nasbench201", tmp_path)
        assert [name for name in joined.frame.columns if name not in raw.frame.columns] == [
            "cifar10.valid", "cifar100.valid", "ImageNet16-120.valid"
        ]  # fmt: skip
        pd.testing.assert_frame_equal(raw.frame, joined.frame[raw.frame.columns], rtol=1e-5)
        macro = benchmark_table("transnas-macro", real_data), benchmark_table("transnas-macro", tmp_path)
        pd.testing.assert_frame_equal(macro[0].frame, macro[1].frame, atol=1e-4)

    def test_nasbench201(self, real_data: Path) -> None:
        table = benchmark_table("nasbench201", real_data)
        assert table.splits("cifar10") == ("valid", "test", "test_seed888")
        assert table.splits("cifar100") == ("valid", "test")
        assert len(table.accuracies("ImageNet16-120", "test_seed888")) == 9_445
        best = {dataset: round(table.optimum(dataset, "test")[1], 2) for dataset in table.datasets}
        assert best == {"cifar10": 94.37, "cifar100": 73.51, "ImageNet16-120": 47.31}  # as the benchmark states

    @pytest.mark.parametrize("space", ["nasbench201", "transnas-macro"])
    def test_suite_zero_repeats_the_benchmark(self, real_data: Path, space: str) -> None:
        sample, table = benchmark_table(f"{space}-suite-zero", real_data), benchmark_table(space, real_data)
        for dataset in sample.datasets:
            for split in set(sample.splits(dataset)) & set(table.splits(dataset)):
                values = sample.accuracies(dataset, split)
                known = table.accuracies(dataset, split).reindex(values.index)
                assert known.notna().sum() > 400
                assert np.nanmax(np.abs(known - values)) < 1e-3

    def test_what_could_not_be_measured_is_not_known(self, real_data: Path) -> None:
        """HW-NAS-Bench has -1 for the cells that its Edge TPU does not run; no limit may let them in."""
        (column,) = pd.read_csv(real_data / "hw-nas-bench" / "cifar10.csv", usecols=["edgetpu_latency"]).T.to_numpy()
        assert (column == -1).sum() == 4_699
        for name in ("hw-nas-bench", "nasbench201"):
            known = benchmark_table(name, real_data).cost("cifar10", "edgetpu_latency")
            assert len(known) == 15_625 - 4_699
            assert known.min() > 0

    def test_hardware_has_costs_only(self, real_data: Path) -> None:
        table = benchmark_table("hw-nas-bench", real_data)
        assert table.splits("cifar10") == ()
        assert len(table.costs("cifar10")) == 9
        with pytest.raises(TableError, match="it has none"):
            table.accuracies("cifar10", "test")


class TestSmallTables:
    """Public files that this project has no copy of, by their forms."""

    def test_nasbench_macro(self, tmp_path: Path) -> None:
        path = tmp_path / "nasbench-macro" / "nas-bench-macro_cifar10.json"
        path.parent.mkdir()
        path.write_text(json.dumps({"00000000": {"mean_acc": 45.363, "params": 387_882}, "22212220": 93.127}))
        table = benchmark_table("nasbench-macro", tmp_path)
        assert table.frame["cifar10.test"].to_dict() == {"00000000": 45.363, "22212220": 93.127}
        assert table.query("00000000", "cifar10", "test") == 45.363
        assert table.space == "nasbench_macro"

    @pytest.mark.parametrize("content", ["[]", "{}", '{"00000000": {}}', '{"00000000": "good"}'])
    def test_wrong_nasbench_macro(self, tmp_path: Path, content: str) -> None:
        path = tmp_path / "macro.json"
        path.write_text(content)
        with pytest.raises(TableError, match="is no object of networks and their accuracies"):
            read_nasbench_macro(path)

    def test_transnas_micro(self, tmp_path: Path) -> None:
        folder = tmp_path / "transnas-micro"
        folder.mkdir()
        for number, task in enumerate(TRANSNAS_TASKS):
            rows = [[[1, 0, 0, 2, 1, 0], 50.0 + number], [[0, 0, 0, 3, 3, 3], 60.0]]
            (folder / f"accuracy_{task}.json").write_text(json.dumps(rows))
        table = benchmark_table("transnas-micro", tmp_path)
        assert list(table.frame.index) == ["64-41414-1_00_210", "64-41414-0_00_333"]
        assert table.query("64-41414-1_00_210", "jigsaw", "test") == 53.0

    def test_transnas_micro_strings(self, tmp_path: Path) -> None:
        folder = tmp_path / "transnas-micro"
        folder.mkdir()
        for task in TRANSNAS_TASKS:
            (folder / f"accuracy_{task}.json").write_text('[["64-41414-0_00_000", 0.05], ["64-41414-3_21_333", 0.5]]')
        table = benchmark_table("transnas-micro", tmp_path)
        assert table.frame["normal.test"].to_dict() == {"64-41414-0_00_000": 0.05, "64-41414-3_21_333": 0.5}

    @pytest.mark.parametrize(
        "rows",
        [[[[1, 0, 0, 2, 1], 50.0]], [[[1, 0, 0, 2, 1, 4], 50.0]], [["64", 50.0]], [["64-41414-4_00_000", 50.0]], [3]],
    )
    def test_wrong_transnas_micro(self, tmp_path: Path, rows: list[Any]) -> None:
        folder = tmp_path / "transnas-micro"
        folder.mkdir()
        for task in TRANSNAS_TASKS:
            (folder / f"accuracy_{task}.json").write_text(json.dumps(rows))
        with pytest.raises(TableError, match="is no list of networks and their scores"):
            benchmark_table("transnas-micro", tmp_path)

    def test_recipes(self, tmp_path: Path) -> None:
        path = tmp_path / "nasbench-nlp" / "nasbench_nlp.csv"
        path.parent.mkdir()
        linear = {"op": "linear", "input": ["x", "h_prev_0"]}
        recipe = {"f": linear, "h_new_0": {"op": "activation_tanh", "input": ["f"]}}
        renamed = {"g": {**linear, "input": ["h_prev_0", "x"]}, "h_new_0": {"op": "activation_tanh", "input": ["g"]}}
        frame = pd.DataFrame(
            {
                "recepie": list(map(json.dumps, (recipe, renamed, {"h_new_0": linear}))),
                "val_perplexity": [90.0, 100.0, 200.0],
                "test_perplexity": [80.0, 90.0, float("nan")],
                "wikitext_val_loss": [5.0, 5.0, 6.0],
            }
        )
        frame.to_csv(path, index=False)
        table = benchmark_table("nasbench-nlp", tmp_path)
        assert table.space == "nasbench_nlp"
        assert list(table.frame.index) == ["linear(x,h0)+h0=tanh(1)", "h0=linear(x,h0)"]
        assert table.query("linear(x,h0)+h0=tanh(1)", "ptb", "valid") == -95.0
        assert table.query("linear(x,h0)+h0=tanh(1)", "wikitext-2", "valid") == -5.0
        assert table.frame["ptb.test"].tolist()[0] == -85.0
        assert table.frame["ptb.test"].isna().tolist() == [False, True]

    @pytest.mark.parametrize(
        ("frame", "sentence"),
        [
            ({"recepie": ["{}"], "seconds": [0.9]}, "expected one of recipes and one of numbers"),
            ({"seconds": [1.0], "val_loss": [0.9]}, "expected one of recipes"),
            ({"recepie": ["{}"], "val_loss": [0.9]}, "is no recipe of a cell"),
        ],
    )
    def test_wrong_recipes(self, tmp_path: Path, frame: dict[str, list[Any]], sentence: str) -> None:
        path = tmp_path / "nasbench-nlp" / "nasbench_nlp.csv"
        path.parent.mkdir()
        pd.DataFrame(frame).to_csv(path, index=False)
        with pytest.raises(TableError, match=sentence):
            benchmark_table("nasbench-nlp", tmp_path)

    def test_genotypes(self, tmp_path: Path) -> None:
        path = tmp_path / "darts-swap" / "DARTS_archs_CIFAR10.csv"
        path.parent.mkdir()
        pairs = "('none', 0), ('sep_conv_3x3', 0), " + "('max_pool_3x3', 1), ('skip_connect', 0), " * 3
        text = f"Genotype(normal=[{pairs}], normal_concat=range(2, 6), reduce=[{pairs}], reduce_concat=range(2, 6))"
        turned = text.replace("('none', 0), ('sep_conv_3x3', 0)", "('sep_conv_3x3', 0), ('none', 0)")
        pd.DataFrame({"genotype": [text, V1, turned], "val_acc": [0.9, 0.95, 0.92]}).to_csv(path, index=False)
        table = benchmark_table("darts-swap", tmp_path)
        assert len(table.frame) == 2
        assert table.query(V1, "cifar10", "valid") == 95.0
        assert table.frame["cifar10.valid"].iloc[0] == pytest.approx(91.0)

    def test_genotypes_without_names(self, tmp_path: Path) -> None:
        """The file as it is published: no row of names, double inputs, operations that are none."""
        path = tmp_path / "darts-swap" / "DARTS_archs_CIFAR10.csv"
        path.parent.mkdir()
        pairs = [
            "('none', 0), ('dil_conv_5x5', 0), ('sep_conv_5x5', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 1), "
            "('dil_conv_5x5', 2), ('sep_conv_5x5', 3), ('skip_connect', 4)",
            "('sep_conv_5x5', 0), ('sep_conv_3x3', 0), ('avg_pool_3x3', 2), ('sep_conv_3x3', 0), ('sep_conv_3x3', 3), "
            "('avg_pool_3x3', 1), ('sep_conv_5x5', 0), ('sep_conv_5x5', 2)",
        ]
        whole = "normal_concat=[2, 3, 4, 5]", "reduce_concat=[2, 3, 4, 5]"
        lines = [
            f'"Genotype(normal=[{cell}], {whole[0]}, reduce=[{cell}], {whole[1]})",{accuracy}\n'
            for cell, accuracy in zip(pairs, ("85.0", "85.23999786376953"), strict=True)
        ]
        path.write_text("".join(lines))
        table = benchmark_table("darts-swap", tmp_path)
        assert table.frame["cifar10.valid"].tolist() == [85.0, 85.23999786376953]

    @pytest.mark.parametrize(
        ("frame", "sentence"),
        [
            ({"genotype": [V1], "loss": [0.9]}, "expected one of genotypes and one of numbers whose name holds 'acc'"),
            ({"cell": ["x"], "acc": [0.9]}, "expected one of genotypes"),
            ({"genotype": ["[[(0, 9)], []]"], "acc": [0.9]}, "is no genotype of DARTS"),
        ],
    )
    def test_wrong_genotypes(self, tmp_path: Path, frame: dict[str, list[Any]], sentence: str) -> None:
        path = tmp_path / "genotypes.csv"
        pd.DataFrame(frame).to_csv(path, index=False)
        with pytest.raises(TableError, match=sentence):
            read_genotypes(path)
