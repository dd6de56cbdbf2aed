"""Runs of the program in processes of their own: with a fault in them, once more, and without any."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import random
import re
import shlex
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from trainless.estimators import distinct_sample
from trainless.search_spaces import search_space
from trainless.store import Store

__all__ = [
    "FIT", "MANY", "POLL", "REASON", "SCORE", "SEARCH", "SPACE", "STATUS", "SUITE", "TRUST", "VALUES", "Alone",
    "BrokenPromiseError", "Done", "Program", "Trial", "Undisturbed", "stored_rows",
]  # fmt: skip

SPACE = "nasbench201(channels=4, cells=1)"
SOURCE = Path(__file__).resolve().parent.parent / "src"
LONGEST = 1200.0  # seconds: a run that takes more hangs
POLL = 0.02

# Of a stored row.
KEY, VALUES, STATUS, REASON = slice(1, 4), slice(4, 6), 6, 7

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(
    ["trainless.cli", "trainless.scoring", "trainless.suite", "trainless.automl", "trainless.fit_artifacts"]
)

Rows = dict[str, tuple[Any, ...]]


class BrokenPromiseError(Exception):
    """What is promised was not kept."""


@dataclass(frozen=True)
class Program:
    """A command with small settings, and what has to come out of it.

    Args:
        name: what it is called.
        arguments: those of ``trainless``; ``{folder}`` stands for the folder that it works in.
        store: the file of its scores in that folder.
        result: reads what came out, as text that is equal to the last digit where two runs came to the same.
        prepare: writes what it reads.
    """

    name: str
    arguments: tuple[str, ...]
    store: str
    result: Callable[[Path], str]
    prepare: Callable[[Path], None] = lambda folder: None


@dataclass(frozen=True)
class Alone:
    """What a program comes to when it is left alone.

    Args:
        result: what came out, as text.
        seconds: how long it took.
        folder: where it worked.
    """

    result: str
    seconds: float
    folder: Path

    @property
    def size(self) -> int:
        """Bytes that it wrote."""
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())


@dataclass(frozen=True)
class Done:
    """How a run ended.

    Args:
        code: its exit code; below 0 the signal that killed it.
        out: what it wrote to standard output.
        err: what it wrote to standard error.
    """

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        """What it said on standard error beside notes and failures of single architectures."""
        lines = self.err.splitlines()
        return "\n".join(line for line in lines if line.strip() and not line.startswith(("Note: ", "failed: ")))


def _read_scores(folder: Path) -> str:
    """All stored scores by architecture, since the order of workers is any."""
    with Store(folder / "scores.db", create=False) as store:
        return store.table().sort_index().sort_index(axis=1).to_csv()


def _read_rows(folder: Path) -> str:
    """The rows that a command wrote, without the time that they took."""
    frame = pd.read_csv(folder / "rows.csv", float_precision="round_trip")
    return frame.drop(columns="seconds", errors="ignore").to_csv(index=False)


def _read_suite(folder: Path) -> str:
    frame = pd.read_csv(folder / "suite" / "results.csv", float_precision="round_trip")
    return frame.drop(columns="seconds").to_csv(index=False)


def _read_fit(folder: Path) -> str:
    """What a fit decided, what it came to, and the weights to the last bit."""
    facts = json.loads((folder / "run" / "fit.json").read_text(encoding="utf-8"))
    decided = {name: facts[name] for name in ("space", "architecture", "parameters", "valid_accuracy", "test_accuracy")}
    weights = hashlib.sha256((folder / "run" / "model.safetensors").read_bytes()).hexdigest()
    return json.dumps({**decided, "weights": weights})


def write_table(folder: Path, count: int = 14) -> None:
    """Write a table of made-up accuracies in the plain format."""
    random_stream = np.random.default_rng(0)
    cells = distinct_sample(search_space(SPACE), count, 0, "faults")
    lines = [f"{cell},{random_stream.uniform(50, 90):.2f}" for cell in cells]
    (folder / "table.csv").write_text("\n".join(["architecture,toy.test", *lines]) + "\n", encoding="utf-8")


SCORE = Program(
    "score",
    ("score", "--data", "digits", "--space", SPACE, "--batch-size", "16", "--proxies", "params,snip,nwot,zen",
     "--sample", "40", "--store", "{folder}/scores.db"),
    "scores.db", _read_scores,
)  # fmt: skip
MANY = replace(
    SCORE, name="score of many", arguments=tuple("120" if text == "40" else text for text in SCORE.arguments)
)
SEARCH = Program(
    "search",
    ("search", "--data", "digits", "--space", SPACE, "--score", "nwot", "--budget", "40", "--batch-size", "16",
     "--store", "{folder}/search.db", "--csv", "{folder}/rows.csv"),
    "search.db", _read_rows,
)  # fmt: skip
SUITE = Program(
    "suite",
    ("suite", "--data", "digits", "--table", "{folder}/table.csv@" + SPACE, "--proxies", "params,snip,nwot,zen",
     "--sample", "12", "--seeds", "2", "--batch-size", "16", "--resamples", "20", "--out", "{folder}/suite"),
    "suite/scores.db", _read_suite, write_table,
)  # fmt: skip
TRUST = Program(
    "trust",
    ("trust", "--data", "digits", "--space", SPACE, "--train", "5", "--epochs", "1", "--images", "300", "--proxies",
     "params,snip,nwot", "--store", "{folder}/trust.db", "--csv", "{folder}/rows.csv"),
    "trust.db", _read_rows,
)  # fmt: skip
FIT = Program(
    "fit",
    ("fit", "digits", "--space", SPACE, "--epochs", "3", "--evaluations", "8", "--out", "{folder}/run"),
    "run/search.db", _read_fit,
)  # fmt: skip


def stored_rows(store: Path) -> Rows:
    """Read each score of a store as it lies in the table, by the hash of its key; nothing where there is none yet."""
    if not store.is_file():
        return {}
    query = "SELECT hash, run, architecture, proxy, value, value_text, status, reason, seconds, created FROM scores"
    try:
        with closing(sqlite3.connect(f"{store.as_uri()}?mode=ro", uri=True, timeout=30)) as connection:
            rows = connection.execute(query).fetchall()
    except sqlite3.OperationalError:  # its tables are not there yet
        return {}
    return {str(row[0]): row for row in rows}


class Undisturbed:
    """What programs come to when they are left alone, each run once.

    Args:
        folder: where they work.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._found: dict[str, Alone] = {}
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def __call__(self, program: Program) -> Alone:
        """Give what a program comes to."""
        with self._locks[program.name]:
            if program.name not in self._found:
                trial = Trial(self._folder / program.name, random.Random(0), self)
                begun = time.monotonic()
                trial.finish(trial.start(program), code=0)
                seconds = time.monotonic() - begun
                self._found[program.name] = Alone(program.result(trial.folder), seconds, trial.folder)
        return self._found[program.name]


