"""What every store of scores has to hold to."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from trainless.store import Run, Store
from trainless.types import Score

__all__ = ["StoreContract"]

_RUN = Run("toy", "digits:00", 0, "channels=16,batch=64")
_VERSIONS = {"nwot": 1, "snip": 1}


class StoreContract:
    """What every store has to hold to; a subclass whose name starts with ``Test`` is collected by pytest.

    Attributes:
        open: opens the store that belongs to a folder, the same for the same folder; a static method of the subclass.
        writers: threads that write at once.

    Example:
        >>> import tempfile
        >>> class TestMine(StoreContract):
        ...     open = staticmethod(lambda folder: Store(folder / "scores.db"))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     TestMine().test_scores_come_back_to_the_last_bit(Path(folder))
    """

    open: Callable[[Path], Store]
    writers: int = 3

    def write(self, folder: Path, scores: Sequence[Score], run: Run = _RUN, version: int = 1) -> None:
        """Write scores in a store that is opened for this alone."""
        with self.open(folder) as store:
            store.write(run, scores, dict.fromkeys(_VERSIONS, version))

    def test_scores_come_back_to_the_last_bit(self, tmp_path: Path) -> None:
        """Infinities, NaN, the sign of zero and the smallest numbers included, in another connection too."""
        values = (math.inf, -math.inf, math.nan, -0.0, 0.0, 5e-324, -1.7976931348623157e308, 0.1, 2.0**53)
        texts = [f"cell {number}" for number in range(len(values))]
        scores = [
            Score(text, "nwot", value, "ok" if math.isfinite(value) else "not finite", "é, 'q'", 0.1, 2.5, 0.05)
            for text, value in zip(texts, values, strict=True)
        ]
        self.write(tmp_path, scores)
        with self.open(tmp_path) as store:
            rows, table = store.rows(_RUN), store.table(_RUN)["nwot"]
        assert rows["architecture"].tolist() == list(table.index) == texts, "not in the order of writing"
        for value, row, shown in zip(values, rows["value"], table, strict=True):
            assert _bits(value) == _bits(row) == _bits(shown), f"{value} came back as {row} and {shown}"
        first = rows.iloc[0]
        assert (first["status"], first["reason"]) == ("not finite", "é, 'q'")
        assert (first["seconds"], first["peak_memory"], first["spent"]) == (0.1, 2.5, 0.05)

    def test_a_score_is_written_once(self, tmp_path: Path) -> None:
        """What is there stays, unless it had failed; what failed is not finished."""
        failed = Score("b", "nwot", math.nan, "failed", "no memory")
        self.write(tmp_path, [Score("a", "nwot", 1.0), failed])
        self.write(tmp_path, [Score("a", "nwot", 2.0)])
        with self.open(tmp_path) as store:
            assert store.finished(_RUN, _VERSIONS) == {"a": {"nwot"}}, "what failed counts as finished"
        self.write(tmp_path, [Score("b", "nwot", 3.0), Score("b", "nwot", 4.0)])
        with self.open(tmp_path) as store:
            assert store.table(_RUN)["nwot"].to_dict() == {"a": 1.0, "b": 3.0}
            assert store.count() == 2

    def test_every_part_of_the_key_counts(self, tmp_path: Path) -> None:
        """Runs that differ in anything are apart, and so are versions of a proxy, of which the latest is shown."""
        others = (
            Run("other", _RUN.task, _RUN.seed, _RUN.fidelity),
            Run(_RUN.space, "other", _RUN.seed, _RUN.fidelity),
            Run(_RUN.space, _RUN.task, 2**63 - 1, _RUN.fidelity),
            Run(_RUN.space, _RUN.task, _RUN.seed, "x" * 3000 + "a"),
            Run(_RUN.space, _RUN.task, _RUN.seed, "x" * 3000 + "b"),
        )
        runs = (_RUN, *others)
        for number, run in enumerate(runs):
            self.write(tmp_path, [Score("a", "nwot", float(number))], run)
        self.write(tmp_path, [Score("a", "nwot", 99.0)], version=2)
        with self.open(tmp_path) as store:
            assert store.runs() == list(runs)
            assert [store.table(run).loc["a", "nwot"] for run in runs] == [99, 1, 2, 3, 4, 5]
            assert store.finished(_RUN, {"nwot": 1}) == store.finished(_RUN, {"nwot": 2}) == {"a": {"nwot"}}
            assert store.finished(_RUN, {"nwot": 3}) == {}

    def test_all_or_nothing(self, tmp_path: Path) -> None:
        """Of scores of which one cannot be written none is."""
        import pytest

        from trainless.errors import StoreError

        self.write(tmp_path, [Score("a", "nwot", 1.0)])
        with self.open(tmp_path) as store:
            for wrong in (Score("c", "unknown", 1.0), Score("c", "nwot", 1.0, seconds=None)):  # type: ignore[arg-type]
                with pytest.raises(StoreError) as caught:
                    store.write(_RUN, [Score("b", "nwot", 1.0), wrong], _VERSIONS)
                assert "\n" not in str(caught.value), "the message is more than a sentence"
            assert store.count() == 1

    def test_writers_wait_for_each_other(self, tmp_path: Path) -> None:
        """Threads that write the same keys at once leave each score once, and batches whole."""
        self.write(tmp_path, [Score("first", "nwot", -1.0)])

        def write(number: int) -> None:
            with self.open(tmp_path) as store:
                for batch in range(5):
                    scores = [Score(f"{batch}", proxy, float(number)) for proxy in _VERSIONS]
                    store.write(_RUN, scores, _VERSIONS)
                    store.note(f"writer {number}", {str(batch): number})

        with ThreadPoolExecutor(self.writers) as threads:
            list(threads.map(write, range(self.writers)))
        with self.open(tmp_path) as store:
            table = store.table(_RUN).drop(index="first")
            assert store.count() == 1 + 5 * len(_VERSIONS)
            assert (table["nwot"] == table["snip"]).all(), "a batch is of two writers"
            for number in range(self.writers):
                assert store.notes(f"writer {number}") == {str(batch): number for batch in range(5)}

    def test_notes_are_replaced_and_forgotten(self, tmp_path: Path) -> None:
        """Notes of a topic come in the order of writing; topics are apart, and names of any length."""
        long = "n" * 3000
        with self.open(tmp_path) as store:
            store.note("one", {"x": [1, None, {"y": math.inf}], long: "é"})
            store.note("two", {"x": 1})
            store.note("one", {"x": 2})
        with self.open(tmp_path) as store:
            assert list(store.notes("one").items()) == [(long, "é"), ("x", 2)]
            store.forget("one")
            assert (store.notes("one"), store.notes("two"), store.notes("three")) == ({}, {"x": 1}, {})


def _bits(value: float) -> bytes:
    return struct.pack("<d", math.nan if math.isnan(value) else value)
