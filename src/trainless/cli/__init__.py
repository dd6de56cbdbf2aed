"""The command line: parse, call, print.

Exit codes: 0 success, 1 some architectures failed or trainless has a fault, 2 wrong input, 130 interrupted.
"""

from __future__ import annotations

import io
import os
import sys
import traceback
import warnings
from pathlib import Path
from typing import Annotated, TextIO

import typer

from trainless.cli import benchmarks, fitting, replaying, scoring, searching, serving, stores, studies, suites
from trainless.cli.shared import InterruptedRunError, TrainlessCommand, own_version
from trainless.cli.usage import usage_sentence
from trainless.errors import InputError, TrainlessError
from trainless.terminal import tell, visible

__all__ = ["app", "main"]

_INTERRUPTED = 130  # as a shell shows a command that Ctrl-C ended, and as Typer itself ends

app = typer.Typer(
    help="Find a good neural network without training the candidates.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _command in (
    scoring.spaces, scoring.proxies, scoring.describe, scoring.score, scoring.show, scoring.quickstart,
    fitting.fit, fitting.predict, fitting.export, fitting.trust, serving.ui,
    studies.evaluate, studies.report, suites.suite, searching.search, searching.strategies,
    searching.estimators, searching.latency, replaying.replay,
):  # fmt: skip
    app.command(cls=TrainlessCommand)(_command)
for _name, _group in (
    ("tables", benchmarks.tables), ("scores", benchmarks.scores), ("store", stores.stores),
    ("hybrid", studies.hybrid), ("reproduce", studies.reproduce),
):  # fmt: skip
    app.add_typer(_group, name=_name)


def main() -> None:
    """Run the command line; a wrong input ends with one sentence and exit code 2, a fault of trainless with 1.

    Where the environment variable TRAINLESS_TRACEBACK is set, a fault shows the traceback that a report needs.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of files may be no text
    try:
        with warnings.catch_warnings():  # puts back how warnings are shown
            warnings.showwarning = _note
            code = app(prog_name="trainless", standalone_mode=False)
    except typer.TyperException as error:
        if error.format_message().startswith("Usage:"):  # a group without a command: its help, and no error
            print(error.format_message(), file=sys.stderr)
            sys.exit(2)
        _fail(usage_sentence(error), 2)
    except InterruptedRunError as interrupt:
        _fail(f"interrupted. {interrupt}", _INTERRUPTED)
    except InputError as error:
        _fail(str(error), 2)
    except TrainlessError as error:
        _fail(str(error), 1)
    except BrokenPipeError:
        # The reader, such as `head`, has gone: nothing is wrong, and the interpreter must not complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except KeyboardInterrupt:
        code = _INTERRUPTED
    except Exception as error:
        if os.environ.get("TRAINLESS_TRACEBACK"):
            raise
        _fail(_fault(error), 1)
    if code == _INTERRUPTED:  # before a command began, or after it: while it runs it says more
        _fail("interrupted. Run the same command again.", code)
    sys.exit(code)


def _fault(error: Exception) -> str:
    """Say what failed that never should, and how it is reported."""
    from trainless.hardware import is_out_of_memory

    if is_out_of_memory(error):
        return (
            "This needs more memory than there is: give fewer or smaller images, a smaller network, or fewer workers."
        )
    *_, frame = traceback.extract_tb(error.__traceback__)
    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return (
        f"This is a fault of trainless and none of the input ({said}, in {Path(frame.filename).name}, line "
        f"{frame.lineno}): please report it with the command, and what it prints where TRAINLESS_TRACEBACK=1 is set."
    )


def _note(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, file: TextIO | None = None,
    line: str | None = None,
) -> None:  # fmt: skip
    """Show a warning as one sentence, not as a place in the code."""
    print(f"Note: {visible(str(message))}", file=sys.stderr)


def _fail(message: str, code: int) -> None:
    print(f"trainless: {visible(message)}", file=sys.stderr)
    sys.exit(code)


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False) -> None:
    if version:
        tell(own_version())
        raise typer.Exit
