"""Faults from within: damaged files, weights that are no numbers, proxies that raise, hang or exhaust memory."""

from __future__ import annotations

import random
import shutil
import sys
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from fault_kinds import kill_in_stage
from fault_runs import FIT, REASON, SCORE, SEARCH, SPACE, STATUS, SUITE, TRUST, VALUES, Trial, stored_rows
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from trainless.search_spaces import search_space

__all__ = [
    "damaged_checkpoint", "damaged_run", "damaged_store", "killed_tuning", "nan_weights", "proxy_exhausts_memory",
    "proxy_hangs", "proxy_kills", "proxy_raises",
]  # fmt: skip

_PAGE = 4096
_WAL_HEADER, _FRAME = 32, 24  # bytes of SQLite's write-ahead log before its frames, and before the page of each

# What happens to a file.


def _truncated(content: bytes, numbers: random.Random) -> bytes:
    return content[: numbers.randrange(len(content))]


def _zeroed(content: bytes, numbers: random.Random) -> bytes:
    begin = numbers.randrange(0, len(content), _PAGE)
    return content[:begin] + bytes(len(content[begin : begin + _PAGE])) + content[begin + _PAGE :]


def _overwritten(content: bytes, numbers: random.Random) -> bytes:
    begin, length = numbers.randrange(len(content)), numbers.randint(1, 512)
    return content[:begin] + numbers.randbytes(len(content[begin : begin + length])) + content[begin + length :]


def _damage(path: Path, numbers: random.Random) -> str:
    """Damage a file at random; says how."""
    change: Callable[[bytes, random.Random], bytes] = numbers.choice([_truncated, _zeroed, _overwritten])
    path.write_bytes(change(path.read_bytes(), numbers))
    return change.__name__.removeprefix("_")


