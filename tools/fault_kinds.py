"""Faults from outside: what is killed, interrupted, full, read-only, or tells a wrong time."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from fault_runs import FIT, MANY, POLL, SCORE, SEARCH, SUITE, TRUST, Program, Running, Trial, stored_rows

__all__ = [
    "cannot_mount", "clock", "full_disk", "interrupt", "interrupt_at_start", "interrupt_twice",
    "kill_in_stage", "killed_driver", "killed_fit", "killed_worker", "lacks_compiler", "read_only",
]  # fmt: skip

_SCORED = (SCORE, SCORE, SEARCH, SUITE, TRUST)
_STAGES = ("sizing", "searching", "training", "writing")


def _workers(trial: Trial) -> tuple[str, str]:
    return "--workers", trial.moments.choice(["0", "0", "0", "2"])


def _children(pid: int) -> list[int]:
    """Processes that a process started."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]
    except OSError:
        return []


def _descendants(pid: int) -> list[int]:
    """Processes that a process started, and those that they did."""
    children = _children(pid)
    return children + [process for child in children for process in _descendants(child)]


def _command_line(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace")
    return ""


def _expect_gone(trial: Trial, pids: list[int]) -> None:
    """Hold that processes end soon after the one that started them."""
    deadline = time.monotonic() + 300  # a busy machine takes long to import what is then ended
    while any(_command_line(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.1)
    trial.expect(not any(_command_line(pid) for pid in pids), "worker processes outlive their run")


# Killed.


def killed_driver(trial: Trial) -> str:
    """Send ``kill -9`` to the process that leads a run."""
    program = trial.moments.choice(_SCORED)
    process = trial.start(program, *_workers(trial))
    was_alive = trial.wait_at_random(process, program)
    children = _descendants(process.pid)
    process.kill()
    trial.finish(process)
    _expect_gone(trial, children)
    trial.resume(program)
    return "went on to the same" if was_alive else "was over before"


def killed_worker(trial: Trial) -> str:
    """Send ``kill -9`` to worker processes and what they hang on; the run is to go on by itself."""
    program = trial.moments.choice((MANY, MANY, SEARCH, SUITE))
    process = trial.start(program, "--workers", "2")
    killed = 0
    while process.poll() is None and len(_descendants(process.pid)) < 3:
        time.sleep(POLL)
    for _ in range(trial.moments.randint(1, 3)):
        # Among them the server that workers are forked off, and the tracker of what they share.
        is_alive = trial.wait_for(process, trial.moments.uniform(0, 3))
        if is_alive and (others := _descendants(process.pid)):
            with suppress(ProcessLookupError):
                os.kill(trial.moments.choice(others), signal.SIGKILL)
                killed += 1
    done = trial.finish(process, code=(0, 1))
    if done.code == 1:
        trial.expect("failed: " in done.err or bool(done.said), "exit code 1 without a reason")
        trial.resume(program, "--workers", "2")
        return "exit code 1 with the reason, went on to the same"
    trial.same(program)
    return "replaced, the same result" if killed else "was over before"


def killed_fit(trial: Trial) -> str:
    """Send ``kill -9`` to a fit in one of its stages."""
    stage = trial.moments.choice(_STAGES)
    is_alive = kill_in_stage(trial, FIT, stage)
    trial.resume(FIT)
    return f"{stage}: went on to the same" if is_alive else f"{stage}: was over before"


def kill_in_stage(trial: Trial, program: Program, stage: str) -> bool:
    """Run a fit until its progress bar names a stage, and kill it at a random moment of that."""
    process = trial.start(program, environment={"TTY_COMPATIBLE": "1"})  # which has Rich show the bar in a file too
    while process.poll() is None and stage not in process.err.read_text(errors="replace"):
        time.sleep(POLL)
    is_alive = trial.wait_for(process, trial.moments.random() * 1.5)
    process.kill()
    process.wait()
    return is_alive


# Interrupted.


def interrupt(trial: Trial) -> str:
    """Press Ctrl-C at a random moment."""
    program = trial.moments.choice(_SCORED)
    process = trial.start(program, *_workers(trial))
    trial.wait_at_random(process, program)
    return _interrupted(trial, process, program)


def interrupt_twice(trial: Trial) -> str:
    """Press Ctrl-C, and once more while the run is ending: it is over at once."""
    program = trial.moments.choice((*_SCORED, FIT))
    process = trial.start(program, *_workers(trial))
    trial.wait_at_random(process, program)
    process.send_signal(signal.SIGINT)
    trial.wait_for(process, trial.moments.uniform(0, 0.3))
    return _interrupted(trial, process, program)


def interrupt_at_start(trial: Trial) -> str:
    """Press Ctrl-C while Python still loads the command."""
    program = trial.moments.choice((*_SCORED, FIT))
    process = trial.start(program, is_new=True)
    trial.wait_for(process, trial.moments.uniform(0.2, 3.0))
    return _interrupted(trial, process, program, is_starting=True)


def _interrupted(trial: Trial, process: Running, program: Program, *, is_starting: bool = False) -> str:
    children = _descendants(process.pid)
    process.send_signal(signal.SIGINT)
    done = trial.finish(process, code=(130, 0, -signal.SIGINT), is_starting=is_starting)
    _expect_gone(trial, children)
    trial.resume(program)
    if done.code and "trainless: " not in done.err:
        return "before the first line of the program"
    return "exit code 130, went on to the same" if done.code else "was over before"


# The disk.


def cannot_mount() -> str:
    """Tell why no file system can be mounted; empty where one can."""
    return "" if os.geteuid() == 0 else "mounting a file system needs root"


@contextmanager
def _mounted(trial: Trial, size: int) -> Iterator[Callable[[str], bool]]:
    """Mount a small file system at the folder of a trial; gives a function that mounts it anew with other options."""
    trial.expect(_mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(trial.folder)), "nothing can be mounted")
    try:
        yield lambda options: _mount("-o", f"remount,{options}", str(trial.folder))
    finally:
        subprocess.run(["umount", "--lazy", str(trial.folder)], check=True)


def _mount(*arguments: str) -> bool:
    return subprocess.run(["mount", *arguments], check=False, capture_output=True).returncode == 0


def full_disk(trial: Trial) -> str:
    """Let the disk be full at a random part of what a run writes, then make room and run it again."""
    program = trial.moments.choice((*_SCORED, FIT))
    size = int(trial.undisturbed(program).size * trial.moments.uniform(0.05, 1.0))
    with _mounted(trial, max(size, 8192) // 4096 * 4096) as remount:
        process = trial.start(program)
        done = trial.finish(process, code=(2, 0))
        if done.code:
            trial.expect(str(trial.folder) in done.err, "the sentence does not name the path")
        trial.expect(remount("size=64m"), "the file system cannot grow")
        trial.resume(program)
    return "exit code 2, went on to the same" if done.code else "there was room enough"


def read_only(trial: Trial) -> str:
    """Let the folder become read-only at a random moment, or before the start, then mend it and run it again."""
    program = trial.moments.choice((*_SCORED, FIT))
    with _mounted(trial, 64 << 20) as remount:
        program.prepare(trial.folder)
        is_late = trial.moments.random() < 0.6
        if not is_late:
            trial.expect(remount("ro"), "the file system cannot be made read-only")
        process = trial.start(program)
        if is_late:
            trial.wait_at_random(process, program)
            while process.poll() is None and not remount("ro"):  # as long as a file is open for writing
                time.sleep(0.005)
        done = trial.finish(process, code=(2, 0))
        trial.expect(remount("rw"), "the file system cannot be made writable")
        trial.resume(program)
    return "exit code 2, went on to the same" if done.code else "was over before"


# The clock.

_CLOCK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

/* Every fifth reading or so, the clock of the calendar is another by up to twelve years, back or forth. */
static time_t shift(void) {
    static __thread unsigned int state = 0;
    static __thread time_t seconds = 0;
    if (!state) state = (unsigned int)atoi(getenv("CLOCK_SEED"));
    if (rand_r(&state) % 5 == 0) seconds = (time_t)(rand_r(&state) % 800000000) - 400000000;
    return seconds;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int (*read)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, "clock_gettime");
    int failed = read(clock, now);
    if (clock == CLOCK_REALTIME) now->tv_sec += shift();
    return failed;
}

int gettimeofday(struct timeval *now, void *zone) {
    int (*read)(struct timeval *, void *) = dlsym(RTLD_NEXT, "gettimeofday");
    int failed = read(now, zone);
    now->tv_sec += shift();
    return failed;
}

time_t time(time_t *kept) {
    time_t (*read)(time_t *) = dlsym(RTLD_NEXT, "time");
    time_t now = read(NULL) + shift();
    if (kept) *kept = now;
    return now;
}
"""


def lacks_compiler() -> str:
    """Tell why no clock can be put in place of the system's; empty where one can."""
    return "" if shutil.which("cc") else "no C compiler for a clock that jumps"


def clock(trial: Trial) -> str:
    """Let the clock jump back and forth by years during a run that is killed, or during one that is not."""
    program, was_alive = trial.moments.choice((*_SCORED, FIT)), False
    source, library = trial.root / "clock.c", trial.root / "clock.so"
    source.write_text(_CLOCK, encoding="utf-8")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"], check=True)
    variables = {"LD_PRELOAD": str(library), "CLOCK_SEED": str(trial.moments.randint(1, 1 << 30))}
    start = partial(trial.start, program, environment=variables, is_new=True)
    if trial.moments.random() < 0.5:
        process = start()
        was_alive = trial.wait_at_random(process, program)
        process.kill()
        trial.finish(process)
    kept = stored_rows(trial.folder / program.store)
    trial.finish(start(), code=0)
    trial.same(program)
    trial.kept(kept, stored_rows(trial.folder / program.store))
    return "killed, went on to the same" if was_alive else "the same result"
