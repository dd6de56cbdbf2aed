"""A command line that cannot be parsed, said in one sentence."""

from __future__ import annotations

import re
from typing import Any

import typer

__all__ = ["usage_sentence"]


def usage_sentence(error: typer.TyperException) -> str:
    """Say what is wrong with a command line, and where to look it up.

    Example:
        >>> usage_sentence(typer.BadParameter("Input should be a valid integer", param_hint="'--seed'"))
        "Invalid value for '--seed': Input should be a valid integer: see `trainless --help`."
    """
    message = " ".join(error.format_message().split()).rstrip(".")
    message = re.sub(r"\. Did you mean (.*)\?$", r" (did you mean \1?)", message)
    invalid = re.fullmatch(r"Invalid value for '?(.*?)'?: Input should be ([^,]*).*", message)
    # Typer has values checked by pydantic, whose error knows what was given.
    given: list[dict[str, Any]] = getattr(error.__cause__, "errors", list)()
    if invalid and given:
        message = f"{invalid[1]} is '{given[0]['input']}', expected {invalid[2]}"
    command = getattr(getattr(error, "ctx", None), "command_path", "trainless")
    return f"{message}: see `{command} --help`."
