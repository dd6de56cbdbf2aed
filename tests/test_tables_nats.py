"""The reader of NATS-Bench's folders: written-out results, the real files against the joined table, hostile files."""

from __future__ import annotations

import bz2
import os
import pickle
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import trainless
from trainless.errors import TableError
from trainless.safe_pickle import read_pickle
from trainless.tables import nats
from trainless.tables.nats import read_nats_folder
from trainless.types import Task

pytestmark = pytest.mark.slow

CELL = "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|none~0|nor_conv_3x3~1|skip_connect~2|"
TOPOLOGY, SIZE = "NATS-tss-v1_0-3ffb9-simple", "NATS-sss-v1_0-50262-simple"


def run(accuracies: dict[str, float], **changes: Any) -> dict[str, Any]:
    """One training of one network."""
    costs = {"params": 0.802426, "flop": 113.95137, "latency": [np.float64(0.5)], "train_times": {0: 2.0, 1: 3.0}}
    return {"eval_acc1es": accuracies, **costs, **changes}


def results(runs: dict[tuple[str, int], Any], index: int = 0, name: str = CELL) -> dict[str, Any]:
    """All trainings of one length."""
    return {"arch_index": index, "arch_str": name, "all_results": runs}


def write(folder: Path, content: Any, index: int = 0) -> Path:
    path = folder / f"{index:06}.pickle.pbz2"
    path.write_bytes(bz2.compress(content if isinstance(content, bytes) else pickle.dumps(content)))
    return path


class TestColumns:
    def test_means_over_seeds(self, tmp_path: Path) -> None:
        runs = {
            ("cifar10-valid", 777): run({"x-valid@0": 1.0, "x-valid@199": 80.0, "ori-test@199": 79.0}),
            ("cifar10-valid", 888): run({"x-valid@199": 81.0, "ori-test@199": 78.0}),
            ("cifar10", 777): run({"ori-test@199": 90.0}, latency=[0.1, 0.2], train_times={0: 10.0, 1: 20.0}),
            ("cifar10", 888): run({"ori-test@199": 91.0}, latency=[-1], train_times={0: 30.0, 1: 30.0}),
            ("cifar10", 999): run({"ori-test@199": 95.0}, latency=None, train_times=None),
            ("cifar100", 777): run({"x-valid@199": 60.0, "x-test@199": 61.0, "ori-test@199": 0.0}, params=0.9),
            ("ImageNet16-120", 888): run({"x-valid@199": 40.0, "x-test@199": 41.0}, latency=[]),
            ("ImageNet16-120", 777): run({"x-valid@199": 42.0, "x-test@199": 44.0}, flop=1.0, latency=[0.0]),
        }
        write(tmp_path, {"12": results({}), "200": results(runs)})
        table = read_nats_folder(tmp_path)
        assert table.frame.index.tolist() == [CELL]
        assert table.frame.loc[CELL].to_dict() == {
            "cifar10.valid": 80.5,
            "cifar10.test": 92.0,
            "cifar10.test_seed888": 78.0,
            "cifar10.parameters": 802_426,
            "cifar10.flops": 113_951_370,
            "cifar10.latency_seconds": pytest.approx(0.15),
            "cifar10.train_seconds": 45.0,
            "cifar100.valid": 60.0,
            "cifar100.test": 61.0,
            "cifar100.parameters": 900_000,
            "cifar100.flops": 113_951_370,
            "cifar100.latency_seconds": 0.5,
            "cifar100.train_seconds": 5.0,
            "ImageNet16-120.valid": 41.0,
            "ImageNet16-120.test": 42.5,
            "ImageNet16-120.test_seed888": 41.0,
            "ImageNet16-120.parameters": 802_426,
            "ImageNet16-120.flops": (113_951_370 + 1_000_000) / 2,
            "ImageNet16-120.train_seconds": 5.0,
        }

    @pytest.mark.parametrize(
        ("name", "space", "last", "splits"),
        [
            (CELL, "nasbench201", {"12": 11, "200": 199}, {"test_epoch12": 12.0, "test": 200.0}),
            (
                "8:64:8:24:8",
                "nats_size",
                {"01": 0, "12": 11, "90": 89},
                {"test_epoch1": 1.0, "test_epoch12": 12.0, "test": 90.0},
            ),
        ],
    )
    def test_lengths_of_training(
        self, tmp_path: Path, name: str, space: str, last: dict[str, int], splits: dict[str, float]
    ) -> None:
        content = {
            length: results({("cifar100", 777): run({"x-test@0": 1.0, f"x-test@{epoch}": float(length)})}, name=name)
            for length, epoch in last.items()
        }
        write(tmp_path, content)
        table = read_nats_folder(tmp_path)
        assert (table.space, table.datasets) == (space, ("cifar100",))
        assert {split: table.query(name, "cifar100", split) for split in table.splits("cifar100")} == splits

    def test_missing_and_not_finite_values(self, tmp_path: Path) -> None:
        write(
            tmp_path, {"200": results({("cifar10", 777): run({"ori-test@199": float("nan")}, latency=[])}, 5, CELL)}, 5
        )
        other = CELL.replace("none", "skip_connect")
        write(tmp_path, {"200": results({("cifar10", 777): run({"ori-test@199": 90.0})}, 3, other)}, 3)
        frame = read_nats_folder(tmp_path).frame
        assert frame.index.tolist() == [other, CELL]
        assert frame["cifar10.test"].isna().tolist() == [False, True]
        assert frame["cifar10.latency_seconds"].isna().tolist() == [False, True]
        assert "cifar10.valid" not in frame

    def test_progress_and_other_files(self, tmp_path: Path) -> None:
        for index, width in enumerate((8, 16, 24)):
            runs = {("cifar10", 777): run({"ori-test@89": 90.0})}
            write(tmp_path, {"90": results(runs, index, f"{width}:8:8:8:8")}, index)
        for name in ("meta.pickle.pbz2", "notes.txt", "000001.pickle.pbz2.part"):
            (tmp_path / name).write_bytes(b"")
        calls: list[tuple[int, int]] = []
        table = read_nats_folder(str(tmp_path), progress=lambda done, total: calls.append((done, total)))
        assert calls == [(1, 3), (2, 3), (3, 3)]
        assert table.frame.index.tolist() == ["8:8:8:8:8", "16:8:8:8:8", "24:8:8:8:8"]
        assert (table.name, table.licence) == (tmp_path.name, "MIT")
        assert "Dong" in table.origin