def _is_apart(command: Sequence[str]) -> bool:
    """Whether a command has processes of its own, or is none of trainless: it cannot be forked off a server."""
    number = command[len(command) - command[::-1].index("--workers")] if "--workers" in command else "0"
    return "-m" not in command or number != "0"


def hear_interrupts() -> None:
    """Undo what a shell does to commands in the background, which is to have them ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def run_forked(arguments: Sequence[str], variables: Mapping[str, str], folder: Path, out: Path, err: Path) -> None:
    """Be a run of the program, in a process that has imported it already."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # until the program listens
    for descriptor, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    os.environ.update(variables)
    os.chdir(folder)
    sys.argv[:] = arguments
    from trainless.__main__ import main

    main()


@dataclass(frozen=True)
class Running:
    """A run that has been started.

    Args:
        process: the process.
        out: the file of its standard output.
        err: the file of its standard error.
    """

    process: Any
    out: Path
    err: Path

    @property
    def pid(self) -> int:
        """The number of the process."""
        return int(self.process.pid)

    def poll(self) -> int | None:
        """Tell the exit code; None while it runs."""
        is_forked = not isinstance(self.process, subprocess.Popen)
        found: int | None = self.process.exitcode if is_forked else self.process.poll()
        return found

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it with ``kill -9``."""
        self.send_signal(signal.SIGKILL)

    def wait(self) -> int:
        """Wait for its end, and give its exit code."""
        while (code := self.poll()) is None:
            time.sleep(POLL)
        return code


@dataclass
class Trial:
    """One fault: a folder of its own, its random numbers, and what it ran, so that it can be told and repeated.

    Args:
        root: what it writes.
        moments: decides all that is random in it.
        undisturbed: what programs come to when left alone.
        log: the commands and what came of them.
        started: how many there were.
    """

    root: Path
    moments: random.Random
    undisturbed: Undisturbed
    log: list[str] = field(default_factory=list)
    started: int = 0

    def __post_init__(self) -> None:
        for path in (self.folder, self.root / "nothing"):
            path.mkdir(parents=True)

    @property
    def folder(self) -> Path:
        """Where its programs work."""
        return self.root / "work"

    def command(self, program: Program, *options: str) -> list[str]:
        """Write the command line of a program in this folder."""
        given = (*program.arguments, "--workers", "0", *options)  # of an option that is there twice the last counts
        return self.trainless(*(argument.replace("{folder}", str(self.folder)) for argument in given))

    def trainless(self, *arguments: str) -> list[str]:
        """Write a command line of trainless."""
        return [sys.executable, "-m", "trainless", *arguments]

    def start(
        self, program: Program | Sequence[str], *options: str, environment: Mapping[str, str] | None = None,
        is_new: bool = False,
    ) -> Running:  # fmt: skip
        """Start a program, or a command line as it is.

        A run without workers is forked off a server that has imported the program, to have time for many faults.

        Args:
            program: what is run.
            options: further options.
            environment: further variables.
            is_new: start Python for it in any case.
        """
        if isinstance(program, Program):
            if not (self.folder / "table.csv").exists():
                program.prepare(self.folder)
            command = self.command(program, *options)
        else:
            command = list(program)
        # No tables and images but those that are named; Matplotlib's list of fonts is for all.
        nothing = str(self.root / "nothing")
        variables = {
            "PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1", "TRAINLESS_DATA": nothing,
            "XDG_CACHE_HOME": nothing, "MPLCONFIGDIR": str(self.root.parent), "TRAINLESS_TRACEBACK": "yes",
            **(environment or {}),
        }  # fmt: skip
        self.log.append(f"$ {shlex.join(command)}")
        self.started += 1
        out, err = (self.root / f"{name}-{self.started}" for name in ("out", "err"))
        if not (is_new or _is_apart(command)):
            arguments = (command[2:], variables, self.folder, out, err)
            forked = SERVER.Process(target=run_forked, args=arguments)
            forked.start()
            while not err.exists():  # so long it is none of the program yet
                time.sleep(POLL)
            return Running(forked, out, err)
        with out.open("w") as out_file, err.open("w") as err_file:
            started = subprocess.Popen(
                command, stdout=out_file, stderr=err_file, stdin=subprocess.DEVNULL, cwd=self.folder,
                env={**os.environ, **variables}, preexec_fn=hear_interrupts,
            )  # fmt: skip
        return Running(started, out, err)

    def finish(
        self, process: Running, *, code: int | Sequence[int] | None = None, is_starting: bool = False
    ) -> Done:  # fmt: skip
        """Wait for a process, and hold it to its promises: an exit code, one sentence, no traceback.

        Args:
            process: what was started.
            code: the exit codes that are right; None takes any, as after ``kill -9``.
            is_starting: it may have been disturbed before the first line of the program, where Python answers itself.
        """
        is_over = self.wait_for(process, LONGEST)
        if is_over:
            process.kill()
        done = Done(process.wait(), *(path.read_text(errors="replace") for path in (process.out, process.err)))
        self.log.append(f"exit code {done.code}\n{done.err}".rstrip())
        self.expect(not is_over, f"it hangs: no end after {LONGEST:g} s")
        if is_starting and done.code and not re.search(r"trainless(: |/(?!__init__))", done.err):
            return done
        self.expect("Traceback" not in done.err + done.out, "a traceback reached the user")
        allowed = (code,) if isinstance(code, int) else code
        if allowed is not None:
            self.expect(done.code in allowed, f"exit code {done.code}, expected {' or '.join(map(str, allowed))}")
        if done.code in (2, 130):
            is_sentence = re.fullmatch(r"(trainless: [^\n]+[.)]\n?){1,2}", done.said)
            self.expect(bool(is_sentence), f"not one sentence on standard error: {done.said!r}")
        return done

    def expect(self, condition: bool, otherwise: str) -> None:
        """Raise a violation unless a condition holds."""
        if not condition:
            raise BrokenPromiseError(otherwise)

    # Moments.

    def wait_for(self, process: Running, seconds: float) -> bool:
        """Let a process run for some seconds; False where it ended before."""
        deadline = time.monotonic() + seconds
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(POLL)
        return process.poll() is None

    def wait_for_rows(self, process: Running, store: Path) -> bool:
        """Wait until a process has stored something new, and for a random moment after that."""
        before, deadline = len(stored_rows(store)), time.monotonic() + LONGEST
        while process.poll() is None and len(stored_rows(store)) <= before and time.monotonic() < deadline:
            time.sleep(POLL)
        return self.wait_for(process, self.moments.random())

    def wait_at_random(self, process: Running, program: Program) -> bool:
        """Wait for a random moment of a run: by the clock, or by what it has stored."""
        if self.moments.random() < 0.5:
            return self.wait_for(process, self.moments.uniform(0, self.undisturbed(program).seconds))
        return self.wait_for_rows(process, self.folder / program.store)

    # What has to come of it.

    def resume(self, program: Program, *options: str, before: Rows | None = None) -> None:
        """Run the same command again to its end, and hold it to the undisturbed run and to what was stored before.

        Args:
            program: what was disturbed.
            options: further options, which change nothing of the result.
            before: what was stored when it ended; None reads it now.
        """
        store = self.folder / program.store
        kept = stored_rows(store) if before is None else before
        if not (self.folder / "run" / "fit.json").exists():  # a fit that is finished is not begun again
            self.finish(self.start(program, *options), code=0)
        self.same(program)
        self.kept(kept, stored_rows(store))

    def same(self, program: Program) -> None:
        """Hold what a program came to against the undisturbed run, to the last digit."""
        expected = self.undisturbed(program).result
        self.expect(program.result(self.folder) == expected, "another result than that of the undisturbed run")

    def kept(self, before: Rows, after: Rows) -> None:
        """Hold that each stored score is still there as it was, and none is there twice."""
        lost = [row for key, row in before.items() if row[STATUS] != "failed" and after.get(key) != row]
        self.expect(not lost, f"{len(lost)} stored scores are gone or were computed again, such as {lost[:1]}")
        keys = {row[KEY] for row in after.values()}
        self.expect(len(keys) == len(after), "a score is there twice")
