"""The command line: what it prints, what it writes, and one sentence with exit code 2 for wrong input."""

from __future__ import annotations

import json
import math
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from trainless import cli
from trainless.aggregation import NAMED_AGGREGATES
from trainless.proxies import PROXIES, proxies
from trainless.scoring import Scorer
from trainless.search_spaces.mobile import Mobile
from trainless.search_spaces.nasbench201 import NASBench201
from trainless.store import Store
from trainless.types import Task

pytestmark = pytest.mark.slow

A1 = "|nor_conv_1x1~0|+|nor_conv_3x3~0|none~1|+|avg_pool_3x3~0|nor_conv_1x1~1|nor_conv_3x3~2|"
MOBILE = "k3e4d2w100-k5e3d1w75se-k3e6d4w50-k7e2d3w150-k5e6d2w100se"
SMALL = ["--data", "digits", "--space", "nasbench201(channels=4, cells=1)", "--workers", "0", "--batch-size", "16"]

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Run a command in an empty folder; give exit code, standard output and standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["trainless", *map(str, arguments)])
        try:
            cli.main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def document(result: tuple[int, str, str]) -> Any:
    """The one JSON document on standard output, with nothing beside it."""
    assert result[0] == 0, result[2]
    return json.loads(result[1])


def test_spaces_and_proxies_are_listed(run: Run) -> None:
    assert document(run("spaces", "--json"))[0] | {"summary": ""} == {
        "space": "nasbench201", "architectures": 15625, "options": "channels=16, cells=5", "summary": "",
    }  # fmt: skip
    rows = {row["proxy"]: row for row in document(run("proxies", "--json"))}
    assert set(rows) == {*PROXIES, *NAMED_AGGREGATES}
    assert {row["kind"] for row in rows.values()} == {"data-independent", "data-dependent", "mix"}
    assert {name for name, row in rows.items() if row["kind"] == "mix"} == set(NAMED_AGGREGATES)
    assert [name for name, row in rows.items() if row["better"] == "lower"] == [
        "plain", "ntk_condition", "ntk_condition:published",
    ]  # fmt: skip
    # The thesis's table 5.1, with what counts beside it.
    independent = {name for name, row in rows.items() if row["kind"] == "data-independent" and ":" not in name}
    assert independent == {
        "params", "flops", "synflow", "logsynflow", "zen", "l2_norm", "linear_regions", "skipped_layers",
        "trainable_layers", "vkdnw_dimension",
    }  # fmt: skip
    assert {row["space"]: row["options"] for row in document(run("spaces", "--json"))} == {
        "nasbench201": "channels=16, cells=5", "nasbench101": "channels=128, cells=3", "nats_size": "unit=8",
        "darts": "channels=32, layers=8, affine=1, pool_norm=0, none=0", "nasbench_asr": "width=100",
        "nasbench_nlp": "width=100, layers=3",
        "chain": "unit=8", "mlp": "unit=8", "autoformer": "unit=8", "hierarchical": "channels=16",
        "nasbench_macro": "width=32", "transnas_macro": "channels=64, head=classification",
        "transnas_micro": "channels=64, head=classification",
        "mobile": "width=16, depth=4", "convnet": "unit=8", "pretrained": "backbone=all",
    }  # fmt: skip
    code, out, _ = run("proxies")
    assert code == 0
    assert "Mellor et al." in out
    assert "nasbench201" in run("spaces")[1]


def test_describe(run: Run) -> None:
    facts = document(run("describe", A1, "--json"))
    assert facts["parameters"] == 615_386
    assert facts["flops"] == 86_426_240
    assert facts["architecture"] == A1
    assert facts["canonical_flops"] == facts["flops"]  # nothing of it is dead
    assert facts["index"] == NASBench201().index(NASBench201().parse(A1))
    text = run("describe", A1)[1]
    assert "615,386" in text
    assert "nor_conv_3x3" in text.split("canonical flops")[1]  # the drawing
    grey = document(run("describe", A1, "--json", "--image-channels", 1, "--classes", 2))
    assert grey["parameters"] == 615_386 - 2 * 16 * 9 - 8 * 65


