"""A store on a real PostgreSQL server: several writers, a server that restarts, and what it refuses."""

from __future__ import annotations

import gc
import math
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from commands import CELLS

from trainless.errors import InputError, StoreError
from trainless.scoring import Scorer
from trainless.store import Run, Store, engine
from trainless.supernets.keeping import KeptState
from trainless.types import Score

if TYPE_CHECKING:
    from postgresql_server import Server

RUN = Run("toy", "digits:00", 0, "channels=16,batch=64")
PROXIES = ("nwot", "snip")


@pytest.fixture
def url(postgresql: Server) -> str:
    return postgresql.new_database()


# Writes the same scores as all others, in an order of its own, and notes of a topic that all share.
WRITER = """
import random, sys
from trainless.store import Run, Store
from trainless.types import Score
url, seed = sys.argv[1], int(sys.argv[2])
order = random.Random(seed)
with Store(url) as store:
    print("ready", flush=True)
    sys.stdin.readline()
    for batch in range(8):
        names = [f"{batch % 4}-{number}" for number in range(50)]
        order.shuffle(names)
        scores = [Score(name, proxy, float(seed)) for name in names for proxy in ("nwot", "snip")]
        failed = [Score(f"failed {name}", "nwot", float("nan"), "failed", str(seed)) for name in names]
        for number in order.sample(range(2), 2):
            store.write(Run("toy", "digits", number, ""), scores + failed, {"nwot": 1, "snip": 1})
        store.note("shared", {name: seed for name in names})
"""


@pytest.mark.slow
def test_processes_that_write_the_same_at_once(url: str) -> None:
    """Each makes the tables, writes the same keys in another order, and replaces what failed."""
    command = [sys.executable, "-W", "error", "-c", WRITER, url]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    writers = [subprocess.Popen([*command, str(seed)], **pipes) for seed in range(4)]  # type: ignore[call-overload]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        assert (writer.communicate(timeout=120)[1], writer.returncode) == ("", 0)
    with Store(url, create=False) as store:
        rows = store.rows()
        assert len(rows) == 2 * 4 * 50 * 3
        assert not rows.duplicated(["seed", "architecture", "proxy"]).any()
        assert sorted(run.seed for run in store.runs()) == [0, 1]
        assert len(store.notes("shared")) == 4 * 50
        assert store.check().faults == []


