"""Disturb runs of trainless by seeded random faults, and hold that nothing is lost and nothing is doubled.

    python tools/faults.py [--faults 200] [--seed 0] [--only KIND[:NUMBER]] [--jobs 2] [--out DIR]

Each fault is a run of the program in a process of its own with small settings; then the same command runs again.
What came out has to be the result of a run that was left alone, to the last digit; what was stored before has to be
there as it was, each score once; exit codes are those of docs/reliability.md, with one sentence and no traceback.
A fault that found its run over is drawn again, up to five times; one that never struck counts as none.
Prints how many faults of each kind came to what; ends with exit code 1 where a promise was broken, with the commands
that led there.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

import fault_files
import fault_kinds
import fault_servers
from fault_runs import BrokenPromiseError, Trial, Undisturbed

_DRAWS = 5  # of the moment of a fault, until it strikes


@dataclass(frozen=True)
class Kind:
    """A kind of fault.

    Args:
        inflict: disturbs a run and holds it to its promises; says what came out.
        share: how many of 200 faults are of the kind.
        lacks: says why there can be none here; empty where there can.
    """

    inflict: Callable[[Trial], str]
    share: int
    lacks: Callable[[], str] = lambda: ""


KINDS = {
    "killed-driver": Kind(fault_kinds.killed_driver, 34),
    "killed-worker": Kind(fault_kinds.killed_worker, 16),
    "killed-fit": Kind(fault_kinds.killed_fit, 16),
    "killed-tuning": Kind(fault_files.killed_tuning, 4),
    "killed-database": Kind(fault_servers.killed_database, 10, fault_servers.lacks_postgres),
    "killed-node": Kind(fault_servers.killed_node, 6, fault_servers.lacks_ray),
    "interrupt": Kind(fault_kinds.interrupt, 12),
    "interrupt-twice": Kind(fault_kinds.interrupt_twice, 14),
    "interrupt-at-start": Kind(fault_kinds.interrupt_at_start, 14),
    "full-disk": Kind(fault_kinds.full_disk, 16, fault_kinds.cannot_mount),
    "read-only": Kind(fault_kinds.read_only, 10, fault_kinds.cannot_mount),
    "clock": Kind(fault_kinds.clock, 8, fault_kinds.lacks_compiler),
    "damaged-store": Kind(fault_files.damaged_store, 16),
    "damaged-checkpoint": Kind(fault_files.damaged_checkpoint, 6),
    "damaged-run": Kind(fault_files.damaged_run, 8),
    "nan-weights": Kind(fault_files.nan_weights, 6),
    "proxy-raises": Kind(fault_files.proxy_raises, 5),
    "proxy-hangs": Kind(fault_files.proxy_hangs, 5),
    "proxy-exhausts-memory": Kind(fault_files.proxy_exhausts_memory, 5),
    "proxy-kills": Kind(fault_files.proxy_kills, 5),
}


@dataclass(frozen=True)
class Outcome:
    """What came of one fault.

    Args:
        fault: its kind and number, as ``--only`` takes them.
        text: what came out, or which promise was broken.
        is_broken: whether one was.
        log: what was run.
        seconds: how long all of it took.
        is_inflicted: whether it struck: its run was not over before.
    """

    fault: str
    text: str
    is_broken: bool
    log: Sequence[str]
    seconds: float
    is_inflicted: bool = True

    @property
    def kind(self) -> str:
        """The kind of the fault."""
        return self.fault.partition(":")[0]


def planned(count: int, kinds: Sequence[str]) -> list[str]:
    """Name faults so that each kind has its share of any number of them."""
    given = Counter[str]()
    total = sum(KINDS[kind].share for kind in kinds)
    for number in range(1, count + 1):
        given[max(kinds, key=lambda kind: KINDS[kind].share * number / total - given[kind])] += 1
    return [f"{kind}:{number}" for kind in kinds for number in range(given[kind])]


def outcome(fault: str, seed: int, folder: Path, undisturbed: Undisturbed) -> Outcome:
    """Inflict one fault, which its name and the seed decide, and tell what came of it."""
    for draw in range(_DRAWS):
        found = _attempt(fault, f"{seed} {fault}" + (f" {draw}" if draw else ""), folder, undisturbed)
        if found.is_broken or found.is_inflicted:
            break
    return found


def _attempt(fault: str, drawn: str, folder: Path, undisturbed: Undisturbed) -> Outcome:
    trial = Trial(folder / fault.replace(":", "-"), random.Random(drawn), undisturbed)
    begun = time.monotonic()
    try:
        text, is_broken = KINDS[fault.partition(":")[0]].inflict(trial), False
    except BrokenPromiseError as broken:
        text, is_broken = str(broken), True
    except Exception as error:  # a fault of this script counts too: nothing was shown
        text, is_broken = f"{type(error).__name__}: {error}", True
        trial.log.append(traceback.format_exc())
    if not is_broken:
        shutil.rmtree(trial.root)
    return Outcome(fault, text, is_broken, trial.log, time.monotonic() - begun, "was over before" not in text)


def report(outcomes: Sequence[Outcome], skipped: dict[str, str], seed: int) -> None:
    """Print the table of kinds, and what leads to each broken promise again."""
    print("| fault | inflicted | kept | what came out |\n|---|---|---|---|")
    for kind in dict.fromkeys(outcome.kind for outcome in outcomes):
        own = [outcome for outcome in outcomes if outcome.kind == kind]
        texts = Counter(outcome.text for outcome in own).most_common()
        told = "; ".join(f"{text} ({count})" for text, count in texts)
        inflicted = [outcome for outcome in own if outcome.is_inflicted or outcome.is_broken]
        kept = sum(not outcome.is_broken for outcome in inflicted)
        print(f"| {kind} | {len(inflicted)} | {kept} | {told} |")
    for kind, reason in skipped.items():
        print(f"| {kind} | 0 | | skipped: {reason} |")
    broken = [outcome for outcome in outcomes if outcome.is_broken]
    count = sum(outcome.is_inflicted or outcome.is_broken for outcome in outcomes)
    print(f"\n{len(outcomes)} faults, {len(broken)} broken promises; {count} of the faults struck")
    for failure in broken:
        print(f"\n{failure.fault}: {failure.text}\npython tools/faults.py --seed {seed} --only {failure.fault}")
        print("\n".join(failure.log))


def main() -> None:
    """Plan the faults, inflict them, and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", help="a kind, or one fault of it; repeatable")
    parser.add_argument("--jobs", type=int, default=2, help="faults at a time")
    parser.add_argument("--out", type=Path, help="new folder in which those of broken promises are kept")
    arguments = parser.parse_args()
    _own_mounts()
    os.environ["OMP_NUM_THREADS"] = "1"  # of what runs are forked off
    wanted = arguments.only or list(KINDS)
    if unknown := [name for name in wanted if name.partition(":")[0] not in KINDS]:
        parser.error(f"There is no kind '{unknown[0]}', expected one of {', '.join(KINDS)}.")
    lacking = {kind: KINDS[kind].lacks() for kind in dict.fromkeys(name.partition(":")[0] for name in wanted)}
    skipped = {kind: reason for kind, reason in lacking.items() if reason}
    single = [name for name in wanted if ":" in name]
    kinds = [kind for kind in lacking if kind in wanted and kind not in skipped]
    faults = single or planned(arguments.faults, kinds)
    random.Random(arguments.seed).shuffle(faults)  # so that long ones are not all at the end
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.out or Path(temporary)
        folder.mkdir(parents=True, exist_ok=arguments.out is None)
        undisturbed = Undisturbed(Path(temporary) / "undisturbed")
        begun = time.monotonic()

        def inflict(fault: str) -> Outcome:
            found = outcome(fault, arguments.seed, folder, undisturbed)
            print(f"{found.fault}: {found.text} ({found.seconds:.0f} s)", file=sys.stderr, flush=True)
            return found

        with ThreadPoolExecutor(arguments.jobs) as executor:
            outcomes = sorted(executor.map(inflict, faults), key=lambda found: list(KINDS).index(found.kind))
    report(outcomes, skipped, arguments.seed)
    print(f"{(time.monotonic() - begun) / 60:.1f} minutes, {arguments.jobs} at a time")
    sys.exit(any(found.is_broken for found in outcomes))


def _own_mounts() -> None:
    """Begin again with mounts of its own, so that none of them outlives this process, however it ends."""
    if not fault_kinds.cannot_mount() and "FAULTS_OWN_MOUNTS" not in os.environ:
        os.environ["FAULTS_OWN_MOUNTS"] = "yes"
        os.execvp("unshare", ["unshare", "--mount", sys.executable, *sys.argv])


if __name__ == "__main__":
    main()
