"""What the benchmark scripts share: where the real data is, and what the figures were measured on."""

from __future__ import annotations

import csv
import os
import platform
import random
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from scipy import stats

from trainless.errors import StoreError
from trainless.evaluation import EquivalenceClass, ScoringSettings, score_class
from trainless.store import Store

__all__ = [
    "append_row", "data_folder", "interval", "killed", "machine", "matrix_product_peak", "print_table", "read_rows",
    "report_kills", "score_timed", "seconds", "stored",
]  # fmt: skip


def data_folder() -> Path:
    """The folder that TRAINLESS_DATA names, or shared/data beside the project."""
    folder = Path(os.environ.get("TRAINLESS_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
    if not folder.is_dir():
        raise SystemExit(f"The real data is not at {folder}: set TRAINLESS_DATA to its folder.")
    return folder


def machine() -> str:
    """One line on what the figures were measured on."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}, torch {torch.__version__}"


def seconds(function: Callable[[], object], repeats: int = 3) -> float:
    """Shortest wall-clock time of several runs."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def score_timed(protocol: ScoringSettings, unit: EquivalenceClass) -> tuple[float, float]:
    """Seconds that the scores of a network take, and those of the processor in this thread, which computes them."""
    start, before = time.perf_counter(), time.thread_time()
    score_class(protocol, unit)
    return time.perf_counter() - start, time.thread_time() - before


def matrix_product_peak(threads: int, device: str = "cpu", dtype: torch.dtype = torch.float32) -> float:
    """FLOP a second of a product of matrices, of 2,048 x 2,048 on the CPU, a multiply-add counting two."""
    before, size = torch.get_num_threads(), 2048 if device == "cpu" else 8192
    torch.set_num_threads(threads)
    a = torch.randn(size, size, device=device).to(dtype)
    peak = 2 * size**3 / seconds(lambda: (a @ a)[0, 0].item(), 5)  # a number that is read is there
    torch.set_num_threads(before)
    return peak


def print_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a Markdown table with aligned columns."""
    texts = [list(header), *([f"{v:.3f}" if isinstance(v, float) else str(v) for v in row] for row in rows)]
    widths = [max(len(row[i]) for row in texts) for i in range(len(header))]
    for number, row in enumerate(texts):
        print("| " + " | ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) + " |")
        if number == 0:
            print("|" + "|".join("-" * (width + 2) for width in widths) + "|")


def interval(values: Sequence[float]) -> str:
    """Mean and Student's 95 % interval."""
    mean = np.mean(values)
    if len(values) < 2:
        return f"{mean:.2f}"
    half = stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5
    return f"{mean:.2f} ({mean - half:.2f} to {mean + half:.2f})"


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a file that `append_row` wrote; a last line that was cut off is none."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if None not in row.values()]


def append_row(path: Path, row: Mapping[str, object]) -> None:
    """Write a row to the end of a CSV file."""
    is_new = not path.exists()
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        if is_new:
            writer.writeheader()
        writer.writerow(row)


def killed(command: list[str], store: Path, moments: random.Random) -> int:
    """Start a command, kill it at a random moment after it stored something new, and count what is stored."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    begun = stored(store)
    while stored(store) <= begun and process.poll() is None:
        time.sleep(0.05)
    time.sleep(moments.random() / 4)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    return stored(store)


def report_kills(counts: Sequence[int], killed_store: Path, alone_store: Path, what: str, *, same: bool) -> None:
    """Print what was stored at each kill, and whether what came out in the end is the same as without any."""
    total = stored(killed_store)
    print("scores stored at each kill:", ", ".join(map(str, counts)))
    print(
        f"{len(counts)} kills, {sum(count < total for count in counts)} of them before the end; the {what} is "
        f"{'the same' if same else 'ANOTHER'}; {total} scores stored, {stored(alone_store)} without a kill"
    )
    print(machine())


def stored(path: Path) -> int:
    """How many scores a store holds, 0 where there is none yet."""
    try:
        with Store(path, create=False) as store:
            return store.count()
    except StoreError:
        return 0
