"""Tables of true accuracies: the contract, the plain format, and getting one from anywhere."""

from __future__ import annotations

import errno
import gzip
import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from trainless.errors import TableError, UnknownNameError
from trainless.search_spaces.darts import V1
from trainless.tables import (
    TABLES,
    BenchmarkTable,
    benchmark_table,
    get_table,
    library,
    published_scores,
    read_table,
    sources,
    table_listing,
    write_table,
)
from trainless.tables.nats import read_nats_folder
from trainless.tables.sources import PublicFile, public_files
from trainless.types import Task

CELL = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|none~1|nor_conv_1x1~2|"


WHOLE, CHECK = dict(TABLES), library._check_unchanged


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_tables: None) -> None:
    """No test sees the cache or the data of the machine; tables and public files may be small ones."""
    monkeypatch.setenv("TRAINLESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("TRAINLESS_DATA", raising=False)


@pytest.fixture
def toy() -> BenchmarkTable:
    rows = {
        "cifar10.valid": [90.5, np.nan, 91.5],
        "cifar10.test_seed888": [91.0, 93.0, 93.0],
        "cifar10.latency": [1.5, np.nan, 2.5],
        "digits.test": [97.0, 98.0, np.inf],
    }
    return BenchmarkTable("toy", "nats_size", pd.DataFrame(rows, index=["a", "b", "c"]), "somewhere", "MIT")


class TestTask:
    @pytest.mark.parametrize(
        ("dataset", "classes", "side"), [("cifar10", 10, 32), ("cifar100", 100, 32), ("ImageNet16-120", 120, 16)]
    )
    def test_a_benchmark_tells_the_images_and_classes(self, dataset: str, classes: int, side: int) -> None:
        table = BenchmarkTable("toy", "nasbench201", pd.DataFrame({f"{dataset}.test": [90.0]}, index=["a"]))
        assert table.task(dataset) == Task(dataset, classes, channels=3, height=side, width=side)

    @pytest.mark.parametrize(("space", "known"), [("nasbench201", "cifar10, cifar100"), ("", "none is known")])
    def test_what_it_does_not_know_is_refused(self, space: str, known: str) -> None:
        table = BenchmarkTable("toy", space, pd.DataFrame({"digits.test": [90.0]}, index=["a"]))
        with pytest.raises(TableError, match=f"Table 'toy' does not tell the images and classes of digits, .*{known}"):
            table.task("digits")


class TestBenchmarkTable:
    def test_columns_tell_data_sets_splits_and_costs(self, toy: BenchmarkTable) -> None:
        assert toy.datasets == ("cifar10", "digits")
        assert toy.splits("cifar10") == ("valid", "test_seed888")
        assert toy.costs("cifar10") == ("latency",)
        assert toy.costs("digits") == ()

    def test_only_finite_values_in_table_order(self, toy: BenchmarkTable) -> None:
        assert toy.accuracies("cifar10", "valid").to_dict() == {"a": 90.5, "c": 91.5}
        assert toy.accuracies("digits", "test").to_dict() == {"a": 97.0, "b": 98.0}
        assert toy.cost("cifar10", "latency").to_dict() == {"a": 1.5, "c": 2.5}

    def test_optimum_is_the_first_of_the_best(self, toy: BenchmarkTable) -> None:
        assert toy.optimum("cifar10", "test_seed888") == ("b", 93.0)

    def test_a_split_never_stands_in_for_another(self, toy: BenchmarkTable) -> None:
        with pytest.raises(TableError, match=r"no split 'test' of cifar10: choose one of valid, test_seed888\."):
            toy.accuracies("cifar10", "test")

    def test_unknown_data_set_lists_those_there_are(self, toy: BenchmarkTable) -> None:
        with pytest.raises(TableError, match=r"no data set 'cifar100': choose one of cifar10, digits\."):
            toy.splits("cifar100")

    def test_a_cost_is_no_split(self, toy: BenchmarkTable) -> None:
        with pytest.raises(TableError, match="no split 'latency'"):
            toy.accuracies("cifar10", "latency")
        with pytest.raises(TableError, match=r"no cost 'valid' of digits: it has none\."):
            toy.cost("digits", "valid")

    def test_query(self, toy: BenchmarkTable) -> None:
        assert toy.query("c", "cifar10", "valid") == 91.5
        with pytest.raises(TableError, match="no valid accuracy on cifar10 of the architecture 'b'"):
            toy.query("b", "cifar10", "valid")

    @pytest.mark.parametrize(
        ("frame", "sentence"),
        [
            (pd.DataFrame({"accuracy": [1.0]}, index=["a"]), "has the column 'accuracy', expected names of the form"),
            (pd.DataFrame({".test": [1.0]}, index=["a"]), "has the column '.test'"),
            (pd.DataFrame({"x.test": [1.0, 2.0]}, index=["a", "a"]), "has the architecture 'a' more than once"),
            (pd.DataFrame([[1.0, 2.0]], index=["a"], columns=["x.test"] * 2), "has the column 'x.test' more than once"),
            (pd.DataFrame({"x.test": ["high"]}, index=["a"]), "Column 'x.test' of table 'bad' holds text"),
            (pd.DataFrame({"x.test": []}, dtype=float), "has 0 rows and 1 columns"),
        ],
    )
    def test_frames_that_are_no_table(self, frame: pd.DataFrame, sentence: str) -> None:
        with pytest.raises(TableError, match=sentence):
            BenchmarkTable("bad", "", frame)


class TestPlainFormat:
    @pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".parquet"])
    def test_round_trip(self, toy: BenchmarkTable, tmp_path: Path, ending: str) -> None:
        write_table(toy, tmp_path / f"toy{ending}")
        pd.testing.assert_frame_equal(read_table(tmp_path / f"toy{ending}").frame, toy.frame)
        assert os.listdir(tmp_path) == [f"toy{ending}"]

    def test_parquet_keeps_what_csv_cannot(self, toy: BenchmarkTable, tmp_path: Path) -> None:
        write_table(toy, tmp_path / "x.parquet")
        table = read_table(tmp_path / "x.parquet")
        assert (table.name, table.space, table.origin, table.licence) == ("toy", "nats_size", "somewhere", "MIT")
        assert read_table(tmp_path / "x.parquet", "mine").name == "mine"

    @pytest.mark.parametrize(
        ("string", "space"),
        [
            (CELL, "nasbench201"),
            ("64-4111-basic", "transnas_macro"),
            ("64-41414-1_00_210", "transnas_micro"),
            ("02012100", "nasbench_macro"),
            ("8:16:24:32:64", "nats_size"),
            ("conv3x3(0)+output(0,1)", "nasbench101"),
            ("output(0)", "nasbench101"),
            ("[[(0, 0), (1, 5)], [(1, 0), (0, 2)]]", "darts"),
            ("my-network", ""),
        ],
    )
    def test_the_strings_tell_the_space(self, tmp_path: Path, string: str, space: str) -> None:
        (tmp_path / "x.csv").write_text(f'architecture,digits.test\n"{string}",97\n')
        assert read_table(tmp_path / "x.csv").space == space

    def test_numbers_as_names_stay_text(self, tmp_path: Path) -> None:
        (tmp_path / "x.csv").write_text("index,architecture,digits.test\n0,17,97\n")
        assert read_table(tmp_path / "x.csv").query("17", "digits", "test") == 97.0

    def test_digits_of_names_stay_as_written(self, tmp_path: Path) -> None:
        (tmp_path / "x.csv").write_text("architecture,digits.test\n007,97\n1.10,98\n1.1,99\n")
        assert read_table(tmp_path / "x.csv").accuracies("digits", "test").to_dict() == {
            "007": 97,
            "1.10": 98,
            "1.1": 99,
        }

    @pytest.mark.parametrize("rows", ["1,2,\nb,3,4", "1,2,\nb,3,4,", "1,2\nb,3,4,", "1\nb,3,4,", "1,2,3\nb,4,5"])
    @pytest.mark.parametrize("start", ["architecture,x.test,x.valid\na,", "index,x.test,architecture\n0,"])
    def test_rows_longer_than_the_header_are_not_shifted(self, tmp_path: Path, start: str, rows: str) -> None:
        (tmp_path / "x.csv").write_text(f"{start}{rows}\n")
        with pytest.raises(TableError, match="cannot be read as a table"):
            read_table(tmp_path / "x.csv")

    def test_others_may_read_it_as_any_new_file(self, toy: BenchmarkTable, tmp_path: Path) -> None:
        (tmp_path / "any").touch()
        for name in ("x.csv", "x.csv.gz", "x.parquet"):
            write_table(toy, tmp_path / name)
            assert (tmp_path / name).stat().st_mode == (tmp_path / "any").stat().st_mode

    @pytest.mark.parametrize(
        ("name", "content", "sentence"),
        [
            ("x.csv", b"architecture,x.test,x.test\na,97,98\n", "has the column x.test more than once"),
            ("x.csv", b"network,digits.test\na,97\n", "none named 'architecture'"),
            ("x.csv", b"", "cannot be read as a table"),
            ("x.csv", b"architecture,digits.test\n,97\n", "a row without an architecture"),
            ("x.csv", b'architecture,digits.test\n"a,97\n', "cannot be read as a table"),
            ("x.csv.gz", b"architecture,digits.test\na,97\n", "cannot be read as a table"),
            (
                "x.csv.gz",
                gzip.compress(b"architecture,digits.test\na,97\n" * 99, mtime=0)[:-20],
                "cannot be read as a table",
            ),
            ("x.parquet", b"PAR1" + bytes(50), "cannot be read as a table"),
            ("x.json", b"{}", "unknown ending"),
        ],
    )
    def test_files_that_are_no_table(self, tmp_path: Path, name: str, content: bytes, sentence: str) -> None:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(TableError, match=sentence):
            read_table(tmp_path / name)

    def test_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(TableError, match="There is no file"):
            read_table(tmp_path / "none.csv")

    def test_a_failed_write_leaves_the_old_file(self, toy: BenchmarkTable, tmp_path: Path) -> None:
        (tmp_path / "x").write_text("a file where a folder is needed")
        with pytest.raises(TableError, match="cannot be written"):
            write_table(toy, tmp_path / "x" / "y.csv")
        with pytest.raises(TableError, match="unknown ending"):
            write_table(toy, tmp_path / "y.txt")
        assert os.listdir(tmp_path) == ["x"]