@pytest.mark.data
class TestRealFiles:
    def test_topology_is_the_joined_table(self, real_data: Path) -> None:
        frame = read_nats_folder(real_data / "nats-bench" / TOPOLOGY).frame
        joined = pd.read_csv(real_data / "tables" / "nasbench201.csv.gz").set_index("index").loc[[0, 11, 284]]
        assert frame.index.tolist() == joined["architecture"].tolist()
        columns = [name for name in joined.columns if name in frame.columns]
        assert len(columns) == 8
        for column in columns:
            known = joined[column].notna().to_numpy()  # one of the single-seed accuracies was never published
            assert known.sum() >= 2
            # The joined table has six digits.
            np.testing.assert_allclose(frame[column][known], joined[column][known], rtol=5e-6)

    def test_topology_costs_are_those_of_the_network(self, real_data: Path) -> None:
        import torch

        table = read_nats_folder(real_data / "nats-bench" / TOPOLOGY)
        space, name = trainless.search_space("nasbench201"), table.frame.index[1]
        for task in (Task("cifar10", 10), Task("cifar100", 100), Task("ImageNet16-120", 120, 3, 16, 16)):
            network = space.build(space.parse(name), task)
            batch = torch.zeros(2, 3, task.height, task.width)
            scores = trainless.score(network, batch, torch.tensor([0, 1]), proxies=["params", "flops"])
            assert table.cost(task.name, "parameters")[name] == scores["params"]
            # The authors count the addition of the classifier's bias too.
            assert table.cost(task.name, "flops")[name] == scores["flops"] + task.classes

    def test_size(self, real_data: Path) -> None:
        table = read_nats_folder(real_data / "nats-bench" / SIZE)
        assert table.space == "nats_size"
        assert table.frame.index.tolist() == ["8:8:8:8:8", "8:8:8:16:32", "8:8:40:32:40"]
        lengths = ("valid", "test", "valid_epoch12", "test_epoch12", "valid_epoch1", "test_epoch1")
        for dataset in ("cifar10", "cifar100", "ImageNet16-120"):
            assert table.splits(dataset) == lengths  # the long training has seed 777 only
            assert table.costs(dataset) == ("parameters", "flops", "latency_seconds", "train_seconds")
        # Printed from the file by hand: the one run of 90 epochs.
        assert table.query("8:8:40:32:40", "cifar10", "test") == 89.51
        assert table.cost("cifar10", "parameters")["8:8:40:32:40"] == 144_834
        assert table.cost("ImageNet16-120", "flops")["8:8:40:32:40"] == 5_461_816
        assert table.cost("cifar10", "train_seconds")["8:8:40:32:40"] == pytest.approx(90 * 6.121103763580322)


