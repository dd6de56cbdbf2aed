"""A handful of seeded faults of tools/faults.py: nothing that is promised is broken."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parent.parent / "tools"


def faults(*arguments: str, timeout: float = 600) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(TOOLS / "faults.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the script finds processes where Linux lists them")
def test_a_handful_of_faults_breaks_no_promise() -> None:
    kinds = ("killed-driver", "killed-worker", "interrupt", "interrupt-twice", "full-disk", "damaged-store")
    # This seed draws runs that take little time.
    done = faults("--faults", "9", "--seed", "25", *(word for kind in kinds for word in ("--only", kind)))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "9 faults, 0 broken promises" in done.stdout


def test_shares_of_any_number_of_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(TOOLS))
    import faults as script

    kinds = list(script.KINDS)
    counts = {kind: script.planned(len(kinds) * 10, kinds) for kind in kinds}
    assert all(len(names) == len(kinds) * 10 for names in counts.values())
    names = script.planned(200, kinds)
    assert len(set(names)) == 200
    shares = {kind: sum(name.partition(":")[0] == kind for name in names) for kind in kinds}
    total = sum(kind.share for kind in script.KINDS.values())
    assert all(abs(shares[kind] - script.KINDS[kind].share * 200 / total) <= 1 for kind in kinds)


def test_a_kind_that_is_not_there_is_refused() -> None:
    done = faults("--only", "nothing")
    assert done.returncode == 2
    assert "There is no kind 'nothing'" in done.stderr