def test_score_stores_and_prints(run: Run, tmp_path: Path) -> None:
    names = "params,nwot,jacov"
    found = document(run("score", *SMALL, "--proxies", names, "--sample", 5, "--json"))
    assert [len(row) for row in found["scores"]] == [4] * 5
    assert found["failures"] == []
    assert found["protocol"]["seed"] == "0"
    assert "fingerprint" in found["protocol"]["data"]
    expected = Scorer(
        NASBench201(4, 1), names, "digits", batch_size=16, workers=0
    ).score([row["architecture"] for row in found["scores"]])  # fmt: skip
    for row in found["scores"]:
        assert [float(row[name]) for name in names.split(",")] == pytest.approx(
            expected.loc[row["architecture"]].tolist(), rel=0, abs=0, nan_ok=True
        )
    with Store(tmp_path / "scores.db", create=False) as store:
        assert store.count() == 15
    code, out, err = run("score", *SMALL, "--proxies", names, "--sample", 5)
    assert (code, err) == (0, "")
    assert "5 architectures in" in out
    assert "normalisation: mean 0.30" in out


def test_larger_sample_begins_with_the_smaller(run: Run) -> None:
    three, five = (
        document(run("score", *SMALL, "--proxies", "params", "--sample", n, "--json"))["scores"] for n in (3, 5)
    )
    assert five[:3] == three
    other = document(run("score", *SMALL, "--proxies", "params", "--sample", 3, "--seed", 1, "--json"))["scores"]
    assert other != three


def test_a_space_too_large_to_list(run: Run, tmp_path: Path) -> None:
    small = ["--space", "mobile(width=4, depth=2)"]
    facts = document(run("describe", MOBILE, *small, "--json"))
    assert facts["parameters"] == Mobile(4, 2).parameters(Mobile().parse(MOBILE), Task("cifar10", 10))
    asked = ["score", *small, "--data", "digits", "--workers", 0, "--proxies", "params,nwot", "--json"]
    three, five = (document(run(*asked, "--sample", n))["scores"] for n in (3, 5))
    assert five[:3] == three
    assert len({row["architecture"] for row in five}) == 5
    searching = ["search", *small, "--data", "digits", "--workers", 0, "--strategy", "local", "--score", "nwot"]
    found = document(run(*searching, "--budget", 6, "--out", "page.html", "--json"))
    assert found["evaluations"] == 6
    drawn = (tmp_path / "page.html").read_text(encoding="utf-8").split('id="cell-data">')[1].partition("</script>")[0]
    names = [trace["text"][0] for trace in json.loads(drawn)["data"] if trace["mode"] == "text"]
    assert len(names) == 7
    assert names[0] == "4 channels<br>3×3 conv"