class Malicious:
    """Makes a folder when unpickled without restrictions."""

    def __init__(self, function: Any, argument: str) -> None:
        self.call = function, (argument,)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


class TestHostileFiles:
    @pytest.mark.parametrize("protocol", [0, 2, 4])
    @pytest.mark.parametrize("function", [os.mkdir, os.system, eval, exec])
    def test_nothing_runs(self, tmp_path: Path, function: Any, protocol: int) -> None:
        victim = tmp_path / "victim"
        if function is os.mkdir:
            argument = str(victim)
        else:
            argument = f"mkdir {victim}" if function is os.system else f"__import__('os').mkdir({str(victim)!r})"
        runs = {("cifar10", 777): run({"ori-test@199": Malicious(function, argument)})}  # type: ignore[dict-item]
        stored = pickle.dumps({"200": results(runs)}, protocol)
        write(tmp_path, stored)
        with pytest.raises(TableError, match=rf"000000\.pickle\.pbz2' .*asks for .*{function.__name__}.*: fetch it"):
            read_nats_folder(tmp_path)
        assert not victim.exists()
        pickle.loads(stored)  # the attack works where nothing stops it
        assert victim.is_dir()

    @pytest.mark.parametrize(
        "stored",
        [
            b"cposix\nsystem\n(X\x02\x00\x00\x00idtR.",
            b"cbuiltins\neval\n(X\x01\x00\x00\x001tR.",
            b"cnumpy\nload\n(X\x01\x00\x00\x00atR.",
            b"cnumpy._core.multiarray\n_reconstruct\n(tR(K\x01(J\xff\xff\xff\x7ftcnumpy\ndtype\n(X\x02\x00\x00\x00u1tR\x89C\x01atb.",
            b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(X\x02\x00\x00\x00O8tRC\x08abcdefghtR.",
            pytest.param(b"})" + b"\x85" * 200_000 + b"Ns.", id="deep key"),
            b"h\x01.",
            b"",
            b"text",
        ],
    )  # fmt: skip
    def test_crafted_pickles(self, tmp_path: Path, stored: bytes) -> None:
        write(tmp_path, stored)
        with pytest.raises(TableError, match=r"000000\.pickle\.pbz2' cannot be read as a file of NATS-Bench \(its? "):
            read_nats_folder(tmp_path)

    @pytest.mark.parametrize("kept", [0, 3, 20, -1])
    def test_truncated(self, tmp_path: Path, kept: int) -> None:
        path = write(tmp_path, {"200": results({("cifar10", 777): run({"ori-test@199": 90.0})})})
        path.write_bytes(path.read_bytes()[:kept])
        with pytest.raises(TableError, match=r"000000\.pickle\.pbz2' cannot be read .*: fetch it again"):
            read_nats_folder(tmp_path)

    def test_damaged(self, tmp_path: Path) -> None:
        path = write(tmp_path, {"200": results({("cifar10", 777): run({"ori-test@199": 90.0})})})
        for content in (b"BZh9text", b"no bz2 at all", path.read_bytes()[:60] + b"?" + path.read_bytes()[61:]):
            path.write_bytes(content)
            with pytest.raises(TableError, match=r"000000\.pickle\.pbz2' cannot be read .*: fetch it again"):
                read_nats_folder(tmp_path)

    def test_more_steps_than_any_of_them_takes(self, tmp_path: Path) -> None:
        write(tmp_path, b"(" + b"]" * 2**19 + b"t.")
        with pytest.raises(TableError, match="it takes more than 524,288 steps"):
            read_nats_folder(tmp_path)

    @pytest.mark.data
    @pytest.mark.parametrize("name", [TOPOLOGY, SIZE])
    def test_real_files_take_a_tenth_of_the_steps(self, real_data: Path, name: str) -> None:
        for path in (real_data / "nats-bench" / name).glob("0*.pickle.pbz2"):
            assert read_pickle(bz2.decompress(path.read_bytes()), operations=2**19 // 10)

    def test_a_bomb_is_not_unpacked(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(nats, "_LIMIT", 1 << 20)
        path = write(tmp_path, b"B" + bytes(40 << 20))
        assert path.stat().st_size < 1000
        tracemalloc.start()
        try:
            with pytest.raises(TableError, match=r"000000\.pickle\.pbz2' .*unpacks to more than 1 MiB"):
                read_nats_folder(tmp_path)
            assert tracemalloc.get_traced_memory()[1] < 4 << 20
        finally:
            tracemalloc.stop()


def _changed(**changes: Any) -> dict[str, Any]:
    return {"200": results({("cifar10", 777): run({"ori-test@199": 90.0}, **changes)})}


class TestWrongInput:
    @pytest.mark.parametrize(
        "content",
        [
            [],
            {},
            {"200": {}},
            {"200": []},
            {"200": {"arch_str": CELL}},
            {"200": results({}, name="resnet50")},
            {"200": results({}, name=CELL + "|")},
            {"200": {**results({}), "arch_str": [CELL]}},
            {"200": {**results({}), "arch_index": [[]]}},
            pickle.dumps(np.arange(3)),
        ],
    )
    def test_no_architecture(self, tmp_path: Path, content: Any) -> None:
        write(tmp_path, content)
        with pytest.raises(TableError, match=r"000000\.pickle\.pbz2' holds no architecture of NATS-Bench"):
            read_nats_folder(tmp_path)

    @pytest.mark.parametrize(
        "content",
        [
            {"200": {**results({}), "all_results": [1]}},
            {"200": results({"cifar10": run({})})},  # type: ignore[dict-item]
            {"200": results({("cifar10", 777): None})},
            {"200": results({("cifar10", 777): {}})},
            {"200": results({("cifar10", 777): run({"ori-test@199": "90"})})},  # type: ignore[dict-item]
            {"200": results({("cifar10", 777): run({"ori-test@199": True})})},
            {"200": results({("cifar10", 777): run({"ori-test@199": 10**400})})},
            _changed(eval_acc1es=[90.0]),
            _changed(params="0.8"),
            _changed(params=float("inf")),
            _changed(flop=None),
            _changed(latency=["fast"]),
            _changed(latency=0.5),
            _changed(train_times=[1.0]),
            _changed(train_times={0: "long"}),
            _changed(train_times={0: np.arange(3)}),
        ],
    )
    def test_results_of_another_form(self, tmp_path: Path, content: Any) -> None:
        write(tmp_path, content)
        with pytest.raises(TableError, match=r"000000\.pickle\.pbz2' holds results .* not in the form of NATS-Bench"):
            read_nats_folder(tmp_path)

    def test_index(self, tmp_path: Path) -> None:
        write(tmp_path, {"200": results({}, 12)}, 11)
        with pytest.raises(TableError, match=r"000011\.pickle\.pbz2' holds the architecture of index 12: give it"):
            read_nats_folder(tmp_path)

    def test_two_spaces(self, tmp_path: Path) -> None:
        runs = {("cifar10", 777): run({})}
        write(tmp_path, {"200": results(runs)})
        write(tmp_path, {"90": results(runs, 1, "8:8:8:8:8")}, 1)
        with pytest.raises(
            TableError, match=r"000001\.pickle\.pbz2' is of the space nats_size, .* of nasbench201: keep"
        ):
            read_nats_folder(tmp_path)

    def test_the_same_architecture_twice(self, tmp_path: Path) -> None:
        for index in (0, 1):
            write(tmp_path, {"200": results({("cifar10", 777): run({"ori-test@199": 90.0})}, index)}, index)
        with pytest.raises(TableError, match="more than once"):
            read_nats_folder(tmp_path)

    def test_no_values(self, tmp_path: Path) -> None:
        write(tmp_path, {"200": results({})})
        with pytest.raises(TableError, match="1 rows and 0 columns"):
            read_nats_folder(tmp_path)

    def test_no_folder(self, tmp_path: Path) -> None:
        (tmp_path / "meta.pickle.pbz2").write_bytes(b"")
        for place in (tmp_path, tmp_path / "absent", tmp_path / "meta.pickle.pbz2"):
            with pytest.raises(TableError, match=r"is no folder with files such as 000011\.pickle\.pbz2: give"):
                read_nats_folder(place)
