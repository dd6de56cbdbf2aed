"""Random command lines of trainless for `tools/fuzz_commands.py`: verbs and options are those that the program has.

A value is made by the name of its option, by the names and files that it may stand for; where nothing is known of a
name, by what its help and default say. So a new option is met without a word here.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import typer.main

from trainless.cli import app

ENDLESS = ("ui",)  # commands that serve until they are interrupted: they only get ports that there are not
WRITTEN = ("out", "csv", "parquet", "figure", "figures", "checkpoint", "study", "store", "target")
# Commands that only read a store.
READING = (
    "show", "evaluate", "report", "hybrid fit", "replay", "reproduce thesis", "store check", "store stats",
)  # fmt: skip

_NUMBERS = (
    "0", "-1", "1", "2", "3", "4", "7", "-0", "+1", "1.5", "0.5", "1e3", "1e400", "-1e-300", "nan", "inf", "-inf",
    "2147483648", "4294967296", "9223372036854775807", "9223372036854775808", "-9223372036854775809", "1" + "0" * 30,
    "1" * 5000, "0x10", "1_000", "١٢", "½", "1 ", " 1", "1,5", "1;2", "--", "true", "None",
)  # fmt: skip
_TEXTS = (
    "", " ", ",", ",,", "'", '"', '"a', "\\", "(", ")", "a(", "a(b", "a)", "a(b=c)", "a(b=(c)", "=", "a=b", "%s", "{}",
    "{0}", "*", "?", "~", "~nobody", "..", "../..", "/", "/dev/null", "/dev/zero", ".", "-", "-x", "--", "@", "a" * 300,
    "a" * 5000, "a/" * 2000, "\x1b[31mred\x1b[0m", "two\nlines", "tab\there", "carriage\rreturn", "猫", "e\u0301",
    "\u202eright", "\ufeff", "\udcff", "a\udce4b", "<script>", "'; DROP TABLE scores;--", "$(touch made)",
    "=1+1", "&amp;", "NaN", "all", "none", "digits", "\x7f", "\x01", "(" * 500, "a(" * 200 + ")" * 200, "😀",
)  # fmt: skip
_TIMES = ("10s", "0s", "1s", "-1s", "1e9h", "5", "5x", "2m", "0.5s", "nans", "infm", "s", "1h30m", "10 s")
_BUDGETS = ("1", "2", "3", "5", "0", "-1", "1s", "1s,2", "2,1s", "0s,0", "1,1", "1s,1s", ",", "1e2", "nan")
_URLS = (
    "sqlite://", "sqlite:///out/url.db", "sqlite:///stores/good.db", "sqlite:////nowhere/a.db", "sqlite:///",
    "sqlite:///stores/good.db?mode=ro", "postgresql+psycopg://nobody:secret@127.0.0.1:1/a", "mysql://127.0.0.1/a",
    "http://127.0.0.1:1/a", "://", "a://b", "sqlite+aiosqlite:///a", "postgresql://127.0.0.1:99999/a", "file:///a",
)  # fmt: skip
_OUTPUTS = (
    "out/a.csv", "out/a.html", "out/a.png", "out/a.svg", "out/a.pdf", "out/a.parquet", "out/a.json", "out/a", "out/new",
    "out/new/er", "out/a.db", "out", ".", "missing/a.csv", "images/one.png", "images/one.png/a", "/proc/a.csv",
    "/dev/full", "out/猫.png", "out/a\nb.csv", "out/a.tiff", "out/.csv", "out/a.CSV",
)  # fmt: skip
_ARCHITECTURES = (
    "|nor_conv_1x1~0|+|nor_conv_3x3~0|none~1|+|avg_pool_3x3~0|nor_conv_1x1~1|nor_conv_3x3~2|",
    "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|", "8:8:8:8:8", "64-1234-basic", "00000000", "12345", "0", "-1",
    "k3e4d2w100-k5e3d1w75se-k3e6d4w50-k7e2d3w150-k5e6d2w100se", "input()", "output(0)",
)  # fmt: skip
_GOOD = {
    "data": ("digits", "images/pets", "images/colours", "images/parts", "arrays/good.npz", "batches/binary",
             "lists/pets.csv"),
    "images": ("images/pets", "images/one.png", "images/names"), "run": ("runs/finished",),
    "store": ("stores/good.db",), "table": ("tables/toy.csv", "tables/two.csv"),
    "architectures": ("tables/architectures.txt",),
    "dataset": ("cifar10",), "split": ("valid", "test"), "architecture": _ARCHITECTURES[:2],
    "files": ("files/proxy.py",), "out": ("out/a.csv", "out/a.html", "out/new", "out/a.png", "out/a.parquet"),
}  # fmt: skip
_INTEGERS = ("1", "2", "3", "4", "8", "16", "20")
_RARE = {"data": 0.5, "go_on": 0.2, "resume": 0.2}  # how often these are given
_FREQUENT = (
    "epochs",
    "evaluations",
    "workers",
    "budget",
    "sample",
    "split",
    "dataset",
    "table",
)  # what is asked for, or keeps work small
_SELDOM = {"quickstart": 1, "ui": 2, "export": 4}  # commands that take long, or tell little
_NUMBER = re.compile(r"-?[0-9][0-9.]*")


@dataclass
class Line:
    """One command line and what may be expected of it.

    Args:
        arguments: all behind the name of the program.
        command: its verb.
        outputs: where it may write.
        json: whether it asks for one JSON document.
        interrupt: seconds after which it is interrupted; None for never.
    """

    arguments: list[str]
    command: str
    outputs: list[str] = field(default_factory=list)
    json: bool = False
    interrupt: float | None = None


@cache
def commands() -> dict[str, list[Any]]:
    """All commands of the program by name, with their parameters."""
    return dict(_walk(typer.main.get_command(app), ""))


def _walk(command: Any, path: str) -> Iterator[tuple[str, list[Any]]]:
    subcommands = getattr(command, "commands", {})
    if not subcommands or (path and command.invoke_without_command):
        yield path, command.params
    for name, subcommand in subcommands.items():
        yield from _walk(subcommand, f"{path} {name}".strip())


class Writer:
    """Writes command lines.

    Args:
        folder: the inputs, as `fuzz_inputs.make_inputs` makes them.
    """

    def __init__(self, folder: Path) -> None:
        self.pools = {
            "data": ["digits", *_entries(folder, "images", "arrays", "batches", "lists"), "images/nowhere"],
            "images": _entries(folder, "images"),
            "run": _entries(folder, "runs"),
            "store": [*_entries(folder, "stores"), *_URLS],
            "table": [*_entries(folder, "tables"), "nasbench201", "hw-nas-bench"],
            "architectures": ["tables/architectures.txt", "tables/wrong.txt", "tables/latin.txt", "tables/toy.csv"],
            "files": _entries(folder, "files"),
            "out": list(_OUTPUTS),
        }

    def write(self, seed: int, number: int) -> Line:
        """Write the command line of a number: always the same for the same seed."""
        rng = random.Random(f"{seed}:{number}")
        names = list(commands())
        name = rng.choices(names, [_SELDOM.get(name, 3 + len(commands()[name])) for name in names])[0]
        # So many of the values are bad: work is reached by some lines, and refusals by others for one reason.
        mood = rng.choices(("good", "one", "wild"), (45, 40, 15))[0]
        parameters = [parameter for parameter in commands()[name] if self._is_given(parameter, rng)]
        valued = [parameter for parameter in parameters if not getattr(parameter, "is_flag", False)] or parameters
        bad = rng.choice(valued).name if mood == "one" and valued else None
        line = Line(name.split(), name)
        given: list[list[str]] = []
        positional: list[str] = []
        for parameter in parameters:
            is_bad = parameter.name == bad or (mood == "wild" and rng.random() < 0.4)
            words = self._words(parameter, name, is_bad, rng)
            if parameter.param_type_name == "argument":
                positional += words
            else:
                given.append(words)
            if parameter.name in WRITTEN and not (parameter.name == "store" and name in READING):
                line.outputs.append(words[-1].partition("=")[2] if words[0] == words[-1] else words[-1])
        if name in ENDLESS:
            given.append(["--port", rng.choice(("-1", "70000", "a", "", "1e3"))])
        line.arguments += self._arranged(positional, given, mood, rng)
        line.json = "--json" in line.arguments and not {"-h", "--help", "--version", "--"} & set(line.arguments)
        line.outputs += [str(parameter.default) for parameter in commands()[name] if parameter.name in WRITTEN]
        line.outputs += (
            positional[:1] if name == "export" else ["cache"] if name in ("tables get", "scores import") else []
        )
        if mood == "good" and rng.random() < 0.05:
            line.interrupt = rng.uniform(0.05, 2)
        return line

    def _is_given(self, parameter: Any, rng: random.Random) -> bool:
        default = str(parameter.default)
        if parameter.required:
            return rng.random() < 0.97
        if parameter.name == "as_json":
            return rng.random() < 0.5
        if parameter.name in _FREQUENT or (
            _NUMBER.fullmatch(default) and float(default) > 8 and parameter.name != "port"
        ):
            return rng.random() < 0.93
        if parameter.name in ("space", "out", "store"):
            return rng.random() < 0.7
        return rng.random() < _RARE.get(parameter.name, 0.12)

    def _words(self, parameter: Any, command: str, is_bad: bool, rng: random.Random) -> list[str]:
        """What stands for one parameter: its option, where it is one, and its value."""
        options = [*parameter.opts, *parameter.secondary_opts]
        if getattr(parameter, "is_flag", False):
            return [rng.choice(options) + ("=1" if is_bad and rng.random() < 0.1 else "")]
        repeats = 2 if parameter.multiple and rng.random() < 0.4 else 1
        words: list[str] = []
        for _ in range(repeats):
            value = self._bad(parameter, rng) if is_bad else self._value(parameter, command, rng)
            if parameter.param_type_name == "argument":
                words.append(value)
            else:
                words += [f"{options[0]}={value}"] if rng.random() < 0.2 else [options[0], value]
        return words

    def _arranged(self, positional: list[str], given: list[list[str]], mood: str, rng: random.Random) -> list[str]:
        parts = [[word] for word in positional] + given
        if rng.random() < 0.3:
            rng.shuffle(given)
            parts = given + [[word] for word in positional]
        words = [word for part in parts for word in part]
        if mood == "wild" and rng.random() < 0.3:
            stray = rng.choice(["-h", "--help", "--nothing", "--version", "--", rng.choice(_TEXTS), "--see", "--out"])
            words.insert(rng.randint(0, len(words)), stray)
        if mood == "wild" and words and rng.random() < 0.2:
            del words[rng.randrange(len(words))]
        return words

    def _bad(self, parameter: Any, rng: random.Random) -> str:
        """A value at or over an edge, one of another kind, or a good one with a letter changed."""
        kind = rng.random()
        if kind < 0.35:
            return rng.choice(_NUMBERS)
        if kind < 0.6:
            return rng.choice(_TEXTS)
        if kind < 0.75:
            return rng.choice(rng.choice(list(self.pools.values())))
        return _mutated(self._value(parameter, "", rng), rng)

    def _value(self, parameter: Any, command: str, rng: random.Random) -> str:
        name, kind = parameter.name, parameter.type_descriptor.annotation
        if kind not in (int, float) and (pool := self._pool(name, command, rng)):
            return rng.choice(pool)
        if name in ("workers", "epochs", "evaluations", "run_off", "seed") and rng.random() < 0.9:
            return rng.choice(("0", "0", "0", "1") if name == "workers" else ("1", "1", "2", "0"))
        if name == "resamples":
            return rng.choice(("0", "20"))
        if name in ("budget", "time"):
            return rng.choice(_BUDGETS[:4] if name == "budget" else _TIMES[:3])
        words = [word for word in _words_of(parameter) if kind is not float or _NUMBER.fullmatch(word)]
        return rng.choice(_INTEGERS if kind is int or not words else words)

    def _pool(self, name: str, command: str, rng: random.Random) -> Sequence[str]:
        """Where values of an option come from by its name; empty where that is not known."""
        if name in ("space", "spaces"):
            return _specs("spaces") if rng.random() < 0.5 else ("nasbench201(channels=2, cells=1)",)
        if name in ("strategy", "strategies", "estimators", "proxies", "score", "scores", "objective"):
            return _specs(name)
        if name == "architecture":
            return _ARCHITECTURES
        pools: dict[str, Sequence[str]] = {key: self.pools[key] for key in self.pools}
        if rng.random() < 0.75:
            pools |= _GOOD
        if name in ("from_run", "grow", "shrink") or (name == "run" and command in ("predict", "export")):
            return pools["run"]
        if name == "run":
            return ()
        if name == "store" and command not in READING and rng.random() < 0.5:
            return ("out/scores.db", "out/other.db")
        if name in ("proxy", "backbone"):
            return [f"{path}{rng.choice((':MINE', ':NONE', ''))}" for path in pools["files"]]
        if name == "source":
            return pools["store"] if command == "store copy" else [*pools["table"], "public"]
        if name == "target":
            return ("out/scores.db", "out/copy.db")
        if name == "data" and command.startswith(("tables", "scores", "reproduce")):
            return ("public", "tables", "missing")
        return pools.get("out" if name in WRITTEN and name != "store" else name, ())


def _entries(folder: Path, *rooms: str) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for room in rooms for path in (folder / room).iterdir())


@cache
def _words_of(parameter: Any) -> list[str]:
    """Words of an option's help and its default, some of which are values that it takes."""
    text = f"{parameter.help} {parameter.default or ''}"
    examples = re.findall(r"such as '?([\w.:=()%/-]*[\w)%])", text)
    return [*(examples * 20), *re.findall(r"[\w(][\w.:=()%/-]*[\w)%]|\w", text)]