def test_what_is_learnt_is_kept_on_this_machine(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database has no folder beside it."""
    monkeypatch.setenv("TRAINLESS_CACHE", str(tmp_path / "caches"))
    with Store(url) as store:
        kept = KeptState(store, {"seed": "0"})
        assert kept.read() is None
        kept.write({"epochs": 3})
        assert KeptState(store, {"seed": "0"}).read() == {"epochs": 3}
        assert KeptState(store, {"seed": "1"}).read() is None
        (folder,) = (tmp_path / "caches" / "supernets").iterdir()
        assert len(list(folder.iterdir())) == 1
        monkeypatch.setenv("TRAINLESS_CACHE", str(next(folder.iterdir())))  # a file
        with pytest.raises(
            InputError, match=r"What is learnt cannot be kept in .*, or name another by TRAINLESS_CACHE"
        ):
            KeptState(store, {"seed": "0"}).write({"epochs": 3})


def test_no_writer_waits_for_one_that_waits_for_it(url: str, postgresql: Server) -> None:
    """Two that lock rows in opposite orders: the server would find a deadlock, and there is none."""
    names = [f"{number}" for number in range(300)]
    failed = [Score(name, "nwot", math.nan, "failed") for name in names]
    orders = (failed, failed[::-1])
    with Store(url) as store:
        store.write(RUN, failed, {"nwot": 1})

    def write(scores: list[Score]) -> None:
        with Store(url) as opened:
            for _ in range(15):
                opened.write(RUN, scores, {"nwot": 1})

    threads = [threading.Thread(target=write, args=[scores]) for scores in orders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    name = url.rpartition("/")[2]
    assert postgresql.run(f"SELECT deadlocks FROM pg_stat_database WHERE datname = '{name}'") == [(0,)]
    with Store(url) as store:
        assert store.rows()["architecture"].tolist() == names


def test_a_deadlock_is_tried_again(url: str, postgresql: Server) -> None:
    """Of two that lock tables in opposite orders one is told of a deadlock, and both are done in the end."""
    with Store(url) as store, Store(url) as other:
        met = threading.Barrier(2, timeout=10)

        def change(tables: tuple[str, str], database: engine.Database) -> None:
            tries = []

            def locked(connection: object) -> None:
                connection.exec_driver_sql(f"LOCK TABLE {tables[0]}")  # type: ignore[attr-defined]
                if not tries:
                    met.wait()
                tries.append(1)
                connection.exec_driver_sql(f"LOCK TABLE {tables[1]}")  # type: ignore[attr-defined]

            database.write(locked)

        thread = threading.Thread(target=change, args=[("runs", "notes"), other._database])
        thread.start()
        change(("notes", "runs"), store._database)
        thread.join(timeout=30)
        assert not thread.is_alive()
        name = url.rpartition("/")[2]
        assert postgresql.run(f"SELECT deadlocks FROM pg_stat_database WHERE datname = '{name}'") == [(1,)]


def test_what_nobody_closes_leaves_no_connection(url: str, postgresql: Server) -> None:
    Scorer("nasbench201(channels=2, cells=1)", "params", workers=0, store=url).score(CELLS[:1])
    gc.collect()
    query = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{url.rpartition('/')[2]}'"
    deadline = time.monotonic() + 10
    while postgresql.run(query) != [(0,)]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


class TestRestart:
    """The server is stopped as by a crash, and comes back on the same port."""

    @pytest.fixture
    def away(self, postgresql: Server) -> Iterator[Server]:
        yield postgresql
        if not postgresql.is_running:
            postgresql.start()

    def test_an_open_store_goes_on(self, url: str, away: Server) -> None:
        with Store(url) as store:
            store.write(RUN, [Score("a", "nwot", 1.0)], {"nwot": 1})
            for restart in range(2):
                away.stop()
                threading.Timer(1, away.start).start()
                if restart:
                    assert store.count() == 2
                else:
                    store.write(RUN, [Score("b", "nwot", 2.0)], {"nwot": 1})
            assert store.table(RUN)["nwot"].to_dict() == {"a": 1.0, "b": 2.0}

    def test_a_scorer_goes_on_in_mid_run(self, url: str, away: Server, tmp_path: Path) -> None:
        settings = {"space": "nasbench201(channels=2, cells=1)", "proxies": "params, nwot", "data": "digits"}
        settings |= {"batch_size": 8, "workers": 0}
        scorer = Scorer(**settings, store=url)
        restarted: list[threading.Thread] = []

        def restart(done: int, total: int) -> None:
            if done >= 3 and not restarted:
                away.stop()
                restarted.append(threading.Timer(1, away.start))
                restarted[0].start()

        table = scorer.score(CELLS[:8], restart)
        restarted[0].join()
        pd.testing.assert_frame_equal(table, Scorer(**settings, store=tmp_path / "scores.db").score(CELLS[:8]))
        assert scorer.store.count() == 16
        scorer.store.close()

    def test_one_that_stays_away_is_given_up(self, url: str, away: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(engine, "_PATIENCE_SECONDS", 0.5)
        with Store(url) as store:
            away.stop()
            begun = time.monotonic()
            with pytest.raises(StoreError, match="cannot be reached: check that the server runs") as caught:
                store.write(RUN, [Score("a", "nwot", 1.0)], {"nwot": 1})
            assert "\n" not in str(caught.value)
            assert time.monotonic() - begun > 0.2
            away.start()
            store.write(RUN, [Score("a", "nwot", 1.0)], {"nwot": 1})
            assert store.count() == 1

    def test_a_scorer_says_what_it_could_not_write(
        self, url: str, away: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(engine, "_PATIENCE_SECONDS", 0.3)
        with Store(url) as store:
            scorer = Scorer("nasbench201(channels=2, cells=1)", "params", workers=0, store=store)

            def stop(done: int, total: int) -> None:
                if done == 2:
                    away.stop()

            with pytest.raises(StoreError, match=r"cannot be reached: .*; 2 finished scores could not be written"):
                scorer.score(CELLS[:2], stop)


@pytest.fixture(scope="module")
def _guarded(postgresql: Server) -> None:
    postgresql.run("CREATE ROLE guarded LOGIN PASSWORD 'right'")


@pytest.mark.usefixtures("_guarded")
class TestWhatIsRefused:
    @pytest.mark.parametrize(
        ("place", "message"),
        [
            ("guarded:wr0ng@{host}/postgres", "refuses the user or the password"),
            ("guarded@{host}/postgres?password=wr0ng", "refuses the user or the password"),
            ("guarded@{host}/postgres", "refuses the user or the password"),
            ("nobody@{host}/postgres", "refuses the user, whom the server does not know"),
            ("postgres@{host}/nowhere", "is not there: make the database with `createdb NAME`"),
            ("postgres:wr0ng@127.0.0.1:1/postgres", "cannot be reached: check that the server runs"),
            ("postgres:wr0ng@nowhere.invalid/postgres", "cannot be reached: check that the server runs"),
        ],
    )
    def test_at_once_and_in_a_sentence(self, place: str, message: str, postgresql: Server) -> None:
        begun = time.monotonic()
        with pytest.raises(StoreError, match=message) as caught:
            Store("postgresql://" + place.format(host=f"127.0.0.1:{postgresql.port}"))
        assert "\n" not in str(caught.value)
        assert "wr0ng" not in str(caught.value)
        assert time.monotonic() - begun < 30

    def test_a_user_who_may_not_make_tables(self, url: str) -> None:
        with pytest.raises(StoreError, match="does not let this user do so"):
            Store(url.replace("postgres@", "guarded:right@"))

    def test_text_that_the_database_cannot_hold(self, url: str) -> None:
        with Store(url) as store, pytest.raises(StoreError, match="NUL"):
            store.write(RUN, [Score("a\0b", "nwot", 1.0)], {"nwot": 1})


class TestBest:
    def test_is_the_head_of_the_ordered_table(self, url: str, tmp_path: Path) -> None:
        values = [3.0, -0.0, math.inf, 7.5, 0.0, -2.0, math.nan, 7.5, -5e-324, 5e-324]
        scores = [
            Score(f"{number}", proxy, sign * value, "ok" if math.isfinite(value) else "not finite")
            for number, value in enumerate(values) for proxy, sign in (("nwot", 1), ("snip", -1))
        ]  # fmt: skip
        scores += [Score("x", "nwot", math.nan, "failed"), Score("x", "zen", 1.0)]
        for location in (url, tmp_path / "scores.db"):
            with Store(location) as store:
                store.write(RUN, scores, dict.fromkeys(("nwot", "snip", "zen"), 1))
                store.write(RUN, [Score("5", "nwot", 99.0), Score("1", "nwot", -0.0)], {"nwot": 2})
                store.write(Run("other", "t", 0, ""), [Score("0", "nwot", 1e9)], {"nwot": 1})
                table = store.table(RUN)
                for proxy, highest in (("nwot", True), ("snip", True), ("snip", False)):
                    everything = store.best(RUN, proxy, None, highest=highest)
                    assert set(everything.index) == set(table.index)
                    finite = everything[proxy].map(math.isfinite)
                    assert finite.tolist() == sorted(finite, reverse=True)
                    assert everything[proxy][finite].tolist() == sorted(table[proxy][lambda v: v.map(math.isfinite)],
                                                                        reverse=highest)  # fmt: skip
                    for count in (1, 3, 6, 9, len(table) + 1):
                        found = store.best(RUN, proxy, count, highest=highest)
                        pd.testing.assert_frame_equal(found[table.columns], everything.head(count))
                with pytest.raises(StoreError, match=r"no score of 'new', expected one of .*: nwot, snip, zen"):
                    store.best(RUN, "new", 3)