def test_score_reads_a_file_of_architectures(run: Run, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(f"# two\n{A1}\n\n  {A1.replace('1x1', '3x3')}\n")
    rows = document(run("score", *SMALL, "--proxies", "flops", "--architectures", "list.txt", "--json"))["scores"]
    assert [row["architecture"] for row in rows] == [A1, A1.replace("1x1", "3x3")]


@pytest.mark.slow
def test_whole_space(run: Run) -> None:
    found = document(run("score", "--data", "digits", "--workers", 0, "--proxies", "skipped_layers", "--all", "--json"))
    assert len(found["scores"]) == 15_625
    assert max(row["skipped_layers"] for row in found["scores"]) == 3


def test_show_orders_cuts_and_exports(run: Run, tmp_path: Path) -> None:
    run("score", *SMALL, "--proxies", "nwot,plain", "--sample", 40)
    everything = document(run("show", "scores.db", "--json"))
    best = document(run("show", "scores.db", "--top", 7, "--by", "nwot", "--json"))
    values = sorted((float(row["nwot"]) for row in everything), reverse=True)
    assert [float(row["nwot"]) for row in best] == values[:7]
    assert list(best[0]) == ["architecture", "plain", "nwot"]  # in the order of `trainless proxies`
    assert -math.inf in values  # a cell without a path: shown, and last
    lowest = document(run("show", "scores.db", "--by", "plain", "--json"))
    assert [row["plain"] for row in lowest] == sorted(row["plain"] for row in everything)  # lower is better
    assert run("show", "scores.db", "--csv", "out.csv", "--parquet", "out.parquet") == (0, "", "")
    for table in (pd.read_csv(tmp_path / "out.csv"), pd.read_parquet(tmp_path / "out.parquet").reset_index()):
        assert table["architecture"].tolist() == [row["architecture"] for row in everything]
        assert table["nwot"].tolist() == [float(row["nwot"]) for row in everything]
    out = run("show", "scores.db")[1]
    assert "... and 20 more" in out


def test_an_aggregation_by_a_reference_sample(run: Run) -> None:
    sample = document(run("score", *SMALL, "--proxies", "flops_nwot,robust", "--sample", 8, "--json"))["scores"]
    mix = ("--proxies", "robust")
    code, out, _ = run("score", *SMALL, *mix, "--sample", 8, "--save-reference", "ref.json")
    assert code == 0
    assert "Reference of robust: ref.json, for `--reference ref.json` with the same options." in out
    Path("one.txt").write_text(sample[3]["architecture"] + "\n")
    (alone,) = document(
        run("score", *SMALL, *mix, "--architectures", "one.txt", "--reference", "ref.json", "--json")
    )["scores"]  # fmt: skip
    assert alone["robust"] == sample[3]["robust"]
    by = document(run("show", "scores.db", "--by", "robust", "--json"))
    assert [row["robust"] for row in by] == sorted((row["robust"] for row in sample), reverse=True)
    two = run("score", *SMALL, "--proxies", "robust,az_nas", "--sample", 8, "--save-reference", "ref.json")
    assert two[0] == 2
    assert "--save-reference is for one aggregation, and --proxies names robust, az_nas" in two[2]
    other = run("score", *SMALL, *mix, "--sample", 8, "--seed", 1, "--reference", "ref.json")
    assert other[0] == 2
    assert "score both alike, or make another reference" in other[2]


def test_show_asks_which_of_several_runs(run: Run) -> None:
    for seed in (0, 1):
        run("score", *SMALL, "--proxies", "params", "--sample", 2, "--seed", seed)
    code, out, err = run("show", "scores.db")
    assert (code, out) == (2, "")
    assert "2 runs" in err
    assert len(document(run("show", "scores.db", "--run", 2, "--json"))) == 2
    assert run("show", "scores.db", "--run", 3)[0] == 2


def test_failed_architectures_give_exit_code_1(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def build(self: NASBench201, architecture: Any, task: Any) -> Any:
        raise RuntimeError("out of order")

    monkeypatch.setattr(NASBench201, "build", build)
    code, out, err = run("score", *SMALL, "--proxies", "params,snip", "--sample", 1, "--json")
    assert code == 1
    found = json.loads(out)
    assert [(f["proxy"], f["reason"]) for f in found["failures"]] == [("snip", "RuntimeError: out of order")]
    assert found["scores"][0]["snip"] == "nan"
    assert found["scores"][0]["params"] > 0
    code, out, err = run("score", *SMALL, "--proxies", "snip", "--sample", 1)
    assert code == 1
    assert "failed: |" in err


def test_data_is_found_where_the_environment_says(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image

    for number in range(8):
        folder = tmp_path / "elsewhere" / "pictures" / f"class{number % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (30 * number, 0, 90)).save(folder / f"{number}.png")
    arguments = ("score", "--data", "pictures", "--proxies", "params", "--sample", 1, "--batch-size", 4, "--json")
    assert run(*arguments)[0] == 2
    monkeypatch.setenv("TRAINLESS_DATA", str(tmp_path / "elsewhere"))
    assert "pictures, batch of 4" in document(run(*arguments))["protocol"]["data"]


@pytest.mark.slow
def test_quickstart_fits_a_network_and_ranks_by_the_hybrid(run: Run, tmp_path: Path) -> None:
    found = document(run("quickstart", "--time", "10s", "--sample", 6, "--out", "report", "--workers", 0, "--json"))
    assert Path(found["fit"]["files"]["onnx"]).parent == Path("report/run")
    # How much a network learns in ten seconds depends on the machine; that what is said was found does not.
    facts = json.loads(Path("report/run/fit.json").read_text())
    assert found["fit"]["test_accuracy"] == facts["test_accuracy"]
    right = facts["test_accuracy"] * facts["test_images"]
    assert right == pytest.approx(round(right), abs=1e-6)
    assert facts["test_accuracy_low"] <= facts["test_accuracy"] <= facts["test_accuracy_high"]
    rows = found["ranking"]
    assert [row["rank"] for row in rows] == [1, 2, 3, 4, 5, 6]
    most = {name: max(float(row[name]) for row in rows) for name in ("logsynflow", "nwot")}
    for row in rows:
        din, ddn = (float(row[name]) / most[name] for name in ("logsynflow", "nwot"))
        expected = 0.5 * din + 1.5 * ddn if din <= ddn else din
        assert float(row["hybrid"]) == pytest.approx(expected)
        assert row["parameters"] > 70_000
    hybrids = [float(row["hybrid"]) for row in rows]
    assert hybrids == sorted(hybrids, reverse=True)
    assert {row["proxy"] for row in found["costs"]} == {record.name for record in proxies("all")}
    page = Path(found["page"]).read_text()
    assert rows[0]["architecture"] in page
    assert Path(found["picture"]).read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in (tmp_path / "report").iterdir()) == [
        "quickstart.html", "quickstart.png", "run", "scores.db",
    ]  # fmt: skip
    again = document(run("quickstart", "--time", "10s", "--sample", 6, "--out", "report", "--workers", 0, "--json"))
    assert again["ranking"] == rows


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["describe", "foo"], "'foo' is no architecture of nasbench201"),
        (["describe", A1, "--space", "enas"], "There is no search space 'enas'"),
        (["describe", A1, "--space", "nasbench201(channels=0)"], "channels"),
        (
            ["describe", A1, "--channels", "4", "--cells=1"],
            "with its name now: --space 'nasbench201(channels=4, cells=1)'",
        ),
        (["describe", A1, "--space=nasbench201(2)", "--cells", "1"], "--space 'nasbench201(channels=2, cells=1)'"),
        (
            ["latency", MOBILE, "--depth", "2", "--space", "mobile"],
            "--depth: the size of a search space stands with its",
        ),
        (["describe", A1, "--width", "8"], "'nasbench201' has no option 'width', expected one of channels, cells"),
        (["latency", MOBILE, "--space", "mobile", "--cells", "2"], "'mobile' has no option 'cells'"),
        (["score", "--data", "digits", "--space", "mobile", "--all"], "--all would score 8,349,416,423,424"),
        (["score", "--data", "digits", "--space", "mobile", "--sample", "1000001"], "expected at most 1,000,000"),
        (["describe", A1, "--classes", "0"], "--classes is 0, expected at least 1"),
        (["score", "--data", "digits"], "exactly one of --architectures FILE, --sample N and --all"),
        (["score", "--data", "digits", "--all", "--sample", "3"], "exactly one of"),
        (["score", "--data", "digits", "--sample", "0"], "--sample is 0, expected 1 to 15625"),
        (["score", "--data", "digits", "--sample", "99999"], "--sample is 99999"),
        (["score", "--data", "nowhere", "--sample", "3"], "nowhere"),
        (["score", "--data", "digits", "--sample", "3", "--proxies", "nwott"], "did you mean 'nwot'"),
        (["score", "--data", "digits", "--sample", "3", "--batch-size", "5000"], "5000"),
        (["score", "--data", "digits", "--sample", "3", "--seed", "-1"], "seed"),
        (["score", "--data", "digits", "--sample", "3", "--dtype", "half"], "dtype is 'half'"),
        (["score", "--data", "digits", "--sample", "3", "--workers", "-1"], "workers is -1"),
        (["score", "--data", "digits", "--sample", "3", "--timeout", "never"], "time is 'never', expected one above 0"),
        (["score", "--data", "digits", "--sample", "3", "--memory-limit", "lots"], "--memory-limit is 'lots'"),
        (["score", "--data", "digits", "--sample", "3", "--memory-limit", "1MB"], "expected at least 524,288,000"),
        (["score", "--data", "digits", "--sample", "3", "--store", "no/such/folder.db"], "no/such"),
        (["score", "--data", "digits", "--architectures", "missing.txt"], "missing.txt cannot be read"),
        (["show", "missing.db"], "missing.db"),
        (["show", "list.txt"], "list.txt"),
        (["quickstart", "--out", "list.txt"], "list.txt"),
        (["quickstart", "--sample", "0"], "--sample is 0"),
    ],
)
def test_wrong_input_gives_one_sentence_and_exit_code_2(
    run: Run, tmp_path: Path, arguments: list[str], message: str
) -> None:
    (tmp_path / "list.txt").write_text("not an architecture, and not a database either: " + "x" * 100)
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("trainless: ")
    assert message in err
    assert err.count("\n") == 1


