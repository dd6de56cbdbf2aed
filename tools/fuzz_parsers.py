"""Run random inputs through every parser of trainless: each is read, or refused by an exception that says why.

    python tools/fuzz_parsers.py [--inputs 1000000] [--parser NAME ...] [--seconds N] [--seed N] [--out FOLDER]
                                 [--jobs N]

Inputs are mutations of a small corpus for each parser, by atheris, which follows what they reach in the code, where
that is installed (``pip install 'trainless[fuzz]'``, Linux), and by seeded mutations of our own otherwise. Each parser
runs in a process of its own. An exception that is not among those that the parser promises is printed with an input
that raises it, kept in the folder, and makes the exit code 1.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib.util
import json
import os
import random
import re
import resource
import secrets
import subprocess
import sys
import tempfile
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fuzz_corpus import PARSERS, Parser

MEMORY = 12 << 30  # address space, of which PyTorch's libraries take some; an input that needs more is a fault
LONGEST = 1 << 16  # bytes of an input
_MOST, _ENDLESS = 10**9, 1e9  # inputs and seconds, where the other ends it
_EDGES = (
    b"0",
    b"-1",
    b"9" * 30,
    b"nan",
    b"inf",
    b"\x00",
    b"\xff" * 8,
    b"\x80",
    b"(",
    b")",
    b",",
    b"=",
    b"\x1b",
    b"{",
    b"[",
)


class Check:
    """Runs inputs through a parser and notes each kind of fault once.

    Args:
        parser: what is run.
        folder: for files that the parser reads, and for the inputs that were faults.
    """

    def __init__(self, parser: Parser, folder: Path) -> None:
        self.folder, self.inputs, self.read, self.kinds = folder, 0, 0, dict[str, str]()
        self.harness = parser.make(folder)
        self.promised = parser.promised

    def __call__(self, content: bytes) -> None:
        """Run one input."""
        self.inputs += 1
        try:
            self.harness(content)
            self.read += 1
        except self.promised:
            return
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            own = next(
                (
                    frame
                    for frame in reversed(traceback.extract_tb(error.__traceback__))
                    if "/trainless/" in frame.filename
                ),
                place,
            )
            said = re.sub(r"[0-9]+|'[^']*'", "_", str(error))[:60]
            kind = f"{type(error).__name__} at {Path(own.filename).name}:{own.lineno}: {said!r}"
            if kind not in self.kinds:
                name = hashlib.sha256(content).hexdigest()[:12]
                (self.folder / f"fault-{name}").write_bytes(content)
                self.kinds[kind] = name
                print(f"  {kind} {content[:80]!r} fault-{name}", flush=True)

    def report(self) -> None:
        """Write what was found, for the process that started this one."""
        document = {"inputs": self.inputs, "read": self.read, "kinds": self.kinds}
        (self.folder / "report.json").write_text(json.dumps(document), encoding="utf-8")


def mutated(content: bytes, corpus: list[bytes], rng: random.Random) -> bytes:
    """Change an input in one to four places."""
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4))):
        at, size = rng.randint(0, len(changed)), rng.choice((1, 1, 2, 4, 8, rng.randint(1, 64)))
        kind = rng.randrange(7)
        if kind == 0 and at < len(changed):
            changed[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            changed[at:at] = rng.randbytes(size)
        elif kind == 2:
            del changed[at : at + size]
        elif kind == 3:
            changed[at:at] = changed[at : at + size] * rng.choice((1, 2, 50))
        elif kind == 4:
            changed[at : at + rng.choice((0, size))] = rng.choice(_EDGES)
        elif kind == 5:
            other = rng.choice(corpus)
            start = rng.randint(0, len(other))
            changed[at : at + size] = other[start : start + rng.choice((size, len(other)))]
        else:
            changed[at:] = b"" if rng.random() < 0.2 else changed[at:][::-1] if rng.random() < 0.1 else changed[at:]
    return bytes(changed[:LONGEST])


def run_mutations(check: Check, corpus: list[bytes], inputs: int, seconds: float, seed: int) -> None:
    """Run seeded mutations of a corpus until there were so many, or the time is over."""
    rng, end = random.Random(seed), time.monotonic() + seconds
    for content in corpus:
        check(content)
    while check.inputs < inputs and time.monotonic() < end:
        check(mutated(rng.choice(corpus), corpus, rng))
    check.report()


def run_atheris(check: Check, corpus: list[bytes], inputs: int, seconds: float, seed: int) -> None:
    """Run inputs that atheris makes of a corpus; it ends the process."""
    import atheris

    folder = check.folder / "corpus"
    folder.mkdir(exist_ok=True)
    for number, content in enumerate(corpus):
        (folder / f"{number}").write_bytes(content)

    def run(content: bytes) -> None:
        check(content)
        if check.inputs >= inputs or check.inputs % 100 == 0:
            check.report()

    options = {
        "runs": inputs, "max_total_time": int(seconds), "seed": seed % 2**31 or 1, "max_len": LONGEST, "timeout": 60,
        "rss_limit_mb": 0, "verbosity": 0, "print_final_stats": 0, "artifact_prefix": f"{check.folder}/",
    }  # fmt: skip
    atheris.Setup([sys.argv[0], *(f"-{name}={value}" for name, value in options.items()), str(folder)], run)
    atheris.Fuzz()


def run_parser(name: str, inputs: int, seconds: float, seed: int, folder: Path, plain: bool) -> None:
    """Run one parser in this process."""
    with_atheris = not plain and importlib.util.find_spec("atheris") is not None
    if with_atheris:
        import atheris

        imports: contextlib.AbstractContextManager[object] = atheris.instrument_imports(include=["trainless"])
    else:
        imports = contextlib.nullcontext()
    parser = PARSERS[name]
    corpus = parser.corpus()  # by modules that need not be followed
    with imports:
        for module in [known for known in sys.modules if known.split(".")[0] == "trainless"]:
            del sys.modules[module]
        parser.warm()
        check = Check(parser, folder)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    (run_atheris if with_atheris else run_mutations)(check, corpus, inputs, seconds, seed)


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--inputs", type=int, default=None, help="for each parser; default as many as there is time for"
    )
    parser.add_argument(
        "--parser", nargs="*", choices=sorted(PARSERS), default=sorted(PARSERS), help="which; default all"
    )
    parser.add_argument(
        "--seconds", type=float, default=None, help="most for each parser; default 600, or any where --inputs are given"
    )
    parser.add_argument("--jobs", type=int, default=1, help="parsers at a time")
    parser.add_argument("--seed", type=int, default=None, help="default a fresh one, which is printed")
    parser.add_argument("--out", type=Path, default=None, help="folder for inputs that were faults")
    parser.add_argument("--plain", action="store_true", help="take seeded mutations of our own though atheris is there")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.seconds is None:
        arguments.seconds = 600.0 if arguments.inputs is None else _ENDLESS
    arguments.inputs = arguments.inputs or _MOST
    seed = secrets.randbelow(10**6) if arguments.seed is None else arguments.seed
    folder = arguments.out or Path(tempfile.mkdtemp(prefix="trainless-parsers-"))
    if arguments.here:
        (name,) = arguments.parser
        run_parser(name, arguments.inputs, arguments.seconds, seed, folder, arguments.plain)
        return
    print(f"seed {seed}, in {folder}", flush=True)

    def checked(name: str) -> int:
        own = folder / name
        own.mkdir(parents=True, exist_ok=True)
        command = [
            sys.executable, __file__, "--here", "--parser", name, "--inputs", str(arguments.inputs), "--seconds",
            str(arguments.seconds), "--seed", str(seed), "--out", str(own), *(["--plain"] if arguments.plain else []),
        ]  # fmt: skip
        begun = time.monotonic()
        with (own / "log").open("w", encoding="utf-8") as log:
            done = subprocess.run(
                command, stdout=log, stderr=subprocess.STDOUT, env={**os.environ, "OMP_NUM_THREADS": "1"}
            )
        report = own / "report.json"
        found = (
            json.loads(report.read_text(encoding="utf-8")) if report.exists() else {"inputs": 0, "read": 0, "kinds": {}}
        )
        faults = {**found["kinds"], **({f"the process ended with {done.returncode}": "log"} if done.returncode else {})}
        seconds = time.monotonic() - begun
        told = f"{found['inputs']:,} inputs in {seconds:.0f} s, {found['read']:,} read, {len(faults)} faults"
        print("\n".join([f"{name}: {told}", *(f"  {kind} ({file})" for kind, file in faults.items())]), flush=True)
        return len(faults)

    with ThreadPoolExecutor(arguments.jobs) as pool:
        sys.exit(any(list(pool.map(checked, arguments.parser))))


if __name__ == "__main__":
    main()
