"""The command from its first line on: what Ctrl-C does, once and twice."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="processes are sent signals")

# Interrupts itself, while the command line is imported or while it runs.
SCRIPT = """
import os, signal, sys, time, types
import trainless.__main__ as command

def interrupt():
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(60)

def main():
    try:
        interrupt()
    except KeyboardInterrupt:
        {then}

sys.modules["trainless.cli"] = types.SimpleNamespace(main=main)
command.main()
"""


def run(then: str) -> tuple[int, str]:
    done = subprocess.run([sys.executable, "-c", SCRIPT.replace("{then}", then)], capture_output=True, text=True)
    assert done.stdout == ""
    return done.returncode, done.stderr


def test_interrupt_is_one_sentence() -> None:
    assert run("raise") == (130, "trainless: interrupted. Run the same command again.\n")


def test_second_interrupt_ends_at_once() -> None:
    code, told = run("interrupt()")
    assert code == 130
    assert told == "trainless: interrupted twice, ended at once. What was stored is kept: run it again.\n"


def test_interrupt_within_a_callback_is_not_lost() -> None:
    # What a callback of a weak reference raises, Python only shows.
    then = "weakref.finalize(value := type('Value', (), {})(), interrupt); command._TWICE_SECONDS = 0.0; del value"
    callback = "import weakref; " + then.replace("interrupt)", "lambda: os.kill(os.getpid(), signal.SIGINT))")
    code, told = run(f"{callback}; time.sleep(60)")
    assert (code, told) == (130, "trainless: interrupted. Run the same command again.\n")


def test_interrupt_much_later_is_a_new_one() -> None:
    code, told = run("command._TWICE_SECONDS = 0.0; interrupt()")
    assert (code, told) == (130, "trainless: interrupted. Run the same command again.\n")