def test_wrong_line_of_a_file_is_named(run: Run, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(f"{A1}\n|bad~0|\n")
    code, _, err = run("score", "--data", "digits", "--architectures", "list.txt")
    assert code == 2
    assert "list.txt, line 2" in err
    (tmp_path / "list.txt").write_text("# nothing\n")
    assert "holds no architecture" in run("score", "--data", "digits", "--architectures", "list.txt")[2]


@pytest.mark.parametrize("arguments", [["score"], ["nonsense"], ["score", "--data", "digits", "--sample", "many"]])
def test_usage_errors_exit_with_2_and_no_traceback(run: Run, arguments: list[str]) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert "Traceback" not in err
    assert err


def test_version_and_help(run: Run) -> None:
    from importlib.metadata import version

    assert run("--version")[1].strip() == version("trainless")
    assert "quickstart" in run("--help")[1]


class TestNarrowTables:
    ROW: Final = {"proxy": "log-rank(jacov, nwot)", "kendall": 0.66123, "note": "a few words " * 5, "regret": 1.5}

    def printed(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int | None) -> str:
        from trainless.terminal import print_rows

        monkeypatch.delenv("COLUMNS", raising=False)
        if width is not None:
            monkeypatch.setenv("COLUMNS", str(width))
        print_rows([dict(self.ROW)])
        return capsys.readouterr().out

    def test_names_and_numbers_are_never_cut(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        out = self.printed(monkeypatch, capsys, 40)
        assert "log-rank(jacov, nwot)" in out
        assert "0.66123" in out
        assert "Too narrow for note, regret" in " ".join(out.split())

    def test_text_is_wrapped_before_a_column_is_left_out(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        out = self.printed(monkeypatch, capsys, 60)
        assert "regret" in out
        assert "Too narrow" not in out
        assert all(len(line) <= 60 for line in out.splitlines())

    def test_all_of_it_where_nobody_says_how_wide(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert ("a few words " * 5).strip() in self.printed(monkeypatch, capsys, None)


@pytest.mark.parametrize(
    "words",
    [("score", "--sample", 2, "--proxies", "params"), ("search", "--score", "params", "--budget", 2)],
)
def test_what_is_no_part_of_the_data_is_told_once(run: Run, tmp_path: Path, words: tuple[object, ...]) -> None:
    for name in ("cat/1.png", "dog/11.png", "@eaDir/1.png"):
        path = tmp_path / "pets" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(len(name)).integers(0, 256, (8, 8), np.uint8)).save(path)
    (tmp_path / "pets" / "empty").mkdir()
    (tmp_path / "pets" / "cat" / "2.png").symlink_to(tmp_path / "gone.png")
    (tmp_path / "pets" / "dog" / "2.psd").touch()
    store = tmp_path / "scores.db"
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        code, _, err = run(
            *words, "--data", tmp_path / "pets", "--image-size", 8, "--batch-size", 2, "--workers", 0, "--store", store,
        )  # fmt: skip
    assert code == 0, err
    assert err.count("Left out of 'pets': ") == 1
    for reason in ("1 system folder(s): @eaDir", "1 class folder(s) without an image that is read: empty",
                   "1 link(s) to nowhere: cat/2.png", "1 .psd image(s), which are not read"):  # fmt: skip
        assert reason in err
