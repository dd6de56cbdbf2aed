"""What a search keeps beside the scores, and that nothing else is mistaken for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sql

from trainless.errors import InputError, StoreError
from trainless.search.journal import Journal, is_kept
from trainless.store import Store
from trainless.types import Score

SETTINGS = {"strategy": "random", "seed": "0"}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "search.db") as opened:
        yield opened


class TestJournal:
    def test_what_is_repeated_keeps_its_time(self, store: Store) -> None:
        first = Journal(store, SETTINGS)
        assert first.add([("a", 0), ("b", 1)], 1.0) == [1, 1]
        assert first.add([("c", 1)], 3.0) == [3]
        again = Journal(store, SETTINGS, resume=True)
        assert again.seconds == 3
        assert again.add([("a", 0)], 10.0) == [1]
        # Another rung is another evaluation, and from where the history differs everything is new.
        assert again.is_repeating
        assert again.add([("b", 0), ("c", 1), ("d", 1)], 11.0) == [11, 11, 11]
        assert not again.is_repeating
        third = Journal(store, SETTINGS, resume=True)
        assert third.add([("a", 0), ("b", 0), ("c", 1), ("d", 1)], 99.0) == [1, 11, 11, 11]

    def test_begun_anew_it_forgets(self, store: Store) -> None:
        Journal(store, SETTINGS).add([("a", 0)], 1.0)
        anew = Journal(store, SETTINGS)
        assert anew.seconds == 0
        assert anew.add([("a", 0)], 5.0) == [5]

    def test_refuses_another_search_and_tells_what_differs(self, store: Store) -> None:
        Journal(store, SETTINGS)
        Journal(store, {"strategy": "grid", "seed": "7"})
        with pytest.raises(InputError, match=r"the nearest differs \(seed is '1', there '0'\)"):
            Journal(store, {"strategy": "random", "seed": "1"}, resume=True)

    def test_tells_whether_it_is_there(self, store: Store) -> None:
        assert not is_kept(store, SETTINGS)
        Journal(store, SETTINGS)
        assert is_kept(store, SETTINGS)
        assert not is_kept(store, {**SETTINGS, "seed": "1"})

    def test_resuming_nothing(self, store: Store) -> None:
        assert Journal(store, SETTINGS, resume=True).seconds == 0  # killed before it wrote anything
        with pytest.raises(InputError, match="without a store cannot be resumed"):
            Journal(None, SETTINGS, resume=True)
        assert Journal(None, SETTINGS).add([("a", 0)], 2.0) == [2]


class TestNotes:
    def test_nothing_is_there_before_the_first_note(self, store: Store, tmp_path: Path) -> None:
        store.forget("nothing")
        assert store.notes("nothing") == {}
        assert sql.inspect(sql.create_engine(f"sqlite:///{tmp_path / 'search.db'}")).get_table_names() == [
            "notes", "runs", "scores", "trainless_meta",
        ]  # fmt: skip

    def test_topics_are_kept_apart_and_scores_untouched(self, store: Store, tmp_path: Path) -> None:
        from trainless.store import Run

        store.write(Run("toy", "digits:00", 0, "batch=64"), [Score("a", "nwot", 1.5)], {"nwot": 1})
        store.note("one", {"x": 1, "y": float("inf")})
        store.note("two", {"x": [None, "é"]})
        store.note("none", {})
        store.forget("one")
        with Store(tmp_path / "search.db", create=False) as reader:
            assert reader.notes("one") == {}
            assert reader.notes("two") == {"x": [None, "é"]}
            assert reader.count() == 1
            with pytest.raises(StoreError, match="read-only"):
                reader.note("two", {"x": 2})
