"""The commands about public benchmarks: tables, tables get, and scores import."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import SCORES, TRUTH, Command, interrupt, write_store, write_tables
from scipy.stats import kendalltau

from trainless import tables
from trainless.store import Store
from trainless.tables import PUBLISHED, TABLES, library, read_table

pytestmark = pytest.mark.slow

# NASLib's form of two cells and of what it publishes: operation codes, and -1e8 for what is not finite.
NASLIB = """net,synflow,nwot,params
"(4, 0, 3, 1, 4, 3)",2.5,700.5,0.615386
"(2, 2, 2, 2, 2, 2)",-100000000.0,800.25,1.532
"(1, 1, 1, 1, 1, 2)",1.5,600.0,0.1
"""
NASLIB_CELLS = [
    "|avg_pool_3x3~0|+|skip_connect~0|none~1|+|nor_conv_1x1~0|avg_pool_3x3~1|nor_conv_1x1~2|",
    "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|",
    "|none~0|+|none~0|none~1|+|none~0|none~1|nor_conv_3x3~2|",
]
NASLIB_FILE = Path("nb201-published-proxies", "cifar10.csv")


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, small_tables: None
) -> Command:
    """Run commands in a folder with toy tables and published scores, where nothing of the machine is seen."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TRAINLESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TRAINLESS_MIRROR", "http://127.0.0.1:9")  # nothing is ever fetched from anywhere else
    monkeypatch.delenv("TRAINLESS_DATA", raising=False)
    write_tables(tmp_path)
    (tmp_path / "public" / NASLIB_FILE.parent).mkdir(parents=True)
    (tmp_path / "public" / NASLIB_FILE).write_text(NASLIB)
    return Command(monkeypatch, capsys)


class TestTables:
    def test_lists_all_there_are(self, run: Command) -> None:
        rows = run.document("tables")
        assert [row["table"] for row in rows] == list(TABLES)
        assert {tuple(row) for row in rows} == {("table", "space", "holds", "present", "get", "origin", "licence")}
        assert {row["present"] for row in rows} == {"no"}
        assert {row["get"] for row in rows} == {"download or import", "import"}
        code, out, err = run("tables")
        assert (code, err) == (0, "")
        assert all(name in out for name in TABLES)

    def test_tells_what_is_present(self, run: Command, tmp_path: Path) -> None:
        run("tables", "get", "nasbench201", "--from", "toy.csv")
        (tmp_path / "data" / "tables").mkdir(parents=True)
        shutil.copy(tmp_path / "toy.csv", tmp_path / "data" / "tables" / "nasbench201.csv.gz")
        found = {row["table"]: row["present"] for row in run.document("tables")}
        assert found.pop("nasbench201") == "cache"
        assert set(found.values()) == {"no"}
        named = {row["table"]: row["present"] for row in run.document("tables", "--data", "data")}
        assert named["nasbench201"] == "files in data"