def _is_as_it_was(content: bytes, before: bytes, ahead: bytes) -> bool:
    """Whether no page has changed but those that the killed run wrote ahead, which SQLite itself brings into a file."""
    page = int.from_bytes(ahead[8:12], "big")
    if not page:
        return content == before
    written = {
        int.from_bytes(ahead[start : start + 4], "big") - 1 for start in range(_WAL_HEADER, len(ahead), _FRAME + page)
    }
    return all(
        content[start : start + page] == before[start : start + page]
        for start in range(0, min(len(content), len(before)) // page * page, page)
        if start // page not in written
    )


def damaged_store(trial: Trial) -> str:
    """Damage the store of a run that was killed, and run the same again: a refusal, or the same result."""
    program = trial.moments.choice((SCORE, SCORE, SEARCH, SUITE, TRUST))
    process = trial.start(program)
    trial.wait_for_rows(process, trial.folder / program.store)
    process.kill()
    trial.finish(process)
    store = trial.folder / program.store
    kept = stored_rows(store)
    copies = {path: path.read_bytes() for path in store.parent.glob(store.name + "*") if path.is_file()}
    how = _damage(store, trial.moments)
    damaged = store.read_bytes()
    done = trial.finish(trial.start(program), code=(2, 0))
    if done.code == 0:
        trial.same(program)
        return f"{how}: the same result"
    trial.expect(str(store) in done.err, "the sentence does not name the store")
    ahead = copies.get(store.with_name(f"{store.name}-wal"), b"")
    trial.expect(_is_as_it_was(store.read_bytes(), damaged, ahead), "the damaged store was overwritten")
    for path in store.parent.glob(store.name + "*"):
        path.unlink()
    for path, content in copies.items():
        path.write_bytes(content)
    trial.resume(program, before=kept)
    return f"{how}: refused, with its copy the same result"


def damaged_checkpoint(trial: Trial) -> str:
    """Damage the checkpoint of a fit that was killed: a refusal that overwrites nothing, or the same result."""
    if not kill_in_stage(trial, FIT, "training"):
        return "was over before"
    path = trial.folder / "run" / "unfinished.pt"
    trial.expect(path.exists(), "the fit has kept nothing when its training began")
    whole = path.read_bytes()
    how = _damage(path, trial.moments)
    damaged = path.read_bytes()
    done = trial.finish(trial.start(FIT), code=(2, 0))
    if done.code == 0:
        trial.same(FIT)
        trial.expect(damaged == whole, "a damaged checkpoint was overwritten in silence")
        return f"{how}: the same result"
    trial.expect(path.read_bytes() == damaged, "the damaged checkpoint was overwritten")
    path.write_bytes(whole)
    trial.resume(FIT)
    return f"{how}: refused, with its copy the same result"


def killed_tuning(trial: Trial) -> str:
    """Send ``kill -9`` to a fit while it tunes; what it comes to depends on the time, so only that it does is held."""
    given = dict(zip(FIT.arguments[2::2], FIT.arguments[3::2], strict=True))
    del given["--epochs"]
    # With few images to learn from and many to choose by there is time to tune, and it is worth it.
    given |= {"--time": "100s", "--valid-share": "0.75", "--test-share": "0.1"}
    options = [text for option in given.items() for text in option]
    program = replace(FIT, name="fit in time", arguments=(*FIT.arguments[:2], *options))
    is_alive = kill_in_stage(trial, program, "tuning")
    kept, facts = stored_rows(trial.folder / program.store), trial.folder / "run" / "fit.json"
    if facts.exists():
        return "was over before"
    trial.finish(trial.start(program), code=0)
    trial.expect(facts.exists(), "no network after exit code 0")
    trial.kept(kept, stored_rows(trial.folder / program.store))
    return "went on to a network" if is_alive else "was over before"


# Finished runs.


def _predicted(trial: Trial, run: Path, code: int | tuple[int, ...]) -> tuple[int, str]:
    """Let a finished run classify images: its exit code, and what it predicts."""
    photos, rows = trial.folder / "photos", trial.folder / "predictions.csv"
    photos.mkdir(exist_ok=True)
    for number in range(8):
        pixels = np.random.default_rng(number).integers(0, 255, (8, 8), dtype=np.uint8)
        Image.fromarray(pixels).save(photos / f"{number}.png")
    rows.unlink(missing_ok=True)
    done = trial.finish(trial.start(trial.trainless("predict", str(run), str(photos), "--csv", str(rows))), code=code)
    return done.code, rows.read_text(encoding="utf-8") if done.code == 0 else ""


def _copied_run(trial: Trial) -> Path:
    return Path(shutil.copytree(trial.undisturbed(FIT).folder / "run", trial.folder / "run"))


def damaged_run(trial: Trial) -> str:
    """Damage a file of a finished run: it refuses to predict, or predicts the same."""
    run = _copied_run(trial)
    _, expected = _predicted(trial, run, 0)
    path = run / trial.moments.choice(["fit.json", "network.py", "model.safetensors", "model.safetensors"])
    how = _damage(path, trial.moments)
    code, found = _predicted(trial, run, (2, 0))
    trial.expect(code == 2 or found == expected, f"other predictions from a damaged {path.name}, without a word")
    return f"{path.name} {how}: {'refused' if code else 'not needed, the same predictions'}"


def nan_weights(trial: Trial) -> str:
    """Put NaN among weights: of a finished run, and of networks that are scored."""
    return trial.moments.choice([_nan_in_run, _nan_in_start, _nan_in_scoring])(trial)


def _poisoned(trial: Trial) -> Path:
    run = _copied_run(trial)
    weights = load_file(run / "model.safetensors")
    name = trial.moments.choice(sorted(name for name, tensor in weights.items() if tensor.is_floating_point()))
    weights[name].view(-1)[trial.moments.randrange(weights[name].numel())] = torch.nan
    with safe_open(run / "model.safetensors", "pt") as file:
        facts = file.metadata()
    save_file(weights, run / "model.safetensors", facts)
    return run


def _nan_in_run(trial: Trial) -> str:
    _predicted(trial, _poisoned(trial), 2)
    return "a run that predicts: refused"


def _nan_in_start(trial: Trial) -> str:
    run = _poisoned(trial)
    arguments = tuple(argument.replace("{folder}/run", "{folder}/next") for argument in FIT.arguments)
    program = replace(FIT, arguments=(*arguments, "--from", str(run)))
    trial.finish(trial.start(program), code=2)
    return "a run to start from: refused"


_SCORING = """
import sys, zlib
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from trainless import Scorer
from trainless.search_spaces import search_space


@dataclass(frozen=True)
class Poisoned(type(search_space("nasbench201"))):
    def start(self, network, architecture):
        if zlib.crc32(str(architecture).encode()) % 3 == {remainder}:
            next(network.parameters()).data.view(-1)[0] = float("nan")


if __name__ == "__main__":
    space, kind = search_space("{space}"), Poisoned if sys.argv[1] == "poisoned" else type(search_space("nasbench201"))
    rng = np.random.default_rng(0)
    cells = [space.sample(rng) for _ in range(20)]
    scorer = Scorer(kind(**space.options), "params,snip,nwot,zen", "digits", batch_size=16, workers=int(sys.argv[2]))
    scorer.score(cells).to_csv(sys.argv[3])
"""


def _nan_in_scoring(trial: Trial) -> str:
    remainder = trial.moments.randrange(3)
    script = trial.folder / "poisoned.py"
    script.write_text(_SCORING.replace("{remainder}", str(remainder)).replace("{space}", SPACE), encoding="utf-8")
    tables = {}
    for name, workers in (("whole", "0"), ("poisoned", trial.moments.choice(["0", "2"]))):
        rows = trial.folder / f"{name}.csv"
        trial.finish(trial.start([sys.executable, str(script), name, workers, str(rows)]), code=0)
        tables[name] = pd.read_csv(rows, index_col=0, float_precision="round_trip")
    whole, poisoned = tables["whole"], tables["poisoned"]
    space = search_space(SPACE)
    built = [str(space.canonical(space.parse(cell))) for cell in whole.index]
    is_poisoned = np.array([zlib.crc32(cell.encode()) % 3 == remainder for cell in built])
    trial.expect(whole[~is_poisoned].equals(poisoned[~is_poisoned]), "whole networks have other scores beside NaN")
    read = poisoned.loc[is_poisoned, ["snip", "nwot"]]
    trial.expect(not np.isfinite(read.to_numpy()).any(), f"finite scores of NaN weights: {read}")
    return "networks that are scored: no finite number of theirs, the others as ever"


# Proxies.

_PROXY = '''
"""A proxy of one's own that fails for some networks."""

import os, signal, time

from trainless.passes import PassSpec, Signal
from trainless.proxies import Proxy


def fault():
    {fault}


def formula(signals):
    value = float(signals.weight_gradients[0].double().square().sum())
    if int(value * 1e9) % {modulus} == 0:
        fault()
    return value


MINE = Proxy("mine", formula, PassSpec(), frozenset({Signal.WEIGHT_GRADIENTS}), data_independent=False,
             paper="none", summary="a fault", when_not_finite="none")
'''


def _proxy_fails(trial: Trial, fault: str, told: str, *options: str) -> str:
    """Run the suite with a proxy that fails for some networks, then once more with the fault mended."""
    modulus, file = trial.moments.choice([3, 4, 5]), trial.folder / "mine.py"
    program = replace(SUITE, arguments=(*SUITE.arguments, "--proxy", f"{file}:MINE", "--seeds", "1"))

    def write(text: str) -> None:
        file.write_text(_PROXY.replace("{modulus}", str(modulus)).replace("{fault}", text), encoding="utf-8")

    write("pass")
    trial.finish(trial.start(program), code=0)
    expected, whole = program.result(trial.folder), stored_rows(trial.folder / program.store)
    shutil.rmtree(trial.folder / "suite")
    write(fault)
    trial.finish(trial.start(program, *_workers_of(trial), *options), code=0)
    rows = stored_rows(trial.folder / program.store)
    failed = [row for row in rows.values() if row[STATUS] == "failed"]
    trial.expect(all(told in row[REASON] for row in failed), f"another reason than '{told}': {failed[:1]}")
    trial.expect(set(rows) == set(whole), "not every score has a value or a reason")
    others = [key for key, row in rows.items() if row[STATUS] != "failed" and row[VALUES] != whole[key][VALUES]]
    trial.expect(not others, "other networks have other scores than without the fault")
    write("pass")
    trial.finish(trial.start(program), code=0)
    trial.expect(program.result(trial.folder) == expected, "another result once the fault was mended")
    trial.kept(rows, stored_rows(trial.folder / program.store))
    return "failed with a reason, the others as ever" if failed else "no network met the fault"


def _workers_of(trial: Trial) -> tuple[str, str]:
    return "--workers", trial.moments.choice(["0", "1", "2"])


def proxy_raises(trial: Trial) -> str:
    """Let a proxy raise for some networks."""
    return _proxy_fails(trial, 'raise KeyError("no such thing")', "KeyError")


def proxy_hangs(trial: Trial) -> str:
    """Let a proxy hang for some networks."""
    return _proxy_fails(trial, "time.sleep(1e6)", "took longer than", "--timeout", "5s")


def proxy_exhausts_memory(trial: Trial) -> str:
    """Let a proxy take memory without end for some networks."""
    return _proxy_fails(
        trial, "kept = []\n    while True: kept.append(bytearray(64 << 20))", "memory", "--memory-limit", "1.5GB"
    )


def proxy_kills(trial: Trial) -> str:
    """Let the process be killed for some networks, as the kernel does where memory runs out."""
    return _proxy_fails(trial, "os.kill(os.getpid(), signal.SIGKILL)", "died", "--workers", "2")
