"""One root for all exceptions, and messages that say what to do."""

from __future__ import annotations

import pytest

from trainless import errors
from trainless.errors import (
    ArchitectureError,
    DataError,
    InputError,
    NetworkError,
    ScoringError,
    StoreError,
    TrainlessError,
    UnknownNameError,
)


class TestHierarchy:
    def test_every_exception_has_the_one_root(self) -> None:
        kinds = [getattr(errors, name) for name in errors.__all__]
        assert len(kinds) == 9
        assert all(issubclass(kind, TrainlessError) for kind in kinds)

    @pytest.mark.parametrize("kind", [ArchitectureError, DataError, NetworkError, StoreError, UnknownNameError])
    def test_wrong_input_is_also_a_value_error(self, kind: type[Exception]) -> None:
        assert issubclass(kind, InputError)
        assert issubclass(kind, ValueError)

    def test_a_failure_is_no_wrong_input(self) -> None:
        assert not issubclass(ScoringError, ValueError)
        assert not issubclass(TrainlessError, ValueError)


class TestUnknownNameError:
    def test_suggests_the_nearest_name(self) -> None:
        message = str(UnknownNameError("proxy", "synflw", ["zen", "synflow", "snip"]))
        assert message == "There is no proxy 'synflw': did you mean 'synflow'? Known: snip, synflow, zen."

    def test_suggests_nothing_where_nothing_is_near(self) -> None:
        message = str(UnknownNameError("search space", "qqq", {"nasbench201": 1}))
        assert message == "There is no search space 'qqq': known: nasbench201."

    def test_takes_any_iterable_of_names(self) -> None:
        assert "known: a, b." in str(UnknownNameError("strategy", "c", iter(["b", "a"])))

    def test_no_names(self) -> None:
        assert "'c'" in str(UnknownNameError("strategy", "c", []))
