"""The commands about stores: what they print, and that no password is among it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from commands import SCORES, Command, interrupt, write_store

from trainless.store import Store

if TYPE_CHECKING:
    from postgresql_server import Server


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    write_store(tmp_path / "scores.db")
    return Command(monkeypatch, capsys)


def test_copy_to_a_server_and_back(run: Command, postgresql: Server) -> None:
    url = postgresql.new_database().replace("postgres@", "postgres:secret@")
    copied = run.document("store", "copy", "scores.db", url)
    assert copied["to"].startswith("postgresql+psycopg://postgres:***@127.0.0.1:")
    assert [copied[f"scores {what}"] for what in ("copied", "there before")] == [SCORES.size, 0]
    code, out, err = run("store", "copy", url, "again.db")
    assert (code, err) == (0, "")
    assert "secret" not in out
    assert run.document("store", "copy", url, "again.db")["scores there before"] == SCORES.size
    shown = [run.document("show", store, "--top", 5, "--by", "nwot") for store in ("scores.db", url, "again.db")]
    assert shown[0] == shown[1] == shown[2]
    assert [row["nwot"] for row in shown[0]] == sorted(SCORES["nwot"], reverse=True)[:5]
    scored = run("score", "--data", "digits", "--sample", 1, "--proxies", "params", "--workers", 0, "--store", url)
    assert (scored[0], "stored in postgresql+psycopg://postgres:***@" in scored[1]) == (0, True)
    assert "secret" not in str([scored, run("store", "stats", url), run("store", "check", url)])


def test_an_interrupted_copy_tells_how_to_go_on(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Store, "copy_from", interrupt)
    code, out, err = run("store", "copy", "scores.db", "copy.db")
    assert (code, out) == (130, "")
    assert err == "trainless: interrupted. What was copied stays: run the same command again to go on.\n"


def test_check_and_stats(run: Command) -> None:
    checked = run.document("store", "check", "scores.db")
    assert (checked["scores"], checked["faults"], checked["spaces"], checked["proxies"]) == (SCORES.size, [], [], [])
    assert "Nothing is wrong." in run("store", "check", "scores.db")[1]
    stats = run.document("store", "stats", "scores.db")
    assert (stats["scores"], stats["runs"], stats["architectures"]) == (SCORES.size, 1, {"nasbench201": 24})
    assert stats["size"] == Path("scores.db").stat().st_size
    out = run("store", "stats", "scores.db")[1]
    assert "architectures: 24 of nasbench201" in out
    with closing(sqlite3.connect("scores.db")) as connection, connection:
        connection.execute("UPDATE scores SET proxy = 'mine' WHERE id = 1")
    code, out, err = run("store", "check", "scores.db")
    assert (code, err) == (1, "")
    assert "wrong: 1 scores with a wrong hash" in out
    assert "proxies that trainless does not know: mine" in out


@pytest.mark.parametrize(
    "command", [["copy", "missing.db", "new.db"], ["check", "missing.db"], ["stats", "missing.db"]]
)
def test_a_store_that_is_not_there(run: Command, command: list[str]) -> None:
    assert "There is no store 'missing.db'" in run.refusal("store", *command)
    assert not Path("new.db").exists()