class TestGet:
    def test_imports_a_local_file(self, run: Command, tmp_path: Path) -> None:
        facts = run.document("tables", "get", "nasbench201", "--from", "toy.csv")
        path = tmp_path / "cache" / "tables" / "nasbench201-2.parquet"
        assert facts == {
            "table": "nasbench201", "architectures": 24, "data sets": "cifar10", "file": str(path),
        }  # fmt: skip
        table = read_table(path)
        assert table.space == "nasbench201"
        assert table.accuracies("cifar10", "test").to_dict() == TRUTH.to_dict()
        code, out, err = run("tables", "get", "nasbench201", "--from", "toy.csv")
        assert (code, err) == (0, "")
        assert "nasbench201-2.parquet" in out

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["nasbench202"], "There is no table 'nasbench202': did you mean 'nasbench201'?"),
            (["nasbench201", "--from", "no.csv"], "There is no file or folder 'no.csv'"),
            (
                ["nasbench201", "--from", "other.csv"],
                "'other.csv' holds architectures of nats_size, expected nasbench2",
            ),
            (["nasbench201", "--from", "public"], "'public' lacks nats-tss-freerea/cifar10/accuracies.csv"),
            (["nasbench201", "--from", "notes.txt"], "'notes.txt' does not make the table 'nasbench201' by itself"),
            (["nasbench101", "--from", "broken.npz"], "broken.npz"),
            (["nats-sss"], "import a local copy (NATS-Bench) with `trainless tables get nats-sss --from PATH`"),
            (["nasbench201"], "http://127.0.0.1:9"),
        ],
    )
    def test_wrong_input_leaves_the_earlier_copy(
        self, run: Command, tmp_path: Path, arguments: list[str], message: str
    ) -> None:
        run("tables", "get", "nasbench201", "--from", "toy.csv")
        (tmp_path / "notes.txt").write_text("no table")
        (tmp_path / "broken.npz").write_bytes(b"no archive")
        assert message in run.refusal("tables", "get", *arguments)
        files = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
        assert [path.name for path in files] == ["nasbench201-2.parquet"]
        assert len(read_table(files[0]).frame) == 24

    def test_a_cache_that_cannot_be_made(self, run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TRAINLESS_CACHE", str(tmp_path / "toy.csv"))
        assert "cannot be written" in run.refusal("tables", "get", "nasbench201", "--from", "two.csv")

    def test_the_name_is_needed(self, run: Command) -> None:
        code, out, err = run("tables", "get")
        assert (code, out) == (2, "")
        assert "Traceback" not in err

    def test_interrupted(self, run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(library, "_imported", interrupt)
        code, out, err = run("tables", "get", "nasbench201", "--from", "toy.csv")
        assert (code, out) == (130, "")
        assert err == "trainless: interrupted. Nothing half-finished was kept: run the same command again.\n"


class TestImport:
    def test_without_a_name_all_are_listed(self, run: Command, tmp_path: Path) -> None:
        rows = run.document("scores", "import")
        assert {row["scores"]: row["summary"] for row in rows} == PUBLISHED
        assert "freerea.cifar10" in run("scores", "import")[1]
        assert not (tmp_path / "scores.db").exists()

    def test_scores_become_a_run_with_their_origin(self, run: Command, tmp_path: Path) -> None:
        facts = run.document("scores", "import", "naslib.cifar10", "--data", "public", "--store", "others.db")
        assert facts == {
            "scores": "naslib.cifar10", "architectures": 3, "proxies": "synflow:log, nwot, params",
            "origin": facts["origin"], "store": "others.db", "run": 1,
        }  # fmt: skip
        assert "commit 25397a44" in facts["origin"]
        with Store(tmp_path / "others.db", create=False) as store:
            (only,) = store.runs()
            table = store.table()
        assert (only.space, only.task, only.fidelity) == (
            "nasbench201", "cifar10:published", f"origin={facts['origin']}",
        )  # fmt: skip
        assert table["nwot"].to_dict() == dict(zip(NASLIB_CELLS, [700.5, 800.25, 600.0], strict=True))
        assert table["params"].tolist() == [615_386, 1_532_000, 100_000]
        assert table["synflow:log"].tolist()[::2] == [2.5, 1.5]
        assert table.loc[NASLIB_CELLS[1], "synflow:log"] == -np.inf

    def test_twice_is_once_and_beside_own_scores(self, run: Command, tmp_path: Path) -> None:
        write_store(tmp_path / "scores.db")
        arguments = ("scores", "import", "naslib.cifar10", "--data", "public")
        assert [run.document(*arguments)["run"] for _ in range(2)] == [2, 2]
        code, out, err = run(*arguments)
        assert (code, err) == (0, "")
        assert "NASLib" in out
        with Store(tmp_path / "scores.db", create=False) as store:
            assert store.count() == SCORES.size + 9

    def test_imported_scores_are_evaluated_like_others(self, run: Command) -> None:
        truth = pd.Series([84.0, 94.0, 10.0], index=pd.Index(NASLIB_CELLS, name="architecture"))
        pd.DataFrame({"cifar10.test": truth}).to_csv("three.csv")
        run("scores", "import", "naslib.cifar10", "--data", "public")
        found = run.document(
            "evaluate", "scores.db", "--table", "three.csv", "--split", "test", "--proxies", "nwot,params",
            "--resamples", 0, "--top", 1,
        )  # fmt: skip
        rows = {row["proxy"]: row for row in found["proxies"]}
        assert rows["nwot"]["kendall"] == pytest.approx(kendalltau([700.5, 800.25, 600.0], truth).statistic)
        assert rows["params"]["argmax_accuracy"] == 94
        assert "published" in found["protocol"]["scores"]
        assert "25397a44" in found["protocol"]["fidelity"]

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["naslib.cifar11"], "no set of published scores 'naslib.cifar11': did you mean 'naslib.cifar10'?"),
            (["freerea.cifar10", "--data", "public"], "The file nats-tss-freerea/cifar10/logsynflow.csv of the publi"),
            (["naslib.cifar10", "--data", "nowhere"], "not in 'nowhere': `trainless scores import naslib.cifar10` dow"),
            (["naslib.cifar10", "--data", "damaged"], "expected 'net' or 'index' among them"),
            (["naslib.cifar10", "--data", "public", "--store", "no/such.db"], "'no', which is no folder"),
            (["naslib.cifar10", "--data", "public", "--store", "toy.csv"], "'toy.csv' is no SQLite database"),
            (["naslib.cifar10"], "http://127.0.0.1:9"),
        ],
    )
    def test_wrong_input(self, run: Command, tmp_path: Path, arguments: list[str], message: str) -> None:
        (tmp_path / "damaged" / NASLIB_FILE.parent).mkdir(parents=True)
        (tmp_path / "damaged" / NASLIB_FILE).write_text("cell,nwot\na,1\n")
        assert message in run.refusal("scores", "import", *arguments)
        assert not (tmp_path / "scores.db").exists()

    def test_interrupted(self, run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tables, "published_scores", interrupt)
        code, out, err = run("scores", "import", "naslib.cifar10")
        assert (code, out) == (130, "")
        assert err == "trainless: interrupted. What was fetched is kept: run the same command again.\n"
        assert not (tmp_path / "scores.db").exists()
