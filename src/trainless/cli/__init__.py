"""The command line: parse, call, print.

Exit codes: 0 success, 1 some architectures failed, 2 wrong input, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
import warnings
from typing import Annotated, TextIO

import typer

from trainless.cli import benchmarks, fitting, replaying, scoring, searching, serving, studies, suites
from trainless.cli.shared import InterruptedRunError, TrainlessCommand, own_version
from trainless.cli.usage import usage_sentence
from trainless.errors import InputError, TrainlessError

__all__ = ["app", "main"]

_INTERRUPTED = 130  # as a shell shows a command that Ctrl-C ended

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
    ("tables", benchmarks.tables), ("scores", benchmarks.scores),
    ("hybrid", studies.hybrid), ("reproduce", studies.reproduce),
):  # fmt: skip
    app.add_typer(_group, name=_name)


def main() -> None:
    """Run the command line; a wrong input ends with one sentence and exit code 2."""
    try:
        with warnings.catch_warnings():  # puts back how warnings are shown
            warnings.showwarning = _note
            code = app(prog_name="trainless", standalone_mode=False)
        if code == _INTERRUPTED:  # typer's own answer to Ctrl-C beside a command, in which it says nothing
            raise InterruptedRunError("Run the same command again.")
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
    else:
        sys.exit(code)


def _note(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, file: TextIO | None = None,
    line: str | None = None,
) -> None:  # fmt: skip
    """Show a warning as one sentence, not as a place in the code."""
    print(f"Note: {message}", file=sys.stderr)


def _fail(message: str, code: int) -> None:
    print(f"trainless: {message}", file=sys.stderr)
    sys.exit(code)


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False) -> None:
    if version:
        typer.echo(own_version())
        raise typer.Exit
