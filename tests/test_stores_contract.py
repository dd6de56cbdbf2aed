"""Every kind of store holds to the contract, and the contract finds what breaks it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from trainless.store import Run, Store, queries
from trainless.testing import StoreContract
from trainless.types import Score

if TYPE_CHECKING:
    from postgresql_server import Server


class TestFile(StoreContract):
    open = staticmethod(lambda folder: Store(folder / "scores.db"))


class TestURLOfAFile(StoreContract):
    open = staticmethod(lambda folder: Store(f"sqlite:///{folder / 'scores.db'}"))


class TestURLWithOptions(StoreContract):
    """As any database behind a URL: without what is done for files alone."""

    open = staticmethod(lambda folder: Store(f"sqlite:///{folder / 'scores.db'}?timeout=60"))


class TestPostgreSQL(StoreContract):
    @pytest.fixture(autouse=True)
    def _new_database(self, postgresql: Server) -> None:
        url = postgresql.new_database()
        self.open = lambda folder: Store(url)  # type: ignore[method-assign]


class TestWithoutUpserts(StoreContract):
    """The statements for databases that have none."""

    open = staticmethod(lambda folder: Store(folder / "scores.db"))

    @pytest.fixture(autouse=True)
    def _any_database(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(queries, "_UPSERTS", {})


class Rounding(Store):
    """Keeps numbers in single precision."""

    def write(self, run: Run, scores: Iterable[Score], versions: Mapping[str, int]) -> None:
        import numpy as np

        rounded = [Score(s.architecture, s.proxy, float(np.float32(s.value)), s.status, s.reason) for s in scores]
        super().write(run, rounded, versions)


class Overwriting(Store):
    """Writes one by one, over what is there."""

    def write(self, run: Run, scores: Iterable[Score], versions: Mapping[str, int]) -> None:
        for score in scores:
            if score.proxy in versions:
                self._write(lambda connection: connection.exec_driver_sql("DELETE FROM scores"))
            super().write(run, [score], versions)


@pytest.mark.parametrize(
    ("kind", "test"),
    [
        (Rounding, StoreContract.test_scores_come_back_to_the_last_bit),
        (Overwriting, StoreContract.test_a_score_is_written_once),
        (Overwriting, StoreContract.test_all_or_nothing),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow")
def test_what_breaks_the_contract_is_found(
    kind: type[Store], test: Callable[[StoreContract, Path], None], tmp_path: Path
) -> None:
    class Broken(StoreContract):
        open = staticmethod(lambda folder: kind(folder / "scores.db"))

    with pytest.raises(AssertionError):
        test(Broken(), tmp_path)
