"""Fixtures shared by all tests: the real data, one thread, fixed hypothesis settings."""

from __future__ import annotations

import importlib.util
import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent

settings.register_profile("trainless", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("trainless")


def data_folder() -> Path:
    """The folder of real data: TRAINLESS_DATA, or `shared/data` beside the project."""
    return Path(os.environ.get("TRAINLESS_DATA") or ROOT.parent / "shared" / "data")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real benchmark tables and images; the test is skipped where it is absent."""
    folder = data_folder()
    if not (folder / "README.md").is_file():
        pytest.skip(f"real data is not at {folder} (set TRAINLESS_DATA)")
    return folder


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder of golden scores by independent implementations, beside the real data; skipped where absent."""
    folder = data_folder().parent / "golden"
    if not (folder / "networks.py").is_file():
        pytest.skip(f"golden scores are not at {folder} (set TRAINLESS_DATA)")
    return folder


@pytest.fixture(scope="session")
def golden_networks(golden: Path) -> Any:
    """The module that builds the networks of the golden scores, and their batch."""
    spec = importlib.util.spec_from_file_location("golden_networks", golden / "networks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Any]:
    """A PostgreSQL server for the tests of this process; skipped where none can be had, but with CI=true."""
    try:
        from postgresql_server import Server

        server = Server()
    except (ImportError, OSError, subprocess.SubprocessError) as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"no PostgreSQL server can be started: {error}")
    yield server
    server.close()


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


@pytest.fixture
def small_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let toys of a few rows be imported as benchmarks, and toy files as public ones."""
    from trainless.tables import TABLES, library

    monkeypatch.setattr(library, "_check_unchanged", lambda places: None)
    for name, source in TABLES.items():
        monkeypatch.setitem(TABLES, name, replace(source, architectures=0))