class TestBenchmarkTableByName:
    def test_a_table_is_given_back(self, toy: BenchmarkTable) -> None:
        assert benchmark_table(toy) is toy

    def test_a_path(self, toy: BenchmarkTable, tmp_path: Path) -> None:
        write_table(toy, tmp_path / "mine.csv")
        assert benchmark_table(tmp_path / "mine.csv").name == "mine"

    @pytest.mark.parametrize("path", ["x" * 300, "a\0b", f"{'x' * 300}.csv"])
    def test_a_path_that_no_system_has(self, path: str) -> None:
        with pytest.raises(TableError, match=r"^'.*' cannot be looked up \(.*\): .* another path\.$") as caught:
            benchmark_table(path)
        assert str(caught.value).isprintable()

    def test_neither_name_nor_path(self) -> None:
        with pytest.raises(UnknownNameError, match="There is no table 'nasbench20': did you mean 'nasbench201'"):
            benchmark_table("nasbench20")

    def test_known_but_not_here(self) -> None:
        with pytest.raises(TableError, match=r"is not in the cache [^`]*`trainless tables get nasbench201`"):
            benchmark_table("nasbench201")
        with pytest.raises(TableError, match="`trainless tables get nats-tss --from PATH`") as caught:
            benchmark_table("nats-tss")
        assert "downloads" not in str(caught.value)

    def test_the_folder_that_is_named_counts_alone(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        _joined(tmp_path / "data")
        monkeypatch.setenv("TRAINLESS_DATA", str(tmp_path / "data"))
        assert len(benchmark_table("nasbench201").frame) == 1
        with pytest.raises(TableError, match="is not in"):
            benchmark_table("nasbench201", tmp_path)


def _joined(folder: Path, accuracy: float = 90.0) -> Path:
    path = folder / "tables" / "nasbench201.csv.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(f"index,architecture,cifar10.test\n0,{CELL},{accuracy}\n".encode()))
    return path


class TestImport:
    def test_plain_file_lands_in_the_cache(self, tmp_path: Path) -> None:
        path = get_table("nasbench201", _joined(tmp_path))
        assert path == tmp_path / "cache" / "tables" / "nasbench201-2.parquet"
        assert benchmark_table("nasbench201").query(CELL, "cifar10", "test") == 90.0

    def test_folder_of_public_files(self, tmp_path: Path) -> None:
        _joined(tmp_path)
        get_table("nasbench201", tmp_path)
        assert benchmark_table("nasbench201").origin == TABLES["nasbench201"].origin

    def test_a_single_public_file_of_any_name(self, tmp_path: Path) -> None:
        entry = {"(4, 0, 3, 1, 4, 3)": {"nwot": 700.5, "val_accuracy": 84.99}}
        content = dict.fromkeys(("cifar10", "cifar100", "ImageNet16-120"), entry)
        (tmp_path / "scores.json").write_text(json.dumps(content))
        get_table("nasbench201-suite-zero", tmp_path / "scores.json")
        assert benchmark_table("nasbench201-suite-zero").splits("cifar100") == ("test_seed888",)

    def test_a_folder_within_the_layout(self, tmp_path: Path) -> None:
        for dataset in ("cifar10", "cifar100", "ImageNet16-120"):
            (tmp_path / "mine" / dataset).mkdir(parents=True)
            (tmp_path / "mine" / dataset / "accuracies.csv").write_text("index,accuracy\n0,85.5\n7,91.0\n")
        get_table("nasbench201-freerea", tmp_path / "mine")
        table = benchmark_table("nasbench201-freerea")
        assert table.accuracies("cifar100", "test").tolist() == [85.5, 91.0]
        assert len(table.frame) == 15_625

    @pytest.mark.parametrize("name", ["nasbench201-freerea", "hw-nas-bench"])
    def test_one_file_is_not_taken_for_several(self, tmp_path: Path, name: str) -> None:
        for file in ("accuracies.csv", "cifar10.csv"):
            (tmp_path / file).write_text("index,accuracy,pixel3_latency\n0,85.5,1\n")
        with pytest.raises(TableError, match=f"lacks .* of the table '{name}'"):
            get_table(name, tmp_path)

    @pytest.mark.parametrize("kind", [KeyboardInterrupt, MemoryError, OSError])
    def test_an_interruption_leaves_the_old_copy(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[BaseException]
    ) -> None:
        cached = get_table("nasbench201", _joined(tmp_path))

        def interrupted(frame: pd.DataFrame, path: Path, **_: object) -> None:
            path.write_bytes(b"half of it")
            raise kind

        monkeypatch.setattr(pd.DataFrame, "to_parquet", interrupted)
        with pytest.raises(TableError if kind is OSError else kind):
            get_table("nasbench201", _joined(tmp_path, 80.0))
        assert os.listdir(cached.parent) == [cached.name]
        assert benchmark_table("nasbench201").query(CELL, "cifar10", "test") == 90.0

    def test_another_space_is_refused_and_the_old_copy_kept(self, toy: BenchmarkTable, tmp_path: Path) -> None:
        get_table("nasbench201", _joined(tmp_path))
        (tmp_path / "sizes.csv").write_text("architecture,cifar10.test\n8:8:8:8:8,90\n")
        with pytest.raises(TableError, match="architectures of nats_size, expected nasbench201"):
            get_table("nasbench201", tmp_path / "sizes.csv")
        assert benchmark_table("nasbench201").query(CELL, "cifar10", "test") == 90.0

    def test_own_data_in_the_plain_format_may_have_any_strings(self, tmp_path: Path) -> None:
        (tmp_path / "own.csv").write_text("architecture,tiles.test\nnet-1,90\n")
        get_table("nasbench301-suite-zero", tmp_path / "own.csv")
        assert benchmark_table("nasbench301-suite-zero").space == "darts"

    @pytest.mark.parametrize("name", [name for name, source in TABLES.items() if source.instead])
    def test_folder_without_the_files(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(TableError, match=f"lacks .* of the table '{name}'"):
            get_table(name, tmp_path)

    def test_no_such_source(self, tmp_path: Path) -> None:
        with pytest.raises(TableError, match="There is no file or folder"):
            get_table("nasbench201", tmp_path / "none")
        with pytest.raises(UnknownNameError):
            get_table("nasbench", tmp_path)

    def test_without_a_public_address(self) -> None:
        with pytest.raises(TableError, match="at no public address"):
            get_table("nasbench101")


class TestWholeness:
    def test_a_part_of_a_benchmark_is_not_the_benchmark(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(TABLES, "nasbench201", WHOLE["nasbench201"])
        with pytest.raises(TableError, match=r"holds 1 architectures, but the table 'nasbench201' has 15,625"):
            get_table("nasbench201", _joined(tmp_path))

    def test_a_public_file_that_was_cut_short(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(library, "_check_unchanged", CHECK)
        for dataset in ("cifar10", "cifar100", "ImageNet16-120"):
            (tmp_path / dataset).mkdir()
            (tmp_path / dataset / "accuracies.csv").write_text("index,accuracy\n0,85.5\n")
        with pytest.raises(TableError, match="is not the file that NiccoloCavagnero/FreeREA publishes"):
            get_table("nasbench201-freerea", tmp_path)

    @pytest.mark.parametrize(
        ("name", "file"),
        [("nasbench101-valid", "graphs.npz"), ("hw-nas-bench", "cifar10.csv"), ("nasbench201", "batch.bin")],
    )
    def test_one_file_of_several(self, tmp_path: Path, name: str, file: str) -> None:
        (tmp_path / file).write_bytes(b"net,edgegpu_latency\n")
        with pytest.raises(TableError, match=f"does not make the table '{name}' by itself, which needs "):
            get_table(name, tmp_path / file)

    @pytest.mark.data
    def test_the_real_ones_are_whole(self, real_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(library, "_check_unchanged", CHECK)
        for name in ("nasbench201", "nasbench201-freerea", "transnas-macro", "nasbench301-suite-zero"):
            monkeypatch.setitem(TABLES, name, WHOLE[name])
            get_table(name, real_data)
            assert len(benchmark_table(name).frame) == WHOLE[name].architectures

    @pytest.mark.data
    def test_a_folder_of_folders(self, real_data: Path) -> None:
        get_table("nats-tss", real_data / "nats-bench")
        assert len(benchmark_table("nats-tss").frame) == 3


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A web server on this machine in place of the public one; gives the folder that it serves."""
    folder = tmp_path / "mirror"
    folder.mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("TRAINLESS_MIRROR", f"http://127.0.0.1:{server.server_port}")
    yield folder
    server.shutdown()
    server.server_close()


def _serve(monkeypatch: pytest.MonkeyPatch, mirror: Path, contents: dict[str, bytes]) -> None:
    """Publish small files under the addresses of the real ones, with their own checksums."""
    files = {}
    for path, content in contents.items():
        known = public_files()[path]
        facts = len(content), hashlib.sha256(content).hexdigest()
        files[path] = PublicFile(path, known.repository, known.commit, known.source, *facts)
        served = mirror / known.repository / known.commit / known.source
        served.parent.mkdir(parents=True, exist_ok=True)
        served.write_bytes(content)
    for module in (sources, library):
        monkeypatch.setattr(module, "public_files", lambda: files)


class TestDownload:
    PATH = "nas-bench-suite-zero/zc_nasbench301.json"
    KEY = V1
    BODY = json.dumps({"cifar10": {KEY: {"nwot": {"score": 7.5, "time": 0.5}, "val_accuracy": 93.0}}}).encode()

    def test_from_the_public_address_to_the_table(self, mirror: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        _serve(monkeypatch, mirror, {self.PATH: self.BODY})
        seen: list[tuple[int, int]] = []
        get_table("nasbench301-suite-zero", progress=lambda done, total: seen.append((done, total)))
        assert benchmark_table("nasbench301-suite-zero").query(self.KEY, "cifar10", "valid_surrogate") == 93.0
        assert seen[-1] == (len(self.BODY), len(self.BODY))

    def test_published_scores_are_fetched_on_request_only(self, mirror: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        _serve(monkeypatch, mirror, {self.PATH: self.BODY})
        name = "suite-zero.nasbench301.cifar10"
        with pytest.raises(TableError, match=f"`trainless scores import {name}` downloads it"):
            published_scores(name)
        assert published_scores(name, fetch_missing=True).scores.loc[self.KEY, "nwot"] == 7.5
        assert published_scores(name).seconds.loc[self.KEY, "nwot"] == 0.5

    def test_corrupt_download_keeps_nothing(
        self, mirror: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        _serve(monkeypatch, mirror, {self.PATH: self.BODY})
        for served in mirror.rglob("*.json"):
            served.write_bytes(self.BODY.replace(b"93.0", b"99.9"))
        with pytest.raises(TableError, match="SHA-256"):
            get_table("nasbench301-suite-zero")
        assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]

    def test_every_public_file_has_a_full_checksum(self) -> None:
        for path, file in public_files().items():
            assert len(file.sha256) == 64
            assert file.size > 0
            assert file.path == path
            assert file.url.startswith("https://raw.githubusercontent.com/")

    @pytest.mark.data
    def test_the_registry_is_of_the_real_files(self, real_data: Path) -> None:
        for path, file in public_files().items():
            content = (real_data / path).read_bytes()
            assert (len(content), hashlib.sha256(content).hexdigest()) == (file.size, file.sha256)


class TestPaths:
    """What the system says about a path that it cannot look up is one sentence, wherever the path comes from."""

    LOOKED_UP = (
        table_listing,
        partial(benchmark_table, "nasbench201"),
        partial(published_scores, "naslib.cifar10"),
        partial(published_scores, "suite-zero.nasbench301.cifar10", fetch_missing=True),
    )

    @pytest.mark.parametrize("look", LOOKED_UP)
    @pytest.mark.parametrize("variable", ["TRAINLESS_DATA", "TRAINLESS_CACHE"])
    def test_the_folders_of_the_environment(
        self, monkeypatch: pytest.MonkeyPatch, look: Callable[[], object], variable: str
    ) -> None:
        monkeypatch.setenv(variable, "x" * 300)
        with pytest.raises(TableError, match=r"cannot be looked up \(.*\): "):
            look()

    @pytest.mark.parametrize("look", LOOKED_UP)
    def test_a_home_folder_that_is_not_there(self, monkeypatch: pytest.MonkeyPatch, look: Callable[[], object]) -> None:
        monkeypatch.setenv("TRAINLESS_CACHE", "~no-such-user/x")
        with pytest.raises(TableError, match="TRAINLESS_CACHE is '~no-such-user/x', and there is no such home folder"):
            look()

    @pytest.mark.parametrize("source", ["x" * 300, "a\0b"])
    def test_the_source_of_an_import(self, source: str) -> None:
        with pytest.raises(TableError, match="cannot be looked up"):
            get_table("nasbench201", source)

    @pytest.mark.parametrize("look", [benchmark_table, read_nats_folder, partial(get_table, "nasbench201")])
    def test_a_folder_that_cannot_be_listed(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, look: Callable[[Path], object]
    ) -> None:
        monkeypatch.setattr(Path, "iterdir", _refused)
        with pytest.raises(TableError, match=r"cannot be looked up \(Permission denied\): change the rights"):
            look(tmp_path)

    @pytest.mark.parametrize("look", [table_listing, partial(benchmark_table, "nats-sss")])
    def test_a_folder_without_rights(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, look: Callable[[Path], object]
    ) -> None:
        monkeypatch.setattr(Path, "stat", _refused)
        with pytest.raises(TableError, match=r"cannot be looked up \(Permission denied\): change the rights"):
            look(tmp_path)


def _refused(path: Path, **_: object) -> None:
    raise PermissionError(errno.EACCES, "Permission denied", str(path))


class TestListing:
    def test_tells_what_is_here(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        present = {row["table"]: row["present"] for row in table_listing()}
        assert set(present.values()) == {"no"}
        assert list(present) == list(TABLES)
        _joined(tmp_path / "data")
        monkeypatch.setenv("TRAINLESS_DATA", str(tmp_path / "data"))
        assert _present("nasbench201") == f"files in {tmp_path / 'data'}"
        get_table("nasbench201", tmp_path / "data")
        assert _present("nasbench201") == "cache"

    @pytest.mark.data
    def test_the_real_data_has_all_of_them(self, real_data: Path) -> None:
        without_copies = {"transnas-micro", "nasbench-macro", "nasbench-nlp", "darts-swap"}
        assert {row["table"] for row in table_listing(real_data) if row["present"] == "no"} == without_copies


def _present(name: str) -> str:
    return str(next(row["present"] for row in table_listing() if row["table"] == name))