@cache
def _specs(name: str) -> list[str]:
    """Names with options, as the registries of the program have them, small where an option says how much."""
    from trainless.aggregation import AGGREGATES, NAMED_AGGREGATES
    from trainless.costs import COSTS
    from trainless.estimators import ESTIMATORS
    from trainless.proxies import PROXIES
    from trainless.search_spaces import SEARCH_SPACES
    from trainless.strategies import CONTEXT, STRATEGIES

    rng = random.Random(name)
    some = ["params", "flops", "nwot", "snip", "grad_norm", "synflow", "logsynflow"]
    if name in ("space", "spaces"):
        return [text for key, kind in SEARCH_SPACES.items() for text in _with_options(key, kind, (), rng)]
    if name in ("strategy", "strategies"):
        return [text for key, kind in STRATEGIES.items() for text in _with_options(key, kind, CONTEXT, rng)]
    estimators = [text for key, kind in ESTIMATORS.items() for text in _with_options(key, kind, (), rng)]
    if name == "estimators":
        return estimators
    if name == "objective":
        return ["score", *(f"score,{cost}" for cost in COSTS), "params", "score,cifar10.edgegpu_latency", "score,score"]
    sums = [f"{key}({', '.join(rng.sample(some, 2))})" for key in AGGREGATES]
    mixes = [*NAMED_AGGREGATES, *sums, "files/hybrid.json", "files/words.json", "files/cut.json"]
    lists = [",".join(rng.sample(some, rng.randint(1, 3))) for _ in range(20)]
    return [*some, *lists, *mixes, *(estimators if name == "score" else rng.sample(sorted(PROXIES), 12))]


def _with_options(name: str, maker: Any, context: Sequence[str], rng: random.Random) -> list[str]:
    from trainless.specs import options_of

    options = options_of(maker, context)
    texts = [name]
    for _ in range(3 if options else 0):
        chosen = rng.sample(sorted(options), rng.randint(1, len(options)))
        values = [rng.choice(("1", "2", "4", "0", "-1", "0.5", "yes", str(options[key]))) for key in chosen]
        texts.append(f"{name}({', '.join(f'{key}={value}' for key, value in zip(chosen, values, strict=True))})")
    small = {key: 1 for key, value in options.items() if type(value) is int}
    if small:
        texts += [f"{name}({', '.join(f'{key}={value}' for key, value in small.items())})"] * 4
    return texts


def _mutated(text: str, rng: random.Random) -> str:
    """A letter is left out, doubled, exchanged, or put in; or the end is cut off."""
    at = rng.randint(0, len(text))
    put = rng.choice(("", text[at : at + 1] * 2, rng.choice("(),=|+~-0 \"'<%\x1b\n猫"), text[:at]))
    return text[:at] + put + ("" if rng.random() < 0.1 else text[at + rng.randint(0, 1) :])
