"""Run random command lines of trainless and hold each to what the program promises of every one.

    python tools/fuzz_commands.py [--lines 200] [--seed N] [--workers 2] [--out FOLDER] [--only NUMBER]

The exit code is 0, 1, 2 or 130; wrong input is refused by one sentence; no traceback is shown, and nothing that a
terminal would take for a command; ``--json`` gives one JSON document; only what the line names for writing is
written. What breaks that is printed with the number that repeats it, by kind, and makes the exit code 1.

Each line runs in a process that is forked after all imports, in a folder with good and bad inputs that is put back
after it.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import os
import re
import resource
import secrets
import shlex
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from fuzz_inputs import make_inputs
from fuzz_lines import Line, Writer

SECONDS = 10.0  # a line that takes longer is ended, and counted apart
MEMORY = 10 << 30  # address space of a line, so that none takes the machine down
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\x80-\x9f]")
_ASIDE = ("Note: ", "trainless: left out: ", "failed: ", "Warning: ", "left out: ")  # beside the one sentence
_BUG = "trainless: This is a fault of trainless"

Snapshot = dict[str, tuple[int, int]]


@dataclass
class Outcome:
    """What a command line did.

    Args:
        number: which line it was.
        line: the command line.
        code: its exit code, or minus the number of a signal.
        out: standard output.
        err: standard error.
        seconds: how long it took.
        is_late: whether it was ended for taking too long.
        changed: files that it made, changed or removed.
    """

    number: int
    line: Line
    code: int
    out: str
    err: str
    seconds: float
    is_late: bool
    changed: list[str]


def faults(outcome: Outcome) -> list[str]:
    """Say which promises a command line broke, each by its kind."""
    if outcome.is_late:
        return []
    line, told = outcome.line, [text for text in outcome.err.splitlines() if not text.startswith(_ASIDE)]
    found = []
    if "Traceback (most recent call last)" in outcome.err:
        found.append(f"traceback: {_place(outcome.err)}")
    elif _BUG in outcome.err:
        found.append(f"fault: {outcome.err.partition(_BUG)[2].strip()[:150]}")
    elif outcome.code not in (0, 1, 2, 130):
        found.append(f"exit code {outcome.code}: {outcome.err[-100:]!r}")
    elif outcome.code == 2 and "Usage:" not in outcome.err:
        if len(told) != 1 or not told[0].startswith("trainless: "):
            found.append(f"not one sentence: {_pattern(' / '.join(told))}")
        elif not told[0].endswith("."):
            found.append(f"a sentence without its end: {_pattern(told[0])}")
    elif outcome.code and not outcome.out + outcome.err:
        found.append(f"exit code {outcome.code} without a word: {line.command}")
    if control := _CONTROL.search(outcome.out + outcome.err):
        found.append(f"control character {control[0]!r} to the terminal: {line.command}")
    if line.json and outcome.code == 0 and not _is_json(outcome.out):
        found.append(f"no JSON document: {line.command}: {outcome.out[:60]!r}")
    # SQLite leaves its own files beside a damaged store that was opened for writing.
    changed = [path for path in outcome.changed if not (path.endswith(("-shm", "-wal")) and _is_allowed(path, line))]
    written = [path for path in changed if outcome.code == 2 or not _is_allowed(path, line)]
    if written:
        when = "though refused" if outcome.code == 2 else "unasked"
        found.append(f"written {when}: {line.command}: {re.sub('[0-9]+', 'N', written[0])}")
    return found


def _place(err: str) -> str:
    """The last exception and the last place of trainless in a traceback."""
    places = re.findall(r'File ".*/trainless/(\S+)", line \d+, in (\S+)', err)
    last = next((text for text in reversed(err.splitlines()) if re.match(r"[\w.]+(:|$)", text)), "")
    return f"{'/'.join(places[-1]) if places else '?'}: {_pattern(last)}"


def _pattern(text: str) -> str:
    return re.sub(r"'[^']*'|\"[^\"]*\"|[0-9]+", "_", text)[:110]


def _is_json(text: str) -> bool:
    def refuse(name: str) -> None:
        raise ValueError(name)

    try:
        json.loads(text, parse_constant=refuse)
    except ValueError:
        return False
    return True


def _is_allowed(path: str, line: Line) -> bool:
    for output in line.outputs:
        named = re.sub("^[a-z+]*:///", "", output)
        try:
            allowed = os.path.normpath(named)
        except ValueError:
            continue
        # Folders are made with their parents.
        if allowed in (".", path) or path.startswith((f"{allowed}/", f"{allowed}-")) or allowed.startswith(f"{path}/"):
            return True
    return False


class Slot:
    """A folder in which one line after the other runs.

    Args:
        inputs: what it begins with.
        folder: where it is; it is made.
    """

    def __init__(self, inputs: Path, folder: Path) -> None:
        self.inputs, self.work, self.temporary = inputs, folder / "work", folder / "tmp"
        shutil.copytree(inputs, self.work, symlinks=True)
        self.temporary.mkdir()
        self.files = folder / "stdout", folder / "stderr"
        self.clean = snapshot(self.work)
        self.process: int | None = None

    def start(self, number: int, line: Line) -> None:
        """Begin to run a line."""
        self.number, self.line, self.begun = number, line, time.monotonic()
        self.is_late = self.was_interrupted = False
        for path in self.files:
            path.write_bytes(b"")  # there too where the process is ended before it opens them
        sys.stdout.flush()
        self.process = os.fork()
        if not self.process:
            self._run(line)

    def _run(self, line: Line) -> None:
        """Run a line; never returns."""
        code = 99
        try:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # until the command begins
            os.setpgid(0, 0)
            for descriptor, path in zip((1, 2), self.files, strict=True):
                os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            sys.stdout, sys.stderr = (
                os.fdopen(1, "w", encoding="utf-8"),
                os.fdopen(2, "w", encoding="utf-8", buffering=1),
            )
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
            os.chdir(self.work)
            os.environ |= {"TMPDIR": str(self.temporary), "COLUMNS": "200"}
            tempfile.tempdir = None
            sys.argv = ["trainless", *line.arguments]
            code = _exit_code()
        except BaseException:
            traceback.print_exc()
        finally:
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(OSError):
                    stream.flush()
            os._exit(code)

    def finished(self) -> Outcome | None:
        """What came of the line; None while it runs."""
        assert self.process is not None
        seconds = time.monotonic() - self.begun
        done, status = os.waitpid(self.process, os.WNOHANG)
        if not done:
            if self.line.interrupt is not None and seconds > self.line.interrupt and not self.was_interrupted:
                self.was_interrupted = True
                os.kill(self.process, signal.SIGINT)
            if seconds <= SECONDS:
                return None
            self.is_late = True
            os.kill(self.process, signal.SIGKILL)
            _, status = os.waitpid(self.process, 0)
        self._end_group()
        self.process = None
        code = os.waitstatus_to_exitcode(status)
        out, err = (path.read_text(encoding="utf-8", errors="replace") for path in self.files)
        return Outcome(self.number, self.line, code, out, err, seconds, self.is_late, self._put_back())

    def _end_group(self) -> None:
        """End the processes that a line has left."""
        assert self.process is not None
        try:
            os.killpg(self.process, signal.SIGKILL)
        except ProcessLookupError:
            return

    def _put_back(self) -> list[str]:
        """Undo what a line changed; give its names."""
        now = snapshot(self.work)
        changed = sorted(path for path in {*now, *self.clean} if now.get(path) != self.clean.get(path))
        for path in changed:
            target, source = self.work / path, self.inputs / path
            if target.is_dir() and not target.is_symlink():
                shutil.rmtree(target) if path not in self.clean else None
            elif os.path.lexists(target):
                target.unlink()
            if source.is_dir() and not source.is_symlink():
                target.mkdir(exist_ok=True)
            elif os.path.lexists(source):
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target, follow_symlinks=False)
        if changed:
            self.clean = snapshot(self.work)
        shutil.rmtree(self.temporary, ignore_errors=True)
        self.temporary.mkdir(exist_ok=True)
        return changed


def _exit_code() -> int:
    from trainless import cli

    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        cli.main()
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(bool(stop.code))
    return 0


def snapshot(folder: Path) -> Snapshot:
    """All files of a folder with their times and sizes; of folders and links only that they are there."""
    found: Snapshot = {}
    waiting = [folder]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                is_folder = entry.is_dir(follow_symlinks=False)
                if is_folder:
                    waiting.append(Path(entry.path))
                status = entry.stat(follow_symlinks=False)
                facts = (0, 0) if is_folder or entry.is_symlink() else (status.st_mtime_ns, status.st_size)
                found[os.path.relpath(entry.path, folder)] = facts
    return found


def import_all() -> None:
    """Import what the commands need, so that no line has to."""
    import onnx  # noqa: F401
    import onnxruntime  # noqa: F401
    import optuna  # noqa: F401
    import pyarrow.parquet  # noqa: F401
    import sklearn.datasets  # noqa: F401
    import torch

    import trainless.automl
    import trainless.estimators
    import trainless.fit_artifacts
    import trainless.report
    import trainless.search
    import trainless.suite
    import trainless.tables  # noqa: F401
    from trainless import cli

    torch.set_num_threads(1)
    with open(os.devnull, "w", encoding="utf-8") as nothing, contextlib.redirect_stdout(nothing):
        cli.app(["strategies"], standalone_mode=False)  # which imports what reads a command line
    gc.collect()
    gc.freeze()  # else each child would copy most of the memory


def run_lines(folder: Path, seed: int, numbers: list[int], workers: int) -> Iterator[Outcome]:
    """Run the lines of a seed that have these numbers, several at a time; what came of each, as they end.

    Args:
        folder: for the inputs and for what the lines write; made if it is not there.
        seed: decides the lines.
        numbers: which of them.
        workers: how many run at a time.
    """
    inputs = folder / "inputs"
    if not inputs.exists():
        _apart(lambda: make_inputs(inputs))
    import_all()
    # No line reaches a network, and none depends on what this machine has.
    for name in ("https_proxy", "http_proxy", "HTTPS_PROXY", "HTTP_PROXY"):
        os.environ[name] = "http://127.0.0.1:9"
    os.environ |= {"TRAINLESS_DATA": "public", "TRAINLESS_CACHE": "cache", "MPLBACKEND": "agg"}
    writer, waiting = Writer(inputs), list(reversed(numbers))
    places = [Path(tempfile.mkdtemp(prefix="slot-", dir=folder)) for _ in range(min(workers, len(numbers)))]
    try:
        slots = [Slot(inputs, place) for place in places]
        while waiting or any(slot.process for slot in slots):
            for slot in slots:
                if slot.process and (outcome := slot.finished()):
                    yield outcome
                if not slot.process and waiting:
                    number = waiting.pop()
                    slot.start(number, writer.write(seed, number))
            time.sleep(0.003)
    finally:
        for place in places:
            shutil.rmtree(place, ignore_errors=True)


def _apart(work: object) -> None:
    """Do work in a process of its own, so that none of its threads stands in the way of a fork."""
    process = os.fork()
    if not process:
        code = 1
        try:
            work()  # type: ignore[operator]
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    if os.waitpid(process, 0)[1]:
        raise SystemExit("The inputs cannot be made.")


def summary(outcomes: list[Outcome], kinds: dict[str, list[Outcome]]) -> str:
    """What came of all lines, in a few lines of text."""
    codes = Counter("late" if outcome.is_late else str(outcome.code) for outcome in outcomes)
    shares = ", ".join(
        f"{count:,} {'ended late' if code == 'late' else f'exit {code}'}" for code, count in codes.most_common()
    )
    seconds = sum(outcome.seconds for outcome in outcomes)
    broken = len({outcome.number for found in kinds.values() for outcome in found})
    return f"{len(outcomes):,} lines in {seconds:,.0f} s: {shares}; {broken} broke a promise, in {len(kinds)} ways."


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--lines", type=int, default=200, help="how many")
    parser.add_argument(
        "--seed", type=int, default=None, help="decides the lines; default a fresh one, which is printed"
    )
    parser.add_argument("--workers", type=int, default=2, help="lines at a time")
    parser.add_argument(
        "--out", type=Path, default=None, help="folder for inputs and outcomes; default a temporary one"
    )
    parser.add_argument("--first", type=int, default=0, help="number of the first line")
    parser.add_argument("--only", type=int, default=None, help="run this line alone, and show all that it prints")
    arguments = parser.parse_args()
    seed = secrets.randbelow(10**6) if arguments.seed is None else arguments.seed
    folder = arguments.out or Path(tempfile.mkdtemp(prefix="trainless-fuzz-"))
    folder.mkdir(parents=True, exist_ok=True)
    numbers = (
        list(range(arguments.first, arguments.first + arguments.lines)) if arguments.only is None else [arguments.only]
    )
    print(f"seed {seed}, in {folder}", flush=True)
    outcomes: list[Outcome] = []
    kinds: dict[str, list[Outcome]] = {}
    with (folder / "outcomes.jsonl").open("a", encoding="utf-8", buffering=1) as log:
        for outcome in run_lines(folder, seed, numbers, arguments.workers):
            outcomes.append(outcome)
            if arguments.only is not None:
                print(f"{shlex.join(['trainless', *outcome.line.arguments])}\n{outcome}")
            for kind in faults(outcome):
                if kind not in kinds:
                    print(f"--only {outcome.number}: {kind}", flush=True)
                kinds.setdefault(kind, []).append(outcome)
            # Output is kept where it is short: a page or a table says nothing here.
            log.write(json.dumps(asdict(outcome) | {"out": outcome.out[:500], "err": outcome.err[-2000:]}) + "\n")
    for kind, found in sorted(kinds.items(), key=lambda item: -len(item[1])):
        print(f"\n{len(found)} x {kind}")
        for outcome in found[:3]:
            print(
                f"  --seed {seed} --only {outcome.number}: {shlex.join(['trainless', *outcome.line.arguments])[:400]!r}"
            )
    print(f"\n{summary(outcomes, kinds)}")
    sys.exit(bool(kinds))


if __name__ == "__main__":
    main()
